/* SPDX-License-Identifier: MIT
 *
 * All statements of the store, and the few functions that run them. */
#include "store/sql.h"

#include <assert.h>

#define LEASE_COLUMNS                                                                              \
    "id, plan, fence, owner, state, granted_ms, expires_ms, remaining_ms, length_ms"

/* clang-format off */
static const char *const texts[] = {
    [KP_SQL_BEGIN]    = "BEGIN IMMEDIATE",
    [KP_SQL_COMMIT]   = "COMMIT",
    [KP_SQL_ROLLBACK] = "ROLLBACK",
    [KP_SQL_SAVE]     = "SAVEPOINT inner_step",
    [KP_SQL_KEEP]     = "RELEASE inner_step",
    [KP_SQL_UNDO]     = "ROLLBACK TO inner_step",

    [KP_SQL_COUNTER_GET]   = "SELECT value FROM counters WHERE name = :name",
    [KP_SQL_COUNTER_NEXT]  = "UPDATE counters SET value = value + 1 WHERE name = :name RETURNING value",
    [KP_SQL_COUNTER_RAISE] = "UPDATE counters SET value = :value WHERE name = :name AND value < :value",

    [KP_SQL_NODE_PUT] =
        "INSERT INTO nodes (name, boot_epoch, simulated, state, revision, seen_ms, body)"
        " VALUES (:name, :epoch, :simulated, :state, :revision, :now, :body)"
        " ON CONFLICT (name) DO UPDATE SET boot_epoch = excluded.boot_epoch,"
        " simulated = excluded.simulated, state = excluded.state, revision = excluded.revision,"
        " seen_ms = excluded.seen_ms, body = excluded.body",
    [KP_SQL_NODE_SAME] =
        "SELECT 1 FROM nodes WHERE name = :name AND boot_epoch = :epoch AND state = :state"
        " AND (SELECT count(*) FROM gpus WHERE node = :name) = :gpus",
    [KP_SQL_NODES]     = "SELECT body, name FROM nodes ORDER BY name",
    [KP_SQL_GPUS_DROP] = "DELETE FROM gpus WHERE node = :node",
    [KP_SQL_GPU_PUT] =
        "INSERT INTO gpus (uuid, node, gpu_index, name, total_bytes, driver_reserved_bytes)"
        " VALUES (:uuid, :node, :index, :name, :total, :reserved)"
        " ON CONFLICT (uuid) DO UPDATE SET node = excluded.node, gpu_index = excluded.gpu_index,"
        " name = excluded.name, total_bytes = excluded.total_bytes,"
        " driver_reserved_bytes = excluded.driver_reserved_bytes",

    [KP_SQL_MODEL_PUT] =
        "INSERT INTO models (sha256, name, size_bytes, first_ms) VALUES (:sha256, :name, :size, :now)"
        " ON CONFLICT (sha256) DO NOTHING",
    [KP_SQL_PLAN_PUT] =
        "INSERT INTO plans (id, created_ms, request, owner, model, revision, dp, tp, pp, zero,"
        " micro_batch, micro_batches, schedule, interleave, recompute, peak_bytes, seconds, body)"
        " VALUES (:id, :now, :request, :owner, :model, :revision, :dp, :tp, :pp, :zero,"
        " :micro_batch, :micro_batches, :schedule, :interleave, :recompute, :peak, :seconds, :body)",
    [KP_SQL_PLAN_GET] = "SELECT body, created_ms FROM plans WHERE id = :id",
    [KP_SQL_PLANS] =
        "SELECT p.id, p.created_ms, m.name, p.dp, p.tp, p.pp, p.zero, p.micro_batch,"
        " p.micro_batches, p.schedule, p.interleave, p.recompute, coalesce(l.state, 'stored'),"
        " p.peak_bytes, p.seconds FROM plans p JOIN models m ON m.sha256 = p.model"
        " LEFT JOIN leases l ON l.plan = p.id ORDER BY p.created_ms DESC, p.id LIMIT :limit",

    [KP_SQL_LEASE_PUT] =
        "INSERT INTO leases (id, plan, fence, owner, state, granted_ms, expires_ms, length_ms,"
        " remaining_ms) VALUES (:id, :plan, :fence, :owner, 'held', :now, :expires, :length, :length)",
    [KP_SQL_LEASE_GET]     = "SELECT " LEASE_COLUMNS " FROM leases WHERE id = :id",
    [KP_SQL_LEASE_OF_PLAN] = "SELECT " LEASE_COLUMNS " FROM leases WHERE plan = :plan",
    [KP_SQL_LEASE_SET] =
        "UPDATE leases SET state = :state, expires_ms = :expires, length_ms = :length,"
        " remaining_ms = :remaining WHERE id = :id",
    [KP_SQL_LEASE_NOTE] =
        "UPDATE leases SET remaining_ms = :remaining, expires_ms = :expires"
        " WHERE id = :id AND state IN ('held', 'confirmed')",
    [KP_SQL_LEASES] =
        "SELECT " LEASE_COLUMNS " FROM leases WHERE state IN ('held', 'confirmed') OR id IN"
        " (SELECT id FROM leases WHERE state IN ('released', 'expired')"
        " ORDER BY granted_ms DESC, id LIMIT :limit) ORDER BY granted_ms DESC, id",
    [KP_SQL_LEASES_LIVE] =
        "SELECT " LEASE_COLUMNS " FROM leases WHERE state IN ('held', 'confirmed') ORDER BY fence",
    [KP_SQL_LEASE_GPU_PUT]  = "INSERT INTO lease_gpus (lease, gpu, live) VALUES (:lease, :gpu, 1)",
    [KP_SQL_LEASE_GPUS]     = "SELECT gpu FROM lease_gpus WHERE lease = :lease ORDER BY gpu",
    [KP_SQL_LEASE_GPUS_END] = "UPDATE lease_gpus SET live = 0 WHERE lease = :lease",
    [KP_SQL_GPU_HOLDER] =
        "SELECT l.id, l.owner, l.expires_ms FROM lease_gpus g JOIN leases l ON l.id = g.lease"
        " WHERE g.gpu = :gpu AND g.live = 1",

    [KP_SQL_FENCE_PUT] =
        "INSERT INTO fences (gpu, fence) VALUES (:gpu, :fence)"
        " ON CONFLICT (gpu) DO UPDATE SET fence = max(fence, excluded.fence)",
    [KP_SQL_FENCES] = "SELECT gpu, fence FROM fences ORDER BY gpu",

    [KP_SQL_VERIFICATION_PUT] =
        "INSERT INTO verifications (plan, at_ms, verdict, covered, body)"
        " VALUES (:plan, :now, :verdict, :covered, :body)",
    [KP_SQL_VERIFICATION_LAST] =
        "SELECT body, at_ms FROM verifications WHERE plan = :plan ORDER BY id DESC LIMIT 1",

    [KP_SQL_REQUEST_FIND] =
        "SELECT digest, plan, done, reply_type, reply FROM requests WHERE id = :id",
    [KP_SQL_REQUEST_NEW] =
        "INSERT INTO requests (id, digest, plan, done, reply_type, reply, created_ms)"
        " VALUES (:id, :digest, :plan, :done, :type, :reply, :now)",
    [KP_SQL_REQUEST_DONE] =
        "INSERT INTO requests (id, digest, plan, done, reply_type, reply, created_ms)"
        " VALUES (:id, :digest, :plan, :done, :type, :reply, :now)"
        " ON CONFLICT (id) DO UPDATE SET done = excluded.done, reply_type = excluded.reply_type,"
        " reply = excluded.reply WHERE digest = excluded.digest",
    [KP_SQL_REQUESTS_FORGET] = "DELETE FROM requests WHERE created_ms < :before",

    [KP_SQL_AUDIT_PUT] =
        "INSERT INTO audit (at_ms, actor, verb, object, detail)"
        " VALUES (:now, :actor, :verb, :object, :detail)",
};
/* clang-format on */
_Static_assert(KP_LEN(texts) == KP_SQL_COUNT, "one text a statement");

