/* SPDX-License-Identifier: MIT
 *
 * planner/search/cuts_megatron.c — the cuts that Megatron itself makes.
 *
 * Its layers leave no choice: the first product of attention and of an MLP is divided by column,
 * the second by row, tables of words and the head by the vocabulary, whatever that costs. Routers,
 * the projections down to a latent space and gates stay whole. Source:
 * megatron/core/tensor_parallel. */
#include "planner/search/cuts_megatron.h"
#include "planner/search/layout.h"

/* Products whose weights each rank has all of. */
static bool stays_whole(const char *part)
{
    static const char *const names[] = {"router",
                                        "linear_q_down_proj",
                                        "linear_kv_down_proj",
                                        "shared_experts.gate",
                                        "lm_head.dense",
                                        "pooler",
                                        "binary_head"};
    for (size_t i = 0; i < KP_LEN(names); i++)
        if (!strcmp(part, names[i])) return true;
    return false;
}

typedef struct cutting {
    kp_layouts layouts;
    const kp_graph *graph;
    bool *divided; /* of each tensor */
    bool experts;  /* an expert's products are divided too */
} cutting;

static bool of_experts(const kp_graph *g, const kp_graph_op *op)
{
    return op->n_weights && g->weights[op->weights[0]].expert;
}

static kp_cut product_cut(const cutting *c, const kp_graph_op *op)
{
    if (of_experts(c->graph, op) && !c->experts) return KP_CUT_NONE;
    if (c->divided[op->in[0]]) return KP_CUT_ROW;
    const kp_layer *layer = &c->graph->layers[op->layer];
    return stays_whole(op->part) || stays_whole(layer->name) ? KP_CUT_NONE : KP_CUT_COLUMN;
}

/* Of words, not of positions or kinds of tokens. */
static kp_cut table_cut(const cutting *c, const kp_graph_op *op)
{
    bool whole = c->graph->launch && c->graph->launch->ends_apart;
    bool words = strstr(c->graph->layers[op->layer].name, "word_embeddings") != NULL;
    return words && !whole ? KP_CUT_VOCAB : KP_CUT_NONE;
}

/* What takes divided values divides its own. */
static kp_cut follow(const cutting *c, const kp_graph_op *op)
{
    static const kp_cut cuts[] = {KP_CUT_COLUMN, KP_CUT_HEADS};
    bool any = false;
    for (uint32_t i = 0; i < op->n_in; i++) any |= c->divided[op->in[i]];
    for (size_t i = 0; i < KP_LEN(cuts) && any; i++) {
        const kp_shard_row *row = kp_shard_find(op->op, cuts[i]);
        if (row && row->x == KP_LAYOUT_CHANNEL && kp_layout_allows(&c->layouts, op, row))
            return cuts[i];
    }
    return KP_CUT_NONE;
}

static kp_cut cut_of(const cutting *c, const kp_graph_op *op)
{
    kp_cut cut = op->op == KP_OP_MATMUL && op->n_weights ? product_cut(c, op)
                 : op->op == KP_OP_GATHER                ? table_cut(c, op)
                                                         : follow(c, op);
    const kp_shard_row *row = cut == KP_CUT_NONE ? NULL : kp_shard_find(op->op, cut);
    return row && kp_layout_allows(&c->layouts, op, row) ? cut : KP_CUT_NONE;
}

static bool in_block(const kp_graph *g, uint32_t op)
{
    uint32_t layer = g->ops[op].layer;
    while (g->layers[layer].parent != KP_NO) layer = g->layers[layer].parent;
    return g->layers[layer].is_model;
}

/* Behind the blocks each rank has own samples, from the last sum on: `readers` counts for each
 * tensor the ops that read it, `own` those of them that have own samples. */
static kp_status apart(const kp_graph *g, kp_arena *arena, uint8_t *cuts, kp_err *err)
{
    uint32_t *readers = KP_NEW(arena, uint32_t, g->n_tensors);
    uint32_t *own = KP_NEW(arena, uint32_t, g->n_tensors);
    if (!readers || !own) return kp_nomem(err);
    for (uint32_t i = g->n_ops; i-- > 0;) {
        const kp_graph_op *op = &g->ops[i];
        uint32_t y = op->n_out ? op->out[0] : KP_NO;
        bool alone = y != KP_NO && own[y] == readers[y], end = !in_block(g, i);
        bool sum = op->op == KP_OP_ADD && readers[op->out[0]];
        bool batch =
            alone && op->op != KP_OP_INPUT && (end || sum) && kp_shard_find(op->op, KP_CUT_BATCH);
        if (batch) cuts[i] = KP_CUT_BATCH;
        for (uint32_t k = 0; k < op->n_in; k++) {
            readers[op->in[k]]++;
            own[op->in[k]] += batch;
        }
    }
    return KP_OK;
}

kp_status kp_cuts_megatron(const kp_graph *graph, uint32_t tp, kp_arena *arena, uint8_t *cuts,
                           uint64_t *ret_divided, kp_err *err)
{
    cutting c = {.graph = graph};
    uint32_t etp = graph->launch && graph->launch->etp ? graph->launch->etp : tp;
    c.experts = etp > 1;
    KP_TRY(kp_layouts_make(graph, tp, arena, &c.layouts, err));
    c.divided = KP_NEW(arena, bool, graph->n_tensors);
    if (!c.divided) return kp_nomem(err);
    *ret_divided = 0;
    for (uint32_t i = 0; i < graph->n_ops; i++) {
        const kp_graph_op *op = &graph->ops[i];
        kp_cut cut = op->n_out ? cut_of(&c, op) : KP_CUT_NONE;
        const kp_shard_row *row = cut == KP_CUT_NONE ? NULL : kp_shard_find(op->op, cut);
        cuts[i] = cut;
        for (uint32_t k = 0; k < op->n_out && row; k++)
            c.divided[op->out[k]] = row->y == KP_LAYOUT_CHANNEL;
        for (uint32_t k = 0; k < op->n_weights && row && row->weight_axis != KP_AXIS_WHOLE; k++)
            *ret_divided =
                kp_add_u64(*ret_divided, kp_shape_elems(graph->weights[op->weights[k]].shape, 1));
    }
    return graph->launch && graph->launch->ends_apart ? apart(graph, arena, cuts, err) : KP_OK;
}
