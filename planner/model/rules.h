/* SPDX-License-Identifier: MIT
 *
 * planner/model/rules.h — the insides of the layer table: configurations, rows, rules.
 *
 * Internal to the room. A row of layer_rows.c names a class, the configuration keys that matter
 * and three rules; all rules of one call work on a kp_rule: `shape` appends the output shapes,
 * `weights` declares the weights, `lower` emits primitive ops. The builder runs them in this order
 * for every call of a layer; on later calls `weights` only checks that the shapes still agree. */
#ifndef KP_PLANNER_MODEL_RULES_H
#define KP_PLANNER_MODEL_RULES_H

#include "planner/model/spec.h"

/* Frameworks hand dimensions to cuBLAS and cuDNN as 32-bit integers. */
#define KP_CFG_INT_MAX INT32_MAX

/* Variant of a recurrent row, beside the kp_cell: cuDNN's layout of weights. */
#define KP_CELL_CUDNN 16

typedef enum kp_padding { KP_PAD_VALID, KP_PAD_SAME, KP_PAD_CAUSAL, KP_PAD_FULL, KP_PAD_COUNT } kp_padding;
typedef enum kp_merge_mode {
    KP_MERGE_CONCAT, KP_MERGE_SUM, KP_MERGE_MUL, KP_MERGE_AVE, KP_MERGE_NONE, KP_MERGE_COUNT
} kp_merge_mode;

/* A short list of integers; KP_DIM_OPEN stands for null. */
typedef struct kp_ints {
    bool given; /* the key was there and not null */
    bool single; /* a bare number, not a list */
    uint32_t n;
    int64_t v[KP_RANK_MAX];
} kp_ints;

/* One layer's configuration, read by its row's fields; what the row does not name stays zero. */
struct kp_layer_cfg {
    int64_t units, filters, rows, width, count, groups, depth_multiplier;
    int64_t heads, kv_heads, key_dim, value_dim, lora_rank, height;
    uint32_t kernel[3], strides[3], dilation[3], size[3];
    int32_t output_padding[3]; /* -1: not given */
    int32_t pad[3][2];
    kp_padding padding;
    kp_merge_mode merge_mode;
    kp_activation activation, recurrent_activation;
    bool channels_first, use_bias, center, scale, return_sequences, return_state, stateful;
    bool go_backwards, unroll, reset_after, keepdims, use_scale, use_gate, renorm, rms_scaling, tied;
    bool mean_given, norm_first;
    double rate;
    kp_ints axis, dims;     /* axis, axes, shared_axes, ...; target_shape, output_shape, ... */
    kp_ints boundaries;     /* only how many */
    kp_shape batch_shape;   /* InputLayer: rank 0 if it says none */
    uint64_t fixed_batch;
    const char *text, *bias_axes; /* equation, score_mode, output_mode; EinsumDense's bias_axes */
    bool transpose_a, transpose_b;
    json_t *key;            /* of x[key] where it is no argument of the call */
    kp_spec_layer *inner;   /* wrappers: layer, backward layer; cells */
    uint32_t n_inner;
    const struct kp_hf_attn *attn;   /* transformers described by sizes (hf.h) */
    const struct kp_hf_mlp *mlp;
    const struct kp_hf_mixer *mixer;
};

typedef enum kp_cfg_type {
    KP_CFG_INT, KP_CFG_BOOL, KP_CFG_NUM, KP_CFG_TEXT, KP_CFG_ACTIVATION, KP_CFG_WINDOW,
    KP_CFG_PADS, KP_CFG_PAIRS, KP_CFG_PADDING, KP_CFG_FORMAT, KP_CFG_INTS, KP_CFG_GIVEN,
    KP_CFG_COUNT_OF,
    KP_CFG_MERGE, KP_CFG_LAYER, KP_CFG_LAYERS, KP_CFG_JSON, KP_CFG_TYPE_COUNT
} kp_cfg_type;

/* One key of a configuration. */
typedef struct kp_cfg_field {
    const char *key;
    kp_cfg_type type;
    bool required;           /* absent or null is an error; else it is `fallback` */
    uint32_t offset;
    double fallback;
} kp_cfg_field;

typedef struct kp_cfg_schema {
    const kp_cfg_field *fields;
    uint32_t n;
} kp_cfg_schema;

