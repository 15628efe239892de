/* SPDX-License-Identifier: MIT
 *
 * What Megatron-LM's arguments say of a run, and its encoders. */
#include "planner/model/launch.h"
#include "tests/model/models.h"
#include <criterion/criterion.h>

#define SIZES                                                                                      \
    "'num-layers':8,'hidden-size':64,'num-attention-heads':4,'seq-length':32,"                     \
    "'max-position-embeddings':32,'padded-vocab-size':1000"

Test(launch, arguments)
{
    static const struct {
        const char *args;
        kp_launch want; /* the fields compared below */
        const char *blocks;
    } rows[] = {
        {"", {.fused_grads = true}, ""},
        {",'tensor-model-parallel-size':2,'pipeline-model-parallel-size':'4','context-parallel-size':2",
         {.tp = 2, .pp = 4, .cp = 2, .fused_grads = true}, "2 2 2 2 "},
        {",'pipeline-model-parallel-size':2,'num-layers-per-virtual-pipeline-stage':2",
         {.pp = 2, .chunks = 2, .fused_grads = true}, "2 2 2 2 "},
        {",'pipeline-model-parallel-size':4,'decoder-first-pipeline-num-layers':1,"
         "'decoder-last-pipeline-num-layers':1", {.pp = 4, .fused_grads = true}, "1 3 3 1 "},
        {",'num-layers':6,'pipeline-model-parallel-size':4,'account-for-embedding-in-pipeline-split':true,"
         "'account-for-loss-in-pipeline-split':true", {.pp = 4, .fused_grads = true}, "1 2 2 1 "},
        {",'pipeline-model-parallel-size':2,'pipeline-model-parallel-layout':'Et*3|(t|)*2ttL|t'",
         {.pp = 2, .fused_grads = true}, NULL},
        {",'pipeline-model-parallel-size':2,'pipeline-model-parallel-layout':'((((((((((t'",
         {.pp = 2, .fused_grads = true}, NULL},
        {",'pipeline-model-parallel-size':2,'pipeline-model-parallel-layout':'Et*3|(t|)*2tttL'",
         {.pp = 2, .chunks = 2, .fused_grads = true}, "3 1 1 3 "},
        {",'use-distributed-optimizer':true,'sequence-parallel':'true','fp16':true",
         {.fused_grads = true, .shards_optimizer = true, .sequence = true, .half_grads = true}, ""},
        {",'transformer-impl':'local','no-gradient-accumulation-fusion':true,"
         "'recompute-granularity':'full','recompute-num-layers':2",
         {.local = true, .unfused = true, .recompute = KP_RECOMPUTE_FULL, .recompute_blocks = 2}, ""},
        {",'defer-embedding-wgrad-compute':true", {.fused_grads = true, .deferred = UINT32_MAX}, ""},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char text[700], blocks[64] = "";
        const char *args = rows[i].args;
        bool six = strstr(args, "'num-layers':6") != NULL; /* keys stand once */
        snprintf(text, sizeof(text), "{%s%s}", SIZES + (six ? strlen("'num-layers':8,") : 0), args);
        kp_reading r = kp_read_text(text, &(kp_bind){0});
        if (!rows[i].blocks) {
            cr_expect_eq(r.status, KP_INPUT, "row %zu", i);
            kp_reading_free(&r);
            continue;
        }
        cr_assert_eq(r.status, KP_OK, "row %zu: %s", i, r.err.msg);
        const kp_launch *l = r.graph->launch, *w = &rows[i].want;
        cr_expect(l->tp == w->tp && l->pp == w->pp && l->cp == w->cp && l->chunks == w->chunks,
                  "row %zu: degrees", i);
        cr_expect(l->recompute == w->recompute && l->recompute_blocks == w->recompute_blocks &&
                      l->deferred == w->deferred, "row %zu: passes", i);
        cr_expect(l->shards_optimizer == w->shards_optimizer && l->sequence == w->sequence &&
                      l->half_grads == w->half_grads && l->fused_grads == w->fused_grads &&
                      l->local == w->local && l->unfused == w->unfused, "row %zu: switches", i);
        for (uint32_t k = 0; k < l->n_stages && l->blocks; k++)
            snprintf(blocks + strlen(blocks), sizeof(blocks) - strlen(blocks), "%u ", l->blocks[k]);
        cr_expect_str_eq(blocks, rows[i].blocks, "row %zu", i);
        kp_reading_free(&r);
    }
}

/* Parameters of encoders: h = 64, 8 layers of 12 h^2 + 13 h, V = 1000, P = 32. BERT has two kinds of
 * tokens and heads of h^2 + h with a norm, V, h^2 + h and 2 h + 2; T5's decoder also attends over
 * the encoder with 4 h^2 + 4 h and a norm, and its head has a bias a word. */
