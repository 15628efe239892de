/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_idle.c — temporaries in the buffers of weights that stand idle.
 *
 * Under XLA the state is handed over: a weight's buffer is an argument and a result of the step.
 * Where a kernel is copied into another layout, nobody reads the original again before its update,
 * and the buffer assignment puts temporaries there: the largest first, each into the smallest idle
 * buffer that holds it (xla/service/buffer_assignment.cc). Such a temporary needs no memory of its
 * own. */
#include "planner/estimate/taping.h"

enum { SMALLEST = 1024 }; /* bytes; below, it is not worth the search */

typedef struct span {
    uint64_t bytes;
    uint32_t from, to; /* events between which it is alive */
    uint32_t buffer, next;
} span;

static int larger_first(const void *x, const void *y)
{
    const span *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    return a->buffer < b->buffer ? -1 : a->buffer > b->buffer;
}

/* Events before the evaluation, which is another program. */
static uint32_t step_events(const kp_taping *t)
{
    for (uint32_t i = 0; i < t->n_steps; i++)
        if (t->steps[i].phase == KP_PHASE_EVAL) return t->steps[i].first_event;
    return t->n_events;
}

static void find_spans(const kp_taping *t, span *spans)
{
    uint32_t end = step_events(t);
    for (uint32_t i = 0; i < t->n_buffers; i++)
        spans[i] = (span){t->buffers[i].bytes, KP_NO, end, i, KP_NO};
    for (uint32_t e = t->steps[0].n_events; e < end; e++) {
        span *s = &spans[t->events[e].buffer];
        *(t->events[e].alloc ? &s->from : &s->to) = e;
    }
}

static bool free_in(const span *home, const span *tenants, const span *s)
{
    if (s->from <= home->from || s->to >= home->to) return false;
    for (uint32_t i = home->next; i != KP_NO; i = tenants[i].next)
        if (s->from < tenants[i].to && tenants[i].from < s->to) return false;
    return true;
}

/* First home, smallest first, that holds so many bytes. */
static uint32_t first_home(const span *homes, uint32_t n, uint64_t bytes)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (homes[n - 1 - middle].bytes < bytes)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void move_in(kp_taping *t, span *homes, uint32_t n, span *tenants, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        span *s = &tenants[i];
        for (uint32_t k = first_home(homes, n, s->bytes); k < n; k++) {
            span *home = &homes[n - 1 - k];
            if (home->buffer == s->buffer || !free_in(home, tenants, s)) continue;
            s->next = home->next;
            home->next = i;
            t->buffers[s->buffer].bytes = 0;
            break;
        }
    }
}

/* A convolution's kernel: its copy is a transposition in the forward pass. */
static bool windowed(const kp_taping *t, uint32_t weight)
{
    return t->sizes.weights[weight].rank > 2;
}

void kp_tape_idle(kp_taping *t)
{
    span *spans = KP_NEW(t->arena, span, t->n_buffers);
    span *homes = KP_NEW(t->arena, span, t->n_buffers);
    if (kp_taping_failed(t)) return;
    if (!spans || !homes) {
        t->status = kp_nomem(t->err);
        return;
    }
    uint32_t n = 0, count = 0;
    find_spans(t, spans);
    for (uint32_t w = 0; w < t->graph->n_weights; w++) {
        uint32_t copy = t->copied[w];
        bool same = copy != KP_NO && t->buffers[copy].dtype == t->graph->weights[w].dtype;
        if (same && t->graph->weights[w].trainable) homes[n++] = spans[copy];
    }
    if (!n) return;
    for (uint32_t w = 0; w < t->graph->n_weights; w++) /* made before any is idle */
        if (t->copied[w] != KP_NO && !windowed(t, w)) spans[t->copied[w]].from = KP_NO;
    for (uint32_t i = 0; i < t->n_buffers; i++)
        if (spans[i].from != KP_NO && spans[i].bytes >= SMALLEST) spans[count++] = spans[i];
    qsort(homes, n, sizeof(*homes), larger_first);
    qsort(spans, count, sizeof(*spans), larger_first);
    move_in(t, homes, n, spans, count);
}
