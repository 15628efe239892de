/* SPDX-License-Identifier: MIT
 *
 * TensorFlow 1 in graph mode: what its version in the file changes, by hand. */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

#define IN                                                                                         \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[null,256]}" \
    "},"
#define DENSE(name, units)                                                                         \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"" name "\",\"units\":" units                 \
    ",\"activation\":\"linear\"}}"
#define DROP "{\"class_name\":\"Dropout\",\"config\":{\"name\":\"d\",\"rate\":0.1}},"
#define MODEL(layers, version)                                                                     \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[" IN layers             \
    "]},\"training_config\":{\"loss\":\"mse\",\"tensorflow\":{\"version\":\"" version "\"}}}"
#define DENSES(version)  MODEL(DENSE("a", "512") "," DENSE("b", "128"), version)
#define DROPPED(version) MODEL(DENSE("a", "512") "," DROP DENSE("b", "128"), version)
#define GELU(version)                                                                              \
    MODEL(DENSE("a", "2048") ",{\"class_name\":\"Activation\",\"config\":{\"name\":\"g\","         \
                             "\"activation\":\"gelu\"}}," DENSE("b", "1"),                         \
          version)
#define BERT(version)                                                                              \
    "{\"model_type\":\"bert\",\"vocab_size\":100,\"type_vocab_size\":2,"                           \
    "\"max_position_embeddings\":16,\"hidden_size\":64,\"num_hidden_layers\":1,"                   \
    "\"num_attention_heads\":4,\"intermediate_size\":256,\"hidden_act\":\"gelu\","                 \
    "\"hidden_dropout_prob\":0.1,\"attention_probs_dropout_prob\":0.1,"                            \
    "\"tensorflow\":{\"version\":\"" version "\"}}"

enum {
    MATRICES = 256 * 512 + 512 * 128, /* kernels of the two layers */
    VECTORS = 512 + 128,
    ALL = MATRICES + VECTORS
};

static kp_memory memory_of(const char *model, const char *optimizer, uint64_t batch)
{
    fixture f;
    fixture_init(&f);
    f.options.framework = KP_FW_KERAS_TF_GRAPH;
    f.options.optimizer = optimizer;
    f.options.batch = batch;
    if (strstr(model, "bert")) f.options.seq = 16;
    fixture_load(&f, model);
    kp_part part = kp_part_whole(f.graph, &f.training);
    kp_memory m = fixture_memory(&f, &part);
    fixture_free(&f);
    return m;
}

/* A composed update: both decayed moments of all weights and the decay of matrices from the step's
 * start, all gradients until they are clipped, and one more copy while they are added. Kernels of
 * TensorFlow 1 update in place; its successor has an update of its own kind. */
Test(tf_1, update)
{
    static const struct {
        const char *what, *model, *optimizer;
        bool composed;
    } rows[] = {
        {"AdamW", DENSES("1.11"), "adamw", true},
        {"LAMB", DENSES("1.15"), "lamb", true},
        {"Adam has a kernel", DENSES("1.11"), "adam", false},
        {"TensorFlow 2", DENSES("2.3"), "adamw", false},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_memory m = memory_of(rows[i].model, rows[i].optimizer, 8);
        uint64_t decayed = 4 * (3 * MATRICES + 2 * VECTORS), update = 4 * ALL, gradients = 4 * ALL;
        cr_expect_eq(m.phase == KP_PHASE_OPTIMIZER, rows[i].composed, "%s", rows[i].what);
        if (!rows[i].composed) {
            cr_expect_lt(m.peak.bytes[KP_CAT_TEMPORARY], decayed, "%s", rows[i].what);
            continue;
        }
        cr_expect_eq(m.peak.bytes[KP_CAT_TEMPORARY], decayed + update, "%s", rows[i].what);
        cr_expect_eq(m.peak.bytes[KP_CAT_GRADIENTS], gradients, "%s", rows[i].what);
    }
}

/* What the forward pass leaves, against TensorFlow 2: dropout's mask has 4 bytes an element, not 1;
 * scores keep their softmax alone, without a scaled copy. */
Test(tf_1, kept)
{
    static const struct {
        const char *what, *old, *new;
        uint64_t batch;
        int64_t more;
    } rows[] = {
        {"no dropout", DENSES("1.11"), DENSES("2.3"), 8, 0},
        {"3 bytes of 8 x 512", DROPPED("1.11"), DROPPED("2.3"), 8, 3 * 8 * 512},
        /* of 2 x 16 x 64 behind the attention and behind the MLP; scores of 2 x 4 x 16 x 16 */
        {"BERT", BERT("1.11"), BERT("2.3"), 2, 2 * 3 * 2 * 16 * 64 + (3 - 4) * 2 * 4 * 16 * 16},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_memory a = memory_of(rows[i].old, "adam", rows[i].batch),
                  b = memory_of(rows[i].new, "adam", rows[i].batch);
        cr_expect_eq((int64_t)(a.kept.bytes - b.kept.bytes), rows[i].more, "%s: %lld more",
                     rows[i].what, (long long)(a.kept.bytes - b.kept.bytes));
    }
}

/* The backward pass of GELU has a gradient more for a moment, of 4096 x 2048 in 4 bytes. */
Test(tf_1, gelu)
{
    kp_memory m[2] = {memory_of(GELU("1.11"), "sgd", 4096), memory_of(GELU("2.3"), "sgd", 4096)};
    for (size_t i = 0; i < KP_LEN(m); i++) cr_expect_eq(m[i].phase, KP_PHASE_BACKWARD);
    uint64_t a = m[0].peak.bytes[KP_CAT_TEMPORARY], b = m[1].peak.bytes[KP_CAT_TEMPORARY];
    cr_expect_eq(a - b, 4096 * 2048 * 4, "%lld", (long long)(a - b));
}

/* The context, and 5 % of what it leaves of the card. */
Test(tf_1, reserve)
{
    fixture f;
    fixture_init(&f);
    f.options.framework = KP_FW_KERAS_TF_GRAPH;
    fixture_load(&f, DENSES("1.11"));
    kp_part part = kp_part_whole(f.graph, &f.training);
    kp_memory m = fixture_memory(&f, &part);
    uint64_t context = (uint64_t)154 << 20,
             share = (uint64_t)((double)(f.device.usable_bytes - context) * .05);
    cr_expect_eq(m.peak.bytes[KP_CAT_RUNTIME], context + share);
    fixture_free(&f);
}