typedef struct kp_rule kp_rule;
typedef kp_status kp_rule_fn(kp_rule *rule);

struct kp_layer_row {
    const char *class_name;
    uint8_t spatial;            /* spatial dimensions; 0 where it does not apply */
    uint8_t variant;            /* kp_cell, kp_op, ...: what the rules need to tell classes apart */
    uint8_t n_in_min, n_in_max; /* tensors it takes; 255: any number */
    const kp_cfg_schema *cfg;
    kp_rule_fn *shape, *weights, *lower;
};

/* Sorted by class name. */
extern const kp_layer_row kp_layer_rows[]; /* classes of keras.layers and of keras.applications */
extern const size_t kp_layer_n_rows;
extern const kp_layer_row kp_math_rows[];  /* operations of keras.ops: Add, Matmul, ... */
extern const size_t kp_math_n_rows;

extern const kp_layer_row kp_neighbour_rows[]; /* KerasHub's and others' */
extern const size_t kp_neighbour_n_rows;

/* Layers of torch's libraries (torch_rows.c): the row of a class of a package, or NULL. */
const kp_layer_row *kp_torch_row_find(const char *class_name);
bool kp_torch_row_is_of(const char *class_name, const char *package);
bool kp_row_is_torch(const kp_layer_row *row);
#define KP_MODULE_TORCH "torch"

/* In place of a module for the rows of neighbour_rows.c, KP_MODULE_OPS for operations. */
#define KP_MODULE_NEIGHBOUR "neighbour"
#define KP_MODULE_OPS       "keras.ops"

/* The row of a class. Operations and layers share names ("Add"), so the module decides. */
const kp_layer_row *kp_row_find(const char *module, const char *class_name);
bool kp_row_is_math(const kp_layer_row *row);

/* Reads `config` by the row's fields. KP_INPUT names the key. */
kp_status kp_cfg_read(kp_reader *reader, const kp_layer_row *row, const json_t *config,
                      const kp_layer_cfg **ret);

/* ---- one call of one layer, as its rules see it ---- */

typedef struct kp_build kp_build;

struct kp_rule {
    kp_build *build;
    kp_arena *arena;
    kp_err *err;
    const kp_layer_row *row;
    const kp_layer_cfg *cfg;
    const kp_spec_call *call;   /* NULL inside wrappers */
    const char *name;           /* of the layer, for messages */
    const char *scope;          /* path of its weights: "block/dense" */
    const char *part;           /* of the wrapper it is in: "forward"; "" outside */
    uint32_t layer;             /* in the graph: the wrapper's inside wrappers */
    bool trainable;
    kp_dtype compute, variable;
    kp_quantized quantized;
    int64_t history;            /* float8: length of the histories of maxima */
    const uint32_t *in;         /* tensors it takes, masks and states left out */
    const kp_shape *x;          /* their shapes */
    uint32_t n_in;
    const uint32_t *args;       /* all tensors of the call, as call->refs; NULL inside wrappers */
    kp_shape *y;                /* output shapes */
    uint32_t *out;              /* output tensors */
    uint32_t n_y, n_out, cap_y, cap_out;
    uint32_t first_weight, n_weights;
    uint32_t cursor;            /* next weight to check on later calls */
    bool first;                 /* first call: weights are made */
};

/* A new op: what is zero stays out. flops 0: what the op's kind costs an element. */
typedef struct kp_new_op {
    kp_op op;
    const char *part;
    const uint32_t *in;
    uint32_t n_in;
    uint32_t weights[4];
    uint32_t n_weights;
    const kp_shape *outs; /* n_outs > 1: several outputs; else `out` */
    uint32_t n_outs;
    kp_shape out;
    bool has_dtype;       /* else: the layer's compute type, or the input's if that is no float */
    kp_dtype dtype;
    kp_op_attr attr;
    double flops;
} kp_new_op;

/* Runs a rule's three functions. The outputs are rule->out. */
kp_status kp_rule_run(kp_rule *rule);

/* The same for a layer of the file: a class without a row, a Lambda, or an operation that its rule
 * gives up has the outputs that the file says; KP_UNSUPPORTED if it says none (unknown.c). */
