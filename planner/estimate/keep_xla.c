/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_xla.c — what XLA:GPU keeps from the forward for the backward pass.
 *
 * XLA fuses all elementwise work and reductions and computes it again in the backward fusions.
 * Memory is written at the edges of calls that it cannot fuse into. Two kinds of values are kept:
 *   z  the output of a weighty op, if a curved op or a max pooling reads it, through linear ones
 *   a  the input of a weighty op whose weights are trained
 * so convolution, normalisation and ReLU cost two buffers, not three. Further buffers are in
 * keep_xla_extras.c.
 * Source: buffer assignments of XLA:GPU for Keras 3.15 train steps on an H100. */
#include "planner/estimate/keep.h"

typedef enum node_kind {
    NODE_INPUT,
    NODE_WEIGHTY,
    NODE_CURVED,
    NODE_LINEAR,
    NODE_POOL,
    NODE_AVERAGE
} node_kind;

static node_kind kind_of(const kp_keep *keep, const kp_graph_op *op)
{
    if (op->op == KP_OP_POOL_MAX)
        return kp_keep_global(keep, op) ? NODE_CURVED
               : kp_keep_windowed(op)   ? NODE_POOL
                                        : NODE_LINEAR;
    if (op->op == KP_OP_POOL_AVG)
        return kp_keep_global(keep, op) || !kp_keep_windowed(op) ? NODE_LINEAR : NODE_AVERAGE;
    static const node_kind kinds[KP_KIND_COUNT] = {
        [KP_KIND_INPUT] = NODE_INPUT,   [KP_KIND_WEIGHTY] = NODE_WEIGHTY,
        [KP_KIND_CURVED] = NODE_CURVED, [KP_KIND_LINEAR] = NODE_LINEAR,
        [KP_KIND_POOL] = NODE_POOL,     [KP_KIND_GATHER] = NODE_CURVED,
        [KP_KIND_LOOP] = NODE_CURVED,   [KP_KIND_VIEW] = NODE_LINEAR,
    };
    return kinds[kp_op_rows[op->op].kind];
}

static bool weighty(const kp_graph_op *op)
{
    return kp_op_rows[op->op].kind == KP_KIND_WEIGHTY;
}

/* ---- what shares storage ---- */

/* An op that leaves its input where it is: a view, a bias folded into the product before it. */
static bool renames(const kp_keep *keep, const kp_graph_op *op)
{
    if (op->n_in != 1 || op->n_out != 1) return false;
    const kp_tensor *x = &keep->graph->tensors[op->in[0]], *y = &keep->graph->tensors[op->out[0]];
    if (op->op == KP_OP_VIEW) return true;
    if (op->op == KP_OP_CAST) return x->dtype == y->dtype;
    if (op->op == KP_OP_DROPOUT) return !(op->attr.rate > 0);
    return op->op == KP_OP_BIAS_ADD && x->n_uses == 1 && weighty(&keep->graph->ops[x->op]);
}

static bool find_roots(kp_keep *keep)
{
    kp_equals equals;
    if (!kp_equals_init(&equals, keep)) return false;
    for (uint32_t i = 0; i < keep->graph->n_ops; i++) {
        const kp_graph_op *op = &keep->graph->ops[i];
        uint32_t same =
            renames(keep, op) ? keep->root[op->in[0]] : kp_equals_find(&equals, keep, i);
        /* A stage cannot rename what another stage holds. */
        if (same == KP_NO ||
            kp_keep_inside(keep, i) != kp_keep_inside(keep, keep->graph->tensors[same].op))
            continue;
        keep->root[op->out[0]] = same;
        keep->skipped[i] = true;
    }
    return true;
}

/* ---- z ---- */

/* Convolutions whose output cuDNN adds to a shortcut in place: the last such input of an ADD. */
static uint32_t added_conv(const kp_keep *keep, const kp_graph_op *op)
{
    if (op->op != KP_OP_ADD || op->n_in < 2) return KP_NO;
    for (uint32_t k = op->n_in; k-- > 0;) {
        uint32_t x = keep->root[op->in[k]], writer = keep->graph->tensors[x].op;
        const kp_graph_op *conv = &keep->graph->ops[writer];
        bool plain = conv->op == KP_OP_CONV && conv->attr.spatial == 2 && !strcmp(conv->part, "");
        if (plain && kp_keep_inside(keep, writer)) return writer;
    }
    return KP_NO;
}

typedef struct xla_marks {
    bool *curved_reader; /* of a root: a curved op or a max pooling reads it, through linear ones */
    bool *in_place;      /* ops: convolutions that an ADD overwrites */
    bool *adds;          /* ops: such ADDs */
} xla_marks;

static void mark_reader(kp_keep *keep, xla_marks *m, uint32_t reader, uint32_t root)
{
    const kp_graph_op *op = &keep->graph->ops[reader];
    node_kind kind = m->adds[reader] ? NODE_WEIGHTY : kind_of(keep, op);
    if (kind == NODE_CURVED || kind == NODE_POOL) m->curved_reader[root] = true;
    if (kind == NODE_LINEAR && m->curved_reader[keep->root[op->out[0]]])
        m->curved_reader[root] = true;
    if (kind == NODE_CURVED || kind == NODE_LINEAR) keep->soft[root] = true;
}

