/* SPDX-License-Identifier: MIT
 *
 * Models of keras.applications against what Keras itself reports of them (tests/data/apps). */
#include "models.h"
#include <criterion/criterion.h>
#include <jansson.h>

static const char *const apps[] = {"ConvNeXtTiny", "EfficientNetB0", "MobileNet",
                                   "MobileNetV3Small", "ResNet50V2", "VGG16"};

static int64_t number(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json, key));
}

/* The batch is null, every other size a number. */
static bool same_shape(const json_t *fact, kp_shape shape)
{
    if (json_array_size(fact) != shape.rank) return false;
    for (unsigned i = 0; i < shape.rank; i++) {
        const json_t *dim = json_array_get(fact, i);
        bool open = (shape.per_sample >> i & 1) || shape.dim[i] == KP_DIM_OPEN;
        if (open ? !json_is_null(dim) : json_integer_value(dim) != shape.dim[i]) return false;
    }
    return true;
}

static bool same_weight(const json_t *fact, const kp_weight *w)
{
    const char *dtype = json_string_value(json_array_get(fact, 2));
    return !strcmp(json_string_value(json_array_get(fact, 0)), w->path) &&
           same_shape(json_array_get(fact, 1), w->shape) &&
           !strcmp(dtype, kp_dtype_names[w->dtype]) &&
           json_is_true(json_array_get(fact, 3)) == w->trainable;
}

static void compare_weights(const char *app, const kp_graph *g, const kp_layer *layer,
                            const json_t *facts)
{
    cr_expect_eq(json_array_size(facts), layer->n_weights, "%s: %s", app, layer->path);
    for (uint32_t i = 0; i < layer->n_weights && i < json_array_size(facts); i++) {
        const kp_weight *w = &g->weights[layer->first_weight + i];
        cr_expect(same_weight(json_array_get(facts, i), w), "%s: %s", app, w->path);
    }
}

static uint64_t params_below(const kp_graph *g, uint32_t layer, bool trainable_only)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->layers[layer].n_weights; i++) {
        const kp_weight *w = &g->weights[g->layers[layer].first_weight + i];
        if (!trainable_only || w->trainable) sum += kp_shape_elems(w->shape, 1);
    }
    for (uint32_t at = g->layers[layer].first_child; at != KP_NO; at = g->layers[at].next)
        sum += params_below(g, at, trainable_only);
    return sum;
}

static void compare_level(const char *app, const kp_graph *g, uint32_t first, const json_t *facts)
{
    size_t i = 0;
    for (uint32_t at = first; at != KP_NO; at = g->layers[at].next, i++) {
        const kp_layer *layer = &g->layers[at];
        const json_t *fact = json_array_get(facts, i);
        const json_t *shapes = json_array_get(json_object_get(fact, "node_output_shapes"), 0);
        const char *name = json_string_value(json_object_get(fact, "name"));
        cr_assert_not_null(name, "%s: %s is no layer of Keras's", app, layer->path);
        const char *slash = strrchr(name, '/');
        cr_expect_str_eq(slash ? slash + 1 : name, layer->name, "%s", app);
        cr_expect_eq(json_array_size(shapes), layer->n_outputs, "%s: %s", app, layer->path);
        for (uint32_t j = 0; j < layer->n_outputs; j++)
            cr_expect(same_shape(json_array_get(shapes, j), layer->outputs[j]), "%s: %s: %s", app,
                      layer->path, kp_shape_text(layer->outputs[j], 0).s);
        cr_expect_eq(number(fact, "params"), params_below(g, at, false), "%s: %s", app,
                     layer->path);
        cr_expect_eq(number(fact, "trainable"), params_below(g, at, true), "%s: %s", app,
                     layer->path);
        compare_weights(app, g, layer, json_object_get(fact, "weights"));
        if (layer->is_model)
            compare_level(app, g, layer->first_child, json_object_get(fact, "nested"));
    }
    cr_expect_eq(i, json_array_size(facts), "%s: %zu layers", app, i);
}

Test(apps, agree_with_keras)
{
    for (size_t i = 0; i < KP_LEN(apps); i++) {
        char path[64];
        snprintf(path, sizeof(path), "apps/%s.json", apps[i]);
        kp_reading r = kp_read_data(path, NULL);
        cr_assert_eq(r.status, KP_OK, "%s: %s: %s", apps[i], r.err.where, r.err.msg);
        char full[80];
        snprintf(full, sizeof(full), "tests/data/%s", path);
        json_t *facts = json_load_file(full, 0, NULL);
        cr_assert_not_null(facts);
        cr_expect_eq(number(facts, "total_params"), r.graph->params, "%s", apps[i]);
        cr_expect_eq(number(facts, "trainable_params"), r.graph->trainable_params, "%s", apps[i]);
        cr_expect_eq(r.graph->n_warnings, 0, "%s", apps[i]);
        cr_expect_eq(r.graph->format, KP_FORMAT_KERAS_3);
        compare_level(apps[i], r.graph, r.graph->first_layer, json_object_get(facts, "layers"));
        json_decref(facts);
        kp_reading_free(&r);
    }
}

/* Whole models: parameters as Keras counts them, forward work a sample as the formulas give it. */
static const struct {
    const char *file;
    uint64_t params;
    const char *output;
    double gflops;
} models[] = {
    {"models/dense.json", 8403978, "(None, 10)", 0.016807},
    {"models/cnn.json", 156194442, "(None, 10)", 220.732},
    {"models/lstm.json", 922122, "(None, 10)", 0.94267},
    {"models/transformer.json", 2452800, "(None, 64, 8000)", 0.18928},
    {"models/resnet50.json", 25636712, "(None, 1000)", 7.796},
};

Test(apps, whole_models)
{
    for (size_t i = 0; i < KP_LEN(models); i++) {
        kp_reading r = kp_read_data(models[i].file, NULL);
        cr_assert_eq(r.status, KP_OK, "%s: %s: %s", models[i].file, r.err.where, r.err.msg);
        double flops = 0;
        for (uint32_t j = 0; j < r.graph->n_ops; j++) flops += r.graph->ops[j].forward_flops;
        cr_expect_eq(r.graph->params, models[i].params, "%s", models[i].file);
        cr_expect_str_eq(kp_shape_text(r.graph->tensors[r.graph->outputs[0]].shape, 0).s,
                         models[i].output, "%s", models[i].file);
        cr_expect_float_eq(flops / 1e9 / models[i].gflops, 1, 1e-3, "%s: %g", models[i].file,
                           flops);
        cr_expect(r.graph->n_warnings == 0 && r.graph->n_open == 0, "%s", models[i].file);
        kp_reading_free(&r);
    }
}
