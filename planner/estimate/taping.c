/* SPDX-License-Identifier: MIT */
#include "planner/estimate/taping.h"
#include <inttypes.h>

bool kp_taping_failed(const kp_taping *t)
{
    return t->status != KP_OK;
}

static void out_of_memory(kp_taping *t)
{
    if (t->status == KP_OK) t->status = kp_nomem(t->err);
}

void kp_taping_step(kp_taping *t, kp_phase phase, uint32_t op)
{
    if (t->status != KP_OK) return;
    if (!KP_GROW(t->arena, t->steps, t->n_steps, t->cap_steps)) {
        out_of_memory(t);
        return;
    }
    t->steps[t->n_steps++] = (kp_tape_step){.phase = phase, .op = op, .first_event = t->n_events};
}

static void event(kp_taping *t, uint32_t buffer, bool alloc)
{
    bool after_free = alloc && t->n_events > t->steps[t->n_steps - 1].first_event &&
                      !t->events[t->n_events - 1].alloc;
    if (after_free) kp_taping_step(t, t->steps[t->n_steps - 1].phase, t->steps[t->n_steps - 1].op);
    if (t->status != KP_OK) return;
    if (!KP_GROW(t->arena, t->events, t->n_events, t->cap_events)) {
        out_of_memory(t);
        return;
    }
    t->events[t->n_events++] = (kp_tape_event){buffer, alloc};
    t->steps[t->n_steps - 1].n_events++;
}

static void too_big(kp_taping *t, const kp_taping_new *b)
{
    const char *layer = b->layer == KP_NO ? "?" : t->graph->layers[b->layer].path;
    t->status = kp_fail(t->err, KP_INPUT, "'%s' %s is past an exbibyte", b->what,
                        b->shape ? kp_shape_text(*b->shape, 1).s : "");
    kp_err_at(t->err, "layer '%s'", layer);
}

uint32_t kp_taping_take(kp_taping *t, const kp_taping_new *b, uint32_t holders)
{
    if (t->status != KP_OK || !b->bytes) return KP_NO;
    t->all_bytes = kp_add_u64(t->all_bytes, b->bytes);
    if (!kp_size_ok(b->bytes) || t->all_bytes > 2 * KP_SIZE_MAX) {
        too_big(t, b);
        return KP_NO;
    }
    if (!KP_GROW(t->arena, t->buffers, t->n_buffers, t->cap_buffers) ||
        !KP_GROW(t->arena, t->refs, t->n_buffers, t->cap_refs)) {
        out_of_memory(t);
        return KP_NO;
    }
    uint32_t id = t->n_buffers++;
    t->buffers[id] =
        (kp_tape_buffer){b->category, b->layer, b->op, b->what, b->shape, b->dtype, b->bytes, 0};
    t->refs[id] = holders;
    event(t, id, true);
    return id;
}

void kp_taping_hold(kp_taping *t, uint32_t buffer, uint32_t more)
{
    if (t->status == KP_OK && buffer != KP_NO) t->refs[buffer] += more;
}

void kp_taping_drop(kp_taping *t, uint32_t buffer)
{
    if (t->status != KP_OK || buffer == KP_NO || !t->refs[buffer]) return;
    if (--t->refs[buffer] == 0) event(t, buffer, false);
}

/* ---- weights ---- */

static const char *const prefixes[KP_TEXT_COUNT] = {
    [KP_TEXT_PLAIN] = "",
    [KP_TEXT_COPY] = "copy of ",
    [KP_TEXT_SLOT_1] = "slot 1 of ",
    [KP_TEXT_SLOT_2] = "slot 2 of ",
    [KP_TEXT_SLOT_3] = "slot 3 of ",
    [KP_TEXT_SLOT_4] = "slot 4 of ",
    [KP_TEXT_SLOT_5] = "slot 5 of ",
    [KP_TEXT_SLOT_6] = "slot 6 of ",
    [KP_TEXT_MASTER] = "master copy of ",
    [KP_TEXT_ACCUMULATED] = "accumulated gradient of ",
    [KP_TEXT_GRADIENT] = "gradient of ",
    [KP_TEXT_UPDATE] = "update of ",
    [KP_TEXT_DECAYED] = "decayed moments and decay of ",
    [KP_TEXT_GATHERED] = "gathered ",
};

enum { NAMES_MAX = 64 };

kp_status kp_taping_names(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint32_t known[NAMES_MAX], n = 0;
    t->names = KP_NEW(t->arena, const char *, g->n_weights);
    t->name_ids = KP_NEW(t->arena, uint32_t, g->n_weights);
    if (!t->names || !t->name_ids) return kp_nomem(t->err);
    for (int i = 0; i < KP_TEXT_COUNT; i++)
        if (!(t->texts[i] = KP_NEW(t->arena, const char *, g->n_weights))) return kp_nomem(t->err);
    for (uint32_t w = 0; w < g->n_weights; w++) {
        const char *slash = strrchr(g->weights[w].path, '/');
        t->names[w] = slash ? slash + 1 : g->weights[w].path;
        uint32_t i = 0;
        while (i < n && strcmp(t->names[known[i]], t->names[w])) i++;
        if (i == n && n < NAMES_MAX) known[n++] = w;
        t->name_ids[w] = i < NAMES_MAX ? known[i] : w;
    }
    return KP_OK;
}

