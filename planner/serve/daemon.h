/* SPDX-License-Identifier: MIT
 *
 * planner/serve/daemon.h — the planner daemon: one loop over sockets, threads and signals.
 *
 * The loop owns the ROUTER socket, the fleet, the book of leases and the requests. What takes long
 * goes to the search thread, what must last to the store thread, as jobs (job.h); the loop never
 * waits for either. A reply that says "stored" leaves only after the job's commit came back.
 *
 *     frame ──▶ session.c   an agent's: HELLO, HEARTBEAT, INVENTORY, results of runs
 *           └─▶ requests.c  a client's ──▶ submit.c  plan, reserve
 *                                      ├─▶ verify.c  run the checks on the agents
 *                                      └─▶ look.c    get, leases
 *     job   ──▶ requests.c, by its request's number ──▶ the same files
 *     tick  ──▶ silence of agents, ends of leases, deadlines, progress
 *
 * Left out: keys and identities (only local endpoints are served), HTTP. */
#ifndef KP_PLANNER_SERVE_DAEMON_H
#define KP_PLANNER_SERVE_DAEMON_H

#include "planner/serve/fleet.h"
#include "planner/serve/job.h"

enum { KP_REQUESTS_MAX = 256, KP_STORE_JOBS_MAX = 1024, KP_NOISE_PEERS = 64, KP_LIST_MAX = 1000 };
#define KP_REQUEST_BYTES_MAX ((size_t)384 << 20) /* all requests that wait, together */

typedef struct kp_daemon_config {
    const char *listen, *store;
    double heartbeat_s, lease_s; /* lease_s: for requests that name no length */
} kp_daemon_config;

typedef struct kp_request kp_request;

typedef struct kp_daemon {
    const kp_daemon_config *config;
    char epoch[48]; /* of this start */
    void *zmq;
    kp_link *link;
    int signal_fd;
    kp_actor *searcher, *storer;
    atomic_bool quit; /* read by the search thread */
    kp_fleet fleet;
    kp_book book;
    kp_request *requests[KP_REQUESTS_MAX]; /* in order of arrival */
    uint32_t n_requests;
    uint64_t last_request;
    bool searching;      /* a job is at the search thread */
    uint32_t store_jobs; /* at the store thread */
    kp_request *spare;   /* receives the next frame */
    double started_s, noted_s, forgot_s, probed_s, bad_told_s;
    uint64_t bad_told;
    struct {
        kp_peer peer;
        double told_s;
    } noise[KP_NOISE_PEERS];
    uint32_t next_noise;
    bool stop;
    kp_err fatal; /* code KP_OK while all is well */
} kp_daemon;

/* Serves until SIGTERM or SIGINT (KP_OK), or until the store fails (KP_STORE). Blocks both signals.
 * Prints "ready ENDPOINT" on stderr when it serves. KP_USAGE: an endpoint that is none, or not
 * local; KP_UNREACHABLE: the address is taken; KP_STORE: the store cannot be opened. */
kp_status kp_daemon_run(const kp_daemon_config *config, kp_err *err);

/* Gives a job to the store. False (KP_RETRY in err, the job freed) when too many are out. */
kp_status kp_daemon_store(kp_daemon *d, kp_job *job, kp_err *err);

/* A line about what a peer did wrong, at most one a minute for each. */
void kp_daemon_noise(kp_daemon *d, const kp_peer *peer, const kp_err *why);

/* ---- session.c ---- */

/* A message of an agent; false if the type is none of an agent's. */
bool kp_session_frame(kp_daemon *d, const kp_frame *frame);
/* States, probes of agents in a run, nodes to the store. */
void kp_session_tick(kp_daemon *d, double now_s);
void kp_session_job(kp_daemon *d, kp_job *job); /* a node's put came back; frees the job */
/* To the agent of a node in its session. KP_LOST: its connection is gone, and the node suspect. */
kp_status kp_session_send(kp_daemon *d, const char *node, kp_wire_type type, const void *payload,
                          kp_err *err);
/* Tells the agents of a lease's GPUs its fence. */
void kp_session_fence(kp_daemon *d, const kp_book_lease *lease);

/* ---- book-keeping of leases (lapse.c) ---- */
void kp_lapse_tick(kp_daemon *d, double now_s);
void kp_lapse_job(kp_daemon *d, kp_job *job);   /* the end of a lease came back; frees the job */
void kp_lapse_note(kp_daemon *d, double now_s); /* time left of all live leases, to the store */

#endif
