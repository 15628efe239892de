/* SPDX-License-Identifier: MIT */
#include "proto/shard.h"
#include <criterion/criterion.h>

static kp_shape shape(unsigned rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (kp_shape){.rank = (uint8_t)rank, .dim = {a, b, c, d}};
}

/* Rows are sorted (find is a binary search), have a doc, and say the same as their layouts. */
Test(shard, table)
{
    for (size_t i = 0; i < kp_shard_n_rows; i++) {
        const kp_shard_row *row = &kp_shard_rows[i], *next = row + 1;
        cr_expect_eq(kp_shard_find(row->op, row->cut), row, "row %zu", i);
        cr_expect(row->doc && row->doc[0], "row %zu", i);
        if (i + 1 < kp_shard_n_rows)
            cr_expect(row->op < next->op || (row->op == next->op && row->cut < next->cut), "row %zu", i);
        kp_coll want = row->y_local == row->y              ? KP_COLL_NONE
                       : row->y_local == KP_LAYOUT_PARTIAL ? KP_COLL_ALL_REDUCE
                                                           : KP_COLL_ALL_GATHER;
        cr_expect_eq(row->forward, want, "row %zu", i);
        cr_expect_neq(row->y, KP_LAYOUT_PARTIAL, "row %zu", i);
        if (row->cut == KP_CUT_BATCH)
            cr_expect(row->x == KP_LAYOUT_BATCH && row->weight_axis == KP_AXIS_WHOLE, "row %zu", i);
    }
    for (int op = 0; op < KP_OP_COUNT; op++) {
        cr_expect_not_null(kp_shard_find((kp_op)op, KP_CUT_BATCH), "%s", kp_op_names[op]);
        cr_expect_null(kp_shard_find((kp_op)op, KP_CUT_NONE), "%s", kp_op_names[op]);
    }
}

