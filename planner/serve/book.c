/* SPDX-License-Identifier: MIT */
#include "planner/serve/book.h"

#include <assert.h>

static void lease_free(kp_book_lease *lease)
{
    if (!lease) return;
    for (uint32_t i = 0; lease->gpus && i < lease->n_gpus; i++) free(lease->gpus[i]);
    free(lease->gpus);
    free(lease->id);
    free(lease->plan);
    free(lease->owner);
    free(lease);
}

void kp_book_release(kp_book *book)
{
    for (size_t i = 0; i < book->n; i++) lease_free(book->leases[i]);
    for (size_t i = 0; i < book->n_fences; i++) free(book->fences[i].uuid);
    free(book->fences);
    free(book->leases);
    kp_index_release(&book->gpus);
    *book = (kp_book){0};
}

kp_book_lease *kp_book_holder(const kp_book *book, const char *uuid)
{
    const kp_index_row *row = kp_index_find(&book->gpus, uuid, NULL);
    return row ? row->owner : NULL;
}

kp_book_lease *kp_book_find(const kp_book *book, const char *id)
{
    for (size_t i = 0; i < book->n; i++)
        if (!strcmp(book->leases[i]->id, id)) return book->leases[i];
    return NULL;
}

/* Memory for one more lease of n GPUs, before anything is changed. */
static bool reserve(kp_book *book, uint32_t n_gpus)
{
    if (book->n == book->cap) {
        size_t cap = book->cap ? book->cap * 2 : 16;
        kp_book_lease **leases = realloc(book->leases, cap * sizeof(*leases));
        if (!leases) return false;
        book->leases = leases;
        book->cap = cap;
    }
    return kp_index_reserve(&book->gpus, n_gpus);
}

static kp_book_lease *lease_copy(const kp_lease *lease)
{
    kp_book_lease *copy = calloc(1, sizeof(*copy));
    if (!copy) return NULL;
    copy->id = strdup(lease->id);
    copy->plan = strdup(lease->plan);
    copy->owner = strdup(lease->owner);
    copy->fence = lease->fence;
    copy->n_gpus = lease->n_gpus;
    copy->gpus = calloc(lease->n_gpus ? lease->n_gpus : 1, sizeof(*copy->gpus));
    bool whole = copy->id && copy->plan && copy->owner && copy->gpus;
    for (uint32_t i = 0; whole && i < lease->n_gpus; i++)
        whole = (copy->gpus[i] = strdup(lease->gpus[i])) != NULL;
    if (whole) return copy;
    lease_free(copy);
    return NULL;
}

kp_status kp_book_add(kp_book *book, const kp_lease *lease, double length_s, double deadline_s,
                      bool pending, kp_err *err)
{
    for (uint32_t i = 0; i < lease->n_gpus; i++) {
        const kp_book_lease *holder = kp_book_holder(book, lease->gpus[i]);
        if (holder)
            return kp_fail(err, KP_CONFLICT, "GPU '%s' is in lease '%s' of '%s'", lease->gpus[i],
                           holder->id, holder->owner);
    }
    if (!reserve(book, lease->n_gpus)) return kp_nomem(err);
    kp_book_lease *copy = lease_copy(lease);
    if (!copy) return kp_nomem(err);
    copy->length_s = length_s;
    copy->deadline_s = deadline_s;
    copy->pending = pending;
    book->leases[book->n++] = copy;
    for (uint32_t i = 0; i < copy->n_gpus; i++) kp_index_put(&book->gpus, copy->gpus[i], copy);
    return KP_OK;
}

void kp_book_remove(kp_book *book, kp_book_lease *lease)
{
    size_t at = 0;
    for (uint32_t i = 0; i < lease->n_gpus; i++) kp_index_drop(&book->gpus, lease->gpus[i], lease);
    while (at < book->n && book->leases[at] != lease) at++;
    assert(at < book->n);
    book->leases[at] = book->leases[--book->n];
    lease_free(lease);
}

static size_t fence_at(const kp_book *book, const char *uuid)
{
    size_t low = 0, high = book->n_fences;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(book->fences[middle].uuid, uuid) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t kp_book_fence_of(const kp_book *book, const char *uuid)
{
    size_t at = fence_at(book, uuid);
    return at < book->n_fences && !strcmp(book->fences[at].uuid, uuid) ? book->fences[at].fence : 0;
}

kp_status kp_book_fence_put(kp_book *book, const char *uuid, uint64_t fence, kp_err *err)
{
    size_t at = fence_at(book, uuid);
    if (at < book->n_fences && !strcmp(book->fences[at].uuid, uuid)) {
        book->fences[at].fence = kp_max_u64(book->fences[at].fence, fence);
        return KP_OK;
    }
    if (book->n_fences == book->cap_fences) {
        size_t cap = book->cap_fences ? book->cap_fences * 2 : 64;
        kp_book_fence *fences = realloc(book->fences, cap * sizeof(*fences));
        if (!fences) return kp_nomem(err);
        book->fences = fences;
        book->cap_fences = cap;
    }
    char *copy = strdup(uuid);
    if (!copy) return kp_nomem(err);
    memmove(&book->fences[at + 1], &book->fences[at],
            (book->n_fences - at) * sizeof(*book->fences));
    book->fences[at] = (kp_book_fence){.uuid = copy, .fence = fence};
    book->n_fences++;
    return KP_OK;
}

kp_book_lease *kp_book_due(const kp_book *book, double now_s)
{
    for (size_t i = 0; i < book->n; i++) {
        kp_book_lease *lease = book->leases[i];
        if (!lease->pending && !lease->changing && lease->deadline_s <= now_s &&
            lease->again_s <= now_s)
            return lease;
    }
    return NULL;
}
