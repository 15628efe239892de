/* SPDX-License-Identifier: MIT
 *
 * A Sequential of Keras 1 may begin with a Merge that holds models: branches side by side, each with
 * inputs of its own, whose outputs are joined and go down the chain. Source: keras 1.2.2, engine/
 * topology.py, Merge; models.py, Sequential. */
#include "planner/model/rules.h"

enum { BRANCHES_MAX = 64 };

bool kp_keras_has_branches(const kp_spec_layer *first)
{
    return json_array_size(json_object_get(first->config, "layers")) && !first->model;
}

static kp_status refs_to(kp_reader *reader, kp_spec_layer *layer, uint32_t first, uint32_t n)
{
    layer->n_calls = 1;
    layer->calls = KP_NEW(reader->arena, kp_spec_call, 1);
    if (!layer->calls) return kp_nomem(reader->err);
    layer->calls->refs = KP_NEW(reader->arena, kp_ref, n);
    if (!layer->calls->refs) return kp_nomem(reader->err);
    layer->calls->n_refs = layer->calls->cap_refs = n;
    for (uint32_t i = 0; i < n; i++) layer->calls->refs[i] = (kp_ref){.layer = first + i};
    return KP_OK;
}

static kp_status read_branches(kp_reader *reader, json_t *list, kp_spec_layer *ret,
                               uint32_t *ret_inputs)
{
    *ret_inputs = 0;
    for (uint32_t i = 0; i < json_array_size(list); i++) {
        KP_TRY(kp_keras_layer(reader, json_array_get(list, i), i, &ret[i]));
        if (!ret[i].model)
            return kp_fail(reader->err, KP_UNSUPPORTED, "branch %u of its Merge is no model", i);
        *ret_inputs += ret[i].model->n_inputs;
    }
    return KP_OK;
}

/* An input of the chain for input `j` of a branch. */
static kp_status add_input(kp_reader *reader, const kp_spec_layer *branch, uint32_t j,
                           kp_spec_layer *ret)
{
    const kp_spec_layer *inner = &branch->model->layers[branch->model->inputs[j]];
    *ret = (kp_spec_layer){.class_name = "InputLayer", .row = inner->row, .cfg = inner->cfg,
                           .trainable = true, .implicit = true, .layer = KP_NO,
                           .policy = inner->policy};
    ret->name = kp_arena_fmt(reader->arena, "%s_%s", branch->name, inner->name);
    return ret->name ? refs_to(reader, ret, 0, 0) : kp_nomem(reader->err);
}

/* inputs, branches, the Merge, and what was behind it */
kp_status kp_keras_branches(kp_reader *reader, kp_spec_model *model, uint32_t *ret_merge)
{
    json_t *list = json_object_get(model->layers[1].config, "layers");
    uint32_t n = (uint32_t)json_array_size(list), n_inputs, at = 0;
    if (n > BRANCHES_MAX)
        return kp_fail(reader->err, KP_INPUT, "its Merge has %u branches, more than %d", n,
                       BRANCHES_MAX);
    kp_spec_layer *branches = KP_NEW(reader->arena, kp_spec_layer, n);
    if (!branches) return kp_nomem(reader->err);
    KP_TRY(read_branches(reader, list, branches, &n_inputs));
    kp_spec_layer *all = KP_NEW(reader->arena, kp_spec_layer, (size_t)n_inputs + n + model->n_layers);
    model->inputs = KP_NEW(reader->arena, uint32_t, n_inputs);
    if (!all || !model->inputs) return kp_nomem(reader->err);
    for (uint32_t i = 0; i < n; i++) {
        KP_TRY(refs_to(reader, &branches[i], at, branches[i].model->n_inputs));
        for (uint32_t j = 0; j < branches[i].model->n_inputs; j++, at++) {
            KP_TRY(add_input(reader, &branches[i], j, &all[at]));
            model->inputs[at] = at;
        }
    }
    memcpy(all + n_inputs, branches, n * sizeof(*all));
    memcpy(all + n_inputs + n, model->layers + 1, model->n_layers * sizeof(*all));
    model->layers = all;
    model->n_layers += n_inputs + n;
    model->n_inputs = n_inputs;
    *ret_merge = n_inputs + n;
    return refs_to(reader, &all[*ret_merge], n_inputs, n);
}
