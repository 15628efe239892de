/* SPDX-License-Identifier: MIT */
#include "agent/verify/walk.h"
#include "proto/clock.h"
#include <math.h>
#include <unistd.h>

/* A rank's walk. */
typedef struct walker {
    const kp_walk *walk;
    kp_checker checker;
    kp_arena *arena;
    kp_check *rows;     /* two a check of the run; ranks 0: not a member */
    kp_check_job *jobs; /* one a check */
    bool reduced;
} walker;

/* The deadlines of a run: waiting ends before the run does, so that what is known is reported in
 * time; the first rank gives up before the others, so that it can say who is missing. */
typedef struct limits {
    double exec_s, hub_s, meet_s, end_s;
} limits;

static limits limits_of(const kp_walk *walk)
{
    double total = walk->run->deadline_s, end = walk->start_s + total;
    double reserve = fmin(2, 0.2 * total);
    return (limits){.exec_s = end - reserve,
                    .hub_s = end - 0.8 * reserve,
                    .meet_s = end - 0.6 * reserve,
                    .end_s = end - 0.2 * reserve};
}

/* ---- own checks ---- */

/* An earlier check of this rank with the same work in the same group; NULL if there is none. */
static const kp_check *same_before(const walker *w, uint32_t i)
{
    const kp_check_job *job = &w->jobs[i];
    for (uint32_t j = 0; j < i; j++) {
        const kp_check_job *old = &w->jobs[j];
        if (w->rows[2 * j].ranks == 0 || old->err.code != KP_OK || old->row != job->row) continue;
        if (old->group.n != job->group.n || !kp_problem_equal(&old->problem, &job->problem))
            continue;
        if (memcmp(old->group.ranks, job->group.ranks, job->group.n * sizeof(uint32_t)) != 0)
            continue;
        return &w->rows[2 * j];
    }
    return NULL;
}

/* Why nothing more is begun; NULL if there is no reason. */
static const char *reason_to_stop(const walker *w)
{
    kp_err why = {0};
    if (kp_channel_check(w->checker.channel, &why) != KP_OK) return kp_arena_str(w->arena, why.msg);
    return kp_now_s() < w->checker.deadline_s ? NULL : "the run's time was over before";
}

static void run_check(walker *w, uint32_t i)
{
    const kp_check_spec *spec = &w->walk->run->checks[i];
    kp_check *rows = &w->rows[2 * i];
    kp_check_job *job = &w->jobs[i];
    if (!kp_check_prepare(&w->checker, spec, i, job)) return;
    w->reduced |= job->reduced;
    const kp_check *old = job->err.code == KP_OK ? same_before(w, i) : NULL;
    const char *stop = job->err.code == KP_OK && !old ? reason_to_stop(w) : NULL;
    if (old) {
        for (int d = 0; d < KP_DIRECTION_COUNT; d++) {
            rows[d] = old[d];
            rows[d].layer = spec->layer;
        }
    } else if (stop) {
        kp_check_fill(spec, KP_CHECK_INCONCLUSIVE, stop, rows);
    } else {
        kp_check_run(&w->checker, job, w->arena, rows);
    }
}

static kp_status pack_rows(const walker *w, kp_buf *out, kp_err *err)
{
    kp_wire_run_result mine;
    kp_schema_init(kp_wire_schema(KP_WIRE_RUN_RESULT), &mine);
    mine.run = w->walk->run->run;
    mine.checks = w->rows;
    mine.n_checks = 2 * w->walk->run->n_checks;
    mine.reduced = w->reduced;
    KP_TRY(kp_schema_pack(kp_wire_schema(KP_WIRE_RUN_RESULT), &mine, out, err));
    return kp_buf_check(out, err);
}

/* ---- the whole ---- */

void kp_walk_merge(const kp_check *const *members, const uint32_t *ranks, uint32_t n,
                   const char *missing, kp_arena *arena, kp_check *ret)
{
    static const int worse[KP_CHECK_STATE_COUNT] = {
        [KP_CHECK_NOT_COVERED] = 1, [KP_CHECK_INCONCLUSIVE] = 2, [KP_CHECK_FAILED] = 3};
    for (uint32_t i = 0; i < n; i++) {
        const kp_check gone = {.state = KP_CHECK_INCONCLUSIVE, .message = missing};
        const kp_check *row = members[i] ? members[i] : &gone;
        ret->error = fmax(ret->error, row->error);
        ret->seconds = fmax(ret->seconds, row->seconds);
        ret->peak_bytes_measured = kp_max_u64(ret->peak_bytes_measured, row->peak_bytes_measured);
        ret->peak_bytes_predicted =
            kp_max_u64(ret->peak_bytes_predicted, row->peak_bytes_predicted);
        if (worse[row->state] <= worse[ret->state]) continue;
        ret->state = row->state;
        ret->message = row->message;
        if (row->state == KP_CHECK_FAILED && row->message)
            ret->message = kp_arena_fmt(arena, "rank %u: %s", ranks[i], row->message);
    }
}

