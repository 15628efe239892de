/* SPDX-License-Identifier: MIT */
#include "planner/serve/fleet.h"
#include "proto/node.h"

#include <assert.h>

void kp_fleet_init(kp_fleet *fleet, double heartbeat_s, uint64_t session)
{
    *fleet = (kp_fleet){.heartbeat_s = heartbeat_s, .session = session};
}

void kp_fleet_release(kp_fleet *fleet)
{
    for (size_t i = 0; i < fleet->n; i++) {
        kp_arena_release(&fleet->nodes[i]->arena);
        free(fleet->nodes[i]);
    }
    free(fleet->nodes);
    kp_index_release(&fleet->names);
    kp_index_release(&fleet->cards);
    *fleet = (kp_fleet){0};
}

kp_fleet_node *kp_fleet_find(const kp_fleet *fleet, const char *name)
{
    const kp_index_row *row = kp_index_find(&fleet->names, name, NULL);
    return row ? row->owner : NULL;
}

bool kp_fleet_ready(const kp_fleet *fleet, const char *name)
{
    const kp_fleet_node *node = kp_fleet_find(fleet, name);
    return node && node->node.state == KP_NODE_READY;
}

const kp_gpu *kp_fleet_gpu(const kp_fleet *fleet, const char *name, const char *uuid)
{
    const kp_fleet_node *node = kp_fleet_find(fleet, name);
    for (uint32_t i = 0; node && i < node->node.n_gpus; i++)
        if (!strcmp(node->node.gpus[i].uuid, uuid)) return &node->node.gpus[i];
    return NULL;
}

static void changed(kp_fleet *fleet, kp_fleet_node *node)
{
    node->revision = ++fleet->revision;
    node->dirty = true;
}

static void set_state(kp_fleet *fleet, kp_fleet_node *node, kp_node_state state)
{
    if (node->node.state == state) return;
    node->node.state = state;
    changed(fleet, node);
}

/* ---- what an inventory may not be ---- */

static kp_status gpu_sane(const kp_node *node, uint32_t i, kp_err *err)
{
    const kp_gpu *gpu = &node->gpus[i];
    const char *why = NULL;
    if (!kp_word_ok(gpu->uuid, 96))
        why = "its UUID is empty, too long or no text";
    else if (!kp_word_ok(gpu->name, 128))
        why = "its name is empty, too long or no text";
    else if (gpu->total_bytes == 0 && gpu->state != KP_GPU_UNHEALTHY)
        why = "it has no memory, but is not called unhealthy"; /* a lost card tells nothing */
    else if (gpu->total_bytes > KP_GPU_BYTES_MAX)
        why = "its memory is past 16 TiB";
    else if (gpu->driver_reserved_bytes > gpu->total_bytes)
        why = "the driver reserves more than the card has";
    for (uint32_t k = 0; k < i && !why; k++) {
        if (!strcmp(node->gpus[k].uuid, gpu->uuid)) why = "another card here has the same UUID";
        if (node->gpus[k].index == gpu->index) why = "another card here has the same index";
    }
    return why ? kp_fail(err, KP_INPUT, "node '%s': gpus[%u]: %s", node->name, i, why) : KP_OK;
}

kp_status kp_fleet_sane(const kp_node *node, kp_err *err)
{
    if (!kp_node_name_ok(node->name)) {
        kp_fail(err, KP_INPUT, "a node's name is not 1 to 64 of letters, digits, '.', '_' and '-'");
        return KP_INPUT;
    }
    if (!node->boot_epoch || !kp_word_ok(node->boot_epoch, 64))
        return kp_fail(err, KP_INPUT, "node '%s' does not say which start of its agent it is",
                       node->name);
    if (node->n_gpus > KP_NODE_GPUS_MAX)
        return kp_fail(err, KP_INPUT, "node '%s' has %u GPUs, more than %d", node->name,
                       node->n_gpus, KP_NODE_GPUS_MAX);
    for (uint32_t i = 0; i < node->n_gpus; i++) KP_TRY(gpu_sane(node, i, err));
    return KP_OK;
}

/* KP_CONFLICT if another ready node, *ret_owner, has one of these GPUs. One that is silent has lost
 * them: a card may have moved, or its agent may have a new name. */
