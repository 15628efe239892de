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
    t->status = kp_fail(t->err, KP_INPUT, "'%s' %s is past an exbibyte", b->what, kp_shape_text(b->shape, 1).s);
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
    t->buffers[id] = (kp_tape_buffer){b->category, b->layer, b->op, b->what, b->shape, b->dtype, b->bytes};
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

const char *kp_taping_name(const kp_taping *t, uint32_t weight)
{
    const char *path = t->graph->weights[weight].path, *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "gradient of kernel": names come again and again, so each text is made once. */
static const char *weight_text(kp_taping *t, const char *prefix, const char *name)
{
    if (!prefix[0]) return name;
    for (uint32_t i = 0; i < t->n_names; i++)
        if (t->names[i].prefix == prefix && !strcmp(t->names[i].name, name)) return t->names[i].text;
    const char *text = kp_arena_fmt(t->arena, "%s%s", prefix, name);
    if (!text) out_of_memory(t);
    if (text && t->n_names < KP_LEN(t->names)) {
        t->names[t->n_names].prefix = prefix;
        t->names[t->n_names].name = name;
        t->names[t->n_names++].text = text;
    }
    return text;
}

uint32_t kp_taping_weight(kp_taping *t, uint32_t weight, kp_category category, const char *prefix,
                          kp_dtype dtype, uint64_t bytes, uint32_t holders)
{
    const char *what = weight_text(t, prefix, kp_taping_name(t, weight));
    if (!what) return KP_NO;
    kp_taping_new b = {category, t->graph->weights[weight].layer, KP_NO, what,
                       kp_sizes_weight(&t->sizes, weight), dtype, bytes};
    return kp_taping_take(t, &b, holders);
}

bool kp_taping_copies(const kp_taping *t, const kp_graph_op *op, uint32_t weight, kp_dtype *ret_dtype)
{
    const kp_weight *w = &t->graph->weights[weight];
    kp_dtype compute = kp_taping_compute(t, weight);
    *ret_dtype = compute;
    if (w->role != KP_ROLE_KERNEL && w->role != KP_ROLE_RECURRENT) return false;
    if (t->profile->copies_f32 && compute != w->dtype) return true;
    if (!t->profile->xla) return false;
    if (op->op == KP_OP_CONV || op->op == KP_OP_CONV_DEPTHWISE || op->op == KP_OP_CONV_TRANSPOSE) return true;
    return op->op == KP_OP_MATMUL && op->n_out && t->graph->tensors[op->out[0]].shape.rank > 2;
}

uint32_t kp_taping_shards(const kp_taping *t, uint32_t level)
{
    return t->part->strategy.zero >= level ? t->part->strategy.dp : 1;
}

kp_dtype kp_taping_compute(const kp_taping *t, uint32_t weight)
{
    const kp_weight *w = &t->graph->weights[weight];
    return t->graph->layers[w->layer].compute_dtype;
}

uint64_t kp_taping_grad_bytes(const kp_taping *t, uint32_t weight, kp_dtype *ret_dtype)
{
    kp_dtype dtype = t->graph->weights[weight].dtype;
    if (t->profile->grads_f32 && kp_dtype_bytes(dtype) < 4) dtype = KP_FLOAT32;
    *ret_dtype = dtype;
    return kp_mul_u64(kp_sizes_weight_elems(&t->sizes, weight), kp_dtype_bytes(dtype));
}

bool kp_taping_accumulates(const kp_taping *t)
{
    return t->training->grad_accum > 1 || t->part->strategy.micro_batches > 1;
}
