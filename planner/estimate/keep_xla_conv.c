/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_xla_conv.c — what convolutions read from memory under XLA:GPU.
 *
 * cuDNN takes 1-D and 2-D convolutions channels last, 3-D ones channels first, and pads evenly
 * itself. What differs is a copy: uneven padding, another layout, the batch and channel axes
 * exchanged where a weight gradient is itself a convolution (dilated and transposed ones: x with
 * its channels as the batch, dz with its batch as the channels). An op that fuses writes its
 * result in the form that is asked for; a call or the model's input needs a copy of its own.
 * Source: buffer assignments of XLA:GPU for Keras 3.15 train steps on an H100. */
#include "planner/estimate/keep.h"

static int64_t at_least_one(uint32_t value)
{
    return value ? value : 1;
}

static bool is_conv(const kp_graph_op *op)
{
    return op->op == KP_OP_CONV || op->op == KP_OP_CONV_DEPTHWISE;
}

/* Convolutions whose weight gradient is a convolution of transposed operands. */
static bool turned(const kp_graph_op *op)
{
    if (op->op == KP_OP_CONV_TRANSPOSE) return true;
    if (op->op != KP_OP_CONV || op->attr.groups > 1) return false;
    for (unsigned i = 0; i < op->attr.spatial; i++)
        if (op->attr.kernel[i] > 1 && op->attr.dilation[i] > 1) return true;
    return false;
}

/* A transposed convolution that puts zeros between the elements. */
static bool strided(const kp_graph_op *op)
{
    bool any = false;
    if (op->op != KP_OP_CONV_TRANSPOSE) return false;
    for (unsigned i = 0; i < op->attr.spatial; i++) any |= op->attr.strides[i] > 1;
    return any;
}

static unsigned first_axis(const kp_graph_op *op)
{
    return op->attr.channels_first ? 2 : 1;
}

/* True if cuDNN wants the axes in another order; with one channel both orders are one. */
static bool reordered(const kp_graph_op *op, kp_shape x)
{
    bool conv = is_conv(op) || op->op == KP_OP_CONV_TRANSPOSE;
    unsigned channels = op->attr.channels_first ? 1u : x.rank - 1u;
    bool last = op->attr.spatial < 3;
    return conv && x.rank > 2 && x.dim[channels] > 1 && last == op->attr.channels_first;
}

/* ---- padding ---- */

/* What 'same' padding adds on one side alone; 'causal' stands before the sequence altogether. */
static int64_t uneven_padding(const kp_graph_op *conv, unsigned axis, int64_t size)
{
    int64_t stride = at_least_one(conv->attr.strides[axis]);
    int64_t dilation = at_least_one(conv->attr.dilation[axis]);
    int64_t window = ((int64_t)conv->attr.kernel[axis] - 1) * dilation + 1;
    if (conv->attr.causal) return window - 1;
    int64_t pad = ((size + stride - 1) / stride - 1) * stride + window - size;
    return pad > 0 ? pad % 2 : 0;
}

/* What a weighty op reads below zero padding, and the elements of the copy that uneven padding
 * makes (0: none; even padding goes into cuDNN). */
static uint32_t under_padding(const kp_keep *keep, const kp_graph_op *op, uint64_t *ret_elems)
{
    const kp_graph *g = keep->graph;
    uint32_t root = keep->root[op->in[0]];
    int64_t extra[3] = {0};
    bool padded = false;
    const kp_graph_op *below = &g->ops[g->tensors[root].op];
    while (below->op == KP_OP_PAD && kp_keep_inside(keep, g->tensors[root].op)) {
        for (unsigned i = 0; i < below->attr.spatial && i < 3; i++)
            extra[i] += below->attr.pad[i][1] > below->attr.pad[i][0]
                            ? below->attr.pad[i][1] - below->attr.pad[i][0]
                            : below->attr.pad[i][0] - below->attr.pad[i][1];
        root = keep->root[below->in[0]];
        below = &g->ops[g->tensors[root].op];
        padded = true;
    }
    kp_shape shape = keep->sizes->tensors[root];
    unsigned first = first_axis(op);
    bool any = false;
    for (unsigned i = 0; i < op->attr.spatial && first + i < shape.rank; i++) {
        if (!padded && is_conv(op) && op->attr.same_padding)
            extra[i] = uneven_padding(op, i, shape.dim[first + i]);
        any |= extra[i] != 0;
        shape.dim[first + i] += extra[i];
    }
    *ret_elems = any ? kp_shape_elems(shape, 1) : 0;
    return root;
}

