/* SPDX-License-Identifier: MIT
 *
 * proto/gpus.h — the table of cards, and GPUs that are made up from it.
 *
 * The table is configs/gpus.json, embedded at build; each figure's source stands in its row. Both
 * the planner (a device by name, an invented cluster) and the agent (an invented machine, a name
 * for what NVML reports) read it here. Pure: no I/O; everything lives in the given arena. */
#ifndef KP_PROTO_GPUS_H
#define KP_PROTO_GPUS_H

#include "proto/messages.h"

enum { KP_NODES_MAX = 100000, KP_GPUS_PER_NODE_MAX = 64 };

/* The embedded table. KP_NOMEM; a malformed table is KP_INTERNAL (a test reads it). */
kp_status kp_gpu_table(kp_arena *arena, kp_gpu_kinds *ret, kp_err *err);

/* Finds a kind by key, alias or NVML name; case, and blanks against '-', do not matter. KP_USAGE,
 * with the nearest name as hint. The result points into the table. */
kp_status kp_gpu_find(const kp_gpu_kinds *table, const char *name, const kp_gpu_kind **ret,
                      kp_err *err);

/* What a card's driver keeps for itself: the table's figure, or 1 % of the total (at least
 * 256 MiB) where none is known: *ret_assumed then. */
uint64_t kp_gpu_driver_reserve(const kp_gpu_kind *kind, uint64_t total_bytes, bool *ret_assumed);

/* Reads one group of an invented machine, "8xH100-80G" (GPUs x kind), up to the end of `text`.
 * KP_USAGE: malformed, 0 GPUs or more than KP_GPUS_PER_NODE_MAX, an unknown kind, a kind without a
 * memory size. */
kp_status kp_gpu_spec(const char *text, const kp_gpu_kinds *table, uint32_t *ret_gpus,
                      const kp_gpu_kind **ret_kind, kp_err *err);

/* An invented node of n free GPUs of a kind, simulated, ready. UUIDs derive from the node's name
 * and the index, so the same name gives the same UUIDs everywhere. KP_NOMEM. */
kp_status kp_node_invent(const char *name, uint32_t n_gpus, const kp_gpu_kind *kind,
                         kp_arena *arena, kp_node *ret, kp_err *err);

#endif
