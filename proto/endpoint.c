/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* getaddrinfo_a: a name server that does not answer must not hold us */
#include "proto/endpoint.h"
#include "proto/link.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RESOLVE_S 0.8

/* "tcp://HOST:PORT" in its parts; the brackets of an IPv6 address are taken off. */
typedef struct tcp_parts {
    char host[KP_ENDPOINT_MAX];
    char port[8];
    bool bracketed;
} tcp_parts;

static const char *after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) ? NULL : text + len;
}

static bool port_ok(const char *port)
{
    if (!strcmp(port, "*")) return true;
    size_t len = strlen(port);
    return len > 0 && len <= 5 && strspn(port, "0123456789") == len &&
           strtoul(port, NULL, 10) < 65536;
}

static bool split_tcp(const char *endpoint, tcp_parts *ret)
{
    const char *rest = after(endpoint, "tcp://");
    const char *colon = rest ? strrchr(rest, ':') : NULL;
    if (!colon || colon == rest || !port_ok(colon + 1)) return false;
    size_t len = (size_t)(colon - rest);
    ret->bracketed = *rest == '[';
    if (ret->bracketed) {
        if (len < 4 || colon[-1] != ']') return false;
        rest++;
        len -= 2;
    }
    if (len >= sizeof(ret->host)) return false;
    snprintf(ret->host, sizeof(ret->host), "%.*s", (int)len, rest);
    snprintf(ret->port, sizeof(ret->port), "%s", colon + 1);
    static const char name_chars[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*";
    static const char v6_chars[] = "0123456789abcdefABCDEF:.%";
    return strspn(ret->host, ret->bracketed ? v6_chars : name_chars) == len;
}

static const char *ipc_path(const char *endpoint)
{
    return after(endpoint, "ipc://");
}

kp_status kp_endpoint_check(const char *endpoint, kp_err *err)
{
    tcp_parts parts;
    const char *path = ipc_path(endpoint);
    if (strlen(endpoint) < KP_ENDPOINT_MAX && split_tcp(endpoint, &parts)) return KP_OK;
    if (path && *path && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path)) return KP_OK;
    if (path && *path)
        return kp_fail(err, KP_USAGE, "'%.120s' has a path of %zu bytes, a socket's may have %zu",
                       endpoint, strlen(path), sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    kp_fail(err, KP_USAGE, "'%.120s' is not an endpoint", endpoint);
    kp_hint(err, "give tcp://HOST:PORT or ipc://PATH, for example %s", KP_ENDPOINT_DEFAULT);
    return KP_USAGE;
}

bool kp_endpoint_is_ipv6(const char *endpoint)
{
    return after(endpoint, "tcp://[") != NULL;
}

bool kp_endpoint_is_local(const char *endpoint)
{
    if (ipc_path(endpoint)) return true;
    tcp_parts parts;
    if (!split_tcp(endpoint, &parts)) return false;
    struct in_addr v4;
    struct in6_addr v6;
    if (!strcmp(parts.host, "localhost")) return true;
    if (inet_pton(AF_INET, parts.host, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, parts.host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Waits for a name look-up. The request is left to the resolver's thread when it cannot be
 * cancelled: freeing it then would be a use after free in that thread. */
static struct addrinfo *look_up(const char *host, const char **ret_why)
{
    static const struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct gaicb *request = calloc(1, sizeof(*request) + strlen(host) + 1);
    *ret_why = "out of memory";
    if (!request) return NULL;
    char *name = (char *)(request + 1);
    memcpy(name, host, strlen(host) + 1);
    request->ar_name = name;
    request->ar_request = &want;
    struct gaicb *list[1] = {request};
    int rc = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    const struct timespec limit = {.tv_nsec = (long)(RESOLVE_S * 1e9)};
    if (rc == 0) {
        const struct gaicb *waited[1] = {request};
        do rc = gai_suspend(waited, 1, &limit);
        while (rc == EAI_INTR);
        rc = gai_error(request);
    }
    if (rc == EAI_INPROGRESS && gai_cancel(request) != EAI_CANCELED) {
        *ret_why = "the name server does not answer";
        return NULL;
    }
    struct addrinfo *found = rc == 0 ? request->ar_result : NULL;
    *ret_why = rc == EAI_INPROGRESS ? "the name server does not answer" : gai_strerror(rc);
    free(request);
    return found;
}

kp_status kp_endpoint_resolve(const char *endpoint, char ret[KP_ENDPOINT_MAX], kp_err *err)
{
    tcp_parts parts;
    struct in_addr v4;
    if (!split_tcp(endpoint, &parts) || parts.bracketed || !strcmp(parts.host, "*") ||
        inet_pton(AF_INET, parts.host, &v4) == 1) {
        snprintf(ret, KP_ENDPOINT_MAX, "%s", endpoint);
        return KP_OK;
    }
    if (!strcmp(parts.host, "localhost")) { /* needs no name service (RFC 6761, 6.3) */
        snprintf(ret, KP_ENDPOINT_MAX, "tcp://127.0.0.1:%s", parts.port);
        return KP_OK;
    }
    const char *why;
    struct addrinfo *found = look_up(parts.host, &why), *best = found;
    for (struct addrinfo *at = found; at; at = at->ai_next)
        if (at->ai_family == AF_INET) {
            best = at;
            break;
        }
    if (!best)
        return kp_fail(err, KP_UNREACHABLE, "host '%.100s' cannot be found: %s", parts.host, why);
    char number[INET6_ADDRSTRLEN + 16];
    int rc = getnameinfo(best->ai_addr, best->ai_addrlen, number, sizeof(number), NULL, 0,
                         NI_NUMERICHOST);
    bool is_v6 = best->ai_family == AF_INET6;
    freeaddrinfo(found);
    if (rc != 0)
        return kp_fail(err, KP_UNREACHABLE, "host '%.100s' has no usable address", parts.host);
    snprintf(ret, KP_ENDPOINT_MAX, is_v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", number, parts.port);
    return KP_OK;
}

/* ---- plain connections ---- */

typedef union any_addr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
} any_addr;

/* A resolved endpoint as an address; its length, 0 if it is none. */
static socklen_t to_address(const char *endpoint, any_addr *ret)
{
    *ret = (any_addr){.any = {.sa_family = AF_UNSPEC}};
    tcp_parts parts;
    const char *path = ipc_path(endpoint);
    if (path) {
        size_t len = strlen(path);
        if (len >= sizeof(ret->un.sun_path)) return 0;
        ret->un.sun_family = AF_UNIX;
        memcpy(ret->un.sun_path, path, len + 1);
        if (*path == '@') ret->un.sun_path[0] = 0; /* the abstract name space, as libzmq reads it */
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*path != '@'));
    }
    if (!split_tcp(endpoint, &parts)) return 0;
    in_port_t port = htons((uint16_t)strtoul(parts.port, NULL, 10));
    if (inet_pton(AF_INET, parts.host, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = port;
        return sizeof(ret->v4);
    }
    if (inet_pton(AF_INET6, parts.host, &ret->v6.sin6_addr) != 1) return 0;
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = port;
    return sizeof(ret->v6);
}

int kp_endpoint_probe(const char *endpoint, double timeout_s)
{
    any_addr address;
    socklen_t len = to_address(endpoint, &address);
    if (!len) return EINVAL;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int rc = connect(fd, &address.any, len) == 0 ? 0 : errno;
    if (rc == EINPROGRESS) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof(rc);
        if (poll(&poll_fd, 1, (int)(timeout_s * 1000)) != 1)
            rc = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &size))
            rc = errno;
    }
    close(fd);
    return rc;
}

kp_status kp_endpoint_vacant(const char *endpoint, kp_err *err)
{
    const char *path = ipc_path(endpoint);
    struct stat info;
    if (!path || *path == '@' || lstat(path, &info)) return KP_OK;
    if (!S_ISSOCK(info.st_mode))
        return kp_fail(err, KP_USAGE, "'%.120s': the file there is not a socket", endpoint);
    int rc = kp_endpoint_probe(endpoint, 0.5);
    if (rc == ECONNREFUSED || rc == ENOENT) return KP_OK; /* left by a dead process */
    if (rc == 0 || rc == EAGAIN || rc == ETIMEDOUT)       /* EAGAIN: its queue is full */
        return kp_fail(err, KP_UNREACHABLE, "'%.120s': address in use", endpoint);
    return kp_fail(err, KP_UNREACHABLE, "'%.120s': %s", endpoint, strerror(rc));
}
