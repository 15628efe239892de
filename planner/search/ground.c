/* SPDX-License-Identifier: MIT
 *
 * planner/search/ground.c — what all strategies on the same GPUs share, and their lower bounds. */
#include "planner/search/judge.h"
#include "planner/search/cuts.h"
#include <math.h>

kp_status kp_ground_chain(const kp_search_request *request, kp_arena *arena, kp_ground *ret,
                          kp_err *err)
{
    kp_ground g = {.request = request, .cluster = *request->cluster};
    KP_TRY(kp_units_make(request->graph, arena, &g.units, &g.n_units, err));
    if (g.n_units == 0) return kp_fail(err, KP_UNSUPPORTED, "the model has no layer to train");
    KP_TRY(kp_stages_borders(request->graph, g.units, g.n_units, arena, &g.border_ok, err));
    for (uint32_t i = 0; i < g.n_units; i++) g.max_stages += g.border_ok[i] || i == 0;
    *ret = g;
    return KP_OK;
}

const kp_base *kp_ground_base(const kp_ground *ground, uint32_t tp, uint32_t micro_batch)
{
    for (uint32_t i = 0; i < ground->n_bases; i++)
        if (ground->bases[i].tp == tp && ground->bases[i].micro_batch == micro_batch)
            return &ground->bases[i];
    return NULL;
}

/* The costs without ZeRO and recomputation, of which only times are asked: these are kept, the
 * rest of what it took to make them is given back. */
static kp_status base_costs(const kp_ground *g, const kp_point *point, const uint8_t *cuts,
                            kp_arena *arena, kp_costs *ret, kp_err *err)
{
    const kp_search_request *r = g->request;
    kp_costs costs;
    kp_strategy plain = kp_space_strategy(&g->space, point, 0, KP_RECOMPUTE_NONE);
    kp_unit_sum *sum = KP_NEW(arena, kp_unit_sum, g->n_units + 1ul);
    uint64_t *cross = KP_NEW(arena, uint64_t, g->n_units + 1ul);
    if (!sum || !cross) return kp_nomem(err);
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status =
        kp_costs_make(r->graph, r->training, &plain, cuts, &g->cluster, arena, &costs, err);
    if (status == KP_OK) {
        memcpy(sum, costs.sum, (g->n_units + 1ul) * sizeof(*sum));
        memcpy(cross, costs.cross_bytes, (g->n_units + 1ul) * sizeof(*cross));
    }
    kp_arena_rewind(arena, mark);
    KP_TRY(status);
    costs.sum = sum;
    costs.cross_bytes = cross;
    costs.units = g->units;
    costs.moment_bytes = NULL;
    *ret = costs;
    return KP_OK;
}

static kp_status base_make(const kp_ground *g, const kp_point *point, kp_arena *arena, kp_base *ret,
                           kp_err *err)
{
    kp_base base = {.tp = point->tp, .micro_batch = point->micro_batch, .cross_s = INFINITY};
    uint64_t divided;
    KP_TRY(kp_cuts_choose(g->request->graph, point->tp, point->micro_batch, arena, &base.cuts,
                          &divided, err));
    base.divides = point->tp == 1 || divided > 0;
    kp_status status =
        base.divides ? base_costs(g, point, base.cuts, arena, &base.costs, err) : KP_OK;
    if (status == KP_INPUT)
        base.divides = false; /* micro-batches past any size: there are smaller */
    else
        KP_TRY(status);
    base.too_big = status == KP_INPUT;
    /* Neighbouring stages may be in one node or not, whichever is cheaper. */
    kp_strategy near = kp_space_strategy(&g->space, point, 0, KP_RECOMPUTE_NONE), far = near;
    near.dp = 1;
    far.dp = g->cluster.n_slots;
    for (uint32_t i = 0; base.divides && i < g->n_units; i++) {
        base.unit_s = fmax(base.unit_s, kp_costs_stage_s(&base.costs, i, i + 1));
        if (i == 0 || !g->border_ok[i]) continue;
        base.crossing_bytes = kp_max_u64(base.crossing_bytes, base.costs.cross_bytes[i]);
        base.cross_s = fmin(base.cross_s, kp_costs_cross_s(&base.costs, i, &g->cluster, &near));
        base.cross_s = fmin(base.cross_s, kp_costs_cross_s(&base.costs, i, &g->cluster, &far));
    }
    *ret = base;
    return KP_OK;
}

static kp_cluster first_slots(const kp_cluster *cluster, uint32_t gpus)
{
    kp_cluster part = *cluster;
    uint32_t run = 0;
    part.n_slots = gpus;
    part.n_nodes = 0;
    part.gpus_per_node = gpus;
    for (uint32_t i = 0; i < gpus; i++) {
        bool last = i + 1 == gpus || part.slots[i].node_index != part.slots[i + 1].node_index;
        run++;
        if (!last) continue;
        part.n_nodes++;
        part.gpus_per_node = run < part.gpus_per_node ? run : part.gpus_per_node;
        run = 0;
    }
    return part;
}

bool kp_ground_divides(const kp_ground *ground)
{
    bool divides = false;
    for (uint32_t i = 0; i < ground->n_bases; i++) divides = divides || ground->bases[i].divides;
    return divides;
}

