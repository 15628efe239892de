/* SPDX-License-Identifier: MIT */
#include "planner/estimate/allocator.h"
#include <criterion/criterion.h>

#define KIB      ((uint64_t)1 << 10)
#define MIB      ((uint64_t)1 << 20)
#define NO_LIMIT UINT64_MAX

/* Requests in 1 KiB: {buffer, size}, size 0: freed; a buffer of -1 empties the cache. What is held
 * is worked out by hand from the rules of c10/cuda/CUDACachingAllocator.cpp. */
typedef struct trace {
    const char *what;
    struct {
        int buffer;
        uint32_t kib;
    } step[12];
    uint32_t n;
    uint64_t capacity;
    bool expandable;
    uint64_t allocated, reserved, failed; /* KiB */
} trace;

/* clang-format off */
static const trace traces[] = {
    {"1 KiB: one small segment", {{0, 1}}, 1, NO_LIMIT, false, 1, 2048, 0},
    {"1 MiB is still small, two fill a segment", {{0, 1024}, {1, 1024}}, 2, NO_LIMIT, false, 2048, 2048, 0},
    {"three need two", {{0, 1024}, {1, 1024}, {2, 1024}}, 3, NO_LIMIT, false, 3072, 4096, 0},
    {"above 1 MiB: 20 MiB", {{0, 1025}}, 1, NO_LIMIT, false, 1025, 20480, 0},
    {"6 MiB thrice in 20 MiB", {{0, 6144}, {1, 6144}, {2, 6144}}, 3, NO_LIMIT, false, 18432, 20480, 0},
    {"from 10 MiB on a segment of its own, rounded to 2 MiB", {{0, 10240}}, 1, NO_LIMIT, false, 10240, 10240, 0},
    {"a rest of 1 MiB is not cut off: all of it counts", {{0, 13312}}, 1, NO_LIMIT, false, 14336, 14336, 0},
    {"a larger rest is, and serves", {{0, 12544}, {1, 1792}}, 2, NO_LIMIT, false, 14336, 14336, 0},
    {"a small request never takes a large rest", {{0, 12544}, {1, 512}}, 2, NO_LIMIT, false, 13056, 16384, 0},
    {"freed and taken again", {{0, 30720}, {0, 0}, {1, 30720}}, 3, NO_LIMIT, false, 30720, 30720, 0},
    {"best fit: the smaller of two free blocks, the larger stays whole",
     {{0, 40960}, {1, 30720}, {0, 0}, {1, 0}, {2, 20480}, {3, 40960}}, 6, NO_LIMIT, false, 71680, 71680, 0},
    {"free neighbours join", {{0, 20480}, {0, 0}, {1, 6144}, {2, 6144}, {1, 0}, {2, 0}, {3, 20480}}, 7, NO_LIMIT, false,
     20480, 20480, 0},
    {"what lies between keeps them apart", {{0, 6144}, {1, 6144}, {2, 6144}, {0, 0}, {2, 0}, {3, 9216}}, 6, NO_LIMIT,
     false, 18432, 40960, 0},
    {"free segments go back before a request fails", {{0, 30720}, {0, 0}, {1, 40960}}, 3, 50 * MIB, false, 40960, 40960,
     0},
    {"but not those in use in part", {{0, 4096}, {1, 12288}, {1, 0}, {2, 40960}}, 4, 50 * MIB, false, 16384, 20480,
     40960},
    {"the largest that failed counts", {{0, 30720}, {1, 25600}, {2, 40960}, {3, 2048}}, 4, 50 * MIB, false, 32768, 51200,
     40960},
    {"an emptied cache", {{0, 30720}, {0, 0}, {-1, 0}, {1, 40960}}, 4, NO_LIMIT, false, 40960, 40960, 0},
    {"expandable: pages of 20 MiB", {{0, 30720}}, 1, NO_LIMIT, true, 30720, 40960, 0},
    {"expandable: the next lies behind", {{0, 30720}, {1, 10240}}, 2, NO_LIMIT, true, 40960, 40960, 0},
    {"expandable: free pages grow", {{0, 30720}, {0, 0}, {1, 61440}}, 3, NO_LIMIT, true, 61440, 61440, 0},
    {"expandable: small ones have pages of 2 MiB", {{0, 512}, {1, 1024}, {2, 1024}}, 3, NO_LIMIT, true, 2560, 4096, 0},
    {"expandable: whole free pages go back",
     {{0, 40960}, {1, 10240}, {0, 0}, {2, 61440}}, 4, 81920 * KIB, true, 71680, 81920, 0},
    {"expandable: a hole is mapped again", {{0, 40960}, {1, 20480}, {0, 0}, {-1, 0}, {2, 40960}}, 5, NO_LIMIT, true,
     61440, 61440, 0},
};
/* clang-format on */

