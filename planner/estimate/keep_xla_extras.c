/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_xla_extras.c — buffers of XLA:GPU beside the values themselves: zeros of a
 * pooling, GELU's factor, centred inputs of normalisations, scores of attention, every step of a
 * recurrent loop. Source: buffer assignments of XLA:GPU for Keras 3.15 train steps on an H100. */
#include "planner/estimate/keep.h"

/* Columns of at most so many rows are reduced in one kernel; taller ones are split in two
 * (xla/service/gpu/reduction_utils.cc: 128 rows a thread of a warp). In one kernel
 * BatchNormalization's variance reads x - mean from memory. */
#define ONE_PASS_ROWS (128 * 32)

static bool extra(kp_keep *keep, uint32_t op, kp_extra_when when, kp_category category,
                  const char *what, uint32_t tensor, uint64_t times, kp_dtype dtype)
{
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, tensor);
    kp_extra made = {op,
                     when,
                     category,
                     what,
                     &keep->sizes->tensors[tensor],
                     dtype,
                     kp_mul_u64(kp_mul_u64(elems, kp_dtype_bytes(dtype)), times)};
    return kp_keep_extra(keep, made);
}

/* ---- max pooling ---- */

static bool windowed(const kp_graph_op *op)
{
    bool any = false;
    for (unsigned i = 0; i < op->attr.spatial; i++) any |= op->attr.kernel[i] > 1;
    return op->op == KP_OP_POOL_MAX && any;
}

/* The ReLU that a pooling reads and nobody else does; KP_NO. */
static uint32_t relu_below(const kp_keep *keep, uint32_t op)
{
    const kp_graph *g = keep->graph;
    if (!windowed(&g->ops[op])) return KP_NO;
    const kp_tensor *x = &g->tensors[keep->root[g->ops[op].in[0]]];
    bool relu = g->ops[x->op].op == KP_OP_RELU && x->n_uses == 1 && kp_keep_inside(keep, x->op);
    return relu ? x->op : KP_NO;
}

uint32_t kp_keep_xla_pooled(const kp_keep *keep, uint32_t op, uint32_t *ret_relu)
{
    const kp_graph *g = keep->graph;
    uint32_t below = relu_below(keep, op);
    *ret_relu = below;
    while (below != KP_NO && g->ops[below].n_in == 1) {
        if (kp_op_rows[g->ops[below].op].kind == KP_KIND_WEIGHTY) return below;
        const kp_tensor *x = &g->tensors[keep->root[g->ops[below].in[0]]];
        below = x->n_uses == 1 && kp_keep_inside(keep, x->op) ? x->op : KP_NO;
    }
    return KP_NO;
}

/* The ReLU's constant is written in the forward pass, like the start of the pooling's scatter, and
 * read by the gradient of the op below it. */
bool kp_keep_xla_zeros(kp_keep *keep, uint32_t relu)
{
    uint32_t y = keep->graph->ops[relu].out[0];
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, y);
    kp_dtype dtype = keep->graph->tensors[y].dtype;
    kp_extra constant = {relu,
                         KP_EXTRA_KEPT,
                         KP_CAT_ACTIVATIONS,
                         "zeros of the ReLU before a pooling",
                         &keep->sizes->tensors[y],
                         dtype,
                         kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    return kp_keep_extra(keep, constant);
}

/* Each axis's position and the value of every window; where cuDNN wants the channels elsewhere
 * they are made as soon as the values are there. */
bool kp_keep_xla_pool(kp_keep *keep, uint32_t op)
{
    const kp_graph *g = keep->graph;
    const kp_graph_op *o = &g->ops[op];
    uint32_t x = keep->root[o->in[0]], below, relu = relu_below(keep, op);
    kp_shape y = keep->sizes->tensors[o->out[0]];
    bool early = o->attr.spatial > 2 && !o->attr.channels_first && y.dim[y.rank - 1] > 1;
    bool apart = relu != KP_NO && kp_keep_xla_pooled(keep, op, &below) == KP_NO;
    if (apart && !kp_keep_xla_zeros(keep, relu)) return false;
    if (relu != KP_NO && !extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS,
                                "zeros of the pooling's gradient", x, 1, g->tensors[x].dtype))
        return false;
    return extra(keep, op, early ? KP_EXTRA_START : KP_EXTRA_BACKWARD, KP_CAT_TEMPORARY,
                 "window positions", o->out[0], y.rank + 1u, KP_INT32);
}

/* ---- curved ops ---- */

static bool norm_extras(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    uint32_t y = o->out[0];
    kp_shape shape = keep->sizes->tensors[y];
    bool axis = o->attr.axis >= 0 && (unsigned)o->attr.axis < shape.rank;
    uint64_t channels = axis ? (uint64_t)shape.dim[o->attr.axis] : 1;
    bool few = channels && kp_shape_elems(shape, 1) / channels <= ONE_PASS_ROWS;
    return !few || extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "input less its mean", y, 1,
                         KP_FLOAT32);
}

static bool table_extras(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!kp_keep_trains(keep->graph, o)) return true;
    const kp_shape *shape = &keep->sizes->weights[o->weights[0]];
    kp_extra made = {op,
                     KP_EXTRA_START,
                     KP_CAT_GRADIENTS,
                     "dense gradient of the table",
                     shape,
                     KP_FLOAT32,
                     kp_mul_u64(kp_shape_elems(*shape, 1), 4)};
    return kp_keep_extra(keep, made);
}

bool kp_keep_xla_curved(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    kp_dtype dtype = keep->graph->tensors[o->out[0]].dtype;
    bool gelu = o->op == KP_OP_ACT && o->attr.activation == KP_ACT_GELU;
    if (o->op == KP_OP_BATCHNORM) return norm_extras(keep, op);
    if (o->op == KP_OP_GATHER) return table_extras(keep, op);
    if (gelu)
        return extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "factor of GELU", o->out[0],
                     dtype == KP_FLOAT32 ? 1 : 2, dtype);
    return o->op != KP_OP_RNN || kp_keep_xla_rnn(keep, op);
}

/* The scores that the softmax reads. Without a dropout Keras calls the backend's attention, which
 * computes them in float32; a dropout behind the softmax fuses with it: then the output stands for
 * the scores. */
bool kp_keep_xla_scores(kp_keep *keep, uint32_t op, bool read)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (o->op != KP_OP_ATTN_SCORES || read) return true;
    bool again = kp_keep_again(keep, op);
    return extra(keep, op, again ? KP_EXTRA_BACKWARD : KP_EXTRA_KEPT,
                 again ? KP_CAT_TEMPORARY : KP_CAT_ACTIVATIONS, "scores before the softmax",
                 o->out[0], 1, KP_FLOAT32);
}
