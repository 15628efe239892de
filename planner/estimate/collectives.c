/* SPDX-License-Identifier: MIT */
#include "planner/estimate/collecting.h"

const char *const kp_collective_ops[KP_COLLECTIVE_OP_COUNT] = {
    [KP_COLLECTIVE_ALL_REDUCE] = "all_reduce",         [KP_COLLECTIVE_ALL_GATHER] = "all_gather",
    [KP_COLLECTIVE_REDUCE_SCATTER] = "reduce_scatter", [KP_COLLECTIVE_SEND] = "send",
    [KP_COLLECTIVE_ALL_TO_ALL] = "all_to_all",
};

const char *const kp_collective_whats[KP_COLLECTIVE_WHAT_COUNT] = {
    [KP_COLLECTIVE_GRADIENTS] = "gradients",
    [KP_COLLECTIVE_ACTIVATIONS] = "activations",
    [KP_COLLECTIVE_WEIGHTS] = "weights",
};

void kp_collect(kp_collecting *c, kp_collective_op op, kp_collective_what what, uint64_t bytes,
                uint64_t count)
{
    if (!bytes || !count || c->failed) return;
    for (uint32_t i = 0; i < c->n; i++) {
        kp_collective *one = &c->list[i];
        if (one->op != op || one->what != what || one->bytes != bytes) continue;
        one->count += count;
        return;
    }
    if (!KP_GROW(c->t.arena, c->list, c->n, c->cap)) {
        c->failed = true;
        return;
    }
    c->list[c->n++] = (kp_collective){op, what, bytes, count};
}

uint64_t kp_collect_passes(const kp_collecting *c, uint32_t op)
{
    bool again =
        c->t.part->strategy.recompute == KP_RECOMPUTE_FULL || kp_keep_again(&c->t.keep, op);
    return (uint64_t)c->t.part->strategy.micro_batches * (again ? 2 : 1);
}

uint64_t kp_collect_whole_bytes(const kp_collecting *c, uint32_t tensor)
{
    const kp_sizes *s = &c->t.sizes;
    uint64_t elems = kp_sizes_whole_elems(s, tensor);
    if (s->seq) elems = kp_ceil_div(elems, s->launch.cp); /* Megatron's: of its own positions */
    return kp_mul_u64(elems, kp_dtype_bytes(c->t.graph->tensors[tensor].dtype));
}

uint64_t kp_collect_row_bytes(const kp_collecting *c, uint32_t tensor)
{
    const kp_tensor *x = &c->t.graph->tensors[tensor];
    uint64_t last = x->shape.rank ? (uint64_t)x->shape.dim[x->shape.rank - 1] : 1;
    uint64_t row = kp_mul_u64(kp_max_u64(last, 1), kp_dtype_bytes(x->dtype));
    return kp_mul_u64(kp_collect_whole_bytes(c, tensor) / kp_max_u64(row, 1), 4);
}

/* ---- between stages ---- */

/* Micro-batch bytes that cross a border before op `at`: values made in front of it and read
 * behind it. */
static void cross(kp_collecting *c, uint32_t at, const uint32_t *last)
{
    const kp_graph *g = c->t.graph;
    uint64_t bytes = 0, micro = c->t.part->strategy.micro_batches;
    if (!at || at >= g->n_ops) return;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        uint32_t root = c->t.keep.root[i], from = g->tensors[root].op;
        if (root != i || from >= at || last[i] < at || last[i] == KP_NO) continue;
        if (g->ops[from].op == KP_OP_INPUT) continue;
        bytes = kp_add_u64(bytes, kp_mul_u64(kp_sizes_tensor_elems(&c->t.sizes, i),
                                             kp_dtype_bytes(g->tensors[i].dtype)));
    }
    kp_collect(c, KP_COLLECTIVE_SEND, KP_COLLECTIVE_ACTIVATIONS, bytes, micro);
}

void kp_collect_borders(kp_collecting *c)
{
    const kp_graph *g = c->t.graph;
    const kp_part *p = c->t.part;
    kp_chunk whole = {p->first_op, p->end_op, 0};
    const kp_chunk *chunks = p->chunks ? p->chunks : &whole;
    if (p->strategy.pp < 2) return;
    uint32_t *last = KP_NEW(c->t.arena, uint32_t, g->n_tensors);
    if (!last) {
        c->failed = true;
        return;
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) last[i] = KP_NO;
    for (uint32_t i = 0; i < g->n_ops; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in; k++) last[c->t.keep.root[g->ops[i].in[k]]] = i;
    for (uint32_t k = 0; k < (p->chunks ? p->n_chunks : 1); k++) {
        cross(c, chunks[k].end_op, last);   /* values to the next stage */
        cross(c, chunks[k].first_op, last); /* gradients to the one before */
    }
}

/* ---- the list ---- */

static int more_first(const void *a, const void *b)
{
    const kp_collective *x = a, *y = b;
    uint64_t all_x = kp_mul_u64(x->bytes, x->count), all_y = kp_mul_u64(y->bytes, y->count);
    if (all_x != all_y) return all_x > all_y ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    if (x->op != y->op) return x->op < y->op ? -1 : 1;
    return (x->what > y->what) - (x->what < y->what);
}

kp_status kp_collectives_of(const kp_graph *graph, const kp_training *training, const kp_part *part,
                            kp_arena *arena, kp_collective **ret, uint32_t *ret_n, kp_err *err)
{
    kp_collecting c = {.t = {.graph = graph,
                             .training = training,
                             .part = part,
                             .arena = arena,
                             .profile = kp_profile_for(training)}};
    const kp_strategy *s = &part->strategy;
    *ret = NULL;
    *ret_n = 0;
    if (s->dp < 2 && s->tp < 2 && s->pp < 2 && training->launch.cp < 2 && training->launch.ep < 2)
        return KP_OK;
    bool *tensors = KP_NEW(arena, bool, graph->n_tensors);
    bool *weights = KP_NEW(arena, bool, graph->n_weights);
    c.called = KP_NEW(arena, bool, graph->n_tensors);
    if (!tensors || !weights || !c.called) return kp_nomem(err);
    if (part->sizes)
        c.t.sizes = *part->sizes;
    else
        KP_TRY(kp_sizes_make(graph, training, part, arena, &c.t.sizes, err));
    KP_TRY(kp_keep_make(graph, training, part, &c.t.sizes, arena, &c.t.keep, err));
    kp_collect_tensors(&c, tensors);
    kp_collect_experts(&c);
    kp_collect_borders(&c);
    kp_collect_weights(&c, weights);
    if (c.failed) return kp_nomem(err);
    if (c.n) qsort(c.list, c.n, sizeof(*c.list), more_first);
    *ret = c.list;
    *ret_n = c.n;
    return KP_OK;
}
