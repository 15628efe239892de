/* SPDX-License-Identifier: MIT
 *
 * MessagePack: the bounded scan, the source of tokens, the sink on msgpack-c's packer. Lengths in
 * the bytes are compared with what is there before anything else looks at them. */
#include "proto/codec.h"
#include <assert.h>
#include <inttypes.h>
#include <msgpack/pack.h>

/* What a first byte says: how many bytes of big-endian number follow it, and their meaning. */
typedef struct head {
    uint8_t kind; /* kp_tok_kind; NOT_HERE: extension types and the unused 0xc1 */
    uint8_t size;
} head;
enum { NOT_HERE = 255 };

/* clang-format off */
static const head heads[32] = { /* 0xc0 to 0xdf */
    {KP_TOK_NULL, 0}, {NOT_HERE, 0}, {KP_TOK_BOOL, 0}, {KP_TOK_BOOL, 0},
    {KP_TOK_BIN, 1}, {KP_TOK_BIN, 2}, {KP_TOK_BIN, 4},
    {NOT_HERE, 0}, {NOT_HERE, 0}, {NOT_HERE, 0},
    {KP_TOK_REAL, 4}, {KP_TOK_REAL, 8},
    {KP_TOK_UINT, 1}, {KP_TOK_UINT, 2}, {KP_TOK_UINT, 4}, {KP_TOK_UINT, 8},
    {KP_TOK_INT, 1}, {KP_TOK_INT, 2}, {KP_TOK_INT, 4}, {KP_TOK_INT, 8},
    {NOT_HERE, 0}, {NOT_HERE, 0}, {NOT_HERE, 0}, {NOT_HERE, 0}, {NOT_HERE, 0},
    {KP_TOK_STR, 1}, {KP_TOK_STR, 2}, {KP_TOK_STR, 4},
    {KP_TOK_LIST, 2}, {KP_TOK_LIST, 4}, {KP_TOK_MAP, 2}, {KP_TOK_MAP, 4},
};
/* clang-format on */

static double real(uint64_t bits, uint8_t size)
{
    uint32_t low = (uint32_t)bits;
    float single;
    double wide;
    memcpy(&single, &low, sizeof(single));
    memcpy(&wide, &bits, sizeof(wide));
    return size == 4 ? (double)single : wide;
}

/* The number behind the first byte, as the token's kind wants it. */
static void set_number(kp_tok *tok, uint64_t bits, uint8_t first, uint8_t size)
{
    tok->u = bits;
    if (tok->kind == KP_TOK_BOOL) tok->u = first == 0xc3;
    else if (tok->kind == KP_TOK_REAL) tok->f = real(bits, size);
    else if (tok->kind == KP_TOK_INT) {
        unsigned shift = 64 - 8u * size;
        tok->i = (int64_t)(bits << shift) >> shift;
        tok->u = (uint64_t)tok->i;
        if (tok->i >= 0) tok->kind = KP_TOK_UINT;
    } else tok->n = (uint32_t)bits;
}

/* The forms whose value stands in the first byte itself. */
static bool short_form(uint8_t first, kp_tok *tok)
{
    if (first < 0x80) *tok = (kp_tok){.kind = KP_TOK_UINT, .u = first};
    else if (first < 0x90) *tok = (kp_tok){.kind = KP_TOK_MAP, .n = first & 15};
    else if (first < 0xa0) *tok = (kp_tok){.kind = KP_TOK_LIST, .n = first & 15};
    else if (first < 0xc0) *tok = (kp_tok){.kind = KP_TOK_STR, .n = first & 31};
    else if (first >= 0xe0) *tok = (kp_tok){.kind = KP_TOK_INT, .i = (int8_t)first};
    else return false;
    return true;
}

/* Reads the token at *at and steps over it (not over the items of a list or map). NULL, or what is
 * wrong with it. */
static const char *token(const uint8_t *bytes, size_t len, size_t *at, kp_tok *ret)
{
    kp_tok tok = {0};
    if (*at >= len) return "it ends here";
    uint8_t first = bytes[*at];
    size_t left = len - *at - 1;
    const uint8_t *next = bytes + *at + 1;
    if (!short_form(first, &tok)) {
        head h = heads[first - 0xc0];
        uint64_t bits = 0;
        if (h.kind == NOT_HERE) return "a type that is not used here";
        if (h.size > left) return "a number is cut off";
        for (unsigned i = 0; i < h.size; i++) bits = bits << 8 | next[i];
        tok.kind = (kp_tok_kind)h.kind;
        set_number(&tok, bits, first, h.size);
        next += h.size;
        left -= h.size;
    }
    if (tok.kind == KP_TOK_STR || tok.kind == KP_TOK_BIN) {
        if (tok.n > left) return "its length is more than what follows";
        tok.s = (const char *)next;
        next += tok.n;
    }
    *at = (size_t)(next - bytes);
    *ret = tok;
    return NULL;
}

