/* SPDX-License-Identifier: MIT */
#include "planner/cli/client.h"
#include "planner/cli/commands.h"
#include "planner/cli/output.h"
#include <math.h>
#include <unistd.h>

#define KEEP_S 600. /* of a kept lease, if --lease-time does not say */

static kp_status ask(kp_cli *cli, const char *action, const kp_lease **ret, kp_err *err)
{
    void *reply;
    kp_wire_lease_request request = {
        .action = action, .lease = cli->args[1], .lease_s = cli->values.lease_s};
    KP_TRY(kp_cli_call(cli, KP_WIRE_LEASE_REQUEST, &request, KP_WIRE_LEASE, &reply, err));
    *ret = reply;
    return KP_OK;
}

static void line(const kp_lease *lease, kp_buf *out)
{
    bool live = lease->state == KP_LEASE_HELD || lease->state == KP_LEASE_CONFIRMED;
    kp_buf_fmt(out, "Lease %s of plan %s %s: %u GPUs", lease->id, lease->plan,
               kp_lease_state_names[lease->state], lease->n_gpus);
    if (live) kp_buf_fmt(out, " until %s, fence %llu", lease->expires, (unsigned long long)lease->fence);
    kp_buf_char(out, '\n');
}

/* Renews at a third of the lease until it is interrupted or the lease is lost. A daemon that
 * cannot be reached is asked again while the lease still holds. */
static kp_status keep(kp_cli *cli, const char *action, kp_err *err)
{
    if (isnan(cli->values.lease_s)) cli->values.lease_s = KEEP_S;
    double held_s = cli->values.lease_s, end_s = kp_now_s();
    for (;;) {
        const kp_lease *lease;
        kp_arena_mark mark = kp_arena_tell(&cli->arena);
        kp_status status = ask(cli, action, &lease, err);
        if (!status) {
            end_s = kp_now_s() + held_s;
            kp_buf_clear(&cli->out);
            line(lease, &cli->out);
            KP_TRY(kp_write_all(STDOUT_FILENO, kp_buf_text(&cli->out), cli->out.len, err));
            kp_buf_clear(&cli->out);
        } else if ((status != KP_UNREACHABLE && status != KP_RETRY) || kp_now_s() > end_s) {
            return status;
        }
        kp_arena_rewind(&cli->arena, mark);
        kp_cli_sleep(status ? 1 : held_s / 3);
    }
}

kp_status kp_cmd_lease(kp_cli *cli, kp_err *err)
{
    static const char *const actions[] = {"renew", "release", "confirm"};
    const kp_lease *lease;
    const char *action = NULL;
    for (size_t i = 0; i < KP_LEN(actions); i++)
        if (!strcmp(cli->args[0], actions[i])) action = actions[i];
    if (!action) {
        const char *near = kp_nearest(cli->args[0], actions, KP_LEN(actions));
        kp_fail(err, KP_USAGE, "'lease' can renew, release or confirm, not '%.60s'", cli->args[0]);
        if (near) kp_hint(err, "did you mean '%s'?", near);
        return KP_USAGE;
    }
    if (cli->values.keepalive) {
        if (!strcmp(action, "release"))
            return kp_fail(err, KP_USAGE, "'--keepalive' does not go with 'release'");
        if (cli->values.request_id)
            return kp_fail(err, KP_USAGE, "'--keepalive' asks many times, '--request-id' is for one");
        if (cli->values.json)
            return kp_fail(err, KP_USAGE, "'--keepalive' goes on until interrupted: there is no one JSON object");
        return keep(cli, action, err);
    }
    KP_TRY(ask(cli, action, &lease, err));
    if (cli->values.json) return kp_cli_json(cli, &kp_schema_lease, lease, err);
    line(lease, &cli->out);
    return KP_OK;
}
