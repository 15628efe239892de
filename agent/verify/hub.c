/* SPDX-License-Identifier: MIT */
#include "agent/verify/hub.h"
#include "agent/verify/join.h"
#include "proto/clock.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

/* Strangers that may be connected at once beside the run's ranks, for how long they may stay
 * without a hello, how long a frame of theirs may be, and how long a peer may leave a result lying. */
enum { STRANGERS_MAX = 16, HELLO_BYTES_MAX = 512 };
static const double stranger_s = 5, send_s = 5;

typedef struct peer {
    int fd; /* -1: the own rank, or a free or ended entry */
    bool known, lost, reported, waiting;
    uint32_t rank;
    char node[64];
    double since_s;
    kp_inbox in;
    kp_frame_head part; /* while waiting */
    const void *part_at;
    size_t part_len;
    kp_buf report;
} peer;

struct kp_hub {
    int listen_fd;
    uint32_t n_ranks;
    char token[256];
    char broken[600];
    kp_err result; /* of the own part, once it does not wait any more */
    void *ret;
    size_t ret_len;
    uint32_t n_peers;
    peer *peers;          /* n_ranks + STRANGERS_MAX */
    struct pollfd *polls; /* one more */
    peer **members;       /* n_ranks, scratch of one meeting */
    kp_part *parts;       /* the same */
};

/* ---- open, close ---- */

kp_status kp_hub_open(const kp_channel_config *config, kp_hub **ret, kp_err *err)
{
    size_t n = (size_t)config->n_ranks + STRANGERS_MAX;
    kp_hub *hub = calloc(1, sizeof(*hub));
    if (!hub) {
        close(config->listen_fd);
        return kp_nomem(err);
    }
    hub->listen_fd = config->listen_fd;
    hub->n_ranks = config->n_ranks;
    snprintf(hub->token, sizeof(hub->token), "%s", config->token);
    hub->peers = calloc(n, sizeof(*hub->peers));
    hub->polls = calloc(n + 1, sizeof(*hub->polls));
    hub->members = calloc(config->n_ranks, sizeof(*hub->members));
    hub->parts = calloc(config->n_ranks, sizeof(*hub->parts));
    bool ok = hub->peers && hub->polls && hub->members && hub->parts;
    if (!ok || !kp_frame_socket(hub->listen_fd)) {
        kp_hub_close(hub);
        return kp_nomem(err);
    }
    hub->n_peers = 1;
    hub->peers[0] = (peer){.fd = -1, .known = true, .rank = config->rank};
    snprintf(hub->peers[0].node, sizeof(hub->peers[0].node), "%s", config->node);
    *ret = hub;
    return KP_OK;
}

void kp_hub_close(kp_hub *hub)
{
    if (!hub) return;
    for (uint32_t i = 0; hub->peers && i < hub->n_peers; i++) {
        if (hub->peers[i].fd >= 0) close(hub->peers[i].fd);
        kp_inbox_release(&hub->peers[i].in);
        kp_buf_release(&hub->peers[i].report);
    }
    close(hub->listen_fd);
    free(hub->peers);
    free(hub->polls);
    free(hub->members);
    free(hub->parts);
    free(hub);
}

/* ---- failures ---- */

static void drop(peer *p)
{
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    p->waiting = false;
    kp_inbox_release(&p->in);
}

/* Ends a peer's waiting with a failure. */
static void refuse(kp_hub *hub, peer *p, kp_status code, bool broken, const char *why)
{
    p->waiting = false;
    if (p == &hub->peers[0]) {
        kp_fail(&hub->result, code, "%s", why);
        return;
    }
    kp_frame_head head = {.kind = KP_FRAME_FAIL, .join = broken, .code = (uint8_t)code};
    double until = kp_now_s() + send_s;
    if (p->fd >= 0 && kp_frame_put(p->fd, head, why, strlen(why), until, NULL) != KP_OK) {
        drop(p);
        p->lost = true;
    } else {
        kp_inbox_clear(&p->in);
    }
}

void kp_hub_break(kp_hub *hub, const char *fmt, ...)
{
    if (hub->broken[0]) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(hub->broken, sizeof(hub->broken), fmt, args);
    va_end(args);
    for (uint32_t i = 0; i < hub->n_peers; i++)
        if (hub->peers[i].waiting)
            refuse(hub, &hub->peers[i], KP_INCONCLUSIVE, true, hub->broken);
}

const char *kp_hub_broken(const kp_hub *hub)
{
    return hub->broken[0] ? hub->broken : NULL;
}

static void lose(kp_hub *hub, peer *p, const char *why)
{
    drop(p);
    if (!p->known || p->lost || p->reported) return;
    p->lost = true;
    kp_hub_break(hub, "rank %u on %s was lost (%s)", p->rank, p->node, why);
}

static peer *find(const kp_hub *hub, uint32_t rank)
{
    for (uint32_t i = 0; i < hub->n_peers; i++)
        if (hub->peers[i].known && hub->peers[i].rank == rank) return &hub->peers[i];
    return NULL;
}

