/* SPDX-License-Identifier: MIT
 *
 * inbound_nodes of all versions to calls. Keras 3 has one object {args, kwargs} a call, with
 * tensors anywhere in it as {"class_name": "__keras_tensor__"}; each also holds its shape. Before,
 * a call is a list of [layer, call, tensor, {kwargs}], or one such entry bare, and tensors in
 * kwargs are [layer, call, tensor]. There a nested model counts its calls from 1, because its own
 * making was call 0. Sources: keras/src/models/functional.py; tf.keras r2.15 engine/functional.py
 * and engine/node.py. */
#include "planner/model/rules.h"

/* Where tensors of a call are collected. */
typedef struct taking {
    kp_reader *reader;
    kp_spec_model *model;
    const kp_names *names;
    kp_ref **refs;
    uint32_t *n, *cap;
    uint32_t arg;
    const char *keyword, *key;
    bool old; /* some call has the old form */
} taking;

static kp_status add_ref(taking *t, const char *name, int64_t call, int64_t tensor)
{
    kp_reader *reader = t->reader;
    uint32_t layer = kp_names_find(t->names, name);
    if (layer == KP_NO)
        return kp_fail(reader->err, KP_INPUT, "reads layer '%.80s', which is not there", name);
    if (call < 0 || tensor < 0 || call > INT32_MAX || tensor > INT32_MAX)
        return kp_fail(reader->err, KP_INPUT, "reads call %lld, output %lld of layer '%.80s'",
                       (long long)call, (long long)tensor, name);
    if (!KP_GROW_FROM_ONE(reader->arena, *t->refs, *t->n, *t->cap)) return kp_nomem(reader->err);
    kp_ref *ref = &(*t->refs)[(*t->n)++];
    *ref = (kp_ref){.layer = layer, .call = (uint32_t)call, .tensor = (uint32_t)tensor,
                    .arg = t->keyword ? KP_NO : t->arg};
    if (t->keyword) ref->keyword = kp_arena_str(reader->arena, t->keyword);
    if (t->key) ref->key = kp_arena_str(reader->arena, t->key);
    if ((t->keyword && !ref->keyword) || (t->key && !ref->key)) return kp_nomem(reader->err);
    return KP_OK;
}

/* [name, call, tensor] or with kwargs behind. */
static bool is_triple(json_t *json)
{
    size_t n = json_array_size(json);
    return (n == 3 || n == 4) && json_is_string(json_array_get(json, 0)) &&
           json_is_integer(json_array_get(json, 1)) && json_is_integer(json_array_get(json, 2));
}

static kp_status add_triple(taking *t, json_t *json)
{
    return add_ref(t, json_string_value(json_array_get(json, 0)),
                   json_integer_value(json_array_get(json, 1)),
                   json_integer_value(json_array_get(json, 2)));
}

/* The shape that the file holds with a tensor belongs to the layer that makes it. */
static kp_status keep_said(taking *t, json_t *config, const kp_ref *ref)
{
    kp_reader *reader = t->reader;
    kp_spec_layer *from = &t->model->layers[ref->layer];
    json_t *shape = json_object_get(config, "shape");
    const char *dtype = json_string_value(json_object_get(config, "dtype"));
    kp_said said = {.call = ref->call, .tensor = ref->tensor, .seen = from->n_said,
                    .dtype = KP_FLOAT32};
    if (!kp_json_list(shape) || json_array_size(kp_json_list(shape)) == 0) return KP_OK;
    uint64_t batch;
    KP_TRY(kp_keras_shape(shape, "shape", &said.shape, &batch, reader->err));
    if (dtype) kp_dtype_from_name(dtype, &said.dtype);
    if (!KP_GROW_FROM_ONE(reader->arena, from->said, from->n_said, from->cap_said))
        return kp_nomem(reader->err);
    from->said[from->n_said++] = said;
    return KP_OK;
}

static kp_status take_keras_tensor(taking *t, json_t *json)
{
    json_t *config = json_object_get(json, "config");
    json_t *history = json_object_get(config, "keras_history");
    if (!is_triple(history))
        return kp_fail(t->reader->err, KP_INPUT, "has a tensor without a 'keras_history'");
    KP_TRY(add_triple(t, history));
    return keep_said(t, config, &(*t->refs)[*t->n - 1]);
}

static kp_status take(taking *t, json_t *json, bool triples);

