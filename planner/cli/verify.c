/* SPDX-License-Identifier: MIT */
#include "planner/cli/client.h"
#include "planner/cli/commands.h"
#include "planner/cli/output.h"
#include "planner/cli/plans.h"
#include "planner/cli/table.h"
#include <math.h>

static const kp_column columns[] = {
    {.title = "layer", .shrink = true}, {.title = "op"},
    {.title = "cut"},                   {.title = "ranks", .right = true},
    {.title = "grade"},                 {.title = "forward"},
    {.title = "backward"},              {.title = "", .shrink = true},
};

static bool same_thing(const kp_check *a, const kp_check *b)
{
    return a->op == b->op && a->cut == b->cut && a->ranks == b->ranks && !strcmp(a->layer, b->layer);
}

/* One row for checks [from, to) of one op: its directions side by side. */
static void add_row(kp_table *table, const kp_check *from, const kp_check *to)
{
    const char *state[KP_DIRECTION_COUNT] = {NULL}, *message = "";
    for (const kp_check *check = from; check < to; check++) {
        state[check->direction] = kp_check_state_names[check->state];
        if (check->state != KP_CHECK_OK && check->message) message = check->message;
    }
    kp_table_cell(table, from->layer);
    kp_table_cell(table, kp_op_names[from->op]);
    kp_table_cell(table, kp_cut_names[from->cut]);
    kp_table_fmt(table, "%u", from->ranks);
    kp_table_cell(table, kp_grade_names[from->grade]);
    kp_table_cell(table, state[KP_FORWARD]);
    kp_table_cell(table, state[KP_BACKWARD]);
    kp_table_cell(table, message);
}

/* The ops that no executor has a row for, once each. */
static void print_not_covered(const kp_verdict *verdict, kp_buf *out)
{
    bool told[KP_OP_COUNT] = {false}, any = false;
    for (uint32_t i = 0; i < verdict->n_checks; i++) {
        const kp_check *check = &verdict->checks[i];
        if (check->state != KP_CHECK_NOT_COVERED || told[check->op]) continue;
        told[check->op] = true;
        kp_buf_fmt(out, "%s%s", any ? ", " : "without a check: ", kp_op_names[check->op]);
        any = true;
    }
    if (any) kp_buf_char(out, '\n');
}

static kp_status print_checks(const kp_verdict *verdict, kp_cli *cli, kp_err *err)
{
    const kp_check *checks = verdict->checks, *end = checks + verdict->n_checks;
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    for (const kp_check *from = checks, *to; from < end; from = to) {
        for (to = from + 1; to < end && same_thing(from, to);) to++;
        if (from->state != KP_CHECK_NOT_COVERED) add_row(&table, from, to);
    }
    if (table.n_cells) {
        KP_TRY(kp_table_print(&table, kp_cli_width(), &cli->out, err));
        kp_buf_char(&cli->out, '\n');
    }
    print_not_covered(verdict, &cli->out);
    kp_buf_fmt(&cli->out, "plan %s: %s", verdict->plan ? verdict->plan : "of the file",
               kp_verdict_names[verdict->verdict]);
    kp_buf_fmt(&cli->out, ", %.0f %% of the weights checked, with %s shapes, by the %s executor\n",
               floor(100 * verdict->covered + 1e-9), verdict->shapes,
               kp_executor_names[verdict->executor]);
    return KP_OK;
}

static kp_status judge(const kp_verdict *verdict, kp_err *err)
{
    const kp_check *bad = NULL;
    kp_check_state worst =
        verdict->verdict == KP_VERDICT_FAILED ? KP_CHECK_FAILED : KP_CHECK_INCONCLUSIVE;
    if (verdict->verdict == KP_VERDICT_VERIFIED) return KP_OK;
    for (uint32_t i = 0; i < verdict->n_checks && !bad; i++)
        if (verdict->checks[i].state == worst) bad = &verdict->checks[i];
    kp_status status = worst == KP_CHECK_FAILED ? KP_VERIFY_FAILED : KP_INCONCLUSIVE;
    if (!bad) return kp_fail(err, status, "%s", kp_status_text(status));
    kp_fail(err, status, "%s, cut by %s, %s: %s", kp_op_names[bad->op], kp_cut_names[bad->cut],
            kp_direction_names[bad->direction],
            bad->message ? bad->message : kp_check_state_names[bad->state]);
    kp_err_at(err, "layer '%s'", bad->layer);
    return status;
}

kp_status kp_cmd_verify(kp_cli *cli, kp_err *err)
{
    void *reply;
    kp_wire_verify_request request = {.sample = cli->values.sample};
    if (kp_is_plan_id(cli->args[0])) request.plan = cli->args[0];
    else KP_TRY(kp_plan_file(cli, cli->args[0], &request.body, err));
    KP_TRY(kp_cli_call(cli, KP_WIRE_VERIFY_REQUEST, &request, KP_WIRE_VERDICT, &reply, err));
    const kp_verdict *verdict = reply;
    if (cli->values.json) KP_TRY(kp_cli_json(cli, &kp_schema_verdict, verdict, err));
    else KP_TRY(print_checks(verdict, cli, err));
    cli->whole = true;
    return judge(verdict, err);
}
