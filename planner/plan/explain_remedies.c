/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_remedies.c — what to change, each change really run again.
 *
 * Candidates are changed options and edits of the model; saves_bytes is the difference of the two
 * peaks. Ordered by bytes saved over how much a change disturbs: a flag least, the model most. */
#include "planner/plan/explain_parts.h"
#include <jansson.h>
#include <math.h>

enum { REMEDIES_MAX = 10, CANDIDATES_MAX = 24 };

typedef struct candidate {
    kp_explain_remedy remedy;
    double weight; /* how much it disturbs */
} candidate;

typedef struct remedying {
    kp_explaining *e;
    candidate list[CANDIDATES_MAX];
    uint32_t n;
    uint64_t peak;
    kp_status status; /* KP_NOMEM once memory was out */
} remedying;

/* Disturbances, in units of a flag. */
#define FLAG   1.0
#define BATCH  1.5
#define RERUN  1.5
#define LAYOUT 2.0
#define TRAIN  3.0
#define MODEL  5.0

/* ---- running one ---- */

static bool keep(remedying *r, const char *rule, const char *layer, const char *change,
                 const char *message, double weight, const char *confidence, const kp_look *second)
{
    uint64_t after = kp_categories_sum(&second->memory.peak);
    if (after >= r->peak || r->n == CANDIDATES_MAX || !change) return false;
    bool fits = kp_memory_fit(&second->memory, second->device.usable_bytes) == KP_FIT_FITS;
    r->list[r->n++] = (candidate){
        {rule, layer, change, message, r->peak - after, after, fits, confidence}, weight};
    return fits;
}

/* A second run; false if it does not run: then it is no remedy. Only running out of memory is a
 * failure. */
static bool look(remedying *r, json_t *json, const kp_graph *graph, const kp_options *options,
                 kp_look *ret)
{
    kp_err err = {0};
    kp_status status = kp_look_at(r->e, json, graph, options, true, ret, &err);
    if (status == KP_NOMEM) r->status = kp_nomem(r->e->err);
    return status == KP_OK;
}

/* Runs changed options, and keeps the change if it saves; true if it then fits. */
static bool try_options(remedying *r, const char *rule, const kp_options *options, bool same_graph,
                        const char *change, const char *message, double weight,
                        const char *confidence)
{
    kp_explaining *e = r->e;
    kp_look second;
    kp_arena_mark mark = kp_arena_tell(e->arena);
    const kp_graph *graph = same_graph ? e->look.graph : NULL;
    bool fits = false;
    if (!change)
        r->status = kp_nomem(e->err);
    else if (look(r, e->json, graph, options, &second))
        fits = keep(r, rule, NULL, change, message, weight, confidence, &second);
    kp_arena_rewind(e->arena, mark);
    return fits;
}

static void try_edit(remedying *r, const char *rule, kp_edit edit, const char *path)
{
    kp_explaining *e = r->e;
    const char *change, *message;
    uint32_t layer = 0;
    while (layer < e->look.graph->n_layers && e->look.graph->layers[layer].path != path) layer++;
    if (layer == e->look.graph->n_layers) return;
    json_t *json = kp_explain_edit(e, edit, layer, &change, &message);
    if (!json) return;
    kp_look second;
    kp_arena_mark mark = kp_arena_tell(e->arena);
    if (look(r, json, NULL, e->request->options, &second))
        keep(r, rule, path, change, message, MODEL, "medium", &second);
    kp_arena_rewind(e->arena, mark);
    json_decref(json);
}

/* ---- options ---- */

static bool computes(const kp_graph *g, kp_dtype dtype)
{
    for (uint32_t i = 0; i < g->n_layers; i++)
        if (!g->layers[i].is_model && g->layers[i].compute_dtype != dtype) return false;
    return true;
}

static void try_dtype(remedying *r)
{
    kp_explaining *e = r->e;
    const kp_gpu_kind *kind = e->look.device.kind;
    bool has16 = kind->fp16_flops_per_s > kind->fp32_flops_per_s ||
                 kind->bf16_flops_per_s > kind->fp32_flops_per_s;
    if (!computes(e->look.graph, KP_FLOAT32) || !has16) return;
    kp_options o = *e->request->options;
    bool bf16 = !isnan(kind->bf16_flops_per_s);
    o.dtype_policy = bf16 ? "mixed_bfloat16" : "mixed_float16";
    try_options(r, "KP011", &o, false,
                bf16 ? "--dtype-policy mixed_bfloat16" : "--dtype-policy mixed_float16",
                "activations take 2 bytes instead of 4; weights and slots stay float32", FLAG,
                "high");
}

