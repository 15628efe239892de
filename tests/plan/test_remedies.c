/* SPDX-License-Identifier: MIT */
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>
#include <jansson.h>

#define UNET                                                                                       \
    KP_SEQUENTIAL(                                                                                 \
        "128,128,128,1",                                                                           \
        KP_LAYER("Conv3D",                                                                         \
                 "'name':'c1','filters':16,'kernel_size':[3,3,3],"                                 \
                 "'padding':'same','activation':'relu'") "," KP_LAYER("Conv3D",                    \
                                                                      "'name':'c2','filters':1,'"  \
                                                                      "kernel_size':[3,3,3],"      \
                                                                      "'padding':'same'"))
#define POOLED_LSTM                                                                                \
    KP_SEQUENTIAL(                                                                                 \
        "400,64",                                                                                  \
        KP_LAYER(                                                                                  \
            "LSTM",                                                                                \
            "'name':'lstm','units':512,"                                                           \
            "'return_sequences':true") "," KP_LAYER("Dense",                                       \
                                                    "'name':'mix','units':"                        \
                                                    "512") "," KP_LAYER("LST"                      \
                                                                        "M",                       \
                                                                        "'na"                      \
                                                                        "me'"                      \
                                                                        ":'"                       \
                                                                        "las"                      \
                                                                        "t',"                      \
                                                                        "'un"                      \
                                                                        "its"                      \
                                                                        "':"                       \
                                                                        "25"                       \
                                                                        "6") "," KP_LAYER("Dense", \
                                                                                          "'name'" \
                                                                                          ":'out'" \
                                                                                          ",'"     \
                                                                                          "units'" \
                                                                                          ":5"))
/* The steps are thrown away by a Flatten of one: return_sequences is not needed. */
#define FLAT_LSTM                                                                                  \
    KP_SEQUENTIAL(                                                                                 \
        "300,64",                                                                                  \
        KP_LAYER(                                                                                  \
            "LSTM",                                                                                \
            "'name':'lstm','units':512,"                                                           \
            "'return_sequences':true") "," KP_LAYER("Flatten",                                     \
                                                    "'name':'flatten'") "," KP_LAYER("Dense",      \
                                                                                     "'name':'"    \
                                                                                     "out','"      \
                                                                                     "units':5"))
#define LLAMA                                                                                      \
    "{'model_type':'llama','hidden_size':1024,'intermediate_size':2816,'num_hidden_layers':8,"     \
    "'num_attention_heads':16,'num_key_value_heads':16,'vocab_size':32000,"                        \
    "'tie_word_embeddings':false,'torch_dtype':'bfloat16'}"

/* ---- applying a remedy as a person would ---- */

static json_t *layer_of(json_t *model, const char *name)
{
    json_t *layers = json_object_get(json_object_get(model, "config"), "layers"), *one;
    size_t i;
    json_array_foreach(layers, i, one)
    {
        const char *own =
            json_string_value(json_object_get(json_object_get(one, "config"), "name"));
        if (own && !strcmp(own, name)) return one;
    }
    return NULL;
}

/* The numbers of "layers.Input((64, 64, 3))" in place of the input's own. */
static bool set_shape(json_t *config, const char *code)
{
    json_t *shape = json_object_get(config, "batch_shape");
    const char *at = strstr(code, "((");
    if (!at || !json_is_array(shape)) return false;
    at += 2;
    for (size_t i = 1; i < json_array_size(shape); i++) {
        char *end;
        json_array_set_new(shape, i, json_integer(strtoll(at, &end, 10)));
        if (end == at) return false;
        at = end + strspn(end, ", ");
    }
    return true;
}

