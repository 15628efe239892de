/* SPDX-License-Identifier: MIT */
#include "planner/cli/cli.h"
#include <ctype.h>

/* The command's option that is nearest to a mistyped one; any option's before the command is known. */
static const char *nearest_option(const kp_command *command, const char *name)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < kp_n_options; i++)
        if (!command || kp_command_takes(command, &kp_option_rows[i]))
            names[n++] = kp_option_rows[i].name;
    return kp_nearest(name, names, n);
}

static kp_status unknown_option(const kp_command *command, const char *name, kp_err *err)
{
    const char *near = nearest_option(command, name);
    if (!near) near = nearest_option(NULL, name);
    kp_fail(err, KP_USAGE, "unknown option '--%.60s'", name);
    if (near) kp_hint(err, "did you mean '--%s'?", near);
    else kp_hint(err, "'kplan help%s%s' lists the options", command ? " " : "", command ? command->name : "");
    return KP_USAGE;
}

/* One "--name[=value]" at argv[*at]; a separate value moves *at. */
static kp_status take_option(int argc, const char *const *argv, int *at, kp_cli *cli, kp_err *err)
{
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    char name[64];
    int len = equals ? (int)(equals - text) : (int)strnlen(text, sizeof(name));
    snprintf(name, sizeof(name), "%.*s", len, text);
    const kp_option *option = len < (int)sizeof(name) ? kp_option_find(name) : NULL;
    if (!option) return unknown_option(cli->command, name, err);
    uint8_t *from = &cli->from[option - kp_option_rows];
    if (*from && option->kind != KP_VALUE_FLAG && option->kind != KP_VALUE_DIM)
        return kp_fail(err, KP_USAGE, "'--%s' is given twice", name);
    *from = KP_FROM_LINE;
    const char *value = equals ? equals + 1 : NULL;
    if (option->kind == KP_VALUE_FLAG) {
        if (value) return kp_fail(err, KP_USAGE, "'--%s' takes no value", name);
        value = "1";
    } else if (!value) {
        if (*at + 1 >= argc || !strncmp(argv[*at + 1], "--", 2))
            return kp_fail(err, KP_USAGE, "'--%s' needs a value: --%s %s", name, name,
                           option->value ? option->value : "NAME");
        value = argv[++*at];
    }
    kp_status status = kp_option_set(option, value, &cli->values, &cli->arena, err);
    if (status) kp_err_at(err, "--%s", name);
    return status;
}

static kp_status take_command(const char *name, kp_cli *cli, kp_err *err)
{
    const char *names[64];
    size_t n = 0;
    cli->command = kp_command_find(name);
    if (cli->command && cli->command->run) return KP_OK;
    if (cli->command) {
        cli->command = NULL;
        return kp_fail(err, KP_USAGE, "command '%s' is not in this version", name);
    }
    for (size_t i = 0; i < kp_n_commands; i++)
        if (kp_commands[i].run) names[n++] = kp_commands[i].name;
    const char *near = kp_nearest(name, names, n);
    kp_fail(err, KP_USAGE, "unknown command '%.60s'", name);
    kp_hint(err, near ? "did you mean '%s'?" : "'kplan help' lists the commands", near);
    return KP_USAGE;
}

static kp_status take_argument(const char *text, kp_cli *cli, kp_err *err)
{
    if (!cli->command) return take_command(text, cli, err);
    if (cli->n_args < KP_CLI_ARGS_MAX && cli->n_args < cli->command->max_args) {
        cli->args[cli->n_args++] = text;
        return KP_OK;
    }
    kp_fail(err, KP_USAGE, "unexpected argument '%.100s'", text);
    kp_hint(err, "usage: kplan %s%s%s [OPTION ...]", cli->command->name,
            *cli->command->args ? " " : "", cli->command->args);
    return KP_USAGE;
}

/* An option of the line that the command does not take: says which commands do. */
static kp_status check_options(const kp_cli *cli, kp_err *err)
{
    for (size_t i = 0; i < kp_n_options; i++) {
        const kp_option *option = &kp_option_rows[i];
        if (cli->from[i] != KP_FROM_LINE || kp_command_takes(cli->command, option)) continue;
        char takers[200];
        int len = 0;
        takers[0] = 0;
        for (size_t c = 0; c < kp_n_commands && len < (int)sizeof(takers); c++)
            if (kp_commands[c].run && kp_command_takes(&kp_commands[c], option))
                len += snprintf(takers + len, sizeof(takers) - (size_t)len, "%s%s",
                                len ? ", " : "", kp_commands[c].name);
        kp_fail(err, KP_USAGE, "'%s' does not take '--%s'", cli->command->name, option->name);
        kp_hint(err, "these do: %s", takers);
        return KP_USAGE;
    }
    return KP_OK;
}

/* KPLAN_NAME for each option of the command that the line does not have. */
static kp_status take_environment(kp_env *env, kp_cli *cli, kp_err *err)
{
    for (size_t i = 0; i < kp_n_options; i++) {
        const kp_option *option = &kp_option_rows[i];
        char name[64];
        int len = snprintf(name, sizeof(name), "KPLAN_%s", option->name);
        for (int c = 0; c < len; c++)
            name[c] = name[c] == '-' ? '_' : (char)toupper((unsigned char)name[c]);
        const char *value = env(name);
        bool command_like = option->offset == offsetof(kp_values, help) ||
                            option->offset == offsetof(kp_values, version);
        if (!value || !*value || cli->from[i] || command_like ||
            !kp_command_takes(cli->command, option) || option->kind == KP_VALUE_LATER)
            continue;
        kp_status status = kp_option_set(option, value, &cli->values, &cli->arena, err);
        if (status) {
            kp_err_at(err, "environment variable %s", name);
            return status;
        }
        cli->from[i] = KP_FROM_ENV;
    }
    return KP_OK;
}

kp_status kp_cli_parse(int argc, const char *const *argv, kp_env *env, kp_cli *cli, kp_err *err)
{
    kp_values_init(&cli->values);
    bool only_arguments = false;
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (only_arguments || text[0] != '-' || !text[1]) {
            KP_TRY(take_argument(text, cli, err));
        } else if (!strcmp(text, "--")) {
            only_arguments = true;
        } else if (!strcmp(text, "-h")) {
            cli->values.help = true;
        } else if (text[1] != '-') {
            kp_fail(err, KP_USAGE, "unknown option '%.60s'", text);
            kp_hint(err, "options start with two dashes, and a file '-' is standard input");
            return KP_USAGE;
        } else {
            KP_TRY(take_option(argc, argv, &i, cli, err));
        }
    }
    if (cli->values.help || cli->values.version) return KP_OK;
    if (!cli->command) {
        kp_fail(err, KP_USAGE, "a command is missing");
        kp_hint(err, "'kplan help' lists the commands");
        return KP_USAGE;
    }
    KP_TRY(check_options(cli, err));
    if (cli->n_args < cli->command->min_args) {
        kp_fail(err, KP_USAGE, "'%s' needs %s", cli->command->name, cli->command->args);
        kp_hint(err, "'kplan help %s' shows how it is used", cli->command->name);
        return KP_USAGE;
    }
    return take_environment(env, cli, err);
}
