/* SPDX-License-Identifier: MIT */
#include "planner/search/stages.h"
#include <math.h>

enum {
    SOLVES_MAX = 96, /* dynamic programs a call */
    BOXES_MAX = 64,  /* open boxes at once; more than that join into one bound */
};

/* Bottlenecks and tails between these bounds; `least` is F of a box around it. */
typedef struct box {
    double t1, t2, u1, u2, least;
} box;

typedef struct solver {
    const kp_stage_task *task;
    uint32_t n, pp;
    double m;
    double *sum_s;    /* n + 1: time of units [0, i) */
    double *cross_s;  /* n + 1 */
    uint32_t *lo_mem; /* pp x (n + 1): from no unit before this one a stage up to i fits */
    const kp_costs *memory;
    kp_costs inner;    /* `memory` with borders that nothing crosses */
    bool limited;      /* some stage has a limit */
    uint32_t *lo_time; /* n + 1 */
    double *f[2];      /* n + 1: least sum of the stages so far, ending at i */
    uint32_t *from;    /* pp x (n + 1): where the last stage of that begins */
    uint32_t *queue;   /* n + 1 */
    uint32_t *borders; /* pp + 1: of the last dynamic program */
    box boxes[BOXES_MAX];
    uint32_t n_boxes;
    double closed_s; /* least bound of boxes that were given up */
} solver;

uint32_t kp_stages_in_flight(const kp_strategy *strategy, uint32_t stage)
{
    uint32_t m = strategy->micro_batches, behind = strategy->pp - stage;
    if (strategy->schedule == KP_SCHEDULE_GPIPE) return m;
    return m < behind ? m : behind;
}

static double tail_s(const kp_stage_task *task, uint32_t from, uint32_t to)
{
    double sync_s, update_s;
    kp_costs_tail_s(task->costs, from, to, task->strategy, task->cluster, &sync_s, &update_s);
    return sync_s + update_s;
}

double kp_stages_time_s(const kp_stage_task *task, const uint32_t *borders)
{
    double sum_s = 0, most_s = 0, last_s = 0;
    for (uint32_t s = 0; s < task->strategy->pp; s++) {
        double t = kp_costs_stage_s(task->costs, borders[s], borders[s + 1]);
        sum_s += t;
        if (s) sum_s += kp_costs_cross_s(task->costs, borders[s], task->cluster, task->strategy);
        most_s = fmax(most_s, t);
        last_s = fmax(last_s, tail_s(task, borders[s], borders[s + 1]));
    }
    return sum_s + (task->strategy->micro_batches - 1.) * most_s + last_s;
}

static uint64_t stage_bytes(const kp_stage_task *task, uint32_t from, uint32_t to, uint32_t stage)
{
    return kp_costs_stage_bytes(task->costs, from, to, kp_stages_in_flight(task->strategy, stage));
}

uint64_t kp_stages_peak(const kp_stage_task *task, const uint32_t *borders, uint32_t *ret_stage)
{
    uint64_t peak = 0;
    *ret_stage = 0;
    for (uint32_t s = 0; s < task->strategy->pp; s++) {
        uint64_t bytes = stage_bytes(task, borders[s], borders[s + 1], s);
        if (bytes > peak) *ret_stage = s;
        peak = kp_max_u64(peak, bytes);
    }
    return peak;
}

/* ---- windows ---- */

/* Bytes grow with a stage but for what crosses its borders. Without that they grow at either end,
 * so the first unit from which a stage can fit moves forward only; `fits` then looks at all. */
static void memory_windows(solver *v)
{
    const kp_strategy *strategy = v->task->strategy;
    for (uint32_t s = 0; s < v->pp && v->limited; s++) {
        uint32_t *lo = v->lo_mem + (size_t)s * (v->n + 1), from = 0;
        uint32_t in_flight = kp_stages_in_flight(strategy, s);
        bool as_before = s && v->task->limit_bytes[s] == v->task->limit_bytes[s - 1] &&
                         in_flight == kp_stages_in_flight(strategy, s - 1);
        if (as_before) {
            memcpy(lo, lo - (v->n + 1), (v->n + 1) * sizeof(*lo));
            continue;
        }
        for (uint32_t i = 1; i <= v->n; i++) {
            while (from < i &&
                   kp_costs_stage_bytes(&v->inner, from, i, in_flight) > v->task->limit_bytes[s])
                from++;
            lo[i] = from;
        }
    }
}

static void time_windows(solver *v, double most_s)
{
    uint32_t from = 0;
    for (uint32_t i = 1; i <= v->n; i++) {
        while (from < i && v->sum_s[i] - v->sum_s[from] > most_s) from++;
        v->lo_time[i] = from;
    }
}

/* ---- one dynamic program ---- */

/* What a stage that begins at j brings along, but for the time of units [0, i). */
static double value_at(const solver *v, const double *before, uint32_t j)
{
    return before[j] + (j ? v->cross_s[j] : 0) - v->sum_s[j];
}

