/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_culprits.c — which layers make it big, and why, in words with arithmetic.
 *
 * Layers in the order of what they hold over the step, those that are alike told once; the first
 * rule whose condition holds names a layer's reason. Rules about the whole setting stand among
 * them by their bytes. */
#include "planner/plan/explain_parts.h"

enum { CULPRITS_MAX = 8, CULPRITS_SURE = 3 };
#define SHARE_SHOWN 0.03 /* of the layers' sum; the first few are shown down to SHARE_LEAST */
#define SHARE_LEAST 0.01

uint32_t kp_explain_layer_of(const kp_graph *g, const char *path)
{
    for (uint32_t i = 0; i < g->n_layers; i++)
        if (g->layers[i].path == path) return i;
    return KP_NO;
}

kp_status kp_add_culprit(kp_explaining *e, const char *rule, const char *layer, kp_buf *text,
                         uint64_t bytes)
{
    kp_status status = kp_buf_check(text, e->err);
    const char *message = status == KP_OK ? kp_arena_str(e->arena, kp_buf_text(text)) : NULL;
    kp_buf_release(text);
    if (status != KP_OK) return status;
    if (!message || !KP_GROW(e->arena, e->out->culprits, e->out->n_culprits, e->cap_culprits))
        return kp_nomem(e->err);
    double share = e->layers_bytes ? (double)bytes / (double)e->layers_bytes : 0;
    e->out->culprits[e->out->n_culprits++] =
        (kp_explain_culprit){rule, layer, message, bytes, share, 1, bytes};
    return KP_OK;
}

/* ---- layers ---- */

/* The row of the layer's reason: conditions are asked in the order of their `order`. */
static const kp_rule *reason(const kp_suspect *s)
{
    const kp_rule *best = NULL;
    for (size_t i = 0; i < kp_n_rules; i++) {
        const kp_rule *rule = &kp_rules[i];
        if (rule->order && (!best || rule->order < best->order) && rule->holds(s)) best = rule;
    }
    return best;
}

/* Layers are in order, so that those alike follow with at most others of the same bytes between. */
static uint32_t count_alike(const kp_explain *x, uint32_t first)
{
    uint32_t n = 1;
    for (uint32_t i = first + 1; i < x->n_layers && x->layers[i].share >= x->layers[first].share;
         i++)
        n += kp_layers_alike(&x->layers[i], &x->layers[first]);
    return n;
}

static bool told(const kp_explain *x, uint32_t layer)
{
    for (uint32_t i = layer; i > 0 && x->layers[i - 1].share <= x->layers[layer].share; i--)
        if (kp_layers_alike(&x->layers[i - 1], &x->layers[layer])) return true;
    return false;
}

static kp_status add_layer(kp_explaining *e, uint32_t at, uint32_t n)
{
    uint32_t id = kp_explain_layer_of(e->look.graph, e->out->layers[at].name);
    kp_suspect s = kp_suspect_of(e, id);
    const kp_rule *rule = reason(&s);
    uint64_t bytes = kp_look_layer_bytes(&e->look, id);
    kp_buf text;
    kp_buf_init(&text, 4096);
    if (rule->say)
        rule->say(&s, &text);
    else
        kp_say_both(&s, &text, rule->why);
    if (n > 1)
        kp_buf_fmt(&text, "; %u layers alike hold %s together", n,
                   kp_size_text(kp_mul_u64(bytes, n)).s);
    KP_TRY(kp_add_culprit(e, rule->id, s.layer->path, &text, bytes));
    kp_explain_culprit *c = &e->out->culprits[e->out->n_culprits - 1];
    c->alike = n;
    c->all_bytes = kp_mul_u64(bytes, n);
    return KP_OK;
}

/* Stable by bytes: earlier ones stay first. */
static void sort(kp_explain *out)
{
    for (uint32_t i = 1; i < out->n_culprits; i++) {
        kp_explain_culprit c = out->culprits[i];
        uint32_t at = i;
        for (; at && out->culprits[at - 1].bytes < c.bytes; at--)
            out->culprits[at] = out->culprits[at - 1];
        out->culprits[at] = c;
    }
}

kp_status kp_explain_culprits(kp_explaining *e)
{
    const kp_explain *x = e->out;
    for (uint32_t i = 0; i < x->n_layers && x->n_culprits < CULPRITS_MAX; i++) {
        if (x->layers[i].share <= 0) break;
        if (told(x, i)) continue;
        uint32_t n = count_alike(x, i);
        double least = i == 0 ? 0 : x->n_culprits < CULPRITS_SURE ? SHARE_LEAST : SHARE_SHOWN;
        if (x->layers[i].share * n >= least) KP_TRY(add_layer(e, i, n));
    }
    for (size_t i = 0; i < kp_n_rules; i++)
        if (kp_rules[i].setting) KP_TRY(kp_rules[i].setting(e));
    sort(e->out);
    return KP_OK;
}
