/* SPDX-License-Identifier: MIT
 *
 * planner/search/borders.c — where stages may begin, and the cut that needs the least memory. */
#include "planner/search/stages.h"
#include <math.h>

/* First and last unit that use a layer or a weight. */
typedef struct span {
    bool used;
    uint32_t first, last;
} span;

static void span_add(span *s, uint32_t unit)
{
    if (!s->used) s->first = unit;
    s->used = true;
    s->last = unit;
}

/* Borders in (first, last] of any span are closed: +1 behind its first, -1 behind its last. */
static void close_spans(const span *spans, uint32_t n, int32_t *steps)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!spans[i].used) continue;
        steps[spans[i].first + 1]++;
        steps[spans[i].last + 1]--;
    }
}

kp_status kp_stages_borders(const kp_graph *graph, const kp_unit *units, uint32_t n_units,
                            kp_arena *arena, const uint8_t **ret, kp_err *err)
{
    uint8_t *ok = KP_NEW(arena, uint8_t, n_units + 1ul);
    kp_arena_mark mark = kp_arena_tell(arena);
    span *layers = KP_NEW(arena, span, graph->n_layers);
    span *weights = KP_NEW(arena, span, graph->n_weights);
    int32_t *steps = KP_NEW(arena, int32_t, n_units + 2ul), closed = 0;
    if (!ok || !layers || !weights || !steps) return kp_nomem(err);
    for (uint32_t u = 0; u < n_units; u++) {
        span_add(&layers[units[u].layer], u);
        for (uint32_t o = units[u].first_op; o < units[u].end_op; o++)
            for (uint32_t w = 0; w < graph->ops[o].n_weights; w++)
                span_add(&weights[graph->ops[o].weights[w]], u);
    }
    close_spans(layers, graph->n_layers, steps);
    close_spans(weights, graph->n_weights, steps);
    for (uint32_t i = 0; i <= n_units; i++) {
        closed += steps[i];
        ok[i] = closed == 0;
    }
    kp_arena_rewind(arena, mark);
    *ret = ok;
    return KP_OK;
}

static uint64_t bytes_of(const kp_stage_task *task, uint32_t from, uint32_t to, uint32_t stage)
{
    return kp_costs_stage_bytes(task->costs, from, to, kp_stages_in_flight(task->strategy, stage));
}

/* Latest border at which stage s may end so that the stages behind it still find one each. */
static bool last_ends(const kp_stage_task *task, uint32_t *ret_ends)
{
    uint32_t at = task->costs->n_units;
    for (uint32_t s = task->strategy->pp; s-- > 0;) {
        if (at == 0) return false;
        ret_ends[s] = at;
        do at--;
        while (at && !task->border_ok[at]);
    }
    return true;
}

/* A border whose tensors are too much may be followed by one whose are not: so many are looked at.
 */
enum { LOOK_AHEAD = 16 };

/* True if every stage can stay within `limit`: each one as long as it may be, since a longer
 * beginning leaves less to the rest. */
static bool within(const kp_stage_task *task, uint64_t limit, const uint32_t *ends,
                   uint32_t *borders)
{
    borders[0] = 0;
    for (uint32_t s = 0; s < task->strategy->pp; s++) {
        uint32_t from = borders[s], to = from, at = from, beyond = 0;
        while (at < ends[s] && beyond < LOOK_AHEAD) {
            do at++;
            while (at < ends[s] && !task->border_ok[at]);
            beyond = bytes_of(task, from, at, s) > limit ? beyond + 1 : 0;
            if (beyond == 0) to = at;
        }
        if (to == from) return false;
        borders[s + 1] = to;
    }
    return borders[task->strategy->pp] == task->costs->n_units;
}

/* Halves between a limit that is too small and one that is enough. */
static void narrow(const kp_stage_task *task, const uint32_t *ends, uint64_t enough,
                   uint32_t *scratch, uint32_t *borders)
{
    uint64_t least = 0;
    while (enough - least > 1 + (enough >> 12)) { /* within a four-thousandth */
        uint64_t middle = least + (enough - least) / 2;
        if (within(task, middle, ends, scratch)) {
            memcpy(borders, scratch, (task->strategy->pp + 1ul) * sizeof(*borders));
            enough = middle;
        } else
            least = middle;
    }
}

kp_status kp_stages_smallest(const kp_stage_task *task, kp_arena *arena, kp_stage_answer *ret,
                             kp_err *err)
{
    uint32_t pp = task->strategy->pp, stage;
    uint32_t *borders = KP_NEW(arena, uint32_t, pp + 1ul);
    uint32_t *ends = KP_NEW(arena, uint32_t, pp + 1ul);
    uint32_t *scratch = KP_NEW(arena, uint32_t, pp + 1ul);
    if (!borders || !ends || !scratch) return kp_nomem(err);
    *ret = (kp_stage_answer){.borders = borders, .lower_s = INFINITY, .seconds = INFINITY};
    if (!last_ends(task, ends)) return KP_OK;
    /* The cut with the shortest last stages is one; its peak is where the halving starts. */
    memcpy(borders + 1, ends, pp * sizeof(*ends));
    narrow(task, ends, kp_stages_peak(task, borders, &stage), scratch, borders);
    ret->found = true;
    ret->peak_bytes = kp_stages_peak(task, borders, &stage);
    ret->seconds = kp_stages_time_s(task, borders);
    ret->fits = true;
    for (uint32_t s = 0; s < pp; s++)
        if (bytes_of(task, borders[s], borders[s + 1], s) > task->limit_bytes[s]) ret->fits = false;
    return KP_OK;
}
