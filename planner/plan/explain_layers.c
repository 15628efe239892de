/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_layers.c — what each layer holds, what is alive at the peak. */
#include "planner/plan/explain_parts.h"

#define TENSORS_MAX 100 /* of those alive at the peak, the largest */

typedef struct sized {
    uint64_t bytes;
    uint32_t id;
} sized;

static int larger_first(const void *x, const void *y)
{
    const sized *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static kp_status fill_layers(kp_explaining *e)
{
    const kp_graph *g = e->look.graph;
    sized *order = KP_NEW(e->arena, sized, g->n_layers);
    kp_explain_layer *layers = KP_NEW(e->arena, kp_explain_layer, g->n_layers);
    if (!order || !layers) return kp_nomem(e->err);
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_layers; i++) {
        if (g->layers[i].is_model) continue;
        order[n++] = (sized){kp_look_layer_bytes(&e->look, i), i};
        e->layers_bytes = kp_add_u64(e->layers_bytes, order[n - 1].bytes);
    }
    qsort(order, n, sizeof(*order), larger_first);
    for (uint32_t i = 0; i < n; i++) {
        const kp_layer *layer = &g->layers[order[i].id];
        const kp_layer_bytes *b = &e->look.memory.layers[order[i].id];
        double share = e->layers_bytes ? (double)order[i].bytes / (double)e->layers_bytes : 0;
        layers[i] = (kp_explain_layer){layer->path,  layer->class_name, b->weights, b->gradients,
                                       b->optimizer, b->activations,    share};
    }
    e->out->layers = layers;
    e->out->n_layers = n;
    return KP_OK;
}

static kp_status fill_tensors(kp_explaining *e)
{
    const kp_graph *g = e->look.graph;
    const kp_memory *m = &e->look.memory;
    uint32_t n = m->n_live < TENSORS_MAX ? m->n_live : TENSORS_MAX;
    kp_explain_tensor *tensors = KP_NEW(e->arena, kp_explain_tensor, n);
    if (!tensors) return kp_nomem(e->err);
    for (uint32_t i = 0; i < n; i++) {
        const kp_tape_buffer *b = &e->look.tape.buffers[m->live[i]];
        tensors[i] = (kp_explain_tensor){
            .layer = b->layer == KP_NO ? NULL : g->layers[b->layer].path,
            .op = b->op == KP_NO ? NULL : kp_op_names[g->ops[b->op].op],
            .what = b->what,
            .shape = b->shape ? *b->shape : (kp_shape){.rank = 1, .dim = {(int64_t)b->bytes}},
            .dtype = kp_dtype_names[b->dtype],
            .bytes = b->bytes,
        };
    }
    e->out->peak_tensors = tensors;
    e->out->n_peak_tensors = n;
    return KP_OK;
}

kp_status kp_explain_layers(kp_explaining *e)
{
    KP_TRY(fill_layers(e));
    return fill_tensors(e);
}

bool kp_layers_alike(const kp_explain_layer *a, const kp_explain_layer *b)
{
    return a->weights_bytes == b->weights_bytes && a->gradients_bytes == b->gradients_bytes &&
           a->optimizer_bytes == b->optimizer_bytes &&
           a->activations_bytes == b->activations_bytes && !strcmp(a->class_name, b->class_name);
}
