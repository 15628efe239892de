/* SPDX-License-Identifier: MIT
 *
 * Reads a layer's configuration by the field table of its row. Every number is checked here, so
 * that rules can trust what they get: integers are integers, in range, lists have the length that
 * the class wants. Messages name the key. */
#include "planner/model/rules.h"
#include <math.h>

/* A field being read. */
typedef struct reading {
    kp_reader *reader;
    const kp_layer_row *row;
    const kp_cfg_field *field;
    const char *key;
    json_t *json;       /* not null */
    void *at;
    kp_err *err;
} reading;

static const char *kind_of(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a text";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a fraction";
    case JSON_TRUE: case JSON_FALSE: return "true or false";
    default: return "null";
    }
}

static kp_status wrong(const reading *r, const json_t *json, const char *wanted)
{
    return kp_fail(r->err, KP_INPUT, "'%s' is %s, not %s", r->key, kind_of(json), wanted);
}

static kp_status integer(const reading *r, const json_t *json, int64_t min, int64_t *ret)
{
    if (!json_is_integer(json)) return wrong(r, json, "an integer");
    int64_t v = json_integer_value(json);
    if (v < min)
        return kp_fail(r->err, KP_INPUT, "'%s' is %lld, less than %lld", r->key, (long long)v,
                       (long long)min);
    if (v > KP_CFG_INT_MAX)
        return kp_fail(r->err, KP_INPUT,
                       "'%s' is %lld, more than %d, the largest dimension that GPU libraries take",
                       r->key, (long long)v, KP_CFG_INT_MAX);
    *ret = v;
    return KP_OK;
}

/* Sizes must be positive; where 0 or less means something the field's fallback is <= 0. */
static kp_status read_int(const reading *r)
{
    int64_t min = r->field->required || r->field->fallback > 0 ? 1 : (int64_t)r->field->fallback;
    return integer(r, r->json, min, r->at);
}

/* Some files have 1 for true. */
static kp_status read_bool(const reading *r)
{
    if (!json_is_boolean(r->json) && !json_is_integer(r->json))
        return wrong(r, r->json, "true or false");
    *(bool *)r->at = json_is_true(r->json) || json_integer_value(r->json) != 0;
    return KP_OK;
}

static kp_status read_num(const reading *r)
{
    if (!json_is_number(r->json)) return wrong(r, r->json, "a number");
    *(double *)r->at = json_number_value(r->json);
    return KP_OK;
}

static kp_status read_text(const reading *r)
{
    if (!json_is_string(r->json)) return wrong(r, r->json, "a text");
    char *text = kp_arena_str(r->reader->arena, json_string_value(r->json));
    if (!text) return kp_nomem(r->err);
    *(const char **)r->at = text;
    return KP_OK;
}

/* "relu", {"class_name": "function", "config": "relu"}, {"class_name": "ReLU", "config": {..}}. */
static kp_status read_activation(const reading *r)
{
    const json_t *name = r->json;
    for (int i = 0; i < 4 && json_is_object(name); i++) {
        const json_t *inner = json_object_get(name, "config");
        const json_t *class_name = json_object_get(name, "class_name");
        name = json_is_string(inner) ? inner : class_name;
    }
    if (!json_is_string(name)) return wrong(r, r->json, "the name of an activation");
    *(kp_activation *)r->at = kp_activation_from_name(json_string_value(name));
    return KP_OK;
}

/* One positive integer a spatial dimension; a bare number stands for all. */
static kp_status read_window(const reading *r)
{
    uint32_t *out = r->at;
    json_t *list = kp_json_list(r->json);
    unsigned n = r->row->spatial;
    if (list && json_array_size(list) != n)
        return kp_fail(r->err, KP_INPUT, "'%s' has %zu numbers, '%s' takes %u", r->key,
                       json_array_size(list), r->row->class_name, n);
    for (unsigned i = 0; i < n; i++) {
        json_t *item = list ? json_array_get(list, i) : r->json;
        int64_t v;
        if (r->field->fallback < 0 && json_is_null(item)) continue;
        KP_TRY(integer(r, item, r->field->fallback < 0 ? 0 : 1, &v));
        out[i] = (uint32_t)v;
    }
    return KP_OK;
}

static kp_status read_pair(const reading *r, json_t *json, int32_t ret[2])
{
    json_t *list = kp_json_list(json);
    if (list && json_array_size(list) != 2)
        return kp_fail(r->err, KP_INPUT, "'%s' has a list of %zu numbers where 2 are needed",
                       r->key, json_array_size(list));
    for (int i = 0; i < 2; i++) {
        int64_t v;
        KP_TRY(integer(r, list ? json_array_get(list, (size_t)i) : json, 0, &v));
        ret[i] = (int32_t)v;
    }
    return KP_OK;
}

