/* SPDX-License-Identifier: MIT */
#include "planner/serve/daemon.h"
#include "planner/serve/request.h"
#include "proto/log.h"
#include "proto/wire.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

enum { FRAMES_A_TURN = 256, JOBS_A_TURN = 256 };
#define TICK_S        0.1
#define NOISE_EVERY_S 60.0
#define LARGE_BYTES   ((size_t)16 << 20)
#define REVISION_LEAP 1000 /* more changes than can be on their way to the store */
#define ARENA_KEEP    1    /* bytes that keep a spare request's first block */

/* ---- birth ---- */

static kp_status open_signals(kp_daemon *d, kp_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file limit is an error of the store, not an end */
    d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return d->signal_fd < 0 ? kp_fail(err, KP_IO, "signalfd: %s", strerror(errno)) : KP_OK;
}

/* A restarted daemon goes on with the leases it had, with the time that they had left. */
static kp_status restore(kp_daemon *d, const kp_job_start *start, kp_err *err)
{
    double now_s = kp_now_s();
    KP_TRY(kp_fleet_restore(&d->fleet, &start->nodes, err));
    if (d->fleet.revision) d->fleet.revision += REVISION_LEAP;
    for (uint32_t i = 0; i < start->n_fences; i++)
        KP_TRY(kp_book_fence_put(&d->book, start->fences[i].gpu, start->fences[i].fence, err));
    for (uint32_t i = 0; i < start->n_leases; i++) {
        const kp_store_lease *lease = &start->leases[i];
        KP_TRY(kp_book_add(&d->book, &lease->lease, (double)lease->length_ms / 1000,
                           now_s + (double)lease->remaining_ms / 1000, false, err));
    }
    if (d->fleet.n || d->book.n)
        kp_log(KP_LOG_INFO, "store '%s': %zu nodes, %zu live leases", start->path, d->fleet.n,
               d->book.n);
    kp_lapse_note(d, now_s);
    return KP_OK;
}

/* The first job, and the only one that is waited for. */
static kp_status open_store(kp_daemon *d, kp_err *err)
{
    KP_TRY(kp_storer_open(d->zmq, &d->storer, err));
    kp_job *job = kp_job_new(KP_JOB_START, 0, 0);
    if (!job) return kp_nomem(err);
    job->start.path = d->config->store;
    zmq_pollitem_t item = {.socket = kp_actor_socket(d->storer), .events = ZMQ_POLLIN};
    if (!kp_actor_send(d->storer, job)) {
        kp_job_free(job);
        return kp_fail(err, KP_INTERNAL, "the store thread takes no jobs");
    }
    while (!(job = kp_actor_take(d->storer))) zmq_poll(&item, 1, 1000);
    kp_status status = job->status;
    if (status != KP_OK && err) *err = job->err;
    if (status == KP_OK) status = restore(d, &job->start, err);
    kp_job_free(job);
    return status;
}

static kp_status check_config(const kp_daemon_config *config, kp_err *err)
{
    KP_TRY(kp_endpoint_check(config->listen, err));
    if (!kp_endpoint_is_local(config->listen)) {
        kp_fail(err, KP_USAGE, "'%s' can be reached from other machines, and there are no keys",
                config->listen);
        kp_hint(err, "listen on ipc://PATH or a loopback address, like " KP_ENDPOINT_DEFAULT);
        return KP_USAGE;
    }
    if (!(config->heartbeat_s >= 0.02 && config->heartbeat_s <= 60))
        return kp_fail(err, KP_USAGE, "--heartbeat is 20ms to 60s");
    if (!(config->lease_s >= 1 && config->lease_s <= 30 * 86400.0))
        return kp_fail(err, KP_USAGE, "--lease is 1s to 30d");
    return KP_OK;
}

static kp_status daemon_open(kp_daemon *d, kp_err *err)
{
    KP_TRY(check_config(d->config, err));
    KP_TRY(open_signals(d, err));
    kp_random_id("pe_", d->epoch);
    /* Sessions of an earlier life had smaller numbers, and other connections. */
    kp_fleet_init(&d->fleet, d->config->heartbeat_s, (uint64_t)kp_now_unix_ms() * 1000);
    d->zmq = zmq_ctx_new();
    if (!d->zmq) return kp_fail(err, KP_IO, "sockets: %s", zmq_strerror(errno));
    zmq_ctx_set(d->zmq, ZMQ_MAX_SOCKETS, 16384);
    KP_TRY(open_store(d, err));
    KP_TRY(kp_searcher_open(d->zmq, &d->quit, &d->searcher, err));
    return kp_link_bind(d->zmq, d->config->listen, KP_LINK_BYTES_MAX, &d->link, err);
}

