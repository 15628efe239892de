/* SPDX-License-Identifier: MIT */
#include "proto/link.h"
#include "proto/wire.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <zmq.h>

TestSuite(call);

/* What a server does with one GET; it runs in a thread of its own, with a context of its own. */
typedef enum manner {
    ANSWER,
    PROGRESS_THEN_ANSWER,
    REFUSE,
    SILENT,
    HANG_UP,
    WRONG_TYPE,
    OTHERS_ANSWER,
    OLD_MAJOR,
    MANNERS
} manner;

typedef struct server {
    pthread_t thread;
    manner manner;
    char endpoint[128];
    kp_link *link;
    void *zmq;
} server;

static kp_envelope named(const char *id)
{
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = id;
    return envelope;
}

static void refuse(kp_link *link, const kp_frame *frame)
{
    kp_refusal_change change = {.change = "--recompute full", .peak_bytes = 5, .fits = true};
    kp_refusal refusal = {
        .binding = {.stage = 3, .layer = "dense_1", .peak_bytes = 7, .usable_bytes = 6},
        .changes = &change,
        .n_changes = 1};
    kp_err err = {0};
    kp_fail(&err, KP_INFEASIBLE, "no plan fits");
    kp_hint(&err, "try more");
    kp_err_at(&err, "model.json");
    const kp_error_msg msg = kp_wire_error(&err, &refusal);
    const kp_envelope envelope = named(frame->envelope.id);
    kp_link_send(link, &frame->peer, KP_WIRE_ERROR, &envelope, &msg, NULL);
}

static void answer(kp_link *link, const kp_frame *frame, const char *id)
{
    const kp_envelope envelope = named(id);
    const kp_nodes nodes = {.revision = 5};
    kp_link_send(link, &frame->peer, KP_WIRE_NODES, &envelope, &nodes, NULL);
}

static void progress(kp_link *link, const kp_frame *frame)
{
    const kp_envelope envelope = named(frame->envelope.id);
    for (uint64_t i = 1; i <= 3; i++) {
        const kp_wire_progress at = {.text = "searching", .done = i, .total = 3};
        kp_link_send(link, &frame->peer, KP_WIRE_PROGRESS, &envelope, &at, NULL);
    }
}

static void serve(server *s, const kp_frame *frame)
{
    const kp_envelope envelope = named(frame->envelope.id);
    const kp_leases leases = {.n_leases = 0};
    switch (s->manner) {
    case PROGRESS_THEN_ANSWER:
        progress(s->link, frame); /* fall through */
    case ANSWER:
        answer(s->link, frame, frame->envelope.id);
        break;
    case REFUSE:
        refuse(s->link, frame);
        break;
    case HANG_UP:
        kp_link_close(s->link);
        s->link = NULL;
        break;
    case WRONG_TYPE:
        kp_link_send(s->link, &frame->peer, KP_WIRE_LEASES, &envelope, &leases, NULL);
        break;
    case OTHERS_ANSWER:
        answer(s->link, frame, "rq_of_somebody_else");
        break;
    case OLD_MAJOR:
        zmq_send(kp_link_socket(s->link), frame->peer.id, frame->peer.len, ZMQ_SNDMORE);
        zmq_send(kp_link_socket(s->link), "KP\x09\0\x0d\0\0\0\x80", 9, 0);
        break;
    case SILENT:
    case MANNERS:
        break;
    }
}

static void *server_main(void *arg)
{
    server *s = arg;
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_frame frame;
    if (kp_link_recv(s->link, 10, &arena, &frame, NULL) == KP_OK) serve(s, &frame);
    kp_arena_release(&arena);
    return NULL;
}

typedef struct outcome {
    kp_status status;
    kp_err err;
    kp_nodes *nodes;
    kp_refusal *refusal;
    uint64_t progress;
    kp_arena arena;
} outcome;

static void on_progress(void *arg, const kp_wire_progress *at)
{
    if (!strcmp(at->text, "searching") && at->total == 3) ((outcome *)arg)->progress += at->done;
}

