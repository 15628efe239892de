/* SPDX-License-Identifier: MIT */
#include "proto/endpoint.h"
#include "proto/link.h"
#include <criterion/criterion.h>

TestSuite(endpoint);

Test(endpoint, what_is_one_and_what_is_local)
{
    static const struct {
        const char *endpoint;
        bool ok, local;
    } rows[] = {
        {"tcp://127.0.0.1:7400", true, true},
        {"tcp://127.8.9.10:1", true, true},
        {"tcp://localhost:7400", true, true},
        {"tcp://[::1]:7400", true, true},
        {"tcp://[fe80::1]:7400", true, false},
        {"tcp://0.0.0.0:7400", true, false},
        {"tcp://*:7400", true, false},
        {"tcp://127.0.0.1:0", true, true},
        {"tcp://planner.example.org:7400", true, false},
        {"tcp://127.evil.org:7400", true, false},
        {"tcp://10.0.0.1:65535", true, false},
        {"ipc:///run/kplan.sock", true, true},
        {"ipc://relative", true, true},
        {"ipc://@abstract", true, true},
        {"tcp://127.0.0.1:65536", false, false},
        {"tcp://127.0.0.1:-1", false, false},
        {"tcp://127.0.0.1:74x", false, false},
        {"tcp://127.0.0.1:", false, false},
        {"tcp://127.0.0.1", false, false},
        {"tcp://:7400", false, false},
        {"tcp://a b:7400", false, false},
        {"tcp://[::1:7400", false, false},
        {"tcp://[]:7400", false, false},
        {"ipc://", false, true},
        {"inproc://x", false, false},
        {"http://127.0.0.1:80", false, false},
        {"127.0.0.1:7400", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_err err = {0};
        kp_status status = kp_endpoint_check(rows[i].endpoint, &err);
        cr_expect((status == KP_OK) == rows[i].ok, "row %zu: %s: %s", i, rows[i].endpoint, err.msg);
        cr_expect(status == KP_OK || status == KP_USAGE, "row %zu", i);
        cr_expect(kp_endpoint_is_local(rows[i].endpoint) == rows[i].local, "row %zu: %s", i,
                  rows[i].endpoint);
    }
    char longer[600] = "ipc:///";
    memset(longer + 7, 'x', sizeof(longer) - 8);
    cr_expect(kp_endpoint_check(longer, NULL) == KP_USAGE);
    memcpy(longer, "tcp://", 6);
    cr_expect(kp_endpoint_check(longer, NULL) == KP_USAGE);
    cr_expect(!kp_endpoint_is_local(longer));
}

Test(endpoint, names_become_numbers)
{
    static const struct {
        const char *endpoint, *want; /* NULL: fails */
    } rows[] = {
        {"tcp://localhost:7400", "tcp://127.0.0.1:7400"},
        {"tcp://10.1.2.3:99", "tcp://10.1.2.3:99"},
        {"tcp://*:99", "tcp://*:99"},
        {"tcp://[::1]:99", "tcp://[::1]:99"},
        {"ipc:///a/b", "ipc:///a/b"},
        {"tcp://no-such-host.invalid:7400", NULL},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char got[KP_ENDPOINT_MAX] = "";
        kp_err err = {0};
        kp_status status = kp_endpoint_resolve(rows[i].endpoint, got, &err);
        if (rows[i].want)
            cr_expect_str_eq(got, rows[i].want, "row %zu: %s", i, err.msg);
        else {
            cr_expect(status == KP_UNREACHABLE, "row %zu", i);
            cr_expect(strstr(err.msg, "no-such-host.invalid"), "row %zu: %s", i, err.msg);
        }
    }
}
