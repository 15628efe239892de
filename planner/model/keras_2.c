/* SPDX-License-Identifier: MIT
 *
 * tf.keras: TensorFlow's functions stand in the graph as layers. TFOpLambda (2.4 to 2.15) names a
 * function and has its arguments in the call; TensorFlowOpLayer (2.0 to 2.3) holds a node of
 * TensorFlow's graph with its attributes and constants; SlicingOpLambda is x[...]. All become
 * operations of keras.ops. Source: tf.keras r2.15, layers/core/tf_op_layer.py; tensorflow 2.3,
 * engine/base_layer.py, TensorFlowOpLayer. */
#include "planner/model/tf_ops.h"
#include "proto/json.h"

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

/* A function without an operation in keras.ops is an unknown layer, as a custom one. */
static void become(kp_dialect *layer, const kp_tf_op *op)
{
    layer->foreign = !op;
    if (!op) return;
    layer->rule = op->rule;
    layer->module = op->layer ? NULL : KP_MODULE_OPS;
}

/* ---- TFOpLambda ---- */

/* The arguments of the layer's first call: they stand in its last entry. */
static json_t *call_arguments(const json_t *json)
{
    json_t *at = json_array_get(json_object_get(json, "inbound_nodes"), 0);
    for (int depth = 0; depth < 8 && json_is_array(at); depth++) {
        json_t *last = json_array_get(at, json_array_size(at) - 1);
        if (json_is_object(last)) return last;
        at = json_array_get(at, 0);
    }
    return NULL;
}

