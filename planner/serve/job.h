/* SPDX-License-Identifier: MIT
 *
 * planner/serve/job.h — what the loop asks of the search thread and of the store thread.
 *
 * A job owns its arena; inputs are copied into it or belong to a request that outlives the job
 * (the loop frees no request while a job of it is out). Results live in the job's arena. */
#ifndef KP_PLANNER_SERVE_JOB_H
#define KP_PLANNER_SERVE_JOB_H

#include "planner/serve/actor.h"
#include "store/store.h"
#include <stdatomic.h>

typedef enum kp_job_kind {
    KP_JOB_SEARCH, /* the search thread's only one */
    KP_JOB_START,  /* open the store and read what a restarted daemon needs */
    KP_JOB_NODE_PUT,
    KP_JOB_FIND,   /* was this request answered before? */
    KP_JOB_COMMIT, /* plan and lease */
    KP_JOB_FINISH, /* verdict, perhaps release of the lease, and the request's reply */
    KP_JOB_LEASE,  /* a change of a lease, and the request's reply */
    KP_JOB_NOTE,   /* time left of live leases; forget old requests */
    KP_JOB_PLAN,   /* one plan */
    KP_JOB_PLANS,
    KP_JOB_LEASES,
    KP_JOB_COUNT
} kp_job_kind;

typedef struct kp_job_search {
    const kp_wire_plan_request *request;
    const char *request_id; /* NULL for a dry run */
    kp_nodes nodes;         /* the cluster, leases marked */
    kp_leases leases;       /* live ones, to say who holds what */
    double stop_s;          /* monotonic: answer with the best so far */
    kp_plan plan;
    kp_refusal *refusal;
} kp_job_search;

typedef struct kp_job_start {
    const char *path;
    kp_nodes nodes;
    kp_store_lease *leases;
    kp_fence *fences;
    uint32_t n_leases, n_fences;
} kp_job_start;

typedef struct kp_job_node {
    kp_node node;
    uint64_t revision;
} kp_job_node;

typedef struct kp_job_find {
    const char *id;
    bool found;
    kp_store_request request;
    kp_plan *plan; /* of a request that made one */
} kp_job_find;

typedef struct kp_job_commit {
    kp_store_commit_args args;
    uint64_t fence;
} kp_job_commit;

typedef struct kp_job_finish {
    const kp_verdict *verdict; /* stored if verdict->plan is */
    const char *release;       /* lease to release; NULL: none */
    const char *request;       /* id; NULL: not remembered */
    kp_store_request done;
} kp_job_finish;

typedef struct kp_job_lease {
    const char *id;
    kp_lease_action action;
    const char *actor;
    int64_t lease_ms;
    const char *request, *digest; /* request NULL: not remembered */
    kp_lease lease;
} kp_job_lease;

typedef struct kp_job_note {
    struct kp_note {
        const char *lease;
        int64_t remaining_ms;
    } * notes;
    uint32_t n_notes;
    int64_t forget_before_ms; /* requests; 0: none */
} kp_job_note;

typedef struct kp_job_get {
    const char *id; /* of the plan */
    uint32_t limit;
    kp_plan plan;
    kp_plans plans;
    kp_leases leases;
} kp_job_get;

typedef struct kp_job {
    kp_arena arena;
    kp_job_kind kind;
    uint64_t request; /* number of who waits; 0: nobody */
    int64_t now_ms;
    kp_status status;
    kp_err err;
    bool broken; /* the store is: stop */
    union {
        kp_job_search search;
        kp_job_start start;
        kp_job_node node;
        kp_job_find find;
        kp_job_commit commit;
        kp_job_finish finish;
        kp_job_lease lease;
        kp_job_note note;
        kp_job_get get;
    };
} kp_job;

/* A zeroed job; NULL when memory is out. */
kp_job *kp_job_new(kp_job_kind kind, uint64_t request, int64_t now_ms);
void kp_job_free(void *job); /* NULL is fine */

/* The search thread: plans by kp_plan_make. A job whose time is over before it starts ends with
 * KP_RETRY; too few free GPUs because of leases is KP_CONFLICT and says whose. `quit` set: searches
 * end at once. */
kp_status kp_searcher_open(void *zmq, atomic_bool *quit, kp_actor **ret, kp_err *err);
/* The work itself, for tests. */
void kp_searcher_run(kp_job *job, const kp_gpu_kinds *gpus, const atomic_bool *quit);

/* The store thread: owns the store from KP_JOB_START on. Takes all jobs that are waiting (at most
 * KP_GROUP_MAX) into one transaction; they come back, in order, after its commit. */
enum { KP_GROUP_MAX = 64 };
kp_status kp_storer_open(void *zmq, kp_actor **ret, kp_err *err);
/* One group, for tests. */
void kp_storer_run(kp_store **store, kp_job **jobs, size_t n);

#endif
