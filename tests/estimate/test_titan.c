/* SPDX-License-Identifier: MIT */
#include "planner/search/cuts.h"
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

/* Four blocks: queries 512 wide, keys and values 256, an MLP of 1536; a vocabulary of 8192. */
#define LLAMA(titan)                                                                               \
    "{\"model_type\":\"llama\",\"hidden_size\":512,\"intermediate_size\":1536,"                    \
    "\"num_hidden_layers\":4,\"num_attention_heads\":8,\"num_key_value_heads\":4,"                 \
    "\"vocab_size\":8192,\"tie_word_embeddings\":false,\"torchtitan\":{" titan "}}"
#define BY_OP   "\"activation_checkpoint\":{\"mode\":\"selective\",\"selective_ac_option\":\"op\"}"
#define FULL    "\"activation_checkpoint\":{\"mode\":\"full\"}"
#define BY_TWO  "\"activation_checkpoint\":{\"mode\":\"selective\",\"selective_ac_option\":\"2\"}"
#define NONE    "\"activation_checkpoint\":{\"mode\":\"none\"}"
#define COMPILE "\"compile\":{\"enable\":true,\"components\":[\"model\"]}"
#define ALL     "\"training\":{\"compile\":true}"

enum { TOKENS = 2 * 1024, H = 512, KV = 256, I = 1536, BLOCKS = 4, V = 8192, RANKS = 4 };

static kp_memory run_divided(fixture *f, const char *model, uint32_t tp)
{
    fixture_init(f);
    f->options.framework = KP_FW_TORCH;
    f->options.dtype_policy = "mixed_bfloat16";
    f->options.optimizer = "adamw";
    f->options.batch = 2 * RANKS;
    f->options.seq = 1024;
    fixture_load(f, model);
    kp_part part = kp_part_whole(f->graph, &f->training);
    part.strategy.dp = RANKS;
    part.strategy.zero = 3;
    part.strategy.micro_batch = 2;
    part.strategy.recompute = f->training.launch.recompute;
    if (tp > 1) {
        uint64_t divided;
        kp_err err;
        part.strategy.tp = tp;
        cr_assert_eq(kp_cuts_choose(f->graph, tp, 2, &f->arena, &part.cuts, &divided, &err), KP_OK);
    }
    return fixture_memory(f, &part);
}

static kp_memory run(fixture *f, const char *model)
{
    return run_divided(f, model, 1);
}

/* What blocks leave for the backward pass: the layers whose path leads into a block. */
static uint64_t kept(const fixture *f, const kp_memory *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->graph->n_layers; i++)
        if (!strncmp(f->graph->layers[i].path, "model.layers.", 13))
            sum += m->layers[i].activations;
    return sum;
}

/* Each block hands on its output, H wide. By op, of the seven products q, k, v, o, gate, up, down
 * every other is saved (q, v, gate, down), and what attention writes; compiled, down's is not,
 * which no backward pass reads. */
Test(titan, what_blocks_keep)
{
    static const struct {
        const char *what, *model;
        uint64_t columns; /* bfloat16, of all blocks together */
    } rows[] = {
        {"full", LLAMA(FULL), BLOCKS * H},
        {"full, compiled", LLAMA(FULL "," COMPILE), BLOCKS * H},
        {"by op", LLAMA(BY_OP), BLOCKS * (H + H + KV + H + I + H)},
        {"by op, compiled", LLAMA(BY_OP "," COMPILE), BLOCKS * (H + H + KV + H + I)},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_memory m = run(&f, rows[i].model);
        uint64_t want = TOKENS * 2 * rows[i].columns, got = kept(&f, &m);
        cr_expect_eq(got, want, "%s: %llu, not %llu", rows[i].what, (unsigned long long)got,
                     (unsigned long long)want);
        fixture_free(&f);
    }
}

