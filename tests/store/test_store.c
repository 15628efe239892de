/* SPDX-License-Identifier: MIT
 *
 * Every verb of the store. */
#include "tests/store/fixture.h"

#include <math.h>
#include <sqlite3.h>

/* Rows of the audit. The store has its file for itself, so it is closed meanwhile. */
static int audit_rows(fixture *f)
{
    sqlite3 *db;
    kp_store_close(f->store);
    f->store = NULL;
    sqlite3_stmt *row;
    cr_assert_eq(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "SELECT count(*) FROM audit", -1, &row, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW);
    int n = sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(db);
    reopen(f);
    return n;
}

Test(store, nodes_come_back_as_put)
{
    fixture f = setup();
    kp_err err = {0};
    kp_nodes nodes;
    uint64_t revision;
    MUST(kp_store_nodes(f.store, &f.arena, &nodes, &err));
    cr_expect_eq(nodes.n_nodes, 0);
    kp_node b = kp_test_node(&f.arena, "b", 8, 8), a = kp_test_node(&f.arena, "a", 0, 8);
    MUST(kp_store_node_put(f.store, &b, 1, 5, &err));
    MUST(kp_store_node_put(f.store, &a, 2, 6, &err));
    a.state = KP_NODE_GONE;
    a.n_gpus = 7;
    MUST(kp_store_node_put(f.store, &a, 3, 7, &err));
    reopen(&f);
    MUST(kp_store_nodes(f.store, &f.arena, &nodes, &err));
    cr_expect_eq(nodes.revision, 3);
    cr_assert_eq(nodes.n_nodes, 2);
    cr_expect(kp_schema_equal(&kp_schema_node, &nodes.nodes[0], &a));
    cr_expect(kp_schema_equal(&kp_schema_node, &nodes.nodes[1], &b));
    /* A card that moved to another machine is that one's. */
    kp_node c = kp_test_node(&f.arena, "c", 8, 2);
    MUST(kp_store_node_put(f.store, &c, 4, 8, &err));
    /* An older revision does not count back. */
    MUST(kp_store_node_put(f.store, &b, 2, 9, &err));
    MUST(kp_store_revision(f.store, &revision, &err));
    cr_expect_eq(revision, 4);
    teardown(&f);
}

Test(store, audit_grows_by_changes_not_by_measurements)
{
    fixture f = setup();
    kp_err err = {0};
    kp_node node = kp_test_node(&f.arena, "a", 0, 8);
    for (uint64_t i = 1; i <= 5; i++) {
        node.gpus[0].free_bytes = i << 30;
        MUST(kp_store_node_put(f.store, &node, i, (int64_t)i, &err));
    }
    cr_expect_eq(audit_rows(&f), 1);
    node.state = KP_NODE_SUSPECT;
    MUST(kp_store_node_put(f.store, &node, 6, 6, &err));
    node.n_gpus = 7;
    MUST(kp_store_node_put(f.store, &node, 7, 7, &err));
    node.boot_epoch = "another";
    MUST(kp_store_node_put(f.store, &node, 8, 8, &err));
    cr_expect_eq(audit_rows(&f), 4);
    teardown(&f);
}