/* Keys of a plain object name inputs; Keras's own objects hold lists in "items". */
static kp_status take_object(taking *t, json_t *json, bool triples)
{
    const char *class_name = json_string_value(json_object_get(json, "class_name"));
    if (class_name && !strcmp(class_name, "__keras_tensor__")) return take_keras_tensor(t, json);
    const char *outer = t->key;
    for (void *it = json_object_iter(json); it; it = json_object_iter_next(json, it)) {
        if (!class_name) t->key = json_object_iter_key(it);
        KP_TRY(take(t, json_object_iter_value(it), triples));
        t->key = outer;
    }
    return KP_OK;
}

static kp_status take(taking *t, json_t *json, bool triples)
{
    if (json_is_object(json)) return take_object(t, json, triples);
    if (!json_is_array(json)) return KP_OK;
    if (triples && is_triple(json)) return add_triple(t, json);
    for (size_t i = 0; i < json_array_size(json); i++)
        KP_TRY(take(t, json_array_get(json, i), triples));
    return KP_OK;
}

static kp_status take_kwargs(taking *t, json_t *kwargs, bool triples)
{
    for (void *it = json_object_iter(kwargs); it; it = json_object_iter_next(kwargs, it)) {
        t->keyword = json_object_iter_key(it);
        KP_TRY(take(t, json_object_iter_value(it), triples));
    }
    t->keyword = NULL;
    return KP_OK;
}

/* ---- one call ---- */

static kp_status new_call(taking *t, json_t *json, kp_spec_call *call)
{
    call->args = json_object_get(json, "args");
    call->kwargs = json_object_get(json, "kwargs");
    for (size_t i = 0; i < json_array_size(call->args); i++) {
        t->arg = (uint32_t)i;
        KP_TRY(take(t, json_array_get(call->args, i), false));
    }
    return take_kwargs(t, call->kwargs, false);
}

/* ["_CONSTANT_VALUE", -1, value, {kwargs}]: the first argument is no tensor. */
static bool is_constant(json_t *json)
{
    const char *name = json_string_value(json_array_get(json, 0));
    return name && !strcmp(name, "_CONSTANT_VALUE");
}

/* Entries of the old form; kwargs repeat in every entry, so those of the first count. */
static kp_status old_entries(taking *t, json_t *json, kp_spec_call *call, unsigned depth)
{
    if (!json_is_array(json)) return KP_OK;
    if (is_triple(json) || is_constant(json)) {
        if (!is_constant(json)) KP_TRY(add_triple(t, json));
        json_t *kwargs = json_array_get(json, 3);
        if (!call->kwargs && json_is_object(kwargs)) call->kwargs = kwargs;
        return KP_OK;
    }
    for (size_t i = 0; i < json_array_size(json) && depth < 8; i++)
        KP_TRY(old_entries(t, json_array_get(json, i), call, depth + 1));
    return KP_OK;
}

static kp_status read_call(taking *t, json_t *json, kp_spec_call *call)
{
    t->refs = &call->refs;
    t->n = &call->n_refs;
    t->cap = &call->cap_refs;
    if (json_is_object(json)) return new_call(t, json, call);
    if (!json_is_array(json))
        return kp_fail(t->reader->err, KP_INPUT, "'inbound_nodes' holds neither lists nor objects");
    t->old = true;
    KP_TRY(old_entries(t, json, call, 0));
    return take_kwargs(t, call->kwargs, true);
}

static kp_status read_calls(taking *t, kp_spec_layer *layer)
{
    kp_reader *reader = t->reader;
    json_t *nodes = json_object_get(layer->json, "inbound_nodes");
    if (nodes && !json_is_array(nodes))
        return kp_fail(reader->err, KP_INPUT, "'inbound_nodes' is no list");
    size_t n = json_array_size(nodes);
    bool input = kp_spec_is_input(layer);
    if (input) n = 1;
    layer->calls = KP_NEW(reader->arena, kp_spec_call, n);
    if (!layer->calls) return kp_nomem(reader->err);
    layer->n_calls = (uint32_t)n;
    for (size_t i = 0; i < n && !input; i++)
        KP_TRY(read_call(t, json_array_get(nodes, i), &layer->calls[i]));
    return KP_OK;
}

/* ---- calls of nested models that count from 1 ---- */

typedef void on_ref(kp_ref *ref, uint32_t *least);

static void note_least(kp_ref *ref, uint32_t *least)
{
    if (ref->call < least[ref->layer]) least[ref->layer] = ref->call;
}

static void take_off(kp_ref *ref, uint32_t *least)
{
    ref->call -= least[ref->layer];
}

