/* SPDX-License-Identifier: MIT */
#include "proto/shard.h"

const char *const kp_layout_names[KP_LAYOUT_COUNT] = {
    [KP_LAYOUT_WHOLE] = "whole",
    [KP_LAYOUT_BATCH] = "batch",
    [KP_LAYOUT_CHANNEL] = "channel",
    [KP_LAYOUT_PARTIAL] = "partial",
};

const char *const kp_coll_names[KP_COLL_COUNT] = {
    [KP_COLL_NONE] = "none",
    [KP_COLL_ALL_REDUCE] = "all_reduce",
    [KP_COLL_ALL_GATHER] = "all_gather",
    [KP_COLL_REDUCE_SCATTER] = "reduce_scatter",
    [KP_COLL_SLICE] = "slice",
    [KP_COLL_SEND_RECV] = "send_recv",
};

const char *const kp_cut_names[KP_CUT_COUNT] = {
    [KP_CUT_NONE] = "none",
    [KP_CUT_BATCH] = "batch",
    [KP_CUT_COLUMN] = "column",
    [KP_CUT_COLUMN_GATHER] = "column_gather",
    [KP_CUT_ROW] = "row",
    [KP_CUT_ROW_SLICE] = "row_slice",
    [KP_CUT_VOCAB] = "vocabulary",
    [KP_CUT_HEADS] = "heads",
};

