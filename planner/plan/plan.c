/* SPDX-License-Identifier: MIT
 *
 * planner/plan/plan.c — what must hold of every plan, one function a group of fields, and its id.
 */
#include "planner/plan/plan.h"
#include <inttypes.h>
#include <math.h>

/* One sentence for all: where in the plan, what is wrong. */
#define BROKEN(...) return kp_fail(err, KP_INTERNAL, "plan is inconsistent: " __VA_ARGS__)

/* Equal but for the rounding of a sum of a few terms. */
static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) + 1e-15;
}

static bool same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

static int text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* *ret_twice: a text that stands in the list more than once, or NULL. The list is sorted. */
static void find_twice(const char **texts, size_t n, const char **ret_twice)
{
    *ret_twice = NULL;
    qsort(texts, n, sizeof(*texts), text_compare);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(texts[i - 1], texts[i])) *ret_twice = texts[i];
}

static kp_status check_degrees(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    (void)scratch;
    const kp_strategy *s = &plan->strategy;
    struct {
        const char *name;
        uint32_t value, min, max;
    } rows[] = {
        {"dp", s->dp, 1, UINT32_MAX - 1},
        {"tp", s->tp, 1, UINT32_MAX - 1},
        {"pp", s->pp, 1, UINT32_MAX - 1},
        {"zero", s->zero, 0, 3},
        {"micro_batch", s->micro_batch, 1, UINT32_MAX - 1},
        {"micro_batches", s->micro_batches, 1, UINT32_MAX - 1},
        {"schedule", s->schedule, KP_SCHEDULE_1F1B, KP_SCHEDULE_COUNT - 1},
        {"interleave", s->interleave, 1, UINT32_MAX - 1},
        {"recompute", s->recompute, KP_RECOMPUTE_NONE, KP_RECOMPUTE_COUNT - 1},
        {"stages", plan->n_stages, s->pp, s->pp},
        {"GPUs of the cluster", plan->cluster.gpus, plan->n_ranks, UINT32_MAX - 1},
        {"nodes of the cluster", plan->cluster.nodes, 1, plan->cluster.gpus},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++)
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            BROKEN("%s is %" PRIu32, rows[i].name, rows[i].value);
    uint64_t ranks = kp_mul_u64(kp_mul_u64(s->dp, s->tp), s->pp);
    if (ranks != plan->n_ranks)
        BROKEN("dp x tp x pp is %" PRIu64 ", the ranks are %" PRIu32, ranks, plan->n_ranks);
    return KP_OK;
}

/* The cuts list all layers in the order of the stages, so a stage is a run of it. */
static kp_status check_stages(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    const char *twice;
    uint64_t at = 0;
    for (uint32_t i = 0; i < plan->n_stages; i++) {
        const kp_plan_stage *stage = &plan->stages[i];
        if (stage->layers == 0 || at + stage->layers > plan->n_cuts)
            BROKEN("stage %" PRIu32 " has %" PRIu32 " layers", i, stage->layers);
        if (!same(stage->first_layer, plan->cuts[at].layer) ||
            !same(stage->last_layer, plan->cuts[at + stage->layers - 1].layer))
            BROKEN("stage %" PRIu32 " does not hold the layers that follow the stage before", i);
        at += stage->layers;
        if (stage->dp != plan->strategy.dp || stage->tp != plan->strategy.tp ||
            stage->zero != plan->strategy.zero)
            BROKEN("stage %" PRIu32 " has other degrees than the strategy", i);
        if (!isfinite(stage->seconds) || stage->seconds < 0)
            BROKEN("stage %" PRIu32 " takes no finite time", i);
    }
    if (at != plan->n_cuts)
        BROKEN("the stages have %" PRIu64 " layers of %" PRIu32, at, plan->n_cuts);
    const char **names = KP_NEW(scratch, const char *, plan->n_cuts);
    if (!names) return kp_nomem(err);
    for (uint32_t i = 0; i < plan->n_cuts; i++) names[i] = plan->cuts[i].layer;
    find_twice(names, plan->n_cuts, &twice);
    if (twice) BROKEN("layer '%s' is there twice", twice);
    return KP_OK;
}

/* True if some op may be cut so with these collectives. A layer cut by heads has several ops, whose
 * projections sum over the ranks. */
static bool cut_known(const kp_plan_cut *cut)
{
    const kp_coll forward = cut->collective_forward, backward = cut->collective_backward;
    if (cut->cut == KP_CUT_HEADS)
        return (forward == KP_COLL_NONE || forward == KP_COLL_ALL_REDUCE) &&
               (backward == KP_COLL_NONE || backward == KP_COLL_ALL_REDUCE);
    for (size_t i = 0; i < kp_shard_n_rows; i++)
        if (kp_shard_rows[i].cut == cut->cut && kp_shard_rows[i].forward == forward &&
            kp_shard_rows[i].backward == backward)
            return true;
    return false;
}

