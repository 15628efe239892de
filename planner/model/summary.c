/* SPDX-License-Identifier: MIT
 *
 * The graph as `kplan summary --json` prints it: the tree of layers with shapes and weights. */
#include "planner/model/graph.h"
#include "proto/messages.h"

typedef struct summing {
    const kp_graph *graph;
    kp_arena *arena;
    kp_err *err;
} summing;

/* As Keras prints it: per-sample dimensions are null unless the file fixes the batch. */
static kp_shape printed(const kp_graph *graph, kp_shape shape)
{
    for (unsigned i = 0; i < shape.rank; i++) {
        if (!(shape.per_sample >> i & 1)) continue;
        bool bound = graph->fixed_batch && shape.dim[i] != KP_DIM_OPEN;
        shape.dim[i] = bound ? (int64_t)kp_mul_u64((uint64_t)shape.dim[i], graph->fixed_batch)
                             : KP_DIM_OPEN;
    }
    shape.per_sample = 0;
    return shape;
}

static kp_status shapes_of(const summing *s, const kp_shape *shapes, uint32_t n, kp_shape **ret,
                           uint32_t *ret_n)
{
    kp_shape *out = KP_NEW(s->arena, kp_shape, n);
    if (!out) return kp_nomem(s->err);
    for (uint32_t i = 0; i < n; i++) out[i] = printed(s->graph, shapes[i]);
    *ret = out;
    *ret_n = n;
    return KP_OK;
}

static kp_status tensors_of(const summing *s, const uint32_t *tensors, uint32_t n, kp_shape **ret,
                            uint32_t *ret_n)
{
    kp_shape *shapes = KP_NEW(s->arena, kp_shape, n);
    if (!shapes) return kp_nomem(s->err);
    for (uint32_t i = 0; i < n; i++) shapes[i] = s->graph->tensors[tensors[i]].shape;
    return shapes_of(s, shapes, n, ret, ret_n);
}

static kp_status weights_of(const summing *s, const kp_layer *layer, kp_summary_layer *ret)
{
    ret->weights = KP_NEW(s->arena, kp_summary_weight, layer->n_weights);
    if (!ret->weights) return kp_nomem(s->err);
    for (uint32_t i = 0; i < layer->n_weights; i++) {
        const kp_weight *w = &s->graph->weights[layer->first_weight + i];
        if (w->role == KP_ROLE_STATE) continue;
        ret->weights[ret->n_weights++] = (kp_summary_weight){
            .path = w->path, .shape = w->shape, .dtype = kp_dtype_names[w->dtype],
            .trainable = w->trainable};
        uint64_t elems = kp_shape_elems(w->shape, 1);
        ret->params = kp_add_u64(ret->params, elems);
        if (w->trainable) ret->trainable = kp_add_u64(ret->trainable, elems);
    }
    return KP_OK;
}

static kp_status level(const summing *s, uint32_t first, kp_summary_layer **ret, uint32_t *ret_n);

static kp_status one(const summing *s, uint32_t index, kp_summary_layer *ret)
{
    const kp_layer *layer = &s->graph->layers[index];
    *ret = (kp_summary_layer){.name = layer->name, .class_name = layer->class_name,
                              .compute_dtype = kp_dtype_names[layer->compute_dtype],
                              .variable_dtype = kp_dtype_names[layer->variable_dtype],
                              .forward_flops = layer->forward_flops};
    KP_TRY(shapes_of(s, layer->outputs, layer->n_outputs, &ret->output_shapes,
                     &ret->n_output_shapes));
    KP_TRY(weights_of(s, layer, ret));
    KP_TRY(level(s, layer->first_child, &ret->layers, &ret->n_layers));
    for (uint32_t i = 0; i < ret->n_layers; i++) {
        ret->params = kp_add_u64(ret->params, ret->layers[i].params);
        ret->trainable = kp_add_u64(ret->trainable, ret->layers[i].trainable);
    }
    ret->non_trainable = ret->params - ret->trainable;
    return KP_OK;
}

/* All layers of one level, in the file's order. */
static kp_status level(const summing *s, uint32_t first, kp_summary_layer **ret, uint32_t *ret_n)
{
    uint32_t n = 0;
    for (uint32_t i = first; i != KP_NO; i = s->graph->layers[i].next) n++;
    *ret = KP_NEW(s->arena, kp_summary_layer, n);
    if (!*ret) return kp_nomem(s->err);
    for (uint32_t i = first; i != KP_NO; i = s->graph->layers[i].next)
        KP_TRY(one(s, i, &(*ret)[(*ret_n)++]));
    return KP_OK;
}

static double total_flops(const kp_graph *graph)
{
    double flops = 0;
    for (uint32_t i = 0; i < graph->n_ops; i++) flops += graph->ops[i].forward_flops;
    return flops;
}

kp_status kp_graph_summary(const kp_graph *graph, kp_arena *arena, struct kp_summary *ret,
                           kp_err *err)
{
    summing s = {graph, arena, err};
    *ret = (kp_summary){.model = graph->name, .format = kp_format_names[graph->format],
                        .params = {graph->params, graph->trainable_params,
                                   graph->params - graph->trainable_params},
                        .forward_flops = total_flops(graph)};
    KP_TRY(tensors_of(&s, graph->inputs, graph->n_inputs, &ret->inputs, &ret->n_inputs));
    KP_TRY(tensors_of(&s, graph->outputs, graph->n_outputs, &ret->outputs, &ret->n_outputs));
    KP_TRY(level(&s, graph->first_layer, &ret->layers, &ret->n_layers));
    ret->warnings = KP_NEW(arena, kp_warning, graph->n_warnings);
    if (!ret->warnings) return kp_nomem(err);
    for (uint32_t i = 0; i < graph->n_warnings; i++)
        ret->warnings[ret->n_warnings++] = (kp_warning){.code = graph->warnings[i].code,
            .layer = graph->warnings[i].layer, .message = graph->warnings[i].message};
    return KP_OK;
}
