/* SPDX-License-Identifier: MIT
 *
 * agent/main.c — kplan-agent: options, the dump, and the two helpers it starts itself as. */
#include "agent/agent.h"
#include "agent/inventory/watch.h"
#include "agent/verify/runs.h"
#include "proto/args.h"
#include "proto/clock.h"
#include "proto/link.h"
#include "proto/log.h"
#include "proto/wire.h"
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

typedef struct values {
    const char *server, *node, *invent, *inventory;
    bool dump, json;
} values;

static const kp_arg rows[] = {
    {"server", KP_ARG_TEXT, "EP", offsetof(values, server),
     "the planner: tcp://HOST:PORT or ipc://PATH (" KP_ENDPOINT_DEFAULT ")"},
    {"node", KP_ARG_TEXT, "NAME", offsetof(values, node), "this node's name (the host's name)"},
    {"invent", KP_ARG_TEXT, "SPEC", offsetof(values, invent),
     "make up a machine: 8xH100-80G (GPUs x kind)"},
    {"inventory", KP_ARG_TEXT, "FILE", offsetof(values, inventory),
     "a recorded machine: what --dump wrote (without these two NVML is asked)"},
    {"dump", KP_ARG_FLAG, NULL, offsetof(values, dump), "print the inventory as JSON and end"},
    {"json", KP_ARG_FLAG, NULL, offsetof(values, json), "failures as JSON on stdout too"},
};

static const kp_args args = {
    "kplan-agent",
    "One node's agent, in the foreground: tells the planner what this machine has\n"
    "and runs the ranks of verifications. Says 'ready' when the planner knows it.",
    rows, KP_LEN(rows)};

static kp_status print(const kp_buf *text, kp_err *err)
{
    KP_TRY(kp_buf_check(text, err));
    if (fwrite(kp_buf_text(text), 1, text->len, stdout) == text->len && fflush(stdout) == 0)
        return KP_OK;
    return kp_fail(err, KP_IO, "standard output cannot be written");
}

/* kplan.nodes/1 with one node. */
static kp_status dump(const kp_inventory_source *source, kp_err *err)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_buf text;
    kp_buf_init(&text, 0);
    kp_inventory *inventory = NULL;
    kp_node node;
    kp_status status = kp_inventory_open(source, &inventory, err);
    if (status == KP_OK) status = kp_inventory_probe(inventory, &arena, &node, err);
    if (status == KP_OK) {
        const kp_nodes nodes = {.revision = 0, .nodes = &node, .n_nodes = 1};
        status = kp_schema_print(&kp_schema_nodes, &nodes, &text, err);
        kp_buf_char(&text, '\n');
    }
    if (status == KP_OK) status = print(&text, err);
    kp_inventory_close(inventory);
    kp_buf_release(&text);
    kp_arena_release(&arena);
    return status;
}

static kp_status run(const values *v, kp_err *err)
{
    char host[256] = "";
    if (!v->node && gethostname(host, sizeof(host) - 1))
        return kp_fail(err, KP_USAGE, "the host has no name: give one with --node");
    const kp_agent_config config = {
        .server = v->server ? v->server : KP_ENDPOINT_DEFAULT,
        .source = {.node = v->node ? v->node : host, .invent = v->invent, .file = v->inventory},
    };
    KP_TRY(kp_agent_name_check(config.source.node, err));
    return v->dump ? dump(&config.source, err) : kp_agent_run(&config, err);
}

static kp_status text_and_end(kp_args_do what, kp_err *err)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    if (what == KP_ARGS_HELP)
        kp_args_help(&args, &text);
    else
        kp_args_version(&args, &text);
    kp_status status = print(&text, err);
    kp_buf_release(&text);
    return status;
}

static int failed(const kp_err *err, bool json)
{
    const kp_error_msg msg = kp_wire_error(err, NULL);
    kp_buf text;
    kp_buf_init(&text, 0);
    if (json && kp_schema_print(&kp_schema_error, &msg, &text, NULL) == KP_OK) {
        kp_buf_char(&text, '\n');
        print(&text, NULL);
    }
    kp_buf_release(&text);
    return kp_args_failed(&args, err);
}

/* Whoever started us may have blocked signals that we want to hear, or closed descriptors that a
 * socket would get then and stderr would be written to. */
static void sane_start(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

int main(int argc, char **argv)
{
    sane_start();
    if (argc > 1 && !strcmp(argv[1], "--rank")) return kp_rank_main(argc, argv);
    if (argc > 1 && !strcmp(argv[1], "--probe")) return kp_watch_main(argc, argv);
    values v = {0};
    kp_args_do what = KP_ARGS_RUN;
    kp_err err = {0};
    kp_status status = kp_log_init(&err);
    if (status == KP_OK) status = kp_args_parse(&args, argc, argv, getenv, &v, &what, &err);
    if (status == KP_OK) status = what == KP_ARGS_RUN ? run(&v, &err) : text_and_end(what, &err);
    return status == KP_OK ? 0 : failed(&err, v.json);
}
