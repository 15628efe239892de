/* SPDX-License-Identifier: MIT
 *
 * Layers around layers. Their inner layers' weights are the wrapper's own, below its path. Sources:
 * keras/src/layers/rnn/bidirectional.py, time_distributed.py. */
#include "planner/model/rows.h"

/* Runs an inner layer on a tensor. */
static kp_status run_inner(kp_rule *rule, const kp_spec_layer *inner, const char *part,
                           uint32_t tensor, kp_rule *ret)
{
    KP_TRY(kp_rule_inner(rule, inner, part, tensor, ret));
    kp_status status = inner->model ? kp_rule_model(ret, inner, tensor)
                                    : kp_rule_run_or_adopt(ret, inner, 0);
    if (status != KP_OK) {
        kp_err_at(rule->err, "inner layer '%.60s'", inner->name);
        return status;
    }
    rule->cursor = ret->cursor;
    return KP_OK;
}

/* ---- TimeDistributed: every step is a sample ---- */

/* (B, T, ...) to (B T, ...): the samples become more, their shape loses an axis. */
static kp_shape fold(kp_shape x)
{
    kp_shape y = {.rank = (uint8_t)(x.rank - 1), .per_sample = x.per_sample & 1};
    y.dim[0] = kp_dim_mul(x.dim[0], x.dim[1]);
    for (unsigned i = 1; i < y.rank; i++) y.dim[i] = x.dim[i + 1];
    return y;
}

static kp_shape unfold(kp_shape y, kp_shape x)
{
    kp_shape z = {.rank = (uint8_t)(y.rank + 1), .per_sample = x.per_sample & 1,
                  .dim = {x.dim[0], x.dim[1]}};
    for (unsigned i = 2; i < z.rank; i++) z.dim[i] = y.dim[i - 1];
    return z;
}

kp_status kp_lower_time_distributed(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    kp_rule inner;
    uint32_t folded, out;
    if (x.rank < 3)
        return kp_fail(rule->err, KP_INPUT, "it takes inputs with 3 or more axes, got %s",
                       kp_shape_text(x, 0).s);
    KP_TRY(kp_rule_unary(rule, KP_OP_VIEW, "fold", rule->in[0], fold(x), &folded));
    KP_TRY(run_inner(rule, &rule->cfg->inner[0], "inner", folded, &inner));
    for (uint32_t i = 0; i < inner.n_out; i++) {
        kp_shape y = kp_rule_shape(rule, inner.out[i]);
        if (y.rank >= KP_RANK_MAX)
            return kp_fail(rule->err, KP_INPUT, "its output has more than %d axes", KP_RANK_MAX);
        KP_TRY(kp_rule_unary(rule, KP_OP_VIEW, "unfold", inner.out[i], unfold(y, x), &out));
        KP_TRY(kp_rule_out(rule, out));
    }
    return KP_OK;
}

/* ---- Bidirectional ---- */

/* Files before Keras 3 name only the layer that is copied. */
static kp_status both_ways(kp_rule *rule, kp_spec_layer ret[2])
{
    const kp_layer_cfg *cfg = rule->cfg;
    ret[0] = cfg->inner[0];
    ret[1] = cfg->inner[cfg->n_inner > 1 ? 1 : 0];
    const char *base = ret[0].name;
    if (!strncmp(base, "forward_", 8)) base += 8;
    ret[0].name = kp_arena_fmt(rule->arena, "forward_%s", base);
    if (cfg->n_inner < 2) ret[1].name = kp_arena_fmt(rule->arena, "backward_%s", base);
    return ret[0].name && ret[1].name ? KP_OK : kp_nomem(rule->err);
}

static kp_status merge(kp_rule *rule, uint32_t a, uint32_t b)
{
    static const kp_op ops[] = {KP_OP_CONCAT, KP_OP_ADD, KP_OP_MUL, KP_OP_ADD};
    kp_merge_mode mode = rule->cfg->merge_mode;
    if (mode == KP_MERGE_NONE) {
        KP_TRY(kp_rule_out(rule, a));
        return kp_rule_out(rule, b);
    }
    kp_shape x = kp_rule_shape(rule, a), y = kp_rule_shape(rule, b);
    unsigned last = x.rank - 1u;
    kp_new_op op = {.op = ops[mode], .part = "merge", .in = (uint32_t[]){a, b}, .n_in = 2,
                    .out = x};
    op.attr.axis = (int32_t)last;
    if (x.rank != y.rank || (mode != KP_MERGE_CONCAT && x.dim[last] != y.dim[last]))
        return kp_fail(rule->err, KP_INPUT, "its two directions give %s and %s",
                       kp_shape_text(x, 0).s, kp_shape_text(y, 0).s);
    if (mode == KP_MERGE_CONCAT) op.out.dim[last] = x.dim[last] + y.dim[last];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

kp_status kp_lower_bidirectional(kp_rule *rule)
{
    kp_spec_layer ways[2];
    kp_rule forward, backward;
    KP_TRY(both_ways(rule, ways));
    KP_TRY(run_inner(rule, &ways[0], "forward", rule->in[0], &forward));
    KP_TRY(run_inner(rule, &ways[1], "backward", rule->in[0], &backward));
    KP_TRY(merge(rule, forward.out[0], backward.out[0]));
    for (uint32_t i = 1; i < forward.n_out; i++) KP_TRY(kp_rule_out(rule, forward.out[i]));
    for (uint32_t i = 1; i < backward.n_out; i++) KP_TRY(kp_rule_out(rule, backward.out[i]));
    return KP_OK;
}

/* ---- SpectralNormalization: the inner layer, and a vector for the power iteration ---- */

static int64_t last_of_kernel(const kp_rule *rule, const kp_rule *inner)
{
    static const char *const names[] = {"kernel", "embeddings"};
    for (size_t i = 0; i < KP_LEN(names); i++) {
        uint32_t w = kp_rule_find_weight(inner, names[i]);
        kp_shape shape = w == KP_NO ? (kp_shape){0} : kp_rule_weight_shape(rule, w);
        if (shape.rank) return shape.dim[shape.rank - 1];
    }
    return 0;
}

kp_status kp_lower_spectral(kp_rule *rule)
{
    kp_rule inner;
    KP_TRY(run_inner(rule, &rule->cfg->inner[0], "", rule->in[0], &inner));
    int64_t n = last_of_kernel(rule, &inner);
    if (!n)
        return kp_fail(rule->err, KP_INPUT, "its inner layer '%s' has no kernel",
                       rule->cfg->inner[0].name);
    KP_TRY(kp_rule_weight(rule, "vector_u", KP_ROLE_STAT, kp_dims(2, (int64_t[]){1, n}), false));
    for (uint32_t i = 0; i < inner.n_out; i++) KP_TRY(kp_rule_out(rule, inner.out[i]));
    return KP_OK;
}
