/* SPDX-License-Identifier: MIT */
#include "proto/args.h"
#include <criterion/criterion.h>

TestSuite(args);

typedef struct values {
    const char *server, *node;
    bool dump;
    double wait_s;
} values;

static const kp_arg arg_rows[] = {
    {"server", KP_ARG_TEXT, "EP", offsetof(values, server), "where"},
    {"node-name", KP_ARG_TEXT, "NAME", offsetof(values, node), "who"},
    {"dump", KP_ARG_FLAG, NULL, offsetof(values, dump), "print"},
    {"wait", KP_ARG_S, "D", offsetof(values, wait_s), "how long"},
};
static const kp_args args = {"prog", "does things", arg_rows, KP_LEN(arg_rows)};

static char *env_none(const char *name)
{
    (void)name;
    return NULL;
}

static char *env_some(const char *name)
{
    static char node[] = "from-env", flag[] = "true", wait[] = "2s", empty[] = "";
    if (!strcmp(name, "KPLAN_NODE_NAME")) return node;
    if (!strcmp(name, "KPLAN_DUMP")) return flag;
    if (!strcmp(name, "KPLAN_WAIT")) return wait;
    return !strcmp(name, "KPLAN_SERVER") ? empty : NULL;
}

static char *env_bad(const char *name)
{
    static char bad[] = "maybe";
    return !strcmp(name, "KPLAN_DUMP") ? bad : NULL;
}

Test(args, lines_and_environments)
{
    static const struct {
        const char *argv[6];
        char *(*env)(const char *);
        kp_status status;
        kp_args_do todo;
        const char *server, *node;
        bool dump;
        double wait_s;
        const char *says; /* in message, place or hint */
    } rows[] = {
        {{"--server", "a", "--dump"}, env_none, KP_OK, KP_ARGS_RUN, "a", NULL, true, 9, NULL},
        {{"--server=a", "--wait=500ms"}, env_none, KP_OK, KP_ARGS_RUN, "a", NULL, false, 0.5, NULL},
        {{0}, env_some, KP_OK, KP_ARGS_RUN, NULL, "from-env", true, 2, NULL},
        {{"--node-name", "x"}, env_some, KP_OK, KP_ARGS_RUN, NULL, "x", true, 2, NULL},
        {{"--bogus", "--help"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "--bogus"},
        {{"-h"}, env_bad, KP_OK, KP_ARGS_HELP, NULL, NULL, false, 9, NULL},
        {{"--version"}, env_bad, KP_OK, KP_ARGS_VERSION, NULL, NULL, false, 9, NULL},
        {{0}, env_bad, KP_USAGE, 0, NULL, NULL, false, 9, "KPLAN_DUMP"},
        {{"--servre", "a"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "did you mean '--server'"},
        {{"--server"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "needs a value"},
        {{"--server", "--dump"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "needs a value"},
        {{"--server="}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "empty"},
        {{"--dump=1"}, env_none, KP_USAGE, 0, NULL, NULL, true, 9, "takes no value"},
        {{"--server", "a", "--server", "b"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "twice"},
        {{"--wait", "soon"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "--wait"},
        {{"file"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "unexpected argument 'file'"},
        {{"-x"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "-x"},
        {{"--"}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "'--'"},
        {{""}, env_none, KP_USAGE, 0, NULL, NULL, false, 9, "unexpected argument ''"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char *argv[8] = {(char *)(uintptr_t) "prog"};
        int argc = 1;
        for (; rows[i].argv[argc - 1]; argc++)
            argv[argc] = (char *)(uintptr_t)rows[i].argv[argc - 1];
        values v = {.wait_s = 9};
        kp_args_do todo = KP_ARGS_RUN;
        kp_err err = {0};
        kp_status status = kp_args_parse(&args, argc, argv, rows[i].env, &v, &todo, &err);
        cr_expect(status == rows[i].status, "row %zu: %d %s", i, status, err.msg);
        char all[1024];
        snprintf(all, sizeof(all), "%s: %s %s", err.where, err.msg, err.hint);
        if (rows[i].says) cr_expect(strstr(all, rows[i].says), "row %zu: %s", i, all);
        if (status != KP_OK) continue;
        cr_expect(todo == rows[i].todo, "row %zu", i);
        cr_expect(v.dump == rows[i].dump && v.wait_s == rows[i].wait_s, "row %zu", i);
        cr_expect(!v.server == !rows[i].server && (!v.server || !strcmp(v.server, rows[i].server)),
                  "row %zu: %s", i, v.server);
        cr_expect(!v.node == !rows[i].node && (!v.node || !strcmp(v.node, rows[i].node)),
                  "row %zu: %s", i, v.node);
    }
}

Test(args, help_lists_every_option)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    kp_args_help(&args, &text);
    for (size_t i = 0; i < KP_LEN(arg_rows); i++) {
        cr_expect(strstr(kp_buf_text(&text), arg_rows[i].name), "%s", arg_rows[i].name);
        cr_expect(strstr(kp_buf_text(&text), arg_rows[i].help), "%s", arg_rows[i].name);
    }
    cr_expect(strstr(kp_buf_text(&text), "--version"));
    kp_buf_clear(&text);
    kp_args_version(&args, &text);
    cr_expect_str_eq(kp_buf_text(&text), "prog " KP_VERSION "\n");
    kp_buf_release(&text);
}
