/* SPDX-License-Identifier: MIT
 *
 * Operations of keras.ops that compute: elementwise, comparisons, reductions, products. They have
 * no type of their own: results have the operands' type, truth values are bool. Source: keras/src/
 * ops/numpy.py, nn.py, core.py. */
#include "planner/model/rows.h"

/* Truth values of a comparison. */
kp_status kp_lower_compare(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_MATH, .in = rule->in, .n_in = rule->n_in, .out = rule->y[0],
                    .has_dtype = true, .dtype = KP_BOOL};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

kp_status kp_lower_cast(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_CAST, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .has_dtype = true};
    if (!kp_dtype_from_name(rule->cfg->text, &op.dtype))
        return kp_fail(rule->err, KP_INPUT, "'dtype' is '%.40s', which is no type",
                       rule->cfg->text);
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* ---- reductions; variant 1: the result is an index ---- */

kp_status kp_shape_reduce(kp_rule *rule)
{
    const kp_ints *axes = &rule->cfg->axis;
    kp_shape x = rule->x[0], y = {0};
    unsigned gone = axes->n ? 0 : (1u << x.rank) - 1;
    for (unsigned i = 0; i < axes->n; i++) {
        unsigned axis;
        KP_TRY(kp_axis(rule, axes->v[i], x.rank, &axis));
        gone |= 1u << axis;
    }
    for (unsigned i = 0; i < x.rank; i++) {
        if (gone >> i & 1 && !rule->cfg->keepdims) continue;
        if (!(gone >> i & 1) && x.per_sample >> i & 1) y.per_sample |= (uint8_t)(1u << y.rank);
        y.dim[y.rank++] = gone >> i & 1 ? 1 : x.dim[i];
    }
    return kp_rule_y(rule, y);
}

kp_status kp_lower_reduce(kp_rule *rule)
{
    bool index = rule->row->variant;
    kp_new_op op = {.op = KP_OP_REDUCE, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .has_dtype = index, .dtype = KP_INT32, .flops = kp_elems(rule->x[0])};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* ---- products ---- */

/* An operand as the product sees it. */
static kp_shape operand(const kp_rule *rule, uint32_t i, bool transpose)
{
    kp_shape x = rule->x[i];
    if (!transpose || x.rank < 2) return x;
    int64_t last = x.dim[x.rank - 1];
    x.dim[x.rank - 1] = x.dim[x.rank - 2];
    x.dim[x.rank - 2] = last;
    return x;
}

/* (..., M, K) times (..., K, N); what stands in front is broadcast. */
kp_status kp_shape_matmul(kp_rule *rule)
{
    kp_shape a = operand(rule, 0, rule->cfg->transpose_a);
    kp_shape b = operand(rule, 1, rule->cfg->transpose_b);
    if (a.rank < 2 || b.rank < 2)
        return kp_fail(rule->err, KP_INPUT, "it takes operands with 2 or more axes, got %s and %s",
                       kp_shape_text(a, 0).s, kp_shape_text(b, 0).s);
    int64_t k = a.dim[a.rank - 1], other = b.dim[b.rank - 2];
    if (k != other && k != KP_DIM_OPEN && other != KP_DIM_OPEN)
        return kp_fail(rule->err, KP_INPUT, "its operands %s and %s do not match",
                       kp_shape_text(a, 0).s, kp_shape_text(b, 0).s);
    kp_shape y = a.rank >= b.rank ? a : b;
    if (a.rank < b.rank && a.rank > 1) y.dim[y.rank - 2] = a.dim[a.rank - 2];
    y.dim[y.rank - 1] = b.dim[b.rank - 1];
    for (unsigned i = 0; i + 2 < y.rank && a.rank == b.rank; i++)
        if (a.dim[i] == 1 && !(a.per_sample >> i & 1)) {
            y.dim[i] = b.dim[i];
            y.per_sample |= b.per_sample & (uint8_t)(1u << i);
        }
    return kp_rule_y(rule, y);
}

kp_status kp_lower_matmul(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 2, .out = rule->y[0]};
    op.flops = 2 * kp_elems(op.out) * (double)operand(rule, 0, rule->cfg->transpose_a).dim[rule->x[0].rank - 1];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}
