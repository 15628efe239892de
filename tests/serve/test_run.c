/* SPDX-License-Identifier: MIT
 *
 * Verification runs without agents: what is sent to whom, and what the verdict is. */
#include "planner/serve/run.h"
#include "tests/lib/plans.h"

#include <criterion/criterion.h>

/* A plan of 4 ranks on nodes n0, n0, n1, n2, with checks over ranks 1..3. */
static kp_plan spread(kp_arena *arena)
{
    static const char *const nodes[] = {"n0", "n0", "n1", "n2"};
    kp_plan plan = kp_test_plan(arena, 1, "n0", 0, 4);
    for (uint32_t i = 0; i < 4; i++) plan.ranks[i].node = nodes[i];
    for (uint32_t i = 0; i < plan.n_checks_todo; i++) {
        plan.checks_todo[i].ranks++;
        plan.checks_todo[i].n_ranks = 3;
    }
    return plan;
}

Test(run, only_ranks_of_checks_are_started_and_the_first_meets)
{
    kp_arena arena;
    kp_run run;
    kp_err err = {0};
    kp_arena_init(&arena, 0);
    kp_plan plan = spread(&arena);
    cr_assert_eq(kp_run_make(&plan, false, "rn_1", "secret", &arena, &run, &err), KP_OK);
    cr_expect_eq(run.n_ranks, 3);
    cr_assert_eq(run.n_parts, 3);
    kp_run_part *part = kp_run_next(&run);
    cr_assert_eq(part, &run.parts[0]);
    kp_wire_run msg = kp_run_message(&run, part, 5);
    cr_expect_str_eq(part->node, "n0");
    cr_expect_eq(msg.n_here, 1);
    cr_expect_eq(msg.ranks[0].rank, 1, "rank 0 has nothing to check");
    cr_expect_null(msg.meet);
    cr_expect_eq(msg.n_ranks, 3);
    cr_expect_eq(msg.n_checks, 2);
    cr_expect_str_eq(msg.token, "secret");
    part->sent = true;
    cr_expect_null(kp_run_next(&run), "the others wait for the meeting place");
    cr_assert_eq(kp_run_ready(&run, "n1", "tcp://wrong", &err), KP_OK);
    cr_expect_null(kp_run_next(&run), "only the first agent says where");
    cr_assert_eq(kp_run_ready(&run, "n0", "tcp://10.0.0.1:5", &err), KP_OK);
    for (int i = 1; i < 3; i++) {
        part = kp_run_next(&run);
        cr_assert_eq(part, &run.parts[i]);
        cr_expect_str_eq(kp_run_message(&run, part, 5).meet, "tcp://10.0.0.1:5");
        part->sent = true;
    }
    cr_expect_null(kp_run_next(&run));
    cr_expect_eq(run.state, KP_RUN_RUNNING);
    kp_arena_release(&arena);
}

Test(run, a_sample_has_one_of_each_kind)
{
    kp_arena arena;
    kp_run run;
    kp_err err = {0};
    kp_arena_init(&arena, 0);
    kp_plan plan = kp_test_plan(&arena, 1, "n0", 0, 2);
    kp_check_spec specs[] = {plan.checks_todo[0], plan.checks_todo[0], plan.checks_todo[1],
                             plan.checks_todo[0]};
    specs[1].weight_bytes = 900;
    specs[3].weight_bytes = 900;
    plan.checks_todo = specs;
    plan.n_checks_todo = 4;
    cr_assert_eq(kp_run_make(&plan, true, "rn_1", "s", &arena, &run, &err), KP_OK);
    cr_assert_eq(run.n_specs, 2);
    cr_expect_eq(run.specs[0].weight_bytes, 900);
    cr_expect_eq(run.specs[1].op, KP_OP_RNN);
    plan.n_checks_todo = 0;
    cr_assert_eq(kp_run_make(&plan, false, "rn_1", "s", &arena, &run, &err), KP_OK);
    cr_expect_eq(run.state, KP_RUN_OVER, "nothing to check is over at once");
    kp_verdict verdict;
    cr_assert_eq(kp_run_verdict(&run, &verdict, &err), KP_OK);
    cr_expect_eq(verdict.verdict, KP_VERDICT_NONE);
    kp_arena_release(&arena);
}

/* One check as an agent reports it; ops by the letter: m matmul, r rnn. */
static kp_check check_of(char op, kp_check_state state, kp_direction direction)
{
    return (kp_check){.layer = op == 'm' ? "dense" : "lstm",
                      .op = op == 'm' ? KP_OP_MATMUL : KP_OP_RNN,
                      .cut = KP_CUT_BATCH,
                      .direction = direction,
                      .state = state};
}

