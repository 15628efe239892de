/* SPDX-License-Identifier: MIT
 *
 * planner/model/schema_keys.h — configuration keys that many layer classes share. */
#ifndef KP_PLANNER_MODEL_SCHEMA_KEYS_H
#define KP_PLANNER_MODEL_SCHEMA_KEYS_H

#include "planner/model/schema.h"
#include <math.h>

/* clang-format off */
#define ACTIVATION(fallback)  MAY(ACTIVATION, activation, "activation", KP_ACT_##fallback)
#define BIAS                  MAY(BOOL, use_bias, "use_bias", 1)
#define LORA                  MAY(INT, lora_rank, "lora_rank", 0)
#define FORMAT                MAY(FORMAT, channels_first, "data_format", 0)
#define PADDING               MAY(PADDING, padding, "padding", 0)
#define STRIDES(fallback)     MAY(WINDOW, strides, "strides", fallback)
#define AXIS(fallback)        MAY(INTS, axis, "axis", fallback)
#define CONV_KEYS                                                                                  \
    NEED(WINDOW, kernel, "kernel_size"), STRIDES(1), MAY(WINDOW, dilation, "dilation_rate", 1),    \
    PADDING, FORMAT, ACTIVATION(LINEAR), BIAS, MAY(INT, groups, "groups", 1), LORA,                \
    MAY(INT, depth_multiplier, "depth_multiplier", 1),                                             \
    MAY(WINDOW, output_padding, "output_padding", -1)
/* clang-format on */

#endif
