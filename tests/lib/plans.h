/* SPDX-License-Identifier: MIT
 *
 * tests/lib/plans.h — small plans and nodes that hold together, for tests that need any. */
#ifndef KP_TESTS_LIB_PLANS_H
#define KP_TESTS_LIB_PLANS_H

#include "proto/messages.h"

/* A plan of n ranks, data-parallel, on GPUs "GPU-<first>" and following of node `node`; id
 * "pl_<number>". Two checks: a matmul over all ranks and a rnn that has no executor. Asserts that
 * memory is there. */
kp_plan kp_test_plan(kp_arena *arena, unsigned number, const char *node, unsigned first,
                     unsigned n);

/* A ready node of n GPUs "GPU-<first>" and following, 80 GiB each. */
kp_node kp_test_node(kp_arena *arena, const char *name, unsigned first, unsigned n);

#endif
