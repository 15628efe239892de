/* SPDX-License-Identifier: MIT
 *
 * proto/ops.h — the primitive operations that layers become.
 *
 * The model room lowers every layer to these, the estimate prices them, the verifier runs those
 * that have an executor row. `kind` says how compilers treat an op (keep_xla.c): weighty ops
 * are calls that write their result to memory; curved ones (their backward needs a value) and
 * linear ones fuse; pool and gather have backward passes of their own; views cost nothing. */
#ifndef KP_PROTO_OPS_H
#define KP_PROTO_OPS_H

#include "proto/status.h"

typedef enum kp_op_kind {
    KP_KIND_INPUT,
    KP_KIND_WEIGHTY,
    KP_KIND_CURVED,
    KP_KIND_LINEAR,
    KP_KIND_POOL,
    KP_KIND_GATHER,
    KP_KIND_LOOP, /* recurrent layers */
    KP_KIND_VIEW,
    KP_KIND_COUNT
} kp_op_kind;

/*    enum            name               kind      what it computes */
#define KP_OP_ROWS(X)                                                                              \
    X(INPUT, "input", INPUT, "a batch of the data set")                                            \
    X(MATMUL, "matmul", WEIGHTY, "y = x w over the last axis of x; einsum alike")                  \
    X(CONV, "conv", WEIGHTY, "convolution, 1 to 3 spatial dimensions, grouped or not")             \
    X(CONV_DEPTHWISE, "conv_depthwise", WEIGHTY, "one filter a channel")                           \
    X(CONV_TRANSPOSE, "conv_transpose", WEIGHTY, "transposed convolution")                         \
    X(ATTN_SCORES, "attention_scores", WEIGHTY, "q k^T a head, softmax over the keys")             \
    X(ATTN_CONTEXT, "attention_context", WEIGHTY, "probabilities v a head")                        \
    X(GATHER, "gather", GATHER, "rows of a table by index")                                        \
    X(BIAS_ADD, "bias_add", LINEAR, "y = x + b over the last (channel) axis")                      \
    X(RELU, "relu", CURVED, "max(x, 0)")                                                           \
    X(ACT, "activation", CURVED, "another activation function, see attr.activation")               \
    X(SOFTMAX, "softmax", CURVED, "softmax over an axis")                                          \
    X(BATCHNORM, "batch_norm", CURVED, "normalise a channel over the batch")                       \
    X(LAYERNORM, "layer_norm", CURVED, "normalise a row")                                          \
    X(RMSNORM, "rms_norm", CURVED, "scale a row by its root mean square")                          \
    X(GROUPNORM, "group_norm", CURVED, "normalise groups of channels of a sample")                 \
    X(SCALE, "scale", CURVED, "y = x * weight, a weight a channel (LayerScale, PReLU)")            \
    X(DROPOUT, "dropout", CURVED, "random mask")                                                   \
    X(MUL, "multiply", CURVED, "product of two tensors")                                           \
    X(MAXMIN, "maximum_minimum", CURVED, "elementwise maximum or minimum of tensors")              \
    X(MATH, "math", CURVED, "another elementwise function")                                        \
    X(ADD, "add", LINEAR, "sum, difference or average of tensors")                                 \
    X(CONCAT, "concat", LINEAR, "joined on an axis")                                               \
    X(PAD, "pad", LINEAR, "zeros around, or cropped")                                              \
    X(UPSAMPLE, "upsample", LINEAR, "larger by repetition or interpolation")                       \
    X(RESCALE, "rescale", LINEAR, "x * number + number; fixed normalisation of inputs")            \
    X(REDUCE, "reduce", LINEAR, "mean or sum over axes (global average pooling)")                  \
    X(TRANSPOSE, "transpose", LINEAR, "axes permuted")                                             \
    X(CAST, "cast", LINEAR, "another element type")                                                \
    X(POOL_MAX, "pool_max", POOL, "largest of a window, or of all positions")                      \
    X(POOL_AVG, "pool_avg", POOL, "mean of a window")                                              \
    X(RNN, "rnn", LOOP, "a recurrent cell over all steps, see attr.cell")                          \
    X(VIEW, "view", VIEW, "reshape, flatten, identity: no memory of its own")                      \
    X(OPAQUE, "opaque", CURVED, "a layer whose inside is unknown: its output is counted")          \
    X(LOSS, "loss", CURVED, "the loss of one output")

typedef enum kp_op {
#define KP_OP_ENUM(name, text, kind, doc) KP_OP_##name,
    KP_OP_ROWS(KP_OP_ENUM)
#undef KP_OP_ENUM
        KP_OP_COUNT
} kp_op;

typedef struct kp_op_row {
    const char *name;
    kp_op_kind kind;
    const char *doc;
} kp_op_row;

extern const kp_op_row kp_op_rows[KP_OP_COUNT];
extern const char *const kp_op_names[KP_OP_COUNT];

#endif
