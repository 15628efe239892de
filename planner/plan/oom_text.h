/* SPDX-License-Identifier: MIT
 *
 * planner/plan/oom_text.h — what an out-of-memory message asks for, without a model.
 *
 * Reads a pasted message or a whole log, any bytes: TensorFlow, Keras, XLA, torch, Theano, NumPy
 * and the system's killer. A table of phrases finds the places, small readers take the shape, the
 * bytes, the type and the name of the operation behind each. Nothing is copied but numbers and
 * short names. Sources of the phrases: tensorflow core/common_runtime/bfc_allocator.cc and
 * core/framework/op_kernel, xla stream_executor and service/gpu, pytorch
 * c10/cuda/CUDACachingAllocator.cpp and c10/core/impl/alloc_cpu.cpp, numpy core/_exceptions.py.
 * Pure. */
#ifndef KP_PLANNER_PLAN_OOM_TEXT_H
#define KP_PLANNER_PLAN_OOM_TEXT_H

#include "proto/shape.h"

enum { KP_OOM_ASKS_MAX = 12, KP_OOM_NODE_MAX = 160 };

typedef enum kp_oom_kind {
    KP_OOM_TENSOR,   /* a shape */
    KP_OOM_BYTES,    /* one allocation of so many bytes */
    KP_OOM_PROGRAM,  /* XLA: the temporary memory of a whole program */
    KP_OOM_OPTIONAL, /* a workspace that the framework could do without */
    KP_OOM_POOL,     /* the allocator wanted more of the card: no tensor */
    KP_OOM_COPY,     /* a tensor on its way to the device */
    KP_OOM_COUNT,    /* a negative number of parameters */
    KP_OOM_DEVICE,   /* the card was full; no size is said */
    KP_OOM_HOST,     /* the machine's memory was full; no size is said */
    KP_OOM_KIND_COUNT
} kp_oom_kind;

typedef enum kp_oom_from {
    KP_OOM_UNKNOWN,
    KP_OOM_TENSORFLOW,
    KP_OOM_XLA,
    KP_OOM_TORCH,
    KP_OOM_THEANO,
    KP_OOM_NUMPY,
    KP_OOM_KERAS,
    KP_OOM_SYSTEM,
    KP_OOM_CUDA, /* the driver, under any of them */
    KP_OOM_FROM_COUNT
} kp_oom_from;
extern const char *const kp_oom_from_names[KP_OOM_FROM_COUNT];

typedef struct kp_oom_ask {
    kp_oom_kind kind;
    kp_oom_from from;
    bool host; /* in the machine's memory, not the card's */
    unsigned rank;
    int64_t dim[KP_RANK_MAX]; /* TENSOR */
    bool has_dtype;
    kp_dtype dtype;
    uint64_t bytes, low, high;  /* 0: not said; low < high where the text is rounded */
    int64_t count;              /* COUNT: as printed, below 0 */
    char node[KP_OOM_NODE_MAX]; /* operation or layer that asked, as the framework names it; "" */
} kp_oom_ask;

typedef struct kp_oom_text {
    kp_oom_ask asks[KP_OOM_ASKS_MAX]; /* different ones, in the text's order */
    unsigned n;
    uint64_t total, allocated, reserved, free; /* bytes of the card as the message has them; 0 */
} kp_oom_text;

/* Reads the text. n is 0 if nothing in it looks like such a message. Never fails. */
void kp_oom_read(const char *text, size_t len, kp_oom_text *ret);

/* ---- readers of small things, shared by oom_*.c: each moves *at, or leaves it ---- */

typedef struct kp_oom_cursor {
    const char *at, *end;
} kp_oom_cursor;

/* "2.25GiB", "1073741824 bytes", "12GB", "2.0G", "512": a number is bytes where it is whole and
 * has no unit. All units are powers of 1024, as the frameworks mean them. */
bool kp_oom_size(kp_oom_cursor *c, uint64_t *ret_bytes, uint64_t *ret_low, uint64_t *ret_high);
/* "[40,128,256,256]", "(3000000, 5000)": 1 to KP_RANK_MAX dimensions of at least 1. */
bool kp_oom_shape(kp_oom_cursor *c, unsigned *ret_rank, int64_t *ret_dim);
/* "float", "half", "bf16", "float32", "s32": a type as any of the frameworks names it. */
bool kp_oom_dtype(kp_oom_cursor *c, kp_dtype *ret);
/* True if `word` (lower case) stands at the cursor, whatever its case; moves behind it. */
bool kp_oom_word(kp_oom_cursor *c, const char *word);
/* Moves behind the next `word` within `room` bytes. */
bool kp_oom_seek(kp_oom_cursor *c, const char *word, size_t room);

#endif
