/* SPDX-License-Identifier: MIT
 *
 * Where Megatron's blocks stand, and what the ranks of each stage hold. */
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>

#define GPT                                                                                        \
    "{'num_layers':4,'hidden_size':64,'num_attention_heads':4,'seq_length':128,"                   \
    "'max_position_embeddings':128,'padded_vocab_size':1024,'micro_batch_size':4,"                 \
    "'global_batch_size':32,'bf16':true,'deterministic_mode':true,'hidden_dropout':0"

enum {
    LAYER = 12 * 64 * 64 + 13 * 64,
    TABLE = 1024 * 64,
    NORM = 2 * 64,
    TBH = 128 * 4 * 64,
    MIB = 1 << 20,
};

Test(stages, blocks_stand_by_rule)
{
    static const struct {
        const char *what, *args;
        uint32_t stage, in_flight;
        const char *first, *last;
    } rows[] = {
        {"halves", ",'pipeline_model_parallel_size':2}", 0, 2, "input_ids",
         "decoder.layers.1.residual_mlp"},
        {"the head stands on the last", ",'pipeline_model_parallel_size':2}", 1, 1,
         "decoder.layers.2.input_layernorm", "output_layer"},
        {"one layer on the first stage",
         ",'pipeline_model_parallel_size':2,'decoder_first_pipeline_num_layers':1}", 1, 1,
         "decoder.layers.1.input_layernorm", "output_layer"},
        {"virtual stages: layers 1 and 3",
         ",'pipeline_model_parallel_size':2,"
         "'num_layers_per_virtual_pipeline_stage':1}",
         1, 1, "decoder.layers.1.input_layernorm", "output_layer"},
        {"a layout",
         ",'pipeline_model_parallel_size':2,'pipeline_model_parallel_layout':"
         "'Et|t*2|(t|)L'}",
         1, 1, "decoder.layers.1.input_layernorm", "output_layer"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        char text[800];
        snprintf(text, sizeof(text), "%s%s", GPT, rows[i].args);
        kp_fixture_init(&f, text);
        f.options.gpu = "H100-80G";
        kp_fixture_explain(&f);
        cr_assert_eq(f.x.n_stages, 2, "row %zu", i);
        const kp_explain_stage *s = &f.x.stages[rows[i].stage];
        cr_expect_eq(s->in_flight, rows[i].in_flight, "row %zu: %s: %u in flight", i, rows[i].what,
                     s->in_flight);
        cr_expect_str_eq(s->first_layer, rows[i].first, "row %zu: %s", i, rows[i].what);
        cr_expect_str_eq(s->last_layer, rows[i].last, "row %zu: %s", i, rows[i].what);
        kp_fixture_done(&f);
    }
}

/* Of the last of two stages: two layers, the last norm, a copy of the tied table; 18 bytes each,
 * workspaces, what it received with its gradient and the last micro-batch (labels, masks), or only
 * what each of its virtual stages received. */
Test(stages, ranks_hold)
{
    uint64_t states = 18ull * (2 * LAYER + NORM + TABLE) + 96ull * MIB;
    uint64_t received = 2 * 2 * TBH, batch = 128 * 4 * (4 + 16) + 128 * 128 * 4;
    static const struct {
        const char *args;
        uint32_t chunks;
    } rows[] = {
        {",'pipeline_model_parallel_size':2}", 1},
        {",'pipeline_model_parallel_size':2,'num_layers_per_virtual_pipeline_stage':1}", 2},
    };
    uint64_t kept[2];
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        char text[800];
        snprintf(text, sizeof(text), "%s%s", GPT, rows[i].args);
        kp_fixture_init(&f, text);
        f.options.gpu = "H100-80G";
        kp_fixture_explain(&f);
        uint64_t want = states + received * rows[i].chunks + (rows[i].chunks > 1 ? 0 : batch);
        uint64_t got = f.x.stages[1].steady_bytes;
        cr_expect(got >= want && got < want + 4096, "row %zu: %llu, not %llu", i,
                  (unsigned long long)got, (unsigned long long)want);
        kept[i] = f.x.stages[1].kept_bytes;
        kp_fixture_done(&f);
    }
    /* Two micro-batches more of layer 1's: one of them is of the second layer that 1F1B keeps too.
     * A layer keeps 32 bytes a value without masks of hidden dropout, the sums of rows of two norms
     * and of attention. */
    uint64_t layer = 32ull * TBH + 2 * 8 * 128 * 4 + 4 * 4 * 4 * 128;
    cr_expect_eq(kept[1] - kept[0], layer, "%llu more, not %llu",
                 (unsigned long long)(kept[1] - kept[0]), (unsigned long long)layer);
}

/* Full recomputation keeps what comes into each group of layers. */
Test(stages, recomputed_blocks_keep_their_input)
{
    static const struct {
        const char *args;
        uint32_t inputs, layers; /* of groups; of layers that keep all */
    } rows[] = {
        {",'recompute_granularity':'full','recompute_method':'uniform','recompute_num_layers':1}",
         4, 0},
        {",'recompute_granularity':'full','recompute_method':'uniform','recompute_num_layers':2}",
         2, 0},
        {",'recompute_granularity':'full','recompute_method':'block','recompute_num_layers':1}", 1,
         3},
    };
    uint64_t layer = 32ull * TBH + 2 * 8 * 128 * 4 + 4 * 4 * 4 * 128;
    uint64_t ends = 2 * 2 * TBH + 8 * 128 * 4; /* into the last norm and out of it, sums of rows */
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        char text[800];
        snprintf(text, sizeof(text), "%s%s", GPT, rows[i].args);
        kp_fixture_init(&f, text);
        f.options.gpu = "H100-80G";
        f.options.batch = 4;
        kp_fixture_explain(&f);
        uint64_t want = rows[i].inputs * 2ull * TBH + rows[i].layers * layer + ends;
        uint64_t logits = 2ull * 128 * 4 * 1024, got = f.x.stages[0].kept_bytes;
        cr_expect_eq(got, want + logits, "row %zu: %llu, not %llu", i, (unsigned long long)got,
                     (unsigned long long)(want + logits));
        kp_fixture_done(&f);
    }
}
