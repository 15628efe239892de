/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_edits.c — changes to the model itself, made on a copy of its document.
 *
 * The layer's object is found by the names of its path, changed as a person would change the code,
 * and the whole document is read again: shapes that no longer fit together end the edit. */
#include "planner/plan/explain_parts.h"
#include <jansson.h>

/* ---- finding a layer ---- */

static json_t *model_of(json_t *json)
{
    json_t *recorded = json_object_get(json, "model_json");
    return json_is_object(recorded) ? recorded : json;
}

static const char *name_of(json_t *layer)
{
    const char *name = json_string_value(json_object_get(json_object_get(layer, "config"), "name"));
    return name ? name : json_string_value(json_object_get(layer, "name"));
}

static json_t *layers_of(json_t *model)
{
    json_t *config = json_object_get(model, "config");
    return json_is_array(config) ? config : json_object_get(config, "layers");
}

/* The object of the layer with this path, through nested models. */
static json_t *find_layer(json_t *model, const char *path)
{
    json_t *layers = layers_of(model), *layer;
    size_t i;
    json_array_foreach(layers, i, layer)
    {
        const char *name = name_of(layer);
        size_t len = name ? strlen(name) : 0;
        if (!len || strncmp(path, name, len)) continue;
        if (!path[len]) return layer;
        json_t *inner = path[len] == '/' ? find_layer(layer, path + len + 1) : NULL;
        if (inner) return inner;
    }
    return NULL;
}

