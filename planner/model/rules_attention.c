/* SPDX-License-Identifier: MIT
 *
 * Attention with projections: MultiHeadAttention and GroupQueryAttention. H heads, K key and value
 * heads (K = H in the first), dk and dv their widths, T query and S key positions. Keras splits
 * heads in the projection: query kernel (D, H, dk), output kernel (H, dv, out). Sources: keras/src/
 * layers/attention/multi_head_attention.py, grouped_query_attention.py. */
#include "planner/model/rows.h"

enum { MULTI_HEAD, GROUPED };

/* Sizes and inputs of one call. */
typedef struct attention {
    int64_t H, K, dk, dv;
    uint32_t q, k, v;      /* inputs by number */
    kp_shape out;          /* of the output kernel: (out...) */
    unsigned n_axes, axes[KP_RANK_MAX];
} attention;

/* attention_axes: none given means all between the batch and the features. */
static kp_status find_axes(const kp_rule *rule, attention *ret)
{
    const kp_ints *given = &rule->cfg->axis;
    unsigned rank = rule->x[ret->q].rank;
    if (!given->given) {
        for (unsigned i = 1; i + 1 < rank; i++) ret->axes[ret->n_axes++] = i;
        return KP_OK;
    }
    for (unsigned i = 0; i < given->n; i++) {
        KP_TRY(kp_axis(rule, given->v[i], rank, &ret->axes[ret->n_axes++]));
        if (ret->axes[i] == 0 || ret->axes[i] + 1 >= rank)
            return kp_fail(rule->err, KP_INPUT, "'attention_axes' names axis %u of %s",
                           ret->axes[i], kp_shape_text(rule->x[ret->q], 0).s);
    }
    return KP_OK;
}

static kp_status find_inputs(const kp_rule *rule, attention *ret)
{
    ret->q = 0;
    ret->v = kp_rule_input(rule, "value", 1);
    ret->k = kp_rule_input(rule, "key", 2);
    if (ret->v == KP_NO) return kp_fail(rule->err, KP_INPUT, "it is called without a value input");
    if (ret->k == KP_NO) ret->k = ret->v;
    kp_shape q = rule->x[ret->q];
    if (q.rank < 3 || rule->x[ret->v].rank != q.rank || rule->x[ret->k].rank != q.rank)
        return kp_fail(rule->err, KP_INPUT, "its query %s and value %s must have the same axes, "
                       "3 or more", kp_shape_text(q, 0).s, kp_shape_text(rule->x[ret->v], 0).s);
    return KP_OK;
}

static kp_status describe(const kp_rule *rule, attention *ret)
{
    const kp_layer_cfg *cfg = rule->cfg;
    *ret = (attention){.H = cfg->heads, .K = cfg->heads, .dk = cfg->key_dim,
                       .dv = cfg->value_dim ? cfg->value_dim : cfg->key_dim};
    if (rule->row->variant == GROUPED) {
        ret->K = cfg->kv_heads;
        if (ret->H % ret->K)
            return kp_fail(rule->err, KP_INPUT,
                           "%lld query heads are no multiple of %lld key heads",
                           (long long)ret->H, (long long)ret->K);
    }
    KP_TRY(find_inputs(rule, ret));
    kp_shape q = rule->x[ret->q];
    ret->out = kp_dims(1, &q.dim[q.rank - 1]);
    if (cfg->dims.given) ret->out = kp_dims(cfg->dims.n, cfg->dims.v);
    if (q.rank - 1u + (ret->out.rank > 2 ? ret->out.rank : 2) > KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "its tensors have more than %d axes", KP_RANK_MAX);
    return find_axes(rule, ret);
}

/* x without its last axis, then `tail`. */
static kp_shape with_tail(kp_shape x, kp_shape tail)
{
    x.rank--;
    for (unsigned i = 0; i < tail.rank; i++) x.dim[x.rank++] = tail.dim[i];
    return x;
}

static kp_shape heads_of(int64_t heads, int64_t width)
{
    return kp_dims(2, (int64_t[]){heads, width});
}

/* Axes that are not attended over, H, query positions, key positions. */
static kp_status score_shape(const kp_rule *rule, const attention *a, kp_shape *ret)
{
    kp_shape q = rule->x[a->q], k = rule->x[a->k], s = {.per_sample = q.per_sample & 1};
    unsigned rank = q.rank + a->n_axes, attended = 0;
    if (rank > KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "its scores have more than %d axes", KP_RANK_MAX);
    for (unsigned i = 0; i < a->n_axes; i++) attended |= 1u << a->axes[i];
    for (unsigned i = 0; i + 1 < q.rank; i++)
        if (!(attended >> i & 1)) s.dim[s.rank++] = q.dim[i];
    s.dim[s.rank++] = a->H;
    for (unsigned i = 0; i < a->n_axes; i++) s.dim[s.rank++] = q.dim[a->axes[i]];
    for (unsigned i = 0; i < a->n_axes; i++) s.dim[s.rank++] = k.dim[a->axes[i]];
    *ret = s;
    return KP_OK;
}

static bool wants_scores(const kp_rule *rule)
{
    return kp_rule_flag(rule, "return_attention_scores");
}

kp_status kp_shape_mha(kp_rule *rule)
{
    attention a;
    KP_TRY(describe(rule, &a));
    KP_TRY(kp_rule_y(rule, with_tail(rule->x[a.q], a.out)));
    if (!wants_scores(rule)) return KP_OK;
    kp_shape scores;
    KP_TRY(score_shape(rule, &a, &scores));
    return kp_rule_y(rule, scores);
}

