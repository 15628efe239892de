/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/collectives_tensor.c — collectives over the tensor-parallel group and over
 * experts: one pass over the ops, each by the row of its cut. */
#include "planner/estimate/collecting.h"

enum {
    /* Reductions of each row of logits whose classes are divided: Megatron takes the maximum, the
     * label's logit and the sum of exponentials (vocab_parallel_cross_entropy); XLA's partitioned
     * log softmax takes two more, for the label and for the gradient, the last with the loss. */
    LOSS_MEGATRON = 3,
    LOSS_XLA = 5,
    LOSS_BYTES = 4
};

static void activations(kp_collecting *c, kp_collective_op op, uint64_t bytes, uint64_t count)
{
    kp_collect(c, op, KP_COLLECTIVE_ACTIVATIONS, bytes, count);
}

static bool wanted(const kp_collecting *c, uint32_t tensor)
{
    return c->t.keep.wants[c->t.graph->tensors[tensor].op];
}

/* Every rank gets all of a tensor for a column-cut op; its gradient is scattered again. */
static void column_scattered(kp_collecting *c, uint32_t op, uint32_t x, bool again)
{
    uint64_t bytes = kp_collect_whole_bytes(c, x), micro = c->t.part->strategy.micro_batches;
    activations(c, KP_COLLECTIVE_ALL_GATHER, bytes,
                kp_collect_passes(c, op) + (again && wanted(c, x) ? micro : 0));
    if (wanted(c, x))
        activations(c, KP_COLLECTIVE_REDUCE_SCATTER, kp_ceil_div(bytes, c->t.sizes.tp), micro);
}

/* Terms of a row-cut op's output are added in parts; the parts of its gradient are gathered. */
static void row_scattered(kp_collecting *c, uint32_t op, uint32_t y)
{
    uint64_t bytes = kp_collect_whole_bytes(c, y);
    activations(c, KP_COLLECTIVE_REDUCE_SCATTER, kp_ceil_div(bytes, c->t.sizes.tp),
                kp_collect_passes(c, op));
    if (wanted(c, y))
        activations(c, KP_COLLECTIVE_ALL_GATHER, bytes, c->t.part->strategy.micro_batches);
}

static const kp_collective_op op_of[KP_COLL_COUNT] = {
    [KP_COLL_ALL_REDUCE] = KP_COLLECTIVE_ALL_REDUCE,
    [KP_COLL_ALL_GATHER] = KP_COLLECTIVE_ALL_GATHER,
    [KP_COLL_REDUCE_SCATTER] = KP_COLLECTIVE_REDUCE_SCATTER,
};

static bool moves(kp_coll coll)
{
    return coll != KP_COLL_NONE && coll != KP_COLL_SLICE;
}

/* Tensors that a call reads, itself or through ops that fuse: XLA gathers divided channels only for
 * those (keep.h). */
static void find_called(kp_collecting *c)
{
    const kp_graph *g = c->t.graph;
    for (uint32_t i = g->n_ops; i-- > 0;) {
        const kp_graph_op *o = &g->ops[i];
        bool called = kp_op_rows[o->op].kind == KP_KIND_WEIGHTY || o->op == KP_OP_RNN ||
                      o->op == KP_OP_ATTN_SCORES || o->op == KP_OP_ATTN_CONTEXT;
        for (uint32_t k = 0; k < o->n_out; k++) called |= c->called[o->out[k]];
        for (uint32_t k = 0; k < o->n_in; k++) c->called[o->in[k]] |= called;
    }
}

/* True if what the op writes divided stays so until the loss. */
static bool stays_divided(const kp_collecting *c, const kp_graph_op *o, const kp_shard_row *row)
{
    if (row->y == KP_LAYOUT_CHANNEL) return true;
    return c->t.profile->xla && row->y_local == KP_LAYOUT_CHANNEL && !c->called[o->out[0]];
}

