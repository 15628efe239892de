/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_words.c — what a layer holds, in words with arithmetic. */
#include "planner/plan/explain_parts.h"

uint64_t kp_states(const kp_layer_bytes *b)
{
    return b->weights + b->gradients + b->optimizer;
}

bool kp_by_states(const kp_suspect *s)
{
    return kp_states(s->bytes) >= s->bytes->activations;
}

static const kp_weight *largest_weight(const kp_suspect *s)
{
    const kp_weight *largest = NULL, *all = s->look->graph->weights;
    uint64_t most = 0;
    for (uint32_t w = s->layer->first_weight; w < s->layer->first_weight + s->layer->n_weights;
         w++) {
        uint64_t elems = kp_shape_elems(all[w].shape, 1);
        if (elems <= most) continue;
        most = elems;
        largest = &all[w];
    }
    return largest;
}

/* "kernel 1024 x 4096 = 16.0 MiB; x4 with its gradient and adam's 2 slots = 64.0 MiB" */
static void say_states(const kp_suspect *s, kp_buf *out)
{
    const kp_weight *w = largest_weight(s);
    if (!w || !s->bytes->weights) return;
    const char *slash = strrchr(w->path, '/');
    uint64_t bytes = kp_shape_elems(w->shape, 1) * kp_dtype_bytes(w->dtype);
    kp_buf_fmt(out, "%s ", slash ? slash + 1 : w->path);
    for (unsigned i = 0; i < w->shape.rank; i++)
        kp_buf_fmt(out, "%s%lld", i ? " x " : "", (long long)w->shape.dim[i]);
    kp_buf_fmt(out, " = %s", kp_size_text(bytes).s);
    if (s->bytes->weights < bytes)
        kp_buf_fmt(out, ", of which this rank has %s", kp_size_text(s->bytes->weights).s);
    double own = (double)s->bytes->weights, slots = (double)s->bytes->optimizer / own;
    if (kp_states(s->bytes) > s->bytes->weights)
        kp_buf_fmt(out, "; x%.3g with", (double)kp_states(s->bytes) / own);
    if (s->bytes->gradients) kp_buf_str(out, " its gradient");
    if (s->bytes->optimizer)
        kp_buf_fmt(out, "%s %s's %.3g slot%s", s->bytes->gradients ? " and" : "",
                   kp_optimizer_names[s->look->training.optimizer], slots, slots > 1 ? "s" : "");
    if (kp_states(s->bytes) > s->bytes->weights)
        kp_buf_fmt(out, " = %s", kp_size_text(kp_states(s->bytes)).s);
    kp_buf_str(out, ", whatever the batch");
}

static bool same(const kp_tape_buffer *a, const kp_tape_buffer *b)
{
    return a->category == b->category && a->bytes == b->bytes && !strcmp(a->what, b->what);
}

static bool said(const kp_tape *tape, const uint32_t *shown, unsigned n, const kp_tape_buffer *b)
{
    for (unsigned i = 0; i < n; i++)
        if (same(&tape->buffers[shown[i]], b)) return true;
    return false;
}

/* Kept values of the layer, equal ones together: "2 x (32, 254, 254, 64) 504.0 MiB each". */
static void say_kept(const kp_suspect *s, kp_buf *out)
{
    const kp_tape *tape = &s->look->tape;
    uint32_t shown[3];
    for (unsigned group = 0; group < KP_LEN(shown); group++) {
        uint64_t most = 0;
        uint32_t n = 0, which = KP_NO;
        for (uint32_t i = 0; i < tape->n_buffers; i++) {
            const kp_tape_buffer *b = &tape->buffers[i];
            if (b->layer != s->id || b->category != KP_CAT_ACTIVATIONS ||
                said(tape, shown, group, b))
                continue;
            if (b->bytes > most) which = i;
            most = kp_max_u64(most, b->bytes);
        }
        for (uint32_t i = 0; i < tape->n_buffers && which != KP_NO; i++)
            n += tape->buffers[i].layer == s->id && same(&tape->buffers[i], &tape->buffers[which]);
        if (which == KP_NO || most * 20 < s->bytes->activations) break;
        const kp_tape_buffer *b = &tape->buffers[which];
        kp_buf_fmt(out, "%s%s %s %s", group ? ", " : "", b->what,
                   b->shape ? kp_shape_text(*b->shape, 1).s : "", kp_size_text(most).s);
        if (n > 1) kp_buf_fmt(out, " x %u", n);
        shown[group] = which;
    }
    kp_buf_str(out, " kept for the backward pass");
}

void kp_say_both(const kp_suspect *s, kp_buf *out, const char *why)
{
    if (kp_by_states(s))
        say_states(s, out);
    else
        say_kept(s, out);
    if (why[0]) kp_buf_fmt(out, "; %s", why);
}

void kp_say_rnn(const kp_suspect *s, kp_buf *out)
{
    kp_buf_fmt(out, "%u steps of %u units: ", s->op->attr.steps, s->op->attr.units);
    say_kept(s, out);
    kp_buf_fmt(out, "; %sgrows with steps and batch",
               s->op->attr.return_sequences ? "return_sequences keeps the output of every step; "
                                            : "");
}
