/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_look.c — one run of the estimate for an explanation. */
#include "planner/plan/explain_parts.h"
#include "planner/estimate/size.h"
#include "planner/search/cuts.h"
#include "planner/search/space.h"
#include "planner/search/stages.h"

static uint32_t given(uint32_t value, uint32_t otherwise)
{
    return value == UINT32_MAX || value == 0 ? otherwise : value;
}

/* Micro-batches of a pipeline: the largest size that leaves at least as many as stages. */
static uint32_t micro_batch(uint64_t samples, uint32_t pp)
{
    if (pp < 2) return (uint32_t)samples;
    for (uint64_t n = samples / pp; n > 1; n--)
        if (samples % n == 0) return (uint32_t)n;
    return 1;
}

kp_status kp_look_strategy(const kp_graph *graph, const kp_training *training, const kp_options *o,
                           kp_strategy *ret, bool *ret_divided, kp_err *err)
{
    bool degrees = o->dp != UINT32_MAX || o->tp != UINT32_MAX || o->pp != UINT32_MAX;
    bool zero = o->zero != UINT32_MAX, micro = o->micro_batch != UINT32_MAX;
    KP_TRY(kp_space_check_schedule(o, err));
    /* Any strategy can be looked at; a target that is named must be able to run it. */
    if (o->target) KP_TRY(kp_space_check_target(o->target, o, err));
    kp_strategy s = kp_part_whole(graph, training).strategy;
    s.dp = given(o->dp, 1);
    s.tp = given(o->tp, 1);
    s.pp = given(o->pp, 1);
    s.zero = zero ? o->zero : 0;
    if (o->recompute) s.recompute = o->recompute;
    if (o->schedule) s.schedule = o->schedule;
    if (training->batch % s.dp) {
        kp_fail(err, KP_USAGE, "a batch of %llu does not divide into --dp %u",
                (unsigned long long)training->batch, s.dp);
        kp_hint(err, "--batch is the global batch: take a multiple of %u", s.dp);
        return KP_USAGE;
    }
    uint64_t samples = training->batch / s.dp;
    s.micro_batch = micro ? o->micro_batch : micro_batch(samples, s.pp);
    if (!s.micro_batch || samples % s.micro_batch)
        return kp_fail(err, KP_USAGE, "%llu samples a rank do not divide into --micro-batch %u",
                       (unsigned long long)samples, s.micro_batch);
    s.micro_batches = (uint32_t)(samples / s.micro_batch);
    *ret_divided = degrees || zero || micro || o->recompute || o->schedule;
    *ret = s;
    return KP_OK;
}

/* ---- the worst rank ---- */

/* A cluster of such cards, all in one node: only their memory matters here. */
static kp_status same_cards(const kp_look *look, kp_arena *arena, kp_cluster *ret, kp_err *err)
{
    uint64_t n = (uint64_t)look->strategy.dp * look->strategy.tp * look->strategy.pp;
    if (n > 1u << 20)
        return kp_fail(err, KP_USAGE, "%llu ranks are more than a million", (unsigned long long)n);
    kp_slot *slots = KP_NEW(arena, kp_slot, n);
    if (!slots) return kp_nomem(err);
    for (uint64_t i = 0; i < n; i++) slots[i] = (kp_slot){"", "", 0, (uint32_t)i, look->device};
    *ret = (kp_cluster){.slots = slots,
                        .n_slots = (uint32_t)n,
                        .n_nodes = 1,
                        .gpus_per_node = (uint32_t)n,
                        .intra = {50e-6, 1e-10},
                        .inter = {50e-6, 1e-9}};
    return KP_OK;
}