Test(launch, encoders)
{
    enum { H = 64, LAYER = 12 * H * H + 13 * H, NORM = 2 * H, EMBED = 1000 * H + 32 * H };
    static const struct {
        const char *text;
        uint64_t params;
        uint32_t outputs;
    } rows[] = {
        {"{" SIZES ",'model_name':'bert'}",
         EMBED + 2 * H + 8 * LAYER + NORM + (H * H + H) + NORM + 1000 + (H * H + H) + 2 * H + 2, 2},
        {"{" SIZES ",'bert-no-binary-head':true}",
         EMBED + 2 * H + 8 * LAYER + NORM + (H * H + H) + NORM + 1000, 1},
        {"{'encoder-num-layers':8,'decoder-num-layers':2,'hidden-size':64,'num-attention-heads':4,"
         "'encoder-seq-length':32,'decoder-seq-length':16,'max-position-embeddings':32,"
         "'padded-vocab-size':1000}",
         EMBED + 10 * LAYER + 2 * (4 * H * H + 4 * H + NORM) + 2 * NORM + 1000, 1},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_reading r = kp_read_text(rows[i].text, &(kp_bind){0});
        cr_assert_eq(r.status, KP_OK, "row %zu: %s", i, r.err.msg);
        cr_expect_eq(r.graph->params, rows[i].params, "row %zu: %llu parameters, not %llu", i,
                     (unsigned long long)r.graph->params, (unsigned long long)rows[i].params);
        cr_expect_eq(r.graph->n_outputs, rows[i].outputs, "row %zu", i);
        kp_graph_check(r.graph);
        kp_reading_free(&r);
    }
}

/* torchtitan's settings in a Hugging Face config: its names and its defaults. */
Test(launch, torchtitan)
{
    static const struct {
        const char *titan;
        kp_launch want; /* the fields compared below */
    } rows[] = {
        {"", {.recompute = KP_RECOMPUTE_SELECTIVE, .recompute_every = 2, .expandable = true}},
        {"'parallelism':{'tensor_parallel_degree':8,'pipeline_parallel_degree':4},"
         "'experimental':{'context_parallel_degree':2},'training':{'local_batch_size':3},"
         "'activation_checkpoint':{'mode':'full'}",
         {.tp = 8, .pp = 4, .cp = 2, .micro_batch = 3, .recompute = KP_RECOMPUTE_FULL,
          .recompute_every = 2, .expandable = true}},
        {"'activation_checkpoint':{'mode':'selective','selective_ac_option':'op'},"
         "'training':{'compile':true},'PYTORCH_CUDA_ALLOC_CONF':''",
         {.recompute = KP_RECOMPUTE_SELECTIVE, .per_op = true, .recompute_every = 2,
          .compiled = true, .compiled_loss = true}},
        {"'activation_checkpoint':{'mode':'none','selective_ac_option':'3'},"
         "'compile':{'enable':true,'components':['model']},"
         "'model':{'converters':['float8']},'float8':{'enable_fsdp_float8_all_gather':true}",
         {.recompute_every = 3, .compiled = true, .float8_gather = true, .expandable = true,
          .recompute = KP_RECOMPUTE_NONE}},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char text[900];
        snprintf(text, sizeof(text),
                 "{'model_type':'llama','hidden_size':64,'intermediate_size':96,"
                 "'num_hidden_layers':4,'num_attention_heads':4,'vocab_size':100,"
                 "'torchtitan':{%s}}", rows[i].titan);
        kp_reading r = kp_read_text(text, &(kp_bind){0});
        cr_assert_eq(r.status, KP_OK, "row %zu: %s", i, r.err.msg);
        const kp_launch *l = r.graph->launch, *w = &rows[i].want;
        cr_expect(l->titan && l->shards_all && l->sequence, "row %zu: kind", i);
        cr_expect(l->tp == (w->tp ? w->tp : 1) && l->pp == (w->pp ? w->pp : 1) &&
                      l->cp == (w->cp ? w->cp : 1) && l->micro_batch == w->micro_batch,
                  "row %zu: degrees", i);
        cr_expect(l->recompute == w->recompute && l->per_op == w->per_op &&
                      l->recompute_every == w->recompute_every, "row %zu: passes", i);
        cr_expect(l->compiled == w->compiled && l->compiled_loss == w->compiled_loss &&
                      l->float8_gather == w->float8_gather && l->expandable == w->expandable,
                  "row %zu: switches", i);
        kp_reading_free(&r);
    }
    kp_reading even = kp_read_text(
        "{'model_type':'llama','hidden_size':64,'intermediate_size':96,'num_hidden_layers':10,"
        "'num_attention_heads':4,'vocab_size':100,'torchtitan':{'parallelism':{"
        "'pipeline_parallel_degree':2,'pipeline_parallel_schedule':'Interleaved1F1B'}}}",
        &(kp_bind){0});
    cr_assert_eq(even.status, KP_OK, "%s", even.err.msg);
    static const uint32_t blocks[] = {2, 3, 3, 2}; /* of 10 two a stage, the rest from the second on */
    cr_expect_eq(even.graph->launch->chunks, 2);
    cr_expect_arr_eq(even.graph->launch->blocks, blocks, sizeof(blocks));
    kp_reading_free(&even);
    kp_reading bad = kp_read_text("{'model_type':'llama','hidden_size':64,'intermediate_size':96,"
                                  "'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100,"
                                  "'torchtitan':{'activation_checkpoint':{'mode':'some'}}}",
                                  &(kp_bind){0});
    cr_expect_eq(bad.status, KP_INPUT);
    kp_reading_free(&bad);
}
