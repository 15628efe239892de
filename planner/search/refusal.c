/* SPDX-License-Identifier: MIT */
#include "planner/search/refusal.h"
#include <inttypes.h>
#include <math.h>

/* A request that is changed, with copies of what a change may touch. */
typedef struct variant {
    kp_search_request request;
    kp_options options;
    kp_training training;
    kp_graph graph;
    kp_cluster cluster;
    kp_arena *arena;
    const char *text; /* the change, as an option; NULL: it does not apply */
} variant;

static void variant_init(variant *v, const kp_search_request *request, kp_arena *arena)
{
    *v = (variant){.request = *request,
                   .options = *request->options,
                   .training = *request->training,
                   .graph = *request->graph,
                   .cluster = *request->cluster,
                   .arena = arena};
    v->request.options = &v->options;
    v->request.training = &v->training;
    v->request.graph = &v->graph;
    v->request.cluster = &v->cluster;
}

/* ---- the changes: each sets v->text if it applies. `size` counts 1, 2, ... for those that may be
 * made larger; false: it cannot be. ---- */

static bool change_recompute(variant *v, unsigned size)
{
    bool fixed =
        v->options.recompute == KP_RECOMPUTE_NONE || v->options.recompute == KP_RECOMPUTE_SELECTIVE;
    v->options.recompute = KP_RECOMPUTE_FULL;
    v->text = "--recompute full";
    return fixed && size == 1;
}

static bool change_micro_batch(variant *v, unsigned size)
{
    bool fixed = v->options.micro_batch != UINT32_MAX && v->options.micro_batch > 1;
    v->options.micro_batch = 1;
    v->text = "--micro-batch 1";
    return fixed && size == 1;
}

static bool change_zero(variant *v, unsigned size)
{
    bool fixed = v->options.zero < 3;
    v->options.zero = 3;
    v->text = "--zero 3";
    return fixed && size == 1;
}

static bool change_degrees(variant *v, unsigned size)
{
    bool fixed =
        v->options.dp != UINT32_MAX || v->options.tp != UINT32_MAX || v->options.pp != UINT32_MAX;
    v->options.dp = v->options.tp = v->options.pp = UINT32_MAX;
    v->text = "without --dp, --tp and --pp";
    return fixed && size == 1;
}

static bool change_target(variant *v, unsigned size)
{
    bool narrow = v->training.target != KP_TARGET_ANY;
    v->training.target = KP_TARGET_ANY;
    v->text = "--target any";
    return narrow && size == 1;
}

/* Values in half the bytes, weights as they are. */
static bool change_precision(variant *v, unsigned size)
{
    bool full = false;
    kp_tensor *tensors = KP_NEW(v->arena, kp_tensor, v->graph.n_tensors);
    kp_layer *layers = KP_NEW(v->arena, kp_layer, v->graph.n_layers);
    if (!tensors || !layers || size > 1) return false;
    for (uint32_t i = 0; i < v->graph.n_tensors; i++) {
        tensors[i] = v->graph.tensors[i];
        if (tensors[i].dtype != KP_FLOAT32) continue;
        full = true;
        tensors[i].dtype = KP_BFLOAT16;
    }
    for (uint32_t i = 0; i < v->graph.n_layers; i++) {
        layers[i] = v->graph.layers[i];
        if (layers[i].compute_dtype == KP_FLOAT32) layers[i].compute_dtype = KP_BFLOAT16;
    }
    v->graph.tensors = tensors;
    v->graph.layers = layers;
    v->text = "--dtype-policy mixed_bfloat16";
    return full;
}

static bool change_batch(variant *v, unsigned size)
{
    uint64_t batch = size < 63 ? v->training.batch >> size : 0;
    if (batch == 0 || batch << size != v->training.batch) return false;
    v->training.batch = batch;
    v->text = kp_arena_fmt(v->arena, "--batch %" PRIu64, batch);
    return true;
}

/* Twice the nodes each time, all like those that are there. No option: --nodes only takes a part of
 * what there is. */
