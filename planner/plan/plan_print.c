/* SPDX-License-Identifier: MIT
 *
 * planner/plan/plan_print.c — a plan for a person, and as the one line of `kplan submit`. */
#include "planner/plan/plan.h"
#include <inttypes.h>
#include <math.h>

enum { CUTS_SHOWN = 12 };

/* The rank that comes nearest to its limit; the first of equals. */
static const kp_plan_rank *worst_rank(const kp_plan *plan)
{
    const kp_plan_rank *worst = &plan->ranks[0];
    for (uint32_t i = 1; i < plan->n_ranks; i++) {
        const kp_plan_rank *rank = &plan->ranks[i];
        if ((double)rank->peak_bytes * (double)worst->usable_bytes >
            (double)worst->peak_bytes * (double)rank->usable_bytes)
            worst = rank;
    }
    return worst;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* GPUs on each node if all nodes have as many, else 0. */
static uint32_t gpus_per_node(const kp_plan *plan, uint32_t *ret_nodes)
{
    uint32_t nodes = 0, first = 0, run = 0;
    bool equal = true;
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        bool starts = i == 0 || !same_text(plan->ranks[i].node, plan->ranks[i - 1].node);
        if (starts && nodes == 1) first = run;
        if (starts && nodes > 1) equal = equal && run == first;
        if (starts) nodes++;
        run = starts ? 1 : run + 1;
    }
    if (nodes == 1) first = run;
    *ret_nodes = nodes;
    return equal && run == first ? first : 0;
}

/* Scripts get the same words for every number. */
static void add_place(const kp_plan *plan, bool for_scripts, kp_buf *out)
{
    uint32_t nodes, each = gpus_per_node(plan, &nodes), gpus = each ? each : plan->n_ranks;
    kp_buf_fmt(out, "%" PRIu32 " node%s%s%" PRIu32 " GPU%s", nodes,
               for_scripts || nodes != 1 ? "s" : "", each ? " x " : ", ", gpus,
               for_scripts || gpus != 1 ? "s" : "");
}

static void add_verdict(const kp_plan_verification *verification, kp_buf *out)
{
    static const char *const texts[KP_VERDICT_COUNT] = {
        [KP_VERDICT_NONE] = "not verified",
        [KP_VERDICT_FAILED] = "verification failed",
        [KP_VERDICT_INCONCLUSIVE] = "verification inconclusive",
    };
    double percent = verification->covered * 100;
    if (percent >= 1) percent = floor(percent + 1e-9); /* 100 % is said only of all */
    if (verification->verdict == KP_VERDICT_VERIFIED)
        kp_buf_fmt(out, "verified %.3g %% of weights", percent);
    else
        kp_buf_str(out, texts[verification->verdict]);
}

void kp_plan_line(const kp_plan *plan, kp_buf *out)
{
    const kp_plan_rank *worst = worst_rank(plan);
    const kp_strategy *s = &plan->strategy;
    kp_buf_fmt(out, "Plan %s ready: ", plan->id ? plan->id : "without id");
    add_place(plan, true, out);
    kp_buf_fmt(out,
               ", dp=%" PRIu32 " tp=%" PRIu32 " pp=%" PRIu32 ", peak %s/%s GiB on rank %" PRIu32,
               s->dp, s->tp, s->pp, kp_gib_text(worst->peak_bytes).s,
               kp_gib_text(worst->usable_bytes).s, worst->rank);
    kp_buf_fmt(out, ", step %s (gap %.1f %%), ", kp_seconds_text(plan->step.seconds).s,
               plan->bound.gap * 100);
    add_verdict(&plan->verification, out);
    if (plan->lease) kp_buf_fmt(out, ", lease %s until %s", plan->lease->id, plan->lease->expires);
}

