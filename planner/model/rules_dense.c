/* SPDX-License-Identifier: MIT
 *
 * Products with a matrix, and tables looked up by index. U units, C input channels, V rows. */
#include "planner/model/rows.h"

/* (B, ..., C) to (B, ..., U) */
kp_status kp_shape_dense(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    if (x.rank < 2)
        return kp_fail(rule->err, KP_INPUT, "'%s' takes inputs with 2 or more axes, got %s",
                       rule->row->class_name, kp_shape_text(x, 0).s);
    return kp_rule_y(rule, kp_shape_with(x, x.rank - 1u, rule->cfg->units));
}

/* A weight that an int8 policy stores in 8 bits, frozen, beside one scale for each of `n` rows or
 * columns. Source: keras/src/layers/core/dense.py, embedding.py, quantized_build. */
static kp_status table_or_int8(kp_rule *rule, const char *name, kp_weight_role role,
                               kp_shape shape, bool trainable, int64_t n)
{
    if (rule->quantized != KP_QUANTIZED_INT8)
        return kp_rule_weight(rule, name, role, shape, trainable);
    const char *scale = kp_arena_fmt(rule->arena, "%s_scale", name);
    if (!scale) return kp_nomem(rule->err);
    KP_TRY(kp_rule_weight_typed(rule, name, role, shape, false, KP_INT8));
    return kp_rule_weight(rule, scale, KP_ROLE_STAT, kp_dims(1, &n), false);
}

/* float8 keeps a scale and its history for each of the three tensors of a product. */
static kp_status float8_scales(kp_rule *rule)
{
    static const char *const names[] = {"inputs", "kernel", "outputs_grad"};
    for (size_t i = 0; i < KP_LEN(names); i++) {
        const char *scale = kp_arena_fmt(rule->arena, "%s_scale", names[i]);
        const char *history = kp_arena_fmt(rule->arena, "%s_amax_history", names[i]);
        if (!scale || !history) return kp_nomem(rule->err);
        KP_TRY(kp_rule_weight(rule, scale, KP_ROLE_STAT, (kp_shape){0}, true));
        KP_TRY(kp_rule_weight(rule, history, KP_ROLE_STAT, kp_dims(1, &rule->history), true));
    }
    return KP_OK;
}

/* kernel (C, U), bias (U); with LoRA of rank r the kernel is frozen and (C, r), (r, U) learn. */
kp_status kp_weights_dense(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t in = rule->x[0].dim[rule->x[0].rank - 1], r = cfg->lora_rank;
    if (rule->quantized == KP_QUANTIZED_FLOAT8) KP_TRY(float8_scales(rule));
    KP_TRY(table_or_int8(rule, "kernel", KP_ROLE_KERNEL, kp_dims(2, (int64_t[]){in, cfg->units}),
                         !r, cfg->units));
    if (cfg->use_bias)
        KP_TRY(kp_rule_weight(rule, "bias", KP_ROLE_BIAS, kp_dims(1, &cfg->units), true));
    if (!r) return KP_OK;
    KP_TRY(kp_rule_weight(rule, "lora_kernel_a", KP_ROLE_KERNEL, kp_dims(2, (int64_t[]){in, r}),
                          true));
    return kp_rule_weight(rule, "lora_kernel_b", KP_ROLE_KERNEL,
                          kp_dims(2, (int64_t[]){r, cfg->units}), true);
}

/* x a b added to y: two thin products. `name_a`, `name_b`: the weights. */
static kp_status add_lora(kp_rule *rule, uint32_t x, uint32_t y, uint32_t *ret)
{
    uint32_t a = kp_rule_find_weight(rule, "lora_kernel_a");
    uint32_t b = kp_rule_find_weight(rule, "lora_kernel_b");
    *ret = y;
    if (a == KP_NO || b == KP_NO) return KP_OK;
    kp_shape in = kp_rule_shape(rule, x), out = kp_rule_shape(rule, y);
    int64_t r = rule->cfg->lora_rank;
    kp_new_op down = {.op = KP_OP_MATMUL, .part = "lora_a", .in = &x, .n_in = 1, .weights = {a},
                      .n_weights = 1, .out = kp_shape_with(in, in.rank - 1u, r)};
    down.flops = 2 * kp_elems(in) * (double)r;
    uint32_t thin, wide;
    KP_TRY(kp_rule_op(rule, &down, &thin));
    kp_new_op up = {.op = KP_OP_MATMUL, .part = "lora_b", .in = &thin, .n_in = 1, .weights = {b},
                    .n_weights = 1, .out = out, .flops = 2 * kp_elems(out) * (double)r};
    KP_TRY(kp_rule_op(rule, &up, &wide));
    kp_new_op add = {.op = KP_OP_ADD, .part = "lora", .in = (uint32_t[]){y, wide}, .n_in = 2,
                     .out = out};
    return kp_rule_op(rule, &add, ret);
}