kp_sql_arg kp_sql_text(const char *name, const char *text)
{
    return (kp_sql_arg){.name = name, .type = KP_SQL_TEXT, .text = text};
}

kp_sql_arg kp_sql_int(const char *name, int64_t value)
{
    return (kp_sql_arg){.name = name, .type = KP_SQL_INT, .integer = value};
}

kp_sql_arg kp_sql_real(const char *name, double value)
{
    return (kp_sql_arg){.name = name, .type = KP_SQL_REAL, .real = value};
}

kp_sql_arg kp_sql_blob(const char *name, kp_bytes bytes)
{
    return (kp_sql_arg){.name = name, .type = KP_SQL_BLOB, .blob = bytes};
}

kp_status kp_sql_fail(kp_store *store, int code, const char *what, kp_err *err)
{
    int kind = code & 0xff;
    if (kind == SQLITE_NOMEM) return kp_nomem(err);
    if (kind == SQLITE_FULL) {
        kp_fail(err, KP_STORE, "store '%s': the disk is full", store->path);
        kp_hint(err, "free some space there; nothing was changed, and reading goes on");
        return KP_STORE;
    }
    if (kind == SQLITE_BUSY) {
        kp_fail(err, KP_STORE, "store '%s' is in use by another process", store->path);
        kp_hint(err, "one kpland has one store; stop the other one or name another file");
        return KP_STORE;
    }
    if (kind == SQLITE_CONSTRAINT)
        return kp_fail(err, KP_CONFLICT, "store '%s': %s", store->path, sqlite3_errmsg(store->db));
    if (kind == SQLITE_IOERR || kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB ||
        kind == SQLITE_CANTOPEN)
        store->broken = true;
    return kp_fail(err, KP_STORE, "store '%s': %s: %s (SQLite error %d)", store->path, what,
                   sqlite3_errmsg(store->db), sqlite3_extended_errcode(store->db));
}

