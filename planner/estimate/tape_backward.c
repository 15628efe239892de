/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_backward.c — the backward pass: gradients flow from the outputs down, each
 * op's own values go when it has run.
 *
 * XLA first fuses everything above a weighty op into the gradient of its output (dz, in place of
 * z), then computes the weight gradient, then the input gradient; fused ops hand gradients on
 * without a buffer. Op-by-op runtimes write a gradient for every input. Source: keep_xla.c,
 * keep_eager.c. */
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

static bool wanted(const kp_taping *t, uint32_t tensor)
{
    return t->keep.wants[t->graph->tensors[tensor].op];
}

static void hand_on(kp_taping *t, const kp_graph_op *o, uint32_t key)
{
    for (uint32_t k = 0; k < o->n_in; k++) {
        if (!wanted(t, o->in[k])) continue;
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

static void input_gradients(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    for (uint32_t k = 0; k < o->n_in; k++) {
        uint32_t root = t->keep.root[o->in[k]];
        if (!wanted(t, o->in[k])) continue;
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

static void drop_some(kp_taping *t, uint32_t op, bool kept_only)
{
    for (uint32_t i = t->keep.first_extra[op]; i < t->keep.first_extra[op + 1]; i++) {
        if (kept_only && t->keep.extras[i].when != KP_EXTRA_KEPT) continue;
        kp_taping_drop(t, t->extra_stored[i]);
        t->extra_stored[i] = KP_NO;
    }
}

static void drop_extras(kp_taping *t, uint32_t op)
{
    drop_some(t, op, false);
}

static void take_extras(kp_taping *t, uint32_t op, kp_extra_when when)
{
    for (uint32_t i = t->keep.first_extra[op]; i < t->keep.first_extra[op + 1]; i++) {
        const kp_extra *e = &t->keep.extras[i];
        if (e->when != when || t->extra_stored[i] != KP_NO) continue;
        kp_taping_new b = {
            e->category, t->graph->ops[e->op].layer, e->op, e->what, e->shape, e->dtype, e->bytes};
        t->extra_stored[i] = kp_taping_take(t, &b, 1);
    }
}

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
    if (both) take_extras(t, op, KP_EXTRA_GRADIENT);
    if (t->keep.soft[y]) { /* everything above, fused, in place of z */
        uint32_t dz = kp_tape_take_gradient(t, y, op, "gradient of the output",
                                            t->graph->tensors[y].dtype, 1);
        kp_taping_drop(t, key);
        key = dz;
    }
    kp_tape_drop_needs(t, op, true, false);
    drop_some(t, op, true);
    take_extras(t, op, KP_EXTRA_GRADIENT);
    take_extras(t, op, KP_EXTRA_BACKWARD);
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
    drop_extras(t, op);
    input_gradients(t, op);
    kp_taping_drop(t, key);
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
    take_extras(t, op, KP_EXTRA_BACKWARD);
    if (key == KP_NO) key = summed_gradient(t, op);
    if (o->op == KP_OP_GATHER) drop_extras(t, op); /* the table's gradient is complete */
    kp_tape_weight_grads(t, op);
    kp_tape_drop_needs(t, op, true, true);
    drop_extras(t, op);
    hand_on(t, o, key);
}

static void loop_xla(kp_taping *t, uint32_t op, uint32_t key)
{
    take_extras(t, op, KP_EXTRA_BACKWARD);
    if (!t->graph->ops[op].attr.return_sequences) { /* padded to all steps */
        kp_taping_drop(t, key);
        key = KP_NO;
    }
    uint32_t space = kp_tape_product_space(t, op);
    input_gradients(t, op);
    kp_tape_weight_grads(t, op);
    kp_tape_drop_needs(t, op, true, true);
    drop_extras(t, op);
    kp_taping_drop(t, space);
    kp_taping_drop(t, key);
}

static void backward_xla(kp_taping *t, uint32_t op, uint32_t key)
{
    switch ((kp_back)t->keep.back[op]) {
    case KP_BACK_WEIGHTY:
        weighty_xla(t, op, key);
        return;
    case KP_BACK_NEW: /* what was kept is overwritten: a pooling scatters into its zeros */
        kp_tape_drop_needs(t, op, true, true);
        take_extras(t, op, KP_EXTRA_BACKWARD);
        drop_some(t, op, true); /* the scatter writes over its zeros */
        input_gradients(t, op);
        drop_extras(t, op);
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

static void backward_eager(kp_taping *t, uint32_t op, uint32_t key)
{
    const kp_graph_op *o = &t->graph->ops[op];
    bool pass = t->keep.back[op] == KP_BACK_PASS;
    take_extras(t, op, KP_EXTRA_BACKWARD);
    uint32_t space = kp_tape_product_space(t, op);
    if (!pass) input_gradients(t, op);
    kp_tape_weight_grads(t, op);
    kp_tape_drop_needs(t, op, true, true);
    drop_extras(t, op);
    kp_taping_drop(t, space);
    if (pass)
        hand_on(t, o, key);
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
        drop_extras(t, op);
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
        backward_xla(t, op, key);
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
 * until the gradient is written. A loss in the output's own type works in its place. */
static void begin_output(kp_taping *t, uint32_t output, uint32_t root)
{
    const kp_graph *g = t->graph;
    const kp_shape *shape = &t->sizes.tensors[root];
    bool xla = t->profile->xla, fused = loss_fuses(t, root);
    kp_dtype dtype = xla ? KP_FLOAT32 : g->tensors[root].dtype;
    uint64_t last = shape->rank ? kp_max_u64((uint64_t)shape->dim[shape->rank - 1], 1) : 1;
    kp_taping_new rows = {KP_CAT_TEMPORARY,
                          g->tensors[root].layer,
                          KP_NO,
                          "loss of each row",
                          NULL,
                          KP_FLOAT32,
                          xla ? kp_mul_u64(kp_sizes_tensor_elems(&t->sizes, root) / last, 4) : 0};
    kp_taping_step(t, KP_PHASE_BACKWARD, g->tensors[root].op);
    uint32_t row = kp_taping_take(t, &rows, 1);
    bool in_place = t->training->loss == KP_LOSS_FUSED || g->compile.half_loss;
    bool over = in_place && !xla && t->stored[root] != KP_NO;
    if (over && wanted(t, root)) {
        kp_taping_hold(t, t->stored[root], 1);
        kp_tape_flow_to(t, root, t->stored[root]);
    }
    bool first = xla && !fused && !t->keep.values[root].needs; /* the gradient takes its place */
    if (first && t->keep.values[root].last == KP_NO && !t->given)
        kp_tape_drop_value(t, root, g->tensors[root].op);
    if (!over && wanted(t, root) && !kp_tape_given(t, output, root))
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
        take_extras(t, i, KP_EXTRA_START);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t root = t->keep.root[g->outputs[i]];
        if (kp_keep_inside(&t->keep, g->tensors[root].op)) begin_output(t, i, root);
    }
    for (uint32_t i = t->part->first_op; i < g->n_ops; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in && !kp_keep_inside(&t->keep, i); k++) {
            uint32_t root = t->keep.root[g->ops[i].in[k]];
            bool mine = kp_keep_inside(&t->keep, g->tensors[root].op) && wanted(t, root);
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
