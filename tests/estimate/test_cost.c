/* SPDX-License-Identifier: MIT */
#include "planner/search/cuts.h"
#include "planner/search/stages.h"
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>
#include <math.h>

static const char *const models[] = {"models/dense.json",    "models/cnn.json",
                                     "models/lstm.json",     "models/transformer.json",
                                     "models/resnet50.json", "apps/EfficientNetB0.json"};

static const kp_strategy strategies[] = {
    {.dp = 1,
     .tp = 1,
     .pp = 2,
     .zero = 0,
     .micro_batch = 8,
     .micro_batches = 4,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 2,
     .tp = 1,
     .pp = 3,
     .zero = 1,
     .micro_batch = 4,
     .micro_batches = 4,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 4,
     .tp = 1,
     .pp = 2,
     .zero = 2,
     .micro_batch = 2,
     .micro_batches = 4,
     .recompute = KP_RECOMPUTE_FULL},
    {.dp = 2,
     .tp = 1,
     .pp = 2,
     .zero = 3,
     .micro_batch = 8,
     .micro_batches = 2,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 1,
     .tp = 4,
     .pp = 2,
     .zero = 0,
     .micro_batch = 8,
     .micro_batches = 4,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 1,
     .tp = 2,
     .pp = 4,
     .zero = 0,
     .micro_batch = 4,
     .micro_batches = 8,
     .recompute = KP_RECOMPUTE_FULL},
    {.dp = 1,
     .tp = 1,
     .pp = 2,
     .zero = 0,
     .micro_batch = 8,
     .micro_batches = 4,
     .recompute = KP_RECOMPUTE_SELECTIVE},
};

static kp_cluster cluster_of(fixture *f, const char *spec)
{
    kp_err err = {0};
    kp_nodes nodes;
    kp_cluster cluster;
    cr_assert_eq(kp_nodes_invent(spec, &f->gpus, &f->arena, &nodes, &err), KP_OK, "%s", err.msg);
    cr_assert_eq(
        kp_cluster_make(&nodes, &f->gpus, UINT32_MAX, UINT32_MAX, &f->arena, &cluster, &err),
        KP_OK);
    return cluster;
}

/* Stages [from, to) of units, over a few places of the chain, for any number in flight: what the
 * search prices is at least what the replay calls high. */
static void bound(fixture *f, const kp_cluster *cluster, const kp_strategy *s, const char *what)
{
    kp_err err = {0};
    kp_costs costs;
    uint64_t divided;
    const uint8_t *ok;
    kp_part part = fixture_part(f, *s);
    if (s->tp > 1)
        cr_assert_eq(
            kp_cuts_choose(f->graph, s->tp, s->micro_batch, &f->arena, &part.cuts, &divided, &err),
            KP_OK);
    cr_assert_eq(
        kp_costs_make(f->graph, &f->training, s, part.cuts, cluster, &f->arena, &costs, &err),
        KP_OK, "%s: %s", what, err.msg);
    cr_assert_eq(kp_stages_borders(f->graph, costs.units, costs.n_units, &f->arena, &ok, &err),
                 KP_OK);
    uint32_t step = costs.n_units / 5 + 1;
    for (uint32_t from = 0; from < costs.n_units; from += step)
        for (uint32_t to = from + 1; to <= costs.n_units; to += step) {
            if (!ok[from] || !ok[to]) continue;
            part.first_op = from ? costs.units[from].first_op : 0;
            part.end_op = costs.units[to - 1].end_op;
            part.in_flight = 1 + (from + to) % 3;
            kp_arena_mark mark = kp_arena_tell(&f->arena);
            kp_memory m = fixture_memory(f, &part);
            kp_arena_rewind(&f->arena, mark);
            uint64_t bytes = kp_costs_stage_bytes(&costs, from, to, part.in_flight);
            cr_expect(bytes >= m.high_bytes,
                      "%s: units %u to %u of %u, %u in flight: priced %llu, replayed %llu", what,
                      from, to, costs.n_units, part.in_flight, (unsigned long long)bytes,
                      (unsigned long long)m.high_bytes);
            cr_expect(bytes < 3 * m.high_bytes, "%s: units %u to %u: priced %llu, replayed %llu",
                      what, from, to, (unsigned long long)bytes, (unsigned long long)m.high_bytes);
        }
}

Test(cost, stage_bytes_bound_the_replay)
{
    for (size_t i = 0; i < KP_LEN(models); i++)
        for (int fw = KP_FW_KERAS_JAX; fw < KP_FW_COUNT; fw++) {
            fixture f;
            fixture_init(&f);
            f.options.framework = (kp_framework)fw;
            fixture_load(&f, models[i]);
            kp_cluster cluster = cluster_of(&f, "2x8xH100-80G");
            f.device = cluster.slots[0].device;
            for (size_t s = 0; s < KP_LEN(strategies); s++) {
                char what[96];
                kp_arena_mark mark = kp_arena_tell(&f.arena);
                snprintf(what, sizeof(what), "%s, %s, strategy %zu", models[i],
                         kp_framework_names[fw], s);
                bound(&f, &cluster, &strategies[s], what);
                kp_arena_rewind(&f.arena, mark);
            }
            fixture_free(&f);
        }
}