static const char *check_text(const char *text, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        n = kp_utf8_len(text + i, len - i);
        if (!n || !text[i]) return "text is not UTF-8, or has a zero byte";
    }
    return NULL;
}

/* `owed` counts the values that must still come at each depth. */
static const char *check(const uint8_t *bytes, size_t len, size_t *at)
{
    uint64_t owed[KP_MPACK_DEPTH_MAX + 1] = {1}, total = 1;
    size_t depth = 0;
    while (total) {
        kp_tok tok;
        size_t start = *at;
        const char *wrong = token(bytes, len, at, &tok);
        if (!wrong && tok.kind == KP_TOK_STR) wrong = check_text(tok.s, tok.n);
        uint64_t more = tok.kind == KP_TOK_LIST ? tok.n : tok.kind == KP_TOK_MAP ? 2ull * tok.n : 0;
        total += wrong ? 0 : more - 1;
        if (!wrong && total > len - *at) wrong = "more values are announced than bytes follow";
        if (!wrong && more && depth == KP_MPACK_DEPTH_MAX) wrong = "too many levels";
        if (wrong) {
            *at = start;
            return wrong;
        }
        owed[depth]--;
        if (more) owed[++depth] = more;
        while (depth && !owed[depth]) depth--;
    }
    return *at < len ? "bytes follow the value" : NULL;
}

kp_status kp_mpack_check(const void *bytes, size_t len, kp_err *err)
{
    size_t at = 0;
    const char *wrong = check(bytes, len, &at);
    if (!wrong) return KP_OK;
    return kp_fail(err, KP_INPUT, "message is broken at byte %zu of %zu: %s", at, len, wrong);
}

/* ---- source ---- */

static kp_tok mpack_next(kp_source *base)
{
    kp_mpack_source *source = (kp_mpack_source *)base;
    kp_tok tok = {0};
    const char *wrong = token(source->bytes, source->len, &source->at, &tok);
    assert(!wrong);
    return tok;
}

static size_t mpack_left(const kp_source *base)
{
    const kp_mpack_source *source = (const kp_mpack_source *)base;
    return source->len - source->at;
}

void kp_mpack_source_init(kp_mpack_source *source, const void *bytes, size_t len)
{
    *source = (kp_mpack_source){
        .base = {.next = mpack_next, .left = mpack_left}, .bytes = bytes, .len = len};
}

/* ---- sink ---- */

static int append(void *buf, const char *bytes, size_t len)
{
    kp_buf_add(buf, bytes, len);
    return 0; /* the buffer remembers a failure */
}

static void mpack_put(kp_sink *sink, const kp_tok *tok)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, sink->out, append);
    switch (tok->kind) {
    case KP_TOK_NULL: msgpack_pack_nil(&pk); break;
    case KP_TOK_BOOL: tok->u ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk); break;
    case KP_TOK_UINT: msgpack_pack_uint64(&pk, tok->u); break;
    case KP_TOK_INT: msgpack_pack_int64(&pk, tok->i); break;
    case KP_TOK_REAL: msgpack_pack_double(&pk, tok->f); break;
    case KP_TOK_STR: msgpack_pack_str_with_body(&pk, tok->s, tok->n); break;
    case KP_TOK_BIN: msgpack_pack_bin_with_body(&pk, tok->s, tok->n); break;
    case KP_TOK_LIST: msgpack_pack_array(&pk, tok->n); break;
    case KP_TOK_MAP: msgpack_pack_map(&pk, tok->n); break;
    }
}

static void mpack_key(kp_sink *sink, const char *name)
{
    mpack_put(sink, &(kp_tok){.kind = KP_TOK_STR, .s = name, .n = (uint32_t)strlen(name)});
}

static void mpack_close(kp_sink *sink, kp_tok_kind list_or_map)
{
    (void)sink, (void)list_or_map; /* the count stands in front */
}

void kp_mpack_sink_init(kp_sink *sink, kp_buf *out)
{
    *sink = (kp_sink){.put = mpack_put, .key = mpack_key, .close = mpack_close, .out = out};
}
