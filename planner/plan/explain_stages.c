/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_stages.c — which ops each pipeline stage has, and what a rank of it needs.
 *
 * Megatron places its blocks by rule: equal numbers of them for each stage, or as its arguments
 * say, the embedding before the first, the head behind the last; an interleaved pipeline gives each
 * rank several virtual stages (Narayanan et al., SC 2021, section 2.2). Elsewhere the borders are
 * those whose worst stage needs least. */
#include "planner/estimate/size.h"
#include "planner/plan/explain_parts.h"
#include "planner/search/cuts.h"
#include "planner/search/stages.h"

/* ---- borders that need least ---- */

/* A cluster of such cards, all in one node: only their memory matters here. */
static kp_status same_cards(const kp_look *look, kp_arena *arena, kp_cluster *ret, kp_err *err)
{
    uint64_t n = (uint64_t)look->strategy.dp * look->strategy.tp * look->strategy.pp;
    if (n > 1u << 20)
        return kp_fail(err, KP_USAGE, "%llu ranks are more than a million", (unsigned long long)n);
    kp_slot *slots = KP_NEW(arena, kp_slot, n);
    if (!slots) return kp_nomem(err);
    for (uint64_t i = 0; i < n; i++) slots[i] = (kp_slot){"", "", 0, (uint32_t)i, look->device};
    *ret = (kp_cluster){.slots = slots,
                        .n_slots = (uint32_t)n,
                        .n_nodes = 1,
                        .gpus_per_node = (uint32_t)n,
                        .intra = {50e-6, 1e-10},
                        .inter = {50e-6, 1e-9}};
    return KP_OK;
}

/* First op of each stage, and behind the last: pp + 1. */
static kp_status least_borders(const kp_look *look, const uint8_t *cuts, kp_arena *arena,
                               uint32_t *ret, kp_err *err)
{
    uint32_t pp = look->strategy.pp;
    kp_cluster cluster;
    kp_costs *costs = KP_NEW(arena, kp_costs, 1);
    const uint8_t *ok;
    kp_stage_answer answer;
    uint64_t *limits = KP_NEW(arena, uint64_t, pp);
    if (!costs || !limits) return kp_nomem(err);
    memset(limits, 0xff, pp * sizeof(*limits));
    KP_TRY(same_cards(look, arena, &cluster, err));
    KP_TRY(kp_costs_make(look->graph, &look->training, &look->strategy, cuts, &cluster, arena,
                         costs, err));
    KP_TRY(kp_stages_borders(look->graph, costs->units, costs->n_units, arena, &ok, err));
    kp_stage_task task = {.costs = costs,
                          .strategy = &look->strategy,
                          .cluster = &cluster,
                          .limit_bytes = limits,
                          .border_ok = ok,
                          .beat_s = 1e30};
    KP_TRY(kp_stages_smallest(&task, arena, &answer, err));
    if (!answer.found)
        return kp_fail(err, KP_USAGE, "--pp %u: the model divides into fewer stages", pp);
    for (uint32_t i = 0; i <= pp; i++)
        ret[i] = i == 0    ? 0
                 : i == pp ? look->graph->n_ops
                           : costs->units[answer.borders[i]].first_op;
    return KP_OK;
}

/* ---- Megatron's placement ---- */

static uint32_t top_of(const kp_graph *g, uint32_t layer)
{
    while (g->layers[layer].parent != KP_NO) layer = g->layers[layer].parent;
    return layer;
}

/* First op of each block, n_blocks + 1 entries; the last: behind the last block. */
static kp_status find_blocks(const kp_graph *g, uint32_t n_blocks, kp_arena *arena,
                             const uint32_t **ret, kp_err *err)
{
    uint32_t *first = KP_NEW(arena, uint32_t, n_blocks + 1ul), n = 0, block = KP_NO;
    if (!first) return kp_nomem(err);
    for (uint32_t i = 0; i < g->n_ops; i++) {
        uint32_t top = top_of(g, g->ops[i].layer);
        bool inside = g->layers[top].is_model;
        if (inside && top != block) {
            if (n >= n_blocks) break;
            first[n++] = i;
            block = top;
        }
        if (inside) first[n] = i + 1;
    }
    if (n != n_blocks)
        return kp_fail(err, KP_INTERNAL, "%u blocks of %u have operations", n, n_blocks);
    *ret = first;
    return KP_OK;
}

/* First op of each virtual stage, n + 1 entries. */
static kp_status block_borders(const kp_look *look, uint32_t n, kp_arena *arena, uint32_t *ret,
                               kp_err *err)
{
    const kp_launch *l = &look->training.launch;
    const uint32_t *first = NULL;
    uint32_t at = 0;
    bool said = l->blocks && l->n_stages == n;
    KP_TRY(find_blocks(look->graph, l->n_blocks, arena, &first, err));
    if (!said && l->n_blocks % n) {
        kp_fail(err, KP_USAGE, "--pp %u: %u blocks do not divide into %u stages", look->strategy.pp,
                l->n_blocks, n);
        kp_hint(err, "Megatron takes a pipeline that divides the number of layers");
        return KP_USAGE;
    }
    ret[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        at += said ? l->blocks[i] : l->n_blocks / n;
        ret[i + 1] = i + 1 == n ? look->graph->n_ops : first[at];
    }
    return KP_OK;
}

