/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/size.h — how much of a tensor or weight one rank has.
 *
 * Data parallelism divides the batch (the micro-batch is a rank's), tensor parallelism divides
 * channels or weight axes as the op's row of proto/shard.h says; where a size is not a multiple of
 * the group, the rank with the larger part counts.
 * Under Megatron three more things divide. Context parallelism: the sequence of every tensor.
 * Sequence parallelism: the sequence of what tensor parallelism leaves whole. Expert parallelism:
 * the experts; each rank then has as many tokens as before, of fewer experts (balanced load), and
 * an expert's own products are divided by the degree of experts' tensor parallelism, over the
 * sequence where that is 1 (megatron/core/transformer/moe). Pure. */
#ifndef KP_PLANNER_ESTIMATE_SIZE_H
#define KP_PLANNER_ESTIMATE_SIZE_H

#include "planner/estimate/tape.h"

typedef struct kp_sizes {
    const kp_graph *graph;
    uint64_t micro_batch;
    uint32_t tp;
    const uint8_t *cuts;        /* NULL: nothing is cut */
    kp_launch launch;           /* degrees beside tp; a copy, since sizes outlive a look */
    const bool *routed;         /* of each tensor: rows of tokens at their experts */
    int64_t seq;                /* positions of a sample; 0: no sequence */
    const uint8_t *weight_axis; /* of each weight: axis + 1 that is divided, 0 for none */
    const kp_shape *tensors;    /* this rank's part of each tensor, batch bound; of each weight */
    const kp_shape *weights;
} kp_sizes;

/* Fails with KP_NOMEM. */
kp_status kp_sizes_make(const kp_graph *graph, const kp_training *training, const kp_part *part,
                        kp_arena *arena, kp_sizes *ret, kp_err *err);

/* The row of an op's cut; NULL if the op is not cut. */
const kp_shard_row *kp_sizes_row(const kp_sizes *sizes, uint32_t op);

/* Elements of this rank's part of a tensor. */
uint64_t kp_sizes_tensor_elems(const kp_sizes *sizes, uint32_t tensor);

/* Elements of the whole tensor. */
uint64_t kp_sizes_whole_elems(const kp_sizes *sizes, uint32_t tensor);

/* What the op itself writes, before its collective: differs where that gathers. */
uint64_t kp_sizes_local_elems(const kp_sizes *sizes, uint32_t tensor);

/* Elements of this rank's part of a weight under tensor parallelism (ZeRO not applied). */
uint64_t kp_sizes_weight_elems(const kp_sizes *sizes, uint32_t weight);

#endif
