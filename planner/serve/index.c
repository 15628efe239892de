/* SPDX-License-Identifier: MIT */
#include "planner/serve/index.h"

#include <assert.h>

void kp_index_release(kp_index *index)
{
    free(index->rows);
    *index = (kp_index){0};
}

bool kp_index_reserve(kp_index *index, size_t more)
{
    if (index->cap - index->n >= more) return true;
    size_t cap = (index->n + more) * 2;
    kp_index_row *rows = realloc(index->rows, cap * sizeof(*rows));
    if (!rows) return false;
    index->rows = rows;
    index->cap = cap;
    return true;
}

/* The first row whose key is not less. */
static size_t lower(const kp_index *index, const char *key)
{
    size_t low = 0, high = index->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(index->rows[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void kp_index_put(kp_index *index, const char *key, void *owner)
{
    assert(index->n < index->cap);
    size_t at = lower(index, key);
    memmove(&index->rows[at + 1], &index->rows[at], (index->n - at) * sizeof(*index->rows));
    index->rows[at] = (kp_index_row){.key = key, .owner = owner};
    index->n++;
}

void kp_index_drop(kp_index *index, const char *key, const void *owner)
{
    size_t at = lower(index, key);
    while (at < index->n && index->rows[at].owner != owner && !strcmp(index->rows[at].key, key))
        at++;
    if (at == index->n || strcmp(index->rows[at].key, key)) return;
    index->n--;
    memmove(&index->rows[at], &index->rows[at + 1], (index->n - at) * sizeof(*index->rows));
}

const kp_index_row *kp_index_find(const kp_index *index, const char *key, size_t *ret_n)
{
    size_t from = lower(index, key), to = from;
    while (to < index->n && !strcmp(index->rows[to].key, key)) to++;
    if (ret_n) *ret_n = to - from;
    return to > from ? &index->rows[from] : NULL;
}
