/* SPDX-License-Identifier: MIT */
#include "tests/verify/agents.h"
#include "proto/clock.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>

void kp_test_agents_open(kp_test_agents *agents, uint32_t n, uint32_t ranks_each)
{
    *agents = (kp_test_agents){.n = n, .ranks_each = ranks_each};
    kp_arena_init(&agents->arena, 0);
    const kp_path program = kp_program("kplan-agent");
    for (uint32_t i = 0; i < n; i++) {
        char node[16];
        snprintf(node, sizeof(node), "node%u", i);
        const kp_runs_config config = {.program = program.s, .node = node};
        kp_err err = {0};
        cr_assert(kp_runs_open(&config, &agents->runs[i], &err) == KP_OK, "%s", err.msg);
    }
}

void kp_test_agents_close(kp_test_agents *agents)
{
    for (uint32_t i = 0; i < agents->n; i++) kp_runs_close(agents->runs[i]);
    kp_arena_release(&agents->arena);
}

kp_wire_run kp_test_run_message(kp_test_agents *agents, kp_check_spec *specs, uint32_t n_specs,
                                double deadline_s)
{
    kp_wire_run run;
    kp_schema_init(kp_wire_schema(KP_WIRE_RUN), &run);
    run.run = "rn_1";
    run.executor = KP_EXEC_HOST;
    run.deadline_s = deadline_s;
    run.seed = 11;
    run.shape_limit = KP_RUN_SHAPE_LIMIT;
    run.token = "secret";
    run.n_ranks = agents->n * agents->ranks_each;
    run.checks = specs;
    run.n_checks = n_specs;
    return run;
}

static void start_on(kp_test_agents *agents, uint32_t at, const kp_wire_run *run, const char *meet)
{
    kp_wire_run here = *run;
    kp_err err = {0};
    here.ranks = KP_NEW(&agents->arena, kp_run_rank, agents->ranks_each);
    here.n_here = agents->ranks_each;
    here.meet = meet;
    for (uint32_t i = 0; i < here.n_here; i++)
        here.ranks[i] = (kp_run_rank){at * agents->ranks_each + i, i, "invented"};
    cr_assert(kp_runs_start(agents->runs[at], &here, &err) == KP_OK, "%s", err.msg);
}

void kp_test_agents_start(kp_test_agents *agents, const kp_wire_run *run)
{
    kp_run_event event;
    bool any = false;
    kp_err err = {0};
    start_on(agents, 0, run, NULL);
    kp_status status = kp_runs_step(agents->runs[0], &agents->arena, &event, &any, &err);
    cr_assert(status == KP_OK && any && event.type == KP_WIRE_RUN_READY);
    cr_assert_str_eq(event.ready.run, run->run);
    for (uint32_t i = 1; i < agents->n; i++) start_on(agents, i, run, event.ready.meet);
}

/* One agent's turn; true if it answered just now. */
static bool turn(kp_test_agents *agents, uint32_t at)
{
    kp_run_event event;
    bool any = false, answered = false;
    kp_err err = {0};
    do {
        kp_status status = kp_runs_step(agents->runs[at], &agents->arena, &event, &any, &err);
        cr_assert(status == KP_OK, "%s", err.msg);
        if (!any) break;
        cr_assert(event.type == KP_WIRE_RUN_RESULT && agents->answers[at]++ == 0);
        agents->results[at] = event.result;
        answered = true;
    } while (any);
    return answered;
}

void kp_test_agents_wait(kp_test_agents *agents, double seconds)
{
    double end = kp_now_s() + seconds;
    uint32_t left = agents->n;
    for (uint32_t running = 1; left > 0 || running > 0;) {
        cr_assert(kp_now_s() < end, "%u agents did not answer, %u still run", left, running);
        int fds[64];
        struct pollfd polls[64];
        uint32_t n = 0;
        for (uint32_t i = 0; i < agents->n; i++)
            n += kp_runs_fds(agents->runs[i], fds + n, (uint32_t)KP_LEN(fds) - n);
        cr_assert(n <= KP_LEN(fds));
        for (uint32_t i = 0; i < n; i++) polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        poll(polls, n, 20);
        running = 0;
        for (uint32_t i = 0; i < agents->n; i++) {
            left -= turn(agents, i);
            running += kp_runs_count(agents->runs[i]);
        }
    }
    for (uint32_t i = 0; i < agents->n; i++)
        cr_expect(agents->answers[i] == 1 && kp_runs_processes(agents->runs[i]) == 0);
}

/* True if /proc/PID is rank `rank` and a child of `parent`. */
static bool is_rank(const char *pid, pid_t parent, uint32_t rank)
{
    char path[300], want[32];
    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    char *stat = kp_file_text(path);
    const char *behind = strrchr(stat, ')');
    long of = 0;
    bool child = behind && sscanf(behind, ") %*c %ld", &of) == 1 && of == (long)parent;
    free(stat);
    if (!child) return false;
    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    FILE *file = fopen(path, "r");
    char line[200] = "";
    size_t n = file ? fread(line, 1, sizeof(line) - 1, file) : 0;
    if (file) fclose(file);
    for (size_t i = 0; i < n; i++)
        if (!line[i]) line[i] = ' ';
    snprintf(want, sizeof(want), "--rank %u ", rank);
    return strstr(line, want) != NULL;
}

pid_t kp_test_rank_pid(pid_t parent, uint32_t rank)
{
    DIR *dir = opendir("/proc");
    cr_assert_not_null(dir);
    pid_t found = 0;
    for (const struct dirent *e; !found && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_rank(e->d_name, parent, rank))
            found = (pid_t)strtol(e->d_name, NULL, 10);
    closedir(dir);
    return found;
}
