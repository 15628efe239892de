/* SPDX-License-Identifier: MIT
 *
 * agent/verify/walk.h — one rank's walk through a run's list of checks.
 *
 * All ranks walk the same list in the same order; a rank runs the checks whose group it is in.
 * Checks that are equal after their shapes were reduced are run once. In the end every rank reports
 * to the first one, which puts the rows together: a check is ok if it is so on every member. */
#ifndef KP_AGENT_VERIFY_WALK_H
#define KP_AGENT_VERIFY_WALK_H

#include "agent/verify/check.h"

typedef struct kp_walk {
    const kp_wire_run *run; /* `meet` is the first rank's endpoint on all ranks */
    uint32_t rank;          /* of the plan */
    const char *node;
    int listen_fd;            /* the first rank's socket, taken over; -1 on the others */
    double start_s;           /* when the run's deadline began, on the clock of kp_now_s */
    const kp_shard_row *rows; /* NULL: kp_shard_rows */
    size_t n_rows;
    const char *cuda_dir; /* NULL: the loader's way */
} kp_walk;

/* Walks. The result lives in `arena`: on the first rank all checks of the run, two rows each, and
 * what broke it; on another only `failure`. Fails with KP_NOMEM or KP_INPUT (a run that makes no
 * sense) only. */
kp_status kp_walk_run(const kp_walk *walk, kp_arena *arena, kp_wire_run_result *ret, kp_err *err);

/* The row of a check from the members' rows: the worst state, the largest numbers, the first
 * message of that state. A NULL row is a member that did not report: inconclusive, because of
 * `missing`. */
void kp_walk_merge(const kp_check *const *members, const uint32_t *ranks, uint32_t n,
                   const char *missing, kp_arena *arena, kp_check *ret);

#endif
