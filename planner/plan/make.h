/* SPDX-License-Identifier: MIT
 *
 * planner/plan/make.h — the whole way from a model file and an inventory to a checked plan.
 *
 * Read the model, take the free GPUs, decide the training's settings, search, check the
 * invariants, give it its id. The command line and the daemon's worker both call this, so a dry
 * run and a stored plan cannot differ. Pure. */
#ifndef KP_PLANNER_PLAN_MAKE_H
#define KP_PLANNER_PLAN_MAKE_H

#include "planner/search/search.h"

typedef struct kp_plan_request {
    const char *bytes; /* the model file */
    size_t len;
    const char *name; /* for messages, and the model's name if the file has none */
    const kp_options *options;
    const kp_nodes *nodes;
    uint32_t want_nodes, gpus_per_node; /* UINT32_MAX: all */
    const kp_gpu_kinds *gpus;
    const char *request_id; /* goes into the plan's id; NULL for a dry run */
    kp_stop stop;
} kp_plan_request;

/* Statuses of kp_model_read, kp_cluster_make, kp_training_resolve, kp_search and kp_plan_check.
 * *ret_refusal is set on a KP_INFEASIBLE that the search gave, NULL otherwise. `created`, `lease`
 * and `search.seconds` of the plan are absent. Lives in `arena`. */
kp_status kp_plan_make(const kp_plan_request *request, kp_arena *arena, kp_plan *ret,
                       kp_refusal **ret_refusal, kp_err *err);

#endif
