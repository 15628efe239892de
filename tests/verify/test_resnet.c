/* SPDX-License-Identifier: MIT
 *
 * The weighty layers of ResNet-50 (He et al. 2016, table 1) on 32 ranks of four agents, as the plan
 * of a 4 x 8 GPU cluster would check them: all under the batch cut of 32 ranks, and the last ones
 * also under tensor cuts of 8. The run's own deadline is the requirement: all must be done in 20 s.
 */
#include "tests/verify/agents.h"
#include <criterion/criterion.h>

enum { RANKS = 32, BATCH = 64, SPECS_MAX = 200 };

typedef struct list {
    kp_check_spec specs[SPECS_MAX];
    uint32_t n;
} list;

static kp_check_spec *add(list *l, kp_op op, kp_cut cut, uint32_t ranks)
{
    cr_assert(l->n < SPECS_MAX);
    kp_check_spec *s = &l->specs[l->n++];
    *s = (kp_check_spec){
        .layer = "layer", .op = op, .cut = cut, .ranks = kp_test_group(), .n_ranks = ranks};
    return s;
}

/* A convolution, its bias and its relu. */
static void conv(list *l, int64_t size, int64_t in, int64_t out, uint32_t kernel, uint32_t stride,
                 kp_cut cut, uint32_t ranks)
{
    int64_t to = (size + stride - 1) / stride;
    kp_check_spec *s = add(l, KP_OP_CONV, cut, ranks);
    s->x = SHAPE(BATCH, size, size, in), s->w = SHAPE(kernel, kernel, in, out),
    s->y = SHAPE(BATCH, to, to, out);
    s->kernel[0] = s->kernel[1] = kernel, s->strides[0] = s->strides[1] = stride;
    s->same_padding = true;
    if (cut != KP_CUT_BATCH && cut != KP_CUT_COLUMN) return;
    s = add(l, KP_OP_BIAS_ADD, cut, ranks);
    s->x = s->y = SHAPE(BATCH, to, to, out), s->w = SHAPE(out);
    s = add(l, KP_OP_RELU, cut, ranks);
    s->x = s->y = SHAPE(BATCH, to, to, out);
}

static void resnet50(list *l)
{
    static const int64_t stages[4][3] = {{56, 64, 1}, {28, 128, 2}, {14, 256, 2}, {7, 512, 2}};
    conv(l, 224, 3, 64, 7, 2, KP_CUT_BATCH, RANKS);
    for (int i = 0; i < 4; i++) {
        int64_t size = stages[i][0], mid = stages[i][1];
        uint32_t stride = (uint32_t)stages[i][2];
        conv(l, size * stride, i == 0 ? 64 : mid * 2, mid, 1, stride, KP_CUT_BATCH, RANKS);
        conv(l, size * stride, i == 0 ? 64 : mid * 2, mid * 4, 1, stride, KP_CUT_BATCH, RANKS);
        conv(l, size, mid * 4, mid, 1, 1, KP_CUT_BATCH, RANKS);
        conv(l, size, mid, mid, 3, 1, KP_CUT_BATCH, RANKS);
        conv(l, size, mid, mid * 4, 1, 1, KP_CUT_BATCH, RANKS);
        conv(l, size, mid, mid, 3, 1, KP_CUT_COLUMN, 8);
        conv(l, size, mid, mid * 4, 1, 1, KP_CUT_ROW, 8);
    }
    kp_check_spec *s = add(l, KP_OP_MATMUL, KP_CUT_COLUMN_GATHER, 8);
    s->x = SHAPE(BATCH, 2048), s->w = SHAPE(2048, 1000), s->y = SHAPE(BATCH, 1000);
}

Test(resnet, on_32_ranks_within_20_s)
{
    list *l = calloc(1, sizeof(*l));
    resnet50(l);
    kp_test_agents agents;
    kp_test_agents_open(&agents, 4, 8);
    kp_wire_run run = kp_test_run_message(&agents, l->specs, l->n, 20);
    kp_test_agents_start(&agents, &run);
    kp_test_agents_wait(&agents, 30);
    const kp_wire_run_result *first = &agents.results[0];
    cr_expect(first->n_checks == 2 * l->n && !first->failure && first->reduced, "%s",
              first->failure);
    cr_expect(kp_test_count(first, KP_CHECK_OK) == 2 * l->n, "%s", kp_test_message(first));
    kp_test_agents_close(&agents);
    free(l);
}
