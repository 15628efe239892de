/* SPDX-License-Identifier: MIT
 *
 * agent/verify/problem.h — a check in the one form that is reduced, sliced and run.
 *
 * Shapes of a check come as the model has them; here each op has one fixed form, so that every
 * axis has a place (sizes of 1 fill up):
 *   MATMUL    x (B, R, K, k)             w (K, k, N, n)              y (B, R, N, n)
 *             K, N: the first contracted and the first new axis, which are the ones that are cut;
 *             k, n: the rest (a projection to heads has N heads of n)
 *   CONV      x (B, D, H, W, C)          w (d, h, w, C/groups, F)    y (B, D', H', W', F)
 *             channels_first: x (B, C, D, H, W), y (B, F, D', H', W')
 *   GATHER    x (B, R) of indices        w (rows, width)             y (B, R, width)
 *   BIAS_ADD  x (B, P, C, c, Q)          w (C, c)                    y as x
 *             C is cut; c is there for a bias of several axes (heads), Q for channels_first
 *   RELU      x (B, P, C, 1, Q)          none                        y as x
 * Pure. */
#ifndef KP_AGENT_VERIFY_PROBLEM_H
#define KP_AGENT_VERIFY_PROBLEM_H

#include "agent/verify/block.h"
#include "proto/messages.h"

typedef struct kp_problem {
    kp_op op;
    kp_shape x, w, y;
    int x_channel, y_channel; /* axes; the batch is axis 0 of both */
    int w_in, w_out, w_rows;  /* axes of the weight */
    bool has_w, has_dx;       /* a weight to learn; a gradient for the input */
    int space;                /* CONV: first of three spatial axes of x and y */
    bool channels_first, same_padding;
    uint32_t kernel[3], strides[3], dilation[3], groups;
} kp_problem;

/* Fails with KP_UNSUPPORTED if the op is none of the five or the shapes do not make one of the
 * forms (an einsum of another kind, an empty tensor): the check is then not covered. */
kp_status kp_problem_make(const kp_check_spec *spec, kp_problem *ret, kp_err *err);

/* Shape of what the op writes from these parts of x and w. KP_VERIFY_FAILED if they do not go
 * together ("x has 16 channels, the weight takes 64"). */
kp_status kp_problem_output(const kp_problem *problem, kp_shape x, kp_shape w, kp_shape *ret,
                            kp_err *err);

/* Zeros in front of a spatial dimension: half of what 'same' needs, rounded down, as Keras and
 * TensorFlow place them; 0 for 'valid'. */
uint64_t kp_problem_pad(const kp_problem *problem, int dim);

/* Most products that are summed into one element, forward and backward: the bound of exactness. */
uint64_t kp_problem_terms(const kp_problem *problem);

/* Makes the shapes small: the dimensions that `row` cuts keep at least one element a rank, where
 * they had it, and the remainder; kernel and strides stay, several groups stay several; others
 * shrink by halves until no tensor has more than limit_elems elements and the products are no more
 * than those of a square matmul of that size. limit_elems 0: nothing is done. True if something
 * shrank. */
bool kp_problem_reduce(kp_problem *problem, const kp_shard_row *row, uint32_t ranks,
                       uint64_t limit_elems);

/* The same work: op, shapes and attributes. */
bool kp_problem_equal(const kp_problem *a, const kp_problem *b);

#endif
