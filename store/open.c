/* SPDX-License-Identifier: MIT
 *
 * Opening, checking, upgrading and closing the file; transactions. */
#include "store/sql.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 1263553614 /* as in schema.sql */
#define VERSION        2
#define TEXT_BYTES_MAX (256 << 20) /* a plan of 4096 ranks takes about 4 MB */

extern const char kp_text_schema_sql[], kp_text_upgrade_1_sql[];

/* Upgrades: one step for each older version that a file may have. The first makes a new file. */
static const kp_store_step steps[] = {
    {0, kp_text_schema_sql},
    {1, kp_text_upgrade_1_sql},
};

static kp_status bad_file(const char *path, kp_err *err, const char *why, const char *hint)
{
    kp_fail(err, KP_STORE, "store '%s' %s", path, why);
    kp_hint(err, "%s", hint);
    return KP_STORE;
}

/* What can be told without SQLite, whose messages for these cases help nobody. */
static kp_status check_path(const char *path, kp_err *err)
{
    struct stat info;
    if (!path[0]) return kp_fail(err, KP_USAGE, "the store's file name is empty");
    if (stat(path, &info) != 0) {
        if (errno == ENOENT) return KP_OK;
        return kp_fail(err, KP_STORE, "store '%s': %s", path, strerror(errno));
    }
    if (S_ISDIR(info.st_mode))
        return bad_file(path, err, "is a folder", "name a file in it: --store FOLDER/kplan.db");
    if (!S_ISREG(info.st_mode))
        return bad_file(path, err, "is not a regular file", "name a file on a local disk");
    if (access(path, R_OK | W_OK) != 0)
        return kp_fail(err, KP_STORE, "store '%s' cannot be written: %s", path, strerror(errno));
    return KP_OK;
}

static kp_status run(kp_store *store, const char *sql, const char *what, kp_err *err)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? KP_OK : kp_sql_fail(store, code, what, err);
}

/* First column of the first row of a pragma, as text. */
static kp_status pragma(kp_store *store, const char *sql, char *ret, size_t size, kp_err *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    const unsigned char *text = code == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    if (text) snprintf(ret, size, "%s", (const char *)text);
    kp_status status = text ? KP_OK : kp_sql_fail(store, code, sql, err);
    sqlite3_finalize(statement);
    return status;
}

static kp_status expect(kp_store *store, const char *sql, const char *want, kp_err *err)
{
    char got[256] = "";
    KP_TRY(pragma(store, sql, got, sizeof(got), err));
    if (!strcmp(got, want)) return KP_OK;
    return kp_fail(err, KP_STORE, "store '%s': '%s' gave '%s' instead of '%s'", store->path, sql,
                   got, want);
}

static kp_status version_of(kp_store *store, int *ret, kp_err *err)
{
    char text[32] = "";
    uint64_t version;
    KP_TRY(pragma(store, "PRAGMA user_version", text, sizeof(text), err));
    if (kp_parse_u64(text, 0, INT32_MAX, &version, err) != KP_OK)
        return bad_file(store->path, err, "has a version that is no number", "it is not kplan's");
    *ret = (int)version;
    return KP_OK;
}

/* Whose file this is. The first read takes the lock, so a second daemon is found here too. */
static kp_status check_owner(kp_store *store, kp_err *err)
{
    char id[32] = "", objects[32] = "";
    sqlite3_stmt *probe = NULL;
    int code =
        sqlite3_prepare_v2(store->db, "SELECT count(*) FROM sqlite_schema", -1, &probe, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(probe);
    if (code == SQLITE_ROW) snprintf(objects, sizeof(objects), "%d", sqlite3_column_int(probe, 0));
    sqlite3_finalize(probe);
    if ((code & 0xff) == SQLITE_NOTADB)
        return bad_file(store->path, err, "is not a kplan store", "it has another format");
    if (code != SQLITE_ROW) return kp_sql_fail(store, code, "reading", err);
    KP_TRY(pragma(store, "PRAGMA application_id", id, sizeof(id), err));
    char want[32];
    snprintf(want, sizeof(want), "%d", APPLICATION_ID);
    if (strcmp(id, want) && (strcmp(id, "0") || strcmp(objects, "0")))
        return bad_file(store->path, err, "is another program's database", "name another file");
    return KP_OK;
}

kp_status kp_store_upgrade(kp_store *store, const kp_store_step *list, size_t n_steps, int target,
                           kp_err *err)
{
    int version;
    KP_TRY(version_of(store, &version, err));
    if (version > target) {
        kp_fail(err, KP_STORE, "store '%s' has version %d, this program knows up to %d",
                store->path, version, target);
        kp_hint(err, "a newer kpland wrote it; run that one");
        return KP_STORE;
    }
    while (version < target) {
        int before = version;
        size_t i = 0;
        while (i < n_steps && list[i].from != version) i++;
        if (i == n_steps)
            return kp_fail(err, KP_STORE, "store '%s' has version %d, which cannot be upgraded",
                           store->path, version);
        KP_TRY(run(store, "BEGIN IMMEDIATE", "upgrading", err));
        kp_status status = run(store, list[i].text, "upgrading", err);
        if (status == KP_OK) status = run(store, "COMMIT", "upgrading", err);
        if (status != KP_OK) {
            if (!sqlite3_get_autocommit(store->db)) run(store, "ROLLBACK", "upgrading", NULL);
            return status;
        }
        KP_TRY(version_of(store, &version, err));
        assert(version > before);
    }
    return KP_OK;
}

/* Once everything is prepared, nothing else may be: no statement can be made from data. Set before
 * the first is prepared, because setting an authorizer makes SQLite prepare all again. */
static int nothing_new(void *arg, int action, const char *a, const char *b, const char *c,
                       const char *d)
{
    (void)action, (void)a, (void)b, (void)c, (void)d;
    const kp_store *store = arg;
    return store->sealed ? SQLITE_DENY : SQLITE_OK;
}

static kp_status harden(kp_store *store, kp_err *err)
{
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, 0);
    sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, TEXT_BYTES_MAX);
    sqlite3_limit(store->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(store->db, SQLITE_LIMIT_TRIGGER_DEPTH, 0);
    sqlite3_set_authorizer(store->db, nothing_new, store);
    int on = 0;
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, &on);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, &on);
    return run(store,
               "PRAGMA locking_mode = EXCLUSIVE; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;"
               "PRAGMA temp_store = MEMORY",
               "setting up", err);
}

