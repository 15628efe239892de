/* SPDX-License-Identifier: MIT
 *
 * The form of a check, its reduction, and its numbers. */
#include "agent/verify/data.h"
#include "tests/verify/ranks.h"
#include <criterion/criterion.h>

typedef struct form_row {
    const char *what;
    kp_check_spec spec;
    kp_status status;
} form_row;

/* clang-format off */
static const form_row form_rows[] = {
    {"dense", {.op = KP_OP_MATMUL, .x = DIMS(2, 3), .w = DIMS(3, 4), .y = DIMS(2, 4)}, KP_OK},
    {"the weight does not fit", {.op = KP_OP_MATMUL, .x = DIMS(2, 3), .w = DIMS(5, 4), .y = DIMS(2, 4)},
     KP_UNSUPPORTED},
    {"rows differ", {.op = KP_OP_MATMUL, .x = DIMS(2, 3), .w = DIMS(3, 4), .y = DIMS(3, 4)}, KP_UNSUPPORTED},
    {"an open dimension",
     {.op = KP_OP_MATMUL, .x = {.rank = 2, .dim = {2, KP_DIM_OPEN}}, .w = DIMS(3, 4), .y = DIMS(2, 4)},
     KP_UNSUPPORTED},
    {"a scalar", {.op = KP_OP_MATMUL, .w = DIMS(3, 4), .y = DIMS(2, 4)}, KP_UNSUPPORTED},
    {"a size beyond all", {.op = KP_OP_RELU, .x = DIMS(KP_DIM_MAX, KP_DIM_MAX), .y = DIMS(KP_DIM_MAX, KP_DIM_MAX)},
     KP_UNSUPPORTED},
    {"conv of another size",
     {.op = KP_OP_CONV, .x = DIMS(1, 5, 5, 2), .w = DIMS(3, 3, 2, 4), .y = DIMS(1, 4, 4, 4), .kernel = {3, 3}},
     KP_UNSUPPORTED},
    {"conv whose kernel is not the weight's",
     {.op = KP_OP_CONV, .x = DIMS(1, 5, 5, 2), .w = DIMS(3, 3, 2, 4), .y = DIMS(1, 3, 3, 4), .kernel = {2, 3}},
     KP_UNSUPPORTED},
    {"groups that do not divide",
     {.op = KP_OP_CONV, .x = DIMS(1, 5, 5, 6), .w = DIMS(3, 3, 2, 4), .y = DIMS(1, 3, 3, 4), .kernel = {3, 3},
      .groups = 3}, KP_UNSUPPORTED},
    {"a window larger than the input",
     {.op = KP_OP_CONV, .x = DIMS(1, 2, 2, 2), .w = DIMS(3, 3, 2, 4), .y = DIMS(1, 1, 1, 4), .kernel = {3, 3}},
     KP_UNSUPPORTED},
    {"gather of another width", {.op = KP_OP_GATHER, .x = DIMS(2, 3), .w = DIMS(9, 4), .y = DIMS(2, 3, 5)},
     KP_UNSUPPORTED},
    {"bias of another length", {.op = KP_OP_BIAS_ADD, .x = DIMS(2, 3), .w = DIMS(2), .y = DIMS(2, 3)}, KP_UNSUPPORTED},
    {"softmax", {.op = KP_OP_SOFTMAX, .x = DIMS(2, 3), .y = DIMS(2, 3)}, KP_UNSUPPORTED},
    {"no op", {.op = KP_OP_COUNT, .x = DIMS(2, 3), .y = DIMS(2, 3)}, KP_UNSUPPORTED},
};
/* clang-format on */

Test(problem, only_shapes_with_a_form)
{
    for (size_t i = 0; i < KP_LEN(form_rows); i++) {
        kp_problem p;
        kp_err err = {0};
        cr_expect(kp_problem_make(&form_rows[i].spec, &p, &err) == form_rows[i].status,
                  "row %zu, %s: %s", i, form_rows[i].what, err.msg);
    }
}

/* The largest of a problem's tensors. */
static uint64_t largest(const kp_problem *p)
{
    uint64_t x = kp_shape_elems(p->x, 1), y = kp_shape_elems(p->y, 1);
    return kp_max_u64(kp_max_u64(x, y), p->has_w ? kp_shape_elems(p->w, 1) : 0);
}

/* A cut size after the reduction: same remainder, no rank loses its part. */
static void expect_same_class(const char *what, int64_t full, int64_t now, uint32_t ranks)
{
    cr_expect(now <= full && now % ranks == full % ranks, "%s: %lld became %lld for %u ranks", what,
              (long long)full, (long long)now, ranks);
    cr_expect(now >= ranks || now == full, "%s: %lld became %lld for %u ranks", what,
              (long long)full, (long long)now, ranks);
}