static void each_ref(kp_spec_model *model, on_ref *what, uint32_t *least)
{
    for (uint32_t i = 0; i < model->n_layers; i++)
        for (uint32_t j = 0; j < model->layers[i].n_calls; j++)
            for (uint32_t k = 0; k < model->layers[i].calls[j].n_refs; k++)
                what(&model->layers[i].calls[j].refs[k], least);
    for (uint32_t i = 0; i < model->n_outputs; i++) what(&model->outputs[i], least);
}

static kp_status renumber(kp_reader *reader, kp_spec_model *model)
{
    uint32_t *least = KP_NEW(reader->arena, uint32_t, model->n_layers);
    if (!least) return kp_nomem(reader->err);
    for (uint32_t i = 0; i < model->n_layers; i++)
        least[i] = model->layers[i].model ? UINT32_MAX : 0;
    each_ref(model, note_least, least);
    each_ref(model, take_off, least);
    return KP_OK;
}

/* Keras 3 counts so too, but in output_layers alone, and not for a Sequential. */
static void renumber_outputs(kp_spec_model *model)
{
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        kp_ref *ref = &model->outputs[i];
        const kp_spec_model *inner = model->layers[ref->layer].model;
        if (inner && !inner->sequential && ref->call) ref->call--;
    }
}

/* ---- inputs and outputs of the model ---- */

static kp_status read_outputs(taking *t, json_t *config)
{
    kp_spec_model *model = t->model;
    t->refs = &model->outputs;
    t->n = &model->n_outputs;
    t->cap = &model->cap_outputs;
    t->keyword = t->key = NULL;
    KP_TRY(take(t, json_object_get(config, "output_layers"), true));
    if (model->n_outputs) return KP_OK;
    return kp_fail(t->reader->err, KP_INPUT, "'output_layers' names no layer");
}

/* Listed inputs first, in their order; inputs that the list forgets follow. */
static kp_status read_inputs(taking *t, json_t *config)
{
    kp_reader *reader = t->reader;
    kp_spec_model *model = t->model;
    kp_ref *refs = NULL;
    uint32_t n = 0, cap = 0;
    t->refs = &refs;
    t->n = &n;
    t->cap = &cap;
    KP_TRY(take(t, json_object_get(config, "input_layers"), true));
    model->inputs = KP_NEW(reader->arena, uint32_t, model->n_layers);
    model->input_keys = KP_NEW(reader->arena, const char *, model->n_layers);
    bool *listed = KP_NEW(reader->arena, bool, model->n_layers);
    if (!model->inputs || !model->input_keys || !listed) return kp_nomem(reader->err);
    for (uint32_t i = 0; i < n; i++) {
        kp_spec_layer *layer = &model->layers[refs[i].layer];
        if (!kp_spec_is_input(layer))
            return kp_fail(reader->err, KP_INPUT, "'input_layers' names '%.80s', which is no input",
                           layer->name);
        if (listed[refs[i].layer]) continue;
        listed[refs[i].layer] = true;
        model->input_keys[model->n_inputs] = refs[i].key ? refs[i].key : layer->name;
        model->inputs[model->n_inputs++] = refs[i].layer;
    }
    for (uint32_t i = 0; i < model->n_layers; i++) {
        if (listed[i] || !kp_spec_is_input(&model->layers[i])) continue;
        model->input_keys[model->n_inputs] = model->layers[i].name;
        model->inputs[model->n_inputs++] = i;
    }
    if (model->n_inputs) return KP_OK;
    return kp_fail(reader->err, KP_INPUT, "the model has no input");
}

kp_status kp_keras_calls(kp_reader *reader, json_t *config, kp_spec_model *model)
{
    kp_names names;
    KP_TRY(kp_names_make(model, reader->arena, &names, reader->err));
    taking t = {.reader = reader, .model = model, .names = &names};
    for (uint32_t i = 0; i < model->n_layers; i++) {
        kp_status status = read_calls(&t, &model->layers[i]);
        if (status == KP_INPUT) kp_err_at(reader->err, "layer '%.60s'", model->layers[i].name);
        KP_TRY(status);
    }
    for (uint32_t i = 0; i < model->n_layers; i++) kp_spec_sort_said(&model->layers[i]);
    KP_TRY(read_outputs(&t, config));
    KP_TRY(read_inputs(&t, config));
    if (t.old) return renumber(reader, model);
    renumber_outputs(model);
    return KP_OK;
}
