/* SPDX-License-Identifier: MIT
 *
 * planner/plan/rules.h — the rules of an explanation, one row each.
 *
 * A row has its id, when it blames, what it says, what helps and where its facts come from; and
 * the functions that do so: a condition over one layer (rows with an `order`: the first that holds
 * names the layer's reason), a condition over the whole setting, and changes to try. Rules that
 * need facts which no model file and no option holds say where they are answered instead: beside a
 * phase, on the host, in the footer, by another command.
 * The ids are part of what scripts may rely on: one is never given another meaning. */
#ifndef KP_PLANNER_PLAN_RULES_H
#define KP_PLANNER_PLAN_RULES_H

#include "proto/text.h"

struct kp_suspect;
struct kp_explaining;
struct kp_remedying;

typedef struct kp_rule {
    const char *id, *name;
    const char *blames; /* when a layer or the setting is named by it; NULL: never */
    const char *helps;  /* what is changed and run again; NULL: nothing */
    const char *doc;    /* what it rests on, or where it is answered */
    unsigned order;     /* of conditions over a layer; 0: none */
    bool (*holds)(const struct kp_suspect *suspect);
    void (*say)(const struct kp_suspect *suspect, kp_buf *out); /* NULL: what it holds most of */
    const char *why;                                            /* said behind it */
    kp_status (*setting)(struct kp_explaining *explaining);
    void (*changes)(struct kp_remedying *remedying);
} kp_rule;

extern const kp_rule kp_rules[]; /* by id */
extern const size_t kp_n_rules;

#endif
