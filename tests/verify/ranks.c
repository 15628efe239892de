/* SPDX-License-Identifier: MIT */
#include "tests/verify/ranks.h"
#include "proto/clock.h"
#include <criterion/criterion.h>
#include <pthread.h>

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

void kp_test_threads(const kp_test_run *run, kp_arena *arena, kp_wire_run_result *ret)
{
    rank_thread *threads = calloc(run->n_ranks, sizeof(*threads));
    char meet[80];
    kp_err err = {0};
    int fd;
    cr_assert(threads && kp_channel_listen("127.0.0.1", &fd, meet, &err) == KP_OK, "%s", err.msg);
    kp_wire_run message = {.run = "rn_test",
                           .executor = KP_EXEC_HOST,
                           .deadline_s = run->deadline_s > 0 ? run->deadline_s : 20,
                           .seed = 7,
                           .shape_limit = run->shape_limit,
                           .meet = meet,
                           .token = "token",
                           .n_ranks = run->n_ranks};
    kp_check_spec *specs = KP_NEW(arena, kp_check_spec, run->n_specs);
    memcpy(specs, run->specs, run->n_specs * sizeof(*specs));
    message.checks = specs;
    message.n_checks = run->n_specs;
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        rank_thread *t = &threads[i];
        if (i > 0) kp_arena_init(&t->arena, 0);
        else t->arena = *arena;
        t->walk = (kp_walk){.run = &message,
                            .rank = i,
                            .node = "node0",
                            .listen_fd = i == 0 ? fd : -1,
                            .start_s = kp_now_s(),
                            .rows = run->rows,
                            .n_rows = run->n_rows};
        cr_assert(pthread_create(&t->thread, NULL, walk_thread, t) == 0);
    }
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        pthread_join(threads[i].thread, NULL);
        cr_expect(threads[i].status == KP_OK, "rank %u: %s", i, threads[i].err.msg);
        if (i > 0) kp_arena_release(&threads[i].arena);
    }
    *arena = threads[0].arena;
    *ret = threads[0].result;
    free(threads);
}

kp_shape kp_test_shape(const int64_t *dims)
{
    kp_shape shape = {0};
    while (dims[shape.rank] > 0) {
        shape.dim[shape.rank] = dims[shape.rank];
        shape.rank++;
    }
    return shape;
}

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
