/* SPDX-License-Identifier: MIT
 *
 * The fleet as others see it: copies, with the leases marked. */
#include "planner/serve/fleet.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const kp_node *)a)->name, ((const kp_node *)b)->name);
}

/* Marks what is leased, in a copy. */
static void mark_leases(const kp_book *book, kp_node *node)
{
    for (uint32_t i = 0; i < node->n_gpus; i++)
        if (node->gpus[i].state != KP_GPU_UNHEALTHY && kp_book_holder(book, node->gpus[i].uuid))
            node->gpus[i].state = KP_GPU_LEASED;
}

kp_status kp_fleet_view(const kp_fleet *fleet, const kp_book *book, kp_arena *arena, kp_nodes *ret,
                        kp_err *err)
{
    kp_node *list = KP_NEW(arena, kp_node, fleet->n);
    if (!list) return kp_nomem(err);
    for (size_t i = 0; i < fleet->n; i++) list[i] = fleet->nodes[i]->node;
    if (fleet->n > 1) qsort(list, fleet->n, sizeof(*list), by_name);
    const kp_nodes shallow = {
        .revision = fleet->revision, .nodes = list, .n_nodes = (uint32_t)fleet->n};
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(&kp_schema_nodes, &shallow, &packed, err);
    if (status == KP_OK)
        status = kp_schema_unpack(&kp_schema_nodes, packed.data, packed.len, arena, ret, err);
    kp_buf_release(&packed);
    KP_TRY(status);
    for (uint32_t i = 0; i < ret->n_nodes; i++) mark_leases(book, &ret->nodes[i]);
    return KP_OK;
}

kp_status kp_fleet_gpus(const kp_nodes *nodes, kp_arena *arena, kp_gpus *ret, kp_err *err)
{
    size_t n = 0;
    for (uint32_t i = 0; i < nodes->n_nodes; i++) n += nodes->nodes[i].n_gpus;
    kp_gpu *gpus = KP_NEW(arena, kp_gpu, n);
    if (!gpus) return kp_nomem(err);
    *ret = (kp_gpus){.revision = nodes->revision, .gpus = gpus};
    for (uint32_t i = 0; i < nodes->n_nodes; i++)
        for (uint32_t k = 0; k < nodes->nodes[i].n_gpus; k++) {
            gpus[ret->n_gpus] = nodes->nodes[i].gpus[k];
            gpus[ret->n_gpus++].node = nodes->nodes[i].name;
        }
    return KP_OK;
}
