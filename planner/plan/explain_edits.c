/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_edits.c — changes to the model itself, made in its document and taken back.
 *
 * The layer's object is found by the names of its path; a copy of it is changed as a person would
 * change the code and put in its place, and the whole document is read again: shapes that no
 * longer fit together end the edit. */
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

/* The place of the layer with this path, through nested models. */
static bool find_layer(json_t *model, const char *path, kp_edited *ret)
{
    json_t *layers = layers_of(model), *layer;
    size_t i;
    json_array_foreach(layers, i, layer)
    {
        const char *name = name_of(layer);
        size_t len = name ? strlen(name) : 0;
        if (!len || strncmp(path, name, len)) continue;
        if (path[len] == '/' && find_layer(layer, path + len + 1, ret)) return true;
        if (path[len]) continue;
        *ret = (kp_edited){.list = layers, .old = layer, .at = i};
        return true;
    }
    return false;
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

/* ---- an edit while it is made ---- */

typedef struct editing {
    const kp_explaining *e;
    const kp_layer *layer;
    kp_edited *edited;
    json_t *json, *config; /* the copy of the layer's object */
    const char *change, *message, *code;
} editing;

/* Puts a copy of the layer's object in its place. */
static bool open_layer(editing *t, const char *path)
{
    if (!find_layer(model_of(t->e->json), path, t->edited)) return false;
    t->json = json_deep_copy(t->edited->old);
    if (!t->json) return false;
    json_incref(t->edited->old);
    json_array_set_new(t->edited->list, t->edited->at, t->json);
    t->config = json_object_get(t->json, "config");
    return json_is_object(t->config);
}

static bool say(editing *t, const char *change, const char *message, const char *code)
{
    t->change = change;
    t->message = message;
    t->code = code;
    return change && message;
}

/* The kernel as code writes it: 3, or (3, 5). */
static const char *kernel_text(const editing *t)
{
    json_t *size = json_object_get(t->config, "kernel_size"), *one;
    json_int_t first = json_integer_value(json_array_get(size, 0));
    bool equal = true;
    size_t i;
    json_array_foreach(size, i, one) equal &= json_integer_value(one) == first;
    if (!first || !equal) return "kernel_size";
    return kp_arena_fmt(t->e->arena, "%lld", (long long)first);
}

/* ---- the edits ---- */

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
    static const char *const pools[] = {[3] = "GlobalAveragePooling1D",
                                        [4] = "GlobalAveragePooling2D",
                                        [5] = "GlobalAveragePooling3D"};
    const kp_graph *g = t->e->look.graph;
    uint32_t flatten = flatten_before(g, t->layer);
    unsigned rank = 0;
    for (uint32_t i = 0; i < g->n_ops && flatten != KP_NO; i++)
        if (g->ops[i].layer == flatten && g->ops[i].n_in)
            rank = g->tensors[g->ops[i].in[0]].shape.rank;
    if (rank < 3 || rank > 5 || !open_layer(t, g->layers[flatten].path)) return false;
    json_object_set_new(t->json, "class_name", json_string(pools[rank]));
    json_object_set_new(t->config, "keepdims", json_false());
    kp_arena *a = t->e->arena;
    return say(t,
               kp_arena_fmt(a, "%s: %s instead of Flatten", g->layers[flatten].path, pools[rank]),
               kp_arena_fmt(a, "'%s' then has one input a channel instead of one a position",
                            t->layer->path),
               kp_arena_fmt(a, "layers.%s()", pools[rank]));
}

/* Halves the first of these keys of the layer's configuration. */
static bool halve_units(editing *t)
{
    static const char *const keys[] = {"units", "filters"};
    static const char *const classes[] = {"Dense",  "LSTM",   "GRU",    "SimpleRNN",
                                          "Conv2D", "Conv1D", "Conv3D", "Conv2DTranspose"};
    if (!open_layer(t, t->layer->path) || !is_one_of(class_of(t->json), classes, KP_LEN(classes)))
        return false;
    kp_arena *a = t->e->arena;
    for (size_t i = 0; i < KP_LEN(keys); i++) {
        json_int_t n = json_integer_value(json_object_get(t->config, keys[i]));
        if (n < 2 || n % 2) continue;
        json_object_set_new(t->config, keys[i], json_integer(n / 2));
        return say(
            t,
            kp_arena_fmt(a, "%s: %s %lld instead of %lld", t->layer->path, keys[i],
                         (long long)n / 2, (long long)n),
            i ? "half as many maps: its own output halves, and the weights of the layer "
                "that reads it"
              : "half as wide: its own weights halve, and those of the layer that reads it",
            i ? kp_arena_fmt(a, "layers.%s(%lld, %s, ...)", class_of(t->json), (long long)n / 2,
                             kernel_text(t))
              : kp_arena_fmt(a, "layers.%s(%lld, ...)", class_of(t->json), (long long)n / 2));
    }
    return false;
}

