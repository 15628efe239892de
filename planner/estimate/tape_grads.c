/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_grads.c — gradients of weights: one at a time into their update, added to
 * an accumulator, or all together until the optimizer runs. */
#include "planner/estimate/taping.h"

void kp_tape_end_update(kp_taping *t)
{
    for (size_t i = 0; i < KP_LEN(t->updating); i++) {
        kp_taping_drop(t, t->updating[i]);
        t->updating[i] = KP_NO;
    }
}

/* The update of one weight, which takes its gradient over. TensorFlow's graph runs it beside the
 * ops that follow: its buffers go when the next weight's update begins. */
static void update_one(kp_taping *t, uint32_t w, kp_dtype dtype, uint64_t bytes, uint32_t gradient)
{
    uint32_t moment = t->together || kp_taping_accumulates(t) ? 0 : t->profile->update_one;
    bool slots = kp_optimizer_slot_elems(t->training, &t->graph->weights[w]) > 0;
    bool vector = t->sizes.weights[w].rank < 2; /* too small to matter: it ends no other update */
    if (!moment || vector || !slots) {
        kp_taping_drop(t, gradient);
        return;
    }
    kp_tape_end_update(t);
    t->updating[0] = gradient;
    t->updating[1] = kp_taping_weight(t, w, KP_CAT_TEMPORARY, KP_TEXT_UPDATE, dtype,
                                      kp_mul_u64(bytes, moment), 1);
    if (t->part->strategy.pp > 1) kp_tape_end_update(t); /* stages are priced apart */
}

/* The type that a gradient is computed in. XLA's products write the compute type, the update that
 * follows at once reads it; whoever waits is float32 where the profile says so. */
static kp_dtype fresh_dtype(const kp_taping *t, uint32_t w, uint64_t *ret_bytes)
{
    kp_dtype dtype, compute = kp_taping_compute(t, w);
    *ret_bytes = kp_taping_grad_bytes(t, w, &dtype);
    if (kp_taping_is_megatron(t)) { /* added to the sums, by the product itself if fused */
        *ret_bytes = t->training->launch.fused_grads
                         ? 0
                         : kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), kp_dtype_bytes(compute));
        return compute;
    }
    bool at_once = t->profile->xla && !kp_taping_accumulates(t) && t->part->strategy.dp == 1;
    if (!at_once || kp_dtype_bytes(compute) >= kp_dtype_bytes(dtype)) return dtype;
    *ret_bytes = kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), kp_dtype_bytes(compute));
    return compute;
}

/* XLA writes the gradient of a dense kernel with a single row of inputs as the product of a column
 * with a row (algebraic_simplifier.cc: a dot over one element is a multiplication), which then is
 * part of the update that reads it and never in memory. */
static bool is_outer(const kp_taping *t, const kp_graph_op *o, uint32_t w)
{
    const kp_shape *kernel = &t->graph->weights[w].shape;
    bool alone = t->profile->xla && o->op == KP_OP_MATMUL && o->n_in && kernel->rank == 2 &&
                 t->part->strategy.dp == 1 && t->part->strategy.tp == 1;
    if (!alone || t->together || kp_taping_accumulates(t) || t->uses[w] > 1) return false;
    return kp_sizes_tensor_elems(&t->sizes, o->in[0]) ==
           (uint64_t)kernel->dim[o->attr.transposed_w ? 1 : 0];
}

static void one_gradient(kp_taping *t, const kp_graph_op *o, uint32_t w)
{
    uint64_t bytes;
    kp_dtype dtype = fresh_dtype(t, w, &bytes);
    if (is_outer(t, o, w)) bytes = 0;
    uint32_t shards = kp_taping_shards(t, 2), held = t->weight_grad[w];
    bool last = --t->left[w] == 0;
    uint32_t fresh = kp_taping_weight(t, w, KP_CAT_GRADIENTS, KP_TEXT_GRADIENT, dtype, bytes, 1);
    if (held != KP_NO) { /* added to what is there */
        kp_taping_drop(t, fresh);
        if (!last || t->together || kp_taping_accumulates(t)) return;
        fresh = held;
        t->weight_grad[w] = KP_NO;
    }
    if (t->together && shards > 1) { /* reduce-scattered: this rank keeps its share */
        t->weight_grad[w] = kp_taping_weight(t, w, KP_CAT_GRADIENTS, KP_TEXT_GRADIENT, dtype,
                                             kp_ceil_div(bytes, shards), 1);
        kp_taping_drop(t, fresh);
    } else if (t->together || !last) {
        t->weight_grad[w] = fresh;
    } else {
        update_one(t, w, dtype, bytes, fresh);
    }
}

void kp_tape_weight_grads(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    for (uint32_t k = 0; k < o->n_weights && !kp_taping_failed(t); k++) {
        uint32_t w = o->weights[k];
        if (t->graph->weights[w].trainable && kp_tape_has_units(t))
            kp_tape_unit_gradient(t, w);
        else if (t->graph->weights[w].trainable && kp_tape_titan(t) && kp_taping_fsdp(t))
            kp_tape_titan_gradient(t, w);
        else if (t->graph->weights[w].trainable)
            one_gradient(t, o, w);
        else if (t->left[w])
            t->left[w]--;
        if (t->left[w] || t->weight_copy[w] == KP_NO) continue;
        kp_taping_drop(t, t->weight_copy[w]);
        t->weight_copy[w] = KP_NO;
    }
}

void kp_tape_weight_given(kp_taping *t, uint32_t w, uint32_t buffer)
{
    uint32_t held = t->weight_grad[w];
    if (held != KP_NO || buffer == KP_NO) {
        kp_taping_drop(t, buffer);
        return;
    }
    t->weight_grad[w] = buffer;
}
