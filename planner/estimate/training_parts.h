/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/training_parts.h — parts of deciding a training's settings. Internal to the
 * room. */
#ifndef KP_PLANNER_ESTIMATE_TRAINING_PARTS_H
#define KP_PLANNER_ESTIMATE_TRAINING_PARTS_H

#include "planner/estimate/training.h"

/* Sets training->launch: what the file says of its run under Megatron, 1 and off elsewhere; the
 * framework is decided. KP_UNSUPPORTED: an argument whose memory no rule knows. */
kp_status kp_training_launch(const kp_graph *graph, kp_training *training, kp_err *err);

#endif