static const char *weight_text(kp_taping *t, kp_weight_text text, uint32_t weight)
{
    if (t->part->sums) return prefixes[text][0] ? prefixes[text] : "weight";
    uint32_t id = t->name_ids[weight];
    if (text == KP_TEXT_PLAIN) return t->names[id];
    if (!t->texts[text][id])
        t->texts[text][id] = kp_arena_fmt(t->arena, "%s%s", prefixes[text], t->names[id]);
    if (!t->texts[text][id]) out_of_memory(t);
    return t->texts[text][id];
}

uint32_t kp_taping_weight(kp_taping *t, uint32_t weight, kp_category category, kp_weight_text text,
                          kp_dtype dtype, uint64_t bytes, uint32_t holders)
{
    const char *what = weight_text(t, text, weight);
    if (!what) return KP_NO;
    kp_taping_new b = {category, t->graph->weights[weight].layer, KP_NO,
                       what,     &t->sizes.weights[weight],       dtype,
                       bytes};
    return kp_taping_take(t, &b, holders);
}

bool kp_taping_copies(const kp_taping *t, const kp_graph_op *op, uint32_t weight,
                      kp_dtype *ret_dtype)
{
    const kp_weight *w = &t->graph->weights[weight];
    kp_dtype compute = kp_taping_compute(t, weight);
    *ret_dtype = compute;
    if (kp_tape_has_units(t)) return false; /* gathered in the compute type */
    if (w->role != KP_ROLE_KERNEL && w->role != KP_ROLE_RECURRENT) return false;
    if (t->profile->casts_kernels && compute != w->dtype) return !kp_taping_fsdp(t);
    if (!t->profile->xla) return false;
    if (op->op == KP_OP_CONV || op->op == KP_OP_CONV_DEPTHWISE || op->op == KP_OP_CONV_TRANSPOSE)
        return true;
    return op->op == KP_OP_MATMUL && op->n_out && t->graph->tensors[op->out[0]].shape.rank > 2;
}

bool kp_taping_fsdp(const kp_taping *t)
{
    return t->training->framework == KP_FW_TORCH && kp_taping_shards(t, 3) > 1 &&
           !kp_tape_has_units(t);
}

uint32_t kp_taping_shards(const kp_taping *t, uint32_t level)
{
    const kp_launch *l = &t->training->launch;
    uint32_t ranks = t->part->strategy.dp * l->cp;
    if (t->part->strategy.zero < level) return 1;
    return level == 1 && ranks % l->instances == 0 ? ranks / l->instances : ranks;
}

bool kp_taping_apart(const kp_taping *t, uint32_t weight)
{
    uint32_t layer = t->graph->weights[weight].layer;
    while (t->graph->layers[layer].parent != KP_NO) layer = t->graph->layers[layer].parent;
    return t->training->launch.ends_apart && !t->graph->layers[layer].is_model;
}

uint32_t kp_taping_weight_shards(const kp_taping *t, uint32_t level, uint32_t weight)
{
    const kp_launch *l = &t->training->launch;
    uint32_t ranks = kp_taping_shards(t, level), spread = l->ep * l->etp;
    if (t->part->strategy.zero >= level && kp_taping_apart(t, weight))
        return ranks * t->part->strategy.tp;
    if (ranks < 2 || !t->graph->weights[weight].expert || spread == 1) return ranks;
    uint64_t all = (uint64_t)ranks * t->part->strategy.tp;
    return all > spread ? (uint32_t)(all / spread) : 1;
}

bool kp_taping_is_megatron(const kp_taping *t)
{
    return t->training->framework == KP_FW_MEGATRON;
}

kp_dtype kp_taping_compute(const kp_taping *t, uint32_t weight)
{
    const kp_weight *w = &t->graph->weights[weight];
    return t->graph->layers[w->layer].compute_dtype;
}

uint64_t kp_taping_grad_bytes(const kp_taping *t, uint32_t weight, kp_dtype *ret_dtype)
{
    kp_dtype dtype = t->graph->weights[weight].dtype;
    if (t->profile->grads_f32 && !t->training->launch.half_grads && kp_dtype_bytes(dtype) < 4)
        dtype = KP_FLOAT32;
    *ret_dtype = dtype;
    return kp_mul_u64(kp_sizes_weight_elems(&t->sizes, weight), kp_dtype_bytes(dtype));
}

bool kp_taping_accumulates(const kp_taping *t)
{
    return kp_taping_is_megatron(t) || t->training->zeroed_grads || t->training->grad_accum > 1 ||
           t->part->strategy.micro_batches > 1;
}