static kp_status gpus_unique(const kp_fleet *fleet, const kp_node *node, kp_fleet_node **ret_owner,
                             kp_err *err)
{
    for (uint32_t i = 0; i < node->n_gpus; i++) {
        size_t n;
        const kp_index_row *rows = kp_index_find(&fleet->cards, node->gpus[i].uuid, &n);
        for (size_t k = 0; k < n; k++) {
            kp_fleet_node *other = rows[k].owner;
            if (!strcmp(other->name, node->name) || other->node.state != KP_NODE_READY) continue;
            if (ret_owner) *ret_owner = other;
            return kp_fail(err, KP_CONFLICT, "node '%s': GPU '%s' is node '%s's", node->name,
                           node->gpus[i].uuid, other->name);
        }
    }
    return KP_OK;
}

/* ---- nodes ---- */

/* A deep copy by way of its packed form. */
static kp_status node_copy(const kp_node *node, kp_arena *arena, kp_node *ret, kp_err *err)
{
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(&kp_schema_node, node, &packed, err);
    if (status == KP_OK)
        status = kp_schema_unpack(&kp_schema_node, packed.data, packed.len, arena, ret, err);
    kp_buf_release(&packed);
    return status;
}

static void drop_cards(kp_fleet *fleet, const kp_fleet_node *node)
{
    for (uint32_t i = 0; i < node->node.n_gpus; i++)
        kp_index_drop(&fleet->cards, node->node.gpus[i].uuid, node);
}

/* Puts a report in the place of the last one; `state` becomes the node's. */
static kp_status node_set(kp_fleet *fleet, kp_fleet_node *at, const kp_node *report,
                          kp_node_state state, kp_err *err)
{
    char hash[17];
    kp_arena arena;
    kp_node node;
    KP_TRY(kp_node_hash(report, hash, err));
    if (!strcmp(hash, at->hash) && at->node.state == state) return KP_OK;
    kp_arena_init(&arena, (size_t)16 << 20);
    kp_status status = node_copy(report, &arena, &node, err);
    if (status == KP_OK && !kp_index_reserve(&fleet->cards, node.n_gpus)) status = kp_nomem(err);
    if (status != KP_OK) {
        kp_arena_release(&arena);
        return status;
    }
    drop_cards(fleet, at);
    kp_arena_release(&at->arena);
    at->arena = arena;
    at->node = node;
    for (uint32_t i = 0; i < node.n_gpus; i++) kp_index_put(&fleet->cards, node.gpus[i].uuid, at);
    at->node.state = state;
    memcpy(at->hash, hash, sizeof(hash));
    changed(fleet, at);
    return KP_OK;
}

/* A node that nobody spoke for yet. */
static kp_status node_new(kp_fleet *fleet, const char *name, kp_fleet_node **ret, kp_err *err)
{
    if (fleet->n == KP_FLEET_NODES_MAX)
        return kp_fail(err, KP_RETRY, "there are %d nodes already", KP_FLEET_NODES_MAX);
    if (fleet->n == fleet->cap) {
        size_t cap = fleet->cap ? fleet->cap * 2 : 16;
        kp_fleet_node **nodes = realloc(fleet->nodes, cap * sizeof(*nodes));
        if (!nodes) return kp_nomem(err);
        fleet->nodes = nodes;
        fleet->cap = cap;
    }
    kp_fleet_node *node = calloc(1, sizeof(*node));
    if (!node || !kp_index_reserve(&fleet->names, 1)) {
        free(node);
        return kp_nomem(err);
    }
    snprintf(node->name, sizeof(node->name), "%s", name);
    kp_arena_init(&node->arena, 0);
    kp_schema_init(&kp_schema_node, &node->node);
    node->node.name = node->name;
    node->node.boot_epoch = "";
    node->node.state = node->shown = KP_NODE_GONE;
    kp_index_put(&fleet->names, node->name, node);
    *ret = fleet->nodes[fleet->n++] = node;
    return KP_OK;
}

kp_status kp_fleet_restore(kp_fleet *fleet, const kp_nodes *nodes, kp_err *err)
{
    for (uint32_t i = 0; i < nodes->n_nodes; i++) {
        kp_fleet_node *node;
        KP_TRY(node_new(fleet, nodes->nodes[i].name, &node, err));
        kp_status status = node_set(fleet, node, &nodes->nodes[i], KP_NODE_GONE, err);
        node->dirty = false;
        KP_TRY(status);
    }
    fleet->revision = nodes->revision;
    return KP_OK;
}

static bool same_peer(const kp_peer *a, const kp_peer *b)
{
    return a->len == b->len && !memcmp(a->id, b->id, a->len);
}

