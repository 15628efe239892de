/* SPDX-License-Identifier: MIT
 *
 * The reference ops themselves: forward passes against numbers worked out by hand, gradients
 * against the forward pass: an op that is linear in x and in w has <dy, y> = <dx, x> = <dw, w>. */
#include "tests/verify/ranks.h"
#include "agent/verify/compare.h"
#include <criterion/criterion.h>

/* Runs a whole layer forward on given numbers. */
static void forward(const kp_check_spec *spec, const float *x, const float *w, float *y)
{
    kp_problem p;
    kp_err err = {0};
    cr_assert(kp_problem_make(spec, &p, &err) == KP_OK, "%s", err.msg);
    kp_op_call call = {.problem = &p,
                       .direction = KP_FORWARD,
                       .x = p.x,
                       .w = p.w,
                       .y = p.y,
                       .x_at = x,
                       .w_at = w,
                       .y_at = y};
    kp_host_run(&call);
}

typedef struct hand_row {
    const char *what;
    kp_check_spec spec;
    float x[12], w[8], y[12];
} hand_row;

/* clang-format off */
static const hand_row hand_rows[] = {
    {"dense", {.op = KP_OP_MATMUL, .x = DIMS(2, 2), .w = DIMS(2, 3), .y = DIMS(2, 3)},
     {1, 2, 3, 4}, {1, 0, 2, -1, 5, 1}, {-1, 10, 4, -1, 20, 10}},
    {"conv1d valid",
     {.op = KP_OP_CONV, .x = DIMS(1, 4, 1), .w = DIMS(2, 1, 1), .y = DIMS(1, 3, 1), .kernel = {2},
      .strides = {1}},
     {1, 2, 3, 4}, {10, 1}, {12, 23, 34}},
    {"conv1d same, one zero behind",
     {.op = KP_OP_CONV, .x = DIMS(1, 4, 1), .w = DIMS(2, 1, 1), .y = DIMS(1, 4, 1), .kernel = {2},
      .strides = {1}, .same_padding = true},
     {1, 2, 3, 4}, {10, 1}, {12, 23, 34, 40}},
    {"conv1d same with stride 2: the padding is behind",
     {.op = KP_OP_CONV, .x = DIMS(1, 4, 1), .w = DIMS(3, 1, 1), .y = DIMS(1, 2, 1), .kernel = {3},
      .strides = {2}, .same_padding = true},
     {1, 2, 3, 4}, {100, 10, 1}, {123, 340}},
    {"conv1d dilated",
     {.op = KP_OP_CONV, .x = DIMS(1, 4, 1), .w = DIMS(2, 1, 1), .y = DIMS(1, 2, 1), .kernel = {2},
      .strides = {1}, .dilation = {2}},
     {1, 2, 3, 4}, {10, 1}, {13, 24}},
    {"conv2d channels first, two groups",
     {.op = KP_OP_CONV, .x = DIMS(1, 2, 2, 2), .w = DIMS(1, 2, 1, 2), .y = DIMS(1, 2, 2, 1),
      .kernel = {1, 2}, .strides = {1, 1}, .groups = 2, .channels_first = true},
     {1, 2, 3, 4, 5, 6, 7, 8}, {1, 10, 2, 20}, {5, 11, 170, 230}},
    {"bias", {.op = KP_OP_BIAS_ADD, .x = DIMS(2, 2), .w = DIMS(2), .y = DIMS(2, 2)},
     {1, 2, 3, 4}, {10, 20}, {11, 22, 13, 24}},
    {"relu", {.op = KP_OP_RELU, .x = DIMS(2, 2), .y = DIMS(2, 2)}, {1, -2, 0, 4}, {0}, {1, 0, 0, 4}},
};
/* clang-format on */

