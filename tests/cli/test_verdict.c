/* SPDX-License-Identifier: MIT
 *
 * tests/cli/test_verdict.c — `kplan verify` and `kplan submit` with a daemon that says what it is
 * told to: the exit codes of verdicts that a healthy cluster does not give. */
#include "proto/link.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <unistd.h>
#include <zmq.h>

typedef struct script {
    const char *what;
    kp_verdict_kind verdict;
    kp_check_state second; /* of the second check */
    kp_status error;       /* not KP_OK: an ERROR frame instead of a verdict */
    int exit_code;
    const char *out_has, *err_has;
} script;

typedef struct fake {
    const script *script;
    const char *endpoint;
} fake;

static void answer(const script *s, kp_link *link, const kp_frame *frame)
{
    kp_check checks[] = {
        {.layer = "dense", .op = KP_OP_MATMUL, .cut = KP_CUT_COLUMN, .direction = KP_FORWARD, .ranks = 4},
        {.layer = "dense", .op = KP_OP_MATMUL, .cut = KP_CUT_COLUMN, .direction = KP_BACKWARD, .ranks = 4,
         .state = s->second, .error = 3, .message = "3 of 64 values differ"},
    };
    kp_verdict verdict = {.plan = "pl_0123456789abcdef", .verdict = s->verdict, .covered = 0.999,
                          .shapes = "reduced", .checks = checks, .n_checks = 2};
    kp_error_msg error = {.error = {.code = kp_status_name(s->error), .message = "no luck",
                                    .where = "node 'n\033[31m'", .hint = "try later"}};
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = frame->envelope.id;
    if (s->error) kp_link_send(link, &frame->peer, KP_WIRE_ERROR, &envelope, &error, NULL);
    else kp_link_send(link, &frame->peer, KP_WIRE_VERDICT, &envelope, &verdict, NULL);
}

static int serve(void *arg)
{
    const fake *f = arg;
    kp_link *link;
    kp_err err = {0};
    void *zmq = zmq_ctx_new();
    alarm(60);
    if (kp_link_bind(zmq, f->endpoint, KP_LINK_BYTES_MAX, &link, &err)) return 1;
    fprintf(stderr, "ready\n");
    for (;;) {
        kp_arena arena;
        kp_frame frame;
        kp_arena_init(&arena, 0);
        if (!kp_link_recv(link, 1, &arena, &frame, &err)) answer(f->script, link, &frame);
        kp_arena_release(&arena);
    }
}

static const script scripts[] = {
    {"verified", KP_VERDICT_VERIFIED, KP_CHECK_OK, KP_OK, 0, "verified, 99 % of the weights checked", NULL},
    {"failed", KP_VERDICT_FAILED, KP_CHECK_FAILED, KP_OK, 6, "dense  matmul  column      4  exact  ok       failed    3 of 64",
     "kplan: layer 'dense': matmul, cut by column, backward: 3 of 64 values differ\n"},
    {"inconclusive", KP_VERDICT_INCONCLUSIVE, KP_CHECK_INCONCLUSIVE, KP_OK, 7, "inconclusive",
     "kplan: layer 'dense': matmul, cut by column, backward: 3 of 64 values differ\n"},
    {"inconclusive without a check that is", KP_VERDICT_INCONCLUSIVE, KP_CHECK_OK, KP_OK, 7, NULL,
     "kplan: verification could not be finished\n"},
    {"nothing was verified", KP_VERDICT_NONE, KP_CHECK_NOT_COVERED, KP_OK, 7, "without a check: matmul", "kplan: "},
    {"a node was lost", 0, 0, KP_LOST, 69, NULL, "kplan: node 'n\\x1b[31m': no luck\nhint: try later\n"},
    {"the store failed", 0, 0, KP_STORE, 70, NULL, "kplan: node"},
    {"overloaded", 0, 0, KP_RETRY, 75, NULL, "hint: try later\n"},
    {"changed meanwhile", 0, 0, KP_CONFLICT, 4, NULL, "no luck"},
};

static void run_script(const script *s, const kp_dir *dir)
{
    char endpoint[96], *out, *err;
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/s", dir->path);
    fake f = {s, endpoint};
    kp_proc server = kp_proc_fork(dir, "fake", serve, &f);
    kp_path kplan = kp_program("kplan");
    cr_assert(kp_proc_line(&server, "ready", 10, NULL, 0));
    for (int json = 0; json < 2; json++) {
        const char *const argv[] = {kplan.s, "verify", "pl_0123456789abcdef", "--server", endpoint,
                                    json ? "--json" : NULL, NULL};
        int code = kp_proc_run(dir, argv, NULL, 20, &out, &err);
        cr_expect_eq(code, s->exit_code, "%s: exit %d\n%s", s->what, code, err);
        cr_expect(json || !s->out_has || strstr(out, s->out_has), "%s: stdout is\n%s", s->what, out);
        cr_expect(!s->err_has || strstr(err, s->err_has), "%s: stderr is\n%s", s->what, err);
        const char *object = s->error ? "{\"schema\":\"kplan.error/1\"" : "{\"schema\":\"kplan.verdict/1\"";
        cr_expect(!json || !strncmp(out, object, strlen(object)), "%s: stdout is\n%s", s->what, out);
        cr_expect(!strchr(out, '\033') && !strchr(err, '\033'));
        free(out);
        free(err);
    }
    kp_proc_kill(&server);
    unlink(server.err_path);
}

Test(verdict, exit_codes)
{
    kp_dir dir = kp_dir_make();
    for (size_t i = 0; i < KP_LEN(scripts); i++) run_script(&scripts[i], &dir);
    kp_dir_remove(&dir);
}
