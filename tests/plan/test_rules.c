/* SPDX-License-Identifier: MIT */
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>

#define WIDE                                                                                       \
    KP_SEQUENTIAL("8192", KP_LAYER("Dense", "'name':'a','units':16384") "," KP_LAYER(              \
                              "Dense", "'name':'b','units':8192"))
#define TINY     KP_SEQUENTIAL("8", KP_LAYER("Dense", "'name':'a','units':4"))
#define FEATURES KP_SEQUENTIAL("10,20000", KP_LAYER("LSTM", "'name':'lstm','units':64"))
#define FULLY                                                                                      \
    KP_SEQUENTIAL("14,14,512", KP_LAYER("Conv2D", "'name':'fc','filters':4096,"                    \
                                                  "'kernel_size':[14,14]"))
#define FRAMES                                                                                     \
    KP_SEQUENTIAL("10,64,64,3",                                                                    \
                  KP_LAYER("TimeDistributed",                                                      \
                           "'name':'td','layer':{'class_name':'Conv2D','config':{'name':'c',"      \
                           "'filters':64,'kernel_size':[3,3],'padding':'same'}}"))
#define HUGE_DENSE                                                                                 \
    KP_SEQUENTIAL("24,24,96", KP_LAYER("Flatten", "'name':'flat'") "," KP_LAYER(                   \
                                  "Dense", "'name':'dense_1','units':72534"))
#define CAUSAL                                                                                     \
    KP_SEQUENTIAL("43200,1", KP_LAYER("Conv1D", "'name':'tcn','filters':100,'kernel_size':[2],"    \
                                                "'dilation_rate':[2048],'padding':'causal'"))
#define LLAMA                                                                                      \
    "{'model_type':'llama','hidden_size':1024,'intermediate_size':2816,'num_hidden_layers':8,"     \
    "'num_attention_heads':16,'num_key_value_heads':16,'vocab_size':32000,'use_cache':true,"       \
    "'tie_word_embeddings':false,'torch_dtype':'bfloat16'}"

#define EAGER                                                                                      \
    "{'model_type':'llama','hidden_size':512,'intermediate_size':1408,'num_hidden_layers':2,"      \
    "'num_attention_heads':8,'vocab_size':1000,'attn_implementation':'eager'}"

