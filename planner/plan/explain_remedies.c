/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_remedies.c — what to change, each change really run again.
 *
 * A change sets options or edits the model's document; what it saves is the difference of the two
 * peaks. Ordered by bytes saved over how much a change disturbs: a flag least, the model most.
 * Then one on top of the other in that order, again by runs, until it fits. */
#include "planner/plan/explain_parts.h"
#include <jansson.h>

enum {
    REMEDIES_MAX = 12,
    STEPS_MAX = 4,
    STEP_RUNS_MAX = 4,
    WORK_MAX = 85000,       /* of all runs, in ops visited: some 40 ms */
    STEPS_WORK_MAX = 15000, /* of it, kept for changes on top of each other */
    HOST_PART = 100,        /* a change that saves less of the host than this part is none */
};

typedef struct candidate {
    kp_change change;
    kp_explain_remedy remedy;
} candidate;

struct kp_remedying {
    kp_explaining *e;
    candidate *list;
    uint32_t n;
    size_t cap;
    uint64_t peak, host;
    uint64_t work;    /* spent, as WORK_MAX */
    kp_status status; /* KP_NOMEM once memory was out */
};

const kp_explaining *kp_trying(const kp_remedying *r)
{
    return r->e;
}

void kp_forget(kp_remedying *r)
{
    if (r->n) r->n--;
}

kp_change kp_change_of(const kp_remedying *r, const char *rule, unsigned knobs, double weight)
{
    return (kp_change){.rule = rule,
                       .knobs = knobs,
                       .weight = weight,
                       .set = *r->e->request->options,
                       .layer = KP_NO,
                       .confidence = "high"};
}

/* ---- running changes ---- */

static void set_options(const kp_change *c, kp_options *o)
{
    const kp_options *s = &c->set;
    if (c->knobs & KP_KNOB_DTYPE) o->dtype_policy = s->dtype_policy;
    if (c->knobs & KP_KNOB_OPTIMIZER) o->optimizer = s->optimizer;
    if (c->knobs & KP_KNOB_RECOMPUTE) o->recompute = s->recompute;
    if (c->knobs & KP_KNOB_DATA) o->data = s->data;
    if (c->knobs & KP_KNOB_LENGTH) o->seq = s->seq;
    if (c->knobs & KP_KNOB_LABELS) {
        o->loss = s->loss;
        o->labels = s->labels;
    }
    if (c->knobs & KP_KNOB_BATCH) {
        o->batch = s->batch;
        o->grad_accum = s->grad_accum;
        o->micro_batch = s->micro_batch;
    }
    if (c->knobs & KP_KNOB_RANKS) {
        o->dp = s->dp;
        o->tp = s->tp;
        o->pp = s->pp;
        o->zero = s->zero;
    }
}

static bool edits(const kp_change *c)
{
    return c->layer != KP_NO;
}

/* An edit may change the sizes of outputs with the input's, but not what the outputs are. */
static bool same_task(const kp_look *first, const kp_look *second, bool resized)
{
    const kp_graph *a = first->graph, *b = second->graph;
    if (a->n_outputs != b->n_outputs) return false;
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        kp_shape x = a->tensors[a->outputs[i]].shape, y = b->tensors[b->outputs[i]].shape;
        if (x.rank != y.rank || (!resized && !kp_shape_equal(x, y))) return false;
    }
    return true;
}

/* A run visits every op a few times, for each stage again. */
static uint64_t work_of(const kp_remedying *r)
{
    const kp_look *look = &r->e->look;
    enum { VISITS = 4 };
    return (uint64_t)look->graph->n_ops *
           (VISITS + (look->strategy.pp > 1 ? look->strategy.pp : 0));
}

