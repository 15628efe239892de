/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/cost.c — units' bytes from one tape of the whole model, their times from their
 * ops. What is alive for a moment while a unit of the whole runs is at least what is alive while
 * it runs in a stage, but for the gradients that cross the stage's borders, which are added. */
#include "planner/estimate/cost.h"
#include "planner/estimate/outside.h"
#include "planner/estimate/taping.h"
#include "planner/estimate/work.h"

typedef struct costing {
    const kp_graph *graph;
    const kp_training *training;
    const kp_cluster *cluster;
    kp_part part;
    kp_arena *arena;
    kp_err *err;
    kp_costs *out;
    kp_unit_sum *unit; /* each unit's own, before they are summed */
    uint64_t *moment, *cross;
    uint32_t *unit_of_op, *unit_of_layer;
    bool *lasting; /* buffers that are not alive for a moment only */
} costing;

static kp_status set_up(costing *c)
{
    uint32_t n = c->out->n_units;
    c->unit = KP_NEW(c->arena, kp_unit_sum, n);
    c->moment = KP_NEW(c->arena, uint64_t, (size_t)n * KP_MOMENT_LEVELS);
    c->cross = KP_NEW(c->arena, uint64_t, (size_t)n + 2);
    c->unit_of_op = KP_NEW(c->arena, uint32_t, c->graph->n_ops);
    c->unit_of_layer = KP_NEW(c->arena, uint32_t, c->graph->n_layers);
    if (!c->unit || !c->moment || !c->cross || !c->unit_of_op || !c->unit_of_layer)
        return kp_nomem(c->err);
    for (uint32_t u = n; u-- > 0;)
        for (uint32_t i = c->out->units[u].first_op; i < c->out->units[u].end_op; i++) {
            c->unit_of_op[i] = u;
            c->unit_of_layer[c->graph->ops[i].layer] = u;
        }
    return KP_OK;
}

/* ---- bytes ---- */

static uint32_t unit_of_buffer(const costing *c, const kp_tape_buffer *b)
{
    if (b->op != KP_NO) return c->unit_of_op[b->op];
    return b->layer == KP_NO ? 0 : c->unit_of_layer[b->layer];
}

/* Adds a buffer that lasts to its unit; false if it is alive for a moment only. */
static bool lasting(costing *c, const kp_tape_buffer *b, kp_phase phase)
{
    kp_unit_sum *u = &c->unit[unit_of_buffer(c, b)];
    if (phase == KP_PHASE_LOAD) {
        uint64_t *place = b->category == KP_CAT_WEIGHTS     ? &u->weights_bytes
                          : b->category == KP_CAT_OPTIMIZER ? &u->optimizer_bytes
                          : b->category == KP_CAT_GRADIENTS ? &u->gradients_bytes
                                                            : &c->out->fixed_bytes;
        *place += b->bytes;
        return true;
    }
    if (b->category == KP_CAT_WEIGHTS && phase == KP_PHASE_FORWARD)
        u->copies_bytes += b->bytes;
    else if (b->category == KP_CAT_ACTIVATIONS && phase == KP_PHASE_FORWARD)
        u->kept_bytes += b->bytes;
    else
        return false;
    return true;
}

/* Gradients that live until the update lie from a unit's backward pass on: they last. */
static kp_status mark_gradients(costing *c, const kp_tape *tape)
{
    uint32_t *until = KP_NEW(c->arena, uint32_t, tape->n_buffers);
    if (!until) return kp_nomem(c->err);
    for (uint32_t i = 0; i < tape->n_steps; i++)
        for (uint32_t e = tape->steps[i].first_event;
             e < tape->steps[i].first_event + tape->steps[i].n_events; e++)
            if (!tape->events[e].alloc && tape->steps[i].phase == KP_PHASE_OPTIMIZER)
                until[tape->events[e].buffer] = 1;
    for (uint32_t i = 0; i < tape->n_buffers; i++) {
        const kp_tape_buffer *b = &tape->buffers[i];
        if (!until[i] || b->category != KP_CAT_GRADIENTS || c->lasting[i]) continue;
        c->unit[unit_of_buffer(c, b)].gradients_bytes += b->bytes;
        c->lasting[i] = true;
    }
    return KP_OK;
}

static void count_moments(costing *c, const kp_tape *tape)
{
    uint64_t alive = 0;
    uint32_t unit = 0;
    for (uint32_t i = 0; i < tape->n_steps; i++) {
        const kp_tape_step *s = &tape->steps[i];
        if (s->phase == KP_PHASE_OPTIMIZER) continue; /* the update: update_bytes */
        if (s->op != KP_NO)
            unit = c->unit_of_op[s->op];
        else if (s->phase == KP_PHASE_BACKWARD)
            unit = c->out->n_units - 1;
        for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
            uint32_t id = tape->events[e].buffer;
            const kp_tape_buffer *b = &tape->buffers[id];
            if (c->lasting[id]) continue;
            if (s->phase == KP_PHASE_SAVE) unit = unit_of_buffer(c, b);
            alive = tape->events[e].alloc ? alive + b->bytes : alive - b->bytes;
            c->moment[unit] = kp_max_u64(c->moment[unit], alive);
        }
        c->moment[unit] = kp_max_u64(c->moment[unit], alive);
    }
}

