/* SPDX-License-Identifier: MIT
 *
 * A rank's view of the channel: the same calls on the hub (hub.c) and on all others, who send a
 * frame and wait for the answer. */
#include "agent/verify/channel.h"
#include "agent/verify/hub.h"
#include "proto/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static const double report_s = 1; /* how long reports may come after the reason to end */

struct kp_channel {
    kp_hub *hub; /* NULL: not the hub */
    int fd;
    uint32_t rank;
    double deadline_s, end_s;
    char broken[600];
    kp_inbox in;
};

/* ---- addresses ---- */

kp_status kp_channel_listen(const char *host, int *ret_fd, char ret_endpoint[80], kp_err *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1)
        return kp_fail(err, KP_USAGE, "'%s' is no IPv4 address to listen on", host);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || !kp_frame_socket(fd) || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        listen(fd, SOMAXCONN) != 0 || getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        kp_fail(err, KP_IO, "cannot listen on %s: %s", host, strerror(errno));
        if (fd >= 0) close(fd);
        return KP_IO;
    }
    *ret_fd = fd;
    snprintf(ret_endpoint, 80, "tcp://%s:%u", host, ntohs(at.sin_port));
    return KP_OK;
}

/* "tcp://127.0.0.1:4711" to an address. */
static bool parse_meet(const char *meet, struct sockaddr_in *ret)
{
    char host[64];
    unsigned port;
    int end = 0;
    if (sscanf(meet, "tcp://%63[0-9.]:%5u%n", host, &port, &end) != 2 || meet[end] != 0 ||
        port == 0 || port > 65535)
        return false;
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, host, &ret->sin_addr) == 1;
}

/* ---- open, close ---- */

static kp_status connect_hub(const kp_channel_config *config, int *ret, kp_err *err)
{
    struct sockaddr_in at;
    if (!config->meet || !parse_meet(config->meet, &at))
        return kp_fail(err, KP_INCONCLUSIVE, "'%s' is no address of a run's first rank",
                       config->meet ? config->meet : "");
    int fd = socket(AF_INET, SOCK_STREAM, 0), why = 0;
    socklen_t len = sizeof(why);
    if (fd < 0 || !kp_frame_socket(fd))
        why = errno;
    else if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        if (errno != EINPROGRESS)
            why = errno;
        else if (!kp_frame_wait(fd, POLLOUT, config->deadline_s))
            why = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len);
    }
    if (why == 0) {
        *ret = fd;
        return KP_OK;
    }
    if (fd >= 0) close(fd);
    return kp_fail(err, KP_INCONCLUSIVE, "the run's first rank at %s cannot be reached: %s",
                   config->meet, strerror(why));
}

static kp_status say_hello(kp_channel *channel, const kp_channel_config *config, kp_err *err)
{
    char hello[400];
    int n = snprintf(hello, sizeof(hello), "%.255s%c%.63s", config->token, 0, config->node);
    kp_frame_head head = {.kind = KP_FRAME_HELLO, .rank = config->rank};
    kp_err why = {0};
    double until = config->deadline_s;
    kp_status status = kp_frame_put(channel->fd, head, hello, (size_t)n + 1, until, &why);
    if (status == KP_OK) status = kp_frame_get(channel->fd, &channel->in, 0, until, &why);
    bool welcome = status == KP_OK && channel->in.head.kind == KP_FRAME_WELCOME;
    kp_inbox_clear(&channel->in);
    if (welcome) return KP_OK;
    return kp_fail(err, KP_INCONCLUSIVE, "the run's first rank at %s does not take this rank: %s",
                   config->meet, status == KP_OK ? "it answers something else" : why.msg);
}

