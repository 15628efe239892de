/* SPDX-License-Identifier: MIT
 *
 * TensorFlow's BFC allocator against its rules by hand. */
#include "planner/estimate/allocator.h"
#include <criterion/criterion.h>

#define MIB      ((uint64_t)1 << 20)
#define NO_LIMIT UINT64_MAX

/* Requests in bytes: {buffer, size}, size 0: freed. What is in use is worked out from
 * tensorflow/core/common_runtime/bfc_allocator.cc. */
typedef struct trace {
    const char *what;
    struct {
        uint32_t buffer;
        uint64_t bytes;
    } step[8];
    uint32_t n;
    uint64_t capacity, asked, in_use, failed;
} trace;

/* clang-format off */
static const trace traces[] = {
    {"one byte: 256", {{0, 1}}, 1, NO_LIMIT, 1, 256, 0},
    {"257 bytes: 512", {{0, 257}}, 1, NO_LIMIT, 257, 512, 0},
    {"two lie side by side", {{0, 1000}, {1, 1000}}, 2, NO_LIMIT, 2000, 2048, 0},
    /* 1024 bytes between two others, then 768: 1024 is less than twice, so all of it is taken. */
    {"a chunk of less than twice is not cut", {{0, 1024}, {1, 256}, {0, 0}, {2, 768}}, 4, NO_LIMIT, 1280, 1280, 0},
    {"and counts whole", {{0, 1024}, {1, 256}, {0, 0}, {2, 768}, {3, 256}}, 5, NO_LIMIT, 1280, 1536, 0},
    {"one of twice is", {{0, 1024}, {1, 256}, {0, 0}, {2, 512}, {3, 512}}, 5, NO_LIMIT, 1280, 1280, 0},
    {"128 MiB more are cut off", {{0, 512 * MIB}, {1, 256}, {0, 0}, {2, 384 * MIB}, {3, 128 * MIB}}, 5, NO_LIMIT,
     512 * MIB + 256, 512 * MIB + 256, 0},
    {"less are not", {{0, 511 * MIB}, {1, 256}, {0, 0}, {2, 384 * MIB}, {3, 128 * MIB}}, 5, NO_LIMIT,
     512 * MIB + 256, 639 * MIB + 256, 0},
    /* 2048 and 1024 are free: the bin of 1024 to 2047 comes first. */
    {"best fit", {{0, 2048}, {1, 256}, {2, 1024}, {3, 256}, {0, 0}, {2, 0}, {4, 768}, {5, 2048}}, 8, NO_LIMIT, 3584,
     3584, 0},
    {"free neighbours join", {{0, 512}, {1, 512}, {2, 256}, {0, 0}, {1, 0}, {3, 1024}}, 6, NO_LIMIT, 1280, 1280, 0},
    {"what is larger than the region fails", {{0, 512}, {1, 1024}}, 2, 1024, 512, 512, 1024},
    {"what lies between keeps two apart", {{0, 512}, {1, 256}, {2, 256}, {0, 0}, {2, 0}, {3, 768}}, 6, 1024, 1024, 1024,
     768},
};
/* clang-format on */

Test(bfc, rules_by_hand)
{
    for (size_t i = 0; i < KP_LEN(traces); i++) {
        const trace *t = &traces[i];
        kp_arena arena;
        kp_err err = {0};
        kp_replayed got;
        kp_request list[8];
        kp_arena_init(&arena, 0);
        for (uint32_t k = 0; k < t->n; k++)
            list[k] = (kp_request){.buffer = t->step[k].buffer, .bytes = t->step[k].bytes};
        kp_requests requests = {list, t->n, 8, t->capacity, false};
        cr_assert_eq(kp_allocator_bfc(&requests, &arena, &got, &err), KP_OK, "%s", err.msg);
        cr_expect_eq(got.allocated_bytes, t->asked, "%s: asked %llu", t->what,
                     (unsigned long long)got.allocated_bytes);
        cr_expect_eq(got.reserved_bytes, t->in_use, "%s: in use %llu", t->what,
                     (unsigned long long)got.reserved_bytes);
        cr_expect_eq(got.failed_bytes, t->failed, "%s: failed %llu", t->what,
                     (unsigned long long)got.failed_bytes);
        kp_arena_release(&arena);
    }
}
