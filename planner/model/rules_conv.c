/* SPDX-License-Identifier: MIT
 *
 * Convolutions in 1 to 3 spatial dimensions. k = kernel positions, C = input channels, F = filters,
 * g = groups, m = depth multiplier. Sources: keras/src/layers/convolutional/base_conv.py,
 * base_depthwise_conv.py, base_separable_conv.py, base_conv_transpose.py; keras/src/ops/
 * operation_utils.py. */
#include "planner/model/rows.h"
#include "planner/model/window.h"

kp_status kp_shape_conv(kp_rule *rule)
{
    kp_shape y;
    KP_TRY(kp_window_shape(rule, rule->cfg->kernel, rule->cfg->strides, rule->cfg->dilation,
                           rule->cfg->filters, &y));
    return kp_rule_y(rule, y);
}

/* (k..., in, out) */
static kp_shape kernel_shape(const kp_rule *rule, int64_t in, int64_t out)
{
    kp_shape w = {.rank = (uint8_t)(rule->row->spatial + 2)};
    for (unsigned i = 0; i < rule->row->spatial; i++) w.dim[i] = rule->cfg->kernel[i];
    w.dim[rule->row->spatial] = in;
    w.dim[rule->row->spatial + 1] = out;
    return w;
}

static kp_status add_bias(kp_rule *rule, int64_t n)
{
    if (!rule->cfg->use_bias) return KP_OK;
    return kp_rule_weight(rule, "bias", KP_ROLE_BIAS, kp_dims(1, &n), true);
}

static int64_t channels(const kp_rule *rule)
{
    return rule->x[0].dim[kp_channel_axis(rule)];
}

static double kernel_size(const kp_rule *rule)
{
    double k = 1;
    for (unsigned i = 0; i < rule->row->spatial; i++) k *= rule->cfg->kernel[i];
    return k;
}

/* kernel (k..., C / g, F), bias (F); with LoRA of rank r also (k..., C / g, r) and (r, F). */
kp_status kp_weights_conv(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t in = channels(rule), r = cfg->lora_rank;
    if (in != KP_DIM_OPEN && in % cfg->groups)
        return kp_fail(rule->err, KP_INPUT, "'groups' is %lld, which does not divide %lld channels",
                       (long long)cfg->groups, (long long)in);
    if (cfg->filters % cfg->groups)
        return kp_fail(rule->err, KP_INPUT, "'groups' is %lld, which does not divide %lld filters",
                       (long long)cfg->groups, (long long)cfg->filters);
    if (in != KP_DIM_OPEN) in /= cfg->groups;
    KP_TRY(kp_rule_weight(rule, "kernel", KP_ROLE_KERNEL, kernel_shape(rule, in, cfg->filters),
                          !r));
    KP_TRY(add_bias(rule, cfg->filters));
    if (!r) return KP_OK;
    KP_TRY(kp_rule_weight(rule, "lora_kernel_a", KP_ROLE_KERNEL, kernel_shape(rule, in, r), true));
    return kp_rule_weight(rule, "lora_kernel_b", KP_ROLE_KERNEL,
                          kp_dims(2, (int64_t[]){r, cfg->filters}), true);
}

/* Emits one convolution; taps: multiplications an output element. */
static kp_status emit_conv(kp_rule *rule, kp_op kind, const char *part, uint32_t x,
                           const char *weight, kp_shape y, double macs, uint32_t *ret)
{
    kp_new_op op = {.op = kind, .part = part, .in = &x, .n_in = 1, .n_weights = 1, .out = y,
                    .weights = {kp_rule_find_weight(rule, weight)}, .flops = 2 * macs,
                    .attr = kp_window_attr(rule, rule->cfg->kernel)};
    op.attr.groups = (uint32_t)rule->cfg->groups;
    static const char *const lora[] = {"lora_kernel_a", "lora_kernel_b"}; /* added to the kernel */
    for (size_t i = 0; i < KP_LEN(lora) && rule->cfg->lora_rank; i++) {
        uint32_t w = kp_rule_find_weight(rule, lora[i]);
        if (w != KP_NO) op.weights[op.n_weights++] = w;
    }
    return kp_rule_op(rule, &op, ret);
}

static kp_status finish(kp_rule *rule, uint32_t y)
{
    KP_TRY(kp_rule_bias(rule, y, "bias", "bias", &y));
    KP_TRY(kp_rule_act(rule, rule->cfg->activation, y, &y));
    return kp_rule_out(rule, y);
}

kp_status kp_lower_conv(kp_rule *rule)
{
    double taps = kernel_size(rule) * (double)channels(rule) / (double)rule->cfg->groups;
    uint32_t y;
    KP_TRY(emit_conv(rule, KP_OP_CONV, "", rule->in[0], "kernel", rule->y[0],
                     kp_elems(rule->y[0]) * taps, &y));
    return finish(rule, y);
}

/* ---- depthwise, separable ---- */

static int64_t depth(const kp_rule *rule)
{
    return kp_dim_mul(channels(rule), rule->cfg->depth_multiplier);
}

