/* SPDX-License-Identifier: MIT
 *
 * The table of requests: admission, joining, replies, progress, deadlines. */
#include "planner/serve/request.h"
#include "planner/plan/plan.h"
#include "proto/log.h"
#include "proto/wire.h"

#include <assert.h>
#include <math.h>

#define ARENA_BYTES_MAX  ((size_t)512 << 20)
#define PROGRESS_AFTER_S 0.3 /* quick answers come without */
#define PROGRESS_EVERY_S 0.5

/* What a request's type does: how it starts, who takes its jobs, whether its reply is kept. */
static const struct {
    kp_wire_type type;
    bool keyed;
    void (*start)(kp_daemon *d, kp_request *r);
    void (*job)(kp_daemon *d, kp_request *r, kp_job *job);
} kinds[] = {
    {KP_WIRE_PLAN_REQUEST, true, kp_submit_start, kp_submit_job},
    {KP_WIRE_VERIFY_REQUEST, true, kp_verify_start, kp_verify_job},
    {KP_WIRE_LEASE_REQUEST, true, kp_lease_start, kp_lease_job},
    {KP_WIRE_GET, false, kp_get_start, kp_get_job},
};

static const char *const stage_texts[] = {
    [KP_STAGE_NEW] = "starting",
    [KP_STAGE_FIND] = "looking up",
    [KP_STAGE_QUEUE] = "waiting for other searches",
    [KP_STAGE_SEARCH] = "searching",
    [KP_STAGE_COMMIT] = "committing",
    [KP_STAGE_REJOIN] = "waiting for agents",
    [KP_STAGE_VERIFY] = "verifying",
    [KP_STAGE_FINISH] = "committing",
    [KP_STAGE_READ] = "reading",
    [KP_STAGE_OVER] = "done",
};
_Static_assert(KP_LEN(stage_texts) == KP_STAGE_COUNT, "one text a stage");

static size_t kind_of(kp_wire_type type)
{
    size_t i = 0;
    while (i < KP_LEN(kinds) && kinds[i].type != type) i++;
    return i;
}

kp_request *kp_request_new(void)
{
    kp_request *r = calloc(1, sizeof(*r));
    if (!r) return NULL;
    kp_arena_init(&r->arena, ARENA_BYTES_MAX);
    kp_buf_init(&r->reply, 0);
    return r;
}

void kp_request_free(kp_request *r)
{
    if (!r) return;
    kp_buf_release(&r->reply);
    kp_arena_release(&r->arena);
    free(r);
}

static void drop(kp_daemon *d, kp_request *r)
{
    assert(r->out == 0);
    for (uint32_t i = 0; i < d->n_requests; i++) {
        if (d->requests[i] != r) continue;
        memmove(&d->requests[i], &d->requests[i + 1],
                (d->n_requests - i - 1) * sizeof(d->requests[0]));
        d->n_requests--;
        break;
    }
    kp_request_free(r);
}

/* ---- replies ---- */

/* To all who wait; false if none of them is there any more. */
static bool tell(kp_daemon *d, kp_request *r, kp_wire_type type, const void *payload)
{
    kp_envelope with;
    bool reached = false;
    kp_schema_init(&kp_schema_envelope, &with);
    with.id = r->id;
    with.epoch = d->epoch;
    for (uint32_t i = 0; i < r->n_peers; i++) {
        kp_err why = {0};
        kp_status status = kp_link_send(d->link, &r->peers[i], type, &with, payload, &why);
        if (status != KP_LOST) reached = true;
        if (status != KP_OK && status != KP_LOST) kp_daemon_noise(d, &r->peers[i], &why);
    }
    return reached;
}

void kp_request_reply(kp_daemon *d, kp_request *r, kp_wire_type type, const void *payload)
{
    if (r->stage == KP_STAGE_OVER) return;
    tell(d, r, type, payload);
    r->stage = KP_STAGE_OVER;
}

void kp_request_refuse(kp_daemon *d, kp_request *r, const kp_err *why, kp_refusal *refusal)
{
    const kp_error_msg msg = kp_wire_error(why, refusal);
    kp_request_reply(d, r, KP_WIRE_ERROR, &msg);
}

/* ---- admission ---- */

/* A refusal of a frame that never became a request. */
static void turn_away(kp_daemon *d, kp_request *r, kp_status code, const char *why)
{
    kp_err err = {0};
    kp_fail(&err, code, "%s", why);
    r->peers[0] = r->frame.peer;
    r->n_peers = 1;
    kp_daemon_noise(d, &r->frame.peer, &err);
    kp_request_refuse(d, r, &err, NULL);
    kp_request_free(r);
}

