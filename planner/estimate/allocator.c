/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/allocator.c — torch's caching allocator. Blocks of a segment are a list in the
 * order of their addresses; free ones stand in their pool, sorted by size, then address. */
#include "planner/estimate/allocator.h"

#define NONE UINT32_MAX
#define MIB  ((uint64_t)1 << 20)

enum { SMALL, LARGE, KINDS, POOLS = KINDS * KP_ALLOCATOR_STREAMS }; /* kind + KINDS x stream */

#define MIN_BLOCK   512        /* kMinBlockSize */
#define SMALL_SIZE  MIB        /* kSmallSize: requests up to it are small */
#define MIN_LARGE   (10 * MIB) /* kMinLargeAlloc: from it on a request has its own segment */
#define ROUND_LARGE (2 * MIB)  /* kRoundLarge */

/* kSmallBuffer, kLargeBuffer: segments, and pages of expandable ones. */
static const uint64_t page_bytes[KINDS] = {2 * MIB, 20 * MIB};
/* Room for addresses in an expandable segment: whole pages, more than any card has. */
#define ROOM ((20 * MIB) << 36)

typedef enum state { FREE, USED, UNMAPPED } state;

typedef struct block {
    uint64_t at, bytes; /* addresses only order blocks */
    uint32_t prev, next;
    uint8_t pool;
    uint8_t state;
} block;

typedef struct pool {
    uint32_t *list; /* free blocks, smallest first */
    uint32_t n, first;
    size_t cap;
} pool;

typedef struct heap {
    const kp_requests *ask;
    kp_arena *arena;
    kp_err *err;
    block *blocks;
    uint32_t n_blocks, unused; /* unused: list of blocks to use again, by next */
    size_t cap_blocks;
    pool pools[POOLS];
    uint32_t *held; /* block of each buffer */
    uint64_t next_at, allocated, reserved, apart;
    kp_replayed out;
} heap;

/* ---- blocks ---- */

static kp_status new_block(heap *h, block b, uint32_t *ret)
{
    uint32_t id = h->unused;
    if (id != NONE) {
        h->unused = h->blocks[id].next;
    } else {
        if (!KP_GROW(h->arena, h->blocks, h->n_blocks, h->cap_blocks)) return kp_nomem(h->err);
        id = h->n_blocks++;
    }
    h->blocks[id] = b;
    if (b.prev != NONE) h->blocks[b.prev].next = id;
    if (b.next != NONE) h->blocks[b.next].prev = id;
    *ret = id;
    return KP_OK;
}

/* Takes a block out of its segment's list. */
static void unlink_block(heap *h, uint32_t id)
{
    block *b = &h->blocks[id];
    if (b->prev != NONE) h->blocks[b->prev].next = b->next;
    if (b->next != NONE) h->blocks[b->next].prev = b->prev;
    b->next = h->unused;
    h->unused = id;
}

/* Cuts a block after `bytes`; the rest is a block of the same state, in no pool. */
static kp_status cut(heap *h, uint32_t id, uint64_t bytes, uint32_t *ret)
{
    block b = h->blocks[id];
    KP_TRY(new_block(h, (block){b.at + bytes, b.bytes - bytes, id, b.next, b.pool, b.state}, ret));
    h->blocks[id].bytes = bytes;
    return KP_OK;
}

/* ---- pools ---- */

