/* SPDX-License-Identifier: MIT
 *
 * Operations of keras.ops that move values: other shapes, joined, cut, repeated. Axes count the
 * batch, and a batch merged with other axes stays a multiple of the samples. Source: keras/src/ops/
 * numpy.py. */
#include "planner/model/rows.h"

/* Inserts axis `at` of size `dim`. */
static kp_status insert_axis(const kp_rule *rule, kp_shape *y, unsigned at, int64_t dim)
{
    if (y->rank >= KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "its output has more than %d axes", KP_RANK_MAX);
    for (unsigned i = y->rank; i > at; i--) y->dim[i] = y->dim[i - 1];
    unsigned low = y->per_sample & ((1u << at) - 1), high = y->per_sample & ~((1u << at) - 1);
    y->per_sample = (uint8_t)(low | high << 1);
    y->dim[at] = dim;
    y->rank++;
    return KP_OK;
}

static void remove_axis(kp_shape *y, unsigned at)
{
    for (unsigned i = at; i + 1 < y->rank; i++) y->dim[i] = y->dim[i + 1];
    unsigned low = y->per_sample & ((1u << at) - 1), high = y->per_sample >> (at + 1);
    y->per_sample = (uint8_t)(low | high << at);
    y->rank--;
}

kp_status kp_shape_expand(kp_rule *rule)
{
    kp_shape y = rule->x[0];
    unsigned at;
    KP_TRY(kp_axis(rule, rule->cfg->axis.n ? rule->cfg->axis.v[0] : -1, y.rank + 1u, &at));
    KP_TRY(insert_axis(rule, &y, at, 1));
    return kp_rule_y(rule, y);
}

/* Indices to rows with a one in them. */
kp_status kp_shape_one_hot(kp_rule *rule)
{
    kp_shape y = rule->x[0];
    unsigned at;
    KP_TRY(kp_axis(rule, rule->cfg->axis.v[0], y.rank + 1u, &at));
    KP_TRY(insert_axis(rule, &y, at, rule->cfg->width));
    return kp_rule_y(rule, y);
}

kp_status kp_lower_one_hot(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_UPSAMPLE, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .has_dtype = true, .dtype = KP_FLOAT32};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* No axis given: all of size 1. */
kp_status kp_shape_squeeze(kp_rule *rule)
{
    const kp_ints *axes = &rule->cfg->axis;
    kp_shape x = rule->x[0], y = x;
    unsigned gone = 0;
    for (unsigned i = 0; i < axes->n; i++) {
        unsigned axis;
        KP_TRY(kp_axis(rule, axes->v[i], x.rank, &axis));
        gone |= 1u << axis;
    }
    for (unsigned i = x.rank; i-- > 0;) {
        bool one = x.dim[i] == 1 && !(x.per_sample >> i & 1);
        if (axes->n ? gone >> i & 1 : one) remove_axis(&y, i);
    }
    return kp_rule_y(rule, y);
}

/* newshape with the batch in it; -1 takes what is left, and with it the samples. */
kp_status kp_shape_newshape(kp_rule *rule)
{
    const kp_ints *to = &rule->cfg->dims;
    kp_shape x = rule->x[0], y = {.rank = (uint8_t)to->n};
    int64_t all = kp_shape_product(x, 0, x.rank), rest = 1;
    unsigned left = to->n;
    for (unsigned i = 0; i < to->n; i++) {
        y.dim[i] = to->v[i];
        if (to->v[i] == -1 && left == to->n) left = i;
        else if (to->v[i] < 1)
            return kp_fail(rule->err, KP_INPUT, "'newshape' has %lld on axis %u",
                           (long long)to->v[i], i);
        else rest = kp_dim_mul(rest, to->v[i]);
    }
    if (left == to->n && x.per_sample) { /* the file fixes the batch: it is the first axis */
        left = 0;
        rest = y.rank ? rest / y.dim[0] : rest;
    }
    if (left < to->n) {
        y.dim[left] = all == KP_DIM_OPEN ? KP_DIM_OPEN : all / rest;
        if (x.per_sample) y.per_sample = (uint8_t)(1u << left);
    }
    if (all != KP_DIM_OPEN && kp_shape_product(y, 0, y.rank) != all)
        return kp_fail(rule->err, KP_INPUT, "%s cannot become %s", kp_shape_text(x, 0).s,
                       kp_shape_text(y, 0).s);
    return kp_rule_y(rule, y);
}

/* 'axes' is a whole order; none: reversed. */
kp_status kp_shape_transpose(kp_rule *rule)
{
    const kp_ints *axes = &rule->cfg->axis;
    kp_shape x = rule->x[0], y = {.rank = x.rank};
    unsigned seen = 0;
    for (unsigned i = 0; i < x.rank; i++) {
        unsigned from = x.rank - 1 - i;
        if (axes->n) KP_TRY(kp_axis(rule, i < axes->n ? axes->v[i] : x.rank, x.rank, &from));
        seen |= 1u << from;
        y.dim[i] = x.dim[from];
        if (x.per_sample >> from & 1) y.per_sample |= (uint8_t)(1u << i);
    }
    if (seen != (1u << x.rank) - 1)
        return kp_fail(rule->err, KP_INPUT, "'axes' is no order of %u axes", x.rank);
    return kp_rule_y(rule, y);
}

