/* SPDX-License-Identifier: MIT */
#include "planner/cli/client.h"
#include "planner/cli/commands.h"
#include "planner/cli/output.h"
#include "planner/cli/plans.h"
#include "planner/cli/table.h"
#include <math.h>

static const kp_column columns[] = {
    {.title = "layer", .shrink = true}, {.title = "op"},
    {.title = "cut"},                   {.title = "direction"},
    {.title = "ranks", .right = true},  {.title = "grade"},
    {.title = "state"},                 {.title = "error", .right = true},
    {.title = "message", .shrink = true},
};

static kp_status print_checks(const kp_verdict *verdict, kp_cli *cli, kp_err *err)
{
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    for (uint32_t i = 0; i < verdict->n_checks; i++) {
        const kp_check *check = &verdict->checks[i];
        bool ran = check->state == KP_CHECK_OK || check->state == KP_CHECK_FAILED;
        kp_table_cell(&table, check->layer);
        kp_table_cell(&table, kp_op_names[check->op]);
        kp_table_cell(&table, kp_cut_names[check->cut]);
        kp_table_cell(&table, kp_direction_names[check->direction]);
        kp_table_fmt(&table, "%u", check->ranks);
        kp_table_cell(&table, ran ? kp_grade_names[check->grade] : NULL);
        kp_table_cell(&table, kp_check_state_names[check->state]);
        kp_table_cell(&table, isnan(check->error) ? NULL : kp_double_text(check->error).s);
        kp_table_cell(&table, check->message ? check->message : "");
    }
    KP_TRY(kp_table_print(&table, kp_cli_width(), &cli->out, err));
    kp_buf_fmt(&cli->out, "\nplan %s: %s, %.0f %% of the weights covered (%s shapes, %s executor)\n",
               verdict->plan ? verdict->plan : "", kp_verdict_names[verdict->verdict],
               100 * verdict->covered, verdict->shapes, kp_executor_names[verdict->executor]);
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
