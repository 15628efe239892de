/* SPDX-License-Identifier: MIT */
#include "planner/plan/plan.h"
#include <criterion/criterion.h>
#include <math.h>

#define MIB ((uint64_t)1 << 20)

/* A small plan that holds together: 4 layers in 2 stages, dp 2, tp 2, on 2 nodes of 4 GPUs. All
 * parts are values here, so that a row can break any one of them. */
typedef struct fixture {
    kp_plan plan;
    kp_plan_stage stages[2];
    kp_plan_cut cuts[4];
    kp_plan_weight_axes weights[1];
    uint32_t axes[1];
    kp_plan_rank ranks[8];
    char uuids[8][16];
    kp_check_spec checks[1];
    uint32_t check_ranks[2];
    kp_plan_lease lease;
} fixture;

static const char *const layer_names[] = {"dense", "dense_1", "norm", "head"};

static void fill_parts(fixture *f)
{
    for (uint32_t i = 0; i < 2; i++)
        f->stages[i] = (kp_plan_stage){.first_layer = layer_names[2 * i],
                                       .last_layer = layer_names[2 * i + 1],
                                       .layers = 2,
                                       .tp = 2,
                                       .dp = 2,
                                       .zero = 1,
                                       .seconds = .1,
                                       .peak_bytes = 30 * MIB};
    for (uint32_t i = 0; i < 4; i++) f->cuts[i] = (kp_plan_cut){.layer = layer_names[i]};
    f->cuts[0].cut = KP_CUT_COLUMN;
    f->cuts[0].collective_backward = KP_COLL_ALL_REDUCE;
    f->axes[0] = 1;
    f->weights[0] = (kp_plan_weight_axes){.path = "dense/kernel", .axes = f->axes, .n_axes = 1};
    f->cuts[0].weights = f->weights;
    f->cuts[0].n_weights = 1;
    for (uint32_t i = 0; i < 8; i++) {
        snprintf(f->uuids[i], sizeof(f->uuids[i]), "GPU-%u", i);
        f->ranks[i] = (kp_plan_rank){.rank = i,
                                     .node = i < 4 ? "node0" : "node1",
                                     .gpu = f->uuids[i],
                                     .gpu_index = i % 4,
                                     .stage = i / 4,
                                     .dp_rank = i / 2 % 2,
                                     .tp_rank = i % 2,
                                     .peak_bytes = 30 * MIB,
                                     .usable_bytes = 40 * MIB};
        f->ranks[i].memory.bytes[KP_CAT_WEIGHTS] = 10 * MIB;
        f->ranks[i].memory.bytes[KP_CAT_ACTIVATIONS] = 20 * MIB;
    }
    f->check_ranks[0] = 0;
    f->check_ranks[1] = 1;
    f->checks[0] = (kp_check_spec){.layer = "dense",
                                   .op = KP_OP_MATMUL,
                                   .cut = KP_CUT_COLUMN,
                                   .ranks = f->check_ranks,
                                   .n_ranks = 2,
                                   .weight_bytes = 5};
}

static kp_plan *make(fixture *f)
{
    memset(f, 0, sizeof(*f));
    fill_parts(f);
    kp_plan *p = &f->plan;
    kp_schema_init(&kp_schema_plan, p);
    p->id = "pl_0123456789abcdef";
    p->model = (kp_plan_model){.name = "small", .sha256 = "00"};
    p->cluster = (kp_plan_cluster){.revision = 3, .nodes = 2, .gpus = 8, .simulated = true};
    p->target = KP_TARGET_ANY;
    p->batch = 16;
    p->strategy = (kp_strategy){.dp = 2,
                                .tp = 2,
                                .pp = 2,
                                .zero = 1,
                                .micro_batch = 2,
                                .micro_batches = 4,
                                .schedule = KP_SCHEDULE_1F1B,
                                .interleave = 1,
                                .recompute = KP_RECOMPUTE_NONE};
    p->stages = f->stages, p->n_stages = 2;
    p->cuts = f->cuts, p->n_cuts = 4;
    p->ranks = f->ranks, p->n_ranks = 8;
    p->step = (kp_plan_step){.seconds = .412,
                             .low_s = .4,
                             .high_s = .5,
                             .compute_s = .4,
                             .bubble_s = .012,
                             .tokens_per_s = NAN,
                             .samples_per_s = 16 / .412,
                             .mfu = .25};
    p->bound = (kp_plan_bound){.lower_s = .4, .gap = .412 / .4 - 1, .proof = "no stage does less"};
    p->search = (kp_plan_search){.seconds = NAN, .candidates = 12, .complete = true};
    p->checks_todo = f->checks, p->n_checks_todo = 1;
    p->weight_bytes = 8;
    p->verification.covered = 0;
    return p;
}

