/* SPDX-License-Identifier: MIT */
#include "agent/verify/runs.h"
#include "agent/verify/channel.h"
#include "agent/verify/spawn.h"
#include "proto/clock.h"
#include "proto/link.h"
#include <arpa/inet.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long ranks may take to end by themselves: after the deadline, after one of them was lost (the
 * first one still reports what it knows), after SIGTERM. And how often a process is asked whether
 * it has ended whose result is already there. */
static const double late_s = 0.5, lost_s = 1, term_s = 1, reap_s = 0.01;

typedef struct one_run one_run;
struct one_run {
    one_run *next;
    char id[80], meet[80];
    bool first_here, ready_due;
    bool killed, answered;     /* killed: its time is over; answered: only reaping is left */
    double deadline_s, kill_s; /* kill_s: when what still runs is killed */
    char failure[500];         /* what is known first; "" while all is well */
    uint32_t n;
    kp_spawn ranks[];
};

struct kp_runs {
    char program[256], node[64], host[64];
    one_run *first;
};

/* ---- open, close ---- */

kp_status kp_runs_open(const kp_runs_config *config, kp_runs **ret, kp_err *err)
{
    kp_runs *runs = calloc(1, sizeof(*runs));
    if (!runs) return kp_nomem(err);
    const char *program = config->program ? config->program : "/proc/self/exe";
    snprintf(runs->program, sizeof(runs->program), "%s", program);
    snprintf(runs->node, sizeof(runs->node), "%s", config->node);
    snprintf(runs->host, sizeof(runs->host), "%s", config->host ? config->host : "127.0.0.1");
    *ret = runs;
    return KP_OK;
}

static void free_run(one_run *run)
{
    for (uint32_t i = 0; i < run->n; i++) kp_spawn_release(&run->ranks[i]);
    free(run);
}

void kp_runs_close(kp_runs *runs)
{
    if (!runs) return;
    while (runs->first) {
        one_run *run = runs->first;
        runs->first = run->next;
        free_run(run);
    }
    free(runs);
}

kp_status kp_runs_host(const char *endpoint, char ret[64], kp_err *err)
{
    char host[200] = "", port[16] = "";
    snprintf(ret, 64, "127.0.0.1");
    if (kp_endpoint_is_local(endpoint)) return KP_OK;
    sscanf(endpoint, "tcp://%199[^:]:%15[0-9]", host, port);
    struct addrinfo hint = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *to = NULL;
    struct sockaddr_in own = {0};
    socklen_t len = sizeof(own);
    int rc = getaddrinfo(host, port, &hint, &to);
    if (rc != 0)
        return kp_fail(err, KP_UNREACHABLE, "'%s' has no address: %s", host, gai_strerror(rc));
    int fd = socket(AF_INET, SOCK_DGRAM, 0); /* connecting it sends nothing, but picks the route */
    bool ok = fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) == 0 &&
              getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
              inet_ntop(AF_INET, &own.sin_addr, ret, 64) != NULL;
    if (fd >= 0) close(fd);
    freeaddrinfo(to);
    return ok ? KP_OK : kp_fail(err, KP_UNREACHABLE, "there is no route to '%s'", host);
}

/* ---- start ---- */

static one_run *find(const kp_runs *runs, const char *id)
{
    for (one_run *run = runs->first; run; run = run->next)
        if (strcmp(run->id, id) == 0) return run;
    return NULL;
}

static kp_status check_message(const kp_wire_run *run, kp_err *err)
{
    bool ok = run->run && run->run[0] && strlen(run->run) < sizeof(((one_run *)0)->id) &&
              run->token && strlen(run->token) < 256 && run->n_here >= 1 &&
              run->n_ranks >= run->n_here && run->n_ranks <= 65536 && run->deadline_s > 0 &&
              run->deadline_s < 1e6;
    if (ok) return KP_OK;
    return kp_fail(err, KP_INPUT,
                   "a run needs an id, a token, a deadline, and ranks here: %u here, %u in all",
                   run->n_here, run->n_ranks);
}

/* The ranks' job: the message, with the meeting place filled in, as a file. */
static kp_status write_job(const kp_wire_run *run, const char *meet, int *ret_fd, kp_err *err)
{
    kp_wire_run job = *run;
    job.meet = meet;
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(kp_wire_schema(KP_WIRE_RUN), &job, &packed, err);
    if (status == KP_OK) status = kp_buf_check(&packed, err);
    if (status == KP_OK) status = kp_spawn_file(packed.data, packed.len, ret_fd, err);
    kp_buf_release(&packed);
    return status;
}

