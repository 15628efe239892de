/* SPDX-License-Identifier: MIT
 *
 * Megatron's rules, each against its arithmetic: a GPT of L = 2 layers, h = 64, H = 4 heads,
 * T = 128 positions, B = 4 samples, V = 1024 words, in bfloat16; T B h = 32768. */
#include "planner/estimate/profile.h"
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

#define SIZES                                                                                      \
    "\"num_layers\":2,\"hidden_size\":64,\"num_attention_heads\":4,\"seq_length\":128,"            \
    "\"max_position_embeddings\":128,\"padded_vocab_size\":1024,\"micro_batch_size\":4,"           \
    "\"global_batch_size\":4"
#define LOOSE "{" SIZES ",\"bf16\":true"
#define BF16  LOOSE ",\"deterministic_mode\":true"

enum {
    /* words, positions, two layers of 12 h^2 + 13 h, a last norm */
    PARAMS = 1024 * 64 + 128 * 64 + 2 * (12 * 64 * 64 + 13 * 64) + 2 * 64,
    TBH = 128 * 4 * 64,
    SCORES = 4 * 4 * 128 * 128, /* B H T T */
    LOGITS = 4 * 128 * 1024,
    MIB = 1 << 20,
};

typedef struct run {
    kp_memory memory;
    uint64_t params;
} run;

static run explain(const char *gpu, const char *text, kp_strategy s)
{
    fixture f;
    fixture_init(&f);
    f.options.gpu = gpu;
    f.options.batch = (uint64_t)s.dp * 4;
    fixture_load(&f, text);
    f.training.cudnn_attention = kp_profile_generation(&f.device) >= 10;
    s.tp = s.pp = s.micro_batches = 1;
    s.interleave = 1;
    s.micro_batch = 4;
    kp_part part = fixture_part(&f, s);
    run r = {fixture_memory(&f, &part), f.graph->params};
    fixture_free(&f);
    return r;
}

/* After an update: weights, sums of gradients, a float32 copy and Adam's slots, and workspaces. */
Test(megatron, states_are_bytes_a_parameter)
{
    static const struct {
        const char *what, *text;
        uint32_t dp, zero;
        double bytes; /* a parameter */
    } rows[] = {
        {"bfloat16: 2 + 4 + 4 + 8", BF16 "}", 1, 0, 18},
        {"divided by 4: 2 + 4 + (4 + 8) / 4", BF16 "}", 4, 1, 9},
        {"2 copies over 4 ranks: 2 + 4 + (4 + 8) / 2",
         BF16 ",\"num_distributed_optimizer_instances\":2}", 4, 1, 12},
        {"context 2 divides with the samples", BF16 ",\"context_parallel_size\":2}", 2, 1, 9},
        {"float16: 2 + 2 + 4 + 8, and 4 while it is updated", "{" SIZES ",\"fp16\":true}", 1, 0,
         20},
        {"float16 with wide sums: 2 + 4 + 4 + 8",
         "{" SIZES ",\"fp16\":true,\"accumulate_allreduce_grads_in_fp32\":true}", 1, 0, 18},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        run r = explain("H100-80G", rows[i].text,
                        (kp_strategy){.dp = rows[i].dp, .zero = rows[i].zero});
        cr_expect_eq(r.params, (uint64_t)PARAMS, "row %zu: %llu parameters", i,
                     (unsigned long long)r.params);
        double want = rows[i].bytes * PARAMS + 96. * MIB, got = (double)r.memory.steady.bytes;
        cr_expect(got >= want && got < want + 4096, "row %zu: %s: %.0f, not %.0f", i, rows[i].what,
                  got, want);
    }
}