/* Each breaks one thing. */
#define BREAK(name, change)                                                                        \
    static void break_##name(fixture *f)                                                           \
    {                                                                                              \
        change;                                                                                    \
    }
BREAK(degrees, f->plan.strategy.dp = 3)
BREAK(degree_0, f->plan.strategy.tp = 0)
BREAK(zero, f->plan.strategy.zero = 4)
BREAK(schedule, f->plan.strategy.schedule = KP_SCHEDULE_AUTO)
BREAK(recompute, f->plan.strategy.recompute = KP_RECOMPUTE_AUTO)
BREAK(stage_count, f->plan.n_stages = 1)
BREAK(cluster, f->plan.cluster.gpus = 7)
BREAK(stage_empty, f->stages[0].layers = 0)
BREAK(stage_layers, (f->stages[0].layers = 1, f->stages[0].last_layer = "dense"))
BREAK(stage_name, f->stages[1].first_layer = "dense_1")
BREAK(stage_degree, f->stages[1].zero = 0)
BREAK(stage_time, f->stages[1].seconds = NAN)
BREAK(stage_peak, f->stages[1].peak_bytes++)
BREAK(stage_missing, (f->stages[1].layers = 1, f->stages[1].last_layer = "norm"))
BREAK(layer_twice, (f->cuts[1].layer = "norm", f->stages[0].last_layer = "norm"))
BREAK(cut_row, f->cuts[1].cut = KP_CUT_ROW)
BREAK(cut_batch, f->cuts[1].cut = KP_CUT_BATCH)
BREAK(cut_collective, f->cuts[0].collective_backward = KP_COLL_ALL_GATHER)
BREAK(cut_none, f->cuts[2].collective_forward = KP_COLL_ALL_REDUCE)
BREAK(cut_heads,
      (f->cuts[0].cut = KP_CUT_HEADS, f->cuts[0].collective_backward = KP_COLL_ALL_GATHER))
BREAK(cut_axis, f->axes[0] = KP_RANK_MAX)
BREAK(rank_order, (f->ranks[1].rank = 2, f->ranks[2].rank = 1))
BREAK(rank_tp, f->ranks[1].tp_rank = 0)
BREAK(rank_dp, f->ranks[2].dp_rank = 0)
BREAK(rank_stage, f->ranks[7].stage = 0)
BREAK(gpu_twice, f->ranks[5].gpu = "GPU-0")
BREAK(place_twice, (f->ranks[4].node = "node0", f->ranks[4].gpu_index = 0))
BREAK(gpu_missing, f->ranks[4].gpu = NULL)
BREAK(sum, f->ranks[3].memory.bytes[KP_CAT_RUNTIME]++)
BREAK(limit, f->ranks[6].usable_bytes = 29 * MIB)
BREAK(batch, f->plan.batch = 17)
BREAK(parts, f->plan.step.compute_s = .3)
BREAK(negative, (f->plan.step.compute_s = .424, f->plan.step.bubble_s = -.012))
BREAK(interval, f->plan.step.low_s = .42)
BREAK(rates, f->plan.step.tokens_per_s = 5)
BREAK(lower, (f->plan.bound.lower_s = .5, f->plan.bound.gap = .412 / .5 - 1))
BREAK(gap, f->plan.bound.gap = 0)
BREAK(proof, f->plan.bound.proof = "")
BREAK(check_row, f->checks[0].cut = KP_CUT_VOCAB)
BREAK(check_rank, f->check_ranks[1] = 8)
BREAK(check_ranks_order, f->check_ranks[1] = 0)
BREAK(check_nobody, f->checks[0].n_ranks = 0)
BREAK(check_weights, f->checks[0].weight_bytes = 9)
BREAK(covered, f->plan.verification.covered = 1.5)
BREAK(covered_none, f->plan.verification.verdict = KP_VERDICT_VERIFIED)

