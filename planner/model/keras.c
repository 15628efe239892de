/* SPDX-License-Identifier: MIT
 *
 * Keras model objects to specifications: models, layers, shapes. Calls are in keras_calls.c. */
#include "planner/model/dialect.h"
#include <inttypes.h>

json_t *kp_json_list(json_t *json)
{
    if (json_is_object(json)) json = json_object_get(json, "items");
    return json_is_array(json) ? json : NULL;
}

bool kp_spec_is_input(const kp_spec_layer *layer)
{
    return layer->row && !strcmp(layer->row->class_name, "InputLayer");
}

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

/* ---- shapes ---- */

static kp_status read_dim(json_t *item, const char *key, unsigned axis, int64_t *ret, kp_err *err)
{
    *ret = KP_DIM_OPEN;
    if (json_is_null(item)) return KP_OK;
    if (!json_is_integer(item))
        return kp_fail(err, KP_INPUT, "'%s' has a size on axis %u that is no integer", key, axis);
    int64_t v = json_integer_value(item);
    if (v < 1 || v > KP_DIM_MAX)
        return kp_fail(err, KP_INPUT, "'%s' has %" PRId64 " on axis %u, not 1 to 2^40", key, v,
                       axis);
    *ret = v;
    return KP_OK;
}

kp_status kp_keras_shape(json_t *json, const char *key, kp_shape *ret, uint64_t *ret_batch,
                         kp_err *err)
{
    json_t *list = kp_json_list(json);
    if (!list) return kp_fail(err, KP_INPUT, "'%s' is no shape (a list of sizes)", key);
    size_t n = json_array_size(list);
    if (n < 1 || n > KP_RANK_MAX)
        return kp_fail(err, KP_INPUT, "'%s' has %zu axes, not 1 to %d", key, n, KP_RANK_MAX);
    kp_shape shape = {.rank = (uint8_t)n, .per_sample = 1, .dim = {1}};
    int64_t batch;
    KP_TRY(read_dim(json_array_get(list, 0), key, 0, &batch, err));
    for (unsigned i = 1; i < n; i++)
        KP_TRY(read_dim(json_array_get(list, i), key, i, &shape.dim[i], err));
    *ret = shape;
    *ret_batch = batch == KP_DIM_OPEN ? 0 : (uint64_t)batch;
    return KP_OK;
}

/* input_shape lacks the batch; input_dim is the last size, input_length the one before. An
 * Embedding's input_dim is its rows. */
static kp_status loose_shape(const json_t *config, kp_shape *ret, kp_err *err)
{
    json_t *list = kp_json_list(json_object_get(config, "input_shape"));
    json_t *length = json_object_get(config, "input_length");
    json_t *dim = json_object_get(config, "input_dim");
    kp_shape shape = {.rank = 1, .per_sample = 1, .dim = {1}};
    if (list) {
        if (json_array_size(list) >= KP_RANK_MAX)
            return kp_fail(err, KP_INPUT, "'input_shape' has %zu axes", json_array_size(list));
        for (unsigned i = 0; i < json_array_size(list); i++, shape.rank++)
            KP_TRY(read_dim(json_array_get(list, i), "input_shape", i + 1, &shape.dim[i + 1], err));
        *ret = shape;
        return KP_OK;
    }
    bool table = json_object_get(config, "output_dim") && !json_object_get(config, "units");
    if (length) KP_TRY(read_dim(length, "input_length", 1, &shape.dim[shape.rank++], err));
    if (dim && !table) KP_TRY(read_dim(dim, "input_dim", 1, &shape.dim[shape.rank++], err));
    if (shape.rank > 1) *ret = shape;
    return KP_OK;
}

kp_status kp_keras_input_shape(kp_reader *reader, const json_t *config, kp_shape *ret,
                               uint64_t *ret_batch)
{
    static const char *const keys[] = {"batch_shape", "batch_input_shape", "batchInputShape"};
    *ret = (kp_shape){0};
    *ret_batch = 0;
    for (size_t i = 0; i < KP_LEN(keys); i++) {
        json_t *json = json_object_get(config, keys[i]);
        if (!json || json_is_null(json)) continue;
        return kp_keras_shape(json, keys[i], ret, ret_batch, reader->err);
    }
    return loose_shape(config, ret, reader->err);
}

/* ---- layers ---- */

/* A model within the model: by its class, or by what every graph of layers has. */
static bool is_model(const char *class_name, const json_t *config)
{
    static const char *const names[] = {"Functional", "Model", "Sequential"};
    bool layers = json_is_array(config) || json_is_array(json_object_get(config, "layers"));
    for (size_t i = 0; i < KP_LEN(names); i++)
        if (!strcmp(class_name, names[i])) return layers;
    return layers && json_object_get(config, "input_layers") &&
           json_object_get(config, "output_layers");
}

static kp_status read_policy(kp_reader *reader, const json_t *config, kp_spec_layer *layer)
{
    json_t *dtype = json_object_get(config, "dtype");
    layer->policy = (kp_policy){.compute = KP_FLOAT32, .variable = KP_FLOAT32};
    layer->has_policy = dtype && !json_is_null(dtype);
    if (layer->has_policy) KP_TRY(kp_keras_policy(dtype, &layer->policy, reader->err));
    if (reader->policy && !kp_spec_is_input(layer) && kp_dtype_is_float(layer->policy.compute)) {
        kp_policy_from_name(reader->policy, &layer->policy);
        layer->has_policy = true;
    }
    return KP_OK;
}

