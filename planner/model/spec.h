/* SPDX-License-Identifier: MIT
 *
 * planner/model/spec.h — a model as its file says it, the same for every dialect.
 *
 * What a reader of a dialect makes and the builder (build.c) walks. A model is a list of layers in
 * the file's order; a layer is called any number of times, each call on tensors that other calls
 * made. A Sequential is written as the chain of calls that it is. Nested models and the layers
 * inside wrappers are the same structs again. References are indices within one model; all of it
 * lives in the request's arena, but for the JSON, which lives as long as the reading. */
#ifndef KP_PLANNER_MODEL_SPEC_H
#define KP_PLANNER_MODEL_SPEC_H

#include "planner/model/graph.h"
#include <jansson.h>

#define KP_NEST_MAX   32      /* models within models, layers within wrappers */
#define KP_LAYERS_MAX 65536u  /* of one file */

/* KP_GROW for lists that mostly have one item: capacities 1, 2, 4, ... */
#define KP_GROW_FROM_ONE(arena, items, n, cap)                                                     \
    ((n) < (cap) || kp_grow_from_one((arena), (void **)&(items), (n), &(cap), sizeof(*(items))))
bool kp_grow_from_one(kp_arena *arena, void **items, uint32_t n, uint32_t *cap, size_t size);

typedef struct kp_spec_model kp_spec_model;

/* One tensor handed to a call, or an output of a model. */
typedef struct kp_ref {
    uint32_t layer, call, tensor; /* who makes it, within the same model */
    uint32_t arg;                 /* position among the call's arguments; KP_NO: by keyword */
    const char *keyword;          /* NULL: by position */
    const char *key;              /* its key if it stood in an object (named inputs); else NULL */
} kp_ref;

typedef struct kp_spec_call {
    kp_ref *refs;
    uint32_t n_refs, cap_refs;
    json_t *args;   /* what is not a tensor in them is read by the rules of operations */
    json_t *kwargs;
} kp_spec_call;

/* What the file itself says of an output: consumers hold the shape of what they read. A layer's are
 * sorted by call and output, and each stands once. */
typedef struct kp_said {
    uint32_t call, tensor;
    uint32_t seen; /* of several readers the first in the file counts */
    kp_shape shape;
    kp_dtype dtype;
} kp_said;

typedef enum kp_quantized {
    KP_QUANTIZED_NONE, KP_QUANTIZED_INT8, KP_QUANTIZED_FLOAT8
} kp_quantized;

/* A layer's types: what it computes in, what its variables are, and how they are packed. */
typedef struct kp_policy {
    kp_dtype compute, variable;
    kp_quantized quantized;
    int64_t history; /* float8: length of the histories of maxima */
} kp_policy;

typedef struct kp_spec_layer {
    const char *name, *class_name;
    json_t *json;              /* the layer's own object */
    json_t *config;            /* its configuration with the keys of Keras 3 */
    const kp_layer_row *row;   /* NULL: a nested model or a class without a rule */
    const kp_layer_cfg *cfg;
    kp_spec_model *model;      /* a nested model, or NULL */
    bool trainable;            /* own flag alone */
    bool implicit;             /* the input of a Sequential that names none: no layer of the file */
    bool has_policy;
    kp_policy policy;
    kp_spec_call *calls;
    uint32_t n_calls;
    kp_said *said;
    uint32_t n_said, cap_said;
    uint32_t layer;            /* index in the graph once it has one */
} kp_spec_layer;

typedef struct kp_spec_step {
    uint32_t layer, call;
} kp_spec_step;

struct kp_spec_model {
    const char *name, *class_name;
    bool sequential, trainable;
    kp_spec_layer *layers;
    uint32_t n_layers;
    uint32_t *inputs;          /* input layers, in the order in which the model takes them */
    const char **input_keys;   /* names of the inputs if the file has them in an object; or NULL */
    uint32_t n_inputs;
    kp_ref *outputs;
    uint32_t n_outputs, cap_outputs;
    const kp_spec_step *order; /* all calls, topological, ties in the file's order */
    uint32_t n_order;
};

typedef struct kp_spec {
    kp_spec_model *model;
    kp_format format;
    kp_compile compile;
    const struct kp_oplan *oplan; /* NULL: the file has none */
    const struct kp_launch *launch; /* NULL: the file says nothing of a run */
    json_t *container; /* what the file's container says (planner/container/join.h), or NULL */
    kp_model_warning notes[3]; /* what of the file the model leaves out */
    uint32_t n_notes;
} kp_spec;

/* What all readers share. */
typedef struct kp_reader {
    kp_arena *arena;
    const char *name;       /* of the file without folder and extension: a model's default name */
    const char *policy;     /* replaces the policies of the file; NULL: none */
    uint32_t depth;         /* nesting so far */
    uint32_t n_layers;      /* read so far */
    bool old;               /* some layer has names of Keras 1 */
    bool channels_first;    /* the last 'dim_ordering' was "th" */
    json_t *owned;          /* list of documents made while reading, or NULL */
    kp_err *err;
} kp_reader;

