/* SPDX-License-Identifier: MIT */
#include "planner/search/cuts.h"
#include "proto/shard.h"
#include "tests/search/models.h"
#include <criterion/criterion.h>
#include <math.h>

static const uint8_t *choose(const kp_graph *graph, uint32_t tp, uint64_t micro_batch,
                             kp_arena *arena, uint64_t *ret_divided)
{
    const uint8_t *cuts = NULL;
    kp_err err = {0};
    cr_assert_eq(kp_cuts_choose(graph, tp, micro_batch, arena, &cuts, ret_divided, &err), KP_OK,
                 "%s", err.msg);
    return cuts;
}

/* What known architectures are cut into (Megatron-LM section 3 for the transformer). */
Test(cuts, known)
{
    static const struct {
        const char *text, *layer;
        kp_op op;
        const char *part;
        uint32_t tp;
        kp_cut want;
    } rows[] = {
        {model_dense, "a", KP_OP_MATMUL, NULL, 8, KP_CUT_COLUMN},
        {model_dense, "a", KP_OP_BIAS_ADD, NULL, 8, KP_CUT_COLUMN},
        {model_dense, "a", KP_OP_RELU, NULL, 8, KP_CUT_COLUMN},
        {model_dense, "b", KP_OP_MATMUL, NULL, 8, KP_CUT_ROW},
        {model_dense, "c", KP_OP_MATMUL, NULL, 8, KP_CUT_NONE},
        {model_dense, "a", KP_OP_MATMUL, NULL, 1, KP_CUT_NONE},
        {model_transformer, "b0_mha", KP_OP_MATMUL, "query", 4, KP_CUT_COLUMN},
        {model_transformer, "b0_mha", KP_OP_BIAS_ADD, NULL, 4, KP_CUT_COLUMN},
        {model_transformer, "b0_mha", KP_OP_ATTN_SCORES, NULL, 4, KP_CUT_HEADS},
        {model_transformer, "b0_mha", KP_OP_ATTN_CONTEXT, NULL, 4, KP_CUT_HEADS},
        {model_transformer, "b0_mha", KP_OP_MATMUL, "attention_output", 4, KP_CUT_ROW},
        {model_transformer, "b0_mha", KP_OP_ATTN_SCORES, NULL, 3, KP_CUT_NONE},
        {model_transformer, "b0_ln1", KP_OP_LAYERNORM, NULL, 4, KP_CUT_NONE},
        {model_transformer, "b1_up", KP_OP_MATMUL, NULL, 4, KP_CUT_COLUMN},
        {model_transformer, "b1_up", KP_OP_ACT, NULL, 4, KP_CUT_COLUMN},
        {model_transformer, "b1_down", KP_OP_MATMUL, NULL, 4, KP_CUT_ROW},
        {model_conv, "c1", KP_OP_CONV, NULL, 2, KP_CUT_NONE},
        {model_conv, "c2", KP_OP_CONV, NULL, 2, KP_CUT_COLUMN},
        {model_conv, "pool", KP_OP_POOL_MAX, NULL, 2, KP_CUT_COLUMN},
        {model_conv, "c3", KP_OP_CONV, NULL, 2, KP_CUT_ROW},
        {model_lstm, "l1", KP_OP_RNN, NULL, 2, KP_CUT_NONE},
    };
    kp_arena arena;
    uint64_t divided;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const kp_graph *graph = model_read(rows[i].text, &arena);
        const uint8_t *cuts = choose(graph, rows[i].tp, 4, &arena, &divided);
        uint32_t o = model_op(graph, rows[i].layer, rows[i].op, rows[i].part);
        cr_expect_eq(cuts[o], rows[i].want, "row %zu: %s is %s", i, rows[i].layer,
                     kp_cut_names[cuts[o]]);
    }
    kp_arena_release(&arena);
}

