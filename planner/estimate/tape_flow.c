/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_flow.c — gradients that flow from op to op, and what a backward pass
 * reads or takes and then drops, under every runtime. */
#include "planner/estimate/taping.h"

/* ---- gradients that flow ---- */

void kp_tape_flow_to(kp_taping *t, uint32_t root, uint32_t buffer)
{
    if (kp_taping_failed(t)) return;
    if (!KP_GROW(t->arena, t->flows, t->n_flows, t->cap_flows)) {
        t->status = kp_nomem(t->err);
        return;
    }
    t->flows[t->n_flows] = (kp_flow){buffer, t->first_flow[root]};
    t->first_flow[root] = t->n_flows++;
}

uint32_t kp_tape_take_gradient(kp_taping *t, uint32_t tensor, uint32_t op, const char *what,
                               kp_dtype dtype, uint32_t holders)
{
    const kp_tensor *x = &t->graph->tensors[tensor];
    const kp_shard_row *row = kp_sizes_row(&t->sizes, x->op);
    bool channels = row && row->y_local == KP_LAYOUT_CHANNEL; /* sums are gathered first */
    uint64_t elems =
        channels ? kp_keep_elems(&t->keep, tensor) : kp_sizes_tensor_elems(&t->sizes, tensor);
    kp_taping_new b = {KP_CAT_TEMPORARY,
                       x->layer,
                       op,
                       what,
                       &t->sizes.tensors[tensor],
                       dtype,
                       kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    return kp_taping_take(t, &b, holders);
}

/* The gradient of a root, summed if several came; KP_NO if none is in memory. Runtimes add each to
 * the first as it comes; XLA adds all at once into a buffer of its own. */
uint32_t kp_tape_gather(kp_taping *t, uint32_t root, uint32_t op)
{
    uint32_t first = t->first_flow[root], key = KP_NO;
    bool several = false;
    for (uint32_t f = first; f != KP_NO; f = t->flows[f].next) {
        uint32_t one = t->flows[f].buffer;
        several |= one != KP_NO && key != KP_NO && one != key;
        if (key == KP_NO) key = one;
    }
    uint32_t sum = key;
    if (several && t->profile->xla)
        sum = kp_tape_take_gradient(t, root, op, "sum of gradients", t->graph->tensors[root].dtype,
                                    1);
    bool held = sum != key;
    for (uint32_t f = first; f != KP_NO; f = t->flows[f].next) {
        if (held || t->flows[f].buffer != key)
            kp_taping_drop(t, t->flows[f].buffer);
        else
            held = true; /* one holder of the key stays: the caller */
    }
    t->first_flow[root] = KP_NO;
    return sum;
}

bool kp_tape_wanted(const kp_taping *t, uint32_t tensor)
{
    return t->keep.wants[t->graph->tensors[tensor].op];
}

void kp_tape_hand_on(kp_taping *t, const kp_graph_op *o, uint32_t key)
{
    for (uint32_t k = 0; k < o->n_in; k++) {
        if (!kp_tape_wanted(t, o->in[k])) continue;
        kp_taping_hold(t, key, 1);
        kp_tape_flow_to(t, t->keep.root[o->in[k]], key);
    }
    kp_taping_drop(t, key);
}

/* A fused attention writes neither its scores nor their gradient. */
static bool inside_kernel(const kp_taping *t, uint32_t root)
{
    return t->profile->flash && t->graph->ops[t->graph->tensors[root].op].op == KP_OP_ATTN_SCORES;
}

void kp_tape_input_gradients(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    for (uint32_t k = 0; k < o->n_in; k++) {
        uint32_t root = t->keep.root[o->in[k]];
        if (!kp_tape_wanted(t, o->in[k])) continue;
        uint32_t d = inside_kernel(t, root)
                         ? KP_NO
                         : kp_tape_take_gradient(t, root, op, "gradient of the output",
                                                 t->graph->tensors[root].dtype, 1);
        /* Op-by-op runtimes add to the gradient that is there. */
        if (!t->profile->xla && t->first_flow[root] != KP_NO)
            kp_taping_drop(t, d);
        else
            kp_tape_flow_to(t, root, d);
    }
}

/* ---- one op ---- */

void kp_tape_drop_needs(kp_taping *t, uint32_t op, bool own_output, bool others)
{
    const kp_graph_op *o = &t->graph->ops[op];
    uint32_t y = o->n_out ? t->keep.root[o->out[0]] : KP_NO;
    for (uint32_t i = t->keep.first_need[op]; i < t->keep.first_need[op + 1]; i++)
        if (t->keep.needs[i] == y ? own_output : others)
            kp_tape_drop_value(t, t->keep.needs[i], op);
}

void kp_tape_drop_extras(kp_taping *t, uint32_t op, bool kept_only)
{
    for (uint32_t i = t->keep.first_extra[op]; i < t->keep.first_extra[op + 1]; i++) {
        if (kept_only && t->keep.extras[i].when != KP_EXTRA_KEPT) continue;
        kp_taping_drop(t, t->extra_stored[i]);
        t->extra_stored[i] = KP_NO;
    }
}

void kp_tape_take_extras(kp_taping *t, uint32_t op, kp_extra_when when)
{
    for (uint32_t i = t->keep.first_extra[op]; i < t->keep.first_extra[op + 1]; i++) {
        const kp_extra *e = &t->keep.extras[i];
        if (e->when != when || t->extra_stored[i] != KP_NO) continue;
        kp_taping_new b = {
            e->category, t->graph->ops[e->op].layer, e->op, e->what, e->shape, e->dtype, e->bytes};
        t->extra_stored[i] = kp_taping_take(t, &b, 1);
    }
}
