/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_versus.c — another model under the same options, and why it differs. */
#include "planner/plan/explain_ask.h"
#include "proto/json.h"
#include <jansson.h>
#include <math.h>

enum { LAYERS_SHOWN = 5, REASONS_MAX = 4 };

typedef struct comparing {
    kp_explaining *e, *other;
    kp_explain_versus *out;
    kp_versus_names names;
    bool failed;
} comparing;

kp_versus_names kp_versus_names_of(const char *model, const char *other)
{
    bool same = !model || !other || !strcmp(model, other);
    return same ? (kp_versus_names){"this one", "the other"} : (kp_versus_names){model, other};
}

static const char *called(const comparing *c, const kp_explain *x)
{
    return x == c->e->out ? c->names.model : c->names.other;
}

static void reason(comparing *c, const char *text)
{
    if (!text)
        c->failed = true;
    else if (c->out->n_reasons < REASONS_MAX)
        c->out->reasons[c->out->n_reasons++] = text;
}

static const char *ratio(kp_arena *a, double x, double y)
{
    if (x <= 0 || y <= 0) return "";
    double r = x > y ? x / y : y / x;
    return r < 1.05 ? "about as much" : kp_arena_fmt(a, "%.3g times as much", r);
}

/* ---- reasons ---- */

/* The category that differs most. */
static void by_category(comparing *c)
{
    const kp_explain *x = c->e->out, *y = c->other->out;
    int which = 0;
    double most = 0;
    for (int i = 0; i < KP_CAT_COUNT; i++) {
        double d = fabs((double)x->by_category.bytes[i] - (double)y->by_category.bytes[i]);
        if (d <= most) continue;
        most = d;
        which = i;
    }
    uint64_t a = x->by_category.bytes[which], b = y->by_category.bytes[which];
    if (!most) return;
    reason(c, kp_arena_fmt(c->e->arena, "the largest difference is in %s: '%s' has %s, '%s' %s",
                           kp_category_names[which], called(c, a > b ? x : y),
                           kp_size_text(kp_max_u64(a, b)).s, called(c, a > b ? y : x),
                           kp_size_text(kp_min_u64(a, b)).s));
}

static uint64_t kept(const kp_explain *x, uint32_t *ret_layers)
{
    uint64_t sum = 0;
    *ret_layers = 0;
    for (uint32_t i = 0; i < x->n_layers; i++) {
        sum += x->layers[i].activations_bytes;
        *ret_layers += x->layers[i].activations_bytes > 0;
    }
    return sum;
}

/* The layer that keeps most. */
static const kp_explain_layer *widest(const kp_explain *x)
{
    const kp_explain_layer *most = x->layers;
    for (uint32_t i = 1; i < x->n_layers; i++)
        if (x->layers[i].activations_bytes > most->activations_bytes) most = &x->layers[i];
    return most;
}

/* What is kept, against the number of layers that keep it: the deeper one need not be larger. */
static void by_depth(comparing *c)
{
    const kp_explain *x = c->e->out, *y = c->other->out;
    kp_arena *arena = c->e->arena;
    uint32_t nx, ny;
    uint64_t kx = kept(x, &nx), ky = kept(y, &ny);
    if (!nx || !ny || !kx || !ky) return;
    const kp_explain *deep = nx >= ny ? x : y, *flat = nx >= ny ? y : x;
    uint64_t kd = nx >= ny ? kx : ky, kf = nx >= ny ? ky : kx;
    uint32_t nd = nx >= ny ? nx : ny, nf = nx >= ny ? ny : nx;
    const kp_explain_layer *wd = widest(deep), *wf = widest(flat);
    reason(c,
           kp_arena_fmt(arena, "kept for the backward pass: '%s' %s by %u layers, '%s' %s by %u%s",
                        called(c, deep), kp_size_text(kd).s, nd, called(c, flat),
                        kp_size_text(kf).s, nf, kd < kf ? ": depth is not what counts" : ""));
    reason(c, kp_arena_fmt(
                  arena, "the layer that keeps most: '%s' of '%s' %s, '%s' of '%s' %s (%s)",
                  wd->name, called(c, deep), kp_size_text(wd->activations_bytes).s, wf->name,
                  called(c, flat), kp_size_text(wf->activations_bytes).s,
                  ratio(arena, (double)wd->activations_bytes, (double)wf->activations_bytes)));
}