static kp_status replay(const trace *t, kp_arena *arena, kp_replayed *ret, kp_err *err)
{
    kp_request list[12];
    for (uint32_t i = 0; i < t->n; i++)
        list[i] = (kp_request){.buffer = t->step[i].buffer < 0 ? KP_ALLOCATOR_EMPTY
                                                               : (uint32_t)t->step[i].buffer,
                               .bytes = t->step[i].kib * KIB};
    kp_requests requests = {list, t->n, 12, t->capacity, t->expandable};
    return kp_allocator_torch(&requests, arena, ret, err);
}

Test(allocator, rules_by_hand)
{
    for (size_t i = 0; i < KP_LEN(traces); i++) {
        const trace *t = &traces[i];
        kp_arena arena;
        kp_err err = {0};
        kp_replayed got = {0};
        kp_arena_init(&arena, 0);
        cr_assert_eq(replay(t, &arena, &got, &err), KP_OK, "%s", t->what);
        cr_expect_eq(got.allocated_bytes, t->allocated * KIB, "%s: %g KiB allocated", t->what,
                     (double)got.allocated_bytes / 1024);
        cr_expect_eq(got.reserved_bytes, t->reserved * KIB, "%s: %g KiB reserved", t->what,
                     (double)got.reserved_bytes / 1024);
        cr_expect_eq(got.failed_bytes, t->failed * KIB, "%s: %g KiB failed", t->what,
                     (double)got.failed_bytes / 1024);
        kp_arena_release(&arena);
    }
}

/* Thousands of random requests: never less held than handed out, never more than the capacity, and
 * the same in both kinds of segments when nothing fails. */
Test(allocator, random_requests_keep_the_sums)
{
    enum { BUFFERS = 64, REQUESTS = 4000 };
    for (uint32_t seed = 1; seed <= 8; seed++) {
        static kp_request list[REQUESTS];
        uint64_t held[BUFFERS] = {0}, sum = 0, most = 0, x = seed;
        for (uint32_t i = 0; i < REQUESTS; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            uint32_t b = (uint32_t)(x >> 33) % BUFFERS;
            uint64_t bytes = held[b] ? 0 : ((x >> 40) % 4096 + 1) * ((x >> 21) % 9000 + 1);
            list[i] = (kp_request){.buffer = b, .bytes = bytes};
            sum += (bytes + 511) / 512 * 512 - held[b];
            held[b] = (bytes + 511) / 512 * 512;
            most = kp_max_u64(most, sum);
        }
        for (int expandable = 0; expandable < 2; expandable++)
            for (int limited = 0; limited < 2; limited++) {
                kp_arena arena;
                kp_err err = {0};
                kp_replayed got;
                kp_arena_init(&arena, 0);
                kp_requests requests = {list, REQUESTS, BUFFERS, limited ? most * 3 / 4 : NO_LIMIT,
                                        expandable};
                cr_assert_eq(kp_allocator_torch(&requests, &arena, &got, &err), KP_OK);
                cr_expect(got.reserved_bytes >= got.allocated_bytes, "seed %u", seed);
                cr_expect(got.reserved_bytes <= requests.capacity_bytes, "seed %u", seed);
                cr_expect_eq(got.failed_bytes > 0, limited, "seed %u", seed);
                if (!limited) cr_expect(got.allocated_bytes >= most, "seed %u", seed);
                kp_arena_release(&arena);
            }
    }
}

Test(allocator, out_of_memory_is_a_status)
{
    for (uint64_t call = 1; call < 12; call++) {
        kp_arena arena;
        kp_err err = {0};
        kp_replayed got;
        kp_arena_init(&arena, 0);
        arena.fail_call = call;
        kp_status status = replay(&traces[10], &arena, &got, &err);
        cr_expect(status == KP_OK || status == KP_NOMEM, "call %u", (unsigned)call);
        cr_expect(call > 2 || status == KP_NOMEM, "call %u", (unsigned)call);
        kp_arena_release(&arena);
    }
}