/* Sums that follow the rows of the table as they stand. */
static void as_the_row(kp_collecting *c, uint32_t op, const kp_shard_row *row, bool fresh)
{
    const kp_graph_op *o = &c->t.graph->ops[op];
    uint64_t micro = c->t.part->strategy.micro_batches;
    if (moves(row->forward) && !stays_divided(c, o, row))
        activations(c, op_of[row->forward], kp_collect_whole_bytes(c, o->out[0]),
                    kp_collect_passes(c, op));
    if (moves(row->backward) && o->n_in && wanted(c, o->in[0]) && fresh)
        activations(c, op_of[row->backward], kp_collect_whole_bytes(c, o->in[0]), micro);
}

/* Sums of a normalisation over a width that XLA keeps divided: two for the moments and, going
 * back, two pairs; without a mean one each. */
static void divided_norm(kp_collecting *c, const kp_graph_op *o)
{
    uint64_t bytes = kp_collect_row_bytes(c, o->out[0]), mean = o->op == KP_OP_LAYERNORM ? 2 : 1;
    activations(c, KP_COLLECTIVE_ALL_REDUCE, bytes, mean);
    if (wanted(c, o->in[0])) activations(c, KP_COLLECTIVE_ALL_REDUCE, mean * bytes, mean);
}

static void cut_op(kp_collecting *c, uint32_t op, const kp_shard_row *row, bool *seen)
{
    const kp_graph_op *o = &c->t.graph->ops[op];
    bool product = kp_op_rows[o->op].kind == KP_KIND_WEIGHTY && o->n_in;
    bool column = product && row->weight_axis == KP_AXIS_OUT && stays_divided(c, o, row);
    bool sums = row->y_local == KP_LAYOUT_PARTIAL, sequence = c->t.training->launch.sequence;
    uint32_t root = o->n_in ? c->t.keep.root[o->in[0]] : KP_NO;
    bool fresh = root == KP_NO || !column || !seen[root];
    if (column) seen[root] = true;
    bool scattered = c->t.keep.width_divided && c->t.profile->xla;
    if (column && (scattered || sequence)) {
        if (fresh) column_scattered(c, op, o->in[0], sequence);
    } else if (sums && (scattered || sequence)) {
        row_scattered(c, op, o->out[0]);
    } else if (!scattered || o->op != KP_OP_GATHER) { /* the table's width stays divided */
        as_the_row(c, op, row, fresh);
    }
    for (uint32_t k = 0; k < o->n_weights && moves(row->weight_grad); k++) {
        kp_dtype dtype;
        if (c->t.graph->weights[o->weights[k]].trainable)
            kp_collect(c, op_of[row->weight_grad], KP_COLLECTIVE_GRADIENTS,
                       kp_taping_grad_bytes(&c->t, o->weights[k], &dtype), 1);
    }
}

/* Weights along a width that XLA keeps divided are updated in parts and gathered with their slots,
 * all in one call, since they come and go whole. */
static uint64_t updated_bytes(const kp_collecting *c, const kp_graph_op *o)
{
    uint64_t bytes = 0;
    bool along = o->op == KP_OP_LAYERNORM || o->op == KP_OP_RMSNORM || o->op == KP_OP_SCALE ||
                 o->op == KP_OP_BIAS_ADD;
    for (uint32_t k = 0; k < o->n_weights && along; k++) {
        const kp_weight *w = &c->t.graph->weights[o->weights[k]];
        uint64_t elems = kp_shape_elems(w->shape, 1);
        const kp_shard_row *below = kp_sizes_row(&c->t.sizes, c->t.graph->tensors[o->in[0]].op);
        if (o->op == KP_OP_BIAS_ADD && (!below || below->y_local != KP_LAYOUT_PARTIAL)) continue;
        if (!w->trainable || w->shape.rank != 1 || elems % c->t.sizes.tp) continue;
        elems = kp_add_u64(elems, kp_optimizer_slot_elems(c->t.training, w));
        bytes = kp_add_u64(bytes, kp_mul_u64(elems, kp_dtype_bytes(w->dtype)));
    }
    return bytes;
}

