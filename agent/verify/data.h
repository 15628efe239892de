/* SPDX-License-Identifier: MIT
 *
 * agent/verify/data.h — the numbers of a check, from its seed alone.
 *
 * Every element is a function of seed, tensor and its index in the whole tensor, so each rank makes
 * its own part and no tensor travels. Values are integers in [-limit, limit] with
 * terms x limit^2 < 2^24: every sum of products in any order is then an exact float, whichever
 * executor adds it up. Pure. */
#ifndef KP_AGENT_VERIFY_DATA_H
#define KP_AGENT_VERIFY_DATA_H

#include "agent/verify/problem.h"

typedef enum kp_data_tensor { KP_DATA_X, KP_DATA_W, KP_DATA_DY } kp_data_tensor;

typedef struct kp_data {
    uint64_t seed;
    int32_t limit; /* of values */
    uint64_t rows; /* x holds indices below it (int32) instead of values (float); 0: it does not */
} kp_data;

/* The data of a problem; asserts the bound. KP_UNSUPPORTED if the sums are so long that even
 * -1, 0, 1 could leave the exact range. */
kp_status kp_data_make(const kp_problem *problem, uint64_t seed, kp_data *ret, kp_err *err);

/* Fills the block's elements: floats, or int32 indices for the x of a gather. */
void kp_data_fill(const kp_data *data, kp_data_tensor tensor, kp_block block, void *ret);

/* A well mixed 64-bit number of two. */
uint64_t kp_data_mix(uint64_t a, uint64_t b);

#endif