Test(store, plan_comes_back_with_lease_and_verdict)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence = 0;
    kp_plan got, want = kp_test_plan(&f.arena, 7, "node0", 0, 4);
    MUST(commit(&f, 7, 0, 4, "rq_7", false, &fence, &err));
    cr_expect_eq(fence, 1);
    reopen(&f);
    MUST(kp_store_plan_get(f.store, "pl_7", &f.arena, &got, &err));
    cr_assert(got.lease && got.created);
    cr_expect_str_eq(got.created, kp_time_text(1000007).s);
    cr_expect_str_eq(got.lease->id, "ls_7");
    cr_expect_eq(got.lease->fence, 1);
    cr_expect_str_eq(got.lease->expires, kp_time_text(1060007).s);
    cr_expect_eq(got.lease->state, KP_LEASE_HELD);
    cr_expect_eq(got.verification.verdict, KP_VERDICT_NONE);
    kp_check checks[] = {
        {.layer = "dense", .op = KP_OP_MATMUL, .cut = KP_CUT_BATCH, .ranks = 4, .error = 0},
        {.layer = "lstm", .op = KP_OP_RNN, .cut = KP_CUT_BATCH, .state = KP_CHECK_NOT_COVERED},
    };
    const kp_verdict verdict = {.plan = "pl_7",
                                .verdict = KP_VERDICT_VERIFIED,
                                .covered = 0.75,
                                .shapes = "reduced",
                                .checks = checks,
                                .n_checks = 2};
    MUST(kp_store_verification_put(f.store, &verdict, 2000000, &err));
    MUST(kp_store_plan_get(f.store, "pl_7", &f.arena, &got, &err));
    cr_expect_eq(got.verification.verdict, KP_VERDICT_VERIFIED);
    cr_expect_eq(got.verification.covered, 0.75);
    cr_expect_eq(got.verification.checks, 1);
    cr_assert_eq(got.verification.n_not_covered, 1);
    cr_expect_str_eq(got.verification.not_covered[0], "rnn");
    cr_expect_str_eq(got.verification.at, kp_time_text(2000000).s);
    got.created = NULL;
    got.lease = NULL;
    got.verification = want.verification;
    cr_expect(kp_schema_equal(&kp_schema_plan, &got, &want));
    cr_expect_eq(kp_store_plan_get(f.store, "pl_8", &f.arena, &got, &err), KP_INPUT);
    cr_expect_str_eq(err.msg, "there is no plan 'pl_8'");
    const kp_verdict stranger = {.plan = "pl_8", .shapes = "full"};
    cr_expect_eq(kp_store_verification_put(f.store, &stranger, 1, &err), KP_INPUT);
    teardown(&f);
}

Test(store, no_gpu_is_in_two_live_leases)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence = 0, last = 0;
    kp_lease lease;
    MUST(commit(&f, 1, 0, 4, NULL, true, &last, &err));
    cr_expect_eq(commit(&f, 2, 3, 4, NULL, true, &fence, &err), KP_CONFLICT);
    cr_expect_str_eq(err.msg, "GPU 0 of node 'node0' is in lease 'ls_1' of 'ann' until "
                              "1970-01-01T00:17:40Z");
    /* Nothing of the refused one is there. */
    kp_plan plan;
    cr_expect_eq(kp_store_plan_get(f.store, "pl_2", &f.arena, &plan, NULL), KP_INPUT);
    MUST(commit(&f, 3, 4, 4, NULL, true, &fence, &err));
    cr_expect_gt(fence, last);
    last = fence;
    MUST(kp_store_lease_change(f.store, "ls_1", KP_LEASE_RELEASE, NULL, 0, 5000000, &f.arena,
                               &lease, &err));
    cr_expect_eq(lease.state, KP_LEASE_RELEASED);
    reopen(&f);
    MUST(commit(&f, 2, 0, 4, NULL, true, &fence, &err));
    cr_expect_gt(fence, last);
    kp_fence *fences;
    uint32_t n;
    MUST(kp_store_fences(f.store, &f.arena, &fences, &n, &err));
    cr_assert_eq(n, 8);
    for (uint32_t i = 0; i < n; i++)
        cr_expect_eq(fences[i].fence, i < 4 ? fence : last, "GPU %u", i);
    /* The same plan twice, and the same request twice. */
    cr_expect_eq(commit(&f, 2, 20, 1, NULL, true, &fence, &err), KP_CONFLICT);
    cr_expect_str_eq(err.msg, "plan 'pl_2' is in the store already");
    MUST(commit(&f, 4, 21, 1, "rq_1", true, &fence, &err));
    cr_expect_eq(commit(&f, 5, 22, 1, "rq_1", true, &fence, &err), KP_CONFLICT);
    cr_expect_str_eq(err.msg, "request 'rq_1' is in the store already");
    teardown(&f);
}

