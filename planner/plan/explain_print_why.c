/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_print_why.c — who holds the bytes, why, and what helps, as text. */
#include "planner/plan/explain_print.h"
#include "planner/plan/explain_parts.h"
#include <inttypes.h>

enum {
    LAYERS_SHOWN = 8,
    TENSORS_SHOWN = 5,
    REMEDIES_SHOWN = 10,
    REMEDIES_FITTING = 4,
    NAME_WIDTH = 40,
    ALIKE_WIDTH = 7 /* " x 1234" */
};

/* ---- layers ---- */

static uint64_t sum(const kp_explain_layer *l)
{
    return l->weights_bytes + l->gradients_bytes + l->optimizer_bytes + l->activations_bytes;
}

/* Layers that are alike, one behind the other in the list. */
typedef struct group {
    const kp_explain_layer *first;
    uint32_t n;
} group;

static double share(const group *g)
{
    return g->first->share * g->n;
}

/* The groups that hold most, in order. Returns how many, and how many layers they are. */
static uint32_t largest_groups(const kp_explain *x, group *top, uint32_t *ret_layers)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < x->n_layers && sum(&x->layers[i]);) {
        group g = {&x->layers[i], 0};
        while (i < x->n_layers && kp_layers_alike(g.first, &x->layers[i])) {
            g.n++;
            i++;
        }
        uint32_t at = rows < LAYERS_SHOWN ? rows++ : rows;
        for (; at && share(&top[at - 1]) < share(&g); at--)
            if (at < LAYERS_SHOWN) top[at] = top[at - 1];
        if (at < LAYERS_SHOWN) top[at] = g;
    }
    *ret_layers = 0;
    for (uint32_t r = 0; r < rows; r++) *ret_layers += top[r].n;
    return rows;
}

static void print_group(const group *g, int name, kp_buf *out)
{
    const kp_explain_layer *l = g->first;
    char title[64];
    snprintf(title, sizeof(title), g->n > 1 ? "%.*s x %u" : "%.*s",
             g->n > 1 ? NAME_WIDTH - ALIKE_WIDTH : NAME_WIDTH, l->name, g->n);
    kp_buf_fmt(out, "%-*s  %-20.20s %11s %11s %11s %11s %5.1f %%\n", name, title, l->class_name,
               kp_size_text(kp_mul_u64(l->weights_bytes, g->n)).s,
               kp_size_text(kp_mul_u64(l->gradients_bytes, g->n)).s,
               kp_size_text(kp_mul_u64(l->optimizer_bytes, g->n)).s,
               kp_size_text(kp_mul_u64(l->activations_bytes, g->n)).s, 100 * share(g));
}

/* Layers that hold nothing are noise, and not even counted. */
void kp_print_layers(const kp_explain *x, kp_buf *out)
{
    group top[LAYERS_SHOWN];
    uint32_t n_layers, rows = largest_groups(x, top, &n_layers), holding = 0;
    size_t name = 5;
    double shown = 0;
    for (uint32_t i = 0; i < x->n_layers; i++) holding += sum(&x->layers[i]) > 0;
    for (uint32_t r = 0; r < rows; r++) {
        size_t len = strlen(top[r].first->name) + (top[r].n > 1 ? ALIKE_WIDTH : 0);
        if (len > name) name = len;
        shown += share(&top[r]);
    }
    if (name > NAME_WIDTH) name = NAME_WIDTH;
    kp_buf_fmt(out, "\n%-*s  %-20s %11s %11s %11s %11s  share\n", (int)name, "Layer", "class",
               "weights", "gradients", "optimizer", "kept");
    for (uint32_t r = 0; r < rows; r++) print_group(&top[r], (int)name, out);
    if (holding > n_layers && shown < .9995)
        kp_buf_fmt(out, "and %u more, %.1f %%\n", holding - n_layers, 100 * (1 - shown));
}

void kp_print_tensors(const kp_explain *x, kp_buf *out)
{
    kp_buf_str(out, "\nLargest at the peak\n");
    for (uint32_t i = 0; i < x->n_peak_tensors && i < TENSORS_SHOWN; i++) {
        const kp_explain_tensor *t = &x->peak_tensors[i];
        kp_buf_fmt(out, "  %11s  %s%s%s %s %s\n", kp_size_text(t->bytes).s,
                   t->layer ? t->layer : "", t->layer ? ": " : "", t->what,
                   kp_shape_text(t->shape, 1).s, t->dtype);
    }
}

/* ---- reasons ---- */

static void print_culprit(const kp_explain_culprit *c, unsigned width, kp_buf *out)
{
    kp_buf text;
    kp_buf_init(&text, 8192);
    kp_buf_fmt(&text, "%s%s%s", c->layer ? c->layer : "", c->layer ? ": " : "", c->message);
    kp_buf_fmt(out, "  %s %11s  ", c->rule, c->bytes ? kp_size_text(c->all_bytes).s : "");
    kp_print_wrapped(out, kp_buf_text(&text), 21, 21, width > 80 ? width : 80);
    out->failed |= text.failed;
    kp_buf_release(&text);
}

