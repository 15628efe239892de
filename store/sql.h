/* SPDX-License-Identifier: MIT
 *
 * store/sql.h — the store's inside: the statements, and how they are bound and run. */
#ifndef KP_STORE_SQL_H
#define KP_STORE_SQL_H

#include "store/store.h"
#include <sqlite3.h>

/* One row a statement; the text stands in sql.c. */
typedef enum kp_sql {
    KP_SQL_BEGIN,
    KP_SQL_COMMIT,
    KP_SQL_ROLLBACK,
    KP_SQL_SAVE,
    KP_SQL_KEEP,
    KP_SQL_UNDO,
    KP_SQL_COUNTER_GET,
    KP_SQL_COUNTER_NEXT,
    KP_SQL_COUNTER_RAISE,
    KP_SQL_NODE_PUT,
    KP_SQL_NODE_SAME,
    KP_SQL_NODES,
    KP_SQL_GPUS_DROP,
    KP_SQL_GPU_PUT,
    KP_SQL_MODEL_PUT,
    KP_SQL_PLAN_PUT,
    KP_SQL_PLAN_GET,
    KP_SQL_PLANS,
    KP_SQL_LEASE_PUT,
    KP_SQL_LEASE_GET,
    KP_SQL_LEASE_OF_PLAN,
    KP_SQL_LEASE_SET,
    KP_SQL_LEASE_NOTE,
    KP_SQL_LEASES,
    KP_SQL_LEASES_LIVE,
    KP_SQL_LEASE_GPU_PUT,
    KP_SQL_LEASE_GPUS,
    KP_SQL_LEASE_GPUS_END,
    KP_SQL_GPU_HOLDER,
    KP_SQL_FENCE_PUT,
    KP_SQL_FENCES,
    KP_SQL_VERIFICATION_PUT,
    KP_SQL_VERIFICATION_LAST,
    KP_SQL_REQUEST_FIND,
    KP_SQL_REQUEST_NEW,
    KP_SQL_REQUEST_DONE,
    KP_SQL_REQUESTS_FORGET,
    KP_SQL_AUDIT_PUT,
    KP_SQL_COUNT
} kp_sql;

struct kp_store {
    sqlite3 *db;
    sqlite3_stmt *statements[KP_SQL_COUNT];
    char *path;     /* for messages */
    unsigned depth; /* open transactions, nested ones counted */
    bool lost;      /* an error undid the whole transaction */
    bool broken;    /* first I/O error or corruption seen */
    bool sealed;    /* all is prepared: nothing new may be */
};

/* A value for a named parameter. */
typedef struct kp_sql_arg {
    const char *name; /* ":id" */
    enum { KP_SQL_TEXT, KP_SQL_INT, KP_SQL_REAL, KP_SQL_BLOB } type;
    const char *text; /* NULL binds NULL */
    int64_t integer;
    double real;
    kp_bytes blob; /* data NULL binds NULL */
} kp_sql_arg;

/* The values live until the statement is ended. */
kp_sql_arg kp_sql_text(const char *name, const char *text);
kp_sql_arg kp_sql_int(const char *name, int64_t value);
kp_sql_arg kp_sql_real(const char *name, double value);
kp_sql_arg kp_sql_blob(const char *name, kp_bytes bytes);

/* Prepares all statements: a wrong one fails the start, not the first plan. */
kp_status kp_sql_prepare_all(kp_store *store, kp_err *err);

/* Binds all parameters (asserts that each one has a value) and makes ready to step. */
kp_status kp_sql_start(kp_store *store, kp_sql which, const kp_sql_arg *args, size_t n_args,
                       kp_err *err);
/* The next row: *ret_row NULL after the last. kp_sql_end must follow, also after a failure. */
kp_status kp_sql_row(kp_store *store, kp_sql which, sqlite3_stmt **ret_row, kp_err *err);
void kp_sql_end(kp_store *store, kp_sql which);

/* Start, run to the end, end. ret_changes (may be NULL): rows changed. */
kp_status kp_sql_do(kp_store *store, kp_sql which, const kp_sql_arg *args, size_t n_args,
                    int *ret_changes, kp_err *err);

/* A column as text in the arena; NULL column: *ret NULL. */
kp_status kp_sql_column(sqlite3_stmt *row, int column, kp_arena *arena, const char **ret,
                        kp_err *err);

/* The column's JSON as a message. A text that does not read is the store's fault: KP_STORE, with
 * `what` and `id` as the place. */
kp_status kp_sql_body(kp_store *store, sqlite3_stmt *row, int column, const kp_schema *schema,
                      const char *what, const char *id, kp_arena *arena, void *ret, kp_err *err);

/* SQLite's error as ours; marks the store broken after an I/O error or corruption. */
kp_status kp_sql_fail(kp_store *store, int code, const char *what, kp_err *err);

/* One line of the audit, in the open transaction. */
kp_status kp_store_audit(kp_store *store, int64_t now_ms, const char *actor, const char *verb,
                         const char *object, const char *detail, kp_err *err);

/* Ends a verb's transaction: commits if status is KP_OK, else takes back; the status to return. */
kp_status kp_store_end(kp_store *store, kp_status status, kp_err *err);

/* From a file of an older version to this one, in one transaction; sets version and texts. */
typedef struct kp_store_step {
    int from;         /* user_version that it upgrades */
    const char *text; /* sets user_version to a higher one */
} kp_store_step;
kp_status kp_store_upgrade(kp_store *store, const kp_store_step *steps, size_t n_steps, int target,
                           kp_err *err);

/* ---- between the files of this folder ---- */

/* The revision counter is at least `revision` from now on. */
kp_status kp_revision_raise(kp_store *store, uint64_t revision, kp_err *err);

/* GPUs and times of a lease row (KP_SQL_LEASE_GET's columns) into *ret. */
kp_status kp_lease_read(sqlite3_stmt *row, kp_arena *arena, kp_lease *ret, kp_err *err);
kp_status kp_lease_gpus(kp_store *store, kp_arena *arena, kp_lease *ret, kp_err *err);
kp_status kp_time_str(int64_t unix_ms, kp_arena *arena, const char **ret, kp_err *err);
kp_status kp_verification_last(kp_store *store, const char *plan, kp_arena *arena,
                               kp_plan_verification *ret, kp_err *err);

#endif
