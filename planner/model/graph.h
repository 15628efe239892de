/* SPDX-License-Identifier: MIT
 *
 * planner/model/graph.h — a model as layers, weights, tensors and primitive ops.
 *
 * What the readers make from a file and everything behind reads. Two views of one model:
 *   - layers: a tree as in the file (nested models have children), for people: names, classes,
 *     output shapes, weights. A layer that is called several times stands once.
 *   - ops: a flat list in topological order, for machines: each layer call lowered to primitive
 *     ops (proto/ops.h) over tensors in single assignment. Nested models are flattened away.
 * All lists are arrays in the request's arena, referred to by index; KP_NO means "none".
 * The batch stays symbolic (proto/shape.h); other open dimensions are bound when the file is
 * read (kp_bind), or stay open: then kp_graph.open lists them. Immutable once read. */
#ifndef KP_PLANNER_MODEL_GRAPH_H
#define KP_PLANNER_MODEL_GRAPH_H

#include "planner/model/layers.h"
#include "proto/arena.h"
#include "proto/ops.h"
#include "proto/shape.h"

#define KP_NO UINT32_MAX

typedef enum kp_format {
    KP_FORMAT_KERAS_3,
    KP_FORMAT_KERAS_2,
    KP_FORMAT_KERAS_1,
    KP_FORMAT_TFJS,
    KP_FORMAT_HUGGINGFACE,
    KP_FORMAT_MEGATRON,
    KP_FORMAT_COUNT
} kp_format;
extern const char *const kp_format_names[KP_FORMAT_COUNT];

typedef enum kp_weight_role {
    KP_ROLE_KERNEL,    /* (in, out), (spatial..., in, out), einsum order */
    KP_ROLE_BIAS,
    KP_ROLE_RECURRENT, /* (units, gates x units) */
    KP_ROLE_TABLE,     /* (rows, width) */
    KP_ROLE_SCALE,     /* gamma, alpha, layer scale */
    KP_ROLE_SHIFT,     /* beta */
    KP_ROLE_STAT,      /* moving mean, moving variance, count: never trainable */
    KP_ROLE_STATE,     /* buffers of stateful layers */
    KP_ROLE_COUNT
} kp_weight_role;

typedef struct kp_weight {
    const char *path; /* Keras's variable path: "dense/kernel", "block/query/bias" */
    kp_shape shape;
    kp_dtype dtype;
    bool trainable;
    kp_weight_role role;
    uint32_t layer;   /* owner */
    bool expert;      /* of experts: axis 0 numbers them */
} kp_weight;

typedef struct kp_tensor {
    kp_shape shape;
    kp_dtype dtype;  /* compute dtype of its layer */
    uint32_t op;     /* that writes it */
    uint32_t layer;  /* of that op */
    uint32_t n_uses; /* ops that read it, plus one if it is an output of the model */
} kp_tensor;

typedef enum kp_cell { KP_CELL_SIMPLE, KP_CELL_GRU, KP_CELL_LSTM, KP_CELL_CONV_LSTM } kp_cell;

/* What an op needs beyond its tensors; zeroed where it does not apply. */
typedef struct kp_op_attr {
    kp_activation activation; /* ACT; RNN: the cell's */
    uint8_t spatial;          /* CONV*, POOL*: number of spatial dimensions */
    bool channels_first;
    bool same_padding;        /* CONV*, POOL*: 'same' or 'causal' */
    bool causal;              /* CONV: all padding stands before the sequence */
    bool transposed_w;        /* MATMUL: w is (out, in), as a tied embedding's table */
    bool return_sequences;    /* RNN */
    bool unrolled;            /* RNN: its steps are ops of their own */
    bool reset_after;         /* RNN: a GRU that resets the state behind its product */
    kp_cell cell;             /* RNN */
    uint32_t kernel[3], strides[3], dilation[3]; /* CONV*, POOL* */
    int32_t pad[3][2];        /* PAD: before and after, a spatial dimension; negative crops */
    uint32_t groups;          /* CONV, GROUPNORM */
    uint32_t heads;           /* ATTN_* */
    uint32_t steps;           /* RNN: sequence length, 0 if open */
    uint32_t units;           /* RNN */
    int32_t axis;             /* SOFTMAX, CONCAT, norms: the axis, >= 0 */
    double rate;              /* DROPOUT */
    bool requires_grad;       /* INPUT: a leaf whose gradient is kept (torch) */
    bool grad_in_place;       /* INPUT: in its own memory, by the op that reads it */
    const char *program;      /* OPAQUE: what the layer does in torch (estimate/program.h), or NULL */
    const uint64_t *sizes;    /* the sizes that it names, by letter: 26 */
    uint8_t products;         /* passes of the program in which products of matrices run: 0 to 2 */
    uint32_t keeps;           /* bit i: its backward pass reads input i */
} kp_op_attr;

typedef struct kp_graph_op {
    kp_op op;
    uint32_t layer;          /* innermost layer it belongs to */
    uint32_t call;           /* number of that layer's call, 0 for the first */
    const char *part;        /* within the layer: "query", "depthwise", "act"; "" if only one */
    const uint32_t *in;      /* tensors read */
    const uint32_t *out;     /* tensors written, mostly one */
    const uint32_t *weights; /* weights read */
    uint32_t n_in, n_out, n_weights;
    kp_op_attr attr;
    double forward_flops;    /* a sample; multiply-add = 2; NaN if a dimension is open */
} kp_graph_op;

