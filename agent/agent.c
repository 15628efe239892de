/* SPDX-License-Identifier: MIT */
#include "agent/agent.h"
#include "agent/member.h"
#include "agent/verify/runs.h"
#include "proto/log.h"
#include "proto/node.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

enum {
    FDS_MAX = 256, /* of runs; further ones wait for the next tick */
    MESSAGES_A_TURN = 32
};

typedef struct agent {
    const kp_agent_config *config;
    char epoch[48], host[64];
    void *zmq;
    int signal_fd;
    kp_stock stock;
    kp_member member;
    kp_runs *runs;
    kp_arena turn; /* what one turn of the loop reads */
} agent;

kp_status kp_agent_name_check(const char *name, kp_err *err)
{
    if (kp_node_name_ok(name)) return KP_OK;
    kp_fail(err, KP_USAGE, "'%.80s' is not a node's name", name);
    kp_hint(err, "1 to 64 of A-Z a-z 0-9 . _ -; --node gives another than the host's");
    return KP_USAGE;
}

/* ---- birth and death ---- */

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Only once the planner was reached: at boot there may be no route to it yet, and the address that
 * ranks of other machines need would be wrong for ever. */
static kp_status open_runs(agent *a, kp_err *err)
{
    if (a->runs || a->member.phase != KP_MEMBER_IN) return KP_OK;
    if (kp_runs_host(a->config->server, a->host, NULL) != KP_OK)
        snprintf(a->host, sizeof(a->host), "127.0.0.1");
    const kp_runs_config config = {
        .program = a->config->program, .node = a->config->source.node, .host = a->host};
    return kp_runs_open(&config, &a->runs, err);
}

static kp_status agent_open(agent *a, const kp_agent_config *config, kp_err *err)
{
    *a = (agent){.config = config, .signal_fd = open_signals()};
    if (a->signal_fd < 0) return kp_fail(err, KP_IO, "signalfd: %s", strerror(errno));
    kp_random_id("be_", a->epoch);
    kp_arena_init(&a->turn, (size_t)256 << 20);
    a->zmq = zmq_ctx_new();
    if (!a->zmq) return kp_fail(err, KP_IO, "sockets: %s", zmq_strerror(errno));
    KP_TRY(kp_stock_open(&config->source, config->program, a->epoch, &a->stock, err));
    kp_member_init(&a->member, a->zmq, config->server, config->source.node, a->epoch);
    return KP_OK;
}

static void agent_release(agent *a)
{
    kp_runs_close(a->runs);
    kp_member_release(&a->member);
    kp_stock_release(&a->stock);
    if (a->zmq) zmq_ctx_term(a->zmq);
    if (a->signal_fd >= 0) close(a->signal_fd);
    kp_arena_release(&a->turn);
}

/* ---- verification runs ---- */

static const kp_gpu *find_gpu(const kp_node *node, const char *uuid)
{
    for (uint32_t i = 0; i < node->n_gpus; i++)
        if (!strcmp(node->gpus[i].uuid, uuid)) return &node->gpus[i];
    return NULL;
}

/* Every GPU of the run is here, and its lease is not older than another that we heard of. */
static kp_status check_run(agent *a, const kp_wire_run *run, kp_err *err)
{
    for (uint32_t i = 0; i < run->n_here; i++) {
        const char *gpu = run->ranks[i].gpu;
        if (!find_gpu(&a->stock.node, gpu))
            return kp_fail(err, KP_CONFLICT, "GPU '%.96s' is not in node '%s'", gpu,
                           a->config->source.node);
        if (run->fence != UINT64_MAX) /* a plan without a lease holds nothing */
            KP_TRY(kp_fences_check(&a->member.fences, gpu, run->fence, err));
    }
    for (uint32_t i = 0; i < run->n_here && run->fence != UINT64_MAX; i++)
        KP_TRY(kp_fences_raise(&a->member.fences, run->ranks[i].gpu, run->fence, err));
    return KP_OK;
}

static void send_or_log(agent *a, kp_wire_type type, const void *payload)
{
    kp_err why = {0};
    if (kp_member_send(&a->member, type, payload, &why) == KP_OK) return;
    kp_err_at(&why, "a result of a run is lost");
    kp_log_err(KP_LOG_WARN, &why);
}

