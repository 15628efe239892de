/* SPDX-License-Identifier: MIT
 *
 * The MLP of a transformer's block, and its mixture of experts: a router picks top_k of E experts
 * for each token; weights are of all experts, work and activations of T x top_k tokens. Experts'
 * weights stand in one tensor, axis 0 numbers them (transformers 5, Megatron's grouped GEMM). */
#include "planner/model/build.h"
#include "planner/model/hf_rules.h"

static kp_status prefixed(kp_rule *rule, const char *prefix, const char *name, const char **ret)
{
    *ret = *prefix ? kp_arena_fmt(rule->arena, "%s%s", prefix, name) : name;
    return *ret ? KP_OK : kp_nomem(rule->err);
}

/* act(a) * b */
static kp_status gate(kp_rule *rule, kp_activation act, uint32_t a, uint32_t b, uint32_t *ret)
{
    KP_TRY(kp_rule_act(rule, act, a, &a));
    return kp_hf_binary(rule, KP_OP_MUL, "gated", a, b, kp_rule_shape(rule, b), ret);
}

/* Halves of the last axis of x, the first through the activation. */
static kp_status gate_halves(kp_rule *rule, kp_activation act, uint32_t x, uint32_t *ret)
{
    kp_shape y = kp_rule_shape(rule, x);
    uint32_t a, b;
    y.dim[y.rank - 1] /= 2;
    KP_TRY(kp_hf_view(rule, "gate", x, y, &a));
    KP_TRY(kp_hf_view(rule, "up", x, y, &b));
    return gate(rule, act, a, b, ret);
}

kp_status kp_hf_mlp_ops(kp_rule *rule, const kp_hf_mlp *m, const char *prefix, int64_t width,
                        uint32_t x, uint32_t *ret)
{
    const kp_hf_names *n = m->names;
    const char *name;
    unsigned turned = m->in_out ? KP_HF_KERNEL_IN_OUT : 0;
    unsigned up = turned | (m->up_bias ? KP_HF_WITH_BIAS : 0);
    unsigned down = turned | (m->down_bias ? KP_HF_WITH_BIAS : 0);
    kp_shape in = kp_rule_shape(rule, x);
    uint32_t a, b;
    bool fused = m->gated && n->gate_up;
    KP_TRY(prefixed(rule, prefix, fused ? n->gate_up : m->gated ? n->gate : n->up, &name));
    KP_TRY(kp_hf_linear(rule, name, x, fused ? 2 * width : width, up, &a));
    if (fused) {
        KP_TRY(gate_halves(rule, m->act, a, &a));
    } else if (m->gated) {
        KP_TRY(prefixed(rule, prefix, n->up, &name));
        KP_TRY(kp_hf_linear(rule, name, x, width, up, &b));
        KP_TRY(gate(rule, m->act, a, b, &a));
    } else {
        KP_TRY(kp_rule_act(rule, m->act, a, &a));
    }
    KP_TRY(prefixed(rule, prefix, n->down, &name));
    return kp_hf_linear(rule, name, a, in.dim[in.rank - 1], down, ret);
}

kp_status kp_lower_hf_mlp(kp_rule *rule)
{
    const kp_hf_mlp *m = rule->cfg->mlp;
    uint32_t y, block = rule->build->layers[rule->layer].parent;
    if (m->open && block != KP_NO) rule->scope = rule->build->layers[block].path;
    KP_TRY(kp_hf_mlp_ops(rule, m, "", m->I, rule->in[0], &y));
    KP_TRY(kp_hf_dropout(rule, "dropout", m->dropout, y, &y));
    return kp_rule_out(rule, y);
}

/* ---- experts ---- */

/* x times a weight a channel. */
static kp_status scale_by(kp_rule *rule, const char *name, uint32_t x, uint32_t *ret)
{
    kp_shape shape = kp_rule_shape(rule, x);
    kp_new_op op = {.op = KP_OP_SCALE, .part = name, .in = &x, .n_in = 1, .n_weights = 1, .out = shape};
    KP_TRY(kp_hf_weight(rule, name, KP_ROLE_SCALE, kp_dims(1, &shape.dim[shape.rank - 1]),
                        &op.weights[0]));
    return kp_rule_op(rule, &op, ret);
}