Test(ops, forward_by_hand)
{
    for (size_t i = 0; i < KP_LEN(hand_rows); i++) {
        float y[12] = {0};
        uint64_t n = kp_shape_elems(hand_rows[i].spec.y, 1);
        forward(&hand_rows[i].spec, hand_rows[i].x, hand_rows[i].w, y);
        for (uint64_t k = 0; k < n; k++)
            cr_expect(y[k] == hand_rows[i].y[k], "row %zu, %s: y[%d] is %g, not %g", i,
                      hand_rows[i].what, (int)k, (double)y[k], (double)hand_rows[i].y[k]);
    }
    const int32_t index[3] = {2, 0, 2};
    const float table[6] = {1, 2, 3, 4, 5, 6}, want[6] = {5, 6, 1, 2, 5, 6};
    float y[6], x[3];
    memcpy(x, index, sizeof(index));
    forward(&(kp_check_spec){.op = KP_OP_GATHER, .x = DIMS(3), .w = DIMS(3, 2), .y = DIMS(3, 2)}, x,
            table, y);
    cr_expect(memcmp(y, want, sizeof(want)) == 0);
}

static double dot(const float *a, const float *b, uint64_t n)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static float *fill(const kp_data *data, kp_data_tensor tensor, kp_shape shape)
{
    float *at = malloc((size_t)kp_shape_elems(shape, 1) * sizeof(float));
    cr_assert_not_null(at);
    kp_data_fill(data, tensor, kp_block_make(shape, KP_NO_AXIS, 0, 1), at);
    return at;
}

/* clang-format off */
static const kp_check_spec linear_specs[] = {
    {.op = KP_OP_MATMUL, .x = DIMS(3, 5, 7), .w = DIMS(7, 4), .y = DIMS(3, 5, 4)},
    {.op = KP_OP_CONV, .x = DIMS(2, 9, 8, 4), .w = DIMS(3, 2, 2, 6), .y = DIMS(2, 5, 3, 6),
     .kernel = {3, 2}, .strides = {2, 3}, .groups = 2, .same_padding = true},
    {.op = KP_OP_CONV, .x = DIMS(2, 3, 9, 8), .w = DIMS(3, 3, 3, 5), .y = DIMS(2, 5, 5, 4),
     .kernel = {3, 3}, .strides = {1, 1}, .dilation = {2, 2}, .channels_first = true},
    {.op = KP_OP_CONV, .x = DIMS(2, 4, 5, 6, 3), .w = DIMS(2, 3, 2, 3, 4), .y = DIMS(2, 3, 3, 5, 4),
     .kernel = {2, 3, 2}, .strides = {1, 1, 1}},
    {.op = KP_OP_GATHER, .x = DIMS(4, 6), .w = DIMS(9, 5), .y = DIMS(4, 6, 5)},
};
/* clang-format on */

Test(ops, gradients_are_the_adjoint)
{
    for (size_t i = 0; i < KP_LEN(linear_specs); i++) {
        kp_problem p;
        kp_data data;
        kp_truth truth = {0};
        kp_err err = {0};
        cr_assert(kp_problem_make(&linear_specs[i], &p, &err) == KP_OK, "%zu: %s", i, err.msg);
        cr_assert(kp_data_make(&p, 5, &data, &err) == KP_OK &&
                  kp_truth_make(&p, &data, &truth, &err) == KP_OK);
        float *x = fill(&data, KP_DATA_X, p.x), *w = fill(&data, KP_DATA_W, p.w),
              *dy = fill(&data, KP_DATA_DY, p.y);
        double along_y = dot(dy, truth.y, kp_shape_elems(p.y, 1));
        double along_w = dot(truth.dw, w, kp_shape_elems(p.w, 1));
        cr_expect(along_y == along_w && along_y != 0, "%zu: <dy, y> = %g, <dw, w> = %g", i, along_y,
                  along_w);
        if (p.has_dx) {
            double along_x = dot(truth.dx, x, kp_shape_elems(p.x, 1));
            cr_expect(along_y == along_x, "%zu: <dy, y> = %g, <dx, x> = %g", i, along_y, along_x);
        }
        free(x), free(w), free(dy);
        kp_truth_release(&truth);
    }
}
