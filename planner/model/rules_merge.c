/* SPDX-License-Identifier: MIT
 *
 * Several inputs to one. Source: keras/src/layers/merging/base_merge.py, concatenate.py, dot.py. */
#include "planner/model/rows.h"

/* One axis of two shapes that are broadcast; false if they do not match. `strict`: a known size
 * beside an open one stays open, as the merging layers have it. */
static bool broadcast_dim(kp_shape a, kp_shape b, unsigned axis, bool strict, kp_shape *y)
{
    bool pa = a.per_sample >> axis & 1, pb = b.per_sample >> axis & 1;
    int64_t da = a.dim[axis], db = b.dim[axis];
    y->dim[axis] = da;
    y->per_sample = (uint8_t)(y->per_sample | (unsigned)(pa || pb) << axis);
    if (da == 1 && !pa) y->dim[axis] = db;
    else if (db == 1 && !pb) y->dim[axis] = da;
    else if (da == KP_DIM_OPEN || db == KP_DIM_OPEN)
        y->dim[axis] = strict || da == db ? KP_DIM_OPEN : da == KP_DIM_OPEN ? db : da;
    else return da == db;
    return true;
}

/* Lower ranks get axes of 1 in front of (plain) or behind (merging layers) the batch axis. */
static kp_shape expand(kp_shape x, unsigned rank, bool after_batch)
{
    unsigned more = rank - x.rank, keep = after_batch && x.rank ? 1 : 0;
    kp_shape y = {.rank = (uint8_t)rank};
    for (unsigned i = 0; i < rank; i++) {
        bool old = i < keep || i >= keep + more;
        unsigned from = i < keep ? i : i - more;
        y.dim[i] = old ? x.dim[from] : 1;
        if (old && x.per_sample >> from & 1) y.per_sample |= (uint8_t)(1u << i);
    }
    return y;
}

static kp_status broadcast(kp_rule *rule, bool after_batch, kp_shape *ret)
{
    kp_shape y = rule->x[0];
    for (uint32_t i = 1; i < rule->n_in; i++) {
        unsigned rank = y.rank > rule->x[i].rank ? y.rank : rule->x[i].rank;
        kp_shape a = expand(y, rank, after_batch), b = expand(rule->x[i], rank, after_batch);
        y = (kp_shape){.rank = (uint8_t)rank};
        for (unsigned axis = 0; axis < rank; axis++)
            if (!broadcast_dim(a, b, axis, after_batch, &y))
                return kp_fail(rule->err, KP_INPUT, "its inputs %s and %s do not match",
                               kp_shape_text(rule->x[0], 0).s, kp_shape_text(rule->x[i], 0).s);
    }
    *ret = y;
    return KP_OK;
}

kp_status kp_shape_merge(kp_rule *rule)
{
    kp_shape y;
    KP_TRY(broadcast(rule, true, &y));
    return kp_rule_y(rule, y);
}

/* Operations broadcast as NumPy does; a missing operand is a constant. */
kp_status kp_shape_math_binary(kp_rule *rule)
{
    kp_shape y;
    KP_TRY(broadcast(rule, false, &y));
    return kp_rule_y(rule, y);
}

/* n - 1 elementwise steps, the row's variant says which. */
kp_status kp_lower_merge(kp_rule *rule)
{
    kp_new_op op = {.op = (kp_op)rule->row->variant, .in = rule->in, .n_in = rule->n_in,
                    .out = rule->y[0]};
    op.flops = kp_elems(op.out) * (rule->n_in > 1 ? rule->n_in - 1 : 1);
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* Sizes add up on the axis and agree elsewhere. */
kp_status kp_shape_concat(kp_rule *rule)
{
    kp_shape y = rule->x[0];
    unsigned axis;
    KP_TRY(kp_axis(rule, rule->cfg->axis.n ? rule->cfg->axis.v[0] : -1, y.rank, &axis));
    for (uint32_t i = 1; i < rule->n_in; i++) {
        kp_shape x = rule->x[i];
        bool match = x.rank == y.rank;
        for (unsigned j = 0; match && j < y.rank; j++) {
            if (j == axis) continue;
            match = x.dim[j] == y.dim[j] || x.dim[j] == KP_DIM_OPEN || y.dim[j] == KP_DIM_OPEN;
            if (y.dim[j] == KP_DIM_OPEN) y.dim[j] = x.dim[j];
        }
        if (!match)
            return kp_fail(rule->err, KP_INPUT, "its inputs %s and %s differ outside axis %u",
                           kp_shape_text(rule->x[0], 0).s, kp_shape_text(x, 0).s, axis);
        bool open = y.dim[axis] == KP_DIM_OPEN || x.dim[axis] == KP_DIM_OPEN;
        y.dim[axis] = open ? KP_DIM_OPEN : y.dim[axis] + x.dim[axis];
    }
    return kp_rule_y(rule, y);
}

kp_status kp_lower_concat(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_CONCAT, .in = rule->in, .n_in = rule->n_in, .out = rule->y[0]};
    unsigned axis;
    KP_TRY(kp_axis(rule, rule->cfg->axis.n ? rule->cfg->axis.v[0] : -1, op.out.rank, &axis));
    op.attr.axis = (int32_t)axis;
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* ---- Dot: a product of two inputs over one axis each, batch by batch ---- */

static kp_status dot_axes(const kp_rule *rule, unsigned ret[2])
{
    const kp_ints *axes = &rule->cfg->axis;
    for (unsigned i = 0; i < 2; i++) {
        KP_TRY(kp_axis(rule, axes->v[axes->n > 1 ? i : 0], rule->x[i].rank, &ret[i]));
        if (ret[i] == 0) return kp_fail(rule->err, KP_INPUT, "'axes' names the batch axis");
    }
    return KP_OK;
}

/* [B] + what is left of a + what is left of b; (B, 1) if nothing is. */
kp_status kp_shape_dot(kp_rule *rule)
{
    unsigned axes[2];
    KP_TRY(dot_axes(rule, axes));
    kp_shape y = {.per_sample = rule->x[0].per_sample & 1};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = i; j < rule->x[i].rank; j++) {
            if (j == axes[i]) continue;
            if (y.rank == KP_RANK_MAX)
                return kp_fail(rule->err, KP_INPUT, "its output has more than %d axes",
                               KP_RANK_MAX);
            y.dim[y.rank++] = rule->x[i].dim[j];
        }
    int64_t a = rule->x[0].dim[axes[0]], b = rule->x[1].dim[axes[1]];
    if (a != b && a != KP_DIM_OPEN && b != KP_DIM_OPEN)
        return kp_fail(rule->err, KP_INPUT, "its inputs %s and %s do not match on 'axes'",
                       kp_shape_text(rule->x[0], 0).s, kp_shape_text(rule->x[1], 0).s);
    if (y.rank == 1) y.dim[y.rank++] = 1;
    return kp_rule_y(rule, y);
}

kp_status kp_lower_dot(kp_rule *rule)
{
    unsigned axes[2];
    KP_TRY(dot_axes(rule, axes));
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 2, .out = rule->y[0]};
    op.flops = 2 * kp_elems(op.out) * (double)rule->x[0].dim[axes[0]];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}
