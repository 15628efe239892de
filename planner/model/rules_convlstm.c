/* SPDX-License-Identifier: MIT
 *
 * ConvLSTM: an LSTM whose products are convolutions. (B, T, s..., C) to (B, T, s'..., F) or the
 * last step alone. Source: keras/src/layers/rnn/conv_lstm.py. */
#include "planner/model/rows.h"
#include "planner/model/window.h"

/* The rule as it looks at one step: its input without the axis of steps. */
static kp_status one_step(const kp_rule *rule, kp_shape *step, kp_rule *ret)
{
    kp_shape x = rule->x[0];
    KP_TRY(kp_want_rank(rule, 0, rule->row->spatial + 3u));
    *step = x;
    step->rank--;
    for (unsigned i = 1; i < step->rank; i++) step->dim[i] = x.dim[i + 1];
    *ret = *rule;
    ret->x = step;
    return KP_OK;
}

static kp_status step_shape(const kp_rule *rule, kp_shape *ret, int64_t *ret_channels)
{
    const kp_layer_cfg *cfg = rule->cfg;
    kp_shape step;
    kp_rule one;
    KP_TRY(one_step(rule, &step, &one));
    *ret_channels = step.dim[kp_channel_axis(&one)];
    return kp_window_shape(&one, cfg->kernel, cfg->strides, cfg->dilation, cfg->filters, ret);
}

kp_status kp_shape_convlstm(kp_rule *rule)
{
    kp_shape step, all;
    int64_t channels;
    KP_TRY(step_shape(rule, &step, &channels));
    all = step;
    if (rule->cfg->return_sequences) {
        all.rank++;
        all.dim[1] = rule->x[0].dim[1];
        for (unsigned i = 2; i < all.rank; i++) all.dim[i] = step.dim[i - 1];
    }
    KP_TRY(kp_rule_y(rule, all));
    for (int i = 0; i < 2 && rule->cfg->return_state; i++) KP_TRY(kp_rule_y(rule, step));
    return KP_OK;
}

static kp_shape kernel_shape(const kp_rule *rule, int64_t in)
{
    unsigned n = rule->row->spatial;
    kp_shape w = {.rank = (uint8_t)(n + 2)};
    for (unsigned i = 0; i < n; i++) w.dim[i] = rule->cfg->kernel[i];
    w.dim[n] = in;
    w.dim[n + 1] = 4 * rule->cfg->filters;
    return w;
}

/* kernel (k..., C, 4 F), recurrent_kernel (k..., F, 4 F), bias (4 F) */
kp_status kp_weights_convlstm(kp_rule *rule)
{
    kp_shape step;
    int64_t channels, four = 4 * rule->cfg->filters;
    KP_TRY(step_shape(rule, &step, &channels));
    KP_TRY(kp_rule_weight(rule, "conv_lstm_cell/kernel", KP_ROLE_KERNEL,
                          kernel_shape(rule, channels), true));
    KP_TRY(kp_rule_weight(rule, "conv_lstm_cell/recurrent_kernel", KP_ROLE_RECURRENT,
                          kernel_shape(rule, rule->cfg->filters), true));
    if (!rule->cfg->use_bias) return KP_OK;
    return kp_rule_weight(rule, "conv_lstm_cell/bias", KP_ROLE_BIAS, kp_dims(1, &four), true);
}

kp_status kp_lower_convlstm(kp_rule *rule)
{
    kp_shape step, x = rule->x[0];
    int64_t channels;
    KP_TRY(step_shape(rule, &step, &channels));
    double k = 1, taps = (double)channels + (double)rule->cfg->filters;
    for (unsigned i = 0; i < rule->row->spatial; i++) k *= rule->cfg->kernel[i];
    kp_new_op op = {.op = KP_OP_RNN, .in = rule->in, .n_in = rule->n_in, .outs = rule->y,
                    .n_outs = rule->n_y, .attr = kp_window_attr(rule, rule->cfg->kernel),
                    .flops = x.dim[1] == KP_DIM_OPEN
                                 ? kp_elems(x)
                                 : (double)x.dim[1] * kp_elems(step) * (8 * k * taps + 12)};
    for (uint32_t i = 0; i < rule->n_weights; i++)
        op.weights[op.n_weights++] = rule->first_weight + i;
    op.attr.cell = KP_CELL_CONV_LSTM;
    op.attr.return_sequences = rule->cfg->return_sequences;
    op.attr.units = (uint32_t)rule->cfg->filters;
    op.attr.activation = rule->cfg->activation;
    if (x.dim[1] > 0 && x.dim[1] <= UINT32_MAX) op.attr.steps = (uint32_t)x.dim[1];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    for (uint32_t i = 0; i < rule->n_y; i++) KP_TRY(kp_rule_out(rule, out + i));
    return KP_OK;
}
