/* SPDX-License-Identifier: MIT
 *
 * tests/verify/ranks.h — whole runs inside a test: ranks as threads (host) or forks (any executor).
 */
#ifndef KP_TESTS_VERIFY_RANKS_H
#define KP_TESTS_VERIFY_RANKS_H

#include "agent/verify/walk.h"

#define KP_TEST_RANKS_MAX 32

typedef struct kp_test_run {
    const kp_check_spec *specs;
    uint32_t n_specs, n_ranks;
    uint64_t shape_limit;
    const kp_shard_row *rows; /* NULL: the table */
    size_t n_rows;
    double deadline_s;  /* 0: 20 */
    uint32_t lost;      /* forks: this many ranks end badly */
    uint64_t fail_call; /* the first rank's allocation with this number fails; 0: none */
} kp_test_run;

/* Folder of the built stand-ins for CUDA, cuBLAS and NCCL. */
const char *kp_test_standins(void);

/* Runs ranks 0..n_ranks-1 as threads on the host executor; the first rank's result lives in arena,
 * and its status comes back. The others' are expected to be KP_OK. */
kp_status kp_test_threads(const kp_test_run *run, kp_arena *arena, kp_wire_run_result *ret);

/* The same as forked processes on the CUDA executor with the stand-ins. */
void kp_test_forks(const kp_test_run *run, kp_arena *arena, kp_wire_run_result *ret);

/* A shape as an initialiser, and as a value. */
#define DIMS(...)                                                                                  \
    {                                                                                              \
        .rank = sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .dim = { __VA_ARGS__ }   \
    }
#define SHAPE(...) ((kp_shape)DIMS(__VA_ARGS__))

/* Ranks 0..n-1, for a group; constant memory. */
uint32_t *kp_test_group(void);

/* How many rows have the state. */
uint32_t kp_test_count(const kp_wire_run_result *result, kp_check_state state);

/* The first message of a row, or "". */
const char *kp_test_message(const kp_wire_run_result *result);

#endif
