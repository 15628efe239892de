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

/* Keras's classes; SGD's momentum is an argument. */
static const char *const optimizer_classes[KP_OPT_COUNT] = {
    [KP_OPT_SGD] = "SGD",         [KP_OPT_SGD_MOMENTUM] = "SGD",   [KP_OPT_RMSPROP] = "RMSprop",
    [KP_OPT_ADAGRAD] = "Adagrad", [KP_OPT_ADADELTA] = "Adadelta",  [KP_OPT_ADAM] = "Adam",
    [KP_OPT_ADAMW] = "AdamW",     [KP_OPT_ADAMAX] = "Adamax",      [KP_OPT_NADAM] = "Nadam",
    [KP_OPT_FTRL] = "Ftrl",       [KP_OPT_LION] = "Lion",          [KP_OPT_LAMB] = "Lamb",
    [KP_OPT_MUON] = "Muon",       [KP_OPT_ADAFACTOR] = "Adafactor"};

const char *kp_optimizer_class(kp_optimizer optimizer)
{
    return optimizer_classes[optimizer];
}

/* ---- states ---- */

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

/* A weight's name within its layer: "kernel", "gate_proj.weight". */
static const char *own_name(const kp_suspect *s, const kp_weight *w)
{
    size_t len = strlen(s->layer->path);
    const char *slash = strrchr(w->path, '/');
    if (slash) return slash + 1;
    bool inside = !strncmp(w->path, s->layer->path, len) && w->path[len] == '.';
    return inside ? w->path + len + 1 : w->path;
}

static uint64_t weight_bytes(const kp_weight *w)
{
    return kp_mul_u64(kp_shape_elems(w->shape, 1), kp_dtype_bytes(w->dtype));
}

static uint64_t whole_weights(const kp_suspect *s)
{
    uint64_t sum = 0;
    for (uint32_t w = 0; w < s->layer->n_weights; w++)
        sum = kp_add_u64(sum, weight_bytes(&s->look->graph->weights[s->layer->first_weight + w]));
    return sum;
}

static const char *number_word(double n, char *space, size_t size)
{
    static const char *const words[] = {"no", "one", "two", "three", "four"};
    for (size_t i = 0; i < KP_LEN(words); i++)
        if (n > (double)i - .02 && n < (double)i + .02) return words[i];
    snprintf(space, size, "%.3g", n);
    return space;
}

/* "x4 with gradients and Adam's two slots = 64.0 MiB", where every state has the weights' type. */
static void say_times(const kp_suspect *s, kp_buf *out)
{
    char space[16];
    double own = (double)s->bytes->weights, slots = (double)s->bytes->optimizer / own;
    kp_buf_fmt(out, ", x%.3g with%s", (double)kp_states(s->bytes) / own,
               s->bytes->gradients ? " gradients" : "");
    if (s->bytes->optimizer)
        kp_buf_fmt(out, "%s %s's %s slot%s", s->bytes->gradients ? " and" : "",
                   kp_optimizer_class(s->look->training.optimizer),
                   number_word(slots, space, sizeof(space)), slots > 1.02 ? "s" : "");
    kp_buf_fmt(out, " = %s", kp_size_text(kp_states(s->bytes)).s);
}

/* "16 bytes a parameter (weights 2, gradients 2, Adam's slots and a float32 copy 12) = 64.0 MiB" */
static void say_recipe(const kp_suspect *s, double params, kp_buf *out)
{
    const kp_layer_bytes *b = s->bytes;
    kp_buf_fmt(out,
               "; %.3g bytes a parameter (weights %.3g, gradients %.3g, %s's slots%s %.3g) = %s",
               (double)kp_states(b) / params, (double)b->weights / params,
               (double)b->gradients / params, kp_optimizer_class(s->look->training.optimizer),
               b->optimizer > 2 * b->weights ? " and float32 copy" : "",
               (double)b->optimizer / params, kp_size_text(kp_states(b)).s);
}

