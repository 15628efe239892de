/* SPDX-License-Identifier: MIT */
#include "planner/plan/rules.h"

/* clang-format off */
const kp_rule kp_rules[] = {
    { "KP001", "flatten-dense", "a Dense kernel over every position of a map that Flatten hands it",
      "GlobalAveragePooling in place of Flatten" },
    { "KP002", "wide-dense", "a wide kernel or table, with its gradient and optimizer slots",
      "half as many units" },
    { "KP003", "early-conv", "a convolution on large maps, with no stride or pooling before it",
      "strides of 2" },
    { "KP004", "batch", "kept activations that grow with the batch",
      "a smaller batch, or the same in parts (--grad-accum)" },
    { "KP005", "batch-floor", "the batch is 1 already", NULL },
    { "KP006", "recompute", NULL, "computing activations again in the backward pass (--recompute)" },
    { "KP007", "rnn-length", "what a recurrent layer keeps of each step", "shorter sequences" },
    { "KP008", "attention-scores", "scores of every pair of positions", NULL },
    { "KP009", "logits", "a value for every word at every position", NULL },
    { "KP010", "one-hot", "labels as one-hot vectors of many classes", "integer labels with a sparse loss" },
    { "KP011", "dtype", NULL, "16-bit activations (--dtype-policy); weights and slots stay 32-bit" },
    { "KP012", "optimizer", "optimizer slots outweigh what they update", "an optimizer with fewer slots (--optimizer)" },
    { "KP013", "replicas", "data parallelism repeats weights, gradients and slots on each rank",
      "more GPUs that divide the batch (--dp)" },
    { "KP015", "divided-states", NULL, "weights, gradients and slots divided over data-parallel ranks (--zero)" },
    { "KP016", "tensor-parallel", NULL, "layers divided over GPUs (--tp)" },
    { "KP031", "unknown-layer", "a layer whose inside is not known: only its output is counted", NULL },
    { "KP049", "zero-without-dp", "a ZeRO level without data parallelism divides nothing", NULL },
};
/* clang-format on */
const size_t kp_n_rules = sizeof(kp_rules) / sizeof(kp_rules[0]);
