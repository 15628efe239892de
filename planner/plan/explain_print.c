/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_print.c — an explanation for a person at a terminal.
 *
 * In the order in which a tired person asks: does it fit, where are the bytes, who holds them and
 * why, what helps; then the phases, what was assumed and what is not covered. */
#include "planner/plan/explain_print.h"
#include "planner/plan/explain_ask.h"
#include <math.h>

enum {
    BAR_MIN = 20,
    BAR_MAX = 60,
    HOST_OF_CARD = 8, /* a node has memory for its eight cards at least; more is news */
};

static const char *const verdict_words[KP_FIT_COUNT] = {
    [KP_FIT_FITS] = "FITS", [KP_FIT_TIGHT] = "TIGHT", [KP_FIT_NO] = "DOES NOT FIT"};

void kp_print_wrapped(kp_buf *out, const char *text, size_t column, size_t indent, size_t width)
{
    bool fresh = true;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (!fresh && column + 1 + word > width) {
            kp_buf_char(out, '\n');
            kp_buf_pad(out, ' ', indent);
            column = indent;
        } else if (!fresh) {
            kp_buf_char(out, ' ');
            column++;
        }
        fresh = false;
        kp_buf_add(out, text, word);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    kp_buf_char(out, '\n');
}

kp_short kp_print_fit(const kp_explain *x, uint64_t bytes, kp_verdict_fit fit)
{
    kp_short text;
    uint64_t usable = x->device.usable_bytes;
    if (fit == KP_FIT_FITS)
        snprintf(text.s, sizeof(text.s), "fits");
    else if (fit == KP_FIT_TIGHT)
        snprintf(text.s, sizeof(text.s), "tight");
    else if (bytes > usable)
        snprintf(text.s, sizeof(text.s), "%.20s too much", kp_size_text(bytes - usable).s);
    else
        snprintf(text.s, sizeof(text.s), "too much");
    return text;
}

/* ---- the verdict ---- */

static void print_room(const kp_explain *x, kp_buf *out)
{
    uint64_t peak = x->peak.bytes, usable = x->device.usable_bytes;
    switch (x->verdict) {
    case KP_FIT_FITS:
        kp_buf_fmt(out, "%s to spare", kp_size_text(usable - peak).s);
        break;
    case KP_FIT_NO:
        if (peak > usable)
            kp_buf_fmt(out, "%s too much", kp_size_text(peak - usable).s);
        else
            kp_buf_str(out, "even the lower bound is too much");
        break;
    default:
        if (x->peak.high_bytes <= usable) {
            kp_buf_str(out, "what is known fits, but not all layers are known inside (see the "
                            "warnings; --layers tells what they hold)");
            break;
        }
        kp_buf_fmt(out,
                   "%s %s, but the bounds reach both sides of the card: try it, with one of "
                   "the changes below at hand",
                   kp_size_text(peak > usable ? peak - usable : usable - peak).s,
                   peak > usable ? "too much" : "to spare");
    }
}

static void print_verdict(const kp_explain *x, kp_buf *out)
{
    kp_buf_fmt(out, "%s: %s: peak %s of %s usable", x->model, verdict_words[x->verdict],
               kp_size_text(x->peak.bytes).s, kp_size_text(x->device.usable_bytes).s);
    if (x->device.gpu) kp_buf_fmt(out, " on %s", x->device.gpu);
    kp_buf_fmt(out, " (%s to %s), in the %s phase", kp_size_text(x->peak.low_bytes).s,
               kp_size_text(x->peak.high_bytes).s, x->peak.phase);
    if (x->peak.layer)
        kp_buf_fmt(out, " at '%s'%s%s", x->peak.layer, x->peak.op ? " " : "",
                   x->peak.op ? x->peak.op : "");
    kp_buf_str(out, "\n");
    print_room(x, out);
    kp_buf_fmt(out, "; confidence %s", x->confidence);
    if (x->host.peak_bytes > HOST_OF_CARD * x->device.total_bytes)
        kp_buf_fmt(out, "; the machine's own memory: %s", kp_size_text(x->host.peak_bytes).s);
    kp_buf_char(out, '\n');
}

