/* SPDX-License-Identifier: MIT
 *
 * The walk that reads a struct from tokens, with the checks that both forms share. */
#include "proto/codec.h"
#include <inttypes.h>
#include <math.h>

typedef struct reader {
    kp_source *source;
    kp_arena *arena;
    kp_err *err;
} reader;

static kp_status take_struct(reader *r, const kp_schema *schema, void *value, const kp_tok *tok,
                             const kp_path *path);

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

static kp_status wrong(reader *r, const char *want, const kp_tok *tok, const kp_path *path)
{
    return kp_path_fail(path, KP_INPUT, r->err, "%s expected, %s found", want, found_text(tok).s);
}

/* ---- single values ---- */

/* A whole number from JSON may be written as 8e10. */
static bool whole(const reader *r, const kp_tok *tok, kp_tok *ret)
{
    *ret = *tok;
    if (tok->kind != KP_TOK_REAL || !r->source->text) return tok->kind == KP_TOK_UINT || tok->kind == KP_TOK_INT;
    if (tok->f != floor(tok->f) || fabs(tok->f) > 0x1p53) return false;
    ret->i = (int64_t)tok->f;
    ret->u = (uint64_t)ret->i;
    ret->kind = ret->i < 0 ? KP_TOK_INT : KP_TOK_UINT;
    return true;
}

static bool set_number(const reader *r, kp_field_type type, const kp_tok *tok, void *at)
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

static kp_status take_text(reader *r, const kp_tok *tok, const char **ret, const kp_path *path)
{
    if (tok->kind != KP_TOK_STR) return wrong(r, expected[KP_F_STR], tok, path);
    if (memchr(tok->s, 0, tok->n))
        return kp_path_fail(path, KP_INPUT, r->err, "text has a zero byte");
    *ret = kp_arena_strn(r->arena, tok->s, tok->n);
    return *ret ? KP_OK : kp_nomem(r->err);
}

