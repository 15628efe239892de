/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/reserve_tf.c — a tape as requests to TensorFlow's BFC allocator. */
#include "planner/estimate/reserve.h"

enum { STEPS = 2 };
enum { GONE, HERE, LASTS };

typedef struct writer {
    const kp_tape *tape;
    kp_request *list;
    uint32_t n;
    uint8_t *state; /* of each buffer */
} writer;

static void take(writer *w, uint32_t buffer, uint8_t state)
{
    uint64_t bytes = w->tape->buffers[buffer].bytes;
    if (!bytes) return;
    w->list[w->n++] = (kp_request){.buffer = buffer, .bytes = bytes};
    w->state[buffer] = state;
}

static void drop(writer *w, uint32_t buffer)
{
    if (w->state[buffer] != HERE) return;
    w->list[w->n++] = (kp_request){.buffer = buffer};
    w->state[buffer] = GONE;
}

static void run_step(writer *w, const kp_tape_step *s, uint8_t state)
{
    for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
        uint32_t b = w->tape->events[e].buffer;
        if (!w->tape->events[e].alloc)
            drop(w, b);
        else if (w->state[b] == GONE)
            take(w, b, state);
    }
}

/* What a step leaves goes before the next. */
static void pass(writer *w)
{
    for (uint32_t i = 1; i < w->tape->n_steps; i++)
        if (w->tape->steps[i].phase <= KP_PHASE_OPTIMIZER) run_step(w, &w->tape->steps[i], HERE);
    for (uint32_t b = 0; b < w->tape->n_buffers; b++) drop(w, b);
}

kp_status kp_reserve_replay_tf(const kp_tape *tape, kp_arena *arena, kp_replayed *ret, kp_err *err)
{
    kp_arena_mark mark = kp_arena_tell(arena);
    writer w = {.tape = tape};
    kp_status status = KP_NOMEM;
    w.list = KP_NEW(arena, kp_request, (STEPS + 1) * ((size_t)tape->n_events + tape->n_buffers));
    w.state = KP_NEW(arena, uint8_t, tape->n_buffers);
    if (w.list && w.state) {
        if (tape->n_steps) run_step(&w, &tape->steps[0], LASTS);
        for (int i = 0; i < STEPS; i++) pass(&w);
        kp_requests requests = {w.list, w.n, tape->n_buffers, UINT64_MAX, false};
        status = kp_allocator_bfc(&requests, arena, ret, err);
    } else {
        kp_nomem(err);
    }
    kp_arena_rewind(arena, mark);
    return status;
}