static bool allowed(const solver *v, uint32_t s, uint32_t j, uint32_t i, double most_u)
{
    uint32_t in_flight = kp_stages_in_flight(v->task->strategy, s);
    if (v->limited && kp_costs_stage_bytes(v->memory, j, i, in_flight) > v->task->limit_bytes[s])
        return false;
    return isinf(most_u) || tail_s(v->task, j, i) <= most_u;
}

/* The best beginning of a stage up to i, when the best of the window is not allowed. */
static uint32_t scan(const solver *v, uint32_t s, uint32_t lo, uint32_t i, double most_u)
{
    const double *before = v->f[s % 2];
    uint32_t best = KP_NO;
    for (uint32_t j = lo; j < i; j++) {
        if (isinf(before[j]) ||
            (best != KP_NO && value_at(v, before, j) >= value_at(v, before, best)))
            continue;
        if (allowed(v, s, j, i, most_u)) best = j;
    }
    return best;
}

/* Row s of the program. A queue holds the window's candidates, values rising, so that its front is
 * the best: every unit enters and leaves once. */
static void fill_row(solver *v, uint32_t s, double most_u)
{
    const double *before = v->f[s % 2];
    double *after = v->f[(s + 1) % 2];
    const uint32_t *lo_mem = v->lo_mem + (size_t)s * (v->n + 1);
    uint32_t head = 0, tail = 0;
    after[0] = INFINITY;
    for (uint32_t i = 1; i <= v->n; i++) {
        uint32_t lo = lo_mem[i] > v->lo_time[i] ? lo_mem[i] : v->lo_time[i], best = KP_NO;
        if (!isinf(before[i - 1])) {
            double value = value_at(v, before, i - 1);
            while (tail > head && value_at(v, before, v->queue[tail - 1]) > value) tail--;
            v->queue[tail++] = i - 1;
        }
        while (head < tail && v->queue[head] < lo) head++;
        bool may_end = i == v->n ? s + 1 == v->pp : s + 1 < v->pp && v->task->border_ok[i];
        if (may_end && head < tail) best = v->queue[head];
        if (best != KP_NO && !allowed(v, s, best, i, most_u)) best = scan(v, s, lo, i, most_u);
        after[i] = best == KP_NO ? INFINITY : value_at(v, before, best) + v->sum_s[i];
        v->from[(size_t)s * (v->n + 1) + i] = best;
    }
}

/* F(T, U): least sum of a cut with every stage within most_s and most_u; INFINITY if there is
 * none. The cut is left in v->borders. */
static double program(solver *v, double most_s, double most_u)
{
    time_windows(v, most_s);
    for (uint32_t i = 0; i <= v->n; i++) v->f[0][i] = i ? INFINITY : 0;
    for (uint32_t s = 0; s < v->pp; s++) fill_row(v, s, most_u);
    double least = v->f[v->pp % 2][v->n];
    uint32_t at = v->n;
    if (isinf(least)) return least;
    v->borders[v->pp] = at;
    for (uint32_t s = v->pp; s-- > 0;) {
        at = v->from[(size_t)s * (v->n + 1) + at];
        v->borders[s] = at;
    }
    return least;
}

/* ---- branch and bound over boxes of (T, U) ---- */

static double box_bound(const solver *v, const box *b)
{
    return b->least + (v->m - 1) * b->t1 + b->u1;
}

static void box_push(solver *v, box b)
{
    if (b.t1 > b.t2 || b.u1 > b.u2) return;
    if (v->n_boxes == BOXES_MAX)
        v->closed_s = fmin(v->closed_s, box_bound(v, &b));
    else
        v->boxes[v->n_boxes++] = b;
}

/* Takes the box with the least bound. */
static box box_pop(solver *v)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < v->n_boxes; i++)
        if (box_bound(v, &v->boxes[i]) < box_bound(v, &v->boxes[best])) best = i;
    box b = v->boxes[best];
    v->boxes[best] = v->boxes[--v->n_boxes];
    return b;
}

/* Largest number below x, for x > 0. */
static double below(double x)
{
    return x * (1 - 0x1p-52);
}

/* Cuts of the box that may beat the one just found have a smaller bottleneck or a smaller tail;
 * these are two boxes, the first halved so that its bound rises. Same arithmetic as the windows,
 * so that a box never holds the cut that it excludes. */
static void split(solver *v, box b)
{
    double t = 0, u = 0;
    for (uint32_t s = 0; s < v->pp; s++) {
        t = fmax(t, v->sum_s[v->borders[s + 1]] - v->sum_s[v->borders[s]]);
        u = fmax(u, tail_s(v->task, v->borders[s], v->borders[s + 1]));
    }
    double middle = b.t1 + (t - b.t1) / 2;
    if (t > b.t1 && middle < below(t)) box_push(v, (box){b.t1, middle, b.u1, b.u2, b.least});
    if (t > b.t1) box_push(v, (box){fmin(middle, below(t)), below(t), b.u1, b.u2, b.least});
    if (u > b.u1) box_push(v, (box){fmax(t, b.t1), b.t2, b.u1, below(u), b.least});
}

