/* SPDX-License-Identifier: MIT
 *
 * agent/verify/runs.h — the verification runs of one agent, for its poll loop.
 *
 * A run is what a RUN message says: these ranks here, one process each, walk the same list of
 * checks. Every agent that got a RUN answers with exactly one RUN_RESULT. The agent whose RUN has
 * no `meet` starts the run's first rank (the first of its list); it answers with RUN_READY as soon
 * as that rank listens, and its RUN_RESULT has all checks. Another agent's RUN_RESULT has only a
 * failure, if there is one: then it comes at once, while ranks may still be ending. Ranks are this
 * program again (`kplan-agent --rank ...`), with the job as standard input; they end themselves at
 * the deadline, die with the agent, and are killed by pid when they do neither.
 *
 *     kp_runs_open
 *     loop: poll kp_runs_fds and the own sockets, at most kp_runs_wait_s; then kp_runs_step until
 *           it says there is nothing more: send each event to the planner
 *     kp_runs_close
 *
 * One thread. Nothing here blocks for longer than starting a process takes. */
#ifndef KP_AGENT_VERIFY_RUNS_H
#define KP_AGENT_VERIFY_RUNS_H

#include "proto/messages.h"

/* Elements of a tensor at most that a planner should ask for (kp_wire_run.shape_limit) on the host
 * executor: a check of ResNet-50 takes a few milliseconds then. 0 means full shapes. */
#define KP_RUN_SHAPE_LIMIT 4096

typedef struct kp_runs kp_runs;

typedef struct kp_runs_config {
    const char *program; /* started for each rank; NULL: /proc/self/exe */
    const char *node;    /* the agent's name, for messages */
    const char *host;    /* address on which a first rank listens; NULL: 127.0.0.1 */
} kp_runs_config;

typedef struct kp_run_event {
    kp_wire_type type;       /* KP_WIRE_RUN_READY or KP_WIRE_RUN_RESULT */
    kp_wire_run_ready ready; /* the one that `type` names is set */
    kp_wire_run_result result;
} kp_run_event;

/* Copies the configuration's strings. KP_NOMEM. */
kp_status kp_runs_open(const kp_runs_config *config, kp_runs **ret, kp_err *err);

/* Kills and reaps what still runs. NULL is fine. */
void kp_runs_close(kp_runs *runs);

/* The address that ranks of other machines reach this one at, for kp_runs_config.host: the local
 * end of the route to the planner's endpoint; "127.0.0.1" for ipc and loopback. KP_UNREACHABLE if
 * there is no route or the name does not resolve. */
kp_status kp_runs_host(const char *endpoint, char ret[64], kp_err *err);

/* Starts the run's ranks here. A run with the same id that is there already is KP_OK and not
 * started again; KP_INPUT for a run that makes no sense, KP_IO or KP_NOMEM if processes cannot be
 * started (then none is left running and no event will follow). `run` is not kept. */
kp_status kp_runs_start(kp_runs *runs, const kp_wire_run *run, kp_err *err);

/* Ends a run: SIGTERM, a second later SIGKILL. Its RUN_RESULT follows, with `reason` as the
 * failure. An unknown id is nothing. */
void kp_runs_abort(kp_runs *runs, const char *run, const char *reason);

/* File descriptors to poll for reading: writes at most `cap`, returns how many there are. */
uint32_t kp_runs_fds(const kp_runs *runs, int *ret_fds, uint32_t cap);

/* Seconds after which kp_runs_step wants to be called even if no descriptor is ready; INFINITY if
 * no run is there. */
double kp_runs_wait_s(const kp_runs *runs);

/* Reads what ranks report, reaps, keeps deadlines. *ret_any: an event was written to *ret, its
 * strings and lists live in `arena`; call again. Fails with KP_NOMEM only. */
kp_status kp_runs_step(kp_runs *runs, kp_arena *arena, kp_run_event *ret, bool *ret_any,
                       kp_err *err);

/* Runs here, and rank processes of them. */
uint32_t kp_runs_count(const kp_runs *runs);
uint32_t kp_runs_processes(const kp_runs *runs);

/* The main function of a rank's process: main of kplan-agent calls it, before anything else, when
 * argv[1] is "--rank". Returns the exit code. */
int kp_rank_main(int argc, char **argv);

#endif