static void call(manner how, double timeout_s, const char *id, outcome *ret)
{
    server s = {.manner = how, .zmq = zmq_ctx_new()};
    *ret = (outcome){.status = KP_OK};
    kp_arena_init(&ret->arena, 0);
    cr_assert(kp_link_bind(s.zmq, "tcp://127.0.0.1:0", 0, &s.link, &ret->err) == KP_OK, "%s",
              ret->err.msg);
    snprintf(s.endpoint, sizeof(s.endpoint), "%s", kp_link_endpoint(s.link));
    cr_assert(pthread_create(&s.thread, NULL, server_main, &s) == 0);
    const kp_wire_get get = {.what = "nodes"};
    void *reply = NULL;
    ret->status = kp_link_call(s.endpoint, timeout_s, id, KP_WIRE_GET, &get, KP_WIRE_NODES,
                               &ret->arena, &reply, &ret->refusal, on_progress, ret, &ret->err);
    ret->nodes = reply;
    pthread_join(s.thread, NULL);
    kp_link_close(s.link);
    zmq_ctx_term(s.zmq);
}

Test(call, what_comes_back)
{
    static const struct {
        manner how;
        double timeout_s;
        kp_status status;
        uint64_t progress;
        const char *says, *hint, *id;
    } rows[] = {
        {ANSWER, 10, KP_OK, 0, NULL, NULL, "rq_test"},
        {PROGRESS_THEN_ANSWER, 10, KP_OK, 6, NULL, NULL, "rq_test"},
        {REFUSE, 10, KP_INFEASIBLE, 0, "no plan fits", "try more", "rq_test"},
        {SILENT, 0.3, KP_RETRY, 0, "did not answer within", "--request-id rq_test", "rq_test"},
        {SILENT, 0.3, KP_RETRY, 0, "did not answer within", "try again", NULL},
        {HANG_UP, 60, KP_RETRY, 0, "closed the connection", "--request-id rq_test", "rq_test"},
        {WRONG_TYPE, 10, KP_INTERNAL, 0, "answered GET with LEASES", NULL, "rq_test"},
        {OTHERS_ANSWER, 0.3, KP_RETRY, 0, "did not answer within", NULL, "rq_test"},
        {OLD_MAJOR, 0.3, KP_UNSUPPORTED, 0, "version 9", "same release", "rq_test"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        outcome got;
        call(rows[i].how, rows[i].timeout_s, rows[i].id, &got);
        cr_expect(got.status == rows[i].status, "row %zu: %d %s", i, got.status, got.err.msg);
        cr_expect(got.progress == rows[i].progress, "row %zu: %d", i, (int)got.progress);
        if (rows[i].says)
            cr_expect(strstr(got.err.msg, rows[i].says), "row %zu: %s", i, got.err.msg);
        if (rows[i].hint)
            cr_expect(strstr(got.err.hint, rows[i].hint), "row %zu: %s", i, got.err.hint);
        cr_expect((got.status == KP_OK) == (got.nodes && got.nodes->revision == 5), "row %zu", i);
        cr_expect((rows[i].how == REFUSE) == (got.refusal != NULL), "row %zu", i);
        if (got.refusal) {
            cr_expect(got.refusal->binding.stage == 3 && got.refusal->n_changes == 1);
            cr_expect_str_eq(got.refusal->changes[0].change, "--recompute full");
            cr_expect_str_eq(got.err.where, "model.json");
        }
        kp_arena_release(&got.arena);
    }
}

Test(call, a_large_request_goes_through)
{
    kp_dir dir = kp_dir_make();
    server s = {.manner = ANSWER, .zmq = zmq_ctx_new()};
    kp_err err = {0};
    char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/s", dir.path);
    cr_assert(kp_link_bind(s.zmq, endpoint, 0, &s.link, &err) == KP_OK, "%s", err.msg);
    cr_assert(pthread_create(&s.thread, NULL, server_main, &s) == 0);
    const uint32_t len = 32u << 20;
    uint8_t *model = calloc(1, len);
    kp_wire_plan_request request;
    kp_schema_init(kp_wire_schema(KP_WIRE_PLAN_REQUEST), &request);
    request.model_name = "m.json";
    request.model = (kp_bytes){model, len};
    kp_arena arena;
    kp_arena_init(&arena, 0);
    void *reply = NULL;
    kp_status status = kp_link_call(endpoint, 20, NULL, KP_WIRE_PLAN_REQUEST, &request,
                                    KP_WIRE_NODES, &arena, &reply, NULL, NULL, NULL, &err);
    cr_expect(status == KP_OK, "%s", err.msg);
    pthread_join(s.thread, NULL);
    kp_link_close(s.link);
    zmq_ctx_term(s.zmq);
    free(model);
    kp_arena_release(&arena);
    kp_dir_remove(&dir);
}
