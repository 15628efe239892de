/* SPDX-License-Identifier: MIT
 *
 * Files that are not a store, older ones, and a second opener. */
#include "store/sql.h"
#include "tests/lib/plans.h"
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

static void exec_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    int code = sqlite3_exec(db, sql, NULL, NULL, &message);
    cr_assert_eq(code, SQLITE_OK, "%s", message);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static kp_status try_open(const char *path, kp_err *err)
{
    kp_store *store;
    *err = (kp_err){0};
    kp_status status = kp_store_open(path, &store, err);
    if (status == KP_OK) kp_store_close(store);
    return status;
}

static void make_text(const char *path)
{
    kp_file_write(path, "this is a note, not a database, and long enough to look at", 58);
}
static void make_foreign(const char *path)
{
    exec_sql(path, "CREATE TABLE mine (x)");
}
static void make_foreign_id(const char *path)
{
    exec_sql(path, "PRAGMA application_id = 77");
}
static void make_newer(const char *path)
{
    kp_err err;
    cr_assert_eq(try_open(path, &err), KP_OK);
    exec_sql(path, "PRAGMA user_version = 99");
}
static void make_folder(const char *path)
{
    cr_assert_eq(mkdir(path, 0700), 0);
}
static void make_fifo(const char *path)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
}
/* A page in the middle is overwritten. */
static void make_corrupt(const char *path)
{
    kp_err err;
    cr_assert_eq(try_open(path, &err), KP_OK);
    FILE *file = fopen(path, "r+b");
    cr_assert(file);
    for (long page = 2; page < 10; page++) {
        fseek(file, page * 4096, SEEK_SET);
        for (int i = 0; i < 4096; i++) fputc(0x5a, file);
    }
    fclose(file);
}
static void make_short(const char *path)
{
    kp_err err;
    cr_assert_eq(try_open(path, &err), KP_OK);
    cr_assert_eq(truncate(path, 5000), 0);
}
static void make_nothing(const char *path)
{
    (void)path;
}
static void make_empty(const char *path)
{
    kp_file_write(path, "", 0);
}

Test(open, what_is_no_store)
{
    static const struct {
        const char *name;
        void (*make)(const char *path);
        kp_status want;
        const char *says;
    } rows[] = {
        {"new.db", make_nothing, KP_OK, ""},
        {"empty.db", make_empty, KP_OK, ""},
        {"text", make_text, KP_STORE, "is not a kplan store"},
        {"foreign", make_foreign, KP_STORE, "is another program's database"},
        {"foreign_id", make_foreign_id, KP_STORE, "is another program's database"},
        {"newer", make_newer, KP_STORE, "has version 99, this program knows up to 2"},
        {"folder", make_folder, KP_STORE, "is a folder"},
        {"fifo", make_fifo, KP_STORE, "is not a regular file"},
        {"corrupt", make_corrupt, KP_STORE, ""},
        {"short", make_short, KP_STORE, ""},
        {"no/such/folder.db", make_nothing, KP_STORE, "No such file or directory"},
        {"/proc/kplan.db", make_nothing, KP_STORE, "cannot be opened"},
    };
    kp_dir dir = kp_dir_make();
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char path[160];
        kp_err err;
        snprintf(path, sizeof(path), "%s%s%s", rows[i].name[0] == '/' ? "" : dir.path,
                 rows[i].name[0] == '/' ? "" : "/", rows[i].name);
        rows[i].make(path);
        cr_expect_eq(try_open(path, &err), rows[i].want, "%s: %s", rows[i].name, err.msg);
        cr_expect(strstr(err.msg, rows[i].says), "%s: %s", rows[i].name, err.msg);
        if (rows[i].want != KP_OK)
            cr_expect(strstr(err.msg, path), "%s: names the file: %s", rows[i].name, err.msg);
        /* What was refused is refused again: nothing was repaired or written. */
        cr_expect_eq(try_open(path, &err), rows[i].want, "%s again: %s", rows[i].name, err.msg);
    }
    kp_dir_remove(&dir);
}

Test(open, one_opener)
{
    kp_dir dir = kp_dir_make();
    char path[128];
    kp_store *store;
    kp_err err = {0};
    snprintf(path, sizeof(path), "%s/kplan.db", dir.path);
    cr_assert_eq(kp_store_open(path, &store, &err), KP_OK, "%s", err.msg);
    cr_expect_eq(try_open(path, &err), KP_STORE);
    cr_expect(strstr(err.msg, "is in use by another process"), "%s", err.msg);
    cr_expect(err.hint[0]);
    kp_store_close(store);
    cr_expect_eq(try_open(path, &err), KP_OK, "%s", err.msg);
    kp_dir_remove(&dir);
}

