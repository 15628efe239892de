/* SPDX-License-Identifier: MIT
 *
 * planner/search/layout.h — which ops may be cut how, and on which axis their tensors divide.
 *
 * The table of cuts says what a cut means; here stands whether the shapes of one op allow it.
 * Internal to the room. Pure. */
#ifndef KP_PLANNER_SEARCH_LAYOUT_H
#define KP_PLANNER_SEARCH_LAYOUT_H

#include "planner/model/graph.h"
#include "proto/shard.h"

typedef struct kp_layouts {
    const kp_graph *graph;
    uint32_t tp;
    int8_t *axis;         /* a tensor's axis that is divided if it is; -1: it stays whole, as all do
                             that one of their readers cannot take divided */
    uint32_t *last_use;   /* last op that reads the tensor; KP_NO: none */
} kp_layouts;

kp_status kp_layouts_make(const kp_graph *graph, uint32_t tp, kp_arena *arena, kp_layouts *ret,
                          kp_err *err);

/* True if the op's shapes allow the row (its inputs being as the row wants them). */
bool kp_layout_allows(const kp_layouts *layouts, const kp_graph_op *op, const kp_shard_row *row);

/* True if the row wants input i divided. Inputs that are broadcast along the divided axis, and
 * masks, come whole. */
bool kp_layout_divides_input(const kp_layouts *layouts, const kp_graph_op *op,
                             const kp_shard_row *row, uint32_t i);

/* The length that the row cuts: of the largest slice follows the share of the busiest rank. */
uint64_t kp_layout_cut_size(const kp_layouts *layouts, const kp_graph_op *op,
                            const kp_shard_row *row);

/* The axes that kp_shard_axes_of gives for an op of the graph. */
kp_shard_axes kp_layout_axes(const kp_graph *graph, const kp_graph_op *op, const kp_shard_row *row);

#endif