/* Runs the changes together. false if they do not run: only running out of memory is a failure. */
static bool run(kp_remedying *r, const kp_change *const *changes, uint32_t n, kp_look *ret)
{
    kp_explaining *e = r->e;
    kp_options options = *e->request->options;
    kp_edited edited[STEPS_MAX];
    const char *change, *message;
    uint32_t n_edited = 0;
    bool reads = false, resized = false, ok = true;
    kp_err err = {0};
    for (uint32_t i = 0; i < n && ok; i++) {
        const kp_change *c = changes[i];
        set_options(c, &options);
        reads |= edits(c) || c->knobs & (KP_KNOB_DTYPE | KP_KNOB_LENGTH);
        resized |= (c->knobs & KP_KNOB_LENGTH) != 0;
        if (edits(c))
            ok = kp_explain_edit(e, c->edit, c->layer, &edited[n_edited], &change, &message, NULL);
        n_edited += ok && edits(c);
    }
    kp_status status = KP_OK;
    r->work += work_of(r);
    if (ok)
        status = kp_look_at(e, e->json, reads ? NULL : e->look.graph, &options, true, ret, &err);
    while (n_edited > 0) kp_explain_unedit(&edited[--n_edited]);
    if (status == KP_NOMEM) r->status = kp_nomem(e->err);
    return ok && status == KP_OK && (!reads || same_task(&e->look, ret, resized));
}

/* ---- keeping what saves ---- */

static bool keep(kp_remedying *r, const kp_change *change, const kp_look *second)
{
    uint64_t after = kp_categories_sum(&second->memory.peak), host = kp_host_peak(&second->host);
    uint64_t saves = r->peak > after ? r->peak - after : 0;
    bool for_host = (change->knobs & (KP_KNOB_DATA | KP_KNOB_LABELS)) != 0;
    uint64_t host_saves = for_host && r->host > host ? r->host - host : 0;
    if (after > r->peak || (!saves && host_saves * HOST_PART <= r->host)) return false;
    if (!KP_GROW(r->e->arena, r->list, r->n, r->cap)) {
        r->status = kp_nomem(r->e->err);
        return false;
    }
    const kp_graph *g = r->e->look.graph;
    const kp_strategy *s = &second->strategy;
    r->list[r->n++] = (candidate){*change,
                                  {.rule = change->rule,
                                   .layer = edits(change) ? g->layers[change->layer].path : NULL,
                                   .change = change->text,
                                   .message = change->message,
                                   .code = change->code,
                                   .saves_bytes = saves,
                                   .peak_after_bytes = after,
                                   .fits_after = second->fit == KP_FIT_FITS,
                                   .verdict_after = second->fit,
                                   .host_saves_bytes = host_saves,
                                   .host_after_bytes = host,
                                   .gpus_after = s->dp * s->tp * s->pp,
                                   .confidence = change->confidence}};
    return true;
}

/* The look's memory is given back before the candidate is kept, so that the list can grow. */
kp_verdict_fit kp_try(kp_remedying *r, const kp_change *change)
{
    kp_explaining *e = r->e;
    kp_look second;
    kp_change made = *change;
    kp_edited edited;
    bool enough = r->work && r->work + work_of(r) > WORK_MAX - STEPS_WORK_MAX;
    if (r->status != KP_OK || enough) return KP_FIT_COUNT;
    if (edits(change)) {
        if (!kp_explain_edit(e, change->edit, change->layer, &edited, &made.text, &made.message,
                             &made.code))
            return KP_FIT_COUNT;
        kp_explain_unedit(&edited);
    }
    if (!made.text || !made.message) {
        r->status = kp_nomem(e->err);
        return KP_FIT_COUNT;
    }
    const kp_change *one = &made;
    kp_arena_mark mark = kp_arena_tell(e->arena);
    bool runs = run(r, &one, 1, &second);
    kp_arena_rewind(e->arena, mark);
    return runs && keep(r, &made, &second) ? second.fit : KP_FIT_COUNT;
}

/* ---- order ---- */

/* What is saved on a host counts a little: it has more memory than a card, and no one knows how
 * much. */
static double gain(const candidate *c)
{
    const kp_explain_remedy *m = &c->remedy;
    double saved = m->saves_bytes ? (double)m->saves_bytes : (double)m->host_saves_bytes * 1e-6;
    return saved / c->change.weight;
}