/* The place of the first free block that is not before (bytes, at). */
static uint32_t place(const heap *h, const pool *p, uint64_t bytes, uint64_t at)
{
    uint32_t from = 0, to = p->n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        const block *b = &h->blocks[p->list[middle]];
        if (b->bytes < bytes || (b->bytes == bytes && b->at < at))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static kp_status put(heap *h, uint32_t id)
{
    block *b = &h->blocks[id];
    pool *p = &h->pools[b->pool];
    if (!KP_GROW(h->arena, p->list, p->n, p->cap)) return kp_nomem(h->err);
    uint32_t i = place(h, p, b->bytes, b->at);
    memmove(p->list + i + 1, p->list + i, (p->n - i) * sizeof(*p->list));
    p->list[i] = id;
    p->n++;
    b->state = FREE;
    return KP_OK;
}

static void take_out(heap *h, uint32_t id)
{
    pool *p = &h->pools[h->blocks[id].pool];
    uint32_t i = place(h, p, h->blocks[id].bytes, h->blocks[id].at);
    p->n--;
    memmove(p->list + i, p->list + i + 1, (p->n - i) * sizeof(*p->list));
}

/* Joins a block that is in no pool with free neighbours and puts it into its pool. */
static kp_status give(heap *h, uint32_t id)
{
    uint32_t prev = h->blocks[id].prev, next = h->blocks[id].next;
    if (next != NONE && h->blocks[next].state == FREE) {
        take_out(h, next);
        h->blocks[id].bytes += h->blocks[next].bytes;
        unlink_block(h, next);
    }
    if (prev != NONE && h->blocks[prev].state == FREE) {
        take_out(h, prev);
        h->blocks[prev].bytes += h->blocks[id].bytes;
        unlink_block(h, id);
        id = prev;
    }
    return put(h, id);
}

static void reserve(heap *h, uint8_t k, uint64_t bytes)
{
    h->reserved += bytes;
    if (k >= KINDS) h->apart += bytes;
    h->out.apart_bytes = kp_max_u64(h->out.apart_bytes, h->apart);
    h->out.reserved_bytes = kp_max_u64(h->out.reserved_bytes, h->reserved);
}

static bool has_room(const heap *h, uint64_t bytes)
{
    return bytes <= kp_sub_u64(h->ask->capacity_bytes, h->reserved);
}

/* ---- segments of one size ---- */

/* Gives back segments that are one free block. */
static void drop_free(heap *h)
{
    for (int k = 0; k < POOLS; k++) {
        pool *p = &h->pools[k];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < p->n; i++) {
            block *b = &h->blocks[p->list[i]];
            if (b->prev != NONE || b->next != NONE) {
                p->list[kept++] = p->list[i];
                continue;
            }
            h->reserved -= b->bytes;
            if (k >= KINDS) h->apart -= b->bytes;
            unlink_block(h, p->list[i]);
        }
        p->n = kept;
    }
}

static uint64_t segment_bytes(uint64_t bytes)
{
    if (bytes <= SMALL_SIZE) return page_bytes[SMALL];
    return bytes < MIN_LARGE ? page_bytes[LARGE] : kp_round_up(bytes, ROUND_LARGE);
}

/* A block in no pool that has the bytes, of a new segment; NONE: no room. */
static kp_status new_segment(heap *h, uint8_t k, uint64_t bytes, uint32_t *ret)
{
    uint64_t whole = segment_bytes(bytes);
    *ret = NONE;
    if (!has_room(h, whole)) drop_free(h);
    if (!has_room(h, whole)) return KP_OK;
    KP_TRY(new_block(h, (block){h->next_at, whole, NONE, NONE, k, FREE}, ret));
    h->next_at += whole;
    reserve(h, k, whole);
    return KP_OK;
}

/* ---- expandable segments ---- */

/* Gives back the whole pages of free blocks. */
static kp_status drop_pages(heap *h)
{
    for (uint8_t k = 0; k < POOLS; k++) {
        uint64_t page = page_bytes[k % KINDS];
        for (uint32_t id = h->pools[k].first; id != NONE; id = h->blocks[id].next) {
            block b = h->blocks[id];
            uint64_t from = kp_round_up(b.at, page), to = (b.at + b.bytes) / page * page;
            if (b.state != FREE || from >= to) continue;
            uint32_t middle = id, rest = NONE;
            take_out(h, id);
            if (from > b.at) KP_TRY(cut(h, id, from - b.at, &middle));
            if (to < b.at + b.bytes) KP_TRY(cut(h, middle, to - from, &rest));
            h->blocks[middle].state = UNMAPPED;
            h->reserved -= to - from;
            if (k >= KINDS) h->apart -= to - from;
            if (middle != id) KP_TRY(put(h, id));
            if (rest != NONE) KP_TRY(put(h, rest));
            id = middle;
        }
    }
    return KP_OK;
}

/* The first free or unmapped block from which on enough lies side by side, and how much of that
 * must be mapped: whole pages. */
static uint32_t find_room(const heap *h, uint8_t k, uint64_t bytes, uint64_t *ret_new)
{
    for (uint32_t id = h->pools[k].first; id != NONE; id = h->blocks[id].next) {
        uint64_t have = 0, fresh = 0;
        for (uint32_t i = id; i != NONE && h->blocks[i].state != USED && have < bytes;
             i = h->blocks[i].next) {
            const block *b = &h->blocks[i];
            uint64_t part = kp_min_u64(b->bytes, kp_round_up(bytes - have, page_bytes[k % KINDS]));
            if (b->state == UNMAPPED) fresh += part;
            have += b->state == UNMAPPED ? part : b->bytes;
        }
        if (have < bytes) continue;
        *ret_new = fresh;
        return id;
    }
    return NONE;
}