static const struct {
    const char *says;
    void (*apply)(fixture *f);
} mutations[] = {
    {"dp x tp x pp is 12", break_degrees},
    {"tp is 0", break_degree_0},
    {"zero is 4", break_zero},
    {"schedule is 0", break_schedule},
    {"recompute is 0", break_recompute},
    {"stages is 1", break_stage_count},
    {"GPUs of the cluster is 7", break_cluster},
    {"has 0 layers", break_stage_empty},
    {"stage 1 does not hold", break_stage_layers},
    {"stage 1 does not hold", break_stage_name},
    {"other degrees", break_stage_degree},
    {"no finite time", break_stage_time},
    {"stage 1's peak", break_stage_peak},
    {"have 3 layers of 4", break_stage_missing},
    {"layer 'norm' is there twice", break_layer_twice},
    {"'dense_1' has a cut without a row", break_cut_row},
    {"'dense_1' has a cut without a row", break_cut_batch},
    {"'dense' has a cut without a row", break_cut_collective},
    {"'dense' has a cut without a row", break_cut_heads},
    {"not cut and has a collective", break_cut_none},
    {"divided on axis 8", break_cut_axis},
    {"stands in place 1", break_rank_order},
    {"rank 1 is stage 0", break_rank_tp},
    {"rank 2 is stage 0", break_rank_dp},
    {"rank 7 is stage 0", break_rank_stage},
    {"GPU 'GPU-0' has two ranks", break_gpu_twice},
    {"'node0/gpu0' has two ranks", break_place_twice},
    {"rank 4 has no GPU", break_gpu_missing},
    {"categories sum", break_sum},
    {"rank 6 needs", break_limit},
    {"the batch 17", break_batch},
    {"parts sum", break_parts},
    {"a part of the step", break_negative},
    {"not between", break_interval},
    {"exactly one", break_rates},
    {"the lower bound is", break_lower},
    {"the gap is", break_gap},
    {"no proof", break_proof},
    {"check 0 has no row", break_check_row},
    {"names rank 8", break_check_rank},
    {"names rank 0", break_check_ranks_order},
    {"has no rank", break_check_nobody},
    {"cover 9 B", break_check_weights},
    {"are covered", break_covered},
    {"nothing was covered", break_covered_none},
};

Test(plan, check_finds_every_broken_invariant)
{
    fixture f;
    kp_err err = {0};
    cr_expect_eq(kp_plan_check(make(&f), &err), KP_OK, "%s", err.msg);
    for (size_t i = 0; i < KP_LEN(mutations); i++) {
        make(&f);
        mutations[i].apply(&f);
        err = (kp_err){0};
        cr_expect_eq(kp_plan_check(&f.plan, &err), KP_INTERNAL, "row %zu: %s", i,
                     mutations[i].says);
        cr_expect(strstr(err.msg, mutations[i].says), "row %zu: '%s' lacks '%s'", i, err.msg,
                  mutations[i].says);
    }
}

