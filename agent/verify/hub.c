/* SPDX-License-Identifier: MIT */
#include "agent/verify/hub_peer.h"
#include "proto/clock.h"
#include <stdarg.h>
#include <unistd.h>

/* ---- open, close ---- */

kp_status kp_hub_open(const kp_channel_config *config, kp_hub **ret, kp_err *err)
{
    size_t n = (size_t)config->n_ranks + KP_HUB_STRANGERS_MAX;
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
    hub->peers[0] = (kp_hub_peer){.fd = -1, .known = true, .rank = config->rank};
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

void kp_hub_drop(kp_hub_peer *p)
{
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    p->waiting = false;
    kp_inbox_release(&p->in);
}

static void send_failure(kp_hub_peer *p, kp_status code, bool broken, const char *why)
{
    kp_frame_head head = {.kind = KP_FRAME_FAIL, .join = broken, .code = (uint8_t)code};
    double until = kp_now_s() + KP_HUB_SEND_S;
    if (p->fd < 0 || kp_frame_put(p->fd, head, why, strlen(why), until, NULL) == KP_OK) return;
    kp_hub_drop(p);
    p->lost = true;
}

/* Ends a peer's waiting with a failure of its meeting. */
static void refuse(kp_hub *hub, kp_hub_peer *p, kp_status code, const char *why)
{
    p->waiting = false;
    if (p == &hub->peers[0]) {
        kp_fail(&hub->result, code, "%s", why);
        return;
    }
    kp_inbox_clear(&p->in);
    send_failure(p, code, false, why);
}

void kp_hub_tell(kp_hub *hub, kp_hub_peer *p)
{
    if (p == &hub->peers[0]) {
        if (p->waiting) refuse(hub, p, KP_INCONCLUSIVE, hub->broken);
        return;
    }
    if (p->waiting) kp_inbox_clear(&p->in); /* its part is of no use any more */
    p->waiting = false;
    if (!p->known || p->told || p->reported) return;
    p->told = true;
    send_failure(p, KP_INCONCLUSIVE, true, hub->broken);
}

void kp_hub_break(kp_hub *hub, const char *fmt, ...)
{
    if (hub->broken[0]) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(hub->broken, sizeof(hub->broken), fmt, args);
    va_end(args);
    for (uint32_t i = 0; i < hub->n_peers; i++) kp_hub_tell(hub, &hub->peers[i]);
}

const char *kp_hub_broken(const kp_hub *hub)
{
    return hub->broken[0] ? hub->broken : NULL;
}

void kp_hub_lose(kp_hub *hub, kp_hub_peer *p, const char *why)
{
    kp_hub_drop(p);
    if (!p->known || p->lost || p->reported) return;
    p->lost = true;
    kp_hub_break(hub, "rank %u on %s was lost (%s)", p->rank, p->node, why);
}

kp_hub_peer *kp_hub_find(const kp_hub *hub, uint32_t rank)
{
    for (uint32_t i = 0; i < hub->n_peers; i++)
        if (hub->peers[i].known && hub->peers[i].rank == rank) return &hub->peers[i];
    return NULL;
}

/* Adds a rank to a list in words. */
static void list_rank(char *list, size_t size, uint32_t rank, const kp_hub_peer *p)
{
    size_t len = strlen(list);
    const char *comma = len ? ", " : "";
    if (p)
        snprintf(list + len, size - len, "%srank %u on %s", comma, rank, p->node);
    else
        snprintf(list + len, size - len, "%srank %u (never connected)", comma, rank);
}

void kp_hub_late(kp_hub *hub, const kp_group *group, uint64_t key)
{
    char late[400] = "";
    uint32_t known = 0;
    for (uint32_t i = 0; i < hub->n_peers; i++) {
        const kp_hub_peer *p = &hub->peers[i];
        known += p->known;
        if (!group && p->known && !p->reported) list_rank(late, sizeof(late), p->rank, p);
    }
    for (uint32_t i = 0; group && i < group->n; i++) {
        const kp_hub_peer *p = kp_hub_find(hub, group->ranks[i]);
        if (!p || !p->waiting || p->part.key != key)
            list_rank(late, sizeof(late), group->ranks[i], p);
    }
    if (late[0])
        kp_hub_break(hub, "no answer in time from %s", late);
    else
        kp_hub_break(hub, "%u of %u ranks connected in time", known, hub->n_ranks);
}

/* ---- joining parts ---- */

/* Sorts the members that wait with `key` by index into hub->members; false if not all are there. */
static bool gather_members(kp_hub *hub, uint64_t key, uint32_t n)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) hub->members[i] = NULL;
    for (uint32_t i = 0; i < hub->n_peers; i++) {
        kp_hub_peer *p = &hub->peers[i];
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

static void answer(kp_hub *hub, kp_hub_peer *p, const kp_buf *out)
{
    p->waiting = false;
    if (p == &hub->peers[0]) {
        hub->result.code = KP_OK;
        if (out->len != hub->ret_len)
            kp_fail(&hub->result, KP_INTERNAL, "%zu bytes came, %zu were due", out->len,
                    hub->ret_len);
        else if (out->len > 0)
            memcpy(hub->ret, out->data, out->len);
        return;
    }
    kp_inbox_clear(&p->in);
    kp_err err = {0};
    kp_frame_head head = {.kind = KP_FRAME_RESULT};
    if (kp_frame_put(p->fd, head, out->data, out->len, kp_now_s() + KP_HUB_SEND_S, &err) != KP_OK)
        kp_hub_lose(hub, p, err.msg);
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
        kp_hub_peer *p = hub->members[i];
        if (!p->waiting) continue; /* the run broke meanwhile */
        if (code == KP_OK)
            answer(hub, p, &out);
        else
            refuse(hub, p, code, err.msg);
    }
    kp_buf_release(&out);
}

