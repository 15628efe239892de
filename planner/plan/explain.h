/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain.h — why it is big, and what to change.
 *
 * Culprits are rules over the memory of a part (a table: rule id, condition, message); remedies
 * are changes to the options or the graph that are really run again: saves_bytes is the difference
 * of the two peaks, never a formula. Rule ids are those of rules.c. Pure. */
#ifndef KP_PLANNER_PLAN_EXPLAIN_H
#define KP_PLANNER_PLAN_EXPLAIN_H

#include "planner/estimate/memory.h"

typedef struct kp_explain_request {
    const char *bytes; /* the model file, for remedies that change the model */
    size_t len;
    const char *name;
    const kp_options *options;
    const kp_gpu_kinds *gpus;
} kp_explain_request;

/* What else may be asked; NULL where it is not. */
typedef struct kp_explain_questions {
    const char *error; /* a pasted message or a log, any bytes */
    size_t error_len;
    const char *versus; /* another model file's bytes */
    size_t versus_len;
    const char *versus_name;
    bool *versus_failed; /* set to true where the failure is the other model's; NULL: not asked */
    const char *largest; /* "batch", "seq" or "INPUT:AXIS" */
    kp_buf *svg;         /* gets a drawing of the memory over the step */
} kp_explain_questions;

/* One GPU without plan options, else the worst rank of that strategy. Reads the model itself. */
kp_status kp_explain_make(const kp_explain_request *request, kp_arena *arena, kp_explain *ret,
                          kp_err *err);

/* The same, and the answers to further questions (questions NULL: none). KP_USAGE also: the text of
 * `error` holds no such message, `largest` names no open dimension. A failure of the other model
 * names it as place. */
kp_status kp_explain_ask(const kp_explain_request *request, const kp_explain_questions *questions,
                         kp_arena *arena, kp_explain *ret, kp_err *err);

/* For a person: verdict line, bar of categories, layers, culprits, remedies. `width` columns. */
void kp_explain_print(const kp_explain *explain, unsigned width, kp_buf *out);

#endif
