/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/invented.c — a machine that does not exist: "8xH100-80G" from the table of cards.
 */
#include "agent/inventory/inventory.h"
#include "proto/gpus.h"

typedef struct invented {
    kp_arena arena; /* the table that `kind` points into */
    const kp_gpu_kind *kind;
    uint32_t n_gpus;
} invented;

static void invented_close(void *state)
{
    invented *made = state;
    if (made) kp_arena_release(&made->arena);
    free(made);
}

static kp_status invented_open(const kp_inventory_source *source, void **ret_state, kp_err *err)
{
    invented *made = calloc(1, sizeof(*made));
    if (!made) return kp_nomem(err);
    kp_arena_init(&made->arena, 0);
    kp_gpu_kinds table;
    kp_status status = kp_gpu_table(&made->arena, &table, err);
    if (status == KP_OK) {
        status = kp_gpu_spec(source->invent, &table, &made->n_gpus, &made->kind, err);
        if (status != KP_OK) kp_err_at(err, "--invent");
    }
    if (status != KP_OK) {
        invented_close(made);
        return status;
    }
    *ret_state = made;
    return KP_OK;
}

/* The node's strings are copied out of the table, which goes when this prober is closed. */
static kp_status invented_probe(void *state, kp_arena *arena, kp_node *ret, kp_err *err)
{
    const invented *made = state;
    kp_gpu_kind kind = *made->kind;
    kind.key = kp_arena_str(arena, kind.key);
    if (kind.compute_capability)
        kind.compute_capability = kp_arena_str(arena, kind.compute_capability);
    if (!kind.key || (made->kind->compute_capability && !kind.compute_capability))
        return kp_nomem(err);
    return kp_node_invent(ret->name, made->n_gpus, &kind, arena, ret, err);
}

const kp_prober kp_prober_invented = {"invented", false, invented_open, invented_probe,
                                      invented_close};
