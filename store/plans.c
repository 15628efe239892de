/* SPDX-License-Identifier: MIT
 *
 * Plans: committed whole, read back with what became of them. */
#include "store/sql.h"

static kp_status model_put(kp_store *store, const kp_store_commit_args *c, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":sha256", c->plan->model.sha256),
        kp_sql_text(":name", c->plan->model.name),
        kp_sql_int(":size", (int64_t)c->model_bytes),
        kp_sql_int(":now", c->now_ms),
    };
    return kp_sql_do(store, KP_SQL_MODEL_PUT, args, KP_LEN(args), NULL, err);
}

static uint64_t peak_of(const kp_plan *plan)
{
    uint64_t peak = 0;
    for (uint32_t i = 0; i < plan->n_ranks; i++) peak = kp_max_u64(peak, plan->ranks[i].peak_bytes);
    return peak;
}

static kp_status plan_row_put(kp_store *store, const kp_store_commit_args *c, const char *body,
                              kp_err *err)
{
    const kp_strategy *s = &c->plan->strategy;
    const kp_sql_arg args[] = {
        kp_sql_text(":id", c->plan->id),
        kp_sql_int(":now", c->now_ms),
        kp_sql_text(":request", c->request),
        kp_sql_text(":owner", c->owner),
        kp_sql_text(":model", c->plan->model.sha256),
        kp_sql_int(":revision", (int64_t)c->plan->cluster.revision),
        kp_sql_int(":dp", s->dp),
        kp_sql_int(":tp", s->tp),
        kp_sql_int(":pp", s->pp),
        kp_sql_int(":zero", s->zero),
        kp_sql_int(":micro_batch", s->micro_batch),
        kp_sql_int(":micro_batches", s->micro_batches),
        kp_sql_int(":schedule", s->schedule),
        kp_sql_int(":interleave", s->interleave),
        kp_sql_int(":recompute", s->recompute),
        kp_sql_int(":peak", (int64_t)peak_of(c->plan)),
        kp_sql_real(":seconds", c->plan->step.seconds),
        kp_sql_text(":body", body),
    };
    return kp_sql_do(store, KP_SQL_PLAN_PUT, args, KP_LEN(args), NULL, err);
}

static kp_status plan_put(kp_store *store, const kp_store_commit_args *c, kp_err *err)
{
    kp_plan content = *c->plan;
    content.created = NULL;
    content.lease = NULL;
    content.verification = (kp_plan_verification){.verdict = KP_VERDICT_NONE};
    kp_buf body;
    kp_buf_init(&body, 0);
    kp_status status = kp_schema_print(&kp_schema_plan, &content, &body, err);
    if (status == KP_OK) status = plan_row_put(store, c, kp_buf_text(&body), err);
    kp_buf_release(&body);
    if (status == KP_CONFLICT)
        return kp_fail(err, KP_CONFLICT, "plan '%s' is in the store already", c->plan->id);
    return status;
}

static kp_status fence_next(kp_store *store, uint64_t *ret, kp_err *err)
{
    sqlite3_stmt *row = NULL;
    const kp_sql_arg args[] = {kp_sql_text(":name", "fence")};
    kp_status status = kp_sql_start(store, KP_SQL_COUNTER_NEXT, args, KP_LEN(args), err);
    if (status == KP_OK) status = kp_sql_row(store, KP_SQL_COUNTER_NEXT, &row, err);
    if (status == KP_OK && !row)
        status = kp_fail(err, KP_STORE, "store '%s' has no counter 'fence'", store->path);
    if (status == KP_OK) *ret = (uint64_t)sqlite3_column_int64(row, 0);
    kp_sql_end(store, KP_SQL_COUNTER_NEXT);
    return status;
}

/* Names what holds a GPU that could not be leased. */
static kp_status gpu_taken(kp_store *store, const kp_plan_rank *rank, kp_err *err)
{
    sqlite3_stmt *row = NULL;
    const kp_sql_arg args[] = {kp_sql_text(":gpu", rank->gpu)};
    kp_status status = kp_sql_start(store, KP_SQL_GPU_HOLDER, args, KP_LEN(args), err);
    if (status == KP_OK) status = kp_sql_row(store, KP_SQL_GPU_HOLDER, &row, err);
    if (status == KP_OK)
        status = kp_fail(err, KP_CONFLICT, "GPU %u of node '%s' is in lease '%s' of '%s' until %s",
                         rank->gpu_index, rank->node,
                         row ? (const char *)sqlite3_column_text(row, 0) : "?",
                         row ? (const char *)sqlite3_column_text(row, 1) : "?",
                         row ? kp_time_text(sqlite3_column_int64(row, 2)).s : "?");
    kp_sql_end(store, KP_SQL_GPU_HOLDER);
    return status;
}

