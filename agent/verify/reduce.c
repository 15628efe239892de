/* SPDX-License-Identifier: MIT
 *
 * Making a problem small without changing what is proved: every cut dimension keeps its degree
 * and whether, and by how much, the degree divides it. */
#include "agent/verify/problem.h"
#include <math.h>

/* One size of a problem: the axes that have it, and how small it may become. */
typedef struct knob {
    int x, w, y;   /* axes; KP_NO_AXIS */
    uint64_t unit; /* the size on x (or, if it is not there, on y) stays a multiple of it */
    uint64_t least;
    bool cut;
    int space; /* CONV: 0..2 for a spatial dimension, whose y follows from x; else -1 */
} knob;

typedef struct knobs {
    knob at[8];
    unsigned n;
} knobs;

enum { LEAST_FREE = 2, LEAST_ROWS = 8 };

static void add(knobs *k, int x, int w, int y, bool cut)
{
    k->at[k->n++] = (knob){x, w, y, 1, LEAST_FREE, cut, -1};
}

/* What the row divides. Any mention counts, so that a wrong row is run as it stands. */
typedef struct divided {
    bool batch, in, out, rows;
} divided;

static divided row_divides(const kp_shard_row *row)
{
    bool x_channel = row->x == KP_LAYOUT_CHANNEL;
    bool y_channel = row->y_local == KP_LAYOUT_CHANNEL || row->y == KP_LAYOUT_CHANNEL;
    return (divided){.batch = row->x == KP_LAYOUT_BATCH || row->y_local == KP_LAYOUT_BATCH ||
                              row->y == KP_LAYOUT_BATCH,
                     .in = x_channel || row->weight_axis == KP_AXIS_IN,
                     .out = y_channel || row->weight_axis == KP_AXIS_OUT,
                     .rows = row->weight_axis == KP_AXIS_ROWS};
}

static void conv_knobs(const kp_problem *p, divided d, knobs *k)
{
    add(k, p->x_channel, 3, KP_NO_AXIS, d.in);
    k->at[k->n - 1].unit = p->groups;
    add(k, KP_NO_AXIS, 4, p->y_channel, d.out);
    k->at[k->n - 1].unit = p->groups;
    for (int i = 0; i < 3; i++) {
        add(k, p->space + i, KP_NO_AXIS, p->space + i, false);
        uint64_t window = (uint64_t)(p->kernel[i] - 1) * p->dilation[i] + 1;
        k->at[k->n - 1].least = window + p->strides[i];
        k->at[k->n - 1].space = i;
    }
}

static knobs list_knobs(const kp_problem *p, divided d)
{
    knobs k = {0};
    add(&k, 0, KP_NO_AXIS, 0, d.batch);
    switch (p->op) {
    case KP_OP_MATMUL:
        add(&k, 1, KP_NO_AXIS, 1, false);
        add(&k, 2, 0, KP_NO_AXIS, d.in);
        add(&k, 3, 1, KP_NO_AXIS, false);
        add(&k, KP_NO_AXIS, 2, 2, d.out);
        add(&k, KP_NO_AXIS, 3, 3, false);
        break;
    case KP_OP_CONV:
        conv_knobs(p, d, &k);
        break;
    case KP_OP_GATHER:
        add(&k, 1, KP_NO_AXIS, 1, false);
        add(&k, KP_NO_AXIS, 0, KP_NO_AXIS, d.rows);
        k.at[k.n - 1].least = LEAST_ROWS;
        add(&k, KP_NO_AXIS, 1, 2, d.out);
        break;
    default:
        add(&k, 1, KP_NO_AXIS, 1, false);
        add(&k, 2, p->has_w ? 0 : KP_NO_AXIS, 2, d.in || d.out);
        add(&k, 3, p->has_w ? 1 : KP_NO_AXIS, 3, false);
        add(&k, 4, KP_NO_AXIS, 4, false);
        break;
    }
    return k;
}

static uint64_t size_of(const kp_problem *p, const knob *k)
{
    if (k->x != KP_NO_AXIS) return (uint64_t)p->x.dim[k->x];
    return (uint64_t)(k->y != KP_NO_AXIS ? p->y.dim[k->y] : p->w.dim[k->w]);
}

