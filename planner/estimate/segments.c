/* SPDX-License-Identifier: MIT */
#include "planner/estimate/segments.h"
#include <math.h>

/* Tensors that cross the place before each op, inputs of the model left out. */
static void count_crossing(const kp_graph *g, uint32_t *last, uint32_t *crossing)
{
    for (uint32_t i = 0; i < g->n_ops; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in; k++) last[g->ops[i].in[k]] = i;
    int64_t open = 0;
    for (uint32_t i = 0; i < g->n_ops; i++) crossing[i] = 0;
    for (uint32_t t = 0; t < g->n_tensors; t++) {
        uint32_t from = g->tensors[t].op;
        if (g->ops[from].op == KP_OP_INPUT || last[t] <= from) continue;
        crossing[from + 1]++;                                /* a difference array, */
        if (last[t] + 1 < g->n_ops) crossing[last[t] + 1]--; /* summed below */
    }
    for (uint32_t i = 0; i < g->n_ops; i++) {
        open += (int32_t)crossing[i];
        crossing[i] = (uint32_t)open;
    }
}

static bool is_place(const kp_graph *g, const uint32_t *crossing, uint32_t op)
{
    return op > 0 && crossing[op] == 1 && g->ops[op].layer != g->ops[op - 1].layer;
}

static double written(const kp_graph *g, uint32_t op)
{
    double bytes = 0;
    for (uint32_t k = 0; k < g->ops[op].n_out; k++) {
        const kp_tensor *t = &g->tensors[g->ops[op].out[k]];
        bytes += (double)kp_shape_elems(t->shape, 1) * kp_dtype_bytes(t->dtype);
    }
    return bytes;
}

kp_status kp_segments_make(const kp_graph *g, kp_arena *arena, const uint32_t **ret, kp_err *err)
{
    uint32_t *last = KP_NEW(arena, uint32_t, g->n_tensors),
             *crossing = KP_NEW(arena, uint32_t, (size_t)g->n_ops + 1);
    uint32_t *end = KP_NEW(arena, uint32_t, g->n_ops);
    if (!last || !crossing || !end) return kp_nomem(err);
    count_crossing(g, last, crossing);
    double total = 0, since = 0;
    uint32_t places = 0, from = 0;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        total += written(g, i);
        places += is_place(g, crossing, i);
    }
    double each = total / sqrt((double)places + 1);
    for (uint32_t i = 0; i < g->n_ops; i++) {
        if (is_place(g, crossing, i) && since >= each) {
            for (; from < i; from++) end[from] = i;
            since = 0;
        }
        since += written(g, i);
    }
    for (; from < g->n_ops; from++) end[from] = g->n_ops;
    *ret = end;
    return KP_OK;
}
