/* SPDX-License-Identifier: MIT */
#include "planner/estimate/conv_space.h"
#include "planner/estimate/spread.h"
#include "planner/estimate/taping.h"
#include <assert.h>

const char *const kp_phase_names[KP_PHASE_COUNT] = {
    [KP_PHASE_LOAD] = "load",         [KP_PHASE_FORWARD] = "forward",
    [KP_PHASE_BACKWARD] = "backward", [KP_PHASE_OPTIMIZER] = "optimizer",
    [KP_PHASE_EVAL] = "eval",         [KP_PHASE_SAVE] = "save",
};

kp_part kp_part_whole(const kp_graph *graph, const kp_training *training)
{
    kp_strategy one = {.dp = 1,
                       .tp = 1,
                       .pp = 1,
                       .micro_batch = (uint32_t)training->batch,
                       .micro_batches = 1,
                       .schedule = KP_SCHEDULE_1F1B,
                       .interleave = 1,
                       .recompute = KP_RECOMPUTE_NONE};
    return (kp_part){.strategy = one, .end_op = graph->n_ops, .in_flight = 1};
}

static const kp_chunk *chunk_of(const kp_part *part, uint32_t op)
{
    for (uint32_t i = 0; i < part->n_chunks; i++)
        if (op >= part->chunks[i].first_op && op < part->chunks[i].end_op) return &part->chunks[i];
    return NULL;
}

bool kp_part_has(const kp_part *part, uint32_t op)
{
    if (part->chunks) return chunk_of(part, op) != NULL;
    return op >= part->first_op && op < part->end_op;
}

uint32_t kp_part_in_flight(const kp_part *part, uint32_t op)
{
    const kp_chunk *chunk = part->chunks ? chunk_of(part, op) : NULL;
    return chunk ? chunk->in_flight : part->in_flight;
}

/* ---- setting up ---- */

static kp_status open_dims(const kp_taping *t)
{
    const kp_graph *g = t->graph;
    if (!g->n_open) return KP_OK;
    return kp_fail(t->err, KP_USAGE, "input '%s' has an open dimension %u without a value",
                   g->open[0].input, g->open[0].axis);
}

static uint32_t *filled(kp_taping *t, size_t n)
{
    uint32_t *list = KP_NEW(t->arena, uint32_t, n);
    if (list && n) memset(list, 0xff, n * sizeof(*list));
    return list;
}

static kp_status lists(kp_taping *t)
{
    const kp_graph *g = t->graph;
    t->stored = filled(t, 2 * (size_t)g->n_tensors);
    t->next_ending = filled(t, 2 * (size_t)g->n_tensors);
    t->next_border = filled(t, 2 * (size_t)g->n_tensors);
    t->first_flow = filled(t, g->n_tensors);
    t->ending = filled(t, g->n_ops);
    t->border = filled(t, g->n_ops);
    t->extra_stored = filled(t, t->keep.n_extras);
    t->weight_grad = filled(t, g->n_weights);
    t->weight_copy = filled(t, g->n_weights);
    t->copied = filled(t, g->n_weights);
    t->unit_grad = filled(t, g->n_weights);
    t->gathered = filled(t, g->n_layers);
    t->uses = KP_NEW(t->arena, uint32_t, g->n_weights);
    t->left = KP_NEW(t->arena, uint32_t, g->n_weights);
    t->here = KP_NEW(t->arena, bool, g->n_weights);
    t->runs = KP_NEW(t->arena, struct kp_program_run *, g->n_ops);
    t->waiting = KP_NEW(t->arena, uint32_t, g->n_ops);
    t->waiting_key = KP_NEW(t->arena, uint32_t, g->n_ops);
    size_t ops = t->part->end_op - t->part->first_op, /* with its share of the weights */
        weights = g->n_ops ? g->n_weights * ops / g->n_ops : 0;
    t->cap_buffers = t->cap_refs = 64 + 3 * weights + 2 * ops;
    t->cap_events = 2 * t->cap_buffers;
    t->cap_steps = 64 + 4 * ops;
    t->buffers = KP_NEW(t->arena, kp_tape_buffer, t->cap_buffers);
    t->refs = KP_NEW(t->arena, uint32_t, t->cap_refs);
    t->events = KP_NEW(t->arena, kp_tape_event, t->cap_events);
    t->steps = KP_NEW(t->arena, kp_tape_step, t->cap_steps);
    bool ok = t->buffers && t->refs && t->events && t->steps && t->stored && t->next_ending &&
              t->next_border && t->first_flow && t->ending && t->border && t->extra_stored &&
              t->weight_grad && t->weight_copy && t->copied && t->unit_grad && t->gathered &&
              t->uses && t->left && t->here && t->runs && t->waiting && t->waiting_key;
    return ok ? KP_OK : kp_nomem(t->err);
}

/* Weights are where the ops are that read them; those that no op reads are with their layer's ops,
 * or with the first op. */
