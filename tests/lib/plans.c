/* SPDX-License-Identifier: MIT */
#include "tests/lib/plans.h"

#include <criterion/criterion.h>
#include <math.h>

#define GIB ((uint64_t)1 << 30)

static void *need(void *memory)
{
    cr_assert(memory, "out of memory");
    return memory;
}

static void fill_ranks(kp_arena *arena, kp_plan *plan, const char *node, unsigned first, unsigned n)
{
    plan->ranks = need(KP_NEW(arena, kp_plan_rank, n));
    plan->n_ranks = n;
    for (unsigned i = 0; i < n; i++) {
        plan->ranks[i] = (kp_plan_rank){
            .rank = i,
            .node = node,
            .gpu = need(kp_arena_fmt(arena, "GPU-%u", first + i)),
            .gpu_index = i,
            .dp_rank = i,
            .peak_bytes = 30 * GIB,
            .usable_bytes = 79 * GIB,
        };
        plan->ranks[i].memory.bytes[KP_CAT_WEIGHTS] = 30 * GIB;
    }
}

static void fill_checks(kp_arena *arena, kp_plan *plan, unsigned n)
{
    static const struct {
        kp_op op;
        const char *layer;
        uint64_t weight_bytes;
    } rows[] = {{KP_OP_MATMUL, "dense", 300}, {KP_OP_RNN, "lstm", 100}};
    plan->checks_todo = need(KP_NEW(arena, kp_check_spec, KP_LEN(rows)));
    plan->n_checks_todo = KP_LEN(rows);
    plan->weight_bytes = 400;
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_check_spec *spec = &plan->checks_todo[i];
        *spec = (kp_check_spec){.layer = rows[i].layer,
                                .op = rows[i].op,
                                .cut = KP_CUT_BATCH,
                                .x = {.rank = 2, .dim = {32, 16}},
                                .w = {.rank = 2, .dim = {16, 8}},
                                .y = {.rank = 2, .dim = {32, 8}},
                                .n_ranks = n,
                                .weight_bytes = rows[i].weight_bytes};
        spec->ranks = need(KP_NEW(arena, uint32_t, n));
        for (unsigned k = 0; k < n; k++) spec->ranks[k] = k;
    }
}

kp_plan kp_test_plan(kp_arena *arena, unsigned number, const char *node, unsigned first, unsigned n)
{
    kp_plan plan;
    kp_schema_init(&kp_schema_plan, &plan);
    plan.id = need(kp_arena_fmt(arena, "pl_%u", number));
    plan.model = (kp_plan_model){
        .name = "small",
        .sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};
    plan.cluster = (kp_plan_cluster){.revision = 1, .nodes = 1, .gpus = n, .simulated = true};
    plan.target = KP_TARGET_KERAS_JAX;
    plan.batch = 4 * n;
    plan.strategy = (kp_strategy){.dp = n,
                                  .tp = 1,
                                  .pp = 1,
                                  .micro_batch = 4,
                                  .micro_batches = 1,
                                  .schedule = KP_SCHEDULE_1F1B,
                                  .interleave = 1,
                                  .recompute = KP_RECOMPUTE_NONE};
    plan.stages = need(KP_NEW(arena, kp_plan_stage, 1));
    plan.n_stages = 1;
    plan.stages[0] = (kp_plan_stage){.first_layer = "dense",
                                     .last_layer = "lstm",
                                     .layers = 2,
                                     .tp = 1,
                                     .dp = n,
                                     .seconds = 0.5,
                                     .peak_bytes = 30 * GIB};
    plan.cuts = need(KP_NEW(arena, kp_plan_cut, 2));
    plan.n_cuts = 2;
    plan.cuts[0].layer = "dense";
    plan.cuts[1].layer = "lstm";
    plan.verification = (kp_plan_verification){.verdict = KP_VERDICT_NONE};
    plan.step = (kp_plan_step){.seconds = 0.5,
                               .low_s = 0.4,
                               .high_s = 0.6,
                               .compute_s = 0.5,
                               .tokens_per_s = NAN,
                               .samples_per_s = 8 * n,
                               .mfu = 0.1};
    plan.bound = (kp_plan_bound){.lower_s = 0.5, .gap = 0, .proof = "the only one"};
    plan.search = (kp_plan_search){.seconds = NAN, .candidates = 1, .complete = true};
    fill_ranks(arena, &plan, node, first, n);
    fill_checks(arena, &plan, n);
    return plan;
}

kp_node kp_test_node(kp_arena *arena, const char *name, unsigned first, unsigned n)
{
    kp_node node;
    kp_schema_init(&kp_schema_node, &node);
    node.name = name;
    node.state = KP_NODE_READY;
    node.boot_epoch = "be_1";
    node.simulated = true;
    node.host.hostname = name;
    node.gpus = need(KP_NEW(arena, kp_gpu, n));
    node.n_gpus = n;
    for (unsigned i = 0; i < n; i++)
        node.gpus[i] = (kp_gpu){
            .uuid = need(kp_arena_fmt(arena, "GPU-%u", first + i)),
            .index = i,
            .name = "H100-SXM5-80GB",
            .total_bytes = 80 * GIB,
            .driver_reserved_bytes = GIB,
            .free_bytes = 79 * GIB,
            .state = KP_GPU_FREE,
            .minor = UINT32_MAX,
            .sm_count = UINT32_MAX,
            .numa_node = UINT32_MAX,
            .nvlinks = UINT32_MAX,
            .processes = UINT64_MAX,
        };
    return node;
}
