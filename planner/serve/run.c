/* SPDX-License-Identifier: MIT */
#include "planner/serve/run.h"

#include <math.h>

/* Elements of a tensor at most: sums of products stay exact, and a check takes milliseconds. On GPUs it
 * may be larger, but what they compute is compared with plain loops on the host. */
static const uint64_t shape_limits[KP_EXEC_COUNT] = {
    [KP_EXEC_HOST] = 4096,
    [KP_EXEC_CUDA] = 65536,
};

/* ---- which checks, which ranks, where ---- */

static bool same_kind(const kp_check_spec *a, const kp_check_spec *b)
{
    return a->op == b->op && a->cut == b->cut;
}

/* Of each op and cut the entry that stands for the most weights, in the plan's order. */
static kp_status take_sample(kp_run *run, kp_err *err)
{
    const kp_plan *plan = run->plan;
    run->specs = KP_NEW(run->arena, kp_check_spec, plan->n_checks_todo);
    if (!run->specs) return kp_nomem(err);
    for (uint32_t i = 0; i < plan->n_checks_todo; i++) {
        const kp_check_spec *spec = &plan->checks_todo[i];
        bool best = true;
        for (uint32_t k = 0; k < plan->n_checks_todo && best; k++) {
            const kp_check_spec *other = &plan->checks_todo[k];
            if (k != i && same_kind(spec, other))
                best = other->weight_bytes < spec->weight_bytes ||
                       (other->weight_bytes == spec->weight_bytes && k > i);
        }
        if (best) run->specs[run->n_specs++] = *spec;
    }
    return KP_OK;
}

static bool *used_ranks(const kp_run *run)
{
    bool *used = KP_NEW(run->arena, bool, run->plan->n_ranks);
    for (uint32_t i = 0; used && i < run->n_specs; i++)
        for (uint32_t k = 0; k < run->specs[i].n_ranks; k++)
            if (run->specs[i].ranks[k] < run->plan->n_ranks) used[run->specs[i].ranks[k]] = true;
    return used;
}

kp_run_part *kp_run_part_of(const kp_run *run, const char *node)
{
    for (uint32_t i = 0; i < run->n_parts; i++)
        if (!strcmp(run->parts[i].node, node)) return &run->parts[i];
    return NULL;
}

/* Ranks in their order, so that parts[0] has the first. */
static kp_status place_ranks(kp_run *run, kp_err *err)
{
    const kp_plan *plan = run->plan;
    const bool *used = used_ranks(run);
    run->parts = KP_NEW(run->arena, kp_run_part, plan->n_ranks);
    if (!used || !run->parts) return kp_nomem(err);
    for (uint32_t i = 0; i < plan->n_ranks; i++) {
        const kp_plan_rank *rank = &plan->ranks[i];
        if (!used[i]) continue;
        kp_run_part *part = kp_run_part_of(run, rank->node);
        if (!part) {
            part = &run->parts[run->n_parts++];
            part->node = rank->node;
            part->ranks = KP_NEW(run->arena, kp_run_rank, plan->n_ranks);
            if (!part->ranks) return kp_nomem(err);
        }
        part->ranks[part->n_ranks++] =
            (kp_run_rank){.rank = rank->rank, .gpu_index = rank->gpu_index, .gpu = rank->gpu};
        run->n_ranks++;
    }
    return KP_OK;
}

kp_status kp_run_make(const kp_plan *plan, bool sample, const char *id, const char *token,
                      kp_arena *arena, kp_run *ret, kp_err *err)
{
    kp_run run = {.arena = arena,
                  .plan = plan,
                  .fence = UINT64_MAX,
                  .specs = plan->checks_todo,
                  .n_specs = plan->n_checks_todo};
    snprintf(run.id, sizeof(run.id), "%s", id);
    snprintf(run.token, sizeof(run.token), "%s", token);
    if (sample) {
        run.n_specs = 0;
        KP_TRY(take_sample(&run, err));
    }
    KP_TRY(place_ranks(&run, err));
    if (run.n_parts == 0) run.state = KP_RUN_OVER;
    *ret = run;
    return KP_OK;
}

/* ---- messages ---- */

kp_run_part *kp_run_next(kp_run *run)
{
    if (run->state == KP_RUN_ASKED) return run->parts[0].sent ? NULL : &run->parts[0];
    if (run->state != KP_RUN_RUNNING) return NULL;
    for (uint32_t i = 1; i < run->n_parts; i++)
        if (!run->parts[i].sent) return &run->parts[i];
    return NULL;
}

/* The same plan is checked with the same numbers every time. */
static uint64_t seed_of(const kp_plan *plan)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = plan->id; c && *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return hash >> 1;
}

kp_wire_run kp_run_message(const kp_run *run, const kp_run_part *part, double left_s)
{
    return (kp_wire_run){
        .run = run->id,
        .executor = run->executor,
        .fence = run->fence,
        .deadline_s = left_s,
        .seed = seed_of(run->plan),
        .shape_limit = shape_limits[run->executor],
        .meet = part == &run->parts[0] ? NULL : run->meet,
        .token = run->token,
        .n_ranks = run->n_ranks,
        .ranks = part->ranks,
        .n_here = part->n_ranks,
        .checks = run->specs,
        .n_checks = run->n_specs,
    };
}

/* ---- what came ---- */

kp_status kp_run_ready(kp_run *run, const char *node, const char *meet, kp_err *err)
{
    if (run->state != KP_RUN_ASKED || !run->parts[0].sent || strcmp(run->parts[0].node, node))
        return KP_OK;
    run->meet = kp_arena_str(run->arena, meet);
    if (!run->meet) return kp_nomem(err);
    run->state = KP_RUN_RUNNING;
    return KP_OK;
}

