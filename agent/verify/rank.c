/* SPDX-License-Identifier: MIT
 *
 * The process of one rank. Its job is standard input, a RUN message in MessagePack (with `meet`
 * filled in on all ranks); its result goes to what was standard output, a RUN_RESULT in
 * MessagePack. What libraries print goes to stderr. */
#include "agent/verify/runs.h"
#include "agent/verify/spawn.h"
#include "agent/verify/walk.h"
#include "proto/clock.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { JOB_BYTES_MAX = 256 << 20 };

/* The arguments that spawn.c makes. */
static kp_status read_args(int argc, char **argv, kp_walk *walk, uint64_t *ret_parent, kp_err *err)
{
    uint64_t rank, listens;
    if (argc != 6)
        return kp_fail(err, KP_USAGE,
                       "--rank is for the agent itself: it starts the ranks of a run");
    KP_TRY(kp_parse_u64(argv[2], 0, UINT32_MAX, &rank, err));
    KP_TRY(kp_parse_u64(argv[4], 0, 1, &listens, err));
    KP_TRY(kp_parse_u64(argv[5], 1, INT32_MAX, ret_parent, err));
    walk->rank = (uint32_t)rank;
    walk->node = argv[3];
    walk->listen_fd = listens ? KP_SPAWN_LISTEN_FD : -1;
    return KP_OK;
}

/* All of standard input, from its beginning: the ranks of an agent share the open file. */
static kp_status read_job(kp_buf *job, kp_err *err)
{
    char bytes[16384];
    for (off_t at = 0;;) {
        ssize_t n = pread(STDIN_FILENO, bytes, sizeof(bytes), at);
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return kp_fail(err, KP_IO, "cannot read the job: %s", strerror(errno));
        kp_buf_add(job, bytes, (size_t)n);
        at += n;
    }
    return kp_buf_check(job, err);
}

static kp_status walk_job(kp_walk *walk, kp_arena *arena, kp_wire_run_result *ret, kp_err *err)
{
    const kp_schema *schema = kp_wire_schema(KP_WIRE_RUN);
    kp_wire_run *run = KP_NEW(arena, kp_wire_run, 1);
    if (!run) return kp_nomem(err);
    kp_buf job;
    kp_buf_init(&job, JOB_BYTES_MAX);
    kp_status status = read_job(&job, err);
    if (status == KP_OK) status = kp_schema_unpack(schema, job.data, job.len, arena, run, err);
    kp_buf_release(&job);
    if (status != KP_OK) return status;
    if (run->deadline_s > 0 && run->deadline_s < 1e6) /* SIGALRM ends whoever hangs in a library */
        alarm((unsigned)ceil(run->deadline_s) + 1);
    walk->run = run;
    return kp_walk_run(walk, arena, ret, err);
}

static kp_status write_result(int fd, const kp_wire_run_result *result, kp_err *err)
{
    kp_buf out;
    kp_buf_init(&out, 0);
    kp_status status = kp_schema_pack(kp_wire_schema(KP_WIRE_RUN_RESULT), result, &out, err);
    if (status == KP_OK) status = kp_buf_check(&out, err);
    for (size_t at = 0; status == KP_OK && at < out.len;) {
        ssize_t n = write(fd, out.data + at, out.len - at);
        if (n > 0)
            at += (size_t)n;
        else if (errno != EINTR)
            status = kp_fail(err, KP_IO, "cannot write the result: %s", strerror(errno));
    }
    kp_buf_release(&out);
    return status;
}

/* Keeps standard output for the result alone. */
static int take_stdout(void)
{
    int fd = dup(STDOUT_FILENO);
    if (fd >= 0) dup2(STDERR_FILENO, STDOUT_FILENO);
    return fd;
}

int kp_rank_main(int argc, char **argv)
{
    kp_err err = {0};
    uint64_t parent;
    kp_walk walk = {.start_s = kp_now_s(), .listen_fd = -1};
    kp_status status = read_args(argc, argv, &walk, &parent, &err);
    if (status == KP_OK) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a rank never outlives its agent */
        if ((uint64_t)getppid() != parent) status = kp_fail(&err, KP_LOST, "the agent is gone");
    }
    int out = status == KP_OK ? take_stdout() : -1;
    kp_arena arena;
    kp_arena_init(&arena, 0);
    if (status == KP_OK) {
        kp_wire_run_result result;
        kp_schema_init(kp_wire_schema(KP_WIRE_RUN_RESULT), &result);
        status = walk_job(&walk, &arena, &result, &err);
        if (status != KP_OK) {
            result.run = "";
            result.failure = err.msg;
            result.n_checks = 0;
        }
        if (write_result(out, &result, &err) != KP_OK && status == KP_OK) status = err.code;
    }
    kp_arena_release(&arena);
    if (status != KP_OK) fprintf(stderr, "kplan-agent: %s\n", err.msg);
    return kp_status_exit(status);
}