Test(run, verdicts)
{
    /* What the first agent reports: (op, state) pairs; the rnn has a quarter of the weights. */
    static const struct {
        const char *what, *checks, *failure;
        kp_verdict_kind want;
        double covered;
    } rows[] = {
        {"all ok", "mOmOrOrO", NULL, KP_VERDICT_VERIFIED, 1.0},
        {"rnn has no executor", "mOmOrN", NULL, KP_VERDICT_VERIFIED, 0.75},
        {"nothing has one", "mNrN", NULL, KP_VERDICT_NONE, 0},
        {"backward is wrong", "mOmFrN", NULL, KP_VERDICT_FAILED, 0},
        {"wrong beats unfinished", "mFrI", NULL, KP_VERDICT_FAILED, 0},
        {"unfinished", "mOmIrN", NULL, KP_VERDICT_INCONCLUSIVE, 0},
        {"one is missing", "mOmO", NULL, KP_VERDICT_INCONCLUSIVE, 0.75},
        {"none came", "", NULL, KP_VERDICT_INCONCLUSIVE, 0},
        {"a rank was lost", "mOmOrO", "rank 3 was killed", KP_VERDICT_INCONCLUSIVE, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_arena arena;
        kp_run run;
        kp_err err = {0};
        kp_verdict verdict;
        kp_check checks[8];
        kp_wire_run_result result = {.run = "rn_1", .checks = checks, .failure = rows[i].failure};
        kp_arena_init(&arena, 0);
        kp_plan plan = spread(&arena);
        cr_assert_eq(kp_run_make(&plan, false, "rn_1", "s", &arena, &run, &err), KP_OK);
        for (const char *c = rows[i].checks; *c; c += 2) {
            static const char letters[] = "OFIN";
            checks[result.n_checks] =
                check_of(c[0], (kp_check_state)(strchr(letters, c[1]) - letters),
                         result.n_checks % 2 ? KP_BACKWARD : KP_FORWARD);
            result.n_checks++;
        }
        for (uint32_t k = 0; k < run.n_parts; k++) run.parts[k].sent = true;
        run.state = KP_RUN_RUNNING;
        cr_assert_eq(kp_run_result(&run, "n0", &result, &err), KP_OK, "%s", err.msg);
        cr_assert_eq(run.state, KP_RUN_OVER, "%s", rows[i].what);
        cr_assert_eq(kp_run_verdict(&run, &verdict, &err), KP_OK);
        cr_expect_eq(verdict.verdict, rows[i].want, "%s: %s", rows[i].what,
                     kp_verdict_names[verdict.verdict]);
        cr_expect_float_eq(verdict.covered, rows[i].covered, 1e-9, "%s: %g", rows[i].what,
                           verdict.covered);
        kp_arena_release(&arena);
    }
}

Test(run, what_ends_it_early)
{
    kp_arena arena;
    kp_err err = {0};
    kp_arena_init(&arena, 0);
    kp_plan plan = spread(&arena);
    kp_run run;
    kp_verdict verdict;
    const kp_wire_run_result good = {.run = "rn_1"},
                             bad = {.run = "rn_1", .failure = "no such GPU"};
    cr_assert_eq(kp_run_make(&plan, false, "rn_1", "s", &arena, &run, &err), KP_OK);
    for (uint32_t k = 0; k < run.n_parts; k++) run.parts[k].sent = true;
    run.state = KP_RUN_RUNNING;
    cr_assert_eq(kp_run_result(&run, "n1", &good, &err), KP_OK);
    cr_expect_eq(run.state, KP_RUN_RUNNING, "the second agent's end is not the run's");
    cr_assert_eq(kp_run_result(&run, "elsewhere", &bad, &err), KP_OK);
    cr_expect_eq(run.state, KP_RUN_RUNNING, "a stranger's word counts nothing");
    cr_assert_eq(kp_run_result(&run, "n1", &bad, &err), KP_OK);
    cr_expect_eq(run.state, KP_RUN_RUNNING, "nor does a second one");
    cr_assert_eq(kp_run_result(&run, "n2", &bad, &err), KP_OK);
    cr_expect_eq(run.state, KP_RUN_OVER);
    kp_run_fail(&run, "too late");
    cr_expect_str_eq(run.failure, "node 'n2': no such GPU", "the first cause stays");
    cr_assert_eq(kp_run_verdict(&run, &verdict, &err), KP_OK);
    cr_expect_eq(verdict.verdict, KP_VERDICT_INCONCLUSIVE);
    cr_assert_eq(verdict.n_checks, 2);
    cr_expect_str_eq(verdict.checks[0].message, "node 'n2': no such GPU");
    kp_arena_release(&arena);
}

/* Allocation n fails, for each n: a status, or a run that says why it has no verdict. */
static kp_status whole_run(kp_plan *plan, kp_arena *arena, kp_verdict *verdict, kp_err *err)
{
    kp_run run;
    kp_check checks[] = {check_of('m', KP_CHECK_OK, KP_FORWARD),
                         check_of('r', KP_CHECK_OK, KP_FORWARD)};
    const kp_wire_run_result result = {.run = "rn_1", .checks = checks, .n_checks = 2};
    KP_TRY(kp_run_make(plan, true, "rn_1", "s", arena, &run, err));
    kp_run_next(&run)->sent = true;
    KP_TRY(kp_run_ready(&run, "n0", "tcp://127.0.0.1:1", err));
    for (kp_run_part *part; (part = kp_run_next(&run));) part->sent = true;
    KP_TRY(kp_run_result(&run, "n0", &result, err));
    return kp_run_verdict(&run, verdict, err);
}

Test(run, out_of_memory_is_a_status)
{
    kp_arena plan_arena;
    kp_arena_init(&plan_arena, 0);
    kp_plan plan = spread(&plan_arena);
    kp_status status = KP_NOMEM;
    uint64_t n = 0;
    while (status == KP_NOMEM && n < 1000) {
        kp_arena arena;
        kp_err err = {0};
        kp_verdict verdict;
        kp_arena_init(&arena, 0);
        arena.fail_call = ++n;
        status = whole_run(&plan, &arena, &verdict, &err);
        if (status == KP_OK) cr_expect_eq(verdict.verdict, KP_VERDICT_VERIFIED);
        kp_arena_release(&arena);
    }
    cr_expect_eq(status, KP_OK);
    cr_expect_gt(n, 5);
    kp_arena_release(&plan_arena);
}
