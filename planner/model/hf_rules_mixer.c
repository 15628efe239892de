/* SPDX-License-Identifier: MIT
 *
 * Mixers with a state in the place of attention: Mamba-2 (arXiv 2405.21060, as NemotronH has it)
 * and Gated DeltaNet (arXiv 2412.06464, as Qwen3-Next has it). H heads of width dv over K groups of
 * keys of width dk; a short convolution over the sequence first. The scan itself is one opaque op
 * whose work is that of its recurrence. */
#include "planner/model/hf_rules.h"

enum { MAMBA_SCAN_FLOPS = 6, DELTA_SCAN_FLOPS = 8 }; /* a step and element of the state */

static int64_t channels_of(const kp_hf_mixer *m)
{
    int64_t keys = kp_dim_mul(2, kp_dim_mul(m->K, m->dk));
    return kp_dim_mul(m->H, m->dv) + keys;
}

/* The convolution over the sequence, a filter a channel. */
static kp_status convolve(kp_rule *rule, const kp_hf_mixer *m, uint32_t x, uint32_t *ret)
{
    int64_t channels = channels_of(m);
    kp_new_op op = {.op = KP_OP_OPAQUE, .part = "conv1d", .in = &x, .n_in = 1, .n_weights = 1,
                    .out = kp_hf_tail(kp_rule_shape(rule, x), 1, &channels)};
    op.flops = 2 * (double)m->kernel * kp_elems(op.out);
    KP_TRY(kp_hf_weight(rule, "conv1d.weight", KP_ROLE_KERNEL,
                        kp_dims(3, (int64_t[]){channels, 1, m->kernel}), &op.weights[0]));
    if (m->conv_bias)
        KP_TRY(kp_hf_weight(rule, "conv1d.bias", KP_ROLE_BIAS, kp_dims(1, &channels),
                            &op.weights[op.n_weights++]));
    KP_TRY(kp_rule_op(rule, &op, ret));
    return kp_rule_act(rule, KP_ACT_SILU, *ret, ret);
}

static kp_status scan(kp_rule *rule, const kp_hf_mixer *m, uint32_t x, uint32_t dt, uint32_t *ret)
{
    static const char *const names[] = {"dt_bias", "A_log", "D"};
    int64_t width = kp_dim_mul(m->H, m->dv);
    kp_new_op op = {.op = KP_OP_OPAQUE, .part = "scan", .in = (uint32_t[]){x, dt}, .n_in = 2,
                    .out = kp_hf_tail(kp_rule_shape(rule, x), 1, &width)};
    op.flops = (m->delta ? DELTA_SCAN_FLOPS : MAMBA_SCAN_FLOPS) * (double)m->dk * kp_elems(op.out);
    for (uint32_t i = 0; i < (m->delta ? 2u : 3u); i++)
        KP_TRY(kp_hf_weight(rule, names[i], KP_ROLE_SHIFT, kp_dims(1, &m->H),
                            &op.weights[op.n_weights++]));
    return kp_rule_op(rule, &op, ret);
}

/* norm(y) * silu(z): over all values (Mamba) or each head's (DeltaNet). */
static kp_status gated_norm(kp_rule *rule, const kp_hf_mixer *m, uint32_t y, uint32_t z,
                            uint32_t *ret)
{
    kp_shape flat = kp_rule_shape(rule, y);
    if (m->delta)
        KP_TRY(kp_hf_view(rule, "heads", y, kp_hf_tail(flat, 2, (int64_t[]){m->H, m->dv}), &y));
    KP_TRY(kp_hf_normalise(rule, "norm", y, (kp_hf_norm){true, true, false}, &y));
    if (m->delta) KP_TRY(kp_hf_view(rule, "joined", y, flat, &y));
    KP_TRY(kp_rule_act(rule, KP_ACT_SILU, z, &z));
    return kp_hf_binary(rule, KP_OP_MUL, "gated", y, z, flat, ret);
}

/* What the scan reads (*ret_x), its gate (*ret_z) and its steps (*ret_dt), out of one product. */
static kp_status project_mamba(kp_rule *rule, const kp_hf_mixer *m, uint32_t *ret_x,
                               uint32_t *ret_z, uint32_t *ret_dt)
{
    int64_t inner = kp_dim_mul(m->H, m->dv), channels = channels_of(m);
    uint32_t all;
    KP_TRY(kp_hf_linear(rule, "in_proj", rule->in[0], inner + channels + m->H,
                        m->proj_bias ? KP_HF_WITH_BIAS : 0, &all));
    kp_shape x = kp_rule_shape(rule, all);
    KP_TRY(kp_hf_view(rule, "z", all, kp_hf_tail(x, 1, &inner), ret_z));
    KP_TRY(kp_hf_view(rule, "xBC", all, kp_hf_tail(x, 1, &channels), ret_x));
    return kp_hf_view(rule, "dt", all, kp_hf_tail(x, 1, &m->H), ret_dt);
}

static kp_status project_delta(kp_rule *rule, const kp_hf_mixer *m, uint32_t *ret_x,
                               uint32_t *ret_z, uint32_t *ret_dt)
{
    int64_t inner = kp_dim_mul(m->H, m->dv), channels = channels_of(m);
    uint32_t x = rule->in[0], all;
    if (m->split) { /* Qwen3.5: four products */
        KP_TRY(kp_hf_linear(rule, "in_proj_qkv", x, channels, 0, ret_x));
        KP_TRY(kp_hf_linear(rule, "in_proj_z", x, inner, 0, ret_z));
        KP_TRY(kp_hf_linear(rule, "in_proj_b", x, m->H, 0, &all));
        return kp_hf_linear(rule, "in_proj_a", x, m->H, 0, ret_dt);
    }
    KP_TRY(kp_hf_linear(rule, "in_proj_qkvz", x, channels + inner, 0, &all));
    kp_shape shape = kp_rule_shape(rule, all);
    KP_TRY(kp_hf_view(rule, "qkv", all, kp_hf_tail(shape, 1, &channels), ret_x));
    KP_TRY(kp_hf_view(rule, "z", all, kp_hf_tail(shape, 1, &inner), ret_z));
    return kp_hf_linear(rule, "in_proj_ba", x, kp_dim_mul(2, m->H), 0, ret_dt);
}

kp_status kp_lower_hf_mixer(kp_rule *rule)
{
    const kp_hf_mixer *m = rule->cfg->mixer;
    kp_shape in = rule->x[0];
    uint32_t x, z, dt, y;
    if (m->delta) KP_TRY(project_delta(rule, m, &x, &z, &dt));
    else KP_TRY(project_mamba(rule, m, &x, &z, &dt));
    KP_TRY(convolve(rule, m, x, &x));
    KP_TRY(scan(rule, m, x, dt, &y));
    KP_TRY(gated_norm(rule, m, y, z, &y));
    KP_TRY(kp_hf_linear(rule, "out_proj", y, in.dim[in.rank - 1],
                        m->proj_bias ? KP_HF_WITH_BIAS : 0, &y));
    return kp_rule_out(rule, y);
}
