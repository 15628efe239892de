/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_largest.c — the largest batch, sequence or other open dimension that fits.
 *
 * Each value that is tried is a whole second run. Memory grows with such a value, but not strictly:
 * allocators round, pipelines divide differently. So: doubled until it no longer holds, halved down
 * to neighbours, then the next few values are tried too. What is answered was itself run. */
#include "planner/plan/explain_ask.h"
#include <inttypes.h>

enum { PROBES_MAX = 320, CLIMB = 3, GRAIN_MAX = 256 };

/* What a run at one value says, the better the larger. */
typedef enum level {
    LEVEL_INVALID, /* the model or the options do not go with the value */
    LEVEL_NO,
    LEVEL_MAY,      /* not "no" */
    LEVEL_EXPECTED, /* the expected peak is within the device */
    LEVEL_FITS
} level;

typedef struct probe {
    uint64_t value;
    level level;
} probe;

typedef struct searching {
    kp_explaining *e;
    const char *what, *input; /* input: of INPUT:AXIS; NULL: batch or seq */
    bool batch;
    uint32_t axis;
    const kp_graph *graph;      /* for the batch; else the file is read at each value */
    uint64_t first, grain, cap; /* values are first + n x grain, up to cap */
    probe probes[PROBES_MAX];
    unsigned n;
    kp_err why;       /* of the first invalid value */
    kp_status failed; /* KP_NOMEM */
} searching;

/* ---- one value ---- */

static bool with_dim(searching *s, kp_options *o, uint64_t value)
{
    kp_opt_dim *dims = KP_NEW(s->e->arena, kp_opt_dim, o->n_dims + 1u);
    uint32_t n = 0;
    if (!dims) return false;
    for (uint32_t i = 0; i < o->n_dims; i++) {
        bool same = o->dims[i].input && !strcmp(o->dims[i].input, s->input);
        if (!same || o->dims[i].axis != s->axis) dims[n++] = o->dims[i];
    }
    if (value) dims[n++] = (kp_opt_dim){s->input, s->axis, value};
    o->dims = dims;
    o->n_dims = n;
    return true;
}

/* The options with the value; 0: without one. False: out of memory. */
static bool options_at(searching *s, uint64_t value, kp_options *ret)
{
    *ret = *s->e->request->options;
    if (s->input) return with_dim(s, ret, value);
    *(s->batch ? &ret->batch : &ret->seq) = value ? value : UINT64_MAX;
    return true;
}

static level run(searching *s, uint64_t value)
{
    kp_explaining *e = s->e;
    kp_options o;
    kp_look look;
    kp_err err = {0};
    level found = LEVEL_INVALID;
    kp_arena_mark mark = kp_arena_tell(e->arena);
    kp_status status = options_at(s, value, &o)
                           ? kp_look_at(e, e->json, s->graph, &o, true, &look, &err)
                           : KP_NOMEM;
    if (status == KP_OK) {
        uint64_t usable = look.device.usable_bytes;
        kp_verdict_fit fit = kp_look_fit(&look);
        bool expected = kp_categories_sum(&look.memory.peak) <= usable;
        found = fit == KP_FIT_FITS ? LEVEL_FITS
                : fit == KP_FIT_NO ? LEVEL_NO
                : expected         ? LEVEL_EXPECTED
                                   : LEVEL_MAY;
    } else if (status == KP_NOMEM) {
        s->failed = kp_nomem(e->err);
    } else if (!s->why.msg[0]) {
        s->why = err;
    }
    kp_arena_rewind(e->arena, mark);
    return found;
}

static level at(searching *s, uint64_t value)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->probes[i].value == value) return s->probes[i].level;
    if (value > s->cap || s->n == PROBES_MAX || s->failed) return LEVEL_INVALID;
    level found = run(s, value);
    s->probes[s->n++] = (probe){value, found};
    return found;
}

/* ---- the search ---- */

static uint64_t value_of(const searching *s, uint64_t index)
{
    return kp_add_u64(s->first, kp_mul_u64(index, s->grain));
}

