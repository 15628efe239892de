/* SPDX-License-Identifier: MIT
 *
 * What torch's settings do to memory: gradients that stay, scratch, blocks, contexts. */
#include "planner/estimate/conv_space.h"
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

#define MIB ((uint64_t)1 << 20)

/* A Dense of 1024 x 4096 (16 MiB) of 64 samples, under a torch object of the file. */
#define DENSE(torch)                                                                               \
    "{\"class_name\":\"Sequential\",\"keras_version\":\"3.8.0\",\"config\":{\"name\":\"m\","       \
    "\"layers\":[{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"i\",\"batch_shape\":[null," \
    "1024]}},{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\",\"units\":4096,\"use_bias\":"    \
    "false}}]},\"compile_config\":{\"optimizer\":\"sgd\",\"loss\":\"mse\"" torch "}}"

static kp_memory memory_of(fixture *f, const char *model, const char *gpu, uint64_t batch)
{
    fixture_init(f);
    f->options.framework = KP_FW_TORCH;
    f->options.gpu = gpu;
    f->options.batch = batch;
    fixture_load(f, model);
    kp_part part = kp_part_whole(f->graph, &f->training);
    return fixture_memory(f, &part);
}

static kp_memory memory_of_policy(fixture *f, const char *model, uint64_t batch)
{
    f->options.framework = KP_FW_TORCH;
    f->options.batch = batch;
    fixture_load(f, model);
    kp_part part = kp_part_whole(f->graph, &f->training);
    return fixture_memory(f, &part);
}

/* Before 2.0 zero_grad() fills gradients with zeros: the kernel's stays beside the fresh one. */
Test(reserve, gradients_stay_before_2_0)
{
    static const struct {
        const char *model;
        uint64_t gradients;
    } rows[] = {
        {DENSE(""), 16 * MIB},
        {DENSE(",\"torch\":{\"version\":\"2.1\"}"), 16 * MIB},
        {DENSE(",\"torch\":{\"version\":\"1.12\"}"), 32 * MIB},
        {DENSE(",\"torch\":{\"version\":\"rubbish\"}"), 16 * MIB},
        {DENSE(",\"torch\":7"), 16 * MIB},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_memory m = memory_of(&f, rows[i].model, "V100-16G", 64);
        cr_expect_eq(m.peak.bytes[KP_CAT_GRADIENTS], rows[i].gradients, "row %zu: %llu", i,
                     (unsigned long long)m.peak.bytes[KP_CAT_GRADIENTS]);
        fixture_free(&f);
    }
}

/* Contexts follow the card where torch loads all kernels at once. */
Test(reserve, contexts)
{
    static const struct {
        const char *gpu, *version;
        uint64_t mib;
    } rows[] = {
        {"K80", "1.10", 480},      {"V100-16G", "1.10", 1355}, {"RTX3090", "1.12", 1446},
        {"RTX3070", "1.12", 1298}, {"V100-16G", "2.1", 600},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char model[1024];
        fixture f;
        snprintf(model, sizeof(model), DENSE(",\"torch\":{\"version\":\"%s\"}"), rows[i].version);
        kp_memory m = memory_of(&f, model, rows[i].gpu, 64);
        cr_expect_eq(m.peak.bytes[KP_CAT_RUNTIME] / MIB, rows[i].mib, "row %zu: %llu", i,
                     (unsigned long long)(m.peak.bytes[KP_CAT_RUNTIME] / MIB));
        fixture_free(&f);
    }
}

/* Reserved is allocated in whole segments; what fits only when the cache is emptied still fits. */
Test(reserve, the_card_bounds_what_is_held)
{
    fixture f;
    kp_memory m = memory_of(&f, "models/resnet50.json", "A100-80G", 64);
    cr_expect(m.reserved.bytes > m.allocated.bytes && m.reserved.bytes % (2 * MIB) == 0);
    cr_expect_eq(kp_categories_sum(&m.peak) - m.peak.bytes[KP_CAT_RUNTIME], m.reserved.bytes);
    uint64_t held = kp_categories_sum(&m.peak);
    fixture_free(&f);
    fixture_init(&f);
    f.options.framework = KP_FW_TORCH;
    f.options.memory_bytes = held; /* less the driver's share: not all that torch would take */
    f.options.batch = 64;
    fixture_load(&f, "models/resnet50.json");
    kp_part part = kp_part_whole(f.graph, &f.training);
    kp_memory tight = fixture_memory(&f, &part);
    cr_expect(kp_categories_sum(&tight.peak) <= f.device.usable_bytes, "%llu on %llu",
              (unsigned long long)kp_categories_sum(&tight.peak),
              (unsigned long long)f.device.usable_bytes);
    cr_expect(tight.allocated.bytes <= m.allocated.bytes);
    fixture_free(&f);
}