static kp_status start_ranks(const kp_runs *runs, const kp_wire_run *run, one_run *one, kp_err *err)
{
    int listen_fd = -1, job_fd = -1;
    kp_status status;
    if (one->first_here) {
        KP_TRY(kp_channel_listen(runs->host, &listen_fd, one->meet, err));
        if ((listen_fd = kp_spawn_fd(listen_fd)) < 0)
            return kp_fail(err, KP_IO, "too many open files");
    } else {
        snprintf(one->meet, sizeof(one->meet), "%s", run->meet);
    }
    KP_TRY_OUT(write_job(run, one->meet, &job_fd, err));
    for (uint32_t i = 0; i < run->n_here; i++) {
        int listens = i == 0 ? listen_fd : -1;
        KP_TRY_OUT(kp_spawn_start(runs->program, runs->node, run->ranks[i].rank, job_fd, listens,
                                  &one->ranks[i], err));
        one->n++;
    }
out:
    if (listen_fd >= 0) close(listen_fd);
    if (job_fd >= 0) close(job_fd);
    return status;
}

kp_status kp_runs_start(kp_runs *runs, const kp_wire_run *run, kp_err *err)
{
    KP_TRY(check_message(run, err));
    if (find(runs, run->run)) return KP_OK;
    one_run *one = calloc(1, sizeof(*one) + run->n_here * sizeof(one->ranks[0]));
    if (!one) return kp_nomem(err);
    snprintf(one->id, sizeof(one->id), "%s", run->run);
    one->first_here = one->ready_due = run->meet == NULL;
    one->deadline_s = run->deadline_s;
    one->kill_s = kp_now_s() + run->deadline_s + late_s;
    kp_status status = start_ranks(runs, run, one, err);
    if (status != KP_OK) {
        free_run(one);
        return status;
    }
    one->next = runs->first;
    runs->first = one;
    return KP_OK;
}

/* ---- end ---- */

static void note_failure(one_run *run, const char *text)
{
    if (!run->failure[0]) snprintf(run->failure, sizeof(run->failure), "%s", text);
}

static void kill_all(one_run *run, int signal)
{
    for (uint32_t i = 0; i < run->n; i++) kp_spawn_kill(&run->ranks[i], signal);
}

void kp_runs_abort(kp_runs *runs, const char *id, const char *reason)
{
    one_run *run = find(runs, id);
    if (!run) return;
    note_failure(run, reason ? reason : "aborted");
    kill_all(run, SIGTERM);
    run->kill_s = fmin(run->kill_s, kp_now_s() + term_s);
}

/* A rank that has ended, and not because we killed it: was it lost? */
static void look_at_end(const kp_runs *runs, one_run *run, const kp_spawn *rank)
{
    char text[200] = "";
    if (WIFSIGNALED(rank->status))
        snprintf(text, sizeof(text), "rank %u on %s was lost (signal %d)", rank->rank, runs->node,
                 WTERMSIG(rank->status));
    else if (WEXITSTATUS(rank->status) != 0 && rank->out.len == 0)
        snprintf(text, sizeof(text), "rank %u on %s was lost (exit code %d)", rank->rank,
                 runs->node, WEXITSTATUS(rank->status));
    if (!text[0]) return;
    note_failure(run, text);
    if (run->first_here) run->kill_s = fmin(run->kill_s, kp_now_s() + lost_s);
}

/* Its time is over: says whose fault it is, and kills. */
static void end_late(const kp_runs *runs, one_run *run)
{
    for (uint32_t i = 0; i < run->n; i++) {
        char text[200];
        snprintf(text, sizeof(text), "rank %u on %s did not end within %s", run->ranks[i].rank,
                 runs->node, kp_seconds_text(run->deadline_s).s);
        if (!kp_spawn_ended(&run->ranks[i])) note_failure(run, text);
    }
    kill_all(run, SIGKILL);
    run->killed = true;
}

/* One turn of a run; true when all its processes have ended. */
static bool step_run(const kp_runs *runs, one_run *run)
{
    bool ended = true;
    for (uint32_t i = 0; i < run->n; i++) {
        kp_spawn *rank = &run->ranks[i];
        if (kp_spawn_ended(rank)) continue;
        kp_spawn_step(rank);
        if (!kp_spawn_ended(rank))
            ended = false;
        else if (!rank->killed)
            look_at_end(runs, run, rank);
    }
    if (!ended && kp_now_s() >= run->kill_s) end_late(runs, run);
    return ended;
}

