/* SPDX-License-Identifier: MIT
 *
 * Normalisations. C: the size of the normalised axis (or axes). */
#include "planner/model/rows.h"

/* Sizes of the axes that the configuration names, as one shape; and the first of them. */
static kp_status norm_axes(const kp_rule *rule, kp_shape *ret, unsigned *ret_axis)
{
    const kp_ints *axes = &rule->cfg->axis;
    kp_shape x = rule->x[0];
    *ret = (kp_shape){.rank = (uint8_t)axes->n};
    *ret_axis = 0;
    for (unsigned i = 0; i < axes->n; i++) {
        unsigned axis;
        KP_TRY(kp_axis(rule, axes->v[i], x.rank, &axis));
        if (i == 0) *ret_axis = axis;
        ret->dim[i] = x.dim[axis];
    }
    return KP_OK;
}

static kp_status gamma_beta(kp_rule *rule, kp_shape shape)
{
    if (rule->cfg->scale) KP_TRY(kp_rule_weight(rule, "gamma", KP_ROLE_SCALE, shape, true));
    if (rule->cfg->center) KP_TRY(kp_rule_weight(rule, "beta", KP_ROLE_SHIFT, shape, true));
    return KP_OK;
}

/* gamma, beta learn; moving statistics do not, three more of them with renormalisation. */
kp_status kp_weights_batchnorm(kp_rule *rule)
{
    static const char *const stats[] = {"moving_mean", "moving_variance", "moving_stddev",
                                        "renorm_mean", "renorm_stddev"};
    kp_shape shape;
    unsigned axis;
    KP_TRY(norm_axes(rule, &shape, &axis));
    KP_TRY(gamma_beta(rule, shape));
    for (unsigned i = 0; i < (rule->cfg->renorm ? 5u : 2u); i++)
        KP_TRY(kp_rule_weight(rule, stats[i], KP_ROLE_STAT, shape, false));
    return KP_OK;
}

kp_status kp_weights_layernorm(kp_rule *rule)
{
    kp_shape shape;
    unsigned axis;
    KP_TRY(norm_axes(rule, &shape, &axis));
    if (rule->cfg->rms_scaling) return kp_rule_weight(rule, "gamma", KP_ROLE_SCALE, shape, true);
    return gamma_beta(rule, shape);
}

kp_status kp_weights_groupnorm(kp_rule *rule)
{
    kp_shape shape;
    unsigned axis;
    KP_TRY(norm_axes(rule, &shape, &axis));
    return gamma_beta(rule, shape);
}

kp_status kp_weights_rmsnorm(kp_rule *rule)
{
    kp_shape shape;
    unsigned axis;
    KP_TRY(norm_axes(rule, &shape, &axis));
    return kp_rule_weight(rule, "scale", KP_ROLE_SCALE, shape, true);
}

/* An op over all weights that learn. Statistics are the layer's, but not of the step's maths. */
static kp_status lower_norm(kp_rule *rule, kp_op kind)
{
    kp_shape shape;
    kp_new_op op = {.op = kind, .in = rule->in, .n_in = 1, .out = rule->y[0]};
    unsigned axis;
    KP_TRY(norm_axes(rule, &shape, &axis));
    op.attr.axis = (int32_t)axis;
    op.attr.groups = rule->cfg->groups > 0 ? (uint32_t)rule->cfg->groups : 0;
    op.attr.channels_first = rule->x[0].rank > 2 && axis == 1;
    static const char *const names[] = {"gamma", "beta", "scale"};
    for (size_t i = 0; i < KP_LEN(names); i++) {
        uint32_t w = kp_rule_find_weight(rule, names[i]);
        if (w != KP_NO) op.weights[op.n_weights++] = w;
    }
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

kp_status kp_lower_batchnorm(kp_rule *rule)
{
    return lower_norm(rule, KP_OP_BATCHNORM);
}

kp_status kp_lower_layernorm(kp_rule *rule)
{
    return lower_norm(rule, rule->cfg->rms_scaling ? KP_OP_RMSNORM : KP_OP_LAYERNORM);
}

kp_status kp_lower_groupnorm(kp_rule *rule)
{
    return lower_norm(rule, KP_OP_GROUPNORM);
}

kp_status kp_lower_rmsnorm(kp_rule *rule)
{
    return lower_norm(rule, KP_OP_RMSNORM);
}

/* The preprocessing layer: statistics of the data set unless the file gives them as numbers. */
kp_status kp_weights_normalization(kp_rule *rule)
{
    kp_shape shape;
    unsigned axis;
    if (rule->cfg->mean_given) return KP_OK;
    KP_TRY(norm_axes(rule, &shape, &axis));
    KP_TRY(kp_rule_weight(rule, "mean", KP_ROLE_STAT, shape, false));
    KP_TRY(kp_rule_weight(rule, "variance", KP_ROLE_STAT, shape, false));
    return kp_rule_weight_typed(rule, "count", KP_ROLE_STAT, (kp_shape){0}, false, KP_INT32);
}

kp_status kp_lower_rescale(kp_rule *rule)
{
    uint32_t out;
    KP_TRY(kp_rule_unary(rule, KP_OP_RESCALE, "", rule->in[0], rule->y[0], &out));
    return kp_rule_out(rule, out);
}
