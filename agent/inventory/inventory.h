/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/inventory.h — what one machine has.
 *
 * Three probers stand in one table: NVML (the driver of this machine), a recorded file, an
 * invented machine. All fill a kp_node; the last two say `simulated`. Which one it is follows from
 * the source. A prober stays open, because NVML takes long to start. */
#ifndef KP_AGENT_INVENTORY_INVENTORY_H
#define KP_AGENT_INVENTORY_INVENTORY_H

#include "proto/messages.h"

typedef struct kp_inventory_source {
    const char *node;   /* the node's name */
    const char *invent; /* "8xH100-80G", or NULL */
    const char *file;   /* a recorded inventory, or NULL; both NULL: ask NVML */
} kp_inventory_source;

/* One way of looking. */
typedef struct kp_prober {
    const char *name;
    bool may_hang; /* a driver can stop answering: keep it in a process of its own (watch.h) */
    kp_status (*open)(const kp_inventory_source *source, void **ret_state, kp_err *err);
    /* Fills a node that kp_schema_init made, its name set; all of it lives in `arena`. */
    kp_status (*probe)(void *state, kp_arena *arena, kp_node *ret, kp_err *err);
    void (*close)(void *state); /* NULL is fine */
} kp_prober;

extern const kp_prober kp_prober_nvml, kp_prober_recorded, kp_prober_invented;

typedef struct kp_inventory kp_inventory;

/* Copies the source. KP_USAGE: two sources, a bad --invent, or no driver here (with the hint how to
 * do without); KP_INPUT: a bad file; KP_IO: a driver that does not answer; KP_NOMEM. */
kp_status kp_inventory_open(const kp_inventory_source *source, kp_inventory **ret, kp_err *err);
void kp_inventory_close(kp_inventory *inventory); /* NULL is fine */

/* Looks now. The node is checked (kp_inventory_check), is ready, has no boot epoch yet, and lives
 * in `arena`. A GPU that does not answer is `unhealthy`, not an error. */
kp_status kp_inventory_probe(kp_inventory *inventory, kp_arena *arena, kp_node *ret, kp_err *err);

const kp_prober *kp_inventory_prober(const kp_inventory *inventory);

/* KP_INPUT for a node that no planner could use: a GPU without UUID, two with the same UUID or
 * index, more reserved or free than there is, too many. */
kp_status kp_inventory_check(const kp_node *node, kp_err *err);

/* This machine's memory, processors, kernel and shared memory; what cannot be read is absent. */
void kp_host_probe(kp_arena *arena, kp_host_info *ret);

/* Free memory moves all the time: where it differs from `last` by less than 1/64 of the total,
 * `now` takes the number of `last`, so that only what matters is a change. */
void kp_inventory_settle(const kp_node *last, kp_node *now);

#endif
