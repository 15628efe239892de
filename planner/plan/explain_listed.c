/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_listed.c — a plan that the model file brings along: its stages as they are,
 * each with its own degrees and its own recomputed operations. */
#include "planner/model/oplan.h"
#include "planner/plan/explain_parts.h"
#include "planner/search/cuts.h"
#include "planner/search/stages.h"

kp_status kp_look_listed_strategy(const kp_oplan *plan, const kp_training *training,
                                  kp_strategy *ret, kp_err *err)
{
    if (training->batch % plan->micro_batch) {
        kp_fail(err, KP_USAGE,
                "a batch of %llu does not divide into the file's micro-batches of %u",
                (unsigned long long)training->batch, plan->micro_batch);
        kp_hint(err, "--batch is the global batch: take a multiple of %u", plan->micro_batch);
        return KP_USAGE;
    }
    ret->pp = plan->n_stages;
    ret->micro_batch = plan->micro_batch;
    ret->micro_batches = (uint32_t)(training->batch / plan->micro_batch);
    ret->schedule = KP_SCHEDULE_1F1B;
    return KP_OK;
}

/* How the operations of a stage are divided over its tensor parallel ranks. */
static kp_status choose_cuts(const kp_look *look, const kp_strategy *s, kp_arena *arena,
                             const uint8_t **ret, kp_err *err)
{
    uint64_t divided;
    *ret = NULL;
    if (s->tp < 2) return KP_OK;
    KP_TRY(kp_cuts_allow(look->graph, s->tp, err));
    return kp_cuts_choose(look->graph, s->tp, s->micro_batch, arena, ret, &divided, err);
}

/* All stages one after the other, their sums only, and then the worst of them in full: files may
 * list many. */
kp_status kp_look_listed(kp_look *look, kp_arena *arena, kp_err *err)
{
    const kp_oplan *plan = look->graph->oplan;
    const uint32_t *starts, *segment;
    bool brief = look->brief;
    uint32_t at = 0;
    look->brief = true;
    KP_TRY(kp_oplan_starts(look->graph, arena, &starts, err));
    KP_TRY(kp_oplan_segments(look->graph, starts, arena, &segment, err));
    for (uint32_t i = 0; i < plan->n_stages; i++) {
        const kp_oplan_stage *stage = &plan->stages[i];
        kp_part part = {.strategy = look->strategy,
                        .stage = i,
                        .first_op = starts[at],
                        .end_op = starts[at + stage->n_ops],
                        .in_flight = kp_stages_in_flight(&look->strategy, i),
                        .segment = segment};
        part.strategy.dp = stage->dp;
        part.strategy.tp = stage->tp;
        part.strategy.micro_batch = plan->micro_batch / stage->dp;
        KP_TRY(choose_cuts(look, &part.strategy, arena, &part.cuts, err));
        kp_arena_mark mark = kp_arena_tell(arena);
        KP_TRY(kp_look_part(look, &part, arena, err));
        kp_arena_rewind(arena, mark);
        at += stage->n_ops;
    }
    kp_part worst = look->part;
    look->brief = brief;
    look->tape = (kp_tape){0};
    return kp_look_part(look, &worst, arena, err);
}
