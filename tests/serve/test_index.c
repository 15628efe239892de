/* SPDX-License-Identifier: MIT */
#include "planner/serve/index.h"

#include <criterion/criterion.h>

enum { KEYS = 12, OWNERS = 5, STEPS = 4000 };

/* Random puts and drops against a plain table of counts. */
Test(index, does_what_a_table_does)
{
    static const char *const keys[KEYS] = {"m",     "a",      "zz",    "k", "b", "",
                                           "GPU-1", "GPU-10", "GPU-2", "c", "z", "aa"};
    int owners[OWNERS];
    unsigned count[KEYS][OWNERS] = {{0}};
    kp_index index = {0};
    uint64_t seed = 7;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned k = (unsigned)(seed >> 33) % KEYS, o = (unsigned)(seed >> 45) % OWNERS;
        if ((seed >> 60) % 2) {
            cr_assert(kp_index_reserve(&index, 1));
            kp_index_put(&index, keys[k], &owners[o]);
            count[k][o]++;
        } else {
            kp_index_drop(&index, keys[k], &owners[o]);
            count[k][o] -= count[k][o] > 0;
        }
        size_t n, want = 0;
        const kp_index_row *rows = kp_index_find(&index, keys[k], &n);
        for (unsigned i = 0; i < OWNERS; i++) {
            unsigned got = 0;
            for (size_t r = 0; r < n; r++) got += rows[r].owner == &owners[i];
            cr_assert_eq(got, count[k][i], "step %d, key '%s'", step, keys[k]);
            want += count[k][i];
        }
        cr_assert_eq(n, want);
        cr_assert_eq(rows == NULL, want == 0);
    }
    for (size_t i = 1; i < index.n; i++)
        cr_expect_leq(strcmp(index.rows[i - 1].key, index.rows[i].key), 0);
    kp_index_release(&index);
}
