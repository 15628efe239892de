/* SPDX-License-Identifier: MIT
 *
 * proto/log.h — one line on stderr for what a daemon does.
 *
 * "2026-11-22T20:01:02.123Z warn  node 'n3' silent for 6.0 s, leaving it out". A line is one
 * write, so lines of threads and processes do not mix; control bytes print as '?', long lines are
 * cut. Only main loops log (programs' main files, agent, daemon, sessions); everybody else
 * returns errors. The level is the one variable of the house; it is set once at the start. */
#ifndef KP_PROTO_LOG_H
#define KP_PROTO_LOG_H

#include "proto/status.h"

typedef enum kp_log_level {
    KP_LOG_ERROR, /* something is lost or refused, a person must look */
    KP_LOG_WARN,  /* odd, but handled */
    KP_LOG_INFO,  /* what an operator wants to read later; the default */
    KP_LOG_DEBUG, /* every message */
    KP_LOG_COUNT
} kp_log_level;

/* Takes the level from the environment (KPLAN_LOG=error|warn|info|debug); KP_USAGE for another
 * word. */
kp_status kp_log_init(kp_err *err);

void kp_log_set(kp_log_level level);
bool kp_log_on(kp_log_level level); /* for lines that cost something to make */

/* One line, lower case, no full stop, like an error's message. */
void kp_log(kp_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A failure as a line: place, message, hint. */
void kp_log_err(kp_log_level level, const kp_err *err);

#endif
