/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_message.c — an out-of-memory message answered: whose tensor it was, and what
 * that proves. Where nothing matches, that is the answer. */
#include "planner/plan/explain_ask.h"
#include "planner/plan/message_match.h"
#include <inttypes.h>

enum { EACH_SHOWN = 8, ALL_SHOWN = 24 };

typedef struct answering {
    kp_explaining *e;
    kp_oom_text text;
    kp_explain_message *out;
    size_t cap_matches, cap_asked;
    unsigned known, unknown; /* asks with and without a match */
    unsigned found;          /* tensors that match, those that are not shown too */
    unsigned programs;       /* of the matches: a whole compiled step */
} answering;

/* ---- what was asked for ---- */

static void say_ask(const kp_oom_ask *ask, kp_buf *out)
{
    kp_shape shape = {.rank = (uint8_t)ask->rank};
    memcpy(shape.dim, ask->dim, ask->rank * sizeof(*ask->dim));
    const char *where = ask->host ? " of the machine's memory" : "";
    switch (ask->kind) {
    case KP_OOM_TENSOR:
        kp_buf_fmt(out, "a tensor %s", kp_shape_text(shape, 1).s);
        if (ask->has_dtype) {
            uint64_t bytes = kp_mul_u64(kp_shape_elems(shape, 1), kp_dtype_bytes(ask->dtype));
            kp_buf_fmt(out, " %s = %s", kp_dtype_names[ask->dtype], kp_size_text(bytes).s);
        }
        kp_buf_str(out, where);
        break;
    case KP_OOM_BYTES:
        kp_buf_fmt(out, "%s%s", kp_size_text(ask->bytes).s, where);
        break;
    case KP_OOM_PROGRAM:
        kp_buf_fmt(out, "%s of temporary memory", kp_size_text(ask->bytes).s);
        break;
    case KP_OOM_OPTIONAL:
        kp_buf_fmt(out, "%s of workspace, which is no failure", kp_size_text(ask->bytes).s);
        break;
    case KP_OOM_POOL:
        kp_buf_fmt(out, "%s more of the card for the allocator", kp_size_text(ask->bytes).s);
        break;
    case KP_OOM_COPY:
        kp_buf_str(out, "a copy from the machine to the card");
        break;
    case KP_OOM_COUNT:
        kp_buf_fmt(out, "a printed count of %" PRId64 " parameters", ask->count);
        break;
    case KP_OOM_HOST:
        kp_buf_str(out, "memory of the machine; how much is not said");
        break;
    default:
        kp_buf_str(out, "memory of the card; how much is not said");
        break;
    }
    if (ask->node[0]) kp_buf_fmt(out, " by '%s'", ask->node);
}

static const char *finish(kp_arena *arena, kp_buf *text, kp_err *err)
{
    const char *copy = NULL;
    if (kp_buf_check(text, err) == KP_OK) copy = kp_arena_str(arena, kp_buf_text(text));
    if (!copy) kp_nomem(err);
    kp_buf_release(text);
    return copy;
}

static kp_status add_asked(answering *a, const kp_oom_ask *ask)
{
    kp_explain_message *out = a->out;
    kp_buf text;
    kp_buf_init(&text, 1024);
    say_ask(ask, &text);
    if (!KP_GROW(a->e->arena, out->asked, out->n_asked, a->cap_asked)) {
        kp_buf_release(&text);
        return kp_nomem(a->e->err);
    }
    out->asked[out->n_asked] = finish(a->e->arena, &text, a->e->err);
    return out->asked[out->n_asked++] ? KP_OK : KP_NOMEM;
}

/* ---- its matches ---- */

static kp_shape bound(const kp_match *match)
{
    kp_shape shape = match->of.shape;
    for (unsigned i = 0; i < shape.rank; i++)
        if (shape.per_sample >> i & 1)
            shape.dim[i] = (int64_t)kp_min_u64(
                kp_mul_u64((uint64_t)shape.dim[i], match->by.batch ? match->by.batch : 1),
                (uint64_t)KP_DIM_MAX);
    shape.per_sample = 0;
    return shape;
}

/* The same tensor, asked for by its shape and by its bytes. */
static bool is_told(const kp_explain_message *out, const kp_explain_match *match)
{
    for (uint32_t i = 0; i < out->n_matches; i++) {
        const kp_explain_match *t = &out->matches[i];
        if (t->layer == match->layer && t->bytes == match->bytes && t->batch == match->batch &&
            !strcmp(t->what, match->what) && kp_shape_equal(t->shape, match->shape))
            return true;
    }
    return false;
}

