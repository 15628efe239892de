/* SPDX-License-Identifier: MIT
 *
 * torch's autocast, and a softmax of old versions. */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

/* Two blocks of four heads over 128 positions, whose attention writes its scores. */
#define BERT(version)                                                                              \
    "{\"model_type\":\"bert\",\"vocab_size\":1000,\"type_vocab_size\":2,"                          \
    "\"max_position_embeddings\":128,\"hidden_size\":64,\"num_hidden_layers\":2,"                  \
    "\"num_attention_heads\":4,\"intermediate_size\":256,\"hidden_act\":\"gelu\","                 \
    "\"hidden_dropout_prob\":0.1,\"attention_probs_dropout_prob\":0.1,"                            \
    "\"attn_implementation\":\"eager\",\"torch\":{\"version\":\"" version "\"}}"

enum { BATCH = 2, BLOCKS = 2, SCORES = BATCH * 4 * 128 * 128, H = 64, I = 256 };

static kp_tape make(fixture *f, const char *model, const char *policy, kp_recompute recompute)
{
    kp_tape tape;
    fixture_init(f);
    f->options.framework = KP_FW_TORCH;
    f->options.dtype_policy = policy;
    f->options.batch = BATCH;
    f->options.seq = 128;
    fixture_load(f, model);
    kp_part part = kp_part_whole(f->graph, &f->training);
    part.strategy.recompute = recompute;
    kp_err err;
    cr_assert_eq(kp_tape_make(f->graph, &f->training, &part, &f->arena, &tape, &err), KP_OK, "%s",
                 err.msg);
    return tape;
}

/* The most of buffers with this text that is alive in the forward pass. */
static uint64_t most(const kp_tape *tape, const char *what)
{
    uint64_t now = 0, peak = 0;
    for (uint32_t i = 0; i < tape->n_steps && tape->steps[i].phase <= KP_PHASE_FORWARD; i++) {
        const kp_tape_step *s = &tape->steps[i];
        for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
            const kp_tape_buffer *b = &tape->buffers[tape->events[e].buffer];
            if (strncmp(b->what, what, strlen(what))) continue;
            now = tape->events[e].alloc ? now + b->bytes : now - b->bytes;
            peak = kp_max_u64(peak, now);
        }
    }
    return peak;
}

/* A softmax is float32 under autocast: 2 bytes more than the half copy; before 1.11 what it reads
 * is kept too, 4 bytes. */
Test(autocast, softmax)
{
    static const struct {
        const char *model, *policy;
        uint64_t wide, read; /* bytes an element */
    } rows[] = {
        {BERT("1.10"), "float32", 0, 4},       {BERT("1.11"), "float32", 0, 0},
        {BERT("1.10"), "mixed_float16", 2, 4}, {BERT("2.1"), "mixed_float16", 2, 0},
        {BERT("2.1"), "float16", 0, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_tape tape = make(&f, rows[i].model, rows[i].policy, KP_RECOMPUTE_NONE);
        cr_expect_eq(most(&tape, "softmax in float32"), rows[i].wide * SCORES * BLOCKS, "row %zu",
                     i);
        cr_expect_eq(most(&tape, "what the softmax reads"), rows[i].read * SCORES * BLOCKS,
                     "row %zu", i);
        fixture_free(&f);
    }
}

/* Casts of weights stay until the forward pass ends, also of blocks that are recomputed: four
 * H x H and two H x I a block, and the pooler's H x H. */
Test(autocast, casts_are_cached)
{
    for (kp_recompute how = KP_RECOMPUTE_NONE; how <= KP_RECOMPUTE_FULL;
         how = (kp_recompute)(how + KP_RECOMPUTE_FULL - KP_RECOMPUTE_NONE)) {
        fixture f;
        kp_tape tape = make(&f, BERT("2.1"), "mixed_float16", how);
        uint64_t want = 2 * (BLOCKS * (4 * H * H + 2 * H * I) + H * H),
                 got = most(&tape, "copy of ");
        cr_expect_eq(got, want, "%llu, not %llu", (unsigned long long)got,
                     (unsigned long long)want);
        fixture_free(&f);
    }
}
