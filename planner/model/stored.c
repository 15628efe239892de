/* SPDX-License-Identifier: MIT */
#include "planner/model/stored.h"
#include <ctype.h>
#include <inttypes.h>

typedef struct weight {
    const char *path;
    kp_shape shape;
    kp_dtype dtype;
} weight;

/* A layer in the order of (parent, name of its group), so that brothers of one name stand together
 * in the file's order. */
typedef struct group {
    uint32_t layer, parent;
    const char *name;
} group;

struct kp_stored {
    bool by_name;     /* groups are called as layers */
    const char *root; /* of a model's layers: "layers" */
    weight *weights;  /* sorted by path */
    uint32_t n_weights;
    const char **names; /* of each layer's group within its parent's */
};

/* ---- the list of weights ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const weight *)a)->path, ((const weight *)b)->path);
}

/* Scalars have rank 0; sizes that are no sizes make the weight one that is left out. */
static bool read_weight(json_t *json, weight *ret)
{
    json_t *shape = json_object_get(json, "shape");
    const char *dtype = json_string_value(json_object_get(json, "dtype"));
    ret->path = json_string_value(json_object_get(json, "path"));
    ret->shape = (kp_shape){.rank = (uint8_t)json_array_size(shape)};
    if (!ret->path || !dtype || json_array_size(shape) > KP_RANK_MAX) return false;
    for (unsigned i = 0; i < ret->shape.rank; i++) {
        ret->shape.dim[i] = json_integer_value(json_array_get(shape, i));
        if (ret->shape.dim[i] < 1 || ret->shape.dim[i] > KP_DIM_MAX) return false;
    }
    return kp_dtype_from_name(dtype, &ret->dtype);
}

static kp_status read_weights(kp_build *b, kp_stored *stored)
{
    json_t *list = json_object_get(b->container, "weights");
    const char *kind = json_string_value(json_object_get(b->container, "kind"));
    stored->by_name = kind && !strcmp(kind, "hdf5");
    stored->root = stored->by_name ? "model_weights" : "layers";
    stored->weights = KP_NEW(b->arena, weight, json_array_size(list));
    if (!stored->weights) return kp_nomem(b->err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        weight *w = &stored->weights[stored->n_weights];
        static const char old[] = "_layer_checkpoint_dependencies"; /* Keras 2.12 */
        if (!read_weight(json_array_get(list, i), w)) continue;
        if (!strncmp(w->path, old, sizeof(old) - 1)) stored->root = old;
        stored->n_weights++;
    }
    if (stored->n_weights) qsort(stored->weights, stored->n_weights, sizeof(weight), by_path);
    return KP_OK;
}

/* ---- names of groups ---- */

/* "TFOpLambda" is "tf_op_lambda": a '_' before a capital that a small letter follows, or that
 * follows a small letter (to_snake_case of keras/src/utils/naming.py). */
static const char *snake(kp_arena *arena, const char *name)
{
    size_t n = strlen(name), to = 0;
    char *text = KP_NEW(arena, char, 2 * n + 1);
    for (size_t i = 0; text && i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        bool after = to && islower((unsigned char)name[i - 1]);
        bool before = to && islower((unsigned char)name[i + 1]);
        if (!isalnum(c) && c != '_') continue;
        if (isupper(c) && (after || before)) text[to++] = '_';
        text[to++] = (char)tolower(c);
    }
    return text;
}

static int by_brothers(const void *a, const void *b)
{
    const group *x = a, *y = b;
    if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : x->layer < y->layer ? -1 : x->layer > y->layer;
}

/* Operations are no layers: Keras leaves them out of a model's list. */
static kp_status list_groups(kp_build *b, group *groups, uint32_t *ret_n)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_layers; i++) {
        const kp_layer *l = &b->layers[i];
        if (kp_row_is_math(l->row)) continue;
        groups[n] =
            (group){.layer = i, .parent = l->parent, .name = snake(b->arena, l->class_name)};
        if (!groups[n++].name) return kp_nomem(b->err);
    }
    qsort(groups, n, sizeof(*groups), by_brothers);
    *ret_n = n;
    return KP_OK;
}

static kp_status name_groups(kp_build *b, kp_stored *stored)
{
    uint32_t n = 0, nth = 0;
    group *groups = KP_NEW(b->arena, group, b->n_layers);
    stored->names = KP_NEW(b->arena, const char *, b->n_layers);
    if (!groups || !stored->names) return kp_nomem(b->err);
    if (!b->n_layers || stored->by_name) return KP_OK;
    KP_TRY(list_groups(b, groups, &n));
    for (uint32_t i = 0; i < n; i++) {
        bool same = i && groups[i].parent == groups[i - 1].parent &&
                    !strcmp(groups[i].name, groups[i - 1].name);
        nth = same ? nth + 1 : 0;
        const char *name =
            nth ? kp_arena_fmt(b->arena, "%s_%" PRIu32, groups[i].name, nth) : groups[i].name;
        if (!name) return kp_nomem(b->err);
        stored->names[groups[i].layer] = name;
    }
    return KP_OK;
}

/* Read when the first layer asks. */
static kp_status get_stored(kp_build *b, const kp_stored **ret)
{
    *ret = b->stored;
    if (b->stored) return KP_OK;
    kp_stored *stored = KP_NEW(b->arena, kp_stored, 1);
    if (!stored) return kp_nomem(b->err);
    KP_TRY(read_weights(b, stored));
    KP_TRY(name_groups(b, stored));
    b->stored = *ret = stored;
    return KP_OK;
}

