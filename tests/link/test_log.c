/* SPDX-License-Identifier: MIT */
#include "proto/log.h"
#include "proto/clock.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>

TestSuite(log);

static int say(void *arg)
{
    (void)arg;
    kp_err err = {0};
    setenv("KPLAN_LOG", "info", 1);
    if (kp_log_init(&err) != KP_OK) return 1;
    kp_log(KP_LOG_WARN, "node '%s' silent", "n\n\x1b[31m3");
    kp_log(KP_LOG_DEBUG, "not printed");
    char longer[5000];
    memset(longer, 'y', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    kp_log(KP_LOG_ERROR, "%s", longer);
    kp_fail(&err, KP_INPUT, "it broke");
    kp_hint(&err, "mend it");
    kp_err_at(&err, "here");
    kp_log_err(KP_LOG_INFO, &err);
    setenv("KPLAN_LOG", "loud", 1);
    return kp_log_init(&err) == KP_USAGE ? 0 : 2;
}

Test(log, a_line_is_one_line)
{
    kp_dir dir = kp_dir_make();
    kp_proc child = kp_proc_fork(&dir, "log", say, NULL);
    cr_expect(kp_proc_wait(&child, 10) == 0);
    char *text = kp_file_text(child.err_path), *line = text;
    cr_assert(strlen(text) > 40);
    cr_expect(text[4] == '-' && text[10] == 'T' && text[19] == '.' && text[23] == 'Z', "%s", text);
    cr_expect(strstr(text, "Z warn  node 'n??[31m3' silent\n"), "%s", text);
    cr_expect(!strstr(text, "not printed"));
    cr_expect(strstr(text, "Z info  here: it broke (mend it)\n"), "%s", text);
    int lines = 0;
    for (char *end; (end = strchr(line, '\n')); line = end + 1, lines++)
        cr_expect(end - line < 2100, "line %d", lines);
    cr_expect(lines == 3, "%d lines", lines);
    free(text);
    kp_dir_remove(&dir);
}

Test(log, clocks_and_ids)
{
    char a[48], b[48];
    kp_random_id("rq_", a);
    kp_random_id("rq_", b);
    cr_expect(strlen(a) == 35 && !strncmp(a, "rq_", 3), "%s", a);
    cr_expect(strspn(a + 3, "0123456789abcdef") == 32, "%s", a);
    cr_expect_str_neq(a, b);
    double from = kp_now_s();
    cr_expect(kp_now_s() >= from);
    cr_expect(kp_now_unix_ms() > 1700000000000);
    for (int i = 0; i < 100; i++) cr_expect(kp_random_unit() >= 0 && kp_random_unit() < 1);
}
