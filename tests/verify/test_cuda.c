/* SPDX-License-Identifier: MIT
 *
 * The CUDA executor on the stand-ins: the same checks, real calls of CUDA, cuBLAS and NCCL between
 * processes, and what happens when they hang or fail. */
#include "agent/verify/cuda_api.h"
#include "agent/verify/exec.h"
#include "proto/clock.h"
#include "tests/verify/agents.h"
#include <criterion/criterion.h>
#include <dirent.h>

static const kp_cut matmul_cuts[] = {KP_CUT_BATCH, KP_CUT_COLUMN, KP_CUT_COLUMN_GATHER, KP_CUT_ROW,
                                     KP_CUT_ROW_SLICE};

static kp_check_spec dense(kp_cut cut, uint32_t ranks, int64_t b, int64_t in, int64_t out)
{
    return (kp_check_spec){.layer = "dense",
                           .op = KP_OP_MATMUL,
                           .cut = cut,
                           .x = DIMS(b, in),
                           .w = DIMS(in, out),
                           .y = DIMS(b, out),
                           .ranks = kp_test_group(),
                           .n_ranks = ranks};
}

/* Files of stand-in communicators with a tag that were left behind. */
static int left_behind(const char *tag)
{
    char prefix[40];
    int len = snprintf(prefix, sizeof(prefix), "kplan-standin-%s-", tag), n = 0;
    DIR *dir = opendir("/dev/shm");
    for (const struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        n += strncmp(e->d_name, prefix, (size_t)len) == 0;
    if (dir) closedir(dir);
    return n;
}

Test(cuda, every_cut_of_a_dense_layer)
{
    setenv("KP_STANDIN_TAG", "cuts", 1);
    for (uint32_t ranks = 1; ranks <= 4; ranks++) {
        kp_check_spec specs[32];
        uint32_t n = 0;
        for (size_t i = 0; i < KP_LEN(matmul_cuts); i++) {
            specs[n++] = dense(matmul_cuts[i], ranks, 8, 24, 36);
            specs[n++] = dense(matmul_cuts[i], ranks, 7, 13, 11);
            specs[n++] = dense(matmul_cuts[i], ranks, 3, 300, 700);
        }
        specs[n++] = dense(KP_CUT_ROW, 1, 4, 4, 4); /* of the first rank alone */
        specs[n] = dense(KP_CUT_BATCH, ranks, 4, 4, 4);
        specs[n].op = KP_OP_RELU;
        specs[n].w = (kp_shape){0};
        specs[n++].y = SHAPE(4, 4);
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_test_run run = {.specs = specs, .n_specs = n, .n_ranks = ranks};
        kp_wire_run_result result;
        kp_test_forks(&run, &arena, &result);
        cr_assert(result.n_checks == 2 * n && !result.failure, "%u ranks: %s", ranks,
                  result.failure);
        for (uint32_t i = 0; i < result.n_checks; i++) {
            const kp_check *row = &result.checks[i];
            bool covered = row->op == KP_OP_MATMUL;
            cr_expect(row->state == (covered ? KP_CHECK_OK : KP_CHECK_NOT_COVERED),
                      "%u ranks, %s, %s: %s", ranks, kp_cut_names[row->cut],
                      kp_direction_names[row->direction], row->message);
            if (covered)
                cr_expect(row->peak_bytes_measured >= row->peak_bytes_predicted &&
                          row->peak_bytes_predicted > 0);
            else
                cr_expect(strstr(row->message, "cuda executor has no row"), "%s", row->message);
        }
        kp_arena_release(&arena);
    }
    cr_expect(left_behind("cuts") == 0);
}

/* A table row that is not true, and how it shows. */
typedef struct wrong_row {
    const char *what;
    kp_cut cut;
    int8_t weight_axis; /* 0: as in the table */
    kp_coll forward, backward, weight_grad;
    const char *says;
} wrong_row;

Test(cuda, a_wrong_row_fails)
{
    static const wrong_row rows[] = {
        {"terms not added", KP_CUT_ROW, 0, KP_COLL_NONE, KP_COLL_NONE, KP_COLL_NONE, "y("},
        {"gradient not added", KP_CUT_COLUMN, 0, KP_COLL_NONE, KP_COLL_NONE, KP_COLL_NONE,
         "the gradient of x("},
        {"weight's gradient not added", KP_CUT_BATCH, 0, KP_COLL_NONE, KP_COLL_NONE, KP_COLL_NONE,
         "the gradient of the weight("},
        {"added twice", KP_CUT_COLUMN, 0, KP_COLL_NONE, KP_COLL_ALL_REDUCE, KP_COLL_ALL_REDUCE,
         "the gradient of the weight("},
        {"wrong axis", KP_CUT_COLUMN, KP_AXIS_IN, KP_COLL_NONE, KP_COLL_ALL_REDUCE, KP_COLL_NONE,
         "layout 'channel'"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const wrong_row *w = &rows[i];
        kp_shard_row row = *kp_shard_find(KP_OP_MATMUL, w->cut);
        if (w->weight_axis) row.weight_axis = w->weight_axis;
        row.forward = w->forward, row.backward = w->backward, row.weight_grad = w->weight_grad;
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_check_spec spec = dense(w->cut, 2, 8, 16, 24);
        kp_test_run run = {.specs = &spec, .n_specs = 1, .n_ranks = 2, .rows = &row, .n_rows = 1};
        kp_wire_run_result result;
        kp_test_forks(&run, &arena, &result);
        cr_expect(kp_test_count(&result, KP_CHECK_FAILED) > 0 &&
                      strstr(kp_test_message(&result), w->says),
                  "row %zu, %s: '%s'", i, w->what, kp_test_message(&result));
        kp_arena_release(&arena);
    }
}

/* A knob of the stand-ins, and what the run's first rank then says. */
typedef struct trouble_row {
    const char *what, *name, *value, *failure, *message;
} trouble_row;

Test(cuda, trouble_is_inconclusive_within_the_deadline)
{
    static const trouble_row rows[] = {
        {"a rank hangs in a collective", "KP_STANDIN_HANG", "1:2", "did not finish in time", NULL},
        {"a rank hangs while joining", "KP_STANDIN_HANG", "0:0",
         "ncclCommInitRank did not finish in time", NULL},
        {"a remote error", "KP_STANDIN_REMOTE", "2:1",
         "rank 2 on node0: ", "remote process exited"},
        {"too little memory", "KP_STANDIN_BYTES", "2000", NULL, "the GPU has no room for 1.0 KiB"},
        {"no GPU", "KP_STANDIN_GPUS", "0", "CUDA sees no GPU 0 (it sees 0)", NULL},
    };
    setenv("KP_STANDIN_TAG", "trouble", 1);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const trouble_row *row = &rows[i];
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_check_spec specs[2] = {dense(KP_CUT_ROW, 3, 8, 15, 32),
                                  dense(KP_CUT_BATCH, 3, 9, 32, 32)};
        kp_test_run run = {.specs = specs, .n_specs = 2, .n_ranks = 3, .deadline_s = 1.5};
        kp_wire_run_result result;
        setenv(row->name, row->value, 1);
        kp_test_forks(&run, &arena, &result);
        unsetenv(row->name);
        cr_expect(row->failure ? result.failure && strstr(result.failure, row->failure) != NULL
                               : !result.failure,
                  "row %zu, %s: '%s'", i, row->what, result.failure);
        cr_expect(!row->message || strstr(kp_test_message(&result), row->message),
                  "row %zu, %s: '%s'", i, row->what, kp_test_message(&result));
        cr_expect(kp_test_count(&result, KP_CHECK_INCONCLUSIVE) > 0 &&
                      kp_test_count(&result, KP_CHECK_FAILED) == 0,
                  "row %zu, %s", i, row->what);
        kp_arena_release(&arena);
    }
    cr_expect(left_behind("trouble") == 0);
}

Test(cuda, a_lost_rank_frees_the_others_at_once)
{
    double before = kp_now_s();
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_check_spec specs[2] = {dense(KP_CUT_ROW, 3, 8, 15, 32), dense(KP_CUT_ROW, 3, 9, 32, 32)};
    kp_test_run run = {.specs = specs, .n_specs = 2, .n_ranks = 3, .deadline_s = 100, .lost = 1};
    kp_wire_run_result result;
    setenv("KP_STANDIN_EXIT", "1:2", 1);
    kp_test_forks(&run, &arena, &result);
    unsetenv("KP_STANDIN_EXIT");
    cr_expect(result.failure && strstr(result.failure, "rank 1 on node0 was lost"), "'%s'",
              result.failure);
    cr_expect(kp_test_count(&result, KP_CHECK_INCONCLUSIVE) == 4, "%s", kp_test_message(&result));
    cr_expect(kp_now_s() < before + 50, "nobody waits for the deadline");
    kp_arena_release(&arena);
}

/* Two agents with two rank processes each of the built kplan-agent. */
static void run_agents(kp_test_agents *agents)
{
    kp_check_spec specs[2] = {dense(KP_CUT_COLUMN_GATHER, 4, 64, 64, 130),
                              dense(KP_CUT_BATCH, 4, 64, 65, 66)};
    kp_test_agents_open(agents, 2, 2);
    kp_wire_run run = kp_test_run_message(agents, specs, 2, 10);
    run.executor = KP_EXEC_CUDA;
    run.shape_limit = 0;
    kp_test_agents_start(agents, &run);
    kp_test_agents_wait(agents, 20);
}

Test(cuda, the_agent_loads_what_the_loader_finds)
{
    kp_test_agents agents;
    setenv("LD_LIBRARY_PATH", kp_test_standins(), 1);
    run_agents(&agents);
    const kp_wire_run_result *first = &agents.results[0];
    cr_expect(!first->failure && kp_test_count(first, KP_CHECK_OK) == 4 && !first->reduced, "%s",
              kp_test_message(first));
    kp_test_agents_close(&agents);
    setenv("KP_STANDIN_GPUS", "0", 1);
    run_agents(&agents);
    first = &agents.results[0];
    cr_expect(first->failure && strstr(first->failure, "CUDA sees no GPU"), "%s", first->failure);
    cr_expect(kp_test_count(first, KP_CHECK_INCONCLUSIVE) == 4);
    kp_test_agents_close(&agents);
}

Test(cuda, libraries_that_are_not_there)
{
    kp_cuda cuda;
    kp_err err = {0};
    cr_expect(kp_cuda_load("/no/such/folder", &cuda, &err) == KP_UNSUPPORTED);
    cr_expect(strstr(err.msg, "CUDA runtime not found: ") == err.msg &&
                  strstr(err.msg, "libcudart.so.13") && err.hint[0],
              "%s", err.msg);
    cr_assert(kp_cuda_load(kp_test_standins(), &cuda, &err) == KP_OK, "%s", err.msg);
    kp_cuda_unload(&cuda);
}
