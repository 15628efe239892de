/* SPDX-License-Identifier: MIT */
#include "planner/search/hunt.h"
#include <math.h>

/* Times closer than this are equal; then the simpler strategy wins. */
static const double equal_share = 1e-9;
enum { OTHERS_JUDGED = 40 };
static const double others_slack = 1e-3; /* the next best are shown, not taken */

typedef struct ranked {
    double bound_s;
    const kp_point *point;
} ranked;

static int compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

/* Smaller pp, then tp, then larger micro-batches. */
static int simpler_point(const kp_point *a, const kp_point *b)
{
    int order = compare_u32(a->pp, b->pp);
    if (order == 0) order = compare_u32(a->tp, b->tp);
    return order ? order : compare_u32(b->micro_batch, a->micro_batch);
}

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->bound_s < y->bound_s) return -1;
    if (x->bound_s > y->bound_s) return 1;
    return simpler_point(x->point, y->point);
}

/* Smaller pp, tp, ZeRO level, then larger micro-batches, then less recomputation. */
static int simpler(const kp_strategy *a, const kp_strategy *b)
{
    int order = compare_u32(a->pp, b->pp);
    if (order == 0) order = compare_u32(a->tp, b->tp);
    if (order == 0) order = compare_u32(a->zero, b->zero);
    if (order == 0) order = compare_u32(b->micro_batch, a->micro_batch);
    return order ? order : compare_u32(a->recompute, b->recompute);
}

static bool better(const kp_strategy *a, double a_s, const kp_strategy *b, double b_s)
{
    if (fabs(a_s - b_s) > equal_share * b_s) return a_s < b_s;
    return simpler(a, b) < 0;
}

static kp_status rank_points(const kp_ground *ground, kp_arena *arena, ranked **ret, kp_err *err)
{
    ranked *list = KP_NEW(arena, ranked, ground->space.n_points);
    if (!list) return kp_nomem(err);
    for (uint32_t i = 0; i < ground->space.n_points; i++) {
        list[i].point = &ground->space.points[i];
        list[i].bound_s = kp_ground_bound_s(ground, list[i].point, KP_RECOMPUTE_NONE);
    }
    qsort(list, ground->space.n_points, sizeof(*list), compare_ranked);
    *ret = list;
    return KP_OK;
}

static bool asked_to_stop(const kp_ground *ground)
{
    const kp_stop *stop = &ground->request->stop;
    return stop->ask && stop->ask(stop->arg);
}

/* The choices at a point, simplest first: calls `visit` for each until it says otherwise. */
typedef struct choice {
    uint32_t zero;
    kp_recompute recompute;
} choice;

static uint32_t list_choices(const kp_ground *ground, const kp_point *point, choice ret[16])
{
    uint8_t zeros = kp_space_zeros(&ground->space, point), recomputes = ground->space.recomputes;
    uint32_t n = 0;
    for (uint32_t r = KP_RECOMPUTE_NONE; r < KP_RECOMPUTE_COUNT; r++)
        for (uint32_t zero = 0; zero <= 3; zero++)
            if (recomputes >> r & 1 && zeros >> zero & 1)
                ret[n++] = (choice){zero, (kp_recompute)r};
    return n;
}

static kp_status hunt_init(const kp_ground *ground, kp_arena *arena, kp_hunt *ret,
                           uint32_t **ret_scratch, kp_err *err)
{
    *ret = (kp_hunt){.seconds = INFINITY, .peak_bytes = UINT64_MAX, .lower_s = INFINITY};
    ret->borders = KP_NEW(arena, uint32_t, ground->max_stages + 1ul);
    *ret_scratch = KP_NEW(arena, uint32_t, ground->max_stages + 1ul);
    for (uint32_t i = 0; i < ground->space.n_points; i++) {
        choice choices[16];
        ret->candidates += list_choices(ground, &ground->space.points[i], choices);
    }
    return ret->borders && *ret_scratch ? KP_OK : kp_nomem(err);
}