/* (B, T, k, in) to (B, T, k, out): each token with its expert's kernel of w (E, out, in). */
static kp_status expert_product(kp_rule *rule, const kp_hf_mlp *m, const char *name, uint32_t x,
                                int64_t out, uint32_t *ret)
{
    kp_shape in = kp_rule_shape(rule, x);
    int64_t width = in.dim[in.rank - 1];
    const char *path = kp_arena_fmt(rule->arena, "%s.%s", m->names->experts, name);
    kp_new_op op = {.op = KP_OP_MATMUL, .part = name, .in = &x, .n_in = 1, .n_weights = 1,
                    .out = kp_shape_with(in, in.rank - 1u, out), .attr = {.transposed_w = true}};
    if (!path) return kp_nomem(rule->err);
    op.flops = 2 * (double)width * kp_elems(op.out);
    KP_TRY(kp_hf_weight(rule, path, KP_ROLE_KERNEL, kp_dims(3, (int64_t[]){m->E, out, width}),
                        &op.weights[0]));
    rule->build->weights[op.weights[0]].expert = true;
    KP_TRY(kp_rule_op(rule, &op, ret));
    if (!m->expert_bias) return KP_OK;
    path = kp_arena_fmt(rule->arena, "%s_bias", path);
    if (!path) return kp_nomem(rule->err);
    kp_new_op bias = {.op = KP_OP_BIAS_ADD, .part = "bias", .in = ret, .n_in = 1, .n_weights = 1,
                      .out = op.out};
    KP_TRY(kp_hf_weight(rule, path, KP_ROLE_BIAS, kp_dims(2, (int64_t[]){m->E, out}),
                        &bias.weights[0]));
    rule->build->weights[bias.weights[0]].expert = true;
    return kp_rule_op(rule, &bias, ret);
}

/* Probabilities of the chosen experts: (B, T, k, 1). */
static kp_status route(kp_rule *rule, const kp_hf_mlp *m, uint32_t x, uint32_t *ret)
{
    const kp_hf_names *n = m->names;
    uint32_t y;
    KP_TRY(kp_hf_linear(rule, n->router, x, m->E, m->router_bias ? KP_HF_WITH_BIAS : 0, &y));
    if (m->correction) /* moved outside the gradient to even the load; counted as a parameter */
        KP_TRY(kp_rule_weight(rule, n->correction, KP_ROLE_STAT, kp_dims(1, &m->E), false));
    KP_TRY(kp_rule_act(rule, m->sigmoid ? KP_ACT_SIGMOID : KP_ACT_SOFTMAX, y, &y));
    if (m->beside) KP_TRY(scale_by(rule, "router.per_expert_scale", y, &y));
    kp_shape chosen = kp_hf_tail(kp_rule_shape(rule, y), 2, (int64_t[]){m->top_k, 1});
    return kp_rule_unary(rule, KP_OP_REDUCE, "top_k", y, chosen, ret);
}

/* What comes out of the first product through the activation, times p if it is weighed here. Gate
 * and weight are one kernel (weighted_bias_swiglu of Megatron). */
static kp_status expert_act(kp_rule *rule, const kp_hf_mlp *m, uint32_t y, uint32_t p, uint32_t *ret)
{
    kp_shape shape = kp_rule_shape(rule, y);
    uint32_t in[3] = {y, y, p};
    if (!m->weighs_inside)
        return m->gated ? gate_halves(rule, m->act, y, ret) : kp_rule_act(rule, m->act, y, ret);
    if (m->gated) {
        shape.dim[shape.rank - 1] /= 2;
        KP_TRY(kp_hf_view(rule, "gate", y, shape, &in[0]));
        KP_TRY(kp_hf_view(rule, "up", y, shape, &in[1]));
    }
    KP_TRY(kp_rule_act(rule, m->act, in[0], &in[0]));
    if (!m->gated) in[1] = p;
    kp_new_op op = {.op = KP_OP_MUL, .part = "weighted", .in = in, .n_in = m->gated ? 3 : 2, .out = shape};
    return kp_rule_op(rule, &op, ret);
}

