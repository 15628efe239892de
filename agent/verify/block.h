/* SPDX-License-Identifier: MIT
 *
 * agent/verify/block.h — one rank's part of a tensor: all of it, or a slice of one axis.
 *
 * A block seen as memory is `rows` runs of `width` elements that stand `pitch` apart in the whole
 * tensor (row-major), the first at `offset`; in the rank's own memory they stand without gaps.
 * Pure values. */
#ifndef KP_AGENT_VERIFY_BLOCK_H
#define KP_AGENT_VERIFY_BLOCK_H

#include "proto/shape.h"
#include "proto/shard.h"

#define KP_NO_AXIS (-1)

typedef struct kp_block {
    kp_shape full;
    int axis; /* KP_NO_AXIS: the whole tensor */
    uint64_t from, n;
} kp_block;

typedef struct kp_runs_of {
    uint64_t rows, width, pitch, offset; /* elements */
} kp_runs_of;

/* The part of `full` that rank `me` of `ranks` has when `axis` is divided (kp_shard_slice). */
kp_block kp_block_make(kp_shape full, int axis, uint32_t me, uint32_t ranks);

/* The block's own shape, its elements, and where they stand in the whole. */
kp_shape kp_block_shape(kp_block block);
uint64_t kp_block_elems(kp_block block);
kp_runs_of kp_block_runs(kp_block block);

/* Index in the whole tensor of the block's element i. */
uint64_t kp_runs_index(kp_runs_of runs, uint64_t i);

#endif
