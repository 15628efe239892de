/* SPDX-License-Identifier: MIT */
#include "proto/args.h"
#include <ctype.h>

enum { ROWS_MAX = 32 };

static const kp_arg *find(const kp_args *args, const char *name, size_t len)
{
    for (size_t i = 0; i < args->n_rows; i++)
        if (!strncmp(args->rows[i].name, name, len) && !args->rows[i].name[len])
            return &args->rows[i];
    return NULL;
}

static kp_status unknown(const kp_args *args, const char *text, kp_err *err)
{
    const char *names[ROWS_MAX + 2] = {"help", "version"};
    size_t n = 2;
    for (size_t i = 0; i < args->n_rows && n < KP_LEN(names); i++) names[n++] = args->rows[i].name;
    const char *near = strncmp(text, "--", 2) ? NULL : kp_nearest(text + 2, names, n);
    kp_fail(err, KP_USAGE,
            text[0] == '-' ? "unknown option '%.60s'" : "unexpected argument '%.100s'", text);
    if (near)
        kp_hint(err, "did you mean '--%s'?", near);
    else
        kp_hint(err, "'%s --help' lists the options", args->program);
    return KP_USAGE;
}

static kp_status set_flag(const char *text, bool *ret, kp_err *err)
{
    bool on = !strcmp(text, "1") || !strcmp(text, "true");
    if (!on && strcmp(text, "0") && strcmp(text, "false"))
        return kp_fail(err, KP_USAGE, "'%.60s' is not 1, true, 0 or false", text);
    *ret = on;
    return KP_OK;
}

static kp_status set(const kp_arg *row, const char *text, void *values, kp_err *err)
{
    void *field = (char *)values + row->offset;
    switch (row->kind) {
    case KP_ARG_FLAG:
        return set_flag(text, field, err);
    case KP_ARG_S:
        return kp_parse_duration(text, field, err);
    case KP_ARG_TEXT:
        if (!*text) return kp_fail(err, KP_USAGE, "the value is empty");
        *(const char **)field = text;
        return KP_OK;
    case KP_ARG_KIND_COUNT:
        break;
    }
    return kp_fail(err, KP_INTERNAL, "option '%s' is of no kind", row->name);
}

/* One "--name[=value]" at argv[*at]; a separate value moves *at. */
static kp_status take(const kp_args *args, int argc, char *const *argv, int *at, void *values,
                      bool *given, kp_err *err)
{
    const char *text = argv[*at], *name = text + 2, *equals = strchr(text, '=');
    const kp_arg *row = find(args, name, equals ? (size_t)(equals - name) : strlen(name));
    if (!row) return unknown(args, text, err);
    bool *had = &given[row - args->rows];
    if (*had && row->kind != KP_ARG_FLAG)
        return kp_fail(err, KP_USAGE, "'--%s' is given twice", row->name);
    *had = true;
    const char *value = equals ? equals + 1 : NULL;
    if (row->kind == KP_ARG_FLAG) {
        if (value) return kp_fail(err, KP_USAGE, "'--%s' takes no value", row->name);
        value = "1";
    } else if (!value) {
        if (*at + 1 >= argc || !strncmp(argv[*at + 1], "--", 2))
            return kp_fail(err, KP_USAGE, "'--%s' needs a value: --%s %s", row->name, row->name,
                           row->value);
        value = argv[++*at];
    }
    kp_status status = set(row, value, values, err);
    if (status != KP_OK) kp_err_at(err, "--%s", row->name);
    return status;
}

/* KPLAN_NAME for the options that the line does not have. */
static kp_status take_env(const kp_args *args, char *(*env)(const char *name), void *values,
                          const bool *given, kp_err *err)
{
    for (size_t i = 0; i < args->n_rows; i++) {
        char name[64];
        snprintf(name, sizeof(name), "KPLAN_%s", args->rows[i].name);
        for (char *c = name; *c; c++) *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        const char *value = given[i] ? NULL : env(name);
        if (!value || !*value) continue;
        kp_status status = set(&args->rows[i], value, values, err);
        if (status == KP_OK) continue;
        kp_err_at(err, "environment variable %s", name);
        return status;
    }
    return KP_OK;
}

kp_status kp_args_parse(const kp_args *args, int argc, char *const *argv,
                        char *(*env)(const char *name), void *values, kp_args_do *ret, kp_err *err)
{
    bool given[ROWS_MAX] = {false};
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (!strcmp(text, "-h") || !strcmp(text, "--help") || !strcmp(text, "--version")) {
            *ret = strcmp(text, "--version") ? KP_ARGS_HELP : KP_ARGS_VERSION;
            return KP_OK;
        }
        if (strncmp(text, "--", 2) || !text[2]) return unknown(args, text, err);
        KP_TRY(take(args, argc, argv, &i, values, given, err));
    }
    KP_TRY(take_env(args, env, values, given, err));
    *ret = KP_ARGS_RUN;
    return KP_OK;
}

void kp_args_help(const kp_args *args, kp_buf *out)
{
    kp_buf_fmt(out, "usage: %s [OPTION ...]\n\n%s\n\n", args->program, args->what);
    for (size_t i = 0; i < args->n_rows; i++) {
        const kp_arg *row = &args->rows[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", row->name, row->value ? " " : "",
                 row->value ? row->value : "");
        kp_buf_fmt(out, "  %-22s %s\n", left, row->help);
    }
    kp_buf_fmt(out, "  %-22s %s\n  %-22s %s\n", "--help, -h", "this text", "--version",
               "the release");
    kp_buf_str(out, "\nEvery option has an environment variable: KPLAN_ and its name in capitals.\n"
                    "KPLAN_LOG sets what is logged: error, warn, info (default) or debug.\n");
}

void kp_args_version(const kp_args *args, kp_buf *out)
{
    kp_buf_fmt(out, "%s %s\n", args->program, KP_VERSION);
}

/* Text from outside must not steer a terminal. */
static void put_plain(const char *text)
{
    for (; *text; text++) putc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, stderr);
}

int kp_args_failed(const kp_args *args, const kp_err *err)
{
    const char *parts[] = {err->where, *err->where ? ": " : "",
                           *err->msg ? err->msg : kp_status_text(err->code)};
    fprintf(stderr, "%s: ", args->program);
    for (size_t i = 0; i < KP_LEN(parts); i++) put_plain(parts[i]);
    putc('\n', stderr);
    if (*err->hint) {
        fputs("hint: ", stderr);
        put_plain(err->hint);
        putc('\n', stderr);
    }
    return kp_status_exit(err->code);
}
