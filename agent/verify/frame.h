/* SPDX-License-Identifier: MIT
 *
 * agent/verify/frame.h — frames of the ranks' channel over non-blocking sockets. */
#ifndef KP_AGENT_VERIFY_FRAME_H
#define KP_AGENT_VERIFY_FRAME_H

#include "proto/text.h"

#define KP_FRAME_MAGIC 0x3156504bu /* "KPV1" */

typedef enum kp_frame_kind {
    KP_FRAME_HELLO,   /* to the hub: token and node, each with a 0 behind; head.rank */
    KP_FRAME_WELCOME, /* from the hub */
    KP_FRAME_PART,    /* to the hub: key, n, index, join; code not OK: cannot take part, why */
    KP_FRAME_RESULT,  /* from the hub: what the parts became */
    KP_FRAME_FAIL,    /* from the hub: code, the reason; join 1: the run is broken (unasked too) */
    KP_FRAME_LEAVE,   /* to the hub: this rank cannot go on, why */
    KP_FRAME_REPORT,  /* to the hub: the rank's results */
    KP_FRAME_KIND_COUNT
} kp_frame_kind;

/* Stands before every frame, as it is in memory. */
typedef struct kp_frame_head {
    uint32_t magic;
    uint8_t kind, join, code, zero;
    uint64_t key;
    uint32_t n, index, rank, len; /* len: bytes behind the head */
} kp_frame_head;

/* A frame on its way in. Zeroed is empty. */
typedef struct kp_inbox {
    kp_frame_head head;
    size_t head_bytes; /* of the head so far */
    kp_buf body;
} kp_inbox;

typedef enum kp_inbox_state { KP_INBOX_MORE, KP_INBOX_WHOLE, KP_INBOX_CLOSED } kp_inbox_state;

/* Reads what is there, at most one frame of at most `limit` bytes. CLOSED: end, an error, or bytes
 * that are no frame (*ret_why says which; a constant text). */
kp_inbox_state kp_inbox_read(kp_inbox *inbox, int fd, size_t limit, const char **ret_why);
void kp_inbox_clear(kp_inbox *inbox); /* for the next frame */
void kp_inbox_release(kp_inbox *inbox);

/* Sends a frame (magic and len are filled in) before the deadline. KP_LOST: the peer is gone;
 * KP_RETRY: it does not read. */
kp_status kp_frame_put(int fd, kp_frame_head head, const void *body, size_t len, double deadline_s,
                       kp_err *err);

/* Waits for a whole frame; the inbox is empty, or has the beginning of it. KP_LOST, KP_RETRY as
 * above, KP_INPUT: no frame of ours. */
kp_status kp_frame_get(int fd, kp_inbox *inbox, size_t limit, double deadline_s, kp_err *err);

/* Waits until fd is ready for `events`; false when the deadline passed. */
bool kp_frame_wait(int fd, short events, double deadline_s);

/* Makes a socket non-blocking, close-on-exec and without Nagle's delay; false on failure. */
bool kp_frame_socket(int fd);

#endif
