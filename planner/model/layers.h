/* SPDX-License-Identifier: MIT
 *
 * planner/model/layers.h — the layer table: one row a Keras class.
 *
 * A row says which configuration keys matter, how the output shape follows from the input's,
 * which weights the layer owns (with Keras's own names), which primitive ops it becomes, and which
 * cuts those allow. Adding a class is one row and at most one rule function.
 *
 * Letters for sizes, used in all rules: B batch, T sequence, C channels, H heads, F filters,
 * U units, K kernel, V vocabulary; dp tp pp the degrees of parallelism. */
#ifndef KP_PLANNER_MODEL_LAYERS_H
#define KP_PLANNER_MODEL_LAYERS_H

#include "proto/shape.h"

/*    enum          Keras name         backward needs (estimate/keep_*.c) */
#define KP_ACTIVATION_ROWS(X)                                                                      \
    X(LINEAR, "linear") X(RELU, "relu") X(RELU6, "relu6") X(LEAKY_RELU, "leaky_relu")              \
    X(ELU, "elu") X(SELU, "selu") X(SIGMOID, "sigmoid") X(TANH, "tanh") X(SOFTMAX, "softmax")      \
    X(SOFTPLUS, "softplus") X(SOFTSIGN, "softsign") X(GELU, "gelu") X(SILU, "silu")                \
    X(HARD_SIGMOID, "hard_sigmoid") X(HARD_SILU, "hard_silu") X(MISH, "mish")                      \
    X(EXPONENTIAL, "exponential") X(LOG_SOFTMAX, "log_softmax") X(CELU, "celu") X(GLU, "glu")      \
    X(HARD_TANH, "hard_tanh") X(LOG_SIGMOID, "log_sigmoid") X(TANH_SHRINK, "tanh_shrink")          \
    X(HARD_SHRINK, "hard_shrink") X(SOFT_SHRINK, "soft_shrink") X(SQUAREPLUS, "squareplus")        \
    X(SPARSE_PLUS, "sparse_plus") X(SPARSE_SIGMOID, "sparse_sigmoid") X(SPARSEMAX, "sparsemax")    \
    X(THRESHOLD, "threshold") X(OTHER, "other")

typedef enum kp_activation {
#define KP_ACTIVATION_ENUM(name, text) KP_ACT_##name,
    KP_ACTIVATION_ROWS(KP_ACTIVATION_ENUM)
#undef KP_ACTIVATION_ENUM
        KP_ACT_COUNT
} kp_activation;
extern const char *const kp_activation_names[KP_ACT_COUNT];

/* The activation of a name in any of Keras's spellings ("relu", "ReLU", "swish"); OTHER if none. */
kp_activation kp_activation_from_name(const char *name);

/* The room's own files (rows, rules, readers) see the insides in planner/model/rules.h. */
typedef struct kp_layer_row kp_layer_row;
typedef struct kp_layer_cfg kp_layer_cfg;

#endif
