/* SPDX-License-Identifier: MIT
 *
 * store/store.h — what kpland never forgets, in domain verbs over one SQLite file.
 *
 * One connection reads and writes, in one thread, and holds the file exclusively: two connections
 * that write or checkpoint at once can corrupt a WAL database of SQLite before 3.51.3. WAL with
 * synchronous=FULL, asserted by reading both back: what was committed survives a power cut. Each
 * verb is one transaction; kp_store_begin and kp_store_commit join several into one, so that one
 * fsync serves many requests. Nothing is promised before the outermost commit returned KP_OK.
 *
 * Failures: KP_STORE with the file and the cause. After the first I/O error or corruption the store
 * is broken (kp_store_broken): SQLite would go on after a failed fsync although pages are lost, so
 * every later call fails and the daemon ends; a restart recovers from the WAL. A full disk is not
 * that: the verb fails, reading goes on. KP_CONFLICT: a GPU or a request id is taken. KP_INPUT: no
 * plan or lease of that id. KP_NOMEM. No SQL stands outside this folder. */
#ifndef KP_STORE_STORE_H
#define KP_STORE_STORE_H

#include "proto/messages.h"

typedef struct kp_store kp_store;

/* Opens or creates. KP_STORE for a file that is not kplan's, is newer than this program, is
 * corrupt, is a folder, cannot be written, or that another process has open. Older files are
 * upgraded. */
kp_status kp_store_open(const char *path, kp_store **ret, kp_err *err);
void kp_store_close(kp_store *store); /* NULL is fine; an open transaction is undone */
bool kp_store_broken(const kp_store *store);

/* Transactions; they nest. Undo takes back the innermost level. An error inside may have undone
 * everything (disk full): then commit fails, at each level. */
kp_status kp_store_begin(kp_store *store, kp_err *err);
kp_status kp_store_commit(kp_store *store, kp_err *err);
void kp_store_undo(kp_store *store);

/* ---- counters ---- */

/* The highest cluster revision that stands in the store; nodes and plans raise it. */
kp_status kp_store_revision(kp_store *store, uint64_t *ret, kp_err *err);

/* ---- nodes ---- */

/* A node as it is now, with its GPUs; takes over GPUs that another node had. revision: the
 * cluster's after this change. */
kp_status kp_store_node_put(kp_store *store, const kp_node *node, uint64_t revision, int64_t now_ms,
                            kp_err *err);
/* All nodes as last put, by name; *ret lives in `arena`. */
kp_status kp_store_nodes(kp_store *store, kp_arena *arena, kp_nodes *ret, kp_err *err);

/* ---- plans ---- */

typedef struct kp_store_commit_args {
    const kp_plan *plan;  /* with id; lease and verification are not read */
    uint64_t model_bytes; /* size of the model file */
    const char *owner;
    const char *lease; /* id of the new lease */
    int64_t lease_ms, now_ms;
    const char *request; /* id; NULL: nothing is remembered */
    const char *digest;  /* of the request */
    bool done;           /* the plan is the whole reply; false: a verdict follows */
} kp_store_commit_args;

/* Plan, model, lease, its GPUs, the request and the audit, all or nothing. The fence is higher than
 * any before. KP_CONFLICT: a GPU is in a live lease (named, with its holder), or the request id
 * or plan id is there already. */
kp_status kp_store_plan_commit(kp_store *store, const kp_store_commit_args *args,
                               uint64_t *ret_fence, kp_err *err);

/* The plan as committed, with its lease and last verification as they are now. */
kp_status kp_store_plan_get(kp_store *store, const char *id, kp_arena *arena, kp_plan *ret,
                            kp_err *err);
/* The newest `limit` plans, newest first. */
kp_status kp_store_plans(kp_store *store, uint32_t limit, kp_arena *arena, kp_plans *ret,
                         kp_err *err);

/* ---- leases ---- */

typedef enum kp_lease_action {
    KP_LEASE_RENEW,   /* held or confirmed: the full length again */
    KP_LEASE_CONFIRM, /* held: its owner started to use it; confirmed: no change; length again */
    KP_LEASE_RELEASE, /* held or confirmed: its GPUs are free */
    KP_LEASE_EXPIRE,  /* the same, because its time is over */
    KP_LEASE_ACTION_COUNT
} kp_lease_action;
extern const char *const kp_lease_action_names[KP_LEASE_ACTION_COUNT]; /* "renew", ... */

/* Changes a lease; *ret is the lease after it. lease_ms 0: its length stays. KP_INPUT: no such
 * lease; KP_CONFLICT: it ended already. */
kp_status kp_store_lease_change(kp_store *store, const char *id, kp_lease_action action,
                                const char *actor, int64_t lease_ms, int64_t now_ms,
                                kp_arena *arena, kp_lease *ret, kp_err *err);
/* The newest `limit` leases that ended, and all live ones; newest first. */
kp_status kp_store_leases(kp_store *store, uint32_t limit, kp_arena *arena, kp_leases *ret,
                          kp_err *err);

/* Live leases with the time that was left when last written: what a restarted daemon goes on with.
 * Clocks may have jumped meanwhile, so instants are not compared. */
typedef struct kp_store_lease {
    kp_lease lease;
    int64_t remaining_ms, length_ms;
} kp_store_lease;
kp_status kp_store_leases_live(kp_store *store, kp_arena *arena, kp_store_lease **ret,
                               uint32_t *ret_n, kp_err *err);
/* Notes the time left of one live lease and when it ends by today's clock. */
kp_status kp_store_lease_note(kp_store *store, const char *id, int64_t remaining_ms, int64_t now_ms,
                              kp_err *err);

/* The highest fence that each GPU's leases ever had, by UUID. */
kp_status kp_store_fences(kp_store *store, kp_arena *arena, kp_fence **ret, uint32_t *ret_n,
                          kp_err *err);

/* ---- verifications ---- */

/* Stores the verdict of a plan that is in the store. */
kp_status kp_store_verification_put(kp_store *store, const kp_verdict *verdict, int64_t now_ms,
                                    kp_err *err);
/* The short form that a plan carries. */
kp_status kp_verdict_short(const kp_verdict *verdict, int64_t at_ms, kp_arena *arena,
                           kp_plan_verification *ret, kp_err *err);

/* ---- requests: the same id gives the same answer ---- */

typedef struct kp_store_request {
    const char *digest;
    const char *plan; /* NULL: made none */
    bool done;
    kp_wire_type reply_type;
    kp_bytes reply; /* data NULL: the plan is the reply */
} kp_store_request;

/* *ret_found false: unknown id. */
kp_status kp_store_request_find(kp_store *store, const char *id, kp_arena *arena,
                                kp_store_request *ret, bool *ret_found, kp_err *err);
/* Writes the reply of a request, new or committed before with a plan. */
kp_status kp_store_request_done(kp_store *store, const char *id, const kp_store_request *request,
                                int64_t now_ms, kp_err *err);
/* Forgets finished requests written before `before_ms`. */
kp_status kp_store_requests_forget(kp_store *store, int64_t before_ms, kp_err *err);

#endif
