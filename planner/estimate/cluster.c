/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/cluster.c — specs and inventories to the GPUs that a plan may use. */
#include "planner/estimate/device.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>

/* Where the table has no figure: half a PCIe 3 x16 link, a tenth of a 100 Gb/s adapter. */
static const kp_line default_intra = {50e-6, 1 / 8e9}, default_inter = {50e-6, 1 / 1.25e9};

/* ---- invented clusters ---- */

/* One group "4x8xH100-80G" between `from` and `to`: copies it into `group`. */
static kp_status parse_group(const char *spec, const char *from, size_t len,
                             const kp_gpu_kinds *table, uint64_t *ret_nodes, uint32_t *ret_gpus,
                             const kp_gpu_kind **ret_kind, kp_err *err)
{
    char group[96];
    size_t digits = strspn(from, "0123456789");
    if (!digits || digits >= len || len >= sizeof(group) || from[digits] != 'x')
        return kp_fail(err, KP_USAGE, "'%.60s' is not nodes x GPUs x kind, like 4x8xH100-80G",
                       spec);
    memcpy(group, from, len);
    group[len] = 0;
    group[digits] = 0;
    if (kp_parse_u64(group, 1, KP_NODES_MAX, ret_nodes, err) != KP_OK)
        return kp_fail(err, KP_USAGE, "'%.60s': a cluster has 1 to %d nodes, not %s", spec,
                       KP_NODES_MAX, group);
    kp_status status = kp_gpu_spec(group + digits + 1, table, ret_gpus, ret_kind, err);
    if (status != KP_OK) kp_err_at(err, "--cluster %.60s", spec);
    return status;
}

static kp_status add_nodes(uint64_t n, uint32_t gpus, const kp_gpu_kind *kind, kp_arena *arena,
                           kp_nodes *nodes, size_t *cap, kp_err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof(name), "node%" PRIu32, nodes->n_nodes);
        if (!KP_GROW(arena, nodes->nodes, nodes->n_nodes, *cap)) return kp_nomem(err);
        KP_TRY(kp_node_invent(name, gpus, kind, arena, &nodes->nodes[nodes->n_nodes], err));
        nodes->n_nodes++;
    }
    return KP_OK;
}

kp_status kp_nodes_invent(const char *spec, const kp_gpu_kinds *table, kp_arena *arena,
                          kp_nodes *ret, kp_err *err)
{
    kp_nodes nodes = {0};
    size_t cap = 0;
    for (const char *at = spec;; at++) {
        size_t len = strcspn(at, "+");
        uint64_t n;
        uint32_t gpus;
        const kp_gpu_kind *kind;
        KP_TRY(parse_group(spec, at, len, table, &n, &gpus, &kind, err));
        if (nodes.n_nodes + n > KP_NODES_MAX)
            return kp_fail(err, KP_USAGE, "'%.60s' has more than %d nodes", spec, KP_NODES_MAX);
        KP_TRY(add_nodes(n, gpus, kind, arena, &nodes, &cap, err));
        at += len;
        if (!*at) break;
    }
    *ret = nodes;
    return KP_OK;
}

/* ---- from an inventory to slots ---- */

typedef struct candidate {
    const kp_node *node;
    uint32_t n_free;
} candidate;

static bool usable(const kp_gpu *gpu)
{
    return gpu->state == KP_GPU_FREE;
}

static uint32_t count_free(const kp_node *node)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < node->n_gpus; i++) n += usable(&node->gpus[i]);
    return node->state == KP_NODE_READY ? n : 0;
}

/* Names with numbers in them in the order people expect: node2 before node10. */
static int name_order(const char *a, const char *b)
{
    while (*a && *b) {
        size_t na = strspn(a, "0123456789"), nb = strspn(b, "0123456789");
        if (na && nb) {
            while (na > 1 && *a == '0') a++, na--;
            while (nb > 1 && *b == '0') b++, nb--;
            if (na != nb) return na < nb ? -1 : 1;
            int order = memcmp(a, b, na);
            if (order) return order;
            a += na;
            b += nb;
            continue;
        }
        if (*a != *b) return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        a++;
        b++;
    }
    return *a ? 1 : *b ? -1 : 0;
}

static int by_free_then_name(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    if (a->n_free != b->n_free) return a->n_free > b->n_free ? -1 : 1;
    return name_order(a->node->name, b->node->name);
}

/* "node1 has 3 of 8 GPUs free, node2 is suspect": what stands in the way. */
static void name_the_missing(const kp_nodes *nodes, uint32_t need, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < nodes->n_nodes && at + 80 < size; i++) {
        const kp_node *node = &nodes->nodes[i];
        uint32_t n_free = count_free(node);
        if (node->state == KP_NODE_READY && n_free >= need) continue;
        const char *sep = at ? ", " : "";
        int len = node->state != KP_NODE_READY
                      ? snprintf(text + at, size - at, "%s'%.24s' is %s", sep, node->name,
                                 kp_node_state_names[node->state])
                      : snprintf(text + at, size - at, "%s'%.24s' has %u of %u GPUs free", sep,
                                 node->name, n_free, node->n_gpus);
        at += (size_t)len;
    }
}

static kp_status refuse(const kp_nodes *nodes, uint32_t want_nodes, uint32_t need, uint32_t found,
                        kp_err *err)
{
    char why[200];
    name_the_missing(nodes, need, why, sizeof(why));
    if (!nodes->n_nodes) return kp_fail(err, KP_INFEASIBLE, "the inventory has no nodes");
    if (want_nodes == UINT32_MAX)
        return kp_fail(err, KP_INFEASIBLE, "no node is ready with %u or more free GPUs%s%s", need,
                       why[0] ? ": " : "", why);
    return kp_fail(err, KP_INFEASIBLE,
                   "%u nodes with %u or more free GPUs are asked for, %u of %u are there%s%s",
                   want_nodes, need, found, nodes->n_nodes, why[0] ? ": " : "", why);
}

