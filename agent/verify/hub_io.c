/* SPDX-License-Identifier: MIT
 *
 * The hub's sockets: who may be a rank, and what ranks send. */
#include "agent/verify/hub_peer.h"
#include "proto/clock.h"
#include <math.h>
#include <sys/socket.h>
#include <unistd.h>

/* A stranger's only frame may be so long, and may take so long. */
enum { HELLO_BYTES_MAX = 512 };
static const double stranger_s = 5;

/* Compares all bytes whatever differs, so that time tells nothing about the token. */
static bool same_token(const char *mine, const char *theirs, size_t len)
{
    size_t n = strlen(mine);
    unsigned differ = n != len;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)mine[i] ^ (unsigned char)(i < len ? theirs[i] : 0);
    return differ == 0;
}

static void take_hello(kp_hub *hub, kp_hub_peer *p)
{
    const char *token = kp_buf_text(&p->in.body);
    size_t len = strlen(token), rest = p->in.body.len;
    bool ok = p->in.head.kind == KP_FRAME_HELLO && len + 1 < rest &&
              same_token(hub->token, token, len) && !kp_hub_find(hub, p->in.head.rank);
    if (!ok) {
        kp_hub_drop(p);
        return;
    }
    p->known = true;
    p->rank = p->in.head.rank;
    snprintf(p->node, sizeof(p->node), "%s", token + len + 1);
    kp_inbox_clear(&p->in);
    kp_frame_head head = {.kind = KP_FRAME_WELCOME};
    if (kp_frame_put(p->fd, head, NULL, 0, kp_now_s() + KP_HUB_SEND_S, NULL) != KP_OK)
        kp_hub_lose(hub, p, "its connection broke");
    else if (kp_hub_broken(hub))
        kp_hub_tell(hub, p);
}

static void take_report(kp_hub_peer *p)
{
    kp_buf_release(&p->report);
    p->report = p->in.body;
    kp_buf_init(&p->in.body, KP_CHANNEL_BYTES_MAX);
    kp_inbox_clear(&p->in);
    p->reported = true;
}

static void take_frame(kp_hub *hub, kp_hub_peer *p)
{
    const kp_buf *body = &p->in.body;
    if (!p->known) {
        take_hello(hub, p);
        return;
    }
    switch (p->in.head.kind) {
    case KP_FRAME_PART:
        kp_hub_take_part(hub, p, p->in.head, kp_buf_text(body), body->len);
        break;
    case KP_FRAME_REPORT:
        take_report(p);
        break;
    case KP_FRAME_LEAVE:
        kp_hub_break(hub, "rank %u on %s: %s", p->rank, p->node, kp_buf_text(body));
        kp_inbox_clear(&p->in);
        break;
    default:
        kp_hub_lose(hub, p, "it sent a frame that is not for the hub");
        break;
    }
}

static void read_peer(kp_hub *hub, kp_hub_peer *p)
{
    const char *why = NULL;
    size_t limit = p->known ? KP_CHANNEL_BYTES_MAX : HELLO_BYTES_MAX;
    if (p->waiting) { /* nothing is due before the answer */
        kp_hub_lose(hub, p, "its connection closed");
        return;
    }
    switch (kp_inbox_read(&p->in, p->fd, limit, &why)) {
    case KP_INBOX_WHOLE:
        take_frame(hub, p);
        break;
    case KP_INBOX_CLOSED:
        kp_hub_lose(hub, p, why);
        break;
    case KP_INBOX_MORE:
        break;
    }
}

static void accept_peers(kp_hub *hub)
{
    int fd;
    while ((fd = accept(hub->listen_fd, NULL, NULL)) >= 0) {
        kp_hub_peer *place = NULL;
        for (uint32_t i = 1; i < hub->n_ranks + KP_HUB_STRANGERS_MAX && !place; i++) {
            kp_hub_peer *p = &hub->peers[i];
            bool unused = i >= hub->n_peers || (p->fd < 0 && !p->known);
            if (unused) place = p;
        }
        if (!place || !kp_frame_socket(fd)) {
            close(fd);
            continue;
        }
        *place = (kp_hub_peer){.fd = fd, .since_s = kp_now_s()};
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
        kp_hub_peer *p = &hub->peers[i];
        if (p->fd >= 0 && !p->known && now - p->since_s > stranger_s) kp_hub_drop(p);
    }
}
