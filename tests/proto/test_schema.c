/* SPDX-License-Identifier: MIT */
#include "proto/rows.h"
#include "tests/lib/fill.h"
#include <criterion/criterion.h>
#include <math.h>

/* ---- a schema with a field of each type ---- */

static const char *const color_names[] = {"red", NULL, "green"};

typedef struct pair {
    const char *key;
    uint64_t bytes;
} pair;

typedef struct part {
    const char *name;
    uint64_t total_bytes;
    struct part *parts;
    uint32_t n_parts;
} part;

typedef struct thing {
    bool flag;
    uint32_t small, maybe_small;
    uint64_t large, null_large;
    int64_t sign;
    double real, maybe_real;
    const char *text, *maybe_text;
    enum { RED, NO_NAME, GREEN } color;
    kp_shape shape;
    kp_bytes bytes;
    part inside, *behind;
    part *parts;
    uint32_t n_parts;
    const char **names;
    uint32_t n_names;
    uint32_t *numbers;
    uint32_t n_numbers;
    kp_shape *shapes;
    uint32_t n_shapes;
    pair *pairs;
    uint32_t n_pairs;
    uint32_t three[3];
} thing;

#define T pair
static const kp_field pair_fields[] = {STR(key, REQ, "key"), U64(bytes, REQ, "value")};
#undef T
static const kp_schema pair_schema = SCHEMA(pair, pair_fields, "pair", "a pair");

static const kp_schema part_schema;
#define T part
static const kp_field part_fields[] = {
    STR(name, REQ, "name"),
    U64(total_bytes, REQ, "bytes"),
    LIST(parts, &part_schema, OPT, "parts inside"),
};
#undef T
static const kp_schema part_schema = SCHEMA(part, part_fields, "part", "a part");

#define T thing
static const kp_field thing_fields[] = {
    BOOL(flag, REQ, "a flag"),
    U32(small, REQ, "a number"),
    U32(maybe_small, OPT, "a number"),
    U64(large, REQ, "a number"),
    U64(null_large, NUL, "a number"),
    I64(sign, REQ, "a number"),
    F64(real, REQ, "a number"),
    F64(maybe_real, OPT, "a number"),
    STR(text, REQ, "text"),
    STR(maybe_text, NUL, "text"),
    ENUM(color, color_names, REQ, "a color"),
    DIMS(shape, REQ, "a shape"),
    BYTES(bytes, REQ, "bytes"),
    STRUCT(inside, &part_schema, REQ, "a part"),
    PTR(behind, &part_schema, OPT, "a part"),
    LIST(parts, &part_schema, REQ, "parts"),
    STRS(names, REQ, "names"),
    U32S(numbers, REQ, "numbers"),
    DIMSES(shapes, REQ, "shapes"),
    MAP(pairs, &pair_schema, REQ, "pairs"),
    U32_ARRAY(three, REQ, "three numbers"),
};
#undef T
static const kp_schema thing_schema = SCHEMA(thing, thing_fields, "test.thing/1", "all types");

/* Every field, in the order and form of the printer. */
#define FRONT "{\"schema\":\"test.thing/1\",\"flag\":true,\"small\":1,"
#define FULL                                                                                       \
    FRONT "\"maybe_small\":2,\"large\":9223372036854775807,\"null_large\":3,\"sign\":-4,"           \
          "\"real\":0.1,\"maybe_real\":1e+300,\"text\":\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa4\","  \
          "\"maybe_text\":\"\",\"color\":\"green\",\"shape\":[null,224,0,null],"                    \
          "\"bytes\":\"AAECAw==\",\"inside\":{\"name\":\"i\",\"total_bytes\":5},"                   \
          "\"behind\":{\"name\":\"b\",\"total_bytes\":6},\"parts\":[{\"name\":\"p\","                \
          "\"total_bytes\":7,\"parts\":[{\"name\":\"q\",\"total_bytes\":8}]},{\"name\":\"r\","       \
          "\"total_bytes\":9}],\"names\":[\"x\",\"y\"],\"numbers\":[1,4294967294],"                  \
          "\"shapes\":[[],[3]],\"pairs\":{\"k\":1,\"l\":2},\"three\":[1,2,3]}"
