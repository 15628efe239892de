/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/profile.h — how each framework runs a step, as one row of a table.
 *
 * Two kinds of frameworks: compilers (XLA), which write to memory only at the edges of calls that
 * they cannot fuse into (keep_xla.c has the rules), and op-by-op runtimes (torch eager,
 * TensorFlow's graph executor), where a table says for each op what its backward pass reads.
 * Constants outside the tape (contexts, workspaces, allocators) carry their source. Pure data. */
#ifndef KP_PLANNER_ESTIMATE_PROFILE_H
#define KP_PLANNER_ESTIMATE_PROFILE_H

#include "planner/estimate/device.h"
#include "planner/estimate/training.h"

/* Which inputs the backward pass of an op reads. */
typedef enum kp_keep_in {
    KP_KEEP_NO_INPUT,
    KP_KEEP_FOR_WEIGHT, /* the first, if the op's weight is trained; all of an op without weights */
    KP_KEEP_FIRST,
    KP_KEEP_ALL,
} kp_keep_in;

/* Where the output of an op goes. */
typedef enum kp_store {
    KP_STORE_NEW,
    KP_STORE_ALIAS,    /* the first input under another shape */
    KP_STORE_IN_PLACE, /* over the first input if nobody else reads or keeps that */
    KP_STORE_NONE,     /* inside a fused kernel: never in memory */
} kp_store;

typedef struct kp_keep_rule {
    uint8_t in;     /* kp_keep_in */
    bool out;       /* the output is read too */
    uint8_t mask;   /* further bytes an output element */
    uint8_t copies; /* further copies of the output, in its type */
    uint8_t row;    /* further bytes a row (output elements / last axis) */
    uint8_t moment; /* copies of the output that the backward pass holds for a moment */
    uint8_t store;  /* kp_store */
} kp_keep_rule;

typedef struct kp_profile {
    bool xla;            /* fuses: keep_xla.c; else rules and acts below */
    bool grads_together; /* all weight gradients live until the update */
    bool grads_f32;      /* weight gradients are float32 whatever the compute type */
    bool programs;       /* layers of torch's libraries run as their programs say (program.h) */
    bool flash;          /* attention never writes its scores */
    bool casts_kernels;  /* mixed policies keep a copy of each kernel in the compute type */
    bool scalers;        /* mixed_float16 tests all gradients before the first update */
    bool merges;         /* equal steps on equal values run once */
    bool channels_first; /* float32 convolutions run so: others have their operands transposed */
    bool norms_f32;      /* normalisations compute in float32 whatever the policy */
    bool space_outside;  /* the products' workspace is not the framework allocator's */
    bool caching;        /* torch's caching allocator: replayed (reserve.h), waste only bounds it */
    bool version_1;      /* TensorFlow 1: dropout's mask is the floor of a uniform, as wide as what
                            it masks, and scores are scaled by a constant, which keeps nothing */
    bool acts_over;      /* ReLU runs in place where autograd allows it: others in place save a
                            copy of their input (saved_tensors_hooks) */
    uint8_t update_one;  /* copies of one weight at a time that the update holds, if it has slots */
    uint8_t update_all;  /* copies of all weights that it holds (torch's foreach) */
    uint8_t loss_kept,
        loss_moment;     /* float32 copies of the output: kept, and beside its gradient */
    bool prefetch;       /* the next batch is on the device already */
    bool products_space; /* the products' workspace lives during a product only; else always */
    uint64_t space_bytes, space_9_bytes; /* of products: below compute capability 9.0, from it on */
    uint32_t space_count;
    uint64_t conv_bytes, conv_high_bytes; /* cuDNN's scratch, outside the framework's allocator */
    uint64_t runtime_bytes, runtime_low_bytes, runtime_high_bytes; /* CUDA context and kernels */
    double runtime_share; /* of the rest of the card, which the allocator leaves to the system */
    double waste, waste_low, waste_high; /* the allocator's own, as a share of what it hands out;
                                            caching: waste_high is only the bound of its replay */
    uint64_t waste_bytes;                /* caching: more that the bound leaves to small models */
    const char *runtime_source;
    double error_low, error_high; /* of the tape itself, as a share of what is not state */
    uint32_t scalar_bytes;        /* step counter and learning rate */
    const kp_keep_rule *rules;    /* [KP_OP_COUNT]; NULL for XLA */
    const kp_keep_rule *acts;     /* [KP_ACT_COUNT] of KP_OP_ACT */
} kp_profile;

/* The row of a framework (not AUTO), in its current version. */
const kp_profile *kp_profile_of(kp_framework framework);
/* The row of what runs the step. */
const kp_profile *kp_profile_for(const kp_training *training);

/* The error of a tape of this graph, below and above, as a share of what is not state: the
 * profile's own, or what a cause of its own makes larger. */
typedef struct kp_tape_error {
    double low, high;
} kp_tape_error;
kp_tape_error kp_profile_error(const kp_profile *profile, const kp_graph *graph);

/* Bytes of the products' workspaces on a card. */
kp_bounded kp_profile_space(const kp_profile *profile, const kp_training *training,
                            const kp_device *device);

/* Compute capability 9 (Hopper), 10 (Blackwell), ... of a card; 0: not known. */
unsigned kp_profile_generation(const kp_device *device);

#endif