/* NAME/kernel of (first, rest...), NAME/bias of `bias`. */
static kp_status projection(kp_rule *rule, const char *name, kp_shape kernel, kp_shape bias)
{
    const char *k = kp_arena_fmt(rule->arena, "%s/kernel", name);
    const char *b = kp_arena_fmt(rule->arena, "%s/bias", name);
    if (!k || !b) return kp_nomem(rule->err);
    KP_TRY(kp_rule_weight(rule, k, KP_ROLE_KERNEL, kernel, true));
    return rule->cfg->use_bias ? kp_rule_weight(rule, b, KP_ROLE_BIAS, bias, true) : KP_OK;
}

static kp_status input_projection(kp_rule *rule, const char *name, uint32_t input, int64_t heads,
                                  int64_t width)
{
    kp_shape x = rule->x[input];
    return projection(rule, name, kp_dims(3, (int64_t[]){x.dim[x.rank - 1], heads, width}),
                      heads_of(heads, width));
}

kp_status kp_weights_mha(kp_rule *rule)
{
    attention a;
    KP_TRY(describe(rule, &a));
    KP_TRY(input_projection(rule, "query", a.q, a.H, a.dk));
    KP_TRY(input_projection(rule, "key", a.k, a.K, a.dk));
    if (rule->cfg->use_gate) KP_TRY(input_projection(rule, "gate", a.q, a.H, a.dv));
    KP_TRY(input_projection(rule, "value", a.v, a.K, a.dv));
    kp_shape kernel = heads_of(a.H, a.dv);
    for (unsigned i = 0; i < a.out.rank; i++) kernel.dim[kernel.rank++] = a.out.dim[i];
    return projection(rule, "attention_output", kernel, a.out);
}

/* One projection: a product over what kernel and input share, and its bias. */
static kp_status project(kp_rule *rule, const char *name, uint32_t x, kp_shape y, double inner,
                         uint32_t *ret)
{
    const char *k = kp_arena_fmt(rule->arena, "%s/kernel", name);
    const char *b = kp_arena_fmt(rule->arena, "%s/bias", name);
    if (!k || !b) return kp_nomem(rule->err);
    kp_new_op op = {.op = KP_OP_MATMUL, .part = name, .in = &x, .n_in = 1, .n_weights = 1, .out = y,
                    .weights = {kp_rule_find_weight(rule, k)}, .flops = 2 * inner * kp_elems(y)};
    KP_TRY(kp_rule_op(rule, &op, ret));
    return kp_rule_bias(rule, *ret, b, b, ret);
}

static kp_status project_input(kp_rule *rule, const char *name, uint32_t input, int64_t heads,
                               int64_t width, uint32_t *ret)
{
    kp_shape x = rule->x[input];
    return project(rule, name, rule->in[input], with_tail(x, heads_of(heads, width)),
                   (double)x.dim[x.rank - 1], ret);
}

/* Scores with their softmax (and dropout), then the weighted sum of the values. */
static kp_status attend(kp_rule *rule, const attention *a, uint32_t q, uint32_t k, uint32_t v,
                        uint32_t *ret_scores, uint32_t *ret)
{
    uint32_t in[3] = {q, k, kp_rule_arg(rule, "attention_mask", KP_NO)};
    kp_new_op op = {.op = KP_OP_ATTN_SCORES, .part = "scores", .in = in,
                    .n_in = in[2] == KP_NO ? 2 : 3, .attr = {.heads = (uint32_t)a->H}};
    KP_TRY(score_shape(rule, a, &op.out));
    double scores = kp_elems(op.out);
    op.flops = scores * (2 * (double)a->dk + 5);
    KP_TRY(kp_rule_op(rule, &op, ret_scores));
    uint32_t p = *ret_scores;
    if (rule->cfg->rate > 0) {
        kp_new_op drop = {.op = KP_OP_DROPOUT, .part = "dropout", .in = &p, .n_in = 1,
                          .out = op.out, .attr = {.rate = rule->cfg->rate}};
        KP_TRY(kp_rule_op(rule, &drop, &p));
    }
    kp_new_op sum = {.op = KP_OP_ATTN_CONTEXT, .part = "context", .in = (uint32_t[]){p, v},
                     .n_in = 2, .out = with_tail(rule->x[a->q], heads_of(a->H, a->dv)),
                     .flops = 2 * scores * (double)a->dv, .attr = {.heads = (uint32_t)a->H}};
    return kp_rule_op(rule, &sum, ret);
}

static kp_status apply_gate(kp_rule *rule, const attention *a, uint32_t x, uint32_t *ret)
{
    uint32_t gate;
    KP_TRY(project_input(rule, "gate", a->q, a->H, a->dv, &gate));
    KP_TRY(kp_rule_act(rule, KP_ACT_SIGMOID, gate, &gate));
    kp_new_op op = {.op = KP_OP_MUL, .part = "gated", .in = (uint32_t[]){x, gate}, .n_in = 2,
                    .out = kp_rule_shape(rule, x)};
    return kp_rule_op(rule, &op, ret);
}

kp_status kp_lower_mha(kp_rule *rule)
{
    attention a;
    uint32_t q, k, v, scores, y;
    KP_TRY(describe(rule, &a));
    KP_TRY(project_input(rule, "query", a.q, a.H, a.dk, &q));
    KP_TRY(project_input(rule, "key", a.k, a.K, a.dk, &k));
    KP_TRY(project_input(rule, "value", a.v, a.K, a.dv, &v));
    KP_TRY(attend(rule, &a, q, k, v, &scores, &y));
    if (rule->cfg->use_gate) KP_TRY(apply_gate(rule, &a, y, &y));
    KP_TRY(project(rule, "attention_output", y, rule->y[0], (double)a.H * (double)a.dv, &y));
    KP_TRY(kp_rule_out(rule, y));
    return wants_scores(rule) ? kp_rule_out(rule, scores) : KP_OK;
}
