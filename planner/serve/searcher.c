/* SPDX-License-Identifier: MIT
 *
 * The search thread: one plan at a time. */
#include "planner/plan/make.h"
#include "planner/serve/job.h"
#include "proto/clock.h"

typedef struct stop_arg {
    const atomic_bool *quit;
    double stop_s;
} stop_arg;

static bool ask_stop(void *arg)
{
    const stop_arg *stop = arg;
    return atomic_load_explicit(stop->quit, memory_order_relaxed) || kp_now_s() >= stop->stop_s;
}

/* The same nodes with every lease gone. */
static kp_status without_leases(const kp_nodes *nodes, kp_arena *arena, kp_nodes *ret, kp_err *err)
{
    *ret = *nodes;
    ret->nodes = KP_NEW(arena, kp_node, nodes->n_nodes);
    if (!ret->nodes) return kp_nomem(err);
    for (uint32_t i = 0; i < nodes->n_nodes; i++) {
        kp_node *node = &ret->nodes[i];
        *node = nodes->nodes[i];
        node->gpus = KP_NEW(arena, kp_gpu, node->n_gpus);
        if (!node->gpus) return kp_nomem(err);
        for (uint32_t k = 0; k < node->n_gpus; k++) {
            node->gpus[k] = nodes->nodes[i].gpus[k];
            if (node->gpus[k].state == KP_GPU_LEASED) node->gpus[k].state = KP_GPU_FREE;
        }
    }
    return KP_OK;
}

/* "lease 'ls_1' of 'ann' has 16 GPUs until 2026-...": the first few. */
static void name_holders(const kp_leases *leases, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < leases->n_leases && at + 120 < size; i++) {
        const kp_lease *lease = &leases->leases[i];
        at += (size_t)snprintf(text + at, size - at,
                               "%slease '%.40s' of '%.20s' has %u GPUs until %s", at ? ", " : "",
                               lease->id, lease->owner, lease->n_gpus, lease->expires);
    }
}

/* Too few free GPUs: INFEASIBLE if the cluster never has them, CONFLICT if someone holds them. */
static kp_status who_has_them(kp_job *job, const kp_gpu_kinds *gpus)
{
    const kp_job_search *search = &job->search;
    kp_nodes all;
    kp_cluster cluster;
    char holders[300];
    if (search->leases.n_leases == 0) return KP_INFEASIBLE;
    KP_TRY(without_leases(&search->nodes, &job->arena, &all, &job->err));
    if (kp_cluster_make(&all, gpus, search->request->nodes, search->request->gpus_per_node,
                        &job->arena, &cluster, NULL) != KP_OK)
        return KP_INFEASIBLE;
    name_holders(&search->leases, holders, sizeof(holders));
    kp_fail(&job->err, KP_CONFLICT, "not enough GPUs are free: %s", holders);
    kp_hint(&job->err, "wait for the lease to end, or ask for fewer nodes");
    return KP_CONFLICT;
}

/* True if it is the inventory that is too small, not the memory of its GPUs. */
static bool too_few(const kp_job_search *search, const kp_gpu_kinds *gpus, kp_arena *arena)
{
    kp_cluster cluster;
    return kp_cluster_make(&search->nodes, gpus, search->request->nodes,
                           search->request->gpus_per_node, arena, &cluster, NULL) == KP_INFEASIBLE;
}

void kp_searcher_run(kp_job *job, const kp_gpu_kinds *gpus, const atomic_bool *quit)
{
    kp_job_search *search = &job->search;
    const kp_wire_plan_request *wire = search->request;
    stop_arg stop = {.quit = quit, .stop_s = search->stop_s};
    if (ask_stop(&stop)) {
        job->status = kp_fail(&job->err, KP_RETRY, "no time was left to search");
        return;
    }
    const kp_plan_request request = {
        .bytes = (const char *)wire->model.data,
        .len = wire->model.len,
        .name = wire->model_name,
        .options = &wire->options,
        .nodes = &search->nodes,
        .want_nodes = wire->nodes,
        .gpus_per_node = wire->gpus_per_node,
        .gpus = gpus,
        .request_id = search->request_id,
        .stop = {.ask = ask_stop, .arg = &stop},
    };
    job->status = kp_plan_make(&request, &job->arena, &search->plan, &search->refusal, &job->err);
    if (job->status == KP_INFEASIBLE && !search->refusal && too_few(search, gpus, &job->arena))
        job->status = who_has_them(job, gpus);
}

static void searcher_main(void *end, void *arg)
{
    const atomic_bool *quit = arg;
    kp_arena arena;
    kp_gpu_kinds gpus = {0};
    kp_err err = {0};
    kp_arena_init(&arena, 0);
    kp_status table = kp_gpu_table(&arena, &gpus, &err);
    for (bool ended = false; !ended;) {
        kp_job *job = kp_actor_next(end, true, &ended);
        if (!job) continue;
        if (table == KP_OK)
            kp_searcher_run(job, &gpus, quit);
        else {
            job->status = table;
            job->err = err;
        }
        kp_actor_reply(end, job);
    }
    kp_arena_release(&arena);
}

kp_status kp_searcher_open(void *zmq, atomic_bool *quit, kp_actor **ret, kp_err *err)
{
    return kp_actor_open(zmq, "search", searcher_main, quit, ret, err);
}
