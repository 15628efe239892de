/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/device.h — what a card and a cluster can do, and where a figure comes from.
 *
 * The table of cards is configs/gpus.json (embedded at build). A cluster is groups of equal nodes,
 * from an invented spec ("4x8xH100-80G+2x4xL40S") or from an inventory (kplan.nodes/1). Pure. */
#ifndef KP_PLANNER_ESTIMATE_DEVICE_H
#define KP_PLANNER_ESTIMATE_DEVICE_H

#include "proto/gpus.h"

#define KP_GPU_DEFAULT                                                                             \
    "T4-16GB" /* without --gpu and --memory; speeds of a card that no row has                      \
               */

typedef struct kp_bounded {
    uint64_t bytes, low, high; /* low <= bytes <= high */
} kp_bounded;

/* One card as the estimate sees it. */
typedef struct kp_device {
    const kp_gpu_kind *kind; /* never NULL: --memory alone takes the default card's speeds */
    const char *gpu;         /* name as shown; NULL for --memory alone */
    uint64_t total_bytes, usable_bytes; /* usable = total - driver reserve (x 0.75 preallocate) */
} kp_device;

/* The card that the options name (none: KP_GPU_DEFAULT). --memory alone keeps 1 % for the driver.
 * KP_USAGE: unknown name, a kind without a memory size and no --memory, a size of 0. */
kp_status kp_device_resolve(const kp_gpu_kinds *table, const kp_options *options, kp_arena *arena,
                            kp_device *ret, kp_err *err);

/* GPUs to place on, in the order ranks are given: node by node, index by index. */
typedef struct kp_slot {
    const char *node, *uuid;
    uint32_t node_index, gpu_index;
    kp_device device;
} kp_slot;

typedef struct kp_cluster {
    uint64_t revision;
    bool simulated;
    kp_slot *slots;
    uint32_t n_slots, n_nodes, gpus_per_node; /* gpus_per_node: of the smallest node */
    kp_line intra, inter; /* seconds for wire bytes: inside a node, between nodes, of the slowest
                             GPU; inter.fixed_s is of one hop */
} kp_cluster;

/* A spec or a kplan.nodes/1 inventory to a kp_nodes, and that to a cluster of the free, ready
 * GPUs, reduced to `nodes` nodes of `gpus_per_node` GPUs (UINT32_MAX: all). Nodes are taken by
 * name, those with most free GPUs first. KP_USAGE for a bad spec; KP_INFEASIBLE when there are not
 * that many (says how many there are and what holds the others). UUIDs of invented GPUs derive
 * from node name and index. */
kp_status kp_nodes_invent(const char *spec, const kp_gpu_kinds *table, kp_arena *arena,
                          kp_nodes *ret, kp_err *err);
kp_status kp_cluster_make(const kp_nodes *nodes, const kp_gpu_kinds *table, uint32_t want_nodes,
                          uint32_t gpus_per_node, kp_arena *arena, kp_cluster *ret, kp_err *err);

#endif