/* Scratch of convolutions by their algorithms' sizes. */
Test(reserve, scratch_of_convolutions)
{
    static const struct {
        int kernel, stride, in, out, groups;
        uint64_t bytes, high;
    } rows[] = {
        /* 8 pictures of 32 x 32: 36 values of 4 bytes for 16; 36 for each kernel */
        {3, 1, 128, 128, 1, 8 * 32 * 32 * 9 * 256 + 144 * 128 * 128,
         (uint64_t)4352 * (8 * 4 * 256 + 128 * 128)},
        {3, 1, 64, 128, 1, 0, (uint64_t)4352 * (8 * 4 * 192 + 64 * 128)},
        {3, 2, 128, 128, 1, 0, 0},
        {1, 1, 128, 128, 1, 0, 0},
        {3, 1, 128, 128, 2, 0, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char model[1024];
        fixture f;
        kp_err err = {0};
        kp_sizes sizes;
        snprintf(model, sizeof(model),
                 "{\"class_name\":\"Sequential\",\"keras_version\":\"3.8.0\",\"config\":{\"name\":"
                 "\"m\",\"layers\":[{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"i\","
                 "\"batch_shape\":[null,32,32,%d]}},{\"class_name\":\"Conv2D\",\"config\":{"
                 "\"name\":\"c\",\"filters\":%d,\"kernel_size\":[%d,%d],\"strides\":[%d,%d],"
                 "\"groups\":%d,\"padding\":\"same\",\"use_bias\":false}}]}}",
                 rows[i].in, rows[i].out, rows[i].kernel, rows[i].kernel, rows[i].stride,
                 rows[i].stride, rows[i].groups);
        fixture_init(&f);
        f.options.framework = KP_FW_TORCH;
        f.options.batch = 8;
        fixture_load(&f, model);
        kp_part part = kp_part_whole(f.graph, &f.training);
        cr_assert_eq(kp_sizes_make(f.graph, &f.training, &part, &f.arena, &sizes, &err), KP_OK);
        const kp_graph_op *op = &f.graph->ops[f.graph->n_ops - 1];
        cr_expect_eq(kp_conv_space_bytes(&sizes, op), rows[i].bytes, "row %zu", i);
        cr_expect_eq(kp_conv_space_high_bytes(&sizes, op), rows[i].high, "row %zu", i);
        fixture_free(&f);
    }
}

/* Under autocast a LayerNorm keeps its input in float32, a BatchNorm in the half type; a model that
 * is half throughout keeps it so. */
Test(reserve, autocast_norms)
{
    static const struct {
        const char *norm, *policy;
        uint32_t bytes; /* of an element that it keeps, with the Dense's input */
    } rows[] = {
        {"LayerNormalization", "mixed_float16", 6},
        {"LayerNormalization", "float16", 4},
        {"BatchNormalization", "mixed_float16", 4},
    };
    enum { N = 256, C = 4096 };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char model[1024];
        uint64_t kept = 0;
        fixture f;
        snprintf(model, sizeof(model),
                 "{\"class_name\":\"Sequential\",\"keras_version\":\"3.8.0\",\"config\":{\"name\":"
                 "\"m\",\"layers\":[{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"i\","
                 "\"batch_shape\":[null,%d]}},{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\","
                 "\"units\":%d}},{\"class_name\":\"%s\",\"config\":{\"name\":\"n\"}}]}}",
                 C, C, rows[i].norm);
        fixture_init(&f);
        f.options.dtype_policy = rows[i].policy;
        kp_memory m = memory_of_policy(&f, model, N);
        for (uint32_t k = 0; k < f.graph->n_layers; k++) kept += m.layers[k].activations;
        uint64_t want = (uint64_t)N * C * rows[i].bytes;
        cr_expect(kept >= want && kept < want + want / 100, "row %zu: %llu, not %llu", i,
                  (unsigned long long)kept, (unsigned long long)want);
        fixture_free(&f);
    }
}

/* Before torch 2.0 attention writes its scores; autocast keeps their softmax in float32 and the
 * half copy that the product with the values reads. */
Test(reserve, autocast_attention)
{
    static const struct {
        const char *version, *policy;
        uint32_t bytes; /* of a score that it keeps */
    } rows[] = {
        {"1.12", "mixed_float16", 6},
        {"1.12", "float16", 2},
        {"1.12", "float32", 4},
        {"2.1", "mixed_float16", 0},
    };
    enum { N = 4, T = 1024, H = 2 };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char model[1024];
        uint64_t kept = 0;
        fixture f;
        snprintf(
            model, sizeof(model),
            "{\"class_name\":\"Functional\",\"keras_version\":\"3.8.0\",\"config\":{\"name\":"
            "\"m\",\"layers\":[{\"class_name\":\"InputLayer\",\"name\":\"i\",\"config\":{\"name\":"
            "\"i\",\"batch_shape\":[null,%d,8]},\"inbound_nodes\":[]},{\"class_name\":"
            "\"MultiHeadAttention\",\"name\":\"a\",\"config\":{\"name\":\"a\",\"num_heads\":%d,"
            "\"key_dim\":4},\"inbound_nodes\":[[[\"i\",0,0,{\"value\":[\"i\",0,0]}]]]}],"
            "\"input_layers\":[[\"i\",0,0]],\"output_layers\":[[\"a\",0,0]]},"
            "\"compile_config\":{\"torch\":{\"version\":\"%s\"}}}",
            T, H, rows[i].version);
        fixture_init(&f);
        f.options.dtype_policy = rows[i].policy;
        kp_memory m = memory_of_policy(&f, model, N);
        for (uint32_t k = 0; k < f.graph->n_layers; k++) kept += m.layers[k].activations;
        uint64_t scores = (uint64_t)N * H * T * T, want = scores * rows[i].bytes;
        cr_expect(kept >= want && kept < want + scores / 2, "row %zu: %llu, not %llu", i,
                  (unsigned long long)kept, (unsigned long long)want);
        fixture_free(&f);
    }
}
