/* SPDX-License-Identifier: MIT
 *
 * kpland against peers that are not what they should be: rubbish, wrong messages, strange agents.
 */
#include "proto/node.h"
#include "proto/wire.h"
#include "tests/lib/plans.h"
#include "tests/lib/service.h"

#include <criterion/criterion.h>
#include <math.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

/* An agent that the test plays. */
typedef struct actor {
    void *zmq;
    kp_link *link;
    kp_arena arena;
    uint64_t session;
} actor;

static actor connect_to(const kp_service *s)
{
    actor a = {.zmq = zmq_ctx_new()};
    kp_err err = {0};
    kp_arena_init(&a.arena, 0);
    cr_assert_eq(kp_link_connect(a.zmq, s->endpoint, 0, &a.link, &err), KP_OK, "%s", err.msg);
    cr_assert_eq(kp_link_wait(a.link, 20, &err), KP_OK, "%s", err.msg);
    return a;
}

static void leave(actor *a)
{
    kp_link_close(a->link);
    zmq_ctx_term(a->zmq);
    kp_arena_release(&a->arena);
}

static void say(actor *a, kp_wire_type type, const char *id, uint64_t seq, const void *payload)
{
    kp_envelope with;
    kp_err err = {0};
    kp_schema_init(&kp_schema_envelope, &with);
    with.id = id;
    with.epoch = "be_1";
    if (a->session) with.session = a->session;
    if (seq) with.seq = seq;
    cr_assert_eq(kp_link_send(a->link, NULL, type, &with, payload, &err), KP_OK, "%s", err.msg);
}

static kp_frame hear(actor *a)
{
    kp_frame frame = {0};
    kp_err err = {0};
    cr_assert_eq(kp_link_recv(a->link, 20, &a->arena, &frame, &err), KP_OK, "%s", err.msg);
    return frame;
}

static kp_frame hello(actor *a, const char *name, const char *epoch, unsigned first, unsigned n)
{
    kp_wire_hello msg = {
        .node = name, .version = "0", .inventory = kp_test_node(&a->arena, name, first, n)};
    msg.inventory.boot_epoch = epoch;
    a->session = 0;
    say(a, KP_WIRE_HELLO, "hello_1", 0, &msg);
    kp_frame frame = hear(a);
    if (frame.type == KP_WIRE_WELCOME)
        a->session = ((const kp_wire_welcome *)frame.payload)->session;
    return frame;
}

static void expect_error(const kp_frame *frame, const char *code, const char *says)
{
    cr_assert_eq(frame->type, KP_WIRE_ERROR, "%s", kp_wire_name(frame->type));
    const kp_error_msg *msg = frame->payload;
    cr_expect_str_eq(msg->error.code, code, "%s", msg->error.message);
    cr_expect(strstr(msg->error.message, says), "%s", msg->error.message);
}

Test(wire, sessions_of_agents)
{
    kp_service s = kp_service_start(0, NULL, NULL);
    actor a = connect_to(&s), b = connect_to(&s);
    char hash[17];
    kp_frame frame = hello(&a, "a", "be_1", 0, 8);
    cr_assert_eq(frame.type, KP_WIRE_WELCOME);
    cr_expect_str_eq(frame.envelope.id, "hello_1");
    cr_expect_eq(((const kp_wire_welcome *)frame.payload)->heartbeat_s, 1.0);

    /* Another agent of the same name while this one lives; a GPU that is another's. */
    frame = hello(&b, "a", "be_2", 0, 8);
    expect_error(&frame, "CONFLICT", "another agent is node 'a'");
    frame = hear(&a);
    cr_assert_eq(frame.type, KP_WIRE_RESYNC, "the living one is asked");
    frame = hello(&b, "b", "be_2", 7, 8);
    expect_error(&frame, "CONFLICT", "GPU 'GPU-7' is node 'a's");
    frame = hear(&a);
    cr_assert_eq(frame.type, KP_WIRE_RESYNC);
    frame = hello(&b, "b", "be_2", 100, 65);
    expect_error(&frame, "INPUT", "more than 64");
    frame = hello(&b, "b c", "be_2", 100, 8);
    expect_error(&frame, "INPUT", "name");

    /* Heartbeats: fine, a wrong hash, a gap, an old one, another's session. */
    kp_node node = kp_test_node(&a.arena, "a", 0, 8);
    cr_assert_eq(kp_node_hash(&node, hash, NULL), KP_OK);
    const kp_wire_heartbeat good = {.inventory_hash = hash}, bad = {.inventory_hash = "0"};
    say(&a, KP_WIRE_HEARTBEAT, NULL, 1, &good);
    say(&a, KP_WIRE_HEARTBEAT, NULL, 2, &bad);
    frame = hear(&a);
    cr_assert_eq(frame.type, KP_WIRE_RESYNC);
    cr_expect_str_eq(((const kp_wire_resync *)frame.payload)->reason, "the inventory differs");
    cr_expect_not(((const kp_wire_resync *)frame.payload)->hello);
    say(&a, KP_WIRE_HEARTBEAT, NULL, 2, &bad); /* old: no answer */
    say(&a, KP_WIRE_HEARTBEAT, NULL, 5, &good);
    frame = hear(&a);
    cr_expect_str_eq(((const kp_wire_resync *)frame.payload)->reason, "a message was lost");
    b.session = a.session;
    say(&b, KP_WIRE_HEARTBEAT, NULL, 6, &good);
    frame = hear(&b);
    cr_assert_eq(frame.type, KP_WIRE_RESYNC);
    cr_expect(((const kp_wire_resync *)frame.payload)->hello, "a session is its connection's");

    /* A changed inventory raises the revision; one of another node does not. */
    uint64_t revision = kp_service_nodes(&s)->revision;
    node.n_gpus = 7;
    say(&a, KP_WIRE_INVENTORY, NULL, 6, &node);
    node.name = "z";
    say(&a, KP_WIRE_INVENTORY, "inv_2", 7, &node);
    frame = hear(&a);
    expect_error(&frame, "INPUT", "inventory of 'z'");
    const kp_nodes *nodes = kp_service_nodes(&s);
    cr_expect_eq(nodes->revision, revision + 1);
    cr_assert_eq(nodes->n_nodes, 1);
    cr_expect_eq(nodes->nodes[0].n_gpus, 7);

    /* A dead rival is noticed at once: its name is free for a new agent. */
    leave(&a);
    kp_sleep(0.1);
    frame = hello(&b, "a", "be_2", 0, 8);
    cr_expect_eq(frame.type, KP_WIRE_WELCOME);
    leave(&b);
    kp_service_stop(&s);
}

