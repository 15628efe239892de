/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/cost.h — what the search needs of each piece of the model, as prefix sums.
 *
 * The chain of units: a unit is what cannot be divided over pipeline stages, one call of a layer
 * (all its ops), in topological order. For one choice of (tp, cuts, micro-batch, zero, dp,
 * recompute) each unit has times and bytes; a stage's are differences of prefix sums plus maxima.
 * The bytes are an upper bound of what the exact replay (memory.h) of the same part calls high: a
 * test checks it. A weight that several units read counts with the first of them, so a stage must
 * have all units of a weight or none.
 * Times: roofline with size-dependent efficiency, collectives as lines (work.c, comm.c). Pure. */
#ifndef KP_PLANNER_ESTIMATE_COST_H
#define KP_PLANNER_ESTIMATE_COST_H

#include "planner/estimate/memory.h"

typedef struct kp_unit {
    uint32_t first_op, end_op, layer;
} kp_unit;

/* The chain of a graph. INPUT ops belong to the first unit that reads them. */
kp_status kp_units_make(const kp_graph *graph, kp_arena *arena, const kp_unit **ret,
                        uint32_t *ret_n, kp_err *err);

/* Sums over units [0, i): entry i of each prefix array. */
typedef struct kp_unit_sum {
    double forward_s, backward_s; /* one micro-batch, this rank, without collectives */
    double tp_s;                  /* tensor-parallel collectives, forward and backward */
    double flops;                 /* forward + backward, for MFU */
    uint64_t weights_bytes, gradients_bytes, optimizer_bytes; /* of this rank, ZeRO applied */
    uint64_t kept_bytes;   /* activations kept, one micro-batch */
    uint64_t copies_bytes; /* of kernels, while the step runs */
    uint64_t update_bytes; /* alive for a moment in the optimizer step */
    uint64_t sync_bytes;   /* gradient bytes over the dp group, before ZeRO */
    uint64_t update_elems; /* parameters this rank updates */
} kp_unit_sum;

#define KP_MOMENT_LEVELS 20

typedef struct kp_costs {
    uint32_t n_units;
    const kp_unit *units;
    const kp_unit_sum *sum;         /* n_units + 1 */
    const uint64_t *moment_bytes;   /* most bytes alive for a moment while the unit runs; entry
                                       [level][u]: the most of units u .. u + 2^level - 1 */
    const uint64_t *cross_bytes;    /* n_units + 1: bytes of tensors that cross the border before
                                       unit i, one micro-batch */
    uint64_t fixed_bytes;           /* batch, scalars, buckets: of any stage */
    uint64_t outside_bytes;         /* context, workspace, communication at their high bounds */
    double error, waste;            /* of what is not state; of the allocator: high bounds */
    double optimizer_bytes_an_elem; /* read and written by the update */
    double memory_bytes_per_s, peak_flops_per_s;
    uint32_t dp, tp, zero;
    uint32_t sent_copies;   /* of what a stage sends, for each micro-batch in flight */
    uint32_t border_copies; /* of what a stage receives, beside what its layers keep */
} kp_costs;

/* strategy: dp, tp, zero, micro_batch, recompute decided; pp and micro_batches are not read. */
kp_status kp_costs_make(const kp_graph *graph, const kp_training *training,
                        const kp_strategy *strategy, const uint8_t *cuts, const kp_cluster *cluster,
                        kp_arena *arena, kp_costs *ret, kp_err *err);

/* Upper bound of a stage's peak: units [from, to), in_flight micro-batches. */
uint64_t kp_costs_stage_bytes(const kp_costs *costs, uint32_t from, uint32_t to,
                              uint32_t in_flight);

/* One micro-batch through the stage, forward and backward, with its tensor-parallel collectives. */
double kp_costs_stage_s(const kp_costs *costs, uint32_t from, uint32_t to);

/* Sending one micro-batch's border tensors (and their gradients back) to the next stage. */
double kp_costs_cross_s(const kp_costs *costs, uint32_t border, const kp_cluster *cluster,
                        const kp_strategy *strategy);

/* What follows the pipeline on this stage: gradient sync over dp (the part that cannot hide) and
 * the optimizer step. */
void kp_costs_tail_s(const kp_costs *costs, uint32_t from, uint32_t to, const kp_strategy *strategy,
                     const kp_cluster *cluster, double *ret_sync_s, double *ret_update_s);

/* The time of one collective over `ranks` ranks spaced `stride` apart, `bytes` the whole tensor. */
double kp_coll_time_s(kp_coll coll, uint32_t ranks, uint32_t stride, uint64_t bytes,
                      const kp_cluster *cluster);

/* The whole iteration from its stages: borders[0..pp] are unit indices. Fills every part. */
void kp_step_time(const kp_costs *costs, const uint32_t *borders, const kp_strategy *strategy,
                  const kp_training *training, const kp_graph *graph, const kp_cluster *cluster,
                  kp_plan_step *ret);

#endif