static kp_status lease_put(kp_store *store, const kp_store_commit_args *c, uint64_t fence,
                           kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":id", c->lease),         kp_sql_text(":plan", c->plan->id),
        kp_sql_int(":fence", (int64_t)fence), kp_sql_text(":owner", c->owner),
        kp_sql_int(":now", c->now_ms),        kp_sql_int(":expires", c->now_ms + c->lease_ms),
        kp_sql_int(":length", c->lease_ms),
    };
    KP_TRY(kp_sql_do(store, KP_SQL_LEASE_PUT, args, KP_LEN(args), NULL, err));
    for (uint32_t i = 0; i < c->plan->n_ranks; i++) {
        const kp_sql_arg gpu[] = {
            kp_sql_text(":lease", c->lease),
            kp_sql_text(":gpu", c->plan->ranks[i].gpu),
        };
        kp_status status = kp_sql_do(store, KP_SQL_LEASE_GPU_PUT, gpu, KP_LEN(gpu), NULL, err);
        if (status == KP_CONFLICT) return gpu_taken(store, &c->plan->ranks[i], err);
        KP_TRY(status);
        const kp_sql_arg number[] = {
            kp_sql_text(":gpu", c->plan->ranks[i].gpu),
            kp_sql_int(":fence", (int64_t)fence),
        };
        KP_TRY(kp_sql_do(store, KP_SQL_FENCE_PUT, number, KP_LEN(number), NULL, err));
    }
    return KP_OK;
}

static kp_status request_put(kp_store *store, const kp_store_commit_args *c, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":id", c->request),    kp_sql_text(":digest", c->digest),
        kp_sql_text(":plan", c->plan->id), kp_sql_int(":done", c->done),
        kp_sql_int(":type", KP_WIRE_PLAN), kp_sql_blob(":reply", (kp_bytes){0}),
        kp_sql_int(":now", c->now_ms),
    };
    kp_status status = kp_sql_do(store, KP_SQL_REQUEST_NEW, args, KP_LEN(args), NULL, err);
    if (status == KP_CONFLICT)
        return kp_fail(err, KP_CONFLICT, "request '%s' is in the store already", c->request);
    return status;
}

static kp_status plan_commit(kp_store *store, const kp_store_commit_args *c, uint64_t *fence,
                             kp_err *err)
{
    KP_TRY(fence_next(store, fence, err));
    KP_TRY(model_put(store, c, err));
    KP_TRY(plan_put(store, c, err));
    KP_TRY(lease_put(store, c, *fence, err));
    if (c->request) KP_TRY(request_put(store, c, err));
    KP_TRY(kp_revision_raise(store, c->plan->cluster.revision, err));
    return kp_store_audit(store, c->now_ms, c->owner, "plan.commit", c->plan->id, c->lease, err);
}

kp_status kp_store_plan_commit(kp_store *store, const kp_store_commit_args *args,
                               uint64_t *ret_fence, kp_err *err)
{
    uint64_t fence = 0;
    KP_TRY(kp_store_begin(store, err));
    KP_TRY(kp_store_end(store, plan_commit(store, args, &fence, err), err));
    *ret_fence = fence;
    return KP_OK;
}

static kp_status body_read(kp_store *store, const char *id, kp_arena *arena, kp_plan *ret,
                           kp_err *err)
{
    sqlite3_stmt *row = NULL;
    const kp_sql_arg args[] = {kp_sql_text(":id", id)};
    KP_TRY(kp_sql_start(store, KP_SQL_PLAN_GET, args, KP_LEN(args), err));
    KP_TRY(kp_sql_row(store, KP_SQL_PLAN_GET, &row, err));
    if (!row) return kp_fail(err, KP_INPUT, "there is no plan '%s'", id);
    KP_TRY(kp_sql_body(store, row, 0, &kp_schema_plan, "plan", id, arena, ret, err));
    return kp_time_str(sqlite3_column_int64(row, 1), arena, &ret->created, err);
}

