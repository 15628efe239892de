/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_notes.c — what arithmetic by hand would say and what it misses; what is
 * often blamed and is not the cause. */
#include "planner/plan/explain_ask.h"

enum { NOT_CAUSES_MAX = 3 };
#define SMALL   0.10 /* of the peak: a cause is larger */
#define SUSPECT 0.20 /* of the parameters: a layer with less is not suspected */

/* ---- by hand ---- */

/* Each layer's outputs once, as the estimators that are passed around add them up. */
static uint64_t outputs_bytes(const kp_look *look)
{
    const kp_graph *g = look->graph;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_layers; i++)
        for (uint32_t k = 0; k < g->layers[i].n_outputs && !g->layers[i].is_model; k++) {
            const kp_shape *y = &g->layers[i].outputs[k];
            if (!kp_shape_known(*y)) continue;
            uint64_t elems = kp_shape_elems(*y, look->part.strategy.micro_batch);
            sum = kp_add_u64(sum, kp_mul_u64(elems, kp_dtype_bytes(g->layers[i].compute_dtype)));
        }
    return sum;
}

/* What a sum of outputs and weights has too little, and too much, of. */
static void say_outputs(const kp_look *look, uint64_t outputs, kp_buf *out)
{
    const uint64_t *b = look->memory.peak.bytes;
    uint64_t kept = b[KP_CAT_ACTIVATIONS];
    uint64_t rest =
        kp_add_u64(b[KP_CAT_TEMPORARY] + b[KP_CAT_WORKSPACE] + b[KP_CAT_RUNTIME],
                   b[KP_CAT_FRAGMENTATION] + b[KP_CAT_COMMUNICATION] + b[KP_CAT_INPUTS]);
    kp_buf_fmt(out, ": without %s of gradients and slots, %s of temporaries, libraries and context",
               kp_size_text(b[KP_CAT_GRADIENTS] + b[KP_CAT_OPTIMIZER]).s, kp_size_text(rest).s);
    if (outputs > kept)
        kp_buf_fmt(out, ", but with %s of outputs that are fused, overwritten or freed",
                   kp_size_text(outputs - kept).s);
    else
        kp_buf_fmt(out, ", and %s kept beside the outputs", kp_size_text(kept - outputs).s);
}

static kp_status fill_hand(kp_explaining *e)
{
    const kp_look *look = &e->look;
    const uint64_t *b = look->memory.peak.bytes;
    uint64_t weights = kp_mul_u64(look->graph->params, 4), outputs = outputs_bytes(look);
    uint64_t both = kp_add_u64(outputs, weights), peak = kp_categories_sum(&look->memory.peak);
    kp_buf text;
    kp_buf_init(&text, 2048);
    kp_buf_fmt(&text,
               "parameters x 4 bytes = %s: without %s of gradients and slots, %s of activations; "
               "layer outputs + weights = %s",
               kp_size_text(weights).s, kp_size_text(b[KP_CAT_GRADIENTS] + b[KP_CAT_OPTIMIZER]).s,
               kp_size_text(b[KP_CAT_ACTIVATIONS]).s, kp_size_text(both).s);
    say_outputs(look, outputs, &text);
    kp_buf_fmt(&text, "; the step needs %s", kp_size_text(peak).s);
    kp_status status = kp_buf_check(&text, e->err);
    const char *says = status == KP_OK ? kp_arena_str(e->arena, kp_buf_text(&text)) : NULL;
    kp_buf_release(&text);
    if (!says) return kp_nomem(e->err);
    e->out->hand_arithmetic = (kp_explain_hand){weights, both, says};
    return KP_OK;
}

/* ---- not the cause ---- */

typedef struct excluding {
    kp_explaining *e;
    kp_explain_not_cause *list;
    uint32_t n;
    double peak;
    bool failed;
} excluding;

static void add(excluding *x, const char *what, const char *layer, uint64_t bytes,
                const char *message)
{
    if (!message) x->failed = true;
    if (!message || x->n == NOT_CAUSES_MAX) return;
    x->list[x->n++] = (kp_explain_not_cause){what, layer, message, bytes, (double)bytes / x->peak};
}

/* The states as a whole, or what grows with the batch. */
static void exclude_classes(excluding *x)
{
    const uint64_t *b = x->e->look.memory.peak.bytes;
    kp_arena *a = x->e->arena;
    uint64_t states = b[KP_CAT_WEIGHTS] + b[KP_CAT_GRADIENTS] + b[KP_CAT_OPTIMIZER],
             kept = b[KP_CAT_ACTIVATIONS];
    double s = (double)states / x->peak, k = (double)kept / x->peak;
    if (s < SMALL && k > s)
        add(x, "parameters", NULL, states,
            kp_arena_fmt(a, "the parameters: weights, gradients and slots are %.1f %% of the peak",
                         100 * s));
    if (k < SMALL && s > k)
        add(x, "batch", NULL, kept,
            kp_arena_fmt(a, "the batch: what is kept for the backward pass is %.1f %% of the peak",
                         100 * k));
}

/* The layer that has most parameters of all, or of the tables, where it holds little. */
static void exclude_layer(excluding *x, bool table)
{
    const kp_look *look = &x->e->look;
    const kp_graph *g = look->graph;
    uint64_t most = 0;
    uint32_t which = KP_NO;
    for (uint32_t i = 0; i < g->n_layers; i++) {
        const kp_layer *l = &g->layers[i];
        bool is_table = l->n_weights && g->weights[l->first_weight].role == KP_ROLE_TABLE;
        uint64_t n = kp_look_layer_params(look, i);
        if (is_table != table || n <= most) continue;
        most = n;
        which = i;
    }
    if (which == KP_NO) return;
    uint64_t bytes = kp_look_layer_bytes(look, which);
    double of_params = (double)most / (double)kp_max_u64(g->params, 1),
           share = (double)bytes / x->peak;
    if (share >= SMALL || of_params < SUSPECT) return;
    add(x, table ? "embedding" : "largest layer", g->layers[which].path, bytes,
        kp_arena_fmt(x->e->arena, "%s'%s': %.3g %% of the parameters, %.1f %% of the peak",
                     table ? "the embedding " : "", g->layers[which].path, 100 * of_params,
                     100 * share));
}

kp_status kp_explain_notes(kp_explaining *e)
{
    excluding x = {.e = e, .peak = (double)kp_max_u64(kp_categories_sum(&e->look.memory.peak), 1)};
    x.list = KP_NEW(e->arena, kp_explain_not_cause, NOT_CAUSES_MAX);
    if (!x.list) return kp_nomem(e->err);
    KP_TRY(fill_hand(e));
    exclude_classes(&x);
    exclude_layer(&x, true);
    exclude_layer(&x, false);
    if (x.failed) return kp_nomem(e->err);
    e->out->not_the_cause = x.list;
    e->out->n_not_the_cause = x.n;
    return KP_OK;
}
