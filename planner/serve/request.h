/* SPDX-License-Identifier: MIT
 *
 * planner/serve/request.h — one request of a client, from its frame to its reply.
 *
 *     plan, dry       search ─▶ reply
 *     plan, reserve   find ─▶ search ─▶ commit ─▶ verify ─▶ finish ─▶ reply
 *                       │       ▲──────────┘ taken meanwhile: again, at most 3 times
 *                       └─▶ reply as before, or go on with the verdict that is missing
 *     verify          find ─▶ read ─▶ verify ─▶ finish ─▶ reply
 *     lease           find ─▶ change ─▶ reply
 *     get             read ─▶ reply
 *
 * The id is the idempotency key: what changes something is looked up first, and its reply is
 * stored in the transaction of its effect. While a request runs, a repeated one joins it. */
#ifndef KP_PLANNER_SERVE_REQUEST_H
#define KP_PLANNER_SERVE_REQUEST_H

#include "planner/serve/daemon.h"
#include "planner/serve/run.h"

typedef enum kp_stage {
    KP_STAGE_NEW,
    KP_STAGE_FIND,
    KP_STAGE_QUEUE, /* for the search thread */
    KP_STAGE_SEARCH,
    KP_STAGE_COMMIT,
    KP_STAGE_REJOIN, /* after a restart: for the agents of its plan */
    KP_STAGE_VERIFY,
    KP_STAGE_FINISH,
    KP_STAGE_READ, /* or change a lease */
    KP_STAGE_OVER,
    KP_STAGE_COUNT
} kp_stage;

enum { KP_REQUEST_PEERS = 4, KP_REPLANS_MAX = 3 };

struct kp_request {
    uint64_t number;
    kp_arena arena; /* frame, plan, run and all else of the request */
    kp_frame frame;
    const char *id;
    bool keyed; /* its reply is remembered */
    char digest[65];
    kp_peer peers[KP_REQUEST_PEERS]; /* who waits; the oldest gives way */
    uint32_t n_peers, next_peer;
    double arrived_s, deadline_s, told_s; /* deadline INFINITY: none */
    kp_stage stage;
    uint32_t tries;
    bool gone;    /* nobody waits any more: drop it as soon as nothing is out */
    uint32_t out; /* jobs at a thread */
    kp_plan plan; /* once there is one */
    kp_plan_lease lease;
    char lease_id[48];
    bool have_run, stored; /* stored: the plan is in the store, and the verdict goes there */
    kp_run run;
    kp_verdict verdict;
    kp_buf reply; /* packed reply of a failed submit, while it is stored */
    kp_err err;   /* what it will say */
};

kp_request *kp_request_new(void);          /* NULL: out of memory */
void kp_request_free(kp_request *request); /* NULL is fine */

/* A client's frame, which lives in `request`; takes the request over. */
void kp_request_admit(kp_daemon *d, kp_request *request);
/* A job of a request came back; frees the job. */
void kp_request_job(kp_daemon *d, kp_job *job);
void kp_request_tick(kp_daemon *d, double now_s);
/* Memory of all requests that are here. */
size_t kp_request_bytes(const kp_daemon *d);
/* The daemon ends: tells everybody. */
void kp_request_end_all(kp_daemon *d, const kp_err *why);

/* Replies to all who wait, and the request is over. */
void kp_request_reply(kp_daemon *d, kp_request *r, kp_wire_type type, const void *payload);
void kp_request_refuse(kp_daemon *d, kp_request *r, const kp_err *why, kp_refusal *refusal);
/* Sends a job for this request; refuses the request if it cannot be sent. The job may be NULL. */
void kp_request_store(kp_daemon *d, kp_request *r, kp_job *job, kp_stage stage);
/* A deep copy of a plan into the request. */
kp_status kp_request_plan(kp_request *r, const kp_plan *plan, kp_err *err);
/* Seconds kept back so that the reply arrives before the client gives up. */
double kp_request_margin_s(const kp_request *r);
/* Looks the id up, then the flow goes on with kp_*_found. */
void kp_request_find(kp_daemon *d, kp_request *r);
/* The stored reply of an id seen before. */
void kp_request_replay(kp_daemon *d, kp_request *r, const kp_job_find *find);

/* ---- submit.c ---- */
void kp_submit_start(kp_daemon *d, kp_request *r);
void kp_submit_job(kp_daemon *d, kp_request *r, kp_job *job);
void kp_submit_next(kp_daemon *d); /* gives the search thread its next job */
/* A request in KP_STAGE_REJOIN: verifies once its agents are there, or could have been. */
void kp_submit_rejoin(kp_daemon *d, kp_request *r, double now_s);

/* ---- verify.c ---- */
void kp_verify_start(kp_daemon *d, kp_request *r); /* VERIFY_REQUEST */
void kp_verify_job(kp_daemon *d, kp_request *r, kp_job *job);
void kp_verify_run(kp_daemon *d, kp_request *r, bool sample); /* the request's plan, now */
void kp_verify_tick(kp_daemon *d, kp_request *r, double now_s, bool probe);
void kp_verify_abort(kp_daemon *d, kp_request *r, const char *why); /* its run, if one is on */
/* RUN_READY and RUN_RESULT of a node. */
void kp_verify_frame(kp_daemon *d, const char *node, const kp_frame *frame);

/* ---- look.c ---- */
void kp_get_start(kp_daemon *d, kp_request *r);
void kp_get_job(kp_daemon *d, kp_request *r, kp_job *job);
void kp_lease_start(kp_daemon *d, kp_request *r);
void kp_lease_job(kp_daemon *d, kp_request *r, kp_job *job);

#endif
