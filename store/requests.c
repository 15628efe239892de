/* SPDX-License-Identifier: MIT
 *
 * Requests and their replies, verdicts, and the audit. */
#include "store/sql.h"

kp_status kp_store_audit(kp_store *store, int64_t now_ms, const char *actor, const char *verb,
                         const char *object, const char *detail, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_int(":now", now_ms),     kp_sql_text(":actor", actor),   kp_sql_text(":verb", verb),
        kp_sql_text(":object", object), kp_sql_text(":detail", detail),
    };
    return kp_sql_do(store, KP_SQL_AUDIT_PUT, args, KP_LEN(args), NULL, err);
}

/* ---- requests ---- */

static kp_status request_read(sqlite3_stmt *row, kp_arena *arena, kp_store_request *ret,
                              kp_err *err)
{
    KP_TRY(kp_sql_column(row, 0, arena, &ret->digest, err));
    KP_TRY(kp_sql_column(row, 1, arena, &ret->plan, err));
    ret->done = sqlite3_column_int(row, 2) != 0;
    ret->reply_type = (kp_wire_type)sqlite3_column_int(row, 3);
    if (sqlite3_column_type(row, 4) == SQLITE_NULL) return KP_OK;
    const void *bytes = sqlite3_column_blob(row, 4);
    int len = sqlite3_column_bytes(row, 4);
    ret->reply.data = (const uint8_t *)kp_arena_strn(arena, bytes ? bytes : "", (size_t)len);
    ret->reply.len = (uint32_t)len;
    return ret->reply.data ? KP_OK : kp_nomem(err);
}

kp_status kp_store_request_find(kp_store *store, const char *id, kp_arena *arena,
                                kp_store_request *ret, bool *ret_found, kp_err *err)
{
    kp_store_request request = {0};
    sqlite3_stmt *row = NULL;
    const kp_sql_arg args[] = {kp_sql_text(":id", id)};
    kp_status status = kp_sql_start(store, KP_SQL_REQUEST_FIND, args, KP_LEN(args), err);
    if (status == KP_OK) status = kp_sql_row(store, KP_SQL_REQUEST_FIND, &row, err);
    bool found = row != NULL;
    if (status == KP_OK && found) status = request_read(row, arena, &request, err);
    kp_sql_end(store, KP_SQL_REQUEST_FIND);
    KP_TRY(status);
    *ret = request;
    *ret_found = found;
    return KP_OK;
}

kp_status kp_store_request_done(kp_store *store, const char *id, const kp_store_request *request,
                                int64_t now_ms, kp_err *err)
{
    int changes = 0;
    const kp_sql_arg args[] = {
        kp_sql_text(":id", id),
        kp_sql_text(":digest", request->digest),
        kp_sql_text(":plan", request->plan),
        kp_sql_int(":done", 1),
        kp_sql_int(":type", request->reply_type),
        kp_sql_blob(":reply", request->reply),
        kp_sql_int(":now", now_ms),
    };
    KP_TRY(kp_store_begin(store, err));
    kp_status status = kp_sql_do(store, KP_SQL_REQUEST_DONE, args, KP_LEN(args), &changes, err);
    if (status == KP_OK && changes == 0)
        status = kp_fail(err, KP_CONFLICT, "request '%s' was made before with other content", id);
    return kp_store_end(store, status, err);
}

kp_status kp_store_requests_forget(kp_store *store, int64_t before_ms, kp_err *err)
{
    const kp_sql_arg args[] = {kp_sql_int(":before", before_ms)};
    KP_TRY(kp_store_begin(store, err));
    return kp_store_end(
        store, kp_sql_do(store, KP_SQL_REQUESTS_FORGET, args, KP_LEN(args), NULL, err), err);
}

/* ---- verifications ---- */

static kp_status verdict_put(kp_store *store, const kp_verdict *verdict, const char *body,
                             int64_t now_ms, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":plan", verdict->plan),
        kp_sql_int(":now", now_ms),
        kp_sql_text(":verdict", kp_verdict_names[verdict->verdict]),
        kp_sql_real(":covered", verdict->covered),
        kp_sql_text(":body", body),
    };
    kp_status status = kp_sql_do(store, KP_SQL_VERIFICATION_PUT, args, KP_LEN(args), NULL, err);
    if (status == KP_CONFLICT)
        return kp_fail(err, KP_INPUT, "there is no plan '%s'", verdict->plan);
    KP_TRY(status);
    return kp_store_audit(store, now_ms, "kpland", "plan.verify", verdict->plan,
                          kp_verdict_names[verdict->verdict], err);
}

kp_status kp_store_verification_put(kp_store *store, const kp_verdict *verdict, int64_t now_ms,
                                    kp_err *err)
{
    kp_buf body;
    kp_buf_init(&body, 0);
    kp_status status = kp_schema_print(&kp_schema_verdict, verdict, &body, err);
    if (status == KP_OK) status = kp_store_begin(store, err);
    if (status == KP_OK)
        status =
            kp_store_end(store, verdict_put(store, verdict, kp_buf_text(&body), now_ms, err), err);
    kp_buf_release(&body);
    return status;
}

static bool listed(const char *const *names, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

kp_status kp_verdict_short(const kp_verdict *verdict, int64_t at_ms, kp_arena *arena,
                           kp_plan_verification *ret, kp_err *err)
{
    kp_plan_verification out = {.verdict = verdict->verdict, .covered = verdict->covered};
    out.not_covered = KP_NEW(arena, const char *, KP_OP_COUNT);
    if (!out.not_covered) return kp_nomem(err);
    for (uint32_t i = 0; i < verdict->n_checks; i++) {
        const kp_check *check = &verdict->checks[i];
        const char *op = kp_op_names[check->op];
        if (check->state != KP_CHECK_NOT_COVERED)
            out.checks++;
        else if (!listed(out.not_covered, out.n_not_covered, op))
            out.not_covered[out.n_not_covered++] = op;
    }
    KP_TRY(kp_time_str(at_ms, arena, &out.at, err));
    *ret = out;
    return KP_OK;
}

static kp_status last_read(kp_store *store, const char *plan, kp_arena *arena,
                           kp_plan_verification *ret, kp_err *err)
{
    sqlite3_stmt *row = NULL;
    kp_verdict verdict;
    const kp_sql_arg args[] = {kp_sql_text(":plan", plan)};
    KP_TRY(kp_sql_start(store, KP_SQL_VERIFICATION_LAST, args, KP_LEN(args), err));
    KP_TRY(kp_sql_row(store, KP_SQL_VERIFICATION_LAST, &row, err));
    if (!row) return KP_OK;
    KP_TRY(
        kp_sql_body(store, row, 0, &kp_schema_verdict, "verdict on", plan, arena, &verdict, err));
    return kp_verdict_short(&verdict, sqlite3_column_int64(row, 1), arena, ret, err);
}

kp_status kp_verification_last(kp_store *store, const char *plan, kp_arena *arena,
                               kp_plan_verification *ret, kp_err *err)
{
    kp_status status = last_read(store, plan, arena, ret, err);
    kp_sql_end(store, KP_SQL_VERIFICATION_LAST);
    return status;
}