static void try_batch(remedying *r)
{
    kp_explaining *e = r->e;
    uint64_t batch = e->look.training.batch, dp = e->look.strategy.dp;
    if (e->look.graph->fixed_batch) return;
    kp_options o = *e->request->options;
    if (batch % (4 * dp) == 0) {
        uint32_t accum = 4 * e->look.training.grad_accum;
        o.batch = batch / 4;
        o.grad_accum = accum;
        try_options(r, "KP004", &o, true,
                    kp_arena_fmt(e->arena, "--batch %llu --grad-accum %u",
                                 (unsigned long long)o.batch, accum),
                    "the same effective batch in four parts, for one gradient accumulator a weight",
                    BATCH, "high");
        o = *e->request->options;
    }
    for (uint64_t b = batch / 2; b >= dp && b % dp == 0; b /= 2) {
        o.batch = b;
        const char *change = kp_arena_fmt(e->arena, "--batch %llu", (unsigned long long)b);
        uint32_t before = r->n;
        bool fits = try_options(r, "KP004", &o, true, change,
                                "a smaller batch: activations shrink with it", BATCH * 2, "high");
        /* Only the largest that fits, or the first half where it fits anyway or never. */
        bool fitted = kp_memory_fit(&e->look.memory, e->look.device.usable_bytes) == KP_FIT_FITS;
        if (fits || fitted) break;
        if (b / 2 >= dp && b / 2 % dp == 0 && r->n > before) r->n = before;
    }
}

static void try_labels(remedying *r)
{
    const kp_training *t = &r->e->look.training;
    if (t->loss != KP_LOSS_CATEGORICAL || !t->labels_onehot) return;
    kp_options o = *r->e->request->options;
    o.loss = "sparse_categorical_crossentropy";
    bool said = o.labels != KP_LABELS_AUTO;
    if (said) o.labels = KP_LABELS_SPARSE;
    try_options(r, "KP010", &o, true,
                said ? "--loss sparse_categorical_crossentropy --labels sparse"
                     : "--loss sparse_categorical_crossentropy",
                "labels as integers instead of one-hot vectors", FLAG, "high");
}

static void try_optimizer(remedying *r)
{
    const kp_training *t = &r->e->look.training;
    kp_weight one = {.shape = {.rank = 1, .dim = {16}}};
    if (kp_optimizer_slot_elems(t, &one) < 32) return;
    kp_options o = *r->e->request->options;
    o.optimizer = "sgd_momentum";
    try_options(r, "KP012", &o, true, "--optimizer sgd_momentum",
                "one slot a weight instead of two or more; another training", TRAIN, "high");
}

static void try_recompute(remedying *r)
{
    if (r->e->look.strategy.recompute != KP_RECOMPUTE_NONE) return;
    kp_options o = *r->e->request->options;
    o.recompute = KP_RECOMPUTE_FULL;
    try_options(r, "KP006", &o, true, "--recompute full",
                "only what crosses between segments is kept, the rest computed again: about a "
                "third more work",
                RERUN, "medium");
}

/* The next step from a strategy given by hand. */
static void try_strategy(remedying *r)
{
    kp_explaining *e = r->e;
    const kp_strategy *s = &e->look.strategy;
    if (!e->look.divided) return;
    kp_options o = *e->request->options;
    if (s->dp > 1 && s->zero < 3) {
        o.zero = 3;
        try_options(r, "KP015", &o, true, "--zero 3",
                    "the data-parallel ranks divide weights, gradients and slots between them",
                    LAYOUT, "medium");
        o.zero = e->request->options->zero;
    }
    if (s->micro_batch % 2) return;
    o.micro_batch = s->micro_batch / 2;
    try_options(r, "KP004", &o, true, kp_arena_fmt(e->arena, "--micro-batch %u", o.micro_batch),
                "smaller micro-batches: what is kept for each shrinks", FLAG, "high");
}

