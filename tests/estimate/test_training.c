/* SPDX-License-Identifier: MIT */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

typedef struct row {
    const char *model;
    kp_options set; /* absent fields: 0 or NULL here */
    kp_status want;
    const char *name, *value; /* an assumption that must be made */
    const char *says;         /* the start of message or hint */
} row;

static void apply(kp_options *o, const kp_options *set)
{
    if (set->batch) o->batch = set->batch - 1; /* 1 stands for 0 */
    if (set->optimizer) o->optimizer = set->optimizer;
    if (set->loss) o->loss = set->loss;
    if (set->framework) o->framework = set->framework;
    if (set->grad_accum) o->grad_accum = set->grad_accum - 1;
    if (set->samples) o->samples = set->samples;
    if (set->data) o->data = set->data;
}

#define IN_4D                                                                                      \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"open\",\"layers\":["                    \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[null,null," \
    "8]}},"                                                                                        \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"a\",\"units\":4}}]}}"
#define FIXED                                                                                      \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"fixed\",\"layers\":["                   \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[16,8]}},"   \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"a\",\"units\":4,\"activation\":\"sigmoid\"}" \
    "}]}}"

static const row rows[] = {
    {"models/dense.json", {0}, KP_OK, "framework", "keras-jax", NULL},
    {TWO_DENSE("true"), {0}, KP_OK, "framework", "keras-tf-graph", NULL},
    {"models/dense.json", {.framework = KP_FW_TORCH}, KP_OK, "framework", "torch", NULL},
    {"models/dense.json", {0}, KP_OK, "batch", "32", NULL},
    {"models/dense.json", {0}, KP_OK, "optimizer", "adam", NULL},
    {"models/resnet50.json", {0}, KP_OK, "loss", "categorical_crossentropy", NULL},
    {TWO_DENSE("true"), {0}, KP_OK, "loss", "mean_squared_error", NULL},
    {FIXED, {0}, KP_OK, "loss", "binary_crossentropy", NULL},
    {FIXED, {0}, KP_OK, "batch", "16", NULL},
    {FIXED, {.batch = 33}, KP_USAGE, NULL, NULL, "the file fixes the batch to 16, --batch says 32"},
    {"models/lstm.json", {0}, KP_OK, "rnn", "cudnn", NULL},
    {"models/lstm.json", {.framework = KP_FW_KERAS_TF}, KP_OK, "rnn", "loop", NULL},
    {"models/dense.json", {.batch = 1}, KP_USAGE, NULL, NULL, "a batch of 0"},
    {"models/dense.json", {.grad_accum = 1}, KP_USAGE, NULL, NULL, "0 gradient accumulation steps"},
    {"models/dense.json", {.data = KP_DATA_RAM}, KP_USAGE, NULL, NULL, "--data ram: how many"},
    {"models/dense.json", {.data = KP_DATA_RAM, .samples = 9}, KP_OK, "batch", "32", NULL},
    {"models/dense.json", {.optimizer = "adamm"}, KP_USAGE, NULL, NULL, "'adamm' is no optimizer"},
    {"models/dense.json", {.optimizer = "adamm"}, KP_USAGE, NULL, NULL, "did you mean 'adam'?"},
    {"models/dense.json", {.optimizer = "x"}, KP_USAGE, NULL, NULL, "known are sgd"},
    {"models/dense.json",
     {.loss = "mean_square_error"},
     KP_USAGE,
     NULL,
     NULL,
     "did you mean 'mean_squared_error'?"},
    {IN_4D, {0}, KP_USAGE, NULL, NULL, "open dimension without a value: in:1"},
    {IN_4D,
     {0},
     KP_USAGE,
     NULL,
     NULL,
     "say it with --dim in:1=N, or --dim N for every open one, or --seq N"},
};

static kp_status resolve(const row *r, kp_training *training, kp_arena *arena, kp_err *err)
{
    kp_options o;
    const kp_graph *graph;
    kp_schema_init(&kp_schema_options, &o);
    apply(&o, &r->set);
    KP_TRY(fixture_read(r->model, &o, arena, &graph, err));
    return kp_training_resolve(graph, &o, arena, training, err);
}

Test(training, settings)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_arena arena;
        kp_training t = {0};
        kp_err err = {0};
        bool found = !rows[i].name;
        kp_arena_init(&arena, 0);
        cr_expect_eq(resolve(&rows[i], &t, &arena, &err), rows[i].want, "row %zu: %s", i, err.msg);
        if (rows[i].want == KP_OK)
            cr_expect_str_eq(t.assumptions[0].name, "framework", "row %zu: it is always the first",
                             i);
        for (uint32_t k = 0; k < t.n_assumptions && rows[i].name; k++)
            found |= !strcmp(t.assumptions[k].name, rows[i].name) &&
                     !strcmp(t.assumptions[k].value, rows[i].value);
        cr_expect(found, "row %zu: %s = %s is not assumed", i, rows[i].name, rows[i].value);
        if (rows[i].says)
            cr_expect(!strncmp(err.msg, rows[i].says, strlen(rows[i].says)) ||
                          !strncmp(err.hint, rows[i].says, strlen(rows[i].says)),
                      "row %zu: %s / %s", i, err.msg, err.hint);
        kp_arena_release(&arena);
    }
}

/* Slots in elements as Keras's optimizers build them; torch's Adafactor has rows and columns only.
 */
Test(training, slots)
{
    static const struct {
        const char *optimizer;
        kp_framework framework;
        uint64_t matrix, vector, extra;
    } cases[] = {
        {"sgd", KP_FW_KERAS_JAX, 0, 0, 0},
        {"sgd_momentum", KP_FW_KERAS_JAX, 600, 30, 0},
        {"rmsprop", KP_FW_KERAS_JAX, 600, 30, 0},
        {"adagrad", KP_FW_KERAS_JAX, 600, 30, 0},
        {"adadelta", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"adam", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"adamw", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"adam", KP_FW_KERAS_JAX, 1800, 90, 1},
        {"adamax", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"nadam", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"ftrl", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"lion", KP_FW_KERAS_JAX, 600, 30, 0},
        {"lamb", KP_FW_KERAS_JAX, 1200, 60, 0},
        {"muon", KP_FW_KERAS_JAX, 600, 60, 0},
        {"adafactor", KP_FW_KERAS_JAX, 600 + 20 + 30, 30, 0},
        {"adafactor", KP_FW_TORCH, 20 + 30, 30, 0},
    };
    kp_weight matrix = {.shape = {.rank = 2, .dim = {20, 30}}},
              vector = {.shape = {.rank = 1, .dim = {30}}};
    for (size_t i = 0; i < KP_LEN(cases); i++) {
        kp_training t = {.framework = cases[i].framework, .extra_slots = (uint32_t)cases[i].extra};
        while (strcmp(kp_optimizer_names[t.optimizer], cases[i].optimizer)) t.optimizer++;
        cr_expect_eq(kp_optimizer_slot_elems(&t, &matrix), cases[i].matrix, "row %zu", i);
        cr_expect_eq(kp_optimizer_slot_elems(&t, &vector), cases[i].vector, "row %zu", i);
    }
}
