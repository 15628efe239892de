/* SPDX-License-Identifier: MIT
 *
 * What the engine knows of a field without reading or writing it: absent values, equality, docs,
 * paths. The walks are in schema_write.c and schema_read.c, the forms in mpack.c and
 * json_codec.c. */
#include "proto/codec.h"
#include <math.h>

/* Bytes of a member, or of one item of a list (of structs: the schema says). */
static const uint8_t sizes[KP_F_COUNT] = {
    [KP_F_BOOL] = sizeof(bool),       [KP_F_U32] = sizeof(uint32_t),
    [KP_F_U64] = sizeof(uint64_t),    [KP_F_I64] = sizeof(int64_t),
    [KP_F_F64] = sizeof(double),      [KP_F_STR] = sizeof(char *),
    [KP_F_ENUM] = sizeof(int),        [KP_F_DIMS] = sizeof(kp_shape),
    [KP_F_BYTES] = sizeof(kp_bytes),  [KP_F_PTR] = sizeof(void *),
    [KP_F_STRS] = sizeof(char *),     [KP_F_U32S] = sizeof(uint32_t),
    [KP_F_DIMSES] = sizeof(kp_shape), [KP_F_U32_ARRAY] = sizeof(uint32_t),
};

bool kp_field_is_list(const kp_field *field)
{
    switch (field->type) {
    case KP_F_LIST:
    case KP_F_STRS:
    case KP_F_U32S:
    case KP_F_DIMSES:
    case KP_F_MAP: return true;
    default: return false;
    }
}

size_t kp_field_item_size(const kp_field *field)
{
    return field->type == KP_F_LIST || field->type == KP_F_MAP ? field->sub->size
                                                               : sizes[field->type];
}

kp_field_type kp_field_item_type(const kp_field *field)
{
    switch (field->type) {
    case KP_F_STRS: return KP_F_STR;
    case KP_F_DIMSES: return KP_F_DIMS;
    case KP_F_U32S:
    case KP_F_U32_ARRAY: return KP_F_U32;
    default: return KP_F_STRUCT;
    }
}

uint32_t kp_field_count(const kp_field *field, const void *value)
{
    uint32_t n = field->n_items;
    if (kp_field_is_list(field))
        memcpy(&n, (const char *)value + field->count_offset, sizeof(n));
    return n;
}

/* ---- absent values ---- */

bool kp_field_absent(const kp_field *field, const void *at)
{
    switch (field->type) {
    case KP_F_U32: return *(const uint32_t *)at == UINT32_MAX;
    case KP_F_U64: return *(const uint64_t *)at == UINT64_MAX;
    case KP_F_I64: return *(const int64_t *)at == INT64_MIN;
    case KP_F_F64: return isnan(*(const double *)at);
    case KP_F_STR:
    case KP_F_PTR: return !*(const void *const *)at;
    case KP_F_ENUM: {
        unsigned n = *(const unsigned *)at;
        return n >= field->n_names || !field->names[n];
    }
    case KP_F_BYTES: return field->flags && !((const kp_bytes *)at)->data;
    default: return false;
    }
}

void kp_field_clear(const kp_field *field, void *at)
{
    switch (field->type) {
    case KP_F_U32: *(uint32_t *)at = UINT32_MAX; break;
    case KP_F_U64: *(uint64_t *)at = UINT64_MAX; break;
    case KP_F_I64: *(int64_t *)at = INT64_MIN; break;
    case KP_F_F64: *(double *)at = NAN; break;
    case KP_F_STRUCT: kp_schema_init(field->sub, at); break;
    default: break; /* zero already */
    }
}

void kp_schema_init(const kp_schema *schema, void *value)
{
    memset(value, 0, schema->size);
    for (uint32_t i = 0; i < schema->n_fields; i++)
        kp_field_clear(&schema->fields[i], (char *)value + schema->fields[i].offset);
}

/* ---- equality ---- */

