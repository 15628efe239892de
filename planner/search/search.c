/* SPDX-License-Identifier: MIT */
#include "planner/search/search.h"
#include "planner/search/fill.h"
#include "planner/search/refusal.h"
#include <inttypes.h>
#include <math.h>

/* The part of the cluster that won, and what was found there. */
typedef struct outcome {
    kp_ground ground;
    kp_hunt hunt;
    kp_hunt least; /* where nothing that fits was found: the least memory there is */
    bool tried; /* there was a point that divides the work */
    uint64_t candidates;
    bool stopped;
} outcome;

static void count(outcome *out, const kp_hunt *hunt)
{
    out->candidates += hunt->candidates;
    out->stopped = out->stopped || hunt->stopped;
}

/* All GPUs: the fastest, or the one with the least memory. */
static kp_status use_all(const kp_ground *chain, kp_objective objective, kp_arena *arena,
                         outcome *out, kp_err *err)
{
    KP_TRY(kp_ground_make(chain, chain->cluster.n_slots, arena, &out->ground, err));
    out->tried = kp_ground_divides(&out->ground);
    if (!out->tried) return KP_OK;
    if (objective == KP_OBJECTIVE_MEMORY)
        KP_TRY(kp_hunt_smallest(&out->ground, arena, &out->hunt, err));
    else
        KP_TRY(kp_hunt_fastest(&out->ground, INFINITY, arena, &out->hunt, err));
    count(out, &out->hunt);
    return KP_OK;
}

/* Next number of GPUs to look at: each within a node, then whole nodes. */
static uint32_t next_gpus(uint32_t gpus, const kp_cluster *cluster)
{
    uint32_t node = cluster->gpus_per_node;
    if (gpus < node) return gpus + 1;
    uint32_t next = gpus + node;
    return gpus < cluster->n_slots && next > cluster->n_slots ? cluster->n_slots : next;
}

/* GPU-seconds that the model's FLOPs take at the cards' peak, on however many GPUs: what parts that
 * were not looked at cannot go below. */
static double least_cost_s(const kp_ground *ground)
{
    double least = INFINITY;
    for (uint32_t i = 0; i < ground->n_bases; i++) {
        const kp_base *b = &ground->bases[i];
        double micro_batches = (double)ground->request->training->batch / b->micro_batch;
        if (b->divides)
            least = fmin(least, micro_batches * b->costs.sum[ground->n_units].flops /
                                    b->costs.peak_flops_per_s);
    }
    return least;
}

/* Parts of the cluster from one GPU up: the first on which something fits (gpus), or the one with
 * the least GPU-seconds (cost). */
static kp_status use_part(const kp_ground *chain, kp_objective objective, kp_arena *arena,
                          outcome *out, kp_err *err)
{
    double best = INFINITY, lower = INFINITY;
    for (uint32_t gpus = 1; gpus <= chain->cluster.n_slots;
         gpus = next_gpus(gpus, &chain->cluster)) {
        kp_ground ground;
        kp_hunt hunt;
        kp_arena_mark mark = kp_arena_tell(arena);
        KP_TRY(kp_ground_make(chain, gpus, arena, &ground, err));
        if (!kp_ground_divides(&ground)) {
            kp_arena_rewind(arena, mark);
            continue;
        }
        KP_TRY(kp_hunt_fastest(&ground, best / gpus, arena, &hunt, err));
        count(out, &hunt);
        lower = fmin(lower, hunt.lower_s * gpus);
        if (hunt.found || !out->tried) {
            out->ground = ground;
            out->hunt = hunt;
        }
        out->tried = true;
        if (hunt.found) best = hunt.seconds * gpus;
        if (out->stopped || (hunt.found && objective == KP_OBJECTIVE_GPUS)) break;
        if (!hunt.found && isinf(best)) out->ground = ground; /* the largest refuses for all */
    }
    if (out->stopped && out->tried) lower = fmin(lower, least_cost_s(&out->ground));
    if (out->hunt.found && objective == KP_OBJECTIVE_COST)
        out->hunt.lower_s = fmin(lower / out->ground.cluster.n_slots, out->hunt.seconds);
    return KP_OK;
}

/* The fastest is looked for by upper bounds of the bytes. Where these leave nothing, what has the
 * least memory by exact replay may fit nevertheless; if not, it is what a refusal speaks of. */
