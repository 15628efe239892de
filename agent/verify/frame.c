/* SPDX-License-Identifier: MIT */
#include "agent/verify/frame.h"
#include "proto/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { READ_BYTES = 64 << 10 };

bool kp_frame_socket(int fd)
{
    int on = 1, flags = fcntl(fd, F_GETFL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* faster; works without */
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

bool kp_frame_wait(int fd, short events, double deadline_s)
{
    for (;;) {
        double left = deadline_s - kp_now_s();
        if (left <= 0) return false;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left < 60 ? (int)(left * 1000) + 1 : 60000);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

/* ---- in ---- */

void kp_inbox_clear(kp_inbox *inbox)
{
    inbox->head_bytes = 0;
    kp_buf_clear(&inbox->body);
}

void kp_inbox_release(kp_inbox *inbox)
{
    kp_buf_release(&inbox->body);
    inbox->head_bytes = 0;
}

static kp_inbox_state closed(const char *why, const char **ret_why)
{
    *ret_why = why;
    return KP_INBOX_CLOSED;
}

/* One read of at most what the frame still lacks. */
static kp_inbox_state read_some(kp_inbox *in, int fd, bool *ret_dry, const char **ret_why)
{
    char bytes[READ_BYTES];
    size_t want = sizeof(in->head) - in->head_bytes;
    if (want == 0) want = in->head.len - in->body.len;
    ssize_t n = recv(fd, bytes, want < sizeof(bytes) ? want : sizeof(bytes), 0);
    if (n == 0) return closed("its connection closed", ret_why);
    if (n < 0) {
        *ret_dry = errno == EAGAIN || errno == EWOULDBLOCK;
        if (*ret_dry || errno == EINTR) return KP_INBOX_MORE;
        return closed("its connection broke", ret_why);
    }
    if (in->head_bytes < sizeof(in->head)) {
        memcpy((char *)&in->head + in->head_bytes, bytes, (size_t)n);
        in->head_bytes += (size_t)n;
    } else {
        kp_buf_add(&in->body, bytes, (size_t)n);
        if (in->body.failed) return closed("out of memory", ret_why);
    }
    return KP_INBOX_MORE;
}

static bool head_ok(const kp_frame_head *head, size_t limit)
{
    return head->magic == KP_FRAME_MAGIC && head->kind < KP_FRAME_KIND_COUNT && head->len <= limit;
}

kp_inbox_state kp_inbox_read(kp_inbox *in, int fd, size_t limit, const char **ret_why)
{
    for (bool dry = false; !dry;) {
        kp_inbox_state state = read_some(in, fd, &dry, ret_why);
        if (state != KP_INBOX_MORE) return state;
        if (in->head_bytes < sizeof(in->head)) continue;
        if (!head_ok(&in->head, limit)) return closed("it sent bytes that are no frame", ret_why);
        if (in->body.len == in->head.len) return KP_INBOX_WHOLE;
    }
    return KP_INBOX_MORE;
}

kp_status kp_frame_get(int fd, kp_inbox *in, size_t limit, double deadline_s, kp_err *err)
{
    const char *why = NULL;
    for (;;) {
        if (!kp_frame_wait(fd, POLLIN, deadline_s))
            return kp_fail(err, KP_RETRY, "no answer in time");
        switch (kp_inbox_read(in, fd, limit, &why)) {
        case KP_INBOX_WHOLE:
            return KP_OK;
        case KP_INBOX_CLOSED:
            return kp_fail(err, KP_LOST, "%s", why);
        case KP_INBOX_MORE:
            break;
        }
    }
}

/* ---- out ---- */

kp_status kp_frame_put(int fd, kp_frame_head head, const void *body, size_t len, double deadline_s,
                       kp_err *err)
{
    head.magic = KP_FRAME_MAGIC;
    head.len = (uint32_t)len;
    union {
        const void *from;
        void *to; /* struct iovec has no const; nothing is written through it */
    } bytes = {.from = body};
    struct iovec parts[2] = {{&head, sizeof(head)}, {bytes.to, len}};
    size_t at = 0;
    while (at < sizeof(head) + len) {
        size_t skip = at < sizeof(head) ? at : sizeof(head);
        parts[0] = (struct iovec){(char *)&head + skip, sizeof(head) - skip};
        parts[1] = (struct iovec){(char *)bytes.to + (at - skip), len - (at - skip)};
        struct msghdr msg = {.msg_iov = parts, .msg_iovlen = len > 0 ? 2 : 1};
        ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return kp_fail(err, KP_LOST, "its connection broke");
        } else if (!kp_frame_wait(fd, POLLOUT, deadline_s)) {
            return kp_fail(err, KP_RETRY, "it does not read");
        }
    }
    return KP_OK;
}
