/* SPDX-License-Identifier: MIT
 *
 * planner/search/hunt.h — the best strategy of a ground.
 *
 * Points are taken in the order of their lower bounds; a strategy whose bound is no better than
 * the best found so far is closed by it, all others are judged. So at the end everything was
 * either judged or is proven to be no faster, and the least of all bounds bounds the answer.
 * Internal to the room. Pure. */
#ifndef KP_PLANNER_SEARCH_HUNT_H
#define KP_PLANNER_SEARCH_HUNT_H

#include "planner/search/judge.h"

#define KP_ALTERNATIVES_MAX 5

typedef struct kp_hunt {
    bool found, stopped;
    kp_strategy strategy;
    double seconds;
    uint64_t peak_bytes;
    uint32_t *borders;     /* max_stages + 1 */
    double lower_s;        /* no strategy of the ground that fits takes less */
    uint64_t candidates;   /* strategies of the ground */
} kp_hunt;

/* The fastest that fits and takes less than beat_s. */
kp_status kp_hunt_fastest(const kp_ground *ground, double beat_s, kp_arena *arena, kp_hunt *ret,
                          kp_err *err);

/* The one that needs the least memory, fitting (found) or not: then strategy, borders and
 * peak_bytes are still its own. lower_s is of the fastest one all the same. */
kp_status kp_hunt_smallest(const kp_ground *ground, kp_arena *arena, kp_hunt *ret, kp_err *err);

/* The next best: first of other degrees, then other variants of the winner's, by time. */
kp_status kp_hunt_others(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                         kp_plan_alternative *ret, uint32_t *ret_n, kp_err *err);

#endif