static kp_status take_enum(reader *r, const kp_field *f, const kp_tok *tok, unsigned *ret,
                           const kp_path *path)
{
    if (tok->kind != KP_TOK_STR) return wrong(r, expected[KP_F_ENUM], tok, path);
    for (uint32_t i = 0; i < f->n_names; i++) {
        if (!f->names[i] || strlen(f->names[i]) != tok->n || memcmp(f->names[i], tok->s, tok->n))
            continue;
        *ret = i;
        return KP_OK;
    }
    char want[200] = "one of";
    for (uint32_t i = 0; i < f->n_names; i++) {
        size_t len = strlen(want);
        if (f->names[i]) snprintf(want + len, sizeof(want) - len, "%s %s", i ? "," : "", f->names[i]);
    }
    return wrong(r, want, tok, path);
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

static kp_status take_bytes(reader *r, const kp_tok *tok, kp_bytes *ret, const kp_path *path)
{
    bool text = r->source->text;
    if (tok->kind != (text ? KP_TOK_STR : KP_TOK_BIN) || (text && tok->n % 4))
        return wrong(r, text ? "base64 text" : expected[KP_F_BYTES], tok, path);
    uint8_t *bytes = kp_arena_alloc(r->arena, tok->n, 1);
    if (!bytes) return kp_nomem(r->err);
    *ret = (kp_bytes){.data = bytes, .len = tok->n};
    if (text) return base64(tok->s, tok->n, bytes, &ret->len) ? KP_OK : wrong(r, "base64 text", tok, path);
    if (tok->n) memcpy(bytes, tok->s, tok->n);
    return KP_OK;
}

/* ---- shapes ---- */

static kp_status take_dim(reader *r, kp_shape *shape, const kp_path *path)
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

static kp_status take_dims(reader *r, const kp_tok *tok, kp_shape *ret, const kp_path *path)
{
    uint32_t extra = !r->source->text;
    kp_shape shape = {0};
    if (tok->kind != KP_TOK_LIST || tok->n < extra || tok->n - extra > KP_RANK_MAX)
        return wrong(r, expected[KP_F_DIMS], tok, path);
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

/* One value of `type` into the member or item at `at`. */
static kp_status take_value(reader *r, const kp_field *f, kp_field_type type, const kp_tok *tok,
                            void *at, const kp_path *path)
{
    switch (type) {
    case KP_F_BOOL:
        if (tok->kind != KP_TOK_BOOL) break;
        *(bool *)at = tok->u;
        return KP_OK;
    case KP_F_STR: return take_text(r, tok, at, path);
    case KP_F_ENUM: return take_enum(r, f, tok, at, path);
    case KP_F_DIMS: return take_dims(r, tok, at, path);
    case KP_F_BYTES: return take_bytes(r, tok, at, path);
    case KP_F_STRUCT: return take_struct(r, f->sub, at, tok, path);
    case KP_F_PTR: {
        if (tok->kind != KP_TOK_MAP) break;
        void *value = kp_arena_alloc(r->arena, 1, f->sub->size);
        if (!value) return kp_nomem(r->err);
        *(void **)at = value;
        return take_struct(r, f->sub, value, tok, path);
    }
    default:
        if (!set_number(r, type, tok, at)) break;
        return KP_OK;
    }
    return wrong(r, expected[type], tok, path);
}

/* ---- lists ---- */

/* Fewest bytes that a struct takes in MessagePack: its map, required keys and a byte a value. */
static size_t least_bytes(const kp_schema *schema)
{
    size_t n = 1;
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *f = &schema->fields[i];
        if (f->flags) continue;
        bool within = f->type == KP_F_STRUCT || f->type == KP_F_PTR;
        n += 1 + strlen(f->name) + (within ? least_bytes(f->sub) : 1);
    }
    return n;
}

/* A count is believed only if the bytes that follow can hold so many items: memory stays within a
 * small factor of the message. */
static kp_status new_items(reader *r, const kp_field *f, const kp_tok *tok, void **ret,
                           const kp_path *path)
{
    size_t least = f->type == KP_F_LIST ? least_bytes(f->sub) : f->type == KP_F_MAP ? 2 : 1;
    if (tok->n > r->source->left(r->source) / least)
        return kp_path_fail(path, KP_INPUT, r->err, "list of %u items does not fit into the message",
                            tok->n);
    *ret = tok->n ? kp_arena_alloc(r->arena, tok->n, kp_field_item_size(f)) : NULL;
    return *ret || !tok->n ? KP_OK : kp_nomem(r->err);
}

static kp_status take_items(reader *r, const kp_field *f, char *items, uint32_t n,
                            const kp_path *path)
{
    static const kp_field_type types[KP_F_COUNT] = {
        [KP_F_LIST] = KP_F_STRUCT, [KP_F_STRS] = KP_F_STR,     [KP_F_U32S] = KP_F_U32,
        [KP_F_DIMSES] = KP_F_DIMS, [KP_F_U32_ARRAY] = KP_F_U32,
    };
    for (uint32_t i = 0; i < n; i++) {
        kp_path item = {.up = path, .index = i};
        kp_tok tok = r->source->next(r->source);
        KP_TRY(take_value(r, f, types[f->type], &tok, items + i * kp_field_item_size(f), &item));
    }
    return KP_OK;
}

static kp_status take_pairs(reader *r, const kp_field *f, char *items, uint32_t n,
                            const kp_path *path)
{
    const kp_field *key = &f->sub->fields[0], *value = &f->sub->fields[1];
    for (uint32_t i = 0; i < n; i++) {
        char *at = items + i * f->sub->size;
        const char **name = (const char **)(void *)(at + key->offset);
        kp_tok tok = r->source->next(r->source);
        KP_TRY(take_text(r, &tok, name, path));
        kp_path here = {.up = path, .name = *name};
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(*(const char **)(void *)(items + j * f->sub->size + key->offset), *name))
                return kp_path_fail(&here, KP_INPUT, r->err, "key stands twice");
        tok = r->source->next(r->source);
        KP_TRY(take_value(r, value, value->type, &tok, at + value->offset, &here));
    }
    return KP_OK;
}

static kp_status take_list(reader *r, const kp_field *f, const kp_tok *tok, void *value,
                           const kp_path *path)
{
    bool map = f->type == KP_F_MAP;
    char *at = (char *)value + f->offset;
    if (tok->kind != (map ? KP_TOK_MAP : KP_TOK_LIST)) return wrong(r, expected[f->type], tok, path);
    if (f->type == KP_F_U32_ARRAY) {
        if (tok->n == f->n_items) return take_items(r, f, at, tok->n, path);
        return kp_path_fail(path, KP_INPUT, r->err, "%u whole numbers expected, %u found", f->n_items,
                            tok->n);
    }
    if (map && tok->n > KP_MAP_ITEMS_MAX)
        return kp_path_fail(path, KP_INPUT, r->err, "more than %d keys", KP_MAP_ITEMS_MAX);
    void *items;
    KP_TRY(new_items(r, f, tok, &items, path));
    KP_TRY(map ? take_pairs(r, f, items, tok->n, path) : take_items(r, f, items, tok->n, path));
    memcpy(at, &items, sizeof(items));
    memcpy((char *)value + f->count_offset, &tok->n, sizeof(tok->n));
    return KP_OK;
}

/* ---- structs ---- */

static void skip(reader *r)
{
    for (uint64_t owed = 1; owed; owed--) {
        kp_tok tok = r->source->next(r->source);
        if (tok.kind == KP_TOK_LIST) owed += tok.n;
        else if (tok.kind == KP_TOK_MAP) owed += 2ull * tok.n;
    }
}