/* Whether the run can be answered. A failure here is all that an agent without the first rank has
 * to say, so it does not wait for the other ranks; the one with it waits for the first rank's
 * checks, but not for processes that had to be killed: the others must not answer before it. */
static bool answer_due(const one_run *run, bool ended)
{
    return !run->answered && (ended || run->killed || (run->failure[0] && !run->first_here));
}

/* What a rank wrote; NULL if it is no result. */
static const kp_wire_run_result *read_result(const kp_spawn *rank, kp_arena *arena)
{
    kp_wire_run_result *result = KP_NEW(arena, kp_wire_run_result, 1);
    const kp_schema *schema = kp_wire_schema(KP_WIRE_RUN_RESULT);
    if (!result || rank->out.len == 0 || rank->out.failed) return NULL;
    if (kp_schema_unpack(schema, rank->out.data, rank->out.len, arena, result, NULL) != KP_OK)
        return NULL;
    return result;
}

/* The run's one result: the first rank's checks if it was here, and the first failure known. */
static kp_status collect(one_run *run, kp_arena *arena, kp_wire_run_result *ret, kp_err *err)
{
    kp_schema_init(kp_wire_schema(KP_WIRE_RUN_RESULT), ret);
    for (uint32_t i = 0; i < run->n; i++) {
        const kp_wire_run_result *result = read_result(&run->ranks[i], arena);
        if (result && result->failure) note_failure(run, result->failure);
        if (i > 0 || !run->first_here) continue;
        if (result)
            *ret = *result;
        else
            note_failure(run, "the run's first rank left no result");
    }
    ret->run = kp_arena_str(arena, run->id);
    ret->failure = run->failure[0] ? kp_arena_str(arena, run->failure) : NULL;
    return ret->run && (ret->failure || !run->failure[0]) ? KP_OK : kp_nomem(err);
}

static kp_status say_ready(one_run *run, kp_arena *arena, kp_run_event *ret, kp_err *err)
{
    run->ready_due = false;
    ret->type = KP_WIRE_RUN_READY;
    ret->ready = (kp_wire_run_ready){kp_arena_str(arena, run->id), kp_arena_str(arena, run->meet)};
    return ret->ready.run && ret->ready.meet ? KP_OK : kp_nomem(err);
}

kp_status kp_runs_step(kp_runs *runs, kp_arena *arena, kp_run_event *ret, bool *ret_any,
                       kp_err *err)
{
    *ret_any = true;
    *ret = (kp_run_event){0};
    for (one_run **at = &runs->first; *at;) {
        one_run *run = *at;
        if (run->ready_due) return say_ready(run, arena, ret, err);
        bool ended = step_run(runs, run), due = answer_due(run, ended);
        kp_status status = due ? collect(run, arena, &ret->result, err) : KP_OK;
        run->answered |= due;
        if (ended) {
            *at = run->next;
            free_run(run);
        } else {
            at = &run->next;
        }
        if (!due) continue;
        ret->type = KP_WIRE_RUN_RESULT;
        return status;
    }
    *ret_any = false;
    return KP_OK;
}

/* ---- what to wait for ---- */

uint32_t kp_runs_fds(const kp_runs *runs, int *ret_fds, uint32_t cap)
{
    uint32_t n = 0;
    for (const one_run *run = runs->first; run; run = run->next)
        for (uint32_t i = 0; i < run->n; i++) {
            if (run->ranks[i].fd < 0) continue;
            if (n < cap) ret_fds[n] = run->ranks[i].fd;
            n++;
        }
    return n;
}

double kp_runs_wait_s(const kp_runs *runs)
{
    double wait = INFINITY;
    for (const one_run *run = runs->first; run; run = run->next) {
        if (run->ready_due) return 0;
        double left = run->killed ? reap_s : run->kill_s - kp_now_s();
        wait = fmin(wait, fmax(left, reap_s));
        for (uint32_t i = 0; i < run->n; i++)
            if (run->ranks[i].fd < 0 && run->ranks[i].pid > 0) wait = fmin(wait, reap_s);
    }
    return wait;
}

uint32_t kp_runs_count(const kp_runs *runs)
{
    uint32_t n = 0;
    for (const one_run *run = runs->first; run; run = run->next) n++;
    return n;
}

uint32_t kp_runs_processes(const kp_runs *runs)
{
    uint32_t n = 0;
    for (const one_run *run = runs->first; run; run = run->next)
        for (uint32_t i = 0; i < run->n; i++) n += run->ranks[i].pid > 0;
    return n;
}