/* Full recomputation keeps what comes into each group of blocks, or of the first blocks of each
 * stage; the embedding and the head are not in it (transformer_block.py, _checkpointed_forward). */
static kp_status block_segments(const kp_look *look, const uint32_t *borders, uint32_t n,
                                kp_arena *arena, const uint32_t **ret, kp_err *err)
{
    const kp_launch *l = &look->training.launch;
    const uint32_t *first = NULL;
    uint32_t *segment = KP_NEW(arena, uint32_t, look->graph->n_ops), stage = 0, from = 0;
    if (!segment) return kp_nomem(err);
    KP_TRY(find_blocks(look->graph, l->n_blocks, arena, &first, err));
    for (uint32_t b = 0; b < l->n_blocks; b++) {
        while (stage + 1 < n && first[b] >= borders[stage + 1]) {
            stage++;
            from = b;
        }
        uint32_t group = (b - from) / l->recompute_blocks, end = b + 1;
        if (l->first_blocks && group > 0) continue;
        if (!l->first_blocks) end = from + (group + 1) * l->recompute_blocks;
        while (end > b + 1 && (end > l->n_blocks || first[end] > borders[stage + 1])) end--;
        for (uint32_t i = first[b]; i < first[b + 1]; i++) segment[i] = first[end];
    }
    *ret = segment;
    return KP_OK;
}

/* Micro-batches in flight of each chunk of a rank when its backward passes begin. Ranks take
 * `group` micro-batches through one chunk after the other; the warm-up ends after twice the stages
 * behind and all groups but the last chunk's. */
static void fill_flights(const kp_look *look, uint32_t stage, kp_chunk *chunks, uint32_t n)
{
    const kp_strategy *s = &look->strategy;
    uint32_t group = look->training.launch.group ? look->training.launch.group : s->pp;
    if (group > s->micro_batches) group = s->micro_batches;
    uint64_t all = (uint64_t)s->micro_batches * n;
    uint64_t flying = 2ull * (s->pp - stage - 1) + (uint64_t)(n - 1) * group + 1;
    if (s->schedule == KP_SCHEDULE_GPIPE) flying = all;
    for (uint64_t i = 0; i < (flying < all ? flying : all); i++) chunks[i / group % n].in_flight++;
    for (uint32_t i = 0; i < n; i++)
        if (!chunks[i].in_flight) chunks[i].in_flight = 1;
}

/* The part of a rank of stage `stage`; borders of virtual stages. */
static kp_status part_of(const kp_look *look, const uint32_t *borders, uint32_t stage,
                         kp_arena *arena, kp_part *part, kp_err *err)
{
    const kp_strategy *s = &look->strategy;
    part->stage = stage;
    part->first_op = borders[stage];
    part->end_op = borders[stage + 1];
    part->in_flight = kp_stages_in_flight(s, stage);
    part->chunks = NULL;
    if (s->interleave < 2) return KP_OK;
    kp_chunk *chunks = KP_NEW(arena, kp_chunk, s->interleave);
    if (!chunks) return kp_nomem(err);
    for (uint32_t i = 0; i < s->interleave; i++) {
        uint32_t at = i * s->pp + stage;
        chunks[i] = (kp_chunk){borders[at], borders[at + 1], 0};
    }
    fill_flights(look, stage, chunks, s->interleave);
    part->end_op = chunks[s->interleave - 1].end_op;
    part->in_flight = chunks[s->interleave - 1].in_flight;
    part->chunks = chunks;
    part->n_chunks = s->interleave;
    return KP_OK;
}

/* ---- looking at each ---- */

/* Worse is what fits less surely, then what needs more: bounds differ from stage to stage. */
static bool worse(const kp_memory *a, const kp_memory *b, uint64_t usable_bytes)
{
    kp_verdict_fit fit_a = kp_memory_fit(a, usable_bytes), fit_b = kp_memory_fit(b, usable_bytes);
    if (fit_a != fit_b) return fit_a > fit_b;
    return kp_categories_sum(&a->peak) > kp_categories_sum(&b->peak);
}

static void fill_stage(kp_look *look, const kp_part *part, const kp_memory *m)
{
    const kp_graph *g = look->graph;
    const kp_bounded *a = &m->allocated, *r = &m->reserved, *s = &m->steady, *k = &m->kept;
    bool some = part->end_op > part->first_op;
    look->stages[part->stage] = (kp_explain_stage){
        .stage = part->stage,
        .dp = part->strategy.dp,
        .tp = part->strategy.tp,
        .in_flight = part->in_flight,
        .first_layer = some ? g->layers[g->ops[part->first_op].layer].path : NULL,
        .last_layer = some ? g->layers[g->ops[part->end_op - 1].layer].path : NULL,
        .peak_bytes = kp_categories_sum(&m->peak),
        .allocated_bytes = a->bytes,
        .allocated_low_bytes = a->low,
        .allocated_high_bytes = a->high,
        .reserved_bytes = r->bytes,
        .reserved_low_bytes = r->low,
        .reserved_high_bytes = r->high,
        .steady_bytes = s->bytes,
        .steady_low_bytes = s->low,
        .steady_high_bytes = s->high,
        .kept_bytes = k->bytes,
        .kept_low_bytes = k->low,
        .kept_high_bytes = k->high,
    };
}

