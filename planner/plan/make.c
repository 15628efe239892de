/* SPDX-License-Identifier: MIT */
#include "planner/plan/make.h"
#include "planner/plan/plan.h"

static kp_status search(const kp_plan_request *request, const kp_graph *graph,
                        const kp_cluster *cluster, kp_arena *arena, kp_plan *ret,
                        kp_refusal **ret_refusal, kp_err *err)
{
    kp_training training;
    kp_refusal *refusal = KP_NEW(arena, kp_refusal, 1);
    char *sha256 = KP_NEW(arena, char, 65);
    if (!refusal || !sha256) return kp_nomem(err);
    kp_sha256_hex(request->bytes, request->len, sha256);
    KP_TRY(kp_training_resolve(graph, request->options, arena, &training, err));
    kp_search_request search_request = {
        .graph = graph,
        .training = &training,
        .options = request->options,
        .cluster = cluster,
        .sha256 = sha256,
        .stop = request->stop,
    };
    kp_status status = kp_search(&search_request, arena, ret, refusal, err);
    if (status == KP_INFEASIBLE) *ret_refusal = refusal;
    return status;
}

kp_status kp_plan_make(const kp_plan_request *request, kp_arena *arena, kp_plan *ret,
                       kp_refusal **ret_refusal, kp_err *err)
{
    kp_bind bind;
    const kp_graph *graph;
    kp_cluster cluster;
    kp_plan plan;
    *ret_refusal = NULL;
    kp_schema_init(&kp_schema_plan, &plan);
    KP_TRY(kp_training_bind(request->options, arena, &bind, err));
    KP_TRY(kp_model_read(request->bytes, request->len, request->name, &bind, arena, &graph, err));
    KP_TRY(kp_cluster_make(request->nodes, request->gpus, request->want_nodes,
                           request->gpus_per_node, arena, &cluster, err));
    KP_TRY(search(request, graph, &cluster, arena, &plan, ret_refusal, err));
    KP_TRY(kp_plan_id(&plan, request->request_id, arena, &plan.id, err));
    KP_TRY(kp_plan_check(&plan, err));
    *ret = plan;
    return KP_OK;
}