Test(shard, axes)
{
    kp_shape none = {0};
    const struct {
        kp_op op;
        kp_cut cut;
        kp_shape x, w, y;
        bool channels_first, transposed;
        kp_shard_axes want;
    } rows[] = {
        {KP_OP_MATMUL, KP_CUT_COLUMN, shape(2, 1, 8, 0, 0), shape(2, 8, 6, 0, 0), shape(2, 1, 6, 0, 0), false, false, {-1, 1, 1}},
        {KP_OP_MATMUL, KP_CUT_COLUMN, shape(2, 1, 8, 0, 0), shape(2, 6, 8, 0, 0), shape(2, 1, 6, 0, 0), false, true, {-1, 0, 1}},
        {KP_OP_MATMUL, KP_CUT_ROW, shape(3, 1, 5, 8, 0), shape(2, 8, 6, 0, 0), shape(3, 1, 5, 6, 0), false, false, {2, 0, -1}},
        {KP_OP_MATMUL, KP_CUT_COLUMN, shape(3, 1, 5, 8, 0), shape(3, 8, 4, 2, 0), shape(4, 1, 5, 4, 2), false, false, {-1, 1, 2}},
        {KP_OP_MATMUL, KP_CUT_ROW, shape(4, 1, 5, 4, 2), shape(3, 4, 2, 8, 0), shape(3, 1, 5, 8, 0), false, false, {2, 0, -1}},
        {KP_OP_MATMUL, KP_CUT_BATCH, shape(2, 1, 8, 0, 0), shape(2, 8, 6, 0, 0), shape(2, 1, 6, 0, 0), false, false, {0, -1, 0}},
        {KP_OP_CONV, KP_CUT_COLUMN, shape(4, 1, 9, 9, 3), shape(4, 3, 3, 3, 64), shape(4, 1, 9, 9, 64), false, false, {-1, 3, 3}},
        {KP_OP_CONV, KP_CUT_ROW_SLICE, shape(4, 1, 3, 9, 9), shape(4, 3, 3, 3, 64), shape(4, 1, 64, 9, 9), true, false, {1, 2, -1}},
        {KP_OP_CONV_TRANSPOSE, KP_CUT_COLUMN, shape(4, 1, 9, 9, 3), shape(4, 3, 3, 64, 3), shape(4, 1, 18, 18, 64), false, false, {-1, 2, 3}},
        {KP_OP_CONV_DEPTHWISE, KP_CUT_COLUMN, shape(4, 1, 9, 9, 8), shape(4, 3, 3, 8, 1), shape(4, 1, 9, 9, 8), false, false, {3, 2, 3}},
        {KP_OP_GATHER, KP_CUT_VOCAB, shape(2, 1, 5, 0, 0), shape(2, 100, 8, 0, 0), shape(3, 1, 5, 8, 0), false, false, {-1, 0, -1}},
        {KP_OP_GATHER, KP_CUT_COLUMN, shape(2, 1, 5, 0, 0), shape(2, 100, 8, 0, 0), shape(3, 1, 5, 8, 0), false, false, {-1, 1, 2}},
        {KP_OP_BIAS_ADD, KP_CUT_COLUMN, shape(4, 1, 64, 9, 9), shape(1, 64, 0, 0, 0), shape(4, 1, 64, 9, 9), true, false, {1, 0, 1}},
        {KP_OP_BIAS_ADD, KP_CUT_COLUMN, shape(4, 1, 5, 4, 2), shape(2, 4, 2, 0, 0), shape(4, 1, 5, 4, 2), false, false, {2, 0, 2}},
        {KP_OP_BATCHNORM, KP_CUT_COLUMN, shape(4, 1, 9, 9, 8), shape(1, 8, 0, 0, 0), shape(4, 1, 9, 9, 8), false, false, {3, 0, 3}},
        {KP_OP_RELU, KP_CUT_COLUMN, shape(2, 1, 8, 0, 0), none, shape(2, 1, 8, 0, 0), false, false, {1, -1, 1}},
        {KP_OP_ATTN_SCORES, KP_CUT_HEADS, shape(4, 1, 5, 4, 2), none, shape(4, 1, 4, 5, 5), false, false, {2, -1, 1}},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const kp_shard_row *row = kp_shard_find(rows[i].op, rows[i].cut);
        cr_assert_not_null(row, "row %zu", i);
        kp_shard_axes axes = kp_shard_axes_of(row, rows[i].x, rows[i].w, rows[i].y,
                                              rows[i].channels_first, rows[i].transposed);
        cr_expect(axes.x == rows[i].want.x && axes.w == rows[i].want.w && axes.y == rows[i].want.y,
                  "row %zu: x %d w %d y %d", i, axes.x, axes.w, axes.y);
    }
}

/* Slices are in order, without holes, and differ by one at most. */
Test(shard, slices_make_the_whole)
{
    static const uint64_t sizes[] = {0, 1, 2, 7, 8, 9, 64, 1000003};
    for (size_t i = 0; i < KP_LEN(sizes); i++)
        for (uint32_t ranks = 1; ranks <= 9; ranks++) {
            uint64_t at = 0;
            for (uint32_t rank = 0; rank < ranks; rank++) {
                uint64_t from, n;
                kp_shard_slice(sizes[i], rank, ranks, &from, &n);
                cr_expect_eq(from, at, "%u of %u", rank, ranks);
                cr_expect(n == sizes[i] / ranks || n == sizes[i] / ranks + 1, "%u of %u", rank, ranks);
                at += n;
            }
            cr_expect_eq(at, sizes[i], "%u ranks", ranks);
        }
}

/* One rank of one sends nothing; the shares are those of ring algorithms. */
Test(shard, wire_bytes)
{
    static const struct {
        kp_coll coll;
        uint32_t ranks;
        double want;
    } rows[] = {
        {KP_COLL_ALL_REDUCE, 1, 0},     {KP_COLL_ALL_REDUCE, 4, 1500}, {KP_COLL_ALL_GATHER, 4, 750},
        {KP_COLL_REDUCE_SCATTER, 2, 500}, {KP_COLL_SEND_RECV, 2, 1000}, {KP_COLL_SLICE, 4, 0},
        {KP_COLL_NONE, 4, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++)
        cr_expect_eq(kp_coll_wire_bytes(rows[i].coll, rows[i].ranks, 1000), rows[i].want, "row %zu", i);
}
