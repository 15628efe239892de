/* SPDX-License-Identifier: MIT */
#include "agent/member.h"
#include "proto/log.h"
#include "proto/wire.h"
#include <inttypes.h>
#include <math.h>

#define AWAY_TICK_S   0.25 /* for what is due; connections are events */
#define PATIENCE_S    0.5  /* before being away is worth a line */
#define RELINK_S      30.0 /* away so long: resolve the name again */
#define PAUSE_FIRST_S 1.0
#define PAUSE_MAX_S   15.0
#define CONFLICT_S    1.5 /* for an agent that just died to be found dead */
#define MESSAGE_BYTES ((size_t)16 << 20)

void kp_member_init(kp_member *member, void *zmq, const char *server, const char *node,
                    const char *epoch)
{
    *member = (kp_member){.zmq = zmq,
                          .server = server,
                          .node = node,
                          .epoch = epoch,
                          .away_since_s = kp_now_s(),
                          .pause_s = PAUSE_FIRST_S};
}

void kp_member_release(kp_member *member)
{
    kp_link_close(member->link);
    member->link = NULL;
}

/* The next pause: between half and all of one that doubles. */
static double next_pause(kp_member *member)
{
    double pause_s = member->pause_s * (0.5 + 0.5 * kp_random_unit());
    member->pause_s = fmin(member->pause_s * 2, PAUSE_MAX_S);
    return pause_s;
}

/* ---- sending ---- */

static kp_envelope envelope(const kp_member *member)
{
    kp_envelope ret;
    kp_schema_init(&kp_schema_envelope, &ret);
    ret.epoch = member->epoch;
    return ret;
}

static kp_status say_hello(kp_member *member, const kp_stock *stock, kp_err *err)
{
    const kp_wire_hello hello = {
        .node = member->node, .version = KP_VERSION, .inventory = stock->node};
    kp_envelope with = envelope(member);
    kp_random_id("hello_", member->hello_id);
    with.id = member->hello_id;
    kp_status status = kp_link_send(member->link, NULL, KP_WIRE_HELLO, &with, &hello, err);
    member->next_hello_s = kp_now_s() + next_pause(member);
    if (status == KP_RETRY) return KP_OK; /* not connected after all: again when we are */
    KP_TRY(status);
    member->phase = KP_MEMBER_GREETING;
    member->sent_version = stock->version;
    return KP_OK;
}

kp_status kp_member_send(kp_member *member, kp_wire_type type, const void *payload, kp_err *err)
{
    if (member->phase != KP_MEMBER_IN)
        return kp_fail(err, KP_RETRY, "no session with the planner now");
    kp_envelope with = envelope(member);
    with.session = member->session;
    with.seq = member->seq + 1;
    KP_TRY(kp_link_send(member->link, NULL, type, &with, payload, err));
    member->seq++;
    return KP_OK;
}

/* ---- what is due ---- */

static kp_status make_link(kp_member *member, kp_err *err)
{
    kp_err why = {0};
    if (kp_now_s() < member->next_link_s) return KP_OK;
    kp_status status =
        kp_link_connect(member->zmq, member->server, MESSAGE_BYTES, &member->link, &why);
    member->connects = 0;
    member->next_link_s = kp_now_s() + (status == KP_OK ? RELINK_S : next_pause(member));
    if (status == KP_OK) return KP_OK;
    if (status != KP_UNREACHABLE) {
        if (err) *err = why;
        return status;
    }
    if (!member->told_away) kp_log_err(KP_LOG_WARN, &why);
    member->told_away = true;
    return KP_OK;
}

static void be_away(kp_member *member)
{
    double now_s = kp_now_s();
    if (member->phase != KP_MEMBER_AWAY) member->away_since_s = now_s;
    member->phase = KP_MEMBER_AWAY;
    if (!member->told_away && now_s - member->away_since_s >= PATIENCE_S) {
        kp_log(KP_LOG_WARN, "the planner at '%s' cannot be reached, trying on", member->server);
        member->told_away = true;
    }
    if (now_s - member->away_since_s >= RELINK_S && now_s >= member->next_link_s) {
        kp_link_close(member->link);
        member->link = NULL;
    }
}

static kp_status beat(kp_member *member, const kp_stock *stock, kp_err *err)
{
    const kp_wire_heartbeat heartbeat = {.inventory_hash = stock->hash};
    kp_status status = KP_OK;
    if (member->sent_version != stock->version) {
        status = kp_member_send(member, KP_WIRE_INVENTORY, &stock->node, err);
        if (status == KP_OK) member->sent_version = stock->version;
    }
    double now_s = kp_now_s();
    if (status == KP_OK && now_s >= member->next_beat_s) {
        status = kp_member_send(member, KP_WIRE_HEARTBEAT, &heartbeat, err);
        member->next_beat_s += member->heartbeat_s;
        if (member->next_beat_s < now_s) member->next_beat_s = now_s + member->heartbeat_s;
    }
    return status == KP_RETRY ? KP_OK : status; /* the queue is full: the next beat tries again */
}