/* A kind of model file. */
typedef struct kp_recogniser {
    const char *what;
    bool (*test)(const json_t *json); /* by content; looks only at a few keys */
    kp_status (*read)(kp_reader *reader, json_t *json, kp_spec *ret);
} kp_recogniser;

/* A copy of JSON text in which base64 texts too long for a name are empty (blobs.c). It parses if and
 * only if the original does. In the arena; NULL: no memory. */
const char *kp_without_blobs(const char *bytes, size_t len, kp_arena *arena, size_t *ret_len);

/* Keras models of all versions, bare or inside what tfjs, frugally-deep and others put around them
 * (keras_file.c). */
bool kp_keras_test(const json_t *json);
kp_status kp_keras_read(kp_reader *reader, json_t *json, kp_spec *ret);

/* Keeps a document until the reading ends and returns it; takes the caller's reference. NULL: `json`
 * is NULL or memory ran out. */
json_t *kp_reader_own(kp_reader *reader, json_t *json);

/* Reads a Keras model object {class_name, config, ...}. KP_INPUT, KP_UNSUPPORTED, KP_NOMEM. */
kp_status kp_keras_model(kp_reader *reader, json_t *json, kp_spec_model **ret);

/* Reads one layer object, a nested model or a wrapper's inner layer included, without its calls. */
kp_status kp_keras_layer(kp_reader *reader, json_t *json, uint32_t index, kp_spec_layer *ret);

/* Reads all layers' inbound_nodes and the model's inputs and outputs (`config`): names become
 * indices. */
kp_status kp_keras_calls(kp_reader *reader, json_t *config, kp_spec_model *model);

/* Layer names to indices: open addressing. */
typedef struct kp_names {
    const kp_spec_model *model;
    uint32_t *slots; /* index + 1; 0: empty */
    uint32_t mask;
} kp_names;
/* KP_INPUT if two layers have one name. */
kp_status kp_names_make(const kp_spec_model *model, kp_arena *arena, kp_names *ret, kp_err *err);
uint32_t kp_names_find(const kp_names *names, const char *name); /* KP_NO: none */

/* Makes a Sequential's chain of calls, and its input if the file names none (`json`: the model's
 * object). */
kp_status kp_keras_chain(kp_reader *reader, json_t *json, kp_spec_model *model);

/* A Sequential that begins with a Merge of models (keras_branches.c): whether it does, and its layers
 * with inputs and branches in front; *ret_merge is the Merge, called on the branches. */
bool kp_keras_has_branches(const kp_spec_layer *first);
kp_status kp_keras_branches(kp_reader *reader, kp_spec_model *model, uint32_t *ret_merge);

/* The input shape in a layer's configuration, in any of the spellings; rank 0 if it has none. */
kp_status kp_keras_input_shape(kp_reader *reader, const json_t *config, kp_shape *ret,
                               uint64_t *ret_batch);
bool kp_spec_is_input(const kp_spec_layer *layer);

/* compile_config or training_config to a kp_compile; an absent or odd one leaves fields absent. */
kp_status kp_keras_compile(kp_reader *reader, const json_t *json, kp_compile *ret);

/* "tensorflow": {"version": "1.11"} of such an object, or of a Hugging Face configuration: which
 * TensorFlow runs the step. */
void kp_compile_tensorflow(const json_t *json, kp_compile *ret);
/* The same for "torch": {"version": "1.12", "cudnn_benchmark": true}. */
void kp_compile_torch(const json_t *json, kp_compile *ret);

/* Fills model->order. KP_INPUT: a cycle (named), a call that is not there. */
kp_status kp_spec_order(kp_spec_model *model, kp_arena *arena, kp_err *err);

/* What the file says of an output; NULL: nothing. */
void kp_spec_sort_said(kp_spec_layer *layer);
const kp_said *kp_spec_said(const kp_spec_layer *layer, uint32_t call, uint32_t tensor);

/* A JSON list or Keras's {"class_name": "__tuple__", "items": [...]}; NULL if it is neither. */
json_t *kp_json_list(json_t *json);

/* A shape as Keras writes it: axis 0 is the batch (its number goes to *ret_batch, 0 if open).
 * KP_INPUT names `key`. */
kp_status kp_keras_shape(json_t *json, const char *key, kp_shape *ret, uint64_t *ret_batch,
                         kp_err *err);

/* A dtype policy (a name, a policy object). KP_INPUT if it is none, KP_UNSUPPORTED for a packing
 * without a rule. */
kp_status kp_keras_policy(const json_t *json, kp_policy *ret, kp_err *err);
bool kp_policy_from_name(const char *name, kp_policy *ret);

#endif