/* ZeroPadding, Cropping: a number, a number a dimension, or a pair a dimension; in 1D one pair. */
static kp_status read_pads(const reading *r)
{
    int32_t(*out)[2] = r->at;
    json_t *list = kp_json_list(r->json);
    unsigned n = r->row->spatial;
    if (n == 1 && !(list && kp_json_list(json_array_get(list, 0))))
        return read_pair(r, r->json, out[0]);
    if (list && json_array_size(list) != n)
        return kp_fail(r->err, KP_INPUT, "'%s' has %zu entries, '%s' takes %u", r->key,
                       json_array_size(list), r->row->class_name, n);
    for (unsigned i = 0; i < n; i++)
        KP_TRY(read_pair(r, list ? json_array_get(list, i) : r->json, out[i]));
    return KP_OK;
}

/* keras.ops.pad: a pair an axis, to two lists: dims and boundaries. */
static kp_status read_pairs(const reading *r)
{
    kp_layer_cfg *cfg = (kp_layer_cfg *)(void *)((char *)r->at - r->field->offset);
    json_t *list = kp_json_list(r->json);
    size_t n = json_array_size(list);
    if (!list || n > KP_RANK_MAX) return wrong(r, r->json, "a list of at most 8 pairs");
    cfg->dims = cfg->boundaries = (kp_ints){.given = true, .n = (uint32_t)n};
    for (size_t i = 0; i < n; i++) {
        int32_t pair[2];
        KP_TRY(read_pair(r, json_array_get(list, i), pair));
        cfg->dims.v[i] = pair[0];
        cfg->boundaries.v[i] = pair[1];
    }
    return KP_OK;
}

/* The index of a text among names; *ret untouched and false if it is none. */
static bool one_of(const char *text, const char *const *names, int n, int *ret)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(text, names[i])) {
            *ret = i;
            return true;
        }
    return false;
}

static kp_status read_padding(const reading *r)
{
    static const char *const names[] = {"valid", "same", "causal", "full"};
    int v;
    if (!json_is_string(r->json)) return wrong(r, r->json, "'valid', 'same' or 'causal'");
    const char *text = json_string_value(r->json);
    if (!one_of(text, names, KP_PAD_COUNT, &v))
        return kp_fail(r->err, KP_INPUT, "'%s' is '%.40s', not 'valid', 'same' or 'causal'",
                       r->key, text);
    *(kp_padding *)r->at = (kp_padding)v;
    return KP_OK;
}

static kp_status read_format(const reading *r)
{
    static const char *const names[] = {"channels_last", "channels_first"};
    int v;
    if (!json_is_string(r->json)) return wrong(r, r->json, "'channels_last' or 'channels_first'");
    const char *text = json_string_value(r->json);
    if (!one_of(text, names, 2, &v))
        return kp_fail(r->err, KP_INPUT,
                       "'%s' is '%.40s', not 'channels_last' or 'channels_first'", r->key, text);
    *(bool *)r->at = v;
    return KP_OK;
}

static kp_status read_merge(const reading *r)
{
    static const char *const names[] = {"concat", "sum", "mul", "ave"};
    int v;
    if (!json_is_string(r->json)) return wrong(r, r->json, "a merge mode");
    const char *text = json_string_value(r->json);
    if (!one_of(text, names, 4, &v))
        return kp_fail(r->err, KP_INPUT, "'%s' is '%.40s', not 'concat', 'sum', 'mul' or 'ave'",
                       r->key, text);
    *(kp_merge_mode *)r->at = (kp_merge_mode)v;
    return KP_OK;
}

/* A number or a list of numbers; null inside a list is an open dimension. */
static kp_status read_ints(const reading *r)
{
    kp_ints *out = r->at;
    json_t *list = kp_json_list(r->json);
    size_t n = list ? json_array_size(list) : 1;
    if (n > KP_RANK_MAX)
        return kp_fail(r->err, KP_INPUT, "'%s' has %zu entries, more than %d", r->key, n,
                       KP_RANK_MAX);
    *out = (kp_ints){.given = true, .single = !list, .n = (uint32_t)n};
    for (size_t i = 0; i < n; i++) {
        json_t *item = list ? json_array_get(list, i) : r->json;
        if (list && json_is_null(item)) out->v[i] = KP_DIM_OPEN;
        else KP_TRY(integer(r, item, -KP_CFG_INT_MAX, &out->v[i]));
    }
    return KP_OK;
}

static kp_status read_given(const reading *r)
{
    *(bool *)r->at = true;
    return KP_OK;
}

static kp_status read_count_of(const reading *r)
{
    kp_ints *out = r->at;
    json_t *list = kp_json_list(r->json);
    if (!list) return wrong(r, r->json, "a list");
    *out = (kp_ints){.given = true, .n = (uint32_t)json_array_size(list)};
    return KP_OK;
}