/* One rank's report, unpacked; NULL if it did not report, or not what is due. */
static const kp_wire_run_result *read_report(const walker *w, uint32_t rank)
{
    const kp_buf *bytes = kp_channel_get_report(w->checker.channel, rank);
    kp_wire_run_result *report = KP_NEW(w->arena, kp_wire_run_result, 1);
    const kp_schema *schema = kp_wire_schema(KP_WIRE_RUN_RESULT);
    if (!bytes || !report) return NULL;
    if (kp_schema_unpack(schema, bytes->data, bytes->len, w->arena, report, NULL) != KP_OK)
        return NULL;
    return report->n_checks == 2 * w->walk->run->n_checks ? report : NULL;
}

typedef struct reports {
    uint32_t *ranks; /* of the plan, ascending by first mention */
    const kp_wire_run_result **of;
    uint32_t n, cap;
} reports;

/* The report of a rank, read once. */
static const kp_wire_run_result *report_of(const walker *w, reports *r, uint32_t rank)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->ranks[i] == rank) return r->of[i];
    if (r->n == r->cap) return NULL; /* more ranks than the run has */
    r->ranks[r->n] = rank;
    return r->of[r->n++] = read_report(w, rank);
}

static kp_status merge_all(walker *w, kp_wire_run_result *ret, kp_err *err)
{
    const kp_wire_run *run = w->walk->run;
    const char *broken = kp_channel_broken(w->checker.channel);
    reports r = {.cap = run->n_ranks};
    r.ranks = KP_NEW(w->arena, uint32_t, r.cap);
    r.of = KP_NEW(w->arena, const kp_wire_run_result *, r.cap);
    const kp_check **members = KP_NEW(w->arena, const kp_check *, r.cap);
    ret->checks = KP_NEW(w->arena, kp_check, 2 * (size_t)run->n_checks);
    if (!r.ranks || !r.of || !members || !ret->checks) return kp_nomem(err);
    if (broken && !(broken = kp_arena_str(w->arena, broken))) return kp_nomem(err);
    for (uint32_t i = 0; i < run->n_checks; i++) {
        const kp_check_spec *spec = &run->checks[i];
        kp_check *rows = &ret->checks[2 * i];
        kp_check_fill(spec, KP_CHECK_OK, NULL, rows);
        for (int d = 0; d < KP_DIRECTION_COUNT; d++) {
            for (uint32_t k = 0; k < spec->n_ranks; k++) {
                const kp_wire_run_result *report = report_of(w, &r, spec->ranks[k]);
                const kp_check *row = report ? &report->checks[2 * i + (uint32_t)d] : NULL;
                members[k] = row && row->ranks > 0 ? row : NULL;
            }
            kp_walk_merge(members, spec->ranks, spec->n_ranks,
                          broken ? broken : "a rank did not report", w->arena, &rows[d]);
        }
    }
    ret->n_checks = 2 * run->n_checks;
    ret->reduced = w->reduced;
    ret->failure = broken;
    for (uint32_t i = 0; i < r.n; i++) ret->reduced |= r.of[i] && r.of[i]->reduced;
    return KP_OK;
}

/* ---- from start to end ---- */

static kp_status check_run_message(const kp_walk *walk, kp_err *err)
{
    const kp_wire_run *run = walk->run;
    if (run->n_ranks < 1 || run->n_ranks > 65536 || !run->token || !(run->deadline_s > 0))
        return kp_fail(err, KP_INPUT, "a run needs ranks, a token and a deadline");
    for (uint32_t i = 0; i < run->n_checks; i++)
        if (run->checks[i].n_ranks < 1 || run->checks[i].n_ranks > run->n_ranks)
            return kp_fail(err, KP_INPUT, "check %u has %u ranks in a run of %u", i,
                           run->checks[i].n_ranks, run->n_ranks);
    return KP_OK;
}