static uint64_t states(const kp_explain *x)
{
    const uint64_t *b = x->by_category.bytes;
    return b[KP_CAT_WEIGHTS] + b[KP_CAT_GRADIENTS] + b[KP_CAT_OPTIMIZER];
}

static void by_parameters(comparing *c)
{
    const kp_graph *g = c->e->look.graph, *h = c->other->look.graph;
    const kp_explain *x = c->e->out, *y = c->other->out;
    bool more = g->params > h->params, larger = x->peak.bytes > y->peak.bytes;
    const char *against = more != larger && g->params != h->params
                              ? ": the one with more parameters needs less memory"
                              : "";
    reason(c, kp_arena_fmt(
                  c->e->arena, "parameters: '%s' %s (%s with gradients and slots), '%s' %s (%s)%s",
                  called(c, x), kp_count_text(g->params).s, kp_size_text(states(x)).s, called(c, y),
                  kp_count_text(h->params).s, kp_size_text(states(y)).s, against));
}

/* ---- the other model ---- */

static kp_status run(kp_explaining *other)
{
    KP_TRY(kp_look_at(other, other->json, NULL, other->request->options, false, &other->look,
                      other->err));
    const kp_graph *g = other->look.graph;
    other->out->model = g->name;
    kp_explain_peak_of(other);
    return kp_explain_layers(other);
}

static kp_status fill(comparing *c)
{
    const kp_explain *y = c->other->out;
    kp_explain_versus *out = c->out;
    out->model = y->model;
    out->verdict = y->verdict;
    out->peak = y->peak;
    out->by_category = y->by_category;
    out->phases = y->phases;
    out->n_phases = y->n_phases;
    out->parameters = c->other->look.graph->params;
    out->n_layers = y->n_layers;
    out->layers = y->layers;
    out->n_layers_shown = y->n_layers < LAYERS_SHOWN ? y->n_layers : LAYERS_SHOWN;
    out->reasons = KP_NEW(c->e->arena, const char *, REASONS_MAX);
    if (!out->reasons) return kp_nomem(c->e->err);
    c->names = kp_versus_names_of(c->e->out->model, y->model);
    by_category(c);
    by_depth(c);
    by_parameters(c);
    return c->failed ? kp_nomem(c->e->err) : KP_OK;
}

kp_status kp_explain_versus_of(kp_explaining *e, const char *bytes, size_t len, const char *name)
{
    kp_explain_request request = *e->request;
    kp_explain *out = KP_NEW(e->arena, kp_explain, 1);
    kp_explaining *other = KP_NEW(e->arena, kp_explaining, 1);
    comparing c = {.e = e, .other = other, .out = KP_NEW(e->arena, kp_explain_versus, 1)};
    if (!out || !other || !c.out) return kp_nomem(e->err);
    request.bytes = bytes;
    request.len = len;
    request.name = name;
    kp_schema_init(&kp_schema_explain, out);
    *other = (kp_explaining){.request = &request, .arena = e->arena, .err = e->err, .out = out};
    kp_status status = kp_model_parse(bytes, len, e->arena, &other->json, e->err);
    if (status == KP_OK) status = run(other);
    if (status != KP_OK && strncmp(e->err->where, name, strlen(name)) != 0)
        kp_err_at(e->err, "%.80s", name); /* not of the first file */
    if (status == KP_OK) status = fill(&c);
    json_decref(other->json);
    other->json = NULL;
    if (status == KP_OK) e->out->versus = c.out;
    return status;
}