static kp_status check_cuts(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    (void)scratch;
    for (uint32_t i = 0; i < plan->n_cuts; i++) {
        const kp_plan_cut *cut = &plan->cuts[i];
        bool whole = cut->cut == KP_CUT_NONE;
        if (!whole && plan->strategy.tp == 1)
            BROKEN("layer '%s' is cut although tp is 1", cut->layer);
        if (cut->cut == KP_CUT_BATCH || (!whole && !cut_known(cut)))
            BROKEN("layer '%s' has a cut without a row in the table of cuts", cut->layer);
        if (whole && (cut->collective_forward || cut->collective_backward))
            BROKEN("layer '%s' is not cut and has a collective", cut->layer);
        for (uint32_t k = 0; k < cut->n_weights; k++)
            for (uint32_t a = 0; a < cut->weights[k].n_axes; a++)
                if (plan->strategy.tp == 1 || cut->weights[k].axes[a] >= KP_RANK_MAX)
                    BROKEN("weight '%s' is divided on axis %" PRIu32, cut->weights[k].path,
                           cut->weights[k].axes[a]);
    }
    return KP_OK;
}

/* Ranks count tensor parallelism fastest, then data parallelism, then stages. */
static kp_status check_ranks(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    const kp_strategy *s = &plan->strategy;
    const char *twice, **uuids = KP_NEW(scratch, const char *, plan->n_ranks);
    const char **places = KP_NEW(scratch, const char *, plan->n_ranks);
    if (!uuids || !places) return kp_nomem(err);
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        const kp_plan_rank *rank = &plan->ranks[i];
        if (rank->rank != i) BROKEN("rank %" PRIu32 " stands in place %" PRIu32, rank->rank, i);
        if (rank->tp_rank != i % s->tp || rank->dp_rank != i / s->tp % s->dp ||
            rank->stage != i / s->tp / s->dp)
            BROKEN("rank %" PRIu32 " is stage %" PRIu32 ", dp %" PRIu32 ", tp %" PRIu32, i,
                   rank->stage, rank->dp_rank, rank->tp_rank);
        if (!rank->node || !rank->gpu) BROKEN("rank %" PRIu32 " has no GPU", i);
        uuids[i] = rank->gpu;
        places[i] = kp_arena_fmt(scratch, "%s/gpu%" PRIu32, rank->node, rank->gpu_index);
        if (!places[i]) return kp_nomem(err);
    }
    find_twice(uuids, plan->n_ranks, &twice);
    if (twice) BROKEN("GPU '%s' has two ranks", twice);
    find_twice(places, plan->n_ranks, &twice);
    if (twice) BROKEN("'%s' has two ranks", twice);
    return KP_OK;
}

static kp_status check_memory(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    uint64_t *peaks = KP_NEW(scratch, uint64_t, plan->n_stages);
    if (!peaks) return kp_nomem(err);
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        const kp_plan_rank *rank = &plan->ranks[i];
        uint64_t sum = kp_categories_sum(&rank->memory);
        if (sum != rank->peak_bytes)
            BROKEN("rank %" PRIu32 "'s categories sum to %" PRIu64 " B, its peak is %" PRIu64 " B",
                   i, sum, rank->peak_bytes);
        if (rank->peak_bytes > rank->usable_bytes)
            BROKEN("rank %" PRIu32 " needs %" PRIu64 " B of %" PRIu64 " B", i, rank->peak_bytes,
                   rank->usable_bytes);
        peaks[rank->stage] = kp_max_u64(peaks[rank->stage], rank->peak_bytes);
    }
    for (uint32_t i = 0; i < plan->n_stages; i++)
        if (plan->stages[i].peak_bytes != peaks[i])
            BROKEN("stage %" PRIu32 "'s peak is not that of its worst rank", i);
    return KP_OK;
}

