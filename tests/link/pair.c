/* SPDX-License-Identifier: MIT */
#include "tests/link/pair.h"
#include <criterion/criterion.h>
#include <unistd.h>
#include <zmq.h>

void kp_pair_open(kp_pair *p, const char *endpoint, size_t limit)
{
    *p = (kp_pair){.zmq = zmq_ctx_new(), .dir = kp_dir_make()};
    char ipc[128];
    snprintf(ipc, sizeof(ipc), "ipc://%s/link", p->dir.path);
    kp_arena_init(&p->arena, 0);
    cr_assert(kp_link_bind(p->zmq, endpoint ? endpoint : ipc, limit, &p->server, &p->err) == KP_OK,
              "%s", p->err.msg);
    cr_assert(kp_link_connect(p->zmq, kp_link_endpoint(p->server), limit, &p->client, &p->err) ==
                  KP_OK,
              "%s", p->err.msg);
    cr_assert(kp_link_wait(p->client, 5, &p->err) == KP_OK, "%s", p->err.msg);
}

void kp_pair_close(kp_pair *p)
{
    kp_link_close(p->client);
    kp_link_close(p->server);
    zmq_ctx_term(p->zmq);
    kp_arena_release(&p->arena);
    kp_dir_remove(&p->dir);
}

static kp_envelope named(const char *id)
{
    kp_envelope envelope;
    kp_schema_init(&kp_schema_envelope, &envelope);
    envelope.id = id;
    return envelope;
}

void kp_pair_ask(kp_link *link, const char *id)
{
    const kp_envelope envelope = named(id);
    const kp_wire_get get = {.what = "nodes"};
    kp_err err = {0};
    cr_assert(kp_link_send(link, NULL, KP_WIRE_GET, &envelope, &get, &err) == KP_OK, "%s", err.msg);
}

/* The server takes a GET with this id; everything bad before it is skipped. */
kp_frame kp_pair_take(kp_pair *p, const char *id)
{
    kp_frame frame;
    kp_status status = KP_RETRY;
    for (int i = 0; i < 100 && status == KP_RETRY; i++)
        status = kp_link_recv(p->server, 0.5, &p->arena, &frame, &p->err);
    cr_assert(status == KP_OK, "%s", p->err.msg);
    cr_assert(frame.type == KP_WIRE_GET && frame.envelope.id);
    cr_assert_str_eq(frame.envelope.id, id);
    return frame;
}

void kp_pair_round_trip(kp_pair *p, const char *id)
{
    kp_pair_ask(p->client, id);
    kp_frame frame = kp_pair_take(p, id);
    const kp_envelope envelope = named(id);
    const kp_nodes nodes = {.revision = 12};
    cr_assert(kp_link_send(p->server, &frame.peer, KP_WIRE_NODES, &envelope, &nodes, &p->err) ==
                  KP_OK,
              "%s", p->err.msg);
    cr_assert(kp_link_recv(p->client, 5, &p->arena, &frame, &p->err) == KP_OK, "%s", p->err.msg);
    cr_expect(frame.type == KP_WIRE_NODES && ((kp_nodes *)frame.payload)->revision == 12);
    cr_expect_str_eq(frame.envelope.id, id);
}

uint64_t kp_pair_resident(void)
{
    unsigned long long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert(file && fscanf(file, "%llu %llu", &total, &pages) == 2);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
