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

const kp_shard_row kp_shard_rows[] = {
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
    ROW(GATHER,  BATCH,         BATCH,   BATCH,   BATCH,   WHOLE,  NONE,       NONE,       ALL_REDUCE, "own samples; table gradients are summed"),
    ROW(GATHER,  COLUMN,        WHOLE,   CHANNEL, CHANNEL, OUT,    NONE,       NONE,       NONE,       "own part of the width"),
    ROW(GATHER,  COLUMN_GATHER, WHOLE,   CHANNEL, WHOLE,   OUT,    ALL_GATHER, NONE,       NONE,       "own part of the width, then everyone's"),
    ROW(GATHER,  VOCAB,         WHOLE,   PARTIAL, WHOLE,   ROWS,   ALL_REDUCE, NONE,       NONE,       "own rows; an index elsewhere gives zeros"),
    ROW(BIAS_ADD, BATCH,        BATCH,   BATCH,   BATCH,   WHOLE,  NONE,       NONE,       ALL_REDUCE, "own samples"),
    ROW(BIAS_ADD, COLUMN,       CHANNEL, CHANNEL, CHANNEL, OUT,    NONE,       NONE,       NONE,       "own channels"),
    ROW(RELU,    BATCH,         BATCH,   BATCH,   BATCH,   WHOLE,  NONE,       NONE,       NONE,       "own samples"),
    ROW(RELU,    COLUMN,        CHANNEL, CHANNEL, CHANNEL, WHOLE,  NONE,       NONE,       NONE,       "own channels"),
};
/* clang-format on */
const size_t kp_shard_n_rows = KP_LEN(kp_shard_rows);

const kp_shard_row *kp_shard_find(kp_op op, kp_cut cut)
{
    for (size_t i = 0; i < kp_shard_n_rows; i++)
        if (kp_shard_rows[i].op == op && kp_shard_rows[i].cut == cut) return &kp_shard_rows[i];
    return NULL;
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
