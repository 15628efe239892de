/* SPDX-License-Identifier: MIT */
#include "proto/ops.h"

const kp_op_row kp_op_rows[KP_OP_COUNT] = {
#define KP_OP_ROW(name, text, kind, doc) [KP_OP_##name] = {text, KP_KIND_##kind, doc},
    KP_OP_ROWS(KP_OP_ROW)
#undef KP_OP_ROW
};

const char *const kp_op_names[KP_OP_COUNT] = {
#define KP_OP_NAME(name, text, kind, doc) [KP_OP_##name] = text,
    KP_OP_ROWS(KP_OP_NAME)
#undef KP_OP_NAME
};
