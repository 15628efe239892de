/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/collectives.h — what one rank of a divided model sends and receives in a step.
 *
 * From the same rows (proto/shard.h) and bytes that the time estimate prices: activations over the
 * tensor-parallel group, gradients and weights over the data-parallel ranks in each framework's
 * buckets, borders of pipeline stages, tokens on their way to experts. Each distinct input of
 * products counts once: its gradient is summed before it is reduced. Pure. */
#ifndef KP_PLANNER_ESTIMATE_COLLECTIVES_H
#define KP_PLANNER_ESTIMATE_COLLECTIVES_H

#include "planner/estimate/keep.h"

typedef enum kp_collective_op {
    KP_COLLECTIVE_ALL_REDUCE,
    KP_COLLECTIVE_ALL_GATHER,
    KP_COLLECTIVE_REDUCE_SCATTER,
    KP_COLLECTIVE_SEND,
    KP_COLLECTIVE_ALL_TO_ALL,
    KP_COLLECTIVE_OP_COUNT
} kp_collective_op;

/* Gradients: of weights. Activations: their gradients too. */
typedef enum kp_collective_what {
    KP_COLLECTIVE_GRADIENTS,
    KP_COLLECTIVE_ACTIVATIONS,
    KP_COLLECTIVE_WEIGHTS,
    KP_COLLECTIVE_WHAT_COUNT
} kp_collective_what;

extern const char *const kp_collective_ops[KP_COLLECTIVE_OP_COUNT];     /* "all_reduce", ... */
extern const char *const kp_collective_whats[KP_COLLECTIVE_WHAT_COUNT]; /* "gradients", ... */

typedef struct kp_collective {
    kp_collective_op op;
    kp_collective_what what;
    uint64_t bytes; /* of one result on one device */
    uint64_t count; /* in one step of the optimizer */
} kp_collective;

/* Those of one rank of the part, alike ones added up, what moves most first; none if nothing is
 * divided. They live in the arena. Fails with KP_NOMEM. */
kp_status kp_collectives_of(const kp_graph *graph, const kp_training *training, const kp_part *part,
                            kp_arena *arena, kp_collective **ret, uint32_t *ret_n, kp_err *err);

#endif
