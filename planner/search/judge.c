/* SPDX-License-Identifier: MIT */
#include "planner/search/judge.h"
#include <math.h>

enum {
    TRIES = 4,         /* stage programs a strategy gets when the replay rejects the first */
    EXACT_UNITS = 300, /* longest chain that is cut without slack */
};

/* ---- memory ---- */

kp_status kp_ground_replay(const kp_ground *ground, const kp_strategy *strategy,
                           const uint32_t *borders, uint32_t stage, const kp_device *device,
                           kp_arena *arena, kp_memory *ret, kp_err *err)
{
    const kp_search_request *r = ground->request;
    kp_part part = {
        .strategy = *strategy,
        .stage = stage,
        .first_op = stage ? ground->units[borders[stage]].first_op : 0,
        .end_op = ground->units[borders[stage + 1] - 1].end_op,
        .in_flight = kp_stages_in_flight(strategy, stage),
        .cuts = kp_ground_base(ground, strategy->tp, strategy->micro_batch)->cuts,
    };
    return kp_memory_of(r->graph, r->training, &part, device, arena, ret, err);
}

/* Replays every stage. *ret_over: bytes above the limit of the stage that is worst; 0: all fit.
 * *ret_stage is that stage, *ret_peak the largest peak. */
static kp_status replay_all(const kp_ground *g, const kp_strategy *strategy,
                            const uint32_t *borders, kp_arena *arena, uint64_t *ret_over,
                            uint32_t *ret_stage, uint64_t *ret_peak, kp_err *err)
{
    *ret_over = *ret_peak = 0;
    *ret_stage = 0;
    for (uint32_t stage = 0; stage < strategy->pp; stage++) {
        kp_memory memory;
        const kp_device *device = &kp_ground_tightest(g, strategy, stage)->device;
        kp_arena_mark mark = kp_arena_tell(arena);
        kp_status status =
            kp_ground_replay(g, strategy, borders, stage, device, arena, &memory, err);
        kp_arena_rewind(arena, mark);
        if (status == KP_INPUT) /* more micro-batches in flight than any size */
            memory = (kp_memory){.high_bytes = UINT64_MAX};
        else
            KP_TRY(status);
        uint64_t over = kp_sub_u64(memory.high_bytes, device->usable_bytes);
        *ret_peak = kp_max_u64(*ret_peak, kp_categories_sum(&memory.peak));
        if (over <= *ret_over) continue;
        *ret_over = over;
        *ret_stage = stage;
    }
    return KP_OK;
}

/* ---- one strategy ---- */

typedef struct judging {
    const kp_ground *ground;
    const kp_strategy *strategy;
    kp_costs costs;
    kp_stage_task task;
    uint64_t *limits;
} judging;

static kp_status judging_init(judging *j, const kp_ground *g, const kp_strategy *strategy,
                              double beat_s, double slack, kp_arena *arena, kp_err *err)
{
    const kp_base *base = kp_ground_base(g, strategy->tp, strategy->micro_batch);
    *j = (judging){.ground = g, .strategy = strategy};
    KP_TRY(kp_costs_make(g->request->graph, g->request->training, strategy, base->cuts, &g->cluster,
                         arena, &j->costs, err));
    j->limits = KP_NEW(arena, uint64_t, strategy->pp);
    if (!j->limits) return kp_nomem(err);
    for (uint32_t i = 0; i < strategy->pp; i++)
        j->limits[i] = kp_ground_tightest(g, strategy, i)->device.usable_bytes;
    /* On long chains the last ten-thousandth would cost more than all before it. */
    if (g->n_units > EXACT_UNITS) slack = fmax(slack, 1e-4);
    j->task = (kp_stage_task){.costs = &j->costs,
                              .strategy = strategy,
                              .cluster = &g->cluster,
                              .limit_bytes = j->limits,
                              .border_ok = g->border_ok,
                              .beat_s = beat_s,
                              .slack = slack};
    return KP_OK;
}

/* True if weights and optimizer slots alone, spread evenly, are too much. */
static bool states_too_big(const judging *j)
{
    const kp_unit_sum *all = &j->costs.sum[j->costs.n_units];
    uint64_t states = kp_add_u64(all->weights_bytes, all->optimizer_bytes), limits = 0;
    for (uint32_t i = 0; i < j->strategy->pp; i++) limits = kp_add_u64(limits, j->limits[i]);
    return states > limits;
}

