/* SPDX-License-Identifier: MIT */
#include "planner/estimate/keep.h"

bool kp_keep_inside(const kp_keep *keep, uint32_t op)
{
    return kp_part_has(keep->part, op);
}

bool kp_keep_trains(const kp_graph *graph, const kp_graph_op *op)
{
    for (uint32_t i = 0; i < op->n_weights; i++)
        if (graph->weights[op->weights[i]].trainable) return true;
    return false;
}

bool kp_keep_windowed(const kp_graph_op *op)
{
    bool any = false;
    for (unsigned i = 0; i < op->attr.spatial; i++) any |= op->attr.kernel[i] > 1;
    return any;
}

bool kp_keep_apart(const kp_graph_op *op)
{
    bool all = !op->attr.same_padding;
    for (unsigned i = 0; i < op->attr.spatial; i++)
        all &= op->attr.kernel[i] == op->attr.strides[i];
    return all;
}

bool kp_keep_global(const kp_keep *keep, const kp_graph_op *op)
{
    bool pool = op->op == KP_OP_POOL_MAX || op->op == KP_OP_POOL_AVG;
    const char *class_name = keep->graph->layers[op->layer].class_name;
    return pool && (op->attr.kernel[0] == 0 || !strncmp(class_name, "Global", 6));
}

bool kp_keep_is_part(const kp_graph_op *op, const char *part)
{
    return op->op == KP_OP_VIEW && !strcmp(op->part, part);
}

bool kp_keep_again(const kp_keep *keep, uint32_t op)
{
    if (keep->part->strategy.recompute != KP_RECOMPUTE_SELECTIVE || keep->training->launch.titan)
        return false;
    const kp_graph_op *o = &keep->graph->ops[op];
    if (o->op == KP_OP_DROPOUT && o->n_in) o = &keep->graph->ops[keep->graph->tensors[o->in[0]].op];
    return o->op == KP_OP_ATTN_SCORES;
}

bool kp_keep_need(kp_keep *keep, uint32_t op, uint32_t value)
{
    kp_value *v = &keep->values[value];
    v->written = true;
    bool own = value < keep->graph->n_tensors;
    if (own && kp_keep_again(keep, keep->graph->tensors[value].op)) {
        kp_extra moment = {op,
                           KP_EXTRA_BACKWARD,
                           KP_CAT_TEMPORARY,
                           "scores again",
                           &keep->sizes->tensors[value],
                           v->dtype,
                           v->bytes};
        return kp_keep_extra(keep, moment);
    }
    for (uint32_t i = keep->first_need[op]; i < keep->n_needs; i++)
        if (keep->needs[i] == value) return true;
    if (!KP_GROW(keep->arena, keep->needs, keep->n_needs, keep->cap_needs)) return false;
    keep->needs[keep->n_needs++] = value;
    v->needs++;
    return true;
}

bool kp_keep_extra(kp_keep *keep, kp_extra extra)
{
    if (!extra.bytes) return true;
    if (!KP_GROW(keep->arena, keep->extras, keep->n_extras, keep->cap_extras)) return false;
    keep->extras[keep->n_extras++] = extra;
    return true;
}

/* ---- shared analysis ---- */

/* Which ops have a trained weight at or below them: their outputs' gradients are computed. */
static void find_wants(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *op = &g->ops[i];
        keep->wants[i] = kp_keep_trains(g, op) || op->attr.requires_grad;
        for (uint32_t k = 0; k < op->n_in && !keep->wants[i]; k++)
            keep->wants[i] = keep->wants[g->tensors[op->in[k]].op];
    }
}

