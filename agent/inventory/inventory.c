/* SPDX-License-Identifier: MIT */
#include "agent/inventory/inventory.h"
#include "proto/gpus.h"

struct kp_inventory {
    const kp_prober *prober;
    void *state;
    kp_arena arena; /* the source's strings */
    const char *node;
};

static const kp_prober *pick(const kp_inventory_source *source)
{
    if (source->invent) return &kp_prober_invented;
    return source->file ? &kp_prober_recorded : &kp_prober_nvml;
}

kp_status kp_inventory_open(const kp_inventory_source *source, kp_inventory **ret, kp_err *err)
{
    if (source->invent && source->file)
        return kp_fail(err, KP_USAGE, "'--invent' and '--inventory' exclude each other");
    const kp_prober *prober = pick(source);
    kp_inventory *inventory = calloc(1, sizeof(*inventory));
    if (!inventory) return kp_nomem(err);
    inventory->prober = prober;
    kp_arena_init(&inventory->arena, (size_t)1 << 20);
    inventory->node = kp_arena_str(&inventory->arena, source->node);
    kp_status status =
        inventory->node ? prober->open(source, &inventory->state, err) : kp_nomem(err);
    if (status != KP_OK) {
        kp_inventory_close(inventory);
        return status;
    }
    *ret = inventory;
    return KP_OK;
}

void kp_inventory_close(kp_inventory *inventory)
{
    if (!inventory) return;
    inventory->prober->close(inventory->state);
    kp_arena_release(&inventory->arena);
    free(inventory);
}

const kp_prober *kp_inventory_prober(const kp_inventory *inventory)
{
    return inventory->prober;
}

kp_status kp_inventory_probe(kp_inventory *inventory, kp_arena *arena, kp_node *ret, kp_err *err)
{
    kp_node node;
    kp_schema_init(&kp_schema_node, &node);
    if (!(node.name = kp_arena_str(arena, inventory->node))) return kp_nomem(err);
    KP_TRY(inventory->prober->probe(inventory->state, arena, &node, err));
    node.state = KP_NODE_READY;
    KP_TRY(kp_inventory_check(&node, err));
    *ret = node;
    return KP_OK;
}

static kp_status check_gpu(const kp_gpu *gpu, kp_err *err)
{
    const uint64_t total = gpu->total_bytes;
    if (!gpu->uuid || !*gpu->uuid || strlen(gpu->uuid) > 96)
        return kp_fail(err, KP_INPUT, "it has no usable UUID");
    if (!gpu->name || !*gpu->name) return kp_fail(err, KP_INPUT, "it has no name");
    if (gpu->driver_reserved_bytes > total || gpu->free_bytes > total)
        return kp_fail(err, KP_INPUT, "%s reserved and %s free are more than its %s",
                       kp_size_text(gpu->driver_reserved_bytes).s, kp_size_text(gpu->free_bytes).s,
                       kp_size_text(total).s);
    if (!total && gpu->state != KP_GPU_UNHEALTHY) return kp_fail(err, KP_INPUT, "it has no memory");
    return KP_OK;
}

kp_status kp_inventory_check(const kp_node *node, kp_err *err)
{
    if (node->n_gpus > KP_GPUS_PER_NODE_MAX)
        return kp_fail(err, KP_INPUT, "%u GPUs in one node, at most %d are believed", node->n_gpus,
                       KP_GPUS_PER_NODE_MAX);
    for (uint32_t i = 0; i < node->n_gpus; i++) {
        const kp_gpu *gpu = &node->gpus[i];
        kp_status status = check_gpu(gpu, err);
        for (uint32_t j = 0; j < i && status == KP_OK; j++) {
            if (!strcmp(node->gpus[j].uuid, gpu->uuid))
                status = kp_fail(err, KP_INPUT, "its UUID '%s' is gpus[%u]'s too", gpu->uuid, j);
            else if (node->gpus[j].index == gpu->index)
                status = kp_fail(err, KP_INPUT, "its index %u is gpus[%u]'s too", gpu->index, j);
        }
        if (status == KP_OK) continue;
        kp_err_at(err, "gpus[%u]", i);
        return status;
    }
    return KP_OK;
}

static uint64_t settle(uint64_t last, uint64_t now, uint64_t total)
{
    uint64_t apart = now > last ? now - last : last - now;
    return apart < total / 64 ? last : now;
}

void kp_inventory_settle(const kp_node *last, kp_node *now)
{
    if (last->host.memory_total_bytes == now->host.memory_total_bytes)
        now->host.memory_free_bytes =
            settle(last->host.memory_free_bytes, now->host.memory_free_bytes,
                   now->host.memory_total_bytes);
    for (uint32_t i = 0; i < now->n_gpus && i < last->n_gpus; i++) {
        kp_gpu *gpu = &now->gpus[i];
        const kp_gpu *old = &last->gpus[i];
        if (!strcmp(gpu->uuid, old->uuid) && gpu->total_bytes == old->total_bytes)
            gpu->free_bytes = settle(old->free_bytes, gpu->free_bytes, gpu->total_bytes);
    }
}
