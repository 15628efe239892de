/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out, and rows that somebody edited. */
#include "tests/store/fixture.h"

#include <sqlite3.h>

/* Allocation n fails, for each n: a status, and the store goes on. */
static kp_status read_all(fixture *f, kp_arena *arena, kp_err *err)
{
    kp_nodes nodes;
    kp_plan plan;
    kp_plans plans;
    kp_leases leases;
    kp_store_lease *live;
    kp_fence *fences;
    kp_store_request request;
    uint32_t n;
    bool found;
    KP_TRY(kp_store_nodes(f->store, arena, &nodes, err));
    KP_TRY(kp_store_plan_get(f->store, "pl_1", arena, &plan, err));
    KP_TRY(kp_store_plans(f->store, 9, arena, &plans, err));
    KP_TRY(kp_store_leases(f->store, 9, arena, &leases, err));
    KP_TRY(kp_store_leases_live(f->store, arena, &live, &n, err));
    KP_TRY(kp_store_fences(f->store, arena, &fences, &n, err));
    return kp_store_request_find(f->store, "rq_1", arena, &request, &found, err);
}

Test(damage, out_of_memory_is_a_status)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence;
    kp_node node = kp_test_node(&f.arena, "a", 0, 2);
    kp_check check = {.layer = "lstm", .op = KP_OP_RNN, .state = KP_CHECK_NOT_COVERED};
    const kp_verdict verdict = {.plan = "pl_1", .shapes = "full", .checks = &check, .n_checks = 1};
    MUST(kp_store_node_put(f.store, &node, 1, 1, &err));
    MUST(commit(&f, 1, 0, 2, "rq_1", true, &fence, &err));
    MUST(kp_store_verification_put(f.store, &verdict, 1, &err));
    kp_status status = KP_NOMEM;
    uint64_t n = 0;
    while (status == KP_NOMEM && n < 5000) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        arena.fail_call = ++n;
        status = read_all(&f, &arena, &err);
        kp_arena_release(&arena);
    }
    cr_expect_eq(status, KP_OK, "allocation %llu: %s", (unsigned long long)n, err.msg);
    cr_expect_gt(n, 50);
    teardown(&f);
}

/* A row that somebody edited is the store's fault, and named. */
Test(damage, damaged_rows_are_named)
{
    static const struct {
        const char *sql, *says;
    } rows[] = {
        {"UPDATE plans SET body = '{}' WHERE id = 'pl_1'", "plan 'pl_1'"},
        {"UPDATE plans SET body = '{\"id\": 7}' WHERE id = 'pl_1'", "plan 'pl_1'"},
        {"UPDATE nodes SET body = '{\"name\":}'", "node 'a'"},
        {"UPDATE verifications SET body = '{}'", "verdict on 'pl_1'"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f = setup();
        kp_err err = {0};
        uint64_t fence;
        kp_node node = kp_test_node(&f.arena, "a", 0, 2);
        const kp_verdict verdict = {.plan = "pl_1", .shapes = "full"};
        MUST(kp_store_node_put(f.store, &node, 1, 1, &err));
        MUST(commit(&f, 1, 0, 2, "rq_1", true, &fence, &err));
        MUST(kp_store_verification_put(f.store, &verdict, 1, &err));
        kp_store_close(f.store);
        sqlite3 *db;
        cr_assert_eq(sqlite3_open(f.path, &db), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(db, rows[i].sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                     sqlite3_errmsg(db));
        sqlite3_close(db);
        MUST(kp_store_open(f.path, &f.store, &err));
        cr_expect_eq(read_all(&f, &f.arena, &err), KP_STORE, "row %zu", i);
        cr_expect(strstr(err.where, rows[i].says), "row %zu: %s: %s", i, err.where, err.msg);
        teardown(&f);
    }
}
