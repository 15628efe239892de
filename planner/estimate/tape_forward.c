/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_forward.c — the forward pass: values come when their op runs and go after
 * their last reader, unless the backward pass reads them. */
#include "planner/estimate/conv_space.h"
#include "planner/estimate/taping.h"

void kp_tape_other_copies(kp_taping *t, kp_taping_new b)
{
    uint64_t copies = b.op == KP_NO ? 0 : kp_part_in_flight(t->part, b.op) - 1;
    if (!copies || b.category != KP_CAT_ACTIVATIONS) return;
    b.bytes = kp_mul_u64(b.bytes, copies);
    uint32_t id = kp_taping_take(t, &b, 1);
    if (id == KP_NO) return;
    if (!KP_GROW(t->arena, t->others, t->n_others, t->cap_others)) {
        t->status = kp_nomem(t->err);
        return;
    }
    t->others[t->n_others++] = id;
}

/* Ops and values of one recomputed segment, or of the part without segments. */
static bool own_segment(const kp_taping *t, uint32_t value, uint32_t op)
{
    return !t->segment || t->owner[value] == KP_NO || t->segment[t->owner[value]] == t->segment[op];
}

/* A value comes into memory: held once until its last forward reader, and by each backward pass
 * that reads it. With recomputed segments a value that crosses a border is held until its own
 * segment is recomputed: later segments find it there and neither hold nor drop it. When its
 * segment is recomputed it is there already, and its own segment's readers take over. */
void kp_tape_take_value(kp_taping *t, uint32_t value, uint32_t owner, const char *what,
                        bool training, bool crosses, const uint32_t *made)
{
    const kp_value *v = &t->keep.values[value];
    uint32_t n = t->graph->n_tensors, tensor = value < n ? value : value - n;
    uint32_t needs = !training ? 0 : t->segment ? t->own_needs[value] : v->needs;
    bool border = t->segment && crosses, loss_read = t->again && v->last == KP_NO; /* its output */
    uint32_t reading = (border && t->again) || loss_read ? 0 : 1;
    if (t->stored[value] != KP_NO) {
        kp_taping_hold(t, t->stored[value], needs + reading);
        if (made) kp_taping_drop(t, *made);
        return;
    }
    if (loss_read && !needs) {
        if (made) kp_taping_drop(t, *made);
        return;
    }
    kp_taping_new b = {needs || border ? KP_CAT_ACTIVATIONS : KP_CAT_TEMPORARY,
                       t->graph->ops[owner].layer,
                       owner,
                       what,
                       &t->sizes.tensors[tensor],
                       v->dtype,
                       v->bytes};
    uint32_t holders = needs + reading + (border && !t->again);
    t->stored[value] = made ? *made : kp_taping_take(t, &b, holders);
    if (made && holders) kp_taping_hold(t, *made, holders - 1);
    if (!kp_taping_failed(t) && t->steps[t->n_steps - 1].phase == KP_PHASE_FORWARD && !made)
        kp_tape_other_copies(t, b);
    if (!border || t->again) return;
    t->next_border[value] = t->border[owner];
    t->border[owner] = value;
}

void kp_tape_drop_value(kp_taping *t, uint32_t value, uint32_t op)
{
    uint32_t id = t->stored[value];
    if (id == KP_NO || (t->again && !own_segment(t, value, op))) return;
    kp_taping_drop(t, id);
    if (!kp_taping_failed(t) && !t->refs[id]) t->stored[value] = KP_NO;
}

static void take_extras(kp_taping *t, uint32_t op, bool training)
{
    bool stays = training || kp_tape_leaks(t, op);
    for (uint32_t i = t->keep.first_extra[op]; i < t->keep.first_extra[op + 1] && stays; i++) {
        const kp_extra *e = &t->keep.extras[i];
        bool moment = e->when == KP_EXTRA_FORWARD && t->profile->xla;
        if ((e->when != KP_EXTRA_KEPT && !moment) || t->extra_stored[i] != KP_NO) continue;
        kp_taping_new b = {
            e->category, t->graph->ops[e->op].layer, e->op, e->what, e->shape, e->dtype, e->bytes};
        t->extra_stored[i] = kp_taping_take(t, &b, 1);
        if (t->steps[t->n_steps - 1].phase == KP_PHASE_FORWARD) kp_tape_other_copies(t, b);
    }
}

static void drop_moments(kp_taping *t, uint32_t op)
{
    for (uint32_t i = t->keep.first_extra[op]; i < t->keep.first_extra[op + 1]; i++) {
        if (t->keep.extras[i].when != KP_EXTRA_FORWARD) continue;
        kp_taping_drop(t, t->extra_stored[i]);
        t->extra_stored[i] = KP_NO;
    }
}

/* A 1x1 convolution's update reads the kernel itself, where others read the copy. */
static bool pointwise(const kp_graph_op *op)
{
    for (unsigned i = 0; i < op->attr.spatial; i++)
        if (op->attr.kernel[i] > 1) return false;
    return op->op == KP_OP_CONV;
}