static void start_run(agent *a, const kp_wire_run *run)
{
    kp_err why = {0};
    kp_status status = check_run(a, run, &why);
    if (status == KP_OK) status = kp_runs_start(a->runs, run, &why);
    if (status == KP_OK) {
        kp_log(KP_LOG_INFO, "run '%s': %u of %u ranks start here", run->run, run->n_here,
               run->n_ranks);
        return;
    }
    char failure[512];
    snprintf(failure, sizeof(failure), "%s: %s", kp_status_name(status), why.msg);
    kp_log(KP_LOG_WARN, "run '%s' refused: %s", run->run, failure);
    const kp_wire_run_result result = {.run = run->run, .failure = failure};
    send_or_log(a, KP_WIRE_RUN_RESULT, &result);
}

static void abort_run(agent *a, const kp_wire_run_abort *msg)
{
    kp_log(KP_LOG_INFO, "run '%s' ends: %s", msg->run, msg->reason);
    kp_runs_abort(a->runs, msg->run, msg->reason);
}

/* ---- one turn ---- */

static kp_status read_messages(agent *a, kp_err *err)
{
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        kp_frame frame;
        bool duty;
        kp_status status = kp_member_recv(&a->member, &a->stock, &a->turn, &frame, &duty, err);
        if (status == KP_RETRY) return KP_OK;
        KP_TRY(status);
        KP_TRY(open_runs(a, err)); /* duties come in a session only */
        if (duty && frame.type == KP_WIRE_RUN) start_run(a, frame.payload);
        if (duty && frame.type == KP_WIRE_RUN_ABORT) abort_run(a, frame.payload);
    }
    return KP_OK;
}

static kp_status step_runs(agent *a, kp_err *err)
{
    while (a->runs) {
        kp_run_event event;
        bool any = false;
        KP_TRY(kp_runs_step(a->runs, &a->turn, &event, &any, err));
        if (!any) return KP_OK;
        if (event.type == KP_WIRE_RUN_READY)
            send_or_log(a, event.type, &event.ready);
        else
            send_or_log(a, event.type, &event.result);
    }
    return KP_OK;
}

static void wait_for_something(agent *a)
{
    zmq_pollitem_t items[4 + FDS_MAX];
    int fds[FDS_MAX], n = 0;
    items[n++] = (zmq_pollitem_t){.fd = a->signal_fd, .events = ZMQ_POLLIN};
    if (a->member.link) {
        kp_link *link = a->member.link;
        items[n++] = (zmq_pollitem_t){.socket = kp_link_socket(link), .events = ZMQ_POLLIN};
        items[n++] = (zmq_pollitem_t){.socket = kp_link_events(link), .events = ZMQ_POLLIN};
    }
    if (kp_stock_fd(&a->stock) >= 0)
        items[n++] = (zmq_pollitem_t){.fd = kp_stock_fd(&a->stock), .events = ZMQ_POLLIN};
    uint32_t n_fds = a->runs ? kp_runs_fds(a->runs, fds, FDS_MAX) : 0;
    for (uint32_t i = 0; i < n_fds && i < FDS_MAX; i++)
        items[n++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    double wait_s = kp_stock_wait_s(&a->stock);
    if (a->runs) wait_s = fmin(wait_s, kp_runs_wait_s(a->runs));
    if (a->stock.version) wait_s = fmin(wait_s, kp_member_wait_s(&a->member));
    zmq_poll(items, n, (long)(fmax(wait_s, 0) * 1000) + 1);
}

/* KP_RETRY: no signal came; else how to end. */
static kp_status take_signal(const agent *a, kp_err *err)
{
    struct signalfd_siginfo info;
    if (read(a->signal_fd, &info, sizeof(info)) != sizeof(info)) return KP_RETRY;
    if (info.ssi_signo == SIGINT) return kp_fail(err, KP_INTERRUPTED, "interrupted");
    kp_log(KP_LOG_INFO, "asked to end");
    return KP_OK;
}

static kp_status turn(agent *a, kp_err *err)
{
    kp_arena_release(&a->turn);
    KP_TRY(kp_stock_step(&a->stock, err));
    KP_TRY(kp_member_step(&a->member, &a->stock, err));
    KP_TRY(read_messages(a, err));
    return step_runs(a, err);
}

kp_status kp_agent_run(const kp_agent_config *config, kp_err *err)
{
    KP_TRY(kp_agent_name_check(config->source.node, err));
    KP_TRY(kp_endpoint_check(config->server, err));
    agent a;
    kp_status status = agent_open(&a, config, err);
    while (status == KP_OK) {
        status = turn(&a, err);
        if (status != KP_OK) break;
        wait_for_something(&a);
        status = take_signal(&a, err);
        if (status != KP_RETRY) break;
        status = KP_OK;
    }
    agent_release(&a);
    return status;
}
