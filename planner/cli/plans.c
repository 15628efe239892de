/* SPDX-License-Identifier: MIT */
#include "planner/cli/plans.h"
#include "planner/cli/file.h"
#include "planner/plan/plan.h"

bool kp_is_plan_id(const char *text)
{
    size_t len = strlen(text);
    bool clean = strspn(text + (len < 3 ? len : 3), "0123456789abcdefghijklmnopqrstuvwxyz") + 3 == len;
    return !strncmp(text, "pl_", 3) && len > 3 && clean;
}

kp_status kp_plan_file(kp_cli *cli, const char *path, kp_plan **ret, kp_err *err)
{
    const char *bytes;
    size_t len;
    kp_plan *plan = KP_NEW(&cli->arena, kp_plan, 1);
    if (!plan) return kp_nomem(err);
    kp_status status = kp_file_read(cli, path, &bytes, &len, err);
    if (status) {
        kp_hint(err, "a plan is an id, pl_ and 16 digits, or a file that 'kplan plan --json' wrote");
        return status;
    }
    status = kp_schema_read(&kp_schema_plan, bytes, len, &cli->arena, plan, err);
    if (!status && kp_plan_check(plan, err)) /* our own plans pass; this one was changed */
        status = err->code = KP_INPUT;
    if (status) return kp_file_at(status, path, err);
    *ret = plan;
    return KP_OK;
}