typedef struct kp_layer {
    const char *name;        /* as in the file */
    const char *path;        /* unique: outer names joined by '/' */
    const char *class_name;  /* Keras class, as it is called in Keras 3 */
    const kp_layer_row *row; /* its rule; NULL for a nested model or an unknown layer */
    const kp_layer_cfg *cfg; /* its configuration; NULL for a nested model */
    uint32_t parent;         /* nested model around it, or KP_NO */
    uint32_t first_child, next; /* tree: first inner layer, next layer of the same level */
    bool is_model;
    bool trainable;          /* own flag and all outer ones */
    kp_dtype compute_dtype, variable_dtype;
    const kp_shape *outputs; /* of the first call, one a tensor */
    uint32_t n_outputs;
    uint32_t first_weight, n_weights; /* own weights; an inner layer's are with the inner layer */
    uint32_t n_calls;
    double forward_flops;    /* a sample, all calls, inner layers included */
} kp_layer;

typedef struct kp_open_dim {
    const char *input; /* input layer's name */
    uint32_t axis;     /* >= 1; the batch is not listed */
    uint32_t tensor;
} kp_open_dim;

typedef struct kp_model_warning {
    const char *code;  /* "unknown-layer", "assumed-shape", ... */
    const char *layer; /* path, or NULL */
    const char *message;
} kp_model_warning;

/* What the file says about training. Absent: NULL, or NaN. */
typedef struct kp_compile {
    const char *optimizer; /* as --optimizer has it: "adam", "sgd_momentum" */
    double learning_rate;
    bool amsgrad, centered, momentum, use_ema; /* extra slots */
    uint32_t grad_accum;                       /* 0 if not said */
    bool retain_graph;       /* "torch": {"retain_graph": true}, and the type of given gradients: */
    const char *gradient_dtype; /* {"gradient_dtype": "bfloat16"}, a name of kp_dtype_names; NULL */
    const char *loss;                          /* snake case, "categorical_crossentropy" */
    uint32_t torch_version; /* 100 x major + minor of "torch": {"version": "1.12"}; 0: not said */
    bool cudnn_benchmark;   /* torch.backends.cudnn.benchmark, in the same object */
    uint32_t tensorflow_version; /* the same of "tensorflow": {"version": "1.11"} */
    bool half_loss;                            /* in the outputs' own type, and in their place */
} kp_compile;

typedef struct kp_graph {
    const char *name;
    kp_format format;
    const kp_layer *layers;
    const kp_weight *weights;
    const kp_tensor *tensors;
    const kp_graph_op *ops; /* topological order; INPUT ops first */
    const uint32_t *inputs;  /* tensors */
    const uint32_t *outputs; /* tensors */
    const kp_open_dim *open;
    const kp_model_warning *warnings;
    uint32_t n_layers, n_weights, n_tensors, n_ops, n_inputs, n_outputs, n_open, n_warnings;
    uint32_t first_layer; /* of the top level, in the file's order */
    uint64_t fixed_batch; /* the file fixes the batch to this; 0: free */
    uint64_t params, trainable_params; /* elements; KP_ROLE_STATE not counted */
    kp_compile compile;
    const struct kp_oplan *oplan; /* a plan in the file (oplan.h); NULL: none */
    const struct kp_launch *launch; /* how the file says that it is trained (launch.h); NULL: not said */
    bool low_confidence;  /* an unknown layer's inside is not counted */
} kp_graph;

/* A dimension given by the user: input NULL = every open dimension. */
typedef struct kp_bind_dim {
    const char *input;
    uint32_t axis;
    int64_t size;
} kp_bind_dim;

typedef struct kp_bind {
    const kp_bind_dim *dims;
    uint32_t n_dims;
    int64_t seq;              /* --seq: axis 1 of inputs whose axis 1 is open; 0: not given */
    const char *dtype_policy; /* overrides the file's; NULL: not given */
    const char *layers_spec;  /* JSON text that describes custom layers (custom.h); NULL: none */
} kp_bind;

/* Reads a model file's bytes. `name` is for messages and the default model name. Fails with
 * KP_INPUT (malformed: place and cause), KP_UNSUPPORTED (a layer or dialect without a rule, named),
 * KP_USAGE (a --dim that names no input or contradicts the file), KP_NOMEM. The graph lives in
 * `arena`. Pure. */
kp_status kp_model_read(const char *bytes, size_t len, const char *name, const kp_bind *bind,
                        kp_arena *arena, const kp_graph **ret, kp_err *err);

struct json_t;

/* A model file's bytes to the document that holds the model: containers opened, weights left out, a
 * text within a text undone. The caller owns *ret. KP_INPUT, KP_UNSUPPORTED, KP_NOMEM. */
kp_status kp_model_parse(const char *bytes, size_t len, kp_arena *arena, struct json_t **ret,
                         kp_err *err);

/* kp_model_read from such a document, which is only read: for a model that is changed and read
 * again and again. */
kp_status kp_model_read_json(struct json_t *json, const char *name, const kp_bind *bind,
                             kp_arena *arena, const kp_graph **ret, kp_err *err);

/* Asserts what must hold of a graph: indices in range, ops in order, every tensor written once
 * before it is read, weights owned by their layer, totals equal the sums. For tests. */
void kp_graph_check(const kp_graph *graph);

/* The layer's output shapes, weights etc. as `kplan summary --json` prints them. */
struct kp_summary;
kp_status kp_graph_summary(const kp_graph *graph, kp_arena *arena, struct kp_summary *ret,
                           kp_err *err);

#endif
