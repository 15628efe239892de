/* SPDX-License-Identifier: MIT */
#include "agent/verify/flow.h"

/* Axis of a tensor that a layout divides. */
static kp_status axis_of(kp_layout layout, int channel, const char *name, int *ret, kp_err *err)
{
    *ret = KP_NO_AXIS;
    if (layout == KP_LAYOUT_BATCH) *ret = 0;
    if (layout != KP_LAYOUT_CHANNEL) return KP_OK;
    *ret = channel;
    if (channel != KP_NO_AXIS) return KP_OK;
    return kp_fail(err, KP_VERIFY_FAILED, "%s has no channels to divide", name);
}

static kp_status weight_axis_of(const kp_problem *p, int8_t axis, int *ret, kp_err *err)
{
    *ret = KP_NO_AXIS;
    if (axis == KP_AXIS_WHOLE || !p->has_w) return KP_OK;
    if (axis == KP_AXIS_IN) *ret = p->w_in;
    if (axis == KP_AXIS_OUT) *ret = p->w_out;
    if (axis == KP_AXIS_ROWS) *ret = p->w_rows;
    if (*ret != KP_NO_AXIS) return KP_OK;
    return kp_fail(err, KP_VERIFY_FAILED, "the weight has no such axis to divide");
}

/* Checks that a collective leads from one block to the other. */
static kp_status check_move(const kp_move *m, uint32_t ranks, const char *name, kp_err *err)
{
    const bool from = m->from.axis != KP_NO_AXIS, to = m->to.axis != KP_NO_AXIS;
    const bool same = m->from.axis == m->to.axis;
    bool ok = false;
    switch (m->coll) {
    case KP_COLL_NONE:
        ok = same;
        break;
    case KP_COLL_ALL_REDUCE: /* adds parts elementwise: all must have one size */
        ok = same && (!from || m->from.full.dim[m->from.axis] % ranks == 0);
        break;
    case KP_COLL_ALL_GATHER:
        ok = from && !to;
        break;
    case KP_COLL_REDUCE_SCATTER:
    case KP_COLL_SLICE:
        ok = !from && to;
        break;
    default:
        break;
    }
    if (ok) return KP_OK;
    return kp_fail(err, KP_VERIFY_FAILED, "%s %s cannot become %s by %s", name,
                   kp_shape_text(kp_block_shape(m->from), 1).s,
                   kp_shape_text(kp_block_shape(m->to), 1).s, kp_coll_names[m->coll]);
}

/* How a gradient goes back where the value came by `coll`. */
static kp_coll adjoint(kp_coll coll)
{
    static const kp_coll back[KP_COLL_COUNT] = {
        [KP_COLL_ALL_GATHER] = KP_COLL_SLICE,
        [KP_COLL_REDUCE_SCATTER] = KP_COLL_ALL_GATHER,
        [KP_COLL_SLICE] = KP_COLL_ALL_GATHER,
    };
    return back[coll];
}

static kp_status make_one(const kp_problem *p, const kp_shard_row *row, uint32_t me, uint32_t ranks,
                          kp_flow *f, kp_err *err)
{
    int x, y_local, y, w;
    KP_TRY(axis_of(row->x, p->x_channel, "x", &x, err));
    KP_TRY(axis_of(row->y_local, p->y_channel, "y", &y_local, err));
    KP_TRY(axis_of(row->y, p->y_channel, "y", &y, err));
    KP_TRY(weight_axis_of(p, row->weight_axis, &w, err));
    bool own_slice = p->has_w && row->weight_axis == KP_AXIS_IN && x == KP_NO_AXIS;
    int used = own_slice ? p->x_channel : x;
    f->x = kp_block_make(p->x, x, me, ranks);
    f->x_used = kp_block_make(p->x, used, me, ranks);
    if (p->has_w) f->w = kp_block_make(p->w, w, me, ranks);
    f->y_local = kp_block_make(p->y, y_local, me, ranks);
    f->y = kp_block_make(p->y, y, me, ranks);
    f->slice_x = (kp_move){own_slice ? KP_COLL_SLICE : KP_COLL_NONE, f->x, f->x_used};
    f->forward = (kp_move){row->forward, f->y_local, f->y};
    f->adjoint = (kp_move){adjoint(row->forward), f->y, f->y_local};
    f->dx = (kp_move){p->has_dx ? row->backward : KP_COLL_NONE, f->x_used, f->x};
    f->dw = (kp_move){p->has_w ? row->weight_grad : KP_COLL_NONE, f->w, f->w};
    kp_shape wrote;
    KP_TRY(kp_problem_output(p, kp_block_shape(f->x_used), kp_block_shape(f->w), &wrote, err));
    kp_shape local = kp_block_shape(f->y_local);
    if (!kp_shape_equal(wrote, local))
        return kp_fail(err, KP_VERIFY_FAILED, "rank %u of %u writes %s, layout '%s' is %s", me,
                       ranks, kp_shape_text(wrote, 1).s, kp_layout_names[row->y_local],
                       kp_shape_text(local, 1).s);
    KP_TRY(check_move(&f->forward, ranks, "y", err));
    if (p->has_dx) KP_TRY(check_move(&f->dx, ranks, "the gradient of x", err));
    if (p->has_w) KP_TRY(check_move(&f->dw, ranks, "the gradient of the weight", err));
    return KP_OK;
}

kp_status kp_flow_make(const kp_problem *problem, const kp_shard_row *row, uint32_t me,
                       uint32_t ranks, kp_flow *ret, kp_err *err)
{
    bool in = row->weight_axis == KP_AXIS_IN || row->x == KP_LAYOUT_CHANNEL;
    if (problem->op == KP_OP_CONV && problem->groups > 1 && in)
        return kp_fail(err, KP_UNSUPPORTED,
                       "a convolution of %u groups with divided input channels has no form to run",
                       problem->groups);
    for (uint32_t i = 0; i < ranks; i++) {
        kp_flow flow = {0};
        KP_TRY(make_one(problem, row, i, ranks, &flow, err));
        if (i == me) *ret = flow;
    }
    return KP_OK;
}

bool kp_move_talks(const kp_move *move, uint32_t ranks)
{
    return ranks > 1 && (move->coll == KP_COLL_ALL_REDUCE || move->coll == KP_COLL_ALL_GATHER ||
                         move->coll == KP_COLL_REDUCE_SCATTER);
}

/* Bytes of what a move writes beside its input: an all-reduce works in place. */
static uint64_t moved(const kp_move *move, uint32_t ranks)
{
    bool writes = move->coll == KP_COLL_SLICE ||
                  (kp_move_talks(move, ranks) && move->coll != KP_COLL_ALL_REDUCE);
    return writes ? kp_block_elems(move->to) * sizeof(float) : 0;
}

uint64_t kp_flow_bytes(const kp_problem *p, const kp_flow *f, uint32_t ranks,
                       kp_direction direction)
{
    const uint64_t unit = sizeof(float);
    uint64_t bytes = (kp_block_elems(f->x) + kp_block_elems(f->y_local)) * unit;
    bytes += moved(&f->slice_x, ranks) + moved(&f->forward, ranks);
    if (p->has_w) bytes += kp_block_elems(f->w) * unit;
    if (direction == KP_FORWARD) return bytes;
    bytes += kp_block_elems(f->y) * unit + moved(&f->adjoint, ranks);
    if (p->has_dx) bytes += kp_block_elems(f->x_used) * unit + moved(&f->dx, ranks);
    if (p->has_w) bytes += kp_block_elems(f->w) * unit + moved(&f->dw, ranks);
    return bytes;
}
