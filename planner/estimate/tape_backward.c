/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_backward.c — the backward pass: gradients flow from the outputs down, each
 * op's own values go when it has run.
 *
 * XLA's way of one op is in tape_backward_xla.c; op-by-op runtimes write a gradient for every
 * input. Source: keep_xla.c, keep_eager.c. */
#include "planner/estimate/taping.h"

static void backward_eager(kp_taping *t, uint32_t op, uint32_t key)
{
    const kp_graph_op *o = &t->graph->ops[op];
    bool pass = t->keep.back[op] == KP_BACK_PASS;
    kp_tape_take_extras(t, op, KP_EXTRA_BACKWARD);
    uint32_t space = kp_tape_product_space(t, op);
    if (!pass) kp_tape_input_gradients(t, op);
    kp_tape_weight_grads(t, op);
    kp_tape_drop_needs(t, op, true, true);
    kp_tape_drop_extras(t, op, false);
    kp_taping_drop(t, space);
    if (pass)
        kp_tape_hand_on(t, o, key);
    else
        kp_taping_drop(t, key);
}

static void backward_op(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    if (!kp_keep_inside(&t->keep, op) || !t->keep.wants[op] || o->op == KP_OP_INPUT || !o->n_out)
        return;
    kp_taping_step(t, KP_PHASE_BACKWARD, op);
    if (t->keep.skipped[op]) { /* shares its storage, and so its gradient, with another */
        kp_tape_weight_grads(t, op);
        kp_tape_drop_needs(t, op, true, true);
        kp_tape_drop_extras(t, op, false);
        return;
    }
    if (t->runs[op]) {
        kp_tape_program_backward(t, op);
        return;
    }
    uint32_t key = KP_NO;
    for (uint32_t k = 0; k < o->n_out; k++) {
        uint32_t one = kp_tape_gather(t, t->keep.root[o->out[k]], op);
        if (key == KP_NO)
            key = one;
        else
            kp_taping_drop(t, one);
    }
    if (t->profile->xla)
        kp_tape_backward_xla(t, op, key);
    else
        backward_eager(t, op, key);
}

/* ---- the pass ---- */

/* True if the loss's gradient to an output is computed inside the step that reads it. XLA fuses the
 * loss with what it reads: only the gradient of a call's own output is in memory, since calls read
 * it, and one that is converted from half precision. */
static bool loss_fuses(const kp_taping *t, uint32_t root)
{
    const kp_tensor *y = &t->graph->tensors[root];
    bool call = t->keep.back[y->op] == KP_BACK_WEIGHTY && !t->keep.soft[root];
    return t->profile->xla &&
           (t->stored[root] == KP_NO || (kp_dtype_bytes(y->dtype) >= 4 && !call));
}

/* The gradient that the loss gives to one output; for XLA each row's loss is a buffer of its own
 * until the gradient is written; nothing is written where all fuses and no gradient is wanted. A
 * loss in the output's own type works in its place. */
static void begin_output(kp_taping *t, uint32_t output, uint32_t root)
{
    const kp_graph *g = t->graph;
    const kp_shape *shape = &t->sizes.tensors[root];
    bool xla = t->profile->xla, fused = loss_fuses(t, root);
    kp_dtype dtype = xla ? KP_FLOAT32 : g->tensors[root].dtype;
    kp_op writer = g->ops[g->tensors[root].op].op;
    bool moves = kp_op_rows[writer].kind == KP_KIND_LINEAR && writer != KP_OP_REDUCE;
    bool apart = xla && (!moves || t->stored[root] != KP_NO || kp_tape_wanted(t, root));
    uint64_t last = shape->rank ? kp_max_u64((uint64_t)shape->dim[shape->rank - 1], 1) : 1;
    kp_taping_new rows = {KP_CAT_TEMPORARY,
                          g->tensors[root].layer,
                          KP_NO,
                          "loss of each row",
                          NULL,
                          KP_FLOAT32,
                          apart ? kp_mul_u64(kp_sizes_tensor_elems(&t->sizes, root) / last, 4) : 0};
    kp_taping_step(t, KP_PHASE_BACKWARD, g->tensors[root].op);
    uint32_t row = kp_taping_take(t, &rows, 1);
    bool in_place = t->training->loss == KP_LOSS_FUSED || g->compile.half_loss;
    bool over = in_place && !xla && t->stored[root] != KP_NO;
    if (over && kp_tape_wanted(t, root)) {
        kp_taping_hold(t, t->stored[root], 1);
        kp_tape_flow_to(t, root, t->stored[root]);
    }
    bool first = xla && !fused && !t->keep.values[root].needs; /* the gradient takes its place */
    if (first && t->keep.values[root].last == KP_NO && !t->given)
        kp_tape_drop_value(t, root, g->tensors[root].op);
    if (!over && kp_tape_wanted(t, root) && !kp_tape_given(t, output, root))
        kp_tape_flow_to(
            t, root,
            fused ? KP_NO
                  : kp_tape_take_gradient(t, root, KP_NO, "gradient of the output", dtype, 1));
    if (!first && t->keep.values[root].last == KP_NO && !t->given)
        kp_tape_drop_value(t, root, g->tensors[root].op);
    kp_taping_drop(t, row);
}

