/* SPDX-License-Identifier: MIT
 *
 * tests/store/fixture.h — a store in a folder of its own. */
#ifndef KP_TESTS_STORE_FIXTURE_H
#define KP_TESTS_STORE_FIXTURE_H

#include "store/store.h"
#include "tests/lib/plans.h"
#include "tests/lib/proc.h"

#include <criterion/criterion.h>

#define DIGEST_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* Needs `err` in scope. */
#define MUST(call) cr_assert_eq((call), KP_OK, "%s", err.msg)

typedef struct fixture {
    kp_dir dir;
    kp_arena arena;
    kp_store *store;
    char path[128];
} fixture;

fixture setup(void);
void reopen(fixture *f);
void teardown(fixture *f);

/* Commits plan `number` on GPUs [first, first + n), leased as "ls_<number>" for a minute. */
kp_status commit(fixture *f, unsigned number, unsigned first, unsigned n, const char *request,
                 bool done, uint64_t *ret_fence, kp_err *err);

#endif
