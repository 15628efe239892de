/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_backward_xla.c — one op's backward pass as XLA schedules it.
 *
 * XLA first fuses everything above a weighty op into the gradient of its output (dz, in place of
 * z), then computes the weight gradient, then the input gradient; fused ops hand gradients on
 * without a buffer. Source: keep_xla.c. */
#include "planner/estimate/taping.h"

static uint64_t need_bytes(const kp_taping *t, uint32_t op)
{
    uint64_t bytes = 0;
    for (uint32_t i = t->keep.first_need[op]; i < t->keep.first_need[op + 1]; i++)
        bytes = kp_add_u64(bytes, t->keep.values[t->keep.needs[i]].bytes);
    return bytes;
}

/* XLA computes a weight gradient that is larger than what it frees only when the rest is done. */
static bool waits(const kp_taping *t, uint32_t op, uint32_t key)
{
    const kp_graph_op *o = &t->graph->ops[op];
    uint64_t grads = 0;
    if (!t->profile->xla || !kp_keep_trains(t->graph, o)) return false;
    if (t->late) return true;
    for (uint32_t k = 0; k < o->n_weights; k++) {
        kp_dtype dtype;
        grads = kp_add_u64(grads, kp_taping_grad_bytes(t, o->weights[k], &dtype));
    }
    return grads > kp_add_u64(need_bytes(t, op), key == KP_NO ? 0 : t->buffers[key].bytes);
}

static void weighty_xla(kp_taping *t, uint32_t op, uint32_t key)
{
    const kp_graph_op *o = &t->graph->ops[op];
    uint32_t y = t->keep.root[o->out[0]];
    /* Transposed convolutions and 1-D ones write dz in both forms at once. */
    bool both = t->keep.soft[y] ? o->op == KP_OP_CONV_TRANSPOSE : o->attr.spatial == 1;
    if (both) kp_tape_take_extras(t, op, KP_EXTRA_GRADIENT);
    if (t->keep.soft[y]) { /* everything above, fused, in place of z */
        uint32_t dz = kp_tape_take_gradient(t, y, op, "gradient of the output",
                                            t->graph->tensors[y].dtype, 1);
        kp_taping_drop(t, key);
        key = dz;
    }
    kp_tape_drop_needs(t, op, true, false);
    kp_tape_drop_extras(t, op, true);
    kp_tape_take_extras(t, op, KP_EXTRA_GRADIENT);
    kp_tape_take_extras(t, op, KP_EXTRA_BACKWARD);
    bool wait = waits(t, op, key);
    uint32_t space = kp_tape_product_space(t, op);
    if (wait && !kp_taping_failed(t)) {
        kp_taping_hold(t, key, 1);
        t->waiting[t->n_waiting] = op;
        t->waiting_key[t->n_waiting++] = key;
    } else {
        kp_tape_weight_grads(t, op);
        kp_tape_drop_needs(t, op, false, true);
    }
    kp_taping_drop(t, space);
    kp_tape_drop_extras(t, op, false);
    kp_tape_input_gradients(t, op);
    kp_taping_drop(t, key);
    kp_tape_low_rank(t, op);
}

/* The gradients of an op's own scale and shift are sums over its output's gradient, which is then
 * in memory, for LayerNormalization with its product with the normalised input. */
static uint32_t summed_gradient(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    bool sums = o->op == KP_OP_SCALE || o->op == KP_OP_BATCHNORM || o->op == KP_OP_LAYERNORM ||
                o->op == KP_OP_RMSNORM || o->op == KP_OP_GROUPNORM;
    uint32_t y = t->keep.root[o->out[0]];
    kp_dtype dtype = t->graph->tensors[y].dtype;
    if (!sums || !kp_keep_trains(t->graph, o)) return KP_NO;
    uint32_t key = kp_tape_take_gradient(t, y, op, "gradient of the output", dtype, 1);
    if (o->op == KP_OP_LAYERNORM)
        kp_taping_drop(
            t, kp_tape_take_gradient(t, y, op, "product of the scale's gradient", dtype, 1));
    return key;
}

static void pass_xla(kp_taping *t, uint32_t op, uint32_t key)
{
    const kp_graph_op *o = &t->graph->ops[op];
    kp_tape_take_extras(t, op, KP_EXTRA_BACKWARD);
    if (key == KP_NO) key = summed_gradient(t, op);
    if (o->op == KP_OP_GATHER)
        kp_tape_drop_extras(t, op, false); /* the table's gradient is complete */
    kp_tape_weight_grads(t, op);
    kp_tape_drop_needs(t, op, true, true);
    kp_tape_drop_extras(t, op, false);
    kp_tape_hand_on(t, o, key);
}

static void loop_xla(kp_taping *t, uint32_t op, uint32_t key)
{
    kp_tape_take_extras(t, op, KP_EXTRA_BACKWARD);
    if (!t->graph->ops[op].attr.return_sequences) { /* padded to all steps */
        kp_taping_drop(t, key);
        key = KP_NO;
    } else if (key == KP_NO) { /* a loop reads it from memory */
        uint32_t y = t->keep.root[t->graph->ops[op].out[0]];
        key = kp_tape_take_gradient(t, y, op, "gradient of the output", t->graph->tensors[y].dtype,
                                    1);
    }
    uint32_t space = kp_tape_product_space(t, op);
    kp_tape_input_gradients(t, op);
    kp_tape_weight_grads(t, op);
    kp_tape_drop_needs(t, op, true, true);
    kp_tape_drop_extras(t, op, false);
    kp_taping_drop(t, space);
    kp_taping_drop(t, key);
}

void kp_tape_backward_xla(kp_taping *t, uint32_t op, uint32_t key)
{
    switch ((kp_back)t->keep.back[op]) {
    case KP_BACK_WEIGHTY:
        weighty_xla(t, op, key);
        return;
    case KP_BACK_NEW: /* what was kept is overwritten: a pooling scatters into its zeros */
        kp_tape_drop_needs(t, op, true, true);
        kp_tape_take_extras(t, op, KP_EXTRA_BACKWARD);
        kp_tape_drop_extras(t, op, true); /* the scatter writes over its zeros */
        kp_tape_input_gradients(t, op);
        kp_tape_drop_extras(t, op, false);
        kp_taping_drop(t, key);
        return;
    case KP_BACK_LOOP:
        loop_xla(t, op, key);
        return;
    case KP_BACK_PASS:
        pass_xla(t, op, key);
        return;
    }
}
