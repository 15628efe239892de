/* SPDX-License-Identifier: MIT */
#include "tests/lib/service.h"

#include <criterion/criterion.h>
#include <math.h>

#define READY_S 20.0

void kp_service_start_daemon(kp_service *p)
{
    char name[24];
    const kp_path program = kp_program("kpland");
    const char *argv[] = {program.s,
                          "--listen",
                          p->endpoint,
                          "--store",
                          p->store,
                          "--heartbeat",
                          p->heartbeat ? p->heartbeat : "1s",
                          NULL};
    snprintf(name, sizeof(name), "kpland%u", p->starts++);
    p->daemon = kp_proc_start(&p->dir, name, argv, NULL);
    bool ready = kp_proc_line(&p->daemon, "ready", READY_S, NULL, 0);
    char *said = ready ? NULL : kp_service_said(p);
    cr_assert(ready, "kpland is not ready: %s", said);
}

unsigned kp_service_add_agent(kp_service *p, const char *name, const char *machine)
{
    cr_assert(p->n_agents < KP_SERVICE_AGENTS_MAX);
    const kp_path program = kp_program("kplan-agent");
    const char *argv[] = {program.s, "--server", p->endpoint, "--node",
                          name,      "--invent", machine,     NULL};
    p->agents[p->n_agents] = kp_proc_start(&p->dir, name, argv, NULL);
    return p->n_agents++;
}

kp_service kp_service_start(unsigned n_agents, const char *machine, const char *heartbeat)
{
    kp_service p = {.dir = kp_dir_make(), .heartbeat = heartbeat};
    kp_arena_init(&p.arena, 0);
    snprintf(p.endpoint, sizeof(p.endpoint), "ipc://%s/s", p.dir.path);
    snprintf(p.store, sizeof(p.store), "%s/kplan.db", p.dir.path);
    kp_service_start_daemon(&p);
    for (unsigned i = 0; i < n_agents; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        kp_service_add_agent(&p, name, machine);
    }
    cr_assert(kp_service_wait_nodes(&p, KP_NODE_READY, n_agents, READY_S), "agents did not join");
    return p;
}

void kp_service_stop(kp_service *p)
{
    for (unsigned i = 0; i < p->n_agents; i++) kp_proc_signal(&p->agents[i], 15);
    for (unsigned i = 0; i < p->n_agents; i++) kp_proc_stop(&p->agents[i]);
    kp_proc_stop(&p->daemon);
    kp_arena_release(&p->arena);
    kp_dir_remove(&p->dir);
}

bool kp_service_wait_nodes(kp_service *p, kp_node_state state, unsigned n, double timeout_s)
{
    for (double end_s = kp_now_s() + timeout_s;;) {
        const kp_nodes *nodes = kp_service_nodes(p);
        unsigned count = 0;
        for (uint32_t i = 0; i < nodes->n_nodes; i++) count += nodes->nodes[i].state == state;
        if (count == n) return true;
        if (kp_now_s() > end_s) return false;
        kp_sleep(0.02);
    }
}

char *kp_service_said(const kp_service *p)
{
    return kp_file_text(p->daemon.err_path);
}

bool kp_service_wait_said(const kp_service *p, const char *text, double timeout_s)
{
    for (double end_s = kp_now_s() + timeout_s;;) {
        char *said = kp_service_said(p);
        bool found = strstr(said, text) != NULL;
        free(said);
        if (found || kp_now_s() > end_s) return found;
        kp_sleep(0.01);
    }
}

kp_status kp_service_call(kp_service *p, const char *id, kp_wire_type type, const void *request,
                          kp_wire_type reply_type, void *ret_reply, kp_err *err)
{
    return kp_link_call(p->endpoint, 30, id, type, request, reply_type, &p->arena, ret_reply, NULL,
                        NULL, NULL, err);
}

static void *get(kp_service *p, const char *what, kp_wire_type reply_type)
{
    const kp_wire_get request = {.what = what};
    void *reply = NULL;
    kp_err err = {0};
    kp_status status = kp_service_call(p, NULL, KP_WIRE_GET, &request, reply_type, &reply, &err);
    cr_assert_eq(status, KP_OK, "get %s: %s", what, err.msg);
    return reply;
}

kp_nodes *kp_service_nodes(kp_service *p)
{
    return get(p, "nodes", KP_WIRE_NODES);
}

kp_leases *kp_service_leases(kp_service *p)
{
    return get(p, "leases", KP_WIRE_LEASES);
}

kp_plans *kp_service_plans(kp_service *p)
{
    return get(p, "plans", KP_WIRE_PLANS);
}

kp_status kp_service_plan(kp_service *p, const char *id, kp_plan **ret, kp_err *err)
{
    const kp_wire_get request = {.what = "plan", .id = id};
    return kp_service_call(p, NULL, KP_WIRE_GET, &request, KP_WIRE_PLAN, ret, err);
}

kp_wire_plan_request kp_service_request(kp_service *p, const char *model, uint32_t nodes,
                                        bool verify)
{
    char path[128];
    kp_wire_plan_request request;
    snprintf(path, sizeof(path), "tests/data/models/%s.json", model);
    char *text = kp_file_text(path);
    cr_assert(text[0], "%s is not there", path);
    kp_schema_init(kp_wire_schema(KP_WIRE_PLAN_REQUEST), &request);
    request.model_name = model;
    request.model.len = (uint32_t)strlen(text);
    request.model.data = (const uint8_t *)kp_arena_strn(&p->arena, text, request.model.len);
    free(text);
    request.nodes = nodes;
    request.reserve = true;
    request.verify = verify;
    request.owner = "ann";
    return request;
}

kp_status kp_service_submit(kp_service *p, const char *id, const kp_wire_plan_request *request,
                            kp_plan **ret, kp_err *err)
{
    return kp_service_call(p, id, KP_WIRE_PLAN_REQUEST, request, KP_WIRE_PLAN, ret, err);
}

kp_status kp_service_lease(kp_service *p, const char *id, const char *action, const char *lease,
                           double lease_s, kp_lease **ret, kp_err *err)
{
    const kp_wire_lease_request request = {.action = action, .lease = lease, .lease_s = lease_s};
    return kp_service_call(p, id, KP_WIRE_LEASE_REQUEST, &request, KP_WIRE_LEASE, ret, err);
}
