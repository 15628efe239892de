/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_asked_print.c — answers to further questions, for a person. */
#include "planner/plan/explain_ask.h"
#include "planner/plan/explain_print.h"
#include <inttypes.h>

enum { MATCH_INDENT = 15 };

static void print_wrapped(kp_buf *out, const char *before, const char *text, unsigned width)
{
    size_t indent = strlen(before);
    kp_buf_str(out, before);
    kp_print_wrapped(out, text, indent, indent, width);
}

/* Equal proofs of several tensors are told once, behind the last of them. */
static void print_matches(const kp_explain_message *m, unsigned width, kp_buf *out)
{
    for (uint32_t i = 0; i < m->n_matches; i++) {
        const kp_explain_match *t = &m->matches[i];
        kp_buf_fmt(out, "  %11s  %s%s%s %s", kp_size_text(t->bytes).s, t->layer ? t->layer : "",
                   t->layer ? ": " : "", t->what, kp_shape_text(t->shape, 1).s);
        if (t->phase) kp_buf_fmt(out, ", %s phase", t->phase);
        kp_buf_char(out, '\n');
        bool again = i + 1 < m->n_matches && !strcmp(t->says, m->matches[i + 1].says);
        if (again || !t->says[0]) continue;
        kp_buf_pad(out, ' ', MATCH_INDENT);
        kp_print_wrapped(out, t->says, MATCH_INDENT, MATCH_INDENT, width);
    }
}

static void print_message(const kp_explain_message *m, unsigned width, kp_buf *out)
{
    kp_buf_fmt(out, "\nThe message (%s)\n", m->from);
    for (uint32_t i = 0; i < m->n_asked; i++) kp_buf_fmt(out, "  asks for %s\n", m->asked[i]);
    print_matches(m, width, out);
    print_wrapped(out, "  ", m->says, width);
}

static void print_largest(const kp_explain_largest *a, unsigned width, kp_buf *out)
{
    kp_buf_fmt(out, "\nLargest %s: %" PRIu64 " (%" PRIu64 " to %" PRIu64 ")", a->what, a->value,
               a->low, a->high);
    if (a->step > 1) kp_buf_fmt(out, " in steps of %" PRIu64, a->step);
    kp_buf_char(out, '\n');
    print_wrapped(out, "  ", a->says, width);
}

static void versus_row(kp_buf *out, const char *what, uint64_t a, uint64_t b)
{
    if (!a && !b) return;
    kp_buf_fmt(out, "  %-14s %16s %16s", what, kp_size_text(a).s, kp_size_text(b).s);
    if (a != b) kp_buf_fmt(out, "  %s%s", b > a ? "+" : "-", kp_size_text(b > a ? b - a : a - b).s);
    kp_buf_char(out, '\n');
}

static void print_versus(const kp_explain *x, const kp_explain_versus *y, unsigned width,
                         kp_buf *out)
{
    kp_versus_names names = kp_versus_names_of(x->model, y->model);
    kp_buf_fmt(out, "\nAgainst '%s' under the same options\n", y->model ? y->model : names.other);
    kp_buf_fmt(out, "  %-14s %16.16s %16.16s\n", "", names.model, names.other);
    for (int c = 0; c < KP_CAT_COUNT; c++)
        versus_row(out, kp_category_names[c], x->by_category.bytes[c], y->by_category.bytes[c]);
    versus_row(out, "peak", x->peak.bytes, y->peak.bytes);
    kp_buf_fmt(out, "  %-14s %16s %16s\n", "verdict", kp_fit_names[x->verdict],
               kp_fit_names[y->verdict]);
    for (uint32_t i = 0; i < y->n_reasons; i++) print_wrapped(out, "  * ", y->reasons[i], width);
}

void kp_explain_print_asked(const kp_explain *x, unsigned width, kp_buf *out)
{
    if (x->message) print_message(x->message, width, out);
    if (x->largest) print_largest(x->largest, width, out);
    if (x->versus) print_versus(x, x->versus, width, out);
}

void kp_explain_print_notes(const kp_explain *x, unsigned width, kp_buf *out)
{
    kp_buf_char(out, '\n');
    if (x->hand_arithmetic.says)
        print_wrapped(out, "By hand        ", x->hand_arithmetic.says, width);
    for (uint32_t i = 0; i < x->n_not_the_cause; i++)
        print_wrapped(out, i ? "               " : "Not the cause  ", x->not_the_cause[i].message,
                      width);
}
