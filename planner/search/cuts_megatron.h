/* SPDX-License-Identifier: MIT
 *
 * planner/search/cuts_megatron.h — the cuts that Megatron itself makes. Internal to the room. */
#ifndef KP_PLANNER_SEARCH_CUTS_MEGATRON_H
#define KP_PLANNER_SEARCH_CUTS_MEGATRON_H

#include "planner/estimate/tape.h"

/* Fills cuts[n_ops] of a model of Megatron's arguments; *ret_divided as kp_cuts_choose's. KP_NOMEM.
 */
kp_status kp_cuts_megatron(const kp_graph *graph, uint32_t tp, kp_arena *arena, uint8_t *cuts,
                           uint64_t *ret_divided, kp_err *err);

#endif