/* "layers/functional/layers/dense_1/". In an HDF5 file all of a nested model's weights are in the
 * group of the outermost, below their own layer's name. */
static const char *group_path(const kp_build *b, const kp_stored *stored, uint32_t layer)
{
    const kp_layer *l = &b->layers[layer];
    if (l->parent == KP_NO)
        return kp_arena_fmt(b->arena, "%s/%s/", stored->root,
                            stored->by_name ? l->name : stored->names[layer]);
    if (stored->by_name) {
        uint32_t top = l->parent;
        while (b->layers[top].parent != KP_NO) top = b->layers[top].parent;
        return kp_arena_fmt(b->arena, "%s/%s/%s/", stored->root, b->layers[top].name, l->name);
    }
    const char *outer = group_path(b, stored, l->parent);
    return outer ? kp_arena_fmt(b->arena, "%s%s/%s/", outer, stored->root, stored->names[layer])
                 : NULL;
}

/* ---- one layer ---- */

/* True if weights at .. at + 3 are the variables 0 to 3 of one group and vectors of one length:
 * those of a BatchNormalization, whose last two are statistics. */
static bool is_batch_norm(const kp_stored *stored, uint32_t at)
{
    const weight *w = &stored->weights[at];
    size_t n = strlen(w->path);
    if (n < 6 || strcmp(w->path + n - 6, "vars/0") || stored->n_weights - at < 4) return false;
    for (uint32_t i = 0; i < 4; i++) {
        bool brother = !strncmp(w[i].path, w->path, n - 1) && w[i].path[n - 1] == (char)('0' + i) &&
                       !w[i].path[n];
        if (!brother || w[i].shape.rank != 1 || w[i].shape.dim[0] != w->shape.dim[0]) return false;
    }
    bool fifth = stored->n_weights - at > 4 && !strncmp(w[4].path, w->path, n - 1);
    return !fifth;
}

/* What training does not change: statistics by their place or, in HDF5 files, by their name. */
static bool is_statistic(const kp_stored *stored, uint32_t at)
{
    const char *path = stored->weights[at].path;
    if (strstr(path, "moving_mean") || strstr(path, "moving_variance")) return true;
    return (at >= 2 && is_batch_norm(stored, at - 2)) || (at >= 3 && is_batch_norm(stored, at - 3));
}

/* A name for people: "query_dense/vars/0" is "query_dense.0", "vars/0" is "vars.0", "kernel:0" is
 * "kernel". */
static const char *short_name(kp_arena *arena, const char *name)
{
    static const char vars[] = "/vars/";
    const char *at = strstr(name, vars);
    size_t n = strlen(name);
    if (at) return kp_arena_fmt(arena, "%.*s.%s", (int)(at - name), name, at + sizeof(vars) - 1);
    if (!strncmp(name, vars + 1, sizeof(vars) - 2))
        return kp_arena_fmt(arena, "vars.%s", name + sizeof(vars) - 2);
    if (n > 2 && !strcmp(name + n - 2, ":0")) n -= 2; /* TensorFlow's number of an output */
    return kp_arena_strn(arena, name, n);
}

static kp_status declare(kp_rule *rule, const kp_stored *stored, uint32_t at, size_t skip)
{
    const weight *w = &stored->weights[at];
    const char *own = short_name(rule->arena, w->path + skip);
    if (!own) return kp_nomem(rule->err);
    bool state = strstr(own, "seed_generator") != NULL, statistic = is_statistic(stored, at);
    kp_weight_role role = state               ? KP_ROLE_STATE
                          : statistic         ? KP_ROLE_STAT
                          : w->shape.rank > 1 ? KP_ROLE_KERNEL
                                              : KP_ROLE_BIAS;
    bool trainable = !state && !statistic && kp_dtype_is_float(w->dtype);
    return kp_rule_weight_typed(rule, own, role, w->shape, trainable, w->dtype);
}

/* The first that is not before `path`. */
static uint32_t lower_bound(const kp_stored *stored, const char *path)
{
    uint32_t from = 0, to = stored->n_weights;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (strcmp(stored->weights[mid].path, path) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

kp_status kp_stored_declare(kp_rule *rule)
{
    kp_build *b = rule->build;
    const kp_stored *stored;
    if (!rule->first) rule->n_weights = b->layers[rule->layer].n_weights;
    if (!rule->first || !b->container || kp_row_is_math(rule->row)) return KP_OK;
    KP_TRY(get_stored(b, &stored));
    const char *path = group_path(b, stored, rule->layer);
    if (!path) return kp_nomem(rule->err);
    size_t n = strlen(path);
    for (uint32_t i = lower_bound(stored, path); i < stored->n_weights; i++) {
        if (strncmp(stored->weights[i].path, path, n)) break;
        KP_TRY(declare(rule, stored, i, n));
        rule->n_weights++;
    }
    return KP_OK;
}

kp_status kp_stored_attach(kp_rule *rule, uint32_t tensor)
{
    kp_build *b = rule->build;
    uint32_t n = rule->n_weights;
    uint32_t *weights = KP_NEW(rule->arena, uint32_t, n);
    if (!weights) return kp_nomem(rule->err);
    for (uint32_t i = 0; i < n; i++) weights[i] = rule->first_weight + i;
    kp_graph_op *op = &b->ops[b->tensors[tensor].op];
    op->weights = weights;
    op->n_weights = n;
    return KP_OK;
}

kp_status kp_stored_warn(kp_build *build)
{
    json_t *list = json_object_get(build->container, "warnings");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text) continue;
        KP_TRY(kp_build_warn(build, "container", KP_NO, kp_arena_str(build->arena, text)));
    }
    return KP_OK;
}
