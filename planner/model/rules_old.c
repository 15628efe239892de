/* SPDX-License-Identifier: MIT
 *
 * Layers that Keras 3 no longer has. o = output positions, k = kernel positions, C = input
 * channels, F = filters, U = units. Sources: keras 1.2.2, keras/layers/core.py, advanced_activations.py;
 * tf.keras r2.15, layers/locally_connected, layers/kernelized.py. */
#include "planner/model/rows.h"
#include "planner/model/window.h"

/* ---- locally connected: a convolution whose every position has its own kernel ---- */

enum { BY_PATCHES = 1, DENSE = 2, SPARSE = 3 }; /* 'implementation' */

static int64_t channels(const kp_rule *rule)
{
    return rule->x[0].dim[kp_channel_axis(rule)];
}

/* Product of the spatial sizes. */
static int64_t positions(const kp_rule *rule, kp_shape shape)
{
    unsigned from = kp_spatial_axis(rule);
    return kp_shape_product(shape, from, from + rule->row->spatial);
}

/* Pairs of output and input positions of one dimension that touch: padding has none. 'same' centres
 * the kernel on every position, wherever a convolution would start. */
static int64_t touching(int64_t in, int64_t out, int64_t kernel, int64_t stride, kp_padding padding)
{
    int64_t total = 0, before = padding == KP_PAD_VALID ? 0 : kernel / 2;
    if (out > 1 << 20) return kp_dim_mul(out, kernel);
    for (int64_t i = 0; i < out; i++) {
        int64_t from = i * stride - before, to = from + kernel;
        if (to > in) to = in;
        if (from < 0) from = 0;
        total += to > from ? to - from : 0;
    }
    return total;
}

static kp_shape patch_kernel(const kp_rule *rule)
{
    int64_t k = 1;
    for (unsigned i = 0; i < rule->row->spatial; i++) k = kp_dim_mul(k, rule->cfg->kernel[i]);
    return kp_dims(3, (int64_t[]){positions(rule, rule->y[0]), kp_dim_mul(k, channels(rule)),
                                  rule->cfg->filters});
}

/* One number for every pair of input and output, in the order of the data. */
static kp_shape dense_kernel(const kp_rule *rule)
{
    kp_shape w = {0}, x = rule->x[0], y = rule->y[0];
    for (unsigned i = 1; i < x.rank; i++) w.dim[w.rank++] = x.dim[i];
    for (unsigned i = 1; i < y.rank; i++) w.dim[w.rank++] = y.dim[i];
    return w;
}

static kp_shape sparse_kernel(const kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t n = kp_dim_mul(channels(rule), cfg->filters);
    for (unsigned i = 0; i < rule->row->spatial; i++) {
        unsigned axis = kp_spatial_axis(rule) + i;
        int64_t in = rule->x[0].dim[axis], out = rule->y[0].dim[axis];
        int64_t pairs = in == KP_DIM_OPEN ? in : touching(in, out, cfg->kernel[i], cfg->strides[i],
                                                          cfg->padding);
        n = kp_dim_mul(n, pairs);
    }
    return kp_dims(1, &n);
}

/* bias: one number for every output but the channels come last */
static kp_shape local_bias(const kp_rule *rule)
{
    kp_shape w = {0};
    for (unsigned i = 0; i < rule->row->spatial; i++)
        w.dim[w.rank++] = rule->y[0].dim[kp_spatial_axis(rule) + i];
    w.dim[w.rank++] = rule->cfg->filters;
    return w;
}

kp_status kp_weights_local(kp_rule *rule)
{
    kp_shape kernel = rule->cfg->count == DENSE    ? dense_kernel(rule)
                      : rule->cfg->count == SPARSE ? sparse_kernel(rule)
                                                   : patch_kernel(rule);
    KP_TRY(kp_rule_weight(rule, "kernel", KP_ROLE_KERNEL, kernel, true));
    if (!rule->cfg->use_bias) return KP_OK;
    return kp_rule_weight(rule, "bias", KP_ROLE_BIAS, local_bias(rule), true);
}