Test(cost, units_are_calls_in_order)
{
    for (size_t i = 0; i < KP_LEN(models); i++) {
        fixture f;
        kp_err err = {0};
        const kp_unit *units;
        uint32_t n, at = 0;
        fixture_init(&f);
        fixture_load(&f, models[i]);
        cr_assert_eq(kp_units_make(f.graph, &f.arena, &units, &n, &err), KP_OK);
        for (uint32_t u = 0; u < n; u++) {
            cr_expect(units[u].first_op == at && units[u].end_op > at, "%s: unit %u", models[i], u);
            at = units[u].end_op;
        }
        cr_expect_eq(at, f.graph->n_ops, "%s", models[i]);
        fixture_free(&f);
    }
}

/* Wire formulas of COST: ring inside a node, hierarchical between nodes; one rank costs nothing. */
Test(cost, collectives)
{
    fixture f;
    fixture_init(&f);
    kp_cluster c = cluster_of(&f, "4x8xH100-80G");
    double intra = 30e-6, rate = 367e9, hop = 20e-6, net = 44e9, b = 1e9;
    const struct {
        kp_coll coll;
        uint32_t ranks, stride;
        double want;
    } rows[] = {
        {KP_COLL_ALL_REDUCE, 1, 1, 0},
        {KP_COLL_NONE, 8, 1, 0},
        {KP_COLL_SLICE, 8, 1, 0},
        {KP_COLL_ALL_REDUCE, 8, 1, intra + 2 * 7. / 8 * b / rate},
        {KP_COLL_ALL_GATHER, 8, 1, intra + 7. / 8 * b / rate},
        {KP_COLL_REDUCE_SCATTER, 4, 2, intra + 3. / 4 * b / rate},
        {KP_COLL_ALL_REDUCE, 4, 8, hop * 3 + 2 * 3. / 4 * b / net},
        {KP_COLL_ALL_REDUCE, 32, 1,
         intra + 2 * 7. / 8 * b / rate + hop * 3 + 2 * 3. / 4 * (b / 8) / net},
        {KP_COLL_SEND_RECV, 2, 1, intra + b / rate},
        {KP_COLL_SEND_RECV, 2, 8, hop + b / net},
        /* Three ranks do not divide a node of 8: some group lies over two. */
        {KP_COLL_ALL_GATHER, 3, 1,
         intra + 1. / 2 * b / rate + hop * 2 + 1. / 2 * (b / 2) / net},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        double got = kp_coll_time_s(rows[i].coll, rows[i].ranks, rows[i].stride, (uint64_t)b, &c);
        cr_expect(fabs(got - rows[i].want) <= 1e-6 * rows[i].want, "row %zu: %g, not %g", i, got,
                  rows[i].want);
    }
    fixture_free(&f);
}

static void check_step(fixture *f, const kp_cluster *cluster, kp_strategy s, const char *what)
{
    kp_err err = {0};
    kp_costs costs;
    uint32_t borders[9];
    kp_plan_step step;
    const uint8_t *cuts = NULL;
    uint64_t divided;
    if (s.tp > 1)
        cr_assert_eq(
            kp_cuts_choose(f->graph, s.tp, s.micro_batch, &f->arena, &cuts, &divided, &err), KP_OK);
    cr_assert_eq(kp_costs_make(f->graph, &f->training, &s, cuts, cluster, &f->arena, &costs, &err),
                 KP_OK);
    for (uint32_t i = 0; i <= s.pp; i++) borders[i] = costs.n_units * i / s.pp;
    kp_step_time(&costs, borders, &s, &f->training, f->graph, cluster, &step);
    double parts = step.compute_s + step.bubble_s + step.tensor_parallel_s + step.pipeline_s +
                   step.data_parallel_s + step.optimizer_s;
    cr_expect(fabs(parts - step.seconds) <= 1e-9 * parts && step.seconds > 0, "%s: parts", what);
    cr_expect(step.low_s <= step.seconds && step.seconds <= step.high_s, "%s: bounds", what);
    cr_expect((s.tp > 1) >= (step.tensor_parallel_s > 0), "%s: no group, no collective", what);
    cr_expect((s.dp > 1) == (step.data_parallel_s > 0), "%s: no group, no sync", what);
    cr_expect((s.pp > 1) == (step.bubble_s > 0) && (s.pp > 1) == (step.pipeline_s > 0),
              "%s: no stages, no bubble", what);
    cr_expect(step.mfu > 0 && step.mfu < 1, "%s: mfu %g", what, step.mfu);
    cr_expect(isnan(step.tokens_per_s) != isnan(step.samples_per_s), "%s: one of the two", what);
}

