/* SPDX-License-Identifier: MIT
 *
 * Names to enums: formats, activations, dtype policies. */
#include "planner/model/spec.h"
#include <ctype.h>

const char *const kp_format_names[KP_FORMAT_COUNT] = {
    [KP_FORMAT_KERAS_3] = "keras-3", [KP_FORMAT_KERAS_2] = "keras-2",
    [KP_FORMAT_KERAS_1] = "keras-1", [KP_FORMAT_TFJS] = "tfjs",
    [KP_FORMAT_HUGGINGFACE] = "huggingface", [KP_FORMAT_MEGATRON] = "megatron",
};

const char *const kp_activation_names[KP_ACT_COUNT] = {
#define KP_ACTIVATION_NAME(name, text) [KP_ACT_##name] = text,
    KP_ACTIVATION_ROWS(KP_ACTIVATION_NAME)
#undef KP_ACTIVATION_NAME
};

/* Other spellings: layer classes and older names, in lower case without underscores. */
static const struct {
    const char *name;
    kp_activation activation;
} spellings[] = {
    {"swish", KP_ACT_SILU}, {"hardswish", KP_ACT_HARD_SILU}, {"identity", KP_ACT_LINEAR},
    {"geluapproximate", KP_ACT_GELU}, {"gelunew", KP_ACT_GELU}, {"exp", KP_ACT_EXPONENTIAL},
};

/* True if both are the same but for case and underscores: "LeakyReLU" and "leaky_relu". */
static bool alike(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (*a == '_') a++;
        while (*b == '_') b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
        if (!*a) return true;
    }
}

kp_activation kp_activation_from_name(const char *name)
{
    const char *colon = strrchr(name, '>');
    if (colon) name = colon + 1;
    if (!strncmp(name, "quantized_", 10)) name += 10; /* QKeras: the function on fewer bits */
    for (int i = 0; i < KP_ACT_COUNT; i++)
        if (alike(name, kp_activation_names[i])) return (kp_activation)i;
    for (size_t i = 0; i < KP_LEN(spellings); i++)
        if (alike(name, spellings[i].name)) return spellings[i].activation;
    return KP_ACT_OTHER;
}

bool kp_policy_from_name(const char *name, kp_policy *ret)
{
    bool mixed = !strncmp(name, "mixed_", 6);
    kp_dtype dtype;
    if (!kp_dtype_from_name(mixed ? name + 6 : name, &dtype)) return false;
    if (mixed && dtype != KP_FLOAT16 && dtype != KP_BFLOAT16) return false;
    *ret = (kp_policy){.compute = dtype, .variable = mixed ? KP_FLOAT32 : dtype};
    return true;
}

/* {"mode": "int8", "source_name": "float32"} */
static kp_status read_quantized(const json_t *config, kp_policy *ret, kp_err *err)
{
    const char *mode = json_string_value(json_object_get(config, "mode"));
    const json_t *history = json_object_get(config, "amax_history_length");
    if (!mode) return KP_OK;
    ret->history = json_is_integer(history) ? json_integer_value(history) : 1024;
    if (!strcmp(mode, "int8")) ret->quantized = KP_QUANTIZED_INT8;
    else if (!strcmp(mode, "float8")) ret->quantized = KP_QUANTIZED_FLOAT8;
    else
        return kp_fail(err, KP_UNSUPPORTED, "weights quantized as '%.40s' are not supported", mode);
    if (ret->history > 0 && ret->history < KP_DIM_MAX) return KP_OK;
    return kp_fail(err, KP_INPUT, "'amax_history_length' is out of range");
}

/* "float32", {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}, a quantized
 * policy with its mode. "float" is float32. */
kp_status kp_keras_policy(const json_t *json, kp_policy *ret, kp_err *err)
{
    const char *name = json_string_value(json);
    const json_t *config = json_object_get(json, "config");
    if (!name) name = json_string_value(json_object_get(config, "source_name"));
    if (!name) name = json_string_value(json_object_get(config, "name"));
    if (!name) return kp_fail(err, KP_INPUT, "'dtype' is no name of a type or policy");
    if (!strcmp(name, "float")) name = "float32";
    if (!kp_policy_from_name(name, ret))
        return kp_fail(err, KP_INPUT, "'dtype' is '%.60s', which is no type or policy", name);
    return read_quantized(config, ret, err);
}
