/* SPDX-License-Identifier: MIT */
#include "proto/shape.h"
#include <criterion/criterion.h>

#define S(mask, ...)                                                                               \
    {.rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .per_sample = mask, .dim = {__VA_ARGS__}}

static const struct {
    kp_shape shape;
    uint64_t batch, elems; /* batch 0: not asked */
    bool known;
    const char *keras, *bound; /* bound: printed with batch */
} rows[] = {
    {{.rank = 0}, 32, 1, true, "()", "()"},
    {S(0, 7), 32, 7, true, "(7,)", "(7,)"},
    {S(1, 1, 224, 224, 3), 32, 32ull * 224 * 224 * 3, true, "(None, 224, 224, 3)", "(32, 224, 224, 3)"},
    {S(1, 512, 16), 4, 4ull * 512 * 16, true, "(None, 16)", "(2048, 16)"},
    {S(0, KP_DIM_OPEN, 3), 0, 0, false, "(None, 3)", "(None, 3)"},
    {S(1, 1, KP_DIM_OPEN, 3), 0, 0, false, "(None, None, 3)", "(None, None, 3)"},
    {S(0, 0, 9), 2, 0, true, "(0, 9)", "(0, 9)"},
    {S(0, 1ll << 40, 1ll << 40), 1, UINT64_MAX, true, "(1099511627776, 1099511627776)",
     "(1099511627776, 1099511627776)"},
    {S(1, 1ll << 40, 1), 1ull << 40, UINT64_MAX, true, "(None, 1)", "(18446744073709551615, 1)"},
    {S(0, 1, 2, 3, 4, 5, 6, 7, 8), 1, 40320, true, "(1, 2, 3, 4, 5, 6, 7, 8)", "(1, 2, 3, 4, 5, 6, 7, 8)"},
};

Test(shape, elements_and_text)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_shape s = rows[i].shape;
        cr_expect_eq(kp_shape_known(s), rows[i].known, "row %zu", i);
        if (rows[i].batch) cr_expect_eq(kp_shape_elems(s, rows[i].batch), rows[i].elems, "row %zu", i);
        cr_expect_str_eq(kp_shape_text(s, 0).s, rows[i].keras, "row %zu", i);
        if (rows[i].batch) cr_expect_str_eq(kp_shape_text(s, rows[i].batch).s, rows[i].bound, "row %zu", i);
        for (size_t j = 0; j < KP_LEN(rows); j++)
            cr_expect_eq(kp_shape_equal(s, rows[j].shape), i == j, "rows %zu and %zu", i, j);
    }
}

/* The longest text there is fits. */
Test(shape, longest_text)
{
    kp_shape s = {.rank = KP_RANK_MAX, .per_sample = 0xff};
    for (unsigned i = 0; i < KP_RANK_MAX; i++) s.dim[i] = INT64_MAX;
    kp_shape_str text = kp_shape_text(s, UINT64_MAX);
    cr_expect_lt(strlen(text.s), sizeof(text.s));
    s.per_sample = 0;
    text = kp_shape_text(s, 0);
    cr_expect_lt(strlen(text.s), sizeof(text.s));
}

static const struct {
    kp_shape shape;
    unsigned from, to;
    int64_t product;
} products[] = {
    {S(1, 1, 3, 4), 0, 3, 12},        {S(1, 1, 3, 4), 1, 2, 3},  {S(1, 1, 3, 4), 2, 9, 4},
    {S(1, 1, 3, 4), 2, 2, 1},         {S(0, 2, KP_DIM_OPEN, 4), 0, 3, KP_DIM_OPEN},
    {S(0, 2, KP_DIM_OPEN, 4), 2, 3, 4}, {S(0, 1ll << 40, 1ll << 40), 0, 2, INT64_MAX},
};

Test(shape, products)
{
    for (size_t i = 0; i < KP_LEN(products); i++)
        cr_expect_eq(kp_shape_product(products[i].shape, products[i].from, products[i].to),
                     products[i].product, "row %zu", i);
}

Test(shape, element_types)
{
    for (int i = 0; i < KP_DTYPE_COUNT; i++) {
        kp_dtype back = KP_DTYPE_COUNT;
        cr_expect(kp_dtype_from_name(kp_dtype_names[i], &back));
        cr_expect_eq(back, i);
        cr_expect(kp_dtype_bytes((kp_dtype)i) || i == KP_STRING, "%s", kp_dtype_names[i]);
        bool is_float = strstr(kp_dtype_names[i], "float") != NULL;
        cr_expect_eq(kp_dtype_is_float((kp_dtype)i), is_float, "%s", kp_dtype_names[i]);
    }
    kp_dtype dtype;
    cr_expect_not(kp_dtype_from_name("float31", &dtype));
    cr_expect_eq(kp_dtype_bytes(KP_BFLOAT16), 2);
}
