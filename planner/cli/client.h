/* SPDX-License-Identifier: MIT
 *
 * planner/cli/client.h — requests to the daemon, and what a waiting person sees. */
#ifndef KP_PLANNER_CLI_CLIENT_H
#define KP_PLANNER_CLI_CLIENT_H

#include "planner/cli/cli.h"
#include "proto/link.h"

/* Progress on stderr: silent for half a second, and always when stderr is no terminal. */
typedef struct kp_progress {
    double start_s, shown_s; /* kp_now_s; shown_s 0: nothing shown yet */
    bool terminal;
} kp_progress;

kp_progress kp_progress_start(void);
/* Shows or refreshes "searching 12/40, 1.3 s"; total 0: not known. At most ten times a second. */
void kp_progress_show(kp_progress *progress, const char *text, uint64_t done, uint64_t total);
/* Takes the line away. */
void kp_progress_end(kp_progress *progress);

/* The daemon's endpoint: --server, KPLAN_SERVER or the default. */
const char *kp_cli_server(const kp_cli *cli);

/* One request with --request-id or a fresh id. The reply lives in cli's arena; a refusal goes to
 * cli->refusal. Statuses of kp_link_call; a reply that did not come says how to ask again. */
kp_status kp_cli_call(kp_cli *cli, kp_wire_type type, const void *request,
                      kp_wire_type reply_type, void **ret_reply, kp_err *err);

/* Sleeps. */
void kp_cli_sleep(double seconds);

#endif