/* "dense: units 2048 instead of 4096" and its like. */
static bool set_layer(json_t *model, const kp_explain_remedy *r)
{
    char layer[64], key[64];
    long long n = 0;
    if (sscanf(r->change, "%63[^:]: %63s %lld", layer, key, &n) < 2) return false;
    json_t *object = layer_of(model, layer), *config = json_object_get(object, "config");
    if (json_is_string(json_object_get(model, layer)))
        return !json_object_set_new(model, layer, json_string(key));
    if (!config) return false;
    if (!strcmp(key, "units") || !strcmp(key, "filters"))
        json_object_set_new(config, key, json_integer(n));
    else if (!strcmp(key, "strides")) {
        json_t *strides = json_object_get(config, "strides");
        for (size_t i = 0; i < json_array_size(strides); i++)
            json_array_set_new(strides, i, json_integer(n));
    } else if (!strcmp(key, "return_sequences"))
        json_object_set_new(config, key, json_false());
    else if (!strncmp(key, "GlobalAveragePooling", 20))
        json_object_set_new(object, "class_name", json_string(key));
    else
        return r->code && set_shape(config, r->code);
    return true;
}

static void apply(kp_fixture *f, const kp_explain_remedy *r)
{
    if (r->change[0] == '-') {
        kp_fixture_set(f, r->change);
        return;
    }
    json_t *model = json_loads(f->text, 0, NULL);
    cr_expect(set_layer(model, r), "'%s' cannot be applied", r->change);
    free(f->text);
    f->text = json_dumps(model, JSON_COMPACT);
    f->len = strlen(f->text);
    json_decref(model);
}

#define EAGER                                                                                      \
    "{'model_type':'llama','hidden_size':512,'intermediate_size':1408,'num_hidden_layers':4,"      \
    "'num_attention_heads':8,'vocab_size':1000,'tie_word_embeddings':false,"                       \
    "'torch_dtype':'bfloat16','attn_implementation':'eager'}"

typedef struct setting {
    const char *file, *options;
} setting;

static const setting settings[] = {
    {"models/dense.json", ""},
    {"models/cnn.json", ""},
    {"models/cnn.json", "--framework keras-tf-graph --batch 96"},
    {"models/cnn.json", "--framework keras-torch --gpu A100-40G --dp 4"},
    {"models/lstm.json", ""},
    {"models/lstm.json", "--data ram --samples 100000 --memory 1G"},
    {"models/transformer.json", ""},
    {"models/transformer.json", "--framework torch --dp 2 --zero 1 --gpu A100-40G"},
    {UNET, "--batch 1 --memory 2G"},
    {POOLED_LSTM, "--memory 1G"},
    {FLAT_LSTM, "--memory 1G"},
    {LLAMA, "--seq 1024 --batch 16"},
    {EAGER, "--seq 1024 --batch 8 --memory 4G"},
    {LLAMA, "--seq 1024 --batch 16 --framework megatron --tp 2 --pp 2 --memory 6G"},
    {LLAMA, "--seq 1024 --batch 16 --framework megatron --dp 4 --zero 1 --memory 6G"},
};

/* Every remedy's saving is the difference of two runs, to the byte. */
static void check_remedy(const setting *s, const kp_fixture *f, const kp_explain_remedy *r)
{
    kp_fixture again;
    kp_fixture_init(&again, s->file);
    kp_fixture_set(&again, s->options);
    apply(&again, r);
    kp_fixture_explain(&again);
    cr_expect_eq(again.x.peak.bytes, f->x.peak.bytes - r->saves_bytes,
                 "%.40s %s: %s: %llu, not %llu", s->file, s->options, r->change,
                 (unsigned long long)again.x.peak.bytes,
                 (unsigned long long)(f->x.peak.bytes - r->saves_bytes));
    cr_expect_eq(again.x.peak.bytes, r->peak_after_bytes, "%s", r->change);
    cr_expect_eq(again.x.verdict, r->verdict_after, "%.40s: %s", s->file, r->change);
    cr_expect_eq(again.x.verdict == KP_FIT_FITS, r->fits_after, "%.40s: %s", s->file, r->change);
    cr_expect(!r->host_saves_bytes || again.x.host.peak_bytes == r->host_after_bytes, "%.40s: %s",
              s->file, r->change);
    kp_fixture_done(&again);
}

