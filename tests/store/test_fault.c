/* SPDX-License-Identifier: MIT
 *
 * Full disks, dying disks, and processes that are killed: what was acknowledged is there. */
#include "store/store.h"
#include "tests/lib/plans.h"
#include "tests/lib/proc.h"
#include "tests/store/fault.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

static kp_store *must_open(const char *path)
{
    kp_store *store;
    kp_err err = {0};
    cr_assert_eq(kp_store_open(path, &store, &err), KP_OK, "%s", err.msg);
    return store;
}

static kp_status commit(kp_store *store, unsigned number, unsigned gpu, uint64_t *fence,
                        kp_err *err)
{
    kp_arena arena;
    char lease[32];
    kp_arena_init(&arena, 0);
    kp_plan plan = kp_test_plan(&arena, number, "node0", gpu, 1);
    snprintf(lease, sizeof(lease), "ls_%u", number);
    const kp_store_commit_args args = {
        .plan = &plan, .owner = "ann", .lease = lease, .lease_ms = 60000, .now_ms = 1};
    kp_status status = kp_store_plan_commit(store, &args, fence, err);
    kp_arena_release(&arena);
    return status;
}

/* KP_OK: there and whole; KP_INPUT: not there. */
static kp_status look(kp_store *store, unsigned number, kp_err *err)
{
    kp_arena arena;
    kp_plan plan;
    char id[32];
    kp_arena_init(&arena, 0);
    snprintf(id, sizeof(id), "pl_%u", number);
    kp_status status = kp_store_plan_get(store, id, &arena, &plan, err);
    if (status == KP_OK) cr_expect(plan.lease && plan.n_ranks == 1, "plan %s is half there", id);
    kp_arena_release(&arena);
    return status;
}

/* What a fault at the nth call of some kind may lead to. */
static const struct {
    const char *what;
    int write, sync, code;
    bool broken;
} kinds[] = {
    {"full disk", 1, 0, SQLITE_FULL, false},
    {"write error", 1, 0, SQLITE_IOERR_WRITE, true},
    {"sync error", 0, 1, SQLITE_IOERR_FSYNC, true},
};

/* One life of a store with a fault at the nth call; false when the fault was not reached. */
static bool live_with_fault(const char *path, size_t kind, int nth)
{
    kp_err err = {0};
    uint64_t fence;
    kp_store *store = must_open(path);
    cr_assert_eq(commit(store, 1, 1, &fence, &err), KP_OK, "%s", err.msg);
    kp_fault_arm(kinds[kind].write * nth, kinds[kind].sync * nth, kinds[kind].code);
    kp_status status = commit(store, 2, 2, &fence, &err);
    bool hit = kp_fault_hit();
    const char *what = kinds[kind].what;
    cr_expect_eq(status, hit ? KP_STORE : KP_OK, "%s %d: %s", what, nth, err.msg);
    cr_expect_eq(kp_store_broken(store), hit && kinds[kind].broken, "%s %d", what, nth);
    if (hit && !kinds[kind].broken) {
        cr_expect(strstr(err.msg, "disk is full"), "%s", err.msg);
        cr_expect_eq(look(store, 1, &err), KP_OK, "reading goes on: %s", err.msg);
        cr_expect_eq(look(store, 2, &err), KP_INPUT, "%s", err.msg);
        kp_fault_arm(0, 0, 0);
        cr_expect_eq(commit(store, 3, 3, &fence, &err), KP_OK, "writing goes on: %s", err.msg);
    } else if (hit) {
        kp_fault_arm(0, 0, 0);
        cr_expect_eq(commit(store, 3, 3, &fence, &err), KP_STORE,
                     "nothing is acknowledged any more");
        cr_expect_eq(look(store, 1, &err), KP_STORE);
    }
    kp_fault_arm(0, 0, 0);
    kp_store_close(store);
    store = must_open(path);
    cr_expect_eq(look(store, 1, &err), KP_OK, "%s %d: acknowledged, but lost", what, nth);
    cr_expect_eq(look(store, 3, &err), hit && !kinds[kind].broken ? KP_OK : KP_INPUT);
    if (!hit) cr_expect_eq(look(store, 2, &err), KP_OK);
    look(store, 2, &err); /* there or not, but whole */
    kp_store_close(store);
    return hit;
}