static void set_size(kp_problem *p, const knob *k, uint64_t size)
{
    bool grouped = p->op == KP_OP_CONV && k->w == 3;
    if (k->x != KP_NO_AXIS) p->x.dim[k->x] = (int64_t)size;
    if (k->w != KP_NO_AXIS) p->w.dim[k->w] = (int64_t)(grouped ? size / p->groups : size);
    if (k->y != KP_NO_AXIS) p->y.dim[k->y] = (int64_t)size;
    if (k->space < 0) return;
    kp_shape y;
    if (kp_problem_output(p, p->x, p->w, &y, NULL) == KP_OK) p->y = y;
}

/* The smallest size that the degree divides as it divides `size`: same remainder, at least one
 * element a rank where the full size has that, a multiple of the unit. */
static uint64_t same_class(uint64_t size, uint32_t ranks, uint64_t unit)
{
    for (uint64_t s = kp_round_up(kp_max_u64(ranks, 1), unit); s < size; s += unit)
        if (s % ranks == size % ranks) return s;
    return size;
}

static uint64_t largest_tensor(const kp_problem *p)
{
    uint64_t x = kp_shape_elems(p->x, 1), y = kp_shape_elems(p->y, 1);
    uint64_t w = p->has_w ? kp_shape_elems(p->w, 1) : 0;
    return kp_max_u64(x, kp_max_u64(y, w));
}

static double products(const kp_problem *p)
{
    double per_element = 1;
    if (p->op == KP_OP_MATMUL) per_element = (double)p->w.dim[0] * (double)p->w.dim[1];
    if (p->op == KP_OP_CONV) per_element = (double)kp_shape_elems(p->w, 1) / (double)p->w.dim[4];
    return per_element * (double)kp_shape_elems(p->y, 1);
}

static bool small_enough(const kp_problem *p, uint64_t limit)
{
    double most = (double)limit * sqrt((double)limit);
    return largest_tensor(p) <= limit && products(p) <= most;
}

/* The smallest multiple of the unit that is allowed. */
static uint64_t least_of(const knob *k)
{
    return kp_round_up(kp_max_u64(k->least, k->unit), k->unit);
}

/* The free size that can give most; NULL if all are as small as they may be. */
static const knob *next_to_shrink(const kp_problem *p, const knobs *k)
{
    const knob *best = NULL;
    double best_ratio = 1;
    for (unsigned i = 0; i < k->n; i++) {
        const knob *at = &k->at[i];
        double ratio = (double)size_of(p, at) / (double)least_of(at);
        if (at->cut || ratio <= best_ratio) continue;
        best = at;
        best_ratio = ratio;
    }
    return best;
}

/* Fewer groups of the same sizes; where filters are divided, so many that their number stays in its
 * class. Multiples of a group's filters repeat their remainders after `ranks` steps. */
static void drop_groups(kp_problem *p, bool cut, uint32_t ranks)
{
    const uint64_t filters = (uint64_t)p->w.dim[4], each = filters / p->groups;
    uint64_t n = cut ? kp_ceil_div(kp_min_u64(ranks, filters), each) : LEAST_FREE;
    if (n < LEAST_FREE) n = LEAST_FREE;
    for (uint32_t i = 0; cut && i < ranks && n * each % ranks != filters % ranks; i++) n++;
    if (n >= p->groups || (cut && n * each % ranks != filters % ranks)) return;
    p->groups = (uint32_t)n;
    p->x.dim[p->x_channel] = p->w.dim[3] * (int64_t)n;
    p->y.dim[p->y_channel] = p->w.dim[4] = (int64_t)(n * each);
}

bool kp_problem_reduce(kp_problem *p, const kp_shard_row *row, uint32_t ranks, uint64_t limit)
{
    if (limit == 0 || small_enough(p, limit)) return false;
    const kp_problem before = *p;
    const divided d = row_divides(row);
    if (p->op == KP_OP_CONV && p->groups > 1 && !d.in) drop_groups(p, d.out, ranks);
    const knobs k = list_knobs(p, d);
    for (unsigned i = 0; i < k.n; i++)
        if (k.at[i].cut)
            set_size(p, &k.at[i], same_class(size_of(p, &k.at[i]), ranks, k.at[i].unit));
    const knob *at;
    while (!small_enough(p, limit) && (at = next_to_shrink(p, &k)) != NULL) {
        uint64_t half = size_of(p, at) / 2 / at->unit * at->unit;
        set_size(p, at, kp_max_u64(half, least_of(at)));
    }
    return !kp_problem_equal(p, &before);
}
