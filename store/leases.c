/* SPDX-License-Identifier: MIT
 *
 * Leases: who may use which GPUs until when. */
#include "store/sql.h"

const char *const kp_lease_action_names[] = {
    [KP_LEASE_RENEW] = "renew",
    [KP_LEASE_CONFIRM] = "confirm",
    [KP_LEASE_RELEASE] = "release",
    [KP_LEASE_EXPIRE] = "expire",
};
_Static_assert(KP_LEN(kp_lease_action_names) == KP_LEASE_ACTION_COUNT, "one name an action");

/* What an action does: the state after it (renewing keeps the state), and its line of the audit. */
static const struct {
    bool ends, keeps_state;
    kp_lease_state state;
    const char *verb;
} actions[] = {
    [KP_LEASE_RENEW] = {false, true, KP_LEASE_HELD, "lease.renew"},
    [KP_LEASE_CONFIRM] = {false, false, KP_LEASE_CONFIRMED, "lease.confirm"},
    [KP_LEASE_RELEASE] = {true, false, KP_LEASE_RELEASED, "lease.release"},
    [KP_LEASE_EXPIRE] = {true, false, KP_LEASE_EXPIRED, "lease.expire"},
};
_Static_assert(KP_LEN(actions) == KP_LEASE_ACTION_COUNT, "one row an action");

kp_status kp_time_str(int64_t unix_ms, kp_arena *arena, const char **ret, kp_err *err)
{
    *ret = kp_arena_str(arena, kp_time_text(unix_ms).s);
    return *ret ? KP_OK : kp_nomem(err);
}

kp_status kp_lease_read(sqlite3_stmt *row, kp_arena *arena, kp_lease *ret, kp_err *err)
{
    const char *state;
    KP_TRY(kp_sql_column(row, 0, arena, &ret->id, err));
    KP_TRY(kp_sql_column(row, 1, arena, &ret->plan, err));
    KP_TRY(kp_sql_column(row, 3, arena, &ret->owner, err));
    KP_TRY(kp_sql_column(row, 4, arena, &state, err));
    KP_TRY(kp_time_str(sqlite3_column_int64(row, 5), arena, &ret->granted, err));
    KP_TRY(kp_time_str(sqlite3_column_int64(row, 6), arena, &ret->expires, err));
    ret->fence = (uint64_t)sqlite3_column_int64(row, 2);
    for (size_t i = 0; i < KP_LEASE_STATE_COUNT; i++)
        if (!strcmp(state, kp_lease_state_names[i])) ret->state = (kp_lease_state)i;
    return KP_OK;
}

static kp_status gpus_read(kp_store *store, kp_arena *arena, kp_lease *ret, kp_err *err)
{
    size_t n = 0, cap = 0;
    const char **gpus = NULL;
    sqlite3_stmt *row;
    const kp_sql_arg args[] = {kp_sql_text(":lease", ret->id)};
    KP_TRY(kp_sql_start(store, KP_SQL_LEASE_GPUS, args, KP_LEN(args), err));
    for (;;) {
        KP_TRY(kp_sql_row(store, KP_SQL_LEASE_GPUS, &row, err));
        if (!row) break;
        if (!KP_GROW(arena, gpus, n, cap)) return kp_nomem(err);
        KP_TRY(kp_sql_column(row, 0, arena, &gpus[n], err));
        n++;
    }
    ret->gpus = gpus;
    ret->n_gpus = (uint32_t)n;
    return KP_OK;
}

kp_status kp_lease_gpus(kp_store *store, kp_arena *arena, kp_lease *ret, kp_err *err)
{
    kp_status status = gpus_read(store, arena, ret, err);
    kp_sql_end(store, KP_SQL_LEASE_GPUS);
    return status;
}

/* One lease with its times; its GPUs are not read. */
static kp_status lease_get(kp_store *store, const char *id, kp_arena *arena, kp_store_lease *ret,
                           kp_err *err)
{
    sqlite3_stmt *row = NULL;
    const kp_sql_arg args[] = {kp_sql_text(":id", id)};
    kp_status status = kp_sql_start(store, KP_SQL_LEASE_GET, args, KP_LEN(args), err);
    if (status == KP_OK) status = kp_sql_row(store, KP_SQL_LEASE_GET, &row, err);
    if (status == KP_OK && !row) status = kp_fail(err, KP_INPUT, "there is no lease '%s'", id);
    if (status == KP_OK) status = kp_lease_read(row, arena, &ret->lease, err);
    if (status == KP_OK) {
        ret->remaining_ms = sqlite3_column_int64(row, 7);
        ret->length_ms = sqlite3_column_int64(row, 8);
    }
    kp_sql_end(store, KP_SQL_LEASE_GET);
    return status;
}

static kp_status lease_set(kp_store *store, const kp_store_lease *lease, int64_t expires_ms,
                           kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":id", lease->lease.id),
        kp_sql_text(":state", kp_lease_state_names[lease->lease.state]),
        kp_sql_int(":expires", expires_ms),
        kp_sql_int(":length", lease->length_ms),
        kp_sql_int(":remaining", lease->remaining_ms),
    };
    return kp_sql_do(store, KP_SQL_LEASE_SET, args, KP_LEN(args), NULL, err);
}

