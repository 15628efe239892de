/* SPDX-License-Identifier: MIT */
#include "proto/num.h"
#include "proto/text.h"
#include <criterion/criterion.h>
#include <math.h>

/* ---- numbers with units ---- */

static const struct {
    const char *text;
    uint64_t bytes; /* UINT64_MAX: refused */
} size_rows[] = {
    {"0", 0},
    {"1", 1},
    {"512B", 512},
    {"80G", 80ull << 30},
    {"80GiB", 80ull << 30},
    {"80GB", 80000000000},
    {"1.5G", 3ull << 29},
    {".5K", 512},
    {"256MiB", 256ull << 20},
    {"2T", 2ull << 40},
    {"1TB", 1000000000000},
    {"1048576T", 1ull << 60},
    {"1048577T", UINT64_MAX},
    {"", UINT64_MAX},
    {"G", UINT64_MAX},
    {"-1G", UINT64_MAX},
    {"80 G", UINT64_MAX},
    {" 80G", UINT64_MAX},
    {"80g", UINT64_MAX},
    {"80GBs", UINT64_MAX},
    {"0x10", UINT64_MAX},
    {"inf", UINT64_MAX},
    {"nan", UINT64_MAX},
    {"1e999", UINT64_MAX},
    {"80G80G", UINT64_MAX},
};

static const struct {
    const char *text;
    double s; /* NaN: refused */
} duration_rows[] = {
    {"500ms", .5}, {"10s", 10}, {"5m", 300}, {"5min", 300}, {"2h", 7200}, {"14d", 1209600}, {"0s", 0},
    {"1.5h", 5400}, {"10", NAN}, {"s", NAN}, {"", NAN}, {"-1s", NAN}, {"1y", NAN}, {"1e20s", NAN},
    {"10s ", NAN}, {"infs", NAN},
};

Test(text, sizes_and_durations)
{
    for (size_t i = 0; i < KP_LEN(size_rows); i++) {
        uint64_t bytes = UINT64_MAX;
        kp_err err = {0};
        kp_status status = kp_parse_size(size_rows[i].text, &bytes, &err);
        cr_expect_eq(status, size_rows[i].bytes == UINT64_MAX ? KP_USAGE : KP_OK, "'%s'", size_rows[i].text);
        cr_expect_eq(bytes, size_rows[i].bytes, "'%s': %llu", size_rows[i].text, (unsigned long long)bytes);
        if (status != KP_OK) cr_expect(strstr(err.msg, "is not a size"), "%s", err.msg);
    }
    for (size_t i = 0; i < KP_LEN(duration_rows); i++) {
        double s = NAN;
        kp_err err = {0};
        kp_status status = kp_parse_duration(duration_rows[i].text, &s, &err);
        cr_expect_eq(status, isnan(duration_rows[i].s) ? KP_USAGE : KP_OK, "'%s'", duration_rows[i].text);
        cr_expect(s == duration_rows[i].s || (isnan(s) && status != KP_OK), "'%s': %g", duration_rows[i].text, s);
        if (status != KP_OK) cr_expect(strstr(err.msg, "is not a duration"), "%s", err.msg);
    }
}

static const struct {
    const char *text;
    uint64_t min, max;
    bool ok;
    uint64_t n;
} whole_rows[] = {
    {"0", 0, 9, true, 0}, {"9", 0, 9, true, 9}, {"10", 0, 9, false, 0}, {"0", 1, 9, false, 0},
    {"18446744073709551615", 0, UINT64_MAX, true, UINT64_MAX},
    {"18446744073709551616", 0, UINT64_MAX, false, 0}, {"", 0, 9, false, 0}, {"+1", 0, 9, false, 0},
    {"-1", 0, UINT64_MAX, false, 0}, {" 1", 0, 9, false, 0}, {"1 ", 0, 9, false, 0},
    {"1.0", 0, 9, false, 0}, {"0x1", 0, 9, false, 0}, {"1e1", 0, 99, false, 0}, {"007", 0, 9, true, 7},
};

static const struct {
    const char *text;
    bool ok;
    double n;
} real_rows[] = {
    {"0.5", true, .5}, {"-1", true, -1}, {"1e2", true, 100}, {"101", false, 0}, {"-2", false, 0},
    {"nan", false, 0}, {"inf", false, 0}, {"1e999", false, 0}, {"0x1p3", false, 0}, {"1 ", false, 0},
    {"", false, 0}, {".", false, 0}, {"-", false, 0},
};

