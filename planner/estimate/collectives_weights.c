/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/collectives_weights.c — gradients and weights over the data-parallel ranks, in
 * each framework's buckets. */
#include "planner/estimate/collecting.h"

/* Buckets of gradients in the order of the backward pass. XLA combines all-reduces up to 30 MiB
 * (xla/debug_options_flags.cc, all_reduce_combine_threshold_bytes) and leaves larger ones alone;
 * torch's DDP closes a bucket that has reached 25 MiB, the first at 1 MiB (bucket_cap_mb,
 * kDefaultFirstBucketBytes); DeepSpeed takes 5e8 elements (reduce_bucket_size); TensorFlow's
 * strategies send one pack (bytes_per_pack 0), Megatron without overlap one buffer. */
typedef struct bucketing {
    uint64_t first, limit; /* bytes; 0: all in one */
    bool over;             /* closed once it has reached the limit; else before it passes it */
    uint32_t extra;        /* bytes that travel with the last: the loss */
} bucketing;

#define DEEPSPEED_ELEMS 500000000ull

static const bucketing xla_buckets = {30u << 20, 30u << 20, false, 4},
                       ddp_buckets = {1u << 20, 25u << 20, true, 0}, one_bucket = {0, 0, false, 0};

static bucketing buckets_of(const kp_collecting *c, kp_dtype dtype)
{
    kp_framework framework = c->t.training->framework;
    if (framework == KP_FW_KERAS_JAX) return xla_buckets;
    if (framework != KP_FW_TORCH && framework != KP_FW_KERAS_TORCH) return one_bucket;
    if (!c->t.part->strategy.zero) return ddp_buckets;
    uint64_t limit = DEEPSPEED_ELEMS * kp_dtype_bytes(dtype);
    return (bucketing){limit, limit, false, 0};
}

/* A bucket that fills: what becomes of it depends on ZeRO. */
typedef struct filling {
    bucketing how;
    uint64_t gradients, weights, reduced; /* bytes so far; of all buckets before */
    uint32_t ranks, unit;                 /* unit: of ZeRO 3's, the outermost layer */
} filling;

static void close_bucket(kp_collecting *c, filling *f, uint32_t extra)
{
    uint32_t zero = c->t.part->strategy.zero;
    uint64_t micro = c->t.part->strategy.micro_batches, share = kp_ceil_div(f->gradients, f->ranks);
    if (!zero)
        kp_collect(c, KP_COLLECTIVE_ALL_REDUCE, KP_COLLECTIVE_GRADIENTS, f->gradients + extra, 1);
    else
        kp_collect(c, KP_COLLECTIVE_REDUCE_SCATTER, KP_COLLECTIVE_GRADIENTS, share,
                   zero == 1 ? 1 : micro);
    if (zero)
        kp_collect(c, KP_COLLECTIVE_ALL_GATHER, KP_COLLECTIVE_WEIGHTS, f->weights,
                   zero == 3 ? 2 * micro : 1);
    if (f->gradients) f->how.first = f->how.limit;
    f->gradients = f->weights = 0;
}

static uint32_t top_of(const kp_graph *g, uint32_t layer)
{
    while (g->layers[layer].parent != KP_NO) layer = g->layers[layer].parent;
    return layer;
}

static void fill(kp_collecting *c, filling *f, uint32_t weight)
{
    kp_dtype dtype;
    const kp_weight *w = &c->t.graph->weights[weight];
    uint64_t bytes = kp_taping_grad_bytes(&c->t, weight, &dtype);
    uint64_t size = kp_dtype_bytes(kp_taping_compute(&c->t, weight));
    uint32_t unit = top_of(c->t.graph, w->layer);
    bool units = c->t.part->strategy.zero == 3;
    bool full = f->how.limit && !f->how.over && f->gradients + bytes > f->how.limit;
    if (f->weights && (units ? unit != f->unit : full)) close_bucket(c, f, 0);
    f->unit = unit;
    if (w->trainable) f->gradients = kp_add_u64(f->gradients, bytes);
    f->weights =
        kp_add_u64(f->weights, kp_mul_u64(kp_sizes_weight_elems(&c->t.sizes, weight), size));
    if (!units && f->how.over && f->gradients >= f->how.first) close_bucket(c, f, 0);
}

/* Under XLA the batch of a normalisation is the whole batch: moments and the two sums that go back
 * are added over the ranks, and the latter are the gradients of its scale and shift. */
static void whole_batch(kp_collecting *c, const kp_graph_op *o, bool *seen)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; k < o->n_weights; k++) {
        const kp_weight *w = &c->t.graph->weights[o->weights[k]];
        if (!w->trainable) continue;
        bytes = kp_add_u64(bytes, kp_mul_u64(kp_shape_elems(w->shape, 1), 4));
        seen[o->weights[k]] = true;
    }
    kp_collect(c, KP_COLLECTIVE_ALL_REDUCE, KP_COLLECTIVE_ACTIVATIONS, bytes, 2);
}

/* Of expert weights, or of the others: they are summed over groups of their own. */
static void fill_all(kp_collecting *c, bool experts, uint32_t ranks, bool *seen)
{
    const kp_graph *g = c->t.graph;
    filling f = {.ranks = ranks};
    if (ranks < 2) return;
    bool xla = c->t.training->framework == KP_FW_KERAS_JAX, begun = false;
    for (uint32_t i = g->n_ops; i-- > 0;) {
        const kp_graph_op *o = &g->ops[i];
        if (!kp_keep_inside(&c->t.keep, i)) continue;
        if (xla && o->op == KP_OP_BATCHNORM && kp_keep_trains(g, o)) whole_batch(c, o, seen);
        for (uint32_t k = o->n_weights; k-- > 0;) {
            uint32_t w = o->weights[k];
            kp_dtype dtype = g->weights[w].dtype;
            if (seen[w] || g->weights[w].expert != experts) continue;
            if (!g->weights[w].trainable && c->t.part->strategy.zero < 3)
                continue; /* not gathered */
            seen[w] = true;
            if (!begun) f.how = buckets_of(c, dtype);
            begun = true;
            fill(c, &f, w);
        }
    }
    close_bucket(c, &f, f.how.extra);
}

void kp_collect_weights(kp_collecting *c, bool *seen)
{
    const kp_launch *l = &c->t.training->launch;
    const kp_strategy *s = &c->t.part->strategy;
    uint32_t ranks = s->dp * l->cp;
    uint64_t all = (uint64_t)ranks * s->tp, spread = (uint64_t)l->ep * l->etp;
    bool apart = kp_taping_is_megatron(&c->t) && spread > 1;
    fill_all(c, false, ranks, seen);
    fill_all(c, true, apart ? (uint32_t)(all / spread) : ranks, seen);
}
