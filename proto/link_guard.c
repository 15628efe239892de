/* SPDX-License-Identifier: MIT
 *
 * proto/link_guard.c — the memory that strangers can make libzmq hold.
 *
 * libzmq's limits are a frame and a count of whole messages: a peer that sends frames of one
 * message for ever fills its memory, and nothing of it is ever delivered. Which peer it is cannot
 * be asked, so all connections are closed and the address is bound again; honest peers reconnect by
 * themselves. */
#include "proto/link_parts.h"
#include <errno.h>
#include <malloc.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define REBIND_S 2.0
#define SETTLE_S 3.0

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Resident memory of this process; 0 if it cannot be read. */
static uint64_t resident_bytes(void)
{
    unsigned long long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%llu %llu", &total, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A quarter of the machine, but enough for some large models and not more than an attack needs. */
static uint64_t usual_limit(void)
{
    const uint64_t least = (uint64_t)1 << 30, most = (uint64_t)2 << 30;
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t quarter = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 4 : least;
    return quarter < least ? least : quarter > most ? most : quarter;
}

/* An old listener takes its socket's file away when it ends: a new one must come after that. */
static void wait_for_path(const char *endpoint, double deadline_s)
{
    struct stat info;
    const char *path = strncmp(endpoint, "ipc://", 6) ? NULL : endpoint + 6;
    while (path && *path != '@' && lstat(path, &info) == 0 && kp_now_s() < deadline_s) nap();
}

static kp_status rebind(kp_link *link, kp_err *err)
{
    double deadline_s = kp_now_s() + REBIND_S;
    zmq_close(link->socket);
    link->socket = NULL;
    wait_for_path(link->endpoint, deadline_s - REBIND_S / 2);
    KP_TRY(kp_link_make_socket(link, err));
    while (zmq_bind(link->socket, link->endpoint)) {
        if (errno != EADDRINUSE || kp_now_s() >= deadline_s)
            return kp_fail(err, KP_UNREACHABLE, "'%s' cannot be bound again: %s", link->endpoint,
                           zmq_strerror(errno));
        nap();
    }
    return KP_OK;
}

/* What was held is given back by libzmq's threads, a moment later. */
static uint64_t settle(uint64_t limit_bytes)
{
    double deadline_s = kp_now_s() + SETTLE_S;
    uint64_t bytes;
    do {
        nap();
        malloc_trim(0);
        bytes = resident_bytes();
    } while (bytes > limit_bytes / 2 && kp_now_s() < deadline_s);
    return bytes;
}

kp_status kp_link_guard(kp_link *link, uint64_t limit_bytes, bool *ret_closed, kp_err *err)
{
    *ret_closed = false;
    if (!link->guard_bytes) link->guard_bytes = limit_bytes ? limit_bytes : usual_limit();
    if (!link->router || resident_bytes() <= link->guard_bytes) return KP_OK;
    malloc_trim(0); /* it may be over already */
    if (resident_bytes() <= link->guard_bytes) return KP_OK;
    KP_TRY(rebind(link, err));
    uint64_t left_bytes = settle(link->guard_bytes);
    *ret_closed = true;
    /* What is left belongs to the process itself: only more than that is suspicious next time. */
    if (left_bytes > link->guard_bytes / 2) link->guard_bytes = left_bytes * 2;
    return KP_OK;
}