#define LEAST                                                                                      \
    FRONT "\"large\":0,\"null_large\":null,\"sign\":0,\"real\":0,\"text\":\"\","                     \
          "\"maybe_text\":null,\"color\":\"red\",\"shape\":[],\"bytes\":\"\","                       \
          "\"inside\":{\"name\":\"\",\"total_bytes\":0},\"parts\":[],\"names\":[],\"numbers\":[],"   \
          "\"shapes\":[],\"pairs\":{},\"three\":[0,0,0]}"

static kp_status read_text(const char *text, kp_arena *arena, thing *ret, kp_err *err)
{
    return kp_schema_read(&thing_schema, text, strlen(text), arena, ret, err);
}

Test(schema, prints_what_it_reads)
{
    static const char *const texts[] = {FULL, LEAST};
    for (size_t i = 0; i < KP_LEN(texts); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf out;
        kp_buf_init(&out, 0);
        kp_err err = {0};
        thing value;
        cr_assert_eq(read_text(texts[i], &arena, &value, &err), KP_OK, "%s: %s", err.where, err.msg);
        cr_expect_eq(kp_schema_print(&thing_schema, &value, &out, &err), KP_OK, "%s", err.msg);
        cr_expect_str_eq(kp_buf_text(&out), texts[i]);
        kp_buf_release(&out);
        kp_arena_release(&arena);
    }
}

Test(schema, reads_values)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_err err = {0};
    thing v;
    cr_assert_eq(read_text(FULL, &arena, &v, &err), KP_OK, "%s: %s", err.where, err.msg);
    cr_expect(v.flag && v.small == 1 && v.maybe_small == 2 && v.large == INT64_MAX && v.sign == -4);
    cr_expect(v.real == 0.1 && v.maybe_real == 1e300 && v.color == GREEN);
    cr_expect_str_eq(v.text, "a\"\\\n\t\x01\x7f\xc3\xa4");
    cr_expect(v.shape.rank == 4 && v.shape.per_sample == 1 && v.shape.dim[0] == 1 &&
              v.shape.dim[1] == 224 && v.shape.dim[2] == 0 && v.shape.dim[3] == KP_DIM_OPEN);
    cr_expect(v.bytes.len == 4 && !memcmp(v.bytes.data, "\0\1\2\3", 4));
    cr_expect(v.n_parts == 2 && v.parts[0].n_parts == 1 && v.parts[0].parts[0].total_bytes == 8);
    cr_expect(v.n_pairs == 2 && !strcmp(v.pairs[1].key, "l") && v.pairs[1].bytes == 2);
    cr_expect(v.three[2] == 3 && v.numbers[1] == UINT32_MAX - 1 && v.behind->total_bytes == 6);
    cr_assert_eq(read_text(LEAST, &arena, &v, &err), KP_OK, "%s: %s", err.where, err.msg);
    cr_expect(v.maybe_small == UINT32_MAX && v.null_large == UINT64_MAX && isnan(v.maybe_real));
    cr_expect(!v.maybe_text && !v.behind && !v.n_parts && v.bytes.data && !v.bytes.len);
    kp_arena_release(&arena);
}

