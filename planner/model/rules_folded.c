/* SPDX-License-Identifier: MIT
 *
 * QKeras's products with a BatchNormalization folded into their kernel: the plain layer without its
 * activation, the normalisation below it, a counter of steps, then the activation. The folded
 * product runs beside the plain one that finds the statistics; it is counted as the plain one.
 * Source: qkeras/qconv2d_batchnorm.py at 0.9. */
#include "planner/model/rows.h"

static kp_status folded(kp_rule *rule, kp_rule_fn *plain)
{
    kp_layer_cfg *bare = KP_NEW(rule->arena, kp_layer_cfg, 1), *norm = KP_NEW(rule->arena, kp_layer_cfg, 1);
    kp_rule product = *rule;
    kp_rule part;
    uint32_t y;
    if (!bare || !norm) return kp_nomem(rule->err);
    *bare = *rule->cfg;
    bare->activation = KP_ACT_LINEAR;
    product.cfg = bare;
    KP_TRY(plain(&product));
    *norm = (kp_layer_cfg){.center = rule->cfg->center, .scale = rule->cfg->scale,
                           .axis = {.single = true, .n = 1, .v = {-1}}};
    kp_spec_layer inner = {.name = "batch_normalization", .class_name = "BatchNormalization",
                           .row = kp_row_find(NULL, "BatchNormalization"), .cfg = norm,
                           .trainable = true};
    KP_TRY(kp_rule_inner(rule, &inner, inner.name, product.out[0], &part));
    KP_TRY(kp_rule_run(&part));
    rule->cursor = part.cursor;
    KP_TRY(kp_rule_weight_typed(rule, "iteration", KP_ROLE_STAT, (kp_shape){0}, false, KP_INT64));
    KP_TRY(kp_rule_act(rule, rule->cfg->activation, part.out[0], &y));
    return kp_rule_out(rule, y);
}

kp_status kp_lower_folded_conv(kp_rule *rule)
{
    return folded(rule, kp_lower_conv);
}

kp_status kp_lower_folded_dense(kp_rule *rule)
{
    return folded(rule, kp_lower_dense);
}

kp_status kp_lower_folded_depthwise(kp_rule *rule)
{
    return folded(rule, kp_lower_depthwise);
}
