/* SPDX-License-Identifier: MIT
 *
 * planner/search/search.h — the fastest cut that fits, with a bound on what could be better.
 *
 * Space: dp x tp x pp x micro-batch x ZeRO x recompute over all GPUs of the cluster (of objectives
 * `gpus` and `cost`: over its first n, for every n), filtered by the target and by degrees given by
 * hand; pipeline stages are cut by thresholds and dynamic programming over units (stages.h; chains
 * of more than 300 units to a ten-thousandth); tensor-parallel cuts of each layer by cuts.h.
 * Memory is a hard limit: a plan's high bound of every rank, replayed exactly (memory.h), is within
 * usable bytes. Every answer has a lower bound, so a gap: no strategy of the space that fits is
 * faster. What keeps them apart is cuts between the upper bound of a stage's bytes, by which they
 * are found, and the lower one, by which they are ruled out. Deterministic: of times that agree to
 * 1e-9 the smaller pp wins, then tp, then zero, then the larger micro-batch. Pure. */
#ifndef KP_PLANNER_SEARCH_SEARCH_H
#define KP_PLANNER_SEARCH_SEARCH_H

#include "planner/estimate/cost.h"

/* Stops the search early: called now and then, true means "answer with the best so far" (then
 * plan.search.complete is false and the bound says so). NULL: never. */
typedef struct kp_stop {
    bool (*ask)(void *arg);
    void *arg;
} kp_stop;

typedef struct kp_search_request {
    const kp_graph *graph;
    const kp_training *training;
    const kp_options *options;
    const kp_cluster *cluster;
    const char *sha256; /* of the model file */
    kp_stop stop;
} kp_search_request;

/* A plan without id (""), created, lease and verification (verdict none). KP_INFEASIBLE: ret_refusal
 * says the binding constraint and changes, each of them searched again. KP_USAGE: a degree given by
 * hand that divides no cut dimension of any layer with weights, degrees that cannot multiply to the
 * GPUs, a batch that cannot be divided over them (the hint says which can). KP_UNSUPPORTED: the
 * target cannot run a degree given by hand; an interleaved schedule. KP_INPUT: sizes past
 * KP_SIZE_MAX at every micro-batch. KP_RETRY: stopped before anything fitted. KP_NOMEM. Lives in
 * `arena`, but for names of layers and weights (the graph's) and of nodes and GPUs (the cluster's). */
kp_status kp_search(const kp_search_request *request, kp_arena *arena, kp_plan *ret,
                    kp_refusal *ret_refusal, kp_err *err);

#endif
