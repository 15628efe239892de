/* SPDX-License-Identifier: MIT */
#include "planner/search/cuts.h"
#include "planner/search/cuts_megatron.h"
#include "planner/search/layout.h"
#include <inttypes.h>
#include <math.h>

enum {
    CUTS_STATES = 32, /* ways of having divided what is still to be read, kept a step */
    CUTS_SLOTS = 64,  /* tensors that may be divided at once: bits of a state */
    CUTS_OPTIONS = KP_CUT_COUNT,
};

/* An H100 computes some 2000 FLOP while a byte crosses NVLink, an A100 900, a T4 2000 on PCIe. */
static const double flops_per_byte = 1500;
/* A collective's fixed time, some 10 us, in bytes over links of 100 GB/s. */
static const double collective_bytes = 1 << 20;
/* With nothing worth cutting: a byte of weights against one of anything else. */
static const double weights_first = 1e6;

/* One way of running an op, priced. */
typedef struct option {
    uint8_t cut;
    bool out_divided;
    uint64_t want, mask; /* of the inputs' bits: these must be set, of those that are looked at */
    double cost;
    uint64_t divided_elems;
} option;

typedef struct state {
    uint64_t divided; /* slots of live tensors that are divided */
    double cost;
    uint32_t node;
} state;

/* How a state came to be. */
typedef struct node {
    uint32_t before;
    uint8_t cut;
} node;

typedef struct chooser {
    kp_layouts layouts;
    const kp_graph *graph;
    uint32_t tp;
    uint64_t micro_batch;
    double weight_factor;
    int8_t *slot; /* of a tensor; -1: none, it is whole */
    uint64_t slots_used;
    state states[2][CUTS_STATES];
    uint32_t n_states, n_next;
    int now;
    node *nodes;
    size_t n_nodes, cap_nodes;
} chooser;

static double tensor_bytes(const chooser *c, uint32_t tensor)
{
    const kp_tensor *t = &c->graph->tensors[tensor];
    if (!kp_shape_known(t->shape)) return 0;
    return (double)kp_shape_elems(t->shape, c->micro_batch) * kp_dtype_bytes(t->dtype);
}

static double weights_bytes(const chooser *c, const kp_graph_op *op)
{
    double bytes = 0;
    for (uint32_t i = 0; i < op->n_weights; i++) {
        const kp_weight *w = &c->graph->weights[op->weights[i]];
        bytes += (double)kp_shape_elems(w->shape, 1) * kp_dtype_bytes(w->dtype);
    }
    return bytes;
}

static double collective(const chooser *c, kp_coll coll, uint32_t tensor)
{
    double wire = kp_coll_wire_bytes(coll, c->tp, (uint64_t)tensor_bytes(c, tensor));
    return wire > 0 ? wire + collective_bytes : 0;
}

/* Of a row: on the output, and on the gradient of an input that needs one. */
static double wire_bytes(const chooser *c, const kp_graph_op *op, const kp_shard_row *row)
{
    double bytes = collective(c, row->forward, op->out[0]);
    if (op->n_in == 0) return bytes;
    bool is_data = c->graph->ops[c->graph->tensors[op->in[0]].op].op == KP_OP_INPUT;
    return is_data ? bytes : bytes + collective(c, row->backward, op->in[0]);
}

/* row NULL: whole. */
static option price(const chooser *c, const kp_graph_op *op, const kp_shard_row *row)
{
    option o = {.cut = row ? row->cut : KP_CUT_NONE};
    double share = 1, held = 0, weights = weights_bytes(c, op);
    if (row) {
        uint64_t size = kp_layout_cut_size(&c->layouts, op, row);
        share = (double)kp_ceil_div(size, c->tp) / (double)size;
        o.out_divided = row->y == KP_LAYOUT_CHANNEL;
        o.cost = wire_bytes(c, op, row);
    }
    bool weights_divided = row && row->weight_axis != KP_AXIS_WHOLE;
    if (kp_op_rows[op->op].kind != KP_KIND_VIEW)
        for (uint32_t i = 0; i < op->n_out; i++)
            held += tensor_bytes(c, op->out[i]) * (o.out_divided ? share : 1);
    held += weights * (weights_divided ? share : 1) * c->weight_factor;
    double flops = isnan(op->forward_flops) ? 0 : 3 * op->forward_flops * (double)c->micro_batch;
    o.cost += held + flops * share / flops_per_byte;
    for (uint32_t i = 0; weights_divided && i < op->n_weights; i++)
        o.divided_elems += kp_shape_elems(c->graph->weights[op->weights[i]].shape, 1);
    return o;
}

/* ---- slots: bits for tensors that are alive ---- */

static uint64_t bit(const chooser *c, uint32_t tensor)
{
    return c->slot[tensor] < 0 ? 0 : (uint64_t)1 << c->slot[tensor];
}

