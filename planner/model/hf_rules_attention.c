/* SPDX-License-Identifier: MIT
 *
 * Attention as transformers have it: H heads of width dk over K key and value heads (grouped,
 * multi-query), one product for all three or three, norms over queries and keys, rotary positions,
 * and multi-head latent attention. Scores are counted over all pairs of positions, or over the
 * window; causal masks halve nothing here, as in published FLOP counts. */
#include "planner/model/hf_rules.h"

kp_status kp_hf_heads(kp_rule *rule, uint32_t x, int64_t heads, int64_t width, uint32_t *ret)
{
    kp_shape shape = kp_hf_tail(kp_rule_shape(rule, x), 2, (int64_t[]){heads, width});
    return kp_hf_view(rule, "heads", x, shape, ret);
}

static unsigned flags_of(const kp_hf_attn *a, bool bias)
{
    return (bias ? KP_HF_WITH_BIAS : 0u) | (a->in_out ? KP_HF_KERNEL_IN_OUT : 0u);
}

/* Norms over queries or keys; `heads` of them in x (B, T, heads, width). */
static kp_status qk_norm(kp_rule *rule, const kp_hf_attn *a, const char *name, uint32_t x,
                         uint32_t *ret)
{
    *ret = x;
    if (a->qk_norm == KP_HF_QK_NONE) return KP_OK;
    return kp_hf_normalise(rule, name, x, a->qk_norm_kind, ret);
}

kp_status kp_hf_rotate(kp_rule *rule, uint32_t x, uint32_t *ret)
{
    return kp_rule_unary(rule, KP_OP_RESCALE, "rotary", x, kp_rule_shape(rule, x), ret);
}

static kp_status rotate(kp_rule *rule, bool rotary, uint32_t x, uint32_t *ret)
{
    *ret = x;
    return rotary ? kp_hf_rotate(rule, x, ret) : KP_OK;
}

/* One of q, k, v: product, norm, heads, rotation. */
static kp_status project(kp_rule *rule, const kp_hf_attn *a, const char *name, const char *norm,
                         uint32_t x, int64_t heads, int64_t width, bool bias, bool rotary,
                         uint32_t *ret)
{
    uint32_t y;
    KP_TRY(kp_hf_linear(rule, name, x, heads * width, flags_of(a, bias), &y));
    if (norm && a->qk_norm == KP_HF_QK_ALL) KP_TRY(qk_norm(rule, a, norm, y, &y));
    KP_TRY(kp_hf_heads(rule, y, heads, width, &y));
    if (norm && a->qk_norm == KP_HF_QK_HEAD) KP_TRY(qk_norm(rule, a, norm, y, &y));
    return rotate(rule, rotary, y, ret);
}

/* One product for q, k and v: K groups, each of H / K queries, a key and a value. */
static kp_status project_fused(kp_rule *rule, const kp_hf_attn *a, uint32_t x, uint32_t *ret_q,
                               uint32_t *ret_k, uint32_t *ret_v)
{
    const kp_hf_names *n = a->names;
    int64_t group = a->H / a->K * a->dk + a->dk + a->dv;
    uint32_t y;
    KP_TRY(kp_hf_linear(rule, n->qkv, x, a->K * group, flags_of(a, a->q_bias), &y));
    KP_TRY(kp_hf_heads(rule, y, a->K, group, &y));
    kp_shape all = kp_rule_shape(rule, y);
    all.rank--;
    KP_TRY(kp_hf_view(rule, "query", y, kp_hf_tail(all, 2, (int64_t[]){a->H, a->dk}), ret_q));
    KP_TRY(kp_hf_view(rule, "key", y, kp_hf_tail(all, 2, (int64_t[]){a->K, a->dk}), ret_k));
    KP_TRY(kp_hf_view(rule, "value", y, kp_hf_tail(all, 2, (int64_t[]){a->K, a->dv}), ret_v));
    if (a->qk_norm == KP_HF_QK_HEAD) {
        KP_TRY(qk_norm(rule, a, n->q_norm, *ret_q, ret_q));
        KP_TRY(qk_norm(rule, a, n->k_norm, *ret_k, ret_k));
    }
    KP_TRY(rotate(rule, a->rotary, *ret_q, ret_q));
    return rotate(rule, a->rotary, *ret_k, ret_k);
}

