/* SPDX-License-Identifier: MIT
 *
 * tests/link/pair.h — a server and a client of one link, in one thread. */
#ifndef KP_TESTS_LINK_PAIR_H
#define KP_TESTS_LINK_PAIR_H

#include "proto/link.h"
#include "tests/lib/proc.h"

#define KP_PAIR_SMALL ((size_t)64 << 10) /* a limit that tests can pass */

typedef struct kp_pair {
    void *zmq;
    kp_dir dir;
    kp_arena arena;
    kp_link *server, *client;
    kp_err err;
} kp_pair;

/* Binds (endpoint NULL: an ipc path of its own), connects, waits. */
void kp_pair_open(kp_pair *p, const char *endpoint, size_t limit);
void kp_pair_close(kp_pair *p);

/* A GET with this id leaves; the server takes it, skipping what is bad; and it is answered. */
void kp_pair_ask(kp_link *link, const char *id);
kp_frame kp_pair_take(kp_pair *p, const char *id);
void kp_pair_round_trip(kp_pair *p, const char *id);

/* Resident memory of this process. */
uint64_t kp_pair_resident(void);

#endif
