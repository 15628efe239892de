/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/memory.h — the tape replayed: what is alive, where the peak is, whose it is.
 *
 * Constants outside the tape (context, workspaces, collective buffers, fragmentation) come from
 * the profile's table, each with a source. peak.bytes = the sum of by_category, always. Pure. */
#ifndef KP_PLANNER_ESTIMATE_MEMORY_H
#define KP_PLANNER_ESTIMATE_MEMORY_H

#include "planner/estimate/device.h"
#include "planner/estimate/tape.h"

typedef struct kp_layer_bytes {
    uint64_t weights, gradients, optimizer; /* own states on this rank */
    uint64_t activations;                   /* kept outputs over the step */
} kp_layer_bytes;

typedef struct kp_memory {
    kp_categories peak;             /* at the peak; the sum is the peak */
    uint64_t low_bytes, high_bytes; /* bounds of the peak */
    kp_bounded allocated;           /* what the framework's allocator hands out */
    kp_bounded reserved;            /* with the allocator's segments */
    kp_bounded steady;              /* allocated: states with all gradients, workspaces */
    kp_bounded kept;                /* allocated beyond the states as the forward pass ends */
    kp_phase phase;
    uint32_t op, layer; /* where the peak is; KP_NO where none */
    uint64_t phase_bytes[KP_PHASE_COUNT], phase_allocated_bytes[KP_PHASE_COUNT];
    const uint32_t *live; /* buffers alive at the peak, largest first */
    uint32_t n_live;
    const kp_layer_bytes *layers; /* one a graph layer (inner layers; nested models' are 0); NULL
                                     where only sums were asked */
    uint64_t host_bytes;          /* of the process on its host: the sum of the three */
    uint64_t host_runtime_bytes, host_weights_bytes, host_data_bytes;
} kp_memory;

/* Replays a tape on a card: peaks, whose they are, bounds. Lists live in `arena`. KP_NOMEM. */
kp_status kp_memory_replay(const kp_tape *tape, const kp_training *training,
                           const kp_device *device, kp_arena *arena, kp_memory *ret, kp_err *err);

/* Tape and replay in one: the memory of a part, without what is alive at the peak (the tape is
 * gone). */
kp_status kp_memory_of(const kp_graph *graph, const kp_training *training, const kp_part *part,
                       const kp_device *device, kp_arena *arena, kp_memory *ret, kp_err *err);

/* fits if high <= usable, no if low > usable, else tight. */
kp_verdict_fit kp_memory_fit(const kp_memory *memory, uint64_t usable_bytes);

#endif
