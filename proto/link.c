/* SPDX-License-Identifier: MIT */
#include "proto/link_parts.h"
#include <errno.h>
#include <zmq.h>

enum { PEER_QUEUE = 64 }; /* messages waiting a peer and direction */
#define PROBE_S 0.2

/* ---- birth and death ---- */

typedef struct option_row {
    int name, value;
} option_row;

static bool set_options(void *socket, const option_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (zmq_setsockopt(socket, rows[i].name, &rows[i].value, sizeof(rows[i].value)))
            return false;
    return true;
}

/* What both kinds share. Heartbeats are slow because a pong waits behind a frame that is being
 * sent: 96 MiB in 30 s is 27 Mbit/s. Agents' own heartbeats are the fast ones. */
static bool set_common(kp_link *link)
{
    int64_t limit = (int64_t)link->limit_bytes;
    const option_row rows[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, PEER_QUEUE},
        {ZMQ_RCVHWM, PEER_QUEUE},
        {ZMQ_HEARTBEAT_IVL, 5000},
        {ZMQ_HEARTBEAT_TIMEOUT, 30000},
        {ZMQ_HEARTBEAT_TTL, 30000},
        {ZMQ_HANDSHAKE_IVL, 3000},
        {ZMQ_IPV6, kp_endpoint_is_ipv6(link->resolved)},
    };
    return zmq_setsockopt(link->socket, ZMQ_MAXMSGSIZE, &limit, sizeof(limit)) == 0 &&
           set_options(link->socket, rows, KP_LEN(rows));
}

static bool set_router(kp_link *link)
{
    const option_row rows[] = {
        {ZMQ_ROUTER_MANDATORY, 1}, {ZMQ_ROUTER_HANDOVER, 0}, {ZMQ_BACKLOG, 1024}};
    return set_options(link->socket, rows, KP_LEN(rows));
}

/* The first pause differs from process to process, so that agents do not come back in step. */
static bool set_dealer(kp_link *link)
{
    int first_ms = 50 + (int)(kp_random_unit() * 100);
    const option_row rows[] = {{ZMQ_IMMEDIATE, 1},
                               {ZMQ_RECONNECT_IVL, first_ms},
                               {ZMQ_RECONNECT_IVL_MAX, 5000},
                               {ZMQ_CONNECT_TIMEOUT, 3000}};
    return set_options(link->socket, rows, KP_LEN(rows));
}

static bool watch(kp_link *link)
{
    static const int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
                              ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
    static const option_row rows[] = {{ZMQ_LINGER, 0}, {ZMQ_RCVHWM, 0}};
    char address[48];
    kp_random_id("inproc://watch-", address);
    link->monitor = zmq_socket(link->zmq, ZMQ_PAIR);
    return link->monitor && set_options(link->monitor, rows, KP_LEN(rows)) &&
           zmq_socket_monitor(link->socket, address, events) == 0 &&
           zmq_connect(link->monitor, address) == 0;
}

kp_status kp_link_make_socket(kp_link *link, kp_err *err)
{
    link->socket = zmq_socket(link->zmq, link->router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (link->socket && set_common(link) && (link->router ? set_router(link) : set_dealer(link)) &&
        (link->router || watch(link)))
        return KP_OK;
    return kp_fail(err, KP_INTERNAL, "socket for '%s': %s", link->endpoint, zmq_strerror(errno));
}

/* A link whose socket is not bound or connected yet. */
static kp_status open_link(void *zmq, const char *endpoint, bool router, size_t limit_bytes,
                           kp_link **ret, kp_err *err)
{
    KP_TRY(kp_endpoint_check(endpoint, err));
    kp_link *link = calloc(1, sizeof(*link));
    if (!link) return kp_nomem(err);
    link->zmq = zmq;
    link->router = router;
    link->state = router ? KP_LINK_READY : KP_LINK_DOWN;
    link->limit_bytes = limit_bytes ? limit_bytes : KP_LINK_BYTES_MAX;
    snprintf(link->endpoint, sizeof(link->endpoint), "%s", endpoint);
    kp_status status = kp_endpoint_resolve(endpoint, link->resolved, err);
    if (status != KP_OK) goto out;
    status = kp_link_make_socket(link, err);
    if (status != KP_OK) goto out;
    *ret = link;
    return KP_OK;
out:
    kp_link_close(link);
    return status;
}

kp_status kp_link_bind(void *zmq, const char *endpoint, size_t limit_bytes, kp_link **ret,
                       kp_err *err)
{
    kp_link *link;
    KP_TRY(open_link(zmq, endpoint, true, limit_bytes, &link, err));
    kp_status status = kp_endpoint_vacant(link->resolved, err);
    if (status == KP_OK && zmq_bind(link->socket, link->resolved)) {
        status = errno == EADDRINUSE ? KP_UNREACHABLE : KP_USAGE;
        kp_fail(err, status, "'%s': %s", endpoint,
                errno == EADDRINUSE                         ? "address in use"
                : errno == ENODEV || errno == EADDRNOTAVAIL ? "no such address on this machine"
                                                            : zmq_strerror(errno));
    }
    if (status != KP_OK) {
        if (status == KP_UNREACHABLE)
            kp_hint(err, "stop the program that has it or listen elsewhere");
        kp_link_close(link);
        return status;
    }
    size_t size = sizeof(link->endpoint);
    zmq_getsockopt(link->socket, ZMQ_LAST_ENDPOINT, link->endpoint, &size);
    *ret = link;
    return KP_OK;
}

kp_status kp_link_connect(void *zmq, const char *endpoint, size_t limit_bytes, kp_link **ret,
                          kp_err *err)
{
    kp_link *link;
    KP_TRY(open_link(zmq, endpoint, false, limit_bytes, &link, err));
    if (zmq_connect(link->socket, link->resolved)) {
        kp_fail(err, KP_USAGE, "'%s' cannot be connected to: %s", endpoint, zmq_strerror(errno));
        kp_link_close(link);
        return KP_USAGE;
    }
    *ret = link;
    return KP_OK;
}

void kp_link_close(kp_link *link)
{
    if (!link) return;
    if (link->monitor) {
        if (link->socket) zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->monitor);
    }
    if (link->socket) zmq_close(link->socket);
    free(link);
}

