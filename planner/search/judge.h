/* SPDX-License-Identifier: MIT
 *
 * planner/search/judge.h — how fast one strategy can be, and whether it fits.
 *
 * A ground is the first `gpus` slots of the cluster with the model's chain of units and what all
 * strategies there share: for each (tp, micro-batch) the cuts and the costs without ZeRO and
 * recomputation, from which every strategy's lower bound comes. A strategy is judged by its own
 * costs, the stage program and, if that would win, the exact replay of each stage.
 * Internal to the room. Pure. */
#ifndef KP_PLANNER_SEARCH_JUDGE_H
#define KP_PLANNER_SEARCH_JUDGE_H

#include "planner/search/space.h"
#include "planner/search/stages.h"

/* What strategies of one tp and micro-batch share. */
typedef struct kp_base {
    uint32_t tp, micro_batch;
    const uint8_t *cuts;
    bool divides; /* the cuts divide some weight, or tp is 1; and sizes are sane */
    bool too_big; /* a tensor would be past KP_SIZE_MAX */
    kp_costs costs;
    double unit_s, cross_s; /* slowest unit; cheapest border */
    uint64_t crossing_bytes; /* of the border that most crosses, one micro-batch */
} kp_base;

typedef struct kp_ground {
    const kp_search_request *request;
    kp_cluster cluster; /* its first `gpus` slots */
    kp_space space;
    const kp_unit *units;
    uint32_t n_units, max_stages;
    const uint8_t *border_ok;
    kp_base *bases;
    uint32_t n_bases;
} kp_ground;

typedef struct kp_verdict_of {
    bool found;          /* it fits and takes less than beat_s */
    double seconds;
    double lower_s;      /* no cut of this strategy that fits takes less; INFINITY: none fits */
    uint64_t peak_bytes; /* of the worst stage: upper bound, exact where replayed */
} kp_verdict_of;

/* The chain of the model; the same for every ground. KP_UNSUPPORTED if there is nothing to train. */
kp_status kp_ground_chain(const kp_search_request *request, kp_arena *arena, kp_ground *ret,
                          kp_err *err);

/* A ground over the first `gpus` slots from one that has the chain. space.n_points may be 0.
 * KP_INPUT if every micro-batch has tensors past KP_SIZE_MAX; what the estimate says. */
kp_status kp_ground_make(const kp_ground *chain, uint32_t gpus, kp_arena *arena, kp_ground *ret,
                         kp_err *err);

/* False if no point divides the work: there is none, or tensor parallelism, which all need, divides
 * no layer. */
bool kp_ground_divides(const kp_ground *ground);

/* No strategy at this point with this recomputation is faster, whatever its ZeRO level (derivation
 * at the function); NONE's holds for all. INFINITY if tp would divide nothing. */
double kp_ground_bound_s(const kp_ground *ground, const kp_point *point, kp_recompute recompute);

/* The same from the work of one micro-batch; tail_s counts without a pipeline only. */
double kp_ground_lower_s(const kp_base *base, double work_s, uint32_t pp, uint32_t micro_batches,
                         double tail_s);

/* False if no cut at this point without recomputation can fit at the ZeRO level. */
bool kp_ground_holds(const kp_ground *ground, const kp_point *point, uint32_t zero);

/* Judges one strategy; its cut may miss the optimum by the share `slack`. ret_borders has max_stages + 1 entries, written if found. `arena` is as
 * before afterwards. KP_NOMEM and what the estimate says. */
kp_status kp_ground_judge(const kp_ground *ground, const kp_strategy *strategy, double beat_s,
                          double slack, kp_arena *arena, uint32_t *ret_borders, kp_verdict_of *ret,
                          kp_err *err);

/* The cut of the strategy that needs the least memory, fitting or not; found: it fits. */
kp_status kp_ground_smallest(const kp_ground *ground, const kp_strategy *strategy, kp_arena *arena,
                             uint32_t *ret_borders, kp_verdict_of *ret, kp_err *err);

/* The exact replay of one stage on the slot of it that has the least memory. */
kp_status kp_ground_replay(const kp_ground *ground, const kp_strategy *strategy,
                           const uint32_t *borders, uint32_t stage, const kp_device *device,
                           kp_arena *arena, kp_memory *ret, kp_err *err);

/* First slot of a stage, and the one with the least usable memory. */
uint32_t kp_ground_first_slot(const kp_strategy *strategy, uint32_t stage);
const kp_slot *kp_ground_tightest(const kp_ground *ground, const kp_strategy *strategy,
                                  uint32_t stage);

const kp_base *kp_ground_base(const kp_ground *ground, uint32_t tp, uint32_t micro_batch);

#endif
