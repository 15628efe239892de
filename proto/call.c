/* SPDX-License-Identifier: MIT
 *
 * proto/call.c — kp_link_call: one request over a connection of its own. */
#include "proto/link.h"
#include "proto/wire.h"
#include <errno.h>
#include <zmq.h>

/* A missing endpoint is told within a second, whatever time the answer may take. */
#define CONNECT_S 0.8
/* Whoever takes connections but is not kpland, or is stopped, is given up on after this. The
 * handshake is done by a thread of the server that a busy main loop does not hold up. */
#define HANDSHAKE_S 5.0

typedef struct call {
    kp_link *link;
    const char *id;
    bool named; /* by the caller, who can repeat it */
    double timeout_s, deadline_s;
    kp_wire_type type, reply_type;
} call;

static double at_most(double s, double limit_s)
{
    return s < limit_s ? s : limit_s;
}

static kp_status reach(const call *c, kp_err *err)
{
    kp_status status = kp_link_wait(c->link, at_most(c->timeout_s, CONNECT_S), err);
    if (status != KP_UNREACHABLE || kp_link_poll(c->link, NULL) != KP_LINK_OPEN) return status;
    return kp_link_wait(c->link, at_most(c->deadline_s - kp_now_s(), HANDSHAKE_S), err);
}

static kp_status ask(const call *c, const void *request, kp_err *err)
{
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = c->id;
    envelope.budget_s = c->deadline_s - kp_now_s();
    return kp_link_send(c->link, NULL, c->type, &envelope, request, err);
}

/* Nothing came, or the connection broke: nobody knows what the server did. */
static kp_status unknown(const call *c, kp_status status, kp_err *err)
{
    const char *server = kp_link_endpoint(c->link);
    const kp_err *bad = kp_link_bad_last(c->link);
    if (status == KP_LOST)
        kp_fail(err, KP_RETRY, "'%s' closed the connection before it answered", server);
    else if (bad->code == KP_UNSUPPORTED) {
        *err = *bad;
        kp_err_at(err, "%s", server);
        return bad->code;
    } else if (kp_link_bad(c->link))
        kp_fail(err, KP_RETRY, "'%s' answered with something that is not kplan's: %.200s", server,
                bad->msg);
    else
        kp_fail(err, KP_RETRY, "'%s' did not answer within %s", server,
                kp_seconds_text(c->timeout_s).s);
    if (c->named)
        kp_hint(err, "whether it was done is not known: repeat it with --request-id %s", c->id);
    else
        kp_hint(err, "try again, or give it more time with --timeout");
    return KP_RETRY;
}

static kp_status refused(const kp_frame *frame, kp_refusal **ret_refusal, kp_err *err)
{
    const kp_error_msg *msg = frame->payload;
    if (ret_refusal) *ret_refusal = msg->error.details;
    return kp_wire_failure(msg, err);
}

static kp_status answer(const call *c, kp_arena *arena, void **ret_reply, kp_refusal **ret_refusal,
                        kp_on_progress *progress, void *arg, kp_err *err)
{
    for (;;) {
        kp_arena_mark mark = kp_arena_tell(arena);
        double left_s = c->deadline_s - kp_now_s();
        if (left_s <= 0) return unknown(c, KP_RETRY, err);
        kp_frame frame;
        kp_status status = kp_link_recv(c->link, left_s, arena, &frame, err);
        if (status == KP_RETRY && kp_now_s() < c->deadline_s) continue;
        if (status == KP_RETRY || status == KP_LOST) return unknown(c, status, err);
        if (status != KP_OK) return status;
        const char *id = frame.envelope.id;
        bool mine = id && !strcmp(id, c->id);
        if (mine && frame.type == KP_WIRE_ERROR) return refused(&frame, ret_refusal, err);
        /* A refusal of what could not be read has no id; on this connection it can only be ours. */
        if (!id && frame.type == KP_WIRE_ERROR) return refused(&frame, ret_refusal, err);
        if (mine && frame.type == c->reply_type) {
            *ret_reply = frame.payload;
            return KP_OK;
        }
        if (mine && frame.type != KP_WIRE_PROGRESS)
            return kp_fail(err, KP_INTERNAL, "'%s' answered %s with %s", kp_link_endpoint(c->link),
                           kp_wire_name(c->type), kp_wire_name(frame.type));
        if (mine && progress) progress(arg, frame.payload);
        kp_arena_rewind(arena, mark);
    }
}

kp_status kp_link_call(const char *endpoint, double timeout_s, const char *id, kp_wire_type type,
                       const void *request, kp_wire_type reply_type, kp_arena *arena,
                       void **ret_reply, kp_refusal **ret_refusal, kp_on_progress *progress,
                       void *arg, kp_err *err)
{
    kp_err local = {0};
    if (!err) err = &local;
    char fresh[48];
    if (!id) kp_random_id("rq_", fresh);
    call c = {.id = id ? id : fresh,
              .named = id != NULL,
              .timeout_s = timeout_s,
              .deadline_s = kp_now_s() + timeout_s,
              .type = type,
              .reply_type = reply_type};
    void *zmq = zmq_ctx_new();
    if (!zmq) return kp_fail(err, KP_INTERNAL, "sockets: %s", zmq_strerror(errno));
    kp_status status = kp_link_connect(zmq, endpoint, 0, &c.link, err);
    if (status == KP_OK) {
        status = reach(&c, err);
        if (status == KP_OK) status = ask(&c, request, err);
        if (status == KP_OK) status = answer(&c, arena, ret_reply, ret_refusal, progress, arg, err);
        kp_link_close(c.link);
    }
    zmq_ctx_term(zmq);
    return status;
}
