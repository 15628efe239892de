/* SPDX-License-Identifier: MIT
 *
 * Sessions and nodes without sockets: each row is a life of one node. */
#include "planner/serve/fleet.h"
#include "proto/node.h"
#include "tests/lib/plans.h"

#include <criterion/criterion.h>

static kp_peer peer_of(uint8_t n)
{
    return (kp_peer){.len = 5, .id = {0, 1, 2, 3, n}};
}

typedef struct fixture {
    kp_fleet fleet;
    kp_arena arena;
} fixture;

static fixture setup(void)
{
    fixture f;
    kp_fleet_init(&f.fleet, 1.0, 1000);
    kp_arena_init(&f.arena, 0);
    return f;
}

static void teardown(fixture *f)
{
    kp_fleet_release(&f->fleet);
    kp_arena_release(&f->arena);
}

static kp_status hello(fixture *f, double now_s, uint8_t peer, const char *name, const char *epoch,
                       unsigned first_gpu, kp_fleet_node **ret, kp_fleet_node **rival)
{
    kp_wire_hello msg = {.node = name, .inventory = kp_test_node(&f->arena, name, first_gpu, 8)};
    kp_peer from = peer_of(peer);
    msg.inventory.boot_epoch = epoch;
    return kp_fleet_hello(&f->fleet, now_s, &from, &msg, ret, rival, NULL);
}

typedef enum what { HELLO, BEAT, TICK, LOST } what;

/* A life of node "a", whose agent is peer 1 unless said otherwise. */
typedef struct step {
    what what;
    double at_s;
    uint64_t arg; /* BEAT: seq; HELLO: peer */
    const char *epoch;
    int want; /* BEAT: kp_heard; HELLO: kp_status */
    kp_node_state state;
    bool raised; /* the revision rose */
} step;

static void live(const char *name, const step *steps, size_t n)
{
    fixture f = setup();
    kp_fleet_node *node = NULL, *rival = NULL;
    uint64_t session = 0;
    for (size_t i = 0; i < n; i++) {
        const step *s = &steps[i];
        uint64_t before = f.fleet.revision;
        kp_peer peer = peer_of(1);
        int got = 0;
        if (s->what == HELLO) {
            kp_fleet_node *fresh = NULL;
            got = (int)hello(&f, s->at_s, (uint8_t)s->arg, "a", s->epoch, 0, &fresh, &rival);
            if (got == KP_OK) {
                cr_expect_gt(fresh->session, session, "%s step %zu", name, i);
                node = fresh;
                session = node->session;
            }
        }
        kp_fleet_node *heard;
        if (s->what == BEAT)
            got = (int)kp_fleet_heard(&f.fleet, s->at_s, &peer, session, s->arg, &heard);
        if (s->what == TICK) kp_fleet_tick(&f.fleet, s->at_s);
        if (s->what == LOST) kp_fleet_lost(&f.fleet, node);
        cr_expect_eq(got, s->want, "%s step %zu: got %d", name, i, got);
        cr_expect_eq(node->node.state, s->state, "%s step %zu: %s", name, i,
                     kp_node_state_names[node->node.state]);
        cr_expect_eq(f.fleet.revision > before, s->raised, "%s step %zu: revision", name, i);
        cr_expect(f.fleet.revision == before || node->dirty);
    }
    teardown(&f);
}

