/* SPDX-License-Identifier: MIT
 *
 * compile_config (Keras 3) and training_config (before): optimizer and loss. Nothing here can fail
 * a file: what is odd stays absent and the user's options or defaults decide. */
#include "planner/model/spec.h"
#include <ctype.h>
#include <math.h>

/* Keras class to the name that options take. */
static const struct {
    const char *class_name, *name;
} optimizers[] = {
    {"Adadelta", "adadelta"}, {"Adafactor", "adafactor"}, {"Adagrad", "adagrad"},
    {"Adam", "adam"},         {"AdamW", "adamw"},         {"Adamax", "adamax"},
    {"Ftrl", "ftrl"},         {"Lamb", "lamb"},           {"Lion", "lion"},
    {"Muon", "muon"},         {"Nadam", "nadam"},         {"RMSprop", "rmsprop"},
    {"SGD", "sgd"},
};

static bool same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
    return *a == *b;
}

/* "Custom>Adam", "adam", "Adam" alike. */
static const char *optimizer_name(const char *class_name)
{
    const char *bare = strrchr(class_name, '>');
    bare = bare ? bare + 1 : class_name;
    for (size_t i = 0; i < KP_LEN(optimizers); i++)
        if (same_word(bare, optimizers[i].class_name)) return optimizers[i].name;
    return NULL;
}

static double number(const json_t *config, const char *key)
{
    const json_t *json = json_object_get(config, key);
    return json_is_number(json) ? json_number_value(json) : (double)NAN;
}

static void read_optimizer(const json_t *json, kp_compile *ret)
{
    const char *class_name = json_string_value(json);
    if (!class_name) class_name = json_string_value(json_object_get(json, "class_name"));
    if (!class_name) return;
    const json_t *config = json_object_get(json, "config");
    /* LossScaleOptimizer holds the real one. */
    const json_t *inner = json_object_get(config, "inner_optimizer");
    if (!inner) inner = json_object_get(config, "optimizer");
    for (int i = 0; i < 4 && json_is_object(inner); i++) {
        class_name = json_string_value(json_object_get(inner, "class_name"));
        config = json_object_get(inner, "config");
        inner = json_object_get(config, "inner_optimizer");
        if (!class_name) return;
    }
    ret->optimizer = optimizer_name(class_name);
    ret->learning_rate = number(config, "learning_rate");
    if (isnan(ret->learning_rate)) ret->learning_rate = number(config, "lr");
    ret->amsgrad = json_is_true(json_object_get(config, "amsgrad"));
    ret->centered = json_is_true(json_object_get(config, "centered"));
    ret->use_ema = json_is_true(json_object_get(config, "use_ema"));
    ret->momentum = number(config, "momentum") > 0;
    if (ret->optimizer && !strcmp(ret->optimizer, "sgd") && ret->momentum)
        ret->optimizer = "sgd_momentum";
    double steps = number(config, "gradient_accumulation_steps");
    if (steps >= 1 && steps < 1e6) ret->grad_accum = (uint32_t)steps;
}

/* "MeanSquaredError" to "mean_squared_error"; snake case stays. */
static kp_status snake(kp_arena *arena, const char *name, const char **ret, kp_err *err)
{
    size_t n = strlen(name), at = 0;
    char *text = kp_arena_alloc(arena, 2 * n + 1, 1);
    if (!text) return kp_nomem(err);
    for (size_t i = 0; i < n; i++) {
        bool upper = isupper((unsigned char)name[i]) != 0;
        int last = i ? (unsigned char)name[i - 1] : 0, next = (unsigned char)name[i + 1];
        bool after_lower = islower(last) || isdigit(last);
        bool before_lower = isupper(last) && islower(next);
        if (upper && (after_lower || before_lower)) text[at++] = '_';
        text[at++] = (char)tolower((unsigned char)name[i]);
    }
    *ret = text;
    return KP_OK;
}

/* A name, an object with a class, or a list or object of them: the first counts. */
static const char *loss_name(json_t *json)
{
    for (int i = 0; i < 4; i++) {
        if (json_is_string(json)) return json_string_value(json);
        if (json_is_array(json)) {
            json = json_array_get(json, 0);
            continue;
        }
        if (!json_is_object(json)) return NULL;
        json_t *inner = json_object_get(json, "config");
        const char *class_name = json_string_value(json_object_get(json, "class_name"));
        if (class_name && strcmp(class_name, "function")) return class_name;
        if (class_name)
            json = inner;
        else
            json = json_object_iter_value(json_object_iter(json));
    }
    return NULL;
}

/* How torch's backward pass is called. */
static void read_backward(const json_t *json, kp_compile *ret)
{
    const char *dtype = json_string_value(json_object_get(json, "gradient_dtype"));
    ret->retain_graph = json_is_true(json_object_get(json, "retain_graph"));
    kp_dtype known;
    if (dtype && kp_dtype_from_name(dtype, &known)) ret->gradient_dtype = kp_dtype_names[known];
}

/* "1.12" to 112; 0: none. */
static uint32_t version_of(const json_t *json)
{
    const char *version = json_string_value(json_object_get(json, "version"));
    unsigned major = 0, minor = 0;
    for (; version && isdigit((unsigned char)*version) && major < 100; version++)
        major = 10 * major + (unsigned)(*version - '0');
    if (version && *version == '.') version++;
    for (; version && isdigit((unsigned char)*version) && minor < 10; version++)
        minor = 10 * minor + (unsigned)(*version - '0');
    return major < 100 && minor < 100 ? 100 * major + minor : 0;
}

/* What a Keras file cannot say of a model that torch runs: "torch": {"version": "1.12",
 * "cudnn_benchmark": true}. */
void kp_compile_torch(const json_t *json, kp_compile *ret)
{
    json = json_object_get(json, "torch");
    ret->cudnn_benchmark = json_is_true(json_object_get(json, "cudnn_benchmark"));
    ret->torch_version = version_of(json);
}

void kp_compile_tensorflow(const json_t *json, kp_compile *ret)
{
    ret->tensorflow_version = version_of(json_object_get(json, "tensorflow"));
}

kp_status kp_keras_compile(kp_reader *reader, const json_t *json, kp_compile *ret)
{
    *ret = (kp_compile){.learning_rate = (double)NAN};
    if (!json_is_object(json)) return KP_OK;
    const json_t *optimizer = json_object_get(json, "optimizer");
    if (!optimizer) optimizer = json_object_get(json, "optimizer_config");
    read_optimizer(optimizer, ret);
    read_backward(json_object_get(json, "torch"), ret);
    kp_compile_torch(json, ret);
    kp_compile_tensorflow(json, ret);
    const char *loss = loss_name(json_object_get(json, "loss"));
    return loss ? snake(reader->arena, loss, &ret->loss, reader->err) : KP_OK;
}