/* Inner layers are appended, so that "layer" and "backward_layer" make one list of two. */
static kp_status add_inner(const reading *r, json_t *const *items, uint32_t n)
{
    kp_layer_cfg *cfg = r->at;
    kp_spec_layer *inner = KP_NEW(r->reader->arena, kp_spec_layer, (size_t)cfg->n_inner + n);
    if (!inner) return kp_nomem(r->err);
    if (cfg->n_inner) memcpy(inner, cfg->inner, cfg->n_inner * sizeof(*inner));
    for (uint32_t i = 0; i < n; i++)
        KP_TRY(kp_keras_layer(r->reader, items[i], cfg->n_inner + i, &inner[cfg->n_inner + i]));
    cfg->inner = inner;
    cfg->n_inner += n;
    return KP_OK;
}

static kp_status read_layer(const reading *r)
{
    if (json_is_array(r->json)) return wrong(r, r->json, "a layer");
    return add_inner(r, &r->json, 1);
}

static kp_status read_layers(const reading *r)
{
    enum { MOST = 64 };
    json_t *items[MOST] = {r->json};
    size_t n = json_is_array(r->json) ? json_array_size(r->json) : 1;
    if (n > MOST)
        return kp_fail(r->err, KP_INPUT, "'%s' has %zu layers, more than %d", r->key, n, MOST);
    for (size_t i = 0; i < n && json_is_array(r->json); i++) items[i] = json_array_get(r->json, i);
    return add_inner(r, items, (uint32_t)n);
}

/* The rule reads it. */
static kp_status read_json(const reading *r)
{
    *(json_t **)r->at = r->json;
    return KP_OK;
}

static kp_status (*const readers[KP_CFG_TYPE_COUNT])(const reading *) = {
    [KP_CFG_INT] = read_int,           [KP_CFG_BOOL] = read_bool,
    [KP_CFG_NUM] = read_num,           [KP_CFG_TEXT] = read_text,
    [KP_CFG_ACTIVATION] = read_activation, [KP_CFG_WINDOW] = read_window,
    [KP_CFG_PADS] = read_pads,         [KP_CFG_PADDING] = read_padding,
    [KP_CFG_PAIRS] = read_pairs,
    [KP_CFG_FORMAT] = read_format,     [KP_CFG_INTS] = read_ints,
    [KP_CFG_GIVEN] = read_given,       [KP_CFG_COUNT_OF] = read_count_of,
    [KP_CFG_MERGE] = read_merge,       [KP_CFG_LAYER] = read_layer,
    [KP_CFG_LAYERS] = read_layers,     [KP_CFG_JSON] = read_json,
};

/* What a field is when the file does not say. */
static void fall_back(const kp_cfg_field *field, void *at)
{
    switch (field->type) {
    case KP_CFG_INT: *(int64_t *)at = (int64_t)field->fallback; break;
    case KP_CFG_BOOL: *(bool *)at = field->fallback != 0; break;
    case KP_CFG_NUM: *(double *)at = field->fallback; break;
    case KP_CFG_ACTIVATION: *(kp_activation *)at = (kp_activation)field->fallback; break;
    case KP_CFG_WINDOW:
        for (int i = 0; i < 3; i++) ((int32_t *)at)[i] = (int32_t)field->fallback;
        break;
    case KP_CFG_MERGE: *(kp_merge_mode *)at = (kp_merge_mode)field->fallback; break;
    case KP_CFG_INTS:
        if (!isnan(field->fallback))
            *(kp_ints *)at = (kp_ints){.single = true, .n = 1, .v = {(int64_t)field->fallback}};
        break;
    default: break;
    }
}

/* merge_mode null means two outputs, not the default. */
static bool null_speaks(kp_cfg_type type)
{
    return type == KP_CFG_MERGE;
}

kp_status kp_cfg_read(kp_reader *reader, const kp_layer_row *row, const json_t *config,
                      const kp_layer_cfg **ret)
{
    kp_layer_cfg *cfg = KP_NEW(reader->arena, kp_layer_cfg, 1);
    if (!cfg) return kp_nomem(reader->err);
    for (uint32_t i = 0; row->cfg && i < row->cfg->n; i++) {
        const kp_cfg_field *field = &row->cfg->fields[i];
        reading r = {.reader = reader, .row = row, .field = field, .key = field->key,
                     .json = json_object_get(config, field->key),
                     .at = (char *)cfg + field->offset, .err = reader->err};
        if (r.json && json_is_null(r.json) && null_speaks(field->type)) {
            cfg->merge_mode = KP_MERGE_NONE;
            continue;
        }
        if (!r.json || json_is_null(r.json)) {
            if (field->required)
                return kp_fail(reader->err, KP_INPUT, "'%s' is missing in the configuration",
                               field->key);
            fall_back(field, r.at);
            continue;
        }
        KP_TRY(readers[field->type](&r));
    }
    *ret = cfg;
    return KP_OK;
}
