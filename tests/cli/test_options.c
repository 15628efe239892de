/* SPDX-License-Identifier: MIT */
#include "planner/cli/cli.h"
#include "planner/cli/commands.h"
#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>

typedef struct parsed {
    kp_cli cli;
    kp_err err;
    kp_status status;
} parsed;

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

static const char *some_env(const char *name)
{
    static const char *const pairs[][2] = {
        {"KPLAN_BATCH", "64"},     {"KPLAN_DTYPE_POLICY", "mixed_bfloat16"},
        {"KPLAN_JSON", "off"},     {"KPLAN_TIMEOUT", ""},
        {"KPLAN_HELP", "1"},       {"KPLAN_VERSUS", "x"},
        {"KPLAN_SERVER", "ipc://s"},
    };
    for (size_t i = 0; i < KP_LEN(pairs); i++)
        if (!strcmp(pairs[i][0], name)) return pairs[i][1];
    return NULL;
}

/* Words of a line, divided by blanks. */
static parsed parse(const char *line, kp_env *env)
{
    static char words[1024];
    const char *argv[64];
    char *at = words;
    int argc = 0;
    parsed p = {0};
    snprintf(words, sizeof(words), "kplan %s", line);
    while (*at) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at) *at++ = 0;
    }
    kp_arena_init(&p.cli.arena, 0);
    p.status = kp_cli_parse(argc, argv, env, &p.cli, &p.err);
    return p;
}

Test(options, tables)
{
    const char *last = "";
    for (size_t i = 0; i < kp_n_options; i++) {
        const kp_option *o = &kp_option_rows[i];
        bool taken = o->group == KP_GROUP_GENERAL;
        cr_expect_eq(kp_option_find(o->name), o, "option %s stands twice", o->name);
        cr_expect(o->help && *o->help, "option %s has no help", o->name);
        cr_expect((unsigned)o->group < KP_GROUP_COUNT && (unsigned)o->kind < KP_VALUE_COUNT);
        cr_expect(o->kind != KP_VALUE_ENUM || o->n_names > 1, "option %s has no names", o->name);
        cr_expect(o->kind == KP_VALUE_FLAG || o->value || o->n_names, "option %s shows no value", o->name);
        cr_expect(o->offset < sizeof(kp_values));
        for (size_t c = 0; c < kp_n_commands; c++) taken |= kp_command_takes(&kp_commands[c], o);
        cr_expect(taken, "no command takes --%s", o->name);
        cr_expect(!i || o[-1].group <= o->group, "--%s does not stand with its group", o->name);
        for (const char *c = o->name; *c; c++)
            cr_expect(islower((unsigned char)*c) || *c == '-', "option name %s", o->name);
    }
    for (size_t i = 0; i < kp_n_commands; i++) {
        const kp_command *c = &kp_commands[i];
        cr_expect_eq(kp_command_find(c->name), c, "command %s stands twice", c->name);
        cr_expect(c->min_args <= c->max_args && c->max_args <= KP_CLI_ARGS_MAX, "%s", c->name);
        cr_expect((c->max_args > 0) == (*c->args != 0), "%s: arguments and their text", c->name);
        cr_expect(strcmp(last, c->name), "%s", c->name);
        last = c->name;
    }
}

Test(options, absent_is_a_value)
{
    kp_values v;
    kp_values_init(&v);
    cr_expect_eq(v.options.batch, UINT64_MAX);
    cr_expect_eq(v.options.memory_bytes, UINT64_MAX);
    cr_expect_eq(v.options.tp, UINT32_MAX);
    cr_expect_eq(v.nodes, UINT32_MAX);
    cr_expect(isnan(v.options.deadline_s) && isnan(v.wait_s) && isnan(v.timeout_s));
    cr_expect(!v.options.gpu && !v.server && !v.options.n_dims && !v.options.framework && !v.json);
    kp_options clean;
    kp_schema_init(&kp_schema_options, &clean);
    cr_expect(kp_schema_equal(&kp_schema_options, &clean, &v.options), "the wire means the same by absent");
}

