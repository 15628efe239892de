/* SPDX-License-Identifier: MIT
 *
 * planner/serve/fleet.h — the nodes of the cluster and the sessions of their agents.
 *
 * A node is known by its name; an agent speaks for it in a session that began with a HELLO. Every
 * message of the session has the next number: old ones are dropped, a gap asks for the inventory
 * again, as does a heartbeat whose hash is not that of the inventory at hand. Silent for three
 * beats: suspect; for five: gone. Nobody is blamed for a pause of our own. Every change raises the
 * revision and marks the node dirty, until the store has it. Pure: times are arguments, nothing is
 * sent or logged here. */
#ifndef KP_PLANNER_SERVE_FLEET_H
#define KP_PLANNER_SERVE_FLEET_H

#include "planner/serve/book.h"
#include "proto/link.h"

enum { KP_FLEET_NODES_MAX = 16384, KP_NODE_GPUS_MAX = 64, KP_BEATS_SUSPECT = 3, KP_BEATS_GONE = 5 };
#define KP_GPU_BYTES_MAX ((uint64_t)16 << 40)

typedef struct kp_fleet_node {
    char name[65];
    kp_arena arena; /* holds `node` */
    kp_node node;   /* as its agent reported last; state as seen from here */
    char hash[17];  /* of that report */
    kp_peer peer;
    uint64_t session, seq; /* session 0: no agent since the start */
    double heard_s;
    kp_node_state shown;  /* the state that was logged last */
    bool dirty;           /* changed since it was given to the store */
    bool storing;         /* a put is on its way */
    double store_after_s; /* not before: the last put failed */
    uint64_t revision;    /* of its last change */
} kp_fleet_node;

typedef struct kp_fleet {
    kp_fleet_node **nodes; /* in order of arrival; never removed */
    size_t n, cap;
    kp_index names, cards;      /* names, and UUIDs of GPUs, to kp_fleet_node */
    uint64_t revision, session; /* last ones given out */
    double heartbeat_s, ticked_s;
    uint64_t refused, old; /* HELLOs refused, messages dropped for their number */
} kp_fleet;

/* session: the last number given out by an earlier life, so that none comes twice. */
void kp_fleet_init(kp_fleet *fleet, double heartbeat_s, uint64_t session);
void kp_fleet_release(kp_fleet *fleet);

/* The nodes of an earlier life, gone until their agents come; the revision goes on behind
 * nodes->revision. */
kp_status kp_fleet_restore(kp_fleet *fleet, const kp_nodes *nodes, kp_err *err);

/* What an inventory may not be: KP_INPUT with the place. */
kp_status kp_fleet_sane(const kp_node *node, kp_err *err);

/* A HELLO. KP_INPUT: not sane. KP_CONFLICT: the name is another live agent's, or a GPU is another
 * ready node's; *ret_rival is that node (NULL otherwise). Its agent may be dead without us knowing:
 * kp_fleet_lost and repeat if so. */
kp_status kp_fleet_hello(kp_fleet *fleet, double now_s, const kp_peer *peer,
                         const kp_wire_hello *hello, kp_fleet_node **ret, kp_fleet_node **ret_rival,
                         kp_err *err);

typedef enum kp_heard {
    KP_HEARD_OK,
    KP_HEARD_OLD,    /* drop it */
    KP_HEARD_GAP,    /* fine, but something was lost: ask for the inventory */
    KP_HEARD_UNKNOWN /* no such session: ask for a HELLO */
} kp_heard;

/* Any message of an agent's session. seq UINT64_MAX: not numbered. *ret_node is set but for
 * KP_HEARD_UNKNOWN. A suspect node is ready again. */
kp_heard kp_fleet_heard(kp_fleet *fleet, double now_s, const kp_peer *peer, uint64_t session,
                        uint64_t seq, kp_fleet_node **ret_node);

/* A new inventory of a node in session. */
kp_status kp_fleet_inventory(kp_fleet *fleet, kp_fleet_node *node, const kp_node *inventory,
                             kp_err *err);

/* Its connection is known to be broken: suspect at once. */
void kp_fleet_lost(kp_fleet *fleet, kp_fleet_node *node);

/* States by silence. Call after all messages that are there were taken. */
void kp_fleet_tick(kp_fleet *fleet, double now_s);

kp_fleet_node *kp_fleet_find(const kp_fleet *fleet, const char *name);
bool kp_fleet_ready(const kp_fleet *fleet, const char *name);
/* A GPU as its node's agent reported it last; NULL if the node has none of this UUID. */
const kp_gpu *kp_fleet_gpu(const kp_fleet *fleet, const char *name, const char *uuid);

/* The nodes by name as others see them, GPUs in live leases shown as leased, all copied to
 * `arena`. */
kp_status kp_fleet_view(const kp_fleet *fleet, const kp_book *book, kp_arena *arena, kp_nodes *ret,
                        kp_err *err);
/* The same as a list of GPUs; `nodes` from kp_fleet_view. */
kp_status kp_fleet_gpus(const kp_nodes *nodes, kp_arena *arena, kp_gpus *ret, kp_err *err);

#endif
