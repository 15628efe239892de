/* SPDX-License-Identifier: MIT
 *
 * What must hold of every graph. */
#include "planner/model/graph.h"
#include <assert.h>
#include <math.h>

static void check_ops(const kp_graph *g)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *op = &g->ops[i];
        assert(op->op < KP_OP_COUNT && op->layer < g->n_layers && op->part);
        assert(op->call < g->layers[op->layer].n_calls || op->op == KP_OP_INPUT);
        assert(isnan(op->forward_flops) || op->forward_flops >= 0);
        assert((op->op == KP_OP_INPUT) == (op->n_in == 0));
        for (uint32_t j = 0; j < op->n_in; j++) assert(op->in[j] < made);
        for (uint32_t j = 0; j < op->n_weights; j++) assert(op->weights[j] < g->n_weights);
        assert(op->n_out > 0);
        for (uint32_t j = 0; j < op->n_out; j++, made++) {
            assert(op->out[j] == made); /* written once, in order */
            assert(g->tensors[made].op == i && g->tensors[made].layer == op->layer);
        }
    }
    assert(made == g->n_tensors);
}

static void check_tensors(const kp_graph *g)
{
    uint64_t uses = g->n_outputs, counted = 0;
    for (uint32_t i = 0; i < g->n_ops; i++) uses += g->ops[i].n_in;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const kp_tensor *t = &g->tensors[i];
        counted += t->n_uses;
        assert(t->shape.rank <= KP_RANK_MAX && t->dtype < KP_DTYPE_COUNT);
        assert(!(t->shape.per_sample >> t->shape.rank));
        for (unsigned j = 0; j < t->shape.rank; j++)
            assert(t->shape.dim[j] >= KP_DIM_OPEN && t->shape.dim[j] <= KP_DIM_MAX);
    }
    assert(uses == counted);
}

static void check_layers(const kp_graph *g)
{
    uint32_t owned = 0;
    for (uint32_t i = 0; i < g->n_layers; i++) {
        const kp_layer *l = &g->layers[i];
        assert(l->name && l->path && l->class_name);
        assert(l->parent == KP_NO || l->parent < i);
        for (uint32_t j = 0; j < l->n_weights; j++)
            assert(g->weights[l->first_weight + j].layer == i);
        for (uint32_t at = l->first_child; at != KP_NO; at = g->layers[at].next)
            assert(g->layers[at].parent == i);
        assert(!l->n_calls == !l->n_outputs);
        owned += l->n_weights;
    }
    assert(owned == g->n_weights);
}

static void check_totals(const kp_graph *g)
{
    uint64_t params = 0, trainable = 0;
    for (uint32_t i = 0; i < g->n_weights; i++) {
        assert(kp_shape_known(g->weights[i].shape) && !g->weights[i].shape.per_sample);
        if (g->weights[i].role == KP_ROLE_STATE) continue;
        uint64_t elems = kp_shape_elems(g->weights[i].shape, 1);
        params += elems;
        if (g->weights[i].trainable) trainable += elems;
    }
    assert(params == g->params && trainable == g->trainable_params);
}

void kp_graph_check(const kp_graph *graph)
{
    assert(graph->n_inputs && graph->n_outputs && graph->n_layers);
    assert(graph->first_layer < graph->n_layers);
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        assert(graph->inputs[i] == i); /* INPUT ops first */
        assert(graph->ops[i].op == KP_OP_INPUT);
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) assert(graph->outputs[i] < graph->n_tensors);
    for (uint32_t i = 0; i < graph->n_open; i++)
        assert(graph->tensors[graph->open[i].tensor].shape.dim[graph->open[i].axis] == KP_DIM_OPEN);
    check_ops(graph);
    check_tensors(graph);
    check_layers(graph);
    check_totals(graph);
}
