/* SPDX-License-Identifier: MIT */
#include "proto/status.h"
#include <criterion/criterion.h>

/* The contract's table of exit codes. */
static const struct {
    kp_status status;
    const char *name;
    int exit_code;
} rows[] = {
    {KP_OK, "OK", 0},
    {KP_INTERNAL, "INTERNAL", 1},
    {KP_INFEASIBLE, "INFEASIBLE", 2},
    {KP_UNSUPPORTED, "UNSUPPORTED", 3},
    {KP_CONFLICT, "CONFLICT", 4},
    {KP_UNREACHABLE, "UNREACHABLE", 5},
    {KP_VERIFY_FAILED, "VERIFY_FAILED", 6},
    {KP_INCONCLUSIVE, "INCONCLUSIVE", 7},
    {KP_USAGE, "USAGE", 64},
    {KP_INPUT, "INPUT", 65},
    {KP_LOST, "LOST", 69},
    {KP_STORE, "STORE", 70},
    {KP_RETRY, "RETRY", 75},
    {KP_INTERRUPTED, "INTERRUPTED", 130},
    {KP_NOMEM, "NOMEM", 1},
    {KP_IO, "IO", 1},
};

Test(status, names_and_exit_codes)
{
    cr_expect_eq(KP_LEN(rows), KP_STATUS_COUNT);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        cr_expect_str_eq(kp_status_name(rows[i].status), rows[i].name);
        cr_expect_eq(kp_status_exit(rows[i].status), rows[i].exit_code, "%s", rows[i].name);
        cr_expect_eq(kp_status_from_name(rows[i].name), rows[i].status, "%s", rows[i].name);
        cr_expect(kp_status_text(rows[i].status)[0]);
    }
    cr_expect_eq(kp_status_from_name("nothing"), KP_INTERNAL);
    cr_expect_str_eq(kp_status_name((kp_status)9999), "INTERNAL");
    cr_expect_eq(kp_status_exit((kp_status)-1), 1);
}

Test(status, places_are_put_in_front)
{
    kp_err err = {0};
    cr_expect_eq(kp_fail(&err, KP_INPUT, "'units' is %d", -1), KP_INPUT);
    kp_hint(&err, "try %d", 1);
    kp_err_at(&err, "layer '%s'", "dense");
    kp_err_at(&err, "model.json");
    cr_expect_str_eq(err.where, "model.json: layer 'dense'");
    cr_expect_str_eq(err.msg, "'units' is -1");
    cr_expect_str_eq(err.hint, "try 1");
    kp_fail(&err, KP_USAGE, "other");
    cr_expect(!err.where[0] && !err.hint[0] && err.code == KP_USAGE, "a new failure has a new place");
    cr_expect_eq(kp_fail(NULL, KP_IO, "dropped"), KP_IO);
    kp_err_at(NULL, "x");
    kp_hint(NULL, "x");
}

/* Long places and messages are cut, whatever their length. */
Test(status, long_texts_are_cut)
{
    char long_text[1000];
    for (size_t len = 0; len < sizeof(long_text) - 1; len += 37) {
        memset(long_text, 'x', len);
        long_text[len] = 0;
        kp_err err;
        memset(&err, 'z', sizeof(err));
        kp_fail(&err, KP_INPUT, "%s", long_text);
        kp_hint(&err, "%s", long_text);
        for (int i = 0; i < 3; i++) kp_err_at(&err, "%d%s", i, long_text);
        cr_expect(memchr(err.msg, 0, sizeof(err.msg)) && memchr(err.hint, 0, sizeof(err.hint)));
        cr_expect(memchr(err.where, 0, sizeof(err.where)));
        cr_expect_eq(err.where[0], '2', "the outermost place stays");
    }
}
