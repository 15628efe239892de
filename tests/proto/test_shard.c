/* SPDX-License-Identifier: MIT */
#include "proto/shard.h"
#include <criterion/criterion.h>

Test(shard, rows_are_sorted_and_found)
{
    for (size_t i = 0; i < kp_shard_n_rows; i++) {
        const kp_shard_row *row = &kp_shard_rows[i];
        cr_expect_eq(kp_shard_find(row->op, row->cut), row, "row %zu", i);
        cr_expect(row->doc && row->doc[0], "row %zu", i);
        if (!i) continue;
        const kp_shard_row *last = row - 1;
        cr_expect(last->op < row->op || (last->op == row->op && last->cut < row->cut), "row %zu", i);
    }
    for (int op = 0; op < KP_OP_COUNT; op++) {
        cr_expect(kp_shard_find((kp_op)op, KP_CUT_BATCH), "%s is not cut by samples", kp_op_names[op]);
        cr_expect_null(kp_shard_find((kp_op)op, KP_CUT_NONE), "%s", kp_op_names[op]);
    }
}

/* The collective that turns one layout into another. */
static kp_coll between(kp_layout from, kp_layout to)
{
    if (from == to) return KP_COLL_NONE;
    if (from == KP_LAYOUT_PARTIAL) return to == KP_LAYOUT_WHOLE ? KP_COLL_ALL_REDUCE : KP_COLL_REDUCE_SCATTER;
    return to == KP_LAYOUT_WHOLE ? KP_COLL_ALL_GATHER : KP_COLL_COUNT;
}

Test(shard, collectives_fit_the_layouts)
{
    for (size_t i = 0; i < kp_shard_n_rows; i++) {
        const kp_shard_row *r = &kp_shard_rows[i];
        const char *op = kp_op_names[r->op], *cut = kp_cut_names[r->cut];
        cr_expect_eq(r->forward, between(r->y_local, r->y), "%s %s", op, cut);
        cr_expect_neq(r->x, KP_LAYOUT_PARTIAL, "%s %s takes terms of a sum", op, cut);
        bool samples = r->cut == KP_CUT_BATCH;
        cr_expect_eq(r->x == KP_LAYOUT_BATCH, samples, "%s %s", op, cut);
        if (samples) cr_expect_eq(r->weight_axis, KP_AXIS_WHOLE, "%s: every rank has all weights", op);
        bool shared_scale = r->op == KP_OP_LAYERNORM || r->op == KP_OP_RMSNORM; /* of all heads */
        if (!samples)
            cr_expect_eq(r->weight_grad, shared_scale ? KP_COLL_ALL_REDUCE : KP_COLL_NONE,
                         "%s %s: own weights, own gradients", op, cut);
        if (r->y_local == KP_LAYOUT_PARTIAL)
            cr_expect(r->weight_axis == KP_AXIS_IN || r->weight_axis == KP_AXIS_ROWS, "%s %s", op, cut);
    }
}

/* ---- sum of shards = whole ---- */

enum { SAMPLES = 7, INS = 6, OUTS = 5 };

typedef struct range {
    uint64_t from, n;
} range;

static range part(bool divided, uint64_t size, uint32_t rank, uint32_t ranks)
{
    range r = {0, size};
    if (divided) kp_shard_slice(size, rank, ranks, &r.from, &r.n);
    return r;
}

/* What the ranks wrote of y = x w, dx = dy w^T and dw = x^T dy: the sums of their terms, and how
 * many ranks wrote each element. Whole numbers: any order of adding is exact. */
typedef struct sums {
    double y[SAMPLES][OUTS], dx[SAMPLES][INS], dw[INS][OUTS];
    unsigned n_y[SAMPLES][OUTS], n_dx[SAMPLES][INS], n_dw[INS][OUTS];
} sums;

static double number(uint64_t a, uint64_t b, uint64_t salt)
{
    return (double)((a * 31 + b * 17 + salt * 7) % 23) - 11;
}

/* A gather is a matmul whose x has one 1 a sample: its index. */
static double input(kp_op op, uint64_t b, uint64_t i)
{
    return op == KP_OP_GATHER ? (b * 5 % INS == i) : number(b, i, 1);
}

static void add_rank(sums *s, kp_op op, range bs, range is, range os)
{
    for (uint64_t b = bs.from; b < bs.from + bs.n; b++)
        for (uint64_t o = os.from; o < os.from + os.n; o++) {
            s->n_y[b][o]++;
            for (uint64_t i = is.from; i < is.from + is.n; i++) {
                s->y[b][o] += input(op, b, i) * number(i, o, 2);
                s->dx[b][i] += number(b, o, 3) * number(i, o, 2);
                s->dw[i][o] += input(op, b, i) * number(b, o, 3);
            }
        }
    for (uint64_t i = is.from; i < is.from + is.n; i++) {
        for (uint64_t b = bs.from; b < bs.from + bs.n; b++) s->n_dx[b][i]++;
        for (uint64_t o = os.from; o < os.from + os.n; o++) s->n_dw[i][o]++;
    }
}

