/* SPDX-License-Identifier: MIT
 *
 * The two ends of building: the graph's inputs with what the user bound, and the totals. */
#include "planner/model/build.h"
#include <assert.h>
#include <inttypes.h>

/* "x:1, y:1, y:2": open dimensions, for messages. */
static const char *list_open(const kp_spec_model *model, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        const kp_spec_layer *spec = &model->layers[model->inputs[i]];
        kp_shape shape = spec->cfg->batch_shape;
        for (unsigned axis = 1; axis < shape.rank && at < size; axis++) {
            if (shape.dim[axis] != KP_DIM_OPEN) continue;
            at += (size_t)snprintf(text + at, size - at, "%s%s:%u", at ? ", " : "", spec->name,
                                   axis);
        }
    }
    return at ? text : "none";
}

static kp_status bad_dim(const kp_build *b, const kp_spec_model *model)
{
    char text[200];
    kp_hint(b->err, "open dimensions of this model: %s", list_open(model, text, sizeof(text)));
    return KP_USAGE;
}

/* --dim N is for what is open: where nothing is, it does nothing, and that is said. (No mistake:
 * who asks the same of many files gives it to all of them.) */
static kp_status check_all_open(kp_build *b, const kp_spec_model *model, int64_t size)
{
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        kp_shape shape = model->layers[model->inputs[i]].cfg->batch_shape;
        for (unsigned axis = 1; axis < shape.rank; axis++)
            if (shape.dim[axis] == KP_DIM_OPEN) return KP_OK;
    }
    return kp_build_warn(b, "dim-without-effect", KP_NO,
                         kp_arena_fmt(b->arena,
                                      "--dim %" PRId64 " sets nothing: no dimension of the inputs is "
                                      "open but the batch (--batch)",
                                      size));
}

/* --dim INPUT:AXIS=N must name an input and may not contradict the file. */
static kp_status check_dim(kp_build *b, const kp_spec_model *model, const kp_bind_dim *dim)
{
    if (dim->size < 1 || dim->size > KP_DIM_MAX)
        return kp_fail(b->err, KP_USAGE, "a dimension of %" PRId64 " is out of range", dim->size);
    if (!dim->input) return check_all_open(b, model, dim->size);
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        const kp_spec_layer *spec = &model->layers[model->inputs[i]];
        kp_shape shape = spec->cfg->batch_shape;
        if (strcmp(spec->name, dim->input)) continue;
        if (dim->axis == 0) {
            kp_fail(b->err, KP_USAGE, "axis 0 of input '%s' is the batch", dim->input);
            kp_hint(b->err, "set it with --batch");
            return KP_USAGE;
        }
        if (dim->axis >= shape.rank) {
            kp_fail(b->err, KP_USAGE, "input '%s' has no axis %u, it is %s", dim->input, dim->axis,
                    kp_shape_text(shape, 0).s);
            return bad_dim(b, model);
        }
        int64_t has = shape.dim[dim->axis];
        if (has == KP_DIM_OPEN || has == dim->size) return KP_OK;
        kp_fail(b->err, KP_USAGE, "axis %u of input '%s' is %" PRId64 " in the file, not %" PRId64,
                dim->axis, dim->input, has, dim->size);
        return bad_dim(b, model);
    }
    kp_fail(b->err, KP_USAGE, "the model has no input '%.80s'", dim->input);
    return bad_dim(b, model);
}

/* --seq must find an axis 1 that is open, or already that long. */
static kp_status check_seq(const kp_build *b, const kp_spec_model *model)
{
    int64_t seq = b->bind->seq;
    if (!seq) return KP_OK;
    if (seq < 1 || seq > KP_DIM_MAX)
        return kp_fail(b->err, KP_USAGE, "a sequence of %" PRId64 " is out of range", seq);
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        kp_shape shape = model->layers[model->inputs[i]].cfg->batch_shape;
        if (shape.rank > 1 && (shape.dim[1] == KP_DIM_OPEN || shape.dim[1] == seq)) return KP_OK;
    }
    kp_fail(b->err, KP_USAGE, "no input has an open sequence axis (axis 1) for --seq %" PRId64,
            seq);
    return bad_dim(b, model);
}

static kp_shape bind_shape(const kp_bind *bind, const char *name, kp_shape shape)
{
    for (unsigned axis = 1; axis < shape.rank; axis++) {
        if (shape.dim[axis] != KP_DIM_OPEN) continue;
        if (axis == 1 && bind->seq) shape.dim[1] = bind->seq;
        for (uint32_t i = 0; i < bind->n_dims; i++)
            if (!bind->dims[i].input && shape.dim[axis] == KP_DIM_OPEN)
                shape.dim[axis] = bind->dims[i].size;
        for (uint32_t i = 0; i < bind->n_dims; i++) /* a name outdoes what is general */
            if (bind->dims[i].input && bind->dims[i].axis == axis &&
                !strcmp(bind->dims[i].input, name))
                shape.dim[axis] = bind->dims[i].size;
    }
    return shape;
}

