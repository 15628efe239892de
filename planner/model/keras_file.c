/* SPDX-License-Identifier: MIT
 *
 * Finds the Keras model in a file. It stands bare, as to_json() writes it; inside an envelope
 * (TensorFlow.js, frugally-deep, HDF5's attribute `model_config`), as an object or as a text that is
 * JSON again; or only its configuration is there, without class and version. What envelopes say of
 * versions and training is collected on the way in. */
#include "planner/model/spec.h"
#include "proto/json.h"

#define ENVELOPES_MAX 6

/* What was seen on the way to the model. */
typedef struct seen {
    json_t *json; /* where we are */
    json_t *compile;
    const char *version;
    bool tfjs;
} seen;

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

/* ---- envelopes ---- */

static const char *const envelopes[] = {
    "model_json",    /* recorded facts beside a model */
    "modelTopology", /* TensorFlow.js */
    "model_config",  /* inside modelTopology; the attribute of an HDF5 file */
    "architecture",  /* frugally-deep */
};

static bool holds_model(const json_t *json)
{
    return text_of(json, "class_name") && json_object_get(json, "config");
}

static const char *find_envelope(const json_t *json)
{
    for (size_t i = 0; i < KP_LEN(envelopes); i++)
        if (json_object_get(json, envelopes[i])) return envelopes[i];
    return NULL;
}

/* A list of layers: all that old versions' Sequential had as its configuration. */
static bool is_layers(const json_t *json)
{
    return json_is_array(json) && json_object_get(json_array_get(json, 0), "class_name");
}

bool kp_keras_test(const json_t *json)
{
    if (json_is_array(json))
        return is_layers(json) || (json_array_size(json) == 1 && json_is_string(json_array_get(json, 0)));
    const char *format = text_of(json, "format");
    return holds_model(json) || find_envelope(json) || is_layers(json_object_get(json, "layers")) ||
           (format && !strcmp(format, "graph-model"));
}

static kp_status parse_again(kp_reader *reader, json_t *text, json_t **ret)
{
    json_t *json = NULL;
    KP_TRY(kp_json_parse_foreign(json_string_value(text), json_string_length(text), &json, reader->err));
    *ret = kp_reader_own(reader, json);
    return *ret ? KP_OK : kp_nomem(reader->err);
}

/* TensorFlow.js has two formats of one look; the other one is TensorFlow's graph of operations. */
static kp_status check_graph_model(const json_t *json, kp_err *err)
{
    const char *format = text_of(json, "format");
    const json_t *inside = json_object_get(json, "modelTopology");
    if (!(format && !strcmp(format, "graph-model")) && !json_object_get(inside, "node")) return KP_OK;
    kp_fail(err, KP_UNSUPPORTED, "a TensorFlow.js graph model has TensorFlow's operations, not layers");
    kp_hint(err, "convert the Keras model to a layers model: tensorflowjs_converter "
                 "--input_format=keras");
    return KP_UNSUPPORTED;
}

/* A configuration without its class: Functional if it says what it reads, else Sequential. */
static kp_status wrap_bare(kp_reader *reader, seen *s)
{
    bool graph = json_object_get(s->json, "input_layers") != NULL;
    json_t *model = json_pack("{s:s, s:O}", "class_name", graph ? "Functional" : "Sequential",
                              "config", s->json);
    s->json = kp_reader_own(reader, model);
    return s->json ? KP_OK : kp_nomem(reader->err);
}

static void note(seen *s)
{
    static const char *const compiles[] = {"compile_config", "training_config"};
    const char *version = text_of(s->json, "keras_version");
    if (version) s->version = version;
    for (size_t i = 0; i < KP_LEN(compiles); i++) {
        json_t *compile = json_object_get(s->json, compiles[i]);
        if (compile) s->compile = compile;
    }
}

/* One step inwards; *ret_done at the model. */
static kp_status step(kp_reader *reader, seen *s, bool *ret_done)
{
    note(s);
    *ret_done = false;
    if (json_is_string(s->json)) return parse_again(reader, s->json, &s->json);
    if (json_is_array(s->json) && !is_layers(s->json)) {
        s->json = json_array_get(s->json, 0);
        return KP_OK;
    }
    if (holds_model(s->json)) {
        *ret_done = true;
        return KP_OK;
    }
    KP_TRY(check_graph_model(s->json, reader->err));
    const char *envelope = find_envelope(s->json);
    if (envelope) {
        s->tfjs = s->tfjs || !strcmp(envelope, "modelTopology");
        s->json = json_object_get(s->json, envelope);
        if (json_is_object(s->json) || json_is_string(s->json)) return KP_OK;
        return kp_fail(reader->err, KP_INPUT, "'%s' holds no model", envelope);
    }
    if (is_layers(s->json) || is_layers(json_object_get(s->json, "layers")))
        return wrap_bare(reader, s);
    return kp_fail(reader->err, KP_INPUT, "not a model: 'class_name' and 'config' are missing");
}

/* ---- the version ---- */

/* Versions before 3 name themselves; Keras 3 writes module names. Without either, Keras 1 is known
 * by its layers. */
static kp_format find_format(const seen *s, const kp_reader *reader)
{
    if (s->tfjs) return KP_FORMAT_TFJS;
    switch (s->version ? s->version[0] : 0) {
    case '0': case '1': return KP_FORMAT_KERAS_1;
    case '2': return KP_FORMAT_KERAS_2;
    case '3': return KP_FORMAT_KERAS_3;
    default: break;
    }
    if (text_of(s->json, "module")) return KP_FORMAT_KERAS_3;
    return reader->old ? KP_FORMAT_KERAS_1 : KP_FORMAT_KERAS_2;
}

kp_status kp_keras_read(kp_reader *reader, json_t *json, kp_spec *ret)
{
    seen s = {.json = json};
    bool done = false;
    for (int i = 0; i < ENVELOPES_MAX && !done; i++) KP_TRY(step(reader, &s, &done));
    if (!done) return kp_fail(reader->err, KP_INPUT, "not a model: too many envelopes around it");
    KP_TRY(kp_keras_model(reader, s.json, &ret->model));
    ret->format = find_format(&s, reader);
    return kp_keras_compile(reader, s.compile, &ret->compile);
}

json_t *kp_reader_own(kp_reader *reader, json_t *json)
{
    if (!reader->owned) reader->owned = json_array();
    return json && !json_array_append_new(reader->owned, json) ? json : NULL;
}
