/* SPDX-License-Identifier: MIT */
#include "planner/plan/plan.h"
#include "planner/search/search.h"
#include "planner/search/cuts.h"
#include "planner/search/stages.h"
#include "tests/search/models.h"
#include <criterion/criterion.h>
#include <math.h>

/* One request with all that it refers to. */
typedef struct setup {
    kp_arena arena;
    kp_gpu_kinds kinds;
    kp_nodes nodes;
    kp_cluster cluster;
    kp_options options;
    kp_training training;
    const kp_graph *graph;
    kp_search_request request;
    kp_plan plan;
    kp_refusal refusal;
    kp_err err;
} setup;

static void resolve(setup *s)
{
    cr_assert_eq(kp_training_resolve(s->graph, &s->options, &s->arena, &s->training, &s->err), KP_OK,
                 "%s", s->err.msg);
}

static void begin(setup *s, const char *model, const char *cluster, uint64_t batch)
{
    memset(s, 0, sizeof(*s));
    kp_arena_init(&s->arena, 0);
    kp_schema_init(&kp_schema_options, &s->options);
    s->options.batch = batch;
    s->options.target = KP_TARGET_ANY;
    cr_assert_eq(kp_gpu_table(&s->arena, &s->kinds, &s->err), KP_OK, "%s", s->err.msg);
    cr_assert_eq(kp_nodes_invent(cluster, &s->kinds, &s->arena, &s->nodes, &s->err), KP_OK, "%s", s->err.msg);
    cr_assert_eq(kp_cluster_make(&s->nodes, &s->kinds, UINT32_MAX, UINT32_MAX, &s->arena, &s->cluster, &s->err),
                 KP_OK, "%s", s->err.msg);
    s->graph = model_read(model, &s->arena);
    resolve(s);
    s->request = (kp_search_request){.graph = s->graph, .training = &s->training, .options = &s->options,
                                     .cluster = &s->cluster, .sha256 = "00"};
}

static kp_status run(setup *s)
{
    s->err = (kp_err){0};
    resolve(s);
    return kp_search(&s->request, &s->arena, &s->plan, &s->refusal, &s->err);
}

/* All GPUs have so much memory. */
static void set_memory(setup *s, uint64_t bytes)
{
    for (uint32_t i = 0; i < s->cluster.n_slots; i++)
        s->cluster.slots[i].device.usable_bytes = s->cluster.slots[i].device.total_bytes = bytes;
}

static void end(setup *s)
{
    kp_arena_release(&s->arena);
}

/* Plans of all models over several clusters, objectives and targets keep every invariant, and are
 * the same bytes each time. */
Test(search, plans_hold_together)
{
    static const char *const clusters[] = {"1x1xH100-80G", "1x3xA100-40G", "2x4xH100-80G", "2x8xT4-16GB",
                                           "1x4xH100-80G+1x2xL40S"};
    static const kp_target targets[] = {KP_TARGET_ANY, KP_TARGET_KERAS_JAX, KP_TARGET_KERAS_TF};
    uint32_t plans = 0;
    for (size_t m = 0; m < n_models; m++)
        for (size_t c = 0; c < KP_LEN(clusters); c++)
            for (size_t t = 0; t < KP_LEN(targets); t++)
                for (int objective = 0; objective < KP_OBJECTIVE_COUNT; objective++) {
                    if ((m + c + t + (size_t)objective) % 5) continue; /* a fifth of all: each pair is there */
                    setup s;
                    begin(&s, models[m].text, clusters[c], 48);
                    s.options.target = targets[t];
                    s.options.objective = (kp_objective)objective;
                    cr_assert_eq(run(&s), KP_OK, "%s on %s: %s", models[m].name, clusters[c], s.err.msg);
                    kp_status status = kp_plan_check(&s.plan, &s.err);
                    cr_expect_eq(status, KP_OK, "%s on %s: %s", models[m].name, clusters[c], s.err.msg);
                    cr_expect(targets[t] == KP_TARGET_ANY || s.plan.strategy.pp == 1);
                    cr_expect(targets[t] != KP_TARGET_KERAS_TF || (s.plan.strategy.tp == 1 && s.plan.strategy.zero == 0));
                    cr_expect(s.plan.search.complete && s.plan.n_alternatives <= 5);
                    kp_plan first = s.plan;
                    cr_assert_eq(run(&s), KP_OK);
                    cr_expect(kp_schema_equal(&kp_schema_plan, &first, &s.plan), "%s on %s", models[m].name, clusters[c]);
                    plans++;
                    end(&s);
                }
    cr_expect(plans > 0);
}

