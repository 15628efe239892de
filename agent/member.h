/* SPDX-License-Identifier: MIT
 *
 * agent/member.h — the agent's side of its session with the planner.
 *
 *     away --connected--> greeting (HELLO sent) --WELCOME--> member (heartbeats)
 *       ^                    |   ^--RESYNC{hello}, a new connection--|
 *       '----- connection broke -----'
 *
 * A session lasts as long as its connection; a new connection, or a planner that does not know us,
 * begins with HELLO. Everything sent in a session has a sequence number from 1. One thread. */
#ifndef KP_AGENT_MEMBER_H
#define KP_AGENT_MEMBER_H

#include "agent/fences.h"
#include "agent/stock.h"
#include "proto/link.h"

typedef enum kp_member_phase { KP_MEMBER_AWAY, KP_MEMBER_GREETING, KP_MEMBER_IN } kp_member_phase;

typedef struct kp_member {
    const char *server, *node, *epoch;
    void *zmq;
    kp_link *link; /* NULL between attempts to make one */
    kp_member_phase phase;
    bool told_away, was_in;
    uint32_t connects; /* of the link, when we last said HELLO */
    uint64_t session, seq;
    char hello_id[48], planner_epoch[64];
    double heartbeat_s, next_beat_s, next_hello_s, next_link_s, away_since_s;
    double pause_s;          /* grows with every failure in a row */
    double conflict_since_s; /* 0: none */
    uint32_t sent_version;   /* of the stock */
    kp_fences fences;
} kp_member;

/* Sets up, connects nothing yet. The strings must outlive the member. */
void kp_member_init(kp_member *member, void *zmq, const char *server, const char *node,
                    const char *epoch);
void kp_member_release(kp_member *member);

/* Does what is due: connects, greets, beats, tells a changed inventory. Fails only for good (an
 * endpoint that is none; memory). */
kp_status kp_member_step(kp_member *member, const kp_stock *stock, kp_err *err);

/* Takes a message that is there. Those of the session itself are handled inside; FENCE too.
 * *ret_duty is true when `ret` is one for the caller: RUN or RUN_ABORT. KP_RETRY: nothing more is
 * there. KP_CONFLICT: another agent has this node's name and goes on living; other statuses are the
 * planner's refusal for good. */
kp_status kp_member_recv(kp_member *member, const kp_stock *stock, kp_arena *arena, kp_frame *ret,
                         bool *ret_duty, kp_err *err);

/* Sends within the session. KP_RETRY when there is no session now or the queue is full. */
kp_status kp_member_send(kp_member *member, kp_wire_type type, const void *payload, kp_err *err);

/* Seconds after which a step is due. */
double kp_member_wait_s(const kp_member *member);

#endif
