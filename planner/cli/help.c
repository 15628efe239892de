/* SPDX-License-Identifier: MIT */
#include "planner/cli/commands.h"
#include "planner/cli/output.h"
#include "planner/plan/rules.h"

#define HELP_WIDTH 96

/* Appends words, broken at HELP_WIDTH, each further line indented. `column` is where it starts. */
static void wrap(kp_buf *out, const char *text, size_t column, size_t indent)
{
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + word > HELP_WIDTH) {
            kp_buf_char(out, '\n');
            kp_buf_pad(out, ' ', indent);
            column = indent;
        } else if (column > indent) {
            kp_buf_char(out, ' ');
            column++;
        }
        kp_buf_add(out, text, word);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    kp_buf_char(out, '\n');
}

/* A left column of `width`, then wrapped text. */
static void two_columns(kp_buf *out, const char *left, size_t width, const char *right)
{
    size_t len = strlen(left);
    kp_buf_fmt(out, "  %s", left);
    if (len >= width) {
        kp_buf_char(out, '\n');
        kp_buf_pad(out, ' ', width + 3);
    } else {
        kp_buf_pad(out, ' ', width + 1 - len);
    }
    wrap(out, right, width + 3, width + 3);
}

/* "N", "auto|loop|cudnn", or nothing. */
static void value_text(const kp_option *option, kp_buf *out)
{
    if (option->value) kp_buf_str(out, option->value);
    bool first = true;
    for (uint32_t i = 0; !option->value && i < option->n_names; i++) {
        if (!option->names[i]) continue;
        kp_buf_fmt(out, "%s%s", first ? "" : "|", option->names[i]);
        first = false;
    }
}

static void option_text(const kp_option *option, kp_buf *out)
{
    kp_buf left, right;
    kp_buf_init(&left, 0);
    kp_buf_init(&right, 0);
    kp_buf_fmt(&left, "--%s", option->name);
    if (option->kind != KP_VALUE_FLAG) kp_buf_char(&left, ' ');
    value_text(option, &left);
    kp_buf_str(&right, option->help);
    if (option->fallback) kp_buf_fmt(&right, " (default: %s)", option->fallback);
    out->failed |= left.failed || right.failed;
    two_columns(out, kp_buf_text(&left), 24, kp_buf_text(&right));
    kp_buf_release(&left);
    kp_buf_release(&right);
}

static void usage_line(const kp_command *command, kp_buf *out)
{
    kp_buf_fmt(out, "kplan %s%s%s [OPTION ...]\n", command->name, *command->args ? " " : "",
               command->args);
}

void kp_help_of(const kp_command *command, kp_buf *out)
{
    kp_buf_str(out, "usage: ");
    usage_line(command, out);
    kp_buf_char(out, '\n');
    wrap(out, command->help, 0, 0);
    for (int group = 0; group < KP_GROUP_COUNT; group++) {
        bool titled = false;
        for (size_t i = 0; i < kp_n_options; i++) {
            const kp_option *option = &kp_option_rows[i];
            if ((int)option->group != group || option->kind == KP_VALUE_LATER ||
                !kp_command_takes(command, option))
                continue;
            if (!titled) kp_buf_fmt(out, "\n%s options:\n", kp_group_titles[group]);
            titled = true;
            option_text(option, out);
        }
    }
    kp_buf_str(out, "\nEvery option can come from the environment: --dtype-policy from "
                    "KPLAN_DTYPE_POLICY.\n");
}

void kp_help_overview(kp_buf *out)
{
    kp_buf_str(out, "kplan tells whether a model's training fits, what makes it big, how to cut it over GPUs,\n"
                    "and proves the cut by running it.\n\n"
                    "usage: kplan COMMAND [ARGUMENT ...] [OPTION ...]\n\ncommands:\n");
    for (size_t i = 0; i < kp_n_commands; i++) {
        char left[80];
        const kp_command *command = &kp_commands[i];
        if (!command->run) continue;
        snprintf(left, sizeof(left), "%s %s", command->name, command->args);
        two_columns(out, left, 32, command->help);
    }
    kp_buf_str(out, "\nFILE '-' is standard input. A size is 80G (x 1024^3) or 80GB (x 1000^3), a duration 500ms,\n"
                    "10s, 2h. Results are on stdout, messages on stderr; --json makes the result one object.\n"
                    "'kplan help COMMAND' shows a command's options, 'kplan help exit-codes' what it ends with.\n");
}

void kp_help_exit_codes(kp_buf *out)
{
    static const char *const when[KP_STATUS_COUNT] = {
        [KP_OK] = "done; explain: the step fits, or only just",
        [KP_INTERNAL] = "a bug, out of memory, or the system failed",
        [KP_INFEASIBLE] = "it does not fit, or there is no plan",
        [KP_UNSUPPORTED] = "the model or the target is not supported",
        [KP_CONFLICT] = "someone else has it, the revision changed, or the fence is too old",
        [KP_UNREACHABLE] = "the daemon cannot be reached",
        [KP_VERIFY_FAILED] = "a check of the verification failed",
        [KP_INCONCLUSIVE] = "the verification could not be finished: lost rank, timeout",
        [KP_USAGE] = "command line, environment or configuration",
        [KP_INPUT] = "a missing, unreadable, malformed or hostile input file",
        [KP_LOST] = "an agent or a node was lost",
        [KP_STORE] = "the daemon's store failed",
        [KP_RETRY] = "overloaded, or out of time: try again",
        [KP_INTERRUPTED] = "interrupted",
    };
    kp_buf_str(out, "| exit | status | when |\n|---|---|---|\n");
    for (int status = 0; status < KP_STATUS_COUNT; status++)
        if (when[status])
            kp_buf_fmt(out, "| %d | %s | %s |\n", kp_status_exit((kp_status)status),
                       kp_status_name((kp_status)status), when[status]);
}