static bool change_nodes(variant *v, unsigned size)
{
    uint32_t times = 1u << size, n = v->cluster.n_slots;
    if (size > 3 || n > UINT32_MAX / 16) return false;
    kp_slot *slots = KP_NEW(v->arena, kp_slot, (size_t)n * times);
    if (!slots) return false;
    for (uint32_t i = 0; i < n * times; i++) {
        slots[i] = v->cluster.slots[i % n];
        slots[i].node_index += i / n * v->cluster.n_nodes;
    }
    v->cluster.slots = slots;
    v->cluster.n_slots = n * times;
    v->cluster.n_nodes *= times;
    v->text = kp_arena_fmt(v->arena, "%" PRIu32 " such nodes", v->cluster.n_nodes);
    return true;
}

static bool change_optimizer(variant *v, unsigned size)
{
    bool has_slots = v->training.optimizer != KP_OPT_SGD;
    v->training.optimizer = KP_OPT_SGD;
    v->training.extra_slots = 0;
    v->text = "--optimizer sgd";
    return has_slots && size == 1;
}

/* From the smallest: what leaves the training as it is, then more of the cluster, then what
 * changes the numbers. */
static bool (*const changes[])(variant *v, unsigned size) = {
    change_micro_batch, change_recompute, change_zero,  change_degrees,   change_target,
    change_precision,   change_nodes,     change_batch, change_optimizer,
};

/* ---- searching again ---- */

/* *ret_applies false: the change makes no request that could be planned. */
static kp_status search_again(const variant *v, kp_arena *arena, bool *ret_applies,
                              kp_refusal_change *ret, kp_err *err)
{
    kp_ground chain, ground;
    kp_hunt least;
    kp_err dropped;
    *ret_applies = kp_space_check(&v->request, &dropped) == KP_OK;
    if (!*ret_applies) return KP_OK;
    KP_TRY(kp_ground_chain(&v->request, arena, &chain, err));
    KP_TRY(kp_ground_make(&chain, chain.cluster.n_slots, arena, &ground, err));
    KP_TRY(kp_hunt_smallest(&ground, arena, &least, err));
    *ret_applies = least.peak_bytes != UINT64_MAX;
    ret->peak_bytes = least.peak_bytes;
    ret->fits = least.found;
    return KP_OK;
}

/* The change in the smallest size that fits, else in the largest. The text outlives the search. */
static kp_status try_change(const kp_search_request *request,
                            bool (*change)(variant *v, unsigned size), kp_arena *arena,
                            bool *ret_applies, kp_refusal_change *ret, kp_err *err)
{
    char text[64] = "";
    kp_refusal_change best = {0};
    kp_arena_mark mark = kp_arena_tell(arena);
    for (unsigned size = 1; !best.fits; size++) {
        variant v;
        bool applies;
        variant_init(&v, request, arena);
        if (!change(&v, size) || !v.text) break;
        kp_status status = search_again(&v, arena, &applies, &best, err);
        if (status == KP_OK && applies) snprintf(text, sizeof(text), "%s", v.text);
        kp_arena_rewind(arena, mark);
        KP_TRY(status);
        if (!applies) break;
    }
    kp_arena_rewind(arena, mark);
    *ret_applies = text[0] != 0;
    best.change = *ret_applies ? kp_arena_str(arena, text) : NULL;
    if (*ret_applies && !best.change) return kp_nomem(err);
    *ret = best;
    return KP_OK;
}

/* In the table's order, those that fit first; what saves nothing is no change. */
static kp_status list_changes(const kp_search_request *request, kp_arena *arena, kp_refusal *ret,
                              kp_err *err)
{
    kp_refusal_change not_enough[KP_LEN(changes)];
    uint32_t n_not = 0;
    ret->changes = KP_NEW(arena, kp_refusal_change, KP_LEN(changes));
    if (!ret->changes) return kp_nomem(err);
    ret->n_changes = 0;
    for (size_t i = 0; i < KP_LEN(changes); i++) {
        kp_refusal_change change;
        bool applies;
        KP_TRY(try_change(request, changes[i], arena, &applies, &change, err));
        if (applies && change.fits)
            ret->changes[ret->n_changes++] = change;
        else if (applies && change.peak_bytes < ret->binding.peak_bytes)
            not_enough[n_not++] = change;
    }
    for (uint32_t i = 0; i < n_not; i++) ret->changes[ret->n_changes++] = not_enough[i];
    return KP_OK;
}

