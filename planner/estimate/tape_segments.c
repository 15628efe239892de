/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_segments.c — which ops are recomputed together, and what is held for them.
 *
 * With full recomputation a transformer's blocks are segments, or the whole part is a chain of them
 * (segments.h). A part may also list runs of ops that are recomputed while the ops between them
 * keep what they need: each of those is a segment of its own. What crosses a border is held until
 * its own segment's turn in the backward pass: later segments find it there. */
#include "planner/estimate/segments.h"
#include "planner/estimate/taping.h"

bool kp_tape_recomputed(const kp_taping *t, uint32_t op)
{
    return t->segment && !(t->plain && t->plain[op]);
}

bool kp_tape_leaks(const kp_taping *t, uint32_t op)
{
    const kp_graph *g = t->graph;
    const kp_graph_op *o = &g->ops[op], *sum = op + 1 < t->part->end_op ? o + 1 : NULL;
    if (!t->listed || o->op != KP_OP_DROPOUT || !sum || sum->op != KP_OP_ADD) return false;
    return kp_tape_recomputed(t, op) && op + 2 < t->segment[op] && t->crosses[sum->out[0]];
}

bool kp_tape_holds_sent(const kp_taping *t)
{
    bool torch = !t->profile->xla && !kp_taping_is_megatron(t);
    return t->listed || (torch && t->part->strategy.pp > 1);
}

/* Runs of ops that are recomputed together (0: not at all; NULL: none); all other ops are segments
 * of one op. */
static kp_status listed(kp_taping *t, const uint32_t *runs)
{
    uint32_t n = t->graph->n_ops;
    uint32_t *segment = KP_NEW(t->arena, uint32_t, n);
    bool *plain = KP_NEW(t->arena, bool, n);
    if (!segment || !plain) return kp_nomem(t->err);
    for (uint32_t i = 0; i < n; i++) {
        plain[i] = !runs || !runs[i];
        segment[i] = plain[i] ? i + 1 : runs[i];
    }
    t->segment = segment;
    t->plain = plain;
    return KP_OK;
}

/* torch's libraries checkpoint each block of a transformer; elsewhere the chain is cut evenly. */
static kp_status whole_chain(kp_taping *t)
{
    uint32_t *blocks = t->training->framework == KP_FW_TORCH ? kp_tape_blocks(t) : NULL;
    if (kp_taping_failed(t)) return t->status;
    if (blocks) return listed(t, blocks);
    return kp_segments_make(t->graph, t->arena, &t->segment, t->err);
}

/* Which op's segment makes a value again: its writer's; of received ones and copies their first
 * reader's. */
static kp_status find_owners(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint32_t n = 2 * g->n_tensors;
    t->owner = KP_NEW(t->arena, uint32_t, n);
    t->own_needs = KP_NEW(t->arena, uint32_t, n);
    if (!t->owner || !t->own_needs) return kp_nomem(t->err);
    for (uint32_t v = 0; v < n; v++) {
        uint32_t writer = t->keep.values[v].writer;
        t->owner[v] = writer != KP_NO && kp_keep_inside(&t->keep, writer) ? writer : KP_NO;
    }
    for (uint32_t i = t->part->end_op; i-- > t->part->first_op;)
        for (uint32_t k = 0; k < g->ops[i].n_in && kp_keep_inside(&t->keep, i); k++) {
            uint32_t x = t->keep.root[g->ops[i].in[k]];
            if (!kp_keep_inside(&t->keep, g->tensors[x].op)) t->owner[x] = i;
        }
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        for (uint32_t k = t->keep.first_need[i]; k < t->keep.first_need[i + 1]; k++) {
            uint32_t v = t->keep.needs[k];
            t->own_needs[v] += t->owner[v] != KP_NO && t->segment[t->owner[v]] == t->segment[i];
        }
    return KP_OK;
}

/* Values that a recomputed op of another segment reads. */
static void find_inputs(const kp_taping *t, bool *input)
{
    const kp_graph *g = t->graph;
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in && kp_tape_recomputed(t, i); k++) {
            uint32_t x = t->keep.root[g->ops[i].in[k]], owner = t->owner[x];
            input[x] |= owner != KP_NO && t->segment[owner] != t->segment[i];
        }
}

/* Values that later stages read. */
static void find_sent(const kp_taping *t, bool *sent)
{
    const kp_graph *g = t->graph;
    for (uint32_t i = t->part->end_op; i < g->n_ops && kp_tape_holds_sent(t); i++)
        for (uint32_t k = 0; k < g->ops[i].n_in; k++) sent[t->keep.root[g->ops[i].in[k]]] = true;
}

/* What a recomputed segment hands on is held; of what others write, only what is read again. */
static kp_status find_crossing(kp_taping *t)
{
    const kp_graph *g = t->graph;
    bool *crosses = KP_NEW(t->arena, bool, g->n_tensors);
    bool *input = KP_NEW(t->arena, bool, g->n_tensors),
         *sent = KP_NEW(t->arena, bool, g->n_tensors);
    if (!crosses || !input || !sent) return kp_nomem(t->err);
    find_inputs(t, input);
    find_sent(t, sent);
    for (uint32_t v = 0; v < g->n_tensors; v++) {
        const kp_value *value = &t->keep.values[v];
        uint32_t owner = t->owner[v];
        if (owner == KP_NO) continue;
        bool outside = value->last != KP_NO && value->last >= t->segment[owner];
        bool again = kp_tape_recomputed(t, owner) || input[v] || value->needs > t->own_needs[v];
        crosses[v] = (outside && again) || sent[v];
    }
    t->crosses = crosses;
    return kp_tape_titan(t) ? kp_tape_titan_save(t, crosses) : KP_OK;
}

/* torchtitan's selective checkpointing recomputes blocks too, but not all or not all of them. */
static bool recomputes_blocks(const kp_taping *t)
{
    kp_recompute how = t->part->strategy.recompute;
    bool again = how == KP_RECOMPUTE_SELECTIVE || t->training->launch.compiled;
    return how == KP_RECOMPUTE_FULL || (again && kp_tape_titan(t));
}

kp_status kp_tape_segments(kp_taping *t)
{
    if (t->part->segment)
        KP_TRY(listed(t, t->part->segment));
    else if (recomputes_blocks(t))
        KP_TRY(whole_chain(t));
    else if (kp_tape_holds_sent(t))
        KP_TRY(listed(t, NULL));
    else
        return KP_OK;
    KP_TRY(find_owners(t));
    return find_crossing(t);
}
