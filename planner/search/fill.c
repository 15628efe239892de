/* SPDX-License-Identifier: MIT */
#include "planner/search/fill.h"

static kp_status fill_stages(const kp_ground *ground, const kp_hunt *winner, const kp_costs *costs,
                             kp_arena *arena, kp_plan *ret, kp_err *err)
{
    const kp_strategy *s = &winner->strategy;
    ret->stages = KP_NEW(arena, kp_plan_stage, s->pp);
    if (!ret->stages) return kp_nomem(err);
    ret->n_stages = s->pp;
    for (uint32_t i = 0; i < s->pp; i++)
        ret->stages[i] = (kp_plan_stage){
            .tp = s->tp,
            .dp = s->dp,
            .zero = s->zero,
            .seconds = kp_costs_stage_s(costs, winner->borders[i], winner->borders[i + 1])};
    return kp_fill_cuts(ground, winner, arena, ret, err);
}

static bool same_device(const kp_device *a, const kp_device *b)
{
    return a->kind == b->kind && a->total_bytes == b->total_bytes &&
           a->usable_bytes == b->usable_bytes;
}

static kp_status fill_rank(const kp_ground *ground, const kp_hunt *winner, uint32_t i,
                           kp_arena *arena, kp_plan *ret, kp_err *err)
{
    const kp_strategy *s = &winner->strategy;
    const kp_slot *slot = &ground->cluster.slots[i], *before = i ? slot - 1 : NULL;
    uint32_t stage = i / s->tp / s->dp;
    kp_plan_rank rank = {
        .rank = i,
        .node = slot->node,
        .gpu = slot->uuid,
        .gpu_index = slot->gpu_index,
        .stage = stage,
        .dp_rank = i / s->tp % s->dp,
        .tp_rank = i % s->tp,
        .usable_bytes = slot->device.usable_bytes,
    };
    if (before && ret->ranks[i - 1].stage == stage && same_device(&before->device, &slot->device)) {
        rank.memory = ret->ranks[i - 1].memory;
    } else {
        kp_memory memory;
        kp_arena_mark mark = kp_arena_tell(arena);
        kp_status status =
            kp_ground_replay(ground, s, winner->borders, stage, &slot->device, arena, &memory, err);
        kp_arena_rewind(arena, mark);
        KP_TRY(status);
        rank.memory = memory.peak;
    }
    rank.peak_bytes = kp_categories_sum(&rank.memory);
    ret->ranks[i] = rank;
    ret->stages[stage].peak_bytes = kp_max_u64(ret->stages[stage].peak_bytes, rank.peak_bytes);
    return KP_OK;
}

kp_status kp_fill_plan(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                       kp_plan *ret, kp_err *err)
{
    const kp_search_request *r = ground->request;
    const kp_strategy *s = &winner->strategy;
    const kp_base *base = kp_ground_base(ground, s->tp, s->micro_batch);
    kp_costs costs;
    kp_schema_init(&kp_schema_plan, ret);
    ret->id = "";
    ret->model = (kp_plan_model){.name = r->graph->name, .sha256 = r->sha256};
    ret->cluster = (kp_plan_cluster){.revision = ground->cluster.revision,
                                     .nodes = ground->cluster.n_nodes,
                                     .gpus = ground->cluster.n_slots,
                                     .simulated = ground->cluster.simulated};
    ret->target = r->training->target;
    ret->batch = r->training->batch;
    ret->assumptions = r->training->assumptions;
    ret->n_assumptions = r->training->n_assumptions;
    ret->strategy = *s;
    ret->weight_bytes = 0;
    ret->verification.covered = 0;
    ret->verification.checks = 0;
    KP_TRY(
        kp_costs_make(r->graph, r->training, s, base->cuts, &ground->cluster, arena, &costs, err));
    KP_TRY(fill_stages(ground, winner, &costs, arena, ret, err));
    ret->n_ranks = s->dp * s->tp * s->pp;
    ret->ranks = KP_NEW(arena, kp_plan_rank, ret->n_ranks);
    if (!ret->ranks) return kp_nomem(err);
    for (uint32_t i = 0; i < ret->n_ranks; i++)
        KP_TRY(fill_rank(ground, winner, i, arena, ret, err));
    kp_step_time(&costs, winner->borders, s, r->training, r->graph, &ground->cluster, &ret->step);
    return kp_fill_checks(ground, winner, arena, ret, err);
}