/* A product and what follows it. */
static kp_status finish(kp_rule *rule, const kp_new_op *op, const char *bias)
{
    uint32_t y;
    KP_TRY(kp_rule_op(rule, op, &y));
    KP_TRY(kp_rule_bias(rule, y, bias, bias, &y));
    KP_TRY(kp_rule_act(rule, rule->cfg->activation, y, &y));
    return kp_rule_out(rule, y);
}

kp_status kp_lower_local(kp_rule *rule)
{
    double taps = (double)channels(rule);
    for (unsigned i = 0; i < rule->row->spatial; i++) taps *= rule->cfg->kernel[i];
    if (rule->cfg->count == DENSE) taps = kp_elems(rule->x[0]);
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 1, .n_weights = 1,
                    .weights = {kp_rule_find_weight(rule, "kernel")}, .out = rule->y[0],
                    .flops = 2 * taps * kp_elems(rule->y[0])};
    return finish(rule, &op, "bias");
}

/* ---- Highway: t f(x W + b) + (1 - t) x with a gate t of its own weights ---- */

kp_status kp_weights_highway(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    int64_t c = x.dim[x.rank - 1];
    kp_shape kernel = kp_dims(2, (int64_t[]){c, c}), bias = kp_dims(1, &c);
    KP_TRY(kp_rule_weight(rule, "W", KP_ROLE_KERNEL, kernel, true));
    KP_TRY(kp_rule_weight(rule, "W_carry", KP_ROLE_KERNEL, kernel, true));
    if (!rule->cfg->use_bias) return KP_OK;
    KP_TRY(kp_rule_weight(rule, "b", KP_ROLE_BIAS, bias, true));
    return kp_rule_weight(rule, "b_carry", KP_ROLE_BIAS, bias, true);
}

static kp_status highway_part(kp_rule *rule, const char *kernel, const char *bias,
                              kp_activation activation, uint32_t *ret)
{
    kp_shape y = rule->y[0];
    kp_new_op op = {.op = KP_OP_MATMUL, .part = kernel, .in = rule->in, .n_in = 1, .n_weights = 1,
                    .weights = {kp_rule_find_weight(rule, kernel)}, .out = y,
                    .flops = 2 * kp_elems(y) * (double)y.dim[y.rank - 1]};
    KP_TRY(kp_rule_op(rule, &op, ret));
    KP_TRY(kp_rule_bias(rule, *ret, bias, bias, ret));
    return kp_rule_act(rule, activation, *ret, ret);
}

kp_status kp_lower_highway(kp_rule *rule)
{
    uint32_t gate, value, out;
    KP_TRY(highway_part(rule, "W_carry", "b_carry", KP_ACT_SIGMOID, &gate));
    KP_TRY(highway_part(rule, "W", "b", rule->cfg->activation, &value));
    kp_new_op mul = {.op = KP_OP_MUL, .part = "gated", .in = (uint32_t[]){value, gate}, .n_in = 2,
                     .out = rule->y[0]};
    KP_TRY(kp_rule_op(rule, &mul, &value));
    mul.part = "carried";
    mul.in = (uint32_t[]){rule->in[0], gate};
    KP_TRY(kp_rule_op(rule, &mul, &gate));
    kp_new_op add = {.op = KP_OP_ADD, .part = "sum", .in = (uint32_t[]){value, gate}, .n_in = 2,
                     .out = rule->y[0]};
    KP_TRY(kp_rule_op(rule, &add, &out));
    return kp_rule_out(rule, out);
}

/* ---- MaxoutDense: the largest of 'nb_feature' products ---- */

kp_status kp_weights_maxout(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t c = rule->x[0].dim[rule->x[0].rank - 1];
    KP_TRY(kp_want_rank(rule, 0, 2));
    KP_TRY(kp_rule_weight(rule, "W", KP_ROLE_KERNEL,
                          kp_dims(3, (int64_t[]){cfg->count, c, cfg->units}), true));
    if (!cfg->use_bias) return KP_OK;
    return kp_rule_weight(rule, "b", KP_ROLE_BIAS, kp_dims(2, (int64_t[]){cfg->count, cfg->units}),
                          true);
}