static void slot_take(chooser *c, uint32_t tensor)
{
    if (c->layouts.axis[tensor] < 0 || c->slots_used == UINT64_MAX) {
        c->layouts.axis[tensor] = -1;
        return;
    }
    c->slot[tensor] = (int8_t)__builtin_ctzll(~c->slots_used);
    c->slots_used |= bit(c, tensor);
}

/* Bits of the inputs that op o reads last. */
static uint64_t slots_done(const chooser *c, uint32_t o)
{
    uint64_t done = 0;
    const kp_graph_op *op = &c->graph->ops[o];
    for (uint32_t i = 0; i < op->n_in; i++)
        if (c->layouts.last_use[op->in[i]] == o) done |= bit(c, op->in[i]);
    return done;
}

/* ---- the steps ---- */

static uint32_t list_options(const chooser *c, const kp_graph_op *op, option ret[CUTS_OPTIONS])
{
    uint32_t n = 0;
    uint64_t mask = 0;
    for (uint32_t i = 0; i < op->n_in; i++) mask |= bit(c, op->in[i]);
    ret[n] = price(c, op, NULL);
    ret[n++].mask = mask;
    for (int cut = KP_CUT_COLUMN; cut < KP_CUT_COUNT; cut++) {
        const kp_shard_row *row = kp_shard_find(op->op, (kp_cut)cut);
        if (!row || !kp_layout_allows(&c->layouts, op, row)) continue;
        option o = price(c, op, row);
        bool possible = true;
        o.mask = mask;
        for (uint32_t i = 0; i < op->n_in; i++) {
            if (!kp_layout_divides_input(&c->layouts, op, row, i)) continue;
            possible = possible && bit(c, op->in[i]);
            o.want |= bit(c, op->in[i]);
        }
        if (possible) ret[n++] = o;
    }
    return n;
}

/* Keeps the cheaper way to a state; when the list is full the dearest leaves it, but never the one
 * where nothing is divided: it always goes on. */
static void keep(chooser *c, state s)
{
    state *next = c->states[!c->now], *place = NULL;
    for (uint32_t i = 0; i < c->n_next && !place; i++)
        if (next[i].divided == s.divided) place = &next[i];
    if (!place && c->n_next < CUTS_STATES) {
        next[c->n_next++] = s;
        return;
    }
    if (!place) {
        for (uint32_t i = 0; i < c->n_next; i++)
            if (next[i].divided && (!place || next[i].cost > place->cost)) place = &next[i];
        if (s.divided == 0) place->cost = INFINITY;
    }
    if (s.cost < place->cost) *place = s;
}

static kp_status step(chooser *c, uint32_t o, kp_arena *arena, kp_err *err)
{
    const kp_graph_op *op = &c->graph->ops[o];
    option options[CUTS_OPTIONS];
    for (uint32_t i = 0; i < op->n_out; i++) slot_take(c, op->out[i]);
    uint32_t n = list_options(c, op, options);
    uint64_t done = slots_done(c, o), out = op->n_out ? bit(c, op->out[0]) : 0;
    c->n_next = 0;
    for (uint32_t i = 0; i < c->n_states; i++) {
        state from = c->states[c->now][i];
        for (uint32_t k = 0; k < n; k++) {
            if ((from.divided & options[k].mask) != options[k].want) continue;
            if (!KP_GROW(arena, c->nodes, c->n_nodes, c->cap_nodes)) return kp_nomem(err);
            c->nodes[c->n_nodes] = (node){.before = from.node, .cut = options[k].cut};
            keep(c, (state){.divided = (from.divided & ~done) | (options[k].out_divided ? out : 0),
                            .cost = from.cost + options[k].cost,
                            .node = (uint32_t)c->n_nodes++});
        }
    }
    c->slots_used &= ~done;
    c->now = !c->now;
    c->n_states = c->n_next;
    return KP_OK;
}

/* Elements of weights that the chosen cuts divide. */
static uint64_t count_divided(const chooser *c, const uint8_t *cuts)
{
    uint64_t elems = 0;
    for (uint32_t o = 0; o < c->graph->n_ops; o++) {
        const kp_shard_row *row = kp_shard_find(c->graph->ops[o].op, (kp_cut)cuts[o]);
        if (cuts[o] != KP_CUT_NONE && row)
            elems = kp_add_u64(elems, price(c, &c->graph->ops[o], row).divided_elems);
    }
    return elems;
}

static kp_status choose(chooser *c, kp_arena *arena, uint8_t *cuts, uint64_t *ret_divided,
                        kp_err *err)
{
    const kp_graph *graph = c->graph;
    KP_TRY(kp_layouts_make(graph, c->tp, arena, &c->layouts, err));
    c->slot = KP_NEW(arena, int8_t, graph->n_tensors);
    if (!c->slot) return kp_nomem(err);
    memset(c->slot, -1, graph->n_tensors);
    c->states[c->now][0] = (state){.node = KP_NO};
    c->n_states = 1;
    for (uint32_t o = 0; o < graph->n_ops; o++) KP_TRY(step(c, o, arena, err));

    const state *best = &c->states[c->now][0];
    for (uint32_t i = 1; i < c->n_states; i++)
        if (c->states[c->now][i].cost < best->cost) best = &c->states[c->now][i];
    uint32_t at = best->node;
    for (uint32_t o = graph->n_ops; o-- > 0; at = c->nodes[at].before) cuts[o] = c->nodes[at].cut;
    *ret_divided = count_divided(c, cuts);
    return KP_OK;
}

