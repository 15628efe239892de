/* SPDX-License-Identifier: MIT */
#include "planner/cli/commands.h"
#include "planner/plan/explain.h"
#include "planner/plan/rules.h"
#include "proto/gpus.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>

/* The README's block between <!-- name --> and <!-- /name -->; malloc text. */
static char *block(const char *readme, const char *name)
{
    char from[64], to[64];
    snprintf(from, sizeof(from), "<!-- %s -->\n", name);
    snprintf(to, sizeof(to), "<!-- /%s -->", name);
    const char *start = strstr(readme, from), *end = start ? strstr(start, to) : NULL;
    cr_assert(end, "README.md has no block '%s'", name);
    start += strlen(from);
    return strndup(start, (size_t)(end - start));
}

Test(help, readme_agrees)
{
    static const struct {
        const char *name;
        void (*print)(kp_buf *out);
    } blocks[] = {{"reference", kp_help_reference}, {"exit-codes", kp_help_exit_codes}};
    char *readme = kp_file_text("README.md");
    for (size_t i = 0; i < KP_LEN(blocks); i++) {
        kp_buf want;
        kp_buf_init(&want, 0);
        blocks[i].print(&want);
        char *got = block(readme, blocks[i].name);
        cr_expect_str_eq(got, kp_buf_text(&want), "paste the output of 'kplan help %s'", blocks[i].name);
        free(got);
        kp_buf_release(&want);
    }
    free(readme);
}

/* Each exit code of the table of statuses has a row, each status that has one of its own too. */
Test(help, exit_codes_are_whole)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    kp_help_exit_codes(&text);
    for (int s = 0; s < KP_STATUS_COUNT; s++) {
        char want[64];
        if (s == KP_NOMEM || s == KP_IO) continue; /* end as INTERNAL's */
        snprintf(want, sizeof(want), "| %d | %s |", kp_status_exit((kp_status)s), kp_status_name((kp_status)s));
        cr_expect(strstr(kp_buf_text(&text), want), "no row '%s'", want);
    }
    cr_expect_eq(kp_status_exit(KP_NOMEM), kp_status_exit(KP_INTERNAL));
    cr_expect_eq(kp_status_exit(KP_IO), kp_status_exit(KP_INTERNAL));
    kp_buf_release(&text);
}

/* A command's help has each of its options and no other; no line is too wide. */
Test(help, of_commands)
{
    for (size_t c = 0; c < kp_n_commands; c++) {
        const kp_command *command = &kp_commands[c];
        kp_buf text;
        if (!command->run) continue;
        kp_buf_init(&text, 0);
        kp_help_of(command, &text);
        for (size_t i = 0; i < kp_n_options; i++) {
            const kp_option *o = &kp_option_rows[i];
            char want[64];
            snprintf(want, sizeof(want), "\n  --%s ", o->name);
            bool shown = strstr(kp_buf_text(&text), want) != NULL;
            bool takes = kp_command_takes(command, o) && o->kind != KP_VALUE_LATER;
            cr_expect_eq(shown, takes, "%s and --%s", command->name, o->name);
        }
        for (const char *line = kp_buf_text(&text); *line; line += strcspn(line, "\n") + 1)
            cr_expect(strcspn(line, "\n") <= 100, "%s: too wide: %.120s", command->name, line);
        kp_buf_release(&text);
    }
}

static void expect_rule(const char *id, const char *model, bool remedy)
{
    for (size_t i = 0; i < kp_n_rules; i++)
        if (!strcmp(kp_rules[i].id, id)) {
            cr_expect(remedy ? kp_rules[i].helps : kp_rules[i].blames, "%s: %s", model, id);
            return;
        }
    cr_expect(false, "%s: rule %s has no text", model, id);
}

/* What explain says of any model is explained by `kplan help rules`. */
Test(help, rules_are_told)
{
    static const char *const models[] = {"dense", "cnn", "lstm", "transformer", "resnet50"};
    for (size_t i = 1; i < kp_n_rules; i++) cr_expect(strcmp(kp_rules[i - 1].id, kp_rules[i].id) < 0);
    for (size_t i = 0; i < 2 * KP_LEN(models); i++) {
        const char *model = models[i / 2];
        char path[128];
        kp_values values;
        kp_gpu_kinds gpus;
        kp_explain explain;
        kp_err err = {0};
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_values_init(&values);
        values.options.batch = i % 2 ? 32 : 1;
        if (i % 2) values.options.dp = 2;
        else values.options.memory_bytes = 1000000000;
        snprintf(path, sizeof(path), "tests/data/models/%s.json", model);
        char *text = kp_file_text(path);
        kp_explain_request request = {text, strlen(text), model, &values.options, &gpus};
        cr_assert_eq(kp_gpu_table(&arena, &gpus, &err), KP_OK);
        cr_assert_eq(kp_explain_make(&request, &arena, &explain, &err), KP_OK, "%s: %s", model, err.msg);
        for (uint32_t c = 0; c < explain.n_culprits; c++) expect_rule(explain.culprits[c].rule, model, false);
        for (uint32_t r = 0; r < explain.n_remedies; r++) expect_rule(explain.remedies[r].rule, model, true);
        kp_arena_release(&arena);
        free(text);
    }
}