/* A piece of FULL and what stands there instead; the error that follows. "" as `msg`: it reads. */
static const struct {
    const char *piece, *instead, *where, *msg;
} changes[] = {
    {"\"flag\":true", "\"flag\":1", "flag", "true or false expected, 1 found"},
    {"\"flag\":true,", "", "flag", "field is missing"},
    {"\"flag\":true", "\"flag\":null", "flag", "true or false expected, null found"},
    {"\"flag\":true", "\"flag\":true,\"unknown\":{\"a\":[1,{\"b\":[]}],\"c\":{}}", "", ""},
    {"\"small\":1", "\"small\":-1", "small", "a whole number from 0 to 4294967294 expected, -1 found"},
    {"\"small\":1", "\"small\":4294967295", "small", "4294967295 found"},
    {"\"small\":1", "\"small\":1.5", "small", "1.5 found"},
    {"\"small\":1", "\"small\":1e3", "", ""},
    {"\"small\":1", "\"small\":\"1\"", "small", "'1' found"},
    {"\"maybe_small\":2", "\"maybe_small\":null", "", ""},
    {"\"large\":9223372036854775807", "\"large\":8.5e10", "", ""},
    {"\"large\":9223372036854775807", "\"large\":1e20", "large", "1e+20 found"},
    {"\"large\":9223372036854775807", "\"large\":[]", "large", "a list found"},
    {"\"real\":0.1", "\"real\":7", "", ""},
    {"\"real\":0.1", "\"real\":NaN", "real", "a finite number expected, null found"},
    {"\"maybe_real\":1e+300", "\"maybe_real\":NaN", "", ""},
    {"\"maybe_text\":\"\"", "\"maybe_text\":{}", "maybe_text", "text expected, an object found"},
    {"\"green\"", "\"gren\"", "color", "one of red, green expected, 'gren' found"},
    {"\"green\"", "2", "color", "a name expected, 2 found"},
    {"[null,224,0,null]", "[1,2,3,4,5,6,7,8,9]", "shape", "at most 8 sizes"},
    {"[null,224,0,null]", "[1,-1]", "shape[1]", "a size from 0 to 2^40 expected, -1 found"},
    {"[null,224,0,null]", "[1,1099511627777]", "shape[1]", "1099511627777 found"},
    {"[null,224,0,null]", "[1,\"x\"]", "shape[1]", "a size expected, 'x' found"},
    {"[null,224,0,null]", "{}", "shape", "a shape"},
    {"AAECAw==", "AAECAw=", "bytes", "base64 text expected"},
    {"AAECAw==", "AAE!Aw==", "bytes", "base64 text expected"},
    {"AAECAw==", "A===", "bytes", "base64 text expected"},
    {"\"name\":\"i\",", "", "inside.name", "field is missing"},
    {"{\"name\":\"i\",\"total_bytes\":5}", "3", "inside", "an object expected, 3 found"},
    {"\"total_bytes\":6", "\"x\":6", "behind.total_bytes", "field is missing"},
    {"\"total_bytes\":8", "\"total_bytes\":true", "parts[0].parts[0].total_bytes", "true found"},
    {"\"total_bytes\":9", "\"tot\":9", "parts[1].total_bytes", "field is missing"},
    {"[\"x\",\"y\"]", "[\"x\",4]", "names[1]", "text expected, 4 found"},
    {"[\"x\",\"y\"]", "\"x\"", "names", "a list of texts expected, 'x' found"},
    {"[1,4294967294]", "[1,4294967295]", "numbers[1]", "4294967295 found"},
    {"[[],[3]]", "[[],3]", "shapes[1]", "a shape"},
    {"{\"k\":1,\"l\":2}", "{\"k\":1,\"l\":-2}", "pairs.l", "-2 found"},
    {"{\"k\":1,\"l\":2}", "[]", "pairs", "an object expected, a list found"},
    {"[1,2,3]", "[1,2]", "three", "3 whole numbers expected, 2 found"},
    {"test.thing/1", "kplan.nodes/1", "schema", "this is a kplan.nodes/1, a test.thing/1 is needed"},
    {"\"test.thing/1\"", "1", "schema", "text expected, 1 found"},
    {"\"schema\":\"test.thing/1\",", "", "", ""},
    {"{\"name\":\"i\"", "{\"schema\":\"other/2\",\"name\":\"i\"", "", ""},
};

static char *changed(kp_arena *arena, const char *text, const char *piece, const char *instead)
{
    const char *at = strstr(text, piece);
    cr_assert(at, "'%s' is not in the text", piece);
    return kp_arena_fmt(arena, "%.*s%s%s", (int)(at - text), text, instead, at + strlen(piece));
}

Test(schema, names_the_place)
{
    for (size_t i = 0; i < KP_LEN(changes); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_err err = {0};
        thing v;
        memset(&v, 0x55, sizeof(v));
        char *text = changed(&arena, FULL, changes[i].piece, changes[i].instead);
        kp_status status = read_text(text, &arena, &v, &err);
        cr_expect_eq(status, changes[i].msg[0] ? KP_INPUT : KP_OK, "row %zu: %s: %s", i, err.where, err.msg);
        cr_expect_str_eq(err.where, changes[i].where, "row %zu: at '%s'", i, err.where);
        cr_expect(strstr(err.msg, changes[i].msg), "row %zu: '%s'", i, err.msg);
        if (status != KP_OK) cr_expect_eq(v.small, 0x55555555u, "row %zu: written on failure", i);
        kp_arena_release(&arena);
    }
}

