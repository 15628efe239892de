/* SPDX-License-Identifier: MIT */
#include "agent/verify/join.h"

static bool add_floats(kp_buf *sum, const void *part, size_t len)
{
    if (len != sum->len || len % sizeof(float) != 0) return false;
    float *to = (float *)(void *)sum->data;
    const float *from = part;
    for (size_t i = 0; i < len / sizeof(float); i++) to[i] += from[i];
    return true;
}

kp_status kp_join_parts(const kp_part *parts, uint32_t n, kp_join join, kp_buf *out, kp_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].code == KP_OK) continue;
        int len = parts[i].len < 300 ? (int)parts[i].len : 300;
        return kp_fail(err, parts[i].code, "rank %u: %.*s", parts[i].rank, len,
                       (const char *)parts[i].at);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || join == KP_JOIN_CONCAT)
            kp_buf_add(out, parts[i].at, parts[i].len);
        else if (!add_floats(out, parts[i].at, parts[i].len))
            return kp_fail(err, KP_VERIFY_FAILED,
                           "the parts of a sum differ in length: %zu and %zu bytes", out->len,
                           parts[i].len);
    }
    if (out->failed)
        return kp_fail(err, KP_UNSUPPORTED, "the parts together are too long for the channel");
    return KP_OK;
}
