/* SPDX-License-Identifier: MIT
 *
 * agent/verify/flow.h — a row of the shard table applied to a problem and one rank.
 *
 * Follows the row as it stands: layouts become blocks, collectives become moves between blocks.
 * Nothing is put right on the way, so a wrong row gives wrong numbers, or parts that cannot meet;
 * both are failures of the check. What the row leaves open follows from it:
 *   - an op whose weight is divided by input and whose x is whole uses its own slice of x
 *   - the output's gradient goes the way of the output backwards: what was gathered is sliced, what
 *     was scattered or sliced is gathered, and every term of a sum gets all of it
 * Pure. */
#ifndef KP_AGENT_VERIFY_FLOW_H
#define KP_AGENT_VERIFY_FLOW_H

#include "agent/verify/problem.h"

/* A tensor's way from one block to another; both are of the same whole tensor. */
typedef struct kp_move {
    kp_coll coll;
    kp_block from, to;
} kp_move;

typedef struct kp_flow {
    kp_block x, x_used, w, y_local, y; /* w: not set if the op has none */
    kp_move slice_x;                   /* x to x_used */
    kp_move forward;                   /* y_local to y */
    kp_move adjoint;                   /* dy (as y) to dy of the op (as y_local) */
    kp_move dx;                        /* as x_used to x */
    kp_move dw;                        /* as w to w */
} kp_flow;

/* The flow of member `me` of `ranks`. KP_VERIFY_FAILED if the row contradicts itself or the op for
 * any member ("y after all_gather is ..."), so that all members say the same. KP_UNSUPPORTED: a
 * grouped convolution whose input channels are divided. */
kp_status kp_flow_make(const kp_problem *problem, const kp_shard_row *row, uint32_t me,
                       uint32_t ranks, kp_flow *ret, kp_err *err);

/* True if the move needs the other members. */
bool kp_move_talks(const kp_move *move, uint32_t ranks);

/* Bytes that a rank holds at the end of the forward pass, and of both: its parts of x, w, y and
 * their gradients, and what a collective writes beside its input. */
uint64_t kp_flow_bytes(const kp_problem *problem, const kp_flow *flow, uint32_t ranks,
                       kp_direction direction);

#endif