static const char *class_of(json_t *layer)
{
    const char *name = json_string_value(json_object_get(layer, "class_name"));
    return name ? name : "";
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

/* ---- the edits: each returns the changed layer's path, or NULL ---- */

typedef struct editing {
    const kp_explaining *e;
    json_t *model;
    const kp_layer *layer;
    const char *change, *message;
} editing;

static bool say(editing *t, const char *change, const char *message)
{
    t->change = change;
    t->message = message;
    return change && message;
}

/* The Flatten whose output the layer reads, behind dropout and the like; KP_NO if none. */
static uint32_t flatten_before(const kp_graph *g, const kp_layer *layer)
{
    for (uint32_t i = 0; i < g->n_ops; i++) {
        const kp_graph_op *op = &g->ops[i];
        if (&g->layers[op->layer] != layer || op->op != KP_OP_MATMUL) continue;
        while (op->n_in) {
            op = &g->ops[g->tensors[op->in[0]].op];
            if (!strcmp(g->layers[op->layer].class_name, "Flatten")) return op->layer;
            if (op->op != KP_OP_DROPOUT && op->op != KP_OP_CAST) return KP_NO;
        }
    }
    return KP_NO;
}

static bool pool_flatten(editing *t)
{
    const kp_graph *g = t->e->look.graph;
    uint32_t flatten = flatten_before(g, t->layer);
    if (flatten == KP_NO) return false;
    json_t *json = find_layer(t->model, g->layers[flatten].path);
    unsigned rank = 0;
    for (uint32_t i = 0; i < g->n_ops; i++)
        if (g->ops[i].layer == flatten && g->ops[i].n_in)
            rank = g->tensors[g->ops[i].in[0]].shape.rank;
    static const char *const pools[] = {[3] = "GlobalAveragePooling1D",
                                        [4] = "GlobalAveragePooling2D",
                                        [5] = "GlobalAveragePooling3D"};
    if (!json || rank < 3 || rank > 5) return false;
    json_object_set_new(json, "class_name", json_string(pools[rank]));
    json_object_set_new(json_object_get(json, "config"), "keepdims", json_false());
    kp_arena *a = t->e->arena;
    return say(t,
               kp_arena_fmt(a, "%s: %s instead of Flatten", g->layers[flatten].path, pools[rank]),
               kp_arena_fmt(a, "'%s' then has one input a channel instead of one a position",
                            t->layer->path));
}

/* Halves the first of these keys of the layer's configuration. */
static bool halve_units(editing *t)
{
    static const char *const keys[] = {"units", "filters"};
    static const char *const classes[] = {"Dense", "LSTM", "GRU", "SimpleRNN", "Conv2D", "Conv1D"};
    json_t *json = find_layer(t->model, t->layer->path), *config = json_object_get(json, "config");
    if (!json || !is_one_of(class_of(json), classes, KP_LEN(classes))) return false;
    for (size_t i = 0; i < KP_LEN(keys); i++) {
        json_t *value = json_object_get(config, keys[i]);
        json_int_t n = json_integer_value(value);
        if (n < 2 || n % 2) continue;
        json_object_set_new(config, keys[i], json_integer(n / 2));
        kp_arena *a = t->e->arena;
        return say(t,
                   kp_arena_fmt(a, "%s: %s %lld instead of %lld", t->layer->path, keys[i],
                                (long long)n / 2, (long long)n),
                   "half as wide: its own weights halve, and those of the layer that reads it");
    }
    return false;
}

static bool stride(editing *t)
{
    static const char *const classes[] = {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D",
                                          "SeparableConv2D"};
    json_t *json = find_layer(t->model, t->layer->path);
    if (!json || !is_one_of(class_of(json), classes, KP_LEN(classes))) return false;
    json_t *config = json_object_get(json, "config"), *strides = json_object_get(config, "strides"),
           *one;
    size_t i, n = json_array_size(strides);
    json_array_foreach(strides, i, one) if (json_integer_value(one) != 1) return false;
    if (!n) return false;
    json_t *twos = json_array();
    for (i = 0; i < n; i++) json_array_append_new(twos, json_integer(2));
    json_object_set_new(config, "strides", twos);
    return say(t, kp_arena_fmt(t->e->arena, "%s: strides 2 instead of 1", t->layer->path),
               n == 2 ? "a quarter of its output, and of every map behind it"
                      : "a smaller output, and smaller maps behind it");
}

/* A quarter of the steps of the model's first input, where the file fixes them. */
static bool shorten(editing *t)
{
    static const char *const keys[] = {"batch_shape", "batch_input_shape"};
    const kp_graph *g = t->e->look.graph;
    const char *input = g->n_inputs ? g->layers[g->tensors[g->inputs[0]].layer].path : NULL;
    json_t *json = input ? find_layer(t->model, input) : NULL,
           *config = json_object_get(json, "config");
    for (size_t i = 0; i < KP_LEN(keys); i++) {
        json_t *shape = json_object_get(config, keys[i]);
        json_int_t steps = json_integer_value(json_array_get(shape, 1));
        if (steps < 4) continue;
        json_array_set_new(shape, 1, json_integer(steps / 4));
        kp_arena *a = t->e->arena;
        return say(t,
                   kp_arena_fmt(a, "%s: %lld steps instead of %lld", input, (long long)steps / 4,
                                (long long)steps),
                   "train on windows of the sequence (stateful, or cut): what the layers keep "
                   "grows with the steps");
    }
    return false;
}

static bool (*const edits[KP_EDIT_COUNT])(editing *) = {
    [KP_EDIT_POOL_FLATTEN] = pool_flatten,
    [KP_EDIT_HALVE_UNITS] = halve_units,
    [KP_EDIT_STRIDE] = stride,
    [KP_EDIT_SHORTEN] = shorten,
};

json_t *kp_explain_edit(const kp_explaining *e, kp_edit edit, uint32_t layer,
                        const char **ret_change, const char **ret_message)
{
    json_t *copy = json_deep_copy(e->json);
    if (!copy) return NULL;
    editing t = {.e = e, .model = model_of(copy), .layer = &e->look.graph->layers[layer]};
    if (!edits[edit](&t)) {
        json_decref(copy);
        return NULL;
    }
    *ret_change = t.change;
    *ret_message = t.message;
    return copy;
}
