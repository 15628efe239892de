/* SPDX-License-Identifier: MIT
 *
 * planner/search/cuts.h — how tensor parallelism of a degree cuts each op.
 *
 * Chooses a kp_cut for every op so that layouts meet (proto/shard.h): a column cut's divided
 * output flows through elementwise ops into row cuts without a collective; where it cannot, the
 * output is gathered or the op is left whole. Minimised is, in bytes of one micro-batch,
 *     wire bytes a rank sends, forward and backward, and 1 MiB a collective for its fixed time
 *   + bytes a rank holds: its part of each weight and of each written tensor
 *   + its work / 1500 FLOP a byte (what a card computes while a byte crosses its links),
 * so layers too small to be worth a collective stay whole. The work of an uneven cut is that of
 * the rank with the largest slice. Dynamic programming over the ops in order: a state says which
 * tensors still to be read are divided, the cheapest way to each state is kept; exact while at
 * most CUTS_STATES (32) states are alive (chains and residual networks have a handful), beyond
 * them the cheapest go on. If nothing is worth cutting, weights count so much that whatever can be
 * divided is: a group that divides nothing is no tensor parallelism.
 * Refused: dimensions smaller than the degree, heads that it does not divide, grouped convolutions,
 * ops inside a recurrence. Pure. */
#ifndef KP_PLANNER_SEARCH_CUTS_H
#define KP_PLANNER_SEARCH_CUTS_H

#include "planner/estimate/tape.h"

/* One kp_cut an op, in `arena`. *ret_divided: weight elements that are divided; 0 means tp divides
 * nothing. tp 1 cuts nothing. KP_NOMEM. */
kp_status kp_cuts_choose(const kp_graph *graph, uint32_t tp, uint64_t micro_batch, kp_arena *arena,
                         const uint8_t **ret, uint64_t *ret_divided, kp_err *err);

/* What is minimised, of any cuts: NaN if an op cannot be cut so or layouts do not meet. KP_NOMEM. */
kp_status kp_cuts_cost(const kp_graph *graph, uint32_t tp, uint64_t micro_batch,
                       const uint8_t *cuts, kp_arena *arena, double *ret, kp_err *err);

/* KP_USAGE if tp divides no dimension along which some layer with weights can be cut; the hint
 * names a degree that does. For degrees given by hand: the search only takes what divides. */
kp_status kp_cuts_allow(const kp_graph *graph, uint32_t tp, kp_err *err);

#endif