Test(schema, hints_at_a_near_name)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_err err = {0};
    thing v;
    cr_expect_eq(read_text(changed(&arena, FULL, "\"green\"", "\"gren\""), &arena, &v, &err), KP_INPUT);
    cr_expect_str_eq(err.hint, "did you mean 'green'");
    kp_arena_release(&arena);
}

/* ---- what cannot be written ---- */

static void unset_real(thing *v) { v->real = NAN; }
static void infinite_real(thing *v) { v->maybe_real = INFINITY; }
static void unset_text(thing *v) { v->text = NULL; }
static void unset_large(thing *v) { v->large = UINT64_MAX; }
static void bad_enum(thing *v) { v->color = NO_NAME; }
static void wild_enum(thing *v) { memset(&v->color, 0x7f, sizeof(v->color)); }
static void deep_text(thing *v) { v->parts[0].parts[0].name = NULL; }
static void item_text(thing *v) { v->names[1] = NULL; }
static void pair_key(thing *v) { v->pairs[1].key = NULL; }

static void pair_value(thing *v) { v->pairs[1].bytes = UINT64_MAX; }

static const struct {
    void (*spoil)(thing *v);
    const char *where, *msg;
} spoils[] = {
    {unset_real, "real", "value is not set"},
    {infinite_real, "maybe_real", "number is not finite"},
    {unset_text, "text", "value is not set"},
    {unset_large, "large", "value is not set"},
    {bad_enum, "color", "value is not set"},
    {wild_enum, "color", "value is not set"},
    {deep_text, "parts[0].parts[0].name", "value is not set"},
    {item_text, "names[1]", "text is not set"},
    {pair_key, "pairs[1]", "pair is not set"},
    {pair_value, "pairs[1]", "pair is not set"},
};

Test(schema, does_not_write_what_is_not_set)
{
    for (size_t i = 0; i < KP_LEN(spoils); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf out;
        kp_buf_init(&out, 0);
        kp_err err = {0};
        thing v;
        cr_assert_eq(read_text(FULL, &arena, &v, &err), KP_OK);
        spoils[i].spoil(&v);
        cr_expect_eq(kp_schema_print(&thing_schema, &v, &out, &err), KP_INTERNAL, "row %zu", i);
        cr_expect_str_eq(err.where, spoils[i].where, "row %zu: '%s'", i, err.where);
        cr_expect_str_eq(err.msg, spoils[i].msg, "row %zu: '%s'", i, err.msg);
        cr_expect_eq(kp_schema_pack(&thing_schema, &v, &out, &err), KP_INTERNAL, "row %zu", i);
        kp_buf_release(&out);
        kp_arena_release(&arena);
    }
}

static const struct {
    const char *text, *json;
} repairs[] = {
    {"plain", "\"plain\""},
    {"\xff", "\"\xef\xbf\xbd\""},
    {"a\xc3", "\"a\xef\xbf\xbd\""},
    {"\xe2\x82z\x80", "\"\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\""},
    {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xf0\x9f\x99\x82 ok", "\"\xf0\x9f\x99\x82 ok\""},
};

Test(schema, repairs_text_when_it_writes)
{
    for (size_t i = 0; i < KP_LEN(repairs); i++) {
        kp_buf out, packed;
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf_init(&out, 0);
        kp_buf_init(&packed, 0);
        kp_err err = {0};
        part p = {.name = repairs[i].text, .total_bytes = 1};
        cr_expect_eq(kp_schema_print(&part_schema, &p, &out, &err), KP_OK, "row %zu: %s", i, err.msg);
        cr_expect(strstr(kp_buf_text(&out), repairs[i].json), "row %zu: %s", i, kp_buf_text(&out));
        cr_expect_eq(kp_schema_pack(&part_schema, &p, &packed, &err), KP_OK, "row %zu", i);
        cr_expect_eq(kp_schema_unpack(&part_schema, packed.data, packed.len, &arena, &p, &err), KP_OK,
                     "row %zu: %s: %s", i, err.where, err.msg);
        kp_buf_release(&out);
        kp_buf_release(&packed);
        kp_arena_release(&arena);
    }
}