void kp_hub_late(kp_hub *hub, const kp_group *group, uint64_t key)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < hub->n_peers; i++) known += hub->peers[i].known;
    for (uint32_t i = 0; group && i < group->n; i++) {
        const peer *p = find(hub, group->ranks[i]);
        if (!p) kp_hub_break(hub, "rank %u did not connect in time", group->ranks[i]);
        else if (!p->waiting || p->part.key != key)
            kp_hub_break(hub, "rank %u on %s did not answer in time", p->rank, p->node);
    }
    for (uint32_t i = 0; !group && i < hub->n_peers; i++) {
        const peer *p = &hub->peers[i];
        if (p->known && !p->reported)
            kp_hub_break(hub, "rank %u on %s did not end in time", p->rank, p->node);
    }
    kp_hub_break(hub, "%u of %u ranks connected in time", known, hub->n_ranks);
}

/* ---- joining parts ---- */

/* Sorts the members that wait with `key` by index into hub->members; false if not all are there. */
static bool gather_members(kp_hub *hub, uint64_t key, uint32_t n)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) hub->members[i] = NULL;
    for (uint32_t i = 0; i < hub->n_peers; i++) {
        peer *p = &hub->peers[i];
        if (!p->waiting || p->part.key != key) continue;
        if (p->part.n != n || p->part.index >= n || hub->members[p->part.index]) {
            kp_hub_break(hub, "rank %u on %s walks another list of checks", p->rank, p->node);
            return false;
        }
        hub->members[p->part.index] = p;
        hub->parts[p->part.index] =
            (kp_part){p->rank, (kp_status)p->part.code, p->part_at, p->part_len};
        found++;
    }
    return found == n;
}

static void answer(kp_hub *hub, peer *p, const kp_buf *out)
{
    p->waiting = false;
    if (p == &hub->peers[0]) {
        hub->result.code = KP_OK;
        if (out->len != hub->ret_len)
            kp_fail(&hub->result, KP_INTERNAL, "%zu bytes came, %zu were due", out->len,
                    hub->ret_len);
        else if (out->len > 0) memcpy(hub->ret, out->data, out->len);
        return;
    }
    kp_inbox_clear(&p->in);
    kp_err err = {0};
    kp_frame_head head = {.kind = KP_FRAME_RESULT};
    if (kp_frame_put(p->fd, head, out->data, out->len, kp_now_s() + send_s, &err) != KP_OK)
        lose(hub, p, err.msg);
}

/* If all members of `key` have come: joins their parts, answers all. */
static void complete(kp_hub *hub, uint64_t key, uint32_t n)
{
    if (!gather_members(hub, key, n)) return;
    kp_err err = {0};
    kp_buf out;
    kp_buf_init(&out, KP_CHANNEL_BYTES_MAX);
    kp_status code = kp_join_parts(hub->parts, n, (kp_join)hub->members[0]->part.join, &out, &err);
    for (uint32_t i = 0; i < n; i++) {
        peer *p = hub->members[i];
        if (!p->waiting) continue; /* the run broke meanwhile */
        if (code == KP_OK) answer(hub, p, &out);
        else refuse(hub, p, code, false, err.msg);
    }
    kp_buf_release(&out);
}

static void start_waiting(kp_hub *hub, peer *p, kp_frame_head head, const void *part, size_t len)
{
    p->part = head;
    p->part_at = part;
    p->part_len = len;
    p->waiting = true;
    if (hub->broken[0]) refuse(hub, p, KP_INCONCLUSIVE, true, hub->broken);
    else if (head.n < 1 || head.n > hub->n_ranks || head.join >= KP_JOIN_COUNT ||
             head.code >= KP_STATUS_COUNT)
        lose(hub, p, "it sent a part of nothing");
    else complete(hub, head.key, head.n);
}

void kp_hub_put(kp_hub *hub, kp_frame_head head, const void *part, size_t len, void *ret,
                size_t ret_len)
{
    hub->ret = ret;
    hub->ret_len = ret_len;
    start_waiting(hub, &hub->peers[0], head, part, len);
}

kp_status kp_hub_result(kp_hub *hub, kp_err *err)
{
    if (hub->peers[0].waiting) return KP_RETRY;
    if (hub->result.code == KP_OK) return KP_OK;
    return kp_fail(err, hub->result.code, "%s", hub->result.msg);
}

/* ---- frames from peers ---- */

/* Compares all bytes whatever differs, so that time tells nothing about the token. */
static bool same_token(const char *mine, const char *theirs, size_t len)
{
    size_t n = strlen(mine);
    unsigned differ = n != len;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)mine[i] ^ (unsigned char)(i < len ? theirs[i] : 0);
    return differ == 0;
}

