/* SPDX-License-Identifier: MIT
 *
 * Field tables: what a model is (summary), and the parts that it shares with explain. */
#include "proto/messages.h"
#include "proto/rows.h"

/* ---- shared parts ---- */

#define T kp_warning
static const kp_field warning_fields[] = {
    STR(code, REQ, "kind of warning, a word that does not change"),
    STR(layer, NUL, "layer that it is about"),
    STR(message, REQ, "what was noticed"),
};
#undef T
const kp_schema kp_schema_warning =
    SCHEMA(kp_warning, warning_fields, "warning", "something to know");

#define T kp_assumption
static const kp_field assumption_fields[] = {
    STR(name, REQ, "what was assumed: framework, optimizer, ..."),
    STR(value, REQ, "its value"),
    STR(from, REQ, "where the value comes from, and the option that changes it"),
};
#undef T
const kp_schema kp_schema_assumption =
    SCHEMA(kp_assumption, assumption_fields, "assumption", "a value that was not asked for");

#define T kp_categories
static const kp_field categories_fields[] = {
#define KP_CATEGORY_FIELD(name, field, doc)                                                        \
    U64_AS(#field, bytes[KP_CAT_##name], REQ, "bytes: " doc),
    KP_CATEGORY_ROWS(KP_CATEGORY_FIELD)
#undef KP_CATEGORY_FIELD
};
#undef T
const kp_schema kp_schema_categories =
    SCHEMA(kp_categories, categories_fields, "categories", "bytes; the sum is the peak");

/* ---- summary ---- */

#define T kp_summary_weight
static const kp_field summary_weight_fields[] = {
    STR(path, REQ, "Keras's path of the weight"),
    DIMS(shape, REQ, "shape"),
    STR(dtype, REQ, "element type"),
    BOOL(trainable, REQ, "whether the optimizer changes it"),
};
#undef T
static const kp_schema summary_weight =
    SCHEMA(kp_summary_weight, summary_weight_fields, "weight", "one weight");

extern const kp_schema kp_schema_summary_layer; /* it holds itself: nested models */
#define T kp_summary_layer
static const kp_field summary_layer_fields[] = {
    STR(name, REQ, "name in the file"),
    STR_AS("class", class_name, REQ, "Keras class"),
    DIMSES(output_shapes, REQ, "one shape an output tensor of the layer's first call"),
    U64(params, REQ, "parameters"),
    U64(trainable, REQ, "trainable parameters"),
    U64(non_trainable, REQ, "other parameters"),
    STR(compute_dtype, NUL, "element type of the outputs"),
    STR(variable_dtype, NUL, "element type of the weights"),
    F64(forward_flops, NUL, "FLOPs of a forward pass of one sample; null: a dimension is open"),
    LIST(weights, &summary_weight, REQ, "weights; a nested model's stand in its layers"),
    LIST(layers, &kp_schema_summary_layer, OPT, "layers inside; only for nested models"),
};
#undef T
const kp_schema kp_schema_summary_layer =
    SCHEMA(kp_summary_layer, summary_layer_fields, "layer", "one layer");

#define T kp_params
static const kp_field params_fields[] = {
    U64(total, REQ, "all parameters"),
    U64(trainable, REQ, "those that the optimizer changes"),
    U64(non_trainable, REQ, "the others"),
};
#undef T
static const kp_schema params = SCHEMA(kp_params, params_fields, "params", "parameter counts");

#define T kp_summary
static const kp_field summary_fields[] = {
    STR(model, NUL, "the model's name"),
    STR(format, REQ, "kind of file: keras-3, keras-2, keras-1, tfjs, huggingface, megatron"),
    STRUCT(params, &params, REQ, "parameters of the whole model"),
    DIMSES(inputs, REQ, "shapes of the inputs"),
    DIMSES(outputs, REQ, "shapes of the outputs"),
    F64(forward_flops, NUL, "FLOPs of a forward pass of one sample; null: a dimension is open"),
    LIST(layers, &kp_schema_summary_layer, REQ, "layers in the file's order"),
    LIST(warnings, &kp_schema_warning, REQ, "what to know"),
};
#undef T
const kp_schema kp_schema_summary =
    SCHEMA(kp_summary, summary_fields, "kplan.summary/1", "layers, shapes, parameters, FLOPs");