Test(fault, disk_fails_at_each_call)
{
    kp_dir dir = kp_dir_make();
    kp_fault_install();
    for (size_t kind = 0; kind < KP_LEN(kinds); kind++) {
        int nth = 1;
        for (bool hit = true; hit && nth < 200; nth++) {
            char path[128];
            snprintf(path, sizeof(path), "%s/%zu-%d.db", dir.path, kind, nth);
            hit = live_with_fault(path, kind, nth);
        }
        cr_expect_gt(nth, 2, "%s was never reached", kinds[kind].what);
        cr_expect_lt(nth, 200);
    }
    kp_dir_remove(&dir);
}

/* Several verbs in one transaction: after a full disk in the middle none of them happened. */
Test(fault, group_on_a_full_disk)
{
    kp_dir dir = kp_dir_make();
    char path[128];
    kp_err err = {0};
    uint64_t fence;
    snprintf(path, sizeof(path), "%s/kplan.db", dir.path);
    kp_fault_install();
    for (int nth = 1; nth < 200; nth++) {
        unlink(path);
        kp_store *store = must_open(path);
        cr_assert_eq(commit(store, 1, 1, &fence, &err), KP_OK);
        kp_fault_arm(nth, 0, SQLITE_FULL);
        kp_status status = kp_store_begin(store, &err);
        for (unsigned i = 2; i < 6 && status == KP_OK; i++)
            status = commit(store, i, i, &fence, &err);
        if (status == KP_OK)
            status = kp_store_commit(store, &err);
        else
            kp_store_undo(store);
        bool hit = kp_fault_hit();
        kp_fault_arm(0, 0, 0);
        cr_expect_eq(status, hit ? KP_STORE : KP_OK, "write %d: %s", nth, err.msg);
        for (unsigned i = 2; i < 6; i++)
            cr_expect_eq(look(store, i, &err), hit ? KP_INPUT : KP_OK, "write %d, plan %u", nth, i);
        cr_expect_eq(commit(store, 9, 9, &fence, &err), KP_OK, "%s", err.msg);
        kp_store_close(store);
        if (!hit) break;
    }
    kp_dir_remove(&dir);
}

/* ---- a writer that is killed ---- */

typedef struct writer {
    const char *path;
    int ledger;
    unsigned from;
} writer;

static int write_for_ever(void *arg)
{
    writer *w = arg;
    kp_store *store;
    kp_err err = {0};
    if (kp_store_open(w->path, &store, &err) != KP_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    fprintf(stderr, "ready\n");
    for (unsigned i = w->from;; i++) {
        char line[64];
        uint64_t fence;
        if (commit(store, i, i, &fence, &err) != KP_OK) return 2;
        int len = snprintf(line, sizeof(line), "%u %llu\n", i, (unsigned long long)fence);
        if (write(w->ledger, line, (size_t)len) != len) return 3;
    }
}

Test(fault, killed_writer_loses_nothing)
{
    enum { KILLS = 20 };
    kp_dir dir = kp_dir_make();
    char path[128], ledger_path[128];
    kp_err err = {0};
    snprintf(path, sizeof(path), "%s/kplan.db", dir.path);
    snprintf(ledger_path, sizeof(ledger_path), "%s/ledger", dir.path);
    int ledger = open(ledger_path, O_RDWR | O_CREAT | O_APPEND, 0600);
    cr_assert(ledger >= 0);
    unsigned next = 1;
    for (int round = 0; round < KILLS; round++) {
        char name[32];
        writer w = {.path = path, .ledger = 63, .from = next};
        dup2(ledger, 63);
        snprintf(name, sizeof(name), "writer%d", round);
        kp_proc proc = kp_proc_fork(&dir, name, write_for_ever, &w);
        char *said = NULL;
        bool ready = kp_proc_line(&proc, "ready", 20, NULL, 0);
        if (!ready) said = kp_file_text(proc.err_path);
        cr_assert(ready, "%s", said);
        kp_sleep(0.002 * (round % 10) + 0.001);
        kp_proc_kill(&proc);
        next += 100000;
    }
    /* Every line of the ledger is a plan, and fences only rise. */
    kp_store *store = must_open(path);
    char *text = kp_file_text(ledger_path);
    unsigned long long last = 0;
    unsigned n = 0;
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        unsigned number;
        unsigned long long fence;
        cr_assert_eq(sscanf(line, "%u %llu", &number, &fence), 2);
        cr_expect_eq(look(store, number, &err), KP_OK, "plan %u was acknowledged and is lost",
                     number);
        cr_expect_gt(fence, last);
        last = fence;
        n++;
    }
    cr_expect_gt(n, 0);
    free(text);
    kp_store_close(store);
    close(ledger);
    kp_dir_remove(&dir);
}
