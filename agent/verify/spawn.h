/* SPDX-License-Identifier: MIT
 *
 * agent/verify/spawn.h — one rank's process, as its agent sees it. */
#ifndef KP_AGENT_VERIFY_SPAWN_H
#define KP_AGENT_VERIFY_SPAWN_H

#include "proto/text.h"
#include <sys/types.h>

#define KP_SPAWN_LISTEN_FD 3 /* where a first rank finds its listening socket */

typedef struct kp_spawn {
    pid_t pid;     /* 0: not started, or reaped */
    int fd;        /* the result comes here; -1 once it ended */
    uint32_t rank; /* of the plan */
    kp_buf out;
    bool killed; /* by us */
    int status;  /* of waitpid, once reaped */
} kp_spawn;

/* An unlinked temporary file with these bytes, close-on-exec. KP_IO. */
kp_status kp_spawn_file(const void *bytes, size_t len, int *ret_fd, kp_err *err);

/* Moves a descriptor out of the way of a child's first ones and makes it close-on-exec; -1 and the
 * old one closed on failure. */
int kp_spawn_fd(int fd);

/* Starts `program --rank ...` with job_fd as standard input; listen_fd -1: not the first rank.
 * KP_IO. */
kp_status kp_spawn_start(const char *program, const char *node, uint32_t rank, int job_fd,
                         int listen_fd, kp_spawn *ret, kp_err *err);

/* Reads what came and reaps, without waiting. */
void kp_spawn_step(kp_spawn *spawn);
bool kp_spawn_ended(const kp_spawn *spawn);

void kp_spawn_kill(kp_spawn *spawn, int signal);

/* Kills, waits, frees. A zeroed one is fine. */
void kp_spawn_release(kp_spawn *spawn);

#endif
