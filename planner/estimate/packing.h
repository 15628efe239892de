/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/packing.h — what XLA's arena loses around the workspace of products.
 *
 * XLA packs all temporaries of a step into one block, once, the largest first. Where the workspace
 * is larger than every other temporary it lies at the bottom, and what is alive during any product
 * lies above it for its whole life: also while no product runs. Pure.
 * Source: xla/service/heap_simulator, GlobalDecreasingSizeBestFitHeap. */
#ifndef KP_PLANNER_ESTIMATE_PACKING_H
#define KP_PLANNER_ESTIMATE_PACKING_H

#include "planner/estimate/tape.h"

/* Bytes that the block has beyond the most that is alive at once; 0 if a temporary is larger than
 * the workspace, or no product runs. `live`: the most that is alive at once. KP_NOMEM. */
kp_status kp_packing_holes(const kp_tape *tape, uint64_t live, kp_arena *arena, uint64_t *ret,
                           kp_err *err);

#endif