void kp_help_rules(kp_buf *out)
{
    kp_buf_str(out, "Rules of 'kplan explain': what makes a step big, and what helps. A rule without 'blames' and\n"
                    "'helps' needs facts that no model file holds: its note says where it is answered.\n");
    for (size_t i = 0; i < kp_n_rules; i++) {
        const kp_rule *rule = &kp_rules[i];
        kp_buf_fmt(out, "\n%s %s\n", rule->id, rule->name);
        if (rule->blames) two_columns(out, "blames", 8, rule->blames);
        if (rule->helps) two_columns(out, "helps", 8, rule->helps);
        two_columns(out, "note", 8, rule->doc);
    }
}

/* ---- Markdown, for the README ---- */

/* True if one of the group's options is in this version. */
static bool group_shows(kp_group group)
{
    for (size_t i = 0; i < kp_n_options; i++)
        if (kp_option_rows[i].group == group && kp_option_rows[i].kind != KP_VALUE_LATER) return true;
    return false;
}

static void reference_commands(kp_buf *out)
{
    kp_buf_str(out, "| command | does | options |\n|---|---|---|\n");
    for (size_t i = 0; i < kp_n_commands; i++) {
        const kp_command *command = &kp_commands[i];
        if (!command->run) continue;
        kp_buf_fmt(out, "| `kplan %s%s", command->name, *command->args ? " " : "");
        for (const char *c = command->args; *c; c++) kp_buf_fmt(out, *c == '|' ? "\\|" : "%c", *c);
        kp_buf_fmt(out, "` | %s |", command->help);
        bool first = true;
        for (int group = 0; group < KP_GROUP_COUNT; group++) {
            if (!(command->groups >> group & 1) || !group_shows((kp_group)group)) continue;
            kp_buf_fmt(out, "%s %s", first ? "" : ",", kp_group_titles[group]);
            first = false;
        }
        kp_buf_str(out, " |\n");
    }
}

void kp_help_reference(kp_buf *out)
{
    reference_commands(out);
    kp_buf_str(out, "\n| options | option | default | what |\n|---|---|---|---|\n");
    for (size_t i = 0; i < kp_n_options; i++) {
        const kp_option *option = &kp_option_rows[i];
        if (option->kind == KP_VALUE_LATER) continue;
        kp_buf value;
        kp_buf_init(&value, 0);
        value_text(option, &value);
        kp_buf_fmt(out, "| %s | `--%s%s", kp_group_titles[option->group], option->name,
                   option->kind == KP_VALUE_FLAG ? "" : " ");
        for (const char *c = kp_buf_text(&value); *c; c++) kp_buf_fmt(out, *c == '|' ? "\\|" : "%c", *c);
        kp_buf_fmt(out, "` | %s | %s |\n", option->fallback ? option->fallback : "", option->help);
        kp_buf_release(&value);
    }
}

/* ---- the command ---- */

static const struct {
    const char *name;
    void (*print)(kp_buf *out);
} topics[] = {
    {"overview", kp_help_overview},
    {"exit-codes", kp_help_exit_codes},
    {"rules", kp_help_rules},
    {"reference", kp_help_reference},
};

typedef struct help {
    const char *topic, *text;
} help;

static const kp_field help_fields[] = {
    {.name = "topic", .type = KP_F_STR, .offset = offsetof(help, topic),
     .doc = "a command, a topic, or 'overview'"},
    {.name = "text", .type = KP_F_STR, .offset = offsetof(help, text), .doc = "the text for a person"},
};

static const kp_schema help_schema = {
    .name = "kplan.help/1", .doc = "a help text", .size = sizeof(help),
    .n_fields = KP_LEN(help_fields), .fields = help_fields,
};

/* With --json the text that stands in cli->out becomes a string of an object. */
static kp_status finish(kp_cli *cli, const char *topic, kp_err *err)
{
    KP_TRY(kp_buf_check(&cli->out, err));
    if (!cli->values.json) return KP_OK;
    help value = {.topic = topic, .text = kp_arena_str(&cli->arena, kp_buf_text(&cli->out))};
    if (!value.text) return kp_nomem(err);
    kp_buf_clear(&cli->out);
    return kp_cli_json(cli, &help_schema, &value, err);
}

kp_status kp_help_command(kp_cli *cli, kp_err *err)
{
    if (cli->command) kp_help_of(cli->command, &cli->out);
    else kp_help_overview(&cli->out);
    return finish(cli, cli->command ? cli->command->name : "overview", err);
}

static kp_status unknown_topic(const char *name, kp_err *err)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < KP_LEN(topics); i++) names[n++] = topics[i].name;
    for (size_t i = 0; i < kp_n_commands; i++)
        if (kp_commands[i].run) names[n++] = kp_commands[i].name;
    const char *near = kp_nearest(name, names, n);
    kp_fail(err, KP_USAGE, "no help for '%.60s'", name);
    kp_hint(err, near ? "did you mean '%s'?" : "'kplan help' lists the commands", near);
    return KP_USAGE;
}

kp_status kp_cmd_help(kp_cli *cli, kp_err *err)
{
    const char *name = cli->n_args ? cli->args[0] : "overview";
    for (size_t i = 0; i < KP_LEN(topics); i++) {
        if (strcmp(name, topics[i].name)) continue;
        topics[i].print(&cli->out);
        return finish(cli, name, err);
    }
    const kp_command *command = kp_command_find(name);
    if (!command) return unknown_topic(name, err);
    if (!command->run) return kp_fail(err, KP_USAGE, "command '%s' is not in this version", name);
    kp_help_of(command, &cli->out);
    return finish(cli, name, err);
}
