/* SPDX-License-Identifier: MIT */
#include "planner/plan/explain_ask.h"
#include "planner/plan/chart.h"
#include "planner/estimate/profile.h"
#include "planner/search/space.h"
#include "proto/json.h"
#include <inttypes.h>

/* ---- what was assumed, what to know ---- */

static kp_status assume(kp_explaining *e, const char *name, const char *value, const char *from)
{
    if (!value ||
        !KP_GROW(e->arena, e->out->assumptions, e->out->n_assumptions, e->cap_assumptions))
        return kp_nomem(e->err);
    e->out->assumptions[e->out->n_assumptions++] = (kp_assumption){name, value, from};
    return KP_OK;
}

/* What a run under torchtitan does beside its strategy. */
static kp_status assume_titan(kp_explaining *e)
{
    const kp_launch *l = &e->look.training.launch;
    return assume(
        e, "torchtitan",
        kp_arena_fmt(e->arena, "blocks %s, loss %s, selective recomputation %s, context %u",
                     l->compiled ? "compiled" : "eager", l->compiled_loss ? "compiled" : "eager",
                     l->per_op ? "by op" : "by block", l->cp),
        "the file's settings");
}

/* What a run under Megatron does beside its strategy. */
static kp_status assume_launch(kp_explaining *e)
{
    const kp_launch *l = &e->look.training.launch;
    const kp_strategy *s = &e->look.strategy;
    if (l->titan) return assume_titan(e);
    if (e->look.training.framework != KP_FW_MEGATRON) return KP_OK;
    const char *from = e->look.graph->launch ? "the file's arguments" : "Megatron's defaults";
    KP_TRY(assume(e, "kernels",
                  kp_arena_fmt(e->arena, "%s, attention %s, loss %s",
                               l->local ? "Megatron's own" : "Transformer Engine's",
                               l->unfused ? "writes its scores" : "fused",
                               l->fused_loss ? "fused" : "not fused"),
                  from));
    if (l->cp * l->ep * s->interleave < 2 && !l->sequence) return KP_OK;
    return assume(e, "parallel",
                  kp_arena_fmt(e->arena, "context %u, experts %u, sequence %s, %u stages a rank",
                               l->cp, l->ep, l->sequence ? "divided" : "whole", s->interleave),
                  from);
}

static kp_status fill_assumptions(kp_explaining *e)
{
    const kp_training *t = &e->look.training;
    const kp_options *o = e->request->options;
    const kp_strategy *s = &e->look.strategy;
    for (uint32_t i = 0; i < t->n_assumptions; i++)
        KP_TRY(assume(e, t->assumptions[i].name, t->assumptions[i].value, t->assumptions[i].from));
    if (!o->gpu && o->memory_bytes == UINT64_MAX)
        KP_TRY(assume(e, "gpu", KP_GPU_DEFAULT, "the usual small card (--gpu, --memory)"));
    bool jax = t->framework == KP_FW_KERAS_JAX;
    if (jax)
        KP_TRY(assume(e, "preallocate", o->preallocate ? "on" : "off",
                      o->preallocate
                          ? "--preallocate"
                          : "JAX takes 75 % of the card unless told otherwise (--preallocate)"));
    if (!jax && o->preallocate)
        KP_TRY(assume(e, "preallocate", "no effect",
                      "--preallocate is a setting of JAX; this framework takes memory as it needs "
                      "it, up to the whole card"));
    const kp_profile *profile = kp_profile_for(t);
    KP_TRY(assume(e, "context", kp_arena_str(e->arena, kp_size_text(profile->runtime_bytes).s),
                  profile->runtime_source));
    if (s->dp > 1)
        KP_TRY(assume(e, "batch a GPU",
                      kp_arena_fmt(e->arena, "%" PRIu64, e->look.training.batch / s->dp),
                      "--batch is the global batch, over --dp ranks (KP014)"));
    KP_TRY(assume_launch(e));
    if (!e->look.divided) return KP_OK;
    bool said = e->look.graph->launch && t->framework == KP_FW_MEGATRON;
    return assume(e, "strategy",
                  kp_arena_fmt(e->arena,
                               "dp=%u tp=%u pp=%u zero=%u, %u x %u samples, stage %u of %u", s->dp,
                               s->tp, s->pp, s->zero, s->micro_batches, s->micro_batch,
                               e->look.part.stage + 1, s->pp),
                  e->look.listed ? "the file's plan; the rank that needs most"
                  : said         ? "plan options, then the file; the rank that needs most"
                                 : "plan options; the rank that needs most");
}

static kp_status warn(kp_explaining *e, const char *code, const char *layer, const char *message)
{
    if (!message || !KP_GROW(e->arena, e->out->warnings, e->out->n_warnings, e->cap_warnings))
        return kp_nomem(e->err);
    e->out->warnings[e->out->n_warnings++] = (kp_warning){code, layer, message};
    return KP_OK;
}

/* It would fit, if all layers were known. */
static bool capped(const kp_explaining *e)
{
    return kp_look_fits(&e->look) && kp_look_fit(&e->look) != KP_FIT_FITS;
}

/* Degrees that were asked for and that the framework itself has no way to run. */
static kp_status warn_target(kp_explaining *e)
{
    kp_err why = {0};
    if (kp_space_check_target(e->look.training.target, e->request->options, &why) == KP_OK)
        return KP_OK;
    return warn(e, "target", NULL, kp_arena_fmt(e->arena, "%s: %s", why.msg, why.hint));
}

