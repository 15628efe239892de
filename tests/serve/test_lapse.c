/* SPDX-License-Identifier: MIT
 *
 * What the loop does to leases between the book and the store, with a store thread that answers
 * what the test wants; and what it asks of a plan's GPUs before it commits. */
#include "planner/serve/request.h"
#include "tests/lib/plans.h"

#include <criterion/criterion.h>
#include <math.h>
#include <zmq.h>

typedef struct fixture {
    kp_daemon d;
    kp_daemon_config config;
} fixture;

/* Answers each job with the status at `arg`. */
static void answer(void *end, void *arg)
{
    for (bool ended = false; !ended;) {
        kp_job *job = kp_actor_next(end, true, &ended);
        if (!job) continue;
        job->status = *(const kp_status *)arg;
        kp_actor_reply(end, job);
    }
}

static fixture *open_daemon(kp_status *status)
{
    static const char *gpus[] = {"GPU-1"};
    fixture *f = calloc(1, sizeof(*f));
    cr_assert(f);
    f->config.lease_s = 60;
    f->d.config = &f->config;
    f->d.zmq = zmq_ctx_new();
    f->d.noted_s = f->d.forgot_s = INFINITY;
    kp_fleet_init(&f->d.fleet, 1, 1);
    const kp_lease lease = {
        .id = "ls_1", .plan = "pl_1", .owner = "ann", .gpus = gpus, .n_gpus = 1};
    cr_assert_eq(kp_actor_open(f->d.zmq, "store", answer, status, &f->d.storer, NULL), KP_OK);
    cr_assert_eq(kp_book_add(&f->d.book, &lease, 10, 10, false, NULL), KP_OK);
    return f;
}

static void close_daemon(fixture *f)
{
    kp_actor_close(f->d.storer, kp_job_free);
    zmq_ctx_term(f->d.zmq);
    kp_book_release(&f->d.book);
    kp_fleet_release(&f->d.fleet);
    free(f);
}

static kp_job *next_job(fixture *f)
{
    zmq_pollitem_t item = {.socket = kp_actor_socket(f->d.storer), .events = ZMQ_POLLIN};
    zmq_poll(&item, 1, 10000);
    return kp_actor_take(f->d.storer);
}

/* A store that cannot write the end of a lease would refuse the GPUs to everybody else. */
Test(lapse, gpus_are_free_once_the_store_has_it)
{
    static const struct {
        kp_status status;
        bool free;
    } rows[] = {{KP_OK, true}, {KP_CONFLICT, true}, {KP_STORE, false}, {KP_NOMEM, false}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_status status = rows[i].status;
        fixture *f = open_daemon(&status);
        double now_s = kp_now_s() + 100;
        kp_lapse_tick(&f->d, now_s);
        cr_expect(kp_book_holder(&f->d.book, "GPU-1"), "row %zu: free before it is stored", i);
        kp_job *job = next_job(f);
        cr_assert(job && job->kind == KP_JOB_LEASE, "row %zu", i);
        cr_expect_eq(job->lease.action, KP_LEASE_EXPIRE);
        kp_lapse_job(&f->d, job);
        cr_expect_eq(kp_book_holder(&f->d.book, "GPU-1") == NULL, rows[i].free, "row %zu", i);
        cr_expect_null(kp_book_due(&f->d.book, kp_now_s()), "row %zu: again at once", i);
        cr_expect_eq(kp_book_due(&f->d.book, now_s) == NULL, rows[i].free, "row %zu", i);
        close_daemon(f);
    }
}

/* The time left of a lease that is being renewed is the renewal's to write. */
Test(lapse, notes_leave_changing_leases_alone)
{
    kp_status status = KP_OK;
    fixture *f = open_daemon(&status);
    f->d.forgot_s = -INFINITY; /* something to send in any case */
    kp_book_find(&f->d.book, "ls_1")->changing = 1;
    kp_lapse_note(&f->d, 5);
    kp_job *job = next_job(f);
    cr_assert(job && job->kind == KP_JOB_NOTE);
    cr_expect_eq(job->note.n_notes, 0);
    kp_job_free(job);
    kp_book_find(&f->d.book, "ls_1")->changing = 0;
    f->d.forgot_s = INFINITY;
    kp_lapse_note(&f->d, 5);
    job = next_job(f);
    cr_assert(job && job->kind == KP_JOB_NOTE);
    cr_assert_eq(job->note.n_notes, 1);
    cr_expect_eq(job->note.notes[0].remaining_ms, 5000);
    kp_job_free(job);
    close_daemon(f);
}

/* A search takes a while: what became of the GPUs meanwhile is looked at before the commit. */
Test(lapse, a_plan_is_committed_on_free_gpus_only)
{
    static const struct {
        kp_gpu_state state;
        unsigned first;
        const char *says; /* NULL: it goes to the store */
    } rows[] = {
        {KP_GPU_FREE, 8, NULL},
        {KP_GPU_BUSY, 8, "GPU 0 of node 'n0' is busy now"},
        {KP_GPU_UNHEALTHY, 8, "GPU 0 of node 'n0' is unhealthy now"},
        {KP_GPU_FREE, 40, "GPU 0 of node 'n0' is missing now"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_status status = KP_OK;
        fixture *f = open_daemon(&status);
        kp_request *r = kp_request_new();
        kp_job *job = kp_job_new(KP_JOB_SEARCH, 1, 0);
        cr_assert(r && job);
        kp_wire_hello hello = {.node = "n0",
                               .inventory = kp_test_node(&r->arena, "n0", rows[i].first, 2)};
        hello.inventory.gpus[0].state = rows[i].state;
        const kp_peer peer = {.len = 1};
        kp_fleet_node *node, *rival;
        cr_assert_eq(kp_fleet_hello(&f->d.fleet, 1, &peer, &hello, &node, &rival, NULL), KP_OK);
        kp_wire_plan_request request = {.owner = "ann", .reserve = true, .lease_s = NAN};
        r->frame.type = KP_WIRE_PLAN_REQUEST;
        r->frame.payload = &request;
        r->id = "rq_1";
        r->stage = KP_STAGE_SEARCH;
        r->deadline_s = INFINITY;
        r->tries = KP_REPLANS_MAX;
        job->search.plan = kp_test_plan(&job->arena, 1, "n0", 8, 2);
        kp_submit_job(&f->d, r, job);
        cr_expect_eq(r->stage, rows[i].says ? KP_STAGE_OVER : KP_STAGE_COMMIT, "row %zu: %s", i,
                     r->err.msg);
        if (rows[i].says) cr_expect_str_eq(r->err.msg, rows[i].says, "row %zu", i);
        if (!rows[i].says) kp_job_free(next_job(f));
        kp_job_free(job);
        kp_request_free(r);
        close_daemon(f);
    }
}
