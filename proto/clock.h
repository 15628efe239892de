/* SPDX-License-Identifier: MIT
 *
 * proto/clock.h — what time it is, and names that nobody else has.
 *
 * Only programs' shells (daemons, link, commands) include it; the core gets times as arguments. */
#ifndef KP_PROTO_CLOCK_H
#define KP_PROTO_CLOCK_H

#include "proto/status.h"

/* Monotonic seconds for deadlines; they go on while the machine sleeps. */
double kp_now_s(void);

/* Milliseconds since 1970 UTC, for display and the store. */
int64_t kp_now_unix_ms(void);

/* A fresh random id: the prefix (at most 15 bytes) and 32 hex digits, "rq_6f1c...". */
void kp_random_id(const char *prefix, char ret[48]);

/* Random, at least 0 and below 1: for pauses that should differ between processes. */
double kp_random_unit(void);

#endif
