/* SPDX-License-Identifier: MIT
 *
 * planner/model/window.h — what convolutions and pooling share: axes, lengths, attributes. */
#ifndef KP_PLANNER_MODEL_WINDOW_H
#define KP_PLANNER_MODEL_WINDOW_H

#include "planner/model/rules.h"

/* The channel axis and the first spatial axis of the rule's input 0. */
unsigned kp_channel_axis(const kp_rule *rule);
unsigned kp_spatial_axis(const kp_rule *rule);

/* Positions of a window over `in`: same and causal: ceil(in / stride); valid: those that fit whole;
 * full: those that touch it.
 * KP_DIM_OPEN stays open; 0 or less: the window does not fit. */
int64_t kp_window_length(int64_t in, int64_t size, int64_t stride, int64_t dilation,
                         kp_padding padding);

/* The output of a window over all spatial dimensions; channels -1: as the input's. KP_INPUT: wrong
 * rank, or the window does not fit. dilation NULL: 1. */
kp_status kp_window_shape(const kp_rule *rule, const uint32_t *size, const uint32_t *strides,
                          const uint32_t *dilation, int64_t channels, kp_shape *ret);

/* Attributes of an op with the rule's window. */
kp_op_attr kp_window_attr(const kp_rule *rule, const uint32_t *size);

#endif
