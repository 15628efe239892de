/* SPDX-License-Identifier: MIT
 *
 * proto/arena.h — the memory of one request.
 *
 * Everything a request makes lives in one arena and goes away with it. Allocations are zeroed
 * and never freed one by one; mark and rewind give back what a candidate of the search used.
 * An arena has a limit, so hostile input ends as a status and not as a dead machine. In
 * sanitizer builds each allocation is a malloc of its own, so that overruns are seen. */
#ifndef KP_PROTO_ARENA_H
#define KP_PROTO_ARENA_H

#include "proto/status.h"

typedef struct kp_arena_block kp_arena_block;

typedef struct kp_arena {
    kp_arena_block *last; /* newest block, linked to older ones */
    kp_arena_block *spare; /* rewound blocks, for use again */
    size_t spare_bytes;
    size_t used_bytes;    /* handed out since init, less what was rewound */
    size_t limit_bytes;   /* used_bytes never passes it */
    uint64_t calls;       /* allocations so far */
    uint64_t fail_call;   /* the allocation with this number fails (tests); 0: none */
} kp_arena;

typedef struct kp_arena_mark {
    kp_arena_block *last;
    size_t block_used, used_bytes;
} kp_arena_mark;

/* A ready, empty arena; limit_bytes 0 means 4 GiB. Allocates nothing yet. */
void kp_arena_init(kp_arena *arena, size_t limit_bytes);

/* Frees everything; the arena is as after init with the same limit. Accepts a zeroed arena. */
void kp_arena_release(kp_arena *arena);

/* count x size zeroed bytes, aligned for any type; NULL when malloc fails, the product
 * overflows or the limit is reached. A count of 0 gives a valid pointer. */
void *kp_arena_alloc(kp_arena *arena, size_t count, size_t size);

/* A copy of len bytes with a 0 behind; NULL as above. */
char *kp_arena_strn(kp_arena *arena, const char *text, size_t len);
char *kp_arena_str(kp_arena *arena, const char *text);

/* A formatted string; NULL as above. */
char *kp_arena_fmt(kp_arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Where the arena stands, and back to there (everything allocated since is gone). */
kp_arena_mark kp_arena_tell(const kp_arena *arena);
void kp_arena_rewind(kp_arena *arena, kp_arena_mark mark);

/* The one sentence for a failed allocation. */
kp_status kp_nomem(kp_err *err);

#define KP_NEW(arena, type, count) ((type *)kp_arena_alloc((arena), (count), sizeof(type)))

/* A growing array in an arena: doubles by copying, the old copy stays in the arena. `items` is
 * a typed pointer, `n` and `cap` integers. Evaluates to false when memory is out. */
#define KP_GROW(arena, items, n, cap)                                                              \
    ((n) < (cap) || kp_arena_grow((arena), (void **)&(items), (n), &(cap), sizeof(*(items))))
bool kp_arena_grow(kp_arena *arena, void **items, size_t n, size_t *cap, size_t size);

#endif
