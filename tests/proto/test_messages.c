/* SPDX-License-Identifier: MIT */
#include "proto/messages.h"
#include "tests/proto/fill.h"
#include <criterion/criterion.h>

/* Every message, full and with all optional fields absent, through both forms and back. */
static void round_trip(const kp_schema *schema, unsigned seed, bool bare)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_buf packed, printed;
    kp_buf_init(&packed, 0);
    kp_buf_init(&printed, 0);
    kp_err err = {0};
    void *value = kp_arena_alloc(&arena, 1, schema->size);
    void *back = kp_arena_alloc(&arena, 1, schema->size);
    test_fill(schema, value, &arena, seed, bare);
    const char *name = schema->name;
    cr_expect_eq(kp_schema_pack(schema, value, &packed, &err), KP_OK, "%s: %s: %s", name, err.where, err.msg);
    cr_expect_eq(kp_schema_unpack(schema, packed.data, packed.len, &arena, back, &err), KP_OK,
                 "%s: %s: %s", name, err.where, err.msg);
    cr_expect(kp_schema_equal(schema, value, back), "%s (%u) through MessagePack", name, seed);
    memset(back, 0, schema->size);
    cr_expect_eq(kp_schema_print(schema, value, &printed, &err), KP_OK, "%s: %s: %s", name, err.where, err.msg);
    cr_expect_eq(kp_schema_read(schema, kp_buf_text(&printed), printed.len, &arena, back, &err), KP_OK,
                 "%s: %s: %s", name, err.where, err.msg);
    cr_expect(kp_schema_equal(schema, value, back), "%s (%u) through JSON: %s", name, seed,
              kp_buf_text(&printed));
    kp_buf_release(&packed);
    kp_buf_release(&printed);
    kp_arena_release(&arena);
}

Test(messages, round_trips)
{
    for (size_t i = 0; i < kp_n_schemas; i++)
        for (unsigned seed = 0; seed < 6; seed++) round_trip(kp_schemas[i], seed, seed == 5);
}
