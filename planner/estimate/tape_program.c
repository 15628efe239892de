/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_program.c — ops with a program (program.h) on the tape, and gradients that
 * the caller gives. */
#include "planner/estimate/program.h"

/* An op with a program allocates what that does; its outputs become the tape's values. */
void kp_tape_program_forward(kp_taping *t, uint32_t op, bool training)
{
    const kp_graph_op *o = &t->graph->ops[op];
    uint32_t out[4] = {KP_NO, KP_NO, KP_NO, KP_NO}, first = t->n_buffers;
    struct kp_program_run *run = kp_program_forward(t, op, training, out);
    if (!run) return;
    bool forward = t->steps[t->n_steps - 1].phase == KP_PHASE_FORWARD;
    for (uint32_t b = first, end = t->n_buffers; b < end && forward; b++) {
        const kp_tape_buffer *x = &t->buffers[b];
        kp_taping_new copy = {x->category, x->layer, x->op, x->what, x->shape, x->dtype, x->bytes};
        if (t->refs[b]) kp_tape_other_copies(t, copy);
    }
    for (uint32_t k = 0; k < o->n_out && !kp_taping_failed(t); k++) {
        bool crosses = t->segment && t->crosses[o->out[k]];
        if (out[k] != KP_NO)
            kp_tape_take_value(t, o->out[k], op, "output", training, crosses, &out[k]);
    }
    if (training) t->runs[op] = run;
}

/* A gradient of an input of the model is added to what is there, or stays until the step's end. */
void kp_tape_input_given(kp_taping *t, uint32_t op, uint32_t which, uint32_t buffer)
{
    uint32_t root = t->keep.root[t->graph->ops[op].in[which]];
    bool leaf = t->graph->ops[t->graph->tensors[root].op].op == KP_OP_INPUT;
    if (t->first_flow[root] != KP_NO || (leaf && kp_taping_accumulates(t)))
        kp_taping_drop(t, buffer);
    else
        kp_tape_flow_to(t, root, buffer);
}

void kp_tape_program_backward(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    uint32_t grads[4] = {KP_NO, KP_NO, KP_NO, KP_NO};
    for (uint32_t k = 0; k < o->n_out && k < KP_LEN(grads); k++)
        grads[k] = kp_tape_gather(t, t->keep.root[o->out[k]], op);
    kp_program_backward(t->runs[op], grads);
    if (t->training->retain_graph) return;
    kp_program_end(t->runs[op]);
    t->runs[op] = NULL;
    kp_tape_drop_needs(t, op, true, true);
}

/* The step's end drops it. */
static void until_end(kp_taping *t, uint32_t buffer)
{
    if (buffer == KP_NO || kp_taping_failed(t)) return;
    if (KP_GROW(t->arena, t->others, t->n_others, t->cap_others))
        t->others[t->n_others++] = buffer;
    else
        t->status = kp_nomem(t->err);
}

/* A gradient that the caller gives (torch: y.backward(g)) is his, and is there for longer; one of
 * another type is cast first, and both stay while the pass runs. y.sum().backward() spreads one
 * number. The outputs are the caller's too. */
bool kp_tape_given(kp_taping *t, uint32_t output, uint32_t root)
{
    if (!t->given) return false;
    uint32_t key = t->given[output];
    if (key != KP_NO && t->buffers[key].dtype != t->graph->tensors[root].dtype &&
        t->training->loss == KP_LOSS_GRADIENT) {
        key = kp_tape_take_gradient(t, root, KP_NO, "gradient of the output, cast",
                                    t->graph->tensors[root].dtype, 1);
        until_end(t, key);
    }
    if (key == KP_NO) return false;
    kp_taping_hold(t, key, 1);
    kp_tape_flow_to(t, root, key);
    return true;
}

void kp_tape_programs_end(kp_taping *t)
{
    for (uint32_t i = 0; i < t->graph->n_ops; i++) {
        if (!t->runs[i]) continue;
        kp_program_end(t->runs[i]);
        t->runs[i] = NULL;
    }
    for (uint32_t i = 0; i < t->graph->n_outputs && t->given; i++) {
        uint32_t root = t->keep.root[t->graph->outputs[i]];
        if (t->keep.values[root].last == KP_NO)
            kp_tape_drop_value(t, root, t->graph->tensors[root].op);
    }
}
