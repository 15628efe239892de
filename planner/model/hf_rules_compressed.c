/* SPDX-License-Identifier: MIT
 *
 * DeepSeek-V4: attention over a window of keys and over compressed ones behind it, and residual
 * streams that hyper-connections mix. One key head whose values are its keys; a compressed key
 * stands for `ratio` tokens, weighted by a softmax over them. n streams, h hidden width.
 * Source: transformers/models/deepseek_v4/modeling_deepseek_v4.py, arXiv 2512.24880. */
#include "planner/model/hf_rules.h"

static const kp_hf_norm rms = {true, true, false}, bare = {true, false, false};

/* Keys of `width` for each `ratio` tokens, under `scope`: (B, T / ratio, width). Overlapping
 * windows have two projections, side by side. */
static kp_status compress(kp_rule *rule, const kp_hf_attn *a, const char *scope, int64_t width,
                          uint32_t *ret)
{
    int64_t wide = a->ratio == KP_HF_OVERLAP_RATIO ? 2 * width : width, T = rule->x[0].dim[1];
    kp_shape keys = kp_shape_with(kp_hf_tail(rule->x[0], 1, &width), 1,
                                  T > 0 ? (T + a->ratio - 1) / a->ratio : T);
    static const char *const parts[] = {"kv_proj", "gate_proj", "position_bias", "kv_norm"};
    const char *names[KP_LEN(parts)];
    uint32_t kv, gate;
    for (size_t i = 0; i < KP_LEN(parts); i++)
        if (!(names[i] = kp_arena_fmt(rule->arena, "%s.%s", scope, parts[i])))
            return kp_nomem(rule->err);
    KP_TRY(kp_hf_linear(rule, names[0], rule->in[0], wide, 0, &kv));
    KP_TRY(kp_hf_linear(rule, names[1], rule->in[0], wide, 0, &gate));
    kp_new_op bias = {.op = KP_OP_BIAS_ADD, .part = "position_bias", .in = &gate, .n_in = 1,
                      .n_weights = 1, .out = kp_rule_shape(rule, gate)};
    KP_TRY(kp_hf_weight(rule, names[2], KP_ROLE_SHIFT, kp_dims(2, (int64_t[]){a->ratio, wide}),
                        &bias.weights[0]));
    KP_TRY(kp_rule_op(rule, &bias, &gate));
    KP_TRY(kp_rule_act(rule, KP_ACT_SOFTMAX, gate, &gate));
    KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "weighted", kv, gate, kp_rule_shape(rule, kv), &kv));
    KP_TRY(kp_rule_unary(rule, KP_OP_REDUCE, "compressed", kv, keys, &kv));
    return kp_hf_normalise(rule, names[3], kv, rms, ret);
}

/* Which of the compressed keys a query looks at; its products and weights alone count. */
static kp_status pick(kp_rule *rule, const kp_hf_attn *a, uint32_t low)
{
    uint32_t y;
    if (a->ratio != KP_HF_OVERLAP_RATIO) return KP_OK;
    KP_TRY(compress(rule, a, "compressor.indexer", a->index_dim, &y));
    KP_TRY(kp_hf_linear(rule, "compressor.indexer.q_b_proj", low, a->index_heads * a->index_dim, 0,
                        &y));
    return kp_hf_linear(rule, "compressor.indexer.scorer.weights_proj", rule->in[0],
                        a->index_heads, 0, &y);
}

/* The keys, those of the window before the compressed ones: (B, S, 1, dk); *ret_seen a query. */
static kp_status keys_of(kp_rule *rule, const kp_hf_attn *a, uint32_t low, uint32_t *ret,
                         int64_t *ret_seen)
{
    uint32_t kv, more;
    int64_t T = rule->x[0].dim[1];
    KP_TRY(kp_hf_linear(rule, a->names->kv_down, rule->in[0], a->dk, 0, &kv));
    KP_TRY(kp_hf_normalise(rule, a->names->kv_down_norm, kv, rms, &kv));
    KP_TRY(kp_hf_heads(rule, kv, 1, a->dk, &kv));
    KP_TRY(kp_hf_rotate(rule, kv, ret));
    *ret_seen = a->window && T > a->window ? a->window : T;
    if (!a->ratio) return KP_OK;
    KP_TRY(pick(rule, a, low));
    KP_TRY(compress(rule, a, "compressor", a->dk, &more));
    KP_TRY(kp_hf_heads(rule, more, 1, a->dk, &more));
    KP_TRY(kp_hf_rotate(rule, more, &more));
    kp_shape all = kp_rule_shape(rule, *ret);
    int64_t n = kp_rule_shape(rule, more).dim[1];
    if (T > 0) all.dim[1] += n;
    *ret_seen += a->ratio == KP_HF_OVERLAP_RATIO && n > a->picked ? a->picked : n;
    kp_new_op join = {.op = KP_OP_CONCAT, .part = "keys", .in = (uint32_t[]){*ret, more},
                      .n_in = 2, .out = all, .attr = {.axis = 1}};
    return kp_rule_op(rule, &join, ret);
}