/* The pipeline's borders whose worst stage needs least. */
static kp_status find_borders(const kp_look *look, const uint8_t *cuts, kp_arena *arena,
                              const kp_unit **ret_units, const uint32_t **ret, kp_err *err)
{
    kp_cluster cluster;
    kp_costs *costs = KP_NEW(arena, kp_costs, 1);
    const uint8_t *ok;
    kp_stage_answer answer;
    uint64_t *limits = KP_NEW(arena, uint64_t, look->strategy.pp);
    if (!costs || !limits) return kp_nomem(err);
    memset(limits, 0xff, look->strategy.pp * sizeof(*limits));
    KP_TRY(same_cards(look, arena, &cluster, err));
    KP_TRY(kp_costs_make(look->graph, &look->training, &look->strategy, cuts, &cluster, arena,
                         costs, err));
    KP_TRY(kp_stages_borders(look->graph, costs->units, costs->n_units, arena, &ok, err));
    kp_stage_task task = {.costs = costs,
                          .strategy = &look->strategy,
                          .cluster = &cluster,
                          .limit_bytes = limits,
                          .border_ok = ok,
                          .beat_s = 1e30};
    KP_TRY(kp_stages_smallest(&task, arena, &answer, err));
    if (!answer.found)
        return kp_fail(err, KP_USAGE, "--pp %u: the model divides into fewer stages",
                       look->strategy.pp);
    *ret_units = costs->units;
    *ret = answer.borders;
    return KP_OK;
}

/* Worse is what fits less surely, then what needs more: bounds differ from stage to stage. */
static bool worse(const kp_memory *a, const kp_memory *b, uint64_t usable_bytes)
{
    kp_verdict_fit fit_a = kp_memory_fit(a, usable_bytes), fit_b = kp_memory_fit(b, usable_bytes);
    if (fit_a != fit_b) return fit_a > fit_b;
    return kp_categories_sum(&a->peak) > kp_categories_sum(&b->peak);
}

static void fill_stage(kp_look *look, const kp_part *part, const kp_memory *m)
{
    const kp_graph *g = look->graph;
    const kp_bounded *a = &m->allocated, *r = &m->reserved, *s = &m->steady, *k = &m->kept;
    bool some = part->end_op > part->first_op;
    look->stages[part->stage] = (kp_explain_stage){
        .stage = part->stage,
        .dp = part->strategy.dp,
        .tp = part->strategy.tp,
        .in_flight = part->in_flight,
        .first_layer = some ? g->layers[g->ops[part->first_op].layer].path : NULL,
        .last_layer = some ? g->layers[g->ops[part->end_op - 1].layer].path : NULL,
        .peak_bytes = kp_categories_sum(&m->peak),
        .allocated_bytes = a->bytes,
        .allocated_low_bytes = a->low,
        .allocated_high_bytes = a->high,
        .reserved_bytes = r->bytes,
        .reserved_low_bytes = r->low,
        .reserved_high_bytes = r->high,
        .steady_bytes = s->bytes,
        .steady_low_bytes = s->low,
        .steady_high_bytes = s->high,
        .kept_bytes = k->bytes,
        .kept_low_bytes = k->low,
        .kept_high_bytes = k->high,
    };
}

/* A part in full: with its tape and what is alive at the peak. */
static kp_status run_whole(kp_look *look, const kp_part *part, kp_arena *arena, kp_err *err)
{
    kp_part whole = *part;
    whole.sums = false;
    KP_TRY(kp_tape_make(look->graph, &look->training, &whole, arena, &look->tape, err));
    KP_TRY(
        kp_memory_replay(&look->tape, &look->training, &look->device, arena, &look->memory, err));
    look->part = whole;
    fill_stage(look, &whole, &look->memory);
    return KP_OK;
}

/* Only the sums of a part, which stay if it is worse than those before. */
static kp_status run_sums(kp_look *look, const kp_part *part, bool first, kp_arena *arena,
                          kp_err *err)
{
    kp_memory memory;
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status =
        kp_memory_of(look->graph, &look->training, part, &look->device, arena, &memory, err);
    kp_arena_rewind(arena, mark);
    KP_TRY(status);
    fill_stage(look, part, &memory);
    if (!first && !worse(&memory, &look->memory, look->device.usable_bytes)) return KP_OK;
    look->part = *part;
    look->memory = memory;
    return KP_OK;
}

/* How tp cuts each op: as in the first look where that had the same choice. */
static kp_status choose_cuts(const kp_look *look, const kp_look *first, kp_arena *arena,
                             const uint8_t **ret, kp_err *err)
{
    const kp_strategy *s = &look->strategy;
    uint64_t divided;
    bool same = first && first->graph == look->graph && first->strategy.tp == s->tp &&
                first->strategy.micro_batch == s->micro_batch;
    if (s->tp < 2) return KP_OK;
    if (same && first->part.cuts) {
        *ret = first->part.cuts;
        return KP_OK;
    }
    KP_TRY(kp_cuts_allow(look->graph, s->tp, err));
    return kp_cuts_choose(look->graph, s->tp, s->micro_batch, arena, ret, &divided, err);
}

