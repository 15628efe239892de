/* SPDX-License-Identifier: MIT
 *
 * A model file's bytes to a graph: finds the dialect, lets its reader make the specification, and
 * builds. */
#include "planner/container/container.h"
#include "planner/model/custom.h"
#include "planner/model/hf.h"
#include "planner/model/stored.h"
#include "proto/json.h"

/* The kinds of model files. The first whose test holds reads the file. */
static const kp_recogniser recognisers[] = {
    {"a Keras model", kp_keras_test, kp_keras_read},
    {"Megatron-LM's arguments", kp_megatron_is, kp_megatron_read},
    {"a Hugging Face configuration", kp_hf_is, kp_hf_read},
};

/* Files that people hand over and that hold no model, by a key that tells them. */
static const struct {
    const char *key, *what, *hint;
} strangers[] = {
    {"weights", "a list of weights", "the model's layers are in another file: model.json, config.json"},
    {"weightsManifest", "a list of weights", "the model's layers are in another file: model.json"},
};

static kp_status not_a_model(const json_t *json, kp_err *err)
{
    for (size_t i = 0; i < KP_LEN(strangers); i++) {
        if (!json_object_get(json, strangers[i].key)) continue;
        kp_fail(err, KP_UNSUPPORTED, "%s is not supported", strangers[i].what);
        kp_hint(err, "%s", strangers[i].hint);
        return KP_UNSUPPORTED;
    }
    if (json_is_object(json)) kp_fail(err, KP_INPUT, "not a model: 'class_name' and 'config' are missing");
    else kp_fail(err, KP_INPUT, "not a model: the file holds no JSON object");
    kp_hint(err, "a Keras model file is what model.to_json() writes");
    return KP_INPUT;
}

static kp_status read_spec(json_t *json, kp_reader *reader, kp_spec *ret)
{
    for (size_t i = 0; i < KP_LEN(recognisers); i++)
        if (recognisers[i].test(json)) return recognisers[i].read(reader, json, ret);
    return not_a_model(json, reader->err);
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

static kp_status build(kp_reader *reader, const kp_spec *spec, const kp_bind *bind,
                       const kp_graph **ret)
{
    kp_arena *arena = reader->arena;
    kp_err *err = reader->err;
    kp_build b = {.arena = arena, .err = err, .bind = bind, .joint = "/",
                  .container = spec->container};
    if (spec->format == KP_FORMAT_HUGGINGFACE || spec->format == KP_FORMAT_MEGATRON) b.joint = ".";
    kp_spec_model *model = spec->model;
    uint32_t first;
    KP_TRY(kp_customs_read(reader, bind->layers_spec, &b.customs));
    KP_TRY(check_inputs(model, err));
    KP_TRY(kp_build_layers(&b, model, KP_NO, true, &first));
    uint32_t *inputs = KP_NEW(arena, uint32_t, model->n_inputs);
    uint32_t *outputs = KP_NEW(arena, uint32_t, model->n_outputs);
    if (!inputs || !outputs) return kp_nomem(err);
    if (!b.n_layers) return kp_fail(err, KP_INPUT, "the model has no layers");
    KP_TRY(kp_build_inputs(&b, model, inputs));
    KP_TRY(kp_build_run(&b, model, inputs, outputs));
    KP_TRY(kp_customs_check(&b));
    KP_TRY(kp_stored_warn(&b));
    for (uint32_t i = 0; i < spec->n_notes; i++)
        KP_TRY(kp_build_warn(&b, spec->notes[i].code, KP_NO, spec->notes[i].message));
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
    kp_spec spec = {.container = json_object_get(json, "kplan_container")};
    kp_reader reader = {.arena = arena, .policy = bind->dtype_policy, .err = err};
    reader.name = stem(arena, name);
    if (!reader.name) return kp_nomem(err);
    kp_status status = read_spec(json, &reader, &spec);
    if (status == KP_OK) status = build(&reader, &spec, bind, ret);
    json_decref(reader.owned);
    if (status == KP_INPUT || status == KP_UNSUPPORTED) kp_err_at(err, "%.200s", name);
    return status;
}

/* A program that writes to_json()'s text as JSON once more leaves one string: it is read as a list of
 * one. */
static kp_status parse(const char *bytes, size_t len, kp_arena *arena, json_t **ret, kp_err *err)
{
    size_t i = 0;
    while (i < len && (bytes[i] == ' ' || (bytes[i] >= '\t' && bytes[i] <= '\r'))) i++;
    if (i == len || bytes[i] != '"') return kp_json_parse_foreign(bytes, len, ret, err);
    char *list = kp_arena_alloc(arena, len + 2, 1);
    if (!list) return kp_nomem(err);
    list[0] = '[';
    memcpy(list + 1, bytes, len);
    list[len + 1] = ']';
    return kp_json_parse_foreign(list, len + 2, ret, err);
}

/* Long files mostly are long by what they carry beside the layers. Errors are found again in the
 * file itself, so that their place is right. */
static kp_status parse_fast(const char *bytes, size_t len, kp_arena *arena, json_t **ret,
                            kp_err *err)
{
    static const size_t long_file = 256 << 10;
    kp_err ignored = {0};
    size_t n = 0;
    if (len < long_file) return parse(bytes, len, arena, ret, err);
    const char *copy = kp_without_blobs(bytes, len, arena, &n);
    if (!copy) return kp_nomem(err);
    if (n < len && parse(copy, n, arena, ret, &ignored) == KP_OK) return KP_OK;
    return parse(bytes, len, arena, ret, err);
}

/* A list of one text, which is a document again: that document. */
static kp_status unwrap(json_t **json, kp_err *err)
{
    const json_t *text = json_array_get(*json, 0);
    json_t *inner = NULL;
    if (json_array_size(*json) != 1 || !json_is_string(text)) return KP_OK;
    KP_TRY(kp_json_parse_foreign(json_string_value(text), json_string_length(text), &inner, err));
    json_decref(*json);
    *json = inner;
    return KP_OK;
}

kp_status kp_model_parse(const char *bytes, size_t len, kp_arena *arena, json_t **ret, kp_err *err)
{
    json_t *json = NULL;
    kp_source source = kp_source_memory(bytes, len);
    kp_status status = kp_container_text(&source, arena, &bytes, &len, err);
    if (status == KP_OK) status = parse_fast(bytes, len, arena, &json, err);
    if (status == KP_OK) status = unwrap(&json, err);
    if (status == KP_OK) *ret = json;
    else json_decref(json);
    return status;
}

kp_status kp_model_read(const char *bytes, size_t len, const char *name, const kp_bind *bind,
                        kp_arena *arena, const kp_graph **ret, kp_err *err)
{
    json_t *json = NULL;
    kp_status status = kp_model_parse(bytes, len, arena, &json, err);
    if (status == KP_OK) status = kp_model_read_json(json, name, bind, arena, ret, err);
    else if (status != KP_NOMEM) kp_err_at(err, "%.200s", name);
    json_decref(json);
    return status;
}
