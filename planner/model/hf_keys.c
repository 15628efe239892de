/* SPDX-License-Identifier: MIT
 *
 * Numbers, switches and texts of a flat configuration. Several families call one size by different
 * names; Megatron's arguments come with dashes or underscores, and numbers often as texts. */
#include "planner/model/hf.h"
#include <math.h>

enum { KEY_MAX = 80 };

/* "hidden_size" as it is, then "hidden-size", "--hidden-size". */
static json_t *find_one(const kp_hf_keys *keys, const char *name)
{
    json_t *json = json_object_get(keys->json, name);
    if (json || !keys->loose) return json;
    char dashed[KEY_MAX + 3] = "--";
    for (size_t i = 0; name[i] && i < KEY_MAX; i++) dashed[i + 2] = name[i] == '_' ? '-' : name[i];
    json = json_object_get(keys->json, dashed + 2);
    return json ? json : json_object_get(keys->json, dashed);
}

/* The first name of a list, for messages. */
static int first_len(const char *names)
{
    return (int)strcspn(names, "|");
}

json_t *kp_hf_find(const kp_hf_keys *keys, const char *names)
{
    char name[KEY_MAX];
    while (*names) {
        size_t n = strcspn(names, "|");
        if (n < sizeof(name)) {
            memcpy(name, names, n);
            name[n] = 0;
            json_t *json = find_one(keys, name);
            if (json && !json_is_null(json)) return json;
        }
        names += n + (names[n] == '|');
    }
    return NULL;
}

static kp_status wrong(const kp_hf_keys *keys, const char *names, const char *what)
{
    return kp_fail(keys->err, KP_INPUT, "'%.*s' is no %s", first_len(names), names, what);
}

/* A number, or where texts are allowed its digits. */
static bool number_of(const kp_hf_keys *keys, const json_t *json, double *ret)
{
    if (json_is_number(json)) {
        *ret = json_number_value(json);
        return isfinite(*ret);
    }
    if (!keys->loose || !json_is_string(json) || !*json_string_value(json)) return false;
    char *end;
    *ret = strtod(json_string_value(json), &end);
    return !*end && isfinite(*ret);
}

kp_status kp_hf_int(const kp_hf_keys *keys, const char *names, int64_t min, int64_t fallback,
                    int64_t *ret)
{
    const json_t *json = kp_hf_find(keys, names);
    double v;
    *ret = fallback;
    if (!json) return KP_OK;
    if (!number_of(keys, json, &v) || v != floor(v)) return wrong(keys, names, "integer");
    if (v < (double)min)
        return kp_fail(keys->err, KP_INPUT, "'%.*s' is %.0f, less than %lld", first_len(names),
                       names, v, (long long)min);
    if (v > KP_CFG_INT_MAX)
        return kp_fail(keys->err, KP_INPUT, "'%.*s' is %.0f, more than %d, the largest dimension "
                       "that GPU libraries take", first_len(names), names, v, KP_CFG_INT_MAX);
    *ret = (int64_t)v;
    return KP_OK;
}

kp_status kp_hf_need(const kp_hf_keys *keys, const char *names, int64_t *ret)
{
    if (kp_hf_find(keys, names)) return kp_hf_int(keys, names, 1, 0, ret);
    return kp_fail(keys->err, KP_INPUT, "'%.*s' is missing", first_len(names), names);
}

kp_status kp_hf_bool(const kp_hf_keys *keys, const char *names, bool fallback, bool *ret)
{
    const json_t *json = kp_hf_find(keys, names);
    const char *text = keys->loose ? json_string_value(json) : NULL;
    *ret = fallback;
    if (!json) return KP_OK;
    if (json_is_boolean(json)) *ret = json_is_true(json);
    else if (text && (!strcmp(text, "true") || !strcmp(text, "True") || !*text)) *ret = true;
    else if (text && (!strcmp(text, "false") || !strcmp(text, "False"))) *ret = false;
    else return wrong(keys, names, "switch (true or false)");
    return KP_OK;
}

kp_status kp_hf_num(const kp_hf_keys *keys, const char *names, double fallback, double *ret)
{
    const json_t *json = kp_hf_find(keys, names);
    *ret = fallback;
    if (!json) return KP_OK;
    return number_of(keys, json, ret) ? KP_OK : wrong(keys, names, "number");
}

const char *kp_hf_text(const kp_hf_keys *keys, const char *names)
{
    return json_string_value(kp_hf_find(keys, names));
}

/* transformers/activations.py's names that are not Keras's too. */
kp_activation kp_hf_activation(const char *name)
{
    static const struct {
        const char *name;
        kp_activation activation;
    } names[] = {
        {"gelu_new", KP_ACT_GELU},      {"gelu_pytorch_tanh", KP_ACT_GELU},
        {"gelu_fast", KP_ACT_GELU},     {"gelu_python", KP_ACT_GELU},
        {"gelu_10", KP_ACT_GELU},       {"geglu", KP_ACT_GELU},
        {"swiglu", KP_ACT_SILU},        {"swigluoai", KP_ACT_SILU},
        {"swish", KP_ACT_SILU},         {"quick_gelu", KP_ACT_SILU},
        {"gelu_accurate", KP_ACT_GELU}, {"situ", KP_ACT_SILU},
    };
    for (size_t i = 0; i < KP_LEN(names); i++)
        if (!strcmp(names[i].name, name)) return names[i].activation;
    return kp_activation_from_name(name);
}