/* A result of a run that is not on, a message for clients, an id that is none. */
Test(wire, messages_out_of_place)
{
    kp_service s = kp_service_start(0, NULL, NULL);
    actor a = connect_to(&s);
    kp_frame frame = hello(&a, "a", "be_1", 0, 8);
    cr_assert_eq(frame.type, KP_WIRE_WELCOME);
    const kp_wire_run_result result = {.run = "rn_none"};
    const kp_wire_run_ready ready = {.run = "rn_none", .meet = "tcp://127.0.0.1:1"};
    say(&a, KP_WIRE_RUN_READY, NULL, 1, &ready);
    say(&a, KP_WIRE_RUN_RESULT, NULL, 2, &result);
    const kp_plans plans = {0};
    say(&a, KP_WIRE_PLANS, "rq_1", 3, &plans);
    frame = hear(&a);
    expect_error(&frame, "INPUT", "not for a planner");
    const kp_wire_get get = {.what = "nodes"}, strange = {.what = "everything"};
    say(&a, KP_WIRE_GET, "rq\n1", 0, &get);
    frame = hear(&a);
    expect_error(&frame, "INPUT", "id");
    say(&a, KP_WIRE_GET, "rq_2", 0, &strange);
    frame = hear(&a);
    expect_error(&frame, "USAGE", "'everything'");
    say(&a, KP_WIRE_GET, "rq_3", 0, &get);
    frame = hear(&a);
    cr_expect_eq(frame.type, KP_WIRE_NODES);
    cr_expect_str_eq(frame.envelope.id, "rq_3");
    leave(&a);
    kp_service_stop(&s);
}

static unsigned char noise_byte(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned char)(*state >> 56);
}

/* Rubbish over ZeroMQ: random frames, half a real message, many frames. */
static void send_rubbish(void *socket, uint64_t seed)
{
    unsigned char bytes[512];
    const kp_wire_get get = {.what = "nodes"};
    kp_buf real;
    kp_buf_init(&real, 0);
    cr_assert_eq(kp_wire_pack(KP_WIRE_GET, NULL, &get, &real, NULL), KP_OK);
    for (size_t i = 0; i < 100; i++) {
        size_t len = noise_byte(&seed) * 2u + 1u;
        for (size_t k = 0; k < len; k++) bytes[k] = noise_byte(&seed);
        if (i % 3 == 0)
            memcpy(bytes, real.data, len < real.len ? len : real.len); /* a true start */
        zmq_send(socket, bytes, len, ZMQ_DONTWAIT | (i % 7 == 0 ? ZMQ_SNDMORE : 0));
    }
    zmq_send(socket, "", 0, ZMQ_DONTWAIT);
    kp_buf_release(&real);
}

Test(wire, rubbish_changes_nothing)
{
    kp_service s = kp_service_start(1, "8xH100-80G", NULL);
    void *zmq = zmq_ctx_new();
    for (uint64_t i = 0; i < 8; i++) {
        int linger = 200;
        void *socket = zmq_socket(zmq, ZMQ_DEALER);
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
        cr_assert_eq(zmq_connect(socket, s.endpoint), 0);
        send_rubbish(socket, i);
        zmq_close(socket);
    }
    /* And below ZeroMQ: connections that never say a proper greeting. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = s.endpoint + strlen("ipc://");
    cr_assert_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    int fds[16];
    for (size_t i = 0; i < KP_LEN(fds); i++) {
        uint64_t seed = i;
        unsigned char bytes[256];
        for (size_t k = 0; k < sizeof(bytes); k++) bytes[k] = noise_byte(&seed);
        fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fds[i], (const struct sockaddr *)&address, sizeof(address)) == 0)
            (void)!write(fds[i], bytes, i % 2 ? sizeof(bytes) : 3);
    }
    const kp_nodes *nodes = kp_service_nodes(&s);
    cr_assert_eq(nodes->n_nodes, 1);
    cr_expect_eq(nodes->nodes[0].state, KP_NODE_READY);
    for (size_t i = 0; i < KP_LEN(fds); i++) close(fds[i]);
    zmq_ctx_term(zmq);
    cr_expect(kp_service_wait_said(&s, "frames were refused", 20));
    char *said = kp_service_said(&s);
    unsigned lines = 0;
    for (const char *c = said; *c; c++) lines += *c == '\n';
    cr_expect_lt(lines, 80, "rubbish fills the log:\n%s", said);
    free(said);
    kp_service_stop(&s);
}
