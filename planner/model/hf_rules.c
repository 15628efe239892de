/* SPDX-License-Identifier: MIT
 *
 * Tables, normalisations and products of transformers, and what their larger rules share. */
#include "planner/model/build.h"
#include "planner/model/hf_rules.h"
#include <inttypes.h>

kp_status kp_hf_weight(kp_rule *rule, const char *name, kp_weight_role role, kp_shape shape,
                       uint32_t *ret)
{
    *ret = rule->cursor;
    return kp_rule_weight(rule, name, role, shape, true);
}

/* "q_proj.weight"; "weight" for a layer that has only this one. */
static kp_status named_weight(kp_rule *rule, const char *name, const char *what,
                              kp_weight_role role, kp_shape shape, uint32_t *ret)
{
    if (*name) what = kp_arena_fmt(rule->arena, "%s.%s", name, what);
    return what ? kp_hf_weight(rule, what, role, shape, ret) : kp_nomem(rule->err);
}

kp_shape kp_hf_tail(kp_shape x, unsigned n, const int64_t *dim)
{
    x.rank--;
    for (unsigned i = 0; i < n; i++) x.dim[x.rank++] = dim[i];
    return x;
}

kp_status kp_hf_view(kp_rule *rule, const char *part, uint32_t x, kp_shape shape, uint32_t *ret)
{
    return kp_rule_unary(rule, KP_OP_VIEW, part, x, shape, ret);
}

kp_status kp_hf_binary(kp_rule *rule, kp_op op, const char *part, uint32_t a, uint32_t b,
                       kp_shape shape, uint32_t *ret)
{
    return kp_rule_op(rule, &(kp_new_op){.op = op, .part = part, .in = (uint32_t[]){a, b},
                                         .n_in = 2, .out = shape}, ret);
}

kp_status kp_hf_dropout(kp_rule *rule, const char *part, double rate, uint32_t x, uint32_t *ret)
{
    kp_new_op op = {.op = KP_OP_DROPOUT, .part = part, .in = &x, .n_in = 1,
                    .out = kp_rule_shape(rule, x), .attr = {.rate = rate}};
    *ret = x;
    return rate > 0 ? kp_rule_op(rule, &op, ret) : KP_OK;
}

static kp_status add_bias(kp_rule *rule, const char *name, uint32_t x, uint32_t *ret)
{
    kp_shape y = kp_rule_shape(rule, x);
    const char *part = *name ? kp_arena_fmt(rule->arena, "%s/bias", name) : "bias";
    kp_new_op op = {.op = KP_OP_BIAS_ADD, .part = part, .in = &x, .n_in = 1, .n_weights = 1,
                    .out = y};
    if (!part) return kp_nomem(rule->err);
    KP_TRY(named_weight(rule, name, "bias", KP_ROLE_BIAS, kp_dims(1, &y.dim[y.rank - 1]),
                        &op.weights[0]));
    return kp_rule_op(rule, &op, ret);
}

kp_status kp_hf_linear(kp_rule *rule, const char *name, uint32_t x, int64_t out, unsigned flags,
                       uint32_t *ret)
{
    kp_shape in = kp_rule_shape(rule, x);
    int64_t width = in.dim[in.rank - 1];
    bool in_out = flags & KP_HF_KERNEL_IN_OUT;
    kp_shape kernel = kp_dims(2, in_out ? (int64_t[]){width, out} : (int64_t[]){out, width});
    kp_new_op op = {.op = KP_OP_MATMUL, .part = name, .in = &x, .n_in = 1, .n_weights = 1,
                    .out = kp_shape_with(in, in.rank - 1u, out),
                    .attr = {.transposed_w = !in_out}};
    op.flops = 2 * (double)width * kp_elems(op.out);
    KP_TRY(named_weight(rule, name, "weight", KP_ROLE_KERNEL, kernel, &op.weights[0]));
    KP_TRY(kp_rule_op(rule, &op, ret));
    return flags & KP_HF_WITH_BIAS ? add_bias(rule, name, *ret, ret) : KP_OK;
}

