/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_print.c — an explanation for a person at a terminal. */
#include "planner/plan/explain.h"
#include <math.h>

enum { LAYERS_SHOWN = 10, TENSORS_SHOWN = 5, CLASSES_SHOWN = 6, BAR_MIN = 20, BAR_MAX = 60 };

static const char *const verdict_words[KP_FIT_COUNT] = {
    [KP_FIT_FITS] = "FITS", [KP_FIT_TIGHT] = "TIGHT", [KP_FIT_NO] = "DOES NOT FIT"};

static void print_verdict(const kp_explain *x, kp_buf *out)
{
    kp_buf_fmt(out, "%s: %s: peak %s of %s usable", x->model, verdict_words[x->verdict],
               kp_size_text(x->peak.bytes).s, kp_size_text(x->device.usable_bytes).s);
    if (x->device.gpu) kp_buf_fmt(out, " on %s", x->device.gpu);
    kp_buf_fmt(out, " (%s to %s)\n", kp_size_text(x->peak.low_bytes).s,
               kp_size_text(x->peak.high_bytes).s);
    kp_buf_fmt(out, "The peak is in the %s phase", x->peak.phase);
    if (x->peak.layer)
        kp_buf_fmt(out, ", at '%s'%s%s", x->peak.layer, x->peak.op ? " " : "",
                   x->peak.op ? x->peak.op : "");
    kp_buf_fmt(out, "; confidence %s.\n", x->confidence);
}

static void print_assumptions(const kp_explain *x, kp_buf *out)
{
    int width = 0;
    for (uint32_t i = 0; i < x->n_assumptions; i++) {
        int len = (int)strlen(x->assumptions[i].value);
        if (len > width && len < 28) width = len;
    }
    kp_buf_str(out, "\nAssumed\n");
    for (uint32_t i = 0; i < x->n_assumptions; i++)
        kp_buf_fmt(out, "  %-12s %-*s  %s\n", x->assumptions[i].name, width,
                   x->assumptions[i].value, x->assumptions[i].from);
}

/* A category's bytes as a bar; a full bar is the card, or the peak where that is larger. */
static void print_categories(const kp_explain *x, unsigned width, kp_buf *out)
{
    unsigned bar = width > 50 ? width - 50 : BAR_MIN;
    if (bar > BAR_MAX) bar = BAR_MAX;
    double full = fmax((double)kp_max_u64(x->device.usable_bytes, x->peak.bytes), 1);
    kp_buf_str(out, "\nWhere the bytes are at the peak\n");
    for (int c = 0; c < KP_CAT_COUNT; c++) {
        uint64_t bytes = x->by_category.bytes[c];
        if (!bytes) continue;
        size_t n = (size_t)((double)bytes / full * bar + .5);
        kp_buf_fmt(out, "  %-14s %11s %5.1f %%", kp_category_names[c], kp_size_text(bytes).s,
                   100 * (double)bytes / fmax((double)x->peak.bytes, 1));
        if (n) kp_buf_str(out, "  ");
        kp_buf_pad(out, '#', n);
        kp_buf_char(out, '\n');
    }
    size_t used = (size_t)((double)x->peak.bytes / full * bar + .5),
           card = (size_t)((double)x->device.usable_bytes / full * bar + .5);
    kp_buf_fmt(out, "  %-14s %11s          ", "together", kp_size_text(x->peak.bytes).s);
    kp_buf_pad(out, '#', used < card ? used : card);
    kp_buf_pad(out, used > card ? '!' : '.', used > card ? used - card : card - used);
    kp_buf_str(out, used > card ? "  past the card\n" : "  the card\n");
}

static void print_phases(const kp_explain *x, kp_buf *out)
{
    kp_buf_str(out, "\nPhases     ");
    for (uint32_t i = 0; i < x->n_phases; i++)
        kp_buf_fmt(out, "%s%s %s", i ? ", " : "", x->phases[i].name,
                   kp_size_text(x->phases[i].peak_bytes).s);
    kp_buf_fmt(out, "; host %s\n", kp_size_text(x->host.peak_bytes).s);
}

