/* SPDX-License-Identifier: MIT
 *
 * kpland and agents as processes: plans, ids, leases, verdicts. */
#include "planner/plan/plan.h"
#include "tests/lib/service.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUST(call) cr_assert_eq((call), KP_OK, "%s: %s", err.where, err.msg)

/* One cluster, one life: what a scheduler does with it. */
Test(daemon, submit_look_lease_verify)
{
    kp_service s = kp_service_start(2, "8xH100-80G", NULL);
    kp_err err = {0};
    kp_plan *plan, *again, *dry, *shown;
    kp_lease *lease;
    const kp_nodes *nodes = kp_service_nodes(&s);
    cr_assert_eq(nodes->n_nodes, 2);
    cr_expect_eq(nodes->nodes[1].n_gpus, 8);
    cr_expect(nodes->nodes[1].simulated);
    kp_wire_plan_request request = kp_service_request(&s, "dense", 1, true);

    /* A dry run leaves nothing, and its id does not depend on the request. */
    request.reserve = false;
    MUST(kp_service_submit(&s, "rq_dry", &request, &dry, &err));
    MUST(kp_service_submit(&s, "rq_dry2", &request, &again, &err));
    cr_expect(kp_schema_equal(&kp_schema_plan, dry, again), "the same question, another answer");
    cr_expect(!dry->lease && !dry->created);
    cr_expect_eq(kp_service_plans(&s)->n_plans, 0);

    /* Reserved, verified, stored; the same request gives the same plan. */
    request.reserve = true;
    MUST(kp_service_submit(&s, "rq_1", &request, &plan, &err));
    MUST(kp_service_submit(&s, "rq_1", &request, &again, &err));
    cr_expect(kp_schema_equal(&kp_schema_plan, plan, again));
    cr_assert(plan->lease && plan->created);
    cr_expect_str_neq(plan->id, dry->id);
    cr_expect_eq(plan->lease->fence, 1);
    cr_expect_eq(plan->verification.verdict, KP_VERDICT_VERIFIED);
    cr_expect_float_eq(plan->verification.covered, 1, 1e-9);
    MUST(kp_plan_check(plan, &err));
    MUST(kp_service_plan(&s, plan->id, &shown, &err));
    cr_expect(kp_schema_equal(&kp_schema_plan, plan, shown));
    request.options.batch = 64;
    cr_expect_eq(kp_service_submit(&s, "rq_1", &request, &again, &err), KP_CONFLICT);
    cr_expect(strstr(err.msg, "other content"), "%s", err.msg);

    /* Leases. */
    const kp_leases *leases = kp_service_leases(&s);
    cr_assert_eq(leases->n_leases, 1);
    cr_expect_str_eq(leases->leases[0].owner, "ann");
    cr_expect_eq(leases->leases[0].n_gpus, 8);
    MUST(kp_service_lease(&s, NULL, "confirm", plan->lease->id, 1000, &lease, &err));
    cr_expect_eq(lease->state, KP_LEASE_CONFIRMED);
    MUST(kp_service_lease(&s, NULL, "renew", plan->lease->id, NAN, &lease, &err));
    cr_expect_eq(lease->state, KP_LEASE_CONFIRMED);
    cr_expect_eq(kp_service_lease(&s, NULL, "renew", "ls_none", NAN, &lease, &err), KP_INPUT);
    cr_expect_eq(kp_service_lease(&s, NULL, "steal", plan->lease->id, NAN, &lease, &err), KP_USAGE);
    cr_expect_eq(kp_service_lease(&s, NULL, "renew", plan->lease->id, 0.5, &lease, &err), KP_USAGE);

    /* Verified again from the store, from a file, and a sample; an edited file is refused. */
    kp_verdict *verdict;
    kp_wire_verify_request verify = {.plan = plan->id};
    MUST(kp_service_call(&s, "rq_v", KP_WIRE_VERIFY_REQUEST, &verify, KP_WIRE_VERDICT, &verdict,
                         &err));
    cr_expect_eq(verdict->verdict, KP_VERDICT_VERIFIED);
    cr_expect_str_eq(verdict->plan, plan->id);
    verify = (kp_wire_verify_request){.body = plan, .sample = true};
    MUST(kp_service_call(&s, NULL, KP_WIRE_VERIFY_REQUEST, &verify, KP_WIRE_VERDICT, &verdict,
                         &err));
    cr_expect_eq(verdict->verdict, KP_VERDICT_VERIFIED);
    kp_plan edited = *plan;
    edited.strategy.dp++;
    verify = (kp_wire_verify_request){.body = &edited};
    cr_expect_eq(
        kp_service_call(&s, NULL, KP_WIRE_VERIFY_REQUEST, &verify, KP_WIRE_VERDICT, &verdict, &err),
        KP_INPUT);
    verify = (kp_wire_verify_request){.plan = "pl_none"};
    cr_expect_eq(
        kp_service_call(&s, NULL, KP_WIRE_VERIFY_REQUEST, &verify, KP_WIRE_VERDICT, &verdict, &err),
        KP_INPUT);

    /* Released: the GPUs are free, and the same words again get the same answer. */
    MUST(kp_service_lease(&s, "rq_r", "release", plan->lease->id, NAN, &lease, &err));
    MUST(kp_service_lease(&s, "rq_r", "release", plan->lease->id, NAN, &lease, &err));
    cr_expect_eq(lease->state, KP_LEASE_RELEASED);
    cr_expect_eq(kp_service_lease(&s, "rq_s", "release", plan->lease->id, NAN, &lease, &err),
                 KP_CONFLICT);
    request.nodes = 2;
    request.verify = false;
    MUST(kp_service_submit(&s, NULL, &request, &again, &err));
    cr_expect_eq(again->lease->fence, 2);
    /* The old plan's GPUs are someone else's now. */
    verify = (kp_wire_verify_request){.plan = plan->id};
    cr_expect_eq(
        kp_service_call(&s, NULL, KP_WIRE_VERIFY_REQUEST, &verify, KP_WIRE_VERDICT, &verdict, &err),
        KP_CONFLICT);
    kp_proc_signal(&s.daemon, SIGTERM);
    cr_expect_eq(kp_proc_wait(&s.daemon, 10), 0, "a clean end");
    kp_service_stop(&s);
}

