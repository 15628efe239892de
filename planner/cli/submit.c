/* SPDX-License-Identifier: MIT */
#include "planner/cli/client.h"
#include "planner/cli/commands.h"
#include "planner/cli/file.h"
#include "planner/cli/model.h"
#include "planner/cli/output.h"
#include "planner/cli/plans.h"
#include "planner/plan/plan.h"
#include <math.h>
#include <pwd.h>
#include <unistd.h>

static const char *user_name(void)
{
    const char *user = getenv("USER");
    if (!user || !*user) user = getenv("LOGNAME");
    if (user && *user) return user;
    const struct passwd *entry = getpwuid(getuid());
    return entry ? entry->pw_name : "unknown";
}

kp_status kp_plan_there(kp_cli *cli, bool reserve, kp_plan **ret, kp_err *err)
{
    const kp_values *values = &cli->values;
    kp_model_file file;
    void *reply;
    KP_TRY(kp_model_load(cli, cli->args[0], &file, err));
    kp_wire_plan_request request = {
        .model_name = file.name,
        .model = {(const uint8_t *)file.bytes, (uint32_t)file.len},
        .options = values->options,
        .nodes = values->nodes,
        .gpus_per_node = values->gpus_per_node,
        .reserve = reserve,
        .verify = reserve && !values->no_verify,
        .lease_s = values->lease_s,
        .owner = values->owner ? values->owner : user_name(),
    };
    double end = kp_now_s() + (isnan(values->wait_s) ? 0 : values->wait_s);
    kp_progress progress = kp_progress_start();
    for (;;) {
        kp_status status = kp_cli_call(cli, KP_WIRE_PLAN_REQUEST, &request, KP_WIRE_PLAN, &reply, err);
        if (!status) break;
        /* Only a conflict goes away by waiting. After KP_RETRY the outcome is not known: asking anew
         * could reserve twice. */
        if (status != KP_CONFLICT || kp_now_s() + 1 > end) return kp_file_at(status, file.path, err);
        kp_progress_show(&progress, "waiting for GPUs", 0, 0);
        kp_cli_sleep(1);
    }
    kp_progress_end(&progress);
    *ret = reply;
    return kp_plan_check(*ret, err);
}

static kp_status judge(const kp_plan *plan, kp_err *err)
{
    switch (plan->verification.verdict) {
    case KP_VERDICT_FAILED:
        kp_fail(err, KP_VERIFY_FAILED, "plan '%s': a check of the verification failed", plan->id);
        break;
    case KP_VERDICT_INCONCLUSIVE:
        kp_fail(err, KP_INCONCLUSIVE, "plan '%s': the verification could not be finished", plan->id);
        break;
    default: return KP_OK;
    }
    kp_hint(err, "'kplan verify %s' runs it again and shows each check", plan->id);
    return err->code;
}

kp_status kp_cmd_submit(kp_cli *cli, kp_err *err)
{
    kp_plan *plan;
    KP_TRY(kp_plan_there(cli, true, &plan, err));
    if (cli->values.json) KP_TRY(kp_cli_json(cli, &kp_schema_plan, plan, err));
    kp_status status = judge(plan, err);
    cli->whole = cli->values.json;
    if (!cli->values.json && !status) {
        kp_plan_line(plan, &cli->out);
        kp_buf_char(&cli->out, '\n');
    }
    return status;
}