static kp_status find_weights(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint8_t *seen = KP_NEW(t->arena, uint8_t, g->n_layers);
    bool *read = KP_NEW(t->arena, bool, g->n_weights);
    if (!seen || !read) return kp_nomem(t->err);
    for (uint32_t i = 0; i < g->n_ops; i++) {
        seen[g->ops[i].layer] |= kp_keep_inside(&t->keep, i) ? 3 : 2;
        for (uint32_t k = 0; k < g->ops[i].n_weights; k++) {
            read[g->ops[i].weights[k]] = true;
            if (!kp_keep_inside(&t->keep, i)) continue;
            t->here[g->ops[i].weights[k]] = true;
            t->uses[g->ops[i].weights[k]]++;
            t->left[g->ops[i].weights[k]] += t->keep.wants[i];
        }
    }
    for (uint32_t w = 0; w < g->n_weights; w++) {
        uint8_t s = seen[g->weights[w].layer];
        t->here[w] |= !read[w] && (s & 1 || (!s && t->part->first_op == 0));
        bool half =
            kp_dtype_bytes(kp_taping_compute(t, w)) < 4 && kp_taping_compute(t, w) == KP_FLOAT16;
        t->together |= t->profile->scalers && half;
    }
    t->together |= t->profile->grads_together || kp_training_composed(t->training);
    return KP_OK;
}

static void find_endings(kp_taping *t)
{
    for (uint32_t v = 0; v < t->graph->n_tensors; v++) {
        uint32_t last = t->keep.values[v].last;
        if (last == KP_NO || !kp_keep_inside(&t->keep, last)) continue;
        t->next_ending[v] = t->ending[last];
        t->ending[last] = v;
    }
}

/* ---- the end of the step ---- */

/* Copies of every weight that the update holds at once. torch's foreach implementations (the
 * default from 2.0 on) write one, but plain and momentum SGD work in place. */
static uint64_t update_copies(const kp_taping *t)
{
    const kp_training *g = t->training;
    bool plain = g->optimizer == KP_OPT_SGD && !g->extra_slots;
    bool in_place = plain || g->optimizer == KP_OPT_SGD_MOMENTUM;
    bool single = g->torch_version && g->torch_version < 200;
    if (!t->together) return 0;
    if (g->framework == KP_FW_TORCH && (in_place || single)) return 0;
    return (plain ? 0 : t->profile->update_all) + (t->profile->scalers ? 1u : 0u);
}

/* A composed update begins with products of variables and constants alone: both decayed moments,
 * and the decay of matrices and tables. A graph runs what waits for nothing at the step's start, so
 * they are there all the time. */
static void early_updates(kp_taping *t)
{
    kp_taping_step(t, KP_PHASE_FORWARD, KP_NO);
    t->first_early = t->n_buffers;
    for (uint32_t w = 0; w < t->graph->n_weights && kp_training_composed(t->training); w++) {
        uint64_t bytes = kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), 4);
        if (!t->here[w] || !t->graph->weights[w].trainable) continue;
        bytes = kp_mul_u64(bytes, t->sizes.weights[w].rank > 1 ? 3 : 2);
        kp_taping_weight(t, w, KP_CAT_TEMPORARY, KP_TEXT_DECAYED, KP_FLOAT32,
                         kp_ceil_div(bytes, kp_taping_weight_shards(t, 1, w)), 1);
    }
    t->n_early = t->n_buffers - t->first_early;
}

/* Half gradients become float32 ones for the update: beside Megatron's buffer of them, in Aceso's
 * fork in the place of each. */
void kp_tape_update(kp_taping *t)
{
    const kp_graph *g = t->graph;
    bool keras_sums = kp_taping_accumulates(t) && t->training->framework < KP_FW_TORCH;
    uint64_t copies = update_copies(t),
             wide = kp_taping_is_megatron(t) && t->training->launch.half_grads;
    uint32_t first = t->n_buffers;
    kp_taping_step(t, KP_PHASE_OPTIMIZER, KP_NO);
    for (uint32_t w = 0; w < g->n_weights && copies + wide; w++) {
        kp_dtype dtype;
        if (!t->here[w] || !g->weights[w].trainable) continue;
        uint64_t bytes = kp_taping_grad_bytes(t, w, &dtype);
        if (wide) bytes = kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), t->listed ? 2 : 4);
        bytes /= kp_taping_weight_shards(t, 1, w);
        kp_taping_weight(t, w, KP_CAT_TEMPORARY, KP_TEXT_UPDATE, dtype,
                         kp_mul_u64(bytes, copies + wide), 1);
    }
    for (uint32_t end = t->n_buffers; first < end; first++) kp_taping_drop(t, first);
    for (uint32_t i = 0; i < t->n_early; i++) kp_taping_drop(t, t->first_early + i);
    for (uint32_t w = 0; w < g->n_weights && !keras_sums; w++) kp_taping_drop(t, t->weight_grad[w]);
}