kp_status kp_cuts_choose(const kp_graph *graph, uint32_t tp, uint64_t micro_batch, kp_arena *arena,
                         const uint8_t **ret, uint64_t *ret_divided, kp_err *err)
{
    uint8_t *cuts = KP_NEW(arena, uint8_t, graph->n_ops);
    uint64_t divided = 0;
    if (!cuts) return kp_nomem(err);
    kp_arena_mark mark = kp_arena_tell(arena);
    if (tp > 1 && graph->format == KP_FORMAT_MEGATRON) {
        kp_status status = kp_cuts_megatron(graph, tp, arena, cuts, &divided, err);
        kp_arena_rewind(arena, mark);
        KP_TRY(status);
    }
    for (int round = 0; round < 2 && tp > 1 && divided == 0; round++) {
        chooser c = {.graph = graph,
                     .tp = tp,
                     .micro_batch = micro_batch,
                     .weight_factor = round ? weights_first : 1};
        kp_status status = choose(&c, arena, cuts, &divided, err);
        kp_arena_rewind(arena, mark);
        KP_TRY(status);
    }
    *ret = cuts;
    *ret_divided = divided;
    return KP_OK;
}

kp_status kp_cuts_cost(const kp_graph *graph, uint32_t tp, uint64_t micro_batch,
                       const uint8_t *cuts, kp_arena *arena, double *ret, kp_err *err)
{
    chooser c = {.graph = graph, .tp = tp, .micro_batch = micro_batch, .weight_factor = 1};
    bool *divided = KP_NEW(arena, bool, graph->n_tensors), meet = true;
    double cost = 0;
    if (!divided) return kp_nomem(err);
    KP_TRY(kp_layouts_make(graph, tp, arena, &c.layouts, err));
    for (uint32_t o = 0; o < graph->n_ops; o++) {
        const kp_graph_op *op = &graph->ops[o];
        const kp_shard_row *row =
            cuts[o] == KP_CUT_NONE ? NULL : kp_shard_find(op->op, (kp_cut)cuts[o]);
        if (cuts[o] != KP_CUT_NONE && (!row || !kp_layout_allows(&c.layouts, op, row)))
            meet = false;
        if (!meet) break;
        for (uint32_t i = 0; i < op->n_in; i++)
            if (divided[op->in[i]] != (row && kp_layout_divides_input(&c.layouts, op, row, i)))
                meet = false;
        option chosen = price(&c, op, row);
        if (op->n_out) divided[op->out[0]] = chosen.out_divided;
        cost += chosen.cost;
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) meet = meet && !divided[graph->outputs[i]];
    *ret = meet ? cost : (double)NAN;
    return KP_OK;
}

/* ---- degrees given by hand ---- */

static bool degree_divides(const kp_graph *graph, uint32_t tp)
{
    static const kp_cut cuts[] = {KP_CUT_COLUMN, KP_CUT_ROW, KP_CUT_VOCAB};
    for (uint32_t o = 0; o < graph->n_ops; o++) {
        const kp_graph_op *op = &graph->ops[o];
        if (op->n_weights != 1 || op->n_in != 1 || op->attr.groups > 1) continue;
        kp_shape w = graph->weights[op->weights[0]].shape;
        for (size_t i = 0; i < KP_LEN(cuts); i++) {
            const kp_shard_row *row = kp_shard_find(op->op, cuts[i]);
            if (!row || kp_op_rows[op->op].kind == KP_KIND_LINEAR) continue;
            int axis = kp_layout_axes(graph, op, row).w;
            if (axis >= 0 && axis < w.rank && w.dim[axis] % tp == 0) return true;
        }
    }
    return false;
}

kp_status kp_cuts_allow(const kp_graph *graph, uint32_t tp, kp_err *err)
{
    if (tp <= 1 || degree_divides(graph, tp)) return KP_OK;
    kp_fail(err, KP_USAGE,
            "--tp %" PRIu32 " divides no dimension along which a layer with weights can be cut",
            tp);
    uint32_t near = 1; /* a power of two at best: nodes have as many GPUs */
    for (uint32_t power = 2; power < tp && power <= 1024; power *= 2)
        if (degree_divides(graph, power)) near = power;
    for (uint32_t other = tp < 1024 ? tp - 1 : 1024; near == 1 && other > 1; other--)
        if (degree_divides(graph, other)) near = other;
    kp_hint(err, "try --tp %" PRIu32, near);
    return KP_USAGE;
}