static void print_head(const kp_plan *plan, kp_buf *out)
{
    const kp_strategy *s = &plan->strategy;
    kp_buf_fmt(out, "plan       %s: '%s' on ", plan->id ? plan->id : "without id",
               plan->model.name);
    add_place(plan, false, out);
    kp_buf_fmt(out, "%s, for %s\n", plan->cluster.simulated ? " (simulated)" : "",
               kp_target_names[plan->target]);
    kp_buf_fmt(out,
               "strategy   dp=%" PRIu32 " tp=%" PRIu32 " pp=%" PRIu32 ", ZeRO %" PRIu32
               ", batch %" PRIu64 " = %" PRIu32 " x %" PRIu32 " micro-batch%s of %" PRIu32,
               s->dp, s->tp, s->pp, s->zero, plan->batch, s->dp, s->micro_batches,
               s->micro_batches == 1 ? "" : "es", s->micro_batch);
    if (s->pp > 1) kp_buf_fmt(out, ", schedule %s", kp_schedule_names[s->schedule]);
    kp_buf_fmt(out, ", recompute %s\n", kp_recompute_names[s->recompute]);
}

static void print_step(const kp_plan *plan, kp_buf *out)
{
    const kp_plan_step *t = &plan->step;
    const struct {
        const char *name;
        double seconds;
    } parts[] = {
        {"compute", t->compute_s},
        {"bubble", t->bubble_s},
        {"tensor parallel", t->tensor_parallel_s},
        {"pipeline", t->pipeline_s},
        {"data parallel", t->data_parallel_s},
        {"optimizer", t->optimizer_s},
    };
    kp_buf_fmt(out, "step       %s", kp_seconds_text(t->seconds).s);
    kp_buf_fmt(out, " (%s to", kp_seconds_text(t->low_s).s);
    kp_buf_fmt(out, " %s)", kp_seconds_text(t->high_s).s);
    if (!isnan(t->tokens_per_s)) kp_buf_fmt(out, ", %.4g tokens/s", t->tokens_per_s);
    if (!isnan(t->samples_per_s)) kp_buf_fmt(out, ", %.4g samples/s", t->samples_per_s);
    if (!isnan(t->mfu)) kp_buf_fmt(out, ", %.1f %% of the cards' peak FLOP/s", t->mfu * 100);
    kp_buf_char(out, '\n');
    for (size_t i = 0; i < KP_LEN(parts); i++)
        if (parts[i].seconds > 0)
            kp_buf_fmt(out, "  %-16s %12s %6.1f %%\n", parts[i].name,
                       kp_seconds_text(parts[i].seconds).s, parts[i].seconds / t->seconds * 100);
    kp_buf_fmt(out, "bound      %s: gap %.1f %%; %s\n", kp_seconds_text(plan->bound.lower_s).s,
               plan->bound.gap * 100, plan->bound.proof);
    kp_buf_fmt(out, "search     %" PRIu64 " candidates%s\n", plan->search.candidates,
               plan->search.complete ? "" : ", stopped early");
}

static void print_stages(const kp_plan *plan, kp_buf *out)
{
    if (plan->n_stages == 1) return;
    kp_buf_fmt(out, "%-10s %6s  %12s  %10s  %s\n", "stages", "layers", "micro-batch", "peak",
               "from - to");
    for (uint32_t i = 0; i < plan->n_stages; i++) {
        const kp_plan_stage *stage = &plan->stages[i];
        kp_buf_fmt(out, "  %-8" PRIu32 " %6" PRIu32 "  %12s  %10s  %s - %s\n", i, stage->layers,
                   kp_seconds_text(stage->seconds).s, kp_size_text(stage->peak_bytes).s,
                   stage->first_layer, stage->last_layer);
    }
}

