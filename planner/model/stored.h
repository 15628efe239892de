/* SPDX-License-Identifier: MIT
 *
 * planner/model/stored.h — weights that the file's container lists, for layers without a rule.
 *
 * An archive names a layer's group after its class and a counter among its brothers ("dense_1",
 * "transformer_block"), as Keras's saving_lib does; an HDF5 file after the layer itself. The tree
 * of layers gives the group, the group's arrays are the layer's weights: what is known of a class
 * whose code is not. Internal to the room. */
#ifndef KP_PLANNER_MODEL_STORED_H
#define KP_PLANNER_MODEL_STORED_H

#include "planner/model/build.h"

/* Declares the weights that the container has for the rule's layer, from rule->first_weight on;
 * they are there since the layer's first call. KP_INPUT: one is too big; KP_NOMEM. */
kp_status kp_stored_declare(kp_rule *rule);

/* Makes the op whose first output is `tensor` read all of the rule's weights. */
kp_status kp_stored_attach(kp_rule *rule, uint32_t tensor);

/* Adds the container's warnings to the graph's. */
kp_status kp_stored_warn(kp_build *build);

#endif
