/* SPDX-License-Identifier: MIT */
#include "proto/messages.h"
#include "tests/lib/fill.h"
#include <criterion/criterion.h>

#define BYTES(s) s, sizeof(s) - 1

/* msg NULL: the bytes are one value. */
static const struct {
    const char *what, *bytes;
    size_t len;
    const char *msg;
} rows[] = {
    {"nothing", BYTES(""), "byte 0 of 0: it ends here"},
    {"small number", BYTES("\x7f"), NULL},
    {"negative number", BYTES("\xff"), NULL},
    {"null, false, true", BYTES("\x93\xc0\xc2\xc3"), NULL},
    {"unused byte", BYTES("\xc1"), "a type that is not used"},
    {"all widths of whole numbers",
     BYTES("\x98\xcc\x01\xcd\0\1\xce\0\0\0\1\xcf\0\0\0\0\0\0\0\1\xd0\xff\xd1\xff\xff\xd2\xff\xff\xff\xff"
           "\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), NULL},
    {"reals", BYTES("\x92\xca\0\0\0\0\xcb\0\0\0\0\0\0\0\0"), NULL},
    {"number cut off", BYTES("\x92\x01\xcd\0"), "byte 2 of 4: a number is cut off"},
    {"real cut off", BYTES("\xcb\0\0\0\0\0\0\0"), "byte 0 of 8: a number is cut off"},
    {"text", BYTES("\xa3" "abc"), NULL},
    {"texts of all widths", BYTES("\x93\xd9\1a\xda\0\1b\xdb\0\0\0\1c"), NULL},
    {"text longer than the rest", BYTES("\xa4" "abc"), "its length is more than what follows"},
    {"text of 4 GiB", BYTES("\xdb\xff\xff\xff\xff" "abc"), "its length is more than what follows"},
    {"length cut off", BYTES("\xdb\0\0"), "a number is cut off"},
    {"text that is not UTF-8", BYTES("\xa2\xff\xfe"), "not UTF-8"},
    {"text cut inside a character", BYTES("\xa1\xc3"), "not UTF-8"},
    {"text with a zero byte", BYTES("\xa3" "a\0b"), "zero byte"},
    {"bytes", BYTES("\xc4\2\xff\0"), NULL},
    {"bytes of 4 GiB", BYTES("\xc6\xff\xff\xff\xff\0"), "its length is more than what follows"},
    {"map", BYTES("\x82\xa1" "a\1\xa1" "b\2"), NULL},
    {"map without its last value", BYTES("\x82\xa1" "a\1\xa1" "b"), "more values are announced"},
    {"list of 4 G items", BYTES("\xdd\xff\xff\xff\xff\1\2"), "byte 0 of 7: more values are announced"},
    {"map of 4 G pairs", BYTES("\xdf\xff\xff\xff\xff\1\2"), "more values are announced"},
    {"empty lists and maps", BYTES("\x94\x90\x80\xdc\0\0\xde\0\0"), NULL},
    {"two values", BYTES("\1\2"), "byte 1 of 2: bytes follow the value"},
    {"extension types", BYTES("\xd4\1\0"), "a type that is not used"},
    {"long extension", BYTES("\xc7\1\1\0"), "a type that is not used"},
    {"list that is too short for its list", BYTES("\x92\x91\1"), "more values are announced"},
};

Test(mpack, check)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        /* A copy of exactly this size: a sanitizer sees one byte too many. */
        char *bytes = malloc(rows[i].len);
        if (rows[i].len) memcpy(bytes, rows[i].bytes, rows[i].len);
        kp_status want = rows[i].msg ? KP_INPUT : KP_OK;
        cr_expect_eq(kp_mpack_check(bytes, rows[i].len, &err), want, "%s: %s", rows[i].what, err.msg);
        if (rows[i].msg) cr_expect(strstr(err.msg, rows[i].msg), "%s: %s", rows[i].what, err.msg);
        free(bytes);
    }
}

Test(mpack, depth)
{
    for (size_t depth = 1; depth < 1000000; depth += depth < 40 ? 1 : depth) {
        char *bytes = malloc(depth + 1);
        memset(bytes, '\x91', depth);
        bytes[depth] = 1;
        kp_err err = {0};
        kp_status want = depth <= KP_MPACK_DEPTH_MAX ? KP_OK : KP_INPUT;
        cr_expect_eq(kp_mpack_check(bytes, depth + 1, &err), want, "depth %zu: %s", depth, err.msg);
        free(bytes);
    }
}

/* ---- what struct readers make of wellformed but wrong bytes ---- */

#define NODES(rest) "\x82\xa8" "revision\1\xa5" "nodes" rest

