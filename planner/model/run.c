/* SPDX-License-Identifier: MIT
 *
 * One call through its row: inputs are cast to the layer's type, then shape, weights and ops. */
#include "planner/model/build.h"

static kp_status check_inputs(const kp_rule *rule)
{
    const kp_layer_row *row = rule->row;
    uint32_t most = row->n_in_max == UINT8_MAX ? UINT32_MAX : row->n_in_max;
    if (rule->n_in >= row->n_in_min && rule->n_in <= most) return KP_OK;
    return kp_fail(rule->err, KP_INPUT, "'%s' takes %s%u input%s, got %u", row->class_name,
                   row->n_in_min == most ? "" : "at least ", row->n_in_min,
                   row->n_in_min == 1 ? "" : "s", rule->n_in);
}

/* Keras casts floating point inputs to the layer's compute type. */
static kp_status cast_inputs(kp_rule *rule)
{
    if (kp_row_is_math(rule->row) || kp_row_is_torch(rule->row)) return KP_OK;
    uint32_t *in = NULL;
    for (uint32_t i = 0; i < rule->n_in; i++) {
        kp_dtype dtype = kp_rule_dtype(rule, rule->in[i]);
        if (!kp_dtype_is_float(dtype) || dtype == rule->compute) continue;
        if (!in) {
            in = KP_NEW(rule->arena, uint32_t, rule->n_in);
            if (!in) return kp_nomem(rule->err);
            memcpy(in, rule->in, rule->n_in * sizeof(*in));
            rule->in = in;
        }
        KP_TRY(kp_rule_unary(rule, KP_OP_CAST, "cast", in[i], rule->x[i], &in[i]));
    }
    return KP_OK;
}

kp_status kp_rule_run(kp_rule *rule)
{
    const kp_layer_row *row = rule->row;
    if (!row->lower)
        return kp_fail(rule->err, KP_UNSUPPORTED, "'%s' cannot be called by itself",
                       row->class_name);
    KP_TRY(check_inputs(rule));
    KP_TRY(cast_inputs(rule));
    if (row->shape) KP_TRY(row->shape(rule));
    rule->first_weight = rule->cursor;
    if (row->weights) KP_TRY(row->weights(rule));
    rule->n_weights = rule->cursor - rule->first_weight;
    return row->lower(rule);
}

/* A layer inside a wrapper: its calls are the wrapper's, its weights stand below it. */
kp_status kp_rule_inner(kp_rule *rule, const kp_spec_layer *inner, const char *part,
                        uint32_t tensor, kp_rule *ret)
{
    uint32_t *in = KP_NEW(rule->arena, uint32_t, 1);
    kp_shape *x = KP_NEW(rule->arena, kp_shape, 1);
    *ret = (kp_rule){.build = rule->build, .arena = rule->arena, .err = rule->err,
        .row = inner->row, .cfg = inner->cfg, .name = inner->name, .layer = rule->layer,
        .trainable = rule->trainable && inner->trainable, .first = rule->first,
        .compute = inner->has_policy ? inner->policy.compute : rule->compute,
        .variable = inner->has_policy ? inner->policy.variable : rule->variable,
        .quantized = inner->policy.quantized, .history = inner->policy.history,
        .cursor = rule->first ? rule->build->n_weights : rule->cursor, .n_in = 1, .in = in, .x = x};
    ret->scope = kp_arena_fmt(rule->arena, "%s/%s", rule->scope, inner->name);
    ret->part = *rule->part && *part ? kp_arena_fmt(rule->arena, "%s/%s", rule->part, part)
                                     : *part ? part : rule->part;
    if (!in || !x || !ret->scope || !ret->part) return kp_nomem(rule->err);
    in[0] = tensor;
    x[0] = kp_rule_shape(rule, tensor);
    return KP_OK;
}

kp_status kp_rule_model(kp_rule *rule, const kp_spec_layer *inner, uint32_t tensor)
{
    kp_spec_model *model = inner->model;
    if (model->n_inputs != 1)
        return kp_fail(rule->err, KP_INPUT, "model '%s' takes %u inputs, got 1", model->name,
                       model->n_inputs);
    uint32_t *out = KP_NEW(rule->arena, uint32_t, model->n_outputs);
    if (!out) return kp_nomem(rule->err);
    KP_TRY(kp_build_run(rule->build, model, &tensor, out));
    KP_TRY(kp_build_called(rule->build, inner->layer, out, model->n_outputs));
    if (rule->first) rule->cursor = rule->build->n_weights;
    for (uint32_t i = 0; i < model->n_outputs; i++) KP_TRY(kp_rule_out(rule, out[i]));
    return KP_OK;
}
