/* SPDX-License-Identifier: MIT
 *
 * proto/status.h — how a function fails.
 *
 * One enum, one row a status: its name on the wire and in JSON, the exit code of a program that
 * ends with it, and a default text. A fallible function returns kp_status and takes `kp_err *err`
 * last; err is written only on failure, by the function that first knows. Functions above put
 * the place in front (kp_err_at) and pass it on silently. Only programs' main loops print.
 * Source of the codes: the contract's table of statuses (README, "Exit codes"). */
#ifndef KP_PROTO_STATUS_H
#define KP_PROTO_STATUS_H

#include "proto/banned.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*    name           exit  default text */
#define KP_STATUS_ROWS(X)                                                                          \
    X(OK, 0, "done")                                                                               \
    X(INTERNAL, 1, "internal error")                                                               \
    X(INFEASIBLE, 2, "does not fit")                                                               \
    X(UNSUPPORTED, 3, "model or target not supported")                                             \
    X(CONFLICT, 4, "someone else has it, or it changed meanwhile")                                 \
    X(UNREACHABLE, 5, "the daemon cannot be reached")                                              \
    X(VERIFY_FAILED, 6, "verification failed")                                                     \
    X(INCONCLUSIVE, 7, "verification could not be finished")                                       \
    X(USAGE, 64, "wrong usage")                                                                    \
    X(INPUT, 65, "bad input file")                                                                 \
    X(LOST, 69, "an agent or a node was lost")                                                     \
    X(STORE, 70, "the store failed")                                                               \
    X(RETRY, 75, "try again later")                                                                \
    X(INTERRUPTED, 130, "interrupted")                                                             \
    X(NOMEM, 1, "out of memory")                                                                   \
    X(IO, 1, "input or output failed")

typedef enum kp_status {
#define KP_STATUS_ENUM(name, exit_code, text) KP_##name,
    KP_STATUS_ROWS(KP_STATUS_ENUM)
#undef KP_STATUS_ENUM
        KP_STATUS_COUNT
} kp_status;

/* One failure. `where` is the place, outermost first ("model.json: layer 'attn_3'"); `hint` the
 * next step, empty if there is none. Plain data; zero-initialise it. */
typedef struct kp_err {
    kp_status code;
    char where[256];
    char msg[400];
    char hint[256];
} kp_err;

/* Fails with `code`: writes the message (lower case, what failed first, no full stop), clears
 * place and hint, returns `code`. err may be NULL (the message is dropped). */
kp_status kp_fail(kp_err *err, kp_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds the next step to a failure. */
void kp_hint(kp_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts a place in front of the places already there: "place: older place". */
void kp_err_at(kp_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The status's name ("INFEASIBLE"), its exit code, its default text. Unknown values are INTERNAL's. */
const char *kp_status_name(kp_status status);
int kp_status_exit(kp_status status);
const char *kp_status_text(kp_status status);

/* The status of a name as it stands on the wire; KP_INTERNAL if there is none. */
kp_status kp_status_from_name(const char *name);

/* Passes a failure up. */
#define KP_TRY(call)                                                                               \
    do {                                                                                           \
        kp_status kp_try_status = (call);                                                          \
        if (kp_try_status != KP_OK) return kp_try_status;                                          \
    } while (0)

/* Same, to the one clean-up label of a function that holds something. Needs `status`. */
#define KP_TRY_OUT(call)                                                                           \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != KP_OK) goto out;                                                             \
    } while (0)

/* Elements of an array. */
#define KP_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
