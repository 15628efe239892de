/* SPDX-License-Identifier: MIT */
#include "planner/search/fill.h"
#include "planner/search/layout.h"

/* What the cuts of a layer's ops make of it. */
typedef struct layer_cut {
    bool listed;
    int main_class; /* of the op that speaks for the layer, see main_class */
    uint64_t main_elems;
    const kp_shard_row *row; /* its row; NULL: whole */
    bool heads;
    bool scores; /* it has what selective recomputation makes again */
    kp_coll forward, backward; /* of all ops of a layer cut by heads */
} layer_cut;

typedef struct cutter {
    const kp_ground *ground;
    const kp_graph *graph;
    const uint8_t *cuts;
    layer_cut *layers; /* of the graph */
    int8_t *axis;      /* of each weight; -1: not divided */
    kp_arena *arena;
} cutter;

/* The main op of a layer is one that is cut before one that is not, then a weighty one, then the
 * one with most weights, then the first. */
static int main_class(const kp_graph_op *op, bool cut)
{
    return 1 + 2 * cut + (kp_op_rows[op->op].kind == KP_KIND_WEIGHTY);
}

static uint64_t weight_elems(const kp_graph *graph, const kp_graph_op *op)
{
    uint64_t elems = 0;
    for (uint32_t i = 0; i < op->n_weights; i++)
        elems = kp_add_u64(elems, kp_shape_elems(graph->weights[op->weights[i]].shape, 1));
    return elems;
}

static void see_op(cutter *c, uint32_t o)
{
    const kp_graph_op *op = &c->graph->ops[o];
    layer_cut *layer = &c->layers[op->layer];
    const kp_shard_row *row =
        c->cuts[o] == KP_CUT_NONE ? NULL : kp_shard_find(op->op, (kp_cut)c->cuts[o]);
    int class = main_class(op, row);
    uint64_t elems = weight_elems(c->graph, op);
    if (class > layer->main_class || (class == layer->main_class && elems > layer->main_elems)) {
        layer->main_class = class;
        layer->main_elems = elems;
        layer->row = row;
    }
    layer->scores = layer->scores || op->op == KP_OP_ATTN_SCORES;
    if (!row) return;
    layer->heads = layer->heads || row->cut == KP_CUT_HEADS;
    if (row->forward == KP_COLL_ALL_REDUCE) layer->forward = row->forward;
    if (row->backward == KP_COLL_ALL_REDUCE) layer->backward = row->backward;
    int axis = kp_layout_axes(c->graph, op, row).w;
    for (uint32_t i = 0; i < op->n_weights; i++) c->axis[op->weights[i]] = (int8_t)axis;
    /* Statistics, which the op keeps beside the weights it reads. */
    const kp_layer *own = &c->graph->layers[op->layer];
    for (uint32_t w = own->first_weight; axis >= 0 && w < own->first_weight + own->n_weights; w++)
        if (c->graph->weights[w].role == KP_ROLE_STAT) c->axis[w] = (int8_t)axis;
}

static kp_status list_weights(const cutter *c, uint32_t layer, kp_plan_cut *cut, kp_err *err)
{
    const kp_layer *l = &c->graph->layers[layer];
    cut->weights = KP_NEW(c->arena, kp_plan_weight_axes, l->n_weights);
    if (!cut->weights) return kp_nomem(err);
    for (uint32_t i = 0; i < l->n_weights; i++) {
        uint32_t w = l->first_weight + i;
        kp_plan_weight_axes *axes = &cut->weights[cut->n_weights++];
        axes->path = c->graph->weights[w].path;
        if (c->axis[w] < 0) continue;
        axes->axes = KP_NEW(c->arena, uint32_t, 1);
        if (!axes->axes) return kp_nomem(err);
        axes->axes[0] = (uint32_t)c->axis[w];
        axes->n_axes = 1;
    }
    return KP_OK;
}

static kp_status fill_layer(const cutter *c, uint32_t layer, kp_plan_cut *cut, kp_err *err)
{
    const layer_cut *l = &c->layers[layer];
    *cut = (kp_plan_cut){.layer = c->graph->layers[layer].path};
    if (l->heads) {
        cut->cut = KP_CUT_HEADS;
        cut->collective_forward = l->forward;
        cut->collective_backward = l->backward;
    } else if (l->row) {
        cut->cut = l->row->cut;
        cut->collective_forward = l->row->forward;
        cut->collective_backward = l->row->backward;
    }
    return list_weights(c, layer, cut, err);
}

/* True if the strategy computes the layer again in the backward pass: all of them, or those with
 * scores of attention. */
static bool recomputes(const cutter *c, uint32_t layer, kp_recompute recompute)
{
    return recompute == KP_RECOMPUTE_FULL ||
           (recompute == KP_RECOMPUTE_SELECTIVE && c->layers[layer].scores);
}

/* Appends the layers whose first call is in the stage. All calls of a layer are in one stage. */
static kp_status list_stage(cutter *c, uint32_t from, uint32_t to, kp_plan *ret,
                            kp_plan_stage *stage, kp_err *err)
{
    stage->recompute = KP_NEW(c->arena, const char *, to - from);
    if (!stage->recompute) return kp_nomem(err);
    for (uint32_t u = from; u < to; u++) {
        uint32_t layer = c->ground->units[u].layer;
        if (c->layers[layer].listed) continue;
        c->layers[layer].listed = true;
        KP_TRY(fill_layer(c, layer, &ret->cuts[ret->n_cuts], err));
        const char *name = ret->cuts[ret->n_cuts++].layer;
        if (stage->layers++ == 0) stage->first_layer = name;
        stage->last_layer = name;
        if (recomputes(c, layer, ret->strategy.recompute))
            stage->recompute[stage->n_recompute++] = name;
    }
    return KP_OK;
}

kp_status kp_fill_cuts(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                       kp_plan *ret, kp_err *err)
{
    const kp_graph *graph = ground->request->graph;
    const kp_strategy *s = &winner->strategy;
    cutter c = {.ground = ground,
                .graph = graph,
                .arena = arena,
                .cuts = kp_ground_base(ground, s->tp, s->micro_batch)->cuts};
    c.layers = KP_NEW(arena, layer_cut, graph->n_layers);
    c.axis = KP_NEW(arena, int8_t, graph->n_weights);
    ret->cuts = KP_NEW(arena, kp_plan_cut, graph->n_layers);
    if (!c.layers || !c.axis || !ret->cuts) return kp_nomem(err);
    memset(c.axis, -1, graph->n_weights);
    for (uint32_t o = 0; o < graph->n_ops; o++) see_op(&c, o);
    ret->n_cuts = 0;
    for (uint32_t i = 0; i < s->pp; i++)
        KP_TRY(
            list_stage(&c, winner->borders[i], winner->borders[i + 1], ret, &ret->stages[i], err));
    return KP_OK;
}
