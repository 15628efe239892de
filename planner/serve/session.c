/* SPDX-License-Identifier: MIT
 *
 * Sessions of agents: who speaks for which node. */
#include "planner/serve/request.h"
#include "proto/log.h"
#include "proto/wire.h"

#include <inttypes.h>

#define STORE_AGAIN_S 10.0

static kp_envelope envelope(const kp_daemon *d, const char *id, uint64_t session)
{
    kp_envelope ret;
    kp_schema_init(&kp_schema_envelope, &ret);
    ret.id = id;
    ret.epoch = d->epoch;
    if (session) ret.session = session;
    return ret;
}

/* What cannot be sent is lost; agents say HELLO again when they miss something. */
static void send(kp_daemon *d, const kp_peer *peer, const char *id, kp_wire_type type,
                 const void *payload)
{
    const kp_envelope with = envelope(d, id, 0);
    kp_link_send(d->link, peer, type, &with, payload, NULL);
}

static void refuse(kp_daemon *d, const kp_frame *frame, const kp_err *why)
{
    const kp_error_msg msg = kp_wire_error(why, NULL);
    kp_daemon_noise(d, &frame->peer, why);
    send(d, &frame->peer, frame->envelope.id, KP_WIRE_ERROR, &msg);
}

static void ask_again(kp_daemon *d, const kp_peer *peer, bool hello, const char *reason)
{
    const kp_wire_resync msg = {.reason = reason, .hello = hello};
    send(d, peer, NULL, KP_WIRE_RESYNC, &msg);
}

kp_status kp_session_send(kp_daemon *d, const char *name, kp_wire_type type, const void *payload,
                          kp_err *err)
{
    kp_fleet_node *node = kp_fleet_find(&d->fleet, name);
    if (!node || !node->session || node->node.state == KP_NODE_GONE)
        return kp_fail(err, KP_LOST, "node '%s' has no agent now", name);
    const kp_envelope with = envelope(d, NULL, node->session);
    kp_status status = kp_link_send(d->link, &node->peer, type, &with, payload, err);
    if (status != KP_LOST) return status;
    kp_fleet_lost(&d->fleet, node);
    return kp_fail(err, KP_LOST, "node '%s' closed its connection", name);
}

/* One put a node at a time: changes that come meanwhile go with the next. */
static void store_node(kp_daemon *d, kp_fleet_node *node)
{
    kp_job *job = kp_job_new(KP_JOB_NODE_PUT, 0, kp_now_unix_ms());
    if (!job) return;
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(&kp_schema_node, &node->node, &packed, NULL);
    if (status == KP_OK)
        status = kp_schema_unpack(&kp_schema_node, packed.data, packed.len, &job->arena,
                                  &job->node.node, NULL);
    kp_buf_release(&packed);
    job->node.revision = node->revision;
    if (status != KP_OK) {
        kp_job_free(job);
        return;
    }
    if (kp_daemon_store(d, job, NULL) != KP_OK) return;
    node->dirty = false;
    node->storing = true;
}

/* ---- HELLO ---- */

static kp_status welcome(kp_daemon *d, const kp_frame *frame, const kp_fleet_node *node)
{
    kp_fence fences[KP_NODE_GPUS_MAX];
    kp_wire_welcome msg = {
        .session = node->session, .heartbeat_s = d->fleet.heartbeat_s, .fences = fences};
    for (uint32_t i = 0; i < node->node.n_gpus && i < KP_NODE_GPUS_MAX; i++) {
        uint64_t fence = kp_book_fence_of(&d->book, node->node.gpus[i].uuid);
        if (fence)
            fences[msg.n_fences++] = (kp_fence){.gpu = node->node.gpus[i].uuid, .fence = fence};
    }
    const kp_envelope with = envelope(d, frame->envelope.id, 0);
    return kp_link_send(d->link, &frame->peer, KP_WIRE_WELCOME, &with, &msg, NULL);
}

/* A rival that died without a word is found by sending to it. */
static bool rival_is_dead(kp_daemon *d, kp_fleet_node *rival)
{
    const kp_wire_resync msg = {.reason = "another agent says that it is this node", .hello = true};
    const kp_envelope with = envelope(d, NULL, 0);
    if (kp_link_send(d->link, &rival->peer, KP_WIRE_RESYNC, &with, &msg, NULL) != KP_LOST)
        return false;
    kp_fleet_lost(&d->fleet, rival);
    return true;
}

static void take_hello(kp_daemon *d, const kp_frame *frame)
{
    const kp_wire_hello *hello = frame->payload;
    kp_fleet_node *node = NULL, *rival = NULL;
    kp_err why = {0};
    double now_s = kp_now_s();
    kp_status status = kp_fleet_hello(&d->fleet, now_s, &frame->peer, hello, &node, &rival, &why);
    if (status == KP_CONFLICT && rival && rival_is_dead(d, rival))
        status = kp_fleet_hello(&d->fleet, now_s, &frame->peer, hello, &node, &rival, &why);
    if (status != KP_OK) {
        refuse(d, frame, &why);
        return;
    }
    kp_log(KP_LOG_INFO, "node '%s' joined with %u GPUs%s (session %" PRIu64 ", kplan-agent %s)",
           node->name, node->node.n_gpus, node->node.simulated ? ", simulated" : "", node->session,
           hello->version ? hello->version : "?");
    node->shown = KP_NODE_READY;
    if (node->dirty && !node->storing) store_node(d, node);
    welcome(d, frame, node);
}