/* A part in full: with its tape and what is alive at the peak. */
static kp_status run_whole(kp_look *look, const kp_part *part, kp_arena *arena, kp_err *err)
{
    kp_part whole = *part;
    whole.sums = false;
    KP_TRY(kp_tape_make(look->graph, &look->training, &whole, arena, &look->tape, err));
    KP_TRY(
        kp_memory_replay(&look->tape, &look->training, &look->device, arena, &look->memory, err));
    look->part = whole;
    fill_stage(look, &whole, &look->memory);
    return KP_OK;
}

/* Only the sums of a part, which stay if it is worse than those before. */
static kp_status run_sums(kp_look *look, const kp_part *part, kp_arena *arena, kp_err *err)
{
    kp_memory memory;
    kp_part sums = *part;
    sums.sums = true;
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status =
        kp_memory_of(look->graph, &look->training, &sums, &look->device, arena, &memory, err);
    kp_arena_rewind(arena, mark);
    KP_TRY(status);
    fill_stage(look, part, &memory);
    bool first = !look->tape.graph;
    if (!first && !worse(&memory, &look->memory, look->device.usable_bytes)) return KP_OK;
    look->part = sums;
    look->tape = (kp_tape){.graph = look->graph};
    look->memory = memory;
    return KP_OK;
}

/* A first look keeps the tape and what is alive, a second one only the sums. */
kp_status kp_look_part(kp_look *look, const kp_part *part, kp_arena *arena, kp_err *err)
{
    return look->brief ? run_sums(look, part, arena, err) : run_whole(look, part, arena, err);
}

/* How tp cuts each op: as in the first look where that had the same choice. */
static kp_status choose_cuts(const kp_look *look, const kp_look *first, kp_arena *arena,
                             const uint8_t **ret, kp_err *err)
{
    const kp_strategy *s = &look->strategy;
    uint64_t divided;
    bool same = first && first->graph == look->graph && first->strategy.tp == s->tp &&
                first->strategy.micro_batch == s->micro_batch;
    if (s->tp < 2) return KP_OK;
    if (same && first->part.cuts) {
        *ret = first->part.cuts;
        return KP_OK;
    }
    KP_TRY(kp_cuts_allow(look->graph, s->tp, err));
    return kp_cuts_choose(look->graph, s->tp, s->micro_batch, arena, ret, &divided, err);
}

/* All stages, their sums only. */
static kp_status run_stages(kp_look *look, kp_part part, const uint32_t *borders, kp_arena *arena,
                            kp_err *err)
{
    for (uint32_t i = 0; i < look->strategy.pp; i++) {
        KP_TRY(part_of(look, borders, i, arena, &part, err));
        KP_TRY(run_sums(look, &part, arena, err));
    }
    return KP_OK;
}

/* Where stages begin, and what of them is recomputed. */
static kp_status place_stages(const kp_look *look, kp_part *part, kp_arena *arena,
                              const uint32_t **ret, kp_err *err)
{
    const kp_strategy *s = &look->strategy;
    bool blocks = look->training.launch.n_blocks;
    uint32_t n = s->pp * s->interleave, *borders = KP_NEW(arena, uint32_t, n + 1ul);
    if (!borders) return kp_nomem(err);
    borders[1] = look->graph->n_ops;
    if (n > 1 && blocks) KP_TRY(block_borders(look, n, arena, borders, err));
    if (n > 1 && !blocks) KP_TRY(least_borders(look, part->cuts, arena, borders, err));
    if (blocks && s->recompute == KP_RECOMPUTE_FULL)
        KP_TRY(block_segments(look, borders, n, arena, &part->segment, err));
    *ret = borders;
    return KP_OK;
}

kp_status kp_look_worst(kp_look *look, const kp_look *first, kp_arena *arena, kp_err *err)
{
    const kp_strategy *s = &look->strategy;
    kp_part part = {.strategy = *s, .end_op = look->graph->n_ops, .in_flight = 1};
    const uint32_t *borders = NULL;
    look->tape = (kp_tape){0};
    look->stages = KP_NEW(arena, kp_explain_stage, s->pp);
    kp_sizes *sizes = KP_NEW(arena, kp_sizes, 1);
    if (!look->stages || !sizes) return kp_nomem(err);
    if (look->listed) return kp_look_listed(look, arena, err);
    KP_TRY(choose_cuts(look, first, arena, &part.cuts, err));
    KP_TRY(kp_sizes_make(look->graph, &look->training, &part, arena, sizes, err));
    part.sizes = sizes;
    KP_TRY(place_stages(look, &part, arena, &borders, err));
    if (s->pp < 2) return kp_look_part(look, &part, arena, err);
    KP_TRY(run_stages(look, part, borders, arena, err));
    return look->brief ? KP_OK : run_whole(look, &look->part, arena, err);
}
