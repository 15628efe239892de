/* SPDX-License-Identifier: MIT
 *
 * planner/search/space.h — which strategies there are.
 *
 * A point is a way of dividing the batch and the GPUs: dp x tp x pp over the first `gpus` slots,
 * micro-batches that divide a replica's share. ZeRO levels and recomputation are choices at each
 * point. The target filters all of it (a table), degrees given by hand fix it. tp groups are
 * neighbours within a node. Internal to the room. Pure. */
#ifndef KP_PLANNER_SEARCH_SPACE_H
#define KP_PLANNER_SEARCH_SPACE_H

#include "planner/search/search.h"

/* What a target can run. */
typedef struct kp_target_row {
    bool tp, pp;
    uint8_t zeros, zeros_pipeline; /* bit z: ZeRO level z, without and with a pipeline */
    const char *why;               /* for messages, with the source */
} kp_target_row;
extern const kp_target_row kp_target_rows[KP_TARGET_COUNT];

typedef struct kp_point {
    uint32_t gpus, dp, tp, pp, micro_batch, micro_batches;
} kp_point;

typedef struct kp_space {
    const kp_point *points;
    uint32_t n_points;
    const kp_target_row *target;
    uint8_t recomputes; /* bit r: kp_recompute r */
    uint8_t zero_given; /* level given by hand; 4: none */
    kp_schedule schedule;
} kp_space;

/* KP_UNSUPPORTED: a schedule or a number of pieces given by hand that is not planned. */
kp_status kp_space_check_schedule(const kp_options *options, kp_err *err);

/* KP_UNSUPPORTED: the target cannot run a degree or a ZeRO level given by hand. */
kp_status kp_space_check_target(kp_target target, const kp_options *options, kp_err *err);

/* Fails before any search on what no search can mend: KP_UNSUPPORTED (the target cannot run a
 * degree given by hand, the schedule is not planned), KP_USAGE (degrees that divide nothing or do
 * not multiply to the GPUs). */
kp_status kp_space_check(const kp_search_request *request, kp_err *err);

/* All points over exactly the first `gpus` slots, `max_stages` the most stages the chain allows.
 * n_points may be 0. KP_NOMEM. */
kp_status kp_space_make(const kp_search_request *request, uint32_t gpus, uint32_t max_stages,
                        kp_arena *arena, kp_space *ret, kp_err *err);

/* KP_USAGE: says why there is no point on that many GPUs that divides the work, and what would. */
kp_status kp_space_refuse(const kp_search_request *request, uint32_t gpus, uint32_t max_stages,
                          kp_err *err);

/* ZeRO levels to try at a point, as bits. */
uint8_t kp_space_zeros(const kp_space *space, const kp_point *point);

/* The point with its two further choices as a strategy. */
kp_strategy kp_space_strategy(const kp_space *space, const kp_point *point, uint32_t zero,
                              kp_recompute recompute);

#endif
