/* SPDX-License-Identifier: MIT
 *
 * Layers that prepare data: sizes, encodings, spectrograms. No gradient flows through them.
 * Sources: keras/src/layers/preprocessing; keras/src/layers/preprocessing/stft_spectrogram.py. */
#include "planner/model/rows.h"
#include "planner/model/window.h"

/* (B, H, W, C) to (B, height, width, C); Resizing, CenterCrop, RandomCrop. */
kp_status kp_shape_resize(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, 4));
    kp_shape y = rule->x[0];
    y.dim[kp_spatial_axis(rule)] = rule->cfg->height;
    y.dim[kp_spatial_axis(rule) + 1] = rule->cfg->width;
    return kp_rule_y(rule, y);
}

static bool mode_is(const kp_rule *rule, const char *mode)
{
    return rule->cfg->text && !strcmp(rule->cfg->text, mode);
}

/* The last axis becomes `n` wide; one_hot of anything but single numbers appends an axis. */
static kp_status encoded(kp_rule *rule, int64_t n)
{
    kp_shape y = rule->x[0];
    bool append = mode_is(rule, "one_hot") && y.rank && y.dim[y.rank - 1] != 1;
    if (append || y.rank == 0) {
        if (y.rank == KP_RANK_MAX)
            return kp_fail(rule->err, KP_INPUT, "its output has more than %d axes", KP_RANK_MAX);
        y.rank++;
    }
    return kp_rule_y(rule, kp_shape_with(y, y.rank - 1u, n));
}

kp_status kp_shape_encoding(kp_rule *rule)
{
    return encoded(rule, rule->cfg->units);
}

/* n boundaries make n + 1 bins. */
kp_status kp_shape_discretization(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    if (!cfg->text || mode_is(rule, "int")) return kp_rule_y(rule, rule->x[0]);
    return encoded(rule, cfg->boundaries.n ? (int64_t)cfg->boundaries.n + 1 : cfg->units);
}

/* Numbers of bins are integers, everything else is in the layer's type. */
kp_status kp_lower_encoding(kp_rule *rule)
{
    bool numbers = rule->row->variant && (!rule->cfg->text || mode_is(rule, "int"));
    kp_new_op op = {.op = KP_OP_MATH, .in = rule->in, .n_in = rule->n_in, .out = rule->y[0],
                    .has_dtype = true, .dtype = numbers ? KP_INT32 : rule->compute};
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* Steps of the signal to mel bands by hops. */
kp_status kp_shape_mel(kp_rule *rule)
{
    kp_shape y = rule->x[0];
    int64_t hop = rule->cfg->count;
    if (y.rank < 1 || y.rank >= KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "its input %s has no axis of samples",
                       kp_shape_text(y, 0).s);
    int64_t t = y.dim[y.rank - 1];
    y.dim[y.rank - 1] = rule->cfg->units;
    y.dim[y.rank++] = t == KP_DIM_OPEN ? t : (t + hop + 1) / hop;
    return kp_rule_y(rule, y);
}

/* ---- STFTSpectrogram: one or two convolution kernels of fixed sine waves ---- */

static int64_t bins(const kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    return (cfg->width ? cfg->width : cfg->rows) / 2 + 1; /* fft_length, else frame_length */
}

kp_status kp_shape_stft(kp_rule *rule)
{
    const kp_layer_cfg *cfg = rule->cfg;
    KP_TRY(kp_want_rank(rule, 0, 3));
    kp_shape x = rule->x[0], y = x;
    int64_t step = cfg->count ? cfg->count : cfg->rows / 2 > 0 ? cfg->rows / 2 : 1;
    int64_t channels = x.dim[kp_channel_axis(rule)];
    int64_t t = kp_window_length(x.dim[kp_spatial_axis(rule)], cfg->rows, step, 1, cfg->padding);
    int64_t f = bins(rule) * (mode_is(rule, "stft") ? 2 : 1);
    if (t == 0) return kp_fail(rule->err, KP_INPUT, "its frame does not fit into its input");
    y.dim[kp_spatial_axis(rule)] = t;
    y.dim[kp_channel_axis(rule)] = cfg->keepdims ? channels : kp_dim_mul(f, channels);
    if (cfg->keepdims) { /* expand_dims: the frequencies have their own axis */
        y.rank = 4;
        y.dim[1] = cfg->channels_first ? channels : t;
        y.dim[2] = cfg->channels_first ? t : f;
        y.dim[3] = cfg->channels_first ? f : channels;
    }
    return kp_rule_y(rule, y);
}

kp_status kp_weights_stft(kp_rule *rule)
{
    kp_shape kernel = kp_dims(3, (int64_t[]){rule->cfg->rows, 1, bins(rule)});
    if (!mode_is(rule, "imag"))
        KP_TRY(kp_rule_weight(rule, "real_kernel", KP_ROLE_KERNEL, kernel, true));
    if (mode_is(rule, "real")) return KP_OK;
    return kp_rule_weight(rule, "imag_kernel", KP_ROLE_KERNEL, kernel, true);
}

kp_status kp_lower_stft(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_CONV, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .n_weights = rule->n_weights,
                    .flops = 2 * kp_elems(rule->y[0]) * (double)rule->cfg->rows};
    for (uint32_t i = 0; i < rule->n_weights; i++) op.weights[i] = rule->first_weight + i;
    op.attr.spatial = 1;
    op.attr.kernel[0] = (uint32_t)rule->cfg->rows;
    op.attr.strides[0] = op.attr.dilation[0] = op.attr.groups = 1;
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}