size_t kp_request_bytes(const kp_daemon *d)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < d->n_requests; i++) bytes += d->requests[i]->arena.used_bytes;
    return bytes;
}

/* The digest covers what was asked: the type and the exact bytes. */
static void make_digest(kp_request *r)
{
    char text[96];
    kp_sha256_hex(r->frame.envelope.payload.data, r->frame.envelope.payload.len, r->digest);
    int len = snprintf(text, sizeof(text), "%d %s", (int)r->frame.type, r->digest);
    kp_sha256_hex(text, (size_t)len, r->digest);
}

/* A repeated request joins the one that runs. True if it did, or was refused. */
static bool join(kp_daemon *d, kp_request *r)
{
    for (uint32_t i = 0; i < d->n_requests; i++) {
        kp_request *other = d->requests[i];
        if (!other->keyed || other->gone || other->stage == KP_STAGE_OVER ||
            strcmp(other->id, r->id))
            continue;
        if (strcmp(other->digest, r->digest)) {
            turn_away(d, r, KP_CONFLICT, "a request of this id with other content is running");
            return true;
        }
        other->peers[other->next_peer] = r->frame.peer;
        other->next_peer = (other->next_peer + 1) % KP_REQUEST_PEERS;
        if (other->n_peers < KP_REQUEST_PEERS) other->n_peers++;
        kp_request_free(r);
        return true;
    }
    return false;
}

static void take_over(kp_daemon *d, kp_request *r)
{
    double budget_s = r->frame.envelope.budget_s;
    r->number = ++d->last_request;
    r->arrived_s = kp_now_s();
    r->deadline_s = isfinite(budget_s) ? r->arrived_s + budget_s : INFINITY;
    r->peers[0] = r->frame.peer;
    r->n_peers = 1;
    r->next_peer = 1;
    d->requests[d->n_requests++] = r;
}

void kp_request_admit(kp_daemon *d, kp_request *r)
{
    size_t kind = kind_of(r->frame.type);
    char fresh[48];
    r->id = r->frame.envelope.id;
    if (kind == KP_LEN(kinds)) {
        turn_away(d, r, KP_INPUT, "this message is not for a planner");
        return;
    }
    kp_random_id("rq_", fresh);
    if (!r->id) r->id = kp_arena_str(&r->arena, fresh);
    if (!r->id || !kp_word_ok(r->id, 128)) {
        turn_away(d, r, KP_INPUT, "a request's id is not 1 to 128 bytes of text");
        return;
    }
    if (d->n_requests == KP_REQUESTS_MAX ||
        kp_request_bytes(d) + r->arena.used_bytes > KP_REQUEST_BYTES_MAX) {
        turn_away(d, r, KP_RETRY, "too many requests are waiting");
        return;
    }
    r->keyed = kinds[kind].keyed;
    if (r->keyed) {
        make_digest(r);
        if (join(d, r)) return;
    }
    take_over(d, r);
    kinds[kind].start(d, r);
    if (r->stage == KP_STAGE_OVER && r->out == 0) drop(d, r);
}

/* ---- jobs ---- */

void kp_request_store(kp_daemon *d, kp_request *r, kp_job *job, kp_stage stage)
{
    kp_err why = {0};
    kp_status status = job ? kp_daemon_store(d, job, &why) : kp_nomem(&why);
    if (status != KP_OK) {
        kp_request_refuse(d, r, &why, NULL);
        return;
    }
    r->out++;
    r->stage = stage;
}

void kp_request_job(kp_daemon *d, kp_job *job)
{
    kp_request *r = NULL;
    for (uint32_t i = 0; i < d->n_requests && !r; i++)
        if (d->requests[i]->number == job->request) r = d->requests[i];
    if (r) {
        r->out--;
        /* Refused meanwhile: only what has consequences is followed up. */
        bool idle = job->kind == KP_JOB_FIND || job->kind == KP_JOB_PLAN;
        if (r->stage != KP_STAGE_OVER || !idle) kinds[kind_of(r->frame.type)].job(d, r, job);
        if (r->stage == KP_STAGE_OVER && r->out == 0) drop(d, r);
    }
    kp_job_free(job);
}

kp_status kp_request_plan(kp_request *r, const kp_plan *plan, kp_err *err)
{
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(&kp_schema_plan, plan, &packed, err);
    if (status == KP_OK)
        status =
            kp_schema_unpack(&kp_schema_plan, packed.data, packed.len, &r->arena, &r->plan, err);
    kp_buf_release(&packed);
    return status;
}

