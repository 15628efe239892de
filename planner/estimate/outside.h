/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/outside.h — what stands beside the tape: context, workspaces, communicators.
 *
 * Constants of the profile with their ranges; the same in every phase. Pure. */
#ifndef KP_PLANNER_ESTIMATE_OUTSIDE_H
#define KP_PLANNER_ESTIMATE_OUTSIDE_H

#include "planner/estimate/profile.h"
#include "planner/estimate/tape.h"

typedef struct kp_outside {
    kp_categories bytes, low, high;
    /* of those: what the framework's own allocator hands out */
    uint64_t inside, inside_low, inside_high;
    uint64_t spare; /* of high: scratch that the framework does without if there is no room */
} kp_outside;

kp_outside kp_outside_of(const kp_tape *tape, const kp_training *training, const kp_device *device);

#endif
