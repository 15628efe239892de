/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/units.c — the chain of a graph: what no stage border may divide. */
#include "planner/estimate/cost.h"

kp_status kp_units_make(const kp_graph *graph, kp_arena *arena, const kp_unit **ret,
                        uint32_t *ret_n, kp_err *err)
{
    kp_unit *units = KP_NEW(arena, kp_unit, graph->n_ops);
    if (!units) return kp_nomem(err);
    uint32_t n = 0, first = 0;
    while (first < graph->n_ops && graph->ops[first].op == KP_OP_INPUT) first++;
    for (uint32_t i = first; i < graph->n_ops; i++) {
        const kp_graph_op *op = &graph->ops[i], *before = i > first ? op - 1 : NULL;
        bool same = before && before->layer == op->layer && before->call == op->call;
        if (!same) units[n++] = (kp_unit){i, i, op->layer};
        units[n - 1].end_op = i + 1;
    }
    if (n) units[0].first_op = 0;
    *ret = units;
    *ret_n = n;
    return KP_OK;
}
