/* SPDX-License-Identifier: MIT
 *
 * Rules of rows in neighbour_rows.c. */
#include "planner/model/rows.h"

/* HGQ's quantiser on its own keeps three numbers for each group of values, none of them trained:
 * whether there is a sign, how many bits, how many of them before the point. */
kp_status kp_weights_quantizer(kp_rule *rule)
{
    static const char *const names[] = {"keep_negative", "bits", "integers"};
    const kp_ints *shape = &rule->cfg->dims;
    for (uint32_t i = 0; i < shape->n; i++)
        if (shape->v[i] < 1)
            return kp_fail(rule->err, KP_INPUT, "'shape' has %lld", (long long)shape->v[i]);
    for (size_t i = 0; i < KP_LEN(names); i++)
        KP_TRY(kp_rule_weight(rule, names[i], KP_ROLE_STAT, kp_dims(shape->n, shape->v), false));
    return KP_OK;
}

kp_status kp_lower_quantizer(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_MATH, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .n_weights = rule->n_weights};
    for (uint32_t i = 0; i < rule->n_weights; i++) op.weights[i] = rule->first_weight + i;
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    return kp_rule_out(rule, y);
}