/* Maps from `id` on until the joined block, in no pool, has the bytes. */
static kp_status map(heap *h, uint32_t id, uint64_t bytes)
{
    uint64_t have = 0;
    uint32_t i = id;
    while (have < bytes) {
        block b = h->blocks[i];
        uint64_t part = kp_min_u64(b.bytes, kp_round_up(bytes - have, page_bytes[b.pool % KINDS]));
        uint32_t rest;
        if (b.state == FREE)
            take_out(h, i);
        else if (part < b.bytes)
            KP_TRY(cut(h, i, part, &rest));
        have += h->blocks[i].bytes;
        uint32_t next = h->blocks[i].next;
        if (i != id) unlink_block(h, i);
        i = next;
    }
    h->blocks[id].bytes = have;
    h->blocks[id].state = FREE;
    return KP_OK;
}

static kp_status grow_segment(heap *h, uint8_t k, uint64_t bytes, uint32_t *ret)
{
    pool *p = &h->pools[k];
    uint64_t fresh = 0;
    *ret = NONE;
    if (p->first == NONE) {
        block room = {k * ROOM, ROOM, NONE, NONE, k, UNMAPPED};
        KP_TRY(new_block(h, room, &p->first));
    }
    uint32_t id = find_room(h, k, bytes, &fresh);
    if (!has_room(h, fresh)) {
        KP_TRY(drop_pages(h));
        id = find_room(h, k, bytes, &fresh);
    }
    if (id == NONE || !has_room(h, fresh)) return KP_OK;
    KP_TRY(map(h, id, bytes));
    reserve(h, k, fresh);
    *ret = id;
    return KP_OK;
}

/* ---- requests ---- */

static bool cuts_rest(uint8_t k, uint64_t rest)
{
    return k % KINDS == SMALL ? rest >= MIN_BLOCK : rest > SMALL_SIZE;
}

static kp_status allocate(heap *h, kp_request r)
{
    uint64_t bytes = kp_round_up(r.bytes, MIN_BLOCK);
    uint8_t k = (uint8_t)((bytes <= SMALL_SIZE ? SMALL : LARGE) + KINDS * r.stream);
    pool *p = &h->pools[k];
    uint32_t i = place(h, p, bytes, 0), id = NONE, rest;
    if (i < p->n) {
        id = p->list[i];
        take_out(h, id);
    } else {
        KP_TRY(h->ask->expandable ? grow_segment(h, k, bytes, &id) : new_segment(h, k, bytes, &id));
    }
    h->held[r.buffer] = id;
    if (id == NONE) {
        if (!r.spare) h->out.failed_bytes = kp_max_u64(h->out.failed_bytes, r.bytes);
        return KP_OK;
    }
    if (cuts_rest(k, h->blocks[id].bytes - bytes)) {
        KP_TRY(cut(h, id, bytes, &rest));
        KP_TRY(put(h, rest));
    }
    h->blocks[id].state = USED;
    h->allocated += h->blocks[id].bytes;
    h->out.allocated_bytes = kp_max_u64(h->out.allocated_bytes, h->allocated);
    return KP_OK;
}

static kp_status release(heap *h, uint32_t buffer)
{
    uint32_t id = h->held[buffer];
    if (id == NONE) return KP_OK;
    h->held[buffer] = NONE;
    h->allocated -= h->blocks[id].bytes;
    return give(h, id);
}

/* torch.cuda.empty_cache(). */
static kp_status empty(heap *h)
{
    if (h->ask->expandable) return drop_pages(h);
    drop_free(h);
    return KP_OK;
}

kp_status kp_allocator_torch(const kp_requests *requests, kp_arena *arena, kp_replayed *ret,
                             kp_err *err)
{
    heap h = {.ask = requests, .arena = arena, .err = err, .unused = NONE};
    for (int k = 0; k < POOLS; k++) h.pools[k].first = NONE;
    h.held = KP_NEW(arena, uint32_t, requests->n_buffers);
    if (!h.held) return kp_nomem(err);
    memset(h.held, 0xff, requests->n_buffers * sizeof(*h.held));
    for (uint32_t i = 0; i < requests->n; i++) {
        kp_request r = requests->list[i];
        KP_TRY(r.buffer == KP_ALLOCATOR_EMPTY ? empty(&h)
               : r.bytes                      ? allocate(&h, r)
                                              : release(&h, r.buffer));
    }
    *ret = h.out;
    return KP_OK;
}
