/* SPDX-License-Identifier: MIT */
#include "agent/verify/block.h"
#include <assert.h>

kp_block kp_block_make(kp_shape full, int axis, uint32_t me, uint32_t ranks)
{
    kp_block block = {.full = full, .axis = axis, .n = 1};
    if (axis == KP_NO_AXIS) return block;
    assert(axis >= 0 && axis < full.rank);
    kp_shard_slice((uint64_t)full.dim[axis], me, ranks, &block.from, &block.n);
    return block;
}

kp_shape kp_block_shape(kp_block block)
{
    kp_shape shape = block.full;
    if (block.axis != KP_NO_AXIS) shape.dim[block.axis] = (int64_t)block.n;
    return shape;
}

uint64_t kp_block_elems(kp_block block)
{
    return kp_shape_elems(kp_block_shape(block), 1);
}

kp_runs_of kp_block_runs(kp_block block)
{
    uint64_t all = kp_shape_elems(block.full, 1);
    if (block.axis == KP_NO_AXIS) return (kp_runs_of){.rows = 1, .width = all, .pitch = all};
    unsigned axis = (unsigned)block.axis;
    uint64_t before = (uint64_t)kp_shape_product(block.full, 0, axis);
    uint64_t behind = (uint64_t)kp_shape_product(block.full, axis + 1, block.full.rank);
    return (kp_runs_of){.rows = before,
                        .width = block.n * behind,
                        .pitch = (uint64_t)block.full.dim[axis] * behind,
                        .offset = block.from * behind};
}

uint64_t kp_runs_index(kp_runs_of runs, uint64_t i)
{
    return i / runs.width * runs.pitch + runs.offset + i % runs.width;
}