/* Another agent, alive, that already speaks for this name. */
static bool is_rival(const kp_fleet_node *node, const kp_peer *peer, const char *epoch)
{
    return node->session && node->node.state == KP_NODE_READY && !same_peer(&node->peer, peer) &&
           strcmp(node->node.boot_epoch, epoch) != 0;
}

kp_status kp_fleet_hello(kp_fleet *fleet, double now_s, const kp_peer *peer,
                         const kp_wire_hello *hello, kp_fleet_node **ret, kp_fleet_node **ret_rival,
                         kp_err *err)
{
    const kp_node report = hello->inventory;
    *ret_rival = NULL;
    fleet->refused++;
    if (strcmp(report.name, hello->node))
        return kp_fail(err, KP_INPUT, "node '%s' says that its inventory is of '%s'", hello->node,
                       report.name);
    KP_TRY(kp_fleet_sane(&report, err));
    kp_fleet_node *node = kp_fleet_find(fleet, hello->node);
    if (node && is_rival(node, peer, report.boot_epoch)) {
        *ret_rival = node;
        kp_fail(err, KP_CONFLICT, "another agent is node '%s' already", hello->node);
        kp_hint(err, "stop it, or give this one another name with --node");
        return KP_CONFLICT;
    }
    KP_TRY(gpus_unique(fleet, &report, ret_rival, err));
    if (!node) KP_TRY(node_new(fleet, hello->node, &node, err));
    KP_TRY(node_set(fleet, node, &report, KP_NODE_READY, err));
    node->peer = *peer;
    node->session = ++fleet->session;
    node->seq = 0;
    node->heard_s = now_s;
    fleet->refused--;
    *ret = node;
    return KP_OK;
}

kp_heard kp_fleet_heard(kp_fleet *fleet, double now_s, const kp_peer *peer, uint64_t session,
                        uint64_t seq, kp_fleet_node **ret_node)
{
    kp_fleet_node *node = NULL;
    for (size_t i = 0; i < fleet->n && !node; i++)
        if (fleet->nodes[i]->session == session && same_peer(&fleet->nodes[i]->peer, peer))
            node = fleet->nodes[i];
    *ret_node = node;
    if (!node || session == 0 || node->node.state == KP_NODE_GONE) return KP_HEARD_UNKNOWN;
    /* While it was silent, another may have come with its GPUs. */
    if (node->node.state == KP_NODE_SUSPECT && gpus_unique(fleet, &node->node, NULL, NULL) != KP_OK)
        return KP_HEARD_UNKNOWN;
    if (seq != UINT64_MAX && seq <= node->seq) {
        fleet->old++;
        return KP_HEARD_OLD;
    }
    bool gap = seq != UINT64_MAX && seq != node->seq + 1;
    if (seq != UINT64_MAX) node->seq = seq;
    node->heard_s = now_s;
    if (node->node.state == KP_NODE_SUSPECT) set_state(fleet, node, KP_NODE_READY);
    return gap ? KP_HEARD_GAP : KP_HEARD_OK;
}

kp_status kp_fleet_inventory(kp_fleet *fleet, kp_fleet_node *node, const kp_node *inventory,
                             kp_err *err)
{
    if (strcmp(inventory->name, node->name))
        return kp_fail(err, KP_INPUT, "node '%s' sent an inventory of '%s'", node->name,
                       inventory->name);
    KP_TRY(kp_fleet_sane(inventory, err));
    KP_TRY(gpus_unique(fleet, inventory, NULL, err));
    return node_set(fleet, node, inventory, node->node.state, err);
}

void kp_fleet_lost(kp_fleet *fleet, kp_fleet_node *node)
{
    if (node->node.state == KP_NODE_READY) set_state(fleet, node, KP_NODE_SUSPECT);
}

void kp_fleet_tick(kp_fleet *fleet, double now_s)
{
    /* A loop that did not run for a beat could not listen either. */
    double pause_s = fleet->ticked_s > 0 ? now_s - fleet->ticked_s : 0;
    fleet->ticked_s = now_s;
    for (size_t i = 0; i < fleet->n; i++) {
        kp_fleet_node *node = fleet->nodes[i];
        if (!node->session || node->node.state == KP_NODE_GONE) continue;
        if (pause_s > fleet->heartbeat_s) node->heard_s += pause_s;
        double silent_s = now_s - node->heard_s;
        if (silent_s > KP_BEATS_GONE * fleet->heartbeat_s)
            set_state(fleet, node, KP_NODE_GONE);
        else if (silent_s > KP_BEATS_SUSPECT * fleet->heartbeat_s)
            kp_fleet_lost(fleet, node);
    }
}
