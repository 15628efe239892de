/* SPDX-License-Identifier: MIT
 *
 * Walks a specification and makes the graph: layers first, in the file's order, then every call in
 * topological order, each through its row's rules. A nested model is walked once a call of it; its
 * layers stand in the tree once. */
#include "planner/model/build.h"
#include <assert.h>

/* ---- the tree of layers ---- */

static kp_status add_layer(kp_build *b, kp_spec_layer *spec, uint32_t parent, bool outer_trainable)
{
    if (!KP_GROW(b->arena, b->layers, b->n_layers, b->cap_layers)) return kp_nomem(b->err);
    const char *path = spec->name;
    if (parent != KP_NO)
        path = kp_arena_fmt(b->arena, "%s%s%s", b->layers[parent].path, b->joint, spec->name);
    if (!path) return kp_nomem(b->err);
    spec->layer = b->n_layers++;
    /* An input's dtype is its tensor's; as a layer Keras gives it the default policy. */
    bool input = kp_spec_is_input(spec);
    b->layers[spec->layer] = (kp_layer){.name = spec->name, .path = path,
        .class_name = spec->class_name, .row = spec->row, .cfg = spec->cfg, .parent = parent,
        .first_child = KP_NO, .next = KP_NO, .is_model = spec->model != NULL,
        .trainable = spec->trainable && outer_trainable,
        .compute_dtype = input ? KP_FLOAT32 : spec->policy.compute,
        .variable_dtype = input ? KP_FLOAT32 : spec->policy.variable};
    return KP_OK;
}

/* The models inside a layer: itself, or what its wrappers hold. */
static kp_status add_inside(kp_build *b, kp_spec_layer *spec, uint32_t layer)
{
    bool trainable = b->layers[layer].trainable;
    uint32_t first = KP_NO;
    if (spec->model) {
        KP_TRY(kp_build_layers(b, spec->model, layer, trainable, &first));
        b->layers[layer].first_child = first;
        return KP_OK;
    }
    for (uint32_t i = 0; spec->cfg && i < spec->cfg->n_inner; i++) {
        kp_spec_layer *inner = &spec->cfg->inner[i];
        if (!inner->model) {
            KP_TRY(add_inside(b, inner, layer));
            continue;
        }
        KP_TRY(add_layer(b, inner, layer, trainable));
        KP_TRY(kp_build_layers(b, inner->model, inner->layer, inner->trainable && trainable,
                               &first));
        b->layers[inner->layer].first_child = first;
        b->layers[inner->layer].next = b->layers[layer].first_child;
        b->layers[layer].first_child = inner->layer;
    }
    return KP_OK;
}

kp_status kp_build_layers(kp_build *b, kp_spec_model *model, uint32_t parent, bool outer_trainable,
                          uint32_t *ret_first)
{
    uint32_t last = KP_NO, first = KP_NO;
    for (uint32_t i = 0; i < model->n_layers; i++) {
        kp_spec_layer *spec = &model->layers[i];
        spec->layer = KP_NO;
        if (spec->implicit) continue;
        KP_TRY(add_layer(b, spec, parent, outer_trainable && model->trainable));
        if (last == KP_NO) first = spec->layer;
        else b->layers[last].next = spec->layer;
        last = spec->layer;
        KP_TRY(add_inside(b, spec, spec->layer));
    }
    *ret_first = first;
    return KP_OK;
}

/* ---- calls ---- */

/* The tensors that one call made. */
typedef struct made {
    const uint32_t *out;
    uint32_t n;
} made;

/* One walk through a model. */
typedef struct walk {
    kp_build *b;
    kp_spec_model *model;
    made **values; /* [layer][call] */
} walk;

kp_status kp_build_called(kp_build *b, uint32_t layer, const uint32_t *out, uint32_t n)
{
    kp_layer *l = &b->layers[layer];
    l->n_calls++;
    if (l->n_calls > 1) return KP_OK;
    kp_shape *shapes = KP_NEW(b->arena, kp_shape, n);
    if (!shapes) return kp_nomem(b->err);
    for (uint32_t i = 0; i < n; i++) shapes[i] = b->tensors[out[i]].shape;
    l->outputs = shapes;
    l->n_outputs = n;
    return KP_OK;
}

