/* SPDX-License-Identifier: MIT
 *
 * What ranks exchange in a step, against arithmetic by hand. */
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>
#include <inttypes.h>

/* Kernels of 8 MiB, 32 MiB and 4 MiB with biases of 8192, 16384 and 1024 bytes. */
#define WIDE                                                                                       \
    KP_SEQUENTIAL(                                                                                 \
        "1024",                                                                                    \
        KP_LAYER("Dense", "'name':'a','units':2048,'activation':'relu'") "," KP_LAYER(             \
            "Dense",                                                                               \
            "'name':'b','units':4096,'activation':'relu'") "," KP_LAYER("Dense",                   \
                                                                        "'name':'c','units':256"))
#define A (8388608 + 8192)
#define B (33554432 + 16384)
#define C (4194304 + 1024)

#define GPT                                                                                        \
    "{'num_layers':1,'hidden_size':512,'num_attention_heads':8,'seq_length':128,"                  \
    "'max_position_embeddings':128,'padded_vocab_size':1024,'micro_batch_size':2,"                 \
    "'global_batch_size':2,'bf16':true,'tensor_model_parallel_size':2}"

typedef struct expected {
    const char *op, *what;
    uint64_t bytes, count;
} expected;

static const struct {
    const char *file, *options;
    expected rows[8]; /* up to the first without an op; in the order printed */
} settings[] = {
    {WIDE, "--framework keras-jax --batch 8", {{0}}},
    /* XLA: a gradient above 30 MiB alone, the loss with the last bucket. */
    {WIDE,
     "--framework keras-jax --batch 8 --dp 2",
     {{"all_reduce", "gradients", 33554432, 1},
      {"all_reduce", "gradients", A + 4, 1},
      {"all_reduce", "gradients", C + 16384, 1}}},
    {WIDE,
     "--framework keras-tf-graph --batch 8 --dp 2",
     {{"all_reduce", "gradients", A + B + C, 1}}},
    /* DDP: a bucket is sent once it has reached its size. */
    {WIDE,
     "--framework keras-torch --batch 8 --dp 2",
     {{"all_reduce", "gradients", B, 1},
      {"all_reduce", "gradients", A, 1},
      {"all_reduce", "gradients", C, 1}}},
    {WIDE,
     "--framework keras-torch --batch 8 --dp 2 --zero 1",
     {{"all_gather", "weights", A + B + C, 1},
      {"reduce_scatter", "gradients", (A + B + C) / 2, 1}}},
    /* Layer by layer, the weights before both passes. */
    {WIDE,
     "--framework keras-torch --batch 8 --dp 2 --zero 3",
     {{"all_gather", "weights", B, 2},
      {"all_gather", "weights", A, 2},
      {"reduce_scatter", "gradients", B / 2, 1},
      {"all_gather", "weights", C, 2},
      {"reduce_scatter", "gradients", A / 2, 1},
      {"reduce_scatter", "gradients", C / 2, 1}}},
    /* a by columns, then gathered; b by columns, its input's gradient summed; c by rows. */
    {WIDE,
     "--framework keras-jax --batch 8 --tp 2",
     {{"all_reduce", "activations", 8 * 2048 * 4, 1},
      {"all_gather", "activations", 8 * 2048 * 4, 1},
      {"all_reduce", "activations", 8 * 256 * 4, 1}}},
    {WIDE,
     "--framework keras-torch --batch 8 --pp 2 --micro-batch 4",
     {{"send", "activations", 4 * 2048 * 4, 2}}},
    /* Forward: embedding, attention, feed-forward; back: the two blocks' inputs and the head's. Of
     * the loss: a number a token, three times. */
    {GPT,
     "--framework megatron",
     {{"all_reduce", "activations", 2 * 128 * 512 * 2, 6},
      {"all_reduce", "activations", 2 * 128 * 4, 3}}},
};

Test(collectives, by_hand)
{
    for (size_t i = 0; i < KP_LEN(settings); i++) {
        kp_fixture f;
        const expected *e = settings[i].rows;
        uint32_t n = 0;
        kp_fixture_init(&f, settings[i].file);
        kp_fixture_set(&f, settings[i].options);
        kp_fixture_explain(&f);
        for (; n < 8 && e[n].op; n++) {
            if (n >= f.x.n_collectives) break;
            const kp_explain_collective *c = &f.x.collectives[n];
            cr_expect(!strcmp(c->op, e[n].op) && !strcmp(c->what, e[n].what) &&
                          c->bytes == e[n].bytes && c->count == e[n].count,
                      "%s: %s of %s, %" PRIu64 " x %" PRIu64, settings[i].options, c->op, c->what,
                      c->bytes, c->count);
        }
        cr_expect_eq(n, f.x.n_collectives, "%s: %u, not %u", settings[i].options, f.x.n_collectives,
                     n);
        cr_expect(n == 8 || !e[n].op, "%s: more are expected", settings[i].options);
        kp_fixture_done(&f);
    }
}
