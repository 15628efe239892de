/* SPDX-License-Identifier: MIT
 *
 * planner/cli/commands.h — the commands' functions: each appends its result to cli->out. */
#ifndef KP_PLANNER_CLI_COMMANDS_H
#define KP_PLANNER_CLI_COMMANDS_H

#include "planner/cli/cli.h"

kp_command_run kp_cmd_summary, kp_cmd_explain, kp_cmd_plan, kp_cmd_submit, kp_cmd_verify,
    kp_cmd_get, kp_cmd_show, kp_cmd_lease, kp_cmd_version, kp_cmd_help,
    kp_cmd_completion;

/* Help of the command on the line (`--help`), or the overview if there is none. */
kp_command_run kp_help_command;

/* The help texts, also for the README and tests: the overview, one command, the exit codes,
 * the rules of explain, and all commands and options as Markdown. */
void kp_help_overview(kp_buf *out);
void kp_help_of(const kp_command *command, kp_buf *out);
void kp_help_exit_codes(kp_buf *out);
void kp_help_rules(kp_buf *out);
void kp_help_reference(kp_buf *out);

#endif
