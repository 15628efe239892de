/* SPDX-License-Identifier: MIT
 *
 * kpland killed at random moments: no plan that was acknowledged is lost, no GPU is leased twice.
 */
#include "tests/lib/service.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

enum { KILLS = 50, LEDGER_FD = 63 };

/* Submits for ever; each acknowledged plan's id and fence go to the ledger. An id whose answer did
 * not come is repeated until it does: that is what makes the outcome known. */
static int submit_for_ever(void *arg)
{
    kp_service *s = arg;
    kp_wire_plan_request request = kp_service_request(s, "dense", 1, false);
    request.gpus_per_node = 1;
    request.lease_s = 1;
    for (unsigned i = 0;;) {
        char id[32], line[96];
        kp_err err = {0};
        kp_plan *plan;
        kp_arena_mark mark = kp_arena_tell(&s->arena);
        snprintf(id, sizeof(id), "rq_%u", i);
        kp_status status =
            kp_link_call(s->endpoint, 5, id, KP_WIRE_PLAN_REQUEST, &request, KP_WIRE_PLAN,
                         &s->arena, (void **)&plan, NULL, NULL, NULL, &err);
        if (status == KP_OK) {
            int len = snprintf(line, sizeof(line), "%s %llu %s\n", plan->id,
                               (unsigned long long)plan->lease->fence, plan->ranks[0].gpu);
            if (write(LEDGER_FD, line, (size_t)len) != len) return 1;
        } else if (status != KP_RETRY && status != KP_UNREACHABLE && status != KP_INFEASIBLE &&
                   status != KP_CONFLICT) {
            fprintf(stderr, "odd: %s %s\n", kp_status_name(status), err.msg);
            return 2;
        }
        if (status == KP_OK) i++;
        if (status != KP_OK) kp_sleep(0.01);
        kp_arena_rewind(&s->arena, mark);
    }
}

static unsigned check_ledger(kp_service *s, const char *text)
{
    unsigned n = 0;
    unsigned long long last = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1, n++) {
        char id[64], gpu[64];
        unsigned long long fence;
        kp_plan *plan;
        kp_err err = {0};
        cr_assert_eq(sscanf(line, "%63s %llu %63s", id, &fence, gpu), 3);
        cr_assert_eq(kp_service_plan(s, id, &plan, &err), KP_OK, "%s was acknowledged: %s", id,
                     err.msg);
        cr_expect_eq(plan->lease->fence, fence, "%s", id);
        cr_expect_str_eq(plan->ranks[0].gpu, gpu);
        cr_expect_gt(fence, last, "%s", id);
        last = fence;
    }
    return n;
}

Test(kill, no_acknowledged_plan_is_lost)
{
    kp_service s = kp_service_start(1, "64xH100-80G", NULL);
    char path[96];
    snprintf(path, sizeof(path), "%s/ledger", s.dir.path);
    int ledger = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    cr_assert(ledger >= 0);
    cr_assert_eq(dup2(ledger, LEDGER_FD), LEDGER_FD);
    kp_proc client = kp_proc_fork(&s.dir, "client", submit_for_ever, &s);
    uint64_t seed = 42;
    for (int i = 0; i < KILLS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        kp_sleep(0.02 + 0.4 * (double)(seed >> 40) / (double)(1 << 24));
        kp_proc_kill(&s.daemon);
        kp_service_start_daemon(&s);
    }
    /* The client is alive: nothing odd was answered. */
    cr_expect_eq(kp_proc_wait(&client, 0), -1, "%s", kp_file_text(client.err_path));
    kp_proc_kill(&client);
    char *text = kp_file_text(path);
    unsigned n = check_ledger(&s, text);
    cr_expect_gt(n, KILLS, "only %u plans in %d lives", n, KILLS);
    free(text);
    close(ledger);
    kp_service_stop(&s);
}