static kp_status walk_checks(walker *w, const kp_walk *walk, kp_err *err)
{
    const kp_wire_run *run = walk->run;
    const limits until = limits_of(walk);
    uint32_t here = 0;
    while (here < run->n_here && run->ranks[here].rank != walk->rank) here++;
    kp_exec_env env = {.channel = w->checker.channel,
                       .gpu_index = here < run->n_here ? run->ranks[here].gpu_index : 0,
                       .gpu = here < run->n_here ? run->ranks[here].gpu : NULL,
                       .cuda_dir = walk->cuda_dir,
                       .deadline_s = until.exec_s};
    const kp_exec_ops *ops = kp_exec_find(run->executor);
    if (!ops) kp_fail(err, KP_UNSUPPORTED, "no executor has this name");
    if (!ops || ops->open(&env, &w->checker.exec, err) != KP_OK) {
        kp_channel_break(w->checker.channel, err);
        return err->code;
    }
    for (uint32_t i = 0; i < run->n_checks; i++) run_check(w, i);
    ops->close(w->checker.exec);
    return KP_OK;
}

static kp_status report_and_merge(walker *w, kp_wire_run_result *ret, kp_err *err)
{
    kp_buf packed;
    kp_buf_init(&packed, 0);
    kp_err why = {0};
    kp_status status;
    KP_TRY_OUT(pack_rows(w, &packed, err));
    const char *broken = kp_channel_broken(w->checker.channel);
    if (kp_channel_report(w->checker.channel, packed.data, packed.len, &why) != KP_OK && !broken)
        broken = why.msg;
    if (broken && !(ret->failure = kp_arena_str(w->arena, broken))) status = kp_nomem(err);
    if (status == KP_OK && w->walk->listen_fd >= 0) status = merge_all(w, ret, err);
out:
    kp_buf_release(&packed);
    return status;
}

/* The walker's rows, all of which say at first that this rank is no member. */
static kp_status prepare(walker *w, kp_err *err)
{
    const kp_wire_run *run = w->walk->run;
    KP_TRY(check_run_message(w->walk, err));
    w->rows = KP_NEW(w->arena, kp_check, 2 * (size_t)run->n_checks);
    w->jobs = KP_NEW(w->arena, kp_check_job, run->n_checks);
    if (!w->rows || !w->jobs) return kp_nomem(err);
    for (uint32_t i = 0; i < run->n_checks; i++) {
        kp_check_fill(&run->checks[i], KP_CHECK_NOT_COVERED, NULL, &w->rows[2 * i]);
        w->rows[2 * i].ranks = w->rows[2 * i + 1].ranks = 0;
    }
    return KP_OK;
}

static kp_status open_channel(walker *w, kp_err *err)
{
    const kp_walk *walk = w->walk;
    const limits until = limits_of(walk);
    const kp_channel_config config = {.node = walk->node,
                                      .token = walk->run->token,
                                      .rank = walk->rank,
                                      .n_ranks = walk->run->n_ranks,
                                      .listen_fd = walk->listen_fd,
                                      .meet = walk->run->meet,
                                      .deadline_s =
                                          walk->listen_fd >= 0 ? until.hub_s : until.meet_s,
                                      .end_s = until.end_s};
    return kp_channel_open(&config, &w->checker.channel, err);
}

kp_status kp_walk_run(const kp_walk *walk, kp_arena *arena, kp_wire_run_result *ret, kp_err *err)
{
    const kp_wire_run *run = walk->run;
    walker w = {.walk = walk,
                .arena = arena,
                .checker = {.rank = walk->rank,
                            .seed = run->seed,
                            .shape_limit = run->shape_limit,
                            .deadline_s = limits_of(walk).exec_s,
                            .rows = walk->rows ? walk->rows : kp_shard_rows,
                            .n_rows = walk->rows ? walk->n_rows : kp_shard_n_rows}};
    kp_schema_init(kp_wire_schema(KP_WIRE_RUN_RESULT), ret);
    ret->run = run->run;
    kp_status status = prepare(&w, err);
    if (status != KP_OK) {
        if (walk->listen_fd >= 0) close(walk->listen_fd);
        return status;
    }
    kp_err why = {0};
    bool ok = open_channel(&w, &why) == KP_OK;
    if (ok) ok = walk_checks(&w, walk, &why) == KP_OK || walk->listen_fd >= 0;
    if (ok)
        status = report_and_merge(&w, ret, err);
    else if (!(ret->failure = kp_arena_str(arena, why.msg)))
        status = kp_nomem(err);
    kp_channel_close(w.checker.channel);
    return status;
}
