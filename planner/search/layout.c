/* SPDX-License-Identifier: MIT */
#include "planner/search/layout.h"

/* How a divided layout passes through an op. */
typedef enum pass {
    PASS_NONE,    /* it does not */
    PASS_ELEMENT, /* elementwise: the axis stays, counted from the right */
    PASS_CHANNEL, /* every channel for itself: only if the divided axis is the op's channel axis */
    PASS_OTHER,   /* works along attr.axis: only if another one is divided */
    PASS_REDUCE,  /* other axes vanish */
    PASS_VIEW,    /* the same elements in the same order */
    PASS_HEADS,   /* attention */
} pass;

/* clang-format off */
static const uint8_t passes[KP_OP_COUNT] = {
    [KP_OP_CONV_DEPTHWISE] = PASS_CHANNEL, [KP_OP_ATTN_SCORES] = PASS_HEADS,
    [KP_OP_ATTN_CONTEXT] = PASS_HEADS,     [KP_OP_BIAS_ADD] = PASS_ELEMENT,
    [KP_OP_RELU] = PASS_ELEMENT,           [KP_OP_ACT] = PASS_ELEMENT,
    [KP_OP_SOFTMAX] = PASS_OTHER,          [KP_OP_BATCHNORM] = PASS_CHANNEL,
    [KP_OP_LAYERNORM] = PASS_OTHER,        [KP_OP_RMSNORM] = PASS_OTHER,
    [KP_OP_GROUPNORM] = PASS_CHANNEL,      [KP_OP_SCALE] = PASS_ELEMENT,
    [KP_OP_DROPOUT] = PASS_ELEMENT,        [KP_OP_MUL] = PASS_ELEMENT,
    [KP_OP_MAXMIN] = PASS_ELEMENT,         [KP_OP_MATH] = PASS_ELEMENT,
    [KP_OP_ADD] = PASS_ELEMENT,            [KP_OP_CONCAT] = PASS_OTHER,
    [KP_OP_PAD] = PASS_CHANNEL,            [KP_OP_UPSAMPLE] = PASS_CHANNEL,
    [KP_OP_RESCALE] = PASS_ELEMENT,        [KP_OP_REDUCE] = PASS_REDUCE,
    [KP_OP_CAST] = PASS_ELEMENT,           [KP_OP_POOL_MAX] = PASS_CHANNEL,
    [KP_OP_POOL_AVG] = PASS_CHANNEL,       [KP_OP_VIEW] = PASS_VIEW,
};
/* clang-format on */

/* Functions along the channels need all of them. */
static bool activation_mixes(kp_activation activation)
{
    return activation == KP_ACT_SOFTMAX || activation == KP_ACT_LOG_SOFTMAX ||
           activation == KP_ACT_GLU || activation == KP_ACT_SPARSEMAX || activation == KP_ACT_OTHER;
}

static kp_shape in_shape(const kp_graph *graph, const kp_graph_op *op, uint32_t i)
{
    return graph->tensors[op->in[i]].shape;
}

static kp_shape out_shape(const kp_graph *graph, const kp_graph_op *op)
{
    return graph->tensors[op->out[0]].shape;
}

static kp_shape weight_shape(const kp_graph *graph, const kp_graph_op *op)
{
    return op->n_weights ? graph->weights[op->weights[0]].shape : (kp_shape){0};
}

kp_shard_axes kp_layout_axes(const kp_graph *graph, const kp_graph_op *op, const kp_shard_row *row)
{
    kp_shape x = op->n_in ? in_shape(graph, op, 0) : (kp_shape){0};
    return kp_shard_axes_of(row, x, weight_shape(graph, op), out_shape(graph, op),
                            op->attr.channels_first, op->attr.transposed_w);
}

static bool axis_in(kp_shape shape, int axis)
{
    return axis >= 0 && axis < shape.rank;
}

/* ---- how a divided axis passes ---- */

/* The same axis counted from the right, if it has the same size there. */
static int pass_aligned(kp_shape in, int axis, kp_shape out)
{
    int at = out.rank - in.rank + axis;
    return axis_in(out, at) && out.dim[at] == in.dim[axis] ? at : -1;
}

/* Windows, padding and repetition change other axes only; a window over everything ends in
 * pass_reduce. */
