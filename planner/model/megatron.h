/* SPDX-License-Identifier: MIT
 *
 * planner/model/megatron.h — parts of the reader of Megatron-LM's arguments. Internal to the room. */
#ifndef KP_PLANNER_MODEL_MEGATRON_H
#define KP_PLANNER_MODEL_MEGATRON_H

#include "planner/model/hf.h"
#include "planner/model/launch.h"

/* What the arguments say of the run of a model of `n_layers` blocks. In the reader's arena. KP_INPUT:
 * stages that the layers do not divide into, a name that is none. */
kp_status kp_megatron_launch(kp_reader *reader, const kp_hf_keys *keys, int64_t n_layers,
                             const kp_launch **ret);

#endif
