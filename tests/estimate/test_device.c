/* SPDX-License-Identifier: MIT */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>
#include <math.h>

#define GIB ((uint64_t)1 << 30)

Test(device, every_row_of_the_table)
{
    fixture f;
    fixture_init(&f);
    cr_expect_geq(f.gpus.n_gpus, 50);
    for (uint32_t i = 0; i < f.gpus.n_gpus; i++) {
        const kp_gpu_kind *k = &f.gpus.gpus[i], *found = NULL;
        cr_expect(k->source && k->memory_bytes_per_s > 1e11, "%s", k->key);
        cr_expect(k->fp32_flops_per_s > 1e12 || k->bf16_flops_per_s > 1e12, "%s", k->key);
        if (k->driver_reserved_bytes != UINT64_MAX)
            cr_expect(k->driver_reserved_bytes * 40 < k->total_bytes, "%s reserves too much",
                      k->key);
        cr_expect(kp_gpu_find(&f.gpus, k->key, &found, NULL) == KP_OK && found == k, "%s", k->key);
        for (uint32_t a = 0; a < k->n_aliases; a++) {
            kp_status status = kp_gpu_find(&f.gpus, k->aliases[a], &found, NULL);
            cr_expect(status == KP_OK && found == k, "'%s' is not only %s", k->aliases[a], k->key);
        }
        if (k->nvml_name)
            cr_expect(kp_gpu_find(&f.gpus, k->nvml_name, &found, NULL) == KP_OK && found == k, "%s",
                      k->nvml_name);
    }
    fixture_free(&f);
}

Test(device, names)
{
    static const struct {
        const char *name, *key, *hint;
    } rows[] = {
        {"H100-80G", "H100-SXM5-80GB", NULL},
        {"h100-80g", "H100-SXM5-80GB", NULL},
        {"NVIDIA H100 80GB HBM3", "H100-SXM5-80GB", NULL},
        {"A100-80G", "A100-SXM4-80GB", NULL},
        {"A100-40G", "A100-SXM4-40GB", NULL},
        {"L40S", "L40S-48GB", NULL},
        {"T4", "T4-16GB", NULL},
        {"H100-80H", NULL, "did you mean 'H100-80G'?"},
        {"", NULL, NULL},
        {"potato", NULL, "known are H100-80G"},
    };
    fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        const kp_gpu_kind *kind = NULL;
        kp_status status = kp_gpu_find(&f.gpus, rows[i].name, &kind, &err);
        cr_expect_eq(status, rows[i].key ? KP_OK : KP_USAGE, "row %zu", i);
        if (rows[i].key && kind) cr_expect_str_eq(kind->key, rows[i].key, "row %zu", i);
        if (rows[i].hint)
            cr_expect(!strncmp(err.hint, rows[i].hint, strlen(rows[i].hint)), "row %zu: %s", i,
                      err.hint);
    }
    fixture_free(&f);
}

Test(device, resolve)
{
    static const struct {
        const char *gpu;
        uint64_t memory;
        bool preallocate;
        kp_status want;
        uint64_t total, usable;
        const char *name;
    } rows[] = {
        {NULL, UINT64_MAX, false, KP_OK, 16106127360, 16106127360 - 279969792, "T4-16GB"},
        {"H100-80G", UINT64_MAX, false, KP_OK, 85520809984, 84932558848, "H100-SXM5-80GB"},
        {"H100-80G", UINT64_MAX, true, KP_OK, 85520809984, 64140607488, "H100-SXM5-80GB"},
        {NULL, 16 * GIB, false, KP_OK, 16 * GIB, 16 * GIB - 16 * GIB / 100, NULL},
        {"MI300X", UINT64_MAX, false, KP_USAGE, 0, 0, NULL},
        {"MI300X", 192 * GIB, false, KP_OK, 192 * GIB, 192 * GIB - 192 * GIB / 100, "MI300X-192GB"},
        {"potato", UINT64_MAX, false, KP_USAGE, 0, 0, NULL},
        {NULL, 0, false, KP_USAGE, 0, 0, NULL},
    };
    fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        kp_device d = {0};
        f.options.gpu = rows[i].gpu;
        f.options.memory_bytes = rows[i].memory;
        f.options.preallocate = rows[i].preallocate;
        cr_expect_eq(kp_device_resolve(&f.gpus, &f.options, &f.arena, &d, &err), rows[i].want,
                     "row %zu: %s", i, err.msg);
        if (rows[i].want != KP_OK) continue;
        cr_expect_eq(d.total_bytes, rows[i].total, "row %zu: total %llu", i,
                     (unsigned long long)d.total_bytes);
        cr_expect_eq(d.usable_bytes, rows[i].usable, "row %zu: usable %llu", i,
                     (unsigned long long)d.usable_bytes);
        cr_expect((!d.gpu && !rows[i].name) ||
                      (d.gpu && rows[i].name && !strcmp(d.gpu, rows[i].name)),
                  "row %zu", i);
    }
    fixture_free(&f);
}