/* Copies of kernels: made by the first op that reads them, gone with the last. */
static void take_copies(kp_taping *t, const kp_graph_op *op)
{
    for (uint32_t k = 0; k < op->n_weights; k++) {
        uint32_t w = op->weights[k];
        kp_dtype dtype;
        if (t->weight_copy[w] != KP_NO || !kp_taping_copies(t, op, w, &dtype)) continue;
        uint64_t bytes = kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), kp_dtype_bytes(dtype));
        t->weight_copy[w] = kp_taping_weight(t, w, KP_CAT_WEIGHTS, KP_TEXT_COPY, dtype, bytes, 1);
        bool idle = t->steps[t->n_steps - 1].phase == KP_PHASE_FORWARD && !pointwise(op);
        if (idle) t->copied[w] = t->weight_copy[w];
    }
}

static void drop_copies(kp_taping *t, const kp_graph_op *op)
{
    for (uint32_t k = 0; k < op->n_weights; k++) {
        kp_taping_drop(t, t->weight_copy[op->weights[k]]);
        t->weight_copy[op->weights[k]] = KP_NO;
    }
}

/* torch's autocast keeps its casts of weights until its context ends, behind the forward pass
 * (autocast_mode.cpp, cached_casts); what a block is recomputed in ends with the block. */
static bool caches_casts(const kp_taping *t)
{
    bool forward = t->n_steps && t->steps[t->n_steps - 1].phase == KP_PHASE_FORWARD;
    return t->training->framework == KP_FW_TORCH && forward;
}

/* A kernel in the compute type is read again only for the input's gradient (XLA). */
static bool cast_for_forward(const kp_taping *t, const kp_graph_op *op)
{
    bool product = op->op == KP_OP_MATMUL, down = false;
    for (uint32_t k = 0; k < op->n_in; k++) down |= t->keep.wants[t->graph->tensors[op->in[k]].op];
    return t->profile->xla && product && !down;
}

/* ZeRO-3: the whole weights of the op, gathered while it runs. */
static uint32_t gather_weights(kp_taping *t, const kp_graph_op *op)
{
    uint64_t bytes = 0;
    if (kp_taping_shards(t, 3) < 2 || t->whole != KP_NO || kp_tape_has_units(t)) return KP_NO;
    for (uint32_t k = 0; k < op->n_weights; k++)
        bytes =
            kp_add_u64(bytes, kp_mul_u64(kp_sizes_weight_elems(&t->sizes, op->weights[k]),
                                         kp_dtype_bytes(t->graph->weights[op->weights[k]].dtype)));
    kp_taping_new b = {
        KP_CAT_COMMUNICATION, op->layer, KP_NO, "gathered weights", NULL, KP_UINT8, bytes};
    return kp_taping_take(t, &b, 1);
}

/* What the op writes before a collective gathers it: beside the whole output for a moment. */
static uint32_t take_local(kp_taping *t, uint32_t op)
{
    const kp_shard_row *row = kp_sizes_row(&t->sizes, op);
    if (!row || row->forward != KP_COLL_ALL_GATHER || t->profile->xla) return KP_NO;
    uint32_t y = t->graph->ops[op].out[0];
    kp_dtype dtype = t->graph->tensors[y].dtype;
    kp_taping_new b = {KP_CAT_COMMUNICATION,
                       t->graph->ops[op].layer,
                       op,
                       "own part of the output",
                       &t->sizes.tensors[y],
                       dtype,
                       kp_mul_u64(kp_sizes_local_elems(&t->sizes, y), kp_dtype_bytes(dtype))};
    return kp_taping_take(t, &b, 1);
}

/* Products of a few elements stay inside fused kernels: XLA hands a product to cuBLAS if its two
 * operands have at least 100 elements (gemm_rewriter, xla_gpu_gemm_rewrite_size_threshold). */
static bool tiny_product(const kp_taping *t, const kp_graph_op *o)
{
    kp_shape x = t->sizes.tensors[o->in[0]], y = t->sizes.tensors[o->out[0]];
    if (!t->profile->xla || o->op == KP_OP_RNN || x.rank < 1 || y.rank < 1) return false;
    uint64_t n = (uint64_t)y.dim[y.rank - 1], k = (uint64_t)x.dim[x.rank - 1];
    uint64_t m = o->n_weights ? kp_shape_elems(y, 1) / kp_max_u64(n, 1)
                 : y.rank < 3 ? 1
                              : (uint64_t)y.dim[y.rank - 2];
    return kp_mul_u64(kp_add_u64(m, n), k) < 100;
}

