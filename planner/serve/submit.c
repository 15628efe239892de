/* SPDX-License-Identifier: MIT
 *
 * A plan on the live inventory: searched, and if asked for, reserved and stored. */
#include "planner/plan/plan.h"
#include "planner/serve/request.h"
#include "proto/log.h"

#include <inttypes.h>
#include <math.h>

#define SEARCH_S_MAX 120.0
#define LEASE_ID_LEN 19
#define REJOIN_S     8.0 /* agents try to connect at least every 5 s */
#define LEASE_S_MIN  1.0
#define LEASE_S_MAX  (30 * 86400.0)

static const kp_wire_plan_request *wire(const kp_request *r)
{
    return r->frame.payload;
}

static const char *owner_of(const kp_request *r)
{
    return wire(r)->owner && wire(r)->owner[0] ? wire(r)->owner : "unknown";
}

static void fail(kp_daemon *d, kp_request *r, kp_refusal *refusal)
{
    kp_request_refuse(d, r, &r->err, refusal);
}

static kp_status check(const kp_request *r, kp_err *err)
{
    double lease_s = wire(r)->lease_s;
    if (wire(r)->model.len == 0) return kp_fail(err, KP_INPUT, "the model file is empty");
    if (wire(r)->nodes == 0 || wire(r)->gpus_per_node == 0)
        return kp_fail(err, KP_USAGE, "a plan needs at least one node and one GPU on it");
    if (isfinite(lease_s) && (lease_s < LEASE_S_MIN || lease_s > LEASE_S_MAX))
        return kp_fail(err, KP_USAGE, "a lease lasts 1 s to 30 days");
    if (!kp_word_ok(owner_of(r), 128))
        return kp_fail(err, KP_USAGE, "an owner is a name of at most 128 bytes");
    return KP_OK;
}

void kp_submit_start(kp_daemon *d, kp_request *r)
{
    if (check(r, &r->err) != KP_OK) {
        fail(d, r, NULL);
        return;
    }
    r->keyed = wire(r)->reserve;
    if (r->keyed) {
        kp_request_find(d, r);
        return;
    }
    r->stage = KP_STAGE_QUEUE;
    kp_submit_next(d);
}

/* ---- search ---- */

/* Whoever holds GPUs, in the job's memory. */
static kp_status list_leases(const kp_daemon *d, kp_arena *arena, kp_leases *ret, kp_err *err)
{
    kp_lease *list = KP_NEW(arena, kp_lease, d->book.n);
    if (!list) return kp_nomem(err);
    double now_s = kp_now_s();
    for (size_t i = 0; i < d->book.n; i++) {
        const kp_book_lease *lease = d->book.leases[i];
        double left_s = lease->pending ? lease->length_s : fmax(lease->deadline_s - now_s, 0);
        list[i].id = kp_arena_str(arena, lease->id);
        list[i].owner = kp_arena_str(arena, lease->owner);
        list[i].expires =
            kp_arena_str(arena, kp_time_text(kp_now_unix_ms() + (int64_t)(left_s * 1000)).s);
        list[i].n_gpus = lease->n_gpus;
        if (!list[i].id || !list[i].owner || !list[i].expires) return kp_nomem(err);
    }
    *ret = (kp_leases){.leases = list, .n_leases = (uint32_t)d->book.n};
    return KP_OK;
}

/* A search may take what the user allows, and leaves half the time for the verification. */
static double stop_at(const kp_request *r, double now_s)
{
    double limit_s = wire(r)->options.deadline_s;
    double left_s = r->deadline_s - kp_request_margin_s(r) - now_s;
    if (wire(r)->reserve && wire(r)->verify) left_s /= 2;
    if (!isfinite(limit_s) || limit_s > SEARCH_S_MAX) limit_s = SEARCH_S_MAX;
    return now_s + fmin(limit_s, left_s);
}

static kp_status send_search(kp_daemon *d, kp_request *r, kp_err *err)
{
    kp_job *job = kp_job_new(KP_JOB_SEARCH, r->number, 0);
    if (!job) return kp_nomem(err);
    job->search.request = wire(r);
    job->search.request_id = wire(r)->reserve ? r->id : NULL;
    job->search.stop_s = stop_at(r, kp_now_s());
    kp_status status = kp_fleet_view(&d->fleet, &d->book, &job->arena, &job->search.nodes, err);
    if (status == KP_OK) status = list_leases(d, &job->arena, &job->search.leases, err);
    if (status == KP_OK && !kp_actor_send(d->searcher, job))
        status = kp_fail(err, KP_INTERNAL, "the search thread takes no jobs");
    if (status != KP_OK) {
        kp_job_free(job);
        return status;
    }
    r->out++;
    r->stage = KP_STAGE_SEARCH;
    d->searching = true;
    return KP_OK;
}

