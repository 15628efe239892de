/* SPDX-License-Identifier: MIT */
#include "planner/serve/book.h"

#include <criterion/criterion.h>

/* Adds lease `id` of GPUs "g<first>".. and tells the status. */
static kp_status add(kp_book *book, const char *id, unsigned first, unsigned n, double deadline_s,
                     bool pending, kp_err *err)
{
    char names[8][8];
    const char *gpus[8];
    for (unsigned i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "g%u", first + i);
        gpus[i] = names[i];
    }
    const kp_lease lease = {.id = id, .plan = "pl_1", .owner = "ann", .gpus = gpus, .n_gpus = n};
    return kp_book_add(book, &lease, 10, deadline_s, pending, err);
}

Test(book, a_gpu_has_one_holder)
{
    kp_book book = {0};
    kp_err err = {0};
    cr_assert_eq(add(&book, "ls_1", 0, 4, 10, false, &err), KP_OK);
    cr_assert_eq(add(&book, "ls_2", 6, 2, 20, true, &err), KP_OK);
    cr_expect_eq(add(&book, "ls_3", 3, 3, 30, false, &err), KP_CONFLICT);
    cr_expect_str_eq(err.msg, "GPU 'g3' is in lease 'ls_1' of 'ann'");
    cr_expect_eq(add(&book, "ls_3", 7, 1, 30, false, &err), KP_CONFLICT, "a pending one holds too");
    static const struct {
        const char *gpu, *holder;
    } rows[] = {{"g0", "ls_1"}, {"g3", "ls_1"}, {"g4", NULL}, {"g5", NULL}, {"g6", "ls_2"},
                {"g7", "ls_2"}, {"g8", NULL},   {"", NULL},   {"z", NULL}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const kp_book_lease *holder = kp_book_holder(&book, rows[i].gpu);
        cr_expect_eq(holder != NULL, rows[i].holder != NULL, "%s", rows[i].gpu);
        if (holder && rows[i].holder) cr_expect_str_eq(holder->id, rows[i].holder);
    }
    kp_book_remove(&book, kp_book_find(&book, "ls_1"));
    cr_expect_null(kp_book_find(&book, "ls_1"));
    cr_expect_eq(add(&book, "ls_3", 3, 3, 30, false, &err), KP_OK);
    cr_expect_str_eq(kp_book_holder(&book, "g3")->id, "ls_3");
    kp_book_release(&book);
}

Test(book, leases_end_in_time)
{
    kp_book book = {0};
    cr_assert_eq(add(&book, "ls_1", 0, 1, 10, false, NULL), KP_OK);
    cr_assert_eq(add(&book, "ls_2", 1, 1, 20, false, NULL), KP_OK);
    cr_assert_eq(add(&book, "ls_3", 2, 1, 5, true, NULL), KP_OK);
    cr_expect_null(kp_book_due(&book, 9));
    cr_expect_null(kp_book_due(&book, 9.9), "pending ones do not end");
    cr_expect_str_eq(kp_book_due(&book, 10)->id, "ls_1");
    kp_book_find(&book, "ls_1")->changing = 1;
    cr_expect_null(kp_book_due(&book, 15), "nor do those that are being renewed");
    kp_book_find(&book, "ls_1")->changing = 0;
    kp_book_find(&book, "ls_1")->again_s = 16;
    cr_expect_null(kp_book_due(&book, 15), "nor those that the store refused a moment ago");
    kp_book_remove(&book, kp_book_due(&book, 16));
    cr_expect_null(kp_book_due(&book, 19));
    kp_book_release(&book);
}

Test(book, fences_only_rise)
{
    kp_book book = {0};
    static const char *const gpus[] = {"m", "a", "z", "k", "b"};
    for (uint64_t i = 0; i < KP_LEN(gpus); i++)
        cr_assert_eq(kp_book_fence_put(&book, gpus[i], 10 + i, NULL), KP_OK);
    cr_assert_eq(kp_book_fence_put(&book, "k", 5, NULL), KP_OK);
    cr_assert_eq(kp_book_fence_put(&book, "b", 50, NULL), KP_OK);
    static const uint64_t want[] = {10, 11, 12, 13, 50};
    for (size_t i = 0; i < KP_LEN(gpus); i++)
        cr_expect_eq(kp_book_fence_of(&book, gpus[i]), want[i], "%s", gpus[i]);
    cr_expect_eq(kp_book_fence_of(&book, "c"), 0);
    kp_book_release(&book);
}