static int pass_channel(const kp_graph_op *op, kp_shape in, int axis, kp_shape out)
{
    int channels = op->attr.channels_first ? 1 : in.rank - 1;
    if (op->op == KP_OP_BATCHNORM || op->op == KP_OP_GROUPNORM) channels = op->attr.axis;
    if (axis != channels || in.rank != out.rank) return -1;
    return out.dim[axis] > 0 && out.dim[axis] % in.dim[axis] == 0 ? axis : -1;
}

/* Trailing channels stay last, channels in front stay behind the batch. */
static int pass_reduce(const kp_graph_op *op, kp_shape in, int axis, kp_shape out)
{
    int channels = op->attr.channels_first ? 1 : in.rank - 1;
    int at = in.rank == out.rank ? axis : op->attr.channels_first ? 1 : out.rank - 1;
    if (axis != channels || !axis_in(out, at) || in.rank < 3) return -1;
    return out.dim[at] == in.dim[axis] ? at : -1;
}

/* Elements keep their order, so a slice of an axis stays a slice where as many elements stand in
 * front: of the same axis, or of the heads it is split into or joined from. */
static int pass_view(kp_shape in, int axis, kp_shape out, uint32_t tp)
{
    if (!kp_shape_known(in) || !kp_shape_known(out)) return -1;
    int64_t before = kp_shape_product(in, 0, (unsigned)axis), size = in.dim[axis];
    int64_t product = 1;
    for (int at = 0; at < out.rank && product <= before; at++) {
        int64_t dim = out.dim[at];
        if (product == before && at > 0 && dim > 1) {
            if (dim == size) return at;
            bool split = dim > 0 && size % dim == 0 && dim % tp == 0;
            bool joined = dim % size == 0 && size % tp == 0;
            return split || joined ? at : -1;
        }
        product *= dim > 0 ? dim : 1;
    }
    return -1;
}

/* Heads: axis of (B, T, H, D) and (B, H, T, S), or blocks of (B, T, H x D). */
static int heads_axis(kp_shape shape, uint32_t heads, bool scores)
{
    if (shape.rank == 4) return scores ? 1 : 2;
    return shape.rank == 3 && shape.dim[2] % (int64_t)heads == 0 ? 2 : -1;
}

static bool is_scores(const kp_graph_op *op, uint32_t i)
{
    return op->op == KP_OP_ATTN_CONTEXT && i == 0;
}

static int pass_heads(const kp_layouts *l, const kp_graph_op *op)
{
    if (op->attr.heads == 0 || op->attr.heads % l->tp || op->n_in < 2) return -1;
    for (uint32_t i = 0; i < 2; i++) {
        kp_shape in = in_shape(l->graph, op, i);
        int at = heads_axis(in, op->attr.heads, is_scores(op, i));
        if (at < 0 || l->axis[op->in[i]] != at || in.dim[at] % (int64_t)l->tp) return -1;
    }
    return heads_axis(out_shape(l->graph, op), op->attr.heads, op->op == KP_OP_ATTN_SCORES);
}

/* The axis of the output if input i comes divided on its own; -1 if that cannot be. */
static int pass_input(const kp_layouts *l, const kp_graph_op *op, uint32_t i)
{
    kp_shape in = in_shape(l->graph, op, i), out = out_shape(l->graph, op);
    int axis = l->axis[op->in[i]];
    if (axis < 0) return -1;
    switch (passes[op->op]) {
    case PASS_ELEMENT:
        return pass_aligned(in, axis, out);
    case PASS_CHANNEL:
        return in.rank > out.rank ? pass_reduce(op, in, axis, out)
                                  : pass_channel(op, in, axis, out);
    case PASS_OTHER:
        return axis != op->attr.axis ? pass_aligned(in, axis, out) : -1;
    case PASS_REDUCE:
        return pass_reduce(op, in, axis, out);
    case PASS_VIEW:
        return pass_view(in, axis, out, l->tp);
    default:
        return -1;
    }
}

/* Inputs may lie the same for all slices: sums and products, and what is joined along another axis. */
static bool may_broadcast(const kp_graph_op *op)
{
    return op->n_in > 1 && (passes[op->op] == PASS_ELEMENT || op->op == KP_OP_CONCAT);
}

/* True if an input lies the same for all slices of the output's axis. */
static bool broadcast(kp_shape in, kp_shape out, int out_axis)
{
    int at = out_axis - (out.rank - in.rank);
    return at < 0 || in.dim[at] == 1;
}