void kp_submit_next(kp_daemon *d)
{
    for (uint32_t i = 0; i < d->n_requests && !d->searching; i++) {
        kp_request *r = d->requests[i];
        if (r->stage != KP_STAGE_QUEUE || r->gone) continue;
        if (send_search(d, r, &r->err) != KP_OK) fail(d, r, NULL);
    }
}

/* ---- commit ---- */

/* A plan made on an older view: are its GPUs still there and free? */
static kp_status still_there(const kp_daemon *d, const kp_plan *plan, kp_err *err)
{
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        const kp_plan_rank *rank = &plan->ranks[i];
        const kp_book_lease *holder = kp_book_holder(&d->book, rank->gpu);
        const kp_gpu *gpu = kp_fleet_gpu(&d->fleet, rank->node, rank->gpu);
        if (!kp_fleet_ready(&d->fleet, rank->node))
            return kp_fail(err, KP_CONFLICT, "node '%s' left while the plan was made", rank->node);
        if (!gpu || gpu->state != KP_GPU_FREE)
            return kp_fail(err, KP_CONFLICT, "GPU %u of node '%s' is %s now", rank->gpu_index,
                           rank->node, gpu ? kp_gpu_state_names[gpu->state] : "missing");
        if (holder)
            return kp_fail(err, KP_CONFLICT, "GPU %u of node '%s' is in lease '%s' of '%s'",
                           rank->gpu_index, rank->node, holder->id, holder->owner);
    }
    return KP_OK;
}

/* Takes the GPUs in the book before the store has them, so that no other plan does. */
static kp_status hold(kp_daemon *d, kp_request *r, double lease_s, kp_err *err)
{
    const char **gpus = KP_NEW(&r->arena, const char *, r->plan.n_ranks);
    if (!gpus) return kp_nomem(err);
    for (uint32_t i = 0; i < r->plan.n_ranks; i++) gpus[i] = r->plan.ranks[i].gpu;
    kp_random_id("ls_", r->lease_id);
    r->lease_id[LEASE_ID_LEN] = 0; /* 64 random bits are enough, and fit a line */
    const kp_lease lease = {.id = r->lease_id,
                            .plan = r->plan.id,
                            .owner = owner_of(r),
                            .gpus = gpus,
                            .n_gpus = r->plan.n_ranks};
    return kp_book_add(&d->book, &lease, lease_s, INFINITY, true, err);
}

static void commit(kp_daemon *d, kp_request *r)
{
    double lease_s = isfinite(wire(r)->lease_s) ? wire(r)->lease_s : d->config->lease_s;
    kp_status status = still_there(d, &r->plan, &r->err);
    if (status == KP_OK) status = hold(d, r, lease_s, &r->err);
    if (status == KP_CONFLICT && r->tries < KP_REPLANS_MAX) {
        r->tries++;
        r->stage = KP_STAGE_QUEUE;
        return;
    }
    if (status != KP_OK) {
        fail(d, r, NULL);
        return;
    }
    kp_job *job = kp_job_new(KP_JOB_COMMIT, r->number, kp_now_unix_ms());
    if (job)
        job->commit.args = (kp_store_commit_args){
            .plan = &r->plan,
            .model_bytes = wire(r)->model.len,
            .owner = owner_of(r),
            .lease = r->lease_id,
            .lease_ms = (int64_t)(lease_s * 1000),
            .now_ms = job->now_ms,
            .request = r->id,
            .digest = r->digest,
            .done = !wire(r)->verify,
        };
    kp_request_store(d, r, job, KP_STAGE_COMMIT);
    if (r->stage != KP_STAGE_COMMIT) kp_book_remove(&d->book, kp_book_find(&d->book, r->lease_id));
}

static void searched(kp_daemon *d, kp_request *r, kp_job *job)
{
    r->stage = r->gone ? KP_STAGE_OVER : KP_STAGE_QUEUE;
    if (r->gone) return;
    r->err = job->err;
    kp_status status = job->status;
    if (status == KP_OK) status = kp_plan_check(&job->search.plan, &r->err);
    if (status == KP_OK) status = kp_request_plan(r, &job->search.plan, &r->err);
    if (status == KP_OK && kp_now_s() > r->deadline_s)
        status = kp_fail(&r->err, KP_RETRY, "the deadline passed before the plan was made");
    if (status != KP_OK)
        fail(d, r, status == KP_INFEASIBLE ? job->search.refusal : NULL);
    else if (wire(r)->reserve)
        commit(d, r);
    else
        kp_request_reply(d, r, KP_WIRE_PLAN, &r->plan);
}