static void take_hello(kp_hub *hub, peer *p)
{
    const char *token = kp_buf_text(&p->in.body);
    size_t len = strlen(token), rest = p->in.body.len;
    bool ok = p->in.head.kind == KP_FRAME_HELLO && len + 1 < rest &&
              same_token(hub->token, token, len) && !find(hub, p->in.head.rank);
    if (!ok) {
        drop(p);
        return;
    }
    p->known = true;
    p->rank = p->in.head.rank;
    snprintf(p->node, sizeof(p->node), "%s", token + len + 1);
    kp_inbox_clear(&p->in);
    kp_frame_head head = {.kind = KP_FRAME_WELCOME};
    if (kp_frame_put(p->fd, head, NULL, 0, kp_now_s() + send_s, NULL) != KP_OK)
        lose(hub, p, "its connection broke");
}

static void take_report(peer *p)
{
    kp_buf_release(&p->report);
    p->report = p->in.body;
    kp_buf_init(&p->in.body, KP_CHANNEL_BYTES_MAX);
    kp_inbox_clear(&p->in);
    p->reported = true;
}

static void take_frame(kp_hub *hub, peer *p)
{
    const kp_buf *body = &p->in.body;
    if (!p->known) {
        take_hello(hub, p);
        return;
    }
    switch (p->in.head.kind) {
    case KP_FRAME_PART:
        start_waiting(hub, p, p->in.head, kp_buf_text(body), body->len);
        break;
    case KP_FRAME_REPORT:
        take_report(p);
        break;
    case KP_FRAME_LEAVE:
        kp_hub_break(hub, "rank %u on %s: %s", p->rank, p->node, kp_buf_text(body));
        kp_inbox_clear(&p->in);
        break;
    default:
        lose(hub, p, "it sent a frame that is not for the hub");
        break;
    }
}

static void read_peer(kp_hub *hub, peer *p)
{
    const char *why = NULL;
    size_t limit = p->known ? KP_CHANNEL_BYTES_MAX : HELLO_BYTES_MAX;
    if (p->waiting) { /* nothing is due before the answer */
        lose(hub, p, "its connection closed");
        return;
    }
    switch (kp_inbox_read(&p->in, p->fd, limit, &why)) {
    case KP_INBOX_WHOLE:
        take_frame(hub, p);
        break;
    case KP_INBOX_CLOSED:
        lose(hub, p, why);
        break;
    case KP_INBOX_MORE:
        break;
    }
}

static void accept_peers(kp_hub *hub)
{
    int fd;
    while ((fd = accept(hub->listen_fd, NULL, NULL)) >= 0) {
        peer *place = NULL;
        for (uint32_t i = 1; i < hub->n_ranks + STRANGERS_MAX && !place; i++) {
            peer *p = &hub->peers[i];
            bool unused = i >= hub->n_peers || (p->fd < 0 && !p->known);
            if (unused) place = p;
        }
        if (!place || !kp_frame_socket(fd)) {
            close(fd);
            continue;
        }
        *place = (peer){.fd = fd, .since_s = kp_now_s()};
        kp_buf_init(&place->in.body, KP_CHANNEL_BYTES_MAX);
        uint32_t count = (uint32_t)(place - hub->peers) + 1;
        if (count > hub->n_peers) hub->n_peers = count;
    }
}

void kp_hub_turn(kp_hub *hub, double wait_s)
{
    uint32_t n = hub->n_peers;
    hub->polls[0] = (struct pollfd){.fd = hub->listen_fd, .events = POLLIN};
    for (uint32_t i = 0; i < n; i++)
        hub->polls[i + 1] = (struct pollfd){.fd = hub->peers[i].fd, .events = POLLIN};
    double ms = ceil(fmin(fmax(wait_s, 0), 1) * 1000); /* once a second strangers are looked at */
    if (poll(hub->polls, n + 1, (int)ms) < 0) return;  /* interrupted: the caller comes again */
    for (uint32_t i = 1; i < n; i++)
        if (hub->polls[i + 1].revents && hub->peers[i].fd >= 0) read_peer(hub, &hub->peers[i]);
    if (hub->polls[0].revents) accept_peers(hub);
    double now = kp_now_s();
    for (uint32_t i = 1; i < hub->n_peers; i++) {
        peer *p = &hub->peers[i];
        if (p->fd >= 0 && !p->known && now - p->since_s > stranger_s) drop(p);
    }
}

/* ---- reports ---- */

void kp_hub_report(kp_hub *hub, const void *bytes, size_t len)
{
    peer *own = &hub->peers[0];
    kp_buf_init(&own->report, 0);
    kp_buf_add(&own->report, bytes, len);
    own->reported = true;
}

bool kp_hub_all_reported(const kp_hub *hub)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < hub->n_peers; i++) {
        const peer *p = &hub->peers[i];
        ended += p->known && (p->reported || p->lost);
    }
    return ended == hub->n_ranks;
}

const kp_buf *kp_hub_get_report(const kp_hub *hub, uint32_t rank)
{
    const peer *p = find(hub, rank);
    return p && p->reported ? &p->report : NULL;
}