kp_status kp_ground_make(const kp_ground *chain, uint32_t gpus, kp_arena *arena, kp_ground *ret,
                         kp_err *err)
{
    kp_ground g = *chain;
    bool too_big = false;
    if (gpus < g.cluster.n_slots) g.cluster = first_slots(&g.cluster, gpus);
    KP_TRY(kp_space_make(g.request, gpus, g.max_stages, arena, &g.space, err));
    g.bases = KP_NEW(arena, kp_base, g.space.n_points);
    if (!g.bases) return kp_nomem(err);
    g.n_bases = 0;
    for (uint32_t i = 0; i < g.space.n_points; i++) {
        const kp_point *p = &g.space.points[i];
        if (kp_ground_base(&g, p->tp, p->micro_batch)) continue;
        KP_TRY(base_make(&g, p, arena, &g.bases[g.n_bases], err));
        too_big = too_big || g.bases[g.n_bases].too_big;
        g.n_bases++;
    }
    if (too_big && !kp_ground_divides(&g)) return KP_INPUT; /* err says what */
    *ret = g;
    return KP_OK;
}

uint32_t kp_ground_first_slot(const kp_strategy *strategy, uint32_t stage)
{
    return stage * strategy->dp * strategy->tp;
}

const kp_slot *kp_ground_tightest(const kp_ground *ground, const kp_strategy *strategy,
                                  uint32_t stage)
{
    const kp_slot *slots = ground->cluster.slots + kp_ground_first_slot(strategy, stage);
    const kp_slot *least = slots;
    for (uint32_t i = 1; i < strategy->dp * strategy->tp; i++)
        if (slots[i].device.usable_bytes < least->device.usable_bytes) least = &slots[i];
    return least;
}

/* ---- bounds ---- */

/* Any cut of the chain into pp stages takes at least the whole work once, m - 1 times its slowest
 * stage, which is no faster than an even share nor than the slowest unit, and pp - 1 of the
 * cheapest borders (stages.h). What follows the pipeline is left out for pp > 1; one stage has no
 * choice, so there it counts. */
double kp_ground_lower_s(const kp_base *base, double work_s, uint32_t pp, uint32_t micro_batches,
                         double tail_s)
{
    double most_s = fmax(work_s / pp, base->unit_s);
    double after_s = pp > 1 ? (pp - 1) * base->cross_s : tail_s;
    return work_s + (micro_batches - 1.) * most_s + after_s;
}

/* The fastest sync and update of one stage: a ZeRO level may sync faster, and divides the
 * optimizer's work by dp at best. */
static double least_tail_s(const kp_ground *g, const kp_base *base, const kp_point *point)
{
    uint8_t zeros = kp_space_zeros(&g->space, point);
    double least = INFINITY;
    for (uint32_t zero = 0; zero <= 3; zero++) {
        double sync_s, update_s;
        if (!(zeros >> zero & 1)) continue;
        kp_strategy s = kp_space_strategy(&g->space, point, zero, KP_RECOMPUTE_NONE);
        kp_costs_tail_s(&base->costs, 0, g->n_units, &s, &g->cluster, &sync_s, &update_s);
        least = fmin(least, sync_s + (zero ? update_s / point->dp : update_s));
    }
    return least;
}

/* ZeRO and recomputation only add to a stage's time, so the times of neither bound all; full
 * recomputation adds every forward pass, behind which more of the sync may hide. */
double kp_ground_bound_s(const kp_ground *ground, const kp_point *point, kp_recompute recompute)
{
    const kp_base *base = kp_ground_base(ground, point->tp, point->micro_batch);
    if (!base->divides || !kp_space_zeros(&ground->space, point)) return INFINITY;
    double work_s = kp_costs_stage_s(&base->costs, 0, ground->n_units);
    double tail_s = point->pp == 1 ? least_tail_s(ground, base, point) : 0;
    double bound_s = kp_ground_lower_s(base, work_s, point->pp, point->micro_batches, tail_s);
    if (recompute != KP_RECOMPUTE_FULL) return bound_s;
    work_s += base->costs.sum[ground->n_units].forward_s;
    return fmax(bound_s, kp_ground_lower_s(base, work_s, point->pp, point->micro_batches, 0));
}

/* Stage s holds k(s) micro-batches at once, so of what one micro-batch keeps it takes at most
 * (its memory - its states) / k(s), and over all stages that must be everything but what crosses
 * the borders, which the next stage may keep instead. States cost least where k is largest. */
bool kp_ground_holds(const kp_ground *ground, const kp_point *point, uint32_t zero)
{
    const kp_base *base = kp_ground_base(ground, point->tp, point->micro_batch);
    const kp_unit_sum *all = &base->costs.sum[ground->n_units];
    kp_strategy s = kp_space_strategy(&ground->space, point, zero, KP_RECOMPUTE_NONE);
    double states = zero == 3 ? 0 : (double)all->weights_bytes;
    states += (double)all->optimizer_bytes / (zero ? point->dp : 1);
    double room = -states / kp_stages_in_flight(&s, 0);
    for (uint32_t i = 0; i < point->pp; i++) {
        double usable = (double)kp_ground_tightest(ground, &s, i)->device.usable_bytes;
        room += usable / kp_stages_in_flight(&s, i) + (i ? (double)base->crossing_bytes : 0);
    }
    return (double)all->kept_bytes <= room;
}