/* ---- where the bytes are ---- */

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

/* ---- phases, stages ---- */

static void print_phase_rows(const kp_explain *x, unsigned width, kp_buf *out)
{
    kp_buf_fmt(out, "\n%-12s %11s           %11s\n", "Phase", "a GPU", "host");
    for (uint32_t i = 0; i < x->n_phases; i++) {
        const kp_explain_phase *p = &x->phases[i];
        kp_buf_fmt(out, "  %-10s %11s %-7s %13s", p->name, kp_size_text(p->peak_bytes).s,
                   p->verdict == KP_FIT_FITS ? "" : kp_fit_names[p->verdict],
                   kp_size_text(p->host_bytes).s);
        kp_buf_str(out, p->note ? "  " : "");
        kp_print_wrapped(out, p->note ? p->note : "", 49, 49, width > 90 ? width : 90);
    }
}

static void print_host(const kp_explain *x, kp_buf *out)
{
    bool first = true;
    kp_buf_fmt(out, "Host of a node: %s at most (", kp_size_text(x->host.peak_bytes).s);
    for (uint32_t i = 0; i < x->host.n_parts; i++) {
        const kp_host_part *part = &x->host.parts[i];
        if (part->bytes * 100 < x->host.peak_bytes) continue;
        kp_buf_fmt(out, "%s%s %s", first ? "" : ", ", part->name, kp_size_text(part->bytes).s);
        first = false;
    }
    kp_buf_str(out, ")\n");
}

/* Where all phases fit and nothing is to be said of them, a line is enough. */
static void print_phases(const kp_explain *x, unsigned width, kp_buf *out)
{
    bool short_form = x->verdict == KP_FIT_FITS;
    for (uint32_t i = 0; i < x->n_phases; i++) short_form &= !x->phases[i].note;
    if (short_form) {
        kp_buf_str(out, "\nPhases: ");
        for (uint32_t i = 0; i < x->n_phases; i++)
            kp_buf_fmt(out, "%s%s %s", i ? ", " : "", x->phases[i].name,
                       kp_size_text(x->phases[i].peak_bytes).s);
        kp_buf_char(out, '\n');
    } else {
        print_phase_rows(x, width, out);
    }
    print_host(x, out);
}

static void print_stages(const kp_explain *x, kp_buf *out)
{
    if (x->n_stages < 2) return;
    kp_buf_str(out, "\nStage  in flight         peak\n");
    for (uint32_t i = 0; i < x->n_stages; i++)
        kp_buf_fmt(out, "%5u  %9u  %11s  %s to %s\n", i + 1, x->stages[i].in_flight,
                   kp_size_text(x->stages[i].peak_bytes).s,
                   x->stages[i].first_layer ? x->stages[i].first_layer : "",
                   x->stages[i].last_layer ? x->stages[i].last_layer : "");
}

/* ---- assumptions, limits ---- */

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

static void print_limits(const kp_explain *x, unsigned width, kp_buf *out)
{
    kp_buf_str(out, "Not covered\n");
    for (uint32_t i = 0; i < x->n_not_covered; i++) {
        kp_buf_str(out, "  ");
        kp_print_wrapped(out, x->not_covered[i], 2, 4, width > 60 ? width : 60);
    }
}

void kp_explain_print(const kp_explain *explain, unsigned width, kp_buf *out)
{
    print_verdict(explain, out);
    kp_explain_print_asked(explain, width, out);
    print_categories(explain, width, out);
    kp_print_layers(explain, out);
    kp_print_tensors(explain, out);
    kp_print_culprits(explain, width, out);
    kp_explain_print_notes(explain, width, out);
    kp_print_remedies(explain, width, out);
    kp_print_together(explain, width, out);
    print_stages(explain, out);
    kp_print_collectives(explain, out);
    print_phases(explain, width, out);
    print_assumptions(explain, out);
    print_limits(explain, width, out);
}