kp_status kp_lower_dense(kp_rule *rule)
{
    int64_t in = rule->x[0].dim[rule->x[0].rank - 1];
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 1,
                    .weights = {kp_rule_find_weight(rule, "kernel")}, .n_weights = 1,
                    .out = rule->y[0], .flops = 2 * kp_elems(rule->y[0]) * (double)in};
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    KP_TRY(add_lora(rule, rule->in[0], y, &y));
    KP_TRY(kp_rule_bias(rule, y, "bias", "bias", &y));
    KP_TRY(kp_rule_act(rule, rule->cfg->activation, y, &y));
    return kp_rule_out(rule, y);
}

/* ---- Embedding: indices (B, T) to (B, T, width) ---- */

kp_status kp_shape_embedding(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    if (x.rank >= KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "its output has more than %d axes", KP_RANK_MAX);
    x.dim[x.rank++] = rule->cfg->width;
    return kp_rule_y(rule, x);
}

kp_status kp_weights_embedding(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t r = cfg->lora_rank;
    KP_TRY(table_or_int8(rule, "embeddings", KP_ROLE_TABLE,
                         kp_dims(2, (int64_t[]){cfg->rows, cfg->width}), !r, cfg->rows));
    if (!r) return KP_OK;
    KP_TRY(kp_rule_weight(rule, "lora_embeddings_a", KP_ROLE_TABLE,
                          kp_dims(2, (int64_t[]){cfg->rows, r}), true));
    return kp_rule_weight(rule, "lora_embeddings_b", KP_ROLE_KERNEL,
                          kp_dims(2, (int64_t[]){r, cfg->width}), true);
}

static kp_status lora_embedding(kp_rule *rule, uint32_t y, uint32_t *ret)
{
    uint32_t a = kp_rule_find_weight(rule, "lora_embeddings_a"), thin, wide;
    uint32_t b = kp_rule_find_weight(rule, "lora_embeddings_b");
    kp_shape out = rule->y[0];
    int64_t r = rule->cfg->lora_rank;
    kp_new_op look = {.op = KP_OP_GATHER, .part = "lora_a", .in = rule->in, .n_in = 1,
                      .weights = {a}, .n_weights = 1, .out = kp_shape_with(out, out.rank - 1u, r)};
    KP_TRY(kp_rule_op(rule, &look, &thin));
    kp_new_op up = {.op = KP_OP_MATMUL, .part = "lora_b", .in = &thin, .n_in = 1, .weights = {b},
                    .n_weights = 1, .out = out, .flops = 2 * kp_elems(out) * (double)r};
    KP_TRY(kp_rule_op(rule, &up, &wide));
    kp_new_op add = {.op = KP_OP_ADD, .part = "lora", .in = (uint32_t[]){y, wide}, .n_in = 2,
                     .out = out};
    return kp_rule_op(rule, &add, ret);
}

kp_status kp_lower_embedding(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_GATHER, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .weights = {kp_rule_find_weight(rule, "embeddings")}, .n_weights = 1};
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    if (rule->cfg->lora_rank) KP_TRY(lora_embedding(rule, y, &y));
    return kp_rule_out(rule, y);
}

/* ---- ReversibleEmbedding: a table that also maps back, (B, T, width) to (B, T, rows) ---- */

static bool reverses(const kp_rule *rule)
{
    return kp_rule_flag(rule, "reverse");
}

kp_status kp_shape_reversible(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    if (!reverses(rule)) return kp_shape_embedding(rule);
    if (x.rank < 1) return kp_fail(rule->err, KP_INPUT, "its input has no axes");
    return kp_rule_y(rule, kp_shape_with(x, x.rank - 1u, rule->cfg->rows));
}

kp_status kp_weights_reversible(kp_rule *rule)
{
    KP_TRY(kp_weights_embedding(rule));
    if (rule->cfg->tied) return KP_OK;
    return kp_rule_weight(rule, "reverse_embeddings", KP_ROLE_KERNEL,
                          kp_dims(2, (int64_t[]){rule->cfg->width, rule->cfg->rows}), true);
}

kp_status kp_lower_reversible(kp_rule *rule)
{
    if (!reverses(rule)) return kp_lower_embedding(rule);
    uint32_t w = kp_rule_find_weight(rule, rule->cfg->tied ? "embeddings" : "reverse_embeddings");
    kp_new_op op = {.op = KP_OP_MATMUL, .part = "reverse", .in = rule->in, .n_in = 1,
                    .weights = {w}, .n_weights = 1, .out = rule->y[0],
                    .attr = {.transposed_w = rule->cfg->tied},
                    .flops = 2 * kp_elems(rule->y[0]) * (double)rule->cfg->width};
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    return kp_rule_out(rule, y);
}