kp_status kp_sql_prepare_all(kp_store *store, kp_err *err)
{
    for (size_t i = 0; i < KP_SQL_COUNT; i++) {
        int code = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &store->statements[i], NULL);
        if (code != SQLITE_OK) return kp_sql_fail(store, code, "preparing a statement", err);
    }
    return KP_OK;
}

static int bind(sqlite3_stmt *statement, const kp_sql_arg *arg)
{
    int at = sqlite3_bind_parameter_index(statement, arg->name);
    assert(at > 0);
    switch (arg->type) {
    case KP_SQL_TEXT:
        return sqlite3_bind_text(statement, at, arg->text, -1, SQLITE_STATIC);
    case KP_SQL_INT:
        return sqlite3_bind_int64(statement, at, arg->integer);
    case KP_SQL_REAL:
        return sqlite3_bind_double(statement, at, arg->real);
    case KP_SQL_BLOB:
        return sqlite3_bind_blob64(statement, at, arg->blob.data, arg->blob.len, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

kp_status kp_sql_start(kp_store *store, kp_sql which, const kp_sql_arg *args, size_t n_args,
                       kp_err *err)
{
    sqlite3_stmt *statement = store->statements[which];
    if (store->broken)
        return kp_fail(err, KP_STORE, "store '%s' failed before: nothing is written any more",
                       store->path);
    assert(sqlite3_bind_parameter_count(statement) == (int)n_args);
    for (size_t i = 0; i < n_args; i++) {
        int code = bind(statement, &args[i]);
        if (code != SQLITE_OK) return kp_sql_fail(store, code, "binding a value", err);
    }
    return KP_OK;
}

kp_status kp_sql_row(kp_store *store, kp_sql which, sqlite3_stmt **ret_row, kp_err *err)
{
    int code = sqlite3_step(store->statements[which]);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        if (store->depth > 0 && sqlite3_get_autocommit(store->db)) store->lost = true;
        return kp_sql_fail(store, code, "running a statement", err);
    }
    *ret_row = code == SQLITE_ROW ? store->statements[which] : NULL;
    return KP_OK;
}

void kp_sql_end(kp_store *store, kp_sql which)
{
    sqlite3_reset(store->statements[which]);
    sqlite3_clear_bindings(store->statements[which]);
}

kp_status kp_sql_do(kp_store *store, kp_sql which, const kp_sql_arg *args, size_t n_args,
                    int *ret_changes, kp_err *err)
{
    sqlite3_stmt *row = NULL;
    kp_status status = kp_sql_start(store, which, args, n_args, err);
    if (status == KP_OK) do
            status = kp_sql_row(store, which, &row, err);
        while (status == KP_OK && row);
    if (status == KP_OK && ret_changes) *ret_changes = sqlite3_changes(store->db);
    kp_sql_end(store, which);
    return status;
}

kp_status kp_sql_column(sqlite3_stmt *row, int column, kp_arena *arena, const char **ret,
                        kp_err *err)
{
    *ret = NULL;
    if (sqlite3_column_type(row, column) == SQLITE_NULL) return KP_OK;
    const unsigned char *text = sqlite3_column_text(row, column);
    int len = sqlite3_column_bytes(row, column);
    if (text) *ret = kp_arena_strn(arena, (const char *)text, (size_t)len);
    return *ret ? KP_OK : kp_nomem(err);
}

kp_status kp_sql_body(kp_store *store, sqlite3_stmt *row, int column, const kp_schema *schema,
                      const char *what, const char *id, kp_arena *arena, void *ret, kp_err *err)
{
    kp_err why = {0};
    const char *text = (const char *)sqlite3_column_text(row, column);
    if (!text) return kp_nomem(err);
    kp_status status =
        kp_schema_read(schema, text, (size_t)sqlite3_column_bytes(row, column), arena, ret, &why);
    if (status == KP_OK) return KP_OK;
    if (status == KP_INPUT) status = why.code = KP_STORE;
    kp_err_at(&why, "store '%s': %s '%s'", store->path, what, id);
    if (err) *err = why;
    return status;
}