static kp_status check_step(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    (void)scratch;
    const kp_plan_step *t = &plan->step;
    const double parts[] = {t->compute_s,  t->bubble_s,        t->tensor_parallel_s,
                            t->pipeline_s, t->data_parallel_s, t->optimizer_s};
    double sum = 0;
    for (size_t i = 0; i < KP_LEN(parts); i++) {
        if (!(parts[i] >= 0)) BROKEN("a part of the step takes %g s", parts[i]);
        sum += parts[i];
    }
    if (!(t->seconds > 0) || !near(sum, t->seconds))
        BROKEN("the step's parts sum to %.9g s of %.9g s", sum, t->seconds);
    if (!(t->low_s <= t->seconds && t->seconds <= t->high_s))
        BROKEN("the step's %.9g s are not between %.9g s and %.9g s", t->seconds, t->low_s,
               t->high_s);
    if (isnan(t->samples_per_s) == isnan(t->tokens_per_s))
        BROKEN("of samples and tokens per second exactly one is to be known");
    uint64_t batch = kp_mul_u64(kp_mul_u64(plan->strategy.dp, plan->strategy.micro_batch),
                                plan->strategy.micro_batches);
    if (batch != plan->batch)
        BROKEN("dp x micro-batch x micro-batches is %" PRIu64 " samples, the batch %" PRIu64, batch,
               plan->batch);
    return KP_OK;
}

static kp_status check_bound(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    (void)scratch;
    const kp_plan_bound *b = &plan->bound;
    double seconds = plan->step.seconds;
    if (!(b->lower_s > 0) || (b->lower_s > seconds && !near(b->lower_s, seconds)))
        BROKEN("the lower bound is %.9g s, the plan takes %.9g s", b->lower_s, seconds);
    if (!(fabs(b->gap - (seconds / b->lower_s - 1)) <= 1e-9 * (1 + fabs(b->gap))))
        BROKEN("the gap is %g, not seconds / lower bound - 1", b->gap);
    if (!b->proof || !b->proof[0]) BROKEN("the bound has no proof");
    return KP_OK;
}

static kp_status check_todo(const kp_plan *plan, kp_arena *scratch, kp_err *err)
{
    (void)scratch;
    uint64_t weights = 0;
    for (uint32_t i = 0; i < plan->n_checks_todo; i++) {
        const kp_check_spec *todo = &plan->checks_todo[i];
        if (!kp_shard_find(todo->op, todo->cut))
            BROKEN("check %" PRIu32 " has no row in the table of cuts", i);
        if (todo->n_ranks == 0) BROKEN("check %" PRIu32 " has no rank", i);
        for (uint32_t k = 0; k < todo->n_ranks; k++)
            if (todo->ranks[k] >= plan->n_ranks || (k && todo->ranks[k] <= todo->ranks[k - 1]))
                BROKEN("check %" PRIu32 " names rank %" PRIu32, i, todo->ranks[k]);
        weights = kp_add_u64(weights, todo->weight_bytes);
    }
    if (weights > plan->weight_bytes)
        BROKEN("the checks cover %" PRIu64 " B of weights, the model has %" PRIu64 " B", weights,
               plan->weight_bytes);
    const kp_plan_verification *v = &plan->verification;
    if (!(v->covered >= 0 && v->covered <= 1)) BROKEN("%g of the weights are covered", v->covered);
    if (v->verdict == KP_VERDICT_VERIFIED && v->covered == 0)
        BROKEN("it is verified and nothing was covered");
    return KP_OK;
}

kp_status kp_plan_check(const kp_plan *plan, kp_err *err)
{
    /* In this order: later checks index by what earlier ones have bounded. */
    static kp_status (*const checks[])(const kp_plan *, kp_arena *, kp_err *) = {
        check_degrees, check_stages, check_cuts,  check_ranks,
        check_memory,  check_step,   check_bound, check_todo,
    };
    kp_arena scratch;
    kp_arena_init(&scratch, 0);
    kp_status status = KP_OK;
    for (size_t i = 0; i < KP_LEN(checks) && status == KP_OK; i++)
        status = checks[i](plan, &scratch, err);
    kp_arena_release(&scratch);
    return status;
}

kp_status kp_plan_id(const kp_plan *plan, const char *request_id, kp_arena *arena, const char **ret,
                     kp_err *err)
{
    kp_plan content = *plan;
    content.id = "";
    content.created = NULL;
    content.lease = NULL;
    content.search.seconds = NAN;
    kp_plan_verification none;
    memset(&none, 0, sizeof(none));
    content.verification = none;

    kp_buf text;
    char hash[65];
    kp_buf_init(&text, 0);
    kp_status status = kp_schema_print(&kp_schema_plan, &content, &text, err);
    if (status == KP_OK && request_id) {
        kp_buf_char(&text, '\n');
        kp_buf_str(&text, request_id);
    }
    if (status == KP_OK) status = kp_buf_check(&text, err);
    if (status == KP_OK) {
        kp_sha256_hex(kp_buf_text(&text), text.len, hash);
        const char *id = kp_arena_fmt(arena, "pl_%.16s", hash);
        if (id)
            *ret = id;
        else
            status = kp_nomem(err);
    }
    kp_buf_release(&text);
    return status;
}