/* Out of groups of heads, each to a low rank, then all to h. */
static kp_status project_out(kp_rule *rule, const kp_hf_attn *a, uint32_t y, uint32_t *ret)
{
    int64_t width = a->H * a->dv / a->out_groups, ranks = a->out_groups * a->out_rank;
    kp_shape x = kp_rule_shape(rule, y);
    kp_new_op op = {.op = KP_OP_MATMUL, .part = "o_a_proj", .in = &y, .n_in = 1, .n_weights = 1,
                    .out = kp_hf_tail(x, 1, &ranks), .attr = {.transposed_w = true}};
    op.flops = 2 * (double)width * kp_elems(op.out);
    KP_TRY(kp_hf_weight(rule, "o_a_proj.weight", KP_ROLE_KERNEL,
                        kp_dims(2, (int64_t[]){ranks, width}), &op.weights[0]));
    KP_TRY(kp_rule_op(rule, &op, &y));
    return kp_hf_linear(rule, "o_b_proj", y, rule->x[0].dim[rule->x[0].rank - 1], 0, ret);
}

kp_status kp_lower_hf_compressed(kp_rule *rule)
{
    const kp_hf_attn *a = rule->cfg->attn;
    uint32_t q, low, k, y;
    int64_t seen;
    KP_TRY(kp_hf_linear(rule, a->names->q_down, rule->in[0], a->q_rank, 0, &low));
    KP_TRY(kp_hf_normalise(rule, a->names->q_down_norm, low, rms, &low));
    KP_TRY(kp_hf_linear(rule, a->names->q_up, low, a->H * a->dk, 0, &q));
    KP_TRY(kp_hf_heads(rule, q, a->H, a->dk, &q));
    KP_TRY(kp_hf_normalise(rule, "q_b_norm", q, bare, &q));
    KP_TRY(kp_hf_rotate(rule, q, &q));
    KP_TRY(keys_of(rule, a, low, &k, &seen));
    KP_TRY(kp_hf_attend(rule, a, q, k, k, seen, &y));
    KP_TRY(project_out(rule, a, y, &y));
    return kp_rule_out(rule, y);
}

/* ---- residual streams ---- */

/* (B, T, h) to (B, T, n, h): the same in each stream. */
kp_status kp_lower_hf_streams(kp_rule *rule)
{
    int64_t dims[] = {rule->cfg->count, rule->x[0].dim[rule->x[0].rank - 1]};
    uint32_t y;
    KP_TRY(kp_rule_unary(rule, KP_OP_UPSAMPLE, "streams", rule->in[0],
                         kp_hf_tail(rule->x[0], 2, dims), &y));
    return kp_rule_out(rule, y);
}

/* The weights of the mix out of all streams together: (B, T, units). */
static kp_status mix_weights(kp_rule *rule, int64_t scales, uint32_t *ret)
{
    const char *prefix = rule->cfg->text;
    kp_shape x = rule->x[0];
    int64_t units = rule->cfg->units, flat = x.dim[2] * x.dim[3];
    static const char *const parts[] = {"fn", "base", "scale"};
    const int64_t kernel[] = {units, flat};
    uint32_t w[KP_LEN(parts)], y;
    kp_shape shapes[] = {kp_dims(2, kernel), kp_dims(1, &units), kp_dims(1, &scales)};
    for (size_t i = 0; i < KP_LEN(parts); i++) {
        const char *name = kp_arena_fmt(rule->arena, "%s%s", prefix, parts[i]);
        if (!name) return kp_nomem(rule->err);
        KP_TRY(kp_hf_weight(rule, name, i ? KP_ROLE_SHIFT : KP_ROLE_KERNEL, shapes[i], &w[i]));
    }
    x.rank--;
    KP_TRY(kp_hf_view(rule, "flat", rule->in[0], kp_hf_tail(x, 1, &flat), &y));
    KP_TRY(kp_hf_normalise(rule, "input_norm", y, bare, &y));
    kp_new_op op = {.op = KP_OP_MATMUL, .part = "fn", .in = &y, .n_in = 1, .n_weights = 1,
                    .weights = {w[0]}, .out = kp_hf_tail(x, 1, &units),
                    .attr = {.transposed_w = true}};
    op.flops = 2 * (double)flat * kp_elems(op.out);
    KP_TRY(kp_rule_op(rule, &op, &y));
    kp_new_op base = {.op = KP_OP_BIAS_ADD, .part = "base", .in = &y, .n_in = 1, .n_weights = 2,
                      .weights = {w[1], w[2]}, .out = op.out};
    KP_TRY(kp_rule_op(rule, &base, &y));
    return kp_rule_act(rule, KP_ACT_SIGMOID, y, ret);
}

/* (B, T, n, h) to (B, T, h), and the weights of the mix behind it unless this is the last. */
kp_status kp_lower_hf_collapse(kp_rule *rule)
{
    kp_shape x = rule->x[0], y = x;
    bool last = rule->cfg->units == x.dim[2];
    uint32_t weights, out;
    y.rank--;
    y.dim[2] = x.dim[3];
    KP_TRY(mix_weights(rule, last ? 1 : 3, &weights));
    KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "collapse", rule->in[0], weights, x, &out));
    KP_TRY(kp_rule_unary(rule, KP_OP_REDUCE, "collapsed", out, y, &out));
    KP_TRY(kp_rule_out(rule, out));
    return last ? KP_OK : kp_rule_out(rule, weights);
}

/* Streams (B, T, n, h), a block's output (B, T, h), weights: mix(streams) + spread(output). */
kp_status kp_lower_hf_merge(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    uint32_t mixed, spread, y;
    KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "mix", rule->in[0], rule->in[2], x, &mixed));
    KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "spread", rule->in[1], rule->in[2], x, &spread));
    KP_TRY(kp_hf_binary(rule, KP_OP_ADD, "merged", mixed, spread, x, &y));
    return kp_rule_out(rule, y);
}