/* Every second block is recomputed: half of what nothing recomputed keeps, and the borders. */
Test(titan, every_second_block)
{
    fixture f, g, h;
    kp_memory none = run(&f, LLAMA(NONE)), two = run(&g, LLAMA(BY_TWO)), all = run(&h, LLAMA(FULL));
    uint64_t most = kept(&f, &none), some = kept(&g, &two), least = kept(&h, &all);
    uint64_t border = TOKENS * H * 2;
    cr_expect(some > most / 2 - border && some < most / 2 + least, "%llu of %llu",
              (unsigned long long)some, (unsigned long long)most);
    fixture_free(&f);
    fixture_free(&g);
    fixture_free(&h);
}

/* The loss at its peak: the logarithms and two gradients in float32; compiled, the logits and their
 * gradient in bfloat16. */
Test(titan, loss)
{
    fixture f, g;
    kp_memory eager = run(&f, LLAMA(FULL "," COMPILE)), compiled = run(&g, LLAMA(FULL "," ALL));
    uint64_t want = (uint64_t)TOKENS * V * ((4 + 4 + 4) - (2 + 2)),
             got = eager.allocated.bytes - compiled.allocated.bytes;
    cr_expect_eq(got, want, "%llu, not %llu", (unsigned long long)got, (unsigned long long)want);
    fixture_free(&f);
    fixture_free(&g);
}

/* Shares of gradients stay on the stream that reduces, what is gathered on another: both are
 * reserved beside the peak. The weights: V x H twice, a block's 2 H H + 2 H KV + 3 H I + 2 H, H. */
Test(titan, streams)
{
    fixture f;
    kp_memory m = run(&f, LLAMA(FULL));
    uint64_t block = (uint64_t)2 * H * H + 2 * H * KV + 3 * H * I + 2 * H;
    uint64_t outside = (uint64_t)2 * V * H + H, all = outside + BLOCKS * block;
    uint64_t apart = all * 4 / RANKS + outside * 2; /* more than two blocks */
    cr_expect_geq(m.reserved.bytes, m.allocated.bytes + apart, "%llu, %llu and %llu",
                  (unsigned long long)m.reserved.bytes, (unsigned long long)m.allocated.bytes,
                  (unsigned long long)apart);
    fixture_free(&f);
}

/* torchtitan shares the sequence among context parallel ranks, and the weights among all. */
Test(titan, context_parallel)
{
    fixture f, g;
    kp_memory one = run(&f, LLAMA(FULL)),
              two = run(&g, LLAMA(FULL ",\"parallelism\":{\"context_parallel_degree\":2}"));
    cr_expect_eq(kept(&g, &two), kept(&f, &one) / 2);
    cr_expect_lt(two.allocated.bytes, one.allocated.bytes);
    fixture_free(&f);
    fixture_free(&g);
}

/* Two tensor parallel ranks halve what blocks hand on; the head's input is gathered and kept beside
 * its half. Of their half of the logits the loss has four tensors in float32 at its peak
 * (logarithms, the labels' gradient, its sum with the exponentials, and one of these two more),
 * where one rank has three of all. */
Test(titan, tensor_parallel)
{
    fixture f, g;
    kp_memory one = run(&f, LLAMA(FULL)), two = run_divided(&g, LLAMA(FULL), 2);
    uint64_t logits = (uint64_t)TOKENS * V * 4, input = (uint64_t)TOKENS * H * 2;
    cr_expect_eq(kept(&g, &two), kept(&f, &one) / 2);
    cr_expect_eq(one.peak.bytes[KP_CAT_TEMPORARY], 3 * logits);
    cr_expect_eq(two.peak.bytes[KP_CAT_TEMPORARY], 4 * logits / 2);
    uint64_t more = two.peak.bytes[KP_CAT_ACTIVATIONS] - one.peak.bytes[KP_CAT_ACTIVATIONS] / 2;
    cr_expect_eq(more, input, "%llu", (unsigned long long)more);
    fixture_free(&f);
    fixture_free(&g);
}