static kp_status find_least(outcome *out, kp_arena *arena, kp_err *err)
{
    if (out->hunt.found || out->stopped) return KP_OK;
    KP_TRY(kp_hunt_smallest(&out->ground, arena, &out->least, err));
    if (out->least.found) {
        double lower_s = fmin(out->hunt.lower_s, out->least.seconds);
        out->hunt = out->least;
        out->hunt.lower_s = lower_s;
    }
    out->stopped = out->least.stopped && !out->least.strategy.pp; /* not one was looked at */
    return KP_OK;
}

static const char *proof_of(const kp_search_request *request, const outcome *out, kp_arena *arena)
{
    static const char *const what[KP_OBJECTIVE_COUNT] = {
        [KP_OBJECTIVE_TIME] = "no strategy on these GPUs takes less",
        [KP_OBJECTIVE_MEMORY] = "no strategy on these GPUs takes less, whatever memory it needs",
        [KP_OBJECTIVE_GPUS] = "no strategy on as many GPUs takes less",
        [KP_OBJECTIVE_COST] = "no strategy on any part of these GPUs takes less GPU time",
    };
    return kp_arena_fmt(arena,
                        "%s: each of %" PRIu64 " was solved to its optimum or ruled out by its "
                        "work, slowest unit, borders or least memory%s",
                        what[request->options->objective], out->candidates,
                        out->stopped ? "; stopped early, the rest counts with that bound" : "");
}

static kp_status finish(const kp_search_request *request, const outcome *out, kp_arena *arena,
                        kp_plan *ret, kp_err *err)
{
    kp_plan plan;
    KP_TRY(kp_fill_plan(&out->ground, &out->hunt, arena, &plan, err));
    plan.bound.lower_s = fmin(out->hunt.lower_s, plan.step.seconds);
    plan.bound.gap = plan.step.seconds / plan.bound.lower_s - 1;
    plan.bound.proof = proof_of(request, out, arena);
    plan.search =
        (kp_plan_search){.seconds = NAN, .candidates = out->candidates, .complete = !out->stopped};
    plan.alternatives = KP_NEW(arena, kp_plan_alternative, KP_ALTERNATIVES_MAX);
    if (!plan.bound.proof || !plan.alternatives) return kp_nomem(err);
    KP_TRY(kp_hunt_others(&out->ground, &out->hunt, arena, plan.alternatives, &plan.n_alternatives,
                          err));
    *ret = plan;
    return KP_OK;
}

static kp_status refuse(const outcome *out, kp_arena *arena, kp_refusal *ret_refusal, kp_err *err)
{
    if (out->stopped) {
        kp_fail(err, KP_RETRY, "the search was stopped before anything that fits was found");
        kp_hint(err, "give it more time with --deadline");
        return KP_RETRY;
    }
    return kp_refuse(&out->ground, &out->least, arena, ret_refusal, err);
}

/* True if some op does work: views and inputs alone take no time on any cut. */
static bool computes(const kp_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_ops; i++) {
        kp_op_kind kind = kp_op_rows[graph->ops[i].op].kind;
        if (kind != KP_KIND_INPUT && kind != KP_KIND_VIEW) return true;
    }
    return false;
}

kp_status kp_search(const kp_search_request *request, kp_arena *arena, kp_plan *ret,
                    kp_refusal *ret_refusal, kp_err *err)
{
    kp_objective objective = request->options->objective;
    bool part = objective == KP_OBJECTIVE_GPUS || objective == KP_OBJECTIVE_COST;
    kp_ground chain;
    outcome out;
    memset(&out, 0, sizeof(out));
    if (request->cluster->n_slots == 0)
        return kp_fail(err, KP_USAGE, "there is no GPU to plan for");
    if (!computes(request->graph))
        return kp_fail(err, KP_UNSUPPORTED, "'%.100s' computes nothing: its layers only reshape",
                       request->graph->name);
    KP_TRY(kp_space_check(request, err));
    KP_TRY(kp_ground_chain(request, arena, &chain, err));
    if (part)
        KP_TRY(use_part(&chain, objective, arena, &out, err));
    else
        KP_TRY(use_all(&chain, objective, arena, &out, err));
    if (!out.tried) return kp_space_refuse(request, chain.cluster.n_slots, chain.max_stages, err);
    KP_TRY(find_least(&out, arena, err));
    if (out.hunt.found) return finish(request, &out, arena, ret, err);
    return refuse(&out, arena, ret_refusal, err);
}
