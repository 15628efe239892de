/* SPDX-License-Identifier: MIT
 *
 * A Sequential is a chain: every layer is called once, on what the layer before it made. */
#include "planner/model/rules.h"

static kp_status one_call(kp_reader *reader, kp_spec_layer *layer, uint32_t from)
{
    layer->n_calls = 1;
    layer->calls = KP_NEW(reader->arena, kp_spec_call, 1);
    if (!layer->calls) return kp_nomem(reader->err);
    if (from == KP_NO) return KP_OK;
    layer->calls->refs = KP_NEW(reader->arena, kp_ref, 1);
    if (!layer->calls->refs) return kp_nomem(reader->err);
    layer->calls->refs[0] = (kp_ref){.layer = from};
    layer->calls->n_refs = layer->calls->cap_refs = 1;
    return KP_OK;
}

/* Where the shape of an unnamed input stands: in the first layer, in the first layer of a nested
 * model, or beside the list of layers. */
static kp_status find_shape(kp_reader *reader, json_t *json, const kp_spec_layer *first,
                            kp_layer_cfg *cfg)
{
    KP_TRY(kp_keras_input_shape(reader, first->config, &cfg->batch_shape,
                                &cfg->fixed_batch));
    if (cfg->batch_shape.rank) return KP_OK;
    if (first->model && first->model->n_inputs) {
        const kp_spec_model *inner = first->model;
        const kp_layer_cfg *from = inner->layers[inner->inputs[0]].cfg;
        cfg->batch_shape = from->batch_shape;
        cfg->fixed_batch = from->fixed_batch;
        if (cfg->batch_shape.rank) return KP_OK;
    }
    json_t *config = json_object_get(json, "config");
    json_t *shape = json_object_get(config, "build_input_shape");
    const char *key = "build_input_shape";
    if (!kp_json_list(shape)) {
        shape = json_object_get(json_object_get(json, "build_config"), "input_shape");
        key = "input_shape";
    }
    if (!kp_json_list(shape)) return KP_OK;
    return kp_keras_shape(shape, key, &cfg->batch_shape, &cfg->fixed_batch, reader->err);
}

/* An Embedding reads indices. */
static kp_dtype implicit_dtype(const kp_spec_layer *first)
{
    return strcmp(first->class_name, "Embedding") ? KP_FLOAT32 : KP_INT32;
}

static kp_status add_input(kp_reader *reader, json_t *json, kp_spec_model *model)
{
    kp_spec_layer *input = &model->layers[0];
    const kp_spec_layer *first = &model->layers[1];
    kp_layer_cfg *cfg = KP_NEW(reader->arena, kp_layer_cfg, 1);
    if (!cfg) return kp_nomem(reader->err);
    KP_TRY(find_shape(reader, json, first, cfg));
    *input = (kp_spec_layer){.class_name = "InputLayer", .row = kp_row_find(NULL, "InputLayer"),
                             .cfg = cfg, .trainable = true, .implicit = true, .layer = KP_NO,
                             .policy = {.compute = implicit_dtype(first)}};
    input->name = kp_arena_fmt(reader->arena, "%s_input", first->name);
    if (!input->name) return kp_nomem(reader->err);
    model->n_layers++;
    return KP_OK;
}

/* What a layer was built on is what the layer before it made. */
static kp_status keep_said(kp_reader *reader, kp_spec_layer *from, const kp_spec_layer *to)
{
    json_t *shape = json_object_get(json_object_get(to->json, "build_config"), "input_shape");
    json_t *list = kp_json_list(shape);
    if (!list || json_array_size(list) == 0 || json_is_array(json_array_get(list, 0))) return KP_OK;
    kp_said said = {.dtype = from->policy.compute};
    uint64_t batch;
    KP_TRY(kp_keras_shape(shape, "input_shape", &said.shape, &batch, reader->err));
    from->said = KP_NEW(reader->arena, kp_said, 1);
    if (!from->said) return kp_nomem(reader->err);
    from->said[0] = said;
    from->n_said = from->cap_said = 1;
    return KP_OK;
}

/* The chain's own input: listed, or made. */
static kp_status one_input(kp_reader *reader, json_t *json, kp_spec_model *model)
{
    if (kp_spec_is_input(&model->layers[1])) model->layers++;
    else KP_TRY(add_input(reader, json, model));
    model->inputs = KP_NEW(reader->arena, uint32_t, 1);
    model->n_inputs = 1;
    return model->inputs ? one_call(reader, &model->layers[0], KP_NO) : kp_nomem(reader->err);
}

kp_status kp_keras_chain(kp_reader *reader, json_t *json, kp_spec_model *model)
{
    uint32_t from = 0;
    if (kp_keras_has_branches(&model->layers[1])) KP_TRY(kp_keras_branches(reader, model, &from));
    else KP_TRY(one_input(reader, json, model));
    model->outputs = KP_NEW(reader->arena, kp_ref, 1);
    if (!model->outputs) return kp_nomem(reader->err);
    model->n_outputs = model->cap_outputs = 1;
    kp_names names;
    KP_TRY(kp_names_make(model, reader->arena, &names, reader->err));
    for (uint32_t i = from + 1; i < model->n_layers; i++) {
        kp_spec_layer *layer = &model->layers[i];
        if (kp_spec_is_input(layer)) { /* old files repeat it; it changes nothing */
            layer->n_calls = 0;
            continue;
        }
        KP_TRY(one_call(reader, layer, from));
        KP_TRY(keep_said(reader, &model->layers[from], layer));
        from = i;
    }
    model->outputs[0] = (kp_ref){.layer = from};
    return KP_OK;
}