static void keep(kp_hunt *hunt, const kp_ground *ground, const kp_strategy *strategy,
                 const kp_verdict_of *verdict, const uint32_t *borders)
{
    hunt->strategy = *strategy;
    hunt->seconds = verdict->seconds;
    hunt->peak_bytes = verdict->peak_bytes;
    memcpy(hunt->borders, borders, (ground->max_stages + 1ul) * sizeof(*borders));
}

/* All choices of one point, each with its own bound. */
static kp_status hunt_point(const kp_ground *ground, const ranked *at, double beat_s,
                            kp_arena *arena, uint32_t *scratch, kp_hunt *hunt, kp_err *err)
{
    choice choices[16];
    uint32_t n = list_choices(ground, at->point, choices);
    for (uint32_t i = 0; i < n; i++) {
        double beat = hunt->found ? hunt->seconds * (1 + 2 * equal_share) : beat_s;
        kp_verdict_of verdict = {.lower_s =
                                     kp_ground_bound_s(ground, at->point, choices[i].recompute)};
        hunt->stopped = hunt->stopped || asked_to_stop(ground);
        bool hopeless = choices[i].recompute == KP_RECOMPUTE_NONE &&
                        !kp_ground_holds(ground, at->point, choices[i].zero);
        if (hopeless) continue;
        if (verdict.lower_s < beat && !hunt->stopped) {
            kp_strategy s =
                kp_space_strategy(&ground->space, at->point, choices[i].zero, choices[i].recompute);
            KP_TRY(kp_ground_judge(ground, &s, beat, 0, arena, scratch, &verdict, err));
            bool wins = verdict.found && (!hunt->found || better(&s, verdict.seconds,
                                                                 &hunt->strategy, hunt->seconds));
            if (wins) keep(hunt, ground, &s, &verdict, scratch);
            hunt->found = hunt->found || wins;
        }
        hunt->lower_s = fmin(hunt->lower_s, verdict.lower_s);
    }
    return KP_OK;
}

kp_status kp_hunt_fastest(const kp_ground *ground, double beat_s, kp_arena *arena, kp_hunt *ret,
                          kp_err *err)
{
    ranked *list;
    uint32_t *scratch;
    KP_TRY(hunt_init(ground, arena, ret, &scratch, err));
    KP_TRY(rank_points(ground, arena, &list, err));
    for (uint32_t i = 0; i < ground->space.n_points; i++)
        if (!isinf(list[i].bound_s))
            KP_TRY(hunt_point(ground, &list[i], beat_s, arena, scratch, ret, err));
    if (ret->found) ret->lower_s = fmin(ret->lower_s, ret->seconds);
    return KP_OK;
}

/* ---- least memory ---- */

static kp_status smallest_at(const kp_ground *ground, const kp_point *point, kp_arena *arena,
                             uint32_t *scratch, kp_hunt *hunt, kp_err *err)
{
    choice choices[16];
    uint32_t n = list_choices(ground, point, choices);
    for (uint32_t i = 0; i < n; i++) {
        kp_verdict_of v;
        hunt->stopped = hunt->stopped || asked_to_stop(ground);
        if (hunt->stopped) return KP_OK;
        kp_strategy s =
            kp_space_strategy(&ground->space, point, choices[i].zero, choices[i].recompute);
        KP_TRY(kp_ground_smallest(ground, &s, arena, scratch, &v, err));
        bool wins =
            v.found > hunt->found ||
            (v.found == hunt->found && (v.peak_bytes < hunt->peak_bytes ||
                                        (v.peak_bytes == hunt->peak_bytes &&
                                         better(&s, v.seconds, &hunt->strategy, hunt->seconds))));
        if (wins) keep(hunt, ground, &s, &v, scratch);
        hunt->found = hunt->found || v.found;
    }
    return KP_OK;
}

