/* SPDX-License-Identifier: MIT */
#include "planner/model/oplan.h"
#include <criterion/criterion.h>

#define SIZES                                                                                      \
    "\"num_layers\":2,\"hidden_size\":64,\"num_attention_heads\":4,\"seq_length\":32,"             \
    "\"max_position_embeddings\":32,\"vocab_size\":1000,\"micro_batch_size\":2,\"fp16\":true"

static kp_status read(const char *plan, kp_arena *arena, const kp_graph **ret, kp_err *err)
{
    const char *text = kp_arena_fmt(arena, "{" SIZES "%s%s}", *plan ? "," : "", plan);
    cr_assert(text != NULL);
    return kp_model_read(text, strlen(text), "plan.json", &(kp_bind){0}, arena, ret, err);
}

/* A stage of three operations and one of the rest, of 13 a layer and three more. */
Test(oplan, operations_are_ops)
{
    static const char plan[] =
        "\"num_ops_in_each_stage\":[3,26],"
        "\"model_parallel_size_of_each_op\":[[2,2,2],[1,1,1,1,1,1,1,1,1,1,1,1,1,"
        "1,1,1,1,1,1,1,1,1,1,1,1,1]],"
        "\"recompute_ops\":[[0,0,1],[0,0,0,1,1,1,1,1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,"
        "0,0,0]]";
    static const struct {
        uint32_t operation;
        kp_op op;
        const char *layer;
    } rows[] = {
        {1, KP_OP_LAYERNORM, "decoder.layers.0.input_layernorm"},
        {2, KP_OP_MATMUL, "decoder.layers.0.self_attention"},
        {3, KP_OP_ATTN_SCORES, "decoder.layers.0.self_attention"},
        {4, KP_OP_ATTN_SCORES, "decoder.layers.0.self_attention"},
        {5, KP_OP_DROPOUT, "decoder.layers.0.self_attention"},
        {6, KP_OP_ATTN_CONTEXT, "decoder.layers.0.self_attention"},
        {8, KP_OP_DROPOUT, "decoder.layers.0.self_attention"},
        {9, KP_OP_LAYERNORM, "decoder.layers.0.pre_mlp_layernorm"},
        {11, KP_OP_ACT, "decoder.layers.0.mlp"},
        {14, KP_OP_LAYERNORM, "decoder.layers.1.input_layernorm"},
        {27, KP_OP_LAYERNORM, "decoder.final_layernorm"},
        {28, KP_OP_MATMUL, "output_layer"},
    };
    kp_arena arena;
    kp_err err = {0};
    const kp_graph *g;
    const uint32_t *starts, *segment;
    kp_arena_init(&arena, 0);
    cr_assert_eq(read(plan, &arena, &g, &err), KP_OK, "%s", err.msg);
    cr_assert(g->oplan && g->oplan->n_stages == 2 && g->oplan->n_ops == 29);
    cr_expect(g->oplan->stages[0].tp == 2 && g->oplan->stages[1].tp == 1);
    cr_expect(g->oplan->micro_batch == 2 && g->oplan->stages[1].dp == 1);
    cr_assert_eq(kp_oplan_starts(g, &arena, &starts, &err), KP_OK, "%s", err.msg);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const kp_graph_op *op = &g->ops[starts[rows[i].operation]];
        cr_expect_eq(op->op, rows[i].op, "operation %u is %s", rows[i].operation,
                     kp_op_names[op->op]);
        cr_expect_str_eq(g->layers[op->layer].path, rows[i].layer);
    }
    cr_expect(starts[0] == 0 && starts[29] == g->n_ops);
    /* The first stage's last operation; 6 to 13, which ends before the next layer's norm; 14 to 16,
     * where softmax goes with its scores. */
    cr_assert_eq(kp_oplan_segments(g, starts, &arena, &segment, &err), KP_OK, "%s", err.msg);
    cr_expect(!segment[starts[1]] && segment[starts[2]] == starts[3]);
    cr_expect(!segment[starts[3]] && segment[starts[6]] == starts[14]);
    cr_expect(segment[starts[14]] == starts[17] && !segment[starts[17]]);
    kp_arena_release(&arena);
}

Test(oplan, refused)
{
    static const struct {
        const char *plan, *says;
        kp_status status;
    } rows[] = {
        {"\"num_ops_in_each_stage\":[]", "lists 0 stages", KP_INPUT},
        {"\"num_ops_in_each_stage\":[29,0]", "stage 1 has 0 operations", KP_INPUT},
        {"\"num_ops_in_each_stage\":[\"x\"]", "stage 0 has 0 operations", KP_INPUT},
        {"\"num_ops_in_each_stage\":[2],\"model_parallel_size_of_each_op\":[[1]]",
         "stage 0 has no list", KP_INPUT},
        {"\"num_ops_in_each_stage\":[2],\"model_parallel_size_of_each_op\":[[1,2]]",
         "operations of stage 0 differ", KP_UNSUPPORTED},
        {"\"num_ops_in_each_stage\":[2],\"data_parallel_size_of_each_op\":[[4,4]]",
         "data parallel ranks of stage 0 do not divide", KP_INPUT},
        {"\"num_ops_in_each_stage\":[2],\"recompute_ops\":[[0,-1]]", "stage 0 has no list",
         KP_INPUT},
    };
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        const kp_graph *g;
        cr_expect_eq(read(rows[i].plan, &arena, &g, &err), rows[i].status, "row %zu: %s", i,
                     err.msg);
        cr_expect(strstr(err.msg, rows[i].says) != NULL, "row %zu: %s", i, err.msg);
    }
    kp_err err = {0};
    const kp_graph *g;
    const uint32_t *starts;
    cr_assert_eq(read("", &arena, &g, &err), KP_OK);
    cr_expect(g->oplan == NULL);
    cr_assert_eq(read("\"num_ops_in_each_stage\":[28]", &arena, &g, &err), KP_OK, "%s", err.msg);
    cr_expect_eq(kp_oplan_starts(g, &arena, &starts, &err), KP_INPUT);
    cr_expect(strstr(err.msg, "28 operations, the model has 29") != NULL, "%s", err.msg);
    kp_arena_release(&arena);
}