static kp_status unit_bytes(costing *c, const kp_tape *tape)
{
    c->lasting = KP_NEW(c->arena, bool, tape->n_buffers);
    if (!c->lasting) return kp_nomem(c->err);
    for (uint32_t i = 0; i < tape->n_steps; i++) {
        const kp_tape_step *s = &tape->steps[i];
        for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
            uint32_t id = tape->events[e].buffer;
            if (tape->events[e].alloc) c->lasting[id] = lasting(c, &tape->buffers[id], s->phase);
        }
    }
    KP_TRY(mark_gradients(c, tape));
    count_moments(c, tape);
    return KP_OK;
}

/* Tensors over each border, by the storage that they share. */
static kp_status crossings(costing *c, const kp_keep *keep)
{
    const kp_graph *g = c->graph;
    uint32_t *last = KP_NEW(c->arena, uint32_t, g->n_tensors);
    if (!last) return kp_nomem(c->err);
    for (uint32_t i = 0; i < g->n_ops; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in; k++)
            last[keep->root[g->ops[i].in[k]]] = c->unit_of_op[i]; /* ops come in order */
    for (uint32_t t = 0; t < g->n_tensors; t++) {
        uint32_t from = c->unit_of_op[g->tensors[t].op];
        if (keep->root[t] != t || g->ops[g->tensors[t].op].op == KP_OP_INPUT) continue;
        uint64_t bytes =
            kp_mul_u64(kp_sizes_tensor_elems(keep->sizes, t), kp_dtype_bytes(g->tensors[t].dtype));
        if (last[t] <= from) continue;
        c->cross[from + 1] += bytes; /* differences, summed below; unsigned wrap-around is exact */
        c->cross[last[t] + 1] -= bytes;
    }
    for (uint32_t u = 1; u <= c->out->n_units; u++) c->cross[u] += c->cross[u - 1];
    c->cross[c->out->n_units] = 0;
    return KP_OK;
}

/* ---- times ---- */

static void unit_times(costing *c, const kp_keep *keep, const kp_rates *rates)
{
    uint32_t tp = c->part.strategy.tp;
    bool full = c->part.strategy.recompute == KP_RECOMPUTE_FULL;
    for (uint32_t i = 0; i < c->graph->n_ops; i++) {
        bool again = full || kp_keep_again(keep, i);
        kp_unit_sum *u = &c->unit[c->unit_of_op[i]];
        kp_op_work w = kp_op_work_of(keep, i, rates);
        double forward_tp_s = kp_coll_time_s(w.forward, tp, 1, w.forward_bytes, c->cluster);
        u->forward_s += w.forward_s;
        u->backward_s += w.backward_s + (again ? w.forward_s : 0);
        u->tp_s += forward_tp_s * (again ? 2 : 1) +
                   kp_coll_time_s(w.backward, tp, 1, w.backward_bytes, c->cluster);
        u->flops += w.flops;
    }
}

/* Gradient bytes that the dp group sums, parameters that this rank updates, and what the update
 * holds beside them. */
static void unit_updates(costing *c, const kp_taping *t)
{
    const kp_profile *p = t->profile;
    for (uint32_t w = 0; w < c->graph->n_weights; w++) {
        const kp_weight *weight = &c->graph->weights[w];
        if (!weight->trainable) continue;
        kp_unit_sum *u = &c->unit[c->unit_of_layer[weight->layer]];
        kp_dtype dtype;
        uint64_t bytes = kp_taping_grad_bytes(t, w, &dtype);
        u->sync_bytes += bytes;
        u->update_elems += kp_ceil_div(kp_sizes_weight_elems(&t->sizes, w), kp_taping_shards(t, 1));
        u->update_bytes +=
            (p->update_all + (p->scalers ? 1u : 0u)) * kp_ceil_div(bytes, kp_taping_shards(t, 1));
        if (kp_taping_is_megatron(t) &&
            t->training->launch.half_grads) /* in float32 for a moment */
            u->update_bytes += kp_ceil_div(kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), 4),
                                           kp_taping_shards(t, 1));
    }
}

/* ---- sums ---- */

static void add(kp_unit_sum *sum, const kp_unit_sum *one)
{
    sum->forward_s += one->forward_s;
    sum->backward_s += one->backward_s;
    sum->tp_s += one->tp_s;
    sum->flops += one->flops;
    sum->weights_bytes += one->weights_bytes;
    sum->gradients_bytes += one->gradients_bytes;
    sum->optimizer_bytes += one->optimizer_bytes;
    sum->kept_bytes += one->kept_bytes;
    sum->copies_bytes += one->copies_bytes;
    sum->update_bytes += one->update_bytes;
    sum->sync_bytes += one->sync_bytes;
    sum->update_elems += one->update_elems;
}