kp_status kp_shape_depthwise(kp_rule *rule)
{
    kp_shape y;
    KP_TRY(kp_window_shape(rule, rule->cfg->kernel, rule->cfg->strides, rule->cfg->dilation, -1,
                           &y));
    y.dim[kp_channel_axis(rule)] = depth(rule);
    return kp_rule_y(rule, y);
}

/* kernel (k..., C, m), bias (C m) */
kp_status kp_weights_depthwise(kp_rule *rule)
{
    KP_TRY(kp_rule_weight(rule, "kernel", KP_ROLE_KERNEL,
                          kernel_shape(rule, channels(rule), rule->cfg->depth_multiplier), true));
    return add_bias(rule, depth(rule));
}

kp_status kp_lower_depthwise(kp_rule *rule)
{
    uint32_t y;
    KP_TRY(emit_conv(rule, KP_OP_CONV_DEPTHWISE, "", rule->in[0], "kernel", rule->y[0],
                     kp_elems(rule->y[0]) * kernel_size(rule), &y));
    return finish(rule, y);
}

/* depthwise (k..., C, m), pointwise (1..., C m, F), bias (F) */
kp_status kp_weights_separable(kp_rule *rule)
{
    kp_shape point = {.rank = (uint8_t)(rule->row->spatial + 2)};
    for (unsigned i = 0; i < rule->row->spatial; i++) point.dim[i] = 1;
    point.dim[point.rank - 2] = depth(rule);
    point.dim[point.rank - 1] = rule->cfg->filters;
    KP_TRY(kp_rule_weight(rule, "depthwise_kernel", KP_ROLE_KERNEL,
                          kernel_shape(rule, channels(rule), rule->cfg->depth_multiplier), true));
    KP_TRY(kp_rule_weight(rule, "pointwise_kernel", KP_ROLE_KERNEL, point, true));
    return add_bias(rule, rule->cfg->filters);
}

kp_status kp_lower_separable(kp_rule *rule)
{
    static const uint32_t ones[3] = {1, 1, 1};
    kp_shape mid = kp_shape_with(rule->y[0], kp_channel_axis(rule), depth(rule));
    uint32_t y;
    KP_TRY(emit_conv(rule, KP_OP_CONV_DEPTHWISE, "depthwise", rule->in[0], "depthwise_kernel", mid,
                     kp_elems(mid) * kernel_size(rule), &y));
    kp_new_op op = {.op = KP_OP_CONV, .part = "pointwise", .in = &y, .n_in = 1, .n_weights = 1,
                    .weights = {kp_rule_find_weight(rule, "pointwise_kernel")}, .out = rule->y[0],
                    .flops = 2 * kp_elems(rule->y[0]) * (double)depth(rule),
                    .attr = kp_window_attr(rule, ones)};
    for (unsigned i = 0; i < 3; i++) op.attr.strides[i] = op.attr.dilation[i] = 1;
    op.attr.groups = 1;
    KP_TRY(kp_rule_op(rule, &op, &y));
    return finish(rule, y);
}

/* ---- transposed ---- */

/* Output length of a transposed convolution; extra is output_padding, -1 if not given. */
static int64_t transposed_length(int64_t in, int64_t k, int64_t stride, int64_t dilation,
                                 int64_t extra, kp_padding padding)
{
    if (in == KP_DIM_OPEN) return KP_DIM_OPEN;
    k = (k - 1) * dilation + 1;
    int64_t big = kp_dim_mul(in - 1, stride);
    if (padding == KP_PAD_VALID)
        return big + k + (extra >= 0 ? extra : (k > stride ? k : stride) - k);
    return extra < 0 ? kp_dim_mul(in, stride) : big + k % 2 + extra;
}

kp_status kp_shape_transposed(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    KP_TRY(kp_want_rank(rule, 0, rule->row->spatial + 2u));
    kp_shape y = kp_shape_with(rule->x[0], kp_channel_axis(rule), cfg->filters);
    for (unsigned i = 0; i < rule->row->spatial; i++) {
        unsigned axis = kp_spatial_axis(rule) + i;
        y.dim[axis] = transposed_length(y.dim[axis], cfg->kernel[i], cfg->strides[i],
                                        cfg->dilation[i], cfg->output_padding[i], cfg->padding);
    }
    return kp_rule_y(rule, y);
}

/* kernel (k..., F, C): as the convolution that it is the gradient of. */
kp_status kp_weights_transposed(kp_rule *rule)
{
    KP_TRY(kp_rule_weight(rule, "kernel", KP_ROLE_KERNEL,
                          kernel_shape(rule, rule->cfg->filters, channels(rule)), true));
    return add_bias(rule, rule->cfg->filters);
}

kp_status kp_lower_transposed(kp_rule *rule)
{
    double macs = kp_elems(rule->x[0]) * kernel_size(rule) * (double)rule->cfg->filters;
    uint32_t y;
    KP_TRY(emit_conv(rule, KP_OP_CONV_TRANSPOSE, "", rule->in[0], "kernel", rule->y[0], macs, &y));
    return finish(rule, y);
}