static sums run(const kp_shard_row *row, uint32_t ranks)
{
    sums s = {0};
    for (uint32_t rank = 0; rank < ranks; rank++)
        add_rank(&s, row->op, part(row->x == KP_LAYOUT_BATCH, SAMPLES, rank, ranks),
                 part(row->weight_axis == KP_AXIS_IN || row->weight_axis == KP_AXIS_ROWS, INS, rank, ranks),
                 part(row->weight_axis == KP_AXIS_OUT, OUTS, rank, ranks));
    return s;
}

/* Elements are sums over all ranks where the collective adds, else one rank has each. */
static bool counts(const unsigned *n, size_t len, kp_coll coll, uint32_t ranks)
{
    for (size_t i = 0; i < len; i++)
        if (n[i] != (coll == KP_COLL_ALL_REDUCE ? ranks : 1)) return false;
    return true;
}

Test(shard, sum_of_shards_is_the_whole)
{
    static const kp_op ops[] = {KP_OP_MATMUL, KP_OP_GATHER};
    unsigned rows = 0;
    for (size_t i = 0; i < kp_shard_n_rows; i++) {
        const kp_shard_row *row = &kp_shard_rows[i];
        if (row->op != ops[0] && row->op != ops[1]) continue;
        rows++;
        sums whole = run(row, 1);
        for (uint32_t ranks = 2; ranks <= 5; ranks++) {
            sums s = run(row, ranks);
            const char *op = kp_op_names[row->op], *cut = kp_cut_names[row->cut];
            cr_expect_eq(memcmp(s.y, whole.y, sizeof(s.y)), 0, "%s %s over %u: y", op, cut, ranks);
            cr_expect_eq(memcmp(s.dw, whole.dw, sizeof(s.dw)), 0, "%s %s over %u: dw", op, cut, ranks);
            cr_expect(counts(&s.n_y[0][0], SAMPLES * OUTS, row->forward, ranks), "%s %s: forward", op, cut);
            cr_expect(counts(&s.n_dw[0][0], INS * OUTS, row->weight_grad, ranks), "%s %s: weight_grad", op, cut);
            if (row->op == KP_OP_GATHER) continue; /* indices have no gradient */
            cr_expect_eq(memcmp(s.dx, whole.dx, sizeof(s.dx)), 0, "%s %s over %u: dx", op, cut, ranks);
            cr_expect(counts(&s.n_dx[0][0], SAMPLES * INS, row->backward, ranks), "%s %s: backward", op, cut);
        }
    }
    cr_expect_eq(rows, 9, "matmul has 5 cuts, gather 4");
}

Test(shard, slices)
{
    for (uint64_t size = 0; size < 20; size++)
        for (uint32_t ranks = 1; ranks < 9; ranks++) {
            uint64_t at = 0, least = UINT64_MAX, most = 0;
            for (uint32_t rank = 0; rank < ranks; rank++) {
                uint64_t from, n;
                kp_shard_slice(size, rank, ranks, &from, &n);
                cr_expect_eq(from, at, "%u of %u over %u", rank, (unsigned)size, ranks);
                at += n;
                least = n < least ? n : least;
                most = n > most ? n : most;
            }
            cr_expect_eq(at, size, "%u over %u", (unsigned)size, ranks);
            cr_expect_leq(most - least, 1);
        }
}

/* ---- axes ---- */