kp_status kp_hf_normalise(kp_rule *rule, const char *name, uint32_t x, kp_hf_norm norm,
                          uint32_t *ret)
{
    kp_shape shape = kp_rule_shape(rule, x);
    kp_shape row = kp_dims(1, &shape.dim[shape.rank - 1]);
    kp_new_op op = {.op = norm.rms ? KP_OP_RMSNORM : KP_OP_LAYERNORM, .part = name, .in = &x,
                    .n_in = 1, .out = shape, .attr = {.axis = shape.rank - 1}};
    if (norm.scale)
        KP_TRY(named_weight(rule, name, "weight", KP_ROLE_SCALE, row, &op.weights[op.n_weights++]));
    if (norm.bias)
        KP_TRY(named_weight(rule, name, "bias", KP_ROLE_SHIFT, row, &op.weights[op.n_weights++]));
    return kp_rule_op(rule, &op, ret);
}

/* ---- rows of one op ---- */

kp_status kp_lower_hf_norm(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    kp_hf_norm norm = {rule->row->variant == KP_OP_RMSNORM, cfg->scale, cfg->center};
    uint32_t y;
    KP_TRY(kp_hf_normalise(rule, "", rule->in[0], norm, &y));
    return kp_rule_out(rule, y);
}

/* The weight of another layer that this one uses too. */
static kp_status tied_weight(const kp_rule *rule, uint32_t *ret)
{
    const kp_build *b = rule->build;
    for (uint32_t i = 0; i < b->n_weights; i++) {
        *ret = i;
        if (!strcmp(b->weights[i].path, rule->cfg->text)) return KP_OK;
    }
    return kp_fail(rule->err, KP_INTERNAL, "there is no weight '%s' to share", rule->cfg->text);
}

static kp_status look_up(kp_rule *rule, kp_shape y, uint32_t *ret)
{
    const kp_layer_cfg *cfg = rule->cfg;
    kp_new_op op = {.op = KP_OP_GATHER, .in = rule->in, .n_in = 1, .n_weights = 1, .out = y};
    if (cfg->text) KP_TRY(tied_weight(rule, &op.weights[0]));
    else KP_TRY(kp_hf_weight(rule, "weight", KP_ROLE_TABLE,
                             kp_dims(2, (int64_t[]){cfg->rows, cfg->width}), &op.weights[0]));
    return kp_rule_op(rule, &op, ret);
}

/* (B, T) to (B, T, width) */
kp_status kp_lower_hf_embedding(kp_rule *rule)
{
    kp_shape y = rule->x[0];
    uint32_t out;
    y.dim[y.rank++] = rule->cfg->width;
    KP_TRY(look_up(rule, y, &out));
    KP_TRY(kp_hf_dropout(rule, "dropout", rule->cfg->rate, out, &out));
    return kp_rule_out(rule, out);
}

/* (B, T) to (1, T, width): a learned row for each position. */
kp_status kp_lower_hf_positions(kp_rule *rule)
{
    int64_t T = rule->x[0].dim[1];
    uint32_t out;
    if (T > rule->cfg->count) {
        kp_fail(rule->err, KP_USAGE, "a sequence of %" PRId64 " is longer than the model's %" PRId64
                " learned positions", T, rule->cfg->count);
        kp_hint(rule->err, "--seq %" PRId64 " is the longest", rule->cfg->count);
        return KP_USAGE;
    }
    KP_TRY(look_up(rule, kp_dims(3, (int64_t[]){1, T, rule->cfg->width}), &out));
    return kp_rule_out(rule, out);
}

/* x times a table that was used for the embedding too: (rows, width). */
static kp_status tied_product(kp_rule *rule, uint32_t x, uint32_t *ret)
{
    kp_shape in = kp_rule_shape(rule, x);
    kp_new_op op = {.op = KP_OP_MATMUL, .in = &x, .n_in = 1, .n_weights = 1,
                    .out = kp_shape_with(in, in.rank - 1u, rule->cfg->units),
                    .attr = {.transposed_w = true}};
    op.flops = 2 * (double)in.dim[in.rank - 1] * kp_elems(op.out);
    KP_TRY(tied_weight(rule, &op.weights[0]));
    KP_TRY(kp_rule_op(rule, &op, ret));
    return rule->cfg->use_bias ? add_bias(rule, "", *ret, ret) : KP_OK;
}

