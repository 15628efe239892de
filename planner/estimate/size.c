/* SPDX-License-Identifier: MIT */
#include "planner/estimate/size.h"

const kp_shard_row *kp_sizes_row(const kp_sizes *sizes, uint32_t op)
{
    if (!sizes->cuts || sizes->tp < 2 || sizes->cuts[op] == KP_CUT_NONE) return NULL;
    return kp_shard_find(sizes->graph->ops[op].op, (kp_cut)sizes->cuts[op]);
}

/* Which axes a row divides (proto/shard.h): the one place that says it, for us and the verifier. */
static kp_shard_axes axes_of(const kp_graph *g, const kp_graph_op *op, const kp_shard_row *row,
                             uint32_t weight)
{
    kp_shape none = {0}, x = op->n_in ? g->tensors[op->in[0]].shape : none;
    kp_shape w = weight == KP_NO ? none : g->weights[weight].shape;
    return kp_shard_axes_of(row, x, w, g->tensors[op->out[0]].shape, op->attr.channels_first,
                            op->attr.transposed_w);
}

static void set_axes(const kp_graph *g, const kp_sizes *sizes, uint8_t *axes)
{
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *op = &g->ops[i];
        const kp_shard_row *row = kp_sizes_row(sizes, i);
        if (!row || !op->n_out) continue;
        for (uint32_t k = 0; k < op->n_weights; k++) {
            uint32_t w = op->weights[k];
            int axis = axes_of(g, op, row, w).w;
            if (axis >= 0 && axis < g->weights[w].shape.rank) axes[w] = (uint8_t)(axis + 1);
        }
        /* Statistics that no op lists go with the layer's scale. */
        const kp_layer *layer = &g->layers[op->layer];
        if (op->op != KP_OP_BATCHNORM || row->weight_axis == KP_AXIS_WHOLE) continue;
        for (uint32_t w = layer->first_weight; w < layer->first_weight + layer->n_weights; w++)
            if (g->weights[w].shape.rank == 1) axes[w] = 1;
    }
}

/* ---- tensors ---- */

static kp_shape bound(const kp_sizes *sizes, kp_shape shape)
{
    for (unsigned i = 0; i < shape.rank; i++) {
        if (!(shape.per_sample >> i & 1)) continue;
        uint64_t dim = kp_mul_u64((uint64_t)shape.dim[i], sizes->micro_batch);
        shape.dim[i] = dim > INT64_MAX ? INT64_MAX : (int64_t)dim;
    }
    shape.per_sample = 0;
    return shape;
}

/* Ranks that divide a tensor's or a weight's channels. */
static uint32_t channel_ranks(const kp_sizes *sizes, bool expert)
{
    return expert && sizes->launch.ep * sizes->launch.etp > 1 ? sizes->launch.etp : sizes->tp;
}

static void divide(kp_shape *shape, int axis, uint32_t ranks)
{
    if (ranks > 1) shape->dim[axis] = (int64_t)kp_ceil_div((uint64_t)shape->dim[axis], ranks);
}

/* Context and sequence parallelism: axis 1 of (B, T, ...), axis 2 of scores (B, H, T, S). */
static void divide_sequence(const kp_sizes *sizes, uint32_t tensor, bool channels, kp_shape *shape)
{
    const kp_launch *l = &sizes->launch;
    const kp_tensor *t = &sizes->graph->tensors[tensor];
    int axis = t->shape.rank == 4 && t->shape.dim[1] != sizes->seq ? 2 : 1;
    if (!sizes->seq || !(t->shape.per_sample & 1) || t->shape.rank <= axis ||
        t->shape.dim[axis] != sizes->seq)
        return;
    divide(shape, axis, l->cp);
    bool whole = !channels && t->shape.rank > 2, routed = sizes->routed && sizes->routed[tensor];
    if (routed && l->sequence) divide(shape, axis, sizes->tp / channel_ranks(sizes, true));
    if (!routed && whole && l->sequence) divide(shape, axis, sizes->tp);
}

