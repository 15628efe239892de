/* SPDX-License-Identifier: MIT
 *
 * The walk that writes a struct, to MessagePack or JSON. */
#include "proto/codec.h"
#include <inttypes.h>
#include <math.h>

typedef struct writer {
    kp_sink *sink;
    kp_err *err;
} writer;

static kp_status put_struct(writer *w, const kp_schema *schema, const void *value,
                            const kp_path *path);

/* Where the bad byte of a text is: the length of its valid front. */
static size_t valid_front(const char *text, size_t len)
{
    size_t i = 0;
    for (size_t n = 1; i < len && n; i += n) n = kp_utf8_len(text + i, len - i);
    return i;
}

/* Text with U+FFFD for what is not UTF-8. Most texts are valid and go out as they are. */
static kp_status put_text(writer *w, const char *text, const kp_path *path)
{
    size_t len = strlen(text), ok = valid_front(text, len);
    if (len > UINT32_MAX / 4)
        return kp_path_fail(path, KP_INTERNAL, w->err, "text of 1 GiB or more");
    if (ok == len) {
        w->sink->put(w->sink, &(kp_tok){.kind = KP_TOK_STR, .s = text, .n = (uint32_t)len});
        return KP_OK;
    }
    kp_buf fixed;
    kp_buf_init(&fixed, 0);
    for (size_t i = 0; i < len; i += ok < len - i ? ok + 1 : ok) {
        ok = valid_front(text + i, len - i);
        kp_buf_add(&fixed, text + i, ok);
        if (ok < len - i) kp_buf_str(&fixed, "\xef\xbf\xbd");
    }
    kp_status status = kp_buf_check(&fixed, w->err);
    if (status == KP_OK)
        w->sink->put(w->sink,
                     &(kp_tok){.kind = KP_TOK_STR, .s = fixed.data, .n = (uint32_t)fixed.len});
    kp_buf_release(&fixed);
    return status;
}

static void put_int(kp_sink *sink, int64_t n)
{
    sink->put(sink, &(kp_tok){.kind = n < 0 ? KP_TOK_INT : KP_TOK_UINT, .i = n, .u = (uint64_t)n});
}

static void put_dims(kp_sink *sink, kp_shape shape)
{
    sink->put(sink, &(kp_tok){.kind = KP_TOK_LIST, .n = shape.rank + !sink->text});
    if (!sink->text) put_int(sink, shape.per_sample);
    for (unsigned i = 0; i < shape.rank; i++) {
        bool hidden = shape.dim[i] == KP_DIM_OPEN || (shape.per_sample >> i & 1);
        if (sink->text && hidden) sink->put(sink, &(kp_tok){.kind = KP_TOK_NULL});
        else put_int(sink, shape.dim[i]);
    }
    sink->close(sink, KP_TOK_LIST);
}

/* One member that is present; `at` points to it. */
static kp_status put_value(writer *w, const kp_field *f, kp_field_type type, const void *at,
                           const kp_path *path)
{
    kp_tok tok = {0};
    switch (type) {
    case KP_F_BOOL: tok = (kp_tok){.kind = KP_TOK_BOOL, .u = *(const bool *)at}; break;
    case KP_F_U32: tok = (kp_tok){.kind = KP_TOK_UINT, .u = *(const uint32_t *)at}; break;
    case KP_F_U64: tok = (kp_tok){.kind = KP_TOK_UINT, .u = *(const uint64_t *)at}; break;
    case KP_F_I64: put_int(w->sink, *(const int64_t *)at); return KP_OK;
    case KP_F_F64: tok = (kp_tok){.kind = KP_TOK_REAL, .f = *(const double *)at}; break;
    case KP_F_STR: return put_text(w, *(const char *const *)at, path);
    case KP_F_ENUM: return put_text(w, f->names[*(const unsigned *)at], path);
    case KP_F_DIMS: put_dims(w->sink, *(const kp_shape *)at); return KP_OK;
    case KP_F_BYTES:
        tok = (kp_tok){.kind = KP_TOK_BIN,
                       .s = (const char *)((const kp_bytes *)at)->data,
                       .n = ((const kp_bytes *)at)->len};
        break;
    case KP_F_STRUCT: return put_struct(w, f->sub, at, path);
    case KP_F_PTR: return put_struct(w, f->sub, *(const void *const *)at, path);
    default: return kp_path_fail(path, KP_INTERNAL, w->err, "field of an unknown type");
    }
    if (type == KP_F_F64 && !isfinite(tok.f))
        return kp_path_fail(path, KP_INTERNAL, w->err, "number is not finite");
    w->sink->put(w->sink, &tok);
    return KP_OK;
}

