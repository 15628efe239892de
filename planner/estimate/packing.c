/* SPDX-License-Identifier: MIT */
#include "planner/estimate/packing.h"

/* A buffer's life against the products: touched once a product runs while it is alive. */
typedef struct life {
    uint32_t products; /* that had begun when it was allocated, the running one not counted */
    bool alive, touched;
} life;

typedef struct packing {
    const kp_tape *tape;
    life *lives;
    uint32_t first_event; /* behind the load: arguments are no part of the block */
    uint64_t argument;    /* bytes loaded */
} packing;

static bool is_space(const kp_tape_buffer *b)
{
    return b->category == KP_CAT_WORKSPACE;
}

/* Size of the workspace; 0: none, or a larger temporary. */
static uint64_t find_space(packing *p)
{
    const kp_tape *tape = p->tape;
    uint64_t space = 0, largest = 0;
    for (uint32_t i = 0; i < tape->n_steps && tape->steps[i].phase == KP_PHASE_LOAD; i++)
        p->first_event = tape->steps[i].first_event + tape->steps[i].n_events;
    for (uint32_t e = 0; e < tape->n_events; e++) {
        const kp_tape_buffer *b = &tape->buffers[tape->events[e].buffer];
        if (!tape->events[e].alloc) continue;
        if (e < p->first_event)
            p->argument += b->bytes;
        else if (is_space(b))
            space = kp_max_u64(space, b->bytes);
        else
            largest = kp_max_u64(largest, b->bytes);
    }
    return largest < space ? space : 0;
}

static void find_touched(packing *p)
{
    const kp_tape *tape = p->tape;
    uint32_t products = 0, running = 0;
    for (uint32_t e = p->first_event; e < tape->n_events; e++) {
        uint32_t id = tape->events[e].buffer;
        life *l = &p->lives[id];
        bool space = is_space(&tape->buffers[id]);
        if (tape->events[e].alloc) {
            products += space;
            running += space;
            *l = (life){.products = products - (running > 0), .alive = true};
            continue;
        }
        running -= space;
        l->touched = !space && products > l->products;
        l->alive = false;
    }
    for (uint32_t i = 0; i < tape->n_buffers; i++)
        if (p->lives[i].alive) p->lives[i].touched = products > p->lives[i].products;
}

kp_status kp_packing_holes(const kp_tape *tape, uint64_t live, kp_arena *arena, uint64_t *ret,
                           kp_err *err)
{
    kp_arena_mark mark = kp_arena_tell(arena);
    packing p = {.tape = tape};
    uint64_t space = find_space(&p), now = 0, most = 0;
    *ret = 0;
    if (!space) return KP_OK;
    p.lives = KP_NEW(arena, life, tape->n_buffers);
    if (!p.lives) return kp_nomem(err);
    find_touched(&p);
    for (uint32_t e = p.first_event; e < tape->n_events; e++) {
        uint32_t id = tape->events[e].buffer;
        if (!p.lives[id].touched) continue;
        now = tape->events[e].alloc ? now + tape->buffers[id].bytes : now - tape->buffers[id].bytes;
        most = kp_max_u64(most, now);
    }
    uint64_t block = kp_add_u64(p.argument, kp_add_u64(space, most));
    *ret = block > live ? block - live : 0;
    kp_arena_rewind(arena, mark);
    return KP_OK;
}