/* The number of the field with this name; n_fields if there is none. Fields mostly come in the
 * table's order, so the search starts behind the last one. */
static uint32_t find_field(const kp_schema *schema, const kp_tok *key, uint32_t from)
{
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        uint32_t at = from + i < schema->n_fields ? from + i : from + i - schema->n_fields;
        const char *name = schema->fields[at].name;
        if (!strncmp(name, key->s, key->n) && !name[key->n]) return at;
    }
    return schema->n_fields;
}

/* The key "schema": the document must be what is wanted. */
static kp_status check_schema(reader *r, const kp_schema *schema, const kp_path *path)
{
    kp_tok tok = r->source->next(r->source);
    if (tok.kind == KP_TOK_STR && tok.n == strlen(schema->name) &&
        !memcmp(tok.s, schema->name, tok.n))
        return KP_OK;
    return kp_path_fail(path, KP_INPUT, r->err, "this is a %s, a '%s' is needed", found_text(&tok).s,
                        schema->name);
}

static kp_status take_field(reader *r, const kp_field *f, void *value, const kp_path *path)
{
    kp_tok tok = r->source->next(r->source);
    if (tok.kind == KP_TOK_NULL && f->flags) return KP_OK;
    if (kp_field_is_list(f) || f->type == KP_F_U32_ARRAY) return take_list(r, f, &tok, value, path);
    return take_value(r, f, f->type, &tok, (char *)value + f->offset, path);
}

static kp_status check_missing(reader *r, const kp_schema *schema, uint64_t seen,
                               const kp_path *path)
{
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *f = &schema->fields[i];
        if ((seen >> i & 1) || (f->flags & KP_FIELD_OPTIONAL)) continue;
        kp_path here = {.up = path, .name = f->name};
        return kp_path_fail(&here, KP_INPUT, r->err, "field is missing");
    }
    return KP_OK;
}

static kp_status take_struct(reader *r, const kp_schema *schema, void *value, const kp_tok *tok,
                             const kp_path *path)
{
    if (tok->kind != KP_TOK_MAP) return wrong(r, "an object", tok, path);
    bool named = r->source->text && strchr(schema->name, '/');
    uint64_t seen = 0;
    uint32_t next = 0;
    kp_schema_init(schema, value);
    for (uint32_t i = 0; i < tok->n; i++) {
        kp_tok key = r->source->next(r->source);
        if (key.kind != KP_TOK_STR) return wrong(r, "a key", &key, path);
        if (named && key.n == 6 && !memcmp(key.s, "schema", 6)) {
            KP_TRY(check_schema(r, schema, path));
            continue;
        }
        uint32_t at = find_field(schema, &key, next);
        if (at == schema->n_fields) {
            skip(r);
            continue;
        }
        const kp_field *f = &schema->fields[at];
        kp_path here = {.up = path, .name = f->name};
        if (seen >> at & 1) return kp_path_fail(&here, KP_INPUT, r->err, "field stands twice");
        seen |= (uint64_t)1 << at;
        KP_TRY(take_field(r, f, value, &here));
        next = at + 1;
    }
    return check_missing(r, schema, seen, path);
}

kp_status kp_schema_take(const kp_schema *schema, kp_source *source, kp_arena *arena,
                         void *ret_value, kp_err *err)
{
    reader r = {.source = source, .arena = arena, .err = err};
    void *value = kp_arena_alloc(arena, 1, schema->size);
    if (!value) return kp_nomem(err);
    kp_tok tok = source->next(source);
    KP_TRY(take_struct(&r, schema, value, &tok, NULL));
    memcpy(ret_value, value, schema->size);
    return KP_OK;
}

kp_status kp_schema_unpack(const kp_schema *schema, const void *bytes, size_t len, kp_arena *arena,
                           void *ret_value, kp_err *err)
{
    kp_mpack_source source;
    KP_TRY(kp_mpack_check(bytes, len, err));
    kp_mpack_source_init(&source, bytes, len);
    return kp_schema_take(schema, &source.base, arena, ret_value, err);
}

kp_status kp_schema_from_json(const kp_schema *schema, const json_t *json, kp_arena *arena,
                              void *ret_value, kp_err *err)
{
    kp_json_source source;
    kp_json_source_init(&source, json);
    return kp_schema_take(schema, &source.base, arena, ret_value, err);
}

kp_status kp_schema_read(const kp_schema *schema, const char *text, size_t len, kp_arena *arena,
                         void *ret_value, kp_err *err)
{
    json_t *json;
    KP_TRY(kp_json_parse(text, len, &json, err));
    kp_status status = kp_schema_from_json(schema, json, arena, ret_value, err);
    json_decref(json);
    return status;
}
