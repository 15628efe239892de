/* SPDX-License-Identifier: MIT */
#include "planner/plan/chart.h"
#include <math.h>

/* Share of the width that a phase of few steps gets at least, a letter of its name. */
#define LETTER 0.0072

/* ---- the steps ---- */

typedef struct moment {
    kp_categories bytes;
    uint64_t total;
} moment;

/* The fullest moment of each step; what is alive after it stays in *now. */
static void run_step(const kp_tape *tape, const kp_tape_step *step, moment *now, moment *ret)
{
    *ret = *now;
    for (uint32_t e = step->first_event; e < step->first_event + step->n_events; e++) {
        const kp_tape_buffer *b = &tape->buffers[tape->events[e].buffer];
        bool alloc = tape->events[e].alloc;
        now->bytes.bytes[b->category] += alloc ? b->bytes : -b->bytes;
        now->total += alloc ? b->bytes : -b->bytes;
        if (now->total > ret->total) *ret = *now;
    }
}

static moment *run(const kp_tape *tape, kp_arena *arena, uint32_t *ret_peak)
{
    moment *moments = KP_NEW(arena, moment, tape->n_steps), now = {0};
    *ret_peak = 0;
    for (uint32_t i = 0; i < tape->n_steps && moments; i++) {
        run_step(tape, &tape->steps[i], &now, &moments[i]);
        if (moments[i].total > moments[*ret_peak].total) *ret_peak = i;
    }
    return moments;
}

/* ---- the phases ---- */

/* Phases behind each other; where they alternate too often, the rest is one. */
static void find_spans(const kp_tape *tape, kp_chart *chart)
{
    for (uint32_t i = 0; i < tape->n_steps; i++) {
        kp_chart_span *last = chart->n_spans ? &chart->spans[chart->n_spans - 1] : NULL;
        bool same = last && last->phase == tape->steps[i].phase;
        if (!same && chart->n_spans < KP_CHART_SPANS_MAX)
            chart->spans[chart->n_spans++] = (kp_chart_span){tape->steps[i].phase, i, i, 0, 0};
        chart->spans[chart->n_spans - 1].end = i + 1;
    }
}

static double least_width(const kp_chart_span *span)
{
    return LETTER * (double)(strlen(kp_phase_names[span->phase]) + 1);
}

/* Each phase as wide as its steps, but never too narrow for its name. */
static void place_spans(kp_chart *chart)
{
    double need = 0, x = 0;
    for (uint32_t i = 0; i < chart->n_spans; i++) need += least_width(&chart->spans[i]);
    double least = need > .5 ? .5 / need : 1; /* many spans: names do without */
    double rest = 1 - need * least;
    for (uint32_t i = 0; i < chart->n_spans; i++) {
        kp_chart_span *s = &chart->spans[i];
        s->x0 = x;
        x += least * least_width(s) + rest * (s->end - s->first) / chart->n_steps;
        s->x1 = x;
    }
}

/* ---- the columns ---- */

static uint32_t layer_of(const kp_tape *tape, uint32_t step)
{
    uint32_t op = tape->steps[step].op;
    return op == KP_NO ? KP_NO : tape->graph->ops[op].layer;
}

static void add_columns(const kp_tape *tape, const moment *moments, const kp_chart_span *span,
                        uint32_t peak, kp_chart *chart)
{
    uint32_t steps = span->end - span->first, room = KP_CHART_COLUMNS_MAX - chart->n_columns;
    uint32_t n =
        (uint32_t)((span->x1 - span->x0) * (KP_CHART_COLUMNS_MAX - KP_CHART_SPANS_MAX)) + 1;
    if (n > steps) n = steps;
    if (n > room) n = room;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t from = span->first + (uint32_t)((uint64_t)steps * i / n),
                 to = span->first + (uint32_t)((uint64_t)steps * (i + 1) / n), best = from;
        for (uint32_t k = from; k < to; k++)
            if (moments[k].total > moments[best].total) best = k;
        if (peak >= from && peak < to) chart->peak = chart->n_columns;
        double width = (span->x1 - span->x0) / n;
        chart->columns[chart->n_columns++] =
            (kp_chart_column){moments[best].bytes, span->x0 + width * i, span->x0 + width * (i + 1),
                              layer_of(tape, best)};
    }
}

/* The peak is what the drawing is about: wide enough to be seen, at its neighbours' cost. */
static void widen_peak(kp_chart *chart)
{
    const double least = .004;
    kp_chart_column *p = &chart->columns[chart->peak];
    double more = (least - (p->x1 - p->x0)) / 2;
    if (more <= 0) return;
    p->x0 = fmax(p->x0 - more, 0);
    p->x1 = fmin(p->x1 + more, 1);
    for (uint32_t i = 0; i < chart->n_columns; i++) {
        kp_chart_column *c = &chart->columns[i];
        if (i < chart->peak) {
            c->x0 = fmin(c->x0, p->x0);
            c->x1 = fmin(c->x1, p->x0);
        } else if (i > chart->peak) {
            c->x0 = fmax(c->x0, p->x1);
            c->x1 = fmax(c->x1, p->x1);
        }
    }
}

kp_status kp_chart_make(const kp_look *look, kp_arena *arena, kp_chart *ret, kp_err *err)
{
    const kp_tape *tape = &look->tape;
    uint32_t peak;
    kp_chart chart = {.n_steps = tape->n_steps};
    moment *moments = run(tape, arena, &peak);
    chart.columns = KP_NEW(arena, kp_chart_column, KP_CHART_COLUMNS_MAX);
    if (!moments || !chart.columns) return kp_nomem(err);
    find_spans(tape, &chart);
    place_spans(&chart);
    for (uint32_t i = 0; i < chart.n_spans; i++)
        add_columns(tape, moments, &chart.spans[i], peak, &chart);
    for (int c = 0; c < KP_CAT_COUNT && chart.n_columns; c++) {
        uint64_t outside =
            kp_sub_u64(look->memory.peak.bytes[c], chart.columns[chart.peak].bytes.bytes[c]);
        for (uint32_t i = 0; i < chart.n_columns; i++) chart.columns[i].bytes.bytes[c] += outside;
    }
    if (chart.n_columns) widen_peak(&chart);
    *ret = chart;
    return KP_OK;
}
