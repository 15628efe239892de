/* SPDX-License-Identifier: MIT
 *
 * agent/agent.h — one node's agent: a loop over the planner's messages, the inventory, the ranks of
 * verification runs, and signals. */
#ifndef KP_AGENT_AGENT_H
#define KP_AGENT_AGENT_H

#include "agent/inventory/inventory.h"

typedef struct kp_agent_config {
    const char *server;         /* the planner's endpoint */
    kp_inventory_source source; /* its `node` is the agent's name */
    const char *program;        /* started for ranks and probes; NULL: /proc/self/exe */
} kp_agent_config;

/* Runs until SIGTERM (KP_OK) or SIGINT (KP_INTERRUPTED), or until the planner refuses for good
 * (KP_CONFLICT: another agent has the name). Blocks both signals in the calling thread. "ready"
 * goes to stderr at the first WELCOME. Whatever it started is gone when it returns. */
kp_status kp_agent_run(const kp_agent_config *config, kp_err *err);

/* True for a node's name from outside; KP_USAGE otherwise. */
kp_status kp_agent_name_check(const char *name, kp_err *err);

#endif
