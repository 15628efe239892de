/* SPDX-License-Identifier: MIT */
#include "proto/arena.h"
#include <criterion/criterion.h>

Test(arena, memory_is_zeroed_and_aligned)
{
    static const size_t sizes[] = {1, 3, 16, 17, 1000, 4096, 300000, 1, 2000000, 0, 5};
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (int round = 0; round < 3; round++) {
        kp_arena_mark mark = kp_arena_tell(&arena);
        for (size_t i = 0; i < KP_LEN(sizes); i++) {
            unsigned char *p = kp_arena_alloc(&arena, sizes[i], 1);
            cr_assert(p, "size %zu", sizes[i]);
            cr_expect_eq((uintptr_t)p % 16, 0, "size %zu", sizes[i]);
            unsigned sum = 0;
            for (size_t b = 0; b < sizes[i]; b++) sum |= p[b];
            cr_expect_eq(sum, 0, "size %zu in round %d", sizes[i], round);
            memset(p, 0xff, sizes[i]);
        }
        kp_arena_rewind(&arena, mark);
        cr_expect_eq(arena.used_bytes, mark.used_bytes);
    }
    kp_arena_release(&arena);
    cr_expect(!arena.last && !arena.used_bytes);
    kp_arena_release(&arena);
    kp_arena zero = {0};
    kp_arena_release(&zero);
}

Test(arena, rewind_keeps_what_is_older)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    char *old = kp_arena_str(&arena, "old");
    for (size_t big = 1; big < 2000000; big *= 7) {
        kp_arena_mark mark = kp_arena_tell(&arena);
        for (int i = 0; i < 20; i++) memset(kp_arena_alloc(&arena, 1, big), 1, big);
        kp_arena_rewind(&arena, mark);
        cr_expect_str_eq(old, "old");
        cr_expect_eq(kp_arena_tell(&arena).used_bytes, mark.used_bytes);
    }
    kp_arena_release(&arena);
}

Test(arena, limit)
{
    for (size_t limit = 1; limit < 5000; limit += 97) {
        kp_arena arena;
        kp_arena_init(&arena, limit);
        unsigned n = 0;
        while (n < 10000 && kp_arena_alloc(&arena, 3, 7)) n++;
        cr_expect_leq(arena.used_bytes, limit, "limit %zu: %zu", limit, arena.used_bytes);
        cr_expect_lt(n, 10000);
        cr_expect_null(kp_arena_alloc(&arena, limit, 2));
        kp_arena_release(&arena);
        if (limit >= 16) cr_expect(kp_arena_alloc(&arena, 1, 1), "limit %zu: empty again", limit);
        kp_arena_release(&arena);
    }
}

Test(arena, limit_can_be_used_up)
{
    kp_arena arena;
    kp_arena_init(&arena, 64);
    cr_expect(kp_arena_alloc(&arena, 4, 16));
    cr_expect_eq(arena.used_bytes, 64);
    cr_expect_null(kp_arena_alloc(&arena, 1, 1));
    kp_arena_release(&arena);
}

static const struct {
    size_t count, size;
} huge[] = {
    {SIZE_MAX, 1}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {1, SIZE_MAX - 8}, {(size_t)5 << 30, 1},
};

Test(arena, products_that_overflow)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < KP_LEN(huge); i++)
        cr_expect_null(kp_arena_alloc(&arena, huge[i].count, huge[i].size), "row %zu", i);
    cr_expect_null(kp_arena_strn(&arena, "", SIZE_MAX));
    cr_expect_eq(arena.used_bytes, 0);
    kp_arena_release(&arena);
}

Test(arena, texts)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    cr_expect_str_eq(kp_arena_strn(&arena, "abcdef", 3), "abc");
    cr_expect_str_eq(kp_arena_str(&arena, ""), "");
    cr_expect_str_eq(kp_arena_fmt(&arena, "%s-%d", "x", 42), "x-42");
    kp_arena_release(&arena);
}

Test(arena, a_given_call_fails)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    arena.fail_call = 3;
    for (unsigned call = 1; call < 6; call++)
        cr_expect_eq(kp_arena_alloc(&arena, 1, 1) == NULL, call == 3, "call %u", call);
    cr_expect_eq(arena.calls, 5);
    kp_arena_release(&arena);
    kp_err err = {0};
    cr_expect_eq(kp_nomem(&err), KP_NOMEM);
    cr_expect(err.msg[0] && err.hint[0]);
}

Test(arena, growing_array)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    uint32_t *items = NULL;
    size_t cap = 0;
    for (uint32_t n = 0; n < 10000; n++) {
        cr_assert(KP_GROW(&arena, items, n, cap));
        items[n] = n * 3;
    }
    for (uint32_t n = 0; n < 10000; n++) cr_assert_eq(items[n], n * 3);
    arena.limit_bytes = arena.used_bytes;
    cr_expect_not(KP_GROW(&arena, items, cap, cap));
    cr_expect_eq(items[9999], 29997, "a failed growth leaves the array as it is");
    kp_arena_release(&arena);
}
