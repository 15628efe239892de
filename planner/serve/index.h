/* SPDX-License-Identifier: MIT
 *
 * planner/serve/index.h — who has a name: sorted rows of text and owner.
 *
 * A key may have several rows. Keys belong to their owners and must live as long as their rows.
 * Memory is reserved before, so that changes cannot fail half-way. Pure. */
#ifndef KP_PLANNER_SERVE_INDEX_H
#define KP_PLANNER_SERVE_INDEX_H

#include "proto/status.h"

typedef struct kp_index_row {
    const char *key;
    void *owner;
} kp_index_row;

typedef struct kp_index {
    kp_index_row *rows; /* by key */
    size_t n, cap;
} kp_index;

void kp_index_release(kp_index *index);
/* Room for `more` rows; false: out of memory. */
bool kp_index_reserve(kp_index *index, size_t more);
/* Needs room. */
void kp_index_put(kp_index *index, const char *key, void *owner);
/* Takes the row of this key and owner away; nothing if there is none. */
void kp_index_drop(kp_index *index, const char *key, const void *owner);
/* The first of *ret_n rows of a key (ret_n may be NULL); NULL if there is none. */
const kp_index_row *kp_index_find(const kp_index *index, const char *key, size_t *ret_n);

#endif