/* Largest value of at least this level; 0 if not even the first has it. */
static uint64_t largest(searching *s, level least)
{
    uint64_t good = 0, bad = 1;
    if (at(s, s->first) < least) return 0;
    while (value_of(s, bad) <= s->cap && at(s, value_of(s, bad)) >= least) {
        good = bad;
        bad *= 2;
    }
    while (bad - good > 1) {
        uint64_t middle = good + (bad - good) / 2;
        if (at(s, value_of(s, middle)) >= least)
            good = middle;
        else
            bad = middle;
    }
    for (uint64_t next = good + 1; next <= good + CLIMB; next++) {
        if (at(s, value_of(s, next)) < least) continue;
        good = next; /* it was no border but a dent */
    }
    return value_of(s, good);
}

/* The smallest value that the model takes, and the steps between such values: a U-Net wants
 * multiples of what it pools away. */
static kp_status find_grain(searching *s, uint64_t step)
{
    uint64_t first = step;
    while (first <= s->cap && first <= step * 65536 && at(s, first) == LEVEL_INVALID && !s->failed)
        first *= 2;
    if (s->failed) return s->failed;
    if (at(s, first) == LEVEL_INVALID) {
        *s->e->err = s->why;
        return s->why.code;
    }
    while (!s->batch && first > step && at(s, first - 1) != LEVEL_INVALID) first--;
    uint64_t grain = step;
    while (grain < step * GRAIN_MAX && at(s, first + grain) == LEVEL_INVALID) grain *= 2;
    s->first = first;
    s->grain = grain;
    return s->failed ? s->failed : KP_OK;
}

/* ---- what is asked for ---- */

static kp_status fixed(const searching *s, const kp_graph *g, const kp_shape *shape)
{
    kp_err *err = s->e->err;
    if (shape)
        kp_fail(err, KP_USAGE, "--largest %.100s: the file fixes that dimension to %" PRId64,
                s->what, shape->dim[s->axis]);
    else
        kp_fail(err, KP_USAGE, "--largest %.100s: the model has no such dimension", s->what);
    if (g->n_open)
        kp_hint(err, "open are batch and %.60s:%u", g->open[0].input, g->open[0].axis);
    else
        kp_hint(err, "only the batch is open: --largest batch");
    return KP_USAGE;
}

/* That dimension must be open in the file, whatever the options say of it. */
static kp_status check_open(searching *s)
{
    kp_explaining *e = s->e;
    kp_options o;
    kp_bind bind;
    const kp_graph *g;
    if (!options_at(s, 0, &o)) return kp_nomem(e->err);
    o.seq = UINT64_MAX;
    uint32_t n = 0;
    kp_opt_dim *dims = KP_NEW(e->arena, kp_opt_dim, o.n_dims);
    if (!dims) return kp_nomem(e->err);
    for (uint32_t i = 0; i < o.n_dims; i++) /* without --dim N, which would close it */
        if (o.dims[i].input) dims[n++] = o.dims[i];
    o.dims = dims;
    o.n_dims = n;
    KP_TRY(kp_training_bind(&o, e->arena, &bind, e->err));
    KP_TRY(kp_model_read_json(e->json, e->request->name, &bind, e->arena, &g, e->err));
    for (uint32_t i = 0; i < g->n_open; i++)
        if (g->open[i].axis == s->axis && (!s->input || !strcmp(g->open[i].input, s->input)))
            return KP_OK;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const kp_tensor *x = &g->tensors[g->inputs[i]];
        bool named = !s->input || !strcmp(g->layers[x->layer].name, s->input);
        if (named && s->axis < x->shape.rank) return fixed(s, g, &x->shape);
    }
    return fixed(s, g, NULL);
}

static uint64_t given(uint32_t value)
{
    return value == UINT32_MAX || !value ? 1 : value;
}

/* A batch divides over replicas and stages, and into micro-batches of a size that is given. */
static kp_status set_batch(searching *s, uint64_t *ret_step)
{
    kp_explaining *e = s->e;
    const kp_options *o = e->request->options;
    kp_bind bind;
    KP_TRY(kp_training_bind(o, e->arena, &bind, e->err));
    KP_TRY(kp_model_read_json(e->json, e->request->name, &bind, e->arena, &s->graph, e->err));
    s->cap = UINT32_MAX;
    bool micro = o->micro_batch != UINT32_MAX;
    *ret_step = kp_mul_u64(given(o->dp), micro ? given(o->micro_batch) : given(o->pp));
    if (!s->graph->fixed_batch) return KP_OK;
    kp_fail(e->err, KP_USAGE, "--largest batch: the file fixes the batch to %" PRIu64,
            s->graph->fixed_batch);
    kp_hint(e->err, "make the model without batch_size in its Input");
    return KP_USAGE;
}

