/* SPDX-License-Identifier: MIT */
#include "planner/search/stages.h"
#include <criterion/criterion.h>
#include <math.h>

enum { UNITS_MAX = 8, STAGES_MAX = 8 };

/* A seeded sequence (Numerical Recipes' constants): the same on every machine. */
static uint64_t roll(uint64_t *seed, uint64_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % below;
}

/* Costs, cluster and strategy made by hand. */
typedef struct made {
    kp_costs costs;
    kp_unit units[UNITS_MAX];
    kp_unit_sum sum[UNITS_MAX + 1];
    uint64_t moment[KP_MOMENT_LEVELS * UNITS_MAX], cross[UNITS_MAX + 1];
    uint64_t limit[STAGES_MAX];
    uint8_t border_ok[UNITS_MAX + 1];
    kp_slot slots[64];
    kp_cluster cluster;
    kp_strategy strategy;
    kp_stage_task task;
} made;

static void fill_units(made *m, uint64_t *seed)
{
    uint32_t n = m->costs.n_units;
    for (uint32_t u = 0; u < n; u++) {
        kp_unit_sum *a = &m->sum[u], *b = &m->sum[u + 1];
        *b = *a;
        b->forward_s += (double)(1 + roll(seed, 50)) * 1e-3;
        b->backward_s += (double)(1 + roll(seed, 100)) * 1e-3;
        b->tp_s += (double)roll(seed, 10) * 1e-4;
        b->weights_bytes += roll(seed, 1000);
        b->optimizer_bytes += roll(seed, 1000);
        b->gradients_bytes += roll(seed, 500);
        b->kept_bytes += roll(seed, 400);
        b->sync_bytes += roll(seed, 100000000);
        b->update_elems += roll(seed, 100000000);
        m->moment[u] = roll(seed, 300);
        m->cross[u] = u ? roll(seed, 2) * 100 + roll(seed, 100000000) * roll(seed, 2) : 0;
        m->border_ok[u] = u == 0 || roll(seed, 8) > 0;
        m->units[u] = (kp_unit){u, u + 1, u};
    }
    for (uint32_t level = 1; 1u << level <= n; level++)
        for (uint32_t u = 0; u + (1u << level) <= n; u++)
            m->moment[level * n + u] = kp_max_u64(m->moment[(level - 1) * n + u],
                                                  m->moment[(level - 1) * n + u + (1u << (level - 1))]);
}

static void make(made *m, uint64_t seed, uint32_t pp)
{
    memset(m, 0, sizeof(*m));
    uint32_t n = 1 + (uint32_t)roll(&seed, UNITS_MAX);
    m->costs = (kp_costs){.n_units = n, .units = m->units, .sum = m->sum, .moment_bytes = m->moment,
                          .cross_bytes = m->cross, .fixed_bytes = 100, .outside_bytes = 50,
                          .error = .1, .waste = .05, .memory_bytes_per_s = 2e12,
                          .peak_flops_per_s = 1e15, .optimizer_bytes_an_elem = 28};
    fill_units(m, &seed);
    uint32_t dp = 1u << roll(&seed, 3);
    m->costs.dp = dp;
    m->costs.tp = 1;
    m->strategy = (kp_strategy){.dp = dp, .tp = 1, .pp = pp, .zero = (uint32_t)roll(&seed, 4),
                                .micro_batch = 1, .micro_batches = 1 + (uint32_t)roll(&seed, 12),
                                .schedule = roll(&seed, 4) ? KP_SCHEDULE_1F1B : KP_SCHEDULE_GPIPE,
                                .interleave = 1, .recompute = KP_RECOMPUTE_NONE};
    m->costs.zero = m->strategy.zero;
    for (uint32_t i = 0; i < 64; i++) m->slots[i] = (kp_slot){.node_index = i / 4};
    m->cluster = (kp_cluster){.slots = m->slots, .n_slots = dp * pp, .n_nodes = kp_ceil_div(dp * pp, 4),
                              .gpus_per_node = dp * pp < 4 ? dp * pp : 4, .intra = {5e-6, 1. / 2e11},
                              .inter = {1e-5, 1. / 2e10}};
    uint64_t spread = roll(&seed, 3) ? 9000 : UINT64_MAX / 2;
    for (uint32_t s = 0; s < pp; s++) m->limit[s] = 800 + roll(&seed, spread);
    m->task = (kp_stage_task){.costs = &m->costs, .strategy = &m->strategy, .cluster = &m->cluster,
                              .limit_bytes = m->limit, .border_ok = m->border_ok, .beat_s = INFINITY};
}

/* Every cut, one by one. */
typedef struct oracle {
    double seconds;
    uint64_t least_bytes;
    uint64_t cuts;
} oracle;

