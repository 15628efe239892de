/* SPDX-License-Identifier: MIT */
#include "proto/link_parts.h"
#include "proto/wire.h"
#include <errno.h>
#include <zmq.h>

enum {
    BAD_A_CALL = 64,    /* bad frames skipped before recv lets its caller breathe */
    PARTS_A_CALL = 4096 /* frames of a multipart message thrown away at a time */
};

/* ---- sending ---- */

static void free_bytes(void *data, void *hint)
{
    (void)hint;
    free(data);
}

static kp_status send_failed(const kp_link *link, kp_err *err)
{
    switch (errno) {
    case EAGAIN:
        return kp_fail(err, KP_RETRY, "'%s' does not take messages now", link->endpoint);
    case EHOSTUNREACH:
        return kp_fail(err, KP_LOST, "the peer is gone");
    case EINTR:
        return kp_fail(err, KP_INTERRUPTED, "interrupted");
    default:
        return kp_fail(err, KP_INTERNAL, "sending: %s", zmq_strerror(errno));
    }
}

/* Sends the bytes of `body`, which belong to libzmq afterwards. */
static kp_status send_bytes(kp_link *link, const kp_peer *peer, kp_buf *body, kp_err *err)
{
    zmq_msg_t msg;
    if (zmq_msg_init_data(&msg, body->data, body->len, free_bytes, NULL)) return kp_nomem(err);
    *body = (kp_buf){0};
    bool sent = !link->router ||
                zmq_send(link->socket, peer->id, peer->len, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0;
    if (sent && zmq_msg_send(&msg, link->socket, ZMQ_DONTWAIT) >= 0) return KP_OK;
    kp_status status = send_failed(link, err);
    zmq_msg_close(&msg);
    return status;
}

kp_status kp_link_send(kp_link *link, const kp_peer *peer, kp_wire_type type,
                       const kp_envelope *envelope, const void *payload, kp_err *err)
{
    kp_link_take_events(link);
    kp_buf body;
    kp_buf_init(&body, link->limit_bytes);
    kp_status status = kp_wire_pack(type, envelope, payload, &body, err);
    if (status == KP_OK) status = send_bytes(link, peer, &body, err);
    kp_buf_release(&body);
    return status;
}

/* ---- receiving ---- */

static bool more_parts(kp_link *link)
{
    int more = 0;
    size_t size = sizeof(more);
    return zmq_getsockopt(link->socket, ZMQ_RCVMORE, &more, &size) == 0 && more;
}

/* Throws away the rest of a message, a piece at a time. */
static void skip_parts(kp_link *link)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    for (int i = 0; i < PARTS_A_CALL && link->skipping; i++) {
        if (zmq_msg_recv(&part, link->socket, ZMQ_DONTWAIT) < 0) break;
        link->skipping = more_parts(link);
    }
    zmq_msg_close(&part);
}

/* Counts a bad frame and, if it was meant for us, tells its sender. */
static void refuse(kp_link *link, const kp_frame *frame, bool ours, const kp_err *why)
{
    link->bad++;
    link->bad_last = *why;
    if (!link->router || !ours) return;
    const kp_error_msg msg = kp_wire_error(why, NULL);
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = frame->envelope.id;
    kp_link_send(link, &frame->peer, KP_WIRE_ERROR, &envelope, &msg, NULL);
}

/* A ROUTER's first frame: who sends. Names longer than libzmq's own are nobody's. */
static bool take_peer(kp_link *link, zmq_msg_t *part, kp_peer *ret)
{
    size_t len = zmq_msg_size(part);
    if (len > sizeof(ret->id) || !more_parts(link)) return false;
    ret->len = (uint8_t)len;
    memcpy(ret->id, zmq_msg_data(part), len);
    return true;
}

/* The message whose frames are `part` and following. */
static kp_status take_body(kp_link *link, zmq_msg_t *part, kp_arena *arena, kp_frame *frame,
                           kp_err *err)
{
    bool known = !link->router || take_peer(link, part, &frame->peer);
    if (known && link->router && zmq_msg_recv(part, link->socket, ZMQ_DONTWAIT) < 0) known = false;
    link->skipping = more_parts(link);
    if (!known || link->skipping)
        return kp_fail(err, KP_INPUT, "a message of several frames is none of ours");
    return kp_wire_unpack(zmq_msg_data(part), zmq_msg_size(part), arena, frame, err);
}

/* One try: KP_OK, KP_RETRY (nothing there), KP_INPUT (a bad one was there and is gone). */
static kp_status take_one(kp_link *link, kp_arena *arena, kp_frame *ret, kp_err *err)
{
    skip_parts(link);
    if (link->skipping) return KP_INPUT;
    zmq_msg_t part;
    zmq_msg_init(&part);
    kp_status status;
    if (zmq_msg_recv(&part, link->socket, ZMQ_DONTWAIT) < 0) {
        status = errno == EAGAIN  ? KP_RETRY
                 : errno == EINTR ? kp_fail(err, KP_INTERRUPTED, "interrupted")
                                  : kp_fail(err, KP_INTERNAL, "receiving: %s", zmq_strerror(errno));
    } else {
        kp_arena_mark mark = kp_arena_tell(arena);
        kp_frame frame = {.type = KP_WIRE_NONE};
        kp_err why = {0};
        status = take_body(link, &part, arena, &frame, &why);
        const uint8_t *bytes = zmq_msg_data(&part);
        if (status == KP_OK)
            *ret = frame;
        else {
            refuse(link, &frame, zmq_msg_size(&part) >= 2 && bytes[0] == 'K' && bytes[1] == 'P',
                   &why);
            kp_arena_rewind(arena, mark);
            status = KP_INPUT;
        }
    }
    zmq_msg_close(&part);
    return status;
}

kp_status kp_link_recv(kp_link *link, double timeout_s, kp_arena *arena, kp_frame *ret, kp_err *err)
{
    double deadline_s = kp_now_s() + timeout_s;
    for (int bad = 0; bad < BAD_A_CALL;) {
        kp_link_take_events(
            link); /* before the message: what came before a break is still delivered */
        bool broke = link->breaks != link->breaks_told;
        kp_status status = take_one(link, arena, ret, err);
        if (status == KP_INPUT)
            bad++;
        else if (status != KP_RETRY)
            return status;
        else if (broke) {
            link->breaks_told = link->breaks;
            return kp_fail(err, KP_LOST, "'%s' closed the connection", link->endpoint);
        } else if (kp_now_s() >= deadline_s)
            break;
        else
            KP_TRY(kp_link_sleep(link, true, deadline_s, err));
    }
    return kp_fail(err, KP_RETRY, "no message came within %s", kp_seconds_text(timeout_s).s);
}
