/* SPDX-License-Identifier: MIT */
#include "planner/cli/client.h"
#include "planner/cli/output.h"
#include <math.h>
#include <time.h>
#include <unistd.h>

#define SILENT_S  0.5
#define REFRESH_S 0.1
#define TIMEOUT_S 30.

kp_progress kp_progress_start(void)
{
    return (kp_progress){.start_s = kp_now_s(), .terminal = isatty(STDERR_FILENO)};
}

void kp_progress_show(kp_progress *progress, const char *text, uint64_t done, uint64_t total)
{
    double now = kp_now_s(), spent = now - progress->start_s;
    kp_buf line;
    if (!progress->terminal || spent < SILENT_S || now - progress->shown_s < REFRESH_S) return;
    progress->shown_s = now;
    kp_buf_init(&line, 0);
    kp_buf_str(&line, "\r\033[K");
    kp_escape_text(text, strlen(text), false, &line);
    if (total) kp_buf_fmt(&line, " %llu/%llu", (unsigned long long)done, (unsigned long long)total);
    kp_buf_fmt(&line, ", %.1f s", spent);
    kp_write_all(STDERR_FILENO, kp_buf_text(&line), line.len, NULL);
    kp_buf_release(&line);
}

void kp_progress_end(kp_progress *progress)
{
    if (progress->shown_s > 0) kp_write_all(STDERR_FILENO, "\r\033[K", 4, NULL);
    progress->shown_s = 0;
}

const char *kp_cli_server(const kp_cli *cli)
{
    return cli->values.server ? cli->values.server : KP_ENDPOINT_DEFAULT;
}

static void on_progress(void *arg, const kp_wire_progress *progress)
{
    bool counted = progress->total != UINT64_MAX;
    kp_progress_show(arg, progress->text, progress->done, counted ? progress->total : 0);
}

/* What only looks is asked anew: its commands take no --request-id. */
static bool only_looks(kp_wire_type type, const void *request)
{
    if (type != KP_WIRE_PLAN_REQUEST) return type == KP_WIRE_GET;
    return !((const kp_wire_plan_request *)request)->reserve;
}

kp_status kp_cli_call(kp_cli *cli, kp_wire_type type, const void *request, kp_wire_type reply_type,
                      void **ret_reply, kp_err *err)
{
    char fresh[48];
    const char *id = cli->values.request_id;
    double timeout_s = isnan(cli->values.timeout_s) ? TIMEOUT_S : cli->values.timeout_s;
    if (!id && !only_looks(type, request)) {
        kp_random_id("rq_", fresh);
        id = fresh;
    }
    kp_progress progress = kp_progress_start();
    kp_status status =
        kp_link_call(kp_cli_server(cli), timeout_s, id, type, request, reply_type, &cli->arena,
                     ret_reply, &cli->refusal, on_progress, &progress, err);
    kp_progress_end(&progress);
    if (status == KP_RETRY && !err->hint[0] && id)
        kp_hint(err, "ask again with --request-id %s, then nothing is done twice", id);
    else if (status == KP_RETRY && !err->hint[0])
        kp_hint(err, "try again, or give it more time with --timeout");
    if (status == KP_UNREACHABLE && !err->hint[0])
        kp_hint(err, "start it with 'kpland', or name another with --server or KPLAN_SERVER");
    return status;
}

void kp_cli_sleep(double seconds)
{
    double whole = floor(seconds);
    struct timespec time = {.tv_sec = (time_t)whole, .tv_nsec = (long)((seconds - whole) * 1e9)};
    nanosleep(&time, NULL);
}
