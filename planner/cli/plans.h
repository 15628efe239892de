/* SPDX-License-Identifier: MIT
 *
 * planner/cli/plans.h — a plan that a command names: an id, or a plan's JSON file. */
#ifndef KP_PLANNER_CLI_PLANS_H
#define KP_PLANNER_CLI_PLANS_H

#include "planner/cli/cli.h"

/* True for "pl_...", which is an id of the daemon's; a file of that name is "./pl_...". */
bool kp_is_plan_id(const char *text);

/* Reads and checks a kplan.plan/1 file. KP_INPUT with the file as place, also for a plan that
 * breaks an invariant. Lives in cli's arena. */
kp_status kp_plan_file(kp_cli *cli, const char *path, kp_plan **ret, kp_err *err);

/* Asks the daemon for a plan of the command's model with its options, reserved and verified or as
 * a dry run; waits for GPUs as --wait says. The plan is checked. Lives in cli's arena. */
kp_status kp_plan_there(kp_cli *cli, bool reserve, kp_plan **ret, kp_err *err);

#endif