/* ---- the binding constraint ---- */

static uint64_t layer_bytes(const kp_layer_bytes *b)
{
    return kp_add_u64(kp_add_u64(b->weights, b->gradients),
                      kp_add_u64(b->optimizer, b->activations));
}

static kp_status find_binding(const kp_ground *ground, const kp_hunt *least, kp_arena *arena,
                              kp_refusal_binding *ret, uint64_t *ret_high, const kp_slot **ret_slot,
                              kp_err *err)
{
    const kp_graph *graph = ground->request->graph;
    uint64_t worst = 0;
    *ret_high = 0;
    for (uint32_t stage = 0; stage < least->strategy.pp; stage++) {
        kp_memory m;
        const kp_slot *slot = kp_ground_tightest(ground, &least->strategy, stage);
        KP_TRY(kp_ground_replay(ground, &least->strategy, least->borders, stage, &slot->device,
                                arena, &m, err));
        uint64_t over = kp_sub_u64(m.high_bytes, slot->device.usable_bytes);
        if (stage && over <= worst) continue;
        worst = over;
        uint32_t layer = 0;
        for (uint32_t i = 1; i < graph->n_layers; i++)
            if (layer_bytes(&m.layers[i]) > layer_bytes(&m.layers[layer])) layer = i;
        *ret = (kp_refusal_binding){.stage = stage,
                                    .layer = graph->layers[layer].path,
                                    .peak_bytes = kp_categories_sum(&m.peak),
                                    .usable_bytes = slot->device.usable_bytes,
                                    .bytes = m.peak};
        *ret_high = m.high_bytes;
        *ret_slot = slot;
    }
    return KP_OK;
}

/* "weights 24.1, optimizer 48.2, activations 19.0": the three largest, in GiB. */
static void list_largest(const kp_categories *bytes, char *text, size_t size)
{
    kp_categories left = *bytes;
    size_t len = 0;
    text[0] = 0;
    for (int i = 0; i < 3; i++) {
        int most = 0;
        for (int c = 1; c < KP_CAT_COUNT; c++)
            if (left.bytes[c] > left.bytes[most]) most = c;
        if (left.bytes[most] == 0 || len >= size) return;
        int n = snprintf(text + len, size - len, "%s%s %s", i ? ", " : "", kp_category_names[most],
                         kp_size_text(left.bytes[most]).s);
        len += n > 0 ? (size_t)n : 0;
        left.bytes[most] = 0;
    }
}

kp_status kp_refuse(const kp_ground *ground, const kp_hunt *least, kp_arena *arena, kp_refusal *ret,
                    kp_err *err)
{
    uint64_t high;
    const kp_slot *slot = kp_ground_tightest(ground, &least->strategy, 0);
    char parts[128];
    memset(ret, 0, sizeof(*ret));
    KP_TRY(find_binding(ground, least, arena, &ret->binding, &high, &slot, err));
    KP_TRY(list_changes(ground->request, arena, ret, err));
    const kp_refusal_binding *b = &ret->binding;
    list_largest(&b->bytes, parts, sizeof(parts));
    bool tight = b->peak_bytes <= b->usable_bytes;
    kp_fail(err, KP_INFEASIBLE,
            "no plan %s: the best needs %s%s%s on %s/gpu%" PRIu32 ", which has %s (%s)",
            tight ? "is sure to fit" : "fits", kp_size_text(b->peak_bytes).s,
            tight ? ", maybe up to " : "", tight ? kp_size_text(high).s : "", slot->node,
            slot->gpu_index, kp_size_text(b->usable_bytes).s, parts);
    const kp_refusal_change *best = &ret->changes[0];
    for (uint32_t i = 1; i < ret->n_changes; i++)
        if (!best->fits && ret->changes[i].peak_bytes < best->peak_bytes) best = &ret->changes[i];
    if (ret->n_changes)
        kp_hint(err, "%s %s: %s", best->change,
                best->fits ? "would fit" : "saves most and is not enough",
                kp_size_text(best->peak_bytes).s);
    return KP_INFEASIBLE;
}