/* ---- brute force over all strategies and all cuts ---- */

typedef struct best {
    double seconds;
    uint64_t tried;
} best;

static bool fits(const setup *s, const kp_strategy *st, const kp_unit *units, const uint32_t *borders,
                 const uint8_t *cuts, kp_arena *arena)
{
    bool all = true;
    for (uint32_t i = 0; i < st->pp && all; i++) {
        kp_memory memory;
        kp_part part = {.strategy = *st, .stage = i, .first_op = i ? units[borders[i]].first_op : 0,
                        .end_op = units[borders[i + 1] - 1].end_op, .cuts = cuts,
                        .in_flight = kp_stages_in_flight(st, i)};
        kp_arena_mark mark = kp_arena_tell(arena);
        cr_assert_eq(kp_memory_of(s->graph, &s->training, &part, &s->cluster.slots[0].device, arena, &memory, NULL), KP_OK);
        all = memory.high_bytes <= s->cluster.slots[0].device.usable_bytes;
        kp_arena_rewind(arena, mark);
    }
    return all;
}

static void all_cuts(setup *s, const kp_strategy *st, const kp_costs *costs, const uint8_t *ok,
                     const uint8_t *cuts, uint32_t *borders, uint32_t stage, best *b)
{
    if (stage == st->pp) {
        kp_plan_step step;
        kp_step_time(costs, borders, st, &s->training, s->graph, &s->cluster, &step);
        b->tried++;
        if (step.seconds < b->seconds && fits(s, st, costs->units, borders, cuts, &s->arena))
            b->seconds = step.seconds;
        return;
    }
    for (uint32_t to = borders[stage] + 1; to <= costs->n_units; to++) {
        if (stage + 1 == st->pp ? to != costs->n_units : to == costs->n_units || !ok[to]) continue;
        borders[stage + 1] = to;
        all_cuts(s, st, costs, ok, cuts, borders, stage + 1, b);
    }
}

static void one_strategy(setup *s, kp_strategy st, best *b)
{
    kp_arena_mark mark = kp_arena_tell(&s->arena);
    const uint8_t *cuts, *ok;
    uint64_t divided;
    kp_costs costs;
    uint32_t borders[16] = {0};
    cr_assert_eq(kp_cuts_choose(s->graph, st.tp, st.micro_batch, &s->arena, &cuts, &divided, NULL), KP_OK);
    if (st.tp == 1 || divided) {
        cr_assert_eq(kp_costs_make(s->graph, &s->training, &st, cuts, &s->cluster, &s->arena, &costs, NULL), KP_OK);
        cr_assert_eq(kp_stages_borders(s->graph, costs.units, costs.n_units, &s->arena, &ok, NULL), KP_OK);
        all_cuts(s, &st, &costs, ok, cuts, borders, 0, b);
    }
    kp_arena_rewind(&s->arena, mark);
}

/* dp x tp x pp = gpus with tp in nodes of 4; every micro-batch, ZeRO level and recomputation. */
static best brute_force(setup *s)
{
    best b = {.seconds = INFINITY};
    uint32_t gpus = s->cluster.n_slots, batch = (uint32_t)s->training.batch;
    for (uint32_t tp = 1; tp <= 4; tp++)
        for (uint32_t pp = 1; pp <= 8; pp++)
            for (uint32_t mb = 1; mb <= batch; mb++)
                for (uint32_t zero = 0; zero <= 3; zero++)
                    for (int r = KP_RECOMPUTE_NONE; r <= KP_RECOMPUTE_FULL; r++) {
                        if (gpus % (tp * pp) || 4 % tp) continue;
                        uint32_t dp = gpus / tp / pp;
                        if (batch % (dp * mb) || (dp == 1 && zero)) continue;
                        one_strategy(s, (kp_strategy){.dp = dp, .tp = tp, .pp = pp, .zero = zero,
                                                      .micro_batch = mb, .micro_batches = batch / dp / mb,
                                                      .schedule = KP_SCHEDULE_1F1B, .interleave = 1,
                                                      .recompute = (kp_recompute)r}, &b);
                    }
    return b;
}