static kp_shape divided(const kp_sizes *sizes, uint32_t tensor, bool local)
{
    const kp_tensor *t = &sizes->graph->tensors[tensor];
    kp_shape shape = bound(sizes, t->shape);
    const kp_shard_row *row = kp_sizes_row(sizes, t->op);
    bool channels = row && (local ? row->y_local : row->y) == KP_LAYOUT_CHANNEL && shape.rank;
    divide_sequence(sizes, tensor, channels, &shape);
    if (row && row->y == KP_LAYOUT_BATCH && (t->shape.per_sample & 1)) divide(&shape, 0, sizes->tp);
    if (!channels) return shape;
    kp_shard_row as = *row;
    as.y = KP_LAYOUT_CHANNEL; /* where it is divided before its collective */
    const kp_graph_op *op = &sizes->graph->ops[t->op];
    int axis = axes_of(sizes->graph, op, &as, op->n_weights ? op->weights[0] : KP_NO).y;
    if (axis < 0 || axis >= shape.rank) return shape;
    divide(&shape, axis, channel_ranks(sizes, sizes->routed && sizes->routed[tensor]));
    return shape;
}

/* ---- weights ---- */

static kp_shape divided_weight(const kp_sizes *sizes, uint32_t weight)
{
    kp_shape shape = sizes->graph->weights[weight].shape;
    unsigned axis = sizes->weight_axis ? sizes->weight_axis[weight] : 0;
    bool expert = sizes->graph->weights[weight].expert;
    if (axis) divide(&shape, (int)axis - 1, channel_ranks(sizes, expert));
    if (expert) divide(&shape, 0, sizes->launch.ep);
    return shape;
}

/* What is dispatched to experts, until it comes back. */
static void find_routed(const kp_graph *g, bool *routed)
{
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *op = &g->ops[i];
        bool at = !strcmp(op->part, "dispatch");
        for (uint32_t k = 0; k < op->n_in && !at; k++) at = routed[op->in[k]];
        for (uint32_t k = 0; k < op->n_out; k++) routed[op->out[k]] = at && op->op != KP_OP_REDUCE;
    }
}

/* ---- all of them ---- */

static int64_t sequence(const kp_graph *g)
{
    const kp_tensor *x = g->n_inputs ? &g->tensors[g->inputs[0]] : NULL;
    return x && x->shape.rank == 2 && !kp_dtype_is_float(x->dtype) ? x->shape.dim[1] : 0;
}

kp_status kp_sizes_make(const kp_graph *graph, const kp_training *training, const kp_part *part,
                        kp_arena *arena, kp_sizes *ret, kp_err *err)
{
    kp_sizes sizes = {.graph = graph,
                      .launch = training->launch,
                      .micro_batch = part->strategy.micro_batch,
                      .tp = part->strategy.tp,
                      .cuts = part->cuts};
    kp_shape *tensors = KP_NEW(arena, kp_shape, graph->n_tensors);
    kp_shape *weights = KP_NEW(arena, kp_shape, graph->n_weights);
    if (!tensors || !weights) return kp_nomem(err);
    if (training->framework == KP_FW_MEGATRON) {
        bool *routed = KP_NEW(arena, bool, graph->n_tensors);
        if (!routed) return kp_nomem(err);
        find_routed(graph, routed);
        sizes.routed = routed;
    }
    if (training->framework == KP_FW_MEGATRON || training->launch.titan)
        sizes.seq = sequence(graph);
    if (sizes.tp > 1 && sizes.cuts) {
        uint8_t *axes = KP_NEW(arena, uint8_t, graph->n_weights);
        if (!axes) return kp_nomem(err);
        set_axes(graph, &sizes, axes);
        sizes.weight_axis = axes;
    }
    for (uint32_t i = 0; i < graph->n_tensors; i++) tensors[i] = divided(&sizes, i, false);
    for (uint32_t i = 0; i < graph->n_weights; i++) weights[i] = divided_weight(&sizes, i);
    sizes.tensors = tensors;
    sizes.weights = weights;
    *ret = sizes;
    return KP_OK;
}

uint64_t kp_sizes_tensor_elems(const kp_sizes *sizes, uint32_t tensor)
{
    return kp_shape_elems(sizes->tensors[tensor], 1);
}

uint64_t kp_sizes_whole_elems(const kp_sizes *sizes, uint32_t tensor)
{
    return kp_shape_elems(sizes->graph->tensors[tensor].shape, sizes->micro_batch);
}

uint64_t kp_sizes_local_elems(const kp_sizes *sizes, uint32_t tensor)
{
    return kp_shape_elems(divided(sizes, tensor, true), 1);
}

uint64_t kp_sizes_weight_elems(const kp_sizes *sizes, uint32_t weight)
{
    return kp_shape_elems(sizes->weights[weight], 1);
}
