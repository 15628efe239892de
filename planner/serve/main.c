/* SPDX-License-Identifier: MIT
 *
 * kpland: the planner daemon, in the foreground. */
#include "planner/serve/daemon.h"
#include "proto/args.h"
#include "proto/log.h"

#define FIELD(name) offsetof(kp_daemon_config, name)

static const kp_arg rows[] = {
    {"listen", KP_ARG_TEXT, "ENDPOINT", FIELD(listen),
     "tcp://127.0.0.1:PORT or ipc://PATH (" KP_ENDPOINT_DEFAULT ")"},
    {"store", KP_ARG_TEXT, "FILE", FIELD(store), "the database (kplan.db)"},
    {"heartbeat", KP_ARG_S, "D", FIELD(heartbeat_s), "how often agents show that they live (1s)"},
    {"lease", KP_ARG_S, "D", FIELD(lease_s), "length of leases that name none (10m)"},
};

static const kp_args args = {
    .program = "kpland",
    .what = "plans on the live cluster, leases its GPUs, keeps what it promised",
    .rows = rows,
    .n_rows = KP_LEN(rows),
};

static kp_status run(const kp_daemon_config *config, kp_args_do what, kp_err *err)
{
    if (what == KP_ARGS_RUN) {
        KP_TRY(kp_log_init(err));
        return kp_daemon_run(config, err);
    }
    kp_buf text;
    kp_buf_init(&text, 0);
    (what == KP_ARGS_HELP ? kp_args_help : kp_args_version)(&args, &text);
    fputs(kp_buf_text(&text), stdout);
    kp_buf_release(&text);
    return KP_OK;
}

int main(int argc, char **argv)
{
    kp_err err = {0};
    kp_args_do what;
    kp_daemon_config config = {
        .listen = KP_ENDPOINT_DEFAULT, .store = "kplan.db", .heartbeat_s = 1, .lease_s = 600};
    kp_status status = kp_args_parse(&args, argc, argv, getenv, &config, &what, &err);
    if (status == KP_OK) status = run(&config, what, &err);
    return status == KP_OK ? 0 : kp_args_failed(&args, &err);
}
