/* SPDX-License-Identifier: MIT
 *
 * tests/lib/service.h — a kpland and its agents as processes of a test, and calls to it. */
#ifndef KP_TESTS_LIB_SERVICE_H
#define KP_TESTS_LIB_SERVICE_H

#include "proto/link.h"
#include "tests/lib/proc.h"

enum { KP_SERVICE_AGENTS_MAX = 8 };

typedef struct kp_service {
    kp_dir dir;
    char endpoint[80], store[128];
    const char *heartbeat; /* for --heartbeat */
    kp_proc daemon, agents[KP_SERVICE_AGENTS_MAX];
    unsigned n_agents, starts;
    kp_arena arena; /* replies */
} kp_service;

/* kpland on ipc in a fresh folder and n agents n0, n1, ... that invent `machine` each
 * ("8xH100-80G"); waits until all are ready. heartbeat NULL: the usual second. */
kp_service kp_service_start(unsigned n_agents, const char *machine, const char *heartbeat);
/* Ends all, removes the folder. */
void kp_service_stop(kp_service *service);

/* Starts kpland (again) on the same store and endpoint and waits until it serves. */
void kp_service_start_daemon(kp_service *service);
/* Starts one more agent of that name without waiting; its number. */
unsigned kp_service_add_agent(kp_service *service, const char *name, const char *machine);
/* Waits until n nodes are in a state; false after timeout_s. */
bool kp_service_wait_nodes(kp_service *service, kp_node_state state, unsigned n, double timeout_s);

/* What kpland said so far, malloc. */
char *kp_service_said(const kp_service *service);
/* Waits for a line of kpland's log with `text` in it. */
bool kp_service_wait_said(const kp_service *service, const char *text, double timeout_s);

/* kp_link_call with 30 s. */
kp_status kp_service_call(kp_service *service, const char *id, kp_wire_type type,
                          const void *request, kp_wire_type reply_type, void *ret_reply,
                          kp_err *err);
kp_nodes *kp_service_nodes(kp_service *service);
kp_leases *kp_service_leases(kp_service *service);
kp_plans *kp_service_plans(kp_service *service);
kp_status kp_service_plan(kp_service *service, const char *id, kp_plan **ret, kp_err *err);

/* A request for `nodes` nodes of tests/data/models/NAME.json, reserving. */
kp_wire_plan_request kp_service_request(kp_service *service, const char *model, uint32_t nodes,
                                        bool verify);
kp_status kp_service_submit(kp_service *service, const char *id,
                            const kp_wire_plan_request *request, kp_plan **ret, kp_err *err);
kp_status kp_service_lease(kp_service *service, const char *id, const char *action,
                           const char *lease, double lease_s, kp_lease **ret, kp_err *err);

#endif