/* tanh(y / cap) * cap; cfg->rate is the cap. */
static kp_status soft_cap(kp_rule *rule, uint32_t x, uint32_t *ret)
{
    kp_shape shape = kp_rule_shape(rule, x);
    *ret = x;
    if (!(rule->cfg->rate > 0)) return KP_OK;
    KP_TRY(kp_rule_unary(rule, KP_OP_RESCALE, "cap", x, shape, ret));
    KP_TRY(kp_rule_act(rule, KP_ACT_TANH, *ret, ret));
    return kp_rule_unary(rule, KP_OP_RESCALE, "uncap", *ret, shape, ret);
}

/* A head, a pooler: (B, T, h) to (B, T, units); `keepdims` false of a pooler: of the first position. */
kp_status kp_lower_hf_linear(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    uint32_t x = rule->in[0], y;
    kp_shape shape = rule->x[0];
    if (cfg->renorm) /* a pooler looks at the first position alone */
        KP_TRY(kp_hf_view(rule, "first", x, (kp_shape){.rank = 2, .per_sample = 1,
                          .dim = {1, shape.dim[shape.rank - 1]}}, &x));
    if (cfg->text) KP_TRY(tied_product(rule, x, &y));
    else KP_TRY(kp_hf_linear(rule, "", x, cfg->units, cfg->use_bias ? KP_HF_WITH_BIAS : 0, &y));
    KP_TRY(kp_rule_act(rule, cfg->activation, y, &y));
    KP_TRY(soft_cap(rule, y, &y));
    return kp_rule_out(rule, y);
}

/* ViT: an image (B, C, H, W) to one row for each patch, the class row before them and the learned
 * positions added: (B, N + 1, h). Patches do not overlap, so the convolution is a product. */
kp_status kp_lower_hf_patches(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t C = cfg->filters, p = cfg->width, h = cfg->units, n = cfg->count;
    kp_shape rows = {.rank = 3, .per_sample = 1, .dim = {1, n, C * p * p}}, y = rows;
    kp_new_op op = {.op = KP_OP_MATMUL, .part = "patches", .n_in = 1, .n_weights = 1,
                    .attr = {.transposed_w = true}};
    uint32_t x, w;
    KP_TRY(kp_hf_weight(rule, "cls_token", KP_ROLE_SHIFT, kp_dims(3, (int64_t[]){1, 1, h}), &w));
    KP_TRY(kp_hf_weight(rule, "position_embeddings", KP_ROLE_SHIFT,
                        kp_dims(3, (int64_t[]){1, n + 1, h}), &w));
    KP_TRY(kp_hf_weight(rule, "patch_embeddings.projection.weight", KP_ROLE_KERNEL,
                        kp_dims(4, (int64_t[]){h, C, p, p}), &op.weights[0]));
    KP_TRY(kp_rule_unary(rule, KP_OP_TRANSPOSE, "rows", rule->in[0], rows, &x));
    y.dim[2] = h;
    op.in = &x;
    op.out = y;
    op.flops = 2 * (double)rows.dim[2] * kp_elems(y);
    KP_TRY(kp_rule_op(rule, &op, &x));
    KP_TRY(add_bias(rule, "patch_embeddings.projection", x, &x));
    y.dim[1] = n + 1;
    kp_new_op join = {.op = KP_OP_PAD, .part = "class", .in = &x, .n_in = 1, .out = y};
    KP_TRY(kp_rule_op(rule, &join, &x));
    kp_new_op add = {.op = KP_OP_BIAS_ADD, .part = "positions", .in = &x, .n_in = 1, .out = y,
                     .n_weights = 2, .weights = {w - 1, w}};
    KP_TRY(kp_rule_op(rule, &add, &x));
    return kp_rule_out(rule, x);
}
