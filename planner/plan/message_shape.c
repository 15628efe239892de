/* SPDX-License-Identifier: MIT
 *
 * planner/plan/message_shape.c — which batch and order of axes makes a tensor of the model look
 * like a printed shape. */
#include "planner/plan/message_match.h"

/* Sizes other than 1 in order; `skip` is left out. */
typedef struct sizes {
    unsigned n;
    int64_t at[KP_RANK_MAX];
} sizes;

static void put(sizes *s, int64_t size)
{
    if (size != 1) s->at[s->n++] = size;
}

/* What is left of a tensor without its batch axes, and the product of those. */
static sizes without_batch(const kp_shape *shape, uint64_t *ret_factor, bool *ret_has)
{
    sizes rest = {0};
    *ret_factor = 1;
    *ret_has = shape->per_sample != 0;
    for (unsigned i = 0; i < shape->rank; i++)
        if (shape->per_sample >> i & 1)
            *ret_factor = kp_mul_u64(*ret_factor, (uint64_t)shape->dim[i]);
        else
            put(&rest, shape->dim[i]);
    return rest;
}

static bool equal(const sizes *a, const sizes *b)
{
    return a->n == b->n && !memcmp(a->at, b->at, a->n * sizeof(*a->at));
}

/* One of them with its last axis in front is the other. */
static bool channels_moved(const sizes *a, const sizes *b)
{
    if (a->n != b->n || a->n < 2) return false;
    size_t rest = (a->n - 1) * sizeof(*a->at);
    bool first = a->at[0] == b->at[a->n - 1] && !memcmp(a->at + 1, b->at, rest);
    bool last = b->at[0] == a->at[a->n - 1] && !memcmp(b->at + 1, a->at, rest);
    return first || last;
}

/* Takes each size of `part` out of `all`; what is left over is multiplied. `ret_in_order`: they
 * stood in the same order. False if one is not there. */
static bool take_out(const sizes *all, const sizes *part, uint64_t *ret_left, bool *ret_in_order)
{
    bool used[KP_RANK_MAX] = {false};
    unsigned from = 0;
    *ret_in_order = true;
    for (unsigned i = 0; i < part->n; i++) {
        unsigned k = from;
        while (k < all->n && (used[k] || all->at[k] != part->at[i])) k++;
        if (k == all->n) {
            *ret_in_order = false;
            for (k = 0; k < all->n && (used[k] || all->at[k] != part->at[i]);) k++;
        }
        if (k == all->n) return false;
        used[k] = true;
        from = k + 1;
    }
    *ret_left = 1;
    for (unsigned i = 0; i < all->n; i++)
        if (!used[i]) *ret_left = kp_mul_u64(*ret_left, (uint64_t)all->at[i]);
    return true;
}

static bool found(kp_factored *ret, kp_factor_how how, uint64_t batch, uint64_t folded)
{
    *ret = (kp_factored){how, batch, folded};
    return true;
}

static bool no_batch(const sizes *all, const sizes *rest, kp_factored *ret)
{
    uint64_t left;
    bool in_order;
    if (all->n != rest->n || !take_out(all, rest, &left, &in_order)) return false;
    kp_factor_how how = equal(all, rest)            ? KP_FACTOR_SAME
                        : channels_moved(all, rest) ? KP_FACTOR_CHANNELS
                                                    : KP_FACTOR_ORDER;
    return found(ret, how, 0, 1);
}

/* The batch stands at axis `at` of what was printed. */
static bool batch_at(const sizes *rest, uint64_t factor, unsigned at, unsigned rank,
                     const int64_t *dim, kp_factored *ret)
{
    sizes others = {0};
    uint64_t left, first = (uint64_t)dim[at];
    bool in_order;
    for (unsigned i = 0; i < rank; i++)
        if (i != at) put(&others, dim[i]);
    if (!take_out(rest, &others, &left, &in_order)) return false;
    if (at && left != 1) return false;
    uint64_t folded = kp_mul_u64(factor, left);
    if (!folded || first % folded) return false;
    if (folded > 1 && !others.n) return false; /* one number says nothing */
    bool moved = channels_moved(rest, &others);
    kp_factor_how how = left > 1 ? in_order ? KP_FACTOR_FOLDED : KP_FACTOR_FOLDED_ORDER
                        : at     ? KP_FACTOR_ORDER
                        : equal(rest, &others) ? KP_FACTOR_SAME
                        : moved                ? KP_FACTOR_CHANNELS
                                               : KP_FACTOR_ORDER;
    return found(ret, how, first / folded, folded);
}

bool kp_factor_shape(const kp_shape *shape, unsigned rank, const int64_t *dim, kp_factored *ret)
{
    uint64_t factor;
    bool has_batch;
    sizes rest = without_batch(shape, &factor, &has_batch), all = {0};
    for (unsigned i = 0; i < rank; i++) put(&all, dim[i]);
    if (!has_batch) return no_batch(&all, &rest, ret);
    kp_factored by, best = {.how = KP_FACTOR_COUNT};
    for (unsigned at = 0; at < rank; at++)
        if (batch_at(&rest, factor, at, rank, dim, &by) && by.how < best.how) best = by;
    if (best.how == KP_FACTOR_COUNT && factor == 1 && equal(&all, &rest) && rank >= 2)
        best = (kp_factored){KP_FACTOR_SQUEEZED, 1, 1};
    if (best.how == KP_FACTOR_COUNT) return false;
    *ret = best;
    return true;
}
