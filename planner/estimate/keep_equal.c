/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_equal.c — equal steps on equal values are one: compilers and TensorFlow's
 * graph optimiser run them once. */
#include "planner/estimate/keep.h"

enum { TRIES_MAX = 64 }; /* readers of one value that are compared */

bool kp_equals_init(kp_equals *equals, const kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    equals->head = KP_NEW(keep->arena, uint32_t, g->n_tensors);
    equals->next = KP_NEW(keep->arena, uint32_t, g->n_ops);
    if (!equals->head || !equals->next) return false;
    for (uint32_t t = 0; t < g->n_tensors; t++) equals->head[t] = KP_NO;
    return true;
}

static bool same_step(const kp_keep *keep, const kp_graph_op *a, const kp_graph_op *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != 1 || b->n_out != 1) return false;
    if (a->n_weights || b->n_weights || memcmp(&a->attr, &b->attr, sizeof(a->attr))) return false;
    for (uint32_t k = 0; k < a->n_in; k++)
        if (keep->root[a->in[k]] != keep->root[b->in[k]]) return false;
    return kp_shape_equal(keep->graph->tensors[a->out[0]].shape,
                          keep->graph->tensors[b->out[0]].shape);
}

static bool can_be_one(const kp_graph_op *op)
{
    kp_op_kind kind = kp_op_rows[op->op].kind;
    bool random = op->op == KP_OP_DROPOUT || op->op == KP_OP_OPAQUE;
    return op->n_in && !random && kind != KP_KIND_WEIGHTY && kind != KP_KIND_INPUT &&
           kind != KP_KIND_LOOP;
}

uint32_t kp_equals_find(kp_equals *equals, const kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!can_be_one(o)) return KP_NO;
    uint32_t x = keep->root[o->in[0]], tries = 0;
    for (uint32_t r = equals->head[x]; r != KP_NO && tries < TRIES_MAX;
         r = equals->next[r], tries++)
        if (same_step(keep, o, &keep->graph->ops[r])) return keep->root[keep->graph->ops[r].out[0]];
    equals->next[op] = equals->head[x];
    equals->head[x] = op;
    return KP_NO;
}
