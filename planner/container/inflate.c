/* SPDX-License-Identifier: MIT */
#include "planner/container/inflate.h"
#include "planner/container/limits.h"
#include "proto/text.h"
#include <string.h>
#include <zlib.h>

enum { PIECE = 16 << 10 };

uint32_t kp_crc32(const uint8_t *bytes, uint64_t n)
{
    uLong crc = crc32(0, NULL, 0);
    for (; n > PIECE; n -= PIECE, bytes += PIECE) crc = crc32(crc, bytes, PIECE);
    return (uint32_t)crc32(crc, bytes, (uInt)n);
}

bool kp_ratio_too_high(uint64_t packed, uint64_t whole)
{
    return whole > KP_RATIO_FREE_BYTES && whole / KP_RATIO_MAX > packed;
}

/* One pass over a stream. Without `to` the bytes are only counted, up to the limit. */
typedef struct pass {
    const kp_source *source;
    kp_arena *arena;
    uint8_t *to;      /* NULL: count */
    uint64_t limit;   /* bytes that may come out; `to` has room for them */
    uint64_t in, out; /* so far */
    bool gzip;
    bool hungry; /* zlib wants bytes before it gives more */
    z_stream z;
    uint8_t from[PIECE], away[PIECE];
} pass;

static voidpf zlib_alloc(voidpf arena, uInt items, uInt size)
{
    return kp_arena_alloc(arena, items, size);
}

static void zlib_free(voidpf arena, voidpf address)
{
    (void)arena;
    (void)address; /* goes away with the arena */
}

static kp_status refill(pass *p, kp_err *err)
{
    uint64_t n = p->source->size - p->in;
    if (!n) return kp_fail(err, KP_INPUT, "the packed data is cut off");
    if (n > PIECE) n = PIECE;
    KP_TRY(kp_source_copy(p->source, p->in, n, p->from, err));
    p->in += n;
    p->z.next_in = p->from;
    p->z.avail_in = (uInt)n;
    return KP_OK;
}

static kp_status too_large(const pass *p, kp_err *err)
{
    return kp_fail(err, KP_INPUT, "unpacks to more than %s", kp_size_text(p->limit).s);
}

/* Gives zlib room for its next bytes: one more than allowed, to see that there is one. */
static void make_room(pass *p)
{
    uint64_t left = p->limit - p->out;
    bool direct = p->to && left;
    uint64_t n = left && left < PIECE ? left : left ? PIECE : 1;
    p->z.next_out = direct ? p->to + p->out : p->away;
    p->z.avail_out = (uInt)n;
}

/* Behind the end of a member stands nothing, or the next member of a gzip file. */
static kp_status next_member(pass *p, bool *ret_more, kp_err *err)
{
    *ret_more = false;
    if (!p->z.avail_in && p->in < p->source->size) KP_TRY(refill(p, err));
    if (!p->z.avail_in) return KP_OK;
    if (!p->gzip || *p->z.next_in != 0x1f)
        return kp_fail(err, KP_INPUT, "there is something behind the end of the packed data");
    *ret_more = p->hungry = true;
    inflateReset(&p->z);
    return KP_OK;
}

static kp_status step(pass *p, bool *ret_end, kp_err *err)
{
    if (!p->z.avail_in && p->hungry) KP_TRY(refill(p, err));
    make_room(p);
    uInt room = p->z.avail_out;
    int code = inflate(&p->z, Z_NO_FLUSH);
    p->out += room - p->z.avail_out;
    p->hungry = p->z.avail_out > 0;
    if (p->out > p->limit) return too_large(p, err);
    if (code == Z_MEM_ERROR) return kp_nomem(err);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return kp_fail(err, KP_INPUT, "the packed data is damaged");
    if (p->gzip && kp_ratio_too_high(p->in, p->out))
        return kp_fail(err, KP_INPUT, "unpacks to more than %d times its size", KP_RATIO_MAX);
    if (code != Z_STREAM_END) return KP_OK;
    bool more;
    KP_TRY(next_member(p, &more, err));
    *ret_end = !more;
    return KP_OK;
}

static kp_status run(pass *p, kp_err *err)
{
    p->z.zalloc = zlib_alloc;
    p->z.zfree = zlib_free;
    p->z.opaque = p->arena;
    if (inflateInit2(&p->z, p->gzip ? 16 + MAX_WBITS : -MAX_WBITS) != Z_OK) return kp_nomem(err);
    bool end = false;
    kp_status status = KP_OK;
    p->hungry = true;
    while (status == KP_OK && !end) status = step(p, &end, err);
    inflateEnd(&p->z);
    return status;
}

kp_status kp_inflate_raw(const kp_source *source, uint64_t n, kp_arena *arena, const uint8_t **ret,
                         kp_err *err)
{
    uint8_t *to = KP_NEW(arena, uint8_t, (size_t)n + 1);
    pass *p = KP_NEW(arena, pass, 1);
    if (!to || !p) return kp_nomem(err);
    *p = (pass){.source = source, .arena = arena, .to = to, .limit = n};
    KP_TRY(run(p, err));
    if (p->out != n) return kp_fail(err, KP_INPUT, "unpacks to less than it says");
    *ret = to;
    return KP_OK;
}

/* Twice: once to count, so that the memory is the result's and no more, once for the bytes. */
kp_status kp_gunzip(const kp_source *source, kp_arena *arena, kp_source *ret, kp_err *err)
{
    pass *p = KP_NEW(arena, pass, 1);
    if (!p) return kp_nomem(err);
    *p = (pass){.source = source, .arena = arena, .limit = KP_INFLATED_BYTES_MAX, .gzip = true};
    KP_TRY(run(p, err));
    uint64_t n = p->out;
    uint8_t *to = KP_NEW(arena, uint8_t, (size_t)n + 1);
    if (!to) return kp_nomem(err);
    *p = (pass){.source = source, .arena = arena, .to = to, .limit = n, .gzip = true};
    KP_TRY(run(p, err));
    *ret = kp_source_memory(to, p->out);
    return KP_OK;
}
