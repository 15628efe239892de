/* SPDX-License-Identifier: MIT
 *
 * Writes specifications: what the readers of a dialect make from a file, from code. */
#include "planner/model/hf.h"

kp_status kp_hf_begin(kp_reader *reader, const char *name, const char *class_name,
                      kp_policy policy, uint32_t cap, kp_hf_net *ret)
{
    kp_spec_model *model = KP_NEW(reader->arena, kp_spec_model, 1);
    if (!model) return kp_nomem(reader->err);
    *model = (kp_spec_model){.name = name, .class_name = class_name, .trainable = true};
    model->layers = KP_NEW(reader->arena, kp_spec_layer, cap);
    model->inputs = KP_NEW(reader->arena, uint32_t, 2);
    if (!model->layers || !model->inputs) return kp_nomem(reader->err);
    *ret = (kp_hf_net){.reader = reader, .model = model, .policy = policy, .cap = cap};
    return KP_OK;
}

kp_layer_cfg *kp_hf_cfg(kp_reader *reader)
{
    return KP_NEW(reader->arena, kp_layer_cfg, 1);
}

/* A new layer, called once with the given tensors. */
static kp_status append(kp_hf_net *net, kp_spec_layer layer, const kp_ref *refs, uint32_t n,
                        kp_ref *ret)
{
    kp_spec_model *model = net->model;
    kp_arena *arena = net->reader->arena;
    if (model->n_layers >= net->cap)
        return kp_fail(net->reader->err, KP_INTERNAL, "model '%s' has more layers than planned",
                       model->name);
    layer.trainable = true;
    layer.layer = KP_NO;
    layer.has_policy = true;
    layer.calls = KP_NEW(arena, kp_spec_call, 1);
    layer.n_calls = 1;
    if (!layer.name || !layer.calls) return kp_nomem(net->reader->err);
    layer.calls->refs = KP_NEW(arena, kp_ref, n);
    if (!layer.calls->refs) return kp_nomem(net->reader->err);
    layer.calls->n_refs = layer.calls->cap_refs = n;
    for (uint32_t i = 0; i < n; i++) {
        layer.calls->refs[i] = refs[i];
        layer.calls->refs[i].arg = i;
    }
    *ret = (kp_ref){.layer = model->n_layers};
    model->layers[model->n_layers++] = layer;
    return KP_OK;
}

kp_status kp_hf_input(kp_hf_net *net, const char *name, kp_shape shape, kp_dtype dtype,
                      kp_ref *ret)
{
    kp_layer_cfg *cfg = kp_hf_cfg(net->reader);
    kp_spec_model *model = net->model;
    if (!cfg) return kp_nomem(net->reader->err);
    cfg->batch_shape = shape;
    model->inputs[model->n_inputs++] = model->n_layers;
    return append(net, (kp_spec_layer){.name = name ? name : "input", .class_name = "InputLayer",
                                       .row = kp_row_find(NULL, "InputLayer"), .cfg = cfg,
                                       .implicit = !name, .policy = {dtype, dtype, 0, 0}},
                  NULL, 0, ret);
}

kp_status kp_hf_layer(kp_hf_net *net, const char *name, const kp_layer_row *row,
                      const kp_layer_cfg *cfg, const kp_ref *refs, uint32_t n, kp_ref *ret)
{
    return append(net, (kp_spec_layer){.name = name, .class_name = row->class_name, .row = row,
                                       .cfg = cfg, .policy = net->policy}, refs, n, ret);
}

kp_status kp_hf_add(kp_hf_net *net, const char *name, const char *row, kp_layer_cfg cfg,
                    const kp_ref *refs, uint32_t n, kp_ref *ret)
{
    kp_layer_cfg *made = kp_hf_cfg(net->reader);
    if (!made) return kp_nomem(net->reader->err);
    *made = cfg;
    return kp_hf_layer(net, name, kp_hf_row(row), made, refs, n, ret);
}

kp_status kp_hf_sum(kp_hf_net *net, const char *name, const kp_ref *refs, uint32_t n, kp_ref *ret)
{
    static const kp_layer_cfg none;
    return kp_hf_layer(net, name, kp_row_find(NULL, "Add"), &none, refs, n, ret);
}

kp_status kp_hf_nest(kp_hf_net *net, const kp_hf_net *inner, const kp_ref *refs, uint32_t n,
                     kp_ref *ret)
{
    return append(net, (kp_spec_layer){.name = inner->model->name,
                                       .class_name = inner->model->class_name,
                                       .model = inner->model, .policy = net->policy},
                  refs, n, ret);
}

kp_status kp_hf_end(kp_hf_net *net, const kp_ref *outputs, uint32_t n)
{
    kp_spec_model *model = net->model;
    kp_arena *arena = net->reader->arena;
    kp_spec_step *order = KP_NEW(arena, kp_spec_step, model->n_layers);
    model->outputs = KP_NEW(arena, kp_ref, n);
    if (!order || !model->outputs) return kp_nomem(net->reader->err);
    for (uint32_t i = 0; i < n; i++) model->outputs[i] = outputs[i];
    for (uint32_t i = 0; i < model->n_layers; i++) order[i] = (kp_spec_step){i, 0};
    model->n_outputs = model->cap_outputs = n;
    model->order = order;
    model->n_order = model->n_layers;
    return KP_OK;
}