/* The last forward reader of each value; what a fused op reads lives as long as its output's. */
static void find_last(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    for (uint32_t v = 0; v < 2 * g->n_tensors; v++) keep->values[v].last = KP_NO;
    for (uint32_t i = keep->part->end_op; i-- > keep->part->first_op;) {
        const kp_graph_op *op = &g->ops[i];
        uint32_t until = i;
        if (!kp_keep_inside(keep, i)) continue;
        for (uint32_t k = 0; k < op->n_out; k++) {
            const kp_value *y = &keep->values[keep->root[op->out[k]]];
            bool fused = !y->written && y->last != KP_NO;
            if (fused && y->last > until) until = y->last;
        }
        for (uint32_t k = 0; k < op->n_in; k++) {
            kp_value *x = &keep->values[keep->root[op->in[k]]];
            if (x->last == KP_NO || x->last < until) x->last = until;
        }
    }
    for (uint32_t t = 0; t < g->n_tensors;
         t++) { /* what nobody reads goes at once, outputs stay for the loss */
        kp_value *v = &keep->values[t];
        if (v->written && v->last == KP_NO) v->last = v->writer;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t root = keep->root[g->outputs[i]];
        if (keep->values[root].last == keep->values[root].writer) keep->values[root].last = KP_NO;
    }
}

/* True if a table's width is divided: then XLA keeps the sums of the blocks behind it divided too.
 */
static bool width_divided(const kp_keep *keep)
{
    for (uint32_t i = 0; i < keep->graph->n_ops; i++) {
        const kp_shard_row *row = kp_sizes_row(keep->sizes, i);
        if (row && keep->graph->ops[i].op == KP_OP_GATHER && row->weight_axis == KP_AXIS_OUT)
            return true;
    }
    return false;
}

uint64_t kp_keep_elems(const kp_keep *keep, uint32_t tensor)
{
    uint64_t whole = kp_sizes_tensor_elems(keep->sizes, tensor);
    const kp_shard_row *row = kp_sizes_row(keep->sizes, keep->graph->tensors[tensor].op);
    if (!row || !keep->profile->xla || row->y != KP_LAYOUT_WHOLE) return whole;
    if (row->y_local == KP_LAYOUT_CHANNEL) return kp_sizes_local_elems(keep->sizes, tensor);
    bool sum = row->y_local == KP_LAYOUT_PARTIAL && keep->width_divided;
    return sum ? kp_ceil_div(whole, keep->sizes->tp) : whole;
}

static void init_values(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    for (uint32_t t = 0; t < g->n_tensors; t++) {
        uint32_t bytes = kp_dtype_bytes(g->tensors[t].dtype);
        keep->root[t] = t;
        keep->values[t] = (kp_value){.bytes = kp_mul_u64(kp_keep_elems(keep, t), bytes),
                                     .dtype = g->tensors[t].dtype,
                                     .writer = g->tensors[t].op};
        keep->values[g->n_tensors + t] = (kp_value){.dtype = g->tensors[t].dtype, .writer = KP_NO};
    }
}

kp_status kp_keep_make(const kp_graph *graph, const kp_training *training, const kp_part *part,
                       const kp_sizes *sizes, kp_arena *arena, kp_keep *ret, kp_err *err)
{
    kp_keep keep = {.graph = graph,
                    .training = training,
                    .part = part,
                    .sizes = sizes,
                    .profile = kp_profile_for(training),
                    .flash = kp_profile_for(training)->flash && !training->launch.unfused,
                    .context_twice = training->cudnn_attention && !training->launch.flash,
                    .arena = arena};
    keep.root = KP_NEW(arena, uint32_t, graph->n_tensors);
    keep.skipped = KP_NEW(arena, bool, graph->n_ops);
    keep.wants = KP_NEW(arena, bool, graph->n_ops);
    keep.back = KP_NEW(arena, uint8_t, graph->n_ops);
    keep.soft = KP_NEW(arena, bool, graph->n_tensors);
    keep.values = KP_NEW(arena, kp_value, 2 * (size_t)graph->n_tensors);
    keep.first_need = KP_NEW(arena, uint32_t, (size_t)graph->n_ops + 1);
    keep.first_extra = KP_NEW(arena, uint32_t, (size_t)graph->n_ops + 1);
    if (!keep.root || !keep.skipped || !keep.wants || !keep.back || !keep.soft || !keep.values ||
        !keep.first_need || !keep.first_extra)
        return kp_nomem(err);
    keep.width_divided = width_divided(&keep);
    init_values(&keep);
    keep.programs = keep.profile->programs;
    find_wants(&keep);
    if (!(keep.profile->xla ? kp_keep_xla(&keep) : kp_keep_eager(&keep))) return kp_nomem(err);
    find_last(&keep);
    *ret = keep;
    return KP_OK;
}