static void print_layers(const kp_explain *x, kp_buf *out)
{
    size_t name = 5;
    uint32_t n = x->n_layers < LAYERS_SHOWN ? x->n_layers : LAYERS_SHOWN;
    for (uint32_t i = 0; i < n; i++)
        if (strlen(x->layers[i].name) > name) name = strlen(x->layers[i].name);
    if (name > 40) name = 40;
    kp_buf_fmt(out, "\n%-*s  %-20s %11s %11s %11s %11s  share\n", (int)name, "Layer", "class",
               "weights", "gradients", "optimizer", "kept");
    for (uint32_t i = 0; i < n; i++) {
        const kp_explain_layer *l = &x->layers[i];
        kp_buf_fmt(out, "%-*.*s  %-20.20s %11s %11s %11s %11s %5.1f %%\n", (int)name, (int)name,
                   l->name, l->class_name, kp_size_text(l->weights_bytes).s,
                   kp_size_text(l->gradients_bytes).s, kp_size_text(l->optimizer_bytes).s,
                   kp_size_text(l->activations_bytes).s, 100 * l->share);
    }
    if (x->n_layers > n) kp_buf_fmt(out, "and %u more\n", x->n_layers - n);
}

/* Many small layers of one class can be the cause: the classes that hold most together. */
typedef struct class_sum {
    const char *name;
    uint32_t n;
    uint64_t bytes;
} class_sum;

static void print_classes(const kp_explain *x, kp_buf *out)
{
    class_sum sums[64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n_layers; i++) {
        const kp_explain_layer *l = &x->layers[i];
        uint32_t at = 0;
        while (at < n && strcmp(sums[at].name, l->class_name)) at++;
        if (at == KP_LEN(sums)) break;
        if (at == n) sums[n++] = (class_sum){l->class_name, 0, 0};
        sums[at].n++;
        sums[at].bytes +=
            l->weights_bytes + l->gradients_bytes + l->optimizer_bytes + l->activations_bytes;
    }
    kp_buf_str(out, "By class");
    for (uint32_t shown = 0; shown < CLASSES_SHOWN; shown++) {
        uint32_t most = 0;
        for (uint32_t i = 1; i < n; i++)
            if (sums[i].bytes > sums[most].bytes) most = i;
        if (!n || !sums[most].bytes) break;
        kp_buf_fmt(out, "%s %u %s %s", shown ? "," : "  ", sums[most].n, sums[most].name,
                   kp_size_text(sums[most].bytes).s);
        sums[most].bytes = 0;
    }
    kp_buf_char(out, '\n');
}

static void print_tensors(const kp_explain *x, kp_buf *out)
{
    kp_buf_str(out, "\nLargest at the peak\n");
    for (uint32_t i = 0; i < x->n_peak_tensors && i < TENSORS_SHOWN; i++) {
        const kp_explain_tensor *t = &x->peak_tensors[i];
        kp_buf_fmt(out, "  %11s  %s%s%s %s %s\n", kp_size_text(t->bytes).s,
                   t->layer ? t->layer : "", t->layer ? ": " : "", t->what,
                   kp_shape_text(t->shape, 1).s, t->dtype);
    }
}

static void print_culprits(const kp_explain *x, kp_buf *out)
{
    kp_buf_str(out, "\nWhat makes it big\n");
    for (uint32_t i = 0; i < x->n_culprits; i++) {
        const kp_explain_culprit *c = &x->culprits[i];
        kp_buf_fmt(out, "  %s %11s  %s%s%s\n", c->rule, kp_size_text(c->bytes).s,
                   c->layer ? c->layer : "", c->layer ? ": " : "", c->message);
    }
}

static void print_remedies(const kp_explain *x, kp_buf *out)
{
    if (!x->n_remedies) return;
    kp_buf_str(out, "\nWhat would help (each run again; the peak after it)\n");
    for (uint32_t i = 0; i < x->n_remedies; i++) {
        const kp_explain_remedy *r = &x->remedies[i];
        kp_buf_fmt(out, "  %s  %s saves %s: %s%s\n         %s\n", r->rule, r->change,
                   kp_size_text(r->saves_bytes).s, kp_size_text(r->peak_after_bytes).s,
                   r->fits_after ? ", fits" : "", r->message);
    }
}

void kp_explain_print(const kp_explain *explain, unsigned width, kp_buf *out)
{
    print_verdict(explain, out);
    print_assumptions(explain, out);
    print_categories(explain, width, out);
    print_phases(explain, out);
    print_layers(explain, out);
    if (explain->n_layers > LAYERS_SHOWN) print_classes(explain, out);
    print_tensors(explain, out);
    print_culprits(explain, out);
    print_remedies(explain, out);
}
