/* SPDX-License-Identifier: MIT */
#include "proto/link.h"
#include "proto/wire.h"
#include "tests/lib/proc.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

TestSuite(link);

#define SMALL ((size_t)64 << 10)

/* One server and one client in one thread. */
typedef struct pair {
    void *zmq;
    kp_dir dir;
    kp_arena arena;
    kp_link *server, *client;
    kp_err err;
} pair;

static void pair_open(pair *p, const char *endpoint, size_t limit)
{
    *p = (pair){.zmq = zmq_ctx_new(), .dir = kp_dir_make()};
    char ipc[128];
    snprintf(ipc, sizeof(ipc), "ipc://%s/link", p->dir.path);
    kp_arena_init(&p->arena, 0);
    cr_assert(kp_link_bind(p->zmq, endpoint ? endpoint : ipc, limit, &p->server, &p->err) == KP_OK,
              "%s", p->err.msg);
    cr_assert(kp_link_connect(p->zmq, kp_link_endpoint(p->server), limit, &p->client, &p->err) ==
                  KP_OK,
              "%s", p->err.msg);
    cr_assert(kp_link_wait(p->client, 5, &p->err) == KP_OK, "%s", p->err.msg);
}

static void pair_close(pair *p)
{
    kp_link_close(p->client);
    kp_link_close(p->server);
    zmq_ctx_term(p->zmq);
    kp_arena_release(&p->arena);
    kp_dir_remove(&p->dir);
}

static kp_envelope named(const char *id)
{
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = id;
    return envelope;
}

static void send_get(kp_link *link, const char *id)
{
    const kp_envelope envelope = named(id);
    const kp_wire_get get = {.what = "nodes"};
    kp_err err = {0};
    cr_assert(kp_link_send(link, NULL, KP_WIRE_GET, &envelope, &get, &err) == KP_OK, "%s", err.msg);
}

/* The server takes a GET with this id; everything bad before it is skipped. */
static kp_frame take_get(pair *p, const char *id)
{
    kp_frame frame;
    kp_status status = KP_RETRY;
    for (int i = 0; i < 100 && status == KP_RETRY; i++)
        status = kp_link_recv(p->server, 0.5, &p->arena, &frame, &p->err);
    cr_assert(status == KP_OK, "%s", p->err.msg);
    cr_assert(frame.type == KP_WIRE_GET && frame.envelope.id);
    cr_assert_str_eq(frame.envelope.id, id);
    return frame;
}

static void round_trip(pair *p, const char *id)
{
    send_get(p->client, id);
    kp_frame frame = take_get(p, id);
    const kp_envelope envelope = named(id);
    const kp_nodes nodes = {.revision = 12};
    cr_assert(kp_link_send(p->server, &frame.peer, KP_WIRE_NODES, &envelope, &nodes, &p->err) ==
                  KP_OK,
              "%s", p->err.msg);
    cr_assert(kp_link_recv(p->client, 5, &p->arena, &frame, &p->err) == KP_OK, "%s", p->err.msg);
    cr_expect(frame.type == KP_WIRE_NODES && ((kp_nodes *)frame.payload)->revision == 12);
    cr_expect_str_eq(frame.envelope.id, id);
}

Test(link, round_trip_over_tcp_and_ipc)
{
    static const char *const endpoints[] = {"tcp://127.0.0.1:0", NULL, "tcp://localhost:0"};
    for (size_t i = 0; i < KP_LEN(endpoints); i++) {
        pair p;
        pair_open(&p, endpoints[i], 0);
        for (int n = 0; n < 20; n++) {
            char id[16];
            snprintf(id, sizeof(id), "rq_%d", n);
            round_trip(&p, id);
        }
        kp_frame frame;
        cr_expect(kp_link_recv(p.server, 0, &p.arena, &frame, NULL) == KP_RETRY);
        cr_expect(kp_link_recv(p.client, 0.01, &p.arena, &frame, NULL) == KP_RETRY);
        cr_expect(kp_link_bad(p.server) == 0 && kp_link_bad(p.client) == 0);
        pair_close(&p);
    }
}

/* ---- bad frames from somebody who speaks ZeroMQ ---- */

static void *raw_dealer(pair *p)
{
    void *raw = zmq_socket(p->zmq, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &zero, sizeof(zero));
    cr_assert(zmq_connect(raw, kp_link_endpoint(p->server)) == 0);
    return raw;
}