/* One product for keys and values: K groups, each of a key and a value. */
static kp_status project_pairs(kp_rule *rule, const kp_hf_attn *a, uint32_t x, uint32_t *ret_k,
                               uint32_t *ret_v)
{
    uint32_t y;
    KP_TRY(kp_hf_linear(rule, a->names->kv, x, a->K * (a->dk + a->dv), flags_of(a, a->k_bias), &y));
    KP_TRY(kp_hf_heads(rule, y, a->K, a->dk + a->dv, &y));
    kp_shape all = kp_rule_shape(rule, y);
    all.rank--;
    KP_TRY(kp_hf_view(rule, "key", y, kp_hf_tail(all, 2, (int64_t[]){a->K, a->dk}), ret_k));
    return kp_hf_view(rule, "value", y, kp_hf_tail(all, 2, (int64_t[]){a->K, a->dv}), ret_v);
}

/* T5: a table of (buckets, H), looked up for each pair of positions. */
static kp_status relative_bias(kp_rule *rule, const kp_hf_attn *a, kp_shape scores, uint32_t *ret)
{
    uint32_t w;
    *ret = KP_NO;
    if (!a->buckets) return KP_OK;
    KP_TRY(kp_hf_weight(rule, "relative_attention_bias.weight", KP_ROLE_TABLE,
                        kp_dims(2, (int64_t[]){a->buckets, a->H}), &w));
    scores.per_sample = 0;
    kp_new_op op = {.op = KP_OP_GATHER, .part = "relative", .in = rule->in, .n_in = 1,
                    .weights = {w}, .n_weights = 1, .out = scores};
    return kp_rule_op(rule, &op, ret);
}

kp_status kp_hf_attend(kp_rule *rule, const kp_hf_attn *a, uint32_t q, uint32_t k, uint32_t v,
                       int64_t seen, uint32_t *ret)
{
    kp_shape x = kp_rule_shape(rule, q), keys = kp_rule_shape(rule, k);
    int64_t T = x.dim[1], S = keys.dim[1];
    kp_shape scores = {.rank = 4, .per_sample = 1, .dim = {1, a->H, T, S}};
    double pairs = kp_elems(kp_shape_with(scores, 3, seen));
    uint32_t in[3] = {q, k, KP_NO}, p;
    KP_TRY(relative_bias(rule, a, scores, &in[2]));
    kp_new_op op = {.op = KP_OP_ATTN_SCORES, .part = "scores", .in = in,
                    .n_in = in[2] == KP_NO ? 2 : 3, .attr = {.heads = (uint32_t)a->H},
                    .out = scores, .flops = pairs * (2 * (double)a->dk + 5)};
    if (a->sinks) /* a learned logit a head that no position has */
        KP_TRY(kp_hf_weight(rule, "sinks", KP_ROLE_SHIFT, kp_dims(1, &a->H),
                            &op.weights[op.n_weights++]));
    KP_TRY(kp_rule_op(rule, &op, &p));
    KP_TRY(kp_hf_dropout(rule, "dropout", a->dropout, p, &p));
    x.rank--;
    kp_new_op sum = {.op = KP_OP_ATTN_CONTEXT, .part = "context", .in = (uint32_t[]){p, v},
                     .n_in = 2, .out = kp_hf_tail(x, 2, (int64_t[]){a->H, a->dv}),
                     .flops = 2 * pairs * (double)a->dv, .attr = {.heads = (uint32_t)a->H}};
    KP_TRY(kp_rule_op(rule, &sum, ret));
    return kp_hf_view(rule, "joined", *ret, kp_hf_tail(x, 1, (int64_t[]){a->H * a->dv}), ret);
}

static kp_status attend(kp_rule *rule, const kp_hf_attn *a, uint32_t q, uint32_t k, uint32_t v,
                        uint32_t *ret)
{
    int64_t S = kp_rule_shape(rule, k).dim[1];
    return kp_hf_attend(rule, a, q, k, v, a->window && S > a->window ? a->window : S, ret);
}

static kp_status finish(kp_rule *rule, const kp_hf_attn *a, uint32_t y)
{
    kp_shape x = rule->x[0];
    KP_TRY(kp_hf_linear(rule, a->names->o, y, x.dim[x.rank - 1], flags_of(a, a->o_bias), &y));
    KP_TRY(kp_hf_dropout(rule, "output_dropout", a->out_dropout, y, &y));
    return kp_rule_out(rule, y);
}