static kp_status lease_of(kp_store *store, const char *plan, kp_arena *arena, kp_plan_lease **ret,
                          kp_err *err)
{
    sqlite3_stmt *row = NULL;
    kp_lease lease = {0};
    const kp_sql_arg args[] = {kp_sql_text(":plan", plan)};
    KP_TRY(kp_sql_start(store, KP_SQL_LEASE_OF_PLAN, args, KP_LEN(args), err));
    KP_TRY(kp_sql_row(store, KP_SQL_LEASE_OF_PLAN, &row, err));
    if (!row) return KP_OK;
    KP_TRY(kp_lease_read(row, arena, &lease, err));
    *ret = KP_NEW(arena, kp_plan_lease, 1);
    if (!*ret) return kp_nomem(err);
    **ret = (kp_plan_lease){
        .id = lease.id, .fence = lease.fence, .expires = lease.expires, .state = lease.state};
    return KP_OK;
}

kp_status kp_store_plan_get(kp_store *store, const char *id, kp_arena *arena, kp_plan *ret,
                            kp_err *err)
{
    kp_plan plan = {0};
    kp_status status = body_read(store, id, arena, &plan, err);
    kp_sql_end(store, KP_SQL_PLAN_GET);
    KP_TRY(status);
    status = lease_of(store, id, arena, &plan.lease, err);
    kp_sql_end(store, KP_SQL_LEASE_OF_PLAN);
    KP_TRY(status);
    KP_TRY(kp_verification_last(store, id, arena, &plan.verification, err));
    *ret = plan;
    return KP_OK;
}

static kp_status row_read(sqlite3_stmt *row, kp_arena *arena, kp_plan_row *ret, kp_err *err)
{
    KP_TRY(kp_sql_column(row, 0, arena, &ret->id, err));
    KP_TRY(kp_time_str(sqlite3_column_int64(row, 1), arena, &ret->created, err));
    KP_TRY(kp_sql_column(row, 2, arena, &ret->model, err));
    KP_TRY(kp_sql_column(row, 12, arena, &ret->state, err));
    ret->strategy = (kp_strategy){
        .dp = (uint32_t)sqlite3_column_int64(row, 3),
        .tp = (uint32_t)sqlite3_column_int64(row, 4),
        .pp = (uint32_t)sqlite3_column_int64(row, 5),
        .zero = (uint32_t)sqlite3_column_int64(row, 6),
        .micro_batch = (uint32_t)sqlite3_column_int64(row, 7),
        .micro_batches = (uint32_t)sqlite3_column_int64(row, 8),
        .schedule = (kp_schedule)(sqlite3_column_int64(row, 9) % KP_SCHEDULE_COUNT),
        .interleave = (uint32_t)sqlite3_column_int64(row, 10),
        .recompute = (kp_recompute)(sqlite3_column_int64(row, 11) % KP_RECOMPUTE_COUNT),
    };
    ret->peak_bytes = (uint64_t)sqlite3_column_int64(row, 13);
    ret->seconds = sqlite3_column_double(row, 14);
    return KP_OK;
}

static kp_status rows_read(kp_store *store, uint32_t limit, kp_arena *arena, kp_plans *ret,
                           kp_err *err)
{
    size_t n = 0, cap = 0;
    kp_plan_row *rows = NULL;
    sqlite3_stmt *row;
    const kp_sql_arg args[] = {kp_sql_int(":limit", limit)};
    KP_TRY(kp_sql_start(store, KP_SQL_PLANS, args, KP_LEN(args), err));
    for (;;) {
        KP_TRY(kp_sql_row(store, KP_SQL_PLANS, &row, err));
        if (!row) break;
        if (!KP_GROW(arena, rows, n, cap)) return kp_nomem(err);
        KP_TRY(row_read(row, arena, &rows[n], err));
        n++;
    }
    *ret = (kp_plans){.plans = rows, .n_plans = (uint32_t)n};
    return KP_OK;
}

kp_status kp_store_plans(kp_store *store, uint32_t limit, kp_arena *arena, kp_plans *ret,
                         kp_err *err)
{
    kp_plans plans = {0};
    kp_status status = rows_read(store, limit, arena, &plans, err);
    kp_sql_end(store, KP_SQL_PLANS);
    if (status == KP_OK) *ret = plans;
    return status;
}