/* So are the peaks of remedies one on top of the other. */
static void check_together(const setting *s, const kp_fixture *f)
{
    for (uint32_t n = 1; n <= f->x.n_together; n++) {
        kp_fixture again;
        kp_fixture_init(&again, s->file);
        kp_fixture_set(&again, s->options);
        for (uint32_t k = 0; k < n; k++)
            for (uint32_t i = 0; i < f->x.n_remedies; i++)
                if (!strcmp(f->x.remedies[i].change, f->x.together[k].change))
                    apply(&again, &f->x.remedies[i]);
        kp_fixture_explain(&again);
        cr_expect_eq(again.x.peak.bytes, f->x.together[n - 1].peak_bytes, "%.40s %s: %u together",
                     s->file, s->options, n);
        cr_expect_eq(again.x.verdict, f->x.together[n - 1].verdict, "%.40s", s->file);
        kp_fixture_done(&again);
    }
}

Test(explain, savings_are_differences_of_two_runs)
{
    bool seen[64] = {0};
    cr_assert(kp_n_rules <= KP_LEN(seen));
    for (size_t i = 0; i < KP_LEN(settings); i++) {
        kp_fixture f;
        kp_fixture_init(&f, settings[i].file);
        kp_fixture_set(&f, settings[i].options);
        kp_fixture_explain(&f);
        cr_expect(f.x.n_remedies > 0, "%.40s", settings[i].file);
        for (uint32_t r = 0; r < f.x.n_remedies; r++) {
            check_remedy(&settings[i], &f, &f.x.remedies[r]);
            for (size_t k = 0; k < kp_n_rules; k++)
                seen[k] |= !strcmp(kp_rules[k].id, f.x.remedies[r].rule);
        }
        check_together(&settings[i], &f);
        kp_fixture_done(&f);
    }
    for (size_t k = 0; k < kp_n_rules; k++)
        cr_expect_eq(seen[k], kp_rules[k].helps != NULL, "%s: %s", kp_rules[k].id,
                     kp_rules[k].helps ? "no setting has a remedy of it" : "a remedy not told");
}

/* More for less trouble first; what needs more GPUs is on top of the others only if it must. */
Test(explain, order_of_remedies)
{
    kp_fixture f;
    kp_fixture_init(&f, "models/cnn.json");
    kp_fixture_explain(&f);
    cr_assert(f.x.n_remedies > 3 && f.x.n_together > 0);
    cr_expect_str_eq(f.x.remedies[0].rule, "KP011");
    cr_expect_eq(f.x.together[f.x.n_together - 1].verdict, KP_FIT_FITS);
    for (uint32_t i = 0; i < f.x.n_together; i++) {
        cr_expect(strncmp(f.x.together[i].change, "--dp", 4), "%s", f.x.together[i].change);
        cr_expect(!i || f.x.together[i].peak_bytes < f.x.together[i - 1].peak_bytes);
    }
    kp_fixture_done(&f);
}

