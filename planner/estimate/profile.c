/* SPDX-License-Identifier: MIT */
#include "planner/estimate/profile.h"
#include <assert.h>

#define MIB ((uint64_t)1 << 20)

/* What the backward pass reads, op by op. torch: tools/autograd/derivatives.yaml and
 * saved_tensors_hooks; BatchNorm's and LayerNorm's statistics are two float32 values a row. */
/* clang-format off */
/* What torch's own ops and Megatron's have in common.
 *                          input                out  mask copies row moment store */
#define EAGER_RULES                                                                  \
    [KP_OP_MATMUL]         = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_CONV]           = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_CONV_DEPTHWISE] = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_CONV_TRANSPOSE] = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_ATTN_SCORES]    = {KP_KEEP_ALL,        1, 0, 0, 0, 1, KP_STORE_NEW},      \
    [KP_OP_ATTN_CONTEXT]   = {KP_KEEP_ALL,        0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_GATHER]         = {KP_KEEP_FIRST,      0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_BIAS_ADD]       = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_IN_PLACE}, \
    [KP_OP_RELU]           = {KP_KEEP_NO_INPUT,   1, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_SOFTMAX]        = {KP_KEEP_NO_INPUT,   1, 0, 0, 0, 1, KP_STORE_NEW},      \
    [KP_OP_BATCHNORM]      = {KP_KEEP_FIRST,      0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_LAYERNORM]      = {KP_KEEP_FIRST,      0, 0, 0, 8, 0, KP_STORE_NEW},      \
    [KP_OP_RMSNORM]        = {KP_KEEP_FIRST,      0, 0, 0, 4, 0, KP_STORE_NEW},      \
    [KP_OP_GROUPNORM]      = {KP_KEEP_FIRST,      0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_SCALE]          = {KP_KEEP_FIRST,      0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_DROPOUT]        = {KP_KEEP_NO_INPUT,   0, 1, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_MUL]            = {KP_KEEP_ALL,        0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_MAXMIN]         = {KP_KEEP_ALL,        0, 1, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_MATH]           = {KP_KEEP_ALL,        1, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_TRANSPOSE]      = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_ALIAS},    \
    [KP_OP_POOL_MAX]       = {KP_KEEP_FIRST,      0, 8, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_POOL_AVG]       = {KP_KEEP_FIRST,      0, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_RNN]            = {KP_KEEP_FIRST,      1, 0, 0, 0, 0, KP_STORE_NEW},      \
    [KP_OP_VIEW]           = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_ALIAS},    \
    [KP_OP_OPAQUE]         = {KP_KEEP_FIRST,      1, 0, 0, 0, 0, KP_STORE_NEW},
static const kp_keep_rule torch_rules[KP_OP_COUNT] = {EAGER_RULES};
static const kp_keep_rule torch_acts[KP_ACT_COUNT] = {
    [KP_ACT_SIGMOID]     = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_TANH]        = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_EXPONENTIAL] = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_LOG_SOFTMAX] = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 1, KP_STORE_NEW},
    [KP_ACT_RELU6]       = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_LEAKY_RELU]  = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_GELU]        = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_SILU]        = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_OTHER]       = {KP_KEEP_FIRST,    1, 0, 0, 0, 0, KP_STORE_NEW},
};
/* Megatron: one kernel for the bias and GELU, one for SwiGLU, which keeps its input alone; rotary
 * positions are written over queries and keys (megatron/core/fusions). */
static const kp_keep_rule megatron_rules[KP_OP_COUNT] = {
    EAGER_RULES
    [KP_OP_RESCALE]        = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_ALIAS},
};
static const kp_keep_rule megatron_acts[KP_ACT_COUNT] = {
    [KP_ACT_SIGMOID]     = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_TANH]        = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_GELU]        = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_SILU]        = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NONE},
    [KP_ACT_OTHER]       = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
};
/* TensorFlow's graph: what the gradient ops consume (pywrap_gradient_exclusions.cc, traced graphs
 * of Keras 3); Keras's BatchNormalization and LayerNormalization are composites there. */
