/* SPDX-License-Identifier: MIT
 *
 * Runs of ranks, as the planner orders them and as the agent ends them. */
#include "tests/agent/planner.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>

TestSuite(ranks);

enum { CHILDREN_MAX = 16 };

/* Processes whose parent is `parent`, from /proc. */
static int children(pid_t parent, pid_t *ret)
{
    DIR *proc = opendir("/proc");
    int n = 0;
    for (struct dirent *entry; proc && n < CHILDREN_MAX && (entry = readdir(proc));) {
        char path[300], line[512];
        int of = 0;
        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        FILE *file = strspn(entry->d_name, "0123456789") ? fopen(path, "r") : NULL;
        char *end = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
        if (end && sscanf(end + 1, " %*c %d", &of) == 1 && of == parent)
            ret[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
        if (file) fclose(file);
    }
    if (proc) closedir(proc);
    return n;
}

/* A Dense layer cut by columns over two ranks; `here` of them start at this agent. */
static void say_run(kp_planner *p, const char *run, const char *const *gpus, uint32_t here,
                    double deadline_s)
{
    static uint32_t group[] = {0, 1};
    kp_run_rank ranks[2] = {{.rank = 0, .gpu_index = 0, .gpu = gpus[0]},
                            {.rank = 1, .gpu_index = 1, .gpu = gpus[1]}};
    kp_check_spec spec = {.layer = "dense",
                          .op = KP_OP_MATMUL,
                          .cut = KP_CUT_COLUMN,
                          .x = {.rank = 2, .dim = {8, 16}},
                          .w = {.rank = 2, .dim = {16, 24}},
                          .y = {.rank = 2, .dim = {8, 24}},
                          .ranks = group,
                          .n_ranks = 2,
                          .weight_bytes = 1536};
    const kp_wire_run msg = {.run = run,
                             .executor = KP_EXEC_HOST,
                             .fence = 3,
                             .deadline_s = deadline_s,
                             .seed = 1,
                             .shape_limit = 4096,
                             .token = "token",
                             .n_ranks = 2,
                             .ranks = ranks,
                             .n_here = here,
                             .checks = &spec,
                             .n_checks = 1};
    kp_planner_say(p, KP_WIRE_RUN, NULL, &msg);
}

static void join(kp_planner *p, const char *ret_gpus[2])
{
    kp_planner_open(p);
    kp_planner_bind(p);
    kp_planner_agent(p, "--invent", "2xH100-80G");
    const kp_wire_hello *hello = kp_planner_hello(p);
    for (int i = 0; i < 2; i++) ret_gpus[i] = hello->inventory.gpus[i].uuid;
    kp_planner_welcome(p, 1, NULL, 0);
}

Test(ranks, a_run_from_order_to_result)
{
    kp_planner p;
    const char *gpus[2];
    join(&p, gpus);
    say_run(&p, "rn_1", gpus, 2, 15);
    kp_frame frame = kp_planner_expect(&p, KP_WIRE_RUN_READY);
    cr_expect_str_eq(((kp_wire_run_ready *)frame.payload)->run, "rn_1");
    frame = kp_planner_expect(&p, KP_WIRE_RUN_RESULT);
    const kp_wire_run_result *result = frame.payload;
    cr_expect_str_eq(result->run, "rn_1");
    cr_expect(!result->failure, "%s", result->failure);
    cr_expect(result->n_checks == 2, "%u", result->n_checks); /* forward and backward */
    for (uint32_t i = 0; i < result->n_checks; i++)
        cr_expect(result->checks[i].state == KP_CHECK_OK, "check %u: %s", i,
                  result->checks[i].message);
    pid_t left[CHILDREN_MAX];
    for (int i = 0; i < 100 && children(p.agent.pid, left); i++) kp_sleep(0.02);
    cr_expect(children(p.agent.pid, left) == 0);
    kp_planner_close(&p);
}

/* A run whose second rank never comes waits until somebody ends it. */
Test(ranks, nothing_outlives_its_end)
{
    static const enum { ABORT, TERM, INT, KILL } ends[] = {ABORT, TERM, INT, KILL};
    static const int codes[] = {0, 0, 130, 137};
    for (size_t i = 0; i < KP_LEN(ends); i++) {
        kp_planner p;
        const char *gpus[2];
        pid_t pids[CHILDREN_MAX];
        join(&p, gpus);
        say_run(&p, "rn_waits", gpus, 1, 60);
        kp_planner_expect(&p, KP_WIRE_RUN_READY);
        cr_assert(children(p.agent.pid, pids) == 1, "end %zu", i);
        const kp_wire_run_abort abort = {.run = "rn_waits", .reason = "the lease was released"};
        if (ends[i] == ABORT) {
            kp_planner_say(&p, KP_WIRE_RUN_ABORT, NULL, &abort);
            kp_frame frame = kp_planner_expect(&p, KP_WIRE_RUN_RESULT);
            const kp_wire_run_result *result = frame.payload;
            cr_expect(result->failure && strstr(result->failure, "released"), "%s",
                      result->failure);
            cr_expect(kp_proc_stop(&p.agent) == 0);
        } else {
            static const int signals[] = {0, SIGTERM, SIGINT, SIGKILL};
            kp_proc_signal(&p.agent, signals[ends[i]]);
            int code = kp_proc_wait(&p.agent, 5);
            cr_expect(code == codes[i], "end %zu: %d", i, code);
        }
        for (int n = 0; n < 250 && kill(pids[0], 0) == 0; n++) kp_sleep(0.02);
        cr_expect(kill(pids[0], 0) == -1 && errno == ESRCH, "end %zu: the rank lives on", i);
        kp_planner_close(&p);
    }
}