/* The gradients that the loss gives, or the next stage sends back. */
static void begin(kp_taping *t)
{
    const kp_graph *g = t->graph;
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        kp_tape_take_extras(t, i, KP_EXTRA_START);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t root = t->keep.root[g->outputs[i]];
        bool own = kp_tape_titan(t); /* its loss has made them already */
        if (kp_keep_inside(&t->keep, g->tensors[root].op) && !own) begin_output(t, i, root);
    }
    for (uint32_t i = t->part->first_op; i < g->n_ops; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in && !kp_keep_inside(&t->keep, i); k++) {
            uint32_t root = t->keep.root[g->ops[i].in[k]];
            bool mine = kp_keep_inside(&t->keep, g->tensors[root].op) && kp_tape_wanted(t, root);
            if (mine && t->first_flow[root] == KP_NO)
                kp_tape_flow_to(t, root,
                                kp_tape_take_gradient(t, root, KP_NO, "received gradient",
                                                      g->tensors[root].dtype, 1));
        }
}

/* float32 copies of the outputs that the loss keeps or holds for a moment. */
static void loss(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint32_t copies =
        (uint32_t)t->profile->loss_kept + t->profile->loss_moment + t->training->launch.fused_loss;
    if (t->given || t->training->loss == KP_LOSS_FUSED || g->compile.half_loss) return;
    kp_taping_step(t, KP_PHASE_BACKWARD, KP_NO);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const kp_tensor *y = &g->tensors[g->outputs[i]];
        if (!kp_keep_inside(&t->keep, y->op)) continue;
        uint64_t elems = kp_sizes_tensor_elems(&t->sizes, g->outputs[i]);
        kp_taping_new b = {KP_CAT_TEMPORARY,
                           y->layer,
                           KP_NO,
                           "log softmax and its gradient",
                           &t->sizes.tensors[g->outputs[i]],
                           KP_FLOAT32,
                           kp_mul_u64(elems, 4 * (uint64_t)copies)};
        kp_taping_drop(t, kp_taping_take(t, &b, 1));
    }
}

/* A segment [from, end): if it is recomputed, its forward pass again, now keeping everything. */
static void recompute(kp_taping *t, uint32_t from, uint32_t end)
{
    kp_taping_step(t, KP_PHASE_BACKWARD, from);
    for (uint32_t i = from; i < end && kp_tape_recomputed(t, i); i++)
        if (kp_keep_inside(&t->keep, i)) kp_tape_forward_op(t, i, true);
    for (uint32_t i = from; i < end; i++)
        for (uint32_t v = t->border[i]; v != KP_NO; v = t->next_border[v])
            kp_tape_drop_value(t, v, i);
}

void kp_tape_backward(kp_taping *t)
{
    uint32_t first = t->part->first_op;
    t->again = t->segment != NULL;
    kp_taping_step(t, KP_PHASE_BACKWARD, KP_NO);
    if (kp_tape_titan(t))
        kp_tape_titan_loss(t);
    else
        loss(t);
    begin(t);
    for (uint32_t end = t->part->end_op; end > first && !kp_taping_failed(t);) {
        uint32_t from = t->segment ? end : first;
        while (from > first && t->segment[from - 1] == t->segment[end - 1]) from--;
        if (t->segment) recompute(t, from, end);
        for (uint32_t i = end; i-- > from;) {
            kp_tape_unit_backward(t, i);
            backward_op(t, i);
            kp_tape_unit_backward_end(t, i);
        }
        end = from;
    }
    for (uint32_t i = t->n_waiting; i-- > 0;) {
        kp_taping_step(t, KP_PHASE_BACKWARD, t->waiting[i]);
        uint32_t space = kp_tape_product_space(t, t->waiting[i]);
        kp_tape_weight_grads(t, t->waiting[i]);
        kp_taping_drop(t, space);
        kp_tape_drop_needs(t, t->waiting[i], false, true);
        kp_taping_drop(t, t->waiting_key[i]);
    }
    kp_tape_drop_units(t);
    kp_tape_programs_end(t);
    for (uint32_t i = 0; i < t->graph->n_tensors; i++) /* sent back to the stage before */
        for (uint32_t f = t->first_flow[i]; f != KP_NO; f = t->flows[f].next)
            kp_taping_drop(t, t->flows[f].buffer);
    for (uint32_t i = 0; i < t->n_others; i++) kp_taping_drop(t, t->others[i]);
}