static kp_status fill_warnings(kp_explaining *e)
{
    const kp_graph *g = e->look.graph;
    for (uint32_t i = 0; i < g->n_warnings; i++)
        KP_TRY(warn(e, g->warnings[i].code, g->warnings[i].layer, g->warnings[i].message));
    KP_TRY(warn_target(e));
    if (e->look.strategy.dp < 2 && e->look.strategy.zero)
        KP_TRY(warn(e, "zero-without-dp", NULL,
                    "--zero divides nothing without data parallelism (--dp)"));
    if (capped(e))
        return warn(e, "low-confidence", NULL,
                    "not all layers are known inside, so 'fits' is not said; describe them with "
                    "--layers");
    if (kp_look_fit(&e->look) != KP_FIT_TIGHT) return KP_OK;
    return warn(e, "tight", NULL,
                "the card lies between the low and the high bound: it may or may not fit");
}

/* ---- the numbers ---- */

void kp_explain_peak_of(kp_explaining *e)
{
    const kp_memory *m = &e->look.memory;
    const kp_graph *g = e->look.graph;
    kp_explain *out = e->out;
    out->by_category = m->peak;
    out->peak = (kp_explain_peak){
        .bytes = kp_categories_sum(&m->peak),
        .low_bytes = m->low_bytes,
        .high_bytes = m->high_bytes,
        .allocated_bytes = m->allocated.bytes,
        .allocated_low_bytes = m->allocated.low,
        .allocated_high_bytes = m->allocated.high,
        .reserved_bytes = m->reserved.bytes,
        .reserved_low_bytes = m->reserved.low,
        .reserved_high_bytes = m->reserved.high,
        .phase = kp_phase_names[m->phase],
        .layer = m->layer == KP_NO ? NULL : g->layers[m->layer].path,
        .op = m->op == KP_NO ? NULL : kp_op_names[g->ops[m->op].op],
    };
    const kp_device *d = &e->look.device;
    out->device = (kp_explain_device){d->gpu, d->total_bytes, d->usable_bytes};
    out->verdict = kp_look_fit(&e->look);
    out->stages = e->look.stages;
    out->n_stages = e->look.strategy.pp;
}

/* High where the rules were compared with a compiler's own figures, medium elsewhere. */
static const char *confidence(const kp_explaining *e)
{
    const kp_graph *g = e->look.graph;
    kp_framework fw = e->look.training.framework;
    bool compared = fw == KP_FW_KERAS_JAX || fw == KP_FW_KERAS_TF || fw == KP_FW_KERAS_TF_GRAPH;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        kp_op op = g->ops[i].op;
        compared &= op != KP_OP_RNN && op != KP_OP_CONV_TRANSPOSE && op != KP_OP_MATH &&
                    g->ops[i].attr.spatial < 3;
    }
    return g->low_confidence ? "low" : compared && !e->look.divided ? "high" : "medium";
}

static kp_status explain(kp_explaining *e)
{
    KP_TRY(kp_look_at(e, e->json, NULL, e->request->options, false, &e->look, e->err));
    e->out->model = e->look.graph->name;
    kp_explain_peak_of(e);
    e->out->confidence = confidence(e);
    KP_TRY(fill_assumptions(e));
    KP_TRY(fill_warnings(e));
    KP_TRY(kp_explain_layers(e));
    KP_TRY(kp_explain_phases(e));
    KP_TRY(kp_explain_collectives(e));
    KP_TRY(kp_explain_culprits(e));
    KP_TRY(kp_explain_limits(e));
    KP_TRY(kp_explain_notes(e));
    return kp_explain_remedies(e);
}

static kp_status ask(kp_explaining *e, const kp_explain_questions *q)
{
    kp_explain_request request = *e->request;
    kp_options options;
    uint64_t set = 0;
    e->request = &request;
    if (q->largest) {
        KP_TRY(kp_explain_largest_of(e, q->largest, &options, &set));
        request.options = &options;
    }
    KP_TRY(explain(e));
    if (set)
        KP_TRY(assume(e, q->largest, kp_arena_fmt(e->arena, "%" PRIu64, set),
                      "open, so the largest that fits (--largest)"));
    if (q->error) KP_TRY(kp_explain_message_of(e, q->error, q->error_len));
    if (q->versus) {
        kp_status status = kp_explain_versus_of(e, q->versus, q->versus_len, q->versus_name);
        if (status && q->versus_failed) *q->versus_failed = true;
        KP_TRY(status);
    }
    if (q->svg) KP_TRY(kp_chart_svg(&e->look, e->out, e->arena, q->svg, e->err));
    return KP_OK;
}

kp_status kp_explain_ask(const kp_explain_request *request, const kp_explain_questions *questions,
                         kp_arena *arena, kp_explain *ret, kp_err *err)
{
    static const kp_explain_questions none = {0};
    kp_explaining *e = KP_NEW(arena, kp_explaining, 1);
    kp_explain *out = KP_NEW(arena, kp_explain, 1);
    if (!e || !out) return kp_nomem(err);
    kp_schema_init(&kp_schema_explain, out);
    *e = (kp_explaining){.request = request, .arena = arena, .err = err, .out = out};
    kp_status status = kp_model_parse(request->bytes, request->len, arena, &e->json, err);
    if (status == KP_INPUT) kp_err_at(err, "%.80s", request->name);
    if (status == KP_OK) status = ask(e, questions ? questions : &none);
    json_decref(e->json);
    if (status == KP_OK) *ret = *out;
    return status;
}

kp_status kp_explain_make(const kp_explain_request *request, kp_arena *arena, kp_explain *ret,
                          kp_err *err)
{
    return kp_explain_ask(request, NULL, arena, ret, err);
}
