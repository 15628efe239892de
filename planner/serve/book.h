/* SPDX-License-Identifier: MIT
 *
 * planner/serve/book.h — the live leases, as the loop knows them.
 *
 * The store is the truth; the book is its copy of what is live, with deadlines on the monotonic
 * clock, plus entries whose commit is on its way (pending): their GPUs are taken, so that two plans
 * never race for one. A lease is counted from the grant's commit, later than its holder counts, so
 * it never ends early. Pure: times are arguments. */
#ifndef KP_PLANNER_SERVE_BOOK_H
#define KP_PLANNER_SERVE_BOOK_H

#include "planner/serve/index.h"
#include "proto/messages.h"

typedef struct kp_book_lease {
    char *id, *plan, *owner;
    uint64_t fence; /* 0 while pending */
    char **gpus;    /* UUIDs */
    uint32_t n_gpus;
    double length_s, deadline_s; /* deadline: monotonic; not used while pending */
    double again_s;              /* not to be expired before: the last try failed */
    bool pending;                /* not committed yet */
    uint32_t changing; /* changes on their way to the store: not to be expired meanwhile */
} kp_book_lease;

typedef struct kp_book_fence {
    char *uuid;
    uint64_t fence;
} kp_book_fence;

typedef struct kp_book {
    kp_book_lease **leases;
    size_t n, cap;
    kp_book_fence *fences; /* highest of each GPU ever leased, by UUID */
    size_t n_fences, cap_fences;
    kp_index gpus; /* UUID to kp_book_lease */
} kp_book;

void kp_book_release(kp_book *book);

/* Adds a copy of a lease (id, plan, owner, fence, gpus). KP_CONFLICT: a GPU is in a live lease
 * (named with its holder). KP_NOMEM. */
kp_status kp_book_add(kp_book *book, const kp_lease *lease, double length_s, double deadline_s,
                      bool pending, kp_err *err);
/* NULL if it is not live. */
kp_book_lease *kp_book_find(const kp_book *book, const char *id);
/* Who has a GPU; NULL: it is free. */
kp_book_lease *kp_book_holder(const kp_book *book, const char *uuid);
void kp_book_remove(kp_book *book, kp_book_lease *lease);

/* The highest fence of a GPU, 0 if it never was in a lease; and a number that it got. KP_NOMEM. */
uint64_t kp_book_fence_of(const kp_book *book, const char *uuid);
kp_status kp_book_fence_put(kp_book *book, const char *uuid, uint64_t fence, kp_err *err);

/* A lease whose time is over and that nobody is changing; NULL if there is none. */
kp_book_lease *kp_book_due(const kp_book *book, double now_s);

#endif