bool kp_layout_divides_input(const kp_layouts *l, const kp_graph_op *op, const kp_shard_row *row,
                             uint32_t i)
{
    if (row->x != KP_LAYOUT_CHANNEL) return false;
    if (passes[op->op] == PASS_HEADS) return i < 2;
    if (!may_broadcast(op)) return true;
    int axis = l->axis[op->out[0]];
    return axis < 0 || !broadcast(in_shape(l->graph, op, i), out_shape(l->graph, op), axis);
}

/* The output's divided axis of an op that passes a layout on: all inputs agree. */
static int pass_axis(const kp_layouts *l, const kp_graph_op *op)
{
    if (passes[op->op] == PASS_HEADS) return pass_heads(l, op);
    int axis = -1;
    for (uint32_t i = 0; i < op->n_in && axis < 0; i++) axis = pass_input(l, op, i);
    kp_shape out = out_shape(l->graph, op);
    for (uint32_t i = 0; i < op->n_in && axis >= 0; i++) {
        if (may_broadcast(op) && broadcast(in_shape(l->graph, op, i), out, axis)) continue;
        if (pass_input(l, op, i) != axis) return -1;
    }
    return axis;
}

/* Weights along the divided axis must be divided with it. */
static bool weights_follow(const kp_layouts *l, const kp_graph_op *op, int out_axis)
{
    const kp_shard_row *row = kp_shard_find(op->op, KP_CUT_COLUMN);
    if (!row || row->weight_axis == KP_AXIS_WHOLE || op->n_weights == 0) return true;
    kp_shape in = in_shape(l->graph, op, 0), out = out_shape(l->graph, op);
    kp_shard_axes axes = kp_layout_axes(l->graph, op, row);
    if (op->op == KP_OP_CONV_DEPTHWISE) /* blocks of depth_multiplier outputs a channel */
        return out.dim[out_axis] == in.dim[out_axis] || in.dim[out_axis] % (int64_t)l->tp == 0;
    if (op->op == KP_OP_GROUPNORM && (op->attr.groups == 0 || op->attr.groups % l->tp))
        return false;
    if (op->op == KP_OP_BIAS_ADD || op->op == KP_OP_SCALE)
        if (axes.y != out_axis) return false;
    for (uint32_t i = 0; i < op->n_weights; i++) {
        kp_shape w = l->graph->weights[op->weights[i]].shape;
        if (!axis_in(w, axes.w) || w.dim[axes.w] != out.dim[out_axis]) return false;
    }
    return true;
}

/* ---- ops that divide by themselves ---- */

static bool divides_itself(kp_op op)
{
    return op == KP_OP_MATMUL || op == KP_OP_CONV || op == KP_OP_CONV_TRANSPOSE ||
           op == KP_OP_GATHER;
}

/* The shapes are those of a plain product: sizes agree along the axes that would be cut. */
static bool plain_product(const kp_graph *graph, const kp_graph_op *op, const kp_shard_row *row)
{
    if (op->n_in != 1 || op->n_out != 1 || op->n_weights != 1) return false;
    if (op->op != KP_OP_MATMUL && op->op != KP_OP_GATHER && op->attr.groups > 1) return false;
    kp_shard_axes axes = kp_layout_axes(graph, op, row);
    kp_shape x = in_shape(graph, op, 0), w = weight_shape(graph, op), y = out_shape(graph, op);
    if (!axis_in(w, axes.w)) return false;
    if (axes.y >= 0 && (!axis_in(y, axes.y) || y.dim[axes.y] != w.dim[axes.w])) return false;
    if (axes.x >= 0 && (!axis_in(x, axes.x) || x.dim[axes.x] != w.dim[axes.w])) return false;
    return true;
}

uint64_t kp_layout_cut_size(const kp_layouts *l, const kp_graph_op *op, const kp_shard_row *row)
{
    kp_shard_axes axes = kp_layout_axes(l->graph, op, row);
    kp_shape w = weight_shape(l->graph, op), y = out_shape(l->graph, op);
    if (divides_itself(op->op) && axis_in(w, axes.w)) return (uint64_t)w.dim[axes.w];
    int axis = l->axis[op->out[0]];
    int64_t dim = axis_in(y, axis) ? y.dim[axis] : 1;
    return dim > 0 ? (uint64_t)dim : 1;
}

