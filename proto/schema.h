/* SPDX-License-Identifier: MIT
 *
 * proto/schema.h — one codec for every message: MessagePack, JSON, configs and docs.
 *
 * A message is a plain struct and one table of fields; the engine here walks the tables to pack,
 * unpack, print, read, compare and document. Rules:
 *   - Both forms are maps with the field names as keys. Unknown keys are skipped, a missing
 *     required one is KP_INPUT and is named with its path ("inventory.gpus[3].total_bytes").
 *     Duplicate keys, wrong types and numbers out of range are errors with the same path.
 *   - Absent is a value: NULL for strings, bytes and structs behind a pointer; NaN for F64;
 *     UINT64_MAX for U64; UINT32_MAX for U32; INT64_MIN for I64; a number without a name for
 *     enums; no items for lists and maps. An absent KP_FIELD_OPTIONAL field is left out and may be
 *     missing when read; an absent KP_FIELD_NULLABLE field is null; with both flags it is written
 *     as null and may be missing. null reads as absent where a flag allows it. Writing an absent
 *     required value (other than a list) or an infinite number is KP_INTERNAL with its path.
 *   - JSON numbers are printed so that they read back equal (whole ones up to INT64_MAX); fields
 *     keep the table's order, so the same value is the same text, byte for byte.
 *   - Text is UTF-8 without zero bytes. Writers put U+FFFD for what is not, so that a message
 *     with a cut-off name still arrives; readers refuse it.
 *   - DIMS travel exactly in MessagePack: a list of the per-sample mask and the dimensions, -1 for
 *     open. In JSON a null on axis 0 reads as the batch (per sample, 1), elsewhere as open.
 * Tables are written with the rows of proto/rows.h, which check each member's type. Everything
 * read is allocated in the given arena. Pure. */
#ifndef KP_PROTO_SCHEMA_H
#define KP_PROTO_SCHEMA_H

#include "proto/arena.h"
#include "proto/shape.h"
#include "proto/text.h"
#include <jansson.h>

typedef enum kp_field_type {
    KP_F_BOOL,   /* bool */
    KP_F_U32,    /* uint32_t */
    KP_F_U64,    /* uint64_t */
    KP_F_I64,    /* int64_t */
    KP_F_F64,    /* double */
    KP_F_STR,    /* const char * */
    KP_F_ENUM,   /* an enum (int-sized) whose names are in `names`; travels as its name */
    KP_F_DIMS,   /* kp_shape; JSON: a list of numbers, null for open and per-sample dimensions */
    KP_F_BYTES,  /* kp_bytes; MessagePack bin, JSON base64 */
    KP_F_STRUCT, /* a struct in place, described by `sub` */
    KP_F_PTR,    /* pointer to a struct described by `sub`; NULL: absent */
    KP_F_LIST,   /* pointer to structs + uint32_t count at count_offset */
    KP_F_STRS,   /* const char ** + uint32_t count */
    KP_F_U32S,   /* uint32_t * + uint32_t count */
    KP_F_DIMSES, /* kp_shape * + uint32_t count */
    KP_F_MAP,    /* like LIST of a struct with two fields, the first a STR: {first: second, ...} */
    KP_F_U32_ARRAY, /* uint32_t[n_items] in place */
    KP_F_COUNT
} kp_field_type;

enum { KP_FIELD_REQUIRED = 0, KP_FIELD_OPTIONAL = 1, KP_FIELD_NULLABLE = 2 };

typedef struct kp_bytes {
    const uint8_t *data;
    uint32_t len;
} kp_bytes;

#define KP_FIELDS_MAX      64
#define KP_MPACK_DEPTH_MAX 24
#define KP_MAP_ITEMS_MAX   256

typedef struct kp_schema kp_schema;

typedef struct kp_field {
    const char *name; /* with its unit: "total_bytes" */
    kp_field_type type;
    uint8_t flags;
    uint32_t offset, count_offset;
    const kp_schema *sub;     /* STRUCT, PTR, LIST */
    const char *const *names; /* ENUM: n_names names in the enum's order; a NULL name is not sent */
    uint32_t n_names;
    uint32_t n_items; /* U32_ARRAY */
    const char *doc; /* required: one line, with the unit's meaning */
} kp_field;

struct kp_schema {
    const char *name; /* "kplan.plan/1", or a part's ("gpu"); with a '/' JSON has "schema" first */
    const char *doc;
    uint32_t size; /* sizeof the struct */
    uint32_t n_fields; /* at most KP_FIELDS_MAX */
    const kp_field *fields;
};

/* MessagePack: appends the value of `schema` at `value`. */
kp_status kp_schema_pack(const kp_schema *schema, const void *value, kp_buf *out, kp_err *err);

/* Reads one value that takes exactly len bytes. The bytes pass kp_mpack_check first, so lengths
 * are never believed. ret_value has schema->size bytes and is written only on success. */
kp_status kp_schema_unpack(const kp_schema *schema, const void *bytes, size_t len, kp_arena *arena,
                           void *ret_value, kp_err *err);

/* JSON text: one line, no newline at the end. */
kp_status kp_schema_print(const kp_schema *schema, const void *value, kp_buf *out, kp_err *err);

/* JSON text to a value (kp_json_parse's limits hold), and from a parsed document. */
kp_status kp_schema_read(const kp_schema *schema, const char *text, size_t len, kp_arena *arena,
                         void *ret_value, kp_err *err);
kp_status kp_schema_from_json(const kp_schema *schema, const json_t *json, kp_arena *arena,
                              void *ret_value, kp_err *err);

/* Deep equality. NaN equals NaN. */
bool kp_schema_equal(const kp_schema *schema, const void *a, const void *b);

/* A zeroed value with every number, text and pointer absent, structs in place too; enums and bools
 * are 0. */
void kp_schema_init(const kp_schema *schema, void *value);

/* Markdown table of the fields, the nested ones with their path ("layers[].name"), for docs. */
void kp_schema_docs(const kp_schema *schema, kp_buf *out);

/* The bounded, allocation-free scan of MessagePack: one value, depth <= KP_MPACK_DEPTH_MAX, every
 * length within the bytes that are there, no ext types, text valid UTF-8 without zero bytes, no
 * bytes behind. KP_INPUT with the byte offset. */
kp_status kp_mpack_check(const void *bytes, size_t len, kp_err *err);

#endif