static const kp_keep_rule tf_rules[KP_OP_COUNT] = {
    [KP_OP_MATMUL]         = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_CONV]           = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_CONV_DEPTHWISE] = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_CONV_TRANSPOSE] = {KP_KEEP_FOR_WEIGHT, 0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_ATTN_SCORES]    = {KP_KEEP_ALL,        1, 0, 1, 0, 1, KP_STORE_NEW},
    [KP_OP_ATTN_CONTEXT]   = {KP_KEEP_ALL,        0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_GATHER]         = {KP_KEEP_FIRST,      0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_BIAS_ADD]       = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_OP_RELU]           = {KP_KEEP_NO_INPUT,   1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_OP_SOFTMAX]        = {KP_KEEP_NO_INPUT,   1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_OP_BATCHNORM]      = {KP_KEEP_FIRST,      0, 0, 0, 0, 2, KP_STORE_NEW},
    [KP_OP_LAYERNORM]      = {KP_KEEP_FIRST,      0, 0, 1, 0, 2, KP_STORE_NEW},
    [KP_OP_RMSNORM]        = {KP_KEEP_FIRST,      0, 0, 1, 0, 2, KP_STORE_NEW},
    [KP_OP_GROUPNORM]      = {KP_KEEP_FIRST,      0, 0, 0, 0, 3, KP_STORE_NEW},
    [KP_OP_SCALE]          = {KP_KEEP_FIRST,      0, 0, 1, 0, 1, KP_STORE_NEW},
    [KP_OP_DROPOUT]        = {KP_KEEP_NO_INPUT,   0, 1, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_OP_MUL]            = {KP_KEEP_ALL,        0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_MAXMIN]         = {KP_KEEP_ALL,        0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_MATH]           = {KP_KEEP_ALL,        1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_ADD]            = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_OP_RESCALE]        = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_POOL_MAX]       = {KP_KEEP_FIRST,      1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_RNN]            = {KP_KEEP_FIRST,      1, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_OP_VIEW]           = {KP_KEEP_NO_INPUT,   0, 0, 0, 0, 0, KP_STORE_ALIAS},
    [KP_OP_OPAQUE]         = {KP_KEEP_FIRST,      1, 0, 0, 0, 0, KP_STORE_NEW},
};
static const kp_keep_rule tf_acts[KP_ACT_COUNT] = {
    [KP_ACT_RELU6]        = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_ACT_SIGMOID]      = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_ACT_TANH]         = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_ACT_ELU]          = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_ACT_SELU]         = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_ACT_EXPONENTIAL]  = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 0, KP_STORE_IN_PLACE},
    [KP_ACT_LOG_SOFTMAX]  = {KP_KEEP_NO_INPUT, 1, 0, 0, 0, 1, KP_STORE_IN_PLACE},
    [KP_ACT_LEAKY_RELU]   = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_SOFTPLUS]     = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_SOFTSIGN]     = {KP_KEEP_FIRST,    0, 0, 0, 0, 0, KP_STORE_NEW},
    [KP_ACT_SILU]         = {KP_KEEP_FIRST,    0, 0, 0, 0, 3, KP_STORE_NEW},
    [KP_ACT_HARD_SILU]    = {KP_KEEP_FIRST,    0, 0, 2, 0, 1, KP_STORE_NEW},
    [KP_ACT_HARD_SIGMOID] = {KP_KEEP_FIRST,    0, 0, 1, 0, 1, KP_STORE_NEW},
    [KP_ACT_GELU]         = {KP_KEEP_FIRST,    0, 0, 2, 0, 1, KP_STORE_NEW},
    [KP_ACT_OTHER]        = {KP_KEEP_FIRST,    1, 0, 1, 0, 1, KP_STORE_NEW},
};

