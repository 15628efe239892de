/* SPDX-License-Identifier: MIT
 *
 * The walk that reads a struct from tokens, with the checks that both forms share. */
#include "proto/codec.h"

static kp_status take_struct(kp_reader *r, const kp_schema *schema, void *value, const kp_tok *tok,
                             const kp_path *path);

/* One value of `type` into the member or item at `at`. */
static kp_status take_value(kp_reader *r, const kp_field *f, kp_field_type type, const kp_tok *tok,
                            void *at, const kp_path *path)
{
    if (type == KP_F_STRUCT) return take_struct(r, f->sub, at, tok, path);
    if (type != KP_F_PTR) return kp_take_value(r, f, type, tok, at, path);
    if (tok->kind != KP_TOK_MAP) return kp_take_wrong(r, type, tok, path);
    void *value = kp_arena_alloc(r->arena, 1, f->sub->size);
    if (!value) return kp_nomem(r->err);
    *(void **)at = value;
    return take_struct(r, f->sub, value, tok, path);
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
 * small factor of the message. Where they cannot, an item is not whole: a person who wrote
 * JSON is told which, by reading them one by one into the same place. */
static kp_status new_items(kp_reader *r, const kp_field *f, const kp_tok *tok, void **ret,
                           const kp_path *path)
{
    size_t least = f->type == KP_F_LIST ? least_bytes(f->sub) : f->type == KP_F_MAP ? 2 : 1;
    bool room = tok->n <= r->source->left(r->source) / least;
    *ret = tok->n ? kp_arena_alloc(r->arena, room ? tok->n : 1, kp_field_item_size(f)) : NULL;
    if (!*ret && tok->n) return kp_nomem(r->err);
    for (uint32_t i = 0; !room && f->type == KP_F_LIST && r->source->text && i < tok->n; i++) {
        kp_path item = {.up = path, .index = i};
        kp_tok next = r->source->next(r->source);
        KP_TRY(take_value(r, f, kp_field_item_type(f), &next, *ret, &item));
    }
    if (room) return KP_OK;
    return kp_path_fail(path, KP_INPUT, r->err, "list of %u items does not fit into the message",
                            tok->n);
}

static kp_status take_items(kp_reader *r, const kp_field *f, char *items, uint32_t n,
                            const kp_path *path)
{
    for (uint32_t i = 0; i < n; i++) {
        kp_path item = {.up = path, .index = i};
        kp_tok tok = r->source->next(r->source);
        char *at = items + i * kp_field_item_size(f);
        KP_TRY(take_value(r, f, kp_field_item_type(f), &tok, at, &item));
    }
    return KP_OK;
}

static kp_status take_pairs(kp_reader *r, const kp_field *f, char *items, uint32_t n,
                            const kp_path *path)
{
    const kp_field *key = &f->sub->fields[0], *value = &f->sub->fields[1];
    for (uint32_t i = 0; i < n; i++) {
        char *at = items + i * f->sub->size;
        const char **name = (const char **)(void *)(at + key->offset);
        kp_tok tok = r->source->next(r->source);
        KP_TRY(kp_take_text(r, &tok, name, path));
        kp_path here = {.up = path, .name = *name};
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(*(const char **)(void *)(items + j * f->sub->size + key->offset), *name))
                return kp_path_fail(&here, KP_INPUT, r->err, "key stands twice");
        tok = r->source->next(r->source);
        KP_TRY(take_value(r, value, value->type, &tok, at + value->offset, &here));
    }
    return KP_OK;
}

static kp_status take_list(kp_reader *r, const kp_field *f, const kp_tok *tok, void *value,
                           const kp_path *path)
{
    bool map = f->type == KP_F_MAP;
    char *at = (char *)value + f->offset;
    if (tok->kind != (map ? KP_TOK_MAP : KP_TOK_LIST)) return kp_take_wrong(r, f->type, tok, path);
    if (f->type == KP_F_U32_ARRAY) {
        if (tok->n == f->n_items) return take_items(r, f, at, tok->n, path);
        return kp_path_fail(path, KP_INPUT, r->err, "%u whole numbers expected, %u found",
                            f->n_items, tok->n);
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

static void skip(kp_reader *r)
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
static kp_status check_schema(kp_reader *r, const kp_schema *schema, const kp_path *up)
{
    kp_path here = {.up = up, .name = "schema"}, *path = &here;
    kp_tok tok = r->source->next(r->source);
    if (tok.kind == KP_TOK_STR && tok.n == strlen(schema->name) &&
        !memcmp(tok.s, schema->name, tok.n))
        return KP_OK;
    if (tok.kind != KP_TOK_STR) return kp_take_wrong(r, KP_F_STR, &tok, path);
    return kp_path_fail(path, KP_INPUT, r->err, "this is a %.*s, a %s is needed",
                        tok.n < 60 ? (int)tok.n : 60, tok.s, schema->name);
}

static kp_status take_field(kp_reader *r, const kp_field *f, void *value, const kp_path *path)
{
    kp_tok tok = r->source->next(r->source);
    if (tok.kind == KP_TOK_NULL && f->flags) return KP_OK;
    if (kp_field_is_list(f) || f->type == KP_F_U32_ARRAY) return take_list(r, f, &tok, value, path);
    return take_value(r, f, f->type, &tok, (char *)value + f->offset, path);
}

static kp_status check_missing(kp_reader *r, const kp_schema *schema, uint64_t seen,
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

static kp_status take_struct(kp_reader *r, const kp_schema *schema, void *value, const kp_tok *tok,
                             const kp_path *path)
{
    if (tok->kind != KP_TOK_MAP) return kp_take_wrong(r, KP_F_STRUCT, tok, path);
    bool named = r->source->text && strchr(schema->name, '/');
    uint64_t seen = 0;
    uint32_t next = 0;
    kp_schema_init(schema, value);
    for (uint32_t i = 0; i < tok->n; i++) {
        kp_tok key = r->source->next(r->source);
        if (key.kind != KP_TOK_STR) return kp_take_wrong(r, KP_F_STR, &key, path);
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
    kp_reader r = {.source = source, .arena = arena, .err = err};
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

static kp_status from_json(const kp_schema *schema, const json_t *json, size_t text_bytes,
                           kp_arena *arena, void *ret_value, kp_err *err)
{
    kp_json_source source;
    kp_json_source_init(&source, json, text_bytes);
    return kp_schema_take(schema, &source.base, arena, ret_value, err);
}

kp_status kp_schema_from_json(const kp_schema *schema, const json_t *json, kp_arena *arena,
                              void *ret_value, kp_err *err)
{
    return from_json(schema, json, SIZE_MAX, arena, ret_value, err);
}

kp_status kp_schema_read(const kp_schema *schema, const char *text, size_t len, kp_arena *arena,
                         void *ret_value, kp_err *err)
{
    json_t *json;
    KP_TRY(kp_json_parse(text, len, &json, err));
    kp_status status = from_json(schema, json, len, arena, ret_value, err);
    json_decref(json);
    return status;
}