static kp_status run_stages(kp_look *look, kp_part part, kp_arena *arena, kp_err *err)
{
    const kp_unit *units = NULL;
    const uint32_t *borders = NULL;
    KP_TRY(find_borders(look, part.cuts, arena, &units, &borders, err));
    for (uint32_t i = 0; i < look->strategy.pp; i++) {
        part.stage = i;
        part.first_op = i ? units[borders[i]].first_op : 0;
        part.end_op = units[borders[i + 1] - 1].end_op;
        part.in_flight = kp_stages_in_flight(&look->strategy, i);
        KP_TRY(run_sums(look, &part, i == 0, arena, err));
    }
    return KP_OK;
}

kp_status kp_look_worst(kp_look *look, const kp_look *first, kp_arena *arena, kp_err *err)
{
    const kp_strategy *s = &look->strategy;
    kp_part part = {.strategy = *s, .end_op = look->graph->n_ops, .in_flight = 1, .sums = true};
    look->tape = (kp_tape){0};
    look->stages = KP_NEW(arena, kp_explain_stage, s->pp);
    kp_sizes *sizes = KP_NEW(arena, kp_sizes, 1);
    if (!look->stages || !sizes) return kp_nomem(err);
    KP_TRY(choose_cuts(look, first, arena, &part.cuts, err));
    KP_TRY(kp_sizes_make(look->graph, &part, arena, sizes, err));
    part.sizes = sizes;
    if (s->pp > 1) {
        KP_TRY(run_stages(look, part, arena, err));
        return look->brief ? KP_OK : run_whole(look, &look->part, arena, err);
    }
    return look->brief ? run_sums(look, &part, true, arena, err)
                       : run_whole(look, &part, arena, err);
}

kp_status kp_look_at(const kp_explaining *e, struct json_t *json, const kp_graph *graph,
                     const kp_options *options, bool brief, kp_look *ret, kp_err *err)
{
    kp_look look = {.graph = graph, .brief = brief};
    kp_bind bind;
    if (!graph) {
        KP_TRY(kp_training_bind(options, e->arena, &bind, err));
        KP_TRY(kp_model_read_json(json, e->request->name, &bind, e->arena, &look.graph, err));
    }
    KP_TRY(kp_training_resolve(look.graph, options, e->arena, &look.training, err));
    kp_options device = *options;
    device.preallocate &= look.training.framework == KP_FW_KERAS_JAX; /* only JAX does so */
    KP_TRY(kp_device_resolve(e->request->gpus, &device, e->arena, &look.device, err));
    look.training.multiprocessors = look.device.kind->sm_count;
    KP_TRY(
        kp_look_strategy(look.graph, &look.training, options, &look.strategy, &look.divided, err));
    KP_TRY(kp_look_worst(&look, e->look.graph ? &e->look : NULL, e->arena, err));
    look.host = kp_host_of(&look);
    *ret = look;
    return KP_OK;
}

/* ---- questions about it ---- */

bool kp_look_fits(const kp_look *look)
{
    return kp_memory_fit(&look->memory, look->device.usable_bytes) == KP_FIT_FITS;
}

kp_verdict_fit kp_look_fit(const kp_look *look)
{
    kp_verdict_fit fit = kp_memory_fit(&look->memory, look->device.usable_bytes);
    return fit == KP_FIT_FITS && look->graph->low_confidence ? KP_FIT_TIGHT : fit;
}

uint64_t kp_look_layer_bytes(const kp_look *look, uint32_t layer)
{
    const kp_layer_bytes *l = &look->memory.layers[layer];
    return l->weights + l->gradients + l->optimizer + l->activations;
}

uint32_t kp_look_main_op(const kp_look *look, uint32_t layer)
{
    const kp_graph *g = look->graph;
    uint32_t best = KP_NO;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        if (g->ops[i].layer != layer) continue;
        kp_op_kind kind = kp_op_rows[g->ops[i].op].kind;
        bool main = kind == KP_KIND_WEIGHTY || kind == KP_KIND_LOOP || kind == KP_KIND_GATHER;
        if (best == KP_NO || (main && kp_op_rows[g->ops[best].op].kind != kind)) best = i;
        if (main) return i;
    }
    return best;
}
