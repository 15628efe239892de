/* SPDX-License-Identifier: MIT
 *
 * Layers that keep the shape of their input: activations, dropout, scales, views. */
#include "planner/model/rows.h"

kp_status kp_shape_same(kp_rule *rule)
{
    return kp_rule_y(rule, rule->x[0]);
}

/* One op of the row's kind (its variant), from the inputs to the one output. */
kp_status kp_lower_same(kp_rule *rule)
{
    kp_new_op op = {.op = (kp_op)rule->row->variant, .in = rule->in, .n_in = rule->n_in,
                    .out = rule->y[0]};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* Another view of the first input's memory. */
kp_status kp_lower_view(kp_rule *rule)
{
    uint32_t out;
    KP_TRY(kp_rule_unary(rule, KP_OP_VIEW, "", rule->in[0], rule->y[0], &out));
    return kp_rule_out(rule, out);
}

static kp_status lower_as(kp_rule *rule, kp_activation activation)
{
    kp_op op = activation == KP_ACT_RELU      ? KP_OP_RELU
               : activation == KP_ACT_SOFTMAX ? KP_OP_SOFTMAX
               : activation == KP_ACT_LINEAR  ? KP_OP_VIEW
                                              : KP_OP_ACT;
    kp_new_op made = {.op = op, .in = rule->in, .n_in = 1, .out = rule->y[0],
                      .attr = {.activation = activation}};
    unsigned axis = 0;
    if (op == KP_OP_SOFTMAX && made.out.rank)
        KP_TRY(kp_axis(rule, rule->cfg->axis.n == 1 ? rule->cfg->axis.v[0] : -1, made.out.rank,
                       &axis));
    made.attr.axis = (int32_t)axis;
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &made, &out));
    return kp_rule_out(rule, out);
}

/* The layer `Activation` names its function; ELU, Softmax and the like are their row's variant. */
kp_status kp_lower_activation(kp_rule *rule)
{
    kp_activation activation = (kp_activation)rule->row->variant;
    return lower_as(rule, activation == KP_ACT_OTHER ? rule->cfg->activation : activation);
}

/* `ReLU` with a ceiling or a slope is another function (value = max_value, slope = rate). */
kp_status kp_lower_relu(kp_rule *rule)
{
    if (rule->cfg->rate != 0) return lower_as(rule, KP_ACT_LEAKY_RELU);
    return lower_as(rule, rule->cfg->mean_given ? KP_ACT_RELU6 : KP_ACT_RELU);
}

kp_status kp_lower_dropout(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_DROPOUT, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .attr = {.rate = rule->cfg->rate}};
    if (rule->cfg->rate == 0) op.op = KP_OP_VIEW; /* nothing is dropped, nothing is kept */
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* One slope an element, shared over the axes in shared_axes (counted from 1, without the batch). */
kp_status kp_weights_prelu(kp_rule *rule)
{
    kp_shape x = rule->x[0], alpha = {.rank = (uint8_t)(x.rank ? x.rank - 1 : 0)};
    for (unsigned i = 0; i < alpha.rank; i++) alpha.dim[i] = x.dim[i + 1];
    for (unsigned i = 0; i < rule->cfg->axis.n && rule->cfg->axis.given; i++) {
        unsigned axis;
        KP_TRY(kp_axis(rule, rule->cfg->axis.v[i], x.rank, &axis));
        if (axis) alpha.dim[axis - 1] = 1;
    }
    return kp_rule_weight(rule, "alpha", KP_ROLE_SCALE, alpha, true);
}

/* ConvNeXt's LayerScale has one factor a channel, a variable without a name of its own. */
kp_status kp_weights_layer_scale(kp_rule *rule)
{
    return kp_rule_weight_unnamed(rule, KP_ROLE_SCALE, kp_dims(1, &rule->cfg->units), true);
}

kp_status kp_lower_scale(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_SCALE, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .weights = {rule->first_weight}, .n_weights = rule->n_weights};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}
