/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_rnn.c — what recurrent layers keep: every step of a loop, or cuDNN's
 * reserve space.
 *
 * XLA's loop saves the gates' inputs and the states of every step in buffers [steps, batch, units];
 * a step itself has its gates, states and weight gradients in memory. The input is read time
 * first, which is how a recurrent layer below has written it. GRU layers (reset_after) project all
 * steps before the loop and keep all steps' gradients of the projection for one product behind it.
 * Source: buffer assignments of XLA:GPU for Keras 3.15 train steps on an H100. */
#include "planner/estimate/keep.h"

/* Saved [steps, batch, units] buffers of the plain loop, and of cuDNN's reserve space in float32.
 */
static const uint8_t loop_buffers[] = {
    [KP_CELL_SIMPLE] = 3, [KP_CELL_GRU] = 9, [KP_CELL_LSTM] = 12, [KP_CELL_CONV_LSTM] = 13};
static const uint8_t cudnn_buffers[] = {
    [KP_CELL_SIMPLE] = 2, [KP_CELL_GRU] = 6, [KP_CELL_LSTM] = 5, [KP_CELL_CONV_LSTM] = 13};
static const uint8_t gates_of[] = {
    [KP_CELL_SIMPLE] = 1, [KP_CELL_GRU] = 3, [KP_CELL_LSTM] = 4, [KP_CELL_CONV_LSTM] = 4};

/* States and gates of one step, in buffers [batch, rows, columns, filters]. */
enum { CONV_STEP_BUFFERS = 10 };

typedef struct sizes_of_loop {
    uint64_t steps, batch, width; /* width: elements of a step and sample */
    uint64_t input;               /* elements of an input step and sample */
    uint64_t gates;
    uint64_t kernels; /* elements of both kernels */
} sizes_of_loop;

static bool cudnn_takes(const kp_keep *keep, const kp_graph_op *op)
{
    bool cell = op->attr.cell == KP_CELL_LSTM || op->attr.cell == KP_CELL_GRU;
    return keep->training->rnn == KP_RNN_CUDNN && cell && op->attr.activation == KP_ACT_TANH;
}

static sizes_of_loop measure(const kp_keep *keep, const kp_graph_op *o)
{
    uint32_t x = o->in[0], y = o->out[0];
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, x);
    sizes_of_loop s = {.steps = kp_max_u64(o->attr.steps, 1), .gates = gates_of[o->attr.cell]};
    kp_shape shape = keep->sizes->tensors[x];
    s.batch = shape.rank && shape.dim[0] > 0 ? (uint64_t)shape.dim[0] : keep->sizes->micro_batch;
    s.input = elems / kp_max_u64(kp_mul_u64(s.batch, s.steps), 1);
    s.width = o->attr.units;
    if (o->attr.cell == KP_CELL_CONV_LSTM || !s.width)
        s.width = kp_sizes_tensor_elems(keep->sizes, y) /
                  kp_max_u64(o->attr.return_sequences ? kp_mul_u64(s.steps, s.batch) : s.batch, 1);
    for (uint32_t k = 0; k < o->n_weights; k++) {
        kp_weight_role role = keep->graph->weights[o->weights[k]].role;
        if (role == KP_ROLE_KERNEL || role == KP_ROLE_RECURRENT)
            s.kernels = kp_add_u64(s.kernels, kp_sizes_weight_elems(keep->sizes, o->weights[k]));
    }
    return s;
}

