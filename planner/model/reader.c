/* SPDX-License-Identifier: MIT
 *
 * A model file's bytes to a graph: finds the dialect, lets its reader make the specification, and
 * builds. */
#include "planner/model/build.h"
#include "planner/model/hf.h"
#include "proto/json.h"

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

/* The Keras model object: the file itself, or the member of a file of recorded facts. */
static json_t *find_model(json_t *json)
{
    json_t *recorded = json_object_get(json, "model_json");
    return json_is_object(recorded) ? recorded : json;
}

/* Keras 2 names its version; Keras 3 does not, but writes module names and objects as arguments. */
static kp_status find_format(json_t *model, kp_format *ret, kp_err *err)
{
    const char *version = text_of(model, "keras_version");
    if (version && version[0] == '1') {
        kp_fail(err, KP_UNSUPPORTED, "Keras %.20s files are not supported", version);
        kp_hint(err, "load the model in Keras 2 and save it again with to_json()");
        return KP_UNSUPPORTED;
    }
    *ret = text_of(model, "module") ? KP_FORMAT_KERAS_3 : KP_FORMAT_KERAS_2;
    if (version && version[0] == '2') *ret = KP_FORMAT_KERAS_2;
    if (version && version[0] == '3') *ret = KP_FORMAT_KERAS_3;
    return KP_OK;
}

static kp_status not_a_model(const json_t *json, kp_err *err)
{
    static const struct {
        const char *key, *what;
    } others[] = {
        {"modelTopology", "a TensorFlow.js model file"},
        {"architecture", "a frugally-deep model file"},
        {"model_config", "a model inside another container"},
    };
    if (!json_is_object(json))
        return kp_fail(err, KP_INPUT, "not a model: the file holds no JSON object");
    for (size_t i = 0; i < KP_LEN(others); i++)
        if (json_object_get(json, others[i].key))
            return kp_fail(err, KP_UNSUPPORTED, "%s is not supported, only a Keras model.json",
                           others[i].what);
    kp_fail(err, KP_INPUT, "not a model: 'class_name' and 'config' are missing");
    kp_hint(err, "a Keras model file is what model.to_json() writes");
    return KP_INPUT;
}

static kp_status read_spec(json_t *json, kp_reader *reader, kp_spec *ret)
{
    json_t *model = find_model(json);
    bool keras = text_of(model, "class_name") && json_object_get(model, "config");
    if (!keras && kp_hf_is(json)) return kp_hf_read(reader, json, ret);
    if (!keras)
        return not_a_model(json, reader->err);
    KP_TRY(find_format(model, &ret->format, reader->err));
    KP_TRY(kp_keras_model(reader, model, &ret->model));
    json_t *compile = json_object_get(model, "compile_config");
    if (!compile) compile = json_object_get(model, "training_config");
    return kp_keras_compile(reader, compile, &ret->compile);
}

static kp_status check_inputs(const kp_spec_model *model, kp_err *err)
{
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        const kp_spec_layer *layer = &model->layers[model->inputs[i]];
        if (layer->cfg->batch_shape.rank) continue;
        kp_fail(err, KP_INPUT, "the model does not say the shape of its input");
        kp_hint(err, "add an Input layer, or build the model before it is saved");
        return KP_INPUT;
    }
    return KP_OK;
}

static kp_status build(const kp_spec *spec, const kp_bind *bind, kp_arena *arena,
                       const kp_graph **ret, kp_err *err)
{
    kp_build b = {.arena = arena, .err = err, .bind = bind, .joint = "/"};
    if (spec->format == KP_FORMAT_HUGGINGFACE || spec->format == KP_FORMAT_MEGATRON) b.joint = ".";
    kp_spec_model *model = spec->model;
    uint32_t first;
    KP_TRY(check_inputs(model, err));
    KP_TRY(kp_build_layers(&b, model, KP_NO, true, &first));
    uint32_t *inputs = KP_NEW(arena, uint32_t, model->n_inputs);
    uint32_t *outputs = KP_NEW(arena, uint32_t, model->n_outputs);
    if (!inputs || !outputs) return kp_nomem(err);
    if (!b.n_layers) return kp_fail(err, KP_INPUT, "the model has no layers");
    KP_TRY(kp_build_inputs(&b, model, inputs));
    KP_TRY(kp_build_run(&b, model, inputs, outputs));
    return kp_build_finish(&b, spec, first, inputs, outputs, ret);
}

/* "path/model.json" has the stem "model". */
static const char *stem(kp_arena *arena, const char *name)
{
    const char *slash = strrchr(name, '/');
    name = slash ? slash + 1 : name;
    const char *dot = strrchr(name, '.');
    return kp_arena_strn(arena, name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
}

kp_status kp_model_read_json(struct json_t *json, const char *name, const kp_bind *bind,
                             kp_arena *arena, const kp_graph **ret, kp_err *err)
{
    static const kp_bind none = {0};
    kp_policy policy;
    if (!bind) bind = &none;
    if (bind->dtype_policy && !kp_policy_from_name(bind->dtype_policy, &policy))
        return kp_fail(err, KP_USAGE, "'%.60s' is no dtype policy", bind->dtype_policy);
    kp_spec spec = {0};
    kp_reader reader = {.arena = arena, .policy = bind->dtype_policy, .err = err};
    reader.name = stem(arena, name);
    if (!reader.name) return kp_nomem(err);
    kp_status status = read_spec(json, &reader, &spec);
    if (status == KP_OK) status = build(&spec, bind, arena, ret, err);
    if (status == KP_INPUT || status == KP_UNSUPPORTED) kp_err_at(err, "%.200s", name);
    return status;
}

kp_status kp_model_read(const char *bytes, size_t len, const char *name, const kp_bind *bind,
                        kp_arena *arena, const kp_graph **ret, kp_err *err)
{
    json_t *json = NULL;
    kp_status status = kp_json_parse(bytes, len, &json, err);
    if (status == KP_OK) status = kp_model_read_json(json, name, bind, arena, ret, err);
    else if (status == KP_INPUT) kp_err_at(err, "%.200s", name);
    json_decref(json);
    return status;
}