Test(device, invented_clusters)
{
    static const struct {
        const char *spec;
        kp_status want;
        uint32_t nodes, gpus;
    } rows[] = {
        {"4x8xH100-80G", KP_OK, 4, 32},
        {"1x1xT4", KP_OK, 1, 1},
        {"2x8xA100-80G+4x4xL40S", KP_OK, 6, 32},
        {"0x8xH100-80G", KP_USAGE, 0, 0},
        {"4x0xH100-80G", KP_USAGE, 0, 0},
        {"4x65xH100-80G", KP_USAGE, 0, 0},
        {"100001x1xH100-80G", KP_USAGE, 0, 0},
        {"60000x1xT4+60000x1xT4", KP_USAGE, 0, 0},
        {"4x8", KP_USAGE, 0, 0},
        {"4x8x", KP_USAGE, 0, 0},
        {"x8xT4", KP_USAGE, 0, 0},
        {"4x8xT4+", KP_USAGE, 0, 0},
        {"+4x8xT4", KP_USAGE, 0, 0},
        {"4x8xMI300X", KP_USAGE, 0, 0},
        {"99999999999999999999x8xT4", KP_USAGE, 0, 0},
        {"-1x8xT4", KP_USAGE, 0, 0},
        {"", KP_USAGE, 0, 0},
    };
    fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        kp_nodes nodes = {0};
        uint32_t gpus = 0;
        cr_expect_eq(kp_nodes_invent(rows[i].spec, &f.gpus, &f.arena, &nodes, &err), rows[i].want,
                     "row %zu: %s", i, err.msg);
        if (rows[i].want != KP_OK) cr_expect(err.msg[0] != 0, "row %zu says nothing", i);
        for (uint32_t n = 0; n < nodes.n_nodes; n++) gpus += nodes.nodes[n].n_gpus;
        cr_expect(nodes.n_nodes == rows[i].nodes && gpus == rows[i].gpus,
                  "row %zu: %u nodes, %u GPUs", i, nodes.n_nodes, gpus);
    }
    fixture_free(&f);
}

static bool twice(const kp_nodes *nodes)
{
    for (uint32_t a = 0; a < nodes->n_nodes * 8; a++)
        for (uint32_t b = 0; b < a; b++)
            if (!strcmp(nodes->nodes[a / 8].gpus[a % 8].uuid, nodes->nodes[b / 8].gpus[b % 8].uuid))
                return true;
    return false;
}

Test(device, uuids_derive_from_node_and_index)
{
    fixture f;
    kp_err err = {0};
    kp_nodes nodes;
    kp_node again;
    const kp_gpu_kind *kind;
    fixture_init(&f);
    cr_assert_eq(kp_nodes_invent("4x8xH100-80G", &f.gpus, &f.arena, &nodes, &err), KP_OK);
    cr_assert_eq(kp_gpu_find(&f.gpus, "T4", &kind, &err), KP_OK);
    cr_assert_eq(kp_node_invent("node3", 8, kind, &f.arena, &again, &err), KP_OK);
    cr_expect_str_eq(nodes.nodes[3].gpus[5].uuid, again.gpus[5].uuid);
    cr_expect_eq(strlen(again.gpus[5].uuid), 40, "%s", again.gpus[5].uuid);
    cr_expect(!strncmp(again.gpus[5].uuid, "GPU-", 4));
    cr_expect(!twice(&nodes), "two GPUs have one UUID");
    cr_expect(nodes.nodes[0].simulated && nodes.nodes[0].state == KP_NODE_READY);
    fixture_free(&f);
}

/* node10 after node2; leased, suspect and busy ones out; those with most free GPUs first. */
Test(device, cluster_of_free_gpus)
{
    static const struct {
        uint32_t nodes, gpus;
        kp_status want;
        uint32_t slots, got_nodes;
        const char *first, *says;
    } rows[] = {
        {UINT32_MAX, UINT32_MAX, KP_OK, 27, 4, "node1", NULL},
        {1, UINT32_MAX, KP_OK, 8, 1, "node1", NULL},
        {2, 8, KP_OK, 16, 2, "node1", NULL},
        {3, 8, KP_INFEASIBLE, 0, 0, NULL,
         "3 nodes with 8 or more free GPUs are asked for, 2 of 5 are there: 'node2' has 5 of 8 "
         "GPUs free"},
        {4, 4, KP_OK, 16, 4, "node1", NULL},
        {UINT32_MAX, 9, KP_INFEASIBLE, 0, 0, NULL, "no node is ready with 9 or more free GPUs"},
        {0, 8, KP_USAGE, 0, 0, NULL, "0 nodes"},
        {2, 0, KP_USAGE, 0, 0, NULL, "0 GPUs"},
    };
    fixture f;
    kp_err err = {0};
    kp_nodes nodes;
    fixture_init(&f);
    cr_assert_eq(kp_nodes_invent("5x8xH100-80G", &f.gpus, &f.arena, &nodes, &err), KP_OK);
    nodes.nodes[0].name = "node10";
    nodes.nodes[4].state = KP_NODE_SUSPECT;
    for (uint32_t i = 0; i < 3; i++) nodes.nodes[2].gpus[i].state = KP_GPU_LEASED;
    nodes.nodes[3].gpus[7].state = KP_GPU_BUSY;
    nodes.nodes[3].gpus[6].state = KP_GPU_UNHEALTHY;
    nodes.nodes[0].gpus[0].free_bytes = 1 * GIB;
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_cluster c = {0};
        err = (kp_err){0};
        cr_expect_eq(
            kp_cluster_make(&nodes, &f.gpus, rows[i].nodes, rows[i].gpus, &f.arena, &c, &err),
            rows[i].want, "row %zu: %s", i, err.msg);
        cr_expect(c.n_slots == rows[i].slots && c.n_nodes == rows[i].got_nodes,
                  "row %zu: %u slots, %u nodes", i, c.n_slots, c.n_nodes);
        if (rows[i].first && c.n_slots)
            cr_expect_str_eq(c.slots[0].node, rows[i].first, "row %zu", i);
        if (rows[i].says)
            cr_expect(!strncmp(err.msg, rows[i].says, strlen(rows[i].says)), "row %zu: %s", i,
                      err.msg);
        for (uint32_t s = 0; s < c.n_slots; s++)
            if (!strcmp(c.slots[s].node, "node10") && c.slots[s].gpu_index == 0)
                cr_expect_eq(c.slots[s].device.usable_bytes, 1 * GIB,
                             "what others use is not usable");
    }
    fixture_free(&f);
}