/* XLA: buffer assignments of XLA:GPU (jaxlib 0.10, Keras 3.15) for an H100. cuDNN scratch is assumed
 * everywhere: no published figure fits all models. */
static const kp_profile xla = {
    .xla = true, .grads_f32 = true, .casts_kernels = true, .loss_kept = 0, .prefetch = true,
    .products_space = true, .space_bytes = 32 * MIB, .space_9_bytes = 32 * MIB, .space_count = 1,
    .conv_bytes = 64 * MIB, .conv_high_bytes = 1024 * MIB,
    .runtime_bytes = 500 * MIB, .runtime_low_bytes = 300 * MIB, .runtime_high_bytes = 900 * MIB,
    .waste = 0, .waste_low = 0, .waste_high = .03, .error_low = .07, .error_high = .07,
    .scalar_bytes = 8,
    .runtime_source = "CUDA context and kernels: about 0.5 GB, published from 0.3 to 0.9 GB",
};
static const kp_profile keras_tf = {
    .xla = true, .grads_f32 = true, .casts_kernels = true, .loss_kept = 0, .prefetch = false,
    .products_space = true, .space_bytes = 32 * MIB, .space_9_bytes = 32 * MIB, .space_count = 1,
    .conv_bytes = 64 * MIB, .conv_high_bytes = 1024 * MIB,
    .runtime_bytes = 500 * MIB, .runtime_low_bytes = 264 * MIB, .runtime_high_bytes = 900 * MIB,
    .waste = .015, .waste_low = 0, .waste_high = .06, .error_low = .06, .error_high = .06,
    .scalar_bytes = 12,
    .runtime_source = "CUDA context: 264 to 375 MiB on T4 and P100 before use, more after",
};
/* TensorFlow's graph: traced graphs of Keras 3.15 on TensorFlow 2.21; replays of its BFC allocator
 * hold 1.012 to 1.016 of what is alive. */
static const kp_profile tf_graph = {
    .grads_f32 = true, .casts_kernels = true, .scalers = true, .update_one = 1,
    .merges = true, .channels_first = true, .norms_f32 = true, .space_outside = true,
    .loss_kept = 1, .loss_moment = 0,
    .space_bytes = 0, .space_9_bytes = 32 * MIB, .space_count = 1,
    .conv_bytes = 128 * MIB, .conv_high_bytes = 2048 * MIB,
    .runtime_bytes = 500 * MIB, .runtime_low_bytes = 264 * MIB, .runtime_high_bytes = 900 * MIB,
    .waste = .015, .waste_low = 0, .waste_high = .06, .error_low = .05, .error_high = .08,
    .scalar_bytes = 12, .rules = tf_rules, .acts = tf_acts,
    .runtime_source = "CUDA context: 264 to 375 MiB on T4 and P100 before use, more after",
};
/* TensorFlow 1: fused kernels update each weight in place, and what scripts compose of ops instead
 * (kp_training_composed) holds one more copy of all weights. Its allocator takes the card at the
 * start, but for 5 % of what is free (GPUDevice's MinSystemMemory); its log of a 12 GB card tells
 * 11.90 GiB in all, 11.75 GiB free. BERT's graph under TensorFlow's own allocator, built as its
 * authors build it, holds what this says within 3 %. */
