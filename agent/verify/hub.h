/* SPDX-License-Identifier: MIT
 *
 * agent/verify/hub.h — the hub's side of the channel: accepts ranks, joins parts, keeps reports.
 *
 * One table of peers; entry 0 is the hub's own rank and has no socket. All work is done in
 * kp_hub_turn, one round of poll. */
#ifndef KP_AGENT_VERIFY_HUB_H
#define KP_AGENT_VERIFY_HUB_H

#include "agent/verify/channel.h"
#include "agent/verify/frame.h"

typedef struct kp_hub kp_hub;

kp_status kp_hub_open(const kp_channel_config *config, kp_hub **ret, kp_err *err);
void kp_hub_close(kp_hub *hub); /* NULL is fine */

/* Polls for at most wait_s and handles what came. */
void kp_hub_turn(kp_hub *hub, double wait_s);

/* The own rank's part: the head as on the wire (key, n, index, join, code), the bytes kept until
 * the result is there. */
void kp_hub_put(kp_hub *hub, kp_frame_head head, const void *part, size_t len, void *ret,
                size_t ret_len);
/* Whether the result of the own part is there: KP_OK it is, KP_RETRY not yet, else the failure. */
kp_status kp_hub_result(kp_hub *hub, kp_err *err);

/* Breaks the run; the first reason stays. */
void kp_hub_break(kp_hub *hub, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *kp_hub_broken(const kp_hub *hub); /* NULL: it is not */

/* Breaks the run because the time is over: names those of the group that have brought no part for
 * `key`, or, with group NULL, those that did not report. */
void kp_hub_late(kp_hub *hub, const kp_group *group, uint64_t key);

/* Keeps the own report. kp_hub_all_reported: every rank of the run has reported or is lost. */
void kp_hub_report(kp_hub *hub, const void *bytes, size_t len);
bool kp_hub_all_reported(const kp_hub *hub);
const kp_buf *kp_hub_get_report(const kp_hub *hub, uint32_t rank);

#endif