/* More GPUs: batch and states divided, or every layer. */
static void try_more_gpus(remedying *r)
{
    kp_explaining *e = r->e;
    if (e->look.divided) return;
    kp_options o = *e->request->options;
    uint64_t batch = e->look.training.batch;
    o.dp = batch % 8 == 0 ? 8 : batch % 4 == 0 ? 4 : batch % 2 == 0 ? 2 : 1;
    const char *dp = kp_arena_fmt(e->arena, "--dp %u", o.dp);
    const char *shards = kp_arena_fmt(e->arena, "--dp %u --zero 3", o.dp);
    if (o.dp > 1) {
        try_options(r, "KP013", &o, true, dp,
                    "more GPUs divide the batch; weights, gradients and slots stay whole on each",
                    LAYOUT, "high");
        o.zero = 3;
        try_options(r, "KP015", &o, true, shards,
                    "more GPUs divide the batch and, between them, weights, gradients and slots",
                    LAYOUT * 1.5, "medium");
    }
    o = *e->request->options;
    for (o.tp = 8; o.tp > 1; o.tp /= 2) {
        uint32_t before = r->n;
        try_options(r, "KP016", &o, true, kp_arena_fmt(e->arena, "--tp %u", o.tp),
                    "more GPUs divide the layers' weights and outputs", LAYOUT * 1.5, "medium");
        if (r->n > before) break;
    }
}

/* ---- edits ---- */

/* Edits by the rule of a culprit. */
static const struct {
    const char *rule, *as;
    kp_edit edit;
} edits[] = {
    {"KP001", "KP001", KP_EDIT_POOL_FLATTEN}, {"KP002", "KP002", KP_EDIT_HALVE_UNITS},
    {"KP003", "KP003", KP_EDIT_STRIDE},       {"KP007", "KP007", KP_EDIT_SHORTEN},
    {"KP012", "KP002", KP_EDIT_HALVE_UNITS},
};

/* The largest culprit of each rule; an output's width is the task's, not ours to halve. */
static void try_edits(remedying *r)
{
    kp_explaining *e = r->e;
    const kp_graph *g = e->look.graph;
    for (size_t i = 0; i < KP_LEN(edits); i++)
        for (uint32_t c = 0; c < e->out->n_culprits; c++) {
            const kp_explain_culprit *culprit = &e->out->culprits[c];
            bool output = false;
            for (uint32_t k = 0; k < g->n_outputs && culprit->layer; k++)
                output |= g->layers[g->tensors[g->outputs[k]].layer].path == culprit->layer;
            if (!culprit->layer || strcmp(culprit->rule, edits[i].rule)) continue;
            if (output && edits[i].edit == KP_EDIT_HALVE_UNITS) continue;
            uint32_t before = r->n;
            try_edit(r, edits[i].as, edits[i].edit, culprit->layer);
            if (r->n > before) break;
        }
}

/* ---- order ---- */

static double gain(const candidate *c)
{
    return (double)c->remedy.saves_bytes / c->weight;
}

static int by_gain(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    double ga = gain(a), gb = gain(b);
    if (ga != gb) return ga > gb ? -1 : 1;
    return strcmp(a->remedy.change, b->remedy.change);
}

kp_status kp_explain_remedies(kp_explaining *e)
{
    remedying *r = KP_NEW(e->arena, remedying, 1);
    if (!r) return kp_nomem(e->err);
    r->e = e;
    r->peak = kp_categories_sum(&e->look.memory.peak);
    try_dtype(r);
    try_batch(r);
    try_labels(r);
    try_recompute(r);
    try_optimizer(r);
    try_strategy(r);
    try_more_gpus(r);
    try_edits(r);
    if (r->status != KP_OK) return r->status;
    qsort(r->list, r->n, sizeof(*r->list), by_gain);
    uint32_t n = r->n < REMEDIES_MAX ? r->n : REMEDIES_MAX;
    e->out->remedies = KP_NEW(e->arena, kp_explain_remedy, n);
    if (!e->out->remedies) return kp_nomem(e->err);
    for (uint32_t i = 0; i < n; i++) e->out->remedies[i] = r->list[i].remedy;
    e->out->n_remedies = n;
    return KP_OK;
}
