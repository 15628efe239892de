/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/training.h — the settings of a training step, all decided.
 *
 * From the file's compile_config, the options and defaults; every decision that was not the user's
 * is an assumption with where it came from. The framework is always the first. */
#ifndef KP_PLANNER_ESTIMATE_TRAINING_H
#define KP_PLANNER_ESTIMATE_TRAINING_H

#include "planner/model/graph.h"
#include "planner/model/launch.h"
#include "proto/messages.h"

/*    enum         name           slots  doc (keras/src/optimizers) */
#define KP_OPTIMIZER_ROWS(X)                                                                       \
    X(SGD, "sgd", 0)                                                                               \
    X(SGD_MOMENTUM, "sgd_momentum", 1)                                                             \
    X(RMSPROP, "rmsprop", 1)                                                                       \
    X(ADAGRAD, "adagrad", 1)                                                                       \
    X(ADADELTA, "adadelta", 2)                                                                     \
    X(ADAM, "adam", 2) X(ADAMW, "adamw", 2) X(ADAMAX, "adamax", 2) X(NADAM, "nadam", 2)            \
        X(FTRL, "ftrl", 2) X(LION, "lion", 1) X(LAMB, "lamb", 2) X(MUON, "muon", 2)                \
            X(ADAFACTOR, "adafactor", 0)

typedef enum kp_optimizer {
#define KP_OPTIMIZER_ENUM(name, text, slots) KP_OPT_##name,
    KP_OPTIMIZER_ROWS(KP_OPTIMIZER_ENUM)
#undef KP_OPTIMIZER_ENUM
        KP_OPT_COUNT
} kp_optimizer;

typedef enum kp_loss {
    KP_LOSS_CATEGORICAL,
    KP_LOSS_SPARSE,
    KP_LOSS_BINARY,
    KP_LOSS_MSE,
    KP_LOSS_OTHER,
    KP_LOSS_FUSED,    /* cross entropy in one kernel: the gradient is written over the logits */
    KP_LOSS_GRADIENT, /* torch: y.backward(g), the gradients of the outputs are given */
    KP_LOSS_SUM,      /* torch: y.sum().backward() */
    KP_LOSS_COUNT
} kp_loss;

typedef struct kp_training {
    uint64_t batch; /* global */
    kp_framework framework;
    kp_target target;
    kp_optimizer optimizer;
    uint32_t extra_slots; /* amsgrad, centered, EMA: further copies of each trainable weight */
    kp_loss loss;
    const char *loss_name;
    kp_rnn_mode rnn;     /* LOOP or CUDNN */
    uint32_t grad_accum; /* >= 1 */
    uint32_t torch_version; /* 100 x major + minor; 0: a current one */
    bool cudnn_benchmark;   /* torch tries all algorithms of a convolution and takes the fastest */
    uint32_t tensorflow_version; /* the same; only of keras-tf-graph */
    bool zeroed_grads;      /* gradients are set to zero, not freed: they live in all phases */
    uint32_t multiprocessors; /* of the card; 0: not known */
    bool retain_graph;   /* torch: the backward pass frees nothing that was saved */
    const char *gradient_dtype; /* of given gradients; NULL: the output's */
    bool labels_onehot;
    uint64_t samples; /* absent: UINT64_MAX */
    kp_data_mode data;
    bool cudnn_attention; /* the card's fused attention is cuDNN's (Blackwell), not flash's */
    kp_launch launch; /* degrees >= 1; of other frameworks than Megatron all at their rest */
    kp_assumption *assumptions;
    uint32_t n_assumptions;
} kp_training;

/* Decides all settings. Fails with KP_USAGE (a name that is none, a batch of 0, open dimensions
 * without a value: named). Strings live in `arena`. Pure. */
kp_status kp_training_resolve(const kp_graph *graph, const kp_options *options, kp_arena *arena,
                              kp_training *ret, kp_err *err);

/* Slots of one weight, in elements. Adafactor adds rows and columns (Keras keeps a full velocity
 * beside them), Muon keeps one slot for matrices and two for the rest. Source:
 * keras/src/optimizers. */
uint64_t kp_optimizer_slot_elems(const kp_training *training, const kp_weight *weight);

/* True if the graph of TensorFlow 1 composes the optimizer of plain ops, after it has clipped all
 * gradients by their common norm: it has no kernel for AdamW and LAMB, so scripts bring their own.
 * Source: google-research/bert, optimization.py; NVIDIA's examples have it too. */
bool kp_training_composed(const kp_training *training);

extern const char *const kp_optimizer_names[KP_OPT_COUNT];

/* Options (as given) to what the model reader binds. Lists live in `arena`. */
kp_status kp_training_bind(const kp_options *options, kp_arena *arena, kp_bind *ret, kp_err *err);

#endif