Test(options, values)
{
    parsed p = parse("explain --batch=256 m.json --seq 128 --memory 16GB --zero 0 --dim a:b:2=7 --dim 9 "
                     "--recompute full --preallocate --dtype-policy bfloat16 --rnn auto", no_env);
    const kp_options *o = &p.cli.values.options;
    cr_assert_eq(p.status, KP_OK, "%s: %s", p.err.where, p.err.msg);
    cr_expect_str_eq(p.cli.command->name, "explain");
    cr_expect(p.cli.n_args == 1 && !strcmp(p.cli.args[0], "m.json"));
    cr_expect(o->batch == 256 && o->seq == 128 && o->memory_bytes == 16000000000 && o->zero == 0);
    cr_expect(o->recompute == KP_RECOMPUTE_FULL && o->rnn == KP_RNN_AUTO && o->preallocate);
    cr_expect_str_eq(o->dtype_policy, "bfloat16");
    cr_assert_eq(o->n_dims, 2);
    cr_expect(!strcmp(o->dims[0].input, "a:b") && o->dims[0].axis == 2 && o->dims[0].size == 7);
    cr_expect(!o->dims[1].input && o->dims[1].size == 9);
    cr_expect_eq(kp_cli_from(&p.cli, "batch"), KP_FROM_LINE);
    cr_expect_eq(kp_cli_from(&p.cli, "tp"), KP_FROM_NOWHERE);
    kp_arena_release(&p.cli.arena);
}

Test(options, environment)
{
    parsed p = parse("submit m.json --batch 8 --wait 1.5s", some_env);
    const kp_values *v = &p.cli.values;
    cr_assert_eq(p.status, KP_OK, "%s: %s", p.err.where, p.err.msg);
    cr_expect_eq(v->options.batch, 8, "the line wins over the environment");
    cr_expect_str_eq(v->options.dtype_policy, "mixed_bfloat16");
    cr_expect_str_eq(v->server, "ipc://s");
    cr_expect(v->wait_s == 1.5 && isnan(v->timeout_s) && !v->json && !v->help);
    cr_expect_eq(kp_cli_from(&p.cli, "server"), KP_FROM_ENV);
    kp_arena_release(&p.cli.arena);
}

/* Hostile lines end as KP_USAGE; the cases (tests/cases/usage.case) look at the words. */
Test(options, refusals)
{
    static const char *const lines[] = {
        "", "--json", "nothing", "--", "-", "-- --", "explain", "explain a b", "explain a --batch=",
        "explain a --batch 1 --batch 2", "explain a --batch 1e3", "explain a --batch 0x10",
        "explain a --dim =3", "explain a --dim :1=3", "explain a --dim a:8=3", "explain a --dim a:-1=3",
        "explain a --dim a:1=0", "explain a --memory -1G", "explain a --memory 1e400", "explain a --memory 2E",
        "explain a --wait 3s", "summary a --batch 3", "plan a --nodes 0", "plan a --deadline nan",
        "explain a --optimize sgd", "explain a --no-json", "explain a ---batch 3", "explain a --=3",
        "explain a --aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=3",
        "lease renew", "lease", "get", "emit x", "explain a --objective time", "explain a --key f",
        "summary a --svg f", "explain a --error", "plan a --versus b",
    };
    for (size_t i = 0; i < KP_LEN(lines); i++) {
        parsed p = parse(lines[i], no_env);
        cr_expect_eq(p.status, KP_USAGE, "'%s' gave %s", lines[i], kp_status_name(p.status));
        cr_expect(p.err.msg[0], "'%s' has no message", lines[i]);
        kp_arena_release(&p.cli.arena);
    }
}

/* Every allocation may fail; then the status says so. */
Test(options, no_memory)
{
    for (uint64_t fail = 1; fail <= 4; fail++) {
        const char *argv[] = {"kplan", "explain", "m", "--dim", "a:1=2", "--dim", "b:1=2"};
        kp_cli cli = {0};
        kp_err err = {0};
        kp_arena_init(&cli.arena, 0);
        cli.arena.fail_call = fail;
        cr_expect_eq(kp_cli_parse(KP_LEN(argv), argv, no_env, &cli, &err), KP_NOMEM, "call %d", (int)fail);
        kp_arena_release(&cli.arena);
    }
}
