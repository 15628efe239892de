/* SPDX-License-Identifier: MIT */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

#define MPT                                                                                        \
    "{\"model_type\":\"mpt\",\"d_model\":1024,\"n_heads\":16,\"n_layers\":8,\"vocab_size\":4096,"  \
    "\"max_seq_len\":512}"

enum { TOKENS = 8 * 512, WIDTH = 1024, LAYERS = 8, VOCABULARY = 4096 };

static kp_memory run(fixture *f, const char *loss, uint32_t zero, uint32_t dp,
                     kp_recompute recompute)
{
    fixture_init(f);
    f->options.framework = KP_FW_TORCH;
    f->options.dtype_policy = "mixed_bfloat16";
    f->options.optimizer = "lion";
    f->options.loss = loss;
    f->options.batch = 8 * dp;
    f->options.seq = 512;
    fixture_load(f, MPT);
    kp_part part = kp_part_whole(f->graph, &f->training);
    part.strategy.dp = dp;
    part.strategy.zero = zero;
    part.strategy.micro_batch = 8;
    part.strategy.recompute = recompute;
    return fixture_memory(f, &part);
}

/* A fused cross entropy needs neither float32 logits nor their gradient nor one of the logits. */
Test(units, fused_loss)
{
    fixture f, g;
    kp_memory plain = run(&f, "sparse_categorical_crossentropy", 0, 1, KP_RECOMPUTE_NONE);
    kp_memory fused = run(&g, "fused_cross_entropy", 0, 1, KP_RECOMPUTE_NONE);
    uint64_t logits = (uint64_t)TOKENS * VOCABULARY;
    uint64_t less = plain.allocated.bytes - fused.allocated.bytes;
    cr_expect(less >= 6 * logits && less <= 10 * logits, "%llu for %llu logits",
              (unsigned long long)less, (unsigned long long)logits);
    fixture_free(&f);
    fixture_free(&g);
}

/* What the forward pass leaves for the backward one. */
static uint64_t kept_bytes(const fixture *f, const kp_memory *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->graph->n_layers; i++) sum += m->layers[i].activations;
    return sum;
}

/* Checkpointed blocks leave their input each. */
Test(units, blocks_are_recomputed)
{
    fixture f, g;
    kp_memory all = run(&f, "fused_cross_entropy", 0, 1, KP_RECOMPUTE_NONE);
    kp_memory some = run(&g, "fused_cross_entropy", 0, 1, KP_RECOMPUTE_FULL);
    uint64_t border = (uint64_t)TOKENS * WIDTH * 2, kept = kept_bytes(&g, &some),
             logits = (uint64_t)TOKENS * VOCABULARY * 2;
    cr_expect_geq(kept_bytes(&f, &all), LAYERS * 14 * border);
    cr_expect(kept >= LAYERS * border && kept <= (LAYERS + 3) * border + logits,
              "%llu, a border is %llu", (unsigned long long)kept, (unsigned long long)border);
    fixture_free(&f);
    fixture_free(&g);
}

/* FSDP: float32 states divided, a block and the next whole in bfloat16 and what is in none; no
 * copies of kernels. */
Test(units, fsdp_gathers_blocks)
{
    fixture f;
    kp_memory m = run(&f, "fused_cross_entropy", 3, 8, KP_RECOMPUTE_NONE);
    uint64_t block = 12ull * WIDTH * WIDTH + 2 * WIDTH,
             outside = (uint64_t)VOCABULARY * WIDTH + 512 * WIDTH + WIDTH;
    uint64_t states = LAYERS * block + outside, whole = 2 * outside + 10 * block;
    uint64_t got = m.peak.bytes[KP_CAT_WEIGHTS], most = states * 4 / 8 + 4096;
    cr_expect(got >= states * 4 / 8 && got <= most, "%llu", (unsigned long long)got);
    cr_expect_geq(m.peak.bytes[KP_CAT_COMMUNICATION], whole);
    fixture_free(&f);
}