Test(daemon, what_cannot_be_planned)
{
    kp_service s = kp_service_start(2, "8xH100-80G", NULL);
    kp_err err = {0};
    kp_plan *plan;
    static const struct {
        const char *what;
        uint32_t nodes, gpus;
        const char *model;
        double lease_s;
        kp_status want;
        const char *says;
    } rows[] = {
        {"too many nodes", 3, UINT32_MAX, NULL, NAN, KP_INFEASIBLE, "3 nodes"},
        {"too many GPUs", 1, 9, NULL, NAN, KP_INFEASIBLE, "9"},
        {"no nodes", 0, 8, NULL, NAN, KP_USAGE, "at least one node"},
        {"no GPUs", 1, 0, NULL, NAN, KP_USAGE, "at least one node"},
        {"short lease", 1, 8, NULL, 0.1, KP_USAGE, "1 s to 30 days"},
        {"endless lease", 1, 8, NULL, 1e12, KP_USAGE, "1 s to 30 days"},
        {"empty file", 1, 8, "", NAN, KP_INPUT, "empty"},
        {"rubbish", 1, 8, "{\"class_name\":", NAN, KP_INPUT, "ends too early"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_wire_plan_request request = kp_service_request(&s, "dense", rows[i].nodes, true);
        request.gpus_per_node = rows[i].gpus;
        request.lease_s = rows[i].lease_s;
        if (rows[i].model)
            request.model = (kp_bytes){.data = (const uint8_t *)rows[i].model,
                                       .len = (uint32_t)strlen(rows[i].model)};
        cr_expect_eq(kp_service_submit(&s, NULL, &request, &plan, &err), rows[i].want, "%s: %s %s",
                     rows[i].what, kp_status_name(err.code), err.msg);
        cr_expect(strstr(err.msg, rows[i].says), "%s: %s", rows[i].what, err.msg);
    }
    cr_expect_eq(kp_service_leases(&s)->n_leases, 0);
    kp_service_stop(&s);
}

/* ---- two clients, one node ---- */

typedef struct rival {
    kp_service *service;
    const char *id;
} rival;

static int submit_as(rival *r, uint32_t nodes, bool verify)
{
    kp_err err = {0};
    kp_plan *plan;
    const kp_wire_plan_request request = kp_service_request(r->service, "dense", nodes, verify);
    kp_status status = kp_service_submit(r->service, r->id, &request, &plan, &err);
    fprintf(stderr, "%s\n", status == KP_OK ? "won" : err.msg);
    return kp_status_exit(status);
}

static int submit_body(void *arg)
{
    return submit_as(arg, 1, false);
}

static int submit_both_body(void *arg)
{
    return submit_as(arg, 2, true);
}

Test(daemon, two_clients_for_the_last_gpus)
{
    kp_service s = kp_service_start(1, "8xH100-80G", NULL);
    rival rivals[] = {{&s, "rq_a"}, {&s, "rq_b"}};
    kp_proc procs[2];
    int codes[2];
    for (int i = 0; i < 2; i++)
        procs[i] = kp_proc_fork(&s.dir, rivals[i].id, submit_body, &rivals[i]);
    for (int i = 0; i < 2; i++) codes[i] = kp_proc_wait(&procs[i], 60);
    int loser = codes[0] == 0;
    cr_expect_eq(codes[!loser], 0);
    cr_expect_eq(codes[loser], 4, "the other one got %d", codes[loser]);
    char *said = kp_file_text(procs[loser].err_path);
    cr_expect(strstr(said, "lease 'ls_"), "what holds them is named: %s", said);
    free(said);
    cr_expect_eq(kp_service_leases(&s)->n_leases, 1);
    kp_service_stop(&s);
}

/* ---- an agent dies during the verification ---- */

Test(daemon, killed_agent_makes_the_verdict_inconclusive)
{
    kp_service s = kp_service_start(2, "8xH100-80G", NULL);
    kp_err err = {0};
    /* It cannot answer its RUN, so that it dies while the run is on. */
    kp_proc_signal(&s.agents[1], SIGSTOP);
    kp_plan *plan = NULL;
    rival r = {&s, "rq_1"};
    kp_proc client = kp_proc_fork(&s.dir, "client", submit_both_body, &r);
    cr_assert(kp_service_wait_said(&s, "by lease", 20), "no plan was committed");
    double killed_s = kp_now_s();
    kp_proc_kill(&s.agents[1]);
    cr_expect_eq(kp_proc_wait(&client, 20), 7);
    cr_expect_lt(kp_now_s() - killed_s, 15, "not only when the deadline is over");
    char *said = kp_file_text(client.err_path);
    cr_expect(strstr(said, "node 'n1'"), "what was lost is named: %s", said);
    free(said);
    const kp_leases *leases = kp_service_leases(&s);
    cr_assert_eq(leases->n_leases, 1);
    cr_expect_eq(leases->leases[0].state, KP_LEASE_RELEASED);
    const kp_nodes *nodes = kp_service_nodes(&s);
    for (uint32_t i = 0; i < nodes->nodes[0].n_gpus; i++)
        cr_expect_eq(nodes->nodes[0].gpus[i].state, KP_GPU_FREE);
    MUST(kp_service_plan(&s, leases->leases[0].plan, &plan, &err));
    cr_expect_eq(plan->verification.verdict, KP_VERDICT_INCONCLUSIVE);
    cr_expect_eq(plan->lease->state, KP_LEASE_RELEASED);
    kp_service_stop(&s);
}

/* An agent that hangs: the deadline ends the run, and the answer comes before the client leaves. */
static void note_progress(void *arg, const kp_wire_progress *progress)
{
    *(bool *)arg |= !strcmp(progress->text, "verifying");
}

Test(daemon, hanging_agent_runs_into_the_deadline)
{
    kp_service s = kp_service_start(2, "8xH100-80G", NULL);
    kp_err err = {0};
    kp_plan *plan;
    bool told = false;
    kp_proc_signal(&s.agents[1], SIGSTOP);
    const kp_wire_plan_request request = kp_service_request(&s, "dense", 2, true);
    kp_status status =
        kp_link_call(s.endpoint, 2, "rq_1", KP_WIRE_PLAN_REQUEST, &request, KP_WIRE_PLAN, &s.arena,
                     (void **)&plan, NULL, note_progress, &told, &err);
    cr_expect_eq(status, KP_INCONCLUSIVE, "%s: %s", kp_status_name(status), err.msg);
    cr_expect(strstr(err.msg, "could not be finished"), "%s", err.msg);
    cr_expect(told, "no progress was told");
    cr_expect_eq(kp_service_leases(&s)->leases[0].state, KP_LEASE_RELEASED);
    /* The same request again gives the same refusal, from the store. */
    cr_expect_eq(kp_service_submit(&s, "rq_1", &request, &plan, &err), KP_INCONCLUSIVE);
    cr_expect(strstr(err.msg, "could not be finished"), "%s", err.msg);
    kp_proc_signal(&s.agents[1], SIGCONT);
    kp_service_stop(&s);
}

/* kpland is killed between commit and verdict: the repeated request goes on from there, also before
 * the agents have found the new kpland. */
Test(daemon, verification_goes_on_after_a_kill)
{
    kp_service s = kp_service_start(2, "8xH100-80G", NULL);
    kp_err err = {0};
    kp_plan *plan;
    kp_proc_signal(&s.agents[1], SIGSTOP);
    rival r = {&s, "rq_1"};
    kp_proc client = kp_proc_fork(&s.dir, "client", submit_both_body, &r);
    cr_assert(kp_service_wait_said(&s, "by lease", 20), "no plan was committed");
    kp_proc_kill(&s.daemon);
    cr_expect_eq(kp_proc_wait(&client, 60), 75, "the outcome is not known");
    kp_proc_signal(&s.agents[1], SIGCONT);
    kp_service_start_daemon(&s);
    const kp_wire_plan_request request = kp_service_request(&s, "dense", 2, true);
    MUST(kp_service_submit(&s, "rq_1", &request, &plan, &err));
    cr_expect_eq(plan->verification.verdict, KP_VERDICT_VERIFIED);
    cr_expect_eq(plan->lease->state, KP_LEASE_HELD);
    cr_expect_eq(plan->lease->fence, 1);
    cr_expect_eq(kp_service_plans(&s)->n_plans, 1);
    kp_service_stop(&s);
}

/* ---- silence, restart, ends of leases ---- */

Test(daemon, silent_agents_are_suspect_then_gone_then_back)
{
    kp_service s = kp_service_start(1, "8xH100-80G", "100ms");
    uint64_t before = kp_service_nodes(&s)->revision;
    kp_proc_signal(&s.agents[0], SIGSTOP);
    cr_expect(kp_service_wait_said(&s, "node 'n0' is suspect", 20));
    cr_expect(kp_service_wait_nodes(&s, KP_NODE_GONE, 1, 20));
    cr_expect_geq(kp_service_nodes(&s)->revision, before + 2);
    kp_err err = {0};
    kp_plan *plan;
    const kp_wire_plan_request request = kp_service_request(&s, "dense", 1, false);
    cr_expect_eq(kp_service_submit(&s, NULL, &request, &plan, &err), KP_INFEASIBLE);
    cr_expect(strstr(err.msg, "'n0' is gone"), "%s", err.msg);
    kp_proc_signal(&s.agents[0], SIGCONT);
    cr_expect(kp_service_wait_nodes(&s, KP_NODE_READY, 1, 20));
    kp_service_stop(&s);
}

Test(daemon, leases_outlive_a_kill_and_then_end)
{
    kp_service s = kp_service_start(1, "8xH100-80G", NULL);
    kp_err err = {0};
    kp_plan *plan;
    kp_wire_plan_request request = kp_service_request(&s, "dense", 1, false);
    request.lease_s = 6;
    MUST(kp_service_submit(&s, "rq_1", &request, &plan, &err));
    uint64_t revision = kp_service_nodes(&s)->revision;
    kp_proc_kill(&s.daemon);
    kp_service_start_daemon(&s);
    cr_assert_eq(kp_service_leases(&s)->n_leases, 1);
    cr_expect_eq(kp_service_leases(&s)->leases[0].state, KP_LEASE_HELD);
    cr_expect(kp_service_wait_nodes(&s, KP_NODE_READY, 1, 20), "the agent did not come back");
    cr_expect_gt(kp_service_nodes(&s)->revision, revision, "revisions only rise");
    cr_expect_eq(kp_service_nodes(&s)->nodes[0].gpus[0].state, KP_GPU_LEASED);
    cr_expect_eq(kp_service_submit(&s, "rq_2", &request, &plan, &err), KP_CONFLICT, "%s", err.msg);
    cr_expect(kp_service_wait_said(&s, "expired", 20), "the lease does not end");
    MUST(kp_service_submit(&s, "rq_3", &request, &plan, &err));
    cr_expect_eq(plan->lease->fence, 2);
    /* The first request is answered as before, by what became of it. */
    MUST(kp_service_submit(&s, "rq_1", &request, &plan, &err));
    cr_expect_eq(plan->lease->state, KP_LEASE_EXPIRED);
    kp_service_stop(&s);
}

/* ---- starting ---- */

Test(daemon, starts_that_fail)
{
    kp_service s = kp_service_start(0, "8xH100-80G", NULL);
    char other[96];
    snprintf(other, sizeof(other), "ipc://%s/other", s.dir.path);
    const struct {
        const char *listen, *store, *more, *value;
        int want;
        const char *says;
    } rows[] = {
        {other, s.store, NULL, NULL, 70, "is in use by another process"},
        {other, s.dir.path, NULL, NULL, 70, "is a folder"},
        {other, "/proc/kplan.db", NULL, NULL, 70, "cannot be opened"},
        {s.endpoint, "/tmp/kplan-none.db", NULL, NULL, 5, "in use"},
        {"tcp://0.0.0.0:0", s.store, NULL, NULL, 64, "other machines"},
        {"tcp://192.0.2.1:7400", s.store, NULL, NULL, 64, "other machines"},
        {"udp://127.0.0.1:1", s.store, NULL, NULL, 64, "udp"},
        {other, s.store, "--heartbeat", "0s", 64, "--heartbeat"},
        {other, s.store, "--lease", "1ms", 64, "--lease"},
        {other, s.store, "--heartbet", "1s", 64, "heartbet"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const kp_path program = kp_program("kpland");
        const char *argv[] = {program.s,     "--listen",   rows[i].listen, "--store",
                              rows[i].store, rows[i].more, rows[i].value,  NULL};
        char *err = NULL;
        int code = kp_proc_run(&s.dir, argv, NULL, 20, NULL, &err);
        cr_expect_eq(code, rows[i].want, "row %zu: exit %d: %s", i, code, err);
        cr_expect(strstr(err, "kpland: ") == err, "row %zu: %s", i, err);
        cr_expect(strstr(err, rows[i].says), "row %zu: %s", i, err);
        free(err);
    }
    unlink("/tmp/kplan-none.db");
    kp_service_stop(&s);
}

Test(daemon, says_where_it_listens)
{
    kp_dir dir = kp_dir_make();
    char store[96], rest[96];
    snprintf(store, sizeof(store), "%s/kplan.db", dir.path);
    const kp_path program = kp_program("kpland");
    char listen[] = "KPLAN_LISTEN=tcp://127.0.0.1:0", file[128];
    snprintf(file, sizeof(file), "KPLAN_STORE=%s", store);
    const char *argv[] = {program.s, NULL}, *env[] = {listen, file, NULL};
    kp_proc proc = kp_proc_start(&dir, "kpland", argv, env);
    cr_assert(kp_proc_line(&proc, "ready ", 20, rest, sizeof(rest)));
    cr_expect_eq(strncmp(rest, "tcp://127.0.0.1:", 16), 0, "%s", rest);
    cr_expect_str_neq(rest, "tcp://127.0.0.1:0");
    kp_proc_signal(&proc, SIGINT);
    cr_expect_eq(kp_proc_wait(&proc, 10), 0);
    kp_dir_remove(&dir);
}

/* A full disk refuses what writes; looking goes on, and so does writing when there is room again.
 */
Test(daemon, full_disk)
{
    kp_dir dir = kp_dir_make();
    char disk[80], ballast[96];
    snprintf(disk, sizeof(disk), "%s/disk", dir.path);
    cr_assert_eq(mkdir(disk, 0700), 0);
    if (mount("tmpfs", disk, "tmpfs", 0, "size=1m") != 0) {
        kp_dir_remove(&dir);
        cr_skip_test("no right to mount a small disk; tests of the store have a full one too");
    }
    kp_service s = kp_service_start(0, "8xH100-80G", NULL);
    kp_proc_stop(&s.daemon);
    snprintf(s.store, sizeof(s.store), "%s/kplan.db", disk);
    kp_service_start_daemon(&s);
    kp_service_add_agent(&s, "n0", "64xH100-80G");
    cr_assert(kp_service_wait_nodes(&s, KP_NODE_READY, 1, 20));
    kp_err err = {0};
    kp_plan *plan, *kept;
    kp_wire_plan_request request = kp_service_request(&s, "dense", 1, false);
    request.gpus_per_node = 1;
    MUST(kp_service_submit(&s, NULL, &request, &kept, &err));
    snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
    FILE *file = fopen(ballast, "wb");
    cr_assert(file);
    while (fputc('x', file) != EOF && fflush(file) == 0) continue;
    fclose(file);
    kp_status status = KP_OK;
    for (int i = 0; i < 60 && status == KP_OK; i++)
        status = kp_service_submit(&s, NULL, &request, &plan, &err);
    cr_expect_eq(status, KP_STORE, "%s", err.msg);
    cr_expect(strstr(err.msg, "the disk is full"), "%s", err.msg);
    MUST(kp_service_plan(&s, kept->id, &plan, &err));
    unlink(ballast);
    MUST(kp_service_submit(&s, NULL, &request, &plan, &err));
    kp_service_stop(&s);
    umount(disk);
    kp_dir_remove(&dir);
}