Test(fleet, lives)
{
    static const step beats[] = {
        {HELLO, 10, 1, "be_1", KP_OK, KP_NODE_READY, true},
        {BEAT, 11, 1, NULL, KP_HEARD_OK, KP_NODE_READY, false},
        {BEAT, 11, 1, NULL, KP_HEARD_OLD, KP_NODE_READY, false},
        {BEAT, 12, 2, NULL, KP_HEARD_OK, KP_NODE_READY, false},
        {BEAT, 13, 5, NULL, KP_HEARD_GAP, KP_NODE_READY, false},
        {BEAT, 13, 4, NULL, KP_HEARD_OLD, KP_NODE_READY, false},
        {BEAT, 14, 6, NULL, KP_HEARD_OK, KP_NODE_READY, false},
        {BEAT, 14, UINT64_MAX, NULL, KP_HEARD_OK, KP_NODE_READY, false},
    };
    static const step silence[] = {
        {HELLO, 10, 1, "be_1", KP_OK, KP_NODE_READY, true},
        {TICK, 10.5, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 11.5, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 12.5, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 13.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 13.1, 0, NULL, 0, KP_NODE_SUSPECT, true},
        {TICK, 14.0, 0, NULL, 0, KP_NODE_SUSPECT, false},
        {BEAT, 14.5, 1, NULL, KP_HEARD_OK, KP_NODE_READY, true},
        {TICK, 15.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 16.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 17.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 18.0, 0, NULL, 0, KP_NODE_SUSPECT, true},
        {TICK, 19.0, 0, NULL, 0, KP_NODE_SUSPECT, false},
        {TICK, 19.6, 0, NULL, 0, KP_NODE_GONE, true},
        {BEAT, 20.0, 2, NULL, KP_HEARD_UNKNOWN, KP_NODE_GONE, false},
        {HELLO, 20.5, 1, "be_1", KP_OK, KP_NODE_READY, true},
    };
    static const step own_pause[] = {
        {HELLO, 10, 1, "be_1", KP_OK, KP_NODE_READY, true},
        {TICK, 10.1, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 70.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 71.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 72.0, 0, NULL, 0, KP_NODE_READY, false},
        {TICK, 73.0, 0, NULL, 0, KP_NODE_SUSPECT, true},
    };
    static const step rivals[] = {
        {HELLO, 10, 1, "be_1", KP_OK, KP_NODE_READY, true},
        {HELLO, 11, 2, "be_2", KP_CONFLICT, KP_NODE_READY, false},
        {HELLO, 11, 2, "be_1", KP_OK, KP_NODE_READY, false}, /* the same agent reconnected */
        {BEAT, 11, 1, NULL, KP_HEARD_UNKNOWN, KP_NODE_READY, false}, /* its old connection */
        {LOST, 12, 0, NULL, 0, KP_NODE_SUSPECT, true},
        {LOST, 12, 0, NULL, 0, KP_NODE_SUSPECT, false},
        {HELLO, 13, 1, "be_2", KP_OK, KP_NODE_READY, true},
        {BEAT, 13, 1, NULL, KP_HEARD_OK, KP_NODE_READY, false},
    };
    live("beats", beats, KP_LEN(beats));
    live("silence", silence, KP_LEN(silence));
    live("own pause", own_pause, KP_LEN(own_pause));
    live("rivals", rivals, KP_LEN(rivals));
}

static void too_many_gpus(kp_node *n)
{
    n->n_gpus = 65;
}
static void bad_name(kp_node *n)
{
    n->name = "a b";
}
static void no_uuid(kp_node *n)
{
    n->gpus[1].uuid = "";
}
static void same_uuid(kp_node *n)
{
    n->gpus[1].uuid = n->gpus[0].uuid;
}
static void same_index(kp_node *n)
{
    n->gpus[1].index = 0;
}
static void no_memory(kp_node *n)
{
    n->gpus[1].total_bytes = 0;
}
static void huge_memory(kp_node *n)
{
    n->gpus[1].total_bytes = (uint64_t)17 << 40;
}
static void all_reserved(kp_node *n)
{
    n->gpus[1].driver_reserved_bytes = UINT64_MAX - 1;
}
static void control_bytes(kp_node *n)
{
    n->gpus[1].uuid = "GPU\n1";
}
static void no_epoch(kp_node *n)
{
    n->boot_epoch = NULL;
}
static void odd_epoch(kp_node *n)
{
    n->boot_epoch = "be\n";
}
static void lost_card(kp_node *n)
{
    n->gpus[1].state = KP_GPU_UNHEALTHY;
    n->gpus[1].total_bytes = n->gpus[1].driver_reserved_bytes = n->gpus[1].free_bytes = 0;
}
static void fine(kp_node *n)
{
    n->gpus[1].state = KP_GPU_UNHEALTHY;
}
static void no_gpus(kp_node *n)
{
    n->n_gpus = 0;
}