/* What a setting adds to what two layers keep when the forward pass ends. */
Test(megatron, layers_keep)
{
    static const struct {
        const char *what, *gpu, *with, *without;
        int64_t bytes;
    } rows[] = {
        {"scores, a mask of them and what dropout leaves: 5 bytes, less the sums of rows, 4",
         "H100-80G", BF16 ",\"attention_backend\":\"unfused\"}", BF16 "}",
         2 * (5 * SCORES - 4 * SCORES / 128)},
        {"masks of dropout: one of the embedding, two a layer", "H100-80G", BF16 "}",
         BF16 ",\"hidden_dropout\":0}", (1 + 2 * 2) * TBH},
        {"Blackwell's fused attention keeps its result beside what it hands on", "B200", BF16 "}",
         BF16 ",\"attention_backend\":\"flash\"}", 2 * 2 * TBH},
        {"SwiGLU keeps its input of 2 f and its output of f, GELU f and f; f = 170 and 256",
         "H100-80G", BF16 ",\"swiglu\":true,\"ffn_hidden_size\":256}", BF16 "}",
         2 * 2 * (3 * 256 - 2 * 256) * 128 * 4},
        {"half of the positions a rank, and keys and values once more: 2 h a position", "H100-80G",
         BF16 ",\"hidden_dropout\":0}", BF16 ",\"hidden_dropout\":0,\"context_parallel_size\":2}",
         0},
    };
    kp_strategy one = {.dp = 1};
    for (size_t i = 0; i + 1 < KP_LEN(rows); i++) {
        run a = explain(rows[i].gpu, rows[i].with, one),
            b = explain(rows[i].gpu, rows[i].without, one);
        int64_t got = (int64_t)a.memory.kept.bytes - (int64_t)b.memory.kept.bytes;
        cr_expect_eq(got, rows[i].bytes, "row %zu: %s: %lld, not %lld", i, rows[i].what,
                     (long long)got, (long long)rows[i].bytes);
    }
    const size_t last = KP_LEN(rows) - 1;
    run whole = explain(rows[last].gpu, rows[last].with, one);
    run half = explain(rows[last].gpu, rows[last].without, one);
    int64_t copies =
        2 * 2 * 2 * TBH / 2; /* layers, keys and values, 2 bytes, half of the positions */
    cr_expect_eq((int64_t)(2 * half.memory.kept.bytes) - 2 * copies,
                 (int64_t)whole.memory.kept.bytes, "%s", rows[last].what);
}

/* Beside what is kept: logits in 2 bytes, the loss in 4 more, a fused one in 8. */
Test(megatron, the_loss_is_in_float32)
{
    kp_strategy one = {.dp = 1};
    run plain = explain("H100-80G", BF16 "}", one);
    run fused = explain("H100-80G", BF16 ",\"cross_entropy_loss_fusion\":true}", one);
    cr_expect_eq(fused.memory.allocated.bytes - plain.memory.allocated.bytes, 4u * LOGITS);
    uint64_t rest =
        plain.memory.allocated.bytes - plain.memory.steady.bytes - plain.memory.kept.bytes;
    uint64_t batch = 128 * 4 * (8 + 4 + 16) + 128 * 128 * 4; /* words, labels, masks */
    cr_expect_eq(rest, 4u * LOGITS + batch, "%llu beside states and kept values",
                 (unsigned long long)rest);
}

Test(megatron, workspaces)
{
    static const struct {
        const char *gpu, *text;
        uint64_t bytes, low, high;
    } rows[] = {
        /* two of cuBLAS and Transformer Engine's */
        {"H100-80G", BF16 "}", 96ull * MIB, 96ull * MIB, 96ull * MIB},
        {"A100-80G", BF16 "}", 68ull * MIB, 68ull * MIB, 68ull * MIB},
        {"A100-80G", BF16 ",\"transformer_impl\":\"local\"}", 128ull * MIB, 128ull * MIB,
         128ull * MIB},
        /* four more for the products of experts */
        {"H100-80G",
         BF16 ",\"num_experts\":2,\"moe_grouped_gemm\":true,\"disable_bias_linear\":true}",
         224ull * MIB, 224ull * MIB, 224ull * MIB},
        /* not deterministic: 8519680 each below Hopper, either on Blackwell */
        {"A100-80G", LOOSE "}", 2 * 8519680 + 4ull * MIB, 2 * 8519680 + 4ull * MIB,
         2 * 8519680 + 4ull * MIB},
        {"B200", LOOSE "}", 8519680 + 64ull * MIB, 2 * 8519680 + 32ull * MIB, 96ull * MIB},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        fixture_init(&f);
        f.options.gpu = rows[i].gpu;
        fixture_load(&f, rows[i].text);
        kp_bounded b = kp_profile_space(kp_profile_of(KP_FW_MEGATRON), &f.training, &f.device);
        cr_expect(b.bytes == rows[i].bytes && b.low == rows[i].low && b.high == rows[i].high,
                  "row %zu: %llu (%llu to %llu)", i, (unsigned long long)b.bytes,
                  (unsigned long long)b.low, (unsigned long long)b.high);
        fixture_free(&f);
    }
}
