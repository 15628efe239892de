/* SPDX-License-Identifier: MIT
 *
 * planner/plan/message_says.c — what a match proves about batch, layout, type and sharding. */
#include "planner/plan/message_match.h"
#include <inttypes.h>

/* ---- the phase ---- */

/* Words in an operation's name, in the order in which they win. */
static const struct {
    const char *word;
    kp_phase phase;
} words[] = {
    {"gradient", KP_PHASE_BACKWARD},
    {"_grad", KP_PHASE_BACKWARD},
    {"transpose(jvp", KP_PHASE_BACKWARD},
    {"Backprop", KP_PHASE_BACKWARD},
    {"Backward", KP_PHASE_BACKWARD},
    {"nitializer", KP_PHASE_LOAD},
    {"random_uniform", KP_PHASE_LOAD},
    {"truncated_normal", KP_PHASE_LOAD},
    {"stateless_", KP_PHASE_LOAD},
    {"VarHandle", KP_PHASE_LOAD},
    {"Assign", KP_PHASE_LOAD},
    {"Adam", KP_PHASE_OPTIMIZER},
    {"adam", KP_PHASE_OPTIMIZER},
    {"ptimizer", KP_PHASE_OPTIMIZER},
    {"RMSprop", KP_PHASE_OPTIMIZER},
    {"SGD", KP_PHASE_OPTIMIZER},
    {"Momentum", KP_PHASE_OPTIMIZER},
    {"Adagrad", KP_PHASE_OPTIMIZER},
};

kp_phase kp_match_phase(const kp_matching *m, const kp_match *match)
{
    for (size_t i = 0; i < KP_LEN(words); i++)
        if (strstr(m->ask->node, words[i].word)) return words[i].phase;
    if (kp_match_evaluates(m, match)) return KP_PHASE_EVAL;
    if (m->ask->host) return KP_PHASE_LOAD;
    switch (match->of.kind) {
    case KP_SHAPED_WEIGHT:
    case KP_SHAPED_ALL:
    case KP_SHAPED_INPUT:
        return KP_PHASE_LOAD;
    case KP_SHAPED_PROGRAM:
        return m->look->memory.phase;
    default:
        return KP_PHASE_FORWARD;
    }
}

/* Far more samples than a step has, in a value of the forward pass: validation or prediction of a
 * whole set as one batch. */
bool kp_match_evaluates(const kp_matching *m, const kp_match *match)
{
    uint64_t step = m->look->training.batch;
    bool value = match->of.kind <= KP_SHAPED_CELL && !m->ask->host && !match->element_bytes;
    return value && m->given && match->by.batch / 8 >= step && match->by.batch >= 100;
}

/* ---- the order of its axes ---- */

/* A further statement behind what is there already. */
static void next(kp_buf *out)
{
    if (out->len) kp_buf_str(out, "; ");
}

static void say_order(const kp_match *match, kp_buf *out)
{
    static const char *const how[KP_FACTOR_COUNT] = {
        [KP_FACTOR_CHANNELS] = "channels before the map (NCHW, where the file has NHWC)",
        [KP_FACTOR_ORDER] = "its axes in another order",
        [KP_FACTOR_FOLDED_ORDER] = "its axes in another order",
        [KP_FACTOR_SQUEEZED] = "without the batch of 1"};
    if (how[match->by.how]) kp_buf_str(out, how[match->by.how]);
    if (match->of.kind == KP_SHAPED_PADDED) kp_buf_str(out, "with the zeros that padding adds");
}

/* ---- the batch ---- */

static void say_other_batch(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    uint64_t b = match->by.batch, global = m->look->training.batch;
    uint32_t dp = m->look->strategy.dp;
    kp_buf_fmt(out, "batch %" PRIu64 ", not %" PRIu64, b, m->batch);
    if (kp_match_evaluates(m, match))
        kp_buf_str(out, ": rather evaluation or prediction of a whole set as one batch than "
                        "training; give it a batch size of its own");
    else if (dp > 1 && b == global)
        kp_buf_fmt(out,
                   ": the whole batch is on one device, so data parallelism over %u does not "
                   "divide it",
                   dp);
    else if (b < m->batch && m->batch % b == 0)
        kp_buf_fmt(out, ": %" PRIu64 " / %" PRIu64 ", what each of %" PRIu64 " replicas gets",
                   m->batch, m->batch / b, m->batch / b);
    else if (b > m->batch)
        kp_buf_str(out, ": the setting did not take effect in the run that failed");
}