kp_status kp_member_step(kp_member *member, const kp_stock *stock, kp_err *err)
{
    if (!stock->version) return KP_OK;
    if (!member->link) KP_TRY(make_link(member, err));
    if (!member->link) return KP_OK;
    uint32_t connects;
    if (kp_link_poll(member->link, &connects) != KP_LINK_READY) {
        be_away(member);
        return KP_OK;
    }
    if (connects != member->connects) { /* maybe to another planner */
        member->connects = connects;
        member->phase = KP_MEMBER_AWAY;
        member->next_hello_s = 0;
        member->pause_s = PAUSE_FIRST_S;
    }
    if (member->phase != KP_MEMBER_IN)
        return kp_now_s() >= member->next_hello_s ? say_hello(member, stock, err) : KP_OK;
    return beat(member, stock, err);
}

double kp_member_wait_s(const kp_member *member)
{
    if (member->phase != KP_MEMBER_IN) return AWAY_TICK_S;
    return fmax(0, member->next_beat_s - kp_now_s());
}

/* ---- what comes ---- */

static kp_status welcome(kp_member *member, const kp_frame *frame)
{
    const kp_wire_welcome *msg = frame->payload;
    double beat_s = msg->heartbeat_s;
    member->phase = KP_MEMBER_IN;
    member->session = msg->session;
    member->seq = 0;
    member->heartbeat_s = isfinite(beat_s) ? fmin(fmax(beat_s, 0.02), 60) : 1.0;
    member->next_beat_s = kp_now_s() + member->heartbeat_s;
    member->pause_s = PAUSE_FIRST_S;
    member->conflict_since_s = 0;
    for (uint32_t i = 0; i < msg->n_fences; i++)
        kp_fences_raise(&member->fences, msg->fences[i].gpu, msg->fences[i].fence, NULL);
    if (!member->was_in) fputs("ready\n", stderr);
    kp_log(KP_LOG_INFO, "node '%s' joined the planner at '%s' (session %" PRIu64 ")", member->node,
           member->server, member->session);
    member->was_in = true;
    member->told_away = false;
    return KP_OK;
}

/* An ERROR for our HELLO. What may pass is tried again; the name's other owner gets the time in
 * which a dead one would be forgotten. */
static kp_status refused(kp_member *member, const kp_frame *frame, kp_err *err)
{
    kp_err why = {0};
    kp_status status = kp_wire_failure(frame->payload, &why);
    double now_s = kp_now_s();
    bool ours = member->phase == KP_MEMBER_GREETING && frame->envelope.id &&
                !strcmp(frame->envelope.id, member->hello_id);
    if (!ours) {
        kp_log_err(KP_LOG_WARN, &why);
        return KP_OK;
    }
    if (status == KP_CONFLICT) {
        if (member->conflict_since_s <= 0) member->conflict_since_s = now_s;
        if (now_s - member->conflict_since_s < CONFLICT_S) {
            member->next_hello_s = now_s + 0.7;
            return KP_OK;
        }
    } else if (status == KP_RETRY || status == KP_STORE || status == KP_INTERNAL ||
               status == KP_NOMEM) {
        kp_log_err(KP_LOG_WARN, &why);
        return KP_OK;
    }
    if (err) *err = why;
    return status;
}

static kp_status resync(kp_member *member, const kp_stock *stock, const kp_wire_resync *msg,
                        kp_err *err)
{
    kp_log(KP_LOG_DEBUG, "the planner asks for %s: %s", msg->hello ? "a greeting" : "the inventory",
           msg->reason);
    if (msg->hello || member->phase != KP_MEMBER_IN) return say_hello(member, stock, err);
    kp_status status = kp_member_send(member, KP_WIRE_INVENTORY, &stock->node, err);
    if (status == KP_OK) member->sent_version = stock->version;
    return status == KP_RETRY ? KP_OK : status;
}

static void note_fences(kp_member *member, const kp_wire_fence *msg)
{
    kp_err why = {0};
    for (uint32_t i = 0; i < msg->n_gpus; i++)
        if (kp_fences_raise(&member->fences, msg->gpus[i], msg->fence, &why) != KP_OK)
            kp_log_err(KP_LOG_WARN, &why);
}

/* Messages of an older session are a ghost's. */
static bool is_current(const kp_member *member, const kp_frame *frame)
{
    return member->phase == KP_MEMBER_IN &&
           (frame->envelope.session == UINT64_MAX || frame->envelope.session == member->session);
}

kp_status kp_member_recv(kp_member *member, const kp_stock *stock, kp_arena *arena, kp_frame *ret,
                         bool *ret_duty, kp_err *err)
{
    *ret_duty = false;
    if (!member->link) return KP_RETRY;
    kp_status status = kp_link_recv(member->link, 0, arena, ret, err);
    if (status == KP_LOST || status == KP_INTERRUPTED) return KP_RETRY; /* the next step sees it */
    KP_TRY(status);
    switch (ret->type) {
    case KP_WIRE_WELCOME:
        return member->phase == KP_MEMBER_AWAY ? KP_OK : welcome(member, ret);
    case KP_WIRE_ERROR:
        return refused(member, ret, err);
    case KP_WIRE_RESYNC:
        return resync(member, stock, ret->payload, err);
    case KP_WIRE_FENCE:
        if (is_current(member, ret)) note_fences(member, ret->payload);
        return KP_OK;
    case KP_WIRE_RUN:
    case KP_WIRE_RUN_ABORT:
        *ret_duty = is_current(member, ret);
        return KP_OK;
    default:
        kp_log(KP_LOG_DEBUG, "%s is not for an agent", kp_wire_name(ret->type));
        return KP_OK;
    }
}