static kp_status solver_init(solver *v, const kp_stage_task *task, kp_arena *arena, kp_err *err)
{
    size_t n = (size_t)task->costs->n_units + 1;
    *v = (solver){.task = task,
                  .n = task->costs->n_units,
                  .pp = task->strategy->pp,
                  .m = task->strategy->micro_batches,
                  .closed_s = INFINITY};
    v->sum_s = KP_NEW(arena, double, n);
    v->cross_s = KP_NEW(arena, double, n);
    v->lo_time = KP_NEW(arena, uint32_t, n);
    v->queue = KP_NEW(arena, uint32_t, n);
    v->f[0] = KP_NEW(arena, double, n);
    v->f[1] = KP_NEW(arena, double, n);
    v->lo_mem = KP_NEW(arena, uint32_t, n * v->pp);
    v->from = KP_NEW(arena, uint32_t, n * v->pp);
    v->borders = KP_NEW(arena, uint32_t, (size_t)v->pp + 1);
    if (!v->sum_s || !v->cross_s || !v->lo_time || !v->queue || !v->f[0] || !v->f[1] ||
        !v->lo_mem || !v->from || !v->borders)
        return kp_nomem(err);
    uint64_t *nothing = KP_NEW(arena, uint64_t, n);
    if (!nothing) return kp_nomem(err);
    v->memory = task->memory ? task->memory : task->costs;
    v->inner = *v->memory;
    v->inner.cross_bytes = nothing;
    for (uint32_t s = 0; s < v->pp; s++)
        v->limited = v->limited || task->limit_bytes[s] != UINT64_MAX;
    for (uint32_t i = 0; i <= v->n; i++) {
        v->sum_s[i] = kp_costs_stage_s(task->costs, 0, i);
        if (task->border_ok[i] && v->pp > 1)
            v->cross_s[i] = kp_costs_cross_s(task->costs, i, task->cluster, task->strategy);
    }
    memory_windows(v);
    return KP_OK;
}

/* The whole plane: no stage is faster than the slowest unit or than an even share of the work. */
static box first_box(const solver *v)
{
    double most = v->sum_s[v->n] / v->pp;
    for (uint32_t i = 0; i < v->n; i++) most = fmax(most, v->sum_s[i + 1] - v->sum_s[i]);
    return (box){.t1 = below(below(most)), .t2 = INFINITY, .u1 = 0, .u2 = INFINITY};
}

static void take(const solver *v, uint32_t *borders, double seconds, kp_stage_answer *ret)
{
    memcpy(borders, v->borders, ((size_t)v->pp + 1) * sizeof(*borders));
    ret->found = ret->fits = true;
    ret->seconds = seconds;
}

/* Works off boxes until none can hold a better cut. Bounds within 1e-12 count as met. */
static void search_boxes(solver *v, uint32_t *borders, kp_stage_answer *ret)
{
    double best = v->task->beat_s, enough = 1 - fmax(v->task->slack, 1e-12);
    for (int solves = 0; v->n_boxes && solves < SOLVES_MAX; solves++) {
        box b = box_pop(v);
        if (box_bound(v, &b) >= best * enough) {
            v->closed_s = fmin(v->closed_s, box_bound(v, &b));
            break; /* it had the least bound: the others have no better one */
        }
        b.least = program(v, b.t2, b.u2);
        if (isinf(b.least)) continue;
        ret->fits = true;
        double seconds = kp_stages_time_s(v->task, v->borders);
        if (seconds < best) {
            best = seconds;
            take(v, borders, seconds, ret);
        }
        if (box_bound(v, &b) >= best * enough)
            v->closed_s = fmin(v->closed_s, box_bound(v, &b));
        else
            split(v, b);
    }
    for (uint32_t i = 0; i < v->n_boxes; i++)
        v->closed_s = fmin(v->closed_s, box_bound(v, &v->boxes[i]));
    ret->lower_s = v->closed_s;
    if (ret->found && ret->lower_s > ret->seconds * (1 - 1e-12)) ret->lower_s = ret->seconds;
}

kp_status kp_stages_solve(const kp_stage_task *task, kp_arena *arena, kp_stage_answer *ret,
                          kp_err *err)
{
    solver v;
    kp_stage_answer answer = {.lower_s = INFINITY};
    uint32_t stage, *borders = KP_NEW(arena, uint32_t, (size_t)task->strategy->pp + 1);
    if (!borders) return kp_nomem(err);
    answer.borders = borders;
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status = solver_init(&v, task, arena, err);
    if (status == KP_OK) {
        box_push(&v, first_box(&v));
        search_boxes(&v, borders, &answer);
    }
    kp_arena_rewind(arena, mark);
    KP_TRY(status);
    if (answer.found) answer.peak_bytes = kp_stages_peak(task, borders, &stage);
    *ret = answer;
    return KP_OK;
}
