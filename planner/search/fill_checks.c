/* SPDX-License-Identifier: MIT */
#include "planner/search/fill.h"

/* The tensor with `samples` samples in it; no dimension is per sample any more. */
static kp_shape bound(kp_shape shape, uint64_t samples)
{
    for (unsigned i = 0; i < shape.rank; i++)
        if (shape.per_sample >> i & 1)
            shape.dim[i] = (int64_t)kp_mul_u64((uint64_t)shape.dim[i], samples);
    shape.per_sample = 0;
    return shape;
}

static void take_attributes(const kp_op_attr *attr, kp_check_spec *spec)
{
    for (int i = 0; i < 3; i++) {
        spec->kernel[i] = attr->kernel[i];
        spec->strides[i] = attr->strides[i];
        spec->dilation[i] = attr->dilation[i];
    }
    spec->same_padding = attr->same_padding;
    spec->channels_first = attr->channels_first;
    spec->groups = attr->groups;
}

/* All but layer, ranks and weight bytes, which do not tell checks apart. */
static kp_check_spec spec_of(const kp_graph *graph, const kp_graph_op *op, kp_cut cut,
                             const kp_strategy *s)
{
    bool whole = cut == KP_CUT_NONE;
    uint64_t samples = kp_mul_u64(s->micro_batch, whole ? s->dp : 1);
    kp_check_spec spec;
    memset(&spec, 0, sizeof(spec));
    spec.op = op->op;
    spec.cut = whole ? KP_CUT_BATCH : cut;
    spec.n_ranks = whole ? s->dp : s->tp;
    if (op->n_in) spec.x = bound(graph->tensors[op->in[0]].shape, samples);
    if (op->n_weights) spec.w = bound(graph->weights[op->weights[0]].shape, samples);
    spec.y = bound(graph->tensors[op->out[0]].shape, samples);
    take_attributes(&op->attr, &spec);
    return spec;
}

static bool same_check(const kp_check_spec *a, const kp_check_spec *b)
{
    return a->op == b->op && a->cut == b->cut && a->n_ranks == b->n_ranks &&
           kp_shape_equal(a->x, b->x) && kp_shape_equal(a->w, b->w) && kp_shape_equal(a->y, b->y) &&
           !memcmp(a->kernel, b->kernel, sizeof(a->kernel)) &&
           !memcmp(a->strides, b->strides, sizeof(a->strides)) &&
           !memcmp(a->dilation, b->dilation, sizeof(a->dilation)) &&
           a->same_padding == b->same_padding && a->channels_first == b->channels_first &&
           a->groups == b->groups;
}

typedef struct checks {
    const kp_graph *graph;
    const kp_strategy *strategy;
    kp_arena *arena;
    kp_check_spec *list;
    size_t n, cap;
    bool *counted; /* weights whose bytes a check has */
    bool *read;    /* weights that an op reads */
} checks;

/* The group's ranks: neighbours for a tensor-parallel cut, every tp-th for the samples. */
static uint32_t *group(const checks *c, const kp_check_spec *spec, uint32_t stage)
{
    uint32_t *ranks = KP_NEW(c->arena, uint32_t, spec->n_ranks);
    uint32_t step = spec->cut == KP_CUT_BATCH ? c->strategy->tp : 1;
    for (uint32_t i = 0; ranks && i < spec->n_ranks; i++)
        ranks[i] = kp_ground_first_slot(c->strategy, stage) + i * step;
    return ranks;
}

static uint64_t weight_bytes(const kp_weight *w)
{
    return kp_mul_u64(kp_shape_elems(w->shape, 1), kp_dtype_bytes(w->dtype));
}

/* A weight counts with the first op that reads it; one that no op reads by itself (a
 * normalisation's statistics) with its layer's first op that has weights. */
static uint64_t new_weight_bytes(checks *c, const kp_graph_op *op)
{
    const kp_layer *layer = &c->graph->layers[op->layer];
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->n_weights; i++) {
        if (c->counted[op->weights[i]]) continue;
        c->counted[op->weights[i]] = true;
        bytes = kp_add_u64(bytes, weight_bytes(&c->graph->weights[op->weights[i]]));
    }
    for (uint32_t w = layer->first_weight;
         op->n_weights && w < layer->first_weight + layer->n_weights; w++) {
        if (c->counted[w] || c->read[w] || c->graph->weights[w].role == KP_ROLE_STATE) continue;
        c->counted[w] = true;
        bytes = kp_add_u64(bytes, weight_bytes(&c->graph->weights[w]));
    }
    return bytes;
}

static bool add_check(checks *c, const kp_graph_op *op, kp_cut cut, uint32_t stage)
{
    kp_check_spec spec = spec_of(c->graph, op, cut, c->strategy);
    uint64_t bytes = new_weight_bytes(c, op);
    for (size_t i = 0; i < c->n; i++)
        if (same_check(&c->list[i], &spec)) {
            c->list[i].weight_bytes = kp_add_u64(c->list[i].weight_bytes, bytes);
            return true;
        }
    spec.layer = c->graph->layers[op->layer].path;
    spec.weight_bytes = bytes;
    spec.ranks = group(c, &spec, stage);
    if (!spec.ranks || !KP_GROW(c->arena, c->list, c->n, c->cap)) return false;
    c->list[c->n++] = spec;
    return true;
}

static bool wants_check(const kp_graph_op *op)
{
    return op->op != KP_OP_INPUT && op->op != KP_OP_VIEW && op->op != KP_OP_LOSS && op->n_out > 0;
}

kp_status kp_fill_checks(const kp_ground *ground, const kp_hunt *winner, kp_arena *arena,
                         kp_plan *ret, kp_err *err)
{
    const kp_graph *graph = ground->request->graph;
    const kp_strategy *s = &winner->strategy;
    const uint8_t *cuts = kp_ground_base(ground, s->tp, s->micro_batch)->cuts;
    checks c = {.graph = graph, .strategy = s, .arena = arena};
    c.counted = KP_NEW(arena, bool, graph->n_weights);
    c.read = KP_NEW(arena, bool, graph->n_weights);
    if (!c.counted || !c.read) return kp_nomem(err);
    for (uint32_t o = 0; o < graph->n_ops; o++)
        for (uint32_t i = 0; i < graph->ops[o].n_weights; i++)
            c.read[graph->ops[o].weights[i]] = true;
    for (uint32_t stage = 0; stage < s->pp; stage++)
        for (uint32_t u = winner->borders[stage]; u < winner->borders[stage + 1]; u++)
            for (uint32_t o = ground->units[u].first_op; o < ground->units[u].end_op; o++)
                if (wants_check(&graph->ops[o]) &&
                    !add_check(&c, &graph->ops[o], (kp_cut)cuts[o], stage))
                    return kp_nomem(err);
    ret->checks_todo = c.list;
    ret->n_checks_todo = (uint32_t)c.n;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        const kp_weight *w = &graph->weights[i];
        if (w->role == KP_ROLE_STATE && !c.counted[i]) continue; /* a buffer, nothing learnt */
        ret->weight_bytes = kp_add_u64(ret->weight_bytes, weight_bytes(w));
    }
    return KP_OK;
}