void kp_hub_take_part(kp_hub *hub, kp_hub_peer *p, kp_frame_head head, const void *part, size_t len)
{
    p->part = head;
    p->part_at = part;
    p->part_len = len;
    p->waiting = true;
    if (hub->broken[0])
        kp_hub_tell(hub, p);
    else if (head.n < 1 || head.n > hub->n_ranks || head.join >= KP_JOIN_COUNT ||
             head.code >= KP_STATUS_COUNT)
        kp_hub_lose(hub, p, "it sent a part of nothing");
    else
        complete(hub, head.key, head.n);
}

void kp_hub_put(kp_hub *hub, kp_frame_head head, const void *part, size_t len, void *ret,
                size_t ret_len)
{
    hub->ret = ret;
    hub->ret_len = ret_len;
    kp_hub_take_part(hub, &hub->peers[0], head, part, len);
}

kp_status kp_hub_result(kp_hub *hub, kp_err *err)
{
    if (hub->peers[0].waiting) return KP_RETRY;
    if (hub->result.code == KP_OK) return KP_OK;
    return kp_fail(err, hub->result.code, "%s", hub->result.msg);
}

/* ---- reports ---- */

void kp_hub_report(kp_hub *hub, const void *bytes, size_t len)
{
    kp_hub_peer *own = &hub->peers[0];
    kp_buf_init(&own->report, 0);
    kp_buf_add(&own->report, bytes, len);
    own->reported = true;
}

bool kp_hub_all_reported(const kp_hub *hub)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < hub->n_peers; i++) {
        const kp_hub_peer *p = &hub->peers[i];
        ended += p->known && (p->reported || p->lost);
    }
    return ended == hub->n_ranks;
}

const kp_buf *kp_hub_get_report(const kp_hub *hub, uint32_t rank)
{
    const kp_hub_peer *p = kp_hub_find(hub, rank);
    return p && p->reported ? &p->report : NULL;
}