static void find_readers(kp_keep *keep, xla_marks *m)
{
    const kp_graph *g = keep->graph;
    for (uint32_t i = keep->part->first_op; i < keep->part->end_op; i++) {
        uint32_t conv = keep->skipped[i] ? KP_NO : added_conv(keep, &g->ops[i]);
        if (conv == KP_NO) continue;
        m->adds[i] = m->in_place[conv] = true;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (kp_keep_inside(keep, g->tensors[g->outputs[i]].op))
            m->curved_reader[keep->root[g->outputs[i]]] = true;
    for (uint32_t i = keep->part->end_op; i-- > keep->part->first_op;) {
        if (keep->skipped[i]) continue;
        for (uint32_t k = 0; k < g->ops[i].n_in; k++) {
            const kp_graph_op *below = &g->ops[g->tensors[g->ops[i].in[k]].op];
            mark_reader(keep, m, i, keep->root[g->ops[i].in[k]]);
            if (kp_keep_is_part(below, "unfold")) /* its steps' gradients are slices */
                keep->soft[keep->root[below->in[0]]] = true;
        }
    }
}

/* ---- one op ---- */

static bool keep_op(kp_keep *keep, xla_marks *m, uint32_t op)
{
    static const uint8_t back_of[] = {
        [NODE_INPUT] = KP_BACK_PASS,  [NODE_WEIGHTY] = KP_BACK_WEIGHTY,
        [NODE_CURVED] = KP_BACK_PASS, [NODE_LINEAR] = KP_BACK_PASS,
        [NODE_POOL] = KP_BACK_NEW,    [NODE_AVERAGE] = KP_BACK_NEW,
    };
    const kp_graph *g = keep->graph;
    const kp_graph_op *o = &g->ops[op];
    node_kind kind = m->adds[op] ? NODE_WEIGHTY : kind_of(keep, o);
    uint32_t y = o->n_out ? keep->root[o->out[0]] : KP_NO;
    bool z = y != KP_NO && (kind == NODE_WEIGHTY || (kind == NODE_AVERAGE && keep->wants[op]));
    if (z) keep->values[y].written = true;
    bool apart = kind == NODE_AVERAGE && kp_keep_apart(o);
    keep->back[op] = m->adds[op] || apart ? KP_BACK_PASS
                     : o->op == KP_OP_RNN ? KP_BACK_LOOP
                                          : back_of[kind];
    bool pool = kind == NODE_POOL && keep->wants[op];
    if (pool || o->op == KP_OP_OPAQUE) keep->values[y].written = true;
    if (!kp_keep_xla_stages(keep, op)) return false;
    if (!keep->wants[op]) return true;
    if (keep->zeros[op] != KP_NO && !kp_keep_xla_zeros_of(keep, op)) return false;
    if (z && m->curved_reader[y] && !m->in_place[op] && !kp_keep_need(keep, op, y)) return false;
    if (kind == NODE_POOL) return kp_keep_xla_pool(keep, op);
    if (kind == NODE_AVERAGE) return kp_keep_xla_windows(keep, op);
    if (kind == NODE_CURVED) return kp_keep_xla_curved(keep, op);
    if (o->op == KP_OP_REDUCE) return kp_keep_xla_average(keep, op);
    if (kind != NODE_WEIGHTY || m->adds[op]) return true;
    if (o->op == KP_OP_ATTN_SCORES && !kp_keep_xla_sums(keep, op)) return false;
    if (kp_keep_trains(g, o))
        return kp_keep_xla_input(keep, op, m->adds) && kp_keep_xla_turned(keep, op);
    if (o->n_weights) return true;
    for (uint32_t k = 0; k < o->n_in; k++)
        if (!kp_keep_need(keep, op, keep->root[o->in[k]])) return false;
    return kp_keep_xla_scores(keep, op, m->curved_reader[y]);
}

/* The loss fuses with what it reads, unless that is a reduction or must be converted to float32. */
static void write_outputs(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t root = keep->root[g->outputs[i]];
        const kp_graph_op *op = &g->ops[g->tensors[root].op];
        bool half = kp_dtype_bytes(g->tensors[root].dtype) < 4;
        bool stacked = op->op == KP_OP_SOFTMAX &&
                       kp_keep_is_part(&g->ops[g->tensors[g->outputs[i]].op], "unfold");
        bool reduced = op->op == KP_OP_REDUCE || kp_keep_global(keep, op) || stacked;
        if ((half || reduced) && kp_keep_inside(keep, g->tensors[root].op))
            keep->values[root].written = true;
    }
}

bool kp_keep_xla(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    xla_marks m = {KP_NEW(keep->arena, bool, g->n_tensors), KP_NEW(keep->arena, bool, g->n_ops),
                   KP_NEW(keep->arena, bool, g->n_ops)};
    if (!m.curved_reader || !m.in_place || !m.adds || !find_roots(keep) || !kp_keep_xla_zeros(keep))
        return false;
    find_readers(keep, &m);
    for (uint32_t i = 0; i < g->n_ops; i++) {
        keep->first_need[i] = keep->n_needs;
        keep->first_extra[i] = keep->n_extras;
        if (kp_keep_inside(keep, i) && !keep->skipped[i] && !keep_op(keep, &m, i)) return false;
    }
    keep->first_need[g->n_ops] = keep->n_needs;
    keep->first_extra[g->n_ops] = keep->n_extras;
    write_outputs(keep);
    return true;
}