Test(search, equals_brute_force)
{
    static const struct {
        const char *text, *cluster;
        uint64_t batch, memory; /* 0: that of the card */
    } rows[] = {
        {model_dense, "1x4xH100-80G", 16, 0},        {model_dense, "2x4xT4-16GB", 16, 0},
        {model_small_dense, "2x4xH100-80G", 8, 0},   {model_lstm, "1x4xT4-16GB", 16, 0},
        {model_residual, "2x4xA100-40G", 64, 0},     {model_shared, "1x4xH100-80G", 12, 0},
        {model_conv, "1x4xT4-16GB", 64, 0},          {model_dense, "2x4xT4-16GB", 16, 1350ull << 20},
        {model_conv, "1x4xT4-16GB", 256, 1100ull << 20}, {model_residual, "1x4xT4-16GB", 64, 1100ull << 20},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        setup s;
        begin(&s, rows[i].text, rows[i].cluster, rows[i].batch);
        if (rows[i].memory) set_memory(&s, rows[i].memory);
        best b = brute_force(&s);
        kp_status status = run(&s);
        cr_expect_eq(status, isinf(b.seconds) ? KP_INFEASIBLE : KP_OK, "row %zu: %s", i, s.err.msg);
        if (status == KP_OK) {
            double seconds = s.plan.step.seconds;
            cr_expect(seconds <= b.seconds * (1 + 1e-8), "row %zu: %.9g s, best of %lu is %.9g s", i, seconds,
                      (unsigned long)b.tried, b.seconds);
            cr_expect(seconds >= b.seconds * (1 - 1e-8), "row %zu: faster than any", i);
            cr_expect(s.plan.bound.lower_s <= b.seconds * (1 + 1e-9), "row %zu: bound %.9g s", i, s.plan.bound.lower_s);
        }
        end(&s);
    }
}

/* More memory never makes it slower, and one GPU more is never worse when fewer will do. */
Test(search, monotone)
{
    double before = INFINITY;
    uint32_t fitted = 0;
    for (uint64_t mib = 900; mib <= 16000; mib = mib * 5 / 4) {
        setup s;
        begin(&s, model_transformer, "2x4xT4-16GB", 32);
        set_memory(&s, mib << 20);
        kp_status status = run(&s);
        cr_expect(status == KP_OK || (status == KP_INFEASIBLE && isinf(before)), "%lu MiB: %s", (unsigned long)mib, s.err.msg);
        if (status == KP_OK) {
            cr_expect(s.plan.step.seconds <= before * (1 + 1e-9), "%lu MiB: slower", (unsigned long)mib);
            before = s.plan.step.seconds;
            fitted++;
        }
        end(&s);
    }
    cr_expect(fitted > 3);
    uint32_t least = 0;
    static const char *const clusters[] = {"1x1xT4-16GB", "1x2xT4-16GB", "1x3xT4-16GB", "1x4xT4-16GB", "1x5xT4-16GB", "2x4xT4-16GB"};
    for (size_t i = 0; i < KP_LEN(clusters); i++) {
        setup s;
        begin(&s, model_transformer, clusters[i], 32);
        s.options.objective = KP_OBJECTIVE_GPUS;
        set_memory(&s, 1500ull << 20);
        kp_status status = run(&s);
        cr_expect(status == KP_OK || (status == KP_INFEASIBLE && least == 0), "%s: %s", clusters[i], s.err.msg);
        if (status == KP_OK && least) cr_expect_eq(s.plan.n_ranks, least, "%s takes %u", clusters[i], s.plan.n_ranks);
        if (status == KP_OK) least = s.plan.n_ranks;
        end(&s);
    }
    cr_expect(least > 1, "%u", least);
}

