/* SPDX-License-Identifier: MIT
 *
 * What strangers send: it is counted, refused or dropped, and the next good message goes through.
 */
#include "proto/wire.h"
#include "tests/link/pair.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

TestSuite(garbage);

/* ---- bad frames from somebody who speaks ZeroMQ ---- */

static void *raw_dealer(kp_pair *p)
{
    void *raw = zmq_socket(p->zmq, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &zero, sizeof(zero));
    cr_assert(zmq_connect(raw, kp_link_endpoint(p->server)) == 0);
    return raw;
}

/* The ERROR that a raw socket got; false if nothing came. */
static bool raw_refusal(kp_pair *p, void *raw, kp_frame *ret)
{
    char bytes[4096];
    zmq_pollitem_t item = {.socket = raw, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, 2000) != 1) return false;
    int n = zmq_recv(raw, bytes, sizeof(bytes), 0);
    return n >= 0 && kp_wire_unpack(bytes, (size_t)n, &p->arena, ret, NULL) == KP_OK &&
           ret->type == KP_WIRE_ERROR;
}

Test(garbage, bad_frames_are_counted_and_refused)
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
    kp_pair p;
    kp_pair_open(&p, "tcp://127.0.0.1:0", KP_PAIR_SMALL);
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
    kp_pair_round_trip(&p, "rq_after");
    kp_pair_close(&p);
}

Test(garbage, messages_of_several_frames)
{
    static const int parts[] = {2, 3, 20000};
    kp_pair p;
    kp_pair_open(&p, NULL, KP_PAIR_SMALL);
    void *raw = raw_dealer(&p);
    for (size_t i = 0; i < KP_LEN(parts); i++)
        for (int n = 1; n <= parts[i]; n++)
            cr_assert(zmq_send(raw, "KP\x01", 3, n < parts[i] ? ZMQ_SNDMORE : 0) == 3);
    kp_frame frame;
    for (int i = 0; i < 20 && kp_link_bad(p.server) < KP_LEN(parts); i++)
        cr_expect(kp_link_recv(p.server, 0.2, &p.arena, &frame, NULL) == KP_RETRY);
    cr_expect(kp_link_bad(p.server) == KP_LEN(parts), "%d", (int)kp_link_bad(p.server));
    zmq_close(raw);
    kp_pair_round_trip(&p, "rq_after");
    kp_pair_close(&p);
}

Test(garbage, peers_that_choose_a_long_name)
{
    kp_pair p;
    kp_pair_open(&p, NULL, KP_PAIR_SMALL);
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
    kp_pair_round_trip(&p, "rq_after");
    kp_pair_close(&p);
}

Test(garbage, oversize)
{
    kp_pair p;
    kp_pair_open(&p, "tcp://127.0.0.1:0", KP_PAIR_SMALL);
    char *big = calloc(1, KP_PAIR_SMALL + 1);
    memset(big, 'x', KP_PAIR_SMALL);
    const kp_wire_get get = {.what = big};
    cr_expect(kp_link_send(p.client, NULL, KP_WIRE_GET, NULL, &get, &p.err) == KP_INPUT);
    cr_expect(strstr(p.err.msg, "64.0 KiB"), "%s", p.err.msg);
    void *raw = raw_dealer(&p);
    for (int i = 0; i < 3; i++) zmq_send(raw, big, KP_PAIR_SMALL + 1, ZMQ_DONTWAIT);
    kp_frame frame;
    cr_expect(kp_link_recv(p.server, 0.3, &p.arena, &frame, NULL) == KP_RETRY);
    cr_expect(kp_link_bad(p.server) == 0); /* libzmq dropped the connection itself */
    zmq_close(raw);
    free(big);
    kp_pair_round_trip(&p, "rq_after");
    kp_pair_close(&p);
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

Test(garbage, raw_bytes_on_tcp)
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
    kp_pair p;
    kp_pair_open(&p, "tcp://127.0.0.1:0", KP_PAIR_SMALL);
    int fds[KP_LEN(rows)];
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fds[i] = plain_connect(kp_link_endpoint(p.server));
        cr_expect(send(fds[i], rows[i].bytes, rows[i].len, MSG_NOSIGNAL) == (ssize_t)rows[i].len);
    }
    kp_frame frame;
    cr_expect(kp_link_recv(p.server, 0.3, &p.arena, &frame, NULL) == KP_RETRY);
    kp_pair_round_trip(&p, "rq_among");
    for (size_t i = 0; i < KP_LEN(rows); i++) close(fds[i]);
    cr_expect(kp_link_recv(p.server, 0.1, &p.arena, &frame, NULL) == KP_RETRY);
    kp_pair_round_trip(&p, "rq_after");
    kp_pair_close(&p);
}

/* ---- a message that never ends ---- */

static void *send_for_ever(void *arg)
{
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL";
    static const char ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06"
                                "DEALER";
    enum { FRAME = 60000 };
    static char frame[9 + FRAME] = "\x03\0\0\0\0\0\0"; /* more, long */
    frame[7] = (char)(FRAME >> 8);
    frame[8] = (char)(FRAME & 0xff);
    char theirs[64 + 8]; /* the greeting and the beginning of READY: the handshake goes in turns */
    int fd = plain_connect(arg);
    size_t sent = 0;
    if (send(fd, greeting, 64, MSG_NOSIGNAL) == 64 && send(fd, ready, 30, MSG_NOSIGNAL) == 30 &&
        recv(fd, theirs, sizeof(theirs), MSG_WAITALL) == sizeof(theirs))
        while (send(fd, frame, sizeof(frame), MSG_NOSIGNAL) == (ssize_t)sizeof(frame) &&
               sent < ((size_t)4 << 30))
            sent += sizeof(frame);
    close(fd);
    return NULL;
}

Test(garbage, an_endless_message_ends)
{
    kp_pair p;
    kp_pair_open(&p, "tcp://127.0.0.1:0", 0);
    kp_pair_round_trip(&p, "rq_before");
    char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "%s", kp_link_endpoint(p.server));
    const uint64_t limit = kp_pair_resident() + ((uint64_t)64 << 20);
    pthread_t stranger;
    cr_assert(pthread_create(&stranger, NULL, send_for_ever, endpoint) == 0);
    bool closed = false;
    kp_frame frame;
    for (int i = 0; i < 400 && !closed; i++) {
        cr_assert(kp_link_guard(p.server, limit, &closed, &p.err) == KP_OK, "%s", p.err.msg);
        cr_expect(kp_link_recv(p.server, 0.02, &p.arena, &frame, NULL) == KP_RETRY);
    }
    cr_expect(closed);
    pthread_join(stranger, NULL); /* its connection is gone */
#ifndef __SANITIZE_ADDRESS__
    cr_expect(kp_pair_resident() < limit, "%d MiB", (int)(kp_pair_resident() >> 20));
#endif
    cr_assert(kp_link_wait(p.client, 10, &p.err) == KP_OK, "%s", p.err.msg);
    while (kp_link_recv(p.client, 0, &p.arena, &frame, NULL) == KP_LOST) continue;
    kp_pair_round_trip(&p, "rq_after");
    cr_expect(kp_link_guard(p.server, limit, &closed, NULL) == KP_OK && !closed);
    kp_pair_close(&p);
}
