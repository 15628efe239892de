/* SPDX-License-Identifier: MIT
 *
 * tests/cli/test_session.c — a user's session with a live daemon and two invented nodes. */
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

typedef struct step {
    const char *what, *cmd;
    int exit_code;
    const char *out_has, *err_has;
} step;

/* Variables of earlier steps live in files of the test's folder, which is the current one. */
#define PLAN  "$(cut -d ' ' -f 2 line)"
#define LEASE "$(sed 's/.*lease \\([^ ]*\\) until.*/\\1/' line)"

static const step steps[] = {
    {"nodes", "kplan get nodes", 0, "node1  ready     2     2  H100-SXM5-80GB", NULL},
    {"nodes as JSON", "kplan get nodes --json", 0, "{\"schema\":\"kplan.nodes/1\",\"revision\":", NULL},
    {"no plans yet", "kplan get plans", 0, "plan  created", NULL},
    {"a dry run on the live inventory", "kplan plan $MODELS/dense.json --json >dry; cat dry", 0,
     "\"gpus\":4,\"simulated\":true", NULL},
    {"a file is as good as an id", "kplan verify dry", 0, "plan pl_", NULL},
    {"submit", "kplan submit $MODELS/dense.json --nodes 2 --batch 64 >line; cat line", 0,
     " ready: 2 nodes x 2 GPUs, ", NULL},
    {"its line ends with the lease", "grep -E 'verified [0-9]+ % of weights, lease ls_[0-9a-f]+ until 20[0-9T:-]+Z$' line",
     0, "Plan pl_", NULL},
    {"nothing is free now", "kplan submit $MODELS/dense.json", 4, NULL, "kplan: not enough GPUs are free"},
    {"and it says so in JSON", "kplan submit $MODELS/dense.json --json", 4,
     "{\"schema\":\"kplan.error/1\",\"error\":{\"code\":\"CONFLICT\"", "kplan: "},
    {"GPUs", "kplan get gpus", 0, "leased", NULL},
    {"leases", "kplan get leases --json", 0, "\"state\":\"held\"", NULL},
    {"plans", "kplan get plans", 0, "dense", NULL},
    {"show", "kplan show " PLAN, 0, "lease      ls_", NULL},
    {"show as JSON is a plan file", "kplan show " PLAN " --json >stored && kplan show stored", 0, "lease      ls_", NULL},
    {"verify again", "kplan verify " PLAN, 0, ": verified, ", NULL},
    {"renew", "kplan lease renew " LEASE " --lease-time 90s", 0, " held: 4 GPUs until 20", NULL},
    {"confirm, as JSON", "kplan lease confirm " LEASE " --json", 0, "\"state\":\"confirmed\"", NULL},
    {"keep it until interrupted", "timeout --preserve-status -s INT 1.5 kplan lease renew " LEASE
     " --keepalive --lease-time 1s >kept; code=$?; [ $(wc -l <kept) -ge 3 ] && exit $code", 130, NULL,
     "kplan: interrupted"},
    {"release", "kplan lease release " LEASE, 0, " released: 4 GPUs", NULL},
    {"a lease that ended", "kplan lease renew " LEASE, 4, NULL, "kplan: "},
    {"a lease that never was", "kplan lease renew ls_none", 65, NULL, "kplan: "},
    {"a plan that never was", "kplan show pl_0123456789abcdef", 65, NULL, "kplan: "},
    {"verify what never was", "kplan verify pl_0123456789abcdef", 65, NULL, "kplan: "},
    {"an id of one's own", "kplan submit $MODELS/dense.json --no-verify --request-id mine >line; cat line", 0,
     "not verified, lease ls_", NULL},
    {"repeating it does nothing twice", "kplan submit $MODELS/dense.json --no-verify --request-id mine | cmp - line", 0,
     NULL, NULL},
    {"waiting until GPUs are free", "(sleep 0.7; kplan lease release " LEASE " >released) & kplan submit "
     "$MODELS/dense.json --no-verify --wait 20s; code=$?; wait; exit $code", 0, "Plan pl_", NULL},
    {"not waiting for what never fits", "kplan submit $MODELS/dense.json --nodes 9 --wait 60s", 2, NULL, "kplan: "},
    {"a model that is none", "echo '{}' >no.json; kplan submit no.json", 65, NULL, "kplan: no.json: "},
};

static void run_step(const step *s, size_t i, const kp_dir *dir)
{
    char cmd[1024], *out, *err;
    snprintf(cmd, sizeof(cmd), "cd %s && %s", dir->path, s->cmd);
    const char *const argv[] = {"timeout", "-k", "1", "60", "sh", "-c", cmd, NULL};
    int code = kp_proc_run(dir, argv, NULL, 90, &out, &err);
    cr_expect_eq(code, s->exit_code, "step %zu: %s: exit %d, not %d\nstdout: %s\nstderr: %s", i, s->what,
                 code, s->exit_code, out, err);
    cr_expect(!s->out_has || strstr(out, s->out_has), "step %zu: %s: stdout is %s", i, s->what, out);
    cr_expect(!s->err_has || strstr(err, s->err_has), "step %zu: %s: stderr is %s", i, s->what, err);
    free(out);
    free(err);
}

static void set_environment(const char *server)
{
    char here[1024], text[4096];
    kp_path bin = kp_program("");
    cr_assert(getcwd(here, sizeof(here)));
    snprintf(text, sizeof(text), "%s%s%s:%s", bin.s[0] == '/' ? "" : here, bin.s[0] == '/' ? "" : "/",
             bin.s, getenv("PATH"));
    setenv("PATH", text, 1);
    snprintf(text, sizeof(text), "%s/tests/data/models", here);
    setenv("MODELS", text, 1);
    setenv("KPLAN_SERVER", server, 1);
}

static void await_nodes(const kp_dir *dir)
{
    static const char *const argv[] = {"sh", "-c", "[ $(kplan get nodes | grep -c ' ready ') -eq 2 ]", NULL};
    for (int i = 0; i < 200; i++) {
        if (!kp_proc_run(dir, argv, NULL, 10, NULL, NULL)) return;
        kp_sleep(0.05);
    }
    cr_assert_fail("the agents did not come up");
}

Test(session, of_a_user)
{
    kp_dir dir = kp_dir_make();
    char server[96], store[96];
    snprintf(server, sizeof(server), "ipc://%s/s", dir.path);
    snprintf(store, sizeof(store), "%s/kplan.db", dir.path);
    set_environment(server);
    const char *const daemon_argv[] = {"kpland", "--listen", server, "--store", store, NULL};
    kp_proc daemon = kp_proc_start(&dir, "kpland", daemon_argv, NULL), agents[2];
    cr_assert(kp_proc_line(&daemon, "ready", 10, NULL, 0));
    for (int i = 0; i < 2; i++) {
        const char *const argv[] = {"kplan-agent", "--node", i ? "node1" : "node0", "--invent", "2xH100-80G", NULL};
        agents[i] = kp_proc_start(&dir, i ? "agent1" : "agent0", argv, NULL);
    }
    await_nodes(&dir);
    for (size_t i = 0; i < KP_LEN(steps); i++) run_step(&steps[i], i, &dir);
    for (int i = 0; i < 2; i++) cr_expect_eq(kp_proc_stop(&agents[i]), 0);
    cr_expect_eq(kp_proc_stop(&daemon), 0);
    kp_dir_remove(&dir);
}