static bool equal_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static bool equal_bytes(kp_bytes a, kp_bytes b)
{
    return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

static bool equal_real(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* One member, or one item of a list of `type`. */
static bool equal_value(const kp_field *f, kp_field_type type, const void *a, const void *b)
{
    switch (type) {
    case KP_F_F64: return equal_real(*(const double *)a, *(const double *)b);
    case KP_F_STR:
    case KP_F_STRS: return equal_text(*(const char *const *)a, *(const char *const *)b);
    case KP_F_DIMS:
    case KP_F_DIMSES: return kp_shape_equal(*(const kp_shape *)a, *(const kp_shape *)b);
    case KP_F_BYTES: return equal_bytes(*(const kp_bytes *)a, *(const kp_bytes *)b);
    case KP_F_STRUCT:
    case KP_F_LIST:
    case KP_F_MAP: return kp_schema_equal(f->sub, a, b);
    case KP_F_PTR: {
        const void *pa = *(const void *const *)a, *pb = *(const void *const *)b;
        return pa && pb ? kp_schema_equal(f->sub, pa, pb) : pa == pb;
    }
    default: return !memcmp(a, b, sizes[type]);
    }
}

static bool equal_field(const kp_field *f, const void *a, const void *b)
{
    const char *at_a = (const char *)a + f->offset, *at_b = (const char *)b + f->offset;
    uint32_t n = kp_field_count(f, a);
    if (f->type == KP_F_U32_ARRAY) return !memcmp(at_a, at_b, n * sizeof(uint32_t));
    if (!kp_field_is_list(f)) return equal_value(f, f->type, at_a, at_b);
    if (n != kp_field_count(f, b)) return false;
    const char *items_a = *(const char *const *)(const void *)at_a;
    const char *items_b = *(const char *const *)(const void *)at_b;
    size_t size = kp_field_item_size(f);
    for (uint32_t i = 0; i < n; i++)
        if (!equal_value(f, f->type, items_a + i * size, items_b + i * size)) return false;
    return true;
}

bool kp_schema_equal(const kp_schema *schema, const void *a, const void *b)
{
    for (uint32_t i = 0; i < schema->n_fields; i++)
        if (!equal_field(&schema->fields[i], a, b)) return false;
    return true;
}

/* ---- paths ---- */

/* The parts from the outermost on; what does not fit is cut at the end. */
static void path_text(const kp_path *path, char *text, size_t size)
{
    if (!path) return;
    path_text(path->up, text, size);
    size_t len = strlen(text);
    if (!path->name) snprintf(text + len, size - len, "[%u]", path->index);
    else snprintf(text + len, size - len, "%s%s", len ? "." : "", path->name);
}

kp_status kp_path_fail(const kp_path *path, kp_status code, kp_err *err, const char *fmt, ...)
{
    char where[200] = "", msg[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof(msg), fmt, args);
    va_end(args);
    path_text(path, where, sizeof(where));
    kp_fail(err, code, "%s", msg);
    if (where[0]) kp_err_at(err, "%s", where);
    return code;
}

/* ---- docs ---- */

static const char *const type_docs[KP_F_COUNT] = {
    [KP_F_BOOL] = "true or false",  [KP_F_U32] = "whole number",
    [KP_F_U64] = "whole number",    [KP_F_I64] = "whole number, may be negative",
    [KP_F_F64] = "number",          [KP_F_STR] = "text",
    [KP_F_DIMS] = "shape",          [KP_F_BYTES] = "bytes (base64)",
    [KP_F_STRUCT] = "object",       [KP_F_PTR] = "object",
    [KP_F_LIST] = "list of objects", [KP_F_STRS] = "list of texts",
    [KP_F_U32S] = "list of whole numbers", [KP_F_DIMSES] = "list of shapes",
    [KP_F_MAP] = "object with any keys", [KP_F_U32_ARRAY] = "list of whole numbers",
};

/* The schemas around a field, to see one that holds itself. */
typedef struct level {
    const struct level *up;
    const kp_schema *schema;
    const char *path;
} level;

static bool inside(const level *l, const kp_schema *schema)
{
    for (; l; l = l->up)
        if (l->schema == schema) return true;
    return false;
}

static void type_doc(const kp_field *f, kp_buf *out)
{
    if (f->type == KP_F_ENUM) {
        const char *sep = "one of ";
        for (uint32_t i = 0; i < f->n_names; i++) {
            if (!f->names[i]) continue;
            kp_buf_fmt(out, "%s%s", sep, f->names[i]);
            sep = ", ";
        }
    } else kp_buf_str(out, type_docs[f->type]);
    if (f->flags & KP_FIELD_NULLABLE) kp_buf_str(out, " or null");
    else if (f->flags) kp_buf_str(out, ", may be missing");
}

static void field_docs(const level *l, kp_buf *out)
{
    for (uint32_t i = 0; i < l->schema->n_fields; i++) {
        const kp_field *f = &l->schema->fields[i];
        kp_buf_fmt(out, "| `%s%s` | ", l->path, f->name);
        type_doc(f, out);
        bool again = f->sub && inside(l, f->sub);
        kp_buf_fmt(out, " | %s%s |\n", f->doc, again ? "; fields as above" : "");
        if (!f->sub || again) continue;
        char path[200];
        const char *many = f->type == KP_F_LIST ? "[]" : f->type == KP_F_MAP ? "{}" : "";
        snprintf(path, sizeof(path), "%s%s%s.", l->path, f->name, many);
        level deeper = {.up = l, .schema = f->sub, .path = path};
        field_docs(&deeper, out);
    }
}

void kp_schema_docs(const kp_schema *schema, kp_buf *out)
{
    level root = {.schema = schema, .path = ""};
    kp_buf_str(out, "| field | type | meaning |\n|---|---|---|\n");
    field_docs(&root, out);
}
