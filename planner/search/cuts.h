/* SPDX-License-Identifier: MIT
 *
 * planner/search/cuts.h — how tensor parallelism of a degree cuts each op.
 *
 * Chooses a kp_cut for every op so that layouts meet (proto/shard.h): a column cut's divided
 * output flows through elementwise ops into row cuts without a collective; where it cannot, the
 * output is gathered or the op is left whole. The choice minimises wire bytes plus undivided
 * weight bytes by dynamic programming over the graph's chain of layouts. Pure. */
#ifndef KP_PLANNER_SEARCH_CUTS_H
#define KP_PLANNER_SEARCH_CUTS_H

#include "planner/estimate/tape.h"

/* One kp_cut an op. *ret_divided: weight elements that are divided; 0 means tp divides nothing. */
kp_status kp_cuts_choose(const kp_graph *graph, uint32_t tp, uint64_t micro_batch, kp_arena *arena,
                         const uint8_t **ret, uint64_t *ret_divided, kp_err *err);

#endif