Test(schema, full_buffer_is_a_status)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_err err = {0};
    thing v;
    cr_assert_eq(read_text(FULL, &arena, &v, &err), KP_OK);
    kp_buf whole;
    kp_buf_init(&whole, 0);
    cr_assert_eq(kp_schema_pack(&thing_schema, &v, &whole, &err), KP_OK);
    for (size_t limit = 1; limit <= whole.len; limit += limit < whole.len - 20 ? 7 : 1) {
        kp_buf out;
        kp_buf_init(&out, limit);
        cr_expect_eq(kp_schema_print(&thing_schema, &v, &out, &err), KP_NOMEM, "limit %zu", limit);
        kp_buf_clear(&out);
        cr_expect_eq(kp_schema_pack(&thing_schema, &v, &out, &err),
                     limit < whole.len ? KP_NOMEM : KP_OK, "limit %zu", limit);
        kp_buf_release(&out);
    }
    kp_buf_release(&whole);
    kp_arena_release(&arena);
}

/* ---- equality ---- */

Test(schema, equality_sees_every_field)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_err err = {0};
    thing a, b;
    cr_assert_eq(read_text(FULL, &arena, &a, &err), KP_OK);
    for (size_t i = 0; i < KP_LEN(changes); i++) {
        char *text = changed(&arena, FULL, changes[i].piece, changes[i].instead);
        if (read_text(text, &arena, &b, NULL) != KP_OK) continue;
        bool same = strstr(changes[i].instead, "unknown") || strstr(changes[i].piece, "schema") ||
                    strstr(changes[i].instead, "schema");
        cr_expect_eq(kp_schema_equal(&thing_schema, &a, &b), same, "row %zu", i);
    }
    static const char *const pieces[][2] = {
        {"\"flag\":true", "\"flag\":false"}, {"\"sign\":-4", "\"sign\":-5"},
        {"\"text\":\"a", "\"text\":\"b"},    {"\"green\"", "\"red\""},
        {"[null,224,0,null]", "[null,224,0,1]"}, {"[null,224,0,null]", "[null,224,0]"},
        {"AAECAw==", "AAECBA=="},            {"\"total_bytes\":5", "\"total_bytes\":4"},
        {"\"total_bytes\":6", "\"total_bytes\":4"}, {"\"total_bytes\":8", "\"total_bytes\":4"},
        {"[\"x\",\"y\"]", "[\"x\"]"},        {"[\"x\",\"y\"]", "[\"x\",\"z\"]"},
        {"[1,4294967294]", "[1,2]"},         {"[[],[3]]", "[[],[4]]"},
        {"\"l\":2", "\"m\":2"},              {"\"l\":2", "\"l\":3"},
        {"[1,2,3]", "[1,2,4]"},              {"\"behind\":{\"name\":\"b\",\"total_bytes\":6},", ""},
    };
    for (size_t i = 0; i < KP_LEN(pieces); i++) {
        char *text = changed(&arena, FULL, pieces[i][0], pieces[i][1]);
        cr_assert_eq(read_text(text, &arena, &b, &err), KP_OK, "pair %zu: %s: %s", i, err.where, err.msg);
        cr_expect_not(kp_schema_equal(&thing_schema, &a, &b), "pair %zu", i);
        cr_expect_not(kp_schema_equal(&thing_schema, &b, &a), "pair %zu", i);
    }
    kp_arena_release(&arena);
}

/* ---- docs ---- */

static const char *const doc_lines[] = {
    "| field | type | meaning |",
    "| `small` | whole number | a number |",
    "| `maybe_small` | whole number, may be missing | a number |",
    "| `null_large` | whole number or null | a number |",
    "| `color` | one of red, green | a color |",
    "| `inside.name` | text | name |",
    "| `parts[].total_bytes` | whole number | bytes |",
    "| `parts[].parts` | list of objects, may be missing | parts inside; fields as above |",
    "| `pairs{}.bytes` | whole number | value |",
};

Test(schema, docs)
{
    kp_buf out;
    kp_buf_init(&out, 0);
    kp_schema_docs(&thing_schema, &out);
    for (size_t i = 0; i < KP_LEN(doc_lines); i++)
        cr_expect(strstr(kp_buf_text(&out), doc_lines[i]), "row %zu: %s", i, kp_buf_text(&out));
    kp_buf_release(&out);
}
