/* SPDX-License-Identifier: MIT
 *
 * agent/verify/compare.h — the uncut layer, and how far a part is from it. */
#ifndef KP_AGENT_VERIFY_COMPARE_H
#define KP_AGENT_VERIFY_COMPARE_H

#include "agent/verify/data.h"
#include "agent/verify/ops_host.h"
#include "proto/arena.h"

/* The uncut layer's results on the data of the seed. */
typedef struct kp_truth {
    float *y, *dx, *dw; /* whole tensors; NULL where the op has none */
} kp_truth;

/* Computes them on the host. KP_NOMEM. Release also after a failure. */
kp_status kp_truth_make(const kp_problem *problem, const kp_data *data, kp_truth *ret, kp_err *err);
void kp_truth_release(kp_truth *truth);

/* What differs; zeroed: nothing. */
typedef struct kp_difference {
    uint64_t count, of; /* elements that differ, of all compared */
    double largest;     /* largest absolute difference; FLT_MAX where a number is not finite */
    char first[200];    /* the first one in words */
} kp_difference;

/* Compares the part `got` (dense) with its block of the whole tensor; equality is the test. */
void kp_difference_add(kp_difference *diff, const char *name, const float *got, kp_block block,
                       const float *whole);

/* "y(3, 17) is 5, the uncut layer has 7; 12 of 128 elements differ"; NULL if memory is out. */
const char *kp_difference_text(const kp_difference *diff, kp_arena *arena);

#endif
