/* SPDX-License-Identifier: MIT
 *
 * Convolution in plain loops: for every output position and every place of the kernel that falls
 * on the input, one product over (input channels) x (filters). One loop nest serves the forward
 * pass and both gradients, which differ only in what stands innermost. */
#include "agent/verify/ops_host.h"

/* Steps from one element to the next, and sizes, of the tensors of a call. */
typedef struct conv {
    const kp_op_call *call;
    uint64_t in[3], out[3];                                            /* spatial sizes */
    uint64_t x_at[3], y_at[3], x_batch, y_batch, x_channel, y_channel; /* strides */
    uint64_t pad[3];
    uint64_t group_in;               /* input channels of a group here */
    uint64_t filters, group_filters; /* here; of a group of the whole layer */
} conv;

/* Strides of a row-major (B, D, H, W, C) or (B, C, D, H, W) tensor. */
static void strides_of(kp_shape shape, int space, int channel, uint64_t at[3], uint64_t *batch,
                       uint64_t *channel_at)
{
    uint64_t step[5], all = 1;
    for (int i = 4; i >= 0; i--) {
        step[i] = all;
        all *= (uint64_t)shape.dim[i];
    }
    for (int i = 0; i < 3; i++) at[i] = step[space + i];
    *batch = step[0];
    *channel_at = step[channel];
}

static conv conv_of(const kp_op_call *call)
{
    const kp_problem *p = call->problem;
    conv c = {.call = call};
    for (int i = 0; i < 3; i++) {
        c.in[i] = (uint64_t)call->x.dim[p->space + i];
        c.out[i] = (uint64_t)call->y.dim[p->space + i];
        c.pad[i] = kp_problem_pad(p, i);
    }
    strides_of(call->x, p->space, p->x_channel, c.x_at, &c.x_batch, &c.x_channel);
    strides_of(call->y, p->space, p->y_channel, c.y_at, &c.y_batch, &c.y_channel);
    c.group_in = (uint64_t)call->w.dim[3];
    c.filters = (uint64_t)call->w.dim[4];
    c.group_filters = (uint64_t)p->w.dim[4] / p->groups;
    return c;
}

/* y[f] += x w[f] over the filters [from, end). */
static void forward(const conv *c, uint64_t x, uint64_t w, uint64_t y, uint64_t from, uint64_t end)
{
    const float value = c->call->x_at[x], *weights = c->call->w_at + w;
    float *out = c->call->y_at + y;
    for (uint64_t f = from; f < end; f++) out[f * c->y_channel] += value * weights[f];
}

/* dx += sum dy[f] w[f]; dw[f] += x dy[f]. */
static void backward(const conv *c, uint64_t x, uint64_t w, uint64_t y, uint64_t from, uint64_t end)
{
    const float value = c->call->x_at[x], *weights = c->call->w_at + w;
    const float *dy = c->call->dy_at + y;
    float *dw = c->call->dw_at + w, sum = 0;
    for (uint64_t f = from; f < end; f++) {
        sum += dy[f * c->y_channel] * weights[f];
        dw[f] += value * dy[f * c->y_channel];
    }
    c->call->dx_at[x] += sum;
}

/* All channels and filters of one output position and one place of the kernel. */
static void place(const conv *c, uint64_t x, uint64_t w, uint64_t y)
{
    for (uint64_t from = 0; from < c->filters;) {
        uint64_t first = c->call->filter_from + from, group = first / c->group_filters;
        uint64_t left = (group + 1) * c->group_filters - first;
        uint64_t end = kp_min_u64(from + left, c->filters);
        for (uint64_t i = 0; i < c->group_in; i++) {
            uint64_t x_i = x + (group * c->group_in + i) * c->x_channel, w_i = w + i * c->filters;
            if (c->call->direction == KP_FORWARD)
                forward(c, x_i, w_i, y, from, end);
            else
                backward(c, x_i, w_i, y, from, end);
        }
        from = end;
    }
}

/* Offset of the input under kernel place k of output position o; false if it is padding. */
static bool under(const conv *c, const uint64_t o[3], const uint64_t k[3], uint64_t *ret)
{
    const kp_problem *p = c->call->problem;
    uint64_t at = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t in = o[i] * p->strides[i] + k[i] * p->dilation[i] - c->pad[i]; /* wraps below 0 */
        if (in >= c->in[i]) return false;
        at += in * c->x_at[i];
    }
    *ret = at;
    return true;
}

static void position(const conv *c, uint64_t batch, const uint64_t o[3])
{
    const uint32_t *kernel = c->call->problem->kernel;
    uint64_t y = batch * c->y_batch, w = 0, k[3], x;
    for (int i = 0; i < 3; i++) y += o[i] * c->y_at[i];
    for (k[0] = 0; k[0] < kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < kernel[1]; k[1]++)
            for (k[2] = 0; k[2] < kernel[2]; k[2]++, w += c->group_in * c->filters)
                if (under(c, o, k, &x)) place(c, batch * c->x_batch + x, w, y);
}

void kp_host_conv(const kp_op_call *call)
{
    const conv c = conv_of(call);
    const uint64_t x_bytes = kp_shape_elems(call->x, 1) * sizeof(float);
    const uint64_t w_bytes = kp_shape_elems(call->w, 1) * sizeof(float);
    if (call->direction == KP_FORWARD) {
        memset(call->y_at, 0, kp_shape_elems(call->y, 1) * sizeof(float));
    } else {
        memset(call->dx_at, 0, x_bytes);
        memset(call->dw_at, 0, w_bytes);
    }
    uint64_t o[3];
    for (uint64_t batch = 0; batch < (uint64_t)call->x.dim[0]; batch++)
        for (o[0] = 0; o[0] < c.out[0]; o[0]++)
            for (o[1] = 0; o[1] < c.out[1]; o[1]++)
                for (o[2] = 0; o[2] < c.out[2]; o[2]++) position(&c, batch, o);
}
