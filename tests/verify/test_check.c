/* SPDX-License-Identifier: MIT
 *
 * Every op x cut x group size x even and uneven sizes passes; a wrong row of the table fails. */
#include "tests/verify/ranks.h"
#include <criterion/criterion.h>

/* One layer; which of its sizes are even for 2 and 4 ranks and which are not is in the text. */
typedef struct layer {
    const char *what;
    kp_check_spec spec;
} layer;

/* clang-format off */
static const layer layers[] = {
    {"dense, even", {.op = KP_OP_MATMUL, .x = DIMS(8, 16), .w = DIMS(16, 24), .y = DIMS(8, 24)}},
    {"dense, uneven", {.op = KP_OP_MATMUL, .x = DIMS(7, 13), .w = DIMS(13, 11), .y = DIMS(7, 11)}},
    {"dense, fewer samples than ranks",
     {.op = KP_OP_MATMUL, .x = DIMS(2, 13), .w = DIMS(13, 3), .y = DIMS(2, 3)}},
    {"dense over steps",
     {.op = KP_OP_MATMUL, .x = DIMS(4, 5, 12), .w = DIMS(12, 8), .y = DIMS(4, 5, 8)}},
    {"projection to heads",
     {.op = KP_OP_MATMUL, .x = DIMS(4, 5, 12), .w = DIMS(12, 6, 3), .y = DIMS(4, 5, 6, 3)}},
    {"projection of heads",
     {.op = KP_OP_MATMUL, .x = DIMS(4, 5, 6, 3), .w = DIMS(6, 3, 12), .y = DIMS(4, 5, 12)}},
    {"tied table", {.op = KP_OP_MATMUL, .x = DIMS(4, 12), .w = DIMS(30, 12), .y = DIMS(4, 30)}},
    {"conv2d valid",
     {.op = KP_OP_CONV, .x = DIMS(4, 7, 6, 8), .w = DIMS(3, 3, 8, 12), .y = DIMS(4, 5, 4, 12),
      .kernel = {3, 3}, .strides = {1, 1}}},
    {"conv2d same, strides, uneven",
     {.op = KP_OP_CONV, .x = DIMS(5, 7, 8, 5), .w = DIMS(3, 2, 5, 7), .y = DIMS(5, 4, 3, 7),
      .kernel = {3, 2}, .strides = {2, 3}, .same_padding = true}},
    {"conv2d channels first",
     {.op = KP_OP_CONV, .x = DIMS(4, 8, 7, 6), .w = DIMS(3, 3, 8, 9), .y = DIMS(4, 9, 5, 4),
      .kernel = {3, 3}, .strides = {1, 1}, .channels_first = true}},
    {"conv2d groups",
     {.op = KP_OP_CONV, .x = DIMS(4, 5, 5, 6), .w = DIMS(3, 3, 2, 12), .y = DIMS(4, 5, 5, 12),
      .kernel = {3, 3}, .strides = {1, 1}, .groups = 3, .same_padding = true}},
    {"conv1d dilated",
     {.op = KP_OP_CONV, .x = DIMS(4, 11, 6), .w = DIMS(3, 6, 5), .y = DIMS(4, 7, 5),
      .kernel = {3}, .strides = {1}, .dilation = {2}}},
    {"conv3d",
     {.op = KP_OP_CONV, .x = DIMS(2, 4, 5, 3, 4), .w = DIMS(2, 3, 1, 4, 6),
      .y = DIMS(2, 3, 3, 3, 6), .kernel = {2, 3, 1}, .strides = {1, 1, 1}}},
    {"embedding",
     {.op = KP_OP_GATHER, .x = DIMS(6, 5), .w = DIMS(37, 10), .y = DIMS(6, 5, 10)}},
    {"embedding of one index",
     {.op = KP_OP_GATHER, .x = DIMS(9), .w = DIMS(8, 4), .y = DIMS(9, 4)}},
    {"bias", {.op = KP_OP_BIAS_ADD, .x = DIMS(6, 5, 7), .w = DIMS(7), .y = DIMS(6, 5, 7)}},
    {"bias channels first",
     {.op = KP_OP_BIAS_ADD, .x = DIMS(6, 8, 5, 2), .w = DIMS(8), .y = DIMS(6, 8, 5, 2),
      .channels_first = true}},
    {"bias of heads",
     {.op = KP_OP_BIAS_ADD, .x = DIMS(6, 5, 4, 3), .w = DIMS(4, 3), .y = DIMS(6, 5, 4, 3)}},
    {"relu", {.op = KP_OP_RELU, .x = DIMS(6, 5, 7), .y = DIMS(6, 5, 7)}},
};
/* clang-format on */