static void say_batch(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    uint64_t b = match->by.batch;
    if (!b || match->of.kind > KP_SHAPED_CELL) return;
    next(out);
    if (m->ask->host && b > m->batch * 8) {
        kp_buf_fmt(out,
                   "%" PRIu64 " samples at once: the data set lies in the machine's memory "
                   "as one array",
                   b);
        return;
    }
    if (match->by.folded > 1)
        kp_buf_fmt(out, "%" PRIu64 " = %" PRIu64 " x %" PRIu64 " folded into the batch; ",
                   kp_mul_u64(b, match->by.folded), b, match->by.folded);
    if (b != m->batch && match->element_bytes)
        kp_buf_fmt(out,
                   "it has so many bytes with batch %" PRIu64 ", not with %" PRIu64
                   ": a guess, as only the size is known",
                   b, m->batch);
    else if (b == m->batch)
        kp_buf_fmt(out, "batch %" PRIu64 "%s", b, m->given ? ", as set" : "");
    else if (m->given)
        say_other_batch(m, match, out);
    else
        kp_buf_fmt(out, "so the batch was %" PRIu64 " (--batch %" PRIu64 ")", b, b);
}

/* ---- type, sharding ---- */

static void say_dtype(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    const kp_oom_ask *ask = m->ask;
    uint32_t own = kp_dtype_bytes(match->of.dtype);
    uint32_t asked = ask->has_dtype ? kp_dtype_bytes(ask->dtype) : match->element_bytes;
    if (match->of.kind == KP_SHAPED_ALL || !asked || !own || asked == own) return;
    const char *name = ask->has_dtype ? kp_dtype_names[ask->dtype]
                       : asked == 2   ? "16 bits an element"
                                      : "32 bits an element";
    next(out);
    kp_buf_fmt(out, "it is %s, not %s", name, kp_dtype_names[match->of.dtype]);
    if (asked < own)
        kp_buf_str(out, ": a 16-bit policy was in effect (--dtype-policy)");
    else
        kp_buf_str(out, match->of.kind == KP_SHAPED_WEIGHT
                            ? ": a master copy or a slot"
                            : ": cast up, as losses and norms do, or "
                              "the policy was not in effect");
}

static void say_weight(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    const kp_strategy *s = &m->look->strategy;
    if (match->of.kind != KP_SHAPED_WEIGHT) return;
    next(out);
    kp_buf_fmt(out, "its gradient and each of %s's slots have the same shape",
               kp_optimizer_names[m->look->training.optimizer]);
    if (s->tp > 1 || (s->zero == 3 && s->dp > 1))
        kp_buf_fmt(out, "; whole, so it is not divided over the %u ranks", s->tp * s->dp);
}

static void say_all(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    const kp_graph *g = m->look->graph;
    uint64_t bytes = match->bytes * match->shares;
    uint64_t n = match->element_bytes ? bytes / match->element_bytes : 0;
    const char *whose = n < g->params ? " trainable" : "";
    kp_buf_fmt(out, "%u bytes x %s%s parameters", match->element_bytes,
               kp_count_text(whose[0] ? g->trainable_params : g->params).s, whose);
    if (match->shares > 1)
        kp_buf_fmt(out, " / %u: a share of one of %u ranks", match->shares, match->shares);
    else
        kp_buf_str(out, ": one flat copy of all of them (weights, gradients or a slot); nothing is "
                        "sharded");
}

static void say_count(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    uint64_t n = match->bytes / 4;
    kp_buf_fmt(out,
               "%s parameters are more than a 32-bit number holds, so %" PRId64
               " was printed; they are right in memory: %s a copy in float32, four copies to "
               "train with gradients and two slots",
               kp_count_text(n).s, m->ask->count, kp_size_text(match->bytes).s);
}

static void say_program(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    const kp_memory *now = &m->look->memory;
    uint64_t args = kp_match_arguments(now), temp = kp_sub_u64(now->allocated.bytes, args);
    kp_buf_fmt(out,
               "XLA asks once for all temporary memory of the compiled step, so this is no "
               "single tensor: %s are expected here at batch %" PRIu64 " beside %s of weights, "
               "slots and inputs",
               kp_size_text(temp).s, m->batch, kp_size_text(args).s);
    double ratio = temp ? (double)match->bytes / (double)temp : 0;
    if (ratio > 1.5)
        kp_buf_fmt(out, "; the run that failed wanted %.3g times that: a larger batch or input",
                   ratio);
    else if (ratio > 0 && ratio < .67)
        kp_buf_fmt(out,
                   "; the run that failed wanted %.3g times that: a smaller batch or input, or "
                   "it was not the whole step",
                   ratio);
}

void kp_match_say(const kp_matching *m, const kp_match *match, kp_buf *out)
{
    if (m->ask->kind == KP_OOM_COUNT) {
        say_count(m, match, out);
    } else if (match->of.kind == KP_SHAPED_ALL) {
        say_all(m, match, out);
    } else if (match->of.kind == KP_SHAPED_PROGRAM) {
        say_program(m, match, out);
    } else {
        say_order(match, out);
        say_batch(m, match, out);
        say_dtype(m, match, out);
        say_weight(m, match, out);
    }
}
