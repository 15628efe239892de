/* SPDX-License-Identifier: MIT
 *
 * planner/serve/run.h — one verification run: which ranks, on which agents, and what came of it.
 *
 *     asked --RUN to the first agent--> meeting --RUN_READY--> running --RUN_RESULT from each-->
 * over
 *
 * Only ranks that stand in some check's group are started. The agent of the lowest one starts it,
 * tells where it listens, and brings the results of all checks; the others get their RUN then. A
 * lost agent, a refusal or the deadline ends the run without a verdict on the layers: inconclusive,
 * never guessed. Pure: messages are made here and sent by the loop. */
#ifndef KP_PLANNER_SERVE_RUN_H
#define KP_PLANNER_SERVE_RUN_H

#include "proto/messages.h"

typedef struct kp_run_part {
    const char *node;
    kp_run_rank *ranks; /* to start there */
    uint32_t n_ranks;
    const char *epoch; /* of the agent that was asked; NULL before */
    bool sent, ended;
} kp_run_part;

typedef enum kp_run_state {
    KP_RUN_ASKED,
    KP_RUN_MEETING,
    KP_RUN_RUNNING,
    KP_RUN_OVER
} kp_run_state;

typedef struct kp_run {
    kp_arena *arena;
    const kp_plan *plan;
    char id[48], token[48];
    kp_run_state state;
    uint64_t fence; /* UINT64_MAX: no lease */
    kp_executor executor;
    double deadline_s; /* monotonic */
    const char *meet;
    kp_run_part *parts; /* parts[0] has the run's first rank */
    uint32_t n_parts, n_ranks;
    kp_check_spec *specs; /* all, or the sample */
    uint32_t n_specs;
    kp_check *checks; /* as the first agent reports them */
    uint32_t n_checks;
    bool reduced;
    const char *failure; /* why there is no verdict; NULL while there may be one */
} kp_run;

/* A run of the plan's checks. sample: of each op and cut only the entry with the most weights. The
 * plan must outlive the run; *ret keeps `arena`. n_parts 0: the plan has nothing to check. The
 * caller sets deadline, fence and executor. id and token: fresh random texts. KP_NOMEM. */
kp_status kp_run_make(const kp_plan *plan, bool sample, const char *id, const char *token,
                      kp_arena *arena, kp_run *ret, kp_err *err);

/* The next part whose RUN may be sent now; NULL: none. Mark it sent. */
kp_run_part *kp_run_next(kp_run *run);
/* Its message; points into the run. left_s: until the deadline. */
kp_wire_run kp_run_message(const kp_run *run, const kp_run_part *part, double left_s);

/* What came. Texts are copied. Messages that do not fit the state are ignored. */
kp_status kp_run_ready(kp_run *run, const char *node, const char *meet, kp_err *err);
kp_status kp_run_result(kp_run *run, const char *node, const kp_wire_run_result *result,
                        kp_err *err);
/* Ends the run without a verdict, if it is not over: "node 'n3' was lost". */
void kp_run_fail(kp_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

kp_run_part *kp_run_part_of(const kp_run *run, const char *node); /* NULL: none of its ranks */

/* The verdict of a run that is over. Verified: every check that has an executor is ok and covers
 * something; failed: one is wrong; none: no check has an executor. covered: the share of the
 * model's weight bytes whose checks were all ok. A run without results names its failure in one
 * inconclusive check an entry. Lives in the run's arena. KP_NOMEM. */
kp_status kp_run_verdict(const kp_run *run, kp_verdict *ret, kp_err *err);

#endif
