/* SPDX-License-Identifier: MIT
 *
 * planner/search/refusal.h — why nothing fits, and what would.
 *
 * The binding constraint is the worst stage of the strategy that needs the least memory. Changes
 * are a table, from the smallest to the largest; each is made to the request and searched again,
 * never estimated. Internal to the room. Pure. */
#ifndef KP_PLANNER_SEARCH_REFUSAL_H
#define KP_PLANNER_SEARCH_REFUSAL_H

#include "planner/search/hunt.h"

/* `least` is of kp_hunt_smallest on the ground. Returns KP_INFEASIBLE with the message, and the
 * refusal; or a status of its own (KP_NOMEM). */
kp_status kp_refuse(const kp_ground *ground, const kp_hunt *least, kp_arena *arena,
                    kp_refusal *ret, kp_err *err);

#endif
