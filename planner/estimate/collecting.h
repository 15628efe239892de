/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/collecting.h — collectives while they are listed. Internal to the room. */
#ifndef KP_PLANNER_ESTIMATE_COLLECTING_H
#define KP_PLANNER_ESTIMATE_COLLECTING_H

#include "planner/estimate/collectives.h"
#include "planner/estimate/taping.h"

typedef struct kp_collecting {
    kp_taping t; /* graph, training, part, profile, sizes and keep; nothing is written to it */
    kp_collective *list;
    uint32_t n;
    size_t cap;
    bool *called; /* tensors that XLA gathers: a call reads them */
    bool failed;  /* memory was out */
} kp_collecting;

/* Adds `count` collectives; none without bytes. */
void kp_collect(kp_collecting *c, kp_collective_op op, kp_collective_what what, uint64_t bytes,
                uint64_t count);

/* Forward passes of an op in one step: micro-batches, twice if it is recomputed. */
uint64_t kp_collect_passes(const kp_collecting *c, uint32_t op);
/* Bytes of a whole tensor of one micro-batch, and of one float32 a row (without the last axis). */
uint64_t kp_collect_whole_bytes(const kp_collecting *c, uint32_t tensor);
uint64_t kp_collect_row_bytes(const kp_collecting *c, uint32_t tensor);

/* The parts of the list. */
void kp_collect_tensors(kp_collecting *c, bool *seen); /* over the tensor-parallel group; seen: one
                                                          flag a tensor, all false */
void kp_collect_experts(kp_collecting *c);             /* tokens to experts and back */
void kp_collect_borders(kp_collecting *c);             /* between pipeline stages */
void kp_collect_weights(kp_collecting *c, bool *seen); /* over the data-parallel ranks; seen: one
                                                          flag a weight, all false */

#endif