uint32_t kp_tape_product_space(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    bool loop = o->op == KP_OP_RNN && o->attr.cell != KP_CELL_CONV_LSTM;
    bool product =
        o->op == KP_OP_MATMUL || o->op == KP_OP_ATTN_SCORES || o->op == KP_OP_ATTN_CONTEXT || loop;
    uint64_t conv = t->profile->caching ? kp_conv_space_bytes(&t->sizes, o) : 0;
    if (conv) {
        kp_taping_new b = {KP_CAT_WORKSPACE, o->layer, KP_NO, "workspace of the convolution", NULL,
                           KP_UINT8,         conv};
        return kp_taping_take(t, &b, 1);
    }
    if (!t->profile->products_space || !product || tiny_product(t, o)) return KP_NO;
    kp_taping_new b = {KP_CAT_WORKSPACE,           o->layer, KP_NO,
                       "workspace of the product", NULL,     KP_UINT8,
                       t->profile->space_bytes};
    return kp_taping_take(t, &b, 1);
}

void kp_tape_low_rank(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    if (!t->profile->products_space || o->op != KP_OP_CONV || o->n_weights < 2) return;
    kp_taping_new b = {KP_CAT_WORKSPACE,           o->layer, KP_NO,
                       "workspace of the product", NULL,     KP_UINT8,
                       t->profile->space_bytes};
    kp_taping_drop(t, kp_taping_take(t, &b, 1));
}

void kp_tape_forward_op(kp_taping *t, uint32_t op, bool training)
{
    const kp_graph_op *o = &t->graph->ops[op];
    if (kp_taping_failed(t)) return;
    kp_taping_step(t, t->steps[t->n_steps - 1].phase, op);
    kp_tape_unit_forward(t, op);
    uint32_t moment[] = {gather_weights(t, o), take_local(t, op), KP_NO};
    take_copies(t, o);
    for (uint32_t k = 0; k < o->n_in; k++) {
        uint32_t copy = t->graph->n_tensors + t->keep.root[o->in[k]];
        if (t->keep.values[copy].writer == op)
            kp_tape_take_value(t, copy, op, "copy of the input", training, false, NULL);
    }
    bool program = t->keep.programs && o->attr.program;
    if (program) kp_tape_program_forward(t, op, training);
    for (uint32_t k = 0; k < o->n_out && !program && !t->keep.skipped[op]; k++) {
        const kp_value *v = &t->keep.values[o->out[k]];
        bool crosses = t->segment && t->crosses[o->out[k]];
        if (v->written && o->op != KP_OP_INPUT)
            kp_tape_take_value(t, o->out[k], op, "output", training, crosses, NULL);
    }
    take_extras(t, op, training);
    moment[2] = kp_tape_product_space(t, op);
    for (size_t i = 0; i < KP_LEN(moment); i++) kp_taping_drop(t, moment[i]);
    drop_moments(t, op);
    for (uint32_t v = t->ending[op]; v != KP_NO; v = t->next_ending[v])
        kp_tape_drop_value(t, v, op);
    for (uint32_t k = 0; k < o->n_in; k++) { /* copies are read by their backward passes alone */
        uint32_t copy = t->graph->n_tensors + t->keep.root[o->in[k]];
        if (t->keep.values[copy].writer == op) kp_tape_drop_value(t, copy, op);
    }
    bool cached = kp_tape_recomputed(t, op) && caches_casts(t);
    if ((!training && !cached) || cast_for_forward(t, o)) drop_copies(t, o);
    kp_tape_unit_forward_end(t, op);
}

/* Tensors that earlier stages send. */
static void receive(kp_taping *t, bool training)
{
    const kp_graph *g = t->graph;
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in && kp_keep_inside(&t->keep, i); k++) {
            uint32_t x = t->keep.root[g->ops[i].in[k]], writer = g->tensors[x].op;
            if (kp_keep_inside(&t->keep, writer) || g->ops[writer].op == KP_OP_INPUT ||
                t->stored[x] != KP_NO)
                continue;
            kp_tape_take_value(t, x, i, "received", training, true, NULL);
        }
}

void kp_tape_forward(kp_taping *t)
{
    t->again = false;
    kp_taping_step(t, KP_PHASE_FORWARD, KP_NO);
    kp_tape_gather_units(t);
    receive(t, !t->segment);
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        if (kp_keep_inside(&t->keep, i)) kp_tape_forward_op(t, i, !kp_tape_recomputed(t, i));
    for (uint32_t i = t->part->first_op; i < t->part->end_op && caches_casts(t); i++)
        if (kp_keep_inside(&t->keep, i) && kp_tape_recomputed(t, i))
            drop_copies(t, &t->graph->ops[i]);
}

void kp_tape_eval(kp_taping *t)
{
    uint32_t n = 2 * t->graph->n_tensors;
    for (uint32_t v = 0; v < n; v++) t->stored[v] = KP_NO;
    t->segment = NULL;
    t->again = false;
    kp_taping_step(t, KP_PHASE_EVAL, KP_NO);
    receive(t, false);
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        if (kp_keep_inside(&t->keep, i)) kp_tape_forward_op(t, i, false);
    for (uint32_t v = 0; v < n; v++)
        if (t->stored[v] != KP_NO) kp_tape_drop_value(t, v, KP_NO);
}
