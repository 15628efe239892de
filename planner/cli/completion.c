/* SPDX-License-Identifier: MIT
 *
 * planner/cli/completion.c — completion for shells, from the tables of commands and options. */
#include "planner/cli/commands.h"
#include "planner/cli/output.h"

/* ---- what the tables say ---- */

static bool is_shown(const kp_command *command, const kp_option *option)
{
    return option->kind != KP_VALUE_LATER && kp_command_takes(command, option);
}

static bool takes_file(const char *value)
{
    return value && (strstr(value, "FILE") || strstr(value, ".json"));
}

/* Words of "nodes|gpus|plans|leases" or "renew|release|confirm LEASE" that are written so. */
static void put_words(const char *alternatives, kp_buf *out)
{
    size_t len = strcspn(alternatives, " ");
    if (!memchr(alternatives, '|', len) || alternatives[0] == '[') return;
    for (size_t i = 0; i < len; i++)
        kp_buf_char(out, alternatives[i] == '|' ? ' ' : alternatives[i]);
}

static void put_commands(const char *between, kp_buf *out)
{
    bool first = true;
    for (size_t i = 0; i < kp_n_commands; i++) {
        if (!kp_commands[i].run) continue;
        kp_buf_fmt(out, "%s%s", first ? "" : between, kp_commands[i].name);
        first = false;
    }
}

static void put_names(const kp_option *option, kp_buf *out)
{
    bool first = true;
    for (uint32_t i = 0; i < option->n_names; i++) {
        if (!option->names[i]) continue;
        kp_buf_fmt(out, "%s%s", first ? "" : " ", option->names[i]);
        first = false;
    }
}

/* What stands in single quotes in all three shells, and in the brackets of zsh. */
static void put_quoted(const char *text, const char *escape, kp_buf *out)
{
    for (; *text; text++) {
        if (*text == '\'') {
            kp_buf_str(out, "\xe2\x80\x99");
            continue;
        }
        if (strchr(escape, *text)) kp_buf_char(out, '\\');
        kp_buf_char(out, *text);
    }
}

static bool is_file(const kp_command *command)
{
    return !strncmp(command->args, "FILE", 4) || !strncmp(command->args, "PLAN", 4);
}

/* ---- bash ---- */

static void bash_values(kp_buf *out)
{
    kp_buf_str(out, "    case $previous in\n");
    for (size_t i = 0; i < kp_n_options; i++) {
        const kp_option *o = &kp_option_rows[i];
        if (o->kind == KP_VALUE_FLAG || o->kind == KP_VALUE_LATER) continue;
        kp_buf_fmt(out, "    --%s) ", o->name);
        if (o->n_names) {
            kp_buf_str(out, "COMPREPLY=($(compgen -W '");
            put_names(o, out);
            kp_buf_str(out, "' -- \"$current\")); return ;;\n");
        } else {
            kp_buf_str(out, takes_file(o->value)
                                ? "COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
                                : "COMPREPLY=(); return ;;\n");
        }
    }
    kp_buf_str(out, "    esac\n");
}

static void bash_options(kp_buf *out)
{
    kp_buf_str(out, "    if [[ $current == -* ]]; then\n        case $command in\n");
    for (size_t c = 0; c < kp_n_commands; c++) {
        if (!kp_commands[c].run) continue;
        kp_buf_fmt(out, "        %s) words='", kp_commands[c].name);
        for (size_t i = 0; i < kp_n_options; i++)
            if (is_shown(&kp_commands[c], &kp_option_rows[i]))
                kp_buf_fmt(out, " --%s", kp_option_rows[i].name);
        kp_buf_str(out, "' ;;\n");
    }
    kp_buf_str(
        out,
        "        *) words='--help --version --json' ;;\n        esac\n"
        "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n        return\n    fi\n");
}

static void bash_arguments(kp_buf *out)
{
    kp_buf_str(out, "    case $command in\n    '') words='");
    put_commands(" ", out);
    kp_buf_str(out, "' ;;\n    help) words='exit-codes rules reference ");
    put_commands(" ", out);
    kp_buf_str(out, "' ;;\n");
    for (size_t c = 0; c < kp_n_commands; c++) {
        const kp_command *command = &kp_commands[c];
        if (!command->run || is_file(command) || !strchr(command->args, '|') ||
            command->args[0] == '[')
            continue;
        kp_buf_fmt(out, "    %s) words='", command->name);
        put_words(command->args, out);
        kp_buf_str(out, "' ;;\n");
    }
    kp_buf_str(out, "    *) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n    esac\n"
                    "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n");
}