Test(fleet, inventories_that_cannot_be)
{
    static const struct {
        const char *what;
        void (*spoil)(kp_node *node);
        kp_status want;
    } rows[] = {
        {"fine", fine, KP_OK},
        {"no gpus", no_gpus, KP_OK},
        {"a card that was lost before anybody saw it", lost_card, KP_OK},
        {"no boot epoch", no_epoch, KP_INPUT},
        {"a boot epoch of two lines", odd_epoch, KP_INPUT},
        {"too many", too_many_gpus, KP_INPUT},
        {"bad name", bad_name, KP_INPUT},
        {"no uuid", no_uuid, KP_INPUT},
        {"same uuid", same_uuid, KP_INPUT},
        {"same index", same_index, KP_INPUT},
        {"no memory", no_memory, KP_INPUT},
        {"huge memory", huge_memory, KP_INPUT},
        {"all reserved", all_reserved, KP_INPUT},
        {"control bytes", control_bytes, KP_INPUT},
    };
    fixture f = setup();
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        kp_node node = kp_test_node(&f.arena, "a", 0, 65);
        node.n_gpus = 8;
        rows[i].spoil(&node);
        cr_expect_eq(kp_fleet_sane(&node, &err), rows[i].want, "%s: %s", rows[i].what, err.msg);
    }
    teardown(&f);
}

Test(fleet, a_gpu_is_in_one_live_node)
{
    fixture f = setup();
    kp_fleet_node *a, *b, *rival;
    kp_err err = {0};
    cr_assert_eq(hello(&f, 1, 1, "a", "be_1", 0, &a, &rival), KP_OK);
    cr_expect_eq(hello(&f, 1, 2, "b", "be_1", 7, &b, &rival), KP_CONFLICT);
    cr_expect_eq(rival, a, "whose it is, so that it can be asked");
    cr_expect_eq(f.fleet.n, 1);
    cr_expect_eq(f.fleet.refused, 1);
    cr_assert_eq(hello(&f, 1, 2, "b", "be_1", 8, &b, &rival), KP_OK);
    kp_node stolen = kp_test_node(&f.arena, "b", 7, 8);
    cr_expect_eq(kp_fleet_inventory(&f.fleet, b, &stolen, &err), KP_CONFLICT);
    kp_node other = kp_test_node(&f.arena, "c", 16, 8);
    cr_expect_eq(kp_fleet_inventory(&f.fleet, b, &other, &err), KP_INPUT);
    /* The node that had it is silent: the card moved, and cannot be in both when that one is back.
     */
    kp_fleet_lost(&f.fleet, a);
    cr_expect_eq(kp_fleet_inventory(&f.fleet, b, &stolen, &err), KP_OK, "%s", err.msg);
    cr_expect_str_eq(b->node.gpus[0].uuid, "GPU-7");
    kp_peer peer = peer_of(1);
    kp_fleet_node *heard;
    cr_expect_eq(kp_fleet_heard(&f.fleet, 2, &peer, a->session, UINT64_MAX, &heard),
                 KP_HEARD_UNKNOWN);
    cr_expect_eq(a->node.state, KP_NODE_SUSPECT);
    cr_expect_eq(hello(&f, 2, 1, "a", "be_1", 0, &heard, &rival), KP_CONFLICT);
    kp_fleet_lost(&f.fleet, b);
    cr_expect_eq(kp_fleet_heard(&f.fleet, 2, &peer, a->session, UINT64_MAX, &heard), KP_HEARD_OK);
    cr_expect_eq(a->node.state, KP_NODE_READY);
    teardown(&f);
}

