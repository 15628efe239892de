/* SPDX-License-Identifier: MIT
 *
 * agent/verify/channel.h — how the ranks of one run talk: a star over TCP.
 *
 * The run's first rank is the hub: it has the listening socket, everyone else connects, shows the
 * run's token and says which rank it is. Members of a group meet: each brings a part, the hub puts
 * the parts together in group order (so sums are the same on every run) and sends the result to all
 * members. In the end every rank leaves a report. The hub's work is done whenever the hub's own
 * rank waits here; it never waits for one peer alone, so groups do not hold up each other.
 *
 * A frame is a fixed header (magic, kind, key, length) and bytes, in the machine's own byte order:
 * a peer of another order fails at the magic. Nothing is allocated before bytes have come, frames
 * have a limit, connections that do not show the token in time are closed. Every wait has the
 * channel's deadline. When a rank is lost (its connection ends before its report), leaves with a
 * failure, or does not come in time, the run is broken: every meeting, now and later, fails with
 * that reason. */
#ifndef KP_AGENT_VERIFY_CHANNEL_H
#define KP_AGENT_VERIFY_CHANNEL_H

#include "proto/arena.h"
#include "proto/text.h"

#define KP_CHANNEL_BYTES_MAX ((size_t)1 << 30)

typedef struct kp_channel kp_channel;

/* Ranks that do something together, in order; `me` is the caller's place among them. */
typedef struct kp_group {
    const uint32_t *ranks; /* of the plan */
    uint32_t n, me;
} kp_group;

typedef enum kp_join {
    KP_JOIN_SUM,    /* parts are floats, all of one length: the result is their sum */
    KP_JOIN_CONCAT, /* the result is all parts, one behind the other */
    KP_JOIN_COUNT
} kp_join;

typedef struct kp_channel_config {
    const char *node;  /* of this rank, for messages */
    const char *token; /* at most 255 bytes */
    uint32_t rank;     /* of the plan */
    uint32_t n_ranks;  /* of the run */
    int listen_fd;     /* the hub's listening socket, taken over; -1: not the hub */
    const char *meet;  /* "tcp://127.0.0.1:4711"; not used by the hub */
    double deadline_s; /* on the clock of kp_now_s; no meeting waits longer */
    double end_s;      /* the same for reports: a little later */
} kp_channel_config;

/* A listening TCP socket on a free port of `host` (a numeric address), and its endpoint. */
kp_status kp_channel_listen(const char *host, int *ret_fd, char ret_endpoint[80], kp_err *err);

/* The hub's end is open at once; another rank's when the hub has taken it. KP_INCONCLUSIVE: the hub
 * cannot be reached, refuses, or does not answer in time; KP_NOMEM. Takes listen_fd also on
 * failure. */
kp_status kp_channel_open(const kp_channel_config *config, kp_channel **ret, kp_err *err);
void kp_channel_close(kp_channel *channel); /* NULL is fine */

/* Meets the group under `key`, which all members use once. `failed` (or NULL): this rank cannot
 * take part, and why; then all members fail, with its code and "rank 3: reason". The result,
 * ret_len bytes, is the same for all. A group of one meets without traffic. KP_INCONCLUSIVE: broken
 * run. */
kp_status kp_channel_meet(kp_channel *channel, kp_group group, uint64_t key, kp_join join,
                          const void *part, size_t len, const kp_err *failed, void *ret,
                          size_t ret_len, kp_err *err);

/* Breaks the run: this rank cannot go on. The hub breaks its own, others tell it. */
void kp_channel_break(kp_channel *channel, const kp_err *why);

/* Leaves this rank's report with the hub; on the hub, also waits until all ranks have reported or
 * are lost, a second at most once the run is broken. Reports of lost ranks are missing. */
kp_status kp_channel_report(kp_channel *channel, const void *bytes, size_t len, kp_err *err);

/* Hub, after kp_channel_report: what the rank reported; NULL if it did not. The bytes belong to the
 * channel. */
const kp_buf *kp_channel_get_report(const kp_channel *channel, uint32_t rank);

/* For a rank that waits for something else: does the hub's work, or looks whether the hub has said
 * that the run is broken. KP_INCONCLUSIVE if it is. Does not wait. */
kp_status kp_channel_check(kp_channel *channel, kp_err *err);

/* Why the run is broken; NULL if it is not. */
const char *kp_channel_broken(const kp_channel *channel);

#endif
