/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/bfc.c — TensorFlow's "best fit with coalescing" allocator. Chunks of the region
 * are a list in the order of their addresses; free ones stand in the bin of their size, sorted by
 * size, then address. */
#include "planner/estimate/allocator.h"

#define NONE      UINT32_MAX
#define BINS      21                    /* kNumBins: 256 B << i */
#define LEAST     256                   /* kMinAllocationSize */
#define MOST_LOST ((uint64_t)128 << 20) /* kMaxInternalFragmentation */
#define REGION    ((uint64_t)1 << 62)   /* where there is no limit */

typedef struct chunk {
    uint64_t at, bytes;
    uint32_t prev, next;
    bool used;
} chunk;

typedef struct bin {
    uint32_t *list; /* free chunks, smallest first */
    uint32_t n;
    size_t cap;
} bin;

typedef struct heap {
    kp_arena *arena;
    kp_err *err;
    chunk *chunks;
    uint32_t n_chunks, spare; /* spare: list of chunks to use again, by next */
    size_t cap_chunks;
    bin bins[BINS];
    uint32_t *held;  /* chunk of each buffer; NONE */
    uint64_t *asked; /* bytes of each buffer */
    uint64_t allocated, in_use;
    kp_replayed out;
} heap;

static uint32_t bin_of(uint64_t bytes)
{
    uint32_t i = 0;
    while (i + 1 < BINS && (uint64_t)LEAST << (i + 1) <= bytes) i++;
    return i;
}

/* The place of the first free chunk of a bin that is not before (bytes, at). */
static uint32_t place(const heap *h, const bin *b, uint64_t bytes, uint64_t at)
{
    uint32_t from = 0, to = b->n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        const chunk *c = &h->chunks[b->list[middle]];
        if (c->bytes < bytes || (c->bytes == bytes && c->at < at))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static kp_status put(heap *h, uint32_t id)
{
    chunk *c = &h->chunks[id];
    bin *b = &h->bins[bin_of(c->bytes)];
    if (!KP_GROW(h->arena, b->list, b->n, b->cap)) return kp_nomem(h->err);
    uint32_t i = place(h, b, c->bytes, c->at);
    memmove(b->list + i + 1, b->list + i, (b->n - i) * sizeof(*b->list));
    b->list[i] = id;
    b->n++;
    c->used = false;
    return KP_OK;
}

static void take_out(heap *h, uint32_t id)
{
    const chunk *c = &h->chunks[id];
    bin *b = &h->bins[bin_of(c->bytes)];
    uint32_t i = place(h, b, c->bytes, c->at);
    b->n--;
    memmove(b->list + i, b->list + i + 1, (b->n - i) * sizeof(*b->list));
}

static kp_status new_chunk(heap *h, chunk c, uint32_t *ret)
{
    uint32_t id = h->spare;
    if (id != NONE) {
        h->spare = h->chunks[id].next;
    } else {
        if (!KP_GROW(h->arena, h->chunks, h->n_chunks, h->cap_chunks)) return kp_nomem(h->err);
        id = h->n_chunks++;
    }
    h->chunks[id] = c;
    if (c.prev != NONE) h->chunks[c.prev].next = id;
    if (c.next != NONE) h->chunks[c.next].prev = id;
    *ret = id;
    return KP_OK;
}

/* The smallest free chunk of the lowest bin that has one large enough; NONE. */
static uint32_t best(const heap *h, uint64_t bytes)
{
    for (uint32_t i = bin_of(bytes); i < BINS; i++) {
        uint32_t at = place(h, &h->bins[i], bytes, 0);
        if (at < h->bins[i].n) return h->bins[i].list[at];
    }
    return NONE;
}

static kp_status take(heap *h, const kp_request *q)
{
    uint64_t bytes = kp_mul_u64(kp_ceil_div(q->bytes, LEAST), LEAST);
    uint32_t id = best(h, bytes), rest;
    if (id == NONE) {
        if (!q->spare) h->out.failed_bytes = kp_max_u64(h->out.failed_bytes, q->bytes);
        return KP_OK;
    }
    take_out(h, id);
    chunk c = h->chunks[id];
    if (c.bytes / 2 >= bytes || c.bytes - bytes >= MOST_LOST) {
        KP_TRY(new_chunk(h, (chunk){c.at + bytes, c.bytes - bytes, id, c.next, false}, &rest));
        h->chunks[id].bytes = bytes;
        KP_TRY(put(h, rest));
    }
    h->chunks[id].used = true;
    h->held[q->buffer] = id;
    h->asked[q->buffer] = q->bytes;
    h->in_use += h->chunks[id].bytes;
    h->allocated += q->bytes;
    h->out.reserved_bytes = kp_max_u64(h->out.reserved_bytes, h->in_use);
    h->out.allocated_bytes = kp_max_u64(h->out.allocated_bytes, h->allocated);
    return KP_OK;
}

/* Joins a chunk, free or to be freed, with the free one behind it. */
static void join(heap *h, uint32_t id, uint32_t behind)
{
    chunk *c = &h->chunks[id], *b = &h->chunks[behind];
    c->bytes += b->bytes;
    c->next = b->next;
    if (c->next != NONE) h->chunks[c->next].prev = id;
    b->next = h->spare;
    h->spare = behind;
}

static kp_status give_back(heap *h, uint32_t buffer)
{
    uint32_t id = h->held[buffer];
    if (id == NONE) return KP_OK; /* it found no room */
    h->held[buffer] = NONE;
    h->in_use -= h->chunks[id].bytes;
    h->allocated -= h->asked[buffer];
    uint32_t next = h->chunks[id].next, prev = h->chunks[id].prev;
    if (next != NONE && !h->chunks[next].used) {
        take_out(h, next);
        join(h, id, next);
    }
    if (prev != NONE && !h->chunks[prev].used) {
        take_out(h, prev);
        join(h, prev, id);
        id = prev;
    }
    return put(h, id);
}

kp_status kp_allocator_bfc(const kp_requests *requests, kp_arena *arena, kp_replayed *ret,
                           kp_err *err)
{
    heap h = {.arena = arena, .err = err, .spare = NONE};
    uint64_t region = kp_min_u64(requests->capacity_bytes, REGION) / LEAST * LEAST;
    uint32_t first;
    h.held = KP_NEW(arena, uint32_t, requests->n_buffers);
    h.asked = KP_NEW(arena, uint64_t, requests->n_buffers);
    if (!h.held || !h.asked) return kp_nomem(err);
    memset(h.held, 0xff, requests->n_buffers * sizeof(*h.held));
    if (region) {
        KP_TRY(new_chunk(&h, (chunk){0, region, NONE, NONE, false}, &first));
        KP_TRY(put(&h, first));
    }
    for (uint32_t i = 0; i < requests->n; i++) {
        const kp_request *q = &requests->list[i];
        if (q->buffer == KP_ALLOCATOR_EMPTY) continue; /* the region stays */
        KP_TRY(q->bytes ? take(&h, q) : give_back(&h, q->buffer));
    }
    *ret = h.out;
    return KP_OK;
}
