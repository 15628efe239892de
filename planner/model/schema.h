/* SPDX-License-Identifier: MIT
 *
 * planner/model/schema.h — the words in which the layer tables are written. */
#ifndef KP_PLANNER_MODEL_SCHEMA_H
#define KP_PLANNER_MODEL_SCHEMA_H

#include "planner/model/rules.h"

/* clang-format off */
#define NEED(type, member, key)          {key, KP_CFG_##type, true, offsetof(kp_layer_cfg, member), 0}
#define MAY(type, member, key, fallback) {key, KP_CFG_##type, false, offsetof(kp_layer_cfg, member), fallback}
#define INSIDE(type, key)                {key, KP_CFG_##type, true, 0, 0}
#define INSIDE_MAY(type, key)            {key, KP_CFG_##type, false, 0, 0}
#define SCHEMA(name, ...)                                                                          \
    static const kp_cfg_field name##_fields[] = {__VA_ARGS__};                                     \
    static const kp_cfg_schema name = {name##_fields, KP_LEN(name##_fields)}

#define ANY       UINT8_MAX
#define OP(name)  KP_OP_##name
#define ACT(name) KP_ACT_##name
/* clang-format on */

#endif