static kp_status parse(searching *s, uint64_t *ret_step)
{
    const char *colon = strrchr(s->what, ':');
    uint64_t axis = 0;
    *ret_step = 1;
    s->cap = (uint64_t)1 << 31;
    s->batch = !strcmp(s->what, "batch");
    if (s->batch) return set_batch(s, ret_step);
    s->axis = 1;
    if (strcmp(s->what, "seq")) {
        bool number = colon && colon > s->what &&
                      kp_parse_u64(colon + 1, 1, KP_RANK_MAX - 1, &axis, NULL) == KP_OK;
        if (!number) {
            kp_fail(s->e->err, KP_USAGE, "--largest: '%.100s' is none of batch, seq and INPUT:AXIS",
                    s->what);
            kp_hint(s->e->err, "axis 0 is the batch: --largest batch");
            return KP_USAGE;
        }
        s->axis = (uint32_t)axis;
        s->input = kp_arena_strn(s->e->arena, s->what, (size_t)(colon - s->what));
        if (!s->input) return kp_nomem(s->e->err);
    }
    return check_open(s);
}

/* ---- the answer ---- */

static const char *say(searching *s, const kp_explain_largest *a)
{
    kp_arena *arena = s->e->arena;
    if (!a->high)
        return kp_arena_fmt(arena, "not even %s %" PRIu64 " fits: something else must be smaller",
                            s->what, s->first);
    if (kp_add_u64(a->high, s->grain) > s->cap)
        return kp_arena_fmt(
            arena, "no limit was found up to %" PRIu64 ": memory hardly grows with it", a->high);
    const char *above = "";
    if (at(s, a->high + s->grain) == LEVEL_INVALID && s->why.msg[0])
        above = kp_arena_fmt(arena, "; above it: %s", s->why.msg);
    if (!above) return NULL;
    if (a->low == a->high)
        return kp_arena_fmt(arena, "%s %" PRIu64 " fits, the next does not%s", s->what, a->low,
                            above);
    return kp_arena_fmt(arena,
                        "%s %" PRIu64 " fits for sure, %" PRIu64 " by the expected figure, %" PRIu64
                        " at best: between them decide what the framework and its libraries take "
                        "beside the tensors%s",
                        s->what, a->low, a->value, a->high, above);
}

/* True if the options leave the dimension open. */
static bool left_open(const searching *s)
{
    const kp_options *o = s->e->request->options;
    if (s->batch || (s->axis == 1 && o->seq != UINT64_MAX)) return false;
    for (uint32_t i = 0; i < o->n_dims; i++) {
        const kp_opt_dim *d = &o->dims[i];
        bool same = d->input && s->input && !strcmp(d->input, s->input) && d->axis == s->axis;
        if (!d->input || same) return false;
    }
    return true;
}

kp_status kp_explain_largest_of(kp_explaining *e, const char *what, kp_options *ret_options,
                                uint64_t *ret_set)
{
    uint64_t step;
    searching *s = KP_NEW(e->arena, searching, 1);
    kp_explain_largest *a = KP_NEW(e->arena, kp_explain_largest, 1);
    if (!s || !a) return kp_nomem(e->err);
    s->e = e;
    s->what = what;
    KP_TRY(parse(s, &step));
    KP_TRY(find_grain(s, step));
    *a = (kp_explain_largest){.what = what, .step = s->grain};
    a->high = largest(s, LEVEL_MAY);
    a->value = largest(s, LEVEL_EXPECTED);
    a->low = largest(s, LEVEL_FITS);
    a->value = kp_max_u64(a->value, a->low); /* a dent may have ended the search for more early */
    a->high = kp_max_u64(a->high, a->value);
    if (s->failed) return s->failed;
    a->says = say(s, a);
    if (!a->says) return kp_nomem(e->err);
    e->out->largest = a;
    *ret_options = *e->request->options;
    *ret_set = 0;
    if (!left_open(s)) return KP_OK;
    *ret_set = a->low ? a->low : a->value ? a->value : a->high ? a->high : s->first;
    return options_at(s, *ret_set, ret_options) ? KP_OK : kp_nomem(e->err);
}
