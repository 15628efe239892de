/* SPDX-License-Identifier: MIT
 *
 * The two threads' work without their threads: groups of the store, searches. */
#include "planner/serve/job.h"
#include "proto/clock.h"
#include "proto/gpus.h"
#include "tests/lib/plans.h"
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <math.h>

#define DIGEST "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static kp_job *commit_job(kp_arena *arena, unsigned number, unsigned gpu)
{
    kp_job *job = kp_job_new(KP_JOB_COMMIT, number, 1);
    cr_assert(job);
    kp_plan *plan = KP_NEW(&job->arena, kp_plan, 1);
    *plan = kp_test_plan(arena, number, "n0", gpu, 1);
    job->commit.args = (kp_store_commit_args){
        .plan = plan,
        .owner = "ann",
        .lease = kp_arena_fmt(arena, "ls_%u", number),
        .lease_ms = 60000,
        .now_ms = 1,
        .request = kp_arena_fmt(arena, "rq_%u", number),
        .digest = DIGEST,
        .done = true,
    };
    return job;
}

static kp_store *start(const char *path)
{
    kp_store *store = NULL;
    kp_job *job = kp_job_new(KP_JOB_START, 0, 0);
    job->start.path = path;
    kp_storer_run(&store, &job, 1);
    cr_assert_eq(job->status, KP_OK, "%s", job->err.msg);
    kp_job_free(job);
    return store;
}

Test(jobs, a_refused_job_takes_nothing_from_its_group)
{
    kp_dir dir = kp_dir_make();
    kp_arena arena;
    char path[96];
    kp_arena_init(&arena, 0);
    snprintf(path, sizeof(path), "%s/kplan.db", dir.path);
    kp_store *store = start(path);
    kp_job *find = kp_job_new(KP_JOB_FIND, 9, 1);
    find->find.id = "rq_3";
    kp_job *release = kp_job_new(KP_JOB_LEASE, 10, 2);
    release->lease = (kp_job_lease){
        .id = "ls_1", .action = KP_LEASE_RELEASE, .request = "rq_r", .digest = DIGEST};
    /* Two leases of GPU 1, then its release, a third lease of it, and a question in between. */
    kp_job *jobs[] = {commit_job(&arena, 1, 1), commit_job(&arena, 2, 1), release,
                      commit_job(&arena, 3, 1), find};
    static const kp_status want[] = {KP_OK, KP_CONFLICT, KP_OK, KP_OK, KP_OK};
    kp_storer_run(&store, jobs, KP_LEN(jobs));
    for (size_t i = 0; i < KP_LEN(jobs); i++) {
        cr_expect_eq(jobs[i]->status, want[i], "job %zu: %s", i, jobs[i]->err.msg);
        cr_expect_not(jobs[i]->broken);
    }
    cr_expect_gt(jobs[3]->commit.fence, jobs[0]->commit.fence);
    cr_expect(find->find.found && find->find.plan, "a job sees those before it");
    cr_expect_str_eq(find->find.plan->id, "pl_3");
    for (size_t i = 0; i < KP_LEN(jobs); i++) kp_job_free(jobs[i]);
    kp_store_close(store);
    /* It all lasts. */
    store = start(path);
    kp_plan plan;
    cr_expect_eq(kp_store_plan_get(store, "pl_3", &arena, &plan, NULL), KP_OK);
    cr_expect_eq(kp_store_plan_get(store, "pl_2", &arena, &plan, NULL), KP_INPUT);
    kp_store_close(store);
    kp_arena_release(&arena);
    kp_dir_remove(&dir);
}

