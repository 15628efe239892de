/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/memory_parts.h — parts of a rank's memory. Internal to the room. */
#ifndef KP_PLANNER_ESTIMATE_MEMORY_PARTS_H
#define KP_PLANNER_ESTIMATE_MEMORY_PARTS_H

#include "planner/estimate/memory.h"

/* Sets ret->layers: bytes of each layer's states and kept outputs, in the arena. KP_NOMEM. */
kp_status kp_memory_layers(const kp_tape *tape, const kp_training *training, kp_arena *arena,
                           kp_memory *ret, kp_err *err);

/* Sets the host's bytes of one process. */
void kp_memory_host(const kp_tape *tape, const kp_training *training, kp_memory *m);

#endif