static void say_states(const kp_suspect *s, kp_buf *out)
{
    const kp_weight *w = largest_weight(s);
    if (!w || !s->bytes->weights) return;
    uint64_t bytes = weight_bytes(w), whole = whole_weights(s);
    kp_buf_fmt(out, "%s ", own_name(s, w));
    for (unsigned i = 0; i < w->shape.rank; i++)
        kp_buf_fmt(out, "%s%lld", i ? "x" : "", (long long)w->shape.dim[i]);
    kp_buf_fmt(out, " = %s", kp_size_text(bytes).s);
    if (whole > bytes + bytes / 10) kp_buf_fmt(out, ", all its weights %s", kp_size_text(whole).s);
    if (s->bytes->weights < whole)
        kp_buf_fmt(out, ", this rank's part %s", kp_size_text(s->bytes->weights).s);
    if (kp_states(s->bytes) > s->bytes->weights) {
        double params = (double)s->bytes->weights / (double)kp_dtype_bytes(w->dtype);
        bool all = s->bytes->weights >= whole - whole / 100; /* but for what a kernel adds */
        bool same = w->dtype == KP_FLOAT32 && all;
        if (same)
            say_times(s, out);
        else
            say_recipe(s, params, out);
    }
    kp_buf_str(out, ", whatever the batch");
}

/* ---- what is kept ---- */

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
        kp_buf_fmt(out, "%s%s %s %s = %s", group ? ", " : "", b->what,
                   b->shape ? kp_shape_text(*b->shape, 1).s : "",
                   b->shape ? kp_dtype_names[b->dtype] : "", kp_size_text(most).s);
        if (n > 1) kp_buf_fmt(out, " x %u", n);
        shown[group] = which;
    }
    kp_buf_str(out, " kept for the backward pass");
    if (s->look->part.in_flight > 1)
        kp_buf_fmt(out, " (of %u micro-batches in flight)", s->look->part.in_flight);
}

/* ---- the sentences ---- */

void kp_say_both(const kp_suspect *s, kp_buf *out, const char *why)
{
    if (kp_by_states(s))
        say_states(s, out);
    else
        say_kept(s, out);
    if (why && why[0]) kp_buf_fmt(out, "; %s", why);
}

void kp_say_rnn(const kp_suspect *s, kp_buf *out)
{
    kp_buf_fmt(out, "%u steps of %u units: ", s->op->attr.steps, s->op->attr.units);
    say_kept(s, out);
    kp_buf_fmt(out, "; %sgrows with steps and batch",
               s->op->attr.return_sequences ? "return_sequences keeps the output of every step; "
                                            : "");
}

void kp_say_huge(const kp_suspect *s, kp_buf *out)
{
    uint64_t elems = kp_look_layer_params(s->look, s->id);
    kp_buf_fmt(out,
               "%s parameters are more than 2^31, so summaries with 32-bit counters show %lld; ",
               kp_count_text(elems).s, (long long)(int32_t)(uint32_t)elems);
    kp_say_both(s, out,
                kp_holds_flatten_dense(s) ? "Flatten hands it every position of the map" : NULL);
}

void kp_say_multiplied(const kp_suspect *s, kp_buf *out)
{
    uint64_t times = kp_multiplier(s), batch = s->look->part.strategy.micro_batch;
    kp_say_both(s, out, NULL);
    kp_buf_fmt(out, "; it runs %llu times a sample: a batch of %llu is %llu here",
               (unsigned long long)times, (unsigned long long)batch,
               (unsigned long long)kp_mul_u64(times, batch));
}

/* Dilated causal convolutions pad (kernel - 1) x dilation steps in front. */
void kp_say_early_conv(const kp_suspect *s, kp_buf *out)
{
    const kp_op_attr *a = &s->op->attr;
    kp_say_both(s, out, "no stride or pooling before it; grows with the batch");
    uint64_t pad =
        a->spatial == 1 && a->dilation[0] > 1 ? (uint64_t)(a->kernel[0] - 1) * a->dilation[0] : 0;
    if (pad) kp_buf_fmt(out, "; its padding adds %llu steps", (unsigned long long)pad);
}
