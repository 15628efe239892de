/* SPDX-License-Identifier: MIT
 *
 * planner/search/stages.h — where to cut the chain of units into pipeline stages.
 *
 * The time of one iteration with stages s = 0..p-1 and m micro-batches (1F1B or GPipe; Narayanan
 * et al., SC 2021, uneven stages):
 *     sum t(s) + sum cross(border) + (m - 1) max t(s) + max tail(s)
 * t: one micro-batch through the stage, cross: its border tensors to the next stage and their
 * gradients back, tail: gradient sync and optimizer step. Found by thresholds: for a bound T on
 * every t(s) and U on every tail(s) one dynamic program gives F(T, U), the least sum. Any cut with
 * T1 <= max t <= T2 and U1 <= max tail <= U2 takes at least F(T2, U2) + (m - 1) T1 + U1, so branch
 * and bound over boxes of (T, U) ends at the optimum, or, when its steps are spent, at a cut and a
 * bound. Memory is a hard limit of each stage, with min(m, p - s) micro-batches in flight under
 * 1F1B and m under GPipe. One dynamic program looks at O(units x stages) borders as long as the
 * fastest beginning of a stage also fits: windows from which a stage may come only move forward,
 * because time and bytes grow with the stage; where what crosses a border, or the tail, is too
 * much, the rest of the window is looked at. Pure. */
#ifndef KP_PLANNER_SEARCH_STAGES_H
#define KP_PLANNER_SEARCH_STAGES_H

#include "planner/estimate/cost.h"

typedef struct kp_stage_task {
    const kp_costs *costs;
    const kp_strategy *strategy; /* pp, micro_batches, schedule and what the costs were made for */
    const kp_cluster *cluster;
    const kp_costs *memory;      /* whose bytes the limits are for; NULL: those of `costs` */
    const uint64_t *limit_bytes; /* pp: usable bytes on the stage's smallest GPU; UINT64_MAX: any */
    const uint8_t *border_ok;    /* n_units + 1: a stage may begin at this unit */
    double beat_s;               /* cuts that take as long or longer need not be found */
    double slack;                /* share by which the cut found may miss the optimum; 0: none */
} kp_stage_task;

typedef struct kp_stage_answer {
    bool found;             /* a cut below beat_s that fits */
    bool fits;              /* some cut fits; only known if found, or if false */
    double seconds;         /* of the cut found */
    double lower_s;         /* no cut that fits takes less; INFINITY if none fits */
    const uint32_t *borders; /* pp + 1, in the arena */
    uint64_t peak_bytes;    /* upper bound of the worst stage */
} kp_stage_answer;

/* The fastest cut that fits. Deterministic. KP_NOMEM. */
kp_status kp_stages_solve(const kp_stage_task *task, kp_arena *arena, kp_stage_answer *ret,
                          kp_err *err);

/* The cut whose worst stage needs the least bytes, whatever the limits; `found` is false only if
 * there are fewer places for borders than stages. seconds is its time. Found by halving the bytes,
 * each stage taken as long as it may be, which is the least but for what crosses borders: that
 * differs from border to border. KP_NOMEM. */
kp_status kp_stages_smallest(const kp_stage_task *task, kp_arena *arena, kp_stage_answer *ret,
                             kp_err *err);

/* The time of a cut by the formula above; the bytes of its worst stage, and which that is. */
double kp_stages_time_s(const kp_stage_task *task, const uint32_t *borders);
uint64_t kp_stages_peak(const kp_stage_task *task, const uint32_t *borders, uint32_t *ret_stage);

/* Micro-batches whose activations stage `stage` keeps at once. */
uint32_t kp_stages_in_flight(const kp_strategy *strategy, uint32_t stage);

/* Where a stage may begin: not between two calls of one layer, nor between two uses of one weight,
 * so that each layer and each weight is in one stage. n_units + 1 entries, in `arena`. */
kp_status kp_stages_borders(const kp_graph *graph, const kp_unit *units, uint32_t n_units,
                            kp_arena *arena, const uint8_t **ret, kp_err *err);

#endif
