/* SPDX-License-Identifier: MIT
 *
 * Power loss at every call that reaches the disk: what was acknowledged is there and whole,
 * whatever the disk did with what was not synced. */
#include "store/store.h"
#include "tests/lib/plans.h"
#include "tests/lib/proc.h"
#include "tests/store/fault.h"

#include <criterion/criterion.h>
#include <sqlite3.h>

enum { SEEDS = 2 };

typedef struct life {
    char path[128];
    unsigned acked; /* plans 1..acked were acknowledged */
    bool released;  /* so was the release of the first one's lease */
} life;

static kp_status commit(kp_store *store, unsigned number, unsigned gpu)
{
    kp_arena arena;
    char lease[32];
    uint64_t fence;
    kp_arena_init(&arena, 0);
    kp_plan plan = kp_test_plan(&arena, number, "node0", gpu, 2);
    snprintf(lease, sizeof(lease), "ls_%u", number);
    const kp_store_commit_args args = {
        .plan = &plan, .owner = "ann", .lease = lease, .lease_ms = 60000, .now_ms = 1};
    kp_status status = kp_store_plan_commit(store, &args, &fence, NULL);
    kp_arena_release(&arena);
    return status;
}

/* Commits, a group, a release, until the power goes. */
static void live(life *l)
{
    kp_store *store;
    kp_arena arena;
    kp_lease lease;
    if (kp_store_open(l->path, &store, NULL) != KP_OK) return;
    kp_arena_init(&arena, 0);
    bool on = true;
    for (unsigned i = 1; i <= 3 && on; i++) {
        on = commit(store, i, 2 * i) == KP_OK;
        l->acked += on;
    }
    if (on) {
        on = kp_store_lease_change(store, "ls_1", KP_LEASE_RELEASE, NULL, 0, 9, &arena, &lease,
                                   NULL) == KP_OK;
        l->released = on;
    }
    if (on && kp_store_begin(store, NULL) == KP_OK) {
        bool both = commit(store, 4, 2) == KP_OK && commit(store, 5, 20) == KP_OK;
        if (!both)
            kp_store_undo(store);
        else if (kp_store_commit(store, NULL) == KP_OK)
            l->acked += 2;
    }
    kp_arena_release(&arena);
    kp_store_close(store);
}

static void check(const life *l, int nth, unsigned seed)
{
    kp_store *store;
    kp_err err = {0};
    kp_arena arena;
    kp_plan plan;
    kp_arena_init(&arena, 0);
    kp_status status = kp_store_open(l->path, &store, &err);
    cr_assert_eq(status, KP_OK, "call %d seed %u: %s", nth, seed, err.msg);
    bool have[6] = {false};
    for (unsigned i = 1; i <= 5; i++) {
        status = kp_store_plan_get(store, kp_arena_fmt(&arena, "pl_%u", i), &arena, &plan, &err);
        have[i] = status == KP_OK;
        cr_expect(status == KP_OK || (status == KP_INPUT && i > l->acked),
                  "call %d seed %u: plan %u was acknowledged: %s", nth, seed, i, err.msg);
        if (status == KP_OK) cr_expect(plan.lease && plan.n_ranks == 2);
        if (i == 1 && l->released)
            cr_expect_eq(plan.lease->state, KP_LEASE_RELEASED, "call %d seed %u", nth, seed);
    }
    cr_expect_eq(have[4], have[5], "call %d seed %u: half a group", nth, seed);
    cr_expect_eq(commit(store, 9, 90), KP_OK, "call %d seed %u: it goes on", nth, seed);
    kp_store_close(store);
    kp_arena_release(&arena);
}

Test(power, what_was_acknowledged_survives)
{
    kp_dir dir = kp_dir_make();
    kp_fault_install();
    unsigned cuts = 0;
    for (int nth = 1, hit = 1; hit; nth++)
        for (unsigned seed = 0; seed < SEEDS; seed++) {
            life l = {.path = ""};
            snprintf(l.path, sizeof(l.path), "%s/%d-%u.db", dir.path, nth, seed);
            kp_fault_power_on(nth);
            live(&l);
            hit = kp_fault_hit();
            kp_fault_power_off(seed);
            if (!hit) break;
            check(&l, nth, seed);
            cuts++;
        }
    cr_expect_gt(cuts, 100, "only %u moments were tried", cuts);
    kp_dir_remove(&dir);
}

/* The harness has teeth: the same cuts lose rows that SQLite acknowledged with synchronous=NORMAL.
 */
Test(power, weaker_settings_are_caught)
{
    kp_dir dir = kp_dir_make();
    unsigned lost = 0, cuts = 0;
    kp_fault_install();
    for (int nth = 1, hit = 1; hit; nth++) {
        char path[128];
        int acked = 0, there = 0;
        sqlite3 *db;
        sqlite3_stmt *row;
        snprintf(path, sizeof(path), "%s/%d.db", dir.path, nth);
        kp_fault_power_on(nth);
        sqlite3_open(path, &db);
        sqlite3_exec(db,
                     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                     "PRAGMA synchronous = NORMAL; CREATE TABLE t (x)",
                     NULL, NULL, NULL);
        for (int i = 0; i < 5; i++)
            acked += sqlite3_exec(db, "INSERT INTO t VALUES (1)", NULL, NULL, NULL) == SQLITE_OK;
        hit = kp_fault_hit();
        sqlite3_close(db);
        kp_fault_power_off(0);
        sqlite3_open(path, &db);
        if (sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &row, NULL) == SQLITE_OK &&
            sqlite3_step(row) == SQLITE_ROW)
            there = sqlite3_column_int(row, 0);
        sqlite3_finalize(row);
        sqlite3_close(db);
        lost += there < acked;
        cuts += hit != 0;
    }
    cr_expect_gt(lost, 0, "none of %u cuts lost anything", cuts);
    kp_dir_remove(&dir);
}
