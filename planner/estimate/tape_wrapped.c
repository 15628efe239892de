/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_wrapped.c — Megatron's modules under torch's FSDP, each wrapped by itself.
 *
 * Galvatron wraps every block of a transformer, its norm, its head and its embeddings. A unit's
 * weights are gathered in the compute type while its passes run; in the backward pass those of the
 * unit below come before it begins (BackwardPrefetch.BACKWARD_PRE), but in pipelines. Its gradients
 * are whole and in that type until the unit is done; then they are copied into one tensor, which is
 * reduced and scattered, and each rank keeps its share. Source: Hetu-Galvatron,
 * galvatron/core/parallel.py; torch/distributed/fsdp/_runtime_utils.py, _flat_param.py. */
#include "planner/estimate/taping.h"

bool kp_tape_has_units(const kp_taping *t)
{
    const kp_strategy *s = &t->part->strategy;
    bool modules = t->graph->format == KP_FORMAT_MEGATRON;
    return modules && t->training->framework == KP_FW_TORCH && s->zero == 3 &&
           (s->dp > 1 || (s->tp > 1 && t->training->launch.ends_apart));
}

/* By a layer that stands for it. */
static uint32_t unit_of(const kp_taping *t, uint32_t op)
{
    return t->unit[t->graph->ops[op].layer];
}

static uint32_t outermost(const kp_graph *g, uint32_t layer)
{
    while (g->layers[layer].parent != KP_NO) layer = g->layers[layer].parent;
    return layer;
}

/* Outermost layers; those before a transformer's blocks are one unit. */
kp_status kp_tape_units(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint32_t front = KP_NO;
    if (!kp_tape_has_units(t)) return KP_OK;
    t->unit = KP_NEW(t->arena, uint32_t, g->n_layers);
    if (!t->unit) return kp_nomem(t->err);
    for (uint32_t i = 0; i < g->n_layers; i++) t->unit[i] = outermost(g, i);
    for (uint32_t i = 0; i < g->n_ops; i++) {
        uint32_t layer = g->ops[i].layer;
        if (g->layers[t->unit[layer]].is_model) break;
        if (front == KP_NO) front = t->unit[layer];
        t->unit[layer] = front;
    }
    return KP_OK;
}

static bool in_unit(const kp_taping *t, uint32_t weight, uint32_t unit)
{
    return t->here[weight] && t->unit[t->graph->weights[weight].layer] == unit;
}

static uint64_t compute_bytes(const kp_taping *t, uint32_t weight, kp_dtype *ret)
{
    *ret = kp_taping_compute(t, weight);
    return kp_mul_u64(kp_sizes_weight_elems(&t->sizes, weight), kp_dtype_bytes(*ret));
}

static void take(kp_taping *t, uint32_t unit)
{
    uint64_t bytes = 0;
    kp_dtype dtype;
    if (t->gathered[unit] != KP_NO) return;
    for (uint32_t w = 0; w < t->graph->n_weights; w++)
        if (in_unit(t, w, unit)) bytes = kp_add_u64(bytes, compute_bytes(t, w, &dtype));
    kp_taping_new b = {
        KP_CAT_COMMUNICATION, unit, KP_NO, "gathered weights", NULL, KP_UINT8, bytes};
    t->gathered[unit] = kp_taping_take(t, &b, 1);
}

static void drop(kp_taping *t, uint32_t unit)
{
    kp_taping_drop(t, t->gathered[unit]);
    t->gathered[unit] = KP_NO;
}

void kp_tape_unit_forward(kp_taping *t, uint32_t op)
{
    if (kp_tape_has_units(t)) take(t, unit_of(t, op));
}

void kp_tape_unit_forward_end(kp_taping *t, uint32_t op)
{
    if (!kp_tape_has_units(t) || t->again) return; /* once more for the backward pass: it stays */
    uint32_t unit = unit_of(t, op);
    if (op + 1 == t->part->end_op || unit_of(t, op + 1) != unit) drop(t, unit);
}

/* The nearest unit with weights below an op's. */
static uint32_t below(const kp_taping *t, uint32_t op)
{
    uint32_t unit = unit_of(t, op);
    for (uint32_t i = op; i-- > t->part->first_op;)
        if (t->graph->ops[i].n_weights && unit_of(t, i) != unit) return unit_of(t, i);
    return KP_NO;
}

void kp_tape_unit_backward(kp_taping *t, uint32_t op)
{
    uint32_t unit;
    if (!kp_tape_has_units(t)) return;
    bool first = op + 1 == t->part->end_op || unit_of(t, op + 1) != unit_of(t, op);
    take(t, unit_of(t, op));
    bool ahead = t->part->strategy.pp == 1; /* pipelines do without */
    if (first && ahead && (unit = below(t, op)) != KP_NO) take(t, unit);
}

/* A unit's gradients in one tensor, beside themselves. */
static uint32_t take_flat(kp_taping *t, uint32_t unit)
{
    uint64_t bytes = 0;
    for (uint32_t w = 0; w < t->graph->n_weights; w++)
        if (t->unit_grad[w] != KP_NO && in_unit(t, w, unit))
            bytes = kp_add_u64(bytes, t->buffers[t->unit_grad[w]].bytes);
    kp_taping_new b = {
        KP_CAT_COMMUNICATION, unit, KP_NO, "gradients to reduce", NULL, KP_UINT8, bytes};
    return kp_taping_take(t, &b, 1);
}

void kp_tape_unit_backward_end(kp_taping *t, uint32_t op)
{
    if (!kp_tape_has_units(t)) return;
    uint32_t unit = unit_of(t, op);
    if (op > t->part->first_op && unit_of(t, op - 1) == unit) return;
    uint32_t flat = take_flat(t, unit);
    for (uint32_t w = 0; w < t->graph->n_weights; w++) {
        kp_dtype dtype;
        if (t->unit_grad[w] == KP_NO || !in_unit(t, w, unit)) continue;
        kp_taping_drop(t, t->unit_grad[w]);
        t->unit_grad[w] = KP_NO;
        uint64_t bytes = kp_taping_grad_bytes(t, w, &dtype);
        if (t->weight_grad[w] == KP_NO)
            t->weight_grad[w] =
                kp_taping_weight(t, w, KP_CAT_GRADIENTS, KP_TEXT_GRADIENT, dtype,
                                 kp_ceil_div(bytes, kp_taping_weight_shards(t, 2, w)), 1);
    }
    kp_taping_drop(t, flat);
    drop(t, unit);
}

void kp_tape_unit_gradient(kp_taping *t, uint32_t weight)
{
    kp_dtype dtype;
    uint64_t bytes = compute_bytes(t, weight, &dtype);
    uint32_t fresh =
        kp_taping_weight(t, weight, KP_CAT_GRADIENTS, KP_TEXT_GRADIENT, dtype, bytes, 1);
    t->left[weight]--;
    if (t->unit_grad[weight] == KP_NO)
        t->unit_grad[weight] = fresh;
    else
        kp_taping_drop(t, fresh); /* added to what is there */
}