/* clang-format off */
#define ROW(op, cut, x, y_local, y, axis, fwd, bwd, grad, doc)                                     \
    {KP_OP_##op, KP_CUT_##cut, KP_LAYOUT_##x, KP_LAYOUT_##y_local, KP_LAYOUT_##y, KP_AXIS_##axis,  \
     KP_COLL_##fwd, KP_COLL_##bwd, KP_COLL_##grad, doc}
/* Own samples; an op with weights sums their gradients over the group. */
#define SAMPLES(op, grad, doc)                                                                     \
    ROW(op, BATCH, BATCH, BATCH, BATCH, WHOLE, NONE, NONE, grad, doc)
/* Every channel for itself: what comes divided leaves divided, without a collective. */
#define CHANNELS(op, axis, doc)                                                                    \
    ROW(op, COLUMN, CHANNEL, CHANNEL, CHANNEL, axis, NONE, NONE, NONE, doc)
/* The same, then everyone's channels; the whole gradient that comes back is sliced for free. */
#define GATHERED(op, axis, doc)                                                                    \
    ROW(op, COLUMN_GATHER, CHANNEL, CHANNEL, WHOLE, axis, ALL_GATHER, NONE, NONE, doc)

const kp_shard_row kp_shard_rows[] = {
    SAMPLES(INPUT, NONE, "own samples"),
    /*  op       cut            x        y_local  y        weight  forward     backward    weight grad */
    ROW(MATMUL,  BATCH,         BATCH,   BATCH,   BATCH,   WHOLE,  NONE,       NONE,       ALL_REDUCE, "own samples; weight gradients are summed over the group"),
    ROW(MATMUL,  COLUMN,        WHOLE,   CHANNEL, CHANNEL, OUT,    NONE,       ALL_REDUCE, NONE,       "own outputs; every rank's input gradient is a term of the sum"),
    ROW(MATMUL,  COLUMN_GATHER, WHOLE,   CHANNEL, WHOLE,   OUT,    ALL_GATHER, ALL_REDUCE, NONE,       "own outputs, then everyone's"),
    ROW(MATMUL,  ROW,           CHANNEL, PARTIAL, WHOLE,   IN,     ALL_REDUCE, NONE,       NONE,       "own inputs; outputs are terms of the sum"),
    ROW(MATMUL,  ROW_SLICE,     WHOLE,   PARTIAL, WHOLE,   IN,     ALL_REDUCE, ALL_GATHER, NONE,       "own slice of a whole input; its gradient is gathered"),
    ROW(CONV,    BATCH,         BATCH,   BATCH,   BATCH,   WHOLE,  NONE,       NONE,       ALL_REDUCE, "own samples"),
    ROW(CONV,    COLUMN,        WHOLE,   CHANNEL, CHANNEL, OUT,    NONE,       ALL_REDUCE, NONE,       "own filters"),
    ROW(CONV,    COLUMN_GATHER, WHOLE,   CHANNEL, WHOLE,   OUT,    ALL_GATHER, ALL_REDUCE, NONE,       "own filters, then everyone's channels"),
    ROW(CONV,    ROW,           CHANNEL, PARTIAL, WHOLE,   IN,     ALL_REDUCE, NONE,       NONE,       "own input channels"),
    ROW(CONV,    ROW_SLICE,     WHOLE,   PARTIAL, WHOLE,   IN,     ALL_REDUCE, ALL_GATHER, NONE,       "own slice of the input channels"),
    SAMPLES(CONV_DEPTHWISE, ALL_REDUCE, "own samples"),
    CHANNELS(CONV_DEPTHWISE, IN, "own channels with their filters"),
    ROW(CONV_TRANSPOSE, BATCH,         BATCH,   BATCH,   BATCH,   WHOLE, NONE,       NONE,       ALL_REDUCE, "own samples"),
    ROW(CONV_TRANSPOSE, COLUMN,        WHOLE,   CHANNEL, CHANNEL, OUT,   NONE,       ALL_REDUCE, NONE,       "own filters"),
    ROW(CONV_TRANSPOSE, COLUMN_GATHER, WHOLE,   CHANNEL, WHOLE,   OUT,   ALL_GATHER, ALL_REDUCE, NONE,       "own filters, then everyone's channels"),
    ROW(CONV_TRANSPOSE, ROW,           CHANNEL, PARTIAL, WHOLE,   IN,    ALL_REDUCE, NONE,       NONE,       "own input channels"),
    ROW(CONV_TRANSPOSE, ROW_SLICE,     WHOLE,   PARTIAL, WHOLE,   IN,    ALL_REDUCE, ALL_GATHER, NONE,       "own slice of the input channels"),
    SAMPLES(ATTN_SCORES, NONE, "own samples"),
    ROW(ATTN_SCORES, HEADS, CHANNEL, CHANNEL, CHANNEL, WHOLE, NONE, NONE, NONE, "own heads"),
    SAMPLES(ATTN_CONTEXT, NONE, "own samples"),
    ROW(ATTN_CONTEXT, HEADS, CHANNEL, CHANNEL, CHANNEL, WHOLE, NONE, NONE, NONE, "own heads; the projection behind takes them by row"),
    ROW(GATHER,  BATCH,         BATCH,   BATCH,   BATCH,   WHOLE,  NONE,       NONE,       ALL_REDUCE, "own samples; table gradients are summed"),
    ROW(GATHER,  COLUMN,        WHOLE,   CHANNEL, CHANNEL, OUT,    NONE,       NONE,       NONE,       "own part of the width"),
    ROW(GATHER,  COLUMN_GATHER, WHOLE,   CHANNEL, WHOLE,   OUT,    ALL_GATHER, NONE,       NONE,       "own part of the width, then everyone's"),
    ROW(GATHER,  VOCAB,         WHOLE,   PARTIAL, WHOLE,   ROWS,   ALL_REDUCE, NONE,       NONE,       "own rows; an index elsewhere gives zeros"),
    SAMPLES(BIAS_ADD, ALL_REDUCE, "own samples"),
    CHANNELS(BIAS_ADD, OUT, "own channels"),
    SAMPLES(RELU, NONE, "own samples"),
    CHANNELS(RELU, WHOLE, "own channels"),
    SAMPLES(ACT, NONE, "own samples"),
    CHANNELS(ACT, WHOLE, "own channels; not for functions over the channels"),
    SAMPLES(SOFTMAX, NONE, "own samples"),
    ROW(SOFTMAX, HEADS, CHANNEL, CHANNEL, CHANNEL, WHOLE, NONE, NONE, NONE, "own heads; the softmax runs over another axis"),
    SAMPLES(BATCHNORM, ALL_REDUCE, "own samples: mean and variance are of these, not of the whole batch"),
    CHANNELS(BATCHNORM, OUT, "own channels"),
    SAMPLES(LAYERNORM, ALL_REDUCE, "own samples"),
    ROW(LAYERNORM, HEADS, CHANNEL, CHANNEL, CHANNEL, WHOLE, NONE, NONE, ALL_REDUCE, "own heads; the norm runs over another axis, its scale's gradient is summed"),
    SAMPLES(RMSNORM, ALL_REDUCE, "own samples"),
    ROW(RMSNORM, HEADS, CHANNEL, CHANNEL, CHANNEL, WHOLE, NONE, NONE, ALL_REDUCE, "own heads; the norm runs over another axis, its scale's gradient is summed"),
    SAMPLES(GROUPNORM, ALL_REDUCE, "own samples"),
    CHANNELS(GROUPNORM, OUT, "own groups of channels"),
    SAMPLES(SCALE, ALL_REDUCE, "own samples"),
    CHANNELS(SCALE, OUT, "own channels"),
    SAMPLES(DROPOUT, NONE, "own samples"),
    CHANNELS(DROPOUT, WHOLE, "own channels, own mask"),
    SAMPLES(MUL, NONE, "own samples"),
    CHANNELS(MUL, WHOLE, "own channels of both"),
    SAMPLES(MAXMIN, NONE, "own samples"),
    CHANNELS(MAXMIN, WHOLE, "own channels of all"),
    SAMPLES(MATH, NONE, "own samples"),
    CHANNELS(MATH, WHOLE, "own channels"),
    SAMPLES(ADD, NONE, "own samples"),
    CHANNELS(ADD, WHOLE, "own channels of all"),
    SAMPLES(CONCAT, NONE, "own samples"),
    CHANNELS(CONCAT, WHOLE, "own channels, joined on another axis"),
    SAMPLES(PAD, NONE, "own samples"),
    CHANNELS(PAD, WHOLE, "own channels, padded in space"),
    SAMPLES(UPSAMPLE, NONE, "own samples"),
    CHANNELS(UPSAMPLE, WHOLE, "own channels"),
    SAMPLES(RESCALE, NONE, "own samples"),
    CHANNELS(RESCALE, WHOLE, "own channels"),
    SAMPLES(REDUCE, NONE, "own samples"),
    CHANNELS(REDUCE, WHOLE, "own channels, reduced over space"),
    GATHERED(REDUCE, WHOLE, "own channels, reduced over space, then everyone's"),
    SAMPLES(TRANSPOSE, NONE, "own samples"),
    SAMPLES(CAST, NONE, "own samples"),
    CHANNELS(CAST, WHOLE, "own channels"),
    SAMPLES(POOL_MAX, NONE, "own samples"),
    CHANNELS(POOL_MAX, WHOLE, "own channels"),
    GATHERED(POOL_MAX, WHOLE, "own channels, then everyone's"),
    SAMPLES(POOL_AVG, NONE, "own samples"),
    CHANNELS(POOL_AVG, WHOLE, "own channels"),
    GATHERED(POOL_AVG, WHOLE, "own channels, then everyone's"),
    SAMPLES(RNN, ALL_REDUCE, "own samples"),
    SAMPLES(VIEW, NONE, "own samples"),
    CHANNELS(VIEW, WHOLE, "own channels: the view leaves their axis alone"),
    SAMPLES(OPAQUE, ALL_REDUCE, "own samples"),
    SAMPLES(LOSS, NONE, "own samples; the loss is the mean of the ranks' means"),
};
/* clang-format on */
const size_t kp_shard_n_rows = KP_LEN(kp_shard_rows);

/* Order of the table. */
static int row_compare(const void *a, const void *b)
{
    const kp_shard_row *x = a, *y = b;
    if (x->op != y->op) return x->op < y->op ? -1 : 1;
    return (x->cut > y->cut) - (x->cut < y->cut);
}

const kp_shard_row *kp_shard_find(kp_op op, kp_cut cut)
{
    kp_shard_row key = {.op = op, .cut = cut};
    return bsearch(&key, kp_shard_rows, kp_shard_n_rows, sizeof(key), row_compare);
}

/* The channel axis of a tensor (of heads, if it has them and attention or a norm of heads asks). */
static int channel_axis(kp_op op, kp_shape shape, bool channels_first)
{
    if (shape.rank == 0) return KP_AXIS_WHOLE;
    bool heads = op == KP_OP_ATTN_SCORES || op == KP_OP_ATTN_CONTEXT || op == KP_OP_LAYERNORM ||
                 op == KP_OP_RMSNORM;
    if (heads && shape.rank == 4) return 2;
    return channels_first && shape.rank > 1 ? 1 : shape.rank - 1;
}

/* A matmul contracts the last `in` axes of x with the first `in` of w: x has lead + in axes, y
 * lead + out, w in + out. If w has one more, its axis 0 numbers experts, of whose kernels each row
 * of x takes one. */
static kp_shard_axes matmul_axes(int8_t weight_axis, kp_shape x, kp_shape w, kp_shape y,
                                 bool transposed_w)
{
    int experts = (w.rank + x.rank - y.rank) & 1;
    int in = (w.rank - experts + x.rank - y.rank) / 2, out = w.rank - experts - in;
    if (in < 1 || out < 1 || in > x.rank || out > y.rank) in = out = 1;
    bool divides_in = weight_axis == KP_AXIS_IN;
    return (kp_shard_axes){
        .x = x.rank - in,
        .w = experts + (transposed_w ? divides_in : divides_in ? 0 : in),
        .y = y.rank - out,
    };
}

/* Where KP_AXIS_* is in the weight of an op that is no matmul. */
static int weight_axis(const kp_shard_row *row, kp_shape w, kp_shape y, int y_axis)
{
    int rank = w.rank;
    bool swapped = row->op == KP_OP_CONV_TRANSPOSE;
    switch (row->op) {
    case KP_OP_CONV:
    case KP_OP_CONV_DEPTHWISE:
    case KP_OP_CONV_TRANSPOSE:
        return (row->weight_axis == KP_AXIS_IN) != swapped ? rank - 2 : rank - 1;
    case KP_OP_GATHER:
        return row->weight_axis == KP_AXIS_ROWS ? 0 : rank - 1;
    case KP_OP_BIAS_ADD: /* of several axes: (H, D) behind a projection onto heads */
        return rank ? 0 : KP_AXIS_WHOLE;
    default: /* a weight along the channels; of more axes: aligned with y's last ones */
        if (rank <= 1) return rank - 1;
        return y_axis - (y.rank - rank) >= 0 ? y_axis - (y.rank - rank) : KP_AXIS_WHOLE;
    }
}

kp_shard_axes kp_shard_axes_of(const kp_shard_row *row, kp_shape x, kp_shape w, kp_shape y,
                               bool channels_first, bool transposed_w)
{
    kp_shard_axes axes = {
        .x = channel_axis(row->op, x, channels_first),
        .y = row->op == KP_OP_ATTN_SCORES ? 1 : channel_axis(row->op, y, channels_first),
    };
    if (row->op == KP_OP_BIAS_ADD && w.rank > 1 && w.rank <= y.rank)
        axes.x = axes.y = y.rank - w.rank;
    axes.w = weight_axis(row, w, y, axes.y);
    if (row->op == KP_OP_MATMUL)
        axes = matmul_axes(row->weight_axis, x, w, y, transposed_w);
    if (row->x == KP_LAYOUT_BATCH) axes.x = axes.y = 0;
    if (row->x == KP_LAYOUT_WHOLE && row->cut != KP_CUT_ROW_SLICE) axes.x = KP_AXIS_WHOLE;
    if (row->y == KP_LAYOUT_WHOLE) axes.y = KP_AXIS_WHOLE;
    if (row->weight_axis == KP_AXIS_WHOLE || w.rank == 0) axes.w = KP_AXIS_WHOLE;
    return axes;
}

void kp_shard_slice(uint64_t size, uint32_t rank, uint32_t ranks, uint64_t *ret_from,
                    uint64_t *ret_n)
{
    uint64_t base = size / ranks, more = size % ranks;
    *ret_from = base * rank + (rank < more ? rank : more);
    *ret_n = base + (rank < more);
}

double kp_coll_wire_bytes(kp_coll coll, uint32_t ranks, uint64_t bytes)
{
    static const double share[KP_COLL_COUNT] = {
        [KP_COLL_ALL_REDUCE] = 2,
        [KP_COLL_ALL_GATHER] = 1,
        [KP_COLL_REDUCE_SCATTER] = 1,
    };
    if (coll == KP_COLL_SEND_RECV) return (double)bytes;
    return share[coll] * (ranks - 1) / ranks * (double)bytes;
}