#define S(...) {.rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .dim = {__VA_ARGS__}}
static const struct {
    kp_op op;
    kp_cut cut;
    kp_shape x, w, y;
    bool channels_first, transposed;
    int ax, aw, ay;
} axes[] = {
    {KP_OP_MATMUL, KP_CUT_BATCH, S(8, 4), S(4, 6), S(8, 6), false, false, 0, -1, 0},
    {KP_OP_MATMUL, KP_CUT_COLUMN, S(8, 4), S(4, 6), S(8, 6), false, false, -1, 1, 1},
    {KP_OP_MATMUL, KP_CUT_COLUMN, S(8, 4), S(6, 4), S(8, 6), false, true, -1, 0, 1},
    {KP_OP_MATMUL, KP_CUT_COLUMN_GATHER, S(8, 4), S(4, 6), S(8, 6), false, false, -1, 1, -1},
    {KP_OP_MATMUL, KP_CUT_ROW, S(8, 2, 4), S(4, 6), S(8, 2, 6), false, false, 2, 0, -1},
    {KP_OP_MATMUL, KP_CUT_ROW, S(8, 4), S(6, 4), S(8, 6), false, true, 1, 1, -1},
    {KP_OP_MATMUL, KP_CUT_ROW_SLICE, S(8, 4), S(4, 6), S(8, 6), false, false, 1, 0, -1},
    {KP_OP_MATMUL, KP_CUT_COLUMN, S(8, 2, 4), S(4, 3, 5), S(8, 2, 3, 5), false, false, -1, 1, 2},
    {KP_OP_MATMUL, KP_CUT_ROW, S(8, 2, 3, 5), S(3, 5, 4), S(8, 2, 4), false, false, 2, 0, -1},
    /* two of seven experts' kernels (out, in) a row */
    {KP_OP_MATMUL, KP_CUT_COLUMN, S(8, 2, 4), S(7, 6, 4), S(8, 2, 6), false, true, -1, 1, 2},
    {KP_OP_MATMUL, KP_CUT_ROW, S(8, 3, 2, 6), S(7, 4, 6), S(8, 3, 2, 4), false, true, 3, 2, -1},
    {KP_OP_RMSNORM, KP_CUT_HEADS, S(8, 2, 3, 5), S(5), S(8, 2, 3, 5), false, false, 2, -1, 2},
    {KP_OP_CONV, KP_CUT_COLUMN, S(8, 9, 9, 3), S(3, 3, 3, 6), S(8, 7, 7, 6), false, false, -1, 3, 3},
    {KP_OP_CONV, KP_CUT_COLUMN, S(8, 3, 9, 9), S(3, 3, 3, 6), S(8, 6, 7, 7), true, false, -1, 3, 1},
    {KP_OP_CONV, KP_CUT_ROW, S(8, 9, 9, 4), S(3, 3, 4, 6), S(8, 7, 7, 6), false, false, 3, 2, -1},
    {KP_OP_CONV_TRANSPOSE, KP_CUT_COLUMN, S(8, 9, 4), S(3, 6, 4), S(8, 18, 6), false, false, -1, 1, 2},
    {KP_OP_CONV_DEPTHWISE, KP_CUT_COLUMN, S(8, 9, 9, 4), S(3, 3, 4, 1), S(8, 7, 7, 4), false, false, 3, 2, 3},
    {KP_OP_GATHER, KP_CUT_VOCAB, S(8, 5), S(100, 6), S(8, 5, 6), false, false, -1, 0, -1},
    {KP_OP_GATHER, KP_CUT_COLUMN, S(8, 5), S(100, 6), S(8, 5, 6), false, false, -1, 1, 2},
    {KP_OP_BIAS_ADD, KP_CUT_COLUMN, S(8, 6), S(6), S(8, 6), false, false, 1, 0, 1},
    {KP_OP_BIAS_ADD, KP_CUT_COLUMN, S(8, 2, 3, 5), S(3, 5), S(8, 2, 3, 5), false, false, 2, 0, 2},
    {KP_OP_RELU, KP_CUT_COLUMN, S(8, 6), {0}, S(8, 6), false, false, 1, -1, 1},
    {KP_OP_ATTN_SCORES, KP_CUT_HEADS, S(8, 2, 3, 5), {0}, S(8, 3, 2, 2), false, false, 2, -1, 1},
};

Test(shard, axes)
{
    for (size_t i = 0; i < KP_LEN(axes); i++) {
        const kp_shard_row *row = kp_shard_find(axes[i].op, axes[i].cut);
        cr_assert(row, "row %zu", i);
        kp_shard_axes a = kp_shard_axes_of(row, axes[i].x, axes[i].w, axes[i].y, axes[i].channels_first,
                                           axes[i].transposed);
        cr_expect(a.x == axes[i].ax && a.w == axes[i].aw && a.y == axes[i].ay,
                  "row %zu: x %d, w %d, y %d", i, a.x, a.w, a.y);
    }
}

/* ---- traffic ---- */

static const struct {
    kp_coll coll;
    uint32_t ranks;
    double bytes;
} traffic[] = {
    {KP_COLL_NONE, 8, 0},           {KP_COLL_SLICE, 8, 0},          {KP_COLL_SEND_RECV, 2, 1000},
    {KP_COLL_ALL_REDUCE, 1, 0},     {KP_COLL_ALL_REDUCE, 2, 1000},  {KP_COLL_ALL_REDUCE, 4, 1500},
    {KP_COLL_ALL_GATHER, 1, 0},     {KP_COLL_ALL_GATHER, 4, 750},   {KP_COLL_REDUCE_SCATTER, 8, 875},
};

Test(shard, traffic)
{
    for (size_t i = 0; i < KP_LEN(traffic); i++)
        cr_expect_eq(kp_coll_wire_bytes(traffic[i].coll, traffic[i].ranks, 1000), traffic[i].bytes, "row %zu", i);
    for (uint32_t n = 1; n < 100; n++) /* an all-reduce is a reduce-scatter and an all-gather */
        cr_expect_float_eq(kp_coll_wire_bytes(KP_COLL_ALL_REDUCE, n, 12345),
                           kp_coll_wire_bytes(KP_COLL_REDUCE_SCATTER, n, 12345) +
                               kp_coll_wire_bytes(KP_COLL_ALL_GATHER, n, 12345), 1e-9);
}