static kp_status lease_change(kp_store *store, const char *id, kp_lease_action action,
                              const char *actor, int64_t lease_ms, int64_t now_ms, kp_arena *arena,
                              kp_lease *ret, kp_err *err)
{
    kp_store_lease lease = {0};
    KP_TRY(lease_get(store, id, arena, &lease, err));
    if (lease.lease.state != KP_LEASE_HELD && lease.lease.state != KP_LEASE_CONFIRMED) {
        kp_fail(err, KP_CONFLICT, "lease '%s' is %s since %s", id,
                kp_lease_state_names[lease.lease.state], lease.lease.expires);
        kp_hint(err, "its GPUs may be someone else's; submit again");
        return KP_CONFLICT;
    }
    if (!actions[action].keeps_state) lease.lease.state = actions[action].state;
    if (lease_ms > 0) lease.length_ms = lease_ms;
    lease.remaining_ms = actions[action].ends ? 0 : lease.length_ms;
    int64_t expires_ms = now_ms + lease.remaining_ms;
    KP_TRY(lease_set(store, &lease, expires_ms, err));
    const kp_sql_arg args[] = {kp_sql_text(":lease", id)};
    if (actions[action].ends)
        KP_TRY(kp_sql_do(store, KP_SQL_LEASE_GPUS_END, args, KP_LEN(args), NULL, err));
    KP_TRY(kp_lease_gpus(store, arena, &lease.lease, err));
    KP_TRY(kp_time_str(expires_ms, arena, &lease.lease.expires, err));
    *ret = lease.lease;
    return kp_store_audit(store, now_ms, actor ? actor : lease.lease.owner, actions[action].verb,
                          id, lease.lease.plan, err);
}

kp_status kp_store_lease_change(kp_store *store, const char *id, kp_lease_action action,
                                const char *actor, int64_t lease_ms, int64_t now_ms,
                                kp_arena *arena, kp_lease *ret, kp_err *err)
{
    KP_TRY(kp_store_begin(store, err));
    kp_lease lease = {0};
    kp_status status = lease_change(store, id, action, actor, lease_ms, now_ms, arena, &lease, err);
    KP_TRY(kp_store_end(store, status, err));
    *ret = lease;
    return KP_OK;
}

/* All rows of a statement that gives lease columns. */
static kp_status rows_read(kp_store *store, kp_sql which, const kp_sql_arg *args, size_t n_args,
                           kp_arena *arena, kp_store_lease **ret, uint32_t *ret_n, kp_err *err)
{
    size_t n = 0, cap = 0;
    kp_store_lease *leases = NULL;
    sqlite3_stmt *row;
    KP_TRY(kp_sql_start(store, which, args, n_args, err));
    for (;;) {
        KP_TRY(kp_sql_row(store, which, &row, err));
        if (!row) break;
        if (!KP_GROW(arena, leases, n, cap)) return kp_nomem(err);
        leases[n] = (kp_store_lease){0};
        KP_TRY(kp_lease_read(row, arena, &leases[n].lease, err));
        leases[n].remaining_ms = sqlite3_column_int64(row, 7);
        leases[n].length_ms = sqlite3_column_int64(row, 8);
        KP_TRY(kp_lease_gpus(store, arena, &leases[n].lease, err));
        n++;
    }
    *ret = leases;
    *ret_n = (uint32_t)n;
    return KP_OK;
}

kp_status kp_store_leases(kp_store *store, uint32_t limit, kp_arena *arena, kp_leases *ret,
                          kp_err *err)
{
    kp_store_lease *rows;
    uint32_t n;
    const kp_sql_arg args[] = {kp_sql_int(":limit", limit)};
    kp_status status = rows_read(store, KP_SQL_LEASES, args, KP_LEN(args), arena, &rows, &n, err);
    kp_sql_end(store, KP_SQL_LEASES);
    KP_TRY(status);
    kp_lease *leases = KP_NEW(arena, kp_lease, n);
    if (!leases) return kp_nomem(err);
    for (uint32_t i = 0; i < n; i++) leases[i] = rows[i].lease;
    *ret = (kp_leases){.leases = leases, .n_leases = n};
    return KP_OK;
}

kp_status kp_store_leases_live(kp_store *store, kp_arena *arena, kp_store_lease **ret,
                               uint32_t *ret_n, kp_err *err)
{
    kp_status status = rows_read(store, KP_SQL_LEASES_LIVE, NULL, 0, arena, ret, ret_n, err);
    kp_sql_end(store, KP_SQL_LEASES_LIVE);
    return status;
}

kp_status kp_store_lease_note(kp_store *store, const char *id, int64_t remaining_ms, int64_t now_ms,
                              kp_err *err)
{
    if (remaining_ms < 0) remaining_ms = 0;
    const kp_sql_arg args[] = {
        kp_sql_text(":id", id),
        kp_sql_int(":remaining", remaining_ms),
        kp_sql_int(":expires", now_ms + remaining_ms),
    };
    return kp_sql_do(store, KP_SQL_LEASE_NOTE, args, KP_LEN(args), NULL, err);
}

static kp_status fences_read(kp_store *store, kp_arena *arena, kp_fence **ret, uint32_t *ret_n,
                             kp_err *err)
{
    size_t n = 0, cap = 0;
    kp_fence *fences = NULL;
    sqlite3_stmt *row;
    KP_TRY(kp_sql_start(store, KP_SQL_FENCES, NULL, 0, err));
    for (;;) {
        KP_TRY(kp_sql_row(store, KP_SQL_FENCES, &row, err));
        if (!row) break;
        if (!KP_GROW(arena, fences, n, cap)) return kp_nomem(err);
        KP_TRY(kp_sql_column(row, 0, arena, &fences[n].gpu, err));
        fences[n++].fence = (uint64_t)sqlite3_column_int64(row, 1);
    }
    *ret = fences;
    *ret_n = (uint32_t)n;
    return KP_OK;
}

kp_status kp_store_fences(kp_store *store, kp_arena *arena, kp_fence **ret, uint32_t *ret_n,
                          kp_err *err)
{
    kp_status status = fences_read(store, arena, ret, ret_n, err);
    kp_sql_end(store, KP_SQL_FENCES);
    return status;
}
