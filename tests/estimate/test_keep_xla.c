/* SPDX-License-Identifier: MIT */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>
#include <math.h>

#define ONE(shape, class_name, config)                                                             \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"s\",\"layers\":["                       \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_shape\":" shape "}},"      \
    "{\"class_name\":\"" class_name "\",\"config\":{\"name\":\"l\"" config "}}]},"                 \
    "\"keras_version\":\"3.15.1\"}"

/* Single layers, batch 64, Adam and a mean squared error: argument + output - alias + temp of
 * XLA:GPU's buffer assignment (jaxlib 0.10, Keras 3.15) for an H100. */
Test(keep_xla, layers)
{
    static const struct {
        const char *what, *model;
        uint64_t peak;
        double within;
    } rows[] = {
        {"a table has one dense gradient",
         ONE("[null,12]", "Embedding", ",\"input_dim\":1000,\"output_dim\":16"), 311916, .005},
        {"a scale's gradient is a sum over the output's",
         ONE("[null,8,16]", "LayerNormalization", ",\"axis\":-1"), 137476, .05},
        {"3-D convolutions copy their input channels first",
         ONE("[null,10,12,14,2]", "Conv3D", ",\"filters\":8,\"kernel_size\":[3,3,3]"), 7873060,
         .005},
        {"transposed convolutions write dz twice",
         ONE("[null,20,8]", "Conv1DTranspose",
             ",\"filters\":16,\"kernel_size\":[3],\"dilation_rate\":[2]"),
         481348, .005},
        {"a GRU layer projects all steps before its loop",
         ONE("[null,10,8]", "GRU", ",\"units\":16,\"reset_after\":true,\"return_sequences\":true"),
         34298516, .005},
        {"a loop reads the gradient of its sequence from memory, also the loss's",
         ONE("[null,10,8]", "LSTM", ",\"units\":16,\"return_sequences\":true"), 34243388, .001},
        {"a GRU without bias projects too, and pads no gradient to all steps",
         ONE("[null,10,8]", "GRU", ",\"units\":16,\"reset_after\":true,\"use_bias\":false"),
         34214892, .003},
        {"unrolled steps keep gates, inputs and states",
         ONE("[null,10,8]", "LSTM", ",\"units\":16,\"unroll\":true"), 33946796, .005},
        {"no row has a loss of its own where all fuses and nothing is trained",
         ONE("[null,10,11,12,3]", "ZeroPadding3D", ",\"padding\":[[1,1],[1,1],[1,2]]"), 2812500,
         .005},
        {"adaptive pooling gathers the first axis in memory",
         ONE("[null,11,13,15,4]", "AdaptiveMaxPooling3D", ",\"output_size\":[5,5,5]"), 3355220,
         .02},
        {"what LoRA adds to a kernel is a product, when the convolution's gradients are done",
         ONE("[null,28,30,3]", "Conv2D", ",\"filters\":16,\"kernel_size\":[3,3],\"lora_rank\":2"),
         37188908, .005},
        {"a convolutional LSTM saves 13 buffers and has 10 in a step",
         ONE("[null,5,20,3]", "ConvLSTM1D", ",\"filters\":8,\"kernel_size\":[3]"), 3168124, .02},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        fixture_init(&f);
        f.options.batch = 64;
        f.options.optimizer = "adam";
        f.options.loss = "mean_squared_error";
        f.options.gpu = "H100-80G";
        f.options.rnn = KP_RNN_LOOP;
        fixture_load(&f, rows[i].model);
        kp_part part = kp_part_whole(f.graph, &f.training);
        kp_memory m = fixture_memory(&f, &part);
        double off = (double)m.allocated.bytes / (double)rows[i].peak - 1;
        cr_expect(fabs(off) <= rows[i].within, "row %zu: %s: %llu is %.2f %% off", i, rows[i].what,
                  (unsigned long long)m.allocated.bytes, 100 * off);
        fixture_free(&f);
    }
}