/* The line of code is the framework's own. */
Test(explain, code_of_remedies)
{
    static const struct {
        const char *file, *options, *rule, *code;
    } rows[] = {
        {"models/cnn.json", "", "KP011", "keras.config.set_dtype_policy(\"mixed_float16\")"},
        {"models/cnn.json", "--gpu A100-40G --batch 96", "KP011",
         "keras.config.set_dtype_policy(\"mixed_bfloat16\")"},
        {"models/cnn.json", "--optimizer adamw", "KP004",
         "optimizer=keras.optimizers.AdamW(gradient_accumulation_steps=4); model.fit(..., "
         "batch_size=8)"},
        {"models/cnn.json", "", "KP003", "layers.Conv2D(256, 3, strides=2, ...)"},
        {"models/cnn.json", "", "KP001", "layers.GlobalAveragePooling2D()"},
        {"models/cnn.json", "", "KP006", "with keras.RematScope(mode=\"full\"): model = build()"},
        {"models/cnn.json", "--framework keras-tf-graph", "KP013",
         "with tf.distribute.MirroredStrategy().scope(): model = build()"},
        /* fit() divides the batch over the GPUs, torch's processes load their own */
        {"models/cnn.json", "--dp 2", "KP004",
         "optimizer=keras.optimizers.Adam(gradient_accumulation_steps=4); model.fit(..., "
         "batch_size=8)"},
        {"models/cnn.json", "--dp 2 --framework keras-torch", "KP004",
         "optimizer=keras.optimizers.Adam(gradient_accumulation_steps=4); model.fit(..., "
         "batch_size=4)"},
        {LLAMA, "--seq 1024 --dp 2 --zero 1 --batch 16", "KP004",
         "TrainingArguments(per_device_train_batch_size=4, gradient_accumulation_steps=2)"},
        {LLAMA, "--seq 1024 --pp 2 --batch 16", "KP004",
         "torch.distributed.pipelining.Schedule1F1B(stage, n_microbatches=4)"},
        {"models/dense.json", "", "KP002", "layers.Dense(2048, ...)"},
        {"models/lstm.json", "", "KP007", "layers.Input((128, 128))"},
        {FLAT_LSTM, "", "KP007", "layers.LSTM(512)"},
        {UNET, "--batch 4", "KP005", "layers.Input((64, 64, 64, 1))"},
        {EAGER, "--seq 1024", "KP008",
         "AutoModelForCausalLM.from_pretrained(..., attn_implementation=\"sdpa\")"},
        {LLAMA, "--seq 1024", "KP006", "model.gradient_checkpointing_enable()"},
        {LLAMA, "--seq 1024 --framework megatron --memory 8G", "KP016",
         "--pipeline-model-parallel-size 4"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        bool found = false;
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_set(&f, rows[i].options);
        kp_fixture_explain(&f);
        for (uint32_t r = 0; r < f.x.n_remedies; r++)
            found |= !strcmp(f.x.remedies[r].rule, rows[i].rule) && f.x.remedies[r].code &&
                     !strcmp(f.x.remedies[r].code, rows[i].code);
        const kp_explain_remedy *r = kp_fixture_remedy(&f, rows[i].rule);
        cr_expect(found, "row %zu: %s: %s", i, rows[i].rule,
                  r && r->code ? r->code
                  : r          ? r->change
                               : "no remedy");
        kp_fixture_done(&f);
    }
}

/* What the framework cannot run is not proposed. */
Test(explain, remedies_of_the_target)
{
    static const struct {
        kp_framework framework;
        const char *never;
    } rows[] = {{KP_FW_KERAS_TF_GRAPH, "--tp"},
                {KP_FW_KERAS_TF, "--zero"},
                {KP_FW_KERAS_JAX, "--pp"},
                {KP_FW_KERAS_TORCH, "--pp"}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_fixture_init(&f, "models/transformer.json");
        f.options.framework = rows[i].framework;
        kp_fixture_explain(&f);
        for (uint32_t r = 0; r < f.x.n_remedies; r++)
            cr_expect(!strstr(f.x.remedies[r].change, rows[i].never), "row %zu: %s", i,
                      f.x.remedies[r].change);
        kp_fixture_done(&f);
    }
}

/* A remedy says all that it changes: labels given by hand would outlive a change of the loss. */
Test(explain, remedy_of_labels_given_by_hand)
{
    kp_fixture f;
    uint64_t after = 0;
    kp_fixture_init(&f, "models/transformer.json");
    f.options.labels = KP_LABELS_ONEHOT;
    f.options.loss = "categorical_crossentropy";
    kp_fixture_explain(&f);
    for (uint32_t i = 0; i < f.x.n_remedies; i++)
        if (!strcmp(f.x.remedies[i].change,
                    "--loss sparse_categorical_crossentropy --labels sparse"))
            after = f.x.remedies[i].peak_after_bytes;
    cr_assert(after);
    f.options.labels = KP_LABELS_SPARSE;
    f.options.loss = "sparse_categorical_crossentropy";
    kp_fixture_explain(&f);
    cr_expect_eq(f.x.peak.bytes, after);
    kp_fixture_done(&f);
}