Test(text, numbers)
{
    for (size_t i = 0; i < KP_LEN(whole_rows); i++) {
        uint64_t n = 0;
        kp_status status = kp_parse_u64(whole_rows[i].text, whole_rows[i].min, whole_rows[i].max, &n, NULL);
        cr_expect(status == (whole_rows[i].ok ? KP_OK : KP_USAGE) && n == whole_rows[i].n, "'%s'",
                  whole_rows[i].text);
    }
    for (size_t i = 0; i < KP_LEN(real_rows); i++) {
        double n = 0;
        kp_status status = kp_parse_f64(real_rows[i].text, -1, 100, &n, NULL);
        cr_expect(status == (real_rows[i].ok ? KP_OK : KP_USAGE) && n == real_rows[i].n, "'%s'",
                  real_rows[i].text);
    }
}

Test(text, numbers_to_text)
{
    const struct {
        kp_short text;
        const char *want;
    } rows[] = {
        {kp_size_text(0), "0 B"}, {kp_size_text(1023), "1023 B"}, {kp_size_text(1024), "1.0 KiB"},
        {kp_size_text(1048575), "1.0 MiB"}, {kp_size_text(84934656000), "79.1 GiB"},
        {kp_size_text(UINT64_MAX), "16.0 EiB"}, {kp_gib_text(84934656000), "79.1"},
        {kp_seconds_text(1.23e-5), "12.3 us"}, {kp_seconds_text(.00456), "4.56 ms"},
        {kp_seconds_text(.412), "0.412 s"}, {kp_seconds_text(90), "90.000 s"},
        {kp_seconds_text(305), "5 min 05 s"}, {kp_seconds_text(3599.8), "1 h 00 min"},
        {kp_seconds_text(7500), "2 h 05 min"}, {kp_seconds_text(NAN), "unknown"},
        {kp_count_text(0), "0"}, {kp_count_text(999), "999"}, {kp_count_text(1000), "1,000"},
        {kp_count_text(4194304), "4,194,304"}, {kp_count_text(UINT64_MAX), "18,446,744,073,709,551,615"},
        {kp_flops_text(4.1e9), "4.1 GFLOP"}, {kp_flops_text(0), "0 FLOP"}, {kp_flops_text(999.6), "1 KFLOP"},
        {kp_flops_text(1e30), "1e+12 EFLOP"}, {kp_flops_text(NAN), "unknown"},
        {kp_double_text(0), "0"}, {kp_double_text(-0.0), "0"}, {kp_double_text(.1), "0.1"},
        {kp_double_text(1. / 3), "0.3333333333333333"}, {kp_double_text(-2.5), "-2.5"},
        {kp_double_text(1e15), "1e+15"}, {kp_double_text(123456789012345), "123456789012345"},
        {kp_double_text(5e-324), "4.94065645841247e-324"},
        {kp_time_text(0), "1970-01-01T00:00:00Z"}, {kp_time_text(1795377851000), "2026-11-22T20:04:11Z"},
        {kp_time_text(951782400999), "2000-02-29T00:00:00Z"}, {kp_time_text(-1000), "1969-12-31T23:59:59Z"},
        {kp_time_text(4107542399000), "2100-02-28T23:59:59Z"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++)
        cr_expect_str_eq(rows[i].text.s, rows[i].want, "row %zu: '%s'", i, rows[i].text.s);
}

Test(text, doubles_read_back_equal)
{
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = random ^ random >> 29;
        double v;
        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v)) continue;
        kp_short text = kp_double_text(v);
        cr_expect_eq(strtod(text.s, NULL), v, "%s", text.s);
    }
}

/* ---- growing text ---- */

Test(text, buffer)
{
    kp_buf buf;
    kp_buf_init(&buf, 0);
    cr_expect_str_eq(kp_buf_text(&buf), "");
    kp_buf_str(&buf, "ab");
    kp_buf_char(&buf, 'c');
    kp_buf_pad(&buf, '-', 3);
    kp_buf_add(&buf, "xyz", 2);
    kp_buf_add(&buf, NULL, 0);
    kp_buf_fmt(&buf, "%d%%", 7);
    cr_expect_str_eq(kp_buf_text(&buf), "abc---xy7%");
    cr_expect_eq(buf.len, 10);
    for (int i = 0; i < 10000; i++) kp_buf_fmt(&buf, "%d,", i);
    cr_expect(kp_buf_check(&buf, NULL) == KP_OK && buf.data[buf.len] == 0);
    kp_buf_clear(&buf);
    cr_expect_str_eq(kp_buf_text(&buf), "");
    kp_buf_release(&buf);
    kp_buf_release(&buf);
}

