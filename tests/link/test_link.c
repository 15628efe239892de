/* SPDX-License-Identifier: MIT */
#include "tests/link/pair.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

TestSuite(link);

Test(link, round_trip_over_tcp_and_ipc)
{
    static const char *const endpoints[] = {"tcp://127.0.0.1:0", NULL, "tcp://localhost:0"};
    for (size_t i = 0; i < KP_LEN(endpoints); i++) {
        kp_pair p;
        kp_pair_open(&p, endpoints[i], 0);
        for (int n = 0; n < 20; n++) {
            char id[16];
            snprintf(id, sizeof(id), "rq_%d", n);
            kp_pair_round_trip(&p, id);
        }
        kp_frame frame;
        cr_expect(kp_link_recv(p.server, 0, &p.arena, &frame, NULL) == KP_RETRY);
        cr_expect(kp_link_recv(p.client, 0.01, &p.arena, &frame, NULL) == KP_RETRY);
        cr_expect(kp_link_bad(p.server) == 0 && kp_link_bad(p.client) == 0);
        kp_pair_close(&p);
    }
}

/* ---- nobody there ---- */

static int listen_and_say_nothing(int *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 5) == 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void stale_socket(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 5) == 0);
    close(fd);
}

Test(link, nobody_there)
{
    kp_dir dir = kp_dir_make();
    int port;
    int silent = listen_and_say_nothing(&port);
    char tcp_free[64], tcp_silent[64], ipc_missing[160], ipc_stale[160], stale_path[128];
    snprintf(tcp_silent, sizeof(tcp_silent), "tcp://127.0.0.1:%d", port);
    int once = listen_and_say_nothing(&port);
    snprintf(tcp_free, sizeof(tcp_free), "tcp://127.0.0.1:%d", port);
    close(once);
    snprintf(ipc_missing, sizeof(ipc_missing), "ipc://%s/none", dir.path);
    snprintf(stale_path, sizeof(stale_path), "%s/stale", dir.path);
    snprintf(ipc_stale, sizeof(ipc_stale), "ipc://%s", stale_path);
    stale_socket(stale_path);
    const struct {
        const char *endpoint;
        double timeout_s;
        const char *why;
    } rows[] = {
        {tcp_free, 60, "Connection refused"},
        {ipc_missing, 60, "No such file"},
        {ipc_stale, 60, "Connection refused"},
        {tcp_silent, 0.3, "does not answer"},
        {"tcp://no-such-host.invalid:7400", 60, "cannot be found"},
        {tcp_free, 0, "cannot be reached"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_err err = {0};
        const kp_wire_get get = {.what = "nodes"};
        void *reply = NULL;
        kp_status status =
            kp_link_call(rows[i].endpoint, rows[i].timeout_s, NULL, KP_WIRE_GET, &get,
                         KP_WIRE_NODES, &arena, &reply, NULL, NULL, NULL, &err);
        cr_expect(status == KP_UNREACHABLE, "row %zu: %d %s", i, status, err.msg);
        cr_expect(strstr(err.msg, rows[i].why), "row %zu: %s", i, err.msg);
        cr_expect(!reply);
        kp_arena_release(&arena);
    }
    close(silent);
    kp_dir_remove(&dir);
}

/* ---- binding ---- */

Test(link, addresses_that_are_taken)
{
    kp_pair p, q;
    kp_pair_open(&p, "tcp://127.0.0.1:0", 0);
    kp_pair_open(&q, NULL, 0);
    char file[128], ipc_file[160], ipc_stale[160], ipc_nowhere[160];
    snprintf(file, sizeof(file), "%s/notes", p.dir.path);
    kp_file_write(file, "dear diary", 10);
    snprintf(ipc_file, sizeof(ipc_file), "ipc://%s", file);
    snprintf(ipc_stale, sizeof(ipc_stale), "ipc://%s/stale", p.dir.path);
    stale_socket(ipc_stale + 6);
    snprintf(ipc_nowhere, sizeof(ipc_nowhere), "ipc://%s/no/where", p.dir.path);
    const struct {
        const char *endpoint;
        kp_status status;
        const char *says;
    } rows[] = {
        {kp_link_endpoint(p.server), KP_UNREACHABLE, "address in use"},
        {kp_link_endpoint(q.server), KP_UNREACHABLE, "address in use"},
        {ipc_file, KP_USAGE, "not a socket"},
        {ipc_nowhere, KP_USAGE, "No such file"},
        {"tcp://192.0.2.1:7400", KP_USAGE, "no such address"},
        {"tcp://127.0.0.1", KP_USAGE, "not an endpoint"},
        {ipc_stale, KP_OK, NULL},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_link *link = NULL;
        kp_err err = {0};
        kp_status status = kp_link_bind(p.zmq, rows[i].endpoint, 0, &link, &err);
        cr_expect(status == rows[i].status, "row %zu: %d %s", i, status, err.msg);
        if (rows[i].says) cr_expect(strstr(err.msg, rows[i].says), "row %zu: %s", i, err.msg);
        kp_link_close(link);
    }
    char *text = kp_file_text(file);
    cr_expect_str_eq(text, "dear diary");
    free(text);
    kp_pair_round_trip(&p, "rq_p");
    kp_pair_round_trip(&q, "rq_q");
    kp_pair_close(&q);
    kp_pair_close(&p);
}

/* ---- a server that goes and comes ---- */

Test(link, reconnects_after_a_restart)
{
    kp_pair p;
    kp_pair_open(&p, "tcp://127.0.0.1:0", 0);
    char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "%s", kp_link_endpoint(p.server));
    kp_pair_round_trip(&p, "rq_before");
    uint32_t before, after;
    cr_expect(kp_link_poll(p.client, &before) == KP_LINK_READY);
    cr_expect(before == 1);
    kp_link_close(p.server);
    kp_frame frame;
    cr_expect(kp_link_recv(p.client, 5, &p.arena, &frame, &p.err) == KP_LOST, "%s", p.err.msg);
    cr_expect(kp_link_recv(p.client, 0.01, &p.arena, &frame, &p.err) == KP_RETRY, "%s", p.err.msg);
    const kp_wire_get get = {.what = "nodes"};
    cr_expect(kp_link_send(p.client, NULL, KP_WIRE_GET, NULL, &get, &p.err) == KP_RETRY);
    kp_status status = KP_UNREACHABLE;
    for (int i = 0; i < 50 && status == KP_UNREACHABLE; i++, kp_sleep(0.02))
        status = kp_link_bind(p.zmq, endpoint, 0, &p.server, &p.err);
    cr_assert(status == KP_OK, "%s", p.err.msg);
    cr_assert(kp_link_wait(p.client, 10, &p.err) == KP_OK, "%s", p.err.msg);
    kp_link_poll(p.client, &after);
    cr_expect(after == 2, "%u", after);
    kp_pair_round_trip(&p, "rq_after");
    kp_pair_close(&p);
}

Test(link, a_peer_that_is_gone)
{
    kp_pair p;
    kp_pair_open(&p, NULL, 0);
    kp_pair_ask(p.client, "rq_1");
    kp_frame frame = kp_pair_take(&p, "rq_1");
    kp_link_close(p.client);
    p.client = NULL;
    const kp_nodes nodes = {.revision = 1};
    kp_status status = KP_OK;
    for (int i = 0; i < 200 && status == KP_OK; i++, kp_sleep(0.01))
        status = kp_link_send(p.server, &frame.peer, KP_WIRE_NODES, NULL, &nodes, &p.err);
    cr_expect(status == KP_LOST, "%d", status);
    const kp_peer nobody = {.len = 5, .id = {0, 9, 9, 9, 9}};
    cr_expect(kp_link_send(p.server, &nobody, KP_WIRE_NODES, NULL, &nodes, NULL) == KP_LOST);
    kp_pair_close(&p);
}