/* ---- what comes within a session ---- */

static void take_inventory(kp_daemon *d, kp_fleet_node *node, const kp_frame *frame)
{
    kp_err why = {0};
    if (kp_fleet_inventory(&d->fleet, node, frame->payload, &why) != KP_OK) refuse(d, frame, &why);
}

static void take_heartbeat(kp_daemon *d, kp_fleet_node *node, const kp_frame *frame)
{
    const kp_wire_heartbeat *beat = frame->payload;
    if (beat->inventory_hash && strcmp(beat->inventory_hash, node->hash))
        ask_again(d, &frame->peer, false, "the inventory differs");
}

static void take_run(kp_daemon *d, kp_fleet_node *node, const kp_frame *frame)
{
    kp_verify_frame(d, node->name, frame);
}

/* No honest message is longer than its limit: 64 cards take 30 KB, a check 200 bytes. */
#define HELLO_BYTES_MAX (1u << 20)
static const struct {
    kp_wire_type type;
    uint32_t bytes_max;
    void (*take)(kp_daemon *d, kp_fleet_node *node, const kp_frame *frame);
} within[] = {
    {KP_WIRE_HEARTBEAT, 4096, take_heartbeat},
    {KP_WIRE_INVENTORY, HELLO_BYTES_MAX, take_inventory},
    {KP_WIRE_RUN_READY, 4096, take_run},
    {KP_WIRE_RUN_RESULT, 16u << 20, take_run},
};

static bool too_long(kp_daemon *d, const kp_frame *frame, uint32_t bytes_max)
{
    kp_err why = {0};
    if (frame->envelope.payload.len <= bytes_max) return false;
    kp_fail(&why, KP_INPUT, "%s of %u bytes, more than %u", kp_wire_name(frame->type),
            frame->envelope.payload.len, bytes_max);
    refuse(d, frame, &why);
    return true;
}

bool kp_session_frame(kp_daemon *d, const kp_frame *frame)
{
    if (frame->type == KP_WIRE_HELLO) {
        if (!too_long(d, frame, HELLO_BYTES_MAX)) take_hello(d, frame);
        return true;
    }
    size_t i = 0;
    while (i < KP_LEN(within) && within[i].type != frame->type) i++;
    if (i == KP_LEN(within)) return false;
    if (too_long(d, frame, within[i].bytes_max)) return true;
    kp_fleet_node *node;
    uint64_t session = frame->envelope.session == UINT64_MAX ? 0 : frame->envelope.session;
    kp_heard heard =
        kp_fleet_heard(&d->fleet, kp_now_s(), &frame->peer, session, frame->envelope.seq, &node);
    if (heard == KP_HEARD_OLD) return true;
    if (heard == KP_HEARD_UNKNOWN) {
        ask_again(d, &frame->peer, true, "the session is not known");
        return true;
    }
    /* An inventory is what would be asked for. */
    if (heard == KP_HEARD_GAP && frame->type != KP_WIRE_INVENTORY)
        ask_again(d, &frame->peer, false, "a message was lost");
    within[i].take(d, node, frame);
    return true;
}

/* ---- leases ---- */

static bool on_node(const kp_fleet_node *node, const char *uuid)
{
    for (uint32_t i = 0; i < node->node.n_gpus; i++)
        if (!strcmp(node->node.gpus[i].uuid, uuid)) return true;
    return false;
}

void kp_session_fence(kp_daemon *d, const kp_book_lease *lease)
{
    for (size_t i = 0; i < d->fleet.n; i++) {
        const kp_fleet_node *node = d->fleet.nodes[i];
        const char *gpus[KP_NODE_GPUS_MAX];
        kp_wire_fence msg = {.lease = lease->id, .fence = lease->fence, .gpus = gpus};
        for (uint32_t k = 0; k < lease->n_gpus && msg.n_gpus < KP_NODE_GPUS_MAX; k++)
            if (on_node(node, lease->gpus[k])) gpus[msg.n_gpus++] = lease->gpus[k];
        if (msg.n_gpus) kp_session_send(d, node->name, KP_WIRE_FENCE, &msg, NULL);
    }
}

/* ---- time ---- */

static void tell_state(kp_fleet_node *node, double now_s)
{
    if (node->shown == node->node.state) return;
    node->shown = node->node.state;
    if (node->shown == KP_NODE_READY)
        kp_log(KP_LOG_INFO, "node '%s' is back", node->name);
    else
        kp_log(KP_LOG_WARN, "node '%s' is %s: silent for %.1f s", node->name,
               kp_node_state_names[node->shown], now_s - node->heard_s);
}

void kp_session_tick(kp_daemon *d, double now_s)
{
    kp_fleet_tick(&d->fleet, now_s);
    for (size_t i = 0; i < d->fleet.n; i++) {
        kp_fleet_node *node = d->fleet.nodes[i];
        tell_state(node, now_s);
        if (node->dirty && !node->storing && now_s >= node->store_after_s) store_node(d, node);
    }
}

void kp_session_job(kp_daemon *d, kp_job *job)
{
    kp_fleet_node *node = kp_fleet_find(&d->fleet, job->node.node.name);
    if (node) node->storing = false;
    if (job->status != KP_OK) kp_log_err(KP_LOG_ERROR, &job->err);
    if (job->status != KP_OK && node) { /* a full disk may have room again later */
        node->dirty = true;
        node->store_after_s = kp_now_s() + STORE_AGAIN_S;
    }
    kp_job_free(job);
}
