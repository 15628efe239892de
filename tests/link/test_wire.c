/* SPDX-License-Identifier: MIT */
#include "proto/wire.h"
#include <criterion/criterion.h>

TestSuite(wire);

static const kp_wire_type types[] = {
#define KP_TYPE(name, number, payload) KP_WIRE_##name,
    KP_WIRE_ROWS(KP_TYPE)
#undef KP_TYPE
};

static kp_buf pack_get(void)
{
    kp_buf bytes;
    kp_buf_init(&bytes, 0);
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = "rq_1";
    envelope.budget_s = 2.5;
    envelope.session = 7;
    const kp_wire_get get = {.what = "plan", .id = "pl_42"};
    kp_err err = {0};
    cr_assert(kp_wire_pack(KP_WIRE_GET, &envelope, &get, &bytes, &err) == KP_OK, "%s", err.msg);
    return bytes;
}

Test(wire, there_and_back)
{
    kp_buf bytes = pack_get();
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_frame frame = {0};
    kp_err err = {0};
    cr_assert(kp_wire_unpack(bytes.data, bytes.len, &arena, &frame, &err) == KP_OK, "%s", err.msg);
    const kp_wire_get *get = frame.payload;
    cr_expect(frame.type == KP_WIRE_GET);
    cr_expect_str_eq(frame.envelope.id, "rq_1");
    cr_expect(frame.envelope.budget_s == 2.5 && frame.envelope.session == 7);
    cr_expect(frame.envelope.seq == UINT64_MAX && !frame.envelope.epoch);
    cr_expect_str_eq(get->what, "plan");
    cr_expect_str_eq(get->id, "pl_42");
    kp_arena_release(&arena);
    kp_buf_release(&bytes);
}

Test(wire, every_type_has_a_schema_and_a_name)
{
    for (size_t i = 0; i < KP_LEN(types); i++) {
        cr_expect(kp_wire_schema(types[i]), "type %d", types[i]);
        cr_expect_str_neq(kp_wire_name(types[i]), "?", "type %d", types[i]);
    }
    cr_expect_str_eq(kp_wire_name((kp_wire_type)9999), "?");
}

/* Every way of cutting or flipping a byte of a message is refused or is another message: never a
 * crash, never bytes behind the end (the copy is exactly as long as the message). */
Test(wire, damaged_bytes)
{
    kp_buf bytes = pack_get();
    for (size_t cut = 0; cut < bytes.len; cut++) {
        kp_arena arena;
        kp_arena_init(&arena, 1 << 20);
        kp_frame frame = {0};
        char *copy = malloc(cut + 1);
        memcpy(copy, bytes.data, cut);
        kp_status status = kp_wire_unpack(copy, cut, &arena, &frame, NULL);
        cr_expect(status == KP_INPUT, "cut at %zu: %d", cut, status);
        free(copy);
        kp_arena_release(&arena);
    }
    for (size_t at = 0; at < bytes.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            kp_arena arena;
            kp_arena_init(&arena, 1 << 20);
            kp_frame frame = {0};
            bytes.data[at] ^= (char)(1 << bit);
            kp_status status = kp_wire_unpack(bytes.data, bytes.len, &arena, &frame, NULL);
            if (at < 5) cr_expect(status != KP_OK, "byte %zu bit %d", at, bit);
            cr_expect((at == 2) == (status == KP_UNSUPPORTED), "byte %zu bit %d", at, bit);
            bytes.data[at] ^= (char)(1 << bit);
            kp_arena_release(&arena);
        }
    kp_buf_release(&bytes);
}

Test(wire, memory_that_runs_out)
{
    kp_buf bytes = pack_get();
    for (uint64_t n = 1; n < 100; n++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        arena.fail_call = n;
        kp_frame frame = {0};
        kp_status status = kp_wire_unpack(bytes.data, bytes.len, &arena, &frame, NULL);
        bool done = arena.calls < n;
        cr_expect(status == (done ? KP_OK : KP_NOMEM), "allocation %d: %d", (int)n, status);
        kp_arena_release(&arena);
        if (done) break;
    }
    kp_buf small;
    kp_buf_init(&small, bytes.len - 1);
    const kp_wire_get get = {.what = "plan", .id = "pl_42"};
    kp_err err = {0};
    cr_expect(kp_wire_pack(KP_WIRE_GET, NULL, &get, &small, &err) == KP_OK);
    kp_buf_release(&small);
    kp_buf_init(&small, 20);
    cr_expect(kp_wire_pack(KP_WIRE_GET, NULL, &get, &small, &err) == KP_INPUT);
    cr_expect(strstr(err.msg, "GET"), "%s", err.msg);
    kp_buf_release(&small);
    kp_buf_release(&bytes);
}

Test(wire, failures_travel)
{
    kp_err sent = {0}, got = {0};
    kp_fail(&sent, KP_CONFLICT, "it is taken");
    kp_hint(&sent, "wait");
    kp_err_at(&sent, "gpu 3");
    kp_error_msg msg = kp_wire_error(&sent, NULL);
    cr_expect(kp_wire_failure(&msg, &got) == KP_CONFLICT);
    cr_expect_str_eq(got.msg, sent.msg);
    cr_expect_str_eq(got.hint, sent.hint);
    cr_expect_str_eq(got.where, sent.where);
    static const char *const odd[] = {"OK", "NO_SUCH_STATUS", NULL};
    for (size_t i = 0; i < KP_LEN(odd); i++) {
        msg = (kp_error_msg){{.code = odd[i]}};
        cr_expect(kp_wire_failure(&msg, &got) == KP_INTERNAL, "row %zu", i);
    }
}