static kp_status add_input(kp_build *b, kp_spec_layer *spec, uint32_t *ret)
{
    uint32_t layer = spec->implicit ? 0 : spec->layer;
    kp_rule rule = {.build = b, .arena = b->arena, .err = b->err, .name = spec->name, .part = "",
                    .layer = layer, .compute = spec->policy.compute};
    kp_new_op op = {.op = KP_OP_INPUT, .has_dtype = true, .dtype = spec->policy.compute,
                    .out = bind_shape(b->bind, spec->name, spec->cfg->batch_shape)};
    op.attr.requires_grad = json_is_true(json_object_get(spec->config, "requires_grad"));
    KP_TRY(kp_rule_op(&rule, &op, ret));
    for (unsigned axis = 1; axis < op.out.rank; axis++) {
        if (op.out.dim[axis] != KP_DIM_OPEN) continue;
        if (!KP_GROW(b->arena, b->open, b->n_open, b->cap_open)) return kp_nomem(b->err);
        b->open[b->n_open++] = (kp_open_dim){.input = spec->name, .axis = axis, .tensor = *ret};
    }
    return KP_OK;
}

kp_status kp_build_inputs(kp_build *b, kp_spec_model *model, uint32_t *ret_tensors)
{
    for (uint32_t i = 0; i < b->bind->n_dims; i++)
        KP_TRY(check_dim(b, model, &b->bind->dims[i]));
    KP_TRY(check_seq(b, model));
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        kp_spec_layer *spec = &model->layers[model->inputs[i]];
        uint64_t batch = spec->cfg->fixed_batch;
        if (batch && b->fixed_batch && batch != b->fixed_batch)
            return kp_fail(b->err, KP_INPUT, "inputs fix the batch to %" PRIu64 " and %" PRIu64,
                           b->fixed_batch, batch);
        if (batch) b->fixed_batch = batch;
        KP_TRY(add_input(b, spec, &ret_tensors[i]));
    }
    return KP_OK;
}

/* ---- totals ---- */

static void count_uses(kp_build *b, const uint32_t *outputs, uint32_t n_outputs)
{
    for (uint32_t i = 0; i < b->n_ops; i++)
        for (uint32_t j = 0; j < b->ops[i].n_in; j++) b->tensors[b->ops[i].in[j]].n_uses++;
    for (uint32_t i = 0; i < n_outputs; i++) b->tensors[outputs[i]].n_uses++;
}

static void add_flops(kp_build *b)
{
    for (uint32_t i = 0; i < b->n_ops; i++)
        for (uint32_t at = b->ops[i].layer; at != KP_NO; at = b->layers[at].parent)
            b->layers[at].forward_flops += b->ops[i].forward_flops;
}

/* A layer that nothing calls has neither outputs nor weights. */
static kp_status warn_uncalled(kp_build *b)
{
    for (uint32_t i = 0; i < b->n_layers; i++) {
        const kp_layer *layer = &b->layers[i];
        bool outer = layer->parent != KP_NO && !b->layers[layer->parent].n_calls;
        if (layer->n_calls || outer || !strcmp(layer->class_name, "InputLayer")) continue;
        KP_TRY(kp_build_warn(b, "uncalled-layer", i, "nothing calls this layer: it is not counted"));
    }
    return KP_OK;
}

static kp_status add_params(kp_build *b, kp_graph *graph)
{
    for (uint32_t i = 0; i < b->n_weights; i++) {
        const kp_weight *w = &b->weights[i];
        if (w->role == KP_ROLE_STATE) continue;
        uint64_t elems = kp_shape_elems(w->shape, 1);
        graph->params = kp_add_u64(graph->params, elems);
        if (w->trainable) graph->trainable_params = kp_add_u64(graph->trainable_params, elems);
    }
    if (kp_size_ok(kp_mul_u64(graph->params, 8))) return KP_OK;
    return kp_fail(b->err, KP_INPUT, "all weights together are past an exbibyte");
}

kp_status kp_build_finish(kp_build *b, const kp_spec *spec, uint32_t first_layer,
                          const uint32_t *inputs, const uint32_t *outputs, const kp_graph **ret)
{
    const kp_spec_model *model = spec->model;
    kp_graph *graph = KP_NEW(b->arena, kp_graph, 1);
    if (!graph) return kp_nomem(b->err);
    count_uses(b, outputs, model->n_outputs);
    add_flops(b);
    KP_TRY(warn_uncalled(b));
    KP_TRY(add_params(b, graph));
    graph->name = model->name;
    graph->format = spec->format;
    graph->layers = b->layers;
    graph->n_layers = b->n_layers;
    graph->first_layer = first_layer;
    graph->weights = b->weights;
    graph->n_weights = b->n_weights;
    graph->tensors = b->tensors;
    graph->n_tensors = b->n_tensors;
    graph->ops = b->ops;
    graph->n_ops = b->n_ops;
    graph->inputs = inputs;
    graph->n_inputs = model->n_inputs;
    graph->outputs = outputs;
    graph->n_outputs = model->n_outputs;
    graph->open = b->open;
    graph->n_open = b->n_open;
    graph->warnings = b->warnings;
    graph->n_warnings = b->n_warnings;
    graph->fixed_batch = b->fixed_batch;
    graph->compile = spec->compile;
    graph->oplan = spec->oplan;
    graph->launch = spec->launch;
    graph->low_confidence = b->low_confidence;
    *ret = graph;
    return KP_OK;
}
