/* SPDX-License-Identifier: MIT */
#include "agent/verify/problem.h"

typedef kp_status make_fn(const kp_check_spec *spec, kp_problem *p, kp_err *err);

static kp_shape shape_of(unsigned rank, const int64_t *dims)
{
    kp_shape shape = {.rank = (uint8_t)rank};
    for (unsigned i = 0; i < rank; i++) shape.dim[i] = dims[i];
    return shape;
}
#define SHAPE(...)                                                                                 \
    shape_of(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static kp_status no_form(const kp_check_spec *spec, kp_err *err)
{
    return kp_fail(err, KP_UNSUPPORTED, "%s of x %s, weight %s, y %s has no form to run",
                   kp_op_names[spec->op], kp_shape_text(spec->x, 1).s, kp_shape_text(spec->w, 1).s,
                   kp_shape_text(spec->y, 1).s);
}

/* First axis of `shape` from which the product of all is `elems`, or -1. */
static int split_at(kp_shape shape, int64_t elems)
{
    for (unsigned at = 0; at <= shape.rank; at++)
        if (kp_shape_product(shape, 0, at) == elems) return (int)at;
    return -1;
}

/* Fits (in, out) of w, or (out, in) as a tied table has it, to the axes of x and y behind `lead`.
 */
static bool matmul_split(const kp_check_spec *s, unsigned lead, kp_problem *p)
{
    const kp_shape x = s->x, y = s->y;
    for (unsigned i = 0; i < lead; i++)
        if (x.dim[i] != y.dim[i]) return false;
    int64_t in = kp_shape_product(x, lead, x.rank), out = kp_shape_product(y, lead, y.rank);
    uint64_t w_elems = kp_shape_elems(s->w, 1);
    if (kp_mul_u64((uint64_t)in, (uint64_t)out) != w_elems) return false;
    if (split_at(s->w, in) < 0 && split_at(s->w, out) < 0) return false;
    int64_t rest = kp_shape_product(x, 1, lead);
    int64_t in1 = x.dim[lead], out1 = y.dim[lead];
    p->x = SHAPE(x.dim[0], rest, in1, in / in1);
    p->w = SHAPE(in1, in / in1, out1, out / out1);
    p->y = SHAPE(x.dim[0], rest, out1, out / out1);
    return true;
}

static kp_status make_matmul(const kp_check_spec *spec, kp_problem *p, kp_err *err)
{
    unsigned most = spec->x.rank < spec->y.rank ? spec->x.rank : spec->y.rank;
    p->x_channel = p->y_channel = p->w_out = 2;
    p->w_in = 0;
    for (unsigned lead = most; lead-- > 1;)
        if (matmul_split(spec, lead, p)) return KP_OK;
    return no_form(spec, err);
}

static kp_status make_conv(const kp_check_spec *spec, kp_problem *p, kp_err *err)
{
    if (spec->x.rank < 3 || spec->x.rank > 5 || spec->w.rank != spec->x.rank ||
        spec->y.rank != spec->x.rank)
        return no_form(spec, err);
    unsigned spatial = spec->x.rank - 2u, skip = 3 - spatial;
    int channel = spec->channels_first ? 1 : 4, from = spec->channels_first ? 2 : 1;
    p->space = from;
    p->x_channel = p->y_channel = channel;
    p->w_in = 3;
    p->w_out = 4;
    p->x = p->y = p->w = SHAPE(1, 1, 1, 1, 1);
    p->x.dim[0] = spec->x.dim[0];
    p->y.dim[0] = spec->y.dim[0];
    p->x.dim[channel] = spec->x.dim[spec->channels_first ? 1 : spatial + 1];
    p->y.dim[channel] = spec->y.dim[spec->channels_first ? 1 : spatial + 1];
    for (unsigned i = 0; i < spatial; i++) {
        p->kernel[skip + i] = spec->kernel[i] ? spec->kernel[i] : 1;
        p->strides[skip + i] = spec->strides[i] ? spec->strides[i] : 1;
        p->dilation[skip + i] = spec->dilation[i] ? spec->dilation[i] : 1;
        p->x.dim[(unsigned)from + skip + i] = spec->x.dim[(unsigned)from + i];
        p->y.dim[(unsigned)from + skip + i] = spec->y.dim[(unsigned)from + i];
        p->w.dim[skip + i] = spec->w.dim[i];
        if (spec->w.dim[i] != (int64_t)p->kernel[skip + i]) return no_form(spec, err);
    }
    p->w.dim[3] = spec->w.dim[spatial];
    p->w.dim[4] = spec->w.dim[spatial + 1];
    if (p->w.dim[4] % p->groups != 0) return no_form(spec, err);
    return KP_OK;
}

static kp_status make_gather(const kp_check_spec *spec, kp_problem *p, kp_err *err)
{
    const kp_shape x = spec->x, w = spec->w;
    if (x.rank < 1 || w.rank != 2 || w.dim[0] > INT32_MAX) return no_form(spec, err);
    int64_t rest = kp_shape_product(x, 1, x.rank);
    if (kp_shape_elems(spec->y, 1) != kp_mul_u64((uint64_t)w.dim[1], kp_shape_elems(x, 1)))
        return no_form(spec, err);
    p->x = SHAPE(x.dim[0], rest);
    p->w = w;
    p->y = SHAPE(x.dim[0], rest, w.dim[1]);
    p->y_channel = 2;
    p->w_rows = 0;
    p->w_out = 1;
    p->has_dx = false;
    return KP_OK;
}

/* Axes [from, end) of x are those of the bias. */
static kp_status make_elementwise(const kp_check_spec *spec, kp_problem *p, kp_err *err)
{
    const kp_shape x = spec->x, w = spec->w;
    p->has_w = spec->op == KP_OP_BIAS_ADD;
    unsigned axes = p->has_w ? w.rank : 1;
    if (axes < 1 || axes >= x.rank || !kp_shape_equal(x, spec->y)) return no_form(spec, err);
    unsigned from = spec->channels_first ? 1u : x.rank - axes, end = from + axes;
    for (unsigned i = 0; p->has_w && i < axes; i++)
        if (w.dim[i] != x.dim[from + i]) return no_form(spec, err);
    int64_t more = kp_shape_product(x, from + 1, end);
    p->x = p->y = SHAPE(x.dim[0], kp_shape_product(x, 1, from), x.dim[from], more,
                        kp_shape_product(x, end, x.rank));
    p->x_channel = p->y_channel = 2;
    if (!p->has_w) return KP_OK;
    p->w = SHAPE(x.dim[from], more);
    p->w_out = 0;
    return KP_OK;
}

static make_fn *const makers[KP_OP_COUNT] = {
    [KP_OP_MATMUL] = make_matmul,    [KP_OP_CONV] = make_conv,
    [KP_OP_GATHER] = make_gather,    [KP_OP_BIAS_ADD] = make_elementwise,
    [KP_OP_RELU] = make_elementwise,
};

/* True if all dimensions are numbers above 0 whose product is a size. */
static bool plain(kp_shape shape)
{
    if (shape.rank > KP_RANK_MAX) return false;
    for (unsigned i = 0; i < shape.rank; i++)
        if (shape.dim[i] <= 0 || shape.dim[i] > KP_DIM_MAX) return false;
    shape.per_sample = 0;
    return kp_size_ok(kp_shape_elems(shape, 1));
}

kp_status kp_problem_make(const kp_check_spec *spec, kp_problem *ret, kp_err *err)
{
    if ((unsigned)spec->op >= KP_OP_COUNT || !makers[spec->op])
        return kp_fail(err, KP_UNSUPPORTED, "no executor has a row for this op");
    kp_check_spec bound = *spec;
    bound.x.per_sample = bound.w.per_sample = bound.y.per_sample = 0;
    if (!plain(bound.x) || !plain(bound.w) || !plain(bound.y)) return no_form(&bound, err);
    kp_problem p = {.op = spec->op,
                    .x_channel = KP_NO_AXIS,
                    .y_channel = KP_NO_AXIS,
                    .w_in = KP_NO_AXIS,
                    .w_out = KP_NO_AXIS,
                    .w_rows = KP_NO_AXIS,
                    .has_w = true,
                    .has_dx = true,
                    .channels_first = spec->channels_first,
                    .same_padding = spec->same_padding,
                    .kernel = {1, 1, 1},
                    .strides = {1, 1, 1},
                    .dilation = {1, 1, 1},
                    .groups = spec->groups ? spec->groups : 1};
    KP_TRY(makers[spec->op](&bound, &p, err));
    kp_shape y;
    if (kp_problem_output(&p, p.x, p.w, &y, NULL) != KP_OK || !kp_shape_equal(y, p.y))
        return no_form(&bound, err);
    *ret = p;
    return KP_OK;
}

/* ---- what an op writes ---- */

static uint64_t extent(const kp_problem *p, int dim)
{
    return (uint64_t)(p->kernel[dim] - 1) * p->dilation[dim] + 1;
}

static uint64_t conv_size(const kp_problem *p, int dim, uint64_t in)
{
    if (p->same_padding) return kp_ceil_div(in, p->strides[dim]);
    uint64_t window = extent(p, dim);
    return in < window ? 0 : (in - window) / p->strides[dim] + 1;
}

uint64_t kp_problem_pad(const kp_problem *p, int dim)
{
    if (!p->same_padding) return 0;
    uint64_t in = (uint64_t)p->x.dim[p->space + dim];
    uint64_t covered = (conv_size(p, dim, in) - 1) * p->strides[dim] + extent(p, dim);
    return kp_sub_u64(covered, in) / 2;
}

static kp_status channels_differ(int64_t x, int64_t w, kp_err *err)
{
    return kp_fail(err, KP_VERIFY_FAILED, "x has %lld channels, the weight takes %lld",
                   (long long)x, (long long)w);
}

kp_status kp_problem_output(const kp_problem *p, kp_shape x, kp_shape w, kp_shape *ret, kp_err *err)
{
    kp_shape y = x;
    switch (p->op) {
    case KP_OP_MATMUL:
        if (x.dim[2] != w.dim[0]) return channels_differ(x.dim[2], w.dim[0], err);
        y.dim[2] = w.dim[2];
        y.dim[3] = w.dim[3];
        break;
    case KP_OP_CONV: {
        int64_t takes = w.dim[3] * (int64_t)p->groups;
        if (x.dim[p->x_channel] != takes) return channels_differ(x.dim[p->x_channel], takes, err);
        y.dim[p->y_channel] = w.dim[4];
        for (int i = 0; i < 3; i++)
            y.dim[p->space + i] = (int64_t)conv_size(p, i, (uint64_t)x.dim[p->space + i]);
        break;
    }
    case KP_OP_GATHER:
        y.rank = 3;
        y.dim[2] = w.dim[1];
        break;
    case KP_OP_BIAS_ADD:
        if (x.dim[2] != w.dim[0]) return channels_differ(x.dim[2], w.dim[0], err);
        break;
    default:
        break;
    }
    *ret = y;
    return KP_OK;
}

uint64_t kp_problem_terms(const kp_problem *p)
{
    const int64_t *x = p->x.dim, *w = p->w.dim, *y = p->y.dim;
    uint64_t forward = 1, dx = 1, dw = 1;
    switch (p->op) {
    case KP_OP_MATMUL:
        forward = (uint64_t)(w[0] * w[1]);
        dx = (uint64_t)(w[2] * w[3]);
        dw = (uint64_t)(x[0] * x[1]);
        break;
    case KP_OP_CONV:
        forward = (uint64_t)(w[0] * w[1] * w[2] * w[3]);
        dx = (uint64_t)(w[0] * w[1] * w[2] * (w[4] / p->groups));
        dw = kp_shape_elems(p->y, 1) / (uint64_t)y[p->y_channel];
        break;
    case KP_OP_GATHER:
        dw = (uint64_t)(x[0] * x[1]);
        break;
    case KP_OP_BIAS_ADD:
        dw = (uint64_t)(x[0] * x[1] * x[4]);
        break;
    default:
        break;
    }
    return kp_max_u64(forward, kp_max_u64(dx, dw));
}

bool kp_problem_equal(const kp_problem *a, const kp_problem *b)
{
    return a->op == b->op && kp_shape_equal(a->x, b->x) && kp_shape_equal(a->w, b->w) &&
           kp_shape_equal(a->y, b->y) && a->channels_first == b->channels_first &&
           a->same_padding == b->same_padding && a->groups == b->groups &&
           memcmp(a->kernel, b->kernel, sizeof(a->kernel)) == 0 &&
           memcmp(a->strides, b->strides, sizeof(a->strides)) == 0 &&
           memcmp(a->dilation, b->dilation, sizeof(a->dilation)) == 0;
}
