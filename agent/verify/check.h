/* SPDX-License-Identifier: MIT
 *
 * agent/verify/check.h — one check on one rank: is a layer, cut as a row of the shard table says,
 * the layer?
 *
 * Each member makes its part from the seed, runs the op, then the row's collective; the output's
 * gradient is made from the seed too and goes back through the op and the row's collectives. What
 * the member has then (y; the gradients of x and of the weight) is compared, element by element for
 * equality, with the same part of the uncut layer, which the plain loops of ops_host.h compute on
 * the same numbers. */
#ifndef KP_AGENT_VERIFY_CHECK_H
#define KP_AGENT_VERIFY_CHECK_H

#include "agent/verify/exec.h"

typedef struct kp_checker {
    kp_exec *exec;
    kp_channel *channel;
    uint32_t rank; /* of the plan */
    uint64_t seed, shape_limit;
    double deadline_s;        /* on the clock of kp_now_s: nothing is begun after it */
    const kp_shard_row *rows; /* the table that is proved; kp_shard_rows but for tests */
    size_t n_rows;
} kp_checker;

/* A check, ready to run or with the reason why it cannot. */
typedef struct kp_check_job {
    const kp_check_spec *spec;
    uint32_t index; /* in the run's list: meetings go by it */
    kp_group group;
    const kp_shard_row *row;
    kp_problem problem; /* reduced */
    bool reduced;
    kp_err err; /* code not KP_OK: UNSUPPORTED (not covered) or VERIFY_FAILED */
} kp_check_job;

/* False if this rank is not in the check's group. */
bool kp_check_prepare(const kp_checker *checker, const kp_check_spec *spec, uint32_t index,
                      kp_check_job *ret);

/* Runs it and writes two rows, KP_FORWARD and KP_BACKWARD, whose strings live in `arena`. Never
 * fails: what goes wrong is a state and a message of the rows. */
void kp_check_run(const kp_checker *checker, const kp_check_job *job, kp_arena *arena,
                  kp_check ret[KP_DIRECTION_COUNT]);

/* Both rows with one state and message; numbers are zero. */
void kp_check_fill(const kp_check_spec *spec, kp_check_state state, const char *message,
                   kp_check ret[KP_DIRECTION_COUNT]);

/* The state that a failure stands for. */
kp_check_state kp_check_state_of(kp_status status);

#endif
