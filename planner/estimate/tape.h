/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape.h — one training step of one rank as a list of steps over buffers.
 *
 * graph + training + part -> tape. A framework profile (profile.h) decides which buffers an op
 * writes, which of them the backward pass needs, what fuses and what is done in place; the part
 * (a stage's ops under a strategy) decides what is divided, gathered, kept for how many
 * micro-batches, recomputed. Memory (memory.h) replays the allocations and frees, time (cost.h)
 * adds up the steps. Pure. */
#ifndef KP_PLANNER_ESTIMATE_TAPE_H
#define KP_PLANNER_ESTIMATE_TAPE_H

#include "planner/estimate/training.h"

/* Ops [first_op, end_op), whose kept values live for in_flight micro-batches at once. */
typedef struct kp_chunk {
    uint32_t first_op, end_op, in_flight;
} kp_chunk;

/* What one rank has: ops [first_op, end_op) of the graph, under a strategy; in an interleaved
 * pipeline only the chunks of it. */
typedef struct kp_part {
    kp_strategy strategy; /* all decided: no AUTO, degrees >= 1 */
    uint32_t stage;
    uint32_t first_op, end_op;
    uint32_t in_flight;      /* micro-batches whose kept activations live at once, >= 1 */
    const uint8_t *cuts;     /* kp_cut of each graph op over the tp group; NULL: nothing cut */
    const uint32_t *segment; /* of each graph op: where the run of ops that is recomputed together
                                with it ends, 0: it keeps what its backward pass reads; NULL: as
                                strategy.recompute says */
    const kp_chunk *chunks;  /* in the order of the ops, apart from each other; NULL: all of it */
    uint32_t n_chunks;
    const struct kp_sizes *sizes; /* of these cuts and micro-batches, which stages share; NULL: made
                                     anew */
    bool sums; /* only sums are asked: weights have no names, layers no bytes of their own */
} kp_part;

/* True if the op is one of the part's. */
bool kp_part_has(const kp_part *part, uint32_t op);
/* Micro-batches whose kept values of this op live at once. */
uint32_t kp_part_in_flight(const kp_part *part, uint32_t op);

/* The whole model on one rank, micro-batch = batch: what `kplan explain` asks without plan options.
 */
kp_part kp_part_whole(const kp_graph *graph, const kp_training *training);

typedef enum kp_phase {
    KP_PHASE_LOAD,
    KP_PHASE_FORWARD,
    KP_PHASE_BACKWARD,
    KP_PHASE_OPTIMIZER,
    KP_PHASE_EVAL,
    KP_PHASE_SAVE,
    KP_PHASE_COUNT
} kp_phase;
extern const char *const kp_phase_names[KP_PHASE_COUNT];

typedef struct kp_tape_buffer {
    kp_category category;
    uint32_t layer, op; /* KP_NO where none; the layer that writes it (a gradient: whose output or
                           weight it is) */
    const char *what;   /* "kernel", "output", "gradient of kernel", "slot 1 of kernel" */
    const kp_shape *shape; /* of this rank's part, batch bound; NULL: plain bytes */
    kp_dtype dtype;
    uint64_t bytes; /* of one copy x copies (in_flight for kept activations) */
    uint8_t stream; /* of the device; 0: the one that computes */
} kp_tape_buffer;

typedef struct kp_tape_step {
    kp_phase phase;
    uint32_t op; /* graph op; KP_NO for the optimizer and the like */
    uint32_t first_event, n_events;
} kp_tape_step;

typedef struct kp_tape_event {
    uint32_t buffer;
    bool alloc; /* else free */
} kp_tape_event;

typedef struct kp_tape {
    const kp_graph *graph;
    kp_part part;
    const kp_tape_buffer *buffers;
    const kp_tape_event *events; /* allocs of a step stand before its frees */
    const kp_tape_step *steps;   /* step 0 (LOAD) allocates what lives through the whole step */
    uint32_t n_buffers, n_events, n_steps;
    uint64_t scratch_bytes; /* the most that a convolution may ask its allocator for besides */
    uint64_t spread_bytes;  /* what may be alive besides where XLA divides the program (spread.h) */
} kp_tape;

/* Fails with KP_USAGE (open dimensions left, named), KP_INPUT (sizes past KP_SIZE_MAX, the layer
 * named), KP_NOMEM. */
kp_status kp_tape_make(const kp_graph *graph, const kp_training *training, const kp_part *part,
                       kp_arena *arena, kp_tape *ret, kp_err *err);

#endif