static kp_status add_match(answering *a, const kp_matching *m, const kp_match *match)
{
    kp_explain_message *out = a->out;
    const kp_graph *g = a->e->look.graph;
    kp_buf text;
    kp_explain_match told = {
        .layer = match->of.layer == KP_NO ? NULL : g->layers[match->of.layer].path,
        .what = match->of.what,
        .phase = kp_phase_names[kp_match_phase(m, match)],
        .shape = bound(match),
        .bytes = match->bytes,
        .batch = match->by.batch ? match->by.batch : UINT64_MAX,
    };
    if (is_told(out, &told)) {
        a->found--;
        return KP_OK;
    }
    if (!KP_GROW(a->e->arena, out->matches, out->n_matches, a->cap_matches))
        return kp_nomem(a->e->err);
    kp_buf_init(&text, 4096);
    kp_match_say(m, match, &text);
    told.says = finish(a->e->arena, &text, a->e->err);
    if (!told.says) return KP_NOMEM;
    out->matches[out->n_matches++] = told;
    a->programs += match->of.kind == KP_SHAPED_PROGRAM;
    return KP_OK;
}

/* What was on its way to the card when it was full: a batch of the model's inputs. */
static void match_copy(kp_matching *m)
{
    const kp_graph *g = m->look->graph;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const kp_tensor *x = &g->tensors[g->inputs[i]];
        if (!kp_shape_known(x->shape)) continue;
        kp_match match = {
            .of = {KP_SHAPED_INPUT, x->layer, x->op, "input", x->shape, x->dtype},
            .by = {KP_FACTOR_SAME, m->batch, 1},
            .shares = 1,
            .bytes = kp_mul_u64(kp_shape_elems(x->shape, m->batch), kp_dtype_bytes(x->dtype)),
            .score = 40};
        kp_match_keep(m, &match);
    }
}

static void (*const readers[KP_OOM_KIND_COUNT])(kp_matching *m) = {
    [KP_OOM_TENSOR] = kp_match_shape,  [KP_OOM_BYTES] = kp_match_bytes,
    [KP_OOM_PROGRAM] = kp_match_bytes, [KP_OOM_COPY] = match_copy,
    [KP_OOM_COUNT] = kp_match_count,
};

static kp_status answer(answering *a, const kp_oom_ask *ask)
{
    const kp_look *look = &a->e->look;
    kp_matching *m = KP_NEW(a->e->arena, kp_matching, 1);
    if (!m) return kp_nomem(a->e->err);
    m->e = a->e;
    m->look = look;
    m->ask = ask;
    m->batch = look->part.strategy.micro_batch;
    m->given = a->e->request->options->batch != UINT64_MAX || look->graph->fixed_batch;
    KP_TRY(add_asked(a, ask));
    if (!readers[ask->kind]) return KP_OK;
    readers[ask->kind](m);
    *(m->n ? &a->known : &a->unknown) += 1;
    a->found += m->found;
    for (unsigned i = 0; i < m->n && i < EACH_SHOWN && a->out->n_matches < ALL_SHOWN; i++)
        KP_TRY(add_match(a, m, &m->best[i]));
    return KP_OK;
}

/* ---- the whole ---- */

static const kp_oom_ask *first(const answering *a, kp_oom_kind kind)
{
    for (unsigned i = 0; i < a->text.n; i++)
        if (a->text.asks[i].kind == kind) return &a->text.asks[i];
    return NULL;
}

static void say_expected(const answering *a, kp_buf *out)
{
    const kp_explain *x = a->e->out;
    kp_buf_fmt(out, "; expected here is a peak of %s (%s to %s)", kp_size_text(x->peak.bytes).s,
               kp_size_text(x->peak.low_bytes).s, kp_size_text(x->peak.high_bytes).s);
    if (a->text.total) kp_buf_fmt(out, " on a card of %s", kp_size_text(a->text.total).s);
}