static void try_all(const made *m, uint32_t *borders, uint32_t stage, oracle *o)
{
    uint32_t pp = m->strategy.pp, n = m->costs.n_units;
    if (stage == pp) {
        uint32_t worst;
        bool fits = true;
        for (uint32_t s = 0; s < pp; s++)
            fits = fits && kp_costs_stage_bytes(&m->costs, borders[s], borders[s + 1],
                                                kp_stages_in_flight(&m->strategy, s)) <= m->limit[s];
        o->least_bytes = kp_min_u64(o->least_bytes, kp_stages_peak(&m->task, borders, &worst));
        o->cuts++;
        if (fits) o->seconds = fmin(o->seconds, kp_stages_time_s(&m->task, borders));
        return;
    }
    for (uint32_t to = borders[stage] + 1; to <= n; to++) {
        if (stage + 1 == pp ? to != n : to == n || !m->border_ok[to]) continue;
        borders[stage + 1] = to;
        try_all(m, borders, stage + 1, o);
    }
}

static oracle ask_oracle(const made *m)
{
    uint32_t borders[STAGES_MAX + 1] = {0};
    oracle o = {.seconds = INFINITY, .least_bytes = UINT64_MAX};
    try_all(m, borders, 0, &o);
    return o;
}

Test(stages, equals_brute_force)
{
    kp_arena arena;
    uint32_t feasible = 0, infeasible = 0;
    kp_arena_init(&arena, 0);
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        made m;
        make(&m, seed, 1 + (uint32_t)(seed % 5));
        oracle o = ask_oracle(&m);
        kp_stage_answer a;
        kp_err err = {0};
        kp_arena_mark mark = kp_arena_tell(&arena);
        cr_assert_eq(kp_stages_solve(&m.task, &arena, &a, &err), KP_OK);
        cr_expect_eq(a.found, !isinf(o.seconds), "seed %lu", (unsigned long)seed);
        feasible += a.found;
        infeasible += !a.found;
        if (!a.found) cr_expect(isinf(a.lower_s) && !a.fits, "seed %lu", (unsigned long)seed);
        if (!a.found) continue;
        cr_expect(fabs(a.seconds - o.seconds) <= 1e-9 * o.seconds, "seed %lu: %.12g, best %.12g",
                  (unsigned long)seed, a.seconds, o.seconds);
        cr_expect(a.lower_s <= o.seconds * (1 + 1e-12), "seed %lu", (unsigned long)seed);
        cr_expect(a.lower_s >= o.seconds * (1 - 1e-9), "seed %lu: bound %.12g of %.12g",
                  (unsigned long)seed, a.lower_s, o.seconds);
        /* A time to beat only ever hides what does not beat it, and its bound says so. */
        m.task.beat_s = o.seconds * (1 - 1e-6);
        cr_assert_eq(kp_stages_solve(&m.task, &arena, &a, &err), KP_OK);
        cr_expect(!a.found && a.lower_s >= m.task.beat_s * (1 - 1e-9), "seed %lu", (unsigned long)seed);
        kp_arena_rewind(&arena, mark);
    }
    cr_expect(feasible > 500 && infeasible > 500, "%u feasible, %u infeasible", feasible, infeasible);
    kp_arena_release(&arena);
}

/* More memory never makes it slower; and the time is that of the whole step. */
Test(stages, properties)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (uint64_t seed = 1; seed <= 500; seed++) {
        made m;
        kp_stage_answer tight, wide;
        make(&m, seed * 77, 1 + (uint32_t)(seed % 4));
        kp_arena_mark mark = kp_arena_tell(&arena);
        cr_assert_eq(kp_stages_solve(&m.task, &arena, &tight, NULL), KP_OK);
        for (uint32_t s = 0; s < m.strategy.pp; s++) m.limit[s] += 500;
        cr_assert_eq(kp_stages_solve(&m.task, &arena, &wide, NULL), KP_OK);
        if (tight.found) cr_expect(wide.found && wide.seconds <= tight.seconds * (1 + 1e-12), "seed %lu", (unsigned long)seed);
        if (wide.found) {
            kp_plan_step step;
            kp_training training = {.batch = 8};
            kp_graph graph = {0};
            kp_step_time(&m.costs, wide.borders, &m.strategy, &training, &graph, &m.cluster, &step);
            cr_expect(fabs(step.seconds - wide.seconds) <= 1e-9 * step.seconds,
                      "seed %lu: the step takes %.12g s, the search says %.12g s", (unsigned long)seed,
                      step.seconds, wide.seconds);
        }
        kp_arena_rewind(&arena, mark);
    }
    kp_arena_release(&arena);
}

/* The smallest cut is within what borders differ by of the least there is. */
Test(stages, smallest)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        made m;
        kp_stage_answer a;
        make(&m, seed * 13, 1 + (uint32_t)(seed % 4));
        for (uint32_t u = 0; u < m.costs.n_units; u++) m.cross[u] %= 100;
        oracle o = ask_oracle(&m);
        kp_arena_mark mark = kp_arena_tell(&arena);
        cr_assert_eq(kp_stages_smallest(&m.task, &arena, &a, NULL), KP_OK);
        cr_expect_eq(a.found, o.cuts > 0, "seed %lu", (unsigned long)seed);
        if (a.found)
            cr_expect((double)a.peak_bytes <= 1.15 * (double)o.least_bytes, "seed %lu: %lu, least %lu",
                      (unsigned long)seed, (unsigned long)a.peak_bytes, (unsigned long)o.least_bytes);
        kp_arena_rewind(&arena, mark);
    }
    kp_arena_release(&arena);
}
