/* SPDX-License-Identifier: MIT
 *
 * The same values in another shape or order. Axis 0 keeps the batch. */
#include "planner/model/rows.h"
#include <inttypes.h>

kp_status kp_shape_flatten(kp_rule *rule)
{
    kp_shape x = rule->x[0], y = x;
    y.rank = 2;
    y.dim[1] = x.rank > 1 ? kp_shape_product(x, 1, x.rank) : 1;
    return kp_rule_y(rule, y);
}

/* One size may be -1: what is left. */
kp_status kp_shape_reshape(kp_rule *rule)
{
    const kp_ints *target = &rule->cfg->dims;
    kp_shape x = rule->x[0], y = x;
    int64_t all = kp_shape_product(x, 1, x.rank), rest = 1;
    unsigned free_axis = 0;
    if (target->n >= KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "'target_shape' has more than %d sizes",
                       KP_RANK_MAX - 1);
    y.rank = (uint8_t)(target->n + 1);
    for (unsigned i = 0; i < target->n; i++) {
        int64_t v = target->v[i];
        if (v < -1 || v == 0 || (v == -1 && free_axis))
            return kp_fail(rule->err, KP_INPUT, "'target_shape' has %" PRId64 " on axis %u", v, i);
        if (v == -1) free_axis = i + 1;
        else rest = kp_dim_mul(rest, v);
        y.dim[i + 1] = v;
    }
    if (free_axis) y.dim[free_axis] = all == KP_DIM_OPEN ? KP_DIM_OPEN : all / rest;
    if (all != KP_DIM_OPEN && (free_axis ? all % rest != 0 : all != rest))
        return kp_fail(rule->err, KP_INPUT, "%s cannot become %s", kp_shape_text(x, 0).s,
                       kp_shape_text(y, 0).s);
    return kp_rule_y(rule, y);
}

/* 'dims' counts axes from 1, without the batch. */
kp_status kp_shape_permute(kp_rule *rule)
{
    const kp_ints *dims = &rule->cfg->dims;
    kp_shape x = rule->x[0], y = x;
    unsigned seen = 0;
    KP_TRY(kp_want_rank(rule, 0, dims->n + 1));
    for (unsigned i = 0; i < dims->n; i++) {
        int64_t v = dims->v[i];
        if (v < 1 || v > dims->n || seen >> v & 1)
            return kp_fail(rule->err, KP_INPUT, "'dims' is no order of the axes 1 to %u", dims->n);
        seen |= 1u << v;
        y.dim[i + 1] = x.dim[v];
    }
    return kp_rule_y(rule, y);
}

kp_status kp_lower_permute(kp_rule *rule)
{
    uint32_t out;
    KP_TRY(kp_rule_unary(rule, KP_OP_TRANSPOSE, "", rule->in[0], rule->y[0], &out));
    return kp_rule_out(rule, out);
}

/* (B, C) to (B, n, C) */
kp_status kp_shape_repeat(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, 2));
    kp_shape y = rule->x[0];
    y.rank = 3;
    y.dim[2] = y.dim[1];
    y.dim[1] = rule->cfg->count;
    return kp_rule_y(rule, y);
}