/* FIPS 180-4 examples and the lengths around a block's end. */
Test(plan, sha256)
{
    static const struct {
        const char *text;
        size_t repeat;
        const char *hash;
    } rows[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"a", 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {"a", 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {"a", 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    kp_buf text;
    kp_buf_init(&text, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char hash[65];
        kp_buf_clear(&text);
        for (size_t k = 0; k < rows[i].repeat; k++) kp_buf_str(&text, rows[i].text);
        kp_sha256_hex(kp_buf_text(&text), text.len, hash);
        cr_expect_str_eq(hash, rows[i].hash, "row %zu", i);
    }
    kp_buf_release(&text);
}

static void set_state(fixture *f)
{
    f->lease = (kp_plan_lease){.id = "ls_7F", .fence = 5, .expires = "2026-11-22T20:04:11Z"};
    f->plan.lease = &f->lease;
    f->plan.id = "pl_other";
    f->plan.created = "2026-11-22T19:04:11Z";
    f->plan.search.seconds = .5;
    f->plan.verification.verdict = KP_VERDICT_VERIFIED;
    f->plan.verification.covered = .969;
}

/* The id follows the content and the request, and nothing that is set once it is stored. */
Test(plan, id)
{
    fixture f;
    kp_arena arena;
    kp_err err = {0};
    const char *first, *same, *asked, *changed;
    kp_arena_init(&arena, 0);
    cr_assert_eq(kp_plan_id(make(&f), NULL, &arena, &first, &err), KP_OK, "%s", err.msg);
    cr_expect_eq(strlen(first), 3 + 16);
    cr_expect_eq(strspn(first + 3, "0123456789abcdef"), 16, "%s", first);
    set_state(&f);
    cr_assert_eq(kp_plan_id(&f.plan, NULL, &arena, &same, &err), KP_OK);
    cr_expect_str_eq(first, same);
    cr_assert_eq(kp_plan_id(&f.plan, "r1", &arena, &asked, &err), KP_OK);
    cr_expect_str_neq(first, asked);
    f.ranks[7].gpu = "GPU-9";
    cr_assert_eq(kp_plan_id(&f.plan, NULL, &arena, &changed, &err), KP_OK);
    cr_expect_str_neq(first, changed);
    kp_arena_release(&arena);
}

Test(plan, line)
{
    fixture f;
    kp_buf out;
    kp_buf_init(&out, 0);
    make(&f);
    kp_plan_line(&f.plan, &out);
    cr_expect_str_eq(kp_buf_text(&out),
                     "Plan pl_0123456789abcdef ready: 2 nodes x 4 GPUs, dp=2 tp=2 pp=2, "
                     "peak 0.0/0.0 GiB on rank 0, step 0.412 s (gap 3.0 %), not verified");
    set_state(&f);
    f.ranks[5].peak_bytes = 57 * 1024 * MIB;
    f.ranks[5].usable_bytes = (uint64_t)(79.1 * 1024) * MIB;
    f.ranks[7].node = "node2";
    kp_buf_clear(&out);
    kp_plan_line(&f.plan, &out);
    cr_expect_str_eq(kp_buf_text(&out),
                     "Plan pl_other ready: 3 nodes, 8 GPUs, dp=2 tp=2 pp=2, "
                     "peak 0.0/0.0 GiB on rank 0, step 0.412 s (gap 3.0 %), "
                     "verified 96 % of weights, lease ls_7F until 2026-11-22T20:04:11Z");
    f.ranks[5].peak_bytes = 70 * 1024 * MIB;
    kp_buf_clear(&out);
    kp_plan_line(&f.plan, &out);
    cr_expect(strstr(kp_buf_text(&out), "peak 70.0/79.1 GiB on rank 5"), "%s", kp_buf_text(&out));
    kp_buf_release(&out);
}

/* The person's text has every number's unit and what divides. */
Test(plan, print)
{
    static const char *const wants[] = {
        "'small' on 2 nodes x 4 GPUs (simulated), for any",
        "batch 16 = 2 x 4 micro-batches of 2",
        "schedule 1f1b",
        "step       0.412 s (0.400 s to 0.500 s), 38.83 samples/s",
        "compute",
        "97.1 %",
        "gap 3.0 %; no stage does less",
        "30.0 MiB of 40.0 MiB usable",
        "weights",
        "dense - dense_1",
        "1 of 4 layers are divided over 2 ranks",
        "column         dense, all_reduce backward",
        "not verified",
    };
    fixture f;
    kp_buf out;
    kp_buf_init(&out, 0);
    kp_plan_print(make(&f), &out);
    for (size_t i = 0; i < KP_LEN(wants); i++)
        cr_expect(strstr(kp_buf_text(&out), wants[i]), "'%s' is not in:\n%s", wants[i],
                  kp_buf_text(&out));
    kp_buf_release(&out);
}
