/* SPDX-License-Identifier: MIT
 *
 * JSON's source of tokens (over a jansson document) and its sink, which writes text straight into
 * the buffer: the programs' answers never pass through a document. */
#include "proto/codec.h"
#include <assert.h>

/* ---- source ---- */

static kp_tok json_token(const json_t *json)
{
    kp_tok tok = {0};
    switch (json_typeof(json)) {
    case JSON_NULL: tok.kind = KP_TOK_NULL; break;
    case JSON_TRUE:
    case JSON_FALSE:
        tok.kind = KP_TOK_BOOL;
        tok.u = json_is_true(json);
        break;
    case JSON_INTEGER:
        tok.i = json_integer_value(json);
        tok.u = (uint64_t)tok.i;
        tok.kind = tok.i < 0 ? KP_TOK_INT : KP_TOK_UINT;
        break;
    case JSON_REAL:
        tok.kind = KP_TOK_REAL;
        tok.f = json_real_value(json);
        break;
    case JSON_STRING:
        tok.kind = KP_TOK_STR;
        tok.s = json_string_value(json);
        tok.n = (uint32_t)json_string_length(json);
        break;
    case JSON_ARRAY:
        tok.kind = KP_TOK_LIST;
        tok.n = (uint32_t)json_array_size(json);
        break;
    case JSON_OBJECT:
        tok.kind = KP_TOK_MAP;
        tok.n = (uint32_t)json_object_size(json);
        break;
    }
    return tok;
}

/* jansson's iterator functions take the object without const and do not change it. */
static json_t *mutable_json(const json_t *json)
{
    union {
        const json_t *in;
        json_t *out;
    } u = {.in = json};
    return u.out;
}

/* The key that comes next; its value becomes pending. */
static kp_tok next_key(kp_json_source *source, kp_json_frame *frame)
{
    json_t *object = mutable_json(frame->json);
    const char *key = json_object_iter_key(frame->iter);
    source->pending = json_object_iter_value(frame->iter);
    frame->iter = json_object_iter_next(object, frame->iter);
    if (!frame->iter) source->depth--;
    return (kp_tok){.kind = KP_TOK_STR, .s = key, .n = (uint32_t)strlen(key)};
}

static kp_tok json_next(kp_source *base)
{
    kp_json_source *source = (kp_json_source *)base;
    const json_t *json = source->pending;
    source->pending = NULL;
    if (!json) {
        assert(source->depth > 0);
        kp_json_frame *frame = &source->frames[source->depth - 1];
        if (json_is_object(frame->json)) return next_key(source, frame);
        json = json_array_get(frame->json, frame->index++);
        if (frame->index == json_array_size(frame->json)) source->depth--;
    }
    kp_tok tok = json_token(json);
    if ((tok.kind == KP_TOK_LIST || tok.kind == KP_TOK_MAP) && tok.n) {
        assert(source->depth < KP_JSON_DEPTH_MAX);
        void *iter = tok.kind == KP_TOK_MAP ? json_object_iter(mutable_json(json)) : NULL;
        source->frames[source->depth++] = (kp_json_frame){.json = json, .iter = iter};
    }
    return tok;
}

static size_t json_left(const kp_source *base)
{
    return ((const kp_json_source *)base)->text_bytes;
}

void kp_json_source_init(kp_json_source *source, const json_t *json, size_t text_bytes)
{
    source->base = (kp_source){.next = json_next, .left = json_left, .text = true};
    source->text_bytes = text_bytes;
    source->pending = json;
    source->depth = 0;
}

/* ---- sink ---- */

static void put_quoted(kp_buf *out, const char *text, size_t len)
{
    kp_buf_char(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != 0x7f && c != '"' && c != '\\') continue;
        kp_buf_add(out, text + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\') kp_buf_add(out, (char[]){'\\', (char)c}, 2);
        else if (c == '\n') kp_buf_str(out, "\\n");
        else if (c == '\t') kp_buf_str(out, "\\t");
        else kp_buf_fmt(out, "\\u%04x", c);
    }
    kp_buf_add(out, text + from, len - from);
    kp_buf_char(out, '"');
}

static void put_digits(kp_buf *out, uint64_t n, bool negative)
{
    char digits[24];
    size_t at = sizeof(digits);
    do digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    if (negative) digits[--at] = '-';
    kp_buf_add(out, digits + at, sizeof(digits) - at);
}

static void put_base64(kp_buf *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    kp_buf_char(out, '"');
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)bytes[i] << 16;
        if (n > 1) bits |= (uint32_t)bytes[i + 1] << 8;
        if (n > 2) bits |= bytes[i + 2];
        char four[4];
        for (unsigned d = 0; d < 4; d++) four[d] = d > n ? '=' : digits[bits >> (18 - 6 * d) & 63];
        kp_buf_add(out, four, 4);
    }
    kp_buf_char(out, '"');
}

static void json_put(kp_sink *sink, const kp_tok *tok)
{
    kp_buf *out = sink->out;
    if (sink->comma) kp_buf_char(out, ',');
    sink->comma = tok->kind != KP_TOK_LIST && tok->kind != KP_TOK_MAP;
    switch (tok->kind) {
    case KP_TOK_NULL: kp_buf_str(out, "null"); break;
    case KP_TOK_BOOL: kp_buf_str(out, tok->u ? "true" : "false"); break;
    case KP_TOK_UINT: put_digits(out, tok->u, false); break;
    case KP_TOK_INT: put_digits(out, -(uint64_t)tok->i, true); break;
    case KP_TOK_REAL: kp_buf_str(out, kp_double_text(tok->f).s); break;
    case KP_TOK_STR: put_quoted(out, tok->s, tok->n); break;
    case KP_TOK_BIN: put_base64(out, (const uint8_t *)tok->s, tok->n); break;
    case KP_TOK_LIST: kp_buf_char(out, '['); break;
    case KP_TOK_MAP: kp_buf_char(out, '{'); break;
    }
}

static void json_key(kp_sink *sink, const char *name)
{
    if (sink->comma) kp_buf_char(sink->out, ',');
    put_quoted(sink->out, name, strlen(name));
    kp_buf_char(sink->out, ':');
    sink->comma = false;
}

static void json_close(kp_sink *sink, kp_tok_kind list_or_map)
{
    kp_buf_char(sink->out, list_or_map == KP_TOK_LIST ? ']' : '}');
    sink->comma = true;
}

void kp_json_sink_init(kp_sink *sink, kp_buf *out)
{
    *sink = (kp_sink){
        .put = json_put, .key = json_key, .close = json_close, .text = true, .out = out};
}
