/* SPDX-License-Identifier: MIT
 *
 * planner/plan/plan.h — the plan as a value: its invariants, its id, how it reads. Pure. */
#ifndef KP_PLANNER_PLAN_PLAN_H
#define KP_PLANNER_PLAN_PLAN_H

#include "proto/messages.h"

/* Every invariant of a plan: degrees multiply to the ranks; every layer in exactly one stage;
 * ranks and GPUs distinct, in order, with stage, dp and tp rank as their number says; each rank's
 * categories sum to its peak and the peak is within usable bytes; micro-batches x micro-batch x dp
 * = batch; lower bound <= seconds; step parts sum to seconds; cuts have a row in the shard table.
 * KP_INTERNAL and which one is broken. Runs on every plan made or read anywhere. */
kp_status kp_plan_check(const kp_plan *plan, kp_err *err);

/* "pl_" + 16 hex digits of the SHA-256 of the plan's content (id, created, lease, verification and
 * search.seconds left out), and of request_id where not NULL. */
kp_status kp_plan_id(const kp_plan *plan, const char *request_id, kp_arena *arena,
                     const char **ret, kp_err *err);

/* The one line that `kplan submit` prints. */
void kp_plan_line(const kp_plan *plan, kp_buf *out);

/* The plan for a person: strategy, step, stages, cuts that divide, memory of the worst rank, bound. */
void kp_plan_print(const kp_plan *plan, kp_buf *out);

/* SHA-256 of bytes as 64 hex digits and a 0. */
void kp_sha256_hex(const void *bytes, size_t len, char ret[65]);

#endif
