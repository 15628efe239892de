/* SPDX-License-Identifier: MIT
 *
 * Runs as the agent's loop sees them: rank processes of the built kplan-agent, two to four agents,
 * and what happens when ranks are lost, hang, or are told to stop. */
#include "tests/verify/agents.h"
#include "proto/clock.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static kp_check_spec dense_spec(uint32_t ranks, int64_t batch, int64_t size)
{
    return (kp_check_spec){.layer = "dense",
                           .op = KP_OP_MATMUL,
                           .cut = KP_CUT_ROW,
                           .x = DIMS(batch, size),
                           .w = DIMS(size, size),
                           .y = DIMS(batch, size),
                           .ranks = kp_test_group(),
                           .n_ranks = ranks};
}

Test(runs, two_agents_verify)
{
    kp_test_agents agents;
    kp_test_agents_open(&agents, 2, 2);
    kp_check_spec specs[3] = {dense_spec(4, 64, 1024), dense_spec(2, 8, 8), dense_spec(2, 8, 8)};
    specs[2].ranks = kp_test_group() + 2;
    kp_wire_run run = kp_test_run_message(&agents, specs, 3, 20);
    kp_test_agents_start(&agents, &run);
    cr_expect(
        kp_runs_start(
            agents.runs[0],
            &(kp_wire_run){.run = "rn_1", .token = "t", .n_ranks = 1, .n_here = 1, .deadline_s = 1},
            NULL) == KP_OK,
        "the same id again is the same run");
    kp_test_agents_wait(&agents, 25);
    const kp_wire_run_result *first = &agents.results[0];
    cr_expect(first->n_checks == 6 && kp_test_count(first, KP_CHECK_OK) == 6 && !first->failure,
              "%s", kp_test_message(first));
    cr_expect(first->reduced && agents.results[1].n_checks == 0 && !agents.results[1].failure);
    kp_test_agents_close(&agents);
}

/* A hurt run: which rank gets which signal, and what the agents then say. */
typedef struct hurt_row {
    const char *what;
    uint32_t rank;
    int signal;
    const char *first_says, *second_says;
} hurt_row;

Test(runs, a_lost_or_silent_rank_is_inconclusive)
{
    static const hurt_row rows[] = {
        {"killed on the other node", 3, SIGKILL, "rank 3", "rank 3 on node1 was lost (signal 9)"},
        {"killed on the first node", 1, SIGKILL, "rank 1 on node0 was lost (signal 9)", "rank"},
        {"the first rank is killed", 0, SIGKILL, "rank 0 on node0 was lost (signal 9)",
         "first rank"},
        {"stopped", 2, SIGSTOP, "rank 2", "rank 2 on node1 did not end within"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const hurt_row *row = &rows[i];
        kp_test_agents agents;
        kp_test_agents_open(&agents, 2, 2);
        kp_check_spec specs[200]; /* a second of work in small pieces */
        for (int k = 0; k < 200; k++) specs[k] = dense_spec(4, 40 + k, 120);
        kp_wire_run run = kp_test_run_message(&agents, specs, 200, 2.5);
        run.shape_limit = 0;
        kp_test_agents_start(&agents, &run);
        pid_t pid = 0;
        for (double end = kp_now_s() + 5; !pid && kp_now_s() < end;)
            pid = kp_test_rank_pid(getpid(), row->rank);
        cr_assert(pid > 0 && kill(pid, row->signal) == 0, "row %zu: %s", i, row->what);
        kp_test_agents_wait(&agents, 10);
        const char *first = agents.results[0].failure, *second = agents.results[1].failure;
        cr_expect(first && strstr(first, row->first_says), "row %zu, %s: '%s'", i, row->what,
                  first);
        cr_expect(second && strstr(second, row->second_says), "row %zu, %s: '%s'", i, row->what,
                  second);
        cr_expect(kp_test_count(&agents.results[0], KP_CHECK_OK) < 400, "row %zu: %s", i,
                  row->what);
        cr_expect(kp_test_count(&agents.results[0], KP_CHECK_FAILED) == 0, "row %zu", i);
        kp_test_agents_close(&agents);
    }
}

Test(runs, abort_ends_a_run_with_its_reason)
{
    kp_test_agents agents;
    kp_test_agents_open(&agents, 1, 2);
    kp_check_spec spec = dense_spec(3, 16, 64);
    kp_wire_run run = kp_test_run_message(&agents, &spec, 1, 20);
    run.n_ranks = 3; /* the third never comes */
    kp_test_agents_start(&agents, &run);
    kp_runs_abort(agents.runs[0], "rn_other", "nobody");
    kp_runs_abort(agents.runs[0], "rn_1", "node 'n7' is gone");
    kp_test_agents_wait(&agents, 5);
    cr_expect_str_eq(agents.results[0].failure, "node 'n7' is gone");
    kp_test_agents_close(&agents);
}

Test(runs, bad_messages_and_programs_are_refused)
{
    static const struct {
        const char *what;
        kp_wire_run run;
    } rows[] = {
        {"no id", {.token = "t", .n_ranks = 1, .n_here = 1, .deadline_s = 1}},
        {"no token", {.run = "r", .n_ranks = 1, .n_here = 1, .deadline_s = 1}},
        {"no deadline", {.run = "r", .token = "t", .n_ranks = 1, .n_here = 1}},
        {"no ranks here", {.run = "r", .token = "t", .n_ranks = 1, .deadline_s = 1}},
        {"more here than in all",
         {.run = "r", .token = "t", .n_ranks = 1, .n_here = 2, .deadline_s = 1}},
        {"a million ranks",
         {.run = "r", .token = "t", .n_ranks = 1000000, .n_here = 1, .deadline_s = 1}},
    };
    kp_runs *runs;
    cr_assert(kp_runs_open(&(kp_runs_config){.program = "/no/such", .node = "n"}, &runs, NULL) ==
              KP_OK);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        cr_expect(kp_runs_start(runs, &rows[i].run, &err) == KP_INPUT, "row %zu: %s", i,
                  rows[i].what);
    }
    kp_run_rank here = {.gpu = "invented"};
    kp_wire_run run = {
        .run = "r", .token = "t", .n_ranks = 1, .ranks = &here, .n_here = 1, .deadline_s = 1};
    kp_err err = {0};
    cr_expect(kp_runs_start(runs, &run, &err) == KP_IO && strstr(err.msg, "/no/such"), "%s",
              err.msg);
    cr_expect(kp_runs_count(runs) == 0);
    kp_runs_abort(runs, "r", "x");
    cr_expect(kp_runs_wait_s(runs) > 1e9);
    kp_runs_close(runs);
}