kp_status kp_shape_stack(kp_rule *rule)
{
    kp_shape y = rule->x[0];
    unsigned at;
    KP_TRY(kp_axis(rule, rule->cfg->axis.n ? rule->cfg->axis.v[0] : 0, y.rank + 1u, &at));
    for (uint32_t i = 1; i < rule->n_in; i++)
        if (rule->x[i].rank != y.rank)
            return kp_fail(rule->err, KP_INPUT, "its inputs %s and %s differ",
                           kp_shape_text(y, 0).s, kp_shape_text(rule->x[i], 0).s);
    KP_TRY(insert_axis(rule, &y, at, rule->n_in));
    return kp_rule_y(rule, y);
}

/* Equal parts for a number, parts between borders for a list. */
kp_status kp_shape_split(kp_rule *rule)
{
    const kp_ints *parts = &rule->cfg->dims;
    kp_shape x = rule->x[0];
    unsigned at;
    KP_TRY(kp_axis(rule, rule->cfg->axis.n ? rule->cfg->axis.v[0] : 0, x.rank, &at));
    int64_t size = x.dim[at], n = parts->single ? parts->v[0] : (int64_t)parts->n + 1, from = 0;
    if (n < 1 || n > 4096 || (parts->single && size != KP_DIM_OPEN && size % n))
        return kp_fail(rule->err, KP_INPUT, "axis %u of %s does not fall into %lld parts", at,
                       kp_shape_text(x, 0).s, (long long)n);
    for (int64_t i = 0; i < n; i++) {
        int64_t to = i + 1 < n && !parts->single ? parts->v[i] : size, part = to - from;
        if (parts->single) part = size == KP_DIM_OPEN ? size : size / n;
        else if (to == KP_DIM_OPEN) part = KP_DIM_OPEN;
        if (part < 0 && part != KP_DIM_OPEN)
            return kp_fail(rule->err, KP_INPUT, "'indices_or_sections' is not ascending");
        KP_TRY(kp_rule_y(rule, kp_shape_with(x, at, part)));
        from = to;
    }
    return KP_OK;
}

/* All outputs are written by one op. */
kp_status kp_lower_split(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_PAD, .in = rule->in, .n_in = 1, .outs = rule->y,
                    .n_outs = rule->n_y};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    for (uint32_t i = 0; i < rule->n_y; i++) KP_TRY(kp_rule_out(rule, out + i));
    return KP_OK;
}

/* repeats, one an axis; missing ones in front are 1. */
kp_status kp_shape_tile(kp_rule *rule)
{
    const kp_ints *times = &rule->cfg->dims;
    kp_shape y = rule->x[0];
    while (y.rank < times->n) KP_TRY(insert_axis(rule, &y, 0, 1));
    for (unsigned i = 0; i < times->n; i++) {
        unsigned axis = y.rank - times->n + i;
        if (times->v[i] < 1)
            return kp_fail(rule->err, KP_INPUT, "'repeats' has %lld", (long long)times->v[i]);
        y.dim[axis] = kp_dim_mul(y.dim[axis], times->v[i]);
    }
    return kp_rule_y(rule, y);
}

/* pad_width: how much before and after, an axis. */
kp_status kp_shape_pad_width(kp_rule *rule)
{
    const kp_ints *before = &rule->cfg->dims, *after = &rule->cfg->boundaries;
    KP_TRY(kp_want_rank(rule, 0, before->n));
    kp_shape y = rule->x[0];
    for (unsigned i = 0; i < y.rank; i++)
        if (y.dim[i] != KP_DIM_OPEN) y.dim[i] += before->v[i] + after->v[i];
    return kp_rule_y(rule, y);
}

/* Channels become blocks of n x n positions, or (variant 1) the other way. */
kp_status kp_shape_blocks(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, 4));
    int64_t n = rule->cfg->count, nn = kp_dim_mul(n, n);
    bool away = rule->row->variant;
    unsigned c = rule->cfg->channels_first ? 1 : 3;
    kp_shape y = rule->x[0];
    for (unsigned i = 1; i < 4; i++) {
        if (y.dim[i] == KP_DIM_OPEN) continue;
        int64_t by = i == c ? nn : n;
        bool divide = i == c ? !away : away;
        if (divide && y.dim[i] % by)
            return kp_fail(rule->err, KP_INPUT, "blocks of %lld do not divide axis %u of %s",
                           (long long)n, i, kp_shape_text(rule->x[0], 0).s);
        y.dim[i] = divide ? y.dim[i] / by : kp_dim_mul(y.dim[i], by);
    }
    return kp_rule_y(rule, y);
}

kp_status kp_lower_blocks(kp_rule *rule)
{
    uint32_t y;
    KP_TRY(kp_rule_unary(rule, KP_OP_TRANSPOSE, "", rule->in[0], rule->y[0], &y));
    return kp_rule_out(rule, y);
}