static kp_status put_list(writer *w, const kp_field *f, const void *items, uint32_t n,
                          const kp_path *path)
{
    w->sink->put(w->sink, &(kp_tok){.kind = KP_TOK_LIST, .n = n});
    for (uint32_t i = 0; i < n; i++) {
        kp_path item = {.up = path, .index = i};
        const char *at = (const char *)items + i * kp_field_item_size(f);
        if (f->type == KP_F_STRS && !*(const char *const *)(const void *)at)
            return kp_path_fail(&item, KP_INTERNAL, w->err, "text is not set");
        KP_TRY(put_value(w, f, kp_field_item_type(f), at, &item));
    }
    w->sink->close(w->sink, KP_TOK_LIST);
    return KP_OK;
}

/* {first field: second field, ...} of each item. */
static kp_status put_map(writer *w, const kp_field *f, const void *items, uint32_t n,
                         const kp_path *path)
{
    const kp_field *name = &f->sub->fields[0], *value = &f->sub->fields[1];
    w->sink->put(w->sink, &(kp_tok){.kind = KP_TOK_MAP, .n = n});
    for (uint32_t i = 0; i < n; i++) {
        kp_path item = {.up = path, .index = i};
        const char *at = (const char *)items + i * f->sub->size;
        const char *key = *(const char *const *)(const void *)(at + name->offset);
        if (!key || kp_field_absent(value, at + value->offset))
            return kp_path_fail(&item, KP_INTERNAL, w->err, "pair is not set");
        w->sink->key(w->sink, key);
        KP_TRY(put_value(w, value, value->type, at + value->offset, &item));
    }
    w->sink->close(w->sink, KP_TOK_MAP);
    return KP_OK;
}

static kp_status put_field(writer *w, const kp_field *f, const void *value, const kp_path *path)
{
    const char *at = (const char *)value + f->offset;
    uint32_t n = kp_field_count(f, value);
    if (f->type == KP_F_U32_ARRAY) return put_list(w, f, at, n, path);
    if (!kp_field_is_list(f)) return put_value(w, f, f->type, at, path);
    const void *items = *(const void *const *)(const void *)at;
    return f->type == KP_F_MAP ? put_map(w, f, items, n, path) : put_list(w, f, items, n, path);
}

static bool absent(const kp_field *f, const void *value)
{
    if (kp_field_is_list(f)) return f->flags && !kp_field_count(f, value);
    return kp_field_absent(f, (const char *)value + f->offset);
}

static kp_status put_struct(writer *w, const kp_schema *schema, const void *value,
                            const kp_path *path)
{
    bool named = w->sink->text && strchr(schema->name, '/');
    kp_tok map = {.kind = KP_TOK_MAP, .n = named};
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *f = &schema->fields[i];
        map.n += (f->flags & KP_FIELD_NULLABLE) || !f->flags || !absent(f, value);
    }
    w->sink->put(w->sink, &map);
    if (named) {
        w->sink->key(w->sink, "schema");
        KP_TRY(put_text(w, schema->name, path));
    }
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *f = &schema->fields[i];
        kp_path here = {.up = path, .name = f->name};
        bool gone = absent(f, value);
        if (gone && !f->flags)
            return kp_path_fail(&here, KP_INTERNAL, w->err, "value is not set");
        if (gone && !(f->flags & KP_FIELD_NULLABLE)) continue;
        w->sink->key(w->sink, f->name);
        if (gone) w->sink->put(w->sink, &(kp_tok){.kind = KP_TOK_NULL});
        else KP_TRY(put_field(w, f, value, &here));
    }
    w->sink->close(w->sink, KP_TOK_MAP);
    return KP_OK;
}

kp_status kp_schema_write(const kp_schema *schema, const void *value, kp_sink *sink, kp_err *err)
{
    writer w = {.sink = sink, .err = err};
    KP_TRY(put_struct(&w, schema, value, NULL));
    return kp_buf_check(sink->out, err);
}

kp_status kp_schema_pack(const kp_schema *schema, const void *value, kp_buf *out, kp_err *err)
{
    kp_sink sink;
    kp_mpack_sink_init(&sink, out);
    return kp_schema_write(schema, value, &sink, err);
}

kp_status kp_schema_print(const kp_schema *schema, const void *value, kp_buf *out, kp_err *err)
{
    kp_sink sink;
    kp_json_sink_init(&sink, out);
    return kp_schema_write(schema, value, &sink, err);
}