/* The ERROR that a raw socket got; false if nothing came. */
static bool raw_refusal(pair *p, void *raw, kp_frame *ret)
{
    char bytes[4096];
    zmq_pollitem_t item = {.socket = raw, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, 2000) != 1) return false;
    int n = zmq_recv(raw, bytes, sizeof(bytes), 0);
    return n >= 0 && kp_wire_unpack(bytes, (size_t)n, &p->arena, ret, NULL) == KP_OK &&
           ret->type == KP_WIRE_ERROR;
}

Test(link, bad_frames_are_counted_and_refused)
{
    static const struct {
        const char *what, *bytes;
        size_t len;
        const char *code; /* of the ERROR that comes back; NULL: none */
    } rows[] = {
        {"nothing", "", 0, NULL},
        {"too short", "KP", 2, "INPUT"},
        {"another protocol", "GET / HTTP/1.1\r\n\r\n", 18, NULL},
        {"another major", "KP\x02\0\x0c\0\0\0\x80", 9, "UNSUPPORTED"},
        {"unknown type", "KP\x01\x7f\x7f\0\0\0\x80", 9, "INPUT"},
        {"no envelope", "KP\x01\0\x0c\0\0\0", 8, "INPUT"},
        {"envelope is a number", "KP\x01\0\x0c\0\0\0\x05", 9, "INPUT"},
        {"a map that claims 2^32 entries", "KP\x01\0\x0c\0\0\0\xdf\xff\xff\xff\xff", 13, "INPUT"},
        {"ext type", "KP\x01\0\x0c\0\0\0\x81\xa2id\xd4\x01\x02", 15, "INPUT"},
        {"no payload", "KP\x01\0\x0c\0\0\0\x81\xa2id\xa1x", 14, "INPUT"},
    };
    pair p;
    pair_open(&p, "tcp://127.0.0.1:0", SMALL);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        void *raw = raw_dealer(&p);
        cr_assert(zmq_send(raw, rows[i].bytes, rows[i].len, 0) >= 0);
        kp_frame frame;
        cr_expect(kp_link_recv(p.server, 0.3, &p.arena, &frame, NULL) == KP_RETRY, "%s",
                  rows[i].what);
        cr_expect(kp_link_bad(p.server) == i + 1, "%s: %d", rows[i].what,
                  (int)kp_link_bad(p.server));
        cr_expect(kp_link_bad_last(p.server)->code != KP_OK, "%s", rows[i].what);
        if (rows[i].code) {
            cr_assert(raw_refusal(&p, raw, &frame), "%s: no ERROR", rows[i].what);
            cr_expect_str_eq(((kp_error_msg *)frame.payload)->error.code, rows[i].code, "%s",
                             rows[i].what);
        }
        zmq_close(raw);
    }
    round_trip(&p, "rq_after");
    pair_close(&p);
}

Test(link, messages_of_several_frames)
{
    static const int parts[] = {2, 3, 20000};
    pair p;
    pair_open(&p, NULL, SMALL);
    void *raw = raw_dealer(&p);
    for (size_t i = 0; i < KP_LEN(parts); i++)
        for (int n = 1; n <= parts[i]; n++)
            cr_assert(zmq_send(raw, "KP\x01", 3, n < parts[i] ? ZMQ_SNDMORE : 0) == 3);
    kp_frame frame;
    for (int i = 0; i < 20 && kp_link_bad(p.server) < KP_LEN(parts); i++)
        cr_expect(kp_link_recv(p.server, 0.2, &p.arena, &frame, NULL) == KP_RETRY);
    cr_expect(kp_link_bad(p.server) == KP_LEN(parts), "%d", (int)kp_link_bad(p.server));
    zmq_close(raw);
    round_trip(&p, "rq_after");
    pair_close(&p);
}

Test(link, peers_that_choose_a_long_name)
{
    pair p;
    pair_open(&p, NULL, SMALL);
    void *raw = zmq_socket(p.zmq, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &zero, sizeof(zero));
    zmq_setsockopt(raw, ZMQ_ROUTING_ID, "a name of more than sixteen bytes", 33);
    cr_assert(zmq_connect(raw, kp_link_endpoint(p.server)) == 0);
    cr_assert(zmq_send(raw, "KP\x01\0\x0c\0\0\0\x80", 9, 0) == 9);
    kp_frame frame;
    cr_expect(kp_link_recv(p.server, 0.5, &p.arena, &frame, NULL) == KP_RETRY);
    cr_expect(kp_link_bad(p.server) == 1);
    zmq_close(raw);
    round_trip(&p, "rq_after");
    pair_close(&p);
}