/* The tensors of a call's references. */
static kp_status gather(walk *w, const kp_ref *refs, uint32_t n, uint32_t **ret)
{
    uint32_t *tensors = KP_NEW(w->b->arena, uint32_t, n);
    if (!tensors) return kp_nomem(w->b->err);
    for (uint32_t i = 0; i < n; i++) {
        const made *from = &w->values[refs[i].layer][refs[i].call];
        const char *name = w->model->layers[refs[i].layer].name;
        if (refs[i].tensor >= from->n)
            return kp_fail(w->b->err, KP_INPUT, "output %u of layer '%s' is read, which has %u",
                           refs[i].tensor, name, from->n);
        tensors[i] = from->out[refs[i].tensor];
    }
    *ret = tensors;
    return KP_OK;
}

/* The type of an operation's result: the widest float among its operands, else the first's. */
static kp_dtype common_dtype(const kp_rule *rule, const uint32_t *in, uint32_t n)
{
    kp_dtype found = n ? kp_rule_dtype(rule, in[0]) : KP_FLOAT32;
    for (uint32_t i = 1; i < n; i++) {
        kp_dtype dtype = kp_rule_dtype(rule, in[i]);
        if (!kp_dtype_is_float(dtype)) continue;
        bool wider = kp_dtype_bytes(dtype) > kp_dtype_bytes(found);
        if (!kp_dtype_is_float(found) || wider) found = dtype;
    }
    return found;
}

/* Divides a call's tensors into data and the rest. */
static kp_status set_inputs(kp_rule *rule, const kp_spec_call *call, const uint32_t *args)
{
    uint32_t *in = KP_NEW(rule->arena, uint32_t, call->n_refs);
    kp_shape *x = KP_NEW(rule->arena, kp_shape, call->n_refs);
    if (!in || !x) return kp_nomem(rule->err);
    for (uint32_t i = 0; i < call->n_refs; i++) {
        if (kp_keyword_is_side(call->refs[i].keyword)) continue;
        in[rule->n_in] = args[i];
        x[rule->n_in++] = kp_rule_shape(rule, args[i]);
    }
    if (kp_row_is_math(rule->row)) rule->compute = common_dtype(rule, in, rule->n_in);
    rule->call = call;
    rule->args = args;
    rule->in = in;
    rule->x = x;
    return KP_OK;
}

static kp_status scope_of(const kp_build *b, const kp_spec_model *model, const kp_spec_layer *spec,
                          const char **ret)
{
    *ret = *b->joint == '.' ? b->layers[spec->layer].path : spec->name;
    if (model->sequential) *ret = kp_arena_fmt(b->arena, "%s/%s", model->name, spec->name);
    return *ret ? KP_OK : kp_nomem(b->err);
}

static kp_status run_rules(walk *w, kp_spec_layer *spec, const kp_spec_call *call,
                           const uint32_t *args, uint32_t index, made *ret)
{
    kp_build *b = w->b;
    kp_layer *layer = &b->layers[spec->layer];
    kp_rule rule = {.build = b, .arena = b->arena, .err = b->err, .row = spec->row,
                    .cfg = spec->cfg, .name = spec->name, .part = "", .layer = spec->layer,
                    .trainable = layer->trainable, .compute = spec->policy.compute,
                    .variable = spec->policy.variable, .quantized = spec->policy.quantized,
                    .history = spec->policy.history, .first = layer->n_calls == 0};
    rule.cursor = rule.first ? b->n_weights : layer->first_weight;
    uint32_t before = b->n_weights;
    KP_TRY(scope_of(b, w->model, spec, &rule.scope));
    KP_TRY(set_inputs(&rule, call, args));
    KP_TRY(kp_rule_run_or_adopt(&rule, spec, index));
    KP_TRY(kp_rule_compare(&rule, spec, index));
    layer = &b->layers[spec->layer];
    if (rule.first) {
        layer->first_weight = before;
        layer->n_weights = 0;
        for (uint32_t i = before; i < b->n_weights; i++)
            layer->n_weights += b->weights[i].layer == spec->layer;
    }
    KP_TRY(kp_build_called(b, spec->layer, rule.out, rule.n_out));
    *ret = (made){rule.out, rule.n_out};
    return KP_OK;
}

