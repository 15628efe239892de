/* SPDX-License-Identifier: MIT */
#include "proto/arena.h"

#if defined(__SANITIZE_ADDRESS__)
#define KP_ARENA_BLOCK_BYTES 0 /* every allocation its own malloc */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KP_ARENA_BLOCK_BYTES 0
#endif
#endif
#ifndef KP_ARENA_BLOCK_BYTES
#define KP_ARENA_BLOCK_BYTES (256u << 10)
#endif
#define KP_ARENA_ALIGN 16u
#define KP_ARENA_SPARE_BYTES ((size_t)64 << 20) /* rewound blocks kept for the next candidate */

struct kp_arena_block {
    kp_arena_block *older;
    size_t used, size;
    _Alignas(KP_ARENA_ALIGN) char bytes[];
};

void kp_arena_init(kp_arena *arena, size_t limit_bytes)
{
    *arena = (kp_arena){.limit_bytes = limit_bytes ? limit_bytes : (size_t)4 << 30};
}

void kp_arena_release(kp_arena *arena)
{
    kp_arena_rewind(arena, (kp_arena_mark){0});
    while (arena->spare) {
        kp_arena_block *block = arena->spare;
        arena->spare = block->older;
        free(block);
    }
    arena->spare_bytes = 0;
}

/* The block that was rewound last, if it is large enough: candidates that follow each other need
 * the same blocks in the same order, and fresh pages cost more than the work in them. */
static kp_arena_block *block_again(kp_arena *arena, size_t need)
{
    kp_arena_block *block = arena->spare;
    if (!block || block->size < need) return NULL;
    arena->spare = block->older;
    arena->spare_bytes -= block->size;
    return block;
}

static kp_arena_block *block_new(kp_arena *arena, size_t need)
{
    size_t size = need > KP_ARENA_BLOCK_BYTES ? need : KP_ARENA_BLOCK_BYTES;
    kp_arena_block *block = block_again(arena, need);
    if (block) size = block->size;
    else block = malloc(sizeof(*block) + size);
    if (!block) return NULL;
    *block = (kp_arena_block){.older = arena->last, .size = size};
    arena->last = block;
    return block;
}

static void block_done(kp_arena *arena, kp_arena_block *block)
{
    bool spare = KP_ARENA_BLOCK_BYTES && block->size <= KP_ARENA_SPARE_BYTES - arena->spare_bytes;
    if (!spare) {
        free(block);
        return;
    }
    block->older = arena->spare;
    arena->spare = block;
    arena->spare_bytes += block->size;
}

void *kp_arena_alloc(kp_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    if (++arena->calls == arena->fail_call) return NULL;
    if (bytes > SIZE_MAX / 2) return NULL;
    size_t unit = KP_ARENA_BLOCK_BYTES ? KP_ARENA_ALIGN : 1;
    size_t need = bytes ? (bytes + unit - 1) & ~(unit - 1) : unit;
    if (need > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - need) return NULL;
    kp_arena_block *block = arena->last;
    if (!block || block->size - block->used < need) block = block_new(arena, need);
    if (!block) return NULL;
    void *ret = block->bytes + block->used;
    block->used += need;
    arena->used_bytes += need;
    memset(ret, 0, bytes);
    return ret;
}

char *kp_arena_strn(kp_arena *arena, const char *text, size_t len)
{
    char *copy = len == SIZE_MAX ? NULL : kp_arena_alloc(arena, len + 1, 1);
    if (copy) memcpy(copy, text, len);
    return copy;
}

char *kp_arena_str(kp_arena *arena, const char *text)
{
    return kp_arena_strn(arena, text, strlen(text));
}

char *kp_arena_fmt(kp_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = len < 0 ? NULL : kp_arena_alloc(arena, (size_t)len + 1, 1);
    if (text) vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

kp_arena_mark kp_arena_tell(const kp_arena *arena)
{
    return (kp_arena_mark){
        .last = arena->last,
        .block_used = arena->last ? arena->last->used : 0,
        .used_bytes = arena->used_bytes,
    };
}

void kp_arena_rewind(kp_arena *arena, kp_arena_mark mark)
{
    while (arena->last != mark.last) {
        kp_arena_block *block = arena->last;
        arena->last = block->older;
        block_done(arena, block);
    }
    if (arena->last) arena->last->used = mark.block_used;
    arena->used_bytes = mark.used_bytes;
}

kp_status kp_nomem(kp_err *err)
{
    kp_fail(err, KP_NOMEM, "out of memory");
    kp_hint(err, "the request needs more memory than its limit or this machine allows");
    return KP_NOMEM;
}

bool kp_arena_grow(kp_arena *arena, void **items, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? *cap * 2 : 16;
    void *grown = more > *cap ? kp_arena_alloc(arena, more, size) : NULL;
    if (!grown) return false;
    if (n) memcpy(grown, *items, n * size);
    *items = grown;
    *cap = more;
    return true;
}
