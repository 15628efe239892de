/* SPDX-License-Identifier: MIT
 *
 * proto/link.h — ZeroMQ sockets that carry our messages: framing, deadlines, limits, reconnect.
 *
 * A server has a ROUTER, clients and agents have a DEALER. One message is one frame: the 8-byte
 * prefix and a MessagePack envelope (messages.h); anything else (more frames, a wrong prefix, a
 * frame past the limit, MessagePack that fails the scan) is dropped and counted, never trusted.
 * Peers are named by an opaque kp_peer, valid while their connection lives. Sockets set LINGER 0,
 * IMMEDIATE, MAXMSGSIZE, ROUTER_MANDATORY, reconnect with growing pauses, and TCP heartbeats.
 * A link belongs to one thread.
 * What libzmq leaves open: a message of endless frames grows in its memory before we see any of it
 * (its size limit is per frame). kp_link_guard is the answer to that. */
#ifndef KP_PROTO_LINK_H
#define KP_PROTO_LINK_H

#include "proto/clock.h"
#include "proto/messages.h"

#define KP_LINK_BYTES_MAX   ((size_t)96 << 20) /* a model file of 64 MiB and its envelope fit */
#define KP_ENDPOINT_DEFAULT "tcp://127.0.0.1:7400"

typedef struct kp_link kp_link;

typedef struct kp_peer {
    uint8_t len, id[16];
} kp_peer;

typedef struct kp_frame {
    kp_wire_type type;
    kp_peer peer; /* the sender; empty on a DEALER */
    kp_envelope envelope;
    void *payload; /* the type's message, unpacked into the arena */
} kp_frame;

/* KP_USAGE for an endpoint that is not tcp://host:port or ipc://PATH. */
kp_status kp_endpoint_check(const char *endpoint, kp_err *err);
/* True for ipc and loopback addresses. */
bool kp_endpoint_is_local(const char *endpoint);

/* `zmq` is the process's zmq context. bind: KP_UNREACHABLE with the address when it is taken
 * ("address in use"), KP_USAGE when it is none. An "ipc" path that a dead daemon left is replaced.
 */
kp_status kp_link_bind(void *zmq, const char *endpoint, size_t limit_bytes, kp_link **ret,
                       kp_err *err);
kp_status kp_link_connect(void *zmq, const char *endpoint, size_t limit_bytes, kp_link **ret,
                          kp_err *err);
void kp_link_close(kp_link *link); /* NULL is fine */

/* The endpoint really bound ("tcp://127.0.0.1:43117" for port 0). */
const char *kp_link_endpoint(const kp_link *link);
/* For zmq_poll: messages; and a DEALER's connection events (NULL on a ROUTER), after which
 * kp_link_poll tells the new state. */
void *kp_link_socket(kp_link *link);
void *kp_link_events(kp_link *link);

typedef enum kp_link_state {
    KP_LINK_DOWN, /* no connection; a DEALER goes on trying */
    KP_LINK_OPEN, /* somebody took the connection, the handshake is not done */
    KP_LINK_READY
} kp_link_state;

/* How a DEALER stands; *ret_connects (may be NULL) counts the connections made so far, so that a
 * user sees that there is a new one. A ROUTER is always READY. */
kp_link_state kp_link_poll(kp_link *link, uint32_t *ret_connects);

/* Waits until a DEALER is connected, at most timeout_s: KP_UNREACHABLE names the endpoint and
 * why (refused, no such file, no answer); a refusal is told at once, not after the timeout. */
kp_status kp_link_wait(kp_link *link, double timeout_s, kp_err *err);

/* Sends now or not at all: KP_RETRY when the peer's queue is full or a DEALER is not connected,
 * KP_LOST when a ROUTER's peer is gone, KP_INPUT for a message past the limit. peer NULL on a
 * DEALER. */
kp_status kp_link_send(kp_link *link, const kp_peer *peer, kp_wire_type type,
                       const kp_envelope *envelope, const void *payload, kp_err *err);

/* Takes one message that is there or comes within timeout_s. KP_RETRY: none came (or too many bad
 * ones did). KP_LOST: a DEALER's connection broke, told once for each break; it reconnects by
 * itself. KP_INTERRUPTED: a signal. A bad frame from a peer is skipped and counted (kp_link_bad);
 * a ROUTER answers one that has our prefix with ERROR. The frame lives in `arena`. */
kp_status kp_link_recv(kp_link *link, double timeout_s, kp_arena *arena, kp_frame *ret,
                       kp_err *err);

/* Frames refused so far. */
uint64_t kp_link_bad(const kp_link *link);
/* Why the last one was refused; code KP_OK if none was. */
const kp_err *kp_link_bad_last(const kp_link *link);

/* To be called every 100 ms or so by a daemon with a ROUTER: if the process has more resident
 * memory than the first call's limit_bytes (0: a quarter of the machine's, 1 to 2 GiB; what it
 * really needs is learnt), all connections are closed, the address is bound again and *ret_closed
 * is set. Every kp_peer is gone then. KP_UNREACHABLE if somebody else took the address: the link is
 * of no use any more. Blocks for up to 5 s, only when it closes. */
kp_status kp_link_guard(kp_link *link, uint64_t limit_bytes, bool *ret_closed, kp_err *err);

/* One request and its reply over a fresh connection: connects, sends, waits; PROGRESS frames go to
 * `progress` (may be NULL). An ERROR reply becomes its status; its refusal, if any, goes to
 * *ret_refusal (may be NULL). KP_UNREACHABLE, KP_RETRY (no answer within timeout_s: the outcome is
 * unknown, repeat with the same id). id NULL: for what changes nothing and needs no repeating. */
typedef void kp_on_progress(void *arg, const kp_wire_progress *progress);
kp_status kp_link_call(const char *endpoint, double timeout_s, const char *id, kp_wire_type type,
                       const void *request, kp_wire_type reply_type, kp_arena *arena,
                       void **ret_reply, kp_refusal **ret_refusal, kp_on_progress *progress,
                       void *arg, kp_err *err);

#endif
