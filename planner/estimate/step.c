/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/step.c — stages to the whole iteration.
 *
 * m micro-batches through stages of uneven time t(s): sum t(s) + (m - 1) max t(s), the borders'
 * transfers once, then the slowest stage's gradient sync and update (Narayanan et al., SC 2021). */
#include "planner/estimate/cost.h"
#include <math.h>

/* The part of a gradient sync that overlap cannot hide, and the share of the last micro-batch's
 * backward pass that can hide it. */
#define EXPOSED_LEAST 0.1
#define HIDING        0.8
/* What the kernels of ZeRO 3's collectives take from computing while they overlap with it. */
#define CONTENTION 0.03
/* How far a step time may be off, either way, as a share: what the formulas reached on published
 * runs (mean error 5 to 12 %). */
#define TIME_ERROR 0.15

/* The largest moment of units [from, to): two overlapping powers of two. */
static uint64_t most_of(const kp_costs *c, uint32_t from, uint32_t to)
{
    uint32_t level = 0, n = to - from;
    if (!n) return 0;
    while (level + 1 < KP_MOMENT_LEVELS && 2u << level <= n) level++;
    const uint64_t *row = c->moment_bytes + (size_t)level * c->n_units;
    uint64_t most = row[from];
    for (uint32_t u = from; u + (1u << level) <= to; u += 1u << level)
        most = kp_max_u64(most, row[u]);
    return kp_max_u64(most, row[to - (1u << level)]);
}

uint64_t kp_costs_stage_bytes(const kp_costs *c, uint32_t from, uint32_t to, uint32_t in_flight)
{
    const kp_unit_sum *a = &c->sum[from], *b = &c->sum[to];
    uint64_t state =
        (b->weights_bytes - a->weights_bytes) + (b->optimizer_bytes - a->optimizer_bytes);
    uint64_t grads = b->gradients_bytes - a->gradients_bytes,
             copies = b->copies_bytes - a->copies_bytes;
    uint64_t borders =
        kp_add_u64(c->cross_bytes[from], kp_mul_u64(c->cross_bytes[to], c->sent_copies));
    uint64_t kept = kp_mul_u64(kp_add_u64(b->kept_bytes - a->kept_bytes, borders), in_flight);
    uint64_t moment = kp_add_u64(most_of(c, from, to), c->cross_bytes[to] + c->cross_bytes[from]);
    uint64_t pass = kp_add_u64(copies, kp_add_u64(kept, moment));
    uint64_t received = kp_mul_u64(c->cross_bytes[from], c->border_copies);
    uint64_t rest = kp_add_u64(c->fixed_bytes + received + grads,
                               kp_max_u64(pass, b->update_bytes - a->update_bytes));
    double high = (double)state + (double)rest * (1 + c->error);
    return (uint64_t)(high * (1 + c->waste)) + c->outside_bytes + 1;
}

double kp_costs_stage_s(const kp_costs *c, uint32_t from, uint32_t to)
{
    const kp_unit_sum *a = &c->sum[from], *b = &c->sum[to];
    return (b->forward_s - a->forward_s) + (b->backward_s - a->backward_s) + (b->tp_s - a->tp_s);
}

/* Of a pipeline over several nodes some borders are inside a node; all are priced as between nodes,
 * which is never too little. */
double kp_costs_cross_s(const kp_costs *c, uint32_t border, const kp_cluster *cluster,
                        const kp_strategy *strategy)
{
    uint32_t stride = strategy->dp * strategy->tp;
    bool spans = (uint64_t)stride * strategy->pp > cluster->gpus_per_node;
    if (spans && stride < cluster->gpus_per_node) stride = cluster->gpus_per_node;
    return 2 * kp_coll_time_s(KP_COLL_SEND_RECV, 2, stride, c->cross_bytes[border], cluster);
}

/* Gradients are summed over the dp group while the last backward pass runs. ZeRO 1 and 2 scatter
 * sums and gather weights; ZeRO 2, which keeps its share of the sums only, scatters every
 * micro-batch's; ZeRO 3 gathers weights twice and scatters gradients every micro-batch. */