/* ---- death ---- */

static void daemon_release(kp_daemon *d)
{
    atomic_store(&d->quit, true);
    kp_actor_close(d->searcher, kp_job_free);
    kp_actor_close(d->storer, kp_job_free);
    for (uint32_t i = 0; i < d->n_requests; i++) kp_request_free(d->requests[i]);
    kp_request_free(d->spare);
    kp_link_close(d->link);
    if (d->zmq) zmq_ctx_term(d->zmq);
    if (d->signal_fd >= 0) close(d->signal_fd);
    kp_book_release(&d->book);
    kp_fleet_release(&d->fleet);
}

/* Tells those who wait. What was committed stays, and a repeated request finds it. */
static void say_goodbye(kp_daemon *d)
{
    kp_err why = d->fatal;
    if (why.code == KP_OK) {
        kp_fail(&why, KP_RETRY, "the planner is ending");
        kp_hint(&why, "repeat the request with the same --request-id");
        kp_lapse_note(d, kp_now_s());
    }
    kp_request_end_all(d, &why);
}

/* ---- jobs ---- */

kp_status kp_daemon_store(kp_daemon *d, kp_job *job, kp_err *err)
{
    if (d->store_jobs >= KP_STORE_JOBS_MAX || !kp_actor_send(d->storer, job)) {
        kp_job_free(job);
        return kp_fail(err, KP_RETRY, "the store has %u jobs waiting", d->store_jobs);
    }
    d->store_jobs++;
    return KP_OK;
}

static void take_store_job(kp_daemon *d, kp_job *job)
{
    d->store_jobs--;
    if (job->broken && d->fatal.code == KP_OK) {
        d->fatal = job->err;
        d->stop = true;
    }
    if (job->request)
        kp_request_job(d, job);
    else if (job->kind == KP_JOB_NODE_PUT)
        kp_session_job(d, job);
    else if (job->kind == KP_JOB_LEASE)
        kp_lapse_job(d, job);
    else {
        if (job->status != KP_OK) kp_log_err(KP_LOG_ERROR, &job->err);
        kp_job_free(job);
    }
}

static void take_jobs(kp_daemon *d)
{
    kp_job *job;
    for (int i = 0; i < JOBS_A_TURN && (job = kp_actor_take(d->storer)); i++)
        take_store_job(d, job);
    while ((job = kp_actor_take(d->searcher))) {
        d->searching = false;
        kp_request_job(d, job);
    }
}

/* ---- frames ---- */

void kp_daemon_noise(kp_daemon *d, const kp_peer *peer, const kp_err *why)
{
    double now_s = kp_now_s();
    for (uint32_t i = 0; i < KP_NOISE_PEERS; i++)
        if (d->noise[i].told_s > 0 && d->noise[i].peer.len == peer->len &&
            !memcmp(d->noise[i].peer.id, peer->id, peer->len) &&
            now_s - d->noise[i].told_s < NOISE_EVERY_S)
            return;
    /* Whoever comes back as somebody new each time is heard 64 times a minute, not more. */
    double oldest_s = d->noise[d->next_noise].told_s;
    if (oldest_s > 0 && now_s - oldest_s < NOISE_EVERY_S) return;
    d->noise[d->next_noise].peer = *peer;
    d->noise[d->next_noise].told_s = now_s;
    d->next_noise = (d->next_noise + 1) % KP_NOISE_PEERS;
    kp_log_err(KP_LOG_WARN, why);
}

/* What the link refused itself. */
static void tell_bad(kp_daemon *d, double now_s)
{
    uint64_t bad = kp_link_bad(d->link);
    if (bad == d->bad_told || (d->bad_told && now_s - d->bad_told_s < NOISE_EVERY_S)) return;
    kp_log(KP_LOG_WARN, "%llu frames were refused so far, the last because: %s",
           (unsigned long long)bad, kp_link_bad_last(d->link)->msg);
    d->bad_told = bad;
    d->bad_told_s = now_s;
}

