/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_units.c — blocks of a model: what torch's FSDP gathers at once and what
 * checkpointing recomputes together.
 *
 * A block is the ops whose layers share a path up to its first number ("model.layers.7"). FSDP
 * keeps the flat weights of one block whole while it runs and gathers the next beside it, in the
 * type that is computed in; what is in no block stays whole from the forward pass to the end of the
 * backward pass. A block's gradients are whole, beside the float32 copy that is reduced, until each
 * rank has its share. Source: torch/distributed/fsdp/_runtime_utils.py (prefetch,
 * _post_backward_hook, limit_all_gathers), _flat_param.py. */
#include "planner/estimate/taping.h"

/* Length of a path up to and with its first number between dots; 0: it has none. */
static size_t block_length(const char *path)
{
    for (const char *at = path; *at;) {
        size_t n = strcspn(at, "./"), digits = strspn(at, "0123456789");
        if (n && digits == n) return (size_t)(at + n - path);
        at += n + (at[n] != 0);
    }
    return 0;
}

bool kp_tape_same_block(const kp_graph *g, uint32_t layer, uint32_t other)
{
    if (layer == KP_NO || other == KP_NO) return false;
    const char *a = g->layers[layer].path, *b = g->layers[other].path;
    size_t n = block_length(a);
    return n && n == block_length(b) && !strncmp(a, b, n);
}

bool kp_tape_in_block(const kp_graph *graph, uint32_t layer)
{
    return block_length(graph->layers[layer].path) != 0;
}

/* torchtitan may leave blocks between recomputed ones as they are: the first is the N-th. */
static bool left_out(const kp_taping *t, uint32_t block)
{
    const kp_launch *l = &t->training->launch;
    bool some = l->titan && !l->per_op && t->part->strategy.recompute == KP_RECOMPUTE_SELECTIVE;
    return some && l->recompute_every && (block + 1) % l->recompute_every;
}

uint32_t *kp_tape_blocks(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint32_t *end = KP_NEW(t->arena, uint32_t, g->n_ops);
    bool any = false;
    if (!end) {
        t->status = kp_nomem(t->err);
        return NULL;
    }
    for (uint32_t i = g->n_ops; i-- > 0;) {
        uint32_t layer = g->ops[i].layer;
        if (!block_length(g->layers[layer].path)) continue;
        bool joined = i + 1 < g->n_ops && kp_tape_same_block(g, layer, g->ops[i + 1].layer);
        end[i] = joined ? end[i + 1] : i + 1;
        any = true;
    }
    for (uint32_t i = 0, block = 0, next; i < g->n_ops; i = next) {
        next = end[i] ? end[i] : i + 1;
        if (!end[i]) continue;
        if (left_out(t, block++)) memset(end + i, 0, (next - i) * sizeof(*end));
    }
    return any ? end : NULL;
}

void kp_tape_gather_units(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint64_t block = 0, most = 0, outside = 0, block_elems = 0, most_elems = 0;
    if (kp_tape_titan(t)) {
        kp_tape_titan_gather(t);
        return;
    }
    if (!kp_taping_fsdp(t)) return;
    for (uint32_t w = 0; w < g->n_weights; w++) {
        if (!t->here[w]) continue;
        uint64_t elems = kp_sizes_weight_elems(&t->sizes, w);
        uint64_t bytes = kp_mul_u64(elems, kp_dtype_bytes(kp_taping_compute(t, w)));
        bool inside = block_length(g->layers[g->weights[w].layer].path) != 0;
        bool more = w && kp_tape_same_block(g, g->weights[w].layer, g->weights[w - 1].layer);
        if (!inside) outside = kp_add_u64(outside, bytes);
        block = inside ? kp_add_u64(more ? block : 0, bytes) : 0;
        block_elems = inside ? kp_add_u64(more ? block_elems : 0, elems) : 0;
        most = kp_max_u64(most, block);
        most_elems = kp_max_u64(most_elems, block_elems);
    }
    /* two blocks; gradients of one, and their float32 copy */
    uint64_t bytes =
        kp_add_u64(outside, kp_add_u64(kp_mul_u64(most, 3), kp_mul_u64(most_elems, 4)));
    kp_taping_new b = {KP_CAT_COMMUNICATION,
                       KP_NO,
                       KP_NO,
                       "whole weights and gradients of a block",
                       NULL,
                       KP_UINT8,
                       bytes};
    t->whole = kp_taping_take(t, &b, 1);
}

void kp_tape_drop_units(kp_taping *t)
{
    kp_taping_drop(t, t->whole);
    t->whole = KP_NO;
}
