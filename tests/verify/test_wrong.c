/* SPDX-License-Identifier: MIT
 *
 * A row of the shard table that is not true must fail: rows named here one by one, and every row
 * with every single field changed. */
#include "tests/verify/ranks.h"
#include <criterion/criterion.h>

/* The check of one op under one cut with sizes that three ranks divide, or not. */
static kp_check_spec spec_of(kp_op op, kp_cut cut, bool even, uint32_t ranks)
{
    const int64_t b = even ? 6 : 7, in = even ? 9 : 8, out = even ? 12 : 11;
    kp_check_spec s = {
        .layer = "layer", .op = op, .cut = cut, .ranks = kp_test_group(), .n_ranks = ranks};
    switch (op) {
    case KP_OP_MATMUL:
        s.x = SHAPE(b, in), s.w = SHAPE(in, out), s.y = SHAPE(b, out);
        break;
    case KP_OP_CONV:
        s.x = SHAPE(b, 5, 4, in), s.w = SHAPE(2, 2, in, out), s.y = SHAPE(b, 4, 3, out);
        s.kernel[0] = s.kernel[1] = 2;
        break;
    case KP_OP_GATHER:
        s.x = SHAPE(b, 5), s.w = SHAPE(2 * in, out), s.y = SHAPE(b, 5, out);
        break;
    default:
        s.x = s.y = SHAPE(b, 2, out);
        if (op == KP_OP_BIAS_ADD) s.w = SHAPE(out);
        break;
    }
    return s;
}

/* Runs one row in place of the table's; the worst of forward and backward. */
static kp_check_state run_row(kp_shard_row row, bool even, uint32_t ranks, kp_arena *arena,
                              const char **ret_message)
{
    const kp_check_spec spec = spec_of(row.op, row.cut, even, ranks);
    kp_test_run run = {.specs = &spec, .n_specs = 1, .n_ranks = ranks, .rows = &row, .n_rows = 1};
    kp_wire_run_result result;
    kp_test_threads(&run, arena, &result);
    *ret_message = kp_test_message(&result);
    cr_assert(result.n_checks == 2);
    for (int state = KP_CHECK_STATE_COUNT - 1; state > 0; state--)
        if (kp_test_count(&result, (kp_check_state)state) > 0 && state != KP_CHECK_FAILED)
            return (kp_check_state)state;
    return kp_test_count(&result, KP_CHECK_FAILED) ? KP_CHECK_FAILED : KP_CHECK_OK;
}

/* The fields of a row that say something. */
typedef enum field { X, Y_LOCAL, Y, AXIS, FORWARD, BACKWARD, GRAD, FIELD_COUNT } field;

static kp_shard_row with(kp_shard_row row, field at, int value)
{
    switch (at) {
    case X:
        row.x = (kp_layout)value;
        break;
    case Y_LOCAL:
        row.y_local = (kp_layout)value;
        break;
    case Y:
        row.y = (kp_layout)value;
        break;
    case AXIS:
        row.weight_axis = (int8_t)value;
        break;
    case FORWARD:
        row.forward = (kp_coll)value;
        break;
    case BACKWARD:
        row.backward = (kp_coll)value;
        break;
    default:
        row.weight_grad = (kp_coll)value;
        break;
    }
    return row;
}

typedef struct wrong_row {
    const char *what;
    kp_op op;
    kp_cut cut;
    field at;
    int value;
    const char *says;
} wrong_row;