static double sync_s(const kp_costs *c, uint32_t from, uint32_t to, const kp_strategy *s,
                     const kp_cluster *cluster)
{
    uint64_t bytes = c->sum[to].sync_bytes - c->sum[from].sync_bytes;
    double scatter = kp_coll_time_s(KP_COLL_REDUCE_SCATTER, s->dp, s->tp, bytes, cluster);
    double gather = kp_coll_time_s(KP_COLL_ALL_GATHER, s->dp, s->tp, bytes, cluster);
    double backward = c->sum[to].backward_s - c->sum[from].backward_s;
    if (s->dp < 2) return 0;
    if (s->zero == 3)
        return s->micro_batches *
               (fmax(EXPOSED_LEAST * (scatter + 2 * gather),
                     scatter + 2 * gather - HIDING * kp_costs_stage_s(c, from, to)) +
                CONTENTION * kp_costs_stage_s(c, from, to));
    double d = s->zero ? scatter : kp_coll_time_s(KP_COLL_ALL_REDUCE, s->dp, s->tp, bytes, cluster);
    double exposed = fmax(EXPOSED_LEAST * d, d - HIDING * backward);
    return exposed * (s->zero == 2 ? s->micro_batches : 1) + (s->zero ? gather : 0);
}

void kp_costs_tail_s(const kp_costs *c, uint32_t from, uint32_t to, const kp_strategy *strategy,
                     const kp_cluster *cluster, double *ret_sync_s, double *ret_update_s)
{
    double elems = (double)(c->sum[to].update_elems - c->sum[from].update_elems);
    *ret_sync_s = sync_s(c, from, to, strategy, cluster);
    *ret_update_s = elems * c->optimizer_bytes_an_elem / (c->memory_bytes_per_s * .8);
}

/* ---- the iteration ---- */

static uint32_t slowest_stage(const kp_costs *c, const uint32_t *borders, uint32_t pp)
{
    uint32_t worst = 0;
    for (uint32_t i = 1; i < pp; i++)
        if (kp_costs_stage_s(c, borders[i], borders[i + 1]) >
            kp_costs_stage_s(c, borders[worst], borders[worst + 1]))
            worst = i;
    return worst;
}

/* Positions of a sample if the first input is a sequence of token ids; 0 otherwise. */
static double tokens(const kp_graph *graph)
{
    if (!graph->n_inputs) return 0;
    const kp_tensor *x = &graph->tensors[graph->inputs[0]];
    if (kp_dtype_is_float(x->dtype) || x->shape.rank != 2 || !kp_shape_known(x->shape)) return 0;
    return (double)x->shape.dim[1];
}

void kp_step_time(const kp_costs *c, const uint32_t *borders, const kp_strategy *s,
                  const kp_training *training, const kp_graph *graph, const kp_cluster *cluster,
                  kp_plan_step *ret)
{
    uint32_t pp = s->pp, worst = slowest_stage(c, borders, pp);
    const kp_unit_sum *a = &c->sum[borders[worst]], *b = &c->sum[borders[worst + 1]];
    kp_plan_step step = {.tokens_per_s = NAN, .samples_per_s = NAN};
    step.tensor_parallel_s = s->micro_batches * (b->tp_s - a->tp_s);
    step.compute_s =
        s->micro_batches * ((b->forward_s - a->forward_s) + (b->backward_s - a->backward_s));
    double tail = -1;
    for (uint32_t i = 0; i < pp; i++) {
        double sync, update;
        if (i != worst) step.bubble_s += kp_costs_stage_s(c, borders[i], borders[i + 1]);
        if (i) step.pipeline_s += kp_costs_cross_s(c, borders[i], cluster, s);
        kp_costs_tail_s(c, borders[i], borders[i + 1], s, cluster, &sync, &update);
        if (sync + update <= tail) continue;
        tail = sync + update;
        step.data_parallel_s = sync;
        step.optimizer_s = update;
    }
    step.seconds = step.compute_s + step.bubble_s + step.tensor_parallel_s + step.pipeline_s +
                   step.data_parallel_s + step.optimizer_s;
    step.low_s = step.seconds * (1 - TIME_ERROR);
    step.high_s = step.seconds * (1 + TIME_ERROR);
    double per_sample = tokens(graph);
    if (per_sample > 0)
        step.tokens_per_s = (double)training->batch * per_sample / step.seconds;
    else
        step.samples_per_s = (double)training->batch / step.seconds;
    step.mfu =
        s->micro_batches * c->sum[c->n_units].flops / (pp * step.seconds * c->peak_flops_per_s);
    *ret = step;
}