Test(store, lease_actions)
{
    static const struct {
        kp_lease_action first, then;
        kp_status want;
        kp_lease_state state;
        int64_t expires_ms; /* 0: not looked at */
    } rows[] = {
        {KP_LEASE_RENEW, KP_LEASE_RENEW, KP_OK, KP_LEASE_HELD, 2090000},
        {KP_LEASE_CONFIRM, KP_LEASE_RENEW, KP_OK, KP_LEASE_CONFIRMED, 2090000},
        {KP_LEASE_RENEW, KP_LEASE_RELEASE, KP_OK, KP_LEASE_RELEASED, 2000000},
        {KP_LEASE_CONFIRM, KP_LEASE_EXPIRE, KP_OK, KP_LEASE_EXPIRED, 2000000},
        {KP_LEASE_RELEASE, KP_LEASE_RENEW, KP_CONFLICT, KP_LEASE_RELEASED, 0},
        {KP_LEASE_RELEASE, KP_LEASE_RELEASE, KP_CONFLICT, KP_LEASE_RELEASED, 0},
        {KP_LEASE_EXPIRE, KP_LEASE_CONFIRM, KP_CONFLICT, KP_LEASE_EXPIRED, 0},
    };
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence;
    for (unsigned i = 0; i < KP_LEN(rows); i++) {
        kp_lease lease = {0};
        kp_plan plan;
        const char *id = kp_arena_fmt(&f.arena, "ls_%u", i);
        MUST(commit(&f, i, i, 1, NULL, true, &fence, &err));
        MUST(kp_store_lease_change(f.store, id, rows[i].first, NULL, 90000, 1500000, &f.arena,
                                   &lease, &err));
        kp_status status = kp_store_lease_change(f.store, id, rows[i].then, NULL, 0, 2000000,
                                                 &f.arena, &lease, &err);
        cr_expect_eq(status, rows[i].want, "row %u: %s", i, err.msg);
        if (rows[i].expires_ms)
            cr_expect_str_eq(lease.expires, kp_time_text(rows[i].expires_ms).s, "row %u", i);
        MUST(kp_store_plan_get(f.store, kp_arena_fmt(&f.arena, "pl_%u", i), &f.arena, &plan, &err));
        cr_expect_eq(plan.lease->state, rows[i].state, "row %u", i);
    }
    kp_lease lease;
    cr_expect_eq(
        kp_store_lease_change(f.store, "ls_99", KP_LEASE_RENEW, NULL, 0, 1, &f.arena, &lease, &err),
        KP_INPUT);
    teardown(&f);
}

Test(store, lists_are_newest_first_and_bounded)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence;
    kp_lease lease;
    kp_plans plans;
    kp_leases leases;
    for (unsigned i = 1; i <= 5; i++) MUST(commit(&f, i, i, 1, NULL, true, &fence, &err));
    for (unsigned i = 2; i <= 4; i++)
        MUST(kp_store_lease_change(f.store, kp_arena_fmt(&f.arena, "ls_%u", i), KP_LEASE_RELEASE,
                                   NULL, 0, 3000000, &f.arena, &lease, &err));
    MUST(kp_store_plans(f.store, 4, &f.arena, &plans, &err));
    cr_assert_eq(plans.n_plans, 4);
    cr_expect_str_eq(plans.plans[0].id, "pl_5");
    cr_expect_str_eq(plans.plans[0].state, "held");
    cr_expect_str_eq(plans.plans[1].state, "released");
    cr_expect_str_eq(plans.plans[0].model, "small");
    cr_expect_eq(plans.plans[0].strategy.micro_batch, 4);
    cr_expect_eq(plans.plans[0].peak_bytes, (uint64_t)30 << 30);
    /* All live ones, and one of those that ended. */
    MUST(kp_store_leases(f.store, 1, &f.arena, &leases, &err));
    cr_assert_eq(leases.n_leases, 3);
    static const char *const want[] = {"ls_5", "ls_4", "ls_1"};
    for (uint32_t i = 0; i < 3; i++) cr_expect_str_eq(leases.leases[i].id, want[i]);
    cr_expect_eq(leases.leases[0].n_gpus, 1);
    cr_expect_str_eq(leases.leases[0].gpus[0], "GPU-5");
    teardown(&f);
}

