/* SPDX-License-Identifier: MIT
 *
 * agent/verify/join.h — what the parts of a meeting become. */
#ifndef KP_AGENT_VERIFY_JOIN_H
#define KP_AGENT_VERIFY_JOIN_H

#include "agent/verify/channel.h"

/* What one member brought; code not KP_OK: it cannot take part, `at` says why. */
typedef struct kp_part {
    uint32_t rank;
    kp_status code;
    const void *at;
    size_t len;
} kp_part;

/* Joins the parts in their order into `out` (empty, with its limit). Fails with the code of the
 * first member that cannot take part ("rank 3: why"), KP_VERIFY_FAILED if the parts of a sum differ
 * in length, KP_UNSUPPORTED if the result is longer than out's limit. */
kp_status kp_join_parts(const kp_part *parts, uint32_t n, kp_join join, kp_buf *out, kp_err *err);

#endif
