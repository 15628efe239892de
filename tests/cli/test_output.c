/* SPDX-License-Identifier: MIT */
#include "planner/cli/output.h"
#include "planner/cli/table.h"
#include <criterion/criterion.h>

typedef struct row {
    const char *what, *in, *want;
} row;

static void check(const row *rows, size_t n, void (*escape)(const char *, size_t, kp_buf *))
{
    for (size_t i = 0; i < n; i++) {
        kp_buf out;
        kp_buf_init(&out, 0);
        escape(rows[i].in, strlen(rows[i].in), &out);
        cr_expect_str_eq(kp_buf_text(&out), rows[i].want, "row %zu: %s: %s", i, rows[i].what, kp_buf_text(&out));
        kp_buf_release(&out);
    }
}

static void text_lines(const char *text, size_t len, kp_buf *out)
{
    kp_escape_text(text, len, true, out);
}

static void text_line(const char *text, size_t len, kp_buf *out)
{
    kp_escape_text(text, len, false, out);
}

Test(output, escapes)
{
    static const row lines[] = {
        {"plain", "abc\nd", "abc\nd"},
        {"letters of the world", "Größe 模型 🙂", "Größe 模型 🙂"},
        {"escape sequence", "a\033[2Jb", "a\\x1b[2Jb"},
        {"carriage return and bell", "a\r\ab", "a\\x0d\\x07b"},
        {"delete", "a\x7f", "a\\x7f"},
        {"a C1 control", "a\xc2\x9b", "a\\xc2\\x9b"},
        {"no-break space is printable", "a\xc2\xa0", "a\xc2\xa0"},
        {"broken UTF-8", "a\xff\xc3", "a\\xff\\xc3"},
        {"overlong", "\xc0\xaf", "\\xc0\\xaf"},
        {"a surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80"},
    };
    static const row one_line[] = {{"new line", "a\nb", "a\\x0ab"}};
    static const row json[] = {
        {"plain", "{\"a\":\"b\"}", "{\"a\":\"b\"}"},
        {"delete", "\"\x7f\"", "\"\\u007f\""},
        {"a C1 control", "\"\xc2\x9bK\"", "\"\\u009bK\""},
        {"a cut C1 control", "\xc2", "\xc2"},
        {"letters", "\"\xc2\xa0ß\"", "\"\xc2\xa0ß\""},
    };
    check(lines, KP_LEN(lines), text_lines);
    check(one_line, KP_LEN(one_line), text_line);
    check(json, KP_LEN(json), kp_escape_json);
}

Test(output, table)
{
    static const kp_column columns[] = {
        {.title = "name", .shrink = true}, {.title = "n", .right = true}, {.title = "note", .shrink = true}};
    static const struct {
        unsigned width;
        const char *want;
    } rows[] = {
        {0, "name                 n  note\n"
            "größe                1  a\n"
            "a_very_long_name  1000  -\n"},
        {24, "name             n  note\n"
             "größe            1  a\n"
             "a_v..ng_name  1000  -\n"},
        {1, "name           n  note\n" /* columns keep 10 characters */
            "größe          1  a\n"
            "a_..g_name  1000  -\n"},
    };
    kp_arena arena;
    kp_table table;
    kp_arena_init(&arena, 0);
    kp_table_init(&table, columns, KP_LEN(columns), &arena);
    kp_table_cell(&table, "größe");
    kp_table_fmt(&table, "%d", 1);
    kp_table_cell(&table, "a");
    kp_table_cell(&table, "a_very_long_name");
    kp_table_fmt(&table, "%d", 1000);
    kp_table_cell(&table, NULL);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_buf out;
        kp_buf_init(&out, 0);
        cr_expect_eq(kp_table_print(&table, rows[i].width, &out, NULL), KP_OK);
        cr_expect_str_eq(kp_buf_text(&out), rows[i].want, "row %zu:\n%s", i, kp_buf_text(&out));
        kp_buf_release(&out);
    }
    arena.fail_call = arena.calls + 1;
    kp_table_cell(&table, "x");
    cr_expect_eq(kp_table_print(&table, 0, NULL, NULL), KP_NOMEM);
    kp_arena_release(&arena);
}

Test(output, messages)
{
    kp_cli cli = {0};
    kp_err err = {0};
    kp_buf out;
    const kp_warning warnings[] = {{"unknown-layer", "a/b", "its inside is not counted"}, {"x", NULL, "all"}};
    cli.warnings = warnings;
    cli.n_warnings = 2;
    kp_buf_init(&out, 0);
    kp_cli_messages(&cli, KP_OK, &err, &out);
    cr_expect_str_eq(kp_buf_text(&out), "warning: layer 'a/b': its inside is not counted\nwarning: all\n");
    kp_buf_clear(&out);
    kp_fail(&err, KP_INPUT, "bad\033 thing");
    kp_err_at(&err, "m.json");
    kp_hint(&err, "do that");
    kp_cli_messages(&cli, KP_INPUT, &err, &out);
    cr_expect_str_eq(kp_buf_text(&out), "kplan: m.json: bad\\x1b thing\nwarning: layer 'a/b': its inside is not "
                                        "counted\nwarning: all\nhint: do that\n");
    kp_buf_release(&out);
}
