/* SPDX-License-Identifier: MIT */
#include "proto/node.h"
#include <inttypes.h>

bool kp_node_name_ok(const char *name)
{
    static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);
    return len >= 1 && len <= 64 && strspn(name, chars) == len;
}

kp_status kp_node_hash(const kp_node *node, char ret[17], kp_err *err)
{
    kp_buf packed;
    kp_buf_init(&packed, (size_t)16 << 20);
    kp_status status = kp_schema_pack(&kp_schema_node, node, &packed, err);
    if (status == KP_OK) {
        uint64_t hash = 0xcbf29ce484222325u;
        for (size_t i = 0; i < packed.len; i++)
            hash = (hash ^ (unsigned char)packed.data[i]) * 0x100000001b3u;
        snprintf(ret, 17, "%016" PRIx64, hash);
    }
    kp_buf_release(&packed);
    return status;
}
