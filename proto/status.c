/* SPDX-License-Identifier: MIT */
#include "proto/status.h"

static const struct {
    const char *name;
    int exit_code;
    const char *text;
} rows[] = {
#define KP_STATUS_ROW(name, exit_code, text) [KP_##name] = {#name, exit_code, text},
    KP_STATUS_ROWS(KP_STATUS_ROW)
#undef KP_STATUS_ROW
};
_Static_assert(KP_LEN(rows) == KP_STATUS_COUNT, "one row a status");

static kp_status known(kp_status status)
{
    return (unsigned)status < KP_STATUS_COUNT ? status : KP_INTERNAL;
}

const char *kp_status_name(kp_status status)
{
    return rows[known(status)].name;
}

int kp_status_exit(kp_status status)
{
    return rows[known(status)].exit_code;
}

const char *kp_status_text(kp_status status)
{
    return rows[known(status)].text;
}

kp_status kp_status_from_name(const char *name)
{
    for (size_t i = 0; i < KP_LEN(rows); i++)
        if (!strcmp(rows[i].name, name)) return (kp_status)i;
    return KP_INTERNAL;
}

kp_status kp_fail(kp_err *err, kp_status code, const char *fmt, ...)
{
    if (!err) return code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->msg, sizeof(err->msg), fmt, args);
    va_end(args);
    err->code = code;
    err->where[0] = err->hint[0] = 0;
    return code;
}

void kp_hint(kp_err *err, const char *fmt, ...)
{
    if (!err) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->hint, sizeof(err->hint), fmt, args);
    va_end(args);
}

void kp_err_at(kp_err *err, const char *fmt, ...)
{
    if (!err) return;
    char place[sizeof(err->where)], older[sizeof(err->where)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(place, sizeof(place), fmt, args);
    va_end(args);
    memcpy(older, err->where, sizeof(older));
    size_t n = strlen(place), room = sizeof(err->where) - 1 - n;
    memcpy(err->where, place, n + 1);
    if (!older[0] || room < 3) return;
    snprintf(err->where + n, room + 1, ": %.*s", (int)(room - 2), older);
}
