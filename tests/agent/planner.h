/* SPDX-License-Identifier: MIT
 *
 * tests/agent/planner.h — a planner that stands in the test: it binds a link, starts the agent's
 * program, and says what the test wants. Failures are Criterion assertions. */
#ifndef KP_TESTS_AGENT_PLANNER_H
#define KP_TESTS_AGENT_PLANNER_H

#include "proto/link.h"
#include "tests/lib/proc.h"

typedef struct kp_planner {
    kp_dir dir;
    char endpoint[128];
    void *zmq;
    kp_link *link;
    kp_arena arena;
    kp_proc agent;
    kp_peer peer; /* of the last HELLO */
    char epoch[64], hello_id[64];
    uint64_t session;
} kp_planner;

void kp_planner_open(kp_planner *p);
void kp_planner_bind(kp_planner *p);
void kp_planner_close(kp_planner *p); /* kills the agent if it still lives */

/* Starts `kplan-agent --server HERE --node n1 OPTION VALUE` (no option: NULL, NULL). */
void kp_planner_agent(kp_planner *p, const char *option, const char *value);

/* The environment in which the stand-in for NVML is found and has these GPUs. */
typedef struct kp_standin {
    char path[300], gpus[100];
    const char *env[3];
} kp_standin;
void kp_standin_set(kp_standin *s, const char *gpus);

/* The next message, which must be of this type; heartbeats are skipped unless they are wanted. */
kp_frame kp_planner_expect(kp_planner *p, kp_wire_type type);
const kp_wire_hello *kp_planner_hello(kp_planner *p);

/* Heartbeats with these sequence numbers, in order, of the last session. */
void kp_planner_beats(kp_planner *p, uint64_t from, uint64_t to, const char *hash);

void kp_planner_say(kp_planner *p, kp_wire_type type, const char *id, const void *payload);
void kp_planner_welcome(kp_planner *p, uint64_t session, kp_fence *fences, uint32_t n);
void kp_planner_error(kp_planner *p, kp_status code, const char *text);

/* All of it: open, bind, an agent with two invented GPUs, hello, welcome. */
void kp_planner_join(kp_planner *p);

#endif