double kp_request_margin_s(const kp_request *r)
{
    return isfinite(r->deadline_s) ? fmin(0.5, 0.1 * (r->deadline_s - r->arrived_s)) : 0;
}

void kp_request_find(kp_daemon *d, kp_request *r)
{
    kp_job *job = kp_job_new(KP_JOB_FIND, r->number, kp_now_unix_ms());
    if (job) job->find.id = r->id;
    kp_request_store(d, r, job, KP_STAGE_FIND);
}

void kp_request_replay(kp_daemon *d, kp_request *r, const kp_job_find *find)
{
    const kp_store_request *seen = &find->request;
    const kp_schema *schema = kp_wire_schema(seen->reply_type);
    kp_status status = KP_OK;
    if (strcmp(seen->digest, r->digest)) {
        status =
            kp_fail(&r->err, KP_CONFLICT, "request '%s' was made before with other content", r->id);
        kp_hint(&r->err, "an id names one request; leave --request-id out for a new one");
    } else if (!seen->reply.data && find->plan) {
        status = kp_plan_check(find->plan, &r->err);
        if (status == KP_OK) kp_request_reply(d, r, KP_WIRE_PLAN, find->plan);
    } else {
        void *payload = schema ? kp_arena_alloc(&r->arena, 1, schema->size) : NULL;
        status = payload ? kp_schema_unpack(schema, seen->reply.data, seen->reply.len, &r->arena,
                                            payload, &r->err)
                         : kp_nomem(&r->err);
        if (status == KP_OK) kp_request_reply(d, r, seen->reply_type, payload);
    }
    if (status != KP_OK) kp_request_refuse(d, r, &r->err, NULL);
}

/* ---- time ---- */

/* Nothing of it lasts yet: it may be forgotten when nobody waits for it. */
static bool harmless(const kp_request *r)
{
    return r->stage <= KP_STAGE_SEARCH || r->stage == KP_STAGE_READ;
}

static void progress(kp_daemon *d, kp_request *r, double now_s)
{
    if (now_s - r->arrived_s < PROGRESS_AFTER_S || now_s - r->told_s < PROGRESS_EVERY_S) return;
    r->told_s = now_s;
    kp_wire_progress msg = {.text = stage_texts[r->stage], .total = UINT64_MAX};
    if (r->stage == KP_STAGE_VERIFY && r->have_run) {
        msg.total = r->run.n_specs;
        for (uint32_t i = 0; i < r->run.n_parts; i++) msg.done += r->run.parts[i].ended;
    }
    if (!tell(d, r, KP_WIRE_PROGRESS, &msg) && harmless(r)) r->gone = true;
}

static void tick_one(kp_daemon *d, kp_request *r, double now_s, bool probe)
{
    progress(d, r, now_s);
    if (r->stage == KP_STAGE_VERIFY) kp_verify_tick(d, r, now_s, probe);
    if (r->stage == KP_STAGE_REJOIN) kp_submit_rejoin(d, r, now_s);
    bool waits =
        r->stage == KP_STAGE_QUEUE || r->stage == KP_STAGE_FIND || r->stage == KP_STAGE_REJOIN;
    if (waits && now_s > r->deadline_s - kp_request_margin_s(r)) {
        kp_fail(&r->err, KP_RETRY, "the deadline passed while the request was waiting");
        kp_request_refuse(d, r, &r->err, NULL);
    }
    if (r->gone && r->stage == KP_STAGE_QUEUE) r->stage = KP_STAGE_OVER;
}

void kp_request_tick(kp_daemon *d, double now_s)
{
    bool probe = now_s - d->probed_s >= d->fleet.heartbeat_s;
    if (probe) d->probed_s = now_s;
    for (uint32_t i = 0; i < d->n_requests;) {
        kp_request *r = d->requests[i];
        if (r->stage != KP_STAGE_OVER) tick_one(d, r, now_s, probe);
        if (r->stage == KP_STAGE_OVER && r->out == 0)
            drop(d, r);
        else
            i++;
    }
    kp_submit_next(d);
}

void kp_request_end_all(kp_daemon *d, const kp_err *why)
{
    for (uint32_t i = 0; i < d->n_requests; i++) {
        kp_request *r = d->requests[i];
        if (r->stage == KP_STAGE_VERIFY) kp_verify_abort(d, r, "the planner ended");
        kp_request_refuse(d, r, why, NULL);
    }
}