/* A gate beside the queries, out of the same product: context times its sigmoid. */
static kp_status project_gated(kp_rule *rule, const kp_hf_attn *a, uint32_t x, uint32_t *ret_q,
                               uint32_t *ret_gate)
{
    uint32_t y;
    KP_TRY(kp_hf_linear(rule, a->names->q, x, 2 * a->H * a->dk, flags_of(a, a->q_bias), &y));
    kp_shape both = kp_rule_shape(rule, y);
    KP_TRY(kp_hf_heads(rule, y, a->H, 2 * a->dk, &y));
    kp_shape heads = kp_hf_tail(both, 2, (int64_t[]){a->H, a->dk});
    KP_TRY(kp_hf_view(rule, "query", y, heads, ret_q));
    KP_TRY(kp_hf_view(rule, "gate", y, kp_hf_tail(both, 1, (int64_t[]){a->H * a->dk}), ret_gate));
    KP_TRY(qk_norm(rule, a, a->names->q_norm, *ret_q, ret_q));
    return rotate(rule, a->rotary, *ret_q, ret_q);
}

static kp_status apply_gate(kp_rule *rule, uint32_t x, uint32_t gate, uint32_t *ret)
{
    *ret = x;
    if (gate == KP_NO) return KP_OK;
    KP_TRY(kp_rule_act(rule, KP_ACT_SIGMOID, gate, &gate));
    return kp_hf_binary(rule, KP_OP_MUL, "gated", x, gate, kp_rule_shape(rule, x), ret);
}

/* Step 3.5: what each head read, times the sigmoid of a product of the block's input. */
static kp_status gate_heads(kp_rule *rule, const kp_hf_attn *a, uint32_t x, uint32_t *ret)
{
    kp_shape flat = kp_rule_shape(rule, x);
    uint32_t gate;
    *ret = x;
    if (!a->names->head_gate) return KP_OK;
    KP_TRY(kp_hf_linear(rule, a->names->head_gate, rule->in[0], a->H, 0, &gate));
    KP_TRY(kp_rule_act(rule, KP_ACT_SIGMOID, gate, &gate));
    KP_TRY(kp_hf_heads(rule, x, a->H, a->dv, &x));
    KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "gated", x, gate, kp_rule_shape(rule, x), &x));
    return kp_hf_view(rule, "gated_joined", x, flat, ret);
}

/* MiniMax-M3's indexer: which blocks of keys a group of queries looks at. */
static kp_status block_indexer(kp_rule *rule, const kp_hf_attn *a)
{
    kp_hf_norm norm = {true, true, false};
    uint32_t y;
    if (!a->index_heads) return KP_OK;
    KP_TRY(kp_hf_linear(rule, "indexer.q_proj", rule->in[0], a->index_heads * a->index_dim, 0, &y));
    KP_TRY(kp_hf_heads(rule, y, a->index_heads, a->index_dim, &y));
    KP_TRY(kp_hf_normalise(rule, "indexer.q_norm", y, norm, &y));
    KP_TRY(kp_hf_linear(rule, "indexer.k_proj", rule->in[0], a->index_dim, 0, &y));
    return kp_hf_normalise(rule, "indexer.k_norm", y, norm, &y);
}

kp_status kp_lower_hf_attention(kp_rule *rule)
{
    const kp_hf_attn *a = rule->cfg->attn;
    const kp_hf_names *n = a->names;
    uint32_t x = rule->in[0], from = rule->in[rule->n_in - 1], q, k, v, y, gate = KP_NO;
    if (n->qkv) {
        KP_TRY(project_fused(rule, a, x, &q, &k, &v));
    } else {
        if (a->out_gate) KP_TRY(project_gated(rule, a, x, &q, &gate));
        else KP_TRY(project(rule, a, n->q, n->q_norm, x, a->H, a->dk, a->q_bias, a->rotary, &q));
        if (n->kv) KP_TRY(project_pairs(rule, a, from, &k, &v));
        else
            KP_TRY(project(rule, a, n->k, n->k_norm, from, a->K, a->dk, a->k_bias, a->rotary, &k));
        if (!n->kv) v = k;
        if (!n->kv && !a->shares_kv)
            KP_TRY(project(rule, a, n->v, NULL, from, a->K, a->dv, a->v_bias, false, &v));
    }
    KP_TRY(block_indexer(rule, a));
    KP_TRY(attend(rule, a, q, k, v, &y));
    KP_TRY(apply_gate(rule, y, gate, &y));
    KP_TRY(gate_heads(rule, a, y, &y));
    return finish(rule, a, y);
}

/* ---- MLA: queries and keys out of low ranks, dk = nope + rope (arXiv 2405.04434, section 2.1) ---- */