Test(wrong, named_rows_fail)
{
    static const wrong_row rows[] = {
        {"terms are not added", KP_OP_MATMUL, KP_CUT_ROW, FORWARD, KP_COLL_NONE, "y("},
        {"input gradients are not added", KP_OP_MATMUL, KP_CUT_COLUMN, BACKWARD, KP_COLL_NONE,
         "the gradient of x("},
        {"weight gradients are not added", KP_OP_CONV, KP_CUT_BATCH, GRAD, KP_COLL_NONE,
         "the gradient of the weight("},
        {"a sum too many", KP_OP_MATMUL, KP_CUT_BATCH, BACKWARD, KP_COLL_ALL_REDUCE,
         "the gradient of x"},
        {"the wrong axis", KP_OP_MATMUL, KP_CUT_COLUMN, AXIS, KP_AXIS_IN, "layout 'channel'"},
        {"the output is not gathered", KP_OP_CONV, KP_CUT_COLUMN_GATHER, FORWARD, KP_COLL_NONE,
         "cannot become"},
        {"the table is not divided", KP_OP_GATHER, KP_CUT_VOCAB, AXIS, KP_AXIS_WHOLE, "y("},
        {"the slice is not gathered", KP_OP_MATMUL, KP_CUT_ROW_SLICE, BACKWARD, KP_COLL_NONE,
         "the gradient of x"},
        {"the bias of all for some", KP_OP_BIAS_ADD, KP_CUT_COLUMN, AXIS, KP_AXIS_WHOLE,
         "channels"},
    };
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++)
        for (int even = 0; even < 2; even++) {
            const wrong_row *r = &rows[i];
            const char *message;
            kp_shard_row row = with(*kp_shard_find(r->op, r->cut), r->at, r->value);
            kp_check_state state = run_row(row, even, 3, &arena, &message);
            cr_expect(state == KP_CHECK_FAILED && strstr(message, r->says), "row %zu, %s: %s: '%s'",
                      i, r->what, kp_check_state_names[state], message);
        }
    kp_arena_release(&arena);
}

/* True if a layout says nothing else of what a rank holds. */
static bool same_layout(kp_layout a, kp_layout b)
{
    bool a_whole = a == KP_LAYOUT_WHOLE || a == KP_LAYOUT_PARTIAL;
    bool b_whole = b == KP_LAYOUT_WHOLE || b == KP_LAYOUT_PARTIAL;
    return a == b || (a_whole && b_whole);
}

/* True if the change leaves a row that is as true as the old one. */
static bool harmless(const kp_shard_row *a, const kp_shard_row *b)
{
    bool learns = a->op != KP_OP_RELU, has_dx = a->op != KP_OP_GATHER;
    bool dx_dw =
        (!has_dx || a->backward == b->backward) && (!learns || a->weight_grad == b->weight_grad);
    bool axis = !learns || a->weight_axis == b->weight_axis;
    return same_layout(a->x, b->x) && same_layout(a->y_local, b->y_local) &&
           same_layout(a->y, b->y) && a->forward == b->forward && dx_dw && axis;
}

/* Runs a changed row; it must end, and be ok only if nothing was changed that counts. */
static void expect_caught(const kp_shard_row *row, kp_shard_row other, kp_arena *arena)
{
    const char *message;
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_check_state state = run_row(other, true, 3, arena, &message);
    bool ok = harmless(row, &other) ? state == KP_CHECK_OK : state == KP_CHECK_FAILED;
    cr_expect(ok, "%s %s: x %s, y %s -> %s, axis %d, %s %s %s: %s: '%s'", kp_op_names[row->op],
              kp_cut_names[row->cut], kp_layout_names[other.x], kp_layout_names[other.y_local],
              kp_layout_names[other.y], other.weight_axis, kp_coll_names[other.forward],
              kp_coll_names[other.backward], kp_coll_names[other.weight_grad],
              kp_check_state_names[state], message);
    kp_arena_rewind(arena, mark);
}

Test(wrong, every_changed_field_is_caught)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < kp_shard_n_rows; i++) {
        const kp_shard_row *row = &kp_shard_rows[i];
        if (!kp_host_covers(row->op)) continue;
        for (field at = X; at < FIELD_COUNT; at++) {
            int from = at == AXIS ? KP_AXIS_ROWS : 0;
            int to = at == AXIS ? KP_AXIS_WHOLE : at <= Y ? KP_LAYOUT_COUNT - 1 : KP_COLL_SLICE;
            for (int v = from; v <= to; v++) expect_caught(row, with(*row, at, v), &arena);
        }
    }
    kp_arena_release(&arena);
}