/* Replays a cut. If it is rejected, the limit of its worst stage shrinks by what was too much. */
static kp_status replay_answer(judging *j, const kp_stage_answer *answer, kp_arena *arena,
                               uint32_t *borders, kp_verdict_of *ret, kp_err *err)
{
    uint64_t over;
    uint32_t stage;
    KP_TRY(replay_all(j->ground, j->strategy, answer->borders, arena, &over, &stage,
                      &ret->peak_bytes, err));
    memcpy(borders, answer->borders, (j->strategy->pp + 1ul) * sizeof(*borders));
    ret->seconds = answer->seconds;
    ret->found = over == 0;
    uint64_t bytes = kp_costs_stage_bytes(&j->costs, borders[stage], borders[stage + 1],
                                          kp_stages_in_flight(j->strategy, stage));
    j->limits[stage] = kp_sub_u64(kp_min_u64(j->limits[stage], bytes), over);
    return KP_OK;
}

static bool within_limits(const judging *j, const uint32_t *borders)
{
    for (uint32_t s = 0; s < j->strategy->pp; s++)
        if (kp_costs_stage_bytes(&j->costs, borders[s], borders[s + 1],
                                 kp_stages_in_flight(j->strategy, s)) > j->limits[s])
            return false;
    return true;
}

/* One stage: nothing to cut, so the replay alone decides. */
static kp_status judge_whole(judging *j, kp_arena *arena, uint32_t *borders, kp_verdict_of *ret,
                             kp_err *err)
{
    uint64_t over;
    uint32_t stage;
    borders[0] = 0;
    borders[1] = j->ground->n_units;
    ret->seconds = ret->lower_s = kp_stages_time_s(&j->task, borders);
    if (ret->seconds >= j->task.beat_s) return KP_OK;
    KP_TRY(
        replay_all(j->ground, j->strategy, borders, arena, &over, &stage, &ret->peak_bytes, err));
    ret->found = over == 0;
    if (!ret->found) ret->lower_s = INFINITY;
    return KP_OK;
}

/* Costs whose bytes no stage that fits goes below: weights, optimizer slots and what each
 * micro-batch in flight keeps, without gradients, what lives for a moment, and all constants. What
 * the last unit writes may be kept by the next stage instead: *ret_crossing, a micro-batch's. */
static kp_status least_bytes(const judging *j, kp_arena *arena, kp_costs *ret, double *ret_crossing,
                             kp_err *err)
{
    const kp_costs *costs = &j->costs;
    uint32_t n = costs->n_units;
    kp_unit_sum *sum = KP_NEW(arena, kp_unit_sum, n + 1ul);
    uint64_t *nothing = KP_NEW(arena, uint64_t, (n + 1ul) * KP_MOMENT_LEVELS), most = 0;
    if (!sum || !nothing) return kp_nomem(err);
    for (uint32_t i = 0; i <= n; i++) {
        sum[i] = costs->sum[i];
        sum[i].gradients_bytes = sum[i].copies_bytes = sum[i].update_bytes = 0;
        if (i && j->ground->border_ok[i]) most = kp_max_u64(most, costs->cross_bytes[i]);
    }
    *ret = *costs;
    ret->sum = sum;
    ret->moment_bytes = ret->cross_bytes = nothing;
    ret->fixed_bytes = ret->outside_bytes = 0;
    *ret_crossing = (double)most * (1 + costs->error) * (1 + costs->waste);
    return KP_OK;
}

/* The program whose limits no cut that fits can miss: its optimum is the bound. */
static kp_status solve_bound(judging *j, kp_arena *arena, kp_stage_answer *ret, kp_err *err)
{
    kp_costs least;
    kp_stage_task task = j->task;
    double crossing = 0;
    uint64_t *limits = KP_NEW(arena, uint64_t, j->strategy->pp);
    if (!limits) return kp_nomem(err);
    KP_TRY(least_bytes(j, arena, &least, &crossing, err));
    for (uint32_t s = 0; s < j->strategy->pp; s++) {
        double more = crossing * kp_stages_in_flight(j->strategy, s);
        limits[s] = kp_add_u64(j->limits[s], more < 0x1p62 ? (uint64_t)more : UINT64_MAX);
    }
    task.memory = &least;
    task.limit_bytes = limits;
    return kp_stages_solve(&task, arena, ret, err);
}