/* A product down to a low rank and its norm. */
static kp_status go_down(kp_rule *rule, const kp_hf_attn *a, const char *norm, uint32_t x,
                         uint32_t *ret)
{
    *ret = x;
    if (!a->low_norms) return KP_OK;
    return kp_hf_normalise(rule, norm, x, a->qk_norm_kind, ret);
}

static kp_status mla_query(kp_rule *rule, const kp_hf_attn *a, uint32_t *ret_low, uint32_t *ret)
{
    const kp_hf_names *n = a->names;
    uint32_t x = rule->in[0];
    *ret_low = x;
    if (!a->q_rank) {
        KP_TRY(kp_hf_linear(rule, n->q, x, a->H * a->dk, 0, ret));
    } else {
        KP_TRY(kp_hf_linear(rule, n->q_down, x, a->q_rank, a->q_bias ? KP_HF_WITH_BIAS : 0, &x));
        KP_TRY(go_down(rule, a, n->q_down_norm, x, ret_low));
        KP_TRY(kp_hf_linear(rule, n->q_up, *ret_low, a->H * a->dk, 0, ret));
    }
    KP_TRY(kp_hf_heads(rule, *ret, a->H, a->dk, ret));
    return kp_hf_rotate(rule, *ret, ret);
}

static kp_status mla_key_value(kp_rule *rule, const kp_hf_attn *a, uint32_t *ret_k,
                               uint32_t *ret_v)
{
    const kp_hf_names *n = a->names;
    int64_t nope = a->dk - a->rope;
    uint32_t low, turned, both;
    KP_TRY(kp_hf_linear(rule, n->kv_down, rule->in[0], a->kv_rank + a->rope,
                        a->k_bias ? KP_HF_WITH_BIAS : 0, &low));
    kp_shape x = kp_rule_shape(rule, low);
    KP_TRY(kp_hf_view(rule, "rope", low, kp_hf_tail(x, 2, (int64_t[]){1, a->rope}), &turned));
    KP_TRY(kp_hf_rotate(rule, turned, &turned));
    KP_TRY(kp_hf_view(rule, "latent", low, kp_hf_tail(x, 1, &a->kv_rank), &low));
    KP_TRY(go_down(rule, a, n->kv_down_norm, low, &low));
    KP_TRY(kp_hf_linear(rule, n->kv_up, low, a->H * (nope + a->dv), 0, &both));
    KP_TRY(kp_hf_heads(rule, both, a->H, nope + a->dv, &both));
    KP_TRY(kp_hf_view(rule, "value", both, kp_hf_tail(x, 2, (int64_t[]){a->H, a->dv}), ret_v));
    KP_TRY(kp_hf_view(rule, "nope", both, kp_hf_tail(x, 2, (int64_t[]){a->H, nope}), &both));
    kp_new_op join = {.op = KP_OP_CONCAT, .part = "key", .in = (uint32_t[]){both, turned},
                      .n_in = 2, .out = kp_hf_tail(x, 2, (int64_t[]){a->H, a->dk}),
                      .attr = {.axis = 3}};
    return kp_rule_op(rule, &join, ret_k);
}

/* DeepSeek-V3.2's lightning indexer: which keys a query looks at. Its weights and products; what
 * attention skips for it is not subtracted. */
static kp_status indexer(kp_rule *rule, const kp_hf_attn *a, uint32_t low)
{
    uint32_t y;
    if (!a->index_heads) return KP_OK;
    KP_TRY(kp_hf_linear(rule, "indexer.wq_b", low, a->index_heads * a->index_dim, 0, &y));
    KP_TRY(kp_hf_linear(rule, "indexer.wk", rule->in[0], a->index_dim, 0, &y));
    KP_TRY(kp_hf_normalise(rule, "indexer.k_norm", y, (kp_hf_norm){false, true, true}, &y));
    return kp_hf_linear(rule, "indexer.weights_proj", rule->in[0], a->index_heads, 0, &y);
}

kp_status kp_lower_hf_mla(kp_rule *rule)
{
    const kp_hf_attn *a = rule->cfg->attn;
    uint32_t q, k, v, y, low;
    KP_TRY(mla_query(rule, a, &low, &q));
    KP_TRY(mla_key_value(rule, a, &k, &v));
    KP_TRY(indexer(rule, a, low));
    KP_TRY(attend(rule, a, q, k, v, &y));
    return finish(rule, a, y);
}