/* Tokens x (B, T, width) to their experts, through them, and back, weighted by p (B, T, k, 1). */
static kp_status run_experts(kp_rule *rule, const kp_hf_mlp *m, uint32_t x, uint32_t p,
                             uint32_t *ret)
{
    kp_shape shape = kp_rule_shape(rule, x);
    int64_t width = shape.dim[shape.rank - 1];
    uint32_t y;
    KP_TRY(kp_rule_unary(rule, KP_OP_UPSAMPLE, "dispatch", x,
                         kp_hf_tail(shape, 2, (int64_t[]){m->top_k, width}), &y));
    KP_TRY(expert_product(rule, m, m->names->expert_up, y, m->gated ? 2 * m->I : m->I, &y));
    KP_TRY(expert_act(rule, m, y, p, &y));
    KP_TRY(expert_product(rule, m, m->names->expert_down, y, width, &y));
    if (!m->weighs_inside)
        KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "weighted", y, p, kp_rule_shape(rule, y), &y));
    return kp_rule_unary(rule, KP_OP_REDUCE, "combine", y, shape, ret);
}

/* The shared experts, which every token goes through, behind a gate in some families. */
static kp_status add_shared(kp_rule *rule, const kp_hf_mlp *m, uint32_t y, uint32_t *ret)
{
    uint32_t s, g;
    const char *prefix = kp_arena_fmt(rule->arena, "%s.", m->names->shared);
    kp_shape shape = kp_rule_shape(rule, y);
    *ret = y;
    if (!m->shared_I) return KP_OK;
    if (!prefix) return kp_nomem(rule->err);
    KP_TRY(kp_hf_mlp_ops(rule, m, prefix, m->shared_I, rule->in[0], &s));
    if (m->shared_gate) {
        KP_TRY(kp_hf_linear(rule, m->names->shared_gate, rule->in[0], 1, 0, &g));
        KP_TRY(kp_rule_act(rule, KP_ACT_SIGMOID, g, &g));
        KP_TRY(kp_hf_binary(rule, KP_OP_MUL, "shared_gated", s, g, shape, &s));
    }
    return kp_hf_binary(rule, KP_OP_ADD, "shared", y, s, shape, ret);
}

/* Gemma 4: experts on the residual stream (in[1]) beside an MLP on its norm (in[0]), a norm behind
 * each; the router reads the stream through a norm and a scale of its own. */
static kp_status experts_beside(kp_rule *rule, const kp_hf_mlp *m)
{
    kp_hf_norm norm = {true, true, false}, bare = {true, false, false};
    uint32_t stream = rule->in[rule->n_in - 1], a, b, p;
    uint32_t block = rule->build->layers[rule->layer].parent;
    if (block != KP_NO) rule->scope = rule->build->layers[block].path;
    KP_TRY(kp_hf_mlp_ops(rule, m, "mlp.", m->shared_I, rule->in[0], &a));
    KP_TRY(kp_hf_normalise(rule, "post_feedforward_layernorm_1", a, norm, &a));
    KP_TRY(kp_hf_normalise(rule, "router.norm", stream, bare, &p));
    KP_TRY(scale_by(rule, "router.scale", p, &p));
    KP_TRY(route(rule, m, p, &p));
    KP_TRY(kp_hf_normalise(rule, "pre_feedforward_layernorm_2", stream, norm, &b));
    KP_TRY(run_experts(rule, m, b, p, &b));
    KP_TRY(kp_hf_normalise(rule, "post_feedforward_layernorm_2", b, norm, &b));
    KP_TRY(kp_hf_binary(rule, KP_OP_ADD, "beside", a, b, kp_rule_shape(rule, a), &a));
    return kp_rule_out(rule, a);
}

kp_status kp_lower_hf_moe(kp_rule *rule)
{
    const kp_hf_mlp *m = rule->cfg->mlp;
    int64_t h = rule->x[0].dim[rule->x[0].rank - 1];
    uint32_t p, y = rule->in[0];
    if (m->beside) return experts_beside(rule, m);
    KP_TRY(route(rule, m, y, &p));
    if (m->latent) KP_TRY(kp_hf_linear(rule, "fc1_latent_proj", y, m->latent, 0, &y));
    KP_TRY(run_experts(rule, m, y, p, &y));
    if (m->latent) KP_TRY(kp_hf_linear(rule, "fc2_latent_proj", y, h, 0, &y));
    KP_TRY(add_shared(rule, m, y, &y));
    KP_TRY(kp_hf_dropout(rule, "dropout", m->dropout, y, &y));
    return kp_rule_out(rule, y);
}
