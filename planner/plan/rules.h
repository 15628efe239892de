/* SPDX-License-Identifier: MIT
 *
 * planner/plan/rules.h — what the rule ids of culprits and remedies mean.
 *
 * The ids are part of what scripts may rely on: one is never given another meaning. */
#ifndef KP_PLANNER_PLAN_RULES_H
#define KP_PLANNER_PLAN_RULES_H

#include <stddef.h>

typedef struct kp_rule {
    const char *id, *name;
    const char *blames; /* when a layer is named by it; NULL: only a remedy */
    const char *helps;  /* what is changed; NULL: only a culprit */
} kp_rule;

extern const kp_rule kp_rules[]; /* by id */
extern const size_t kp_n_rules;

#endif