/* An agent that starts two ranks, which wait for a third, and then waits itself. */
static int agent_with_ranks(void *arg)
{
    (void)arg;
    kp_test_agents agents;
    kp_test_agents_open(&agents, 1, 2);
    kp_check_spec spec = dense_spec(3, 16, 64);
    kp_wire_run run = kp_test_run_message(&agents, &spec, 1, 60);
    run.n_ranks = 3;
    kp_test_agents_start(&agents, &run);
    kp_sleep(60);
    return 0;
}

Test(runs, ranks_die_with_their_agent)
{
    kp_dir dir = kp_dir_make();
    kp_proc agent = kp_proc_fork(&dir, "agent", agent_with_ranks, NULL);
    pid_t ranks[2] = {0};
    for (double end = kp_now_s() + 10; (!ranks[0] || !ranks[1]) && kp_now_s() < end; kp_sleep(0.01))
        for (uint32_t i = 0; i < 2; i++) ranks[i] = kp_test_rank_pid(agent.pid, i);
    cr_assert(ranks[0] && ranks[1]);
    kp_sleep(
        0.1); /* they have asked for the signal by then, or see that their parent has changed */
    kp_proc_kill(&agent);
    for (int i = 0; i < 2; i++) {
        bool gone = false;
        for (double end = kp_now_s() + 5; !gone && kp_now_s() < end; kp_sleep(0.01))
            gone = kill(ranks[i], 0) != 0 && errno == ESRCH;
        cr_expect(gone, "rank %d outlives its agent", i);
    }
    kp_dir_remove(&dir);
}

Test(runs, address_for_other_machines)
{
    static const struct {
        const char *endpoint;
        kp_status status;
        const char *host;
    } rows[] = {
        {"ipc:///run/kplan.sock", KP_OK, "127.0.0.1"},
        {"tcp://127.0.0.1:7400", KP_OK, "127.0.0.1"},
        {"tcp://localhost:7400", KP_OK, "127.0.0.1"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char host[64];
        kp_err err = {0};
        cr_expect(kp_runs_host(rows[i].endpoint, host, &err) == rows[i].status, "%s", err.msg);
        cr_expect_str_eq(host, rows[i].host);
    }
}
