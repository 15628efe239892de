/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/work.h — how long one op takes on one rank.
 *
 * Roofline with a size-dependent efficiency: t = a + max(F / (peak e) (1 + g / F), bytes / (bw
 * em)). F flops, g the work at which a product reaches half its efficiency (peak x 3 us: 10^9 flops
 * on an A100, 3 x 10^9 on an H100), a the launch. Fitted on published kernel times (vidur,
 * NeuSight, DeepBench); within about 10 % for products of 10^9 flops and more. Pure. */
#ifndef KP_PLANNER_ESTIMATE_WORK_H
#define KP_PLANNER_ESTIMATE_WORK_H

#include "planner/estimate/device.h"
#include "planner/estimate/keep.h"

/* The slowest GPU of a cluster, as rates. */
typedef struct kp_rates {
    double half_flops_per_s, single_flops_per_s, double_flops_per_s; /* of products */
    double core_flops_per_s; /* of CUDA cores in float32: what tensor cores do not take */
    bool tf32;               /* single_flops_per_s is TF32's */
    double memory_bytes_per_s;
    double launch_s;
} kp_rates;

kp_rates kp_rates_of(const kp_cluster *cluster, const kp_profile *profile, kp_framework framework);

/* Peak flops of products in a type. */
double kp_rates_peak(const kp_rates *rates, kp_dtype dtype);

typedef struct kp_op_work {
    double forward_s, backward_s;
    double flops;                           /* forward and backward, of this rank */
    kp_coll forward, backward;              /* over the tensor-parallel group */
    uint64_t forward_bytes, backward_bytes; /* of the whole tensor that each is over */
} kp_op_work;

kp_op_work kp_op_work_of(const kp_keep *keep, uint32_t op, const kp_rates *rates);

#endif