/* Each rule on the smallest model that shows it; with no rule, that it stays silent. */
Test(rules, culprits)
{
    static const struct {
        const char *file, *options, *rule, *layer;
        bool holds;
        const char *says;
    } rows[] = {
        {"models/cnn.json", "--batch 1 --memory 1G", "KP005", NULL, true,
         "the batch is 1 already and the step is "},
        {WIDE, "--batch 1 --memory 2G", "KP005", NULL, true,
         "weights, gradients and slots alone are "},
        {"models/cnn.json", "--batch 2 --memory 1G", "KP005", NULL, false, NULL},
        {"models/transformer.json", "--loss categorical_crossentropy --samples 100000", "KP010",
         NULL, true, "all 100000 samples are "},
        {"models/transformer.json", "--loss sparse_categorical_crossentropy", "KP010", NULL, false,
         NULL},
        {WIDE, "", "KP012", NULL, true, "Adam keeps "},
        {WIDE, "--optimizer sgd", "KP012", NULL, false, NULL},
        {WIDE, "--dp 2", "KP013", NULL, true, "(32 in all, 16 a GPU)"},
        {WIDE, "--dp 2 --zero 3", "KP013", NULL, false, NULL},
        {"models/cnn.json", "--pp 4 --framework torch --gpu H100-80G", "KP018", NULL, true,
         "the mean is "},
        {"models/cnn.json", "--framework keras-tf-graph --data ram --samples 100000", "KP024", NULL,
         true, "TensorFlow may put on the GPU"},
        {"models/cnn.json", "--framework keras-jax --data ram --samples 100000", "KP024", NULL,
         false, NULL},
        {FEATURES, "", "KP033", "lstm", true, "kernel 20000x256 = 19.5 MiB, x4 with gradients"},
        {FULLY, "", "KP033", "fc", true, "kernel 14x14x512x4096 = 1.5 GiB"},
        {WIDE, "--framework torch", "KP034", NULL, true, "foreach=False"},
        {WIDE, "--framework keras-torch", "KP034", NULL, true, "one more copy of all weights at once"},
        {TINY, "--dp 8 --gpu H100-80G --batch 8", "KP035", NULL, true, "collectives"},
        {TINY, "", "KP035", NULL, false, NULL},
        {LLAMA, "--seq 128", "KP036", NULL, true, "use_cache = False"},
        {LLAMA, "--seq 128 --recompute full", "KP036", NULL, false, NULL},
        {FRAMES, "--batch 4", "KP038", "td", true, "10 times a sample: a batch of 4 is 40 here"},
        {HUGE_DENSE, "--batch 1", "KP042", "dense_1", true,
         "4,010,912,598 parameters are more than 2^31, so summaries with 32-bit counters show "
         "-284054698; kernel 55296x72534 = 14.9 GiB, x4"},
        {CAUSAL, "--batch 1", "KP003", "tcn", true, "its padding adds 2048 steps"},
        {"models/cnn.json", "", "KP045", NULL, true, "XLA_FLAGS=--xla_gpu_autotune_level=0"},
        {"models/cnn.json", "--batch 1", "KP045", NULL, false, NULL},
        {LLAMA, "--seq 1024 --pp 4 --framework megatron", "KP048", NULL, true,
         "micro-batches in flight at once"},
        {LLAMA, "--seq 512 --tp 2 --zero 1 --framework megatron", "KP049", NULL, true,
         "tp 2 x pp 1 leaves one data-parallel rank"},
        {LLAMA, "--seq 2048", "KP008", NULL, false, NULL}, /* fused: no scores */
        {EAGER, "--seq 2048", "KP008", "model.layers.0.self_attn", true, "length squared"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_set(&f, rows[i].options);
        kp_fixture_explain(&f);
        const kp_explain_culprit *c = kp_fixture_culprit(&f, rows[i].rule, rows[i].layer);
        cr_expect_eq(c != NULL, rows[i].holds, "row %zu: %s %s", i, rows[i].rule,
                     c ? c->message : "is silent");
        if (c && rows[i].says)
            cr_expect(strstr(c->message, rows[i].says) != NULL, "row %zu: %s", i, c->message);
        kp_fixture_done(&f);
    }
}

/* Custom layers by their names. */
Test(rules, hidden_scores)
{
    static const struct {
        const char *class_name;
        kp_op op;
        bool holds;
    } rows[] = {{"AttentionAugmentation2D", KP_OP_OPAQUE, true},
                {"NonLocalBlock", KP_OP_OPAQUE, true},
                {"MyAttnLayer", KP_OP_OPAQUE, true},
                {"Lambda", KP_OP_OPAQUE, false},
                {"MultiHeadAttention", KP_OP_MATMUL, false}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_layer layer = {.class_name = rows[i].class_name};
        kp_graph_op op = {.op = rows[i].op};
        kp_suspect s = {.layer = &layer, .op = &op};
        cr_expect_eq(kp_holds_hidden_scores(&s), rows[i].holds, "%s", rows[i].class_name);
    }
}

/* A hundred blocks are one line; the bytes of one and of all are told. */
Test(rules, layers_alike)
{
    kp_fixture f;
    uint64_t most = 0;
    kp_fixture_init(&f, LLAMA);
    kp_fixture_set(&f, "--seq 512 --gpu A100-40G");
    kp_fixture_explain(&f);
    const kp_explain_culprit *c = kp_fixture_culprit(&f, "KP004", "model.layers.0.mlp");
    cr_assert(c != NULL);
    cr_expect_eq(c->alike, 8, "%u", c->alike);
    cr_expect_eq(c->all_bytes, 8 * c->bytes);
    cr_expect(strstr(c->message, "8 layers alike hold ") != NULL, "%s", c->message);
    for (uint32_t i = 0; i < f.x.n_culprits; i++)
        most += f.x.culprits[i].layer && strstr(f.x.culprits[i].layer, ".mlp");
    cr_expect_eq(most, 1, "told %llu times", (unsigned long long)most);
    kp_fixture_done(&f);
}

static const kp_explain_phase *phase(const kp_fixture *f, const char *name)
{
    for (uint32_t i = 0; i < f->x.n_phases; i++)
        if (!strcmp(f->x.phases[i].name, name)) return &f->x.phases[i];
    return NULL;
}

/* What only a phase's own facts decide is said beside it. */
Test(rules, notes_of_phases)
{
    static const struct {
        const char *file, *options, *phase, *says; /* NULL: nothing */
    } rows[] = {
        {"models/dense.json", "", "load", NULL},
        {WIDE, "--tp 2", "load", "KP019: Keras before 3.13 makes all weights on the first GPU"},
        {WIDE, "--framework torch --dp 4 --zero 3", "load",
         "KP022: each of 4 processes reads the whole model"},
        {WIDE, "--framework torch --dp 4 --zero 3", "load",
         "KP026: pin each rank to its GPU, or 3"},
        {WIDE, "--framework torch --dp 4 --zero 3", "save", "KP020: a checkpoint in one piece"},
        {WIDE, "--framework torch --dp 4", "save", NULL},
        {WIDE, "--framework torch", "first step", "of optimizer slots appear at its end"},
        {WIDE, "--samples 1000", "eval", "KP021: predict() of all 1000 samples keeps 31.2 MiB"},
        {WIDE, "--framework torch --dp 4", "resume", "4 processes a node read weights and slots"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_set(&f, rows[i].options);
        kp_fixture_explain(&f);
        const kp_explain_phase *p = phase(&f, rows[i].phase);
        cr_assert(p != NULL, "row %zu", i);
        if (rows[i].says)
            cr_expect(p->note && strstr(p->note, rows[i].says), "row %zu: %s", i,
                      p->note ? p->note : "no note");
        else
            cr_expect(!p->note, "row %zu: %s", i, p->note);
        kp_fixture_done(&f);
    }
}

/* Degrees that the framework has no way to run are looked at, and said to be no more than that. */
Test(rules, degrees_of_another_framework)
{
    static const struct {
        const char *options;
        bool warned;
    } rows[] = {{"--pp 2", true},
                {"--pp 2 --target any", false},
                {"--pp 2 --framework torch", false},
                {"--dp 2 --zero 3", false},
                {"--tp 2 --framework keras-tf-graph", true}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        bool warned = false;
        kp_fixture_init(&f, "models/cnn.json");
        kp_fixture_set(&f, rows[i].options);
        kp_fixture_explain(&f);
        for (uint32_t w = 0; w < f.x.n_warnings; w++)
            warned |= !strcmp(f.x.warnings[w].code, "target");
        cr_expect_eq(warned, rows[i].warned, "%s", rows[i].options);
        kp_fixture_done(&f);
    }
}

/* Phases follow each other in bytes as in time, and the worst is the verdict's. */
Test(rules, phases)
{
    static const char *const options[] = {"", "--framework torch", "--framework keras-tf-graph",
                                          "--framework keras-torch --memory 1G"};
    for (size_t i = 0; i < KP_LEN(options); i++) {
        kp_fixture f;
        kp_verdict_fit worst = KP_FIT_FITS;
        kp_fixture_init(&f, "models/cnn.json");
        kp_fixture_set(&f, options[i]);
        kp_fixture_explain(&f);
        uint64_t load = phase(&f, "load")->peak_bytes, resume = phase(&f, "resume")->peak_bytes;
        uint64_t first = phase(&f, "first step")->peak_bytes;
        bool later = strstr(options[i], "torch") != NULL; /* slots come with the first update */
        cr_expect_eq(load < resume, later, "%s", options[i]);
        cr_expect_eq(first < f.x.peak.bytes, later, "%s", options[i]);
        for (uint32_t p = 0; p < f.x.n_phases; p++)
            if (f.x.phases[p].verdict > worst) worst = f.x.phases[p].verdict;
        cr_expect_eq(worst, f.x.verdict, "%s", options[i]);
        kp_fixture_done(&f);
    }
}

static uint64_t host_part(const kp_fixture *f, const char *name)
{
    for (uint32_t i = 0; i < f->x.host.n_parts; i++)
        if (!strcmp(f->x.host.parts[i].name, name)) return f->x.host.parts[i].bytes;
    return 0;
}

/* The host of a node: JAX and TensorFlow have one process for its GPUs, torch one each. */
Test(rules, host_of_a_node)
{
    static const struct {
        const char *options;
        uint64_t weights, inputs, labels, slots; /* copies of the model; bytes; copies */
    } rows[] = {
        {"--optimizer sgd", 1, 3ull * 32 * 8192 * 4, 3ull * 32 * 8192 * 4, 0},
        {"--optimizer sgd --dp 4", 1, 3ull * 8 * 8192 * 4, 3ull * 8 * 8192 * 4, 0},
        {"--optimizer sgd --framework torch --dp 4", 4, 4 * 3ull * 8 * 8192 * 4,
         4 * 3ull * 8 * 8192 * 4, 0},
        {"--optimizer sgd --framework torch --dp 16", 8, 8 * 3ull * 2 * 8192 * 4,
         8 * 3ull * 2 * 8192 * 4, 0},
        {"--optimizer sgd --data ram --samples 1000", 1, 1000ull * 8192 * 4, 1000ull * 8192 * 4, 0},
        {"", 1, 0, 0, 2}, /* more when it resumes than while it trains */
        {"--framework torch --dp 4", 4, 0, 0, 8},
        {"--data ram --samples 100000", 1, 100000ull * 8192 * 4, 100000ull * 8192 * 4, 0},
    };
    uint64_t model = 4 * (8192ull * 16384 * 2 + 16384 + 8192);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_fixture_init(&f, WIDE);
        kp_fixture_set(&f, rows[i].options);
        kp_fixture_explain(&f);
        cr_expect_eq(host_part(&f, "weights"), rows[i].weights * model, "row %zu: weights", i);
        cr_expect_eq(host_part(&f, "data"), rows[i].inputs, "row %zu: %llu", i,
                     (unsigned long long)host_part(&f, "data"));
        cr_expect_eq(host_part(&f, "labels"), rows[i].labels, "row %zu: labels", i);
        uint64_t slots = host_part(&f, "optimizer"), counters = 64 * rows[i].weights;
        cr_expect(slots >= rows[i].slots * model && slots <= rows[i].slots * model + counters,
                  "row %zu: %llu of slots", i, (unsigned long long)slots);
        kp_fixture_done(&f);
    }
}