static const struct {
    const kp_schema *schema;
    const char *bytes;
    size_t len;
    const char *where, *msg;
} wrongs[] = {
    {&kp_schema_nodes, BYTES("\1"), "", "an object expected, 1 found"},
    {&kp_schema_nodes, BYTES("\x81\1\2"), "", "text expected, 1 found"},
    {&kp_schema_nodes, BYTES("\x81\xa8" "revision\1"), "nodes", "field is missing"},
    {&kp_schema_nodes, BYTES("\x82\xa8" "revision\1\xa8" "revision\1"), "revision", "field stands twice"},
    {&kp_schema_nodes, BYTES("\x81\xa8" "revision\xff"), "revision", "-1 found"},
    {&kp_schema_nodes, BYTES("\x81\xa8" "revision\xcb\x3f\xf0\0\0\0\0\0\0"), "revision", "1 found"},
    {&kp_schema_nodes, BYTES("\x81\xa8" "revision\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "revision", "found"},
    {&kp_schema_nodes, BYTES(NODES("\x91\1")), "nodes", "list of 1 items does not fit"},
    {&kp_schema_nodes, BYTES(NODES("\xc0")), "nodes", "a list expected, null found"},
    {&kp_schema_nodes, BYTES(NODES("\xc4\1x")), "nodes", "a list expected, bytes found"},
    {&kp_schema_envelope, BYTES("\x81\xa7" "payload\xa1x"), "payload", "bytes expected, 'x' found"},
    {&kp_schema_envelope, BYTES("\x81\xa8" "budget_s\xcb\x7f\xf8\0\0\0\0\0\0"), "budget_s", "a finite number"},
    {&kp_schema_envelope, BYTES("\x81\xa8" "budget_s\xcb\x7f\xf0\0\0\0\0\0\0"), "budget_s", "a finite number"},
};

Test(mpack, wrong_values)
{
    for (size_t i = 0; i < KP_LEN(wrongs); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 1 << 20);
        kp_err err = {0};
        void *value = kp_arena_alloc(&arena, 1, wrongs[i].schema->size);
        cr_expect_eq(kp_schema_unpack(wrongs[i].schema, wrongs[i].bytes, wrongs[i].len, &arena, value, &err),
                     KP_INPUT, "row %zu", i);
        cr_expect_str_eq(err.where, wrongs[i].where, "row %zu: '%s'", i, err.where);
        cr_expect(strstr(err.msg, wrongs[i].msg), "row %zu: '%s'", i, err.msg);
        kp_arena_release(&arena);
    }
}

/* A shape's bytes stand in for output_shapes of a layer. */
static const struct {
    const char *bytes;
    size_t len;
    bool ok;
} shapes[] = {
    {BYTES("\x91\x00"), true},
    {BYTES("\x95\x01\x01\xcd\x10\x00\xff\x00"), true},
    {BYTES("\x99\xcc\xff\1\2\3\4\5\6\7\x08"), true},
    {BYTES("\x90"), false},
    {BYTES("\x9a\0\1\2\3\4\5\6\7\x08\x09"), false},
    {BYTES("\x92\x02\x01"), false},
    {BYTES("\x92\xc0\x01"), false},
    {BYTES("\x92\x00\xc0"), false},
    {BYTES("\x92\x00\xfe"), false},
    {BYTES("\x92\x00\xcf\0\0\1\0\0\0\0\1"), false},
};

Test(mpack, shapes)
{
    for (size_t i = 0; i < KP_LEN(shapes); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_summary summary, back;
        kp_schema_init(&kp_schema_summary, &summary);
        summary.format = "keras-3";
        summary.params = (kp_params){0, 0, 0};
        summary.inputs = &(kp_shape){.rank = 0};
        summary.n_inputs = 1;
        kp_buf packed;
        kp_buf_init(&packed, 0);
        kp_err err = {0};
        cr_assert_eq(kp_schema_pack(&kp_schema_summary, &summary, &packed, &err), KP_OK, "%s", err.msg);
        static const char scalar[] = "inputs\x91\x91\x00"; /* one shape: a mask and no sizes */
        size_t front = 0;
        while (front + sizeof(scalar) < packed.len && memcmp(packed.data + front, scalar, sizeof(scalar) - 1))
            front++;
        cr_assert(front + sizeof(scalar) < packed.len);
        front += 7;
        kp_buf other;
        kp_buf_init(&other, 0);
        kp_buf_add(&other, packed.data, front);
        kp_buf_add(&other, shapes[i].bytes, shapes[i].len);
        kp_buf_add(&other, packed.data + front + 2, packed.len - front - 2);
        cr_expect_eq(kp_schema_unpack(&kp_schema_summary, other.data, other.len, &arena, &back, &err),
                     shapes[i].ok ? KP_OK : KP_INPUT, "row %zu: %s: %s", i, err.where, err.msg);
        if (shapes[i].ok) {
            kp_buf_clear(&packed);
            cr_assert_eq(kp_schema_pack(&kp_schema_summary, &back, &packed, &err), KP_OK);
            cr_expect(packed.len == other.len && !memcmp(packed.data, other.data, packed.len), "row %zu", i);
        }
        kp_buf_release(&packed);
        kp_buf_release(&other);
        kp_arena_release(&arena);
    }
}

/* ---- memory ---- */

/* A message that announces many items takes no more memory than a small multiple of its size. */
Test(mpack, counts_are_not_believed)
{
    static const struct {
        const kp_schema *schema;
        const char *front;
        size_t front_len;
        char item;
    } hostile[] = {
        {&kp_schema_nodes, BYTES(NODES("\xdd\x00\x10\x00\x00")), '\x80'},
        {&kp_schema_nodes, BYTES(NODES("\xdd\x00\x10\x00\x00")), '\1'},
        {&kp_schema_gpus, BYTES("\x82\xa8" "revision\1\xa4" "gpus\xdd\x00\x10\x00\x00"), '\x80'},
        {&kp_schema_plans, BYTES("\x81\xa5" "plans\xdd\x00\x10\x00\x00"), '\x80'},
    };
    enum { ITEMS = 0x100000 };
    for (size_t i = 0; i < KP_LEN(hostile); i++) {
        size_t len = hostile[i].front_len + ITEMS;
        char *bytes = malloc(len);
        memcpy(bytes, hostile[i].front, hostile[i].front_len);
        memset(bytes + hostile[i].front_len, hostile[i].item, ITEMS);
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_err err = {0};
        char value[512];
        cr_expect_eq(kp_schema_unpack(hostile[i].schema, bytes, len, &arena, value, &err), KP_INPUT);
        cr_expect_lt(arena.used_bytes, len, "row %zu: %zu bytes", i, arena.used_bytes);
        kp_arena_release(&arena);
        free(bytes);
    }
}

/* Items of one byte fill a message to its end. */
Test(mpack, counts_that_fit_exactly)
{
    static const char bytes[] = "\x83\xa5" "lease\xa1l\xa5" "fence\1\xa4" "gpus\x93\xa0\xa0\xa0";
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_wire_fence fence;
    kp_err err = {0};
    cr_expect_eq(kp_schema_unpack(kp_wire_schema(KP_WIRE_FENCE), bytes, sizeof(bytes) - 2, &arena, &fence,
                                  &err), KP_INPUT, "cut off");
    cr_assert_eq(kp_schema_unpack(kp_wire_schema(KP_WIRE_FENCE), bytes, sizeof(bytes) - 1, &arena, &fence,
                                  &err), KP_OK, "%s: %s", err.where, err.msg);
    cr_expect(fence.n_gpus == 3 && !fence.gpus[1][0] && !fence.gpus[2][0]);
    kp_arena_release(&arena);
}

/* ---- every message, cut off and damaged ---- */

Test(mpack, cut_off_at_every_byte)
{
    for (size_t i = 0; i < kp_n_schemas; i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf packed;
        kp_buf_init(&packed, 0);
        kp_err err = {0};
        void *value = kp_arena_alloc(&arena, 1, kp_schemas[i]->size);
        test_fill(kp_schemas[i], value, &arena, 1, false);
        cr_assert_eq(kp_schema_pack(kp_schemas[i], value, &packed, &err), KP_OK);
        size_t step = packed.len < 3000 ? 1 : packed.len / 3000 + 1;
        for (size_t len = 0; len < packed.len; len += step) {
            char *cut = malloc(len);
            if (len) memcpy(cut, packed.data, len);
            cr_expect_eq(kp_schema_unpack(kp_schemas[i], cut, len, &arena, value, &err), KP_INPUT,
                         "%s cut at %zu", kp_schemas[i]->name, len);
            free(cut);
        }
        kp_buf_release(&packed);
        kp_arena_release(&arena);
    }
}

/* A damaged message is an error, or a value that packs again. */
static void damage(const kp_schema *schema, kp_buf *packed, uint64_t *random)
{
    kp_arena arena;
    kp_arena_init(&arena, 64 << 20);
    char *bytes = malloc(packed->len);
    memcpy(bytes, packed->data, packed->len);
    for (int change = 0; change < 3; change++) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        bytes[(*random >> 33) % packed->len] = (char)(*random >> 20);
    }
    kp_err err = {0};
    void *value = kp_arena_alloc(&arena, 1, schema->size);
    if (kp_schema_unpack(schema, bytes, packed->len, &arena, value, &err) == KP_OK) {
        kp_buf again;
        kp_buf_init(&again, 0);
        cr_expect_eq(kp_schema_pack(schema, value, &again, &err), KP_OK, "%s: %s: %s", schema->name,
                     err.where, err.msg);
        kp_buf_release(&again);
    } else cr_expect(err.msg[0]);
    free(bytes);
    kp_arena_release(&arena);
}

Test(mpack, damaged)
{
    uint64_t random = 1;
    for (size_t i = 0; i < kp_n_schemas; i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf packed;
        kp_buf_init(&packed, 0);
        void *value = kp_arena_alloc(&arena, 1, kp_schemas[i]->size);
        test_fill(kp_schemas[i], value, &arena, 2, false);
        cr_assert_eq(kp_schema_pack(kp_schemas[i], value, &packed, NULL), KP_OK);
        for (int round = 0; round < 200; round++) damage(kp_schemas[i], &packed, &random);
        kp_buf_release(&packed);
        kp_arena_release(&arena);
    }
}