/* ---- committed ---- */

static kp_status fill_in(kp_request *r, const kp_job *job, kp_err *err)
{
    const kp_store_commit_args *args = &job->commit.args;
    r->lease = (kp_plan_lease){
        .id = r->lease_id,
        .fence = job->commit.fence,
        .expires = kp_arena_str(&r->arena, kp_time_text(args->now_ms + args->lease_ms).s),
        .state = KP_LEASE_HELD,
    };
    r->plan.lease = &r->lease;
    r->plan.created = kp_arena_str(&r->arena, kp_time_text(args->now_ms).s);
    return r->lease.expires && r->plan.created ? KP_OK : kp_nomem(err);
}

static void committed(kp_daemon *d, kp_request *r, kp_job *job)
{
    kp_book_lease *lease = kp_book_find(&d->book, r->lease_id);
    if (job->status != KP_OK) {
        kp_book_remove(&d->book, lease);
        r->err = job->err;
        if (job->status != KP_STORE) kp_log_err(KP_LOG_WARN, &job->err);
        fail(d, r, NULL);
        return;
    }
    lease->pending = false;
    lease->fence = job->commit.fence;
    lease->deadline_s = kp_now_s() + lease->length_s;
    r->stored = true;
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < lease->n_gpus && status == KP_OK; i++)
        status = kp_book_fence_put(&d->book, lease->gpus[i], lease->fence, &r->err);
    if (status == KP_OK) status = fill_in(r, job, &r->err);
    if (status != KP_OK) {
        fail(d, r, NULL);
        return;
    }
    kp_log(KP_LOG_INFO, "plan %s: %u GPUs to '%s' by lease %s, fence %" PRIu64, r->plan.id,
           r->plan.n_ranks, lease->owner, lease->id, lease->fence);
    kp_session_fence(d, lease);
    if (wire(r)->verify)
        kp_verify_run(d, r, false);
    else
        kp_request_reply(d, r, KP_WIRE_PLAN, &r->plan);
}

/* ---- a request that was seen before ---- */

/* Committed, but the daemon ended before the verdict: go on from there. */
static void resume(kp_daemon *d, kp_request *r, const kp_job_find *find)
{
    kp_status status = kp_plan_check(find->plan, &r->err);
    if (status == KP_OK) status = kp_request_plan(r, find->plan, &r->err);
    if (status != KP_OK) {
        fail(d, r, NULL);
        return;
    }
    r->stored = true;
    if (r->plan.lease) snprintf(r->lease_id, sizeof(r->lease_id), "%s", r->plan.lease->id);
    r->stage = KP_STAGE_REJOIN;
    kp_submit_rejoin(d, r, kp_now_s());
}

/* Right after a restart agents are missing that are well: a verdict then would cost the lease. */
void kp_submit_rejoin(kp_daemon *d, kp_request *r, double now_s)
{
    bool all = true;
    for (uint32_t i = 0; i < r->plan.n_ranks && all; i++)
        all = kp_fleet_ready(&d->fleet, r->plan.ranks[i].node);
    if (all || now_s - d->started_s > REJOIN_S) kp_verify_run(d, r, false);
}

static void found(kp_daemon *d, kp_request *r, kp_job *job)
{
    const kp_job_find *find = &job->find;
    if (job->status != KP_OK) {
        r->err = job->err;
        fail(d, r, NULL);
    } else if (!find->found) {
        r->stage = KP_STAGE_QUEUE;
    } else if (find->request.done || !find->plan || strcmp(find->request.digest, r->digest)) {
        kp_request_replay(d, r, find);
    } else {
        resume(d, r, find);
    }
}

void kp_submit_job(kp_daemon *d, kp_request *r, kp_job *job)
{
    switch (job->kind) {
    case KP_JOB_FIND:
        found(d, r, job);
        break;
    case KP_JOB_SEARCH:
        searched(d, r, job);
        break;
    case KP_JOB_COMMIT:
        committed(d, r, job);
        break;
    default:
        kp_verify_job(d, r, job);
        break;
    }
    kp_submit_next(d);
}
