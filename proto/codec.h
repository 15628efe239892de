/* SPDX-License-Identifier: MIT
 *
 * proto/codec.h — inside the schema engine: one walk over tokens for both forms.
 *
 * Reading: a source hands out tokens (a list or map says how many follow, keys are text tokens),
 * one walk (schema_read.c) turns them into structs. Writing: one walk (schema_write.c) feeds a
 * sink. MessagePack's source and sink are in mpack.c, JSON's in json_codec.c. */
#ifndef KP_PROTO_CODEC_H
#define KP_PROTO_CODEC_H

#include "proto/json.h"
#include "proto/schema.h"

typedef enum kp_tok_kind {
    KP_TOK_NULL, KP_TOK_BOOL, KP_TOK_UINT, KP_TOK_INT /* < 0 */, KP_TOK_REAL, KP_TOK_STR,
    KP_TOK_BIN, KP_TOK_LIST, KP_TOK_MAP
} kp_tok_kind;

typedef struct kp_tok {
    kp_tok_kind kind;
    uint32_t n;    /* bytes of STR and BIN, items of LIST, pairs of MAP */
    uint64_t u;    /* UINT; BOOL: 0 or 1 */
    int64_t i;     /* INT */
    double f;      /* REAL */
    const char *s; /* STR, BIN: not terminated, lives as long as the source */
} kp_tok;

typedef struct kp_source kp_source;
struct kp_source {
    kp_tok (*next)(kp_source *source); /* never called behind the end */
    size_t (*left)(const kp_source *source); /* no more bytes than these still come */
    bool text; /* JSON: bytes are base64, a shape is its printed form */
};

typedef struct kp_mpack_source {
    kp_source base;
    const uint8_t *bytes;
    size_t len, at;
} kp_mpack_source;

typedef struct kp_json_frame {
    const json_t *json; /* an object or a list that is not used up */
    void *iter;         /* object: the pair that comes next */
    size_t index;       /* list: the item that comes next */
} kp_json_frame;

typedef struct kp_json_source {
    kp_source base;
    size_t text_bytes;     /* of the text behind the document; SIZE_MAX: not known */
    const json_t *pending; /* the value that comes next; NULL: ask the newest frame */
    uint32_t depth;
    kp_json_frame frames[KP_JSON_DEPTH_MAX];
} kp_json_source;

/* Over bytes that passed kp_mpack_check; over a document of so many bytes of text. */
void kp_mpack_source_init(kp_mpack_source *source, const void *bytes, size_t len);
void kp_json_source_init(kp_json_source *source, const json_t *json, size_t text_bytes);

typedef struct kp_sink kp_sink;
struct kp_sink {
    void (*put)(kp_sink *sink, const kp_tok *tok);           /* LIST and MAP open */
    void (*key)(kp_sink *sink, const char *name);            /* before each value of a map */
    void (*close)(kp_sink *sink, kp_tok_kind list_or_map);   /* after the last value of either */
    bool text;
    kp_buf *out;
    bool comma; /* JSON: a value stands before */
};

void kp_mpack_sink_init(kp_sink *sink, kp_buf *out);
void kp_json_sink_init(kp_sink *sink, kp_buf *out);

/* Where a field is, innermost first; lives on the stack of the walk. */
typedef struct kp_path {
    const struct kp_path *up;
    const char *name; /* NULL: item `index` of a list */
    uint32_t index;
} kp_path;

/* Fails with the path as the place. */
kp_status kp_path_fail(const kp_path *path, kp_status code, kp_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The walks. `value` has the schema's size; reading starts with init. */
kp_status kp_schema_write(const kp_schema *schema, const void *value, kp_sink *sink, kp_err *err);
kp_status kp_schema_take(const kp_schema *schema, kp_source *source, kp_arena *arena,
                         void *ret_value, kp_err *err);

/* Inside reading: values of one token (not structs and lists), and what is said of a wrong one. */
typedef struct kp_reader {
    kp_source *source;
    kp_arena *arena;
    kp_err *err;
} kp_reader;
kp_status kp_take_value(kp_reader *r, const kp_field *f, kp_field_type type, const kp_tok *tok,
                        void *at, const kp_path *path);
kp_status kp_take_text(kp_reader *r, const kp_tok *tok, const char **ret, const kp_path *path);
kp_status kp_take_wrong(kp_reader *r, kp_field_type type, const kp_tok *tok, const kp_path *path);

/* True if the member at `at` is absent, and making it so. */
bool kp_field_absent(const kp_field *field, const void *at);
void kp_field_clear(const kp_field *field, void *at);

/* Items behind the pointer of a list-like field: their number, the type and size of one. */
kp_field_type kp_field_item_type(const kp_field *field);
uint32_t kp_field_count(const kp_field *field, const void *value);
size_t kp_field_item_size(const kp_field *field);
bool kp_field_is_list(const kp_field *field);

#endif