Test(fleet, changes_raise_the_revision_and_views_are_copies)
{
    fixture f = setup();
    kp_fleet_node *a, *b, *rival;
    kp_err err = {0};
    kp_book book = {0};
    kp_nodes view;
    kp_gpus gpus;
    cr_assert_eq(hello(&f, 1, 2, "b", "be_1", 8, &b, &rival), KP_OK);
    cr_assert_eq(hello(&f, 1, 1, "a", "be_1", 0, &a, &rival), KP_OK);
    uint64_t revision = f.fleet.revision;
    kp_node same = kp_test_node(&f.arena, "a", 0, 8), less = kp_test_node(&f.arena, "a", 0, 7);
    char hash[17];
    cr_assert_eq(kp_fleet_inventory(&f.fleet, a, &same, &err), KP_OK);
    cr_expect_eq(f.fleet.revision, revision, "the same inventory is no change");
    cr_assert_eq(kp_fleet_inventory(&f.fleet, a, &less, &err), KP_OK);
    cr_expect_eq(f.fleet.revision, revision + 1);
    cr_assert_eq(kp_node_hash(&less, hash, &err), KP_OK);
    cr_expect_str_eq(a->hash, hash);
    const char *held[] = {"GPU-8", "GPU-9"};
    const kp_lease lease = {
        .id = "ls_1", .plan = "pl_1", .owner = "ann", .gpus = held, .n_gpus = 2};
    cr_assert_eq(kp_book_add(&book, &lease, 10, 10, false, &err), KP_OK);
    cr_assert_eq(kp_fleet_view(&f.fleet, &book, &f.arena, &view, &err), KP_OK, "%s", err.msg);
    cr_assert_eq(view.n_nodes, 2);
    cr_expect_eq(view.revision, revision + 1);
    cr_expect_str_eq(view.nodes[0].name, "a");
    cr_expect_eq(view.nodes[1].gpus[0].state, KP_GPU_LEASED);
    cr_expect_eq(view.nodes[1].gpus[1].state, KP_GPU_LEASED);
    cr_expect_eq(view.nodes[1].gpus[2].state, KP_GPU_FREE);
    cr_assert_eq(kp_fleet_gpus(&view, &f.arena, &gpus, &err), KP_OK);
    cr_assert_eq(gpus.n_gpus, 15);
    cr_expect_str_eq(gpus.gpus[7].node, "b");
    kp_fleet_release(&f.fleet);
    cr_expect_str_eq(view.nodes[1].gpus[7].uuid, "GPU-15", "a view outlives the fleet");
    kp_book_release(&book);
    teardown(&f);
}

Test(fleet, an_earlier_life_is_gone_until_its_agents_come)
{
    fixture f = setup();
    kp_fleet_node *a, *rival;
    kp_node nodes[] = {kp_test_node(&f.arena, "a", 0, 8), kp_test_node(&f.arena, "b", 8, 8)};
    const kp_nodes earlier = {.revision = 41, .nodes = nodes, .n_nodes = 2};
    kp_err err = {0};
    cr_assert_eq(kp_fleet_restore(&f.fleet, &earlier, &err), KP_OK, "%s", err.msg);
    cr_expect_eq(f.fleet.revision, 41);
    cr_expect_eq(kp_fleet_find(&f.fleet, "a")->node.state, KP_NODE_GONE);
    cr_expect_not(kp_fleet_find(&f.fleet, "a")->dirty);
    for (double at_s = 1; at_s < 20; at_s++) kp_fleet_tick(&f.fleet, at_s);
    cr_expect_eq(f.fleet.revision, 41);
    kp_peer peer = peer_of(1);
    cr_expect_eq(kp_fleet_heard(&f.fleet, 1, &peer, 0, 1, &a), KP_HEARD_UNKNOWN);
    cr_assert_eq(hello(&f, 1, 1, "a", "be_2", 0, &a, &rival), KP_OK);
    cr_expect_eq(f.fleet.revision, 42);
    cr_expect(kp_fleet_ready(&f.fleet, "a"));
    cr_expect_not(kp_fleet_ready(&f.fleet, "b"));
    cr_expect_not(kp_fleet_ready(&f.fleet, "c"));
    teardown(&f);
}