static bool stride(editing *t)
{
    static const char *const classes[] = {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D",
                                          "SeparableConv2D"};
    if (!open_layer(t, t->layer->path) || !is_one_of(class_of(t->json), classes, KP_LEN(classes)))
        return false;
    json_t *strides = json_object_get(t->config, "strides"), *one;
    size_t i, n = json_array_size(strides);
    json_array_foreach(strides, i, one) if (json_integer_value(one) != 1) return false;
    if (!n) return false;
    json_t *twos = json_array();
    for (i = 0; i < n; i++) json_array_append_new(twos, json_integer(2));
    json_object_set_new(t->config, "strides", twos);
    json_int_t filters = json_integer_value(json_object_get(t->config, "filters"));
    kp_arena *a = t->e->arena;
    const char *first = filters ? kp_arena_fmt(a, "%lld, ", (long long)filters) : "";
    return say(t, kp_arena_fmt(a, "%s: strides 2 instead of 1", t->layer->path),
               n == 2 ? "a quarter of its output, and of every map behind it; a pooling layer "
                        "behind it does as much for what follows"
                      : "a smaller output, and smaller maps behind it",
               first ? kp_arena_fmt(a, "layers.%s(%s%s, strides=2, ...)", class_of(t->json), first,
                                    kernel_text(t))
                     : NULL);
}

static bool last_step(editing *t)
{
    static const char *const classes[] = {"LSTM", "GRU", "SimpleRNN"};
    if (!open_layer(t, t->layer->path) || !is_one_of(class_of(t->json), classes, KP_LEN(classes)) ||
        !json_is_true(json_object_get(t->config, "return_sequences")))
        return false;
    json_object_set_new(t->config, "return_sequences", json_false());
    kp_arena *a = t->e->arena;
    return say(t, kp_arena_fmt(a, "%s: return_sequences False instead of True", t->layer->path),
               "if only the last step is needed: the output of every step is not handed on",
               kp_arena_fmt(a, "layers.%s(%lld)", class_of(t->json),
                            json_integer_value(json_object_get(t->config, "units"))));
}

/* The shape of the model's first input, in the copy of its layer; NULL if the file fixes none. */
static json_t *input_shape(editing *t)
{
    static const char *const keys[] = {"batch_shape", "batch_input_shape"};
    const kp_graph *g = t->e->look.graph;
    if (!g->n_inputs) return NULL;
    t->layer = &g->layers[g->tensors[g->inputs[0]].layer];
    if (!open_layer(t, t->layer->path)) return NULL;
    for (size_t i = 0; i < KP_LEN(keys); i++) {
        json_t *shape = json_object_get(t->config, keys[i]);
        if (json_is_array(shape)) return shape;
    }
    return NULL;
}

/* "layers.Input((128, 128, 3))" */
static const char *input_code(const editing *t, json_t *shape)
{
    kp_buf text;
    size_t n = json_array_size(shape);
    kp_buf_init(&text, 256);
    kp_buf_str(&text, "layers.Input((");
    for (size_t i = 1; i < n; i++) {
        json_t *dim = json_array_get(shape, i);
        if (json_is_integer(dim))
            kp_buf_fmt(&text, "%s%lld", i > 1 ? ", " : "", (long long)json_integer_value(dim));
        else
            kp_buf_fmt(&text, "%sNone", i > 1 ? ", " : "");
    }
    kp_buf_str(&text, n == 2 ? ",))" : "))");
    const char *code = text.failed ? NULL : kp_arena_str(t->e->arena, kp_buf_text(&text));
    kp_buf_release(&text);
    return code;
}

