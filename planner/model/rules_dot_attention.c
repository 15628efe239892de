/* SPDX-License-Identifier: MIT
 *
 * Attention without projections: Attention (variant 0) and AdditiveAttention (variant 1), called on
 * one list [query (B, T, D), value (B, S, V), key]. Sources: keras/src/layers/attention/
 * attention.py, additive_attention.py. */
#include "planner/model/rows.h"

enum { DOT, ADDITIVE };

static bool wants_scores(const kp_rule *rule)
{
    return kp_rule_flag(rule, "return_attention_scores");
}

/* (B, T, S) */
static kp_shape score_shape(const kp_rule *rule)
{
    kp_shape q = rule->x[0], v = rule->x[1];
    return kp_shape_with(q, q.rank - 1u, v.dim[v.rank - 2]);
}

kp_status kp_shape_attention(kp_rule *rule)
{
    kp_shape q = rule->x[0], v = rule->x[1];
    if (q.rank < 3 || v.rank != q.rank)
        return kp_fail(rule->err, KP_INPUT, "its query %s and value %s must have the same axes, "
                       "3 or more", kp_shape_text(q, 0).s, kp_shape_text(v, 0).s);
    KP_TRY(kp_rule_y(rule, kp_shape_with(q, q.rank - 1u, v.dim[v.rank - 1])));
    return wants_scores(rule) ? kp_rule_y(rule, score_shape(rule)) : KP_OK;
}

/* Scalars, or for the additive form one factor a feature. */
kp_status kp_weights_attention(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    kp_shape q = rule->x[0], one = {0};
    if (rule->row->variant == ADDITIVE) one = kp_dims(1, &q.dim[q.rank - 1]);
    if (cfg->use_scale) KP_TRY(kp_rule_weight(rule, "scale", KP_ROLE_SCALE, one, true));
    if (!cfg->text || strcmp(cfg->text, "concat")) return KP_OK;
    return kp_rule_weight(rule, "concat_score_weight", KP_ROLE_SCALE, (kp_shape){0}, true);
}

kp_status kp_lower_attention(kp_rule *rule)
{
    kp_shape q = rule->x[0], v = rule->x[1];
    uint32_t in[2] = {rule->in[0], rule->in[rule->n_in > 2 ? 2 : 1]}, p, y;
    kp_new_op op = {.op = KP_OP_ATTN_SCORES, .part = "scores", .in = in, .n_in = 2,
                    .out = score_shape(rule), .attr = {.heads = 1}, .n_weights = rule->n_weights};
    for (uint32_t i = 0; i < rule->n_weights; i++) op.weights[i] = rule->first_weight + i;
    double scores = kp_elems(op.out);
    op.flops = scores * (2 * (double)q.dim[q.rank - 1] + 5);
    KP_TRY(kp_rule_op(rule, &op, &p));
    uint32_t dropped = p;
    if (rule->cfg->rate > 0)
        KP_TRY(kp_rule_unary(rule, KP_OP_DROPOUT, "dropout", p, op.out, &dropped));
    kp_new_op sum = {.op = KP_OP_ATTN_CONTEXT, .part = "context", .n_in = 2,
                     .in = (uint32_t[]){dropped, rule->in[1]}, .out = rule->y[0],
                     .flops = 2 * scores * (double)v.dim[v.rank - 1], .attr = {.heads = 1}};
    KP_TRY(kp_rule_op(rule, &sum, &y));
    KP_TRY(kp_rule_out(rule, y));
    return wants_scores(rule) ? kp_rule_out(rule, p) : KP_OK;
}
