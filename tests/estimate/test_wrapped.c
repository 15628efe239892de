/* SPDX-License-Identifier: MIT
 *
 * Megatron's modules under FSDP: figures by hand. */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>
#include <math.h>

enum { H = 512, S = 256, V = 8000, L = 2, A = 8 };
#define GPT                                                                                        \
    "{\"num_layers\":2,\"hidden_size\":512,\"num_attention_heads\":8,\"seq_length\":256,"          \
    "\"max_position_embeddings\":256,\"padded_vocab_size\":8000,\"use_flash_attn\":true,"          \
    "\"untie_embeddings_and_output_weights\":true,\"fp16_lm_cross_entropy\":true"

static const kp_strategy eight = {.dp = 8,
                                  .tp = 1,
                                  .pp = 1,
                                  .zero = 3,
                                  .micro_batch = 1,
                                  .micro_batches = 1,
                                  .recompute = KP_RECOMPUTE_NONE};

static kp_memory under_fsdp(fixture *f, const char *text, kp_strategy strategy)
{
    fixture_init(f);
    f->options.framework = KP_FW_TORCH;
    f->options.dtype_policy = "mixed_bfloat16";
    f->options.batch = 8;
    fixture_load(f, text);
    kp_part part = fixture_part(f, strategy);
    return fixture_memory(f, &part);
}

static bool near(uint64_t got, double want, double within)
{
    return fabs((double)got / want - 1) <= within;
}

/* 16 bytes a parameter over the ranks, two workspaces of cuBLAS; of a block 34 bytes a token and
 * channel (Korthikanti et al. 2022) and a float32 a token and head; behind the blocks what the norm
 * and the head read, and the logits in their own type; a mask of the embedding's dropout. */
Test(wrapped, states_and_what_is_kept)
{
    const double token = S, sh = token * H;
    const double ends = 4 * sh + 2 * token * V + sh;
    struct {
        const char *what;
        kp_recompute recompute;
        double kept;
    } rows[] = {
        {"nothing again", KP_RECOMPUTE_NONE, L * (34 * sh + 4 * A * token) + ends},
        {"blocks again", KP_RECOMPUTE_FULL, L * 2 * sh + ends},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_strategy s = eight;
        s.recompute = rows[i].recompute;
        kp_memory m = under_fsdp(&f, GPT "}", s);
        double states = 2.0 * (double)f.graph->params + 2 * 8519680;
        cr_expect(near(m.steady.bytes, states, .001), "%s: %llu of %.0f", rows[i].what,
                  (unsigned long long)m.steady.bytes, states);
        cr_expect(near(m.kept.bytes, rows[i].kept, .005), "%s: %llu of %.0f", rows[i].what,
                  (unsigned long long)m.kept.bytes, rows[i].kept);
        fixture_free(&f);
    }
}
