/* SPDX-License-Identifier: MIT
 *
 * Verification of a request's plan: the run's messages, its verdict, and what follows from it. */
#include "planner/plan/plan.h"
#include "planner/serve/request.h"
#include "proto/log.h"
#include "proto/wire.h"

#include <math.h>

#define RUN_S_MAX 600.0

static bool is_submit(const kp_request *r)
{
    return r->frame.type == KP_WIRE_PLAN_REQUEST;
}

static void fail(kp_daemon *d, kp_request *r)
{
    kp_request_refuse(d, r, &r->err, NULL);
}

/* ---- VERIFY_REQUEST: whose plan? ---- */

void kp_verify_start(kp_daemon *d, kp_request *r)
{
    const kp_wire_verify_request *wire = r->frame.payload;
    if (wire->plan) {
        kp_request_find(d, r);
        return;
    }
    kp_status status = KP_OK;
    if (!wire->body)
        status = kp_fail(&r->err, KP_USAGE, "neither a plan's id nor a plan is given");
    else if (kp_plan_check(wire->body, &r->err) != KP_OK)
        status = r->err.code = KP_INPUT;
    if (status != KP_OK) {
        fail(d, r);
        return;
    }
    r->keyed = false; /* nothing of it is stored */
    r->plan = *wire->body;
    kp_verify_run(d, r, wire->sample);
}

static void read_plan(kp_daemon *d, kp_request *r)
{
    const kp_wire_verify_request *wire = r->frame.payload;
    kp_job *job = kp_job_new(KP_JOB_PLAN, r->number, 0);
    if (job) job->get.id = wire->plan;
    kp_request_store(d, r, job, KP_STAGE_READ);
}

static void have_plan(kp_daemon *d, kp_request *r, const kp_plan *plan)
{
    const kp_wire_verify_request *wire = r->frame.payload;
    kp_status status = kp_plan_check(plan, &r->err);
    if (status == KP_OK) status = kp_request_plan(r, plan, &r->err);
    if (status != KP_OK) {
        fail(d, r);
        return;
    }
    r->stored = true;
    kp_verify_run(d, r, wire->sample);
}

/* ---- the end of a run ---- */

static void abort_parts(kp_daemon *d, kp_request *r)
{
    const kp_wire_run_abort msg = {.run = r->run.id, .reason = r->run.failure};
    for (uint32_t i = 0; i < r->run.n_parts; i++)
        if (r->run.parts[i].sent && !r->run.parts[i].ended)
            kp_session_send(d, r->run.parts[i].node, KP_WIRE_RUN_ABORT, &msg, NULL);
}

void kp_verify_abort(kp_daemon *d, kp_request *r, const char *why)
{
    if (!r->have_run || r->run.state == KP_RUN_OVER) return;
    kp_run_fail(&r->run, "%s", why);
    abort_parts(d, r);
}

/* The check that decided, for the message. */
static const kp_check *worst_check(const kp_verdict *verdict)
{
    kp_check_state state =
        verdict->verdict == KP_VERDICT_FAILED ? KP_CHECK_FAILED : KP_CHECK_INCONCLUSIVE;
    for (uint32_t i = 0; i < verdict->n_checks; i++)
        if (verdict->checks[i].state == state) return &verdict->checks[i];
    return NULL;
}

/* What a submit says when its plan was not verified. */
static void say_why(kp_request *r)
{
    const kp_check *check = worst_check(&r->verdict);
    const char *why = check && check->message ? check->message : "no reason was given";
    if (r->verdict.verdict == KP_VERDICT_FAILED) {
        kp_fail(&r->err, KP_VERIFY_FAILED,
                "plan '%s': layer '%.60s', %s cut by %s, is wrong: %.160s", r->plan.id,
                check ? check->layer : "?", check ? kp_op_names[check->op] : "?",
                check ? kp_cut_names[check->cut] : "?", why);
        kp_hint(&r->err, "its GPUs were released; 'kplan show %s' has all checks", r->plan.id);
        return;
    }
    kp_fail(&r->err, KP_INCONCLUSIVE, "the verification of plan '%s' could not be finished: %.200s",
            r->plan.id, r->run.failure ? r->run.failure : why);
    kp_hint(&r->err, "its GPUs were released; submit again, or with --no-verify");
}

/* The reply as it is stored: a plan is composed again from the store, others as bytes. */
static kp_status pack_reply(kp_request *r, bool failed, kp_store_request *ret, kp_err *err)
{
    *ret = (kp_store_request){.digest = r->digest, .reply_type = KP_WIRE_PLAN};
    kp_buf_clear(&r->reply);
    kp_status status = KP_OK;
    if (failed) {
        const kp_error_msg msg = kp_wire_error(&r->err, NULL);
        ret->reply_type = KP_WIRE_ERROR;
        status = kp_schema_pack(&kp_schema_error, &msg, &r->reply, err);
    } else if (!is_submit(r)) {
        ret->reply_type = KP_WIRE_VERDICT;
        status = kp_schema_pack(&kp_schema_verdict, &r->verdict, &r->reply, err);
    }
    if (is_submit(r)) ret->plan = r->plan.id;
    if (r->reply.len)
        ret->reply =
            (kp_bytes){.data = (const uint8_t *)r->reply.data, .len = (uint32_t)r->reply.len};
    return status;
}