static void bash(kp_buf *out)
{
    kp_buf_str(out,
               "# Completion of kplan for bash; in ~/.bashrc: eval \"$(kplan completion bash)\"\n"
               "_kplan() {\n"
               "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
               "    local command= words= i\n"
               "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "        case ${COMP_WORDS[i]} in ");
    put_commands("|", out);
    kp_buf_str(out, ") command=${COMP_WORDS[i]}; break ;; esac\n    done\n");
    bash_values(out);
    bash_options(out);
    bash_arguments(out);
    kp_buf_str(out, "}\ncomplete -o filenames -F _kplan kplan\n");
}

/* ---- zsh ---- */

static void zsh_option(const kp_option *o, kp_buf *out)
{
    bool flag = o->kind == KP_VALUE_FLAG;
    kp_buf_fmt(out, " \\\n            '--%s%s[", o->name, flag ? "" : "=");
    put_quoted(o->help, "[]:", out);
    kp_buf_char(out, ']');
    if (!flag) {
        kp_buf_fmt(out, ":%s:", o->n_names ? "value" : takes_file(o->value) ? "file" : "value");
        if (o->n_names) kp_buf_char(out, '(');
        put_names(o, out);
        if (o->n_names) kp_buf_char(out, ')');
        if (!o->n_names && takes_file(o->value)) kp_buf_str(out, "_files");
    }
    kp_buf_char(out, '\'');
}

static void zsh_command(const kp_command *command, kp_buf *out)
{
    kp_buf_fmt(out, "        %s) _arguments", command->name);
    for (size_t i = 0; i < kp_n_options; i++)
        if (is_shown(command, &kp_option_rows[i])) zsh_option(&kp_option_rows[i], out);
    if (is_file(command)) {
        kp_buf_str(out, " \\\n            '*:file:_files'");
    } else if (command->max_args) {
        kp_buf_str(out, " \\\n            '1:what:(");
        if (strcmp(command->name, "help"))
            put_words(command->args, out);
        else
            put_commands(" ", out);
        kp_buf_str(out, ")'");
    }
    kp_buf_str(out, " ;;\n");
}

static void zsh(kp_buf *out)
{
    kp_buf_str(
        out, "#compdef kplan\n"
             "# Completion of kplan for zsh; in a folder of $fpath: kplan completion zsh >_kplan\n"
             "_kplan() {\n    local -a commands\n    commands=(\n");
    for (size_t c = 0; c < kp_n_commands; c++) {
        if (!kp_commands[c].run) continue;
        kp_buf_fmt(out, "        '%s:", kp_commands[c].name);
        put_quoted(kp_commands[c].help, ":", out);
        kp_buf_str(out, "'\n");
    }
    kp_buf_str(out, "    )\n    local state line\n"
                    "    _arguments -C '1:command:->command' '*::argument:->arguments'\n"
                    "    case $state in\n    command) _describe command commands ;;\n"
                    "    arguments)\n        case $line[1] in\n");
    for (size_t c = 0; c < kp_n_commands; c++)
        if (kp_commands[c].run) zsh_command(&kp_commands[c], out);
    kp_buf_str(out,
               "        esac ;;\n    esac\n}\n"
               "if [ \"$funcstack[1]\" = _kplan ]; then _kplan; else compdef _kplan kplan; fi\n");
}

/* ---- fish ---- */

static void fish_option(const kp_command *command, const kp_option *o, kp_buf *out)
{
    kp_buf_fmt(out, "complete -c kplan -n '__fish_seen_subcommand_from %s' -l %s", command->name,
               o->name);
    if (o->n_names) {
        kp_buf_str(out, " -x -a '");
        put_names(o, out);
        kp_buf_char(out, '\'');
    } else if (o->kind != KP_VALUE_FLAG) {
        kp_buf_str(out, takes_file(o->value) ? " -r -F" : " -x");
    }
    kp_buf_str(out, " -d '");
    put_quoted(o->help, "\\", out);
    kp_buf_str(out, "'\n");
}

static void fish_command(const kp_command *command, kp_buf *out)
{
    kp_buf_fmt(out, "complete -c kplan -n __fish_use_subcommand -a %s -d '", command->name);
    put_quoted(command->help, "\\", out);
    kp_buf_str(out, "'\n");
    if (is_file(command)) {
        kp_buf_fmt(out, "complete -c kplan -n '__fish_seen_subcommand_from %s' -F\n",
                   command->name);
    } else if (command->max_args) {
        kp_buf_fmt(out, "complete -c kplan -n '__fish_seen_subcommand_from %s' -a '",
                   command->name);
        if (strcmp(command->name, "help"))
            put_words(command->args, out);
        else
            put_commands(" ", out);
        kp_buf_str(out, "'\n");
    }
    for (size_t i = 0; i < kp_n_options; i++)
        if (is_shown(command, &kp_option_rows[i])) fish_option(command, &kp_option_rows[i], out);
}

static void fish(kp_buf *out)
{
    kp_buf_str(out, "# Completion of kplan for fish; kplan completion fish "
                    ">~/.config/fish/completions/kplan.fish\n"
                    "complete -c kplan -f\n");
    for (size_t c = 0; c < kp_n_commands; c++)
        if (kp_commands[c].run) fish_command(&kp_commands[c], out);
}

/* ---- the command ---- */

static const struct {
    const char *name;
    void (*print)(kp_buf *out);
} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

typedef struct script {
    const char *shell, *text;
} script;

static const kp_field fields[] = {
    {.name = "shell",
     .type = KP_F_STR,
     .offset = offsetof(script, shell),
     .doc = "bash, zsh or fish"},
    {.name = "text", .type = KP_F_STR, .offset = offsetof(script, text), .doc = "the script"},
};

static const kp_schema schema = {
    .name = "kplan.completion/1",
    .doc = "completion for a shell",
    .size = sizeof(script),
    .n_fields = KP_LEN(fields),
    .fields = fields,
};

kp_status kp_cmd_completion(kp_cli *cli, kp_err *err)
{
    for (size_t i = 0; i < KP_LEN(shells); i++) {
        if (strcmp(cli->args[0], shells[i].name)) continue;
        shells[i].print(&cli->out);
        KP_TRY(kp_buf_check(&cli->out, err));
        if (!cli->values.json) return KP_OK;
        script value = {shells[i].name, kp_arena_str(&cli->arena, kp_buf_text(&cli->out))};
        if (!value.text) return kp_nomem(err);
        kp_buf_clear(&cli->out);
        return kp_cli_json(cli, &schema, &value, err);
    }
    return kp_fail(err, KP_USAGE, "'%.60s' is none of bash, zsh, fish", cli->args[0]);
}