/* What is asked for by hand is what the plan has, or a clear error. */
Test(search, by_hand)
{
    static const struct {
        const char *text, *cluster;
        uint64_t batch;
        uint32_t dp, tp, pp, micro_batch, zero;
        int target, schedule, recompute;
        kp_status status;
        const char *says;
    } rows[] = {
        {model_transformer, "2x4xH100-80G", 32, 2, 2, 2, 4, 1, 1, 0, 0, KP_OK, ""},
        {model_transformer, "2x4xH100-80G", 32, 0, 4, 0, 0, 9, 1, 3, 3, KP_OK, ""},
        {model_transformer, "2x4xH100-80G", 32, 1, 1, 8, 1, 9, 1, 0, 0, KP_OK, ""},
        {model_transformer, "2x4xH100-80G", 32, 0, 3, 0, 0, 9, 1, 0, 0, KP_USAGE, "divides no dimension"},
        {model_transformer, "2x4xH100-80G", 32, 0, 8, 0, 0, 9, 1, 0, 0, KP_USAGE, "GPUs of a node"},
        {model_transformer, "2x4xH100-80G", 32, 3, 0, 0, 0, 9, 1, 0, 0, KP_USAGE, "does not divide the 8 GPUs"},
        {model_transformer, "2x4xH100-80G", 30, 4, 0, 0, 0, 9, 1, 0, 0, KP_USAGE, "batch of 30"},
        {model_transformer, "2x4xH100-80G", 32, 2, 2, 1, 0, 9, 1, 0, 0, KP_USAGE, "multiply to 4"},
        {model_transformer, "2x4xH100-80G", 32, 0, 0, 0, 5, 9, 1, 0, 0, KP_USAGE, "--micro-batch 5"},
        {model_transformer, "2x4xH100-80G", 32, 0, 0, 2, 0, 9, 2, 0, 0, KP_UNSUPPORTED, "no pipeline"},
        {model_transformer, "2x4xH100-80G", 32, 0, 0, 0, 0, 1, 2, 0, 0, KP_UNSUPPORTED, "ZeRO level 1"},
        {model_transformer, "2x4xH100-80G", 32, 0, 2, 0, 0, 9, 3, 0, 0, KP_UNSUPPORTED, "no tensor parallelism"},
        {model_transformer, "2x4xH100-80G", 32, 0, 0, 0, 0, 9, 1, 2, 0, KP_UNSUPPORTED, "interleaved"},
        {model_small_dense, "2x4xH100-80G", 32, 0, 0, 8, 0, 9, 1, 0, 0, KP_USAGE, "3 stages"},
        {model_transformer, "3x1xH100-80G", 32, 0, 0, 0, 0, 9, 2, 0, 0, KP_USAGE, "at least 3 replicas"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        setup s;
        begin(&s, rows[i].text, rows[i].cluster, rows[i].batch);
        if (rows[i].dp) s.options.dp = rows[i].dp;
        if (rows[i].tp) s.options.tp = rows[i].tp;
        if (rows[i].pp) s.options.pp = rows[i].pp;
        if (rows[i].micro_batch) s.options.micro_batch = rows[i].micro_batch;
        if (rows[i].zero < 4) s.options.zero = rows[i].zero;
        s.options.target = (kp_target)rows[i].target;
        s.options.schedule = (kp_schedule)rows[i].schedule;
        s.options.recompute = (kp_recompute)rows[i].recompute;
        kp_status status = run(&s);
        const kp_strategy *st = &s.plan.strategy;
        cr_expect_eq(status, rows[i].status, "row %zu: %s %s", i, kp_status_name(status), s.err.msg);
        cr_expect(strstr(s.err.msg, rows[i].says), "row %zu: %s", i, s.err.msg);
        if (status == KP_OK) {
            cr_expect(!rows[i].dp || st->dp == rows[i].dp, "row %zu", i);
            cr_expect(!rows[i].tp || st->tp == rows[i].tp, "row %zu", i);
            cr_expect(!rows[i].pp || st->pp == rows[i].pp, "row %zu", i);
            cr_expect(!rows[i].micro_batch || st->micro_batch == rows[i].micro_batch, "row %zu", i);
            cr_expect(rows[i].zero > 3 || st->zero == rows[i].zero, "row %zu", i);
            cr_expect(!rows[i].recompute || (int)st->recompute == rows[i].recompute, "row %zu", i);
            cr_expect_eq(kp_plan_check(&s.plan, &s.err), KP_OK, "row %zu: %s", i, s.err.msg);
        }
        end(&s);
    }
}

/* A refusal names stage, layer and bytes, and changes that were searched: taken, they do fit. */
Test(search, refusal)
{
    setup s;
    begin(&s, model_transformer, "1x2xT4-16GB", 4096);
    s.options.recompute = KP_RECOMPUTE_NONE;
    s.options.micro_batch = 2048;
    s.options.zero = 0;
    set_memory(&s, 4096ull << 20);
    cr_assert_eq(run(&s), KP_INFEASIBLE, "%s", s.err.msg);
    const kp_refusal_binding *b = &s.refusal.binding;
    cr_expect(strstr(s.err.msg, "no plan fits") && strstr(s.err.msg, "4.0 GiB") && s.err.hint[0], "%s", s.err.msg);
    cr_expect(b->layer && b->peak_bytes > b->usable_bytes && b->usable_bytes == 4096ull << 20);
    cr_expect_eq(kp_categories_sum(&b->bytes), b->peak_bytes);
    cr_assert(s.refusal.n_changes >= 2);
    cr_expect_str_eq(s.refusal.changes[0].change, "--micro-batch 1");
    cr_expect(s.refusal.changes[0].fits && s.refusal.changes[0].peak_bytes < b->usable_bytes);
    for (uint32_t i = 0; i < s.refusal.n_changes; i++)
        cr_expect(strncmp(s.refusal.changes[i].change, "--nodes", 7), "an option that would ask for more than there is");
    for (uint32_t i = 1; i < s.refusal.n_changes; i++)
        cr_expect(s.refusal.changes[i - 1].fits >= s.refusal.changes[i].fits, "those that fit come first");
    s.options.micro_batch = 1;
    cr_expect_eq(run(&s), KP_OK, "%s", s.err.msg);
    end(&s);
}

static kp_status run_for(setup *s, kp_objective objective, uint64_t bytes)
{
    s->options.objective = objective;
    set_memory(s, bytes);
    return run(s);
}

/* Whether anything fits does not hang on what is made small: the fastest is looked for by upper
 * bounds of the bytes, the smallest by replay. The least memory that does for one does for all. */
Test(search, objectives_agree_on_what_fits)
{
    static const kp_framework frameworks[] = {KP_FW_KERAS_JAX, KP_FW_TORCH};
    for (size_t m = 0; m < n_models; m++)
        for (size_t f = 0; f < KP_LEN(frameworks); f++) {
            setup s;
            begin(&s, models[m].text, "1x2xH100-80G", 64);
            s.options.framework = frameworks[f];
            s.options.pp = 2;
            s.options.micro_batch = 4;
            s.options.recompute = KP_RECOMPUTE_NONE;
            uint64_t too_little = 0, enough = 80ull << 30;
            cr_assert_eq(run_for(&s, KP_OBJECTIVE_MEMORY, enough), KP_OK, "%s: %s", models[m].name, s.err.msg);
            while (enough - too_little > 1 << 16) {
                uint64_t middle = (too_little + enough) / 2;
                bool fits = run_for(&s, KP_OBJECTIVE_MEMORY, middle) == KP_OK;
                *(fits ? &enough : &too_little) = middle;
            }
            for (int o = 0; o < KP_OBJECTIVE_COUNT; o++) {
                kp_status status = run_for(&s, (kp_objective)o, enough);
                cr_expect_eq(status, KP_OK, "%s for %s: %s", models[m].name, kp_objective_names[o], s.err.msg);
                if (status == KP_OK) cr_expect_eq(kp_plan_check(&s.plan, &s.err), KP_OK, "%s", s.err.msg);
            }
            end(&s);
        }
}

static bool stop_after(void *arg)
{
    uint32_t *left = arg;
    return *left == 0 || --*left == 0;
}

/* Stopped at once there is no plan; stopped later the best so far, with an honest bound. */
Test(search, stopped)
{
    setup s;
    uint32_t left = 1;
    begin(&s, model_transformer, "2x4xH100-80G", 32);
    s.request.stop = (kp_stop){.ask = stop_after, .arg = &left};
    cr_expect_eq(run(&s), KP_RETRY, "%s", s.err.msg);
    s.request.stop = (kp_stop){0};
    cr_assert_eq(run(&s), KP_OK);
    double best_s = s.plan.step.seconds;
    for (uint32_t n = 2; n < 40; n += 3) {
        left = n;
        s.request.stop = (kp_stop){.ask = stop_after, .arg = &left};
        if (run(&s) != KP_OK) continue;
        cr_expect(!s.plan.search.complete && s.plan.step.seconds >= best_s * (1 - 1e-9));
        cr_expect(s.plan.bound.lower_s <= best_s * (1 + 1e-9), "after %u: %.9g of %.9g", n, s.plan.bound.lower_s, best_s);
        cr_expect_eq(kp_plan_check(&s.plan, &s.err), KP_OK, "%s", s.err.msg);
    }
    end(&s);
}

/* Out of memory at any allocation is a status. */
Test(search, allocation_fails)
{
    setup s;
    begin(&s, model_small_dense, "1x2xH100-80G", 4);
    cr_assert_eq(run(&s), KP_OK);
    uint64_t calls = s.arena.calls, step = 1;
    cr_assert_eq(run(&s), KP_OK);
    calls = s.arena.calls - calls;
    for (uint64_t n = 1; n <= calls; n += step, step = 1 + n / 40) {
        s.arena.fail_call = s.arena.calls + n;
        kp_status status = kp_search(&s.request, &s.arena, &s.plan, &s.refusal, &s.err);
        cr_expect(status == KP_NOMEM, "allocation %lu: %s", (unsigned long)n, kp_status_name(status));
    }
    end(&s);
}

/* Checks cover the weights once; a plan without tensor parallelism has no tensor collective. */
Test(search, checks_and_cuts)
{
    for (size_t m = 0; m < n_models; m++)
        for (uint32_t tp = 1; tp <= 2; tp++) {
            setup s;
            uint64_t bytes = 0;
            begin(&s, models[m].text, "2x2xH100-80G", 16);
            s.options.tp = tp;
            kp_status status = run(&s);
            if (status != KP_OK) {
                cr_expect(status == KP_USAGE && tp == 2, "%s: %s", models[m].name, s.err.msg);
                end(&s);
                continue;
            }
            for (uint32_t i = 0; i < s.plan.n_checks_todo; i++) bytes += s.plan.checks_todo[i].weight_bytes;
            cr_expect_eq(bytes, s.plan.weight_bytes, "%s", models[m].name);
            uint32_t divided = 0;
            for (uint32_t i = 0; i < s.plan.n_cuts; i++) divided += s.plan.cuts[i].cut != KP_CUT_NONE;
            cr_expect_eq(divided > 0, tp > 1, "%s", models[m].name);
            cr_expect(tp > 1 || s.plan.step.tensor_parallel_s == 0);
            end(&s);
        }
}

/* The plan names the layers that are computed again. */
Test(search, recomputed_layers_are_named)
{
    for (size_t m = 0; m < n_models; m++)
        for (int recompute = KP_RECOMPUTE_NONE; recompute < KP_RECOMPUTE_COUNT; recompute++) {
            setup s;
            begin(&s, models[m].text, "1x2xH100-80G", 16);
            s.options.recompute = (kp_recompute)recompute;
            if (run(&s) == KP_OK)
                for (uint32_t i = 0; i < s.plan.n_stages; i++) {
                    const kp_plan_stage *stage = &s.plan.stages[i];
                    bool full = recompute == KP_RECOMPUTE_FULL;
                    cr_expect_leq(stage->n_recompute, stage->layers);
                    cr_expect(recompute != KP_RECOMPUTE_NONE || stage->n_recompute == 0);
                    cr_expect(!full || stage->n_recompute == stage->layers, "%s", models[m].name);
                }
            end(&s);
        }
}