/* Layouts meet, heads are divided evenly, nothing is cut below the degree. */
Test(cuts, layouts_meet)
{
    kp_arena arena;
    kp_err err = {0};
    kp_arena_init(&arena, 0);
    for (size_t m = 0; m < n_models; m++) {
        const kp_graph *graph = model_read(models[m].text, &arena);
        for (uint32_t tp = 1; tp <= 9; tp++) {
            uint64_t divided;
            double cost;
            const uint8_t *cuts = choose(graph, tp, 8, &arena, &divided);
            cr_assert_eq(kp_cuts_cost(graph, tp, 8, cuts, &arena, &cost, &err), KP_OK);
            cr_expect(isfinite(cost), "%s tp %u: layouts do not meet", models[m].name, tp);
            cr_expect((divided > 0) == (tp > 1), "%s tp %u: %lu divided", models[m].name, tp,
                      (unsigned long)divided);
            for (uint32_t o = 0; o < graph->n_ops; o++)
                if (cuts[o] == KP_CUT_HEADS)
                    cr_expect_eq(graph->ops[o].attr.heads % tp, 0u, "%s tp %u", models[m].name, tp);
        }
    }
    kp_arena_release(&arena);
}

/* Every combination of cuts, one by one. */
static double brute_force(const kp_graph *graph, uint32_t tp, uint64_t micro_batch, uint8_t *cuts,
                          uint32_t at, kp_arena *arena)
{
    double best = INFINITY, cost;
    if (at == graph->n_ops) {
        kp_arena_mark mark = kp_arena_tell(arena);
        cr_assert_eq(kp_cuts_cost(graph, tp, micro_batch, cuts, arena, &cost, NULL), KP_OK);
        kp_arena_rewind(arena, mark);
        return isnan(cost) ? best : cost;
    }
    for (int cut = 0; cut < KP_CUT_COUNT; cut++) {
        if (cut && (cut == KP_CUT_BATCH || !kp_shard_find(graph->ops[at].op, (kp_cut)cut))) continue;
        cuts[at] = (uint8_t)cut;
        best = fmin(best, brute_force(graph, tp, micro_batch, cuts, at + 1, arena));
    }
    return best;
}

Test(cuts, optimal)
{
    static const struct {
        const char *text;
        uint32_t tp;
        uint64_t micro_batch;
    } rows[] = {
        {model_small_dense, 2, 1}, {model_dense, 8, 1}, {model_dense, 8, 4096},
        {model_dense, 4, 100000}, {model_residual, 2, 1},
    };
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        uint64_t divided;
        double cost;
        const kp_graph *graph = model_read(rows[i].text, &arena);
        uint8_t *scratch = KP_NEW(&arena, uint8_t, graph->n_ops);
        const uint8_t *cuts = choose(graph, rows[i].tp, rows[i].micro_batch, &arena, &divided);
        cr_assert_eq(kp_cuts_cost(graph, rows[i].tp, rows[i].micro_batch, cuts, &arena, &cost, NULL), KP_OK);
        double whole, best = brute_force(graph, rows[i].tp, rows[i].micro_batch, scratch, 0, &arena);
        memset(scratch, KP_CUT_NONE, graph->n_ops);
        cr_assert_eq(kp_cuts_cost(graph, rows[i].tp, rows[i].micro_batch, scratch, &arena, &whole, NULL), KP_OK);
        if (best == whole) cr_expect(divided > 0, "row %zu: nothing pays, so what can is divided", i);
        else cr_expect(cost <= best * (1 + 1e-12), "row %zu: %.9g, best is %.9g", i, cost, best);
    }
    kp_arena_release(&arena);
}

Test(cuts, degrees_by_hand)
{
    static const struct {
        const char *text;
        uint32_t tp;
        const char *hint; /* NULL: allowed */
    } rows[] = {
        {model_dense, 1, NULL},   {model_dense, 8, NULL},     {model_dense, 5, NULL},
        {model_dense, 7, "--tp 4"}, {model_transformer, 8, NULL}, {model_transformer, 7, "--tp 4"},
        {model_small_dense, 4000000000u, "--tp 16"},
    };
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        kp_status status = kp_cuts_allow(model_read(rows[i].text, &arena), rows[i].tp, &err);
        cr_expect_eq(status, rows[i].hint ? KP_USAGE : KP_OK, "row %zu: %s", i, err.msg);
        if (rows[i].hint) cr_expect(strstr(err.hint, rows[i].hint), "row %zu: %s", i, err.hint);
    }
    kp_arena_release(&arena);
}