static int by_gain(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    double ga = gain(a), gb = gain(b);
    if (ga != gb) return ga > gb ? -1 : 1;
    return strcmp(a->remedy.change, b->remedy.change);
}

/* ---- one on top of the other ---- */

typedef struct stack {
    const kp_change *changes[STEPS_MAX];
    kp_explain_step steps[STEPS_MAX];
    uint32_t n, runs;
    unsigned knobs;
    uint64_t peak;
    kp_verdict_fit fit;
} stack;

static void put_on(kp_remedying *r, stack *s, const candidate *c)
{
    kp_look look;
    unsigned own = c->change.knobs & ~(unsigned)KP_KNOB_EDIT;
    if (s->knobs & own || s->n == STEPS_MAX || s->runs == STEP_RUNS_MAX || s->fit == KP_FIT_FITS ||
        !c->remedy.saves_bytes)
        return;
    s->changes[s->n] = &c->change;
    uint64_t peak = c->remedy.peak_after_bytes;
    kp_verdict_fit fit = c->remedy.verdict_after;
    if (s->n && r->work + work_of(r) > WORK_MAX) return;
    if (s->n) {
        kp_arena_mark mark = kp_arena_tell(r->e->arena);
        s->runs++;
        bool runs = run(r, s->changes, s->n + 1, &look);
        kp_arena_rewind(r->e->arena, mark);
        if (!runs) return;
        peak = kp_categories_sum(&look.memory.peak);
        fit = look.fit;
    }
    if (peak + peak / 50 >= s->peak && fit != KP_FIT_FITS) return; /* not worth the trouble */
    s->steps[s->n++] = (kp_explain_step){c->remedy.rule, c->remedy.change, peak, fit};
    s->knobs |= own;
    s->peak = peak;
    s->fit = fit;
}

/* Settings and batches on the same GPUs, then other layouts, then what changes the training. */
static int round_of(const kp_change *c)
{
    return c->knobs & KP_KNOB_RANKS ? 1 : c->weight < KP_DISTURB_TRAIN ? 0 : 2;
}

static kp_status fill_together(kp_remedying *r)
{
    enum { ROUNDS = 3 };
    kp_explaining *e = r->e;
    stack s = {.peak = r->peak,
               .fit = kp_look_fits(&e->look) ? KP_FIT_FITS : kp_look_fit(&e->look)};
    for (int round = 0; round < ROUNDS; round++)
        for (uint32_t i = 0; i < r->n && s.fit != KP_FIT_FITS; i++)
            if (round_of(&r->list[i].change) == round) put_on(r, &s, &r->list[i]);
    e->out->together = KP_NEW(e->arena, kp_explain_step, STEPS_MAX);
    if (!e->out->together) return kp_nomem(e->err);
    memcpy(e->out->together, s.steps, sizeof(s.steps));
    e->out->n_together = s.n;
    return r->status;
}

kp_status kp_explain_remedies(kp_explaining *e)
{
    kp_remedying *r = KP_NEW(e->arena, kp_remedying, 1);
    if (!r) return kp_nomem(e->err);
    r->e = e;
    r->peak = kp_categories_sum(&e->look.memory.peak);
    r->host = kp_host_peak(&e->look.host);
    for (size_t i = 0; i < kp_n_rules && r->status == KP_OK; i++)
        if (kp_rules[i].changes) kp_rules[i].changes(r);
    if (r->status != KP_OK) return r->status;
    if (r->n) qsort(r->list, r->n, sizeof(*r->list), by_gain);
    uint32_t n = r->n < REMEDIES_MAX ? r->n : REMEDIES_MAX;
    e->out->remedies = KP_NEW(e->arena, kp_explain_remedy, n);
    if (!e->out->remedies) return kp_nomem(e->err);
    for (uint32_t i = 0; i < n; i++) e->out->remedies[i] = r->list[i].remedy;
    e->out->n_remedies = n;
    return fill_together(r);
}