kp_status kp_hunt_smallest(const kp_ground *ground, kp_arena *arena, kp_hunt *ret, kp_err *err)
{
    ranked *list;
    uint32_t *scratch;
    KP_TRY(hunt_init(ground, arena, ret, &scratch, err));
    KP_TRY(rank_points(ground, arena, &list, err));
    for (uint32_t i = 0; i < ground->space.n_points; i++) {
        if (isinf(list[i].bound_s)) continue;
        ret->lower_s = fmin(ret->lower_s, list[i].bound_s);
        KP_TRY(smallest_at(ground, list[i].point, arena, scratch, ret, err));
    }
    if (ret->found) ret->lower_s = fmin(ret->lower_s, ret->seconds);
    return KP_OK;
}

/* ---- the next best ---- */

typedef struct others {
    const kp_ground *ground;
    const kp_hunt *winner;
    kp_arena *arena;
    uint32_t *scratch, judged;
    kp_plan_alternative *list;
    uint32_t n;
} others;

static bool same_degrees(const kp_strategy *s, const kp_point *p)
{
    return s->dp == p->dp && s->tp == p->tp && s->pp == p->pp;
}

static bool listed(const others *o, const kp_point *point)
{
    bool found = same_degrees(&o->winner->strategy, point);
    for (uint32_t i = 0; i < o->n; i++) found = found || same_degrees(&o->list[i].strategy, point);
    return found;
}

static bool same_strategy(const kp_strategy *a, const kp_strategy *b)
{
    return simpler(a, b) == 0 && a->dp == b->dp;
}

/* Judges the choices of a point, less recomputation first; the best of the first that fit. */
static kp_status try_point(others *o, const kp_point *point, kp_err *err)
{
    choice choices[16];
    kp_plan_alternative best = {.seconds = INFINITY};
    uint32_t n = list_choices(o->ground, point, choices);
    for (uint32_t i = 0; i < n && o->judged < OTHERS_JUDGED; i++) {
        kp_verdict_of v;
        kp_strategy s =
            kp_space_strategy(&o->ground->space, point, choices[i].zero, choices[i].recompute);
        if (!isinf(best.seconds) && s.recompute != best.strategy.recompute) break;
        if (same_strategy(&s, &o->winner->strategy)) continue;
        KP_TRY(kp_ground_judge(o->ground, &s, best.seconds, others_slack, o->arena, o->scratch, &v,
                               err));
        o->judged++;
        if (v.found)
            best = (kp_plan_alternative){
                .strategy = s, .seconds = v.seconds, .peak_bytes = v.peak_bytes};
    }
    if (!isinf(best.seconds)) o->list[o->n++] = best;
    return KP_OK;
}

static void sort_others(others *o)
{
    for (uint32_t i = 1; i < o->n; i++)
        for (uint32_t k = i; k > 0; k--) {
            kp_plan_alternative *a = &o->list[k - 1], *b = &o->list[k], swap = *a;
            if (!better(&b->strategy, b->seconds, &a->strategy, a->seconds)) break;
            *a = *b;
            *b = swap;
        }
}

kp_status kp_hunt_others(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                         kp_plan_alternative *ret, uint32_t *ret_n, kp_err *err)
{
    ranked *list;
    others o = {.ground = ground, .winner = winner, .arena = arena, .list = ret};
    o.scratch = KP_NEW(arena, uint32_t, ground->max_stages + 1ul);
    if (!o.scratch) return kp_nomem(err);
    KP_TRY(rank_points(ground, arena, &list, err));
    for (int variants = 0; variants < 2; variants++)
        for (uint32_t i = 0; i < ground->space.n_points; i++) {
            bool wanted = variants ? same_degrees(&winner->strategy, list[i].point)
                                   : !listed(&o, list[i].point);
            if (!wanted || isinf(list[i].bound_s) || o.n == KP_ALTERNATIVES_MAX) continue;
            if (winner->stopped) break;
            KP_TRY(try_point(&o, list[i].point, err));
        }
    sort_others(&o);
    *ret_n = o.n;
    return KP_OK;
}
