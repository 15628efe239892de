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

/* Our own plans pass; this one may have been changed. The id of a stored plan is made with its
 * request's id too, which the file does not have. */
static kp_status check(const kp_plan *plan, kp_cli *cli, kp_err *err)
{
    const char *id;
    if (kp_plan_check(plan, err)) return err->code = KP_INPUT;
    if (plan->created) return KP_OK;
    KP_TRY(kp_plan_id(plan, NULL, &cli->arena, &id, err));
    if (plan->id && !strcmp(plan->id, id)) return KP_OK;
    return kp_fail(err, KP_INPUT, "the id '%.40s' is not that of the content, '%s': it was changed",
                   plan->id ? plan->id : "", id);
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
    if (!status) status = check(plan, cli, err);
    if (status) return kp_file_at(status, path, err);
    *ret = plan;
    return KP_OK;
}
