/* SPDX-License-Identifier: MIT
 *
 * The store thread: the only one that calls the store, in groups of jobs. */
#include "planner/serve/job.h"

static kp_status do_start(kp_store **store, kp_job *job)
{
    kp_job_start *start = &job->start;
    KP_TRY(kp_store_open(start->path, store, &job->err));
    KP_TRY(kp_store_nodes(*store, &job->arena, &start->nodes, &job->err));
    KP_TRY(kp_store_fences(*store, &job->arena, &start->fences, &start->n_fences, &job->err));
    return kp_store_leases_live(*store, &job->arena, &start->leases, &start->n_leases, &job->err);
}

static kp_status do_node(kp_store *store, kp_job *job)
{
    return kp_store_node_put(store, &job->node.node, job->node.revision, job->now_ms, &job->err);
}

static kp_status do_find(kp_store *store, kp_job *job)
{
    kp_job_find *find = &job->find;
    KP_TRY(kp_store_request_find(store, find->id, &job->arena, &find->request, &find->found,
                                 &job->err));
    if (!find->found || !find->request.plan) return KP_OK;
    find->plan = KP_NEW(&job->arena, kp_plan, 1);
    if (!find->plan) return kp_nomem(&job->err);
    return kp_store_plan_get(store, find->request.plan, &job->arena, find->plan, &job->err);
}

static kp_status do_commit(kp_store *store, kp_job *job)
{
    return kp_store_plan_commit(store, &job->commit.args, &job->commit.fence, &job->err);
}

static kp_status do_finish(kp_store *store, kp_job *job)
{
    kp_job_finish *finish = &job->finish;
    kp_lease lease;
    if (finish->verdict && finish->verdict->plan)
        KP_TRY(kp_store_verification_put(store, finish->verdict, job->now_ms, &job->err));
    if (finish->release) {
        kp_status status = kp_store_lease_change(store, finish->release, KP_LEASE_RELEASE, "kpland",
                                                 0, job->now_ms, &job->arena, &lease, &job->err);
        /* It may have ended meanwhile: that is what is wanted. */
        if (status != KP_OK && status != KP_CONFLICT) return status;
    }
    if (!finish->request) return KP_OK;
    return kp_store_request_done(store, finish->request, &finish->done, job->now_ms, &job->err);
}

static kp_status do_lease(kp_store *store, kp_job *job)
{
    kp_job_lease *change = &job->lease;
    KP_TRY(kp_store_lease_change(store, change->id, change->action, change->actor, change->lease_ms,
                                 job->now_ms, &job->arena, &change->lease, &job->err));
    if (!change->request) return KP_OK;
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(&kp_schema_lease, &change->lease, &packed, &job->err);
    const kp_store_request done = {
        .digest = change->digest,
        .reply_type = KP_WIRE_LEASE,
        .reply = {.data = (const uint8_t *)packed.data, .len = (uint32_t)packed.len},
    };
    if (status == KP_OK)
        status = kp_store_request_done(store, change->request, &done, job->now_ms, &job->err);
    kp_buf_release(&packed);
    return status;
}

static kp_status do_note(kp_store *store, kp_job *job)
{
    for (uint32_t i = 0; i < job->note.n_notes; i++)
        KP_TRY(kp_store_lease_note(store, job->note.notes[i].lease, job->note.notes[i].remaining_ms,
                                   job->now_ms, &job->err));
    if (!job->note.forget_before_ms) return KP_OK;
    return kp_store_requests_forget(store, job->note.forget_before_ms, &job->err);
}

static kp_status do_plan(kp_store *store, kp_job *job)
{
    return kp_store_plan_get(store, job->get.id, &job->arena, &job->get.plan, &job->err);
}

static kp_status do_plans(kp_store *store, kp_job *job)
{
    return kp_store_plans(store, job->get.limit, &job->arena, &job->get.plans, &job->err);
}

static kp_status do_leases(kp_store *store, kp_job *job)
{
    return kp_store_leases(store, job->get.limit, &job->arena, &job->get.leases, &job->err);
}

static kp_status (*const verbs[])(kp_store *store, kp_job *job) = {
    [KP_JOB_NODE_PUT] = do_node, [KP_JOB_FIND] = do_find,   [KP_JOB_COMMIT] = do_commit,
    [KP_JOB_FINISH] = do_finish, [KP_JOB_LEASE] = do_lease, [KP_JOB_NOTE] = do_note,
    [KP_JOB_PLAN] = do_plan,     [KP_JOB_PLANS] = do_plans, [KP_JOB_LEASES] = do_leases,
};
_Static_assert(KP_LEN(verbs) == KP_JOB_COUNT, "one verb a kind of job");

/* One job as a level of its own: its failure takes back nothing of the others. */
static void run_one(kp_store *store, kp_job *job)
{
    job->err = (kp_err){0};
    job->status = kp_store_begin(store, &job->err);
    if (job->status != KP_OK) return;
    job->status = verbs[job->kind](store, job);
    if (job->status != KP_OK)
        kp_store_undo(store);
    else
        job->status = kp_store_commit(store, &job->err);
}

/* All jobs in one transaction; false if it did not commit: then none of them happened. */
static bool run_group(kp_store *store, kp_job **jobs, size_t n)
{
    if (kp_store_begin(store, NULL) != KP_OK) return false;
    for (size_t i = 0; i < n; i++) run_one(store, jobs[i]);
    return kp_store_commit(store, NULL) == KP_OK;
}

void kp_storer_run(kp_store **store, kp_job **jobs, size_t n)
{
    if (n == 1 && jobs[0]->kind == KP_JOB_START) {
        jobs[0]->status = do_start(store, jobs[0]);
        return;
    }
    if (n > 1 && run_group(*store, jobs, n)) return;
    /* One alone, or one of many broke the transaction (a full disk): each for itself. */
    for (size_t i = 0; i < n; i++) run_one(*store, jobs[i]);
    for (size_t i = 0; i < n; i++) jobs[i]->broken = kp_store_broken(*store);
}

static void storer_main(void *end, void *arg)
{
    (void)arg;
    kp_store *store = NULL;
    for (bool ended = false; !ended;) {
        kp_job *jobs[KP_GROUP_MAX];
        size_t n = 0;
        jobs[n] = kp_actor_next(end, true, &ended);
        if (!jobs[n]) continue;
        /* The first job opens the store; it is never part of a group. */
        if (jobs[n++]->kind != KP_JOB_START)
            while (n < KP_GROUP_MAX && (jobs[n] = kp_actor_next(end, false, &ended))) n++;
        kp_storer_run(&store, jobs, n);
        for (size_t i = 0; i < n; i++) kp_actor_reply(end, jobs[i]);
    }
    kp_store_close(store);
}

kp_status kp_storer_open(void *zmq, kp_actor **ret, kp_err *err)
{
    return kp_actor_open(zmq, "store", storer_main, NULL, ret, err);
}
