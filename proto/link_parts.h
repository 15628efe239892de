/* SPDX-License-Identifier: MIT
 *
 * proto/link_parts.h — the inside of a link, for link.c (connections) and link_io.c (messages). */
#ifndef KP_PROTO_LINK_PARTS_H
#define KP_PROTO_LINK_PARTS_H

#include "proto/endpoint.h"
#include "proto/link.h"

struct kp_link {
    void *zmq, *socket, *monitor; /* monitor: a DEALER's connection events; NULL on a ROUTER */
    bool router;
    bool skipping; /* inside a multipart message that is being thrown away */
    bool refused;  /* an attempt to connect failed since the last success */
    kp_link_state state;
    uint32_t connects, breaks, breaks_told;
    size_t limit_bytes;
    uint64_t guard_bytes; /* resident memory past which strangers are suspected */
    uint64_t bad;
    kp_err bad_last;
    char endpoint[KP_ENDPOINT_MAX], resolved[KP_ENDPOINT_MAX];
};

/* Makes the link's socket with all its options; not bound or connected yet. KP_INTERNAL. */
kp_status kp_link_make_socket(kp_link *link, kp_err *err);

/* Takes a DEALER's connection events that are there. */
void kp_link_take_events(kp_link *link);

/* Sleeps until there is an event, or with `messages` a message too, or the deadline.
 * KP_INTERRUPTED, KP_INTERNAL. */
kp_status kp_link_sleep(kp_link *link, bool messages, double deadline_s, kp_err *err);

#endif