/* tf.split's list holds sizes, keras.ops.split's the borders between them. */
static json_t *borders_of(const json_t *sizes)
{
    if (!json_is_array(sizes)) return json_incref((json_t *)(uintptr_t)sizes);
    json_t *list = json_array();
    json_int_t at = 0;
    for (size_t i = 0; i + 1 < json_array_size(sizes); i++) {
        json_int_t size = json_integer_value(json_array_get(sizes, i));
        if (size < 0 || size > KP_DIM_MAX || json_array_append_new(list, json_integer(at += size))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *item_of(const json_t *list, size_t i)
{
    json_t *item = json_array_get(list, i);
    return item ? json_incref(item) : json_null();
}

/* A shape made of tensors is no literal: names stand in its list. */
static bool is_literal(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (json_is_string(item) || json_is_object(item) || !is_literal(item)) return false;
    }
    return !json_is_object(value);
}

static kp_status set_argument(kp_reader *reader, kp_dialect *layer, const kp_tf_arg *arg,
                              json_t *value)
{
    if (!value || json_is_null(value)) return KP_OK;
    if (!is_literal(value)) {
        become(layer, NULL);
        return KP_OK;
    }
    switch (arg->how) {
    case KP_TF_PLAIN: return kp_dialect_set(reader, layer, arg->now, json_incref(value));
    case KP_TF_BORDERS: return kp_dialect_set(reader, layer, arg->now, borders_of(value));
    case KP_TF_HEIGHT_WIDTH:
        KP_TRY(kp_dialect_set(reader, layer, "height", item_of(value, 0)));
        return kp_dialect_set(reader, layer, "width", item_of(value, 1));
    }
    return KP_OK;
}

/* "__operators__.add", "math.add", "nn.relu": the last part names the function. */
static kp_status read_lambda(kp_reader *reader, kp_dialect *layer)
{
    const char *function = text_of(layer->config, "function");
    const char *dot = function ? strrchr(function, '.') : NULL;
    const kp_tf_op *op = function ? kp_tf_function(dot ? dot + 1 : function) : NULL;
    json_t *arguments = call_arguments(layer->json);
    become(layer, op);
    for (size_t i = 0; op && i < KP_TF_ARGS && op->args[i].old; i++)
        KP_TRY(set_argument(reader, layer, &op->args[i],
                            json_object_get(arguments, op->args[i].old)));
    return KP_OK;
}

/* ---- SlicingOpLambda ---- */

/* {"start", "stop", "step"} as Keras 3 writes a slice. */
static json_t *slice_of(json_t *item)
{
    const char *class_name = text_of(item, "class_name");
    if (class_name && strcmp(class_name, "__ellipsis__")) return json_incref(item);
    if (!json_is_object(item) || class_name) return json_incref(item);
    return json_pack("{s:s, s:O}", "class_name", "__slice__", "config", item);
}

static kp_status read_slicing(kp_reader *reader, kp_dialect *layer)
{
    json_t *spec = kp_json_list(json_object_get(call_arguments(layer->json), "slice_spec"));
    become(layer, kp_tf_function("getitem"));
    if (!spec) return KP_OK;
    json_t *key = kp_reader_own(reader, json_array());
    if (!key) return kp_nomem(reader->err);
    for (size_t i = 0; i < json_array_size(spec); i++)
        if (json_array_append_new(key, slice_of(json_array_get(spec, i))))
            return kp_nomem(reader->err);
    return kp_dialect_set(reader, layer, "key", json_incref(key));
}

/* ---- TensorFlowOpLayer ---- */

/* An attribute of a node: {"i": "2"}, {"b": true}, {"list": {"i": ["1"]}}. Integers are texts. */
static json_t *number_of(const json_t *json)
{
    const char *text = json_string_value(json);
    char *end;
    long long v = text ? strtoll(text, &end, 10) : 0;
    if (text) return *text && !*end ? json_integer(v) : NULL;
    return json_is_integer(json) ? json_integer(json_integer_value(json)) : NULL;
}

static json_t *attribute_of(const json_t *attr)
{
    json_t *list = json_object_get(json_object_get(attr, "list"), "i");
    if (json_is_boolean(json_object_get(attr, "b"))) return json_incref(json_object_get(attr, "b"));
    if (json_object_get(attr, "i")) return number_of(json_object_get(attr, "i"));
    if (!json_is_array(list)) return NULL;
    json_t *made = json_array();
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_array_append_new(made, number_of(json_array_get(list, i)))) {
            json_decref(made);
            return NULL;
        }
    return made;
}

/* Constants by input ("1": [0, 2]), attributes by name. */
static kp_status read_node(kp_reader *reader, kp_dialect *layer, json_t *node)
{
    const char *name = text_of(node, "op");
    const kp_tf_op *op = name ? kp_tf_node(name) : NULL;
    json_t *constants = json_object_get(layer->config, "constants");
    json_t *attrs = json_object_get(node, "attr");
    become(layer, op);
    for (size_t i = 0; op && i < KP_TF_ARGS && op->args[i].old; i++) {
        const kp_tf_arg *arg = &op->args[i];
        json_t *value = json_object_get(constants, arg->old);
        json_t *attr = value ? json_incref(value) : attribute_of(json_object_get(attrs, arg->old));
        attr = kp_reader_own(reader, attr);
        KP_TRY(set_argument(reader, layer, arg, attr));
    }
    return KP_OK;
}

static kp_status read_op_layer(kp_reader *reader, kp_dialect *layer)
{
    json_t *node = json_object_get(layer->config, "node_def");
    if (json_is_string(node)) {
        json_t *parsed = NULL;
        KP_TRY(kp_json_parse(json_string_value(node), json_string_length(node), &parsed,
                             reader->err));
        node = kp_reader_own(reader, parsed);
        if (!node) return kp_nomem(reader->err);
    }
    return read_node(reader, layer, node);
}

kp_status kp_keras_2_layer(kp_reader *reader, kp_dialect *layer)
{
    static const struct {
        const char *class_name;
        kp_status (*read)(kp_reader *reader, kp_dialect *layer);
    } readers[] = {
        {"SlicingOpLambda", read_slicing},
        {"TFOpLambda", read_lambda},
        {"TensorFlowOpLayer", read_op_layer},
    };
    for (size_t i = 0; i < KP_LEN(readers); i++)
        if (!strcmp(layer->class_name, readers[i].class_name)) return readers[i].read(reader, layer);
    return KP_OK;
}