static const kp_profile tf_1_graph = {
    .grads_f32 = true, .casts_kernels = true, .update_all = 1, .version_1 = true,
    .merges = true, .channels_first = true, .norms_f32 = true, .space_outside = true,
    .loss_kept = 1, .loss_moment = 0,
    .space_bytes = 0, .space_9_bytes = 32 * MIB, .space_count = 1,
    .conv_bytes = 128 * MIB, .conv_high_bytes = 2048 * MIB,
    .runtime_bytes = 154 * MIB, .runtime_low_bytes = 154 * MIB, .runtime_high_bytes = 375 * MIB,
    .runtime_share = .05,
    .waste = .015, .waste_low = 0, .waste_high = .06, .error_low = .05, .error_high = .08,
    .scalar_bytes = 12, .rules = tf_rules, .acts = tf_acts,
    .runtime_source = "CUDA context: 154 to 375 MiB in published runs; and the 5 % of the card that "
                      "TensorFlow 1 leaves to the system",
};
/* torch: CublasHandlePool.cpp for the workspaces. What the allocator holds is replayed; published
 * ranks hold at most 1.223 of what is handed out, and small models some segments more. */
static const kp_profile keras_torch = {
    .caching = true, .waste_bytes = 64 * MIB,
    .programs = true, .grads_together = true, .casts_kernels = true, .update_all = 1, .loss_kept = 1, .loss_moment = 1,
    .space_bytes = 8519680, .space_9_bytes = 32 * MIB, .space_count = 2,
    .runtime_bytes = 600 * MIB, .runtime_low_bytes = 448 * MIB, .runtime_high_bytes = 1454 * MIB,
    .waste = .04, .waste_low = .007, .waste_high = .223, .error_low = .08, .error_high = .10,
    .scalar_bytes = 12, .rules = torch_rules, .acts = torch_acts,
    .runtime_source = "device memory less PyTorch's reserve in published runs: 448 to 1454 MiB",
};
static const kp_profile torch = {
    .caching = true, .waste_bytes = 64 * MIB, .acts_over = true,
    .programs = true, .grads_together = true, .flash = true, .casts_kernels = true, .update_all = 1,
    .loss_kept = 1, .loss_moment = 1,
    .space_bytes = 8519680, .space_9_bytes = 32 * MIB, .space_count = 2,
    .runtime_bytes = 600 * MIB, .runtime_low_bytes = 448 * MIB, .runtime_high_bytes = 1454 * MIB,
    .waste = .04, .waste_low = .007, .waste_high = .223, .error_low = .03, .error_high = .05,
    .scalar_bytes = 4, .rules = torch_rules, .acts = torch_acts,
    .runtime_source = "device memory less PyTorch's reserve in published runs: 448 to 1454 MiB",
};
/* Megatron: fused kernels, float32 main gradients, two cuBLAS workspaces and Transformer Engine's. */
static const kp_profile megatron = {
    .programs = true, .grads_together = true, .grads_f32 = true, .flash = true, .casts_kernels = true, .loss_kept = 1,
    .runtime_bytes = 900 * MIB, .runtime_low_bytes = 500 * MIB, .runtime_high_bytes = 1500 * MIB,
    .waste = .05, .waste_low = .016, .waste_high = .163, .error_low = .08, .error_high = .10,
    .scalar_bytes = 4, .rules = megatron_rules, .acts = megatron_acts,
    .runtime_source = "device memory less PyTorch's reserve in published runs: 500 to 1500 MiB",
};
/* clang-format on */

static const kp_profile *const profiles[KP_FW_COUNT] = {
    [KP_FW_KERAS_JAX] = &xla,
    [KP_FW_KERAS_TF] = &keras_tf,
    [KP_FW_KERAS_TF_GRAPH] = &tf_graph,
    [KP_FW_KERAS_TORCH] = &keras_torch,
    [KP_FW_TORCH] = &torch,
    [KP_FW_MEGATRON] = &megatron,
};
_Static_assert(KP_FW_COUNT == 7, "a framework without a profile");

const kp_profile *kp_profile_of(kp_framework framework)
{
    assert(profiles[framework]);
    return profiles[framework];
}

const kp_profile *kp_profile_for(const kp_training *training)
{
    uint32_t version = training->tensorflow_version;
    bool graph = training->framework == KP_FW_KERAS_TF_GRAPH;
    return graph && version && version < 200 ? &tf_1_graph : kp_profile_of(training->framework);
}