static kp_status set_up(kp_store *store, kp_err *err)
{
    KP_TRY(harden(store, err));
    KP_TRY(check_owner(store, err));
    KP_TRY(expect(store, "PRAGMA journal_mode = WAL", "wal", err));
    KP_TRY(run(store, "PRAGMA synchronous = FULL", "setting up", err));
    KP_TRY(expect(store, "PRAGMA synchronous", "2", err));
    KP_TRY(run(store, "PRAGMA foreign_keys = ON", "setting up", err));
    KP_TRY(kp_store_upgrade(store, steps, KP_LEN(steps), VERSION, err));
    KP_TRY(expect(store, "PRAGMA quick_check", "ok", err));
    KP_TRY(kp_sql_prepare_all(store, err));
    store->sealed = true;
    return KP_OK;
}

kp_status kp_store_open(const char *path, kp_store **ret, kp_err *err)
{
    KP_TRY(check_path(path, err));
    kp_store *store = calloc(1, sizeof(*store));
    if (store) store->path = strdup(path);
    if (!store || !store->path) {
        free(store);
        return kp_nomem(err);
    }
    int code = sqlite3_open_v2(path, &store->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_EXRESCODE,
                               NULL);
    kp_status status = KP_OK;
    if (code != SQLITE_OK && store->db)
        status = kp_fail(err, KP_STORE, "store '%s' cannot be opened: %s", path,
                         strerror(sqlite3_system_errno(store->db)));
    else if (code != SQLITE_OK)
        status = kp_nomem(err);
    if (status == KP_OK) status = set_up(store, err);
    if (status != KP_OK) {
        kp_store_close(store);
        return status;
    }
    *ret = store;
    return KP_OK;
}

void kp_store_close(kp_store *store)
{
    if (!store) return;
    for (size_t i = 0; i < KP_SQL_COUNT; i++) sqlite3_finalize(store->statements[i]);
    int code = sqlite3_close(store->db);
    assert(code == SQLITE_OK);
    (void)code;
    free(store->path);
    free(store);
}

bool kp_store_broken(const kp_store *store)
{
    return store->broken;
}

kp_status kp_store_begin(kp_store *store, kp_err *err)
{
    if (store->lost)
        return kp_fail(err, KP_STORE, "store '%s': the transaction was undone", store->path);
    KP_TRY(kp_sql_do(store, store->depth ? KP_SQL_SAVE : KP_SQL_BEGIN, NULL, 0, NULL, err));
    store->depth++;
    return KP_OK;
}

kp_status kp_store_commit(kp_store *store, kp_err *err)
{
    assert(store->depth > 0);
    if (store->lost) {
        kp_store_undo(store);
        return kp_fail(err, KP_STORE, "store '%s': the transaction was undone", store->path);
    }
    kp_sql which = store->depth > 1 ? KP_SQL_KEEP : KP_SQL_COMMIT;
    kp_status status = kp_sql_do(store, which, NULL, 0, NULL, err);
    if (status != KP_OK) {
        kp_store_undo(store);
        return status;
    }
    store->depth--;
    return KP_OK;
}

void kp_store_undo(kp_store *store)
{
    assert(store->depth > 0);
    store->depth--;
    if (sqlite3_get_autocommit(store->db)) store->lost = true;
    if (!store->lost && !store->broken) {
        bool inner = store->depth > 0;
        kp_status status =
            kp_sql_do(store, inner ? KP_SQL_UNDO : KP_SQL_ROLLBACK, NULL, 0, NULL, NULL);
        if (status == KP_OK && inner) status = kp_sql_do(store, KP_SQL_KEEP, NULL, 0, NULL, NULL);
        if (status != KP_OK) store->lost = true;
        if (status != KP_OK && !inner) store->broken = true; /* SQLite still has it open */
    }
    if (store->depth == 0) store->lost = false;
}

kp_status kp_store_end(kp_store *store, kp_status status, kp_err *err)
{
    if (status == KP_OK) return kp_store_commit(store, err);
    kp_store_undo(store);
    return status;
}