/* Saving gathers one divided weight after the other. */
static void save(kp_taping *t)
{
    kp_taping_step(t, KP_PHASE_SAVE, KP_NO);
    for (uint32_t w = 0; w < t->graph->n_weights; w++) {
        const kp_weight *weight = &t->graph->weights[w];
        bool divided =
            kp_taping_shards(t, 3) > 1 || (t->sizes.weight_axis && t->sizes.weight_axis[w]);
        uint64_t bytes =
            kp_mul_u64(kp_shape_elems(weight->shape, 1), kp_dtype_bytes(weight->dtype));
        if (t->here[w] && divided)
            kp_taping_drop(t, kp_taping_weight(t, w, KP_CAT_COMMUNICATION, KP_TEXT_GATHERED,
                                               weight->dtype, bytes, 1));
    }
}

/* ---- all of it ---- */

static kp_status set_up(kp_taping *t)
{
    KP_TRY(open_dims(t));
    if (t->part->sizes)
        t->sizes = *t->part->sizes;
    else
        KP_TRY(kp_sizes_make(t->graph, t->training, t->part, t->arena, &t->sizes, t->err));
    KP_TRY(kp_keep_make(t->graph, t->training, t->part, &t->sizes, t->arena, &t->keep, t->err));
    KP_TRY(lists(t));
    if (!t->part->sums) KP_TRY(kp_taping_names(t));
    KP_TRY(find_weights(t));
    find_endings(t);
    KP_TRY(kp_tape_units(t));
    return kp_tape_segments(t);
}

/* The largest scratch that any convolution may ask a caching allocator for. */
static uint64_t most_scratch(const kp_taping *t)
{
    uint64_t most = 0;
    for (uint32_t i = t->part->first_op; i < t->part->end_op && t->profile->caching; i++)
        most = kp_max_u64(most, kp_conv_space_high_bytes(&t->sizes, &t->graph->ops[i]));
    return most;
}

kp_status kp_tape_run(const kp_graph *graph, const kp_training *training, const kp_part *part,
                      bool late, kp_arena *arena, kp_tape *ret, kp_err *err)
{
    assert(part->strategy.dp && part->strategy.tp && part->in_flight && part->strategy.micro_batch);
    assert(part->first_op <= part->end_op && part->end_op <= graph->n_ops);
    kp_taping t = {.graph = graph,
                   .training = training,
                   .part = part,
                   .arena = arena,
                   .err = err,
                   .late = late,
                   .whole = KP_NO,
                   .updating = {KP_NO, KP_NO},
                   .listed = graph->oplan && part->segment,
                   .profile = kp_profile_for(training)};
    KP_TRY(set_up(&t));
    kp_tape_state(&t);
    early_updates(&t);
    kp_tape_forward(&t);
    kp_tape_backward(&t);
    kp_tape_end_update(&t);
    kp_tape_update(&t);
    kp_tape_eval(&t);
    save(&t);
    if (t.profile->xla && part->strategy.pp == 1) kp_tape_idle(&t);
    if (kp_taping_failed(&t)) return t.status;
    *ret = (kp_tape){graph,       *part,      t.buffers, t.events,         t.steps,
                     t.n_buffers, t.n_events, t.n_steps, most_scratch(&t), 0};
    return KP_OK;
}

static uint64_t peak_bytes(const kp_tape *tape)
{
    uint64_t now = 0, peak = 0;
    for (uint32_t e = 0; e < tape->n_events; e++) {
        uint64_t bytes = tape->buffers[tape->events[e].buffer].bytes;
        now = tape->events[e].alloc ? now + bytes : now - bytes;
        peak = kp_max_u64(peak, now);
    }
    return peak;
}

/* XLA:GPU schedules a program in several ways and keeps the one that needs least memory
 * (hlo_memory_scheduler.cc). They differ here in when the weight gradients are computed. Programs
 * of XLA have no stages. */
kp_status kp_tape_make(const kp_graph *graph, const kp_training *training, const kp_part *part,
                       kp_arena *arena, kp_tape *ret, kp_err *err)
{
    kp_tape tape, late;
    KP_TRY(kp_tape_run(graph, training, part, false, arena, &tape, err));
    if (kp_profile_for(training)->xla && part->strategy.pp == 1) {
        kp_arena_mark mark = kp_arena_tell(arena);
        KP_TRY(kp_tape_run(graph, training, part, true, arena, &late, err));
        uint64_t now_peak = peak_bytes(&tape), late_peak = peak_bytes(&late);
        if (late_peak < now_peak)
            tape = late;
        else
            kp_arena_rewind(arena, mark);
        uint64_t apart = late_peak < now_peak ? now_peak - late_peak : late_peak - now_peak;
        KP_TRY(kp_spread_bytes(graph, training, part, apart, arena, &tape.spread_bytes, err));
    }
    *ret = tape;
    return KP_OK;
}
