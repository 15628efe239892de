/* SPDX-License-Identifier: MIT
 *
 * Single values from tokens: what is accepted for each type, and what is said of the rest. */
#include "proto/codec.h"
#include <inttypes.h>
#include <math.h>

/* ---- wrong values ---- */

static const char *const expected[KP_F_COUNT] = {
    [KP_F_BOOL] = "true or false",
    [KP_F_U32] = "a whole number from 0 to 4294967294",
    [KP_F_U64] = "a whole number of 0 or more",
    [KP_F_I64] = "a whole number",
    [KP_F_F64] = "a finite number",
    [KP_F_STR] = "text",
    [KP_F_ENUM] = "a name",
    [KP_F_DIMS] = "a shape (a list of at most 8 sizes)",
    [KP_F_BYTES] = "bytes",
    [KP_F_STRUCT] = "an object",
    [KP_F_PTR] = "an object",
    [KP_F_LIST] = "a list",
    [KP_F_STRS] = "a list of texts",
    [KP_F_U32S] = "a list of whole numbers",
    [KP_F_DIMSES] = "a list of shapes",
    [KP_F_MAP] = "an object",
    [KP_F_U32_ARRAY] = "a list of whole numbers",
};

typedef struct found {
    char s[64];
} found;

static found found_text(const kp_tok *tok)
{
    found f = {""};
    switch (tok->kind) {
    case KP_TOK_NULL: return (found){"null"};
    case KP_TOK_LIST: return (found){"a list"};
    case KP_TOK_MAP: return (found){"an object"};
    case KP_TOK_BIN: return (found){"bytes"};
    case KP_TOK_BOOL: return tok->u ? (found){"true"} : (found){"false"};
    case KP_TOK_UINT: snprintf(f.s, sizeof(f.s), "%" PRIu64, tok->u); break;
    case KP_TOK_INT: snprintf(f.s, sizeof(f.s), "%" PRId64, tok->i); break;
    case KP_TOK_REAL: snprintf(f.s, sizeof(f.s), "%g", tok->f); break;
    case KP_TOK_STR: {
        size_t n = tok->n < 40 ? tok->n : 40;
        while (n && !kp_text_ok(tok->s, n)) n--;
        snprintf(f.s, sizeof(f.s), "'%.*s%s'", (int)n, tok->s, n < tok->n ? "..." : "");
        break;
    }
    }
    return f;
}

static kp_status wrong(kp_reader *r, const char *want, const kp_tok *tok, const kp_path *path)
{
    return kp_path_fail(path, KP_INPUT, r->err, "%s expected, %s found", want, found_text(tok).s);
}

kp_status kp_take_wrong(kp_reader *r, kp_field_type type, const kp_tok *tok, const kp_path *path)
{
    return wrong(r, expected[type], tok, path);
}

/* ---- single values ---- */

/* A whole number from JSON may be written as 8e10. */
static bool whole(const kp_reader *r, const kp_tok *tok, kp_tok *ret)
{
    *ret = *tok;
    if (tok->kind == KP_TOK_UINT || tok->kind == KP_TOK_INT) return true;
    if (tok->kind != KP_TOK_REAL || !r->source->text) return false;
    if (tok->f != floor(tok->f) || fabs(tok->f) >= 0x1p63) return false;
    ret->i = (int64_t)tok->f;
    ret->u = (uint64_t)ret->i;
    ret->kind = ret->i < 0 ? KP_TOK_INT : KP_TOK_UINT;
    return true;
}

static bool set_number(const kp_reader *r, kp_field_type type, const kp_tok *tok, void *at)
{
    kp_tok n;
    if (type == KP_F_F64) {
        double f = tok->kind == KP_TOK_REAL   ? tok->f
                   : tok->kind == KP_TOK_UINT ? (double)tok->u
                   : tok->kind == KP_TOK_INT  ? (double)tok->i
                                              : NAN;
        *(double *)at = f;
        return isfinite(f);
    }
    if (!whole(r, tok, &n)) return false;
    bool negative = n.kind == KP_TOK_INT;
    switch (type) {
    case KP_F_U32:
        if (negative || n.u >= UINT32_MAX) return false;
        *(uint32_t *)at = (uint32_t)n.u;
        return true;
    case KP_F_U64:
        if (negative || n.u == UINT64_MAX) return false;
        *(uint64_t *)at = n.u;
        return true;
    default:
        if (negative ? n.i == INT64_MIN : n.u > INT64_MAX) return false;
        *(int64_t *)at = negative ? n.i : (int64_t)n.u;
        return true;
    }
}

kp_status kp_take_text(kp_reader *r, const kp_tok *tok, const char **ret, const kp_path *path)
{
    if (tok->kind != KP_TOK_STR) return kp_take_wrong(r, KP_F_STR, tok, path);
    if (memchr(tok->s, 0, tok->n))
        return kp_path_fail(path, KP_INPUT, r->err, "text has a zero byte");
    *ret = kp_arena_strn(r->arena, tok->s, tok->n);
    return *ret ? KP_OK : kp_nomem(r->err);
}

