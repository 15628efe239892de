/* SPDX-License-Identifier: MIT */
#include "planner/estimate/reserve.h"

enum { STEPS = 2 };

enum { GONE, HERE, LASTS, WAITS }; /* from the loading on; for the next step's zero_grad */

typedef struct writer {
    const kp_tape *tape;
    const kp_reserve_ask *ask;
    kp_request *list;
    uint32_t n, pass;
    uint8_t *state; /* of each buffer */
} writer;

static bool of_state(kp_category category)
{
    return category == KP_CAT_WEIGHTS || category == KP_CAT_OPTIMIZER || category == KP_CAT_INPUTS;
}

static void take(writer *w, uint32_t buffer)
{
    const kp_tape_buffer *b = &w->tape->buffers[buffer];
    double bytes = of_state(b->category) ? (double)b->bytes : (double)b->bytes * w->ask->stretch;
    w->list[w->n++] = (kp_request){.buffer = buffer,
                                   .bytes = kp_max_u64((uint64_t)bytes, 1),
                                   .spare = b->category == KP_CAT_WORKSPACE,
                                   .stream = b->stream};
}

static void drop(writer *w, uint32_t buffer)
{
    w->list[w->n++] = (kp_request){.buffer = buffer};
}

/* The first step: weights, the batch and what else lives from the start; slots come with the first
 * update. */
static void load(writer *w)
{
    const kp_tape_step *s = &w->tape->steps[0];
    for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
        uint32_t b = w->tape->events[e].buffer;
        if (!w->tape->events[e].alloc) continue;
        w->state[b] = LASTS;
        if (w->tape->buffers[b].category != KP_CAT_OPTIMIZER) take(w, b);
    }
}

static void take_slots(writer *w)
{
    const kp_tape_step *s = &w->tape->steps[0];
    for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
        uint32_t b = w->tape->events[e].buffer;
        if (w->tape->events[e].alloc && w->tape->buffers[b].category == KP_CAT_OPTIMIZER)
            take(w, b);
    }
}

static void take_spaces(writer *w, uint32_t from, uint32_t to)
{
    uint64_t each = w->ask->space_count ? w->ask->space_bytes / w->ask->space_count : 0;
    for (uint32_t i = from; i < to && each; i++)
        w->list[w->n++] = (kp_request){.buffer = w->tape->n_buffers + i, .bytes = each};
}

/* Frees the gradients of the step before, or what a step has left behind. */
static void drop_all(writer *w, uint8_t state)
{
    for (uint32_t b = 0; b < w->tape->n_buffers; b++) {
        if (w->state[b] != state) continue;
        drop(w, b);
        w->state[b] = GONE;
    }
}

/* After it has tried the algorithms of a convolution of a new shape torch empties the cache. */
static bool tries(const writer *w, const kp_tape_step *s)
{
    if (!w->ask->empties || w->pass || s->op == KP_NO || !s->n_events) return false;
    kp_op op = w->tape->graph->ops[s->op].op;
    return op == KP_OP_CONV || op == KP_OP_CONV_DEPTHWISE || op == KP_OP_CONV_TRANSPOSE;
}

static void run_step(writer *w, const kp_tape_step *s)
{
    bool trying = tries(w, s);
    for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
        uint32_t b = w->tape->events[e].buffer;
        if (trying && !w->tape->events[e].alloc) {
            w->list[w->n++] = (kp_request){.buffer = KP_ALLOCATOR_EMPTY};
            trying = false;
        }
        if (w->state[b] == LASTS) continue;
        if (w->tape->events[e].alloc) {
            take(w, b);
            w->state[b] = HERE;
        } else if (s->phase == KP_PHASE_OPTIMIZER &&
                   w->tape->buffers[b].category == KP_CAT_GRADIENTS) {
            w->state[b] = WAITS;
        } else {
            drop(w, b);
            w->state[b] = GONE;
        }
    }
}

/* One training step. The backward pass runs in a thread with workspaces of its own. */
static void pass(writer *w)
{
    kp_phase phase = KP_PHASE_LOAD;
    drop_all(w, HERE);
    drop_all(w, WAITS);
    for (uint32_t i = 1; i < w->tape->n_steps; i++) {
        const kp_tape_step *s = &w->tape->steps[i];
        if (s->phase > KP_PHASE_OPTIMIZER) break;
        bool begins = s->phase != phase && !w->pass;
        phase = s->phase;
        if (begins && phase == KP_PHASE_FORWARD) take_spaces(w, 0, 1);
        if (begins && phase == KP_PHASE_BACKWARD) take_spaces(w, 1, w->ask->space_count);
        if (begins && phase == KP_PHASE_OPTIMIZER) take_slots(w);
        run_step(w, s);
    }
}

kp_status kp_reserve_replay(const kp_tape *tape, const kp_reserve_ask *ask, kp_arena *arena,
                            kp_replayed *ret, kp_err *err)
{
    kp_arena_mark mark = kp_arena_tell(arena);
    uint32_t most =
        (STEPS + 1) * (tape->n_events + tape->n_buffers) + tape->n_steps + ask->space_count;
    writer w = {.tape = tape, .ask = ask};
    kp_status status = KP_NOMEM;
    w.list = KP_NEW(arena, kp_request, most);
    w.state = KP_NEW(arena, uint8_t, tape->n_buffers);
    if (w.list && w.state) {
        load(&w);
        for (w.pass = 0; w.pass < STEPS; w.pass++) pass(&w);
        kp_requests requests = {w.list, w.n, tape->n_buffers + ask->space_count,
                                ask->capacity_bytes, ask->expandable};
        status = kp_allocator_torch(&requests, arena, ret, err);
    } else {
        kp_nomem(err);
    }
    kp_arena_rewind(arena, mark);
    return status;
}
