/* SPDX-License-Identifier: MIT
 *
 * agent/verify/ops_host.h — the five ops on host memory, in plain loops.
 *
 * What every executor is compared with, and what the host executor runs on its parts. Sums are
 * floats in the order of the loops. Shapes are those of problem.h; a part of a layer is a call with
 * the part's shapes and where it begins. */
#ifndef KP_AGENT_VERIFY_OPS_HOST_H
#define KP_AGENT_VERIFY_OPS_HOST_H

#include "agent/verify/problem.h"

/* One op, one direction. Forward reads x and w and writes y; backward reads x, w and dy and writes
 * dx (if the op has one) and dw (if it has a weight). Tensors are dense and row-major; pointers are
 * of the executor's memory. */
typedef struct kp_op_call {
    const kp_problem *problem; /* the whole layer: attributes, full shapes */
    kp_direction direction;
    kp_shape x, w, y;                 /* of this part */
    uint64_t filter_from;             /* CONV: first filter of the part */
    uint64_t row_from;                /* GATHER: first row of the table that is here */
    const float *x_at, *w_at, *dy_at; /* x of a gather: int32 indices into the whole table */
    float *y_at, *dx_at, *dw_at;
} kp_op_call;

/* True for MATMUL, CONV, GATHER, BIAS_ADD, RELU. */
bool kp_host_covers(kp_op op);

/* Runs it; the op is covered, and the shapes go together (kp_problem_output). */
void kp_host_run(const kp_op_call *call);

/* The convolution among them (ops_conv.c). */
void kp_host_conv(const kp_op_call *call);

#endif
