/* SPDX-License-Identifier: MIT
 *
 * agent/fences.h — the highest fence number that this agent has seen for each of its GPUs.
 *
 * A lease alone cannot keep out a holder that slept past its end; the number can: it grows with
 * every lease of a GPU, and what comes with a lower one is refused. The planner keeps them in its
 * store and tells them with WELCOME, so a restarted agent knows them again. Pure. */
#ifndef KP_AGENT_FENCES_H
#define KP_AGENT_FENCES_H

#include "proto/gpus.h"

typedef struct kp_fences {
    struct {
        char gpu[104]; /* UUID */
        uint64_t highest;
    } rows[KP_GPUS_PER_NODE_MAX];
    uint32_t n;
} kp_fences;

/* Notes a number; lower ones change nothing. KP_CONFLICT when the table is full. */
kp_status kp_fences_raise(kp_fences *fences, const char *gpu, uint64_t fence, kp_err *err);

/* KP_CONFLICT, naming both numbers, when a higher one than `fence` was seen for the GPU. */
kp_status kp_fences_check(const kp_fences *fences, const char *gpu, uint64_t fence, kp_err *err);

#endif
