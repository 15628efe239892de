/* SPDX-License-Identifier: MIT
 *
 * planner/plan/plan.h — the plan as a value: its invariants, its id, how it reads. Pure. */
#ifndef KP_PLANNER_PLAN_PLAN_H
#define KP_PLANNER_PLAN_PLAN_H

#include "proto/messages.h"

/* Every invariant of a plan: degrees multiply to the ranks; every layer in exactly one stage (the
 * cuts list all layers, a stage is a run of that list); ranks and GPUs distinct, in order, with
 * stage, dp and tp rank as their number says (tp counts fastest, then dp, then stages); each rank's
 * categories sum to its peak and the peak is within usable bytes; micro-batches x micro-batch x dp
 * = batch; lower bound <= seconds; step parts sum to seconds; cuts have a row in the shard table;
 * checks name ranks of the plan and no more weights than there are.
 * KP_INTERNAL and which one is broken, KP_NOMEM. Runs on every plan made or read anywhere. */
kp_status kp_plan_check(const kp_plan *plan, kp_err *err);

/* "pl_" + 16 hex digits of the SHA-256 of the plan's content (its JSON with id, created, lease,
 * verification and search.seconds left out), and of request_id where not NULL. *ret lives in
 * `arena`. KP_NOMEM, or what kp_schema_print says. */
kp_status kp_plan_id(const kp_plan *plan, const char *request_id, kp_arena *arena, const char **ret,
                     kp_err *err);

/* The one line that `kplan submit` prints, without a newline. Scripts cut it: its words never
 * change with the numbers; a plan without a lease ends with its verdict. */
void kp_plan_line(const kp_plan *plan, kp_buf *out);

/* The plan for a person: strategy, assumptions, step and bound, memory of the worst rank, stages,
 * the first cuts that divide, the next best, lease and verdict. */
void kp_plan_print(const kp_plan *plan, kp_buf *out);

/* SHA-256 of bytes as 64 hex digits and a 0 (FIPS 180-4). */
void kp_sha256_hex(const void *bytes, size_t len, char ret[65]);

#endif