static bool unusable(const kp_request *r)
{
    return is_submit(r) && (r->verdict.verdict == KP_VERDICT_FAILED ||
                            r->verdict.verdict == KP_VERDICT_INCONCLUSIVE);
}

/* A sample that passed proves less than what may be there already: only its failure is kept. */
static bool counts(const kp_request *r)
{
    const kp_wire_verify_request *wire = is_submit(r) ? NULL : r->frame.payload;
    return !wire || !wire->sample || r->verdict.verdict == KP_VERDICT_FAILED;
}

static void store_verdict(kp_daemon *d, kp_request *r)
{
    int64_t now_ms = kp_now_unix_ms();
    kp_status status =
        kp_verdict_short(&r->verdict, now_ms, &r->arena, &r->plan.verification, &r->err);
    kp_job *job = status == KP_OK ? kp_job_new(KP_JOB_FINISH, r->number, now_ms) : NULL;
    if (unusable(r)) say_why(r);
    if (job) {
        job->finish.verdict = counts(r) ? &r->verdict : NULL;
        job->finish.release = unusable(r) && r->lease_id[0] ? r->lease_id : NULL;
        job->finish.request = r->id;
        status = pack_reply(r, unusable(r), &job->finish.done, &r->err);
    }
    if (job && status != KP_OK) {
        kp_job_free(job);
        fail(d, r);
        return;
    }
    kp_request_store(d, r, job, KP_STAGE_FINISH);
}

static void finish(kp_daemon *d, kp_request *r)
{
    if (r->run.failure) abort_parts(d, r);
    if (kp_run_verdict(&r->run, &r->verdict, &r->err) != KP_OK)
        fail(d, r);
    else if (r->stored)
        store_verdict(d, r);
    else
        kp_request_reply(d, r, KP_WIRE_VERDICT, &r->verdict);
}

static void finished(kp_daemon *d, kp_request *r, kp_job *job)
{
    if (job->status != KP_OK) {
        r->err = job->err;
        fail(d, r);
        return;
    }
    kp_log(KP_LOG_INFO, "plan %s: %s, %.1f %% of the weights%s%s", r->plan.id,
           kp_verdict_names[r->verdict.verdict], r->verdict.covered * 100,
           r->run.failure ? ": " : "", r->run.failure ? r->run.failure : "");
    if (!is_submit(r)) {
        kp_request_reply(d, r, KP_WIRE_VERDICT, &r->verdict);
        return;
    }
    kp_book_lease *lease = kp_book_find(&d->book, r->lease_id);
    if (unusable(r) && lease) kp_book_remove(&d->book, lease);
    /* A lease may be shorter than its verification. */
    if (!lease && r->plan.lease) r->plan.lease->state = KP_LEASE_EXPIRED;
    if (unusable(r))
        fail(d, r);
    else
        kp_request_reply(d, r, KP_WIRE_PLAN, &r->plan);
}

void kp_verify_job(kp_daemon *d, kp_request *r, kp_job *job)
{
    if (job->kind == KP_JOB_FINISH) {
        finished(d, r, job);
    } else if (job->status != KP_OK) {
        r->err = job->err;
        fail(d, r);
    } else if (job->kind == KP_JOB_FIND && job->find.found) {
        kp_request_replay(d, r, &job->find);
    } else if (job->kind == KP_JOB_FIND) {
        read_plan(d, r);
    } else {
        have_plan(d, r, &job->get.plan);
    }
}

/* ---- a run ---- */

/* GPUs that someone else's lease has are not ours to run on. */
static kp_status check_gpus(const kp_daemon *d, kp_request *r, kp_err *err)
{
    for (uint32_t i = 0; i < r->run.n_parts; i++) {
        const kp_run_part *part = &r->run.parts[i];
        for (uint32_t k = 0; k < part->n_ranks; k++) {
            const kp_book_lease *holder = kp_book_holder(&d->book, part->ranks[k].gpu);
            if (holder && strcmp(holder->plan, r->plan.id))
                return kp_fail(err, KP_CONFLICT, "GPU %u of node '%s' is in lease '%s' of '%s'",
                               part->ranks[k].gpu_index, part->node, holder->id, holder->owner);
            if (!kp_fleet_gpu(&d->fleet, part->node, part->ranks[k].gpu))
                kp_run_fail(&r->run, "node '%s' has no GPU '%s' now", part->node,
                            part->ranks[k].gpu);
        }
        if (!kp_fleet_ready(&d->fleet, part->node))
            kp_run_fail(&r->run, "node '%s' is not ready", part->node);
    }
    return KP_OK;
}