bool kp_layout_allows(const kp_layouts *l, const kp_graph_op *op, const kp_shard_row *row)
{
    if (row->cut == KP_CUT_BATCH) return false;
    bool out_divided = row->y == KP_LAYOUT_CHANNEL;
    if (out_divided && l->axis[op->out[0]] < 0) return false;
    if (!divides_itself(op->op))
        return pass_axis(l, op) >= 0 && weights_follow(l, op, pass_axis(l, op));
    if (!plain_product(l->graph, op, row)) return false;
    if (kp_layout_cut_size(l, op, row) < l->tp) return false;
    if (row->x != KP_LAYOUT_CHANNEL) return true;
    return l->axis[op->in[0]] == kp_layout_axes(l->graph, op, row).x;
}

/* ---- the axes of all tensors ---- */

static int axis_of_output(const kp_layouts *l, const kp_graph_op *op)
{
    if (op->n_out != 1 || op->n_in == 0) return -1;
    kp_shape y = out_shape(l->graph, op);
    int axis = -1;
    if (op->op == KP_OP_ACT && activation_mixes(op->attr.activation)) return -1;
    if (divides_itself(op->op)) {
        const kp_shard_row *row = kp_shard_find(op->op, KP_CUT_COLUMN);
        if (plain_product(l->graph, op, row)) axis = kp_layout_axes(l->graph, op, row).y;
    } else {
        axis = pass_axis(l, op);
        if (axis >= 0 && !weights_follow(l, op, axis)) axis = -1;
    }
    return axis_in(y, axis) && y.dim[axis] >= (int64_t)l->tp ? axis : -1;
}

/* True if some row lets the op take input i divided. */
static bool accepts(const kp_layouts *l, const kp_graph_op *op, uint32_t i)
{
    for (int cut = KP_CUT_COLUMN; cut < KP_CUT_COUNT; cut++) {
        const kp_shard_row *row = kp_shard_find(op->op, (kp_cut)cut);
        if (row && row->x == KP_LAYOUT_CHANNEL && kp_layout_allows(l, op, row) &&
            kp_layout_divides_input(l, op, row, i))
            return true;
    }
    return false;
}

/* A tensor that one of its readers cannot take divided stays whole, as do outputs of the model and
 * what nobody reads; which may close the way for those in front of it, and so on. */
static void close_dead_ends(kp_layouts *l)
{
    const kp_graph *graph = l->graph;
    bool loss_takes = graph->format == KP_FORMAT_MEGATRON; /* logits divided by the vocabulary */
    for (uint32_t i = 0; i < graph->n_outputs && !loss_takes; i++) l->axis[graph->outputs[i]] = -1;
    for (uint32_t t = 0; t < graph->n_tensors && !loss_takes; t++)
        if (l->last_use[t] == KP_NO) l->axis[t] = -1;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t o = graph->n_ops; o-- > 0;) {
            const kp_graph_op *op = &graph->ops[o];
            for (uint32_t i = 0; i < op->n_in; i++) {
                if (l->axis[op->in[i]] < 0 || accepts(l, op, i)) continue;
                l->axis[op->in[i]] = -1;
                changed = true;
            }
        }
    }
}

kp_status kp_layouts_make(const kp_graph *graph, uint32_t tp, kp_arena *arena, kp_layouts *ret,
                          kp_err *err)
{
    kp_layouts l = {.graph = graph, .tp = tp};
    l.axis = KP_NEW(arena, int8_t, graph->n_tensors);
    l.last_use = KP_NEW(arena, uint32_t, graph->n_tensors);
    if (!l.axis || !l.last_use) return kp_nomem(err);
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        l.axis[t] = -1;
        l.last_use[t] = KP_NO;
    }
    for (uint32_t o = 0; o < graph->n_ops; o++)
        for (uint32_t i = 0; i < graph->ops[o].n_in; i++) l.last_use[graph->ops[o].in[i]] = o;
    for (uint32_t o = 0; o < graph->n_ops; o++) {
        const kp_graph_op *op = &graph->ops[o];
        if (op->n_out) l.axis[op->out[0]] = (int8_t)axis_of_output(&l, op);
    }
    close_dead_ends(&l);
    *ret = l;
    return KP_OK;
}