kp_status kp_channel_open(const kp_channel_config *config, kp_channel **ret, kp_err *err)
{
    kp_channel *channel = calloc(1, sizeof(*channel));
    if (!channel) {
        if (config->listen_fd >= 0) close(config->listen_fd);
        return kp_nomem(err);
    }
    channel->fd = -1;
    channel->rank = config->rank;
    channel->deadline_s = config->deadline_s;
    channel->end_s = config->end_s;
    kp_buf_init(&channel->in.body, KP_CHANNEL_BYTES_MAX);
    kp_status status;
    if (config->listen_fd >= 0) {
        KP_TRY_OUT(kp_hub_open(config, &channel->hub, err));
    } else {
        KP_TRY_OUT(connect_hub(config, &channel->fd, err));
        KP_TRY_OUT(say_hello(channel, config, err));
    }
    *ret = channel;
    return KP_OK;
out:
    kp_channel_close(channel);
    return status;
}

void kp_channel_close(kp_channel *channel)
{
    if (!channel) return;
    kp_hub_close(channel->hub);
    if (channel->fd >= 0) close(channel->fd);
    kp_inbox_release(&channel->in);
    free(channel);
}

/* ---- breaking ---- */

const char *kp_channel_broken(const kp_channel *channel)
{
    if (channel->hub) return kp_hub_broken(channel->hub);
    return channel->broken[0] ? channel->broken : NULL;
}

static kp_status broken(kp_channel *channel, const char *why, kp_err *err)
{
    if (!channel->broken[0]) snprintf(channel->broken, sizeof(channel->broken), "%s", why);
    return kp_fail(err, KP_INCONCLUSIVE, "%s", channel->broken);
}

void kp_channel_break(kp_channel *channel, const kp_err *why)
{
    if (channel->hub) {
        kp_hub_break(channel->hub, "rank %u: %s", channel->rank, why->msg);
        return;
    }
    if (channel->broken[0]) return;
    broken(channel, why->msg, NULL);
    kp_frame_head head = {.kind = KP_FRAME_LEAVE, .rank = channel->rank};
    kp_frame_put(channel->fd, head, why->msg, strlen(why->msg), kp_now_s() + report_s, NULL);
}

/* ---- meeting ---- */

static kp_status meet_as_hub(kp_channel *channel, const kp_group *group, kp_frame_head head,
                             const void *part, size_t len, void *ret, size_t ret_len, kp_err *err)
{
    kp_hub *hub = channel->hub;
    kp_hub_put(hub, head, part, len, ret, ret_len);
    kp_status status;
    while ((status = kp_hub_result(hub, err)) == KP_RETRY) {
        double left = channel->deadline_s - kp_now_s();
        if (left <= 0)
            kp_hub_late(hub, group, head.key);
        else
            kp_hub_turn(hub, left);
    }
    return status;
}

static kp_status read_answer(kp_channel *channel, void *ret, size_t ret_len, kp_err *err)
{
    const kp_frame_head *head = &channel->in.head;
    const kp_buf *body = &channel->in.body;
    if (head->kind == KP_FRAME_RESULT) {
        if (body->len != ret_len)
            return kp_fail(err, KP_INTERNAL, "%zu bytes came, %zu were due", body->len, ret_len);
        if (ret_len > 0) memcpy(ret, body->data, ret_len);
        return KP_OK;
    }
    if (head->kind != KP_FRAME_FAIL) return broken(channel, "the first rank sent nonsense", err);
    if (head->join) return broken(channel, kp_buf_text(body), err);
    kp_status code = head->code < KP_STATUS_COUNT ? (kp_status)head->code : KP_INTERNAL;
    return kp_fail(err, code == KP_OK ? KP_INTERNAL : code, "%s", kp_buf_text(body));
}

/* The same, and the inbox is empty again. */
static kp_status take_answer(kp_channel *channel, void *ret, size_t ret_len, kp_err *err)
{
    kp_status status = read_answer(channel, ret, ret_len, err);
    kp_inbox_clear(&channel->in);
    return status;
}