static bool simulated(const kp_daemon *d, const kp_run *run)
{
    for (uint32_t i = 0; i < run->n_parts; i++) {
        const kp_fleet_node *node = kp_fleet_find(&d->fleet, run->parts[i].node);
        if (!node || node->node.simulated) return true;
    }
    return run->n_parts == 0;
}

/* Sends what may be sent now. */
static void advance(kp_daemon *d, kp_request *r)
{
    kp_run *run = &r->run;
    for (kp_run_part *part; (part = kp_run_next(run));) {
        kp_err why = {0};
        const kp_fleet_node *node = kp_fleet_find(&d->fleet, part->node);
        const kp_wire_run msg = kp_run_message(run, part, run->deadline_s - kp_now_s());
        part->sent = true;
        part->epoch = node ? kp_arena_str(&r->arena, node->node.boot_epoch) : NULL;
        if (kp_session_send(d, part->node, KP_WIRE_RUN, &msg, &why) != KP_OK)
            kp_run_fail(run, "%s", why.msg);
    }
    if (run->state == KP_RUN_OVER && r->stage == KP_STAGE_VERIFY) finish(d, r);
}

void kp_verify_run(kp_daemon *d, kp_request *r, bool sample)
{
    char id[48], token[48];
    double now_s = kp_now_s();
    kp_random_id("rn_", id);
    kp_random_id("", token);
    if (kp_run_make(&r->plan, sample, id, token, &r->arena, &r->run, &r->err) != KP_OK) {
        fail(d, r);
        return;
    }
    const kp_book_lease *lease = r->plan.lease ? kp_book_find(&d->book, r->plan.lease->id) : NULL;
    if (lease) r->run.fence = lease->fence;
    r->run.executor = simulated(d, &r->run) ? KP_EXEC_HOST : KP_EXEC_CUDA;
    r->run.deadline_s = fmin(r->deadline_s - kp_request_margin_s(r), now_s + RUN_S_MAX);
    r->have_run = true;
    r->stage = KP_STAGE_VERIFY;
    if (is_submit(r) && !lease) kp_run_fail(&r->run, "its lease ended before");
    if (r->run.state != KP_RUN_OVER && check_gpus(d, r, &r->err) != KP_OK) {
        if (!is_submit(r)) {
            fail(d, r);
            return;
        }
        kp_run_fail(&r->run, "%s", r->err.msg);
    }
    advance(d, r);
}

/* ---- what comes, and time ---- */

void kp_verify_frame(kp_daemon *d, const char *node, const kp_frame *frame)
{
    const kp_wire_run_ready *ready = frame->type == KP_WIRE_RUN_READY ? frame->payload : NULL;
    const kp_wire_run_result *result = frame->type == KP_WIRE_RUN_RESULT ? frame->payload : NULL;
    const char *id = ready ? ready->run : result->run;
    for (uint32_t i = 0; i < d->n_requests; i++) {
        kp_request *r = d->requests[i];
        if (r->stage != KP_STAGE_VERIFY || !r->have_run || strcmp(r->run.id, id)) continue;
        kp_err why = {0};
        kp_status status = ready ? kp_run_ready(&r->run, node, ready->meet, &why)
                                 : kp_run_result(&r->run, node, result, &why);
        if (status != KP_OK) kp_run_fail(&r->run, "%s", why.msg);
        advance(d, r);
        return;
    }
}

/* Lost: gone by silence, or another start of the agent, which knows nothing of the run. */
static void watch_part(kp_daemon *d, kp_request *r, const kp_run_part *part)
{
    const kp_fleet_node *node = kp_fleet_find(&d->fleet, part->node);
    bool lost = !node || node->node.state == KP_NODE_GONE ||
                (part->epoch && strcmp(part->epoch, node->node.boot_epoch));
    if (lost) kp_run_fail(&r->run, "node '%s' was lost", part->node);
}

/* A fence that the agent knows already asks nothing of it, and tells us if it is there. */
static void probe_part(kp_daemon *d, kp_request *r, const kp_run_part *part)
{
    kp_err why = {0};
    const kp_wire_fence msg = {.lease = r->lease_id, .fence = r->lease.fence};
    if (kp_session_send(d, part->node, KP_WIRE_FENCE, &msg, &why) == KP_LOST)
        kp_run_fail(&r->run, "node '%s' was lost: it closed its connection", part->node);
}

void kp_verify_tick(kp_daemon *d, kp_request *r, double now_s, bool probe)
{
    for (uint32_t i = 0; i < r->run.n_parts; i++) {
        const kp_run_part *part = &r->run.parts[i];
        if (!part->sent || part->ended) continue;
        watch_part(d, r, part);
        if (probe) probe_part(d, r, part);
    }
    if (now_s > r->run.deadline_s) {
        double given_s = r->run.deadline_s - r->arrived_s;
        kp_run_fail(&r->run, "it was not done after %s", kp_seconds_text(given_s).s);
    }
    advance(d, r);
}
