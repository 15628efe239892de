/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/segments.h — the pieces that full recomputation keeps only the inputs of.
 *
 * Borders are where few bytes cross: of all places between two layers' ops that one tensor crosses,
 * about the square root of their number are taken, evenly by the bytes written between them
 * (Chen et al. 2016, arXiv 1604.06174: sublinear memory). The same borders hold whatever stage or
 * strategy asks. Pure. */
#ifndef KP_PLANNER_ESTIMATE_SEGMENTS_H
#define KP_PLANNER_ESTIMATE_SEGMENTS_H

#include "planner/model/graph.h"

/* *ret has for each op the end (exclusive) of its segment. KP_NOMEM. */
kp_status kp_segments_make(const kp_graph *graph, kp_arena *arena, const uint32_t **ret,
                           kp_err *err);

#endif
