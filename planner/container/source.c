/* SPDX-License-Identifier: MIT */
#include "planner/container/source.h"
#include <inttypes.h>
#include <string.h>

kp_source kp_source_memory(const void *bytes, uint64_t size)
{
    return (kp_source){.bytes = bytes, .size = size};
}

static kp_status within(const kp_source *source, uint64_t at, uint64_t n, kp_err *err)
{
    if (at <= source->size && n <= source->size - at) return KP_OK;
    return kp_fail(err, KP_INPUT,
                   "%" PRIu64 " bytes at byte %" PRIu64 " are past the end, byte %" PRIu64, n, at,
                   source->size);
}

kp_status kp_source_part(const kp_source *source, uint64_t at, uint64_t n, kp_source *ret,
                         kp_err *err)
{
    KP_TRY(within(source, at, n, err));
    *ret = *source;
    ret->base += at;
    ret->size = n;
    return KP_OK;
}

kp_status kp_source_copy(const kp_source *source, uint64_t at, uint64_t n, void *to, kp_err *err)
{
    KP_TRY(within(source, at, n, err));
    if (!n) return KP_OK;
    if (!source->bytes) return source->read(source->of, source->base + at, to, (size_t)n, err);
    memcpy(to, source->bytes + source->base + at, (size_t)n);
    return KP_OK;
}

kp_status kp_source_get(const kp_source *source, uint64_t at, uint64_t n, kp_arena *arena,
                        const uint8_t **ret, kp_err *err)
{
    KP_TRY(within(source, at, n, err));
    if (source->bytes) {
        *ret = source->bytes + source->base + at;
        return KP_OK;
    }
    uint8_t *copy = KP_NEW(arena, uint8_t, (size_t)n);
    if (!copy) return kp_nomem(err);
    KP_TRY(kp_source_copy(source, at, n, copy, err));
    *ret = copy;
    return KP_OK;
}

kp_cursor kp_cursor_over(const uint8_t *bytes, uint64_t n)
{
    return (kp_cursor){.at = bytes, .end = bytes + n};
}

const uint8_t *kp_cursor_take(kp_cursor *cursor, uint64_t n)
{
    if (cursor->past || n > (uint64_t)(cursor->end - cursor->at)) {
        cursor->past = true;
        return NULL;
    }
    const uint8_t *bytes = cursor->at;
    cursor->at += n;
    return bytes;
}

uint64_t kp_cursor_uint(kp_cursor *cursor, unsigned n)
{
    const uint8_t *bytes = kp_cursor_take(cursor, n);
    uint64_t v = 0;
    for (unsigned i = n; bytes && i > 0; i--) v = v << 8 | bytes[i - 1];
    return v;
}
