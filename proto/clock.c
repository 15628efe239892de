/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* CLOCK_BOOTTIME, getrandom */
#include "proto/clock.h"
#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <time.h>

static struct timespec read_clock(clockid_t clock)
{
    struct timespec now;
    int rc = clock_gettime(clock, &now);
    assert(rc == 0);
    (void)rc;
    return now;
}

double kp_now_s(void)
{
    struct timespec now = read_clock(CLOCK_BOOTTIME);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t kp_now_unix_ms(void)
{
    struct timespec now = read_clock(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fill_random(void *bytes, size_t len)
{
    ssize_t n;
    do n = getrandom(bytes, len, 0);
    while (n < 0 && errno == EINTR);
    assert(n == (ssize_t)len); /* up to 256 bytes are never cut short */
}

void kp_random_id(const char *prefix, char ret[48])
{
    unsigned char bytes[16];
    fill_random(bytes, sizeof(bytes));
    int at = snprintf(ret, 16, "%s", prefix);
    assert(at >= 0 && at < 16);
    for (size_t i = 0; i < sizeof(bytes); i++) snprintf(ret + at + 2 * i, 3, "%02x", bytes[i]);
}

double kp_random_unit(void)
{
    uint32_t bits;
    fill_random(&bits, sizeof(bits));
    return (double)bits / 4294967296.0;
}
