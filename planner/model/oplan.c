/* SPDX-License-Identifier: MIT */
#include "planner/model/oplan.h"

/* How many operations of the plan begin with an op: scores come with their softmax; biases, views
 * and sums go with what is before them. */
static uint32_t begins(const kp_graph *g, const kp_graph_op *op)
{
    switch (op->op) {
    case KP_OP_ATTN_SCORES:
        return 2;
    case KP_OP_LAYERNORM:
    case KP_OP_RMSNORM:
    case KP_OP_MATMUL:
    case KP_OP_ATTN_CONTEXT:
    case KP_OP_ACT:
    case KP_OP_RELU:
        return 1;
    case KP_OP_DROPOUT: { /* the embeddings' own belongs to them */
        const kp_graph_op *before = &g->ops[g->tensors[op->in[0]].op];
        return before->op != KP_OP_ADD && before->op != KP_OP_GATHER;
    }
    default:
        return 0;
    }
}

kp_status kp_oplan_starts(const kp_graph *g, kp_arena *arena, const uint32_t **ret, kp_err *err)
{
    uint32_t n = g->oplan->n_ops, at = 1; /* operation 0: the embeddings, with the inputs */
    uint32_t *starts = KP_NEW(arena, uint32_t, (size_t)n + 1);
    if (!starts) return kp_nomem(err);
    for (uint32_t i = 0; i < g->n_ops; i++)
        for (uint32_t k = begins(g, &g->ops[i]); k-- > 0; at++)
            if (at < n) starts[at] = i;
    if (at != n)
        return kp_fail(err, KP_INPUT,
                       "'num_ops_in_each_stage' counts %u operations, the model has %u", n, at);
    starts[n] = g->n_ops;
    *ret = starts;
    return KP_OK;
}

/* The norm before attention: a run of recomputed operations ends there. */
static bool first_norm(uint32_t operation, uint32_t n)
{
    return operation >= 1 && operation + 2 < n && (operation - 1) % 13 == 0;
}

kp_status kp_oplan_segments(const kp_graph *g, const uint32_t *starts, kp_arena *arena,
                            const uint32_t **ret, kp_err *err)
{
    const kp_oplan *plan = g->oplan;
    uint32_t *segment = KP_NEW(arena, uint32_t, g->n_ops), at = 0;
    if (!segment) return kp_nomem(err);
    for (uint32_t s = 0; s < plan->n_stages; s++) {
        const kp_oplan_stage *stage = &plan->stages[s];
        for (uint32_t i = 0, end; i < stage->n_ops && stage->again; i = end) {
            end = i + 1;
            if (!stage->again[i]) continue;
            while (end < stage->n_ops && stage->again[end] && !first_norm(at + end, plan->n_ops))
                end++;
            for (uint32_t k = starts[at + i]; k < starts[at + end]; k++)
                segment[k] = starts[at + end];
        }
        at += stage->n_ops;
    }
    *ret = segment;
    return KP_OK;
}
