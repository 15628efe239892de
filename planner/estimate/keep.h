/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep.h — which values of a part are in memory, and what the backward pass reads.
 *
 * A value is a tensor's storage: value v < n_tensors is the buffer that its op writes, value
 * n_tensors + v a second copy of it (padded, or cast to another type). Tensors that only rename
 * another share its value (root). Each op has a list of the values its backward pass reads (needs)
 * and of further buffers (extras). keep_xla.c and keep_eager.c fill the same struct. Pure. */
#ifndef KP_PLANNER_ESTIMATE_KEEP_H
#define KP_PLANNER_ESTIMATE_KEEP_H

#include "planner/estimate/profile.h"
#include "planner/estimate/size.h"

typedef enum kp_extra_when {
    KP_EXTRA_KEPT,     /* from the op's forward pass to its backward pass */
    KP_EXTRA_FORWARD,  /* while its forward pass runs */
    KP_EXTRA_BACKWARD, /* while its backward pass runs */
    KP_EXTRA_GRADIENT, /* from the gradient of the op's output to its weight gradient */
    KP_EXTRA_START,    /* from the start of the whole backward pass to the op's */
} kp_extra_when;

typedef struct kp_extra {
    uint32_t op; /* whose buffer it is: the op it stands with, or one that this one completes */
    kp_extra_when when;
    kp_category category;
    const char *what;
    const kp_shape *shape;
    kp_dtype dtype;
    uint64_t bytes;
} kp_extra;

typedef struct kp_value {
    uint64_t bytes;
    kp_dtype dtype;
    bool written;    /* in memory for at least a moment */
    uint32_t needs;  /* backward passes that read it */
    uint32_t writer; /* op that makes it: a copy's is its first reader */
    uint32_t last;   /* last op whose forward pass reads it, through fused ones; KP_NO: none */
} kp_value;

/* What an op's backward pass does with gradients. */
typedef enum kp_back {
    KP_BACK_PASS,    /* hands the gradient on, fused or in place */
    KP_BACK_NEW,     /* writes a new one for each input */
    KP_BACK_LOOP,    /* the same, with its weight gradients and workspace meanwhile */
    KP_BACK_WEIGHTY, /* a call: for XLA it first writes the gradient of its own output */
} kp_back;

typedef struct kp_keep {
    const kp_graph *graph;
    const kp_training *training;
    const kp_profile *profile;
    const kp_part *part;
    const kp_sizes *sizes;
    kp_arena *arena;
    bool flash;           /* attention never writes its scores */
    bool context_twice;   /* a fused attention keeps its result beside what it hands on */
    uint32_t *root;       /* of each tensor */
    bool *skipped;        /* ops that write nothing: renamed or equal to another */
    bool *wants;          /* ops whose backward pass runs: a trained weight is at or below them */
    uint8_t *back;        /* of each op: kp_back */
    uint32_t *zeros;      /* of each op: the ReLU whose zeros are kept with it; KP_NO (XLA) */
    bool *scatters;       /* of each op: a max pooling with a copy of zeros (XLA) */
    bool width_divided;   /* tensor parallelism divides the width of what flows between layers */
    bool *soft;           /* of a root: an op that fuses reads it (XLA) */
    kp_value *values;     /* 2 x n_tensors */
    uint32_t *first_need; /* of each op, n_ops + 1 */
    uint32_t *needs;
    kp_extra *extras;      /* in the order of their ops */
    uint32_t *first_extra; /* of each op, n_ops + 1 */
    bool programs;         /* ops with a program (program.h) run it */
    uint32_t n_needs, n_extras;
    size_t cap_needs, cap_extras;
} kp_keep;

/* Fails with KP_NOMEM. Everything lives in the arena. */
kp_status kp_keep_make(const kp_graph *graph, const kp_training *training, const kp_part *part,
                       const kp_sizes *sizes, kp_arena *arena, kp_keep *ret, kp_err *err);

/* ---- shared by keep*.c ---- */

/* True if the op belongs to the part. */
bool kp_keep_inside(const kp_keep *keep, uint32_t op);
/* True if any of the op's own weights is trained. */
bool kp_keep_trains(const kp_graph *graph, const kp_graph_op *op);
/* True if selective recomputation makes what the op writes again: scores of attention, and what
 * masks them. */
bool kp_keep_again(const kp_keep *keep, uint32_t op);
/* Elements of a tensor as this rank holds it. XLA leaves divided what elementwise ops read: it
 * gathers the channels of a product, and adds up its terms in parts, only where a call needs all
 * (GSPMD, arXiv 2105.04663). */
uint64_t kp_keep_elems(const kp_keep *keep, uint32_t tensor);
/* Pooling: a window larger than 1; windows that do not overlap; one window over everything. */
bool kp_keep_windowed(const kp_graph_op *op);
bool kp_keep_apart(const kp_graph_op *op);
bool kp_keep_global(const kp_keep *keep, const kp_graph_op *op);
/* A view of TimeDistributed: "fold" before its inner layer, "unfold" behind it. */
bool kp_keep_is_part(const kp_graph_op *op, const char *part);
/* Adds a value to the needs of the current op, once; false: out of memory. */
bool kp_keep_need(kp_keep *keep, uint32_t op, uint32_t value);
/* Adds a buffer to an op; false: out of memory. */
bool kp_keep_extra(kp_keep *keep, kp_extra extra);
bool kp_keep_xla(kp_keep *keep);
/* Finds the zeros; false: out of memory. */
bool kp_keep_xla_zeros(kp_keep *keep);
/* Buffers beside the values of a max pooling, of an average of windows, of a global average, of a
 * curved op, of additive scores, of attention's scores (`read`: an op that fuses reads them);
 * false: out of memory. */
bool kp_keep_xla_pool(kp_keep *keep, uint32_t op);
bool kp_keep_xla_windows(kp_keep *keep, uint32_t op);
bool kp_keep_xla_average(kp_keep *keep, uint32_t op);
bool kp_keep_xla_curved(kp_keep *keep, uint32_t op);
bool kp_keep_xla_stages(kp_keep *keep, uint32_t op); /* of an adaptive pooling */
bool kp_keep_xla_sums(kp_keep *keep, uint32_t op);
bool kp_keep_xla_scores(kp_keep *keep, uint32_t op, bool read);
/* The input of a trained op, or the copy of it in the form that the op asks for; `adds`: ops that
 * are part of the convolution below them. What the weight gradient of a dilated or transposed
 * convolution copies. */
bool kp_keep_xla_input(kp_keep *keep, uint32_t op, const bool *adds);
bool kp_keep_xla_turned(kp_keep *keep, uint32_t op);
/* Keeps the zeros that stand with an op. */
bool kp_keep_xla_zeros_of(kp_keep *keep, uint32_t op);
bool kp_keep_eager(kp_keep *keep);
/* Finds steps that are equal to an earlier one; ops are asked in order. */
typedef struct kp_equals {
    uint32_t *head, *next; /* readers of each root, chained */
} kp_equals;
bool kp_equals_init(kp_equals *equals, const kp_keep *keep);
/* The root that an earlier equal step wrote, or KP_NO: then this one is remembered. */
uint32_t kp_equals_find(kp_equals *equals, const kp_keep *keep, uint32_t op);

/* The extras of a recurrent layer in op-by-op runtimes and in cuDNN; those of XLA's loop. */
bool kp_keep_rnn(kp_keep *keep, uint32_t op);
bool kp_keep_xla_rnn(kp_keep *keep, uint32_t op);

#endif