static kp_status slot_device(const kp_gpu *gpu, const kp_gpu_kinds *table, kp_device *ret,
                             kp_err *err)
{
    bool assumed;
    if (kp_gpu_find(table, gpu->name, &ret->kind, NULL) != KP_OK)
        KP_TRY(kp_gpu_find(table, KP_GPU_DEFAULT, &ret->kind, err));
    ret->gpu = gpu->name;
    ret->total_bytes = gpu->total_bytes;
    uint64_t reserve = gpu->driver_reserved_bytes != UINT64_MAX
                           ? gpu->driver_reserved_bytes
                           : kp_gpu_driver_reserve(ret->kind, gpu->total_bytes, &assumed);
    ret->usable_bytes = kp_min_u64(kp_sub_u64(gpu->total_bytes, reserve), gpu->free_bytes);
    return KP_OK;
}

static kp_line slower(kp_line a, kp_line b)
{
    return (kp_line){a.fixed_s > b.fixed_s ? a.fixed_s : b.fixed_s,
                     a.s_per_byte > b.s_per_byte ? a.s_per_byte : b.s_per_byte};
}

static kp_line line_of(double fixed_s, double bytes_per_s, kp_line otherwise)
{
    if (isnan(bytes_per_s) || bytes_per_s <= 0) return otherwise;
    return (kp_line){isnan(fixed_s) ? otherwise.fixed_s : fixed_s, 1 / bytes_per_s};
}

/* The free GPUs of one node, at most `limit` of them, in index order. */
static kp_status add_slots(const kp_node *node, uint32_t node_index, uint32_t limit,
                           const kp_gpu_kinds *table, kp_cluster *cluster, kp_err *err)
{
    for (uint32_t i = 0; i < node->n_gpus && limit; i++) {
        const kp_gpu *gpu = &node->gpus[i];
        if (!usable(gpu)) continue;
        kp_slot *slot = &cluster->slots[cluster->n_slots++];
        *slot = (kp_slot){node->name, gpu->uuid, node_index, gpu->index, {0}};
        KP_TRY(slot_device(gpu, table, &slot->device, err));
        const kp_gpu_kind *kind = slot->device.kind;
        kp_line intra = line_of(kind->link_fixed_s, kind->link_bytes_per_s, default_intra);
        kp_line inter = line_of(kind->net_fixed_s, kind->net_bytes_per_s, default_inter);
        cluster->intra = slower(cluster->intra, intra);
        cluster->inter = slower(cluster->inter, inter);
        limit--;
    }
    return KP_OK;
}

static int by_index(const void *x, const void *y)
{
    const kp_slot *a = x, *b = y;
    if (a->node_index != b->node_index) return a->node_index < b->node_index ? -1 : 1;
    return a->gpu_index < b->gpu_index ? -1 : a->gpu_index > b->gpu_index;
}

static kp_status fill(const candidate *chosen, uint32_t n, uint32_t limit,
                      const kp_gpu_kinds *table, kp_arena *arena, kp_cluster *cluster, kp_err *err)
{
    size_t n_slots = 0;
    cluster->gpus_per_node = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t take = (uint32_t)kp_min_u64(chosen[i].n_free, limit);
        n_slots += take;
        if (take < cluster->gpus_per_node) cluster->gpus_per_node = take;
    }
    if (n_slots > UINT32_MAX / 2) return kp_fail(err, KP_USAGE, "more than 2^31 GPUs");
    if (!(cluster->slots = KP_NEW(arena, kp_slot, n_slots))) return kp_nomem(err);
    for (uint32_t i = 0; i < n; i++) {
        cluster->simulated |= chosen[i].node->simulated;
        KP_TRY(add_slots(chosen[i].node, i, limit, table, cluster, err));
    }
    qsort(cluster->slots, cluster->n_slots, sizeof(*cluster->slots), by_index);
    return KP_OK;
}

kp_status kp_cluster_make(const kp_nodes *nodes, const kp_gpu_kinds *table, uint32_t want_nodes,
                          uint32_t gpus_per_node, kp_arena *arena, kp_cluster *ret, kp_err *err)
{
    if (!want_nodes) return kp_fail(err, KP_USAGE, "0 nodes are asked for");
    if (!gpus_per_node) return kp_fail(err, KP_USAGE, "0 GPUs a node are asked for");
    candidate *list = KP_NEW(arena, candidate, nodes->n_nodes);
    if (!list) return kp_nomem(err);
    uint32_t need = gpus_per_node == UINT32_MAX ? 1 : gpus_per_node, n = 0;
    for (uint32_t i = 0; i < nodes->n_nodes; i++) {
        uint32_t n_free = count_free(&nodes->nodes[i]);
        if (n_free >= need) list[n++] = (candidate){&nodes->nodes[i], n_free};
    }
    if (!n || (want_nodes != UINT32_MAX && n < want_nodes))
        return refuse(nodes, want_nodes, need, n, err);
    qsort(list, n, sizeof(*list), by_free_then_name);
    if (want_nodes < n) n = want_nodes;
    kp_cluster cluster = {.revision = nodes->revision, .n_nodes = n};
    KP_TRY(fill(list, n, gpus_per_node, table, arena, &cluster, err));
    *ret = cluster;
    return KP_OK;
}