/* Stages: the bound's cut if it fits; else the program with the upper bounds of the bytes, until
 * the replay agrees with its cut. */
static kp_status judge_stages(judging *j, kp_arena *arena, uint32_t *borders, kp_verdict_of *ret,
                              kp_err *err)
{
    kp_stage_answer answer;
    KP_TRY(solve_bound(j, arena, &answer, err));
    ret->lower_s = answer.lower_s;
    for (int i = 0; i < TRIES && answer.found && !ret->found; i++) {
        if (i || !within_limits(j, answer.borders))
            KP_TRY(kp_stages_solve(&j->task, arena, &answer, err));
        if (answer.found) KP_TRY(replay_answer(j, &answer, arena, borders, ret, err));
    }
    return KP_OK;
}

static kp_status judge(judging *j, const kp_base *base, kp_arena *arena, uint32_t *borders,
                       kp_verdict_of *ret, kp_err *err)
{
    bool whole = j->strategy->pp == 1;
    double work_s = kp_costs_stage_s(&j->costs, 0, j->costs.n_units);
    double bound = kp_ground_lower_s(base, work_s, j->strategy->pp, j->strategy->micro_batches, 0);
    *ret = (kp_verdict_of){.lower_s = bound};
    if (bound >= j->task.beat_s) return KP_OK;
    if (states_too_big(j)) {
        ret->lower_s = INFINITY;
        return KP_OK;
    }
    return whole ? judge_whole(j, arena, borders, ret, err)
                 : judge_stages(j, arena, borders, ret, err);
}

/* Sizes past KP_SIZE_MAX fit nowhere. */
static kp_status unless_too_big(kp_status status, kp_verdict_of *ret)
{
    if (status != KP_INPUT) return status;
    *ret = (kp_verdict_of){.lower_s = INFINITY, .seconds = INFINITY, .peak_bytes = UINT64_MAX};
    return KP_OK;
}

kp_status kp_ground_judge(const kp_ground *ground, const kp_strategy *strategy, double beat_s,
                          double slack, kp_arena *arena, uint32_t *ret_borders, kp_verdict_of *ret,
                          kp_err *err)
{
    judging j;
    const kp_base *base = kp_ground_base(ground, strategy->tp, strategy->micro_batch);
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status = judging_init(&j, ground, strategy, beat_s, slack, arena, err);
    if (status == KP_OK) status = judge(&j, base, arena, ret_borders, ret, err);
    kp_arena_rewind(arena, mark);
    return unless_too_big(status, ret);
}

static kp_status smallest(judging *j, kp_arena *arena, uint32_t *borders, kp_verdict_of *ret,
                          kp_err *err)
{
    kp_stage_answer answer;
    uint64_t over;
    uint32_t stage;
    KP_TRY(kp_stages_smallest(&j->task, arena, &answer, err));
    *ret = (kp_verdict_of){.seconds = answer.seconds, .lower_s = INFINITY};
    if (!answer.found) {
        ret->peak_bytes = UINT64_MAX;
        return KP_OK;
    }
    memcpy(borders, answer.borders, (j->strategy->pp + 1ul) * sizeof(*borders));
    KP_TRY(
        replay_all(j->ground, j->strategy, borders, arena, &over, &stage, &ret->peak_bytes, err));
    ret->found = over == 0;
    return KP_OK;
}

kp_status kp_ground_smallest(const kp_ground *ground, const kp_strategy *strategy, kp_arena *arena,
                             uint32_t *ret_borders, kp_verdict_of *ret, kp_err *err)
{
    judging j;
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status = judging_init(&j, ground, strategy, INFINITY, 0, arena, err);
    if (status == KP_OK) status = smallest(&j, arena, ret_borders, ret, err);
    kp_arena_rewind(arena, mark);
    return unless_too_big(status, ret);
}
