/* SPDX-License-Identifier: MIT */
#include "planner/cli/commands.h"

#define G(name) (1u << KP_GROUP_##name)
#define STEP    (G(MODEL) | G(TRAINING))

/* clang-format off */
const kp_command kp_commands[] = {
    /* name       arguments                    min max  groups, function, help */
    { "summary",  "FILE",                       1, 1,  G(MODEL), kp_cmd_summary,
      "layers, output shapes, parameters, weights and FLOPs of a model file" },
    { "explain",  "FILE",                       1, 1,  STEP | G(DEVICE) | G(PLAN) | G(EXPLAIN), kp_cmd_explain,
      "memory of one training step: does it fit, where the bytes are, which layers are to blame, what helps" },
    { "plan",     "FILE",                       1, 1,  STEP | G(CLUSTER) | G(PART) | G(PLAN) | G(SEARCH) | G(TIMING) | G(CLIENT), kp_cmd_plan,
      "the fastest cut over a cluster that fits; nothing is reserved" },
    { "submit",   "FILE",                       1, 1,  STEP | G(PART) | G(PLAN) | G(SEARCH) | G(SUBMIT) | G(TERM) | G(CLIENT) | G(REQUEST), kp_cmd_submit,
      "plan on the daemon's cluster, reserve the GPUs, verify the cut on them, store it" },
    { "verify",   "PLAN",                       1, 1,  G(VERIFY) | G(CLIENT) | G(REQUEST), kp_cmd_verify,
      "run a plan's cut layers on its nodes and compare them with the uncut ones" },
    { "get",      "nodes|gpus|plans|leases",    1, 1,  G(CLIENT), kp_cmd_get, "what the daemon knows" },
    { "show",     "PLAN",                       1, 1,  G(CLIENT), kp_cmd_show, "a plan, by id or from its file" },
    { "lease",    "renew|release|confirm LEASE", 2, 2, G(TERM) | G(KEEP) | G(CLIENT) | G(REQUEST), kp_cmd_lease,
      "keep, give back or confirm reserved GPUs" },
    { "help",     "[COMMAND|TOPIC]",            0, 1,  0, kp_cmd_help,
      "this list, or a command's options; topics: exit-codes, rules, reference" },
    { "completion", "bash|zsh|fish",            1, 1,  0, kp_cmd_completion, "completion for a shell, to standard output" },
    { "version",  "",                           0, 0,  0, kp_cmd_version, "the program's version" },

    { "emit",       "PLAN --for TARGET",        1, 1,  0, NULL, "the plan as its target's configuration" },
    { "report",     "capacity|usage [FILE ...]", 1, 2, 0, NULL, "capacity and usage" },
    { "calibrate",  "",                         0, 0,  0, NULL, "measured constants of this machine" },
    { "topo",       "",                         0, 0,  0, NULL, "how GPUs are linked" },
    { "keys",       "",                         0, 0,  0, NULL, "keys of clients and agents" },
    { "history",    "",                         0, 0,  0, NULL, "what was planned" },
    { "audit",      "",                         0, 0,  0, NULL, "who did what" },
    { "config",     "show",                     1, 1,  0, NULL, "settings and where they come from" },
    { "diff",       "PLAN PLAN",                2, 2,  0, NULL, "two plans side by side" },
    { "doctor",     "",                         0, 0,  0, NULL, "what is missing on this machine" },
};
/* clang-format on */
const size_t kp_n_commands = KP_LEN(kp_commands);

const kp_command *kp_command_find(const char *name)
{
    for (size_t i = 0; i < kp_n_commands; i++)
        if (!strcmp(kp_commands[i].name, name)) return &kp_commands[i];
    return NULL;
}