/* A verdict, the lease's release and the reply are one: also when the lease ended by itself. */
Test(jobs, finish_tolerates_a_lease_that_ended)
{
    kp_dir dir = kp_dir_make();
    kp_arena arena;
    char path[96];
    kp_arena_init(&arena, 0);
    snprintf(path, sizeof(path), "%s/kplan.db", dir.path);
    kp_store *store = start(path);
    kp_job *commit = commit_job(&arena, 1, 1);
    commit->commit.args.done = false;
    kp_job *expire = kp_job_new(KP_JOB_LEASE, 0, 2), *finish = kp_job_new(KP_JOB_FINISH, 1, 3);
    expire->lease = (kp_job_lease){.id = "ls_1", .action = KP_LEASE_EXPIRE, .actor = "kpland"};
    const kp_verdict verdict = {
        .plan = "pl_1", .verdict = KP_VERDICT_INCONCLUSIVE, .shapes = "full"};
    finish->finish = (kp_job_finish){.verdict = &verdict, .release = "ls_1", .request = "rq_1"};
    finish->finish.done = (kp_store_request){.digest = DIGEST,
                                             .plan = "pl_1",
                                             .reply_type = KP_WIRE_ERROR,
                                             .reply = {(const uint8_t *)"x", 1}};
    kp_job *jobs[] = {commit, expire, finish};
    kp_storer_run(&store, jobs, KP_LEN(jobs));
    for (size_t i = 0; i < KP_LEN(jobs); i++)
        cr_expect_eq(jobs[i]->status, KP_OK, "job %zu: %s", i, jobs[i]->err.msg);
    kp_plan plan;
    cr_assert_eq(kp_store_plan_get(store, "pl_1", &arena, &plan, NULL), KP_OK);
    cr_expect_eq(plan.lease->state, KP_LEASE_EXPIRED);
    cr_expect_eq(plan.verification.verdict, KP_VERDICT_INCONCLUSIVE);
    for (size_t i = 0; i < KP_LEN(jobs); i++) kp_job_free(jobs[i]);
    kp_store_close(store);
    kp_arena_release(&arena);
    kp_dir_remove(&dir);
}

Test(jobs, searches)
{
    /* GPUs of the two nodes of 8 that a lease holds; what is asked for; how long there is. */
    static const struct {
        const char *what;
        unsigned leased;
        uint32_t nodes, gpus;
        double left_s;
        kp_status want;
        const char *says;
    } rows[] = {
        {"all free", 0, 2, UINT32_MAX, 60, KP_OK, ""},
        {"one of two", 8, 1, UINT32_MAX, 60, KP_OK, ""},
        {"held by a lease", 8, 2, UINT32_MAX, 60, KP_CONFLICT,
         "lease 'ls_1' of 'bob' has 8 GPUs until then"},
        {"held in part", 12, 1, 8, 60, KP_CONFLICT, "lease 'ls_1' of 'bob'"},
        {"never there", 8, 3, UINT32_MAX, 60, KP_INFEASIBLE, "3 nodes"},
        {"no time", 0, 2, UINT32_MAX, -1, KP_RETRY, "no time"},
    };
    kp_arena arena;
    kp_gpu_kinds gpus;
    kp_err err = {0};
    atomic_bool quit = false;
    kp_arena_init(&arena, 0);
    cr_assert_eq(kp_gpu_table(&arena, &gpus, &err), KP_OK);
    char *model = kp_file_text("tests/data/models/dense.json");
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_wire_plan_request request;
        kp_schema_init(kp_wire_schema(KP_WIRE_PLAN_REQUEST), &request);
        request.model_name = "dense";
        request.model = (kp_bytes){.data = (const uint8_t *)model, .len = (uint32_t)strlen(model)};
        request.nodes = rows[i].nodes;
        request.gpus_per_node = rows[i].gpus;
        kp_node nodes[] = {kp_test_node(&arena, "a", 0, 8), kp_test_node(&arena, "b", 8, 8)};
        for (unsigned k = 0; k < rows[i].leased; k++)
            nodes[1 - k / 8].gpus[k % 8].state = KP_GPU_LEASED;
        kp_lease lease = {.id = "ls_1", .owner = "bob", .n_gpus = 8, .expires = "then"};
        kp_job *job = kp_job_new(KP_JOB_SEARCH, 1, 0);
        job->search.request = &request;
        job->search.nodes = (kp_nodes){.revision = 5, .nodes = nodes, .n_nodes = 2};
        job->search.leases = (kp_leases){.leases = &lease, .n_leases = rows[i].leased ? 1 : 0};
        job->search.stop_s = kp_now_s() + rows[i].left_s;
        kp_searcher_run(job, &gpus, &quit);
        cr_expect_eq(job->status, rows[i].want, "%s: %s", rows[i].what, job->err.msg);
        cr_expect(strstr(job->err.msg, rows[i].says), "%s: %s", rows[i].what, job->err.msg);
        if (job->status == KP_OK) cr_expect_eq(job->search.plan.cluster.revision, 5);
        kp_job_free(job);
    }
    free(model);
    kp_arena_release(&arena);
}