static kp_status read_input(kp_reader *reader, const json_t *config, kp_spec_layer *layer)
{
    kp_layer_cfg *cfg = KP_NEW(reader->arena, kp_layer_cfg, 1);
    if (!cfg) return kp_nomem(reader->err);
    KP_TRY(kp_keras_input_shape(reader, config, &cfg->batch_shape, &cfg->fixed_batch));
    if (cfg->batch_shape.rank == 0)
        return kp_fail(reader->err, KP_INPUT, "'batch_shape' is missing");
    layer->cfg = cfg;
    return KP_OK;
}

static kp_status read_inside(kp_reader *reader, const kp_dialect *is, kp_spec_layer *layer)
{
    json_t *config = layer->config = is->config;
    layer->trainable = !json_is_false(json_object_get(config, "trainable"));
    if (is_model(is->class_name, config)) {
        KP_TRY(kp_keras_model(reader, is->json, &layer->model));
        return read_policy(reader, config, layer);
    }
    if (!is->foreign) layer->row = kp_row_find(is->module, is->rule);
    KP_TRY(read_policy(reader, config, layer));
    if (kp_spec_is_input(layer)) return read_input(reader, config, layer);
    if (layer->row) return kp_cfg_read(reader, layer->row, config, &layer->cfg);
    return KP_OK;
}

/* A layer's name in its model stands beside the configuration, or in it. */
static kp_status read_names(kp_reader *reader, const kp_dialect *is, uint32_t index,
                            kp_spec_layer *ret)
{
    const char *name = text_of(is->json, "name");
    if (!name) name = text_of(is->config, "name");
    ret->name = name ? kp_arena_str(reader->arena, name)
                     : kp_arena_fmt(reader->arena, "%s_%u", is->class_name, index);
    ret->class_name = kp_arena_str(reader->arena, is->class_name);
    return ret->name && ret->class_name ? KP_OK : kp_nomem(reader->err);
}

kp_status kp_keras_layer(kp_reader *reader, json_t *json, uint32_t index, kp_spec_layer *ret)
{
    if (!json_is_object(json))
        return kp_fail(reader->err, KP_INPUT, "layer %u is no object", index);
    const char *class_name = text_of(json, "class_name");
    json_t *config = json_object_get(json, "config");
    if (!class_name)
        return kp_fail(reader->err, KP_INPUT, "layer %u has no 'class_name'", index);
    if (!json_is_object(config) && !json_is_array(config))
        return kp_fail(reader->err, KP_INPUT, "layer %u ('%.60s') has no 'config'", index,
                       class_name);
    kp_dialect is;
    KP_TRY(kp_dialect_read(reader, json, &is));
    *ret = (kp_spec_layer){.json = json, .layer = KP_NO};
    KP_TRY(read_names(reader, &is, index, ret));
    if (++reader->depth > KP_NEST_MAX)
        return kp_fail(reader->err, KP_INPUT, "models are nested deeper than %d", KP_NEST_MAX);
    if (++reader->n_layers > KP_LAYERS_MAX)
        return kp_fail(reader->err, KP_INPUT, "the file has more than %u layers", KP_LAYERS_MAX);
    kp_status status = read_inside(reader, &is, ret);
    reader->depth--;
    if (status != KP_OK && status != KP_NOMEM) kp_err_at(reader->err, "layer '%.60s'", ret->name);
    return status;
}

/* ---- models ---- */

static kp_status read_layers(kp_reader *reader, json_t *list, uint32_t spare, kp_spec_model *model)
{
    size_t n = json_array_size(list);
    if (n == 0) return kp_fail(reader->err, KP_INPUT, "the model has no layers");
    model->layers = KP_NEW(reader->arena, kp_spec_layer, n + spare);
    if (!model->layers) return kp_nomem(reader->err);
    for (size_t i = 0; i < n; i++)
        KP_TRY(kp_keras_layer(reader, json_array_get(list, i), (uint32_t)i,
                              &model->layers[spare + i]));
    model->n_layers = (uint32_t)n;
    return KP_OK;
}

static kp_status read_model(kp_reader *reader, json_t *json, json_t *config, kp_spec_model *model)
{
    json_t *list = json_is_array(config) ? config : json_object_get(config, "layers");
    if (list && !json_is_array(list))
        return kp_fail(reader->err, KP_INPUT, "'layers' is not a list");
    if (!list) {
        kp_fail(reader->err, KP_UNSUPPORTED, "class '%.60s' has no list of layers",
                model->class_name);
        kp_hint(reader->err, "subclassed models keep their layers in code; export a Sequential or "
                             "Functional model");
        return KP_UNSUPPORTED;
    }
    model->sequential = !strcmp(model->class_name, "Sequential");
    KP_TRY(read_layers(reader, list, model->sequential, model));
    if (model->sequential) KP_TRY(kp_keras_chain(reader, json, model));
    else KP_TRY(kp_keras_calls(reader, config, model));
    return kp_spec_order(model, reader->arena, reader->err);
}

kp_status kp_keras_model(kp_reader *reader, json_t *json, kp_spec_model **ret)
{
    json_t *config = json_object_get(json, "config");
    const char *class_name = text_of(json, "class_name");
    if (!class_name || !config)
        return kp_fail(reader->err, KP_INPUT, "the model has no 'class_name' and 'config'");
    kp_spec_model *model = KP_NEW(reader->arena, kp_spec_model, 1);
    if (!model) return kp_nomem(reader->err);
    const char *name = text_of(config, "name") ? text_of(config, "name") : text_of(json, "name");
    if (!name) name = reader->depth ? class_name : reader->name;
    model->name = kp_arena_str(reader->arena, name);
    model->class_name = kp_arena_str(reader->arena, class_name);
    if (!model->name || !model->class_name) return kp_nomem(reader->err);
    model->trainable = !json_is_false(json_object_get(config, "trainable"));
    KP_TRY(read_model(reader, json, config, model));
    *ret = model;
    return KP_OK;
}
