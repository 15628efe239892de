/* SPDX-License-Identifier: MIT
 *
 * planner/search/fill.h — from the best strategy to the plan message.
 *
 * Stages with their layers, each layer's cut with the axes of its weights, every rank on its GPU
 * with the replayed memory of its stage, the step's time, and what is to be verified.
 * Internal to the room. Pure. */
#ifndef KP_PLANNER_SEARCH_FILL_H
#define KP_PLANNER_SEARCH_FILL_H

#include "planner/search/hunt.h"

/* Writes everything of the plan but bound, search, alternatives, id and what is set once it is
 * stored. Lists live in `arena`, layers' and weights' names in the graph. KP_NOMEM. */
kp_status kp_fill_plan(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                       kp_plan *ret, kp_err *err);

/* Layers in chain order with their cuts; *ret_stages[s].layers etc. are filled from it. */
kp_status kp_fill_cuts(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                       kp_plan *ret, kp_err *err);

/* One check for each different op, shapes, cut and group size (kp_check_spec). Every op but inputs,
 * views and losses is listed; one that is not cut is checked on its samples, divided over the
 * data-parallel group of its stage (a group of 1 is run as it is). */
kp_status kp_fill_checks(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                         kp_plan *ret, kp_err *err);

#endif