/* torch's allocator takes its small segments for any small request. */
static bool say_torch_segment(const answering *a, kp_buf *out)
{
    for (unsigned i = 0; i < a->text.n; i++) {
        const kp_oom_ask *ask = &a->text.asks[i];
        bool small = ask->bytes == 2 << 20 || ask->bytes == 20 << 20;
        if (ask->from != KP_OOM_TORCH || ask->host || !small) continue;
        kp_buf_fmt(out,
                   "torch takes %s for any request of %s, so no tensor is named: the card was "
                   "full already",
                   kp_size_text(ask->bytes).s,
                   ask->bytes == 2 << 20 ? "up to 1 MiB" : "1 to 10 MiB");
        return true;
    }
    return false;
}

static void say_unmatched(const answering *a, kp_buf *out)
{
    const kp_explain *x = a->e->out;
    bool host = first(a, KP_OOM_HOST) != NULL, segment = say_torch_segment(a, out);
    if (segment)
        host = false;
    else if (first(a, KP_OOM_POOL))
        kp_buf_str(out, "the allocator asked the driver for more of the card and did not get it: "
                        "something else holds memory there, or the step needs more than the card "
                        "has; no tensor is named");
    else if (host)
        kp_buf_fmt(out,
                   "the machine's memory was full, not the card's; expected here are %s on the "
                   "host, and what the data pipeline holds beside it",
                   kp_size_text(x->host.peak_bytes).s);
    else if (first(a, KP_OOM_OPTIONAL))
        kp_buf_str(out, "only a workspace was refused, which TensorFlow says is no failure: the "
                        "step runs on with a slower algorithm");
    else if (first(a, KP_OOM_DEVICE))
        kp_buf_str(out, "the card was full, and the text does not say which tensor was too much");
    else if (first(a, KP_OOM_COUNT))
        kp_buf_str(out, "no layer of this model has a number of parameters that is printed so");
    else
        kp_buf_str(out, "no tensor of this model has that size at any batch: it is of another "
                        "model, of other settings (--seq, --dim, --dtype-policy, plan options), or "
                        "of the data pipeline");
    if (!host) say_expected(a, out);
}

static const char *overall(const answering *a)
{
    kp_buf text;
    kp_buf_init(&text, 4096);
    if (first(a, KP_OOM_COPY)) {
        kp_buf_str(&text,
                   "'Dst tensor is not initialized' means out of memory: a tensor was on its "
                   "way to the card. fit() with whole arrays may put all of them there "
                   "(TensorFlow 2.6 to 2.10); a Dataset sends one batch");
        say_expected(a, &text);
    } else if (!a->known) {
        say_unmatched(a, &text);
    } else {
        uint32_t n = a->out->n_matches - a->programs;
        if (n)
            kp_buf_fmt(&text, "%u tensor%s of the model match%s", n, n == 1 ? "" : "s",
                       n == 1 ? "es" : "");
        else
            kp_buf_str(&text, "the whole step asked, not one tensor");
        if (a->found > a->out->n_matches)
            kp_buf_fmt(&text, ", and %u more alike", a->found - a->out->n_matches);
        if (a->unknown)
            kp_buf_fmt(&text, "; %u further request%s none", a->unknown,
                       a->unknown == 1 ? " matches" : "s match");
        say_expected(a, &text);
    }
    return finish(a->e->arena, &text, a->e->err);
}

static uint64_t told(uint64_t bytes)
{
    return bytes ? bytes : UINT64_MAX;
}

kp_status kp_explain_message_of(kp_explaining *e, const char *bytes, size_t len)
{
    answering *a = KP_NEW(e->arena, answering, 1);
    kp_explain_message *out = KP_NEW(e->arena, kp_explain_message, 1);
    if (!a || !out) return kp_nomem(e->err);
    a->e = e;
    a->out = out;
    kp_oom_read(bytes, len, &a->text);
    if (!a->text.n) {
        kp_fail(e->err, KP_USAGE, "--error: no out-of-memory message is in it");
        kp_hint(e->err, "give the message itself, like 'OOM when allocating tensor with "
                        "shape[32,64,112,112]', or the log file that holds it");
        return KP_USAGE;
    }
    out->from = kp_oom_from_names[a->text.asks[0].from];
    out->total_bytes = told(a->text.total);
    out->allocated_bytes = told(a->text.allocated);
    out->reserved_bytes = told(a->text.reserved);
    out->free_bytes = told(a->text.free);
    for (unsigned i = 0; i < a->text.n; i++) KP_TRY(answer(a, &a->text.asks[i]));
    out->says = overall(a);
    if (!out->says) return KP_NOMEM;
    e->out->message = out;
    return KP_OK;
}