Test(link, oversize)
{
    pair p;
    pair_open(&p, "tcp://127.0.0.1:0", SMALL);
    char *big = calloc(1, SMALL + 1);
    memset(big, 'x', SMALL);
    const kp_wire_get get = {.what = big};
    cr_expect(kp_link_send(p.client, NULL, KP_WIRE_GET, NULL, &get, &p.err) == KP_INPUT);
    cr_expect(strstr(p.err.msg, "64.0 KiB"), "%s", p.err.msg);
    void *raw = raw_dealer(&p);
    for (int i = 0; i < 3; i++) zmq_send(raw, big, SMALL + 1, ZMQ_DONTWAIT);
    kp_frame frame;
    cr_expect(kp_link_recv(p.server, 0.3, &p.arena, &frame, NULL) == KP_RETRY);
    cr_expect(kp_link_bad(p.server) == 0); /* libzmq dropped the connection itself */
    zmq_close(raw);
    free(big);
    round_trip(&p, "rq_after");
    pair_close(&p);
}

/* ---- somebody who does not speak ZeroMQ ---- */

static int plain_connect(const char *endpoint)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    to.sin_port = htons((uint16_t)strtoul(strrchr(endpoint, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

Test(link, raw_bytes_on_tcp)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 34},
        {"\xff\0\0\0\0\0\0\0\x01\x7f", 10},                           /* half a greeting */
        {"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL\0\0\0\0\0\0\0\0", 24}, /* no handshake behind */
        {"\x01\0\x05\0KP\x01\x01", 8}, /* the oldest protocol's frames */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
    };
    pair p;
    pair_open(&p, "tcp://127.0.0.1:0", SMALL);
    int fds[KP_LEN(rows)];
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fds[i] = plain_connect(kp_link_endpoint(p.server));
        cr_expect(send(fds[i], rows[i].bytes, rows[i].len, MSG_NOSIGNAL) == (ssize_t)rows[i].len);
    }
    kp_frame frame;
    cr_expect(kp_link_recv(p.server, 0.3, &p.arena, &frame, NULL) == KP_RETRY);
    round_trip(&p, "rq_among");
    for (size_t i = 0; i < KP_LEN(rows); i++) close(fds[i]);
    cr_expect(kp_link_recv(p.server, 0.1, &p.arena, &frame, NULL) == KP_RETRY);
    round_trip(&p, "rq_after");
    pair_close(&p);
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
    pair p, q;
    pair_open(&p, "tcp://127.0.0.1:0", 0);
    pair_open(&q, NULL, 0);
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
    round_trip(&p, "rq_p");
    round_trip(&q, "rq_q");
    pair_close(&q);
    pair_close(&p);
}

/* ---- a server that goes and comes ---- */

Test(link, reconnects_after_a_restart)
{
    pair p;
    pair_open(&p, "tcp://127.0.0.1:0", 0);
    char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "%s", kp_link_endpoint(p.server));
    round_trip(&p, "rq_before");
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
    round_trip(&p, "rq_after");
    pair_close(&p);
}

Test(link, a_peer_that_is_gone)
{
    pair p;
    pair_open(&p, NULL, 0);
    send_get(p.client, "rq_1");
    kp_frame frame = take_get(&p, "rq_1");
    kp_link_close(p.client);
    p.client = NULL;
    const kp_nodes nodes = {.revision = 1};
    kp_status status = KP_OK;
    for (int i = 0; i < 200 && status == KP_OK; i++, kp_sleep(0.01))
        status = kp_link_send(p.server, &frame.peer, KP_WIRE_NODES, NULL, &nodes, &p.err);
    cr_expect(status == KP_LOST, "%d", status);
    const kp_peer nobody = {.len = 5, .id = {0, 9, 9, 9, 9}};
    cr_expect(kp_link_send(p.server, &nobody, KP_WIRE_NODES, NULL, &nodes, NULL) == KP_LOST);
    pair_close(&p);
}
