/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/spread.h — what a program that XLA has divided over devices may hold besides.
 *
 * Two causes that the options do not tell. Collectives are asynchronous: what is sent stays beside
 * the result, and gradients wait until their bucket (all_reduce_combine_threshold_bytes, 30 MiB) is
 * full. And they bind the schedule: weight gradients may be computed at once or after all others,
 * whatever needs less. Pure. */
#ifndef KP_PLANNER_ESTIMATE_SPREAD_H
#define KP_PLANNER_ESTIMATE_SPREAD_H

#include "planner/estimate/tape.h"

/* Bytes that the peak may be higher; `schedules`: how far the peaks of the two schedules are apart.
 * 0 where nothing is divided, or no XLA runs. KP_NOMEM. */
kp_status kp_spread_bytes(const kp_graph *graph, const kp_training *training, const kp_part *part,
                          uint64_t schedules, kp_arena *arena, uint64_t *ret, kp_err *err);

#endif
