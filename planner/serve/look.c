/* SPDX-License-Identifier: MIT
 *
 * Looking (get) and leases. */
#include "planner/plan/plan.h"
#include "planner/serve/request.h"
#include "proto/log.h"

#include <math.h>

#define LEASE_S_MIN 1.0
#define LEASE_S_MAX (30 * 86400.0)

static void fail(kp_daemon *d, kp_request *r)
{
    kp_request_refuse(d, r, &r->err, NULL);
}

/* ---- get ---- */

static kp_status get_nodes(kp_daemon *d, kp_request *r, kp_err *err)
{
    kp_nodes nodes;
    KP_TRY(kp_fleet_view(&d->fleet, &d->book, &r->arena, &nodes, err));
    kp_request_reply(d, r, KP_WIRE_NODES, &nodes);
    return KP_OK;
}

static kp_status get_gpus(kp_daemon *d, kp_request *r, kp_err *err)
{
    kp_nodes nodes;
    kp_gpus gpus;
    KP_TRY(kp_fleet_view(&d->fleet, &d->book, &r->arena, &nodes, err));
    KP_TRY(kp_fleet_gpus(&nodes, &r->arena, &gpus, err));
    kp_request_reply(d, r, KP_WIRE_GPUS, &gpus);
    return KP_OK;
}

/* What can be asked for: answered at once, or by a job of the store. */
static const struct {
    const char *what;
    kp_status (*now)(kp_daemon *d, kp_request *r, kp_err *err);
    kp_job_kind job;
} sights[] = {
    {"nodes", get_nodes, KP_JOB_COUNT}, {"gpus", get_gpus, KP_JOB_COUNT},
    {"plans", NULL, KP_JOB_PLANS},      {"leases", NULL, KP_JOB_LEASES},
    {"plan", NULL, KP_JOB_PLAN},
};

void kp_get_start(kp_daemon *d, kp_request *r)
{
    const kp_wire_get *wire = r->frame.payload;
    size_t i = 0;
    while (i < KP_LEN(sights) && strcmp(sights[i].what, wire->what)) i++;
    kp_status status = KP_OK;
    if (i == KP_LEN(sights))
        status = kp_fail(&r->err, KP_USAGE, "'%.40s' cannot be asked for", wire->what);
    else if (sights[i].now)
        status = sights[i].now(d, r, &r->err);
    else if (sights[i].job == KP_JOB_PLAN && !wire->id)
        status = kp_fail(&r->err, KP_USAGE, "no plan's id is given");
    else {
        kp_job *job = kp_job_new(sights[i].job, r->number, 0);
        if (job) job->get.id = wire->id;
        if (job) job->get.limit = KP_LIST_MAX;
        kp_request_store(d, r, job, KP_STAGE_READ);
    }
    if (status != KP_OK) fail(d, r);
}

void kp_get_job(kp_daemon *d, kp_request *r, kp_job *job)
{
    kp_status status = job->status;
    r->err = job->err;
    if (status == KP_OK && job->kind == KP_JOB_PLAN)
        status = kp_plan_check(&job->get.plan, &r->err);
    if (status != KP_OK)
        fail(d, r);
    else if (job->kind == KP_JOB_PLAN)
        kp_request_reply(d, r, KP_WIRE_PLAN, &job->get.plan);
    else if (job->kind == KP_JOB_PLANS)
        kp_request_reply(d, r, KP_WIRE_PLANS, &job->get.plans);
    else
        kp_request_reply(d, r, KP_WIRE_LEASES, &job->get.leases);
}

/* ---- leases ---- */

static bool action_of(const char *name, kp_lease_action *ret)
{
    for (size_t i = 0; i < KP_LEASE_EXPIRE; i++)
        if (!strcmp(name, kp_lease_action_names[i])) {
            *ret = (kp_lease_action)i;
            return true;
        }
    return false;
}

void kp_lease_start(kp_daemon *d, kp_request *r)
{
    const kp_wire_lease_request *wire = r->frame.payload;
    kp_lease_action action;
    kp_status status = KP_OK;
    if (!action_of(wire->action, &action))
        status = kp_fail(&r->err, KP_USAGE, "'%.40s' cannot be done to a lease", wire->action);
    else if (isfinite(wire->lease_s) &&
             (wire->lease_s < LEASE_S_MIN || wire->lease_s > LEASE_S_MAX))
        status = kp_fail(&r->err, KP_USAGE, "a lease lasts 1 s to 30 days");
    if (status != KP_OK)
        fail(d, r);
    else
        kp_request_find(d, r);
}

static void change(kp_daemon *d, kp_request *r)
{
    const kp_wire_lease_request *wire = r->frame.payload;
    kp_book_lease *lease = kp_book_find(&d->book, wire->lease);
    kp_job *job = kp_job_new(KP_JOB_LEASE, r->number, kp_now_unix_ms());
    if (job) {
        job->lease.id = wire->lease;
        action_of(wire->action, &job->lease.action);
        job->lease.lease_ms = isfinite(wire->lease_s) ? (int64_t)(wire->lease_s * 1000) : 0;
        job->lease.request = r->id;
        job->lease.digest = r->digest;
    }
    kp_request_store(d, r, job, KP_STAGE_READ);
    if (lease && r->stage == KP_STAGE_READ) lease->changing++;
}

/* The book follows the store. */
static void follow(kp_daemon *d, const kp_job *job)
{
    const kp_job_lease *change = &job->lease;
    kp_book_lease *lease = kp_book_find(&d->book, change->id);
    if (!lease) return;
    if (lease->changing) lease->changing--;
    if (job->status != KP_OK) return;
    if (change->action == KP_LEASE_RELEASE) {
        kp_log(KP_LOG_INFO, "lease %s of '%s' is released", lease->id, lease->owner);
        kp_book_remove(&d->book, lease);
        return;
    }
    if (change->lease_ms) lease->length_s = (double)change->lease_ms / 1000;
    lease->deadline_s = kp_now_s() + lease->length_s;
    lease->again_s = 0;
}

void kp_lease_job(kp_daemon *d, kp_request *r, kp_job *job)
{
    if (job->kind == KP_JOB_LEASE) follow(d, job);
    r->err = job->err;
    if (job->status != KP_OK)
        fail(d, r);
    else if (job->kind == KP_JOB_LEASE)
        kp_request_reply(d, r, KP_WIRE_LEASE, &job->lease.lease);
    else if (job->find.found)
        kp_request_replay(d, r, &job->find);
    else
        change(d, r);
}
