/* SPDX-License-Identifier: MIT */
#include "tests/verify/ranks.h"
#include "proto/clock.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct rank_thread {
    pthread_t thread;
    kp_walk walk;
    kp_arena arena;
    kp_wire_run_result result;
    kp_status status;
    kp_err err;
} rank_thread;

static void *walk_thread(void *arg)
{
    rank_thread *t = arg;
    t->status = kp_walk_run(&t->walk, &t->arena, &t->result, &t->err);
    return NULL;
}

/* The run's message, complete but for its ranks. */
static kp_wire_run message_of(const kp_test_run *run, kp_executor executor, const char *meet,
                              kp_arena *arena)
{
    kp_wire_run message;
    kp_schema_init(kp_wire_schema(KP_WIRE_RUN), &message);
    message.run = "rn_test";
    message.executor = executor;
    message.deadline_s = run->deadline_s > 0 ? run->deadline_s : 20;
    message.seed = 7;
    message.shape_limit = run->shape_limit;
    message.meet = meet;
    message.token = "token";
    message.n_ranks = run->n_ranks;
    message.checks = KP_NEW(arena, kp_check_spec, run->n_specs);
    memcpy(message.checks, run->specs, run->n_specs * sizeof(*run->specs));
    message.n_checks = run->n_specs;
    return message;
}

static kp_walk walk_of(const kp_test_run *run, const kp_wire_run *message, uint32_t rank, int fd)
{
    return (kp_walk){.run = message,
                     .rank = rank,
                     .node = "node0",
                     .listen_fd = rank == 0 ? fd : -1,
                     .start_s = kp_now_s(),
                     .rows = run->rows,
                     .n_rows = run->n_rows,
                     .cuda_dir = kp_test_standins()};
}

kp_status kp_test_threads(const kp_test_run *run, kp_arena *arena, kp_wire_run_result *ret)
{
    rank_thread *threads = calloc(run->n_ranks, sizeof(*threads));
    char meet[80];
    kp_err err = {0};
    int fd;
    cr_assert(threads && kp_channel_listen("127.0.0.1", &fd, meet, &err) == KP_OK, "%s", err.msg);
    const kp_wire_run message = message_of(run, KP_EXEC_HOST, meet, arena);
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        rank_thread *t = &threads[i];
        if (i > 0)
            kp_arena_init(&t->arena, 0);
        else
            t->arena = *arena;
        if (i == 0 && run->fail_call) t->arena.fail_call = t->arena.calls + run->fail_call;
        t->walk = walk_of(run, &message, i, fd);
        cr_assert(pthread_create(&t->thread, NULL, walk_thread, t) == 0);
    }
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        pthread_join(threads[i].thread, NULL);
        cr_expect(threads[i].status == KP_OK || run->fail_call, "rank %u: %s", i,
                  threads[i].err.msg);
        if (i > 0) kp_arena_release(&threads[i].arena);
    }
    *arena = threads[0].arena;
    *ret = threads[0].result;
    kp_status status = threads[0].status;
    free(threads);
    return status;
}

/* ---- forks ---- */

const char *kp_test_standins(void)
{
    static char dir[280];
    snprintf(dir, sizeof(dir), "%s", kp_program("standin").s);
    return dir;
}

/* A rank in a fork: walks, and the first one sends its result to the parent. */
static void fork_rank(kp_walk walk, int out)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_wire_run_result result;
    kp_err err = {0};
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_walk_run(&walk, &arena, &result, &err);
    if (status == KP_OK && walk.listen_fd >= 0) {
        status = kp_schema_pack(kp_wire_schema(KP_WIRE_RUN_RESULT), &result, &packed, &err);
        for (size_t at = 0; status == KP_OK && at < packed.len;) {
            ssize_t n = write(out, packed.data + at, packed.len - at);
            if (n <= 0) break;
            at += (size_t)n;
        }
    }
    if (status != KP_OK) fprintf(stderr, "rank %u: %s\n", walk.rank, err.msg);
    _exit(status != KP_OK);
}

void kp_test_forks(const kp_test_run *run, kp_arena *arena, kp_wire_run_result *ret)
{
    char meet[80], bytes[4096];
    kp_err err = {0};
    int fd, pipes[2];
    cr_assert(kp_channel_listen("127.0.0.1", &fd, meet, &err) == KP_OK && pipe(pipes) == 0, "%s",
              err.msg);
    const kp_wire_run message = message_of(run, KP_EXEC_CUDA, meet, arena);
    pid_t pids[KP_TEST_RANKS_MAX];
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        pids[i] = fork();
        cr_assert(pids[i] >= 0);
        if (pids[i] != 0) continue;
        close(pipes[0]);
        if (i > 0) close(fd);
        fork_rank(walk_of(run, &message, i, fd), pipes[1]);
    }
    close(pipes[1]);
    close(fd);
    kp_buf packed;
    kp_buf_init(&packed, 0);
    for (ssize_t n; (n = read(pipes[0], bytes, sizeof(bytes))) > 0;)
        kp_buf_add(&packed, bytes, (size_t)n);
    close(pipes[0]);
    uint32_t bad = 0;
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        int status = -1;
        cr_assert(waitpid(pids[i], &status, 0) == pids[i]);
        bad += status != 0;
    }
    cr_expect(bad == run->lost, "%u ranks ended badly", bad);
    kp_status status = kp_schema_unpack(kp_wire_schema(KP_WIRE_RUN_RESULT), packed.data, packed.len,
                                        arena, ret, &err);
    cr_assert(status == KP_OK, "%s", err.msg);
    kp_buf_release(&packed);
}

/* ---- parts ---- */

uint32_t *kp_test_group(void)
{
    static uint32_t ranks[KP_TEST_RANKS_MAX];
    for (uint32_t i = 0; i < KP_TEST_RANKS_MAX; i++) ranks[i] = i;
    return ranks;
}

uint32_t kp_test_count(const kp_wire_run_result *result, kp_check_state state)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < result->n_checks; i++) n += result->checks[i].state == state;
    return n;
}

const char *kp_test_message(const kp_wire_run_result *result)
{
    for (uint32_t i = 0; i < result->n_checks; i++)
        if (result->checks[i].message) return result->checks[i].message;
    return result->failure ? result->failure : "";
}