/* A model whose layers are small beside the context has no culprit, only larger parts. */
static bool small(const kp_explain *x)
{
    return x->verdict == KP_FIT_FITS && x->by_category.bytes[KP_CAT_RUNTIME] * 2 > x->peak.bytes;
}

/* By what those alike hold together; what is less than a hundredth of the peak is noise. */
void kp_print_culprits(const kp_explain *x, unsigned width, kp_buf *out)
{
    if (small(x))
        kp_buf_fmt(out,
                   "\nNothing in the model is large: the CUDA context alone is %s. The largest\n",
                   kp_size_text(x->by_category.bytes[KP_CAT_RUNTIME]).s);
    else
        kp_buf_str(out, "\nWhat makes it big\n");
    uint64_t last = UINT64_MAX;
    for (uint32_t shown = 0; shown < x->n_culprits;) {
        uint64_t next = 0;
        for (uint32_t i = 0; i < x->n_culprits; i++)
            if (x->culprits[i].all_bytes < last) next = kp_max_u64(next, x->culprits[i].all_bytes);
        bool noise = next * 100 < x->peak.bytes && next && shown;
        for (uint32_t i = 0; i < x->n_culprits; i++) {
            if (x->culprits[i].all_bytes != next) continue;
            if (!noise) print_culprit(&x->culprits[i], width, out);
            shown++;
        }
        last = next;
    }
}

/* ---- remedies ---- */

static void print_remedy(const kp_explain *x, const kp_explain_remedy *r, unsigned width,
                         kp_buf *out)
{
    kp_buf_fmt(out, "  %s  %s: ", r->rule, r->change);
    if (r->saves_bytes)
        kp_buf_fmt(out, "saves %s, then %s, %s", kp_size_text(r->saves_bytes).s,
                   kp_size_text(r->peak_after_bytes).s,
                   kp_print_fit(x, r->peak_after_bytes, r->verdict_after).s);
    if (r->host_saves_bytes > r->peak_after_bytes / 20)
        kp_buf_fmt(out, "%s%s less on the host, then %s", r->saves_bytes ? "; " : "",
                   kp_size_text(r->host_saves_bytes).s, kp_size_text(r->host_after_bytes).s);
    kp_buf_char(out, '\n');
    size_t end = width > 80 ? width : 80;
    if (r->code) {
        kp_buf_pad(out, ' ', 9);
        kp_print_wrapped(out, r->code, 9, 11, end);
    }
    kp_buf_pad(out, ' ', 9);
    kp_print_wrapped(out, r->message, 9, 9, end);
}

/* Where it fits anyway, only what saves a share worth having. */
static bool shows(const kp_explain *x, const kp_explain_remedy *r)
{
    bool spare = x->verdict == KP_FIT_FITS;
    if (!r->saves_bytes) return true;
    return spare ? r->saves_bytes * 20 >= x->peak.bytes : r->saves_bytes * 40 >= x->peak.bytes;
}

void kp_print_remedies(const kp_explain *x, unsigned width, kp_buf *out)
{
    uint32_t n = 0, most = x->verdict == KP_FIT_FITS ? REMEDIES_FITTING : REMEDIES_SHOWN;
    for (uint32_t i = 0; i < x->n_remedies && n < most; i++) {
        if (!shows(x, &x->remedies[i])) continue;
        if (!n++)
            kp_buf_str(out, x->verdict == KP_FIT_FITS
                                ? "\nIt fits; what would make it smaller still (each run again)\n"
                                : "\nWhat would help (each run again, most saved for least trouble "
                                  "first)\n");
        print_remedy(x, &x->remedies[i], width, out);
    }
}

/* "KP011 + KP004: 5.1 GiB of 14.7 GiB, fits" */
void kp_print_together(const kp_explain *x, unsigned width, kp_buf *out)
{
    if (!x->n_together || x->verdict == KP_FIT_FITS) return;
    kp_buf_str(out, "\nOne on top of the other\n");
    for (uint32_t i = 0; i < x->n_together; i++) {
        const kp_explain_step *s = &x->together[i];
        char line[320];
        kp_buf_str(out, "  after ");
        for (uint32_t k = 0; k <= i; k++)
            kp_buf_fmt(out, "%s%s", k ? " + " : "", x->together[k].rule);
        snprintf(line, sizeof(line), ": %s of %s, %s (%s)", kp_size_text(s->peak_bytes).s,
                 kp_size_text(x->device.usable_bytes).s,
                 kp_print_fit(x, s->peak_bytes, s->verdict).s, s->change);
        kp_print_wrapped(out, line, 16, 8, width > 80 ? width : 80);
    }
    if (x->together[x->n_together - 1].verdict == KP_FIT_NO)
        kp_buf_str(out, "  none of this is enough on these GPUs: kplan plan FILE --cluster "
                        "4x8xH100-80G searches a cluster's strategies\n");
}
