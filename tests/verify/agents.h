/* SPDX-License-Identifier: MIT
 *
 * tests/verify/agents.h — runs as agents start them: processes of kplan-agent, seen through runs.h.
 *
 * The test stands for several agents and for the planner between them: it gives the first agent's
 * meeting place to the others and waits until each has answered. */
#ifndef KP_TESTS_VERIFY_AGENTS_H
#define KP_TESTS_VERIFY_AGENTS_H

#include "agent/verify/runs.h"
#include "tests/verify/ranks.h"
#include <sys/types.h>

#define KP_TEST_AGENTS_MAX 4

typedef struct kp_test_agents {
    uint32_t n, ranks_each;
    kp_runs *runs[KP_TEST_AGENTS_MAX];
    kp_wire_run_result results[KP_TEST_AGENTS_MAX];
    uint32_t answers[KP_TEST_AGENTS_MAX];
    kp_arena arena;
} kp_test_agents;

void kp_test_agents_open(kp_test_agents *agents, uint32_t n, uint32_t ranks_each);
void kp_test_agents_close(kp_test_agents *agents);

/* A run of all agents' ranks over these specs. */
kp_wire_run kp_test_run_message(kp_test_agents *agents, kp_check_spec *specs, uint32_t n_specs,
                                double deadline_s);

/* Starts it on all agents: rank r is on node r / ranks_each. */
void kp_test_agents_start(kp_test_agents *agents, const kp_wire_run *run);

/* Turns all agents' loops until each has answered, or `seconds` are over (then an assertion). */
void kp_test_agents_wait(kp_test_agents *agents, double seconds);

/* The process of a rank that `parent` started; 0 if there is none (yet). */
pid_t kp_test_rank_pid(pid_t parent, uint32_t rank);

#endif