Test(store, live_leases_keep_their_time_left)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence;
    kp_store_lease *live;
    uint32_t n;
    MUST(commit(&f, 1, 0, 2, NULL, true, &fence, &err));
    MUST(commit(&f, 2, 2, 2, NULL, true, &fence, &err));
    MUST(kp_store_lease_note(f.store, "ls_1", 12345, 9000000, &err));
    reopen(&f);
    MUST(kp_store_leases_live(f.store, &f.arena, &live, &n, &err));
    cr_assert_eq(n, 2);
    cr_expect_eq(live[0].remaining_ms, 12345);
    cr_expect_eq(live[0].length_ms, 60000);
    cr_expect_str_eq(live[0].lease.expires, kp_time_text(9012345).s);
    cr_expect_eq(live[1].remaining_ms, 60000);
    cr_expect_eq(live[1].lease.n_gpus, 2);
    teardown(&f);
}

Test(store, requests_are_answered_alike)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence;
    bool found;
    kp_store_request got;
    MUST(kp_store_request_find(f.store, "rq_1", &f.arena, &got, &found, &err));
    cr_expect_not(found);
    MUST(commit(&f, 1, 0, 1, "rq_1", false, &fence, &err));
    MUST(kp_store_request_find(f.store, "rq_1", &f.arena, &got, &found, &err));
    cr_expect(found && !got.done && !got.reply.data);
    cr_expect_str_eq(got.plan, "pl_1");
    cr_expect_str_eq(got.digest, DIGEST_A);
    static const uint8_t bytes[] = {1, 0, 2};
    kp_store_request done = {.digest = DIGEST_A,
                             .plan = "pl_1",
                             .reply_type = KP_WIRE_ERROR,
                             .reply = {.data = bytes, .len = sizeof(bytes)}};
    MUST(kp_store_request_done(f.store, "rq_1", &done, 7, &err));
    MUST(kp_store_request_find(f.store, "rq_1", &f.arena, &got, &found, &err));
    cr_expect(found && got.done);
    cr_expect_eq(got.reply_type, KP_WIRE_ERROR);
    cr_assert_eq(got.reply.len, 3);
    cr_expect_eq(memcmp(got.reply.data, bytes, 3), 0);
    done.digest = DIGEST_B;
    cr_expect_eq(kp_store_request_done(f.store, "rq_1", &done, 8, &err), KP_CONFLICT);
    done.plan = NULL;
    MUST(kp_store_request_done(f.store, "rq_2", &done, 5000000, &err));
    MUST(kp_store_requests_forget(f.store, 4000000, &err));
    MUST(kp_store_request_find(f.store, "rq_1", &f.arena, &got, &found, &err));
    cr_expect_not(found);
    MUST(kp_store_request_find(f.store, "rq_2", &f.arena, &got, &found, &err));
    cr_expect(found);
    teardown(&f);
}

Test(store, groups_commit_or_vanish_together)
{
    fixture f = setup();
    kp_err err = {0};
    uint64_t fence;
    kp_plan plan;
    MUST(kp_store_begin(f.store, &err));
    MUST(commit(&f, 1, 0, 1, NULL, true, &fence, &err));
    cr_expect_eq(commit(&f, 2, 0, 1, NULL, true, &fence, &err), KP_CONFLICT);
    MUST(commit(&f, 3, 1, 1, NULL, true, &fence, &err));
    MUST(kp_store_commit(f.store, &err));
    MUST(kp_store_begin(f.store, &err));
    MUST(commit(&f, 4, 2, 1, NULL, true, &fence, &err));
    MUST(kp_store_begin(f.store, &err));
    MUST(commit(&f, 5, 3, 1, NULL, true, &fence, &err));
    kp_store_undo(f.store);
    kp_store_undo(f.store);
    static const kp_status want[] = {KP_OK, KP_INPUT, KP_OK, KP_INPUT, KP_INPUT};
    for (unsigned i = 0; i < KP_LEN(want); i++)
        cr_expect_eq(kp_store_plan_get(f.store, kp_arena_fmt(&f.arena, "pl_%u", i + 1), &f.arena,
                                       &plan, &err),
                     want[i], "plan %u", i + 1);
    /* A transaction that nobody ended is gone with the store. */
    MUST(kp_store_begin(f.store, &err));
    MUST(commit(&f, 6, 9, 1, NULL, true, &fence, &err));
    reopen(&f);
    cr_expect_eq(kp_store_plan_get(f.store, "pl_6", &f.arena, &plan, &err), KP_INPUT);
    teardown(&f);
}