/* Few names are listed; of many, the nearest is the hint. */
static kp_status wrong_name(kp_reader *r, const kp_field *f, const kp_tok *tok, const kp_path *path)
{
    char want[160] = "one of", name[64];
    for (uint32_t i = 0; i < f->n_names && f->n_names <= 10; i++) {
        size_t len = strlen(want);
        if (f->names[i])
            snprintf(want + len, sizeof(want) - len, "%s%s", len > 6 ? ", " : " ", f->names[i]);
    }
    wrong(r, f->n_names <= 10 ? want : "a known name", tok, path);
    snprintf(name, sizeof(name), "%.*s", tok->n < 60 ? (int)tok->n : 60, tok->s);
    const char *near = kp_nearest(name, f->names, f->n_names);
    if (near) kp_hint(r->err, "did you mean '%s'", near);
    return KP_INPUT;
}

static kp_status take_enum(kp_reader *r, const kp_field *f, const kp_tok *tok, unsigned *ret,
                           const kp_path *path)
{
    if (tok->kind != KP_TOK_STR) return kp_take_wrong(r, KP_F_ENUM, tok, path);
    for (uint32_t i = 0; i < f->n_names; i++) {
        if (!f->names[i] || strlen(f->names[i]) != tok->n || memcmp(f->names[i], tok->s, tok->n))
            continue;
        *ret = i;
        return KP_OK;
    }
    return wrong_name(r, f, tok, path);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict: whole groups of four, padding only at the end. */
static bool base64(const char *text, uint32_t len, uint8_t *bytes, uint32_t *ret_len)
{
    uint32_t pad = len && text[len - 1] == '=' ? 1 + (text[len - 2] == '=') : 0, n = 0;
    for (uint32_t i = 0; i < len; i += 4) {
        uint32_t bits = 0;
        for (uint32_t d = i; d < i + 4; d++) {
            int digit = d >= len - pad ? 0 : base64_digit(text[d]);
            if (digit < 0) return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        uint32_t out = i + 4 < len ? 3 : 3 - pad;
        for (uint32_t d = 0; d < out; d++) bytes[n++] = (uint8_t)(bits >> (16 - 8 * d));
    }
    *ret_len = n;
    return true;
}

static kp_status take_bytes(kp_reader *r, const kp_tok *tok, kp_bytes *ret, const kp_path *path)
{
    bool text = r->source->text;
    if (tok->kind != (text ? KP_TOK_STR : KP_TOK_BIN) || (text && tok->n % 4))
        return wrong(r, text ? "base64 text" : "bytes", tok, path);
    uint8_t *bytes = kp_arena_alloc(r->arena, tok->n, 1);
    if (!bytes) return kp_nomem(r->err);
    *ret = (kp_bytes){.data = bytes, .len = tok->n};
    if (tok->n && !text) memcpy(bytes, tok->s, tok->n);
    if (text && !base64(tok->s, tok->n, bytes, &ret->len))
        return wrong(r, "base64 text", tok, path);
    return KP_OK;
}

/* ---- shapes ---- */

static kp_status take_dim(kp_reader *r, kp_shape *shape, const kp_path *path)
{
    kp_tok tok = r->source->next(r->source), n;
    unsigned axis = shape->rank++;
    kp_path here = {.up = path, .index = axis};
    int64_t dim = KP_DIM_OPEN;
    bool open = r->source->text && tok.kind == KP_TOK_NULL;
    if (open && !axis) {
        shape->per_sample = 1;
        dim = 1;
    } else if (!open) {
        if (!whole(r, &tok, &n)) return wrong(r, "a size", &tok, &here);
        bool marks_open = !r->source->text && n.kind == KP_TOK_INT && n.i == KP_DIM_OPEN;
        if (!marks_open && (n.kind == KP_TOK_INT || n.u > (uint64_t)KP_DIM_MAX))
            return wrong(r, "a size from 0 to 2^40", &tok, &here);
        dim = marks_open ? KP_DIM_OPEN : (int64_t)n.u;
    }
    shape->dim[axis] = dim;
    return KP_OK;
}

static kp_status take_dims(kp_reader *r, const kp_tok *tok, kp_shape *ret, const kp_path *path)
{
    uint32_t extra = !r->source->text;
    kp_shape shape = {0};
    if (tok->kind != KP_TOK_LIST || tok->n < extra || tok->n - extra > KP_RANK_MAX)
        return kp_take_wrong(r, KP_F_DIMS, tok, path);
    if (extra) {
        kp_tok mask = r->source->next(r->source);
        if (mask.kind != KP_TOK_UINT || mask.u >> (tok->n - 1))
            return wrong(r, "the mask of per-sample axes", &mask, path);
        shape.per_sample = (uint8_t)mask.u;
    }
    for (uint32_t i = extra; i < tok->n; i++) KP_TRY(take_dim(r, &shape, path));
    *ret = shape;
    return KP_OK;
}

kp_status kp_take_value(kp_reader *r, const kp_field *f, kp_field_type type, const kp_tok *tok,
                        void *at, const kp_path *path)
{
    switch (type) {
    case KP_F_BOOL:
        if (tok->kind != KP_TOK_BOOL) break;
        *(bool *)at = tok->u;
        return KP_OK;
    case KP_F_STR: return kp_take_text(r, tok, at, path);
    case KP_F_ENUM: return take_enum(r, f, tok, at, path);
    case KP_F_DIMS: return take_dims(r, tok, at, path);
    case KP_F_BYTES: return take_bytes(r, tok, at, path);
    case KP_F_U32:
    case KP_F_U64:
    case KP_F_I64:
    case KP_F_F64:
        if (!set_number(r, type, tok, at)) break;
        return KP_OK;
    default: break;
    }
    return kp_take_wrong(r, type, tok, path);
}