static void print_memory(const kp_plan *plan, kp_buf *out)
{
    const kp_plan_rank *worst = worst_rank(plan);
    kp_buf_fmt(out, "memory     rank %" PRIu32 " (%s, GPU %" PRIu32 ") is the worst: %s of",
               worst->rank, worst->node, worst->gpu_index, kp_size_text(worst->peak_bytes).s);
    kp_buf_fmt(out, " %s usable\n", kp_size_text(worst->usable_bytes).s);
    for (int c = 0; c < KP_CAT_COUNT; c++)
        if (worst->memory.bytes[c])
            kp_buf_fmt(out, "  %-16s %12s %6.1f %%\n", kp_category_names[c],
                       kp_size_text(worst->memory.bytes[c]).s,
                       (double)worst->memory.bytes[c] / (double)worst->peak_bytes * 100);
}

static void print_cuts(const kp_plan *plan, kp_buf *out)
{
    uint32_t cut = 0, shown = 0;
    for (uint32_t i = 0; i < plan->n_cuts; i++) cut += plan->cuts[i].cut != KP_CUT_NONE;
    if (cut == 0) return;
    kp_buf_fmt(out,
               "cuts       %" PRIu32 " of %" PRIu32 " layers are divided over %" PRIu32 " ranks\n",
               cut, plan->n_cuts, plan->strategy.tp);
    for (uint32_t i = 0; i < plan->n_cuts && shown < CUTS_SHOWN; i++) {
        const kp_plan_cut *c = &plan->cuts[i];
        if (c->cut == KP_CUT_NONE) continue;
        kp_buf_fmt(out, "  %-14s %s", kp_cut_names[c->cut], c->layer);
        if (c->collective_forward)
            kp_buf_fmt(out, ", %s forward", kp_coll_names[c->collective_forward]);
        if (c->collective_backward)
            kp_buf_fmt(out, ", %s backward", kp_coll_names[c->collective_backward]);
        kp_buf_char(out, '\n');
        shown++;
    }
    if (shown < cut) kp_buf_fmt(out, "  and %" PRIu32 " more (--json has all)\n", cut - shown);
}

static void print_alternatives(const kp_plan *plan, kp_buf *out)
{
    if (plan->n_alternatives) kp_buf_str(out, "next best\n");
    for (uint32_t i = 0; i < plan->n_alternatives; i++) {
        const kp_plan_alternative *a = &plan->alternatives[i];
        const kp_strategy *s = &a->strategy;
        kp_buf_fmt(out,
                   "  dp=%" PRIu32 " tp=%" PRIu32 " pp=%" PRIu32 " ZeRO %" PRIu32 ", %" PRIu32
                   " micro-batch%s of %" PRIu32 ", recompute %s:",
                   s->dp, s->tp, s->pp, s->zero, s->micro_batches,
                   s->micro_batches == 1 ? "" : "es", s->micro_batch,
                   kp_recompute_names[s->recompute]);
        kp_buf_fmt(out, " %s,", kp_seconds_text(a->seconds).s);
        kp_buf_fmt(out, " %s\n", kp_size_text(a->peak_bytes).s);
    }
}

static void print_state(const kp_plan *plan, kp_buf *out)
{
    if (plan->lease)
        kp_buf_fmt(out, "lease      %s, %s, until %s\n", plan->lease->id,
                   kp_lease_state_names[plan->lease->state], plan->lease->expires);
    kp_buf_str(out, "verified   ");
    add_verdict(&plan->verification, out);
    for (uint32_t i = 0; i < plan->verification.n_not_covered; i++)
        kp_buf_fmt(out, "%s%s",
                   i ? ", " : "; without a check: ", plan->verification.not_covered[i]);
    kp_buf_char(out, '\n');
}

void kp_plan_print(const kp_plan *plan, kp_buf *out)
{
    print_head(plan, out);
    for (uint32_t i = 0; i < plan->n_assumptions; i++)
        kp_buf_fmt(out, "assumed    %s: %s (%s)\n", plan->assumptions[i].name,
                   plan->assumptions[i].value, plan->assumptions[i].from);
    print_step(plan, out);
    print_memory(plan, out);
    print_stages(plan, out);
    print_cuts(plan, out);
    print_alternatives(plan, out);
    print_state(plan, out);
}