Test(cost, parts_of_a_step)
{
    for (size_t i = 0; i < KP_LEN(models); i++) {
        fixture f;
        fixture_init(&f);
        fixture_load(&f, models[i]);
        kp_cluster cluster = cluster_of(&f, "2x8xH100-80G");
        check_step(&f, &cluster, kp_part_whole(f.graph, &f.training).strategy, models[i]);
        for (size_t s = 0; s < KP_LEN(strategies); s++)
            check_step(&f, &cluster, strategies[s], models[i]);
        fixture_free(&f);
    }
}

/* Who keeps only a share of the summed gradients sums them after every micro-batch. */
Test(cost, zero_2_scatters_each_micro_batch)
{
    fixture f;
    kp_err err = {0};
    kp_costs costs;
    double sync[2][2], update;
    fixture_init(&f);
    fixture_load(&f, "models/dense.json");
    kp_cluster cluster = cluster_of(&f, "2x8xH100-80G");
    for (uint32_t zero = 1; zero <= 2; zero++)
        for (uint32_t m = 1; m <= 4; m += 3) {
            kp_strategy s = kp_part_whole(f.graph, &f.training).strategy;
            s.dp = 16;
            s.zero = zero;
            s.micro_batch = 2;
            s.micro_batches = m;
            cr_assert_eq(kp_costs_make(f.graph, &f.training, &s, NULL, &cluster, &f.arena, &costs, &err), KP_OK);
            kp_costs_tail_s(&costs, 0, costs.n_units, &s, &cluster, &sync[zero - 1][m > 1], &update);
        }
    cr_expect(sync[0][0] == sync[0][1] && sync[0][0] == sync[1][0], "%g %g %g", sync[0][0], sync[0][1], sync[1][0]);
    cr_expect(sync[1][1] > 1.2 * sync[1][0], "%g %g", sync[1][1], sync[1][0]);
    fixture_free(&f);
}

/* More work takes longer, a faster card less. */
Test(cost, order)
{
    fixture f;
    kp_err err = {0};
    kp_costs slow, fast, twice;
    fixture_init(&f);
    f.options.batch = 64;
    fixture_load(&f, "models/resnet50.json");
    kp_cluster t4 = cluster_of(&f, "1x1xT4"), h100 = cluster_of(&f, "1x1xH100-80G");
    kp_strategy one = kp_part_whole(f.graph, &f.training).strategy;
    one.micro_batch = 32;
    cr_assert_eq(kp_costs_make(f.graph, &f.training, &one, NULL, &t4, &f.arena, &slow, &err),
                 KP_OK);
    cr_assert_eq(kp_costs_make(f.graph, &f.training, &one, NULL, &h100, &f.arena, &fast, &err),
                 KP_OK);
    one.micro_batch = 64;
    cr_assert_eq(kp_costs_make(f.graph, &f.training, &one, NULL, &h100, &f.arena, &twice, &err),
                 KP_OK);
    double a = kp_costs_stage_s(&slow, 0, slow.n_units),
           b = kp_costs_stage_s(&fast, 0, fast.n_units),
           c = kp_costs_stage_s(&twice, 0, twice.n_units);
    cr_expect(b < a && b < c && c < 2.1 * b, "%g %g %g", a, b, c);
    /* 3 x 2 x 4.1 GFLOP an image: forward, two passes back. */
    cr_expect(fabs(fast.sum[fast.n_units].flops / 32 / 24.6e9 - 1) < .1, "%g",
              fast.sum[fast.n_units].flops / 32);
    fixture_free(&f);
}

/* Published throughput of whole networks, images a second on one card (deep learning examples of
 * the vendor, MXNet and PyTorch): within a quarter. */
Test(cost, resnet50_throughput)
{
    static const struct {
        const char *spec, *policy;
        uint32_t batch;
        double least, most;
    } rows[] = {
        {"1x1xA100-80G", "mixed_bfloat16", 256, 2470, 3410},
        {"1x1xA100-80G", "float32", 256, 909, 1056},
        {"1x1xV100-16G", "mixed_float16", 192, 1156, 1492},
        {"1x1xV100-16G", "float32", 64, 356, 432},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_err err = {0};
        kp_costs costs;
        kp_plan_step step;
        fixture_init(&f);
        f.options.batch = rows[i].batch;
        f.options.dtype_policy = rows[i].policy;
        fixture_load(&f, "models/resnet50.json");
        kp_cluster cluster = cluster_of(&f, rows[i].spec);
        kp_strategy one = kp_part_whole(f.graph, &f.training).strategy;
        cr_assert_eq(
            kp_costs_make(f.graph, &f.training, &one, NULL, &cluster, &f.arena, &costs, &err),
            KP_OK);
        kp_step_time(&costs, (uint32_t[]){0, costs.n_units}, &one, &f.training, f.graph, &cluster,
                     &step);
        cr_expect(step.samples_per_s > .75 * rows[i].least &&
                      step.samples_per_s < 1.25 * rows[i].most,
                  "row %zu: %.0f images/s", i, step.samples_per_s);
        fixture_free(&f);
    }
}
