/* SPDX-License-Identifier: MIT
 *
 * agent/verify/hub_peer.h — what the two files of the hub share: its table of peers. hub.c joins
 * their parts and keeps their reports, hub_io.c accepts them and reads their frames. */
#ifndef KP_AGENT_VERIFY_HUB_PEER_H
#define KP_AGENT_VERIFY_HUB_PEER_H

#include "agent/verify/hub.h"
#include "agent/verify/join.h"
#include <poll.h>

/* Strangers that may be connected at once beside the run's ranks. */
#define KP_HUB_STRANGERS_MAX 16
/* Seconds that a peer may leave a result lying. */
#define KP_HUB_SEND_S 5.0

/* One connection, or (entry 0) the hub's own rank. */
typedef struct kp_hub_peer {
    int fd; /* -1: the own rank, or a free or ended entry */
    bool known, lost, reported, waiting;
    bool told; /* that the run is broken */
    uint32_t rank;
    char node[64];
    double since_s;
    kp_inbox in;
    kp_frame_head part; /* while waiting */
    const void *part_at;
    size_t part_len;
    kp_buf report;
} kp_hub_peer;

struct kp_hub {
    int listen_fd;
    uint32_t n_ranks;
    char token[256];
    char broken[600];
    kp_err result; /* of the own part, once it does not wait any more */
    void *ret;
    size_t ret_len;
    uint32_t n_peers;
    kp_hub_peer *peers;    /* n_ranks + KP_HUB_STRANGERS_MAX */
    struct pollfd *polls;  /* one more */
    kp_hub_peer **members; /* n_ranks, scratch of one meeting */
    kp_part *parts;        /* the same */
};

/* The peer of a rank; NULL if it has not come. */
kp_hub_peer *kp_hub_find(const kp_hub *hub, uint32_t rank);

/* Closes a connection; the entry of a stranger is free again. */
void kp_hub_drop(kp_hub_peer *peer);

/* The same for a rank that should still be there: breaks the run. */
void kp_hub_lose(kp_hub *hub, kp_hub_peer *peer, const char *why);

/* Tells a peer, once, that the run is broken. */
void kp_hub_tell(kp_hub *hub, kp_hub_peer *peer);

/* Takes a peer's part; answers all members if it was the last one. */
void kp_hub_take_part(kp_hub *hub, kp_hub_peer *peer, kp_frame_head head, const void *part,
                      size_t len);

#endif