/* All cuts of a layer that the table has, as specs of one run. */
static uint32_t all_cuts(const layer *of, uint32_t ranks, kp_check_spec *ret)
{
    uint32_t n = 0;
    for (size_t i = 0; i < kp_shard_n_rows; i++) {
        if (kp_shard_rows[i].op != of->spec.op) continue;
        ret[n] = of->spec;
        ret[n].layer = of->what;
        ret[n].cut = kp_shard_rows[i].cut;
        ret[n].ranks = kp_test_group();
        ret[n].n_ranks = ranks;
        n++;
    }
    return n;
}

Test(check, every_cut_is_the_layer)
{
    for (uint32_t ranks = 1; ranks <= 4; ranks++) {
        kp_check_spec specs[32 * 8];
        uint32_t n_specs = 0;
        for (size_t i = 0; i < KP_LEN(layers); i++)
            n_specs += all_cuts(&layers[i], ranks, specs + n_specs);
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_wire_run_result result;
        kp_test_run run = {.specs = specs, .n_specs = n_specs, .n_ranks = ranks};
        kp_test_threads(&run, &arena, &result);
        cr_assert(result.n_checks == 2 * n_specs && !result.failure, "%u ranks: %s", ranks,
                  result.failure);
        cr_expect(!result.reduced);
        for (uint32_t i = 0; i < result.n_checks; i++) {
            const kp_check *row = &result.checks[i];
            bool grouped =
                specs[i / 2].groups > 1 && (row->cut == KP_CUT_ROW || row->cut == KP_CUT_ROW_SLICE);
            cr_expect(row->state == (grouped ? KP_CHECK_NOT_COVERED : KP_CHECK_OK),
                      "%u ranks: %s, %s, %s: %s", ranks, row->layer, kp_cut_names[row->cut],
                      kp_direction_names[row->direction], row->message);
            if (!grouped)
                cr_expect(row->peak_bytes_measured >= row->peak_bytes_predicted &&
                              row->peak_bytes_predicted > 0,
                          "%s, %s: %llu bytes measured, %llu predicted", row->layer,
                          kp_cut_names[row->cut], (unsigned long long)row->peak_bytes_measured,
                          (unsigned long long)row->peak_bytes_predicted);
        }
        kp_arena_release(&arena);
    }
}

Test(check, every_failed_allocation_is_a_status)
{
    const kp_check_spec specs[2] = {
        {.layer = "a",
         .op = KP_OP_MATMUL,
         .cut = KP_CUT_COLUMN_GATHER,
         .x = DIMS(4, 6),
         .w = DIMS(6, 5),
         .y = DIMS(4, 5),
         .ranks = kp_test_group(),
         .n_ranks = 2},
        {.layer = "b",
         .op = KP_OP_SOFTMAX,
         .cut = KP_CUT_BATCH,
         .x = DIMS(4, 6),
         .y = DIMS(4, 6),
         .ranks = kp_test_group(),
         .n_ranks = 1},
    };
    kp_test_run run = {.specs = specs, .n_specs = 2, .n_ranks = 2, .deadline_s = 5};
    bool failed = true;
    for (uint32_t n = 1; failed && n < 200; n++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_wire_run_result result = {0};
        run.fail_call = n;
        kp_status status = kp_test_threads(&run, &arena, &result);
        failed = arena.calls >= arena.fail_call;
        cr_expect(status == KP_OK || status == KP_NOMEM, "allocation %u: %d", n, status);
        if (!failed)
            cr_expect(status == KP_OK && kp_test_count(&result, KP_CHECK_OK) == 2 &&
                          !result.failure,
                      "%u: %s", n, kp_test_message(&result));
        cr_expect(kp_test_count(&result, KP_CHECK_FAILED) == 0, "allocation %u", n);
        kp_arena_release(&arena);
    }
    cr_expect(!failed);
}