/* `copies` buffers [steps, batch, width]; false: out of memory. */
static bool steps_extra(kp_keep *keep, uint32_t op, kp_extra_when when, const char *what,
                        uint64_t copies, const sizes_of_loop *s, kp_dtype dtype)
{
    kp_shape *shape = KP_NEW(keep->arena, kp_shape, 1);
    if (!shape) return false;
    int64_t dims[] = {(int64_t)copies, (int64_t)s->steps, (int64_t)s->batch, (int64_t)s->width};
    shape->rank = copies > 1 ? 4 : 3;
    memcpy(shape->dim, dims + 4 - shape->rank, shape->rank * sizeof(*dims));
    uint64_t elems = kp_mul_u64(kp_mul_u64(kp_mul_u64(s->steps, s->batch), s->width), copies);
    kp_extra made = {op,
                     when,
                     when == KP_EXTRA_KEPT ? KP_CAT_ACTIVATIONS : KP_CAT_TEMPORARY,
                     what,
                     shape,
                     dtype,
                     kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    return kp_keep_extra(keep, made);
}

bool kp_keep_rnn(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    kp_dtype own = keep->graph->tensors[o->out[0]].dtype;
    bool cudnn = cudnn_takes(keep, o);
    sizes_of_loop s = measure(keep, o);
    uint64_t copies = cudnn ? cudnn_buffers[o->attr.cell] : loop_buffers[o->attr.cell];
    const char *what = cudnn ? "reserve space of cuDNN" : "gates and states of every step";
    if (!steps_extra(keep, op, KP_EXTRA_KEPT, what, copies, &s, cudnn ? KP_FLOAT32 : own))
        return false;
    if (!o->attr.return_sequences &&
        !steps_extra(keep, op, KP_EXTRA_KEPT, "output of every step", 1, &s, own))
        return false;
    return steps_extra(keep, op, KP_EXTRA_BACKWARD, "gradient of every step", 1, &s, own);
}

/* ---- XLA's loop ---- */

/* What one step has in memory: forward its gates twice with states and input; backward the gates'
 * gradients, those of input and state, and the kernels' gradient beside its sum. */
static bool step_extras(kp_keep *keep, uint32_t op, const sizes_of_loop *s, kp_dtype dtype)
{
    bool conv = keep->graph->ops[op].attr.cell == KP_CELL_CONV_LSTM;
    uint64_t gates = kp_mul_u64(s->gates, s->width);
    uint64_t forward = kp_add_u64(kp_mul_u64(gates, 2), s->input);
    uint64_t backward =
        kp_add_u64(kp_add_u64(gates, s->input), kp_mul_u64(s->width, s->gates > 1 ? 2 : 1));
    if (conv) forward = backward = kp_mul_u64(s->width, CONV_STEP_BUFFERS);
    uint64_t grads = conv ? 0 : kp_mul_u64(s->kernels, 2);
    uint64_t size = kp_dtype_bytes(dtype);
    kp_extra one = {op,
                    KP_EXTRA_FORWARD,
                    KP_CAT_TEMPORARY,
                    "gates and states of a step",
                    NULL,
                    dtype,
                    kp_mul_u64(kp_mul_u64(s->batch, forward), size)};
    kp_extra back = one;
    back.when = KP_EXTRA_BACKWARD;
    back.what = "gradients of a step";
    back.bytes = kp_mul_u64(kp_add_u64(kp_mul_u64(s->batch, backward), grads), size);
    return kp_keep_extra(keep, one) && kp_keep_extra(keep, back);
}

/* A GRU layer with reset_after projects all steps before its loop. A cell inside an RNN layer is
 * run step by step. */
static bool projects(const kp_keep *keep, const kp_graph_op *o)
{
    bool layer = strcmp(keep->graph->layers[o->layer].class_name, "RNN") != 0;
    return o->attr.cell == KP_CELL_GRU && o->attr.reset_after && layer;
}

/* The input, time first: below another recurrent layer it is so already. */
static bool time_first(kp_keep *keep, uint32_t op, kp_dtype dtype)
{
    const kp_graph *g = keep->graph;
    uint32_t root = keep->root[g->ops[op].in[0]], writer = g->tensors[root].op;
    if (!strncmp(g->ops[op].part, "backward", 8)) { /* of Bidirectional: reversed */
        uint64_t elems = kp_sizes_tensor_elems(keep->sizes, root);
        kp_extra reversed = {op,
                             KP_EXTRA_KEPT,
                             KP_CAT_ACTIVATIONS,
                             "input in reverse",
                             &keep->sizes->tensors[root],
                             dtype,
                             kp_mul_u64(elems, kp_dtype_bytes(dtype))};
        return kp_keep_extra(keep, reversed);
    }
    bool stacked = kp_keep_is_part(&g->ops[g->tensors[g->ops[op].in[0]].op], "unfold");
    if ((g->ops[writer].op == KP_OP_RNN || stacked) && kp_keep_inside(keep, writer))
        return kp_keep_need(keep, op, root);
    kp_value *copy = &keep->values[g->n_tensors + root];
    copy->bytes = kp_mul_u64(kp_sizes_tensor_elems(keep->sizes, root), kp_dtype_bytes(dtype));
    copy->dtype = dtype;
    if (copy->writer == KP_NO) copy->writer = op;
    return kp_keep_need(keep, op, g->n_tensors + root);
}

/* The whole input projected, [steps, batch, 3 units], and the gradients of that; a product over one
 * feature is a multiplication, which fuses. The loop writes no output of every step besides. */
static bool projection_extras(kp_keep *keep, uint32_t op, const sizes_of_loop *s, kp_dtype dtype)
{
    if (s->input > 1 && !steps_extra(keep, op, KP_EXTRA_KEPT, "projected inputs", 3, s, dtype))
        return false;
    return steps_extra(keep, op, KP_EXTRA_BACKWARD, "gradients of the projected inputs", 3, s,
                       dtype);
}

/* Steps that are ops of their own keep what their products write and read: the gates and, side by
 * side, input and state; the rest is fused. A GRU keeps both products' gates and the state. */
static bool unrolled_extras(kp_keep *keep, uint32_t op, const sizes_of_loop *s, kp_dtype dtype)
{
    bool both = projects(keep, &keep->graph->ops[op]);
    sizes_of_loop kept = *s;
    kept.width = kp_add_u64(kp_mul_u64(s->gates * (both ? 2 : 1), s->width), s->width);
    if (!both) kept.width = kp_add_u64(kept.width, s->input);
    return steps_extra(keep, op, KP_EXTRA_KEPT, "gates, inputs and states of every step", 1, &kept,
                       dtype);
}

static bool loop_extras(kp_keep *keep, uint32_t op, const sizes_of_loop *s, kp_dtype dtype)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!steps_extra(keep, op, KP_EXTRA_KEPT, "gates and states of every step",
                     loop_buffers[o->attr.cell], s, dtype))
        return false;
    if (projects(keep, o)) return projection_extras(keep, op, s, dtype);
    if (!time_first(keep, op, dtype)) return false;
    return o->attr.return_sequences ||
           (steps_extra(keep, op, KP_EXTRA_FORWARD, "output of every step", 1, s, dtype) &&
            steps_extra(keep, op, KP_EXTRA_BACKWARD, "gradient of every step", 1, s, dtype));
}

bool kp_keep_xla_rnn(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    kp_dtype own = keep->graph->tensors[o->out[0]].dtype;
    sizes_of_loop s = measure(keep, o);
    keep->values[keep->root[o->out[0]]].written = true;
    if (cudnn_takes(keep, o)) return time_first(keep, op, own) && kp_keep_rnn(keep, op);
    bool unrolled = o->attr.unrolled && o->attr.cell != KP_CELL_CONV_LSTM;
    bool made = unrolled ? unrolled_extras(keep, op, &s, own) : loop_extras(keep, op, &s, own);
    return made && step_extras(keep, op, &s, own);
}