void kp_run_fail(kp_run *run, const char *fmt, ...)
{
    if (run->state == KP_RUN_OVER) return;
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    const char *copy = kp_arena_str(run->arena, text);
    run->failure = copy ? copy : "out of memory";
    run->state = KP_RUN_OVER;
}

/* Deep copy of the checks by way of a verdict's packed form. */
static kp_status copy_checks(kp_run *run, const kp_wire_run_result *result, kp_err *err)
{
    kp_verdict in = {.plan = run->plan->id, .shapes = "full"}, out;
    kp_buf packed;
    in.checks = result->checks;
    in.n_checks = result->n_checks;
    kp_buf_init(&packed, 0);
    kp_status status = kp_schema_pack(&kp_schema_verdict, &in, &packed, err);
    if (status == KP_OK)
        status =
            kp_schema_unpack(&kp_schema_verdict, packed.data, packed.len, run->arena, &out, err);
    kp_buf_release(&packed);
    KP_TRY(status);
    run->checks = out.checks;
    run->n_checks = out.n_checks;
    return KP_OK;
}

kp_status kp_run_result(kp_run *run, const char *node, const kp_wire_run_result *result,
                        kp_err *err)
{
    kp_run_part *part = kp_run_part_of(run, node);
    if (run->state == KP_RUN_OVER || !part || !part->sent || part->ended) return KP_OK;
    part->ended = true;
    run->reduced |= result->reduced;
    if (result->failure) {
        kp_run_fail(run, "node '%s': %s", node, result->failure);
        return KP_OK;
    }
    if (part != &run->parts[0]) return KP_OK;
    KP_TRY(copy_checks(run, result, err));
    run->state = KP_RUN_OVER;
    return KP_OK;
}

/* ---- the verdict ---- */

/* The state of all checks that an entry stands for: a layer may have several entries of one op and
 * cut, which share their fate. Fewer checks than such entries: not all were run. */
static kp_check_state spec_state(const kp_run *run, const kp_check_spec *spec)
{
    uint32_t n_specs = 0, n_checks = 0;
    kp_check_state worst = KP_CHECK_OK;
    static const uint8_t rank[] = {
        [KP_CHECK_OK] = 0,
        [KP_CHECK_NOT_COVERED] = 1,
        [KP_CHECK_INCONCLUSIVE] = 2,
        [KP_CHECK_FAILED] = 3,
    };
    for (uint32_t i = 0; i < run->n_specs; i++)
        n_specs += same_kind(spec, &run->specs[i]) && !strcmp(spec->layer, run->specs[i].layer);
    for (uint32_t i = 0; i < run->n_checks; i++) {
        const kp_check *check = &run->checks[i];
        if (check->op != spec->op || check->cut != spec->cut || strcmp(check->layer, spec->layer))
            continue;
        n_checks++;
        if (rank[check->state] > rank[worst]) worst = check->state;
    }
    return n_checks < n_specs && rank[worst] < rank[KP_CHECK_INCONCLUSIVE] ? KP_CHECK_INCONCLUSIVE
                                                                           : worst;
}

/* What a run that never got results says of each entry. */
static kp_status lost_checks(const kp_run *run, kp_verdict *verdict, kp_err *err)
{
    kp_check *checks = KP_NEW(run->arena, kp_check, run->n_specs);
    if (!checks) return kp_nomem(err);
    for (uint32_t i = 0; i < run->n_specs; i++)
        checks[i] = (kp_check){
            .layer = run->specs[i].layer,
            .op = run->specs[i].op,
            .cut = run->specs[i].cut,
            .ranks = run->specs[i].n_ranks,
            .state = KP_CHECK_INCONCLUSIVE,
            .error = NAN,
            .bound = NAN,
            .seconds = NAN,
            .peak_bytes_measured = UINT64_MAX,
            .peak_bytes_predicted = UINT64_MAX,
            .message = run->failure,
        };
    verdict->checks = checks;
    verdict->n_checks = run->n_specs;
    return KP_OK;
}

static double share_of(uint64_t part, uint64_t whole)
{
    double share = whole ? (double)part / (double)whole : 0;
    return share > 1 ? 1 : share;
}

kp_status kp_run_verdict(const kp_run *run, kp_verdict *ret, kp_err *err)
{
    uint64_t covered_bytes = 0;
    uint32_t count[KP_CHECK_STATE_COUNT] = {0};
    for (uint32_t i = 0; i < run->n_specs && !run->failure; i++) {
        kp_check_state state = spec_state(run, &run->specs[i]);
        count[state]++;
        if (state == KP_CHECK_OK)
            covered_bytes = kp_add_u64(covered_bytes, run->specs[i].weight_bytes);
    }
    kp_verdict verdict = {
        .plan = run->plan->id,
        .verdict = KP_VERDICT_NONE,
        .covered = share_of(covered_bytes, run->plan->weight_bytes),
        .shapes = run->reduced ? "reduced" : "full",
        .executor = run->executor,
        .checks = run->checks,
        .n_checks = run->n_checks,
    };
    if (count[KP_CHECK_FAILED])
        verdict.verdict = KP_VERDICT_FAILED;
    else if (run->failure || count[KP_CHECK_INCONCLUSIVE])
        verdict.verdict = KP_VERDICT_INCONCLUSIVE;
    else if (count[KP_CHECK_OK] && verdict.covered > 0)
        verdict.verdict = KP_VERDICT_VERIFIED;
    if (run->failure && run->n_checks == 0) KP_TRY(lost_checks(run, &verdict, err));
    *ret = verdict;
    return KP_OK;
}
