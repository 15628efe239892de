/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_look.c — one run of the estimate for an explanation. */
#include "planner/plan/explain_parts.h"
#include "planner/estimate/profile.h"
#include "planner/search/space.h"

static uint32_t given(uint32_t value, uint32_t otherwise)
{
    return value == UINT32_MAX || value == 0 ? otherwise : value;
}

/* Micro-batches of a pipeline: the largest size that leaves at least as many as stages. */
static uint32_t micro_batch(uint64_t samples, uint32_t pp)
{
    if (pp < 2) return (uint32_t)samples;
    for (uint64_t n = samples / pp; n > 1; n--)
        if (samples % n == 0) return (uint32_t)n;
    return 1;
}

/* Several stages a rank are known where the places of the blocks are. */
static kp_status check_schedule(const kp_training *training, const kp_options *o, kp_err *err)
{
    return training->launch.n_blocks ? KP_OK : kp_space_check_schedule(o, err);
}

/* Replicas that experts spread over as many ranks need at least. */
static uint32_t least_dp(const kp_launch *l)
{
    uint64_t experts = (uint64_t)l->ep * l->etp, rest = (uint64_t)l->tp * l->cp;
    return l->ep > 1 && experts > rest ? (uint32_t)kp_ceil_div(experts, rest) : 1;
}

static kp_status check_experts(const kp_launch *l, const kp_strategy *s, kp_err *err)
{
    uint64_t ranks = (uint64_t)s->dp * s->tp * l->cp, experts = (uint64_t)l->ep * l->etp;
    if (l->ep < 2 || ranks % experts == 0) return KP_OK;
    kp_fail(err, KP_USAGE, "experts on %u x %u ranks do not divide the %llu ranks of a stage",
            l->ep, l->etp, (unsigned long long)ranks);
    kp_hint(err, "'expert_model_parallel_size' x 'expert_tensor_parallel_size' must divide "
                 "--dp x --tp x 'context_parallel_size'");
    return KP_USAGE;
}

kp_status kp_look_strategy(const kp_graph *graph, const kp_training *training, const kp_options *o,
                           kp_strategy *ret, bool *ret_divided, kp_err *err)
{
    const kp_launch *l = &training->launch;
    bool degrees = o->dp != UINT32_MAX || o->tp != UINT32_MAX || o->pp != UINT32_MAX;
    bool zero = o->zero != UINT32_MAX, micro = o->micro_batch != UINT32_MAX;
    KP_TRY(check_schedule(training, o, err));
    /* Any strategy can be looked at; a target that is named must be able to run it. */
    if (o->target) KP_TRY(kp_space_check_target(o->target, o, err));
    kp_strategy s = kp_part_whole(graph, training).strategy;
    s.dp = given(o->dp, least_dp(l));
    s.tp = given(o->tp, l->tp);
    s.pp = given(o->pp, l->pp);
    s.zero = zero ? o->zero : l->shards_all ? 3 : l->shards_optimizer;
    s.interleave = s.pp < 2 ? 1 : given(o->interleave, s.pp == l->pp ? l->chunks : 1);
    if (l->recompute) s.recompute = l->recompute;
    if (o->recompute) s.recompute = o->recompute;
    if (s.interleave > 1) s.schedule = KP_SCHEDULE_INTERLEAVED;
    if (o->schedule) s.schedule = o->schedule;
    if (training->batch % s.dp) {
        kp_fail(err, KP_USAGE, "a batch of %llu does not divide into --dp %u",
                (unsigned long long)training->batch, s.dp);
        kp_hint(err, "--batch is the global batch: take a multiple of %u", s.dp);
        return KP_USAGE;
    }
    uint64_t samples = training->batch / s.dp;
    s.micro_batch = micro            ? o->micro_batch
                    : l->micro_batch ? l->micro_batch
                                     : micro_batch(samples, s.pp);
    if (!s.micro_batch || samples % s.micro_batch)
        return kp_fail(err, KP_USAGE, "%llu samples a rank do not divide into --micro-batch %u",
                       (unsigned long long)samples, s.micro_batch);
    s.micro_batches = (uint32_t)(samples / s.micro_batch);
    KP_TRY(check_experts(l, &s, err));
    *ret_divided = degrees || zero || micro || o->recompute || o->schedule;
    *ret = s;
    return KP_OK;
}

kp_status kp_look_at(const kp_explaining *e, struct json_t *json, const kp_graph *graph,
                     const kp_options *options, bool brief, kp_look *ret, kp_err *err)
{
    kp_look look = {.graph = graph, .brief = brief};
    kp_bind bind;
    if (!graph) {
        KP_TRY(kp_training_bind(options, e->arena, &bind, err));
        KP_TRY(kp_model_read_json(json, e->request->name, &bind, e->arena, &look.graph, err));
    }
    KP_TRY(kp_training_resolve(look.graph, options, e->arena, &look.training, err));
    kp_options device = *options;
    device.preallocate &= look.training.framework == KP_FW_KERAS_JAX; /* only JAX does so */
    KP_TRY(kp_device_resolve(e->request->gpus, &device, e->arena, &look.device, err));
    look.training.cudnn_attention =
        look.training.framework == KP_FW_MEGATRON && kp_profile_generation(&look.device) >= 10;
    look.training.multiprocessors = look.device.kind->sm_count;
    KP_TRY(
        kp_look_strategy(look.graph, &look.training, options, &look.strategy, &look.divided, err));
    look.listed = look.graph->oplan && !look.divided;
    const kp_strategy *s = &look.strategy;
    look.divided |= look.listed || s->tp * s->pp > 1 || s->micro_batches > 1;
    if (look.listed)
        KP_TRY(kp_look_listed_strategy(look.graph->oplan, &look.training, &look.strategy, err));
    KP_TRY(kp_look_worst(&look, e->look.graph ? &e->look : NULL, e->arena, err));
    look.host = kp_host_of(&look);
    look.fit = kp_look_fit(&look);
    *ret = look;
    return KP_OK;
}

/* ---- questions about it ---- */

bool kp_look_fits(const kp_look *look)
{
    return kp_memory_fit(&look->memory, look->device.usable_bytes) == KP_FIT_FITS;
}

kp_verdict_fit kp_look_fit(const kp_look *look)
{
    kp_verdict_fit fit = kp_memory_fit(&look->memory, look->device.usable_bytes);
    return fit == KP_FIT_FITS && look->graph->low_confidence ? KP_FIT_TIGHT : fit;
}

uint64_t kp_look_layer_bytes(const kp_look *look, uint32_t layer)
{
    const kp_layer_bytes *l = &look->memory.layers[layer];
    return l->weights + l->gradients + l->optimizer + l->activations;
}

uint64_t kp_look_layer_params(const kp_look *look, uint32_t layer)
{
    const kp_graph *g = look->graph;
    const kp_layer *l = &g->layers[layer];
    uint64_t n = 0;
    for (uint32_t w = l->first_weight; w < l->first_weight + l->n_weights; w++)
        n = kp_add_u64(n, kp_shape_elems(g->weights[w].shape, 1));
    return n;
}

uint32_t kp_look_main_op(const kp_look *look, uint32_t layer)
{
    const kp_graph *g = look->graph;
    uint32_t best = KP_NO;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        if (g->ops[i].layer != layer) continue;
        kp_op_kind kind = kp_op_rows[g->ops[i].op].kind;
        bool main = kind == KP_KIND_WEIGHTY || kind == KP_KIND_LOOP || kind == KP_KIND_GATHER;
        if (best == KP_NO || (main && kp_op_rows[g->ops[best].op].kind != kind)) best = i;
        if (main) return i;
    }
    return best;
}