const char *kp_link_endpoint(const kp_link *link)
{
    return link->endpoint;
}

void *kp_link_socket(kp_link *link)
{
    return link->socket;
}

void *kp_link_events(kp_link *link)
{
    return link->monitor;
}

uint64_t kp_link_bad(const kp_link *link)
{
    return link->bad;
}

const kp_err *kp_link_bad_last(const kp_link *link)
{
    return &link->bad_last;
}

/* ---- a DEALER's connection ---- */

static void note_event(kp_link *link, uint16_t event)
{
    if (event == ZMQ_EVENT_CONNECTED) link->state = KP_LINK_OPEN;
    if (event == ZMQ_EVENT_CLOSED) link->refused = true;
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        link->state = KP_LINK_READY;
        link->refused = false;
        link->connects++;
    }
    if (event == ZMQ_EVENT_DISCONNECTED) {
        link->breaks += link->state == KP_LINK_READY;
        link->state = KP_LINK_DOWN;
    }
}

/* Takes the events that are there: each is a frame {event u16, value u32} and one with the address.
 */
void kp_link_take_events(kp_link *link)
{
    uint8_t head[64], address[KP_ENDPOINT_MAX];
    int n;
    while (link->monitor && (n = zmq_recv(link->monitor, head, sizeof(head), ZMQ_DONTWAIT)) >= 0) {
        uint16_t event;
        memcpy(&event, head, sizeof(event));
        if (n >= (int)sizeof(event)) note_event(link, event);
        zmq_recv(link->monitor, address, sizeof(address), ZMQ_DONTWAIT);
    }
}

kp_link_state kp_link_poll(kp_link *link, uint32_t *ret_connects)
{
    kp_link_take_events(link);
    if (ret_connects) *ret_connects = link->connects;
    return link->state;
}

/* Sleeps until the socket (and a DEALER's monitor) has something, or the deadline. */
kp_status kp_link_sleep(kp_link *link, bool messages, double deadline_s, kp_err *err)
{
    zmq_pollitem_t items[2] = {{.socket = link->monitor, .events = ZMQ_POLLIN},
                               {.socket = link->socket, .events = ZMQ_POLLIN}};
    size_t from = link->monitor ? 0 : 1, to = messages ? 2 : 1;
    double left_s = deadline_s - kp_now_s();
    if (left_s > 3600) left_s = 3600; /* the caller's loop comes back */
    long ms = left_s > 0 ? (long)(left_s * 1000) + 1 : 0;
    if (zmq_poll(items + from, (int)(to - from), ms) >= 0) return KP_OK;
    if (errno == EINTR) return kp_fail(err, KP_INTERRUPTED, "interrupted");
    return kp_fail(err, KP_INTERNAL, "waiting on '%s': %s", link->endpoint, zmq_strerror(errno));
}

static kp_status unreachable(const kp_link *link, const char *why, kp_err *err)
{
    kp_fail(err, KP_UNREACHABLE, "'%s' cannot be reached: %s", link->endpoint, why);
    kp_hint(err, "is kpland running there? --server or KPLAN_SERVER names another endpoint");
    return KP_UNREACHABLE;
}

kp_status kp_link_wait(kp_link *link, double timeout_s, kp_err *err)
{
    double deadline_s = kp_now_s() + timeout_s;
    while (kp_link_poll(link, NULL) != KP_LINK_READY) {
        if (link->refused && link->state == KP_LINK_DOWN) {
            int why = kp_endpoint_probe(link->resolved, PROBE_S);
            if (why) return unreachable(link, strerror(why), err);
            link->refused = false; /* it came up meanwhile */
        }
        if (kp_now_s() >= deadline_s)
            return unreachable(link,
                               link->state == KP_LINK_OPEN
                                   ? "something takes connections there, but does not answer"
                                   : "no answer",
                               err);
        KP_TRY(kp_link_sleep(link, false, deadline_s, err));
    }
    return KP_OK;
}
