/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_tries_gpus.c — more GPUs to try: replicas, divided states, divided layers.
 */
#include "planner/plan/explain_parts.h"
#include "planner/search/space.h"
#include <inttypes.h>

enum { TRIES_TP = 8, TRIES_PP = 8, TRIES_DP = 1024 };

/* Whether the framework's own target runs these degrees. */
static bool runs_on_target(const kp_explaining *e, const kp_options *o)
{
    kp_err err = {0};
    return kp_space_check_target(e->look.training.target, o, &err) == KP_OK;
}

/* The fewest GPUs, a power of two, whose memory together holds what one needs now. */
static uint32_t fewest(const kp_explaining *e, uint32_t most)
{
    uint64_t peak = e->out->peak.high_bytes, usable = kp_max_u64(e->look.device.usable_bytes, 1);
    uint32_t n = 2;
    while (n < most && n * usable < peak) n *= 2;
    return n;
}

static kp_verdict_fit try_ranks(kp_remedying *r, const char *rule, const kp_options *set,
                                const char *text, const char *message, kp_code which, uint64_t n,
                                double weight)
{
    const kp_explaining *e = kp_trying(r);
    if (!runs_on_target(e, set)) return KP_FIT_COUNT;
    kp_change c = kp_change_of(r, rule, KP_KNOB_RANKS, weight);
    c.set = *set;
    c.text = text;
    c.message = message;
    c.code = kp_code_of(e, which, n);
    c.confidence = which == KP_CODE_DATA ? "high" : "medium";
    return kp_try(r, &c);
}

/* Replicas: the batch over n GPUs. Twice as many if the fewest do not do. */
void kp_try_replicas(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    uint64_t batch = e->look.training.batch;
    kp_options o = *e->request->options;
    if (e->look.divided) return;
    for (uint32_t dp = fewest(e, TRIES_TP); dp <= TRIES_TP && batch % dp == 0; dp *= 2) {
        o.dp = dp;
        kp_verdict_fit fit = try_ranks(r, "KP013", &o, kp_arena_fmt(e->arena, "--dp %" PRIu32, dp),
                                       kp_arena_fmt(e->arena,
                                                    "%" PRIu32 " GPUs with %" PRIu64
                                                    " sample%s each; weights, gradients and "
                                                    "slots stay whole on every one",
                                                    dp, batch / dp, batch / dp > 1 ? "s" : ""),
                                       KP_CODE_DATA, dp, KP_DISTURB_LAYOUT);
        if (fit == KP_FIT_FITS || fit == KP_FIT_COUNT || kp_look_fits(&e->look)) return;
        if (dp < TRIES_TP && batch % (2 * dp) == 0) kp_forget(r);
    }
}

/* States divided over the data-parallel ranks: those there are, or as many as the batch allows. */
void kp_try_shards(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    const kp_strategy *s = &e->look.strategy;
    uint64_t batch = e->look.training.batch;
    kp_options o = *e->request->options;
    bool have = s->dp > 1 && e->look.divided;
    if (e->look.divided && (!have || s->zero == 3)) return;
    for (uint32_t dp = have ? s->dp : fewest(e, TRIES_DP); dp <= TRIES_DP && batch % dp == 0;
         dp *= 2) {
        o.dp = dp;
        /* Megatron's own way is the distributed optimizer; pipelines go with it only. */
        o.zero = e->look.training.framework == KP_FW_MEGATRON ? 1 : 3;
        if (!runs_on_target(e, &o)) o.zero = 1;
        if (o.zero <= s->zero) return;
        const char *text =
            have ? kp_arena_fmt(e->arena, "--zero %" PRIu32, o.zero)
                 : kp_arena_fmt(e->arena, "--dp %" PRIu32 " --zero %" PRIu32, dp, o.zero);
        kp_verdict_fit fit = try_ranks(
            r, "KP015", &o, text,
            kp_arena_fmt(e->arena,
                         o.zero == 3 ? "%" PRIu32 " GPUs divide the batch and, between them, "
                                       "weights, gradients and slots"
                                     : "%" PRIu32
                                       " GPUs divide the batch and the optimizer's slots",
                         dp),
            KP_CODE_SHARD, dp, have ? KP_DISTURB_LAYOUT : KP_DISTURB_LAYOUT * 1.5);
        if (have || fit == KP_FIT_FITS || fit == KP_FIT_COUNT || kp_look_fits(&e->look)) return;
        if (dp < TRIES_DP && batch % (2 * dp) == 0) kp_forget(r);
    }
}

/* The same GPUs as given, but for other degrees: data-parallel ranks become parts of layers. */
static const char *degrees(const kp_explaining *e, const kp_options *o, const char *of, uint32_t n)
{
    bool trades = e->look.divided && e->look.strategy.dp > 1;
    return trades ? kp_arena_fmt(e->arena, "--dp %" PRIu32 " --%s %" PRIu32, o->dp, of, n)
                  : kp_arena_fmt(e->arena, "--%s %" PRIu32, of, n);
}

/* Sets the degree; where there are data-parallel ranks, they are traded for it. */
static bool divide(const kp_explaining *e, kp_options *o, uint32_t *degree, uint32_t have,
                   uint32_t n)
{
    uint32_t dp = e->look.strategy.dp;
    *degree = n;
    if (!e->look.divided || dp < 2) return true;
    o->dp = dp * have / n;
    return dp * have % n == 0;
}

/* Every layer over n GPUs. */
static void try_tensor(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    kp_options o = *e->request->options;
    uint32_t have = e->look.strategy.tp;
    for (uint32_t tp = e->look.divided ? 2 * have : fewest(e, TRIES_TP); tp <= TRIES_TP; tp *= 2) {
        if (!divide(e, &o, &o.tp, have, tp)) return;
        kp_verdict_fit fit =
            try_ranks(r, "KP016", &o, degrees(e, &o, "tp", tp),
                      kp_arena_fmt(e->arena,
                                   "%" PRIu32 " GPUs divide the layers' weights and outputs, and "
                                   "talk in every layer: keep them in one node",
                                   tp),
                      KP_CODE_TENSOR, tp, KP_DISTURB_LAYOUT * 1.5);
        if (fit == KP_FIT_FITS || fit == KP_FIT_COUNT || kp_look_fits(&e->look)) return;
        if (tp < TRIES_TP) kp_forget(r);
    }
}

/* Whole layers on n GPUs. */
static void try_pipeline(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    kp_options o = *e->request->options;
    uint32_t have = e->look.strategy.pp, pp = e->look.divided ? 2 * have : fewest(e, TRIES_PP);
    if (kp_look_fits(&e->look) || pp > 2 * TRIES_PP || !divide(e, &o, &o.pp, have, pp)) return;
    try_ranks(r, "KP016", &o, degrees(e, &o, "pp", pp),
              kp_arena_fmt(e->arena,
                           "%" PRIu32 " stages of whole layers, a GPU each, which work on "
                           "micro-batches one behind the other",
                           pp),
              KP_CODE_PIPELINE, pp, KP_DISTURB_LAYOUT * 1.5);
}

void kp_try_layers(kp_remedying *r)
{
    try_tensor(r);
    try_pipeline(r);
}