/* Where a nested model takes the reference: by the key of an object, by keyword, by position. */
static uint32_t input_slot(const kp_spec_model *model, const kp_ref *ref, uint32_t position)
{
    const char *key = ref->key ? ref->key : ref->keyword;
    for (uint32_t i = 0; key && i < model->n_inputs; i++) {
        const char *name = model->layers[model->inputs[i]].name;
        if (!strcmp(key, name) || (model->input_keys && !strcmp(key, model->input_keys[i])))
            return i;
    }
    return position;
}

static kp_status run_model(walk *w, kp_spec_layer *spec, const kp_spec_call *call,
                           const uint32_t *args, made *ret)
{
    kp_build *b = w->b;
    kp_spec_model *model = spec->model;
    uint32_t *in = KP_NEW(b->arena, uint32_t, model->n_inputs);
    uint32_t *out = KP_NEW(b->arena, uint32_t, model->n_outputs);
    if (!in || !out) return kp_nomem(b->err);
    for (uint32_t i = 0; i < model->n_inputs; i++) in[i] = KP_NO;
    uint32_t given = 0;
    for (uint32_t i = 0; i < call->n_refs; i++) {
        if (kp_keyword_is_side(call->refs[i].keyword)) continue;
        uint32_t slot = input_slot(model, &call->refs[i], given++);
        if (slot < model->n_inputs) in[slot] = args[i];
    }
    for (uint32_t i = 0; i < model->n_inputs; i++)
        if (in[i] == KP_NO || given != model->n_inputs)
            return kp_fail(b->err, KP_INPUT, "model '%s' takes %u inputs, got %u", model->name,
                           model->n_inputs, given);
    KP_TRY(kp_build_run(b, model, in, out));
    KP_TRY(kp_build_called(b, spec->layer, out, model->n_outputs));
    *ret = (made){out, model->n_outputs};
    return KP_OK;
}

static kp_status run_call(walk *w, kp_spec_step step)
{
    kp_spec_layer *spec = &w->model->layers[step.layer];
    const kp_spec_call *call = &spec->calls[step.call];
    made *ret = &w->values[step.layer][step.call];
    if (ret->n) return KP_OK; /* an input */
    uint32_t *args;
    kp_status status = gather(w, call->refs, call->n_refs, &args);
    if (status == KP_OK)
        status = spec->model ? run_model(w, spec, call, args, ret)
                             : run_rules(w, spec, call, args, step.call, ret);
    if (status != KP_OK && status != KP_NOMEM) kp_err_at(w->b->err, "layer '%s'", spec->name);
    return status;
}

static kp_status start_walk(walk *w, const uint32_t *in)
{
    kp_spec_model *model = w->model;
    w->values = KP_NEW(w->b->arena, made *, model->n_layers);
    uint32_t *ids = KP_NEW(w->b->arena, uint32_t, model->n_inputs);
    if (!w->values || !ids) return kp_nomem(w->b->err);
    for (uint32_t i = 0; i < model->n_layers; i++) {
        w->values[i] = KP_NEW(w->b->arena, made, model->layers[i].n_calls);
        if (!w->values[i]) return kp_nomem(w->b->err);
    }
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        const kp_spec_layer *spec = &model->layers[model->inputs[i]];
        ids[i] = in[i];
        w->values[model->inputs[i]][0] = (made){&ids[i], 1};
        if (!spec->implicit) KP_TRY(kp_build_called(w->b, spec->layer, &ids[i], 1));
    }
    return KP_OK;
}

kp_status kp_build_run(kp_build *b, kp_spec_model *model, const uint32_t *in, uint32_t *ret_out)
{
    walk w = {.b = b, .model = model};
    if (++b->depth > KP_NEST_MAX)
        return kp_fail(b->err, KP_INPUT, "models are nested deeper than %d", KP_NEST_MAX);
    if (++b->n_walks > KP_WALKS_MAX)
        return kp_fail(b->err, KP_INPUT, "nested models are called more than %u times",
                       KP_WALKS_MAX);
    KP_TRY(start_walk(&w, in));
    for (uint32_t i = 0; i < model->n_order; i++) KP_TRY(run_call(&w, model->order[i]));
    uint32_t *out;
    KP_TRY(gather(&w, model->outputs, model->n_outputs, &out));
    memcpy(ret_out, out, model->n_outputs * sizeof(*out));
    b->depth--;
    return KP_OK;
}