kp_status kp_lower_maxout(kp_rule *rule)
{
    kp_shape all = rule->y[0];
    all.rank = 3;
    all.dim[1] = rule->cfg->count;
    all.dim[2] = rule->cfg->units;
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 1, .n_weights = 1, .out = all,
                    .weights = {kp_rule_find_weight(rule, "W")}};
    op.flops = 2 * kp_elems(all) * (double)rule->x[0].dim[1];
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    KP_TRY(kp_rule_bias(rule, y, "b", "b", &y));
    kp_new_op max = {.op = KP_OP_MAXMIN, .part = "max", .in = &y, .n_in = 1, .out = rule->y[0]};
    KP_TRY(kp_rule_op(rule, &max, &y));
    return kp_rule_out(rule, y);
}

/* ---- activations with a parameter an element; shared_axes count from 1 ---- */

/* The row's variant is the number of parameters an element. */
kp_status kp_weights_slopes(kp_rule *rule)
{
    static const char *const srelu[] = {"t_left", "a_left", "t_right", "a_right"};
    static const char *const softplus[] = {"alpha", "beta"};
    const char *const *names = rule->row->variant == 4 ? srelu : softplus;
    kp_shape x = rule->x[0], w = {.rank = (uint8_t)(x.rank ? x.rank - 1 : 0)};
    for (unsigned i = 0; i < w.rank; i++) w.dim[i] = x.dim[i + 1];
    for (unsigned i = 0; i < rule->cfg->axis.n && rule->cfg->axis.given; i++) {
        unsigned axis;
        KP_TRY(kp_axis(rule, rule->cfg->axis.v[i], x.rank, &axis));
        if (axis) w.dim[axis - 1] = 1;
    }
    for (unsigned i = 0; i < rule->row->variant; i++)
        KP_TRY(kp_rule_weight(rule, names[i], KP_ROLE_SCALE, w, true));
    return KP_OK;
}

kp_status kp_lower_slopes(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_SCALE, .in = rule->in, .n_in = 1, .out = rule->y[0]};
    uint32_t y = KP_NO;
    for (uint32_t i = 0; i < rule->n_weights; i += 2) { /* a threshold and a slope at a time */
        op.weights[0] = rule->first_weight + i;
        op.weights[1] = rule->first_weight + i + 1;
        op.n_weights = 2;
        KP_TRY(kp_rule_op(rule, &op, &y));
        op.in = &y;
        op.part = "right";
    }
    return kp_rule_out(rule, y);
}

/* ---- RandomFourierFeatures: cos(x W + b) s, of which nothing but the scale s may be trained ---- */

kp_status kp_weights_fourier(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    int64_t c = rule->x[0].dim[rule->x[0].rank - 1];
    KP_TRY(kp_want_rank(rule, 0, 2));
    KP_TRY(kp_rule_weight(rule, "unscaled_kernel", KP_ROLE_KERNEL,
                          kp_dims(2, (int64_t[]){c, cfg->units}), false));
    KP_TRY(kp_rule_weight(rule, "bias", KP_ROLE_BIAS, kp_dims(1, &cfg->units), false));
    return kp_rule_weight(rule, "kernel_scale", KP_ROLE_SCALE, kp_dims(1, (int64_t[]){1}), true);
}

kp_status kp_lower_fourier(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 1, .n_weights = 1,
                    .weights = {kp_rule_find_weight(rule, "unscaled_kernel")}, .out = rule->y[0],
                    .flops = 2 * kp_elems(rule->y[0]) * (double)rule->x[0].dim[1]};
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    KP_TRY(kp_rule_bias(rule, y, "bias", "bias", &y));
    KP_TRY(kp_rule_unary(rule, KP_OP_MATH, "cos", y, rule->y[0], &y));
    return kp_rule_out(rule, y);
}

/* ---- RandomHeight, RandomWidth: one size is drawn anew for every batch ---- */

kp_status kp_shape_random_size(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, 4));
    unsigned axis = kp_spatial_axis(rule) + rule->row->variant;
    return kp_rule_y(rule, kp_shape_with(rule->x[0], axis, KP_DIM_OPEN));
}

kp_status kp_lower_random_size(kp_rule *rule)
{
    uint32_t y;
    KP_TRY(kp_rule_unary(rule, KP_OP_UPSAMPLE, "", rule->in[0], rule->y[0], &y));
    return kp_rule_out(rule, y);
}