unsigned kp_profile_generation(const kp_device *device)
{
    const char *capability = device->kind->compute_capability;
    unsigned n = 0;
    for (; capability && *capability >= '0' && *capability <= '9'; capability++)
        n = 10 * n + (unsigned)(*capability - '0');
    return n;
}

/* torch gives each thread that calls cuBLAS a workspace of its own: the forward pass and autograd.
 * It takes 32 MiB on Hopper and 8.1 MiB on other cards, Blackwell among them until versions of
 * 2025 (CublasHandlePool.cpp); deterministic algorithms ask for ":4096:8", 32 MiB on all. Local
 * layers go through cuBLASLt too, with as much again. Transformer Engine has one more of its own
 * (transformer_engine/pytorch/module/base.py), and four for the products of
 * experts, which run on four streams (get_multi_stream_cublas_workspace). */
static kp_bounded megatron_space(const kp_launch *l, const kp_device *device)
{
    unsigned generation = kp_profile_generation(device);
    uint64_t small = 8519680, large = 32 * MIB, own = generation >= 9 ? 32 * MIB : 4 * MIB;
    bool wide = l->deterministic || generation == 9;
    uint64_t each = wide ? large : small, most = generation >= 9 ? large : each;
    if (!wide) each = (each + most) / 2; /* either */
    uint64_t least = wide ? large : small;
    uint32_t count = l->local ? 4 : 2;
    if (l->local) own = 0;
    if (l->grouped_experts) own += 4 * (generation >= 9 ? 32 * MIB : 4 * MIB);
    return (kp_bounded){count * each + own, count * least + own, count * most + own};
}

/* Causes whose effect no file tells, as shares of what is not state. Routers spread tokens
 * unevenly: published peaks of one configuration of Megatron's functional tests (8 experts, two
 * instances of the distributed optimizer) differ by 15 %, those of most others by less than 2 %. */
#define ROUTED_ERROR  .12
#define WRAPPED_ERROR .09 /* Megatron's modules under torch's wrappers */
/* XLA's buffer assignments show transposed convolutions with strides with and without copies that
 * have zeros between the elements, and scores of attention in one order or in two. */
#define SPREAD_ERROR .14
#define SCORES_ERROR .09

static double compiled_error(const kp_graph *graph)
{
    double most = 0;
    for (uint32_t i = 0; i < graph->n_ops; i++) {
        const kp_graph_op *o = &graph->ops[i];
        bool spread = false;
        for (unsigned k = 0; k < o->attr.spatial; k++) spread |= o->attr.strides[k] > 1;
        if (o->op == KP_OP_CONV_TRANSPOSE && spread) most = SPREAD_ERROR;
        if (o->op == KP_OP_ATTN_SCORES && most < SCORES_ERROR) most = SCORES_ERROR;
    }
    return most;
}

kp_tape_error kp_profile_error(const kp_profile *profile, const kp_graph *graph)
{
    kp_tape_error error = {profile->error_low, profile->error_high};
    bool wrapped = graph->format == KP_FORMAT_MEGATRON && profile->caching, routed = false;
    for (uint32_t w = 0; w < graph->n_weights && !routed; w++) routed = graph->weights[w].expert;
    double least = routed         ? ROUTED_ERROR
                   : wrapped      ? WRAPPED_ERROR
                   : profile->xla ? compiled_error(graph)
                                  : 0;
    if (least > error.low) error.low = least;
    if (least > error.high) error.high = least;
    return error;
}

kp_bounded kp_profile_space(const kp_profile *profile, const kp_training *training,
                            const kp_device *device)
{
    if (training->framework == KP_FW_MEGATRON) return megatron_space(&training->launch, device);
    uint64_t each =
        kp_profile_generation(device) >= 9 ? profile->space_9_bytes : profile->space_bytes;
    uint64_t all = profile->space_count * each;
    return (kp_bounded){all, all, all};
}
