/* SPDX-License-Identifier: MIT */
#include "proto/log.h"
#include "proto/clock.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[KP_LOG_COUNT] = {"error", "warn", "info", "debug"};
static kp_log_level log_level = KP_LOG_INFO;

kp_status kp_log_init(kp_err *err)
{
    const char *name = getenv("KPLAN_LOG");
    if (!name || !*name) return KP_OK;
    for (size_t i = 0; i < KP_LOG_COUNT; i++) {
        if (strcmp(name, level_names[i])) continue;
        log_level = (kp_log_level)i;
        return KP_OK;
    }
    return kp_fail(err, KP_USAGE, "KPLAN_LOG is '%.40s', expected error, warn, info or debug",
                   name);
}

void kp_log_set(kp_log_level level)
{
    log_level = level;
}

bool kp_log_on(kp_log_level level)
{
    return level <= log_level;
}

/* Time and level at the start of a line; the length. */
static size_t stamp(char *line, size_t size, kp_log_level level)
{
    int64_t ms = kp_now_unix_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm utc;
    gmtime_r(&s, &utc);
    size_t len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return len + (size_t)snprintf(line + len, size - len, ".%03dZ %-5s ", (int)(ms % 1000),
                                  level_names[level]);
}

void kp_log(kp_log_level level, const char *fmt, ...)
{
    if (!kp_log_on(level)) return;
    int saved = errno;
    char line[2048];
    size_t head = stamp(line, sizeof(line), level);
    va_list args;
    va_start(args, fmt);
    int more = vsnprintf(line + head, sizeof(line) - head, fmt, args);
    va_end(args);
    size_t len = head + (more < 0 ? 0 : (size_t)more);
    if (len > sizeof(line) - 2) len = sizeof(line) - 2; /* vsnprintf's 0 becomes the newline */
    for (size_t i = head; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    line[len++] = '\n';
    ssize_t rc = write(STDERR_FILENO, line, len);
    (void)rc; /* nobody is left to tell */
    errno = saved;
}

void kp_log_err(kp_log_level level, const kp_err *err)
{
    kp_log(level, "%s%s%s%s%s%s", err->where, *err->where ? ": " : "", err->msg,
           *err->hint ? " (" : "", err->hint, *err->hint ? ")" : "");
}