kp_status kp_rule_run_or_adopt(kp_rule *rule, const kp_spec_layer *spec, uint32_t call);
/* Warns where the file says another shape than the rules found. */
kp_status kp_rule_compare(kp_rule *rule, const kp_spec_layer *spec, uint32_t call);

/* A rule for a layer inside `rule`'s layer, on the given tensor, with weights below its scope. */
kp_status kp_rule_inner(kp_rule *rule, const kp_spec_layer *inner, const char *part,
                        uint32_t tensor, kp_rule *ret);

/* Appends an output shape; an output tensor. */
kp_status kp_rule_y(kp_rule *rule, kp_shape shape);
kp_status kp_rule_out(kp_rule *rule, uint32_t tensor);

/* Declares a weight `name` below the rule's scope. KP_INPUT: too big, or another shape than on the
 * first call; KP_USAGE: a dimension is open. */
kp_status kp_rule_weight(kp_rule *rule, const char *name, kp_weight_role role, kp_shape shape,
                         bool trainable);
/* The same for a weight with a type of its own. */
kp_status kp_rule_weight_typed(kp_rule *rule, const char *name, kp_weight_role role,
                               kp_shape shape, bool trainable, kp_dtype dtype);
/* The same for a weight that the layer gives no name: Keras counts "variable", "variable_1", ... */
kp_status kp_rule_weight_unnamed(kp_rule *rule, kp_weight_role role, kp_shape shape,
                                 bool trainable);
/* The weight declared under `name`, or KP_NO. */
uint32_t kp_rule_find_weight(const kp_rule *rule, const char *name);

/* Emits an op; *ret is its first output tensor, others follow it. KP_INPUT: past the limits. */
kp_status kp_rule_op(kp_rule *rule, const kp_new_op *op, uint32_t *ret);

/* Emits an op of one input and one output. */
kp_status kp_rule_unary(kp_rule *rule, kp_op op, const char *part, uint32_t x, kp_shape shape,
                        uint32_t *ret);

/* BIAS_ADD if there is a weight `name`, and the activation's op; else *ret = x. */
kp_status kp_rule_bias(kp_rule *rule, uint32_t x, const char *name, const char *part,
                       uint32_t *ret);
kp_status kp_rule_act(kp_rule *rule, kp_activation activation, uint32_t x, uint32_t *ret);

/* Runs a nested model inside a wrapper on a tensor. */
kp_status kp_rule_model(kp_rule *rule, const kp_spec_layer *inner, uint32_t tensor);

kp_shape kp_rule_shape(const kp_rule *rule, uint32_t tensor);
kp_dtype kp_rule_dtype(const kp_rule *rule, uint32_t tensor);
kp_shape kp_rule_weight_shape(const kp_rule *rule, uint32_t weight);

/* The tensor given as argument `position` or keyword; KP_NO if it is not there. Among all tensors
 * of the call, masks and states included. */
uint32_t kp_rule_arg(const kp_rule *rule, const char *keyword, uint32_t position);

/* The same as a number of rule->in; KP_NO: not given. Masks and states are no inputs. */
uint32_t kp_rule_input(const kp_rule *rule, const char *keyword, uint32_t position);
/* True if the call has this keyword argument and it is true. */
bool kp_rule_flag(const kp_rule *rule, const char *keyword);
/* True for keywords whose tensors are no inputs: masks, states. */
bool kp_keyword_is_side(const char *keyword);

/* A warning for the layer, printed with the answer. */
kp_status kp_rule_warn(kp_rule *rule, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Fails with KP_INPUT unless input i has this rank. */
kp_status kp_want_rank(const kp_rule *rule, uint32_t i, unsigned rank);

/* Elements a sample as a number; NaN if a dimension is open. */
double kp_elems(kp_shape shape);

/* A shape of plain dimensions (weights); a shape with one axis changed. */
kp_shape kp_dims(unsigned rank, const int64_t *dim);
kp_shape kp_shape_with(kp_shape shape, unsigned axis, int64_t dim);
/* a x b, KP_DIM_OPEN if one is open, saturating. */
int64_t kp_dim_mul(int64_t a, int64_t b);
/* Axis of rank, negative ones from the end; KP_INPUT if out of range. */
kp_status kp_axis(const kp_rule *rule, int64_t axis, unsigned rank, unsigned *ret);

#endif