Test(text, buffer_limit_sticks)
{
    for (int how = 0; how < 4; how++) {
        kp_buf buf;
        kp_buf_init(&buf, 10);
        kp_buf_str(&buf, "1234567890");
        cr_expect_eq(kp_buf_check(&buf, NULL), KP_OK, "exactly the limit");
        if (how == 0) kp_buf_char(&buf, 'x');
        else if (how == 1) kp_buf_pad(&buf, 'x', SIZE_MAX);
        else if (how == 2) kp_buf_fmt(&buf, "%d", 5);
        else kp_buf_add(&buf, "xyz", 3);
        kp_buf_add(&buf, "", 0);
        kp_err err = {0};
        cr_expect_eq(kp_buf_check(&buf, &err), KP_NOMEM, "way %d", how);
        cr_expect_str_eq(kp_buf_text(&buf), "1234567890");
        kp_buf_release(&buf);
    }
}

/* ---- checks ---- */

static const struct {
    const char *text;
    size_t first; /* bytes of the first character; 0: none */
    bool ok;
} utf8_rows[] = {
    {"a", 1, true}, {"\tb\n", 1, true}, {"\x1b[31m", 1, false}, {"\x7f", 1, false}, {"a\r", 1, false},
    {"\xc3\xa4", 2, true}, {"\xe2\x82\xac", 3, true}, {"\xf0\x9f\x99\x82", 4, true},
    {"\xc3", 0, false}, {"\xe2\x82", 0, false}, {"\x80", 0, false}, {"\xc0\x80", 0, false},
    {"\xe0\x80\x80", 0, false}, {"\xed\xa0\x80", 0, false}, {"\xf4\x90\x80\x80", 0, false},
    {"\xf8\x88\x80\x80\x80", 0, false}, {"\xff", 0, false}, {"a\xff", 1, false}, {"\xc3(", 0, false},
};

Test(text, utf8)
{
    for (size_t i = 0; i < KP_LEN(utf8_rows); i++) {
        size_t len = strlen(utf8_rows[i].text);
        cr_expect_eq(kp_utf8_len(utf8_rows[i].text, len), utf8_rows[i].first, "row %zu", i);
        cr_expect_eq(kp_text_ok(utf8_rows[i].text, len), utf8_rows[i].ok, "row %zu", i);
    }
    cr_expect(kp_text_ok("", 0));
    cr_expect_not(kp_text_ok("a\0b", 3));
}

static const struct {
    const char *name, *nearest; /* NULL: none */
} near_rows[] = {
    {"summry", "summary"}, {"Plan", "plan"}, {"expalin", "explain"}, {"xplain", "explain"},
    {"explainx", "explain"}, {"zzz", NULL}, {"", NULL}, {"pl", NULL}, {"pln", "plan"},
    {"a-very-long-name-that-is-longer-than-anything-that-we-would-ever-compare", NULL},
};

Test(text, nearest_name)
{
    static const char *const names[] = {"summary", "explain", NULL, "plan", "submit"};
    for (size_t i = 0; i < KP_LEN(near_rows); i++) {
        const char *near = kp_nearest(near_rows[i].name, names, KP_LEN(names));
        cr_expect_str_eq(near ? near : "-", near_rows[i].nearest ? near_rows[i].nearest : "-", "'%s'",
                         near_rows[i].name);
    }
}

/* ---- saturating sizes ---- */

Test(text, sizes_saturate)
{
    cr_expect_eq(kp_mul_u64(1ull << 32, 1ull << 32), UINT64_MAX);
    cr_expect_eq(kp_mul_u64(3, 5), 15);
    cr_expect_eq(kp_add_u64(UINT64_MAX, 1), UINT64_MAX);
    cr_expect_eq(kp_sub_u64(3, 5), 0);
    cr_expect_eq(kp_ceil_div(UINT64_MAX, 2), 1ull << 63);
    cr_expect_eq(kp_ceil_div(0, 7), 0);
    cr_expect_eq(kp_round_up(513, 512), 1024);
    cr_expect_eq(kp_round_up(UINT64_MAX, 512), UINT64_MAX);
    cr_expect(kp_size_ok(1ull << 60) && !kp_size_ok((1ull << 60) + 1));
    cr_expect_eq(kp_line_at((kp_line){1, .5}, 4), 3);
}
