/* SPDX-License-Identifier: MIT
 *
 * Windows, pooling, padding, cropping, resizing: what changes spatial sizes and owns no weight. */
#include "planner/model/rows.h"
#include "planner/model/window.h"
#include <inttypes.h>

unsigned kp_channel_axis(const kp_rule *rule)
{
    return rule->cfg->channels_first ? 1u : rule->x[0].rank - 1u;
}

unsigned kp_spatial_axis(const kp_rule *rule)
{
    return rule->cfg->channels_first ? 2u : 1u;
}

int64_t kp_window_length(int64_t in, int64_t size, int64_t stride, int64_t dilation,
                         kp_padding padding)
{
    if (in == KP_DIM_OPEN) return KP_DIM_OPEN;
    if (padding == KP_PAD_FULL) return (in + (size - 1) * dilation - 1) / stride + 1;
    if (padding != KP_PAD_VALID) return (in - 1) / stride + 1;
    int64_t room = in - (size - 1) * dilation - 1;
    return room < 0 ? 0 : room / stride + 1;
}

kp_status kp_window_shape(const kp_rule *rule, const uint32_t *size, const uint32_t *strides,
                          const uint32_t *dilation, int64_t channels, kp_shape *ret)
{
    unsigned n = rule->row->spatial;
    KP_TRY(kp_want_rank(rule, 0, n + 2));
    kp_shape y = rule->x[0];
    for (unsigned i = 0; i < n; i++) {
        unsigned axis = kp_spatial_axis(rule) + i;
        int64_t d = dilation ? dilation[i] : 1;
        y.dim[axis] = kp_window_length(y.dim[axis], size[i], strides[i], d, rule->cfg->padding);
        if (y.dim[axis] == 0)
            return kp_fail(rule->err, KP_INPUT, "its window of %" PRId64
                           " does not fit into axis %u of its input %s",
                           (int64_t)(size[i] - 1) * d + 1, axis, kp_shape_text(rule->x[0], 0).s);
    }
    if (channels >= 0) y.dim[kp_channel_axis(rule)] = channels;
    *ret = y;
    return KP_OK;
}

kp_op_attr kp_window_attr(const kp_rule *rule, const uint32_t *size)
{
    const kp_layer_cfg *cfg = rule->cfg;
    kp_op_attr attr = {.spatial = rule->row->spatial, .channels_first = cfg->channels_first,
                       .same_padding = cfg->padding != KP_PAD_VALID,
                       .causal = cfg->padding == KP_PAD_CAUSAL};
    for (unsigned i = 0; i < attr.spatial; i++) {
        attr.kernel[i] = size[i];
        attr.strides[i] = cfg->strides[i];
        attr.dilation[i] = cfg->dilation[i] ? cfg->dilation[i] : 1;
    }
    return attr;
}

/* ---- pooling; the row's variant is the op ---- */

/* strides: null stands for the window's own size (read as 0). */
static void pool_strides(const kp_rule *rule, uint32_t ret[3])
{
    for (unsigned i = 0; i < 3; i++)
        ret[i] = rule->cfg->strides[i] ? rule->cfg->strides[i] : rule->cfg->size[i];
}

kp_status kp_shape_pool(kp_rule *rule)
{
    uint32_t strides[3];
    kp_shape y;
    pool_strides(rule, strides);
    KP_TRY(kp_window_shape(rule, rule->cfg->size, strides, NULL, -1, &y));
    return kp_rule_y(rule, y);
}

kp_status kp_lower_pool(kp_rule *rule)
{
    kp_new_op op = {.op = (kp_op)rule->row->variant, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .attr = kp_window_attr(rule, rule->cfg->size)};
    pool_strides(rule, op.attr.strides);
    op.flops = kp_elems(rule->y[0]);
    for (unsigned i = 0; i < rule->row->spatial; i++) op.flops *= rule->cfg->size[i];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* (B, s..., C) to (B, C), or to (B, 1..., C) with keepdims. */
kp_status kp_shape_global(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, rule->row->spatial + 2u));
    kp_shape x = rule->x[0], y = x;
    if (!rule->cfg->keepdims) {
        y.rank = 2;
        y.dim[1] = x.dim[kp_channel_axis(rule)];
        return kp_rule_y(rule, y);
    }
    for (unsigned i = 0; i < rule->row->spatial; i++) y.dim[kp_spatial_axis(rule) + i] = 1;
    return kp_rule_y(rule, y);
}

/* (B, s..., C) to (B, output_size..., C) */
kp_status kp_shape_adaptive(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, rule->row->spatial + 2u));
    kp_shape y = rule->x[0];
    for (unsigned i = 0; i < rule->row->spatial; i++)
        y.dim[kp_spatial_axis(rule) + i] = rule->cfg->size[i];
    return kp_rule_y(rule, y);
}

/* A window over everything, or for the adaptive layers over a part for each output position. */
kp_status kp_lower_global(kp_rule *rule)
{
    kp_new_op op = {.op = (kp_op)rule->row->variant, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .flops = kp_elems(rule->x[0])};
    op.attr.spatial = rule->row->spatial;
    op.attr.channels_first = rule->cfg->channels_first;
    for (unsigned i = 0; i < rule->row->spatial; i++) {
        int64_t n = rule->x[0].dim[kp_spatial_axis(rule) + i], into = rule->cfg->size[i];
        if (into) n = n / into;
        op.attr.kernel[i] = op.attr.strides[i] = n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
    }
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* ---- padding (variant 0), cropping (variant 1) ---- */

static int sign_of(const kp_rule *rule)
{
    return rule->row->variant ? -1 : 1;
}

kp_status kp_shape_pads(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, rule->row->spatial + 2u));
    kp_shape y = rule->x[0];
    for (unsigned i = 0; i < rule->row->spatial; i++) {
        unsigned axis = kp_spatial_axis(rule) + i;
        if (y.dim[axis] == KP_DIM_OPEN) continue;
        const int32_t *pad = rule->cfg->pad[i];
        y.dim[axis] += sign_of(rule) * ((int64_t)pad[0] + pad[1]);
        if (y.dim[axis] < 1)
            return kp_fail(rule->err, KP_INPUT, "nothing is left of axis %u of its input %s", axis,
                           kp_shape_text(rule->x[0], 0).s);
    }
    return kp_rule_y(rule, y);
}

kp_status kp_lower_pads(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_PAD, .in = rule->in, .n_in = 1, .out = rule->y[0]};
    op.attr.spatial = rule->row->spatial;
    op.attr.channels_first = rule->cfg->channels_first;
    for (unsigned i = 0; i < rule->row->spatial; i++)
        for (unsigned j = 0; j < 2; j++)
            op.attr.pad[i][j] = sign_of(rule) * rule->cfg->pad[i][j];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

kp_status kp_shape_upsample(kp_rule *rule)
{
    KP_TRY(kp_want_rank(rule, 0, rule->row->spatial + 2u));
    kp_shape y = rule->x[0];
    for (unsigned i = 0; i < rule->row->spatial; i++) {
        unsigned axis = kp_spatial_axis(rule) + i;
        y.dim[axis] = kp_dim_mul(y.dim[axis], rule->cfg->size[i]);
    }
    return kp_rule_y(rule, y);
}