/* Columns of all tables, as one text. */
static char *shape_of(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *rows;
    kp_buf text;
    kp_buf_init(&text, 0);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    int code = sqlite3_prepare_v2(
        db,
        "SELECT m.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema m"
        " JOIN pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid",
        -1, &rows, NULL);
    cr_assert_eq(code, SQLITE_OK, "%s", sqlite3_errmsg(db));
    while (sqlite3_step(rows) == SQLITE_ROW)
        kp_buf_fmt(&text, "%s.%s %s %d %d\n", (const char *)sqlite3_column_text(rows, 0),
                   (const char *)sqlite3_column_text(rows, 1),
                   (const char *)sqlite3_column_text(rows, 2), sqlite3_column_int(rows, 3),
                   sqlite3_column_int(rows, 4));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return text.data;
}

/* A version 1 file is this version's without the table of fences. */
Test(open, version_1_is_upgraded_with_its_data)
{
    kp_dir dir = kp_dir_make();
    char path[128], fresh[128];
    kp_store *store;
    kp_err err = {0};
    kp_arena arena;
    uint64_t fence;
    kp_arena_init(&arena, 0);
    snprintf(path, sizeof(path), "%s/old.db", dir.path);
    snprintf(fresh, sizeof(fresh), "%s/new.db", dir.path);
    cr_assert_eq(kp_store_open(path, &store, &err), KP_OK, "%s", err.msg);
    kp_plan plan = kp_test_plan(&arena, 1, "node0", 0, 2);
    const kp_store_commit_args args = {
        .plan = &plan, .owner = "ann", .lease = "ls_1", .lease_ms = 5000, .now_ms = 1};
    cr_assert_eq(kp_store_plan_commit(store, &args, &fence, &err), KP_OK, "%s", err.msg);
    kp_store_close(store);
    exec_sql(path, "DROP TABLE fences; PRAGMA user_version = 1");
    cr_assert_eq(kp_store_open(path, &store, &err), KP_OK, "%s", err.msg);
    kp_fence *fences;
    uint32_t n;
    cr_assert_eq(kp_store_fences(store, &arena, &fences, &n, &err), KP_OK, "%s", err.msg);
    cr_assert_eq(n, 2);
    cr_expect_str_eq(fences[1].gpu, "GPU-1");
    cr_expect_eq(fences[1].fence, fence);
    kp_store_close(store);
    cr_assert_eq(try_open(fresh, &err), KP_OK);
    char *a = shape_of(path), *b = shape_of(fresh);
    cr_expect_str_eq(a, b);
    free(a);
    free(b);
    kp_arena_release(&arena);
    kp_dir_remove(&dir);
}

/* A step that fails in the middle leaves the file as it was. */
Test(open, broken_step_changes_nothing)
{
    static const kp_store_step steps[] = {
        {2, "CREATE TABLE extra (x) STRICT; PRAGMA user_version = 3"},
        {2, "CREATE TABLE extra (x INTEGER) STRICT; PRAGMA user_version = 3; INSERT INTO none "
            "VALUES (1)"},
        {2, "CREATE TABLE extra (x INTEGER) STRICT; PRAGMA user_version = 3"},
    };
    static const kp_status want[] = {KP_STORE, KP_STORE, KP_OK};
    kp_dir dir = kp_dir_make();
    char path[128];
    kp_err err = {0};
    snprintf(path, sizeof(path), "%s/kplan.db", dir.path);
    cr_assert_eq(try_open(path, &err), KP_OK);
    for (size_t i = 0; i < KP_LEN(steps); i++) {
        kp_store raw = {.path = path};
        cr_assert_eq(sqlite3_open(path, &raw.db), SQLITE_OK);
        kp_status status = kp_store_upgrade(&raw, &steps[i], 1, 3, &err);
        cr_expect_eq(status, want[i], "row %zu: %s", i, err.msg);
        sqlite3_close(raw.db);
        if (want[i] != KP_OK) cr_expect_eq(try_open(path, &err), KP_OK, "row %zu: %s", i, err.msg);
    }
    cr_expect_eq(try_open(path, &err), KP_STORE);
    kp_dir_remove(&dir);
}