static kp_status sum_up(costing *c)
{
    uint32_t n = c->out->n_units;
    kp_unit_sum *sums = KP_NEW(c->arena, kp_unit_sum, (size_t)n + 1);
    if (!sums) return kp_nomem(c->err);
    for (uint32_t u = 0; u < n; u++) {
        sums[u + 1] = sums[u];
        add(&sums[u + 1], &c->unit[u]);
    }
    for (uint32_t level = 1; level < KP_MOMENT_LEVELS && 1u << level <= n; level++)
        for (uint32_t u = 0; u + (1u << level) <= n; u++) {
            const uint64_t *half = c->moment + (size_t)(level - 1) * n;
            c->moment[(size_t)level * n + u] = kp_max_u64(half[u], half[u + (1u << (level - 1))]);
        }
    c->out->sum = sums;
    c->out->moment_bytes = c->moment;
    c->out->cross_bytes = c->cross;
    return KP_OK;
}

static kp_part whole_part(const kp_graph *graph, const kp_training *training,
                          const kp_strategy *strategy, const uint8_t *cuts)
{
    kp_part part = {
        .strategy = *strategy, .end_op = graph->n_ops, .in_flight = 1, .cuts = cuts, .sums = true};
    uint64_t samples = (uint64_t)strategy->micro_batch * strategy->dp;
    part.strategy.pp = 2; /* priced as a stage: with pipeline communicators */
    part.strategy.micro_batches = samples && training->batch > samples ? 2 : 1;
    return part;
}

/* The card with the fastest links: its communicators take most. */
static const kp_device *best_linked(const kp_cluster *cluster)
{
    const kp_device *device = &cluster->slots[0].device;
    for (uint32_t i = 1; i < cluster->n_slots; i++)
        if (cluster->slots[i].device.kind->link_bytes_per_s > device->kind->link_bytes_per_s)
            device = &cluster->slots[i].device;
    return device;
}

static kp_status fill(costing *c, const kp_tape *tape)
{
    kp_taping t = {.graph = c->graph,
                   .training = c->training,
                   .part = &c->part,
                   .arena = c->arena,
                   .profile = kp_profile_for(c->training)};
    t.sizes = *c->part.sizes;
    KP_TRY(kp_keep_make(c->graph, c->training, &c->part, &t.sizes, c->arena, &t.keep, c->err));
    kp_rates rates = kp_rates_of(c->cluster, t.profile, c->training->framework);
    KP_TRY(unit_bytes(c, tape));
    KP_TRY(crossings(c, &t.keep));
    unit_times(c, &t.keep, &rates);
    unit_updates(c, &t);
    kp_outside o = kp_outside_of(tape, c->training, best_linked(c->cluster));
    c->out->outside_bytes = kp_categories_sum(&o.high) + t.profile->waste_bytes;
    c->out->error = kp_profile_error(t.profile, c->graph).high;
    c->out->waste = t.profile->waste_high;
    c->out->sent_copies = kp_tape_holds_sent(&t) ? 1 : 0;
    c->out->border_copies = kp_taping_is_megatron(&t) ? 2 : 0;
    c->out->memory_bytes_per_s = rates.memory_bytes_per_s;
    kp_dtype compute =
        c->graph->n_outputs ? c->graph->tensors[c->graph->outputs[0]].dtype : KP_FLOAT32;
    c->out->peak_flops_per_s = kp_rates_peak(&rates, compute);
    kp_weight one = {.shape = {.rank = 1, .dim = {1}}};
    c->out->optimizer_bytes_an_elem =
        4 * (3 + 2 * (double)kp_optimizer_slot_elems(c->training, &one));
    return sum_up(c);
}

kp_status kp_costs_make(const kp_graph *graph, const kp_training *training,
                        const kp_strategy *strategy, const uint8_t *cuts, const kp_cluster *cluster,
                        kp_arena *arena, kp_costs *ret, kp_err *err)
{
    kp_costs out = {.dp = strategy->dp, .tp = strategy->tp, .zero = strategy->zero};
    costing c = {.graph = graph,
                 .training = training,
                 .cluster = cluster,
                 .arena = arena,
                 .err = err,
                 .out = &out,
                 .part = whole_part(graph, training, strategy, cuts)};
    kp_tape tape;
    kp_sizes sizes;
    KP_TRY(kp_units_make(graph, arena, &out.units, &out.n_units, err));
    KP_TRY(set_up(&c));
    KP_TRY(kp_sizes_make(graph, training, &c.part, arena, &sizes, err));
    c.part.sizes = &sizes;
    KP_TRY(kp_tape_run(graph, training, &c.part, false, arena, &tape, err));
    KP_TRY(fill(&c, &tape));
    *ret = out;
    return KP_OK;
}