kp_status kp_channel_check(kp_channel *channel, kp_err *err)
{
    const char *why = NULL;
    if (channel->hub) {
        kp_hub_turn(channel->hub, 0);
        why = kp_hub_broken(channel->hub);
        return why ? kp_fail(err, KP_INCONCLUSIVE, "%s", why) : KP_OK;
    }
    if (channel->broken[0]) return kp_fail(err, KP_INCONCLUSIVE, "%s", channel->broken);
    switch (kp_inbox_read(&channel->in, channel->fd, KP_CHANNEL_BYTES_MAX, &why)) {
    case KP_INBOX_MORE:
        return KP_OK;
    case KP_INBOX_CLOSED:
        return broken(channel, "the run's first rank was lost", err);
    case KP_INBOX_WHOLE:
        break;
    }
    kp_status status = take_answer(channel, NULL, 0, err);
    return status == KP_OK ? broken(channel, "the first rank sent nonsense", err) : status;
}

kp_status kp_channel_meet(kp_channel *channel, kp_group group, uint64_t key, kp_join join,
                          const void *part, size_t len, const kp_err *failed, void *ret,
                          size_t ret_len, kp_err *err)
{
    kp_err too_long = {0};
    if (!failed && (len > KP_CHANNEL_BYTES_MAX || ret_len > KP_CHANNEL_BYTES_MAX)) {
        kp_fail(&too_long, KP_UNSUPPORTED, "%zu bytes are too long for the channel", len);
        failed = &too_long;
    }
    if (failed && group.n == 1) return kp_fail(err, failed->code, "%s", failed->msg);
    if (group.n == 1) {
        if (ret_len > 0 && ret != part) memcpy(ret, part, ret_len);
        return KP_OK;
    }
    kp_frame_head head = {.kind = KP_FRAME_PART,
                          .join = (uint8_t)join,
                          .code = (uint8_t)(failed ? failed->code : KP_OK),
                          .key = key,
                          .n = group.n,
                          .index = group.me};
    if (failed) {
        part = failed->msg;
        len = strlen(failed->msg);
    }
    if (channel->hub) return meet_as_hub(channel, &group, head, part, len, ret, ret_len, err);
    if (channel->broken[0]) return kp_fail(err, KP_INCONCLUSIVE, "%s", channel->broken);
    kp_err why = {0};
    kp_status status = kp_frame_put(channel->fd, head, part, len, channel->deadline_s, &why);
    if (status == KP_OK)
        status = kp_frame_get(channel->fd, &channel->in, KP_CHANNEL_BYTES_MAX, channel->deadline_s,
                              &why);
    if (status == KP_OK) return take_answer(channel, ret, ret_len, err);
    char text[500];
    snprintf(text, sizeof(text), "the run's first rank does not answer: %s", why.msg);
    return broken(channel, text, err);
}

/* ---- reports ---- */

kp_status kp_channel_report(kp_channel *channel, const void *bytes, size_t len, kp_err *err)
{
    if (!channel->hub) {
        kp_frame_head head = {.kind = KP_FRAME_REPORT, .rank = channel->rank};
        kp_err why = {0};
        double until = kp_now_s() + report_s;
        if (kp_frame_put(channel->fd, head, bytes, len, until, &why) == KP_OK) return KP_OK;
        return kp_fail(err, KP_INCONCLUSIVE, "the run's first rank takes no report: %s", why.msg);
    }
    kp_hub *hub = channel->hub;
    kp_hub_report(hub, bytes, len);
    double last_s = channel->end_s;
    while (!kp_hub_all_reported(hub)) {
        double now = kp_now_s();
        if (kp_hub_broken(hub))
            last_s = fmin(last_s, now + report_s);
        else if (now >= channel->deadline_s)
            kp_hub_late(hub, NULL, 0);
        if (now >= last_s) break;
        kp_hub_turn(hub, fmin(last_s - now, 0.1));
    }
    return KP_OK;
}

const kp_buf *kp_channel_get_report(const kp_channel *channel, uint32_t rank)
{
    return channel->hub ? kp_hub_get_report(channel->hub, rank) : NULL;
}
