/* SPDX-License-Identifier: MIT */
#include "tests/store/fixture.h"

fixture setup(void)
{
    fixture f = {.dir = kp_dir_make()};
    kp_err err = {0};
    kp_arena_init(&f.arena, 0);
    snprintf(f.path, sizeof(f.path), "%s/kplan.db", f.dir.path);
    cr_assert_eq(kp_store_open(f.path, &f.store, &err), KP_OK, "%s", err.msg);
    return f;
}

void reopen(fixture *f)
{
    kp_err err = {0};
    kp_store_close(f->store);
    cr_assert_eq(kp_store_open(f->path, &f->store, &err), KP_OK, "%s", err.msg);
}

void teardown(fixture *f)
{
    kp_store_close(f->store);
    kp_arena_release(&f->arena);
    kp_dir_remove(&f->dir);
}

kp_status commit(fixture *f, unsigned number, unsigned first, unsigned n, const char *request,
                 bool done, uint64_t *ret_fence, kp_err *err)
{
    kp_plan plan = kp_test_plan(&f->arena, number, "node0", first, n);
    const kp_store_commit_args args = {
        .plan = &plan,
        .model_bytes = 1000,
        .owner = "ann",
        .lease = kp_arena_fmt(&f->arena, "ls_%u", number),
        .lease_ms = 60000,
        .now_ms = 1000000 + number,
        .request = request,
        .digest = DIGEST_A,
        .done = done,
    };
    return kp_store_plan_commit(f->store, &args, ret_fence, err);
}