/* clang-format off */
static const kp_check_spec large_specs[] = {
    {.layer = "dense", .op = KP_OP_MATMUL, .x = DIMS(1030, 4096), .w = DIMS(4096, 1000), .y = DIMS(1030, 1000)},
    {.layer = "heads", .op = KP_OP_MATMUL, .x = DIMS(8, 512, 768), .w = DIMS(768, 12, 64),
     .y = DIMS(8, 512, 12, 64)},
    {.layer = "conv", .op = KP_OP_CONV, .x = DIMS(37, 224, 224, 65), .w = DIMS(7, 7, 65, 130),
     .y = DIMS(37, 112, 112, 130), .kernel = {7, 7}, .strides = {2, 2}, .same_padding = true},
    {.layer = "a group a channel", .op = KP_OP_CONV, .x = DIMS(64, 56, 56, 768), .w = DIMS(7, 7, 1, 768),
     .y = DIMS(64, 56, 56, 768), .kernel = {7, 7}, .groups = 768, .same_padding = true},
    {.layer = "groups", .op = KP_OP_CONV, .x = DIMS(64, 28, 28, 512), .w = DIMS(3, 3, 16, 1024),
     .y = DIMS(64, 28, 28, 1024), .kernel = {3, 3}, .groups = 32, .same_padding = true},
    {.layer = "embedding", .op = KP_OP_GATHER, .x = DIMS(64, 512), .w = DIMS(50257, 1025),
     .y = DIMS(64, 512, 1025)},
    {.layer = "bias", .op = KP_OP_BIAS_ADD, .x = DIMS(33, 100, 100, 515), .w = DIMS(515), .y = DIMS(33, 100, 100, 515)},
};
/* clang-format on */

/* Reduces one layer under one row for so many ranks. */
static void expect_reduced(const kp_check_spec *spec, const kp_shard_row *row, uint32_t ranks)
{
    kp_problem full, p;
    kp_shape y;
    kp_err err = {0};
    cr_assert(kp_problem_make(spec, &full, &err) == KP_OK, "%s: %s", spec->layer, err.msg);
    p = full;
    cr_expect(!kp_problem_reduce(&p, row, ranks, 0) && kp_problem_equal(&p, &full));
    cr_expect(kp_problem_reduce(&p, row, ranks, 4096));
    if (row->x == KP_LAYOUT_BATCH) expect_same_class("batch", full.x.dim[0], p.x.dim[0], ranks);
    if (row->x == KP_LAYOUT_CHANNEL)
        expect_same_class("in", full.x.dim[p.x_channel], p.x.dim[p.x_channel], ranks);
    if (row->y_local == KP_LAYOUT_CHANNEL)
        expect_same_class("out", full.y.dim[p.y_channel], p.y.dim[p.y_channel], ranks);
    if (row->weight_axis == KP_AXIS_ROWS)
        expect_same_class("rows", full.w.dim[0], p.w.dim[0], ranks);
    cr_expect(kp_problem_output(&p, p.x, p.w, &y, &err) == KP_OK && kp_shape_equal(y, p.y),
              "%s: %s", spec->layer, err.msg);
    cr_expect(memcmp(p.kernel, full.kernel, sizeof(p.kernel)) == 0 && p.groups <= full.groups &&
              (p.groups > 1) == (full.groups > 1));
    uint64_t limit = ranks > 8 || p.groups > 1 ? 100000 : 4096;
    cr_expect(largest(&p) <= limit, "%s, %s, %u ranks: %llu elements", spec->layer,
              kp_cut_names[row->cut], ranks, (unsigned long long)largest(&p));
}

Test(problem, reduction_keeps_degree_and_remainder)
{
    static const uint32_t ranks[] = {1, 2, 3, 4, 7, 8, 17, 32};
    for (size_t i = 0; i < KP_LEN(large_specs); i++)
        for (size_t r = 0; r < kp_shard_n_rows; r++)
            for (size_t n = 0; n < KP_LEN(ranks); n++)
                if (kp_shard_rows[r].op == large_specs[i].op)
                    expect_reduced(&large_specs[i], &kp_shard_rows[r], ranks[n]);
}

Test(problem, numbers_are_small_integers_of_seed_and_place)
{
    const kp_check_spec spec = {
        .op = KP_OP_MATMUL, .x = DIMS(64, 40000), .w = DIMS(40000, 8), .y = DIMS(64, 8)};
    kp_problem p;
    kp_data data, other;
    cr_assert(kp_problem_make(&spec, &p, NULL) == KP_OK &&
              kp_data_make(&p, 3, &data, NULL) == KP_OK &&
              kp_data_make(&p, 4, &other, NULL) == KP_OK);
    cr_expect(kp_problem_terms(&p) == 40000 && data.limit == 8);
    const kp_block whole = kp_block_make(p.w, KP_NO_AXIS, 0, 1);
    const uint64_t n = kp_block_elems(whole);
    float *a = malloc(n * sizeof(float)), *b = malloc(n * sizeof(float));
    cr_assert(a && b);
    kp_data_fill(&data, KP_DATA_W, whole, a);
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        cr_assert(a[i] == (float)(int)a[i] && a[i] >= -8 && a[i] <= 8);
        sum += (double)a[i];
    }
    cr_expect(sum / (double)n < 0.1 && sum / (double)n > -0.1, "mean %g", sum / (double)n);
    for (uint32_t me = 0; me < 3; me++) { /* a part has the whole's numbers */
        kp_block part = kp_block_make(p.w, p.w_out, me, 3);
        kp_data_fill(&data, KP_DATA_W, part, b);
        for (uint64_t i = 0; i < kp_block_elems(part); i++)
            cr_assert(b[i] == a[kp_runs_index(kp_block_runs(part), i)]);
    }
    kp_data_fill(&other, KP_DATA_W, whole, b);
    cr_expect(memcmp(a, b, n * sizeof(float)) != 0, "another seed, other numbers");
    free(a), free(b);
    const kp_check_spec endless = {
        .op = KP_OP_BIAS_ADD, .x = DIMS(1 << 24, 2), .w = DIMS(2), .y = DIMS(1 << 24, 2)};
    kp_err err = {0};
    cr_assert(kp_problem_make(&endless, &p, NULL) == KP_OK);
    cr_expect(kp_data_make(&p, 1, &data, &err) == KP_UNSUPPORTED &&
                  strstr(err.msg, "16777216 terms"),
              "%s", err.msg);
}
