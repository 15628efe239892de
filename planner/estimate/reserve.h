/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/reserve.h — a tape as requests to the framework's allocator.
 *
 * Fragmentation shows over several steps: the optimizer's slots are made at the end of the first,
 * between activations that then go; from the second on everything comes again. So the requests are
 * the loading and two steps. Pure. */
#ifndef KP_PLANNER_ESTIMATE_RESERVE_H
#define KP_PLANNER_ESTIMATE_RESERVE_H

#include "planner/estimate/allocator.h"
#include "planner/estimate/profile.h"
#include "planner/estimate/tape.h"

typedef struct kp_reserve_ask {
    double stretch;          /* of what is not weights, slots or inputs: 1, or a bound's factor */
    uint64_t capacity_bytes; /* for the allocator's segments */
    uint64_t space_bytes;    /* of workspaces that live from the first product on, all together */
    uint32_t space_count;
    bool expandable; /* segments grow by pages */
    bool empties;    /* each convolution of the first step empties the cache: cudnn.benchmark */
} kp_reserve_ask;

/* Replays two steps. Fails with KP_NOMEM; scratch is given back to the arena. */
kp_status kp_reserve_replay(const kp_tape *tape, const kp_reserve_ask *ask, kp_arena *arena,
                            kp_replayed *ret, kp_err *err);

/* The same for TensorFlow outside XLA, whose optimizers make their slots before the first step: the
 * loading and two steps in its BFC allocator, on a card without a limit. */
kp_status kp_reserve_replay_tf(const kp_tape *tape, kp_arena *arena, kp_replayed *ret, kp_err *err);

#endif
