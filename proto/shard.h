/* SPDX-License-Identifier: MIT
 *
 * proto/shard.h — what each way of cutting an op over ranks means.
 *
 * One table. The planner prices a row's collectives, the verifier slices and runs by the same
 * row, the emitters print it: what is priced is what is verified. A cut is over one group of n
 * ranks. Layouts are of one rank's view of a tensor:
 *   WHOLE    every rank has all of it
 *   BATCH    split on axis 0
 *   CHANNEL  split on the channel axis: the last, or axis 1 if channels_first; the axis of heads
 *            where there is one: (B, T, H, D) values and (B, H, T, S) scores of attention
 *   PARTIAL  every rank has a full-shaped term, the sum over ranks is the value
 * `forward` turns what the op wrote (`y_local`) into `y`; `backward` does the same for the input's
 * gradient, `weight_grad` for the weight's gradient. An op with several inputs takes each in layout
 * `x`; weights that an op has beside its main one (a normalisation's four) are divided alike. A
 * weight axis is an axis of the op's own weight: matmul kernel (in, out), conv kernel
 * (spatial..., in, out), table (rows, width), bias (out); KP_AXIS_WHOLE if the rank has all of it;
 * kp_shard_axes_of says which axis that is of given shapes. Ops and cuts without a row: the op
 * cannot be cut so and every rank of the group does all of it (KP_CUT_NONE).
 * Source of the rules: Megatron-LM (arXiv 1909.08053) section 3, GSPMD (arXiv 2105.04663). */
#ifndef KP_PROTO_SHARD_H
#define KP_PROTO_SHARD_H

#include "proto/ops.h"
#include "proto/shape.h"

typedef enum kp_layout {
    KP_LAYOUT_WHOLE,
    KP_LAYOUT_BATCH,
    KP_LAYOUT_CHANNEL,
    KP_LAYOUT_PARTIAL,
    KP_LAYOUT_COUNT
} kp_layout;

typedef enum kp_coll {
    KP_COLL_NONE,
    KP_COLL_ALL_REDUCE,
    KP_COLL_ALL_GATHER,
    KP_COLL_REDUCE_SCATTER,
    KP_COLL_SLICE, /* take the own part of a whole tensor: no traffic */
    KP_COLL_SEND_RECV,
    KP_COLL_COUNT
} kp_coll;

typedef enum kp_cut {
    KP_CUT_NONE,          /* not cut: every rank of the group does all of it */
    KP_CUT_BATCH,         /* data parallel: samples are divided, weights replicated */
    KP_CUT_COLUMN,        /* output channels divided; the output stays divided */
    KP_CUT_COLUMN_GATHER, /* output channels divided; the output is gathered */
    KP_CUT_ROW,           /* input channels divided, the input arrives divided; sums are added */
    KP_CUT_ROW_SLICE,     /* input channels divided, each rank slices its part of a whole input */
    KP_CUT_VOCAB,         /* rows of a table divided; misses are zero, sums are added */
    KP_CUT_HEADS,         /* attention heads divided: projections by column, output by row */
    KP_CUT_COUNT
} kp_cut;

enum { KP_AXIS_WHOLE = -1, KP_AXIS_IN = -2, KP_AXIS_OUT = -3, KP_AXIS_ROWS = -4 };

typedef struct kp_shard_row {
    kp_op op;
    kp_cut cut;
    kp_layout x, y_local, y;    /* input as taken, output as written, output after `forward` */
    int8_t weight_axis;         /* KP_AXIS_*: how the op's weight is divided */
    kp_coll forward;            /* on the output */
    kp_coll backward;           /* on the input's gradient */
    kp_coll weight_grad;        /* on the weight's gradient */
    const char *doc;
} kp_shard_row;

extern const char *const kp_layout_names[KP_LAYOUT_COUNT];
extern const char *const kp_coll_names[KP_COLL_COUNT]; /* "none", "all_reduce", ... */
extern const char *const kp_cut_names[KP_CUT_COUNT];   /* "none", "batch", "column", ... */

/* All rows, sorted by op and cut. */
extern const kp_shard_row kp_shard_rows[];
extern const size_t kp_shard_n_rows;

/* The row of an op and a cut; NULL if the op cannot be cut so. */
const kp_shard_row *kp_shard_find(kp_op op, kp_cut cut);

/* Which axis of the tensors and of the weight a row divides; KP_AXIS_WHOLE where none. `x` is what
 * the rank computes with (under ROW_SLICE its own slice), `y` what it keeps after `forward`. */
typedef struct kp_shard_axes {
    int x, w, y;
} kp_shard_axes;

/* w: rank 0 if there is no weight. transposed_w: a matmul's w is (out, in). A matmul's kernel may
 * have several input or output axes, as an einsum over heads has: (C, H, D) or (H, D, C); then the
 * first of them is divided. A matmul's kernel with one axis more than its tensors explain is a stack
 * of experts' kernels, axis 0 their number. Transposed convolutions' kernels are (spatial..., out, in). */
kp_shard_axes kp_shard_axes_of(const kp_shard_row *row, kp_shape x, kp_shape w, kp_shape y,
                               bool channels_first, bool transposed_w);

/* The slice [*ret_from, *ret_from + *ret_n) of `size` that rank `rank` of `ranks` has. Uneven
 * sizes are allowed: the first size % ranks ranks have one more. */
void kp_shard_slice(uint64_t size, uint32_t rank, uint32_t ranks, uint64_t *ret_from,
                    uint64_t *ret_n);

/* Bytes that one rank of n sends for a collective over a tensor of `bytes` (the whole tensor):
 * all-reduce 2(n-1)/n, all-gather and reduce-scatter (n-1)/n, send-recv 1 (COST section 2). */
double kp_coll_wire_bytes(kp_coll coll, uint32_t ranks, uint64_t bytes);

#endif