/* A quarter of the steps of the model's first input, where the file fixes them. */
static bool shorten(editing *t)
{
    json_t *shape = input_shape(t);
    json_int_t steps = json_integer_value(json_array_get(shape, 1));
    if (steps < 4 || json_array_size(shape) > 3) return false;
    json_array_set_new(shape, 1, json_integer(steps / 4));
    return say(t,
               kp_arena_fmt(t->e->arena, "%s: %lld steps instead of %lld", t->layer->path,
                            (long long)steps / 4, (long long)steps),
               "train on windows of the sequence (stateful, or cut): what the layers keep grows "
               "with the steps",
               input_code(t, shape));
}

/* Half of every side of a picture or volume: tiles of it, or a smaller one. */
static bool resize(editing *t)
{
    enum { SIDE_MIN = 16, CHANNELS_MAX = 4 };
    json_t *shape = input_shape(t);
    size_t n = json_array_size(shape), first = 1, end = n - 1;
    json_int_t dims[5] = {0}, side = 0;
    if (n < 4 || n > KP_LEN(dims)) return false;
    for (size_t i = 1; i < n; i++) dims[i] = json_integer_value(json_array_get(shape, i));
    bool channels_first = dims[1] <= CHANNELS_MAX && dims[n - 1] > CHANNELS_MAX;
    if (channels_first || (n == 5 && dims[1] < SIDE_MIN)) first = 2; /* channels, or frames */
    if (channels_first) end = n;
    for (size_t i = first; i < end; i++) {
        if (dims[i] < 2 * SIDE_MIN) return false;
        side = dims[i] > side ? dims[i] : side;
        json_array_set_new(shape, i, json_integer(dims[i] / 2));
    }
    kp_arena *a = t->e->arena;
    return say(t,
               kp_arena_fmt(a, "%s: sides of %lld instead of %lld", t->layer->path,
                            (long long)side / 2, (long long)side),
               "train on tiles of half the side, or on smaller pictures: every map shrinks with "
               "them",
               input_code(t, shape));
}

/* The file says that attention runs op by op. */
static bool fuse(editing *t)
{
    static const char *const keys[] = {"attn_implementation", "_attn_implementation"};
    for (size_t i = 0; i < KP_LEN(keys); i++) {
        json_t *old = json_object_get(t->e->json, keys[i]);
        const char *name = json_string_value(old);
        if (!name || strcmp(name, "eager")) continue;
        *t->edited = (kp_edited){.object = t->e->json, .old = json_incref(old), .key = keys[i]};
        json_object_set_new(t->e->json, keys[i], json_string("sdpa"));
        return say(t, kp_arena_fmt(t->e->arena, "%s: sdpa instead of eager", keys[i]),
                   "a fused kernel never writes the scores of every pair of positions",
                   "AutoModelForCausalLM.from_pretrained(..., attn_implementation=\"sdpa\")");
    }
    return false;
}

static bool (*const edits[KP_EDIT_COUNT])(editing *) = {
    [KP_EDIT_POOL_FLATTEN] = pool_flatten,
    [KP_EDIT_HALVE_UNITS] = halve_units,
    [KP_EDIT_STRIDE] = stride,
    [KP_EDIT_LAST_STEP] = last_step,
    [KP_EDIT_SHORTEN] = shorten,
    [KP_EDIT_RESIZE] = resize,
    [KP_EDIT_FUSE] = fuse,
};

void kp_explain_unedit(kp_edited *edited)
{
    if (edited->list) json_array_set_new(edited->list, edited->at, edited->old);
    if (edited->object) json_object_set_new(edited->object, edited->key, edited->old);
    *edited = (kp_edited){0};
}

bool kp_explain_edit(const kp_explaining *e, kp_edit edit, uint32_t layer, kp_edited *ret,
                     const char **ret_change, const char **ret_message, const char **ret_code)
{
    *ret = (kp_edited){0};
    editing t = {.e = e, .edited = ret, .layer = &e->look.graph->layers[layer]};
    if (!edits[edit](&t)) {
        if (t.json || ret->object) kp_explain_unedit(ret);
        return false;
    }
    *ret_change = t.change;
    *ret_message = t.message;
    if (ret_code) *ret_code = t.code;
    return true;
}