/* The product that an output comes from, through what a loss takes in: its bias, a softmax. */
static const kp_graph_op *output_op(const kp_graph *g, uint32_t y)
{
    const kp_graph_op *o = &g->ops[g->tensors[y].op];
    while ((o->op == KP_OP_BIAS_ADD || o->op == KP_OP_SOFTMAX || o->op == KP_OP_VIEW ||
            o->op == KP_OP_CAST) &&
           o->n_in)
        o = &g->ops[g->tensors[o->in[0]].op];
    return o;
}

static void divided_losses(kp_collecting *c)
{
    const kp_graph *g = c->t.graph;
    bool megatron = kp_taping_is_megatron(&c->t);
    uint64_t micro = c->t.part->strategy.micro_batches;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t y = g->outputs[i];
        const kp_graph_op *o = output_op(g, y);
        const kp_shard_row *row = kp_sizes_row(&c->t.sizes, (uint32_t)(o - g->ops));
        bool inside = kp_keep_inside(&c->t.keep, (uint32_t)(o - g->ops));
        if (!row || !inside || row->y_local != KP_LAYOUT_CHANNEL || !stays_divided(c, o, row))
            continue;
        uint64_t bytes = kp_collect_row_bytes(c, y);
        if (!megatron && !c->t.profile->xla) continue; /* runtimes gather the logits first */
        activations(c, KP_COLLECTIVE_ALL_REDUCE, bytes,
                    (megatron ? LOSS_MEGATRON : LOSS_XLA - 1) * micro);
        if (!megatron) activations(c, KP_COLLECTIVE_ALL_REDUCE, bytes + LOSS_BYTES, micro);
    }
}

void kp_collect_tensors(kp_collecting *c, bool *seen)
{
    const kp_graph *g = c->t.graph;
    uint64_t updated = 0;
    if (c->t.sizes.tp < 2 || !c->t.sizes.cuts) return;
    find_called(c);
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *o = &g->ops[i];
        const kp_shard_row *row = kp_sizes_row(&c->t.sizes, i);
        if (!o->n_out || !kp_keep_inside(&c->t.keep, i)) continue;
        if (row) {
            cut_op(c, i, row, seen);
        } else if (c->t.keep.width_divided && c->t.profile->xla && o->n_in) {
            if (o->op == KP_OP_LAYERNORM || o->op == KP_OP_RMSNORM) divided_norm(c, o);
            updated = kp_add_u64(updated, updated_bytes(c, o));
        }
    }
    kp_collect(c, KP_COLLECTIVE_ALL_GATHER, KP_COLLECTIVE_WEIGHTS, updated, 1);
    divided_losses(c);
}

/* ---- experts ---- */

/* Tokens travel to their experts and back, and their gradients the other way: an all-to-all each,
 * or everybody gets all tokens and scatters the sums (token_dispatcher.py). */
void kp_collect_experts(kp_collecting *c)
{
    const kp_graph *g = c->t.graph;
    const kp_launch *l = &c->t.training->launch;
    uint64_t micro = c->t.part->strategy.micro_batches;
    if (!kp_taping_is_megatron(&c->t) || l->ep < 2) return;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *o = &g->ops[i];
        if (strcmp(o->part, "dispatch") || !o->n_in || !o->n_out || !kp_keep_inside(&c->t.keep, i))
            continue;
        uint64_t passes = kp_collect_passes(c, i) + micro,
                 size = kp_dtype_bytes(g->tensors[o->out[0]].dtype);
        uint64_t own = kp_mul_u64(kp_sizes_tensor_elems(&c->t.sizes, o->in[0]), size);
        uint64_t routed = kp_mul_u64(kp_sizes_tensor_elems(&c->t.sizes, o->out[0]), size);
        if (l->gathers_experts) {
            activations(c, KP_COLLECTIVE_ALL_GATHER, kp_mul_u64(own, l->ep), passes);
            activations(c, KP_COLLECTIVE_REDUCE_SCATTER, own, passes);
        } else {
            activations(c, KP_COLLECTIVE_ALL_TO_ALL, routed, 2 * passes);
        }
    }
}