/* The input of a transposed convolution with zeros between its elements: as its weight gradient
 * reads it; cuDNN's 3-D one also pads it to the full output. */
static uint64_t spread_elems(const kp_keep *keep, const kp_graph_op *op)
{
    kp_shape x = keep->sizes->tensors[keep->root[op->in[0]]], y = keep->sizes->tensors[op->out[0]];
    unsigned first = first_axis(op);
    for (unsigned i = 0; i < op->attr.spatial && first + i < x.rank; i++) {
        int64_t stride = at_least_one(op->attr.strides[i]);
        x.dim[first + i] = op->attr.spatial > 2
                               ? y.dim[first + i] + at_least_one(op->attr.kernel[i]) - 1
                               : (x.dim[first + i] - 1) * stride + 1;
    }
    return kp_shape_elems(x, 1);
}

/* TimeDistributed runs its layer step by step: slices of the model's input, and the stack of all
 * steps' outputs unless another TimeDistributed reads them, are copies. */
static bool sliced(const kp_keep *keep, const kp_graph_op *op)
{
    const kp_graph *g = keep->graph;
    uint32_t t = op->in[0];
    bool folded = false, stacked = false;
    for (const kp_graph_op *o = &g->ops[g->tensors[t].op]; o->op == KP_OP_VIEW;
         o = &g->ops[g->tensors[t].op]) {
        bool unfold = kp_keep_is_part(o, "unfold");
        stacked |= unfold && !folded;
        folded = kp_keep_is_part(o, "fold") || (folded && !unfold);
        t = o->in[0];
    }
    return stacked || folded;
}

/* ---- a ---- */

bool kp_keep_xla_input(kp_keep *keep, uint32_t op, const bool *adds)
{
    const kp_graph *g = keep->graph;
    const kp_graph_op *o = &g->ops[op];
    uint64_t elems;
    uint32_t root = under_padding(keep, o, &elems), writer = g->tensors[root].op;
    kp_dtype dtype = g->tensors[o->out[0]].dtype, own = g->tensors[root].dtype;
    bool input = g->ops[writer].op == KP_OP_INPUT || !kp_keep_inside(keep, writer);
    bool call = kp_op_rows[g->ops[writer].op].kind == KP_KIND_WEIGHTY && !adds[writer];
    bool cast = input && kp_dtype_is_float(own) && own != dtype;
    bool parts = kp_keep_elems(keep, root) < kp_sizes_tensor_elems(keep->sizes, root);
    bool other = parts || (turned(o) && !strided(o)) || sliced(keep, o) ||
                 (input && reordered(o, keep->sizes->tensors[root]));
    if (!cast && !((elems || other) && (input || call))) {
        kp_value *v = &keep->values[root];
        if (elems) v->bytes = kp_max_u64(v->bytes, kp_mul_u64(elems, kp_dtype_bytes(v->dtype)));
        return kp_keep_need(keep, op, root);
    }
    kp_value *copy = &keep->values[g->n_tensors + root];
    uint64_t bytes =
        kp_mul_u64(elems ? elems : kp_sizes_tensor_elems(keep->sizes, root), kp_dtype_bytes(dtype));
    copy->bytes = kp_max_u64(copy->bytes, bytes);
    copy->dtype = dtype;
    if (copy->writer == KP_NO) copy->writer = op;
    return kp_keep_need(keep, op, g->n_tensors + root);
}

/* ---- the weight gradient ---- */

bool kp_keep_xla_turned(kp_keep *keep, uint32_t op)
{
    const kp_graph *g = keep->graph;
    const kp_graph_op *o = &g->ops[op];
    if (!turned(o)) return true;
    uint32_t y = o->out[0], x = keep->root[o->in[0]], size = kp_dtype_bytes(g->tensors[y].dtype);
    kp_extra dz = {op,
                   KP_EXTRA_GRADIENT,
                   KP_CAT_TEMPORARY,
                   "gradient of the output, batch last",
                   &keep->sizes->tensors[y],
                   g->tensors[y].dtype,
                   kp_mul_u64(kp_sizes_tensor_elems(keep->sizes, y), size)};
    if (!kp_keep_extra(keep, dz)) return false;
    if (!strided(o)) return true;
    kp_extra spread = {op,
                       KP_EXTRA_BACKWARD,
                       KP_CAT_TEMPORARY,
                       "input with zeros between",
                       &keep->sizes->tensors[x],
                       g->tensors[y].dtype,
                       kp_mul_u64(spread_elems(keep, o), size)};
    return kp_keep_extra(keep, spread);
}
