/* SPDX-License-Identifier: MIT */
#include "tests/agent/planner.h"
#include "proto/wire.h"
#include <criterion/criterion.h>
#include <zmq.h>

#define BEAT_S 0.05

void kp_planner_bind(kp_planner *p)
{
    kp_err err = {0};
    kp_status status = KP_UNREACHABLE;
    for (int i = 0; i < 100 && status == KP_UNREACHABLE; i++, kp_sleep(0.02))
        status = kp_link_bind(p->zmq, p->endpoint, 0, &p->link, &err);
    cr_assert(status == KP_OK, "%s", err.msg);
}

void kp_planner_open(kp_planner *p)
{
    *p = (kp_planner){.zmq = zmq_ctx_new(), .dir = kp_dir_make()};
    kp_arena_init(&p->arena, 0);
    snprintf(p->endpoint, sizeof(p->endpoint), "ipc://%s/planner", p->dir.path);
}

void kp_planner_agent(kp_planner *p, const char *option, const char *value)
{
    const kp_path program = kp_program("kplan-agent");
    const char *argv[] = {program.s, "--server", p->endpoint, "--node", "n1", option, value, NULL};
    p->agent = kp_proc_start(&p->dir, "agent", argv, NULL);
}

void kp_planner_close(kp_planner *p)
{
    kp_proc_kill(&p->agent);
    kp_link_close(p->link);
    zmq_ctx_term(p->zmq);
    kp_arena_release(&p->arena);
    kp_dir_remove(&p->dir);
}

/* The next message of a type; heartbeats are skipped unless they are what is wanted. */
kp_frame kp_planner_expect(kp_planner *p, kp_wire_type type)
{
    kp_frame frame = {0};
    kp_err err = {0};
    double deadline_s = kp_now_s() + 20;
    while (kp_now_s() < deadline_s) {
        kp_status status = kp_link_recv(p->link, 0.5, &p->arena, &frame, &err);
        if (status != KP_OK || (frame.type == KP_WIRE_HEARTBEAT && type != KP_WIRE_HEARTBEAT))
            continue;
        cr_assert(frame.type == type, "%s instead of %s", kp_wire_name(frame.type),
                  kp_wire_name(type));
        return frame;
    }
    char *says = kp_file_text(p->agent.err_path);
    cr_assert(false, "no %s came (%d bad frames: %s); the agent says: %s", kp_wire_name(type),
              (int)kp_link_bad(p->link), kp_link_bad_last(p->link)->msg, says);
    return frame;
}

const kp_wire_hello *kp_planner_hello(kp_planner *p)
{
    kp_frame frame = kp_planner_expect(p, KP_WIRE_HELLO);
    cr_assert(frame.envelope.id && frame.envelope.epoch);
    p->peer = frame.peer;
    snprintf(p->epoch, sizeof(p->epoch), "%s", frame.envelope.epoch);
    snprintf(p->hello_id, sizeof(p->hello_id), "%s", frame.envelope.id);
    return frame.payload;
}

void kp_planner_say(kp_planner *p, kp_wire_type type, const char *id, const void *payload)
{
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = id;
    if (p->session) envelope.session = p->session;
    kp_err err = {0};
    kp_status status = KP_RETRY;
    for (int i = 0; i < 500 && status == KP_RETRY; i++) { /* the agent's queue may be full */
        if (i) kp_sleep(0.01);
        status = kp_link_send(p->link, &p->peer, type, &envelope, payload, &err);
    }
    cr_assert(status == KP_OK, "%s: %s: %s", kp_wire_name(type), err.where, err.msg);
}

void kp_planner_welcome(kp_planner *p, uint64_t session, kp_fence *fences, uint32_t n)
{
    p->session = session;
    const kp_wire_welcome welcome = {
        .session = session, .heartbeat_s = BEAT_S, .fences = fences, .n_fences = n};
    kp_planner_say(p, KP_WIRE_WELCOME, p->hello_id, &welcome);
}

void kp_planner_error(kp_planner *p, kp_status code, const char *text)
{
    kp_err err = {0};
    kp_fail(&err, code, "%s", text);
    const kp_error_msg msg = kp_wire_error(&err, NULL);
    kp_planner_say(p, KP_WIRE_ERROR, p->hello_id, &msg);
}

/* Heartbeats with these sequence numbers, in order, of this session. */
void kp_planner_beats(kp_planner *p, uint64_t from, uint64_t to, const char *hash)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        kp_frame frame = kp_planner_expect(p, KP_WIRE_HEARTBEAT);
        cr_expect(frame.envelope.seq == seq, "seq %d, not %d", (int)frame.envelope.seq, (int)seq);
        cr_expect(frame.envelope.session == p->session);
        cr_expect_str_eq(frame.envelope.epoch, p->epoch);
        cr_expect_str_eq(((kp_wire_heartbeat *)frame.payload)->inventory_hash, hash);
    }
}

void kp_planner_join(kp_planner *p)
{
    kp_planner_open(p);
    kp_planner_bind(p);
    kp_planner_agent(p, "--invent", "2xH100-80G");
    kp_planner_hello(p);
    kp_planner_welcome(p, 77, NULL, 0);
    cr_assert(kp_proc_line(&p->agent, "ready", 10, NULL, 0));
}

void kp_standin_set(kp_standin *s, const char *gpus)
{
    const kp_path folder = kp_program("standin");
    snprintf(s->path, sizeof(s->path), "LD_LIBRARY_PATH=%s", folder.s);
    snprintf(s->gpus, sizeof(s->gpus), "STANDIN_NVML=%s", gpus);
    s->env[0] = s->path;
    s->env[1] = s->gpus;
    s->env[2] = NULL;
}
