/* SPDX-License-Identifier: MIT
 *
 * x[...]: numbers take an axis away, slices shorten it, null adds one, an ellipsis stands for all
 * axes that nothing else names. Anything else (a tensor as index) is left to what the file says.
 * Source: keras/src/ops/numpy.py, GetItem; Python's slice.indices. */
#include "planner/model/rows.h"

static bool is_class(const json_t *item, const char *name)
{
    const char *class_name = json_string_value(json_object_get(item, "class_name"));
    return class_name && !strcmp(class_name, name);
}

/* A bound of a slice as Python clips it: negative counts from the end, then into [low, high]. */
static int64_t bound(const json_t *json, int64_t size, int64_t low, int64_t high, int64_t absent)
{
    if (!json_is_integer(json)) return absent;
    int64_t v = json_integer_value(json);
    if (v < 0) v = v < -size ? low : v + size;
    return v < low ? low : v > high ? high : v;
}

/* len(range(*slice.indices(size))) */
static kp_status slice_length(const kp_rule *rule, const json_t *item, int64_t size, int64_t *ret)
{
    const json_t *config = json_object_get(item, "config");
    const json_t *start = json_object_get(config, "start"), *stop = json_object_get(config, "stop");
    json_t *by = json_object_get(config, "step");
    int64_t step = json_is_integer(by) ? json_integer_value(by) : 1;
    if (step == 0 || step > KP_DIM_MAX || step < -KP_DIM_MAX)
        return kp_fail(rule->err, KP_INPUT, "a slice has a step of %lld", (long long)step);
    *ret = KP_DIM_OPEN;
    if (size == KP_DIM_OPEN) return KP_OK;
    int64_t from, to;
    if (step > 0) {
        from = bound(start, size, 0, size, 0);
        to = bound(stop, size, 0, size, size);
        *ret = to > from ? (to - from - 1) / step + 1 : 0;
    } else {
        from = bound(start, size, -1, size - 1, size - 1);
        to = bound(stop, size, -1, size - 1, -1);
        *ret = from > to ? (from - to - 1) / -step + 1 : 0;
    }
    return KP_OK;
}

/* The key's items; a bare one is a list of one. */
static size_t count_items(json_t *key)
{
    return json_is_array(key) ? json_array_size(key) : 1;
}

static json_t *item_at(json_t *key, size_t i)
{
    return json_is_array(key) ? json_array_get(key, i) : key;
}

/* Axes that items consume; false if one is of an unknown kind or there are two ellipses. */
static bool consumed(json_t *key, unsigned *ret)
{
    unsigned dots = 0;
    *ret = 0;
    for (size_t i = 0; i < count_items(key); i++) {
        json_t *item = item_at(key, i);
        if (is_class(item, "__ellipsis__")) dots++;
        else if (json_is_integer(item) || is_class(item, "__slice__")) ++*ret;
        else if (!json_is_null(item)) return false;
    }
    return dots <= 1;
}

static void put(kp_shape *y, int64_t dim, bool per_sample)
{
    if (per_sample) y->per_sample |= (uint8_t)(1u << y->rank);
    y->dim[y->rank++] = dim;
}

/* One item: from axis *at of x to the end of y. */
static kp_status apply(const kp_rule *rule, json_t *item, unsigned spare, unsigned *at, kp_shape *y)
{
    kp_shape x = rule->x[0];
    if (json_is_null(item)) {
        put(y, 1, false);
        return KP_OK;
    }
    if (is_class(item, "__ellipsis__")) {
        for (; spare; spare--, ++*at) put(y, x.dim[*at], x.per_sample >> *at & 1);
        return KP_OK;
    }
    if (is_class(item, "__slice__")) {
        const json_t *config = json_object_get(item, "config");
        bool all = !json_is_integer(json_object_get(config, "start")) &&
                   !json_is_integer(json_object_get(config, "stop")) &&
                   !json_is_integer(json_object_get(config, "step"));
        bool samples = x.per_sample >> *at & 1;
        if (samples && !all)
            return kp_fail(rule->err, KP_UNSUPPORTED, "a part of the batch is taken");
        int64_t dim = x.dim[*at];
        if (!all) KP_TRY(slice_length(rule, item, dim, &dim));
        put(y, dim, samples);
    }
    ++*at; /* a number takes its axis away */
    return KP_OK;
}

kp_status kp_shape_getitem(kp_rule *rule)
{
    json_t *key = rule->cfg->key;
    if (!key && rule->call) key = json_array_get(rule->call->args, 1);
    kp_shape x = rule->x[0], y = {0};
    unsigned taken, at = 0;
    if (!key || !consumed(key, &taken))
        return kp_fail(rule->err, KP_UNSUPPORTED, "its index is no number, slice or list of them");
    if (taken > x.rank || x.rank + count_items(key) - taken > KP_RANK_MAX)
        return kp_fail(rule->err, KP_INPUT, "its index has more axes than %s",
                       kp_shape_text(x, 0).s);
    for (size_t i = 0; i < count_items(key); i++)
        KP_TRY(apply(rule, item_at(key, i), x.rank - taken, &at, &y));
    for (; at < x.rank; at++) put(&y, x.dim[at], x.per_sample >> at & 1);
    return kp_rule_y(rule, y);
}