/* Takes what is there, into a spare request: a client's message stays in it, others are done with
 * at once and the memory serves again. */
static kp_status take_frames(kp_daemon *d, kp_err *err)
{
    for (int i = 0; i < FRAMES_A_TURN; i++) {
        if (!d->spare) d->spare = kp_request_new();
        if (!d->spare) return kp_nomem(err);
        kp_request *r = d->spare;
        if (r->arena.used_bytes == 0) kp_arena_alloc(&r->arena, ARENA_KEEP, 1);
        kp_arena_mark mark = kp_arena_tell(&r->arena);
        kp_status status = kp_link_recv(d->link, 0, &r->arena, &r->frame, err);
        if (status == KP_RETRY || status == KP_INTERRUPTED) return KP_OK;
        KP_TRY(status);
        if (kp_log_on(KP_LOG_DEBUG)) kp_log(KP_LOG_DEBUG, "%s", kp_wire_name(r->frame.type));
        if (kp_session_frame(d, &r->frame)) {
            kp_arena_rewind(&r->arena, mark);
            continue;
        }
        d->spare = NULL;
        kp_request_admit(d, r);
    }
    return KP_OK;
}

/* ---- the loop ---- */

static void take_signal(kp_daemon *d)
{
    struct signalfd_siginfo info;
    if (read(d->signal_fd, &info, sizeof(info)) != sizeof(info)) return;
    kp_log(KP_LOG_INFO, "asked to end");
    d->stop = true;
}

static void tick(kp_daemon *d)
{
    double now_s = kp_now_s();
    kp_session_tick(d, now_s);
    kp_lapse_tick(d, now_s);
    kp_request_tick(d, now_s);
    tell_bad(d, now_s);
}

/* Somebody fills our memory with a message that never ends: all have to connect again. The search
 * of a large model may take as much for a while, and is nobody's attack: look again after it. */
static kp_status guard(kp_daemon *d, kp_err *err)
{
    bool closed = false;
    if (d->searching && kp_request_bytes(d) > LARGE_BYTES) return KP_OK;
    KP_TRY(kp_link_guard(d->link, 0, &closed, err));
    if (closed)
        kp_log(KP_LOG_ERROR, "a peer filled the memory with a message without an end; "
                             "all connections were closed");
    return KP_OK;
}

static kp_status loop(kp_daemon *d, kp_err *err)
{
    double next_s = 0;
    while (!d->stop) {
        zmq_pollitem_t items[] = {
            {.socket = kp_link_socket(d->link), .events = ZMQ_POLLIN},
            {.socket = kp_actor_socket(d->storer), .events = ZMQ_POLLIN},
            {.socket = kp_actor_socket(d->searcher), .events = ZMQ_POLLIN},
            {.fd = d->signal_fd, .events = ZMQ_POLLIN},
        };
        double wait_s = fmax(0, fmin(TICK_S, next_s - kp_now_s()));
        if (zmq_poll(items, KP_LEN(items), (long)(wait_s * 1000) + 1) < 0 && errno != EINTR)
            return kp_fail(err, KP_INTERNAL, "waiting for messages: %s", zmq_strerror(errno));
        KP_TRY(take_frames(d, err));
        take_jobs(d);
        take_signal(d);
        if (kp_now_s() < next_s) continue;
        next_s = kp_now_s() + fmin(TICK_S, d->fleet.heartbeat_s / 4);
        tick(d);
        KP_TRY(guard(d, err));
    }
    return KP_OK;
}

kp_status kp_daemon_run(const kp_daemon_config *config, kp_err *err)
{
    kp_daemon *d = calloc(1, sizeof(*d));
    if (!d) return kp_nomem(err);
    d->config = config;
    d->signal_fd = -1;
    d->started_s = kp_now_s();
    d->forgot_s = d->noted_s = -INFINITY; /* the clock may have begun a moment ago */
    atomic_init(&d->quit, false);
    kp_status status = daemon_open(d, err);
    if (status == KP_OK) {
        fprintf(stderr, "ready %s\n", kp_link_endpoint(d->link));
        status = loop(d, err);
        say_goodbye(d);
    }
    if (status == KP_OK && d->fatal.code != KP_OK) {
        status = d->fatal.code;
        if (err) *err = d->fatal;
    }
    daemon_release(d);
    free(d);
    return status;
}
