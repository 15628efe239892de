/* SPDX-License-Identifier: MIT */
#include "planner/estimate/work.h"
#include <math.h>

/* Efficiencies against the data sheet. Sustained training runs at 0.87 of single kernels. Products:
 * vidur's kernel times. Convolutions: DeepBench (tensor cores 0.3 to 0.59), NeuSight (CUDA cores
 * 0.8 and more), whole networks in TF32 at 14 to 17 % of its peak. */
#define SUSTAINED   0.87
#define E_PRODUCT   0.70
#define E_CONV_HALF 0.45
#define E_CONV_TF32 0.35
#define E_CONV_CORE 0.85
#define E_ELEMENTS  0.80
#define FILL_S      3e-6 /* peak x this is the work at which a product is half as fast */
/* A normalisation reads its input for the statistics, reads it again and writes; going back it
 * reads two tensors for the sums, two again and writes one. */
#define NORM_FORWARD  3
#define NORM_BACKWARD 5

static double first_known(const double *rates, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rates[i] > 0) return rates[i]; /* NaN is not */
    return 1e12;
}

static kp_rates rates_of(const kp_gpu_kind *k, kp_framework framework)
{
    double half[] = {k->bf16_flops_per_s, k->fp16_flops_per_s, k->fp32_flops_per_s};
    /* JAX and TensorFlow let float32 products use TF32; torch does only for convolutions. */
    bool tf32 = framework <= KP_FW_KERAS_TF_GRAPH;
    double single[] = {tf32 ? k->tf32_flops_per_s : NAN, k->fp32_flops_per_s, k->bf16_flops_per_s};
    double whole[] = {k->fp64_flops_per_s, k->fp32_flops_per_s / 32, k->bf16_flops_per_s / 64};
    double memory = k->memory_bytes_per_s > 0 ? k->memory_bytes_per_s : 3e11;
    double core[] = {k->fp32_flops_per_s, k->bf16_flops_per_s};
    return (kp_rates){first_known(half, KP_LEN(half)),
                      first_known(single, KP_LEN(single)),
                      first_known(whole, KP_LEN(whole)),
                      first_known(core, KP_LEN(core)),
                      tf32 && k->tf32_flops_per_s > 0,
                      memory,
                      0};
}

kp_rates kp_rates_of(const kp_cluster *cluster, const kp_profile *profile, kp_framework framework)
{
    kp_rates slow = {INFINITY, INFINITY, INFINITY, INFINITY, false, INFINITY, 0};
    const kp_gpu_kind *seen = NULL;
    for (uint32_t i = 0; i < cluster->n_slots; i++) {
        const kp_gpu_kind *kind = cluster->slots[i].device.kind;
        if (kind == seen) continue;
        seen = kind;
        kp_rates r = rates_of(kind, framework);
        slow.half_flops_per_s = fmin(slow.half_flops_per_s, r.half_flops_per_s);
        slow.single_flops_per_s = fmin(slow.single_flops_per_s, r.single_flops_per_s);
        slow.double_flops_per_s = fmin(slow.double_flops_per_s, r.double_flops_per_s);
        slow.core_flops_per_s = fmin(slow.core_flops_per_s, r.core_flops_per_s);
        slow.tf32 |= r.tf32;
        slow.memory_bytes_per_s = fmin(slow.memory_bytes_per_s, r.memory_bytes_per_s);
    }
    slow.launch_s = profile->xla ? 3e-6 : 8e-6;
    return slow;
}

double kp_rates_peak(const kp_rates *rates, kp_dtype dtype)
{
    if (dtype == KP_FLOAT64) return rates->double_flops_per_s;
    return kp_dtype_bytes(dtype) < 4 ? rates->half_flops_per_s : rates->single_flops_per_s;
}

/* ---- one op ---- */

static bool is_norm(kp_op op)
{
    return op == KP_OP_BATCHNORM || op == KP_OP_LAYERNORM || op == KP_OP_RMSNORM ||
           op == KP_OP_GROUPNORM;
}

/* What a product of this op and type reaches on the card. */
static double reached(const kp_graph_op *op, kp_dtype dtype, const kp_rates *rates)
{
    if (op->op == KP_OP_CONV_DEPTHWISE)
        return rates->core_flops_per_s * E_CONV_CORE * SUSTAINED / 4;
    bool conv = op->op == KP_OP_CONV || op->op == KP_OP_CONV_TRANSPOSE,
         half = kp_dtype_bytes(dtype) < 4;
    double e = !conv ? E_PRODUCT : half ? E_CONV_HALF : rates->tf32 ? E_CONV_TF32 : E_CONV_CORE;
    return kp_rates_peak(rates, dtype) * e * SUSTAINED;
}

static double value_bytes(const kp_keep *keep, uint32_t tensor)
{
    const kp_value *v = &keep->values[keep->root[tensor]];
    return (double)kp_sizes_tensor_elems(keep->sizes, tensor) * kp_dtype_bytes(v->dtype);
}

/* Bytes that one pass of the op moves: what it reads and writes. A fused op of XLA only pays for
 * what is in memory anyway, but for normalisations, whose sums need passes of their own. */
static double moved(const kp_keep *keep, const kp_graph_op *op)
{
    double bytes = 0;
    if (is_norm(op->op)) return NORM_FORWARD * value_bytes(keep, op->out[0]);
    for (uint32_t k = 0; k < op->n_out; k++)
        if (keep->values[keep->root[op->out[k]]].written) bytes += value_bytes(keep, op->out[k]);
    if (!op->n_out || (keep->profile->xla && bytes == 0)) return 0;
    for (uint32_t k = 0; k < op->n_in; k++) bytes += value_bytes(keep, op->in[k]);
    for (uint32_t k = 0; k < op->n_weights; k++)
        if (op->op != KP_OP_GATHER)
            bytes += 4. * (double)kp_sizes_weight_elems(keep->sizes, op->weights[k]);
    return bytes;
}

/* Steps of a recurrent layer wait for each other: several launches each in a loop, none in cuDNN.
 */
static double chain_s(const kp_keep *keep, const kp_graph_op *op, const kp_rates *rates)
{
    if (op->op != KP_OP_RNN) return 0;
    return (double)op->attr.steps * rates->launch_s * (keep->training->rnn == KP_RNN_LOOP ? 4 : 1);
}

static double pass_s(const kp_graph_op *op, double flops, double bytes, kp_dtype dtype,
                     const kp_rates *rates)
{
    if (flops <= 0 && bytes <= 0) return 0;
    bool product = kp_op_rows[op->op].kind == KP_KIND_WEIGHTY || op->op == KP_OP_RNN;
    double speed = reached(op, dtype, rates);
    double work_s = product && flops > 0
                        ? flops / speed + FILL_S * fmin(kp_rates_peak(rates, dtype) / speed, 4)
                        : 0;
    double moved_s = bytes / (rates->memory_bytes_per_s * E_ELEMENTS);
    return rates->launch_s + fmax(work_s, moved_s);
}

static void collectives(const kp_keep *keep, uint32_t op, kp_op_work *w)
{
    const kp_shard_row *row = kp_sizes_row(keep->sizes, op);
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!row || !o->n_out) return;
    w->forward = row->forward;
    w->forward_bytes = kp_mul_u64(kp_sizes_whole_elems(keep->sizes, o->out[0]),
                                  kp_dtype_bytes(keep->graph->tensors[o->out[0]].dtype));
    if (!o->n_in || !keep->wants[keep->graph->tensors[o->in[0]].op]) return;
    w->backward = row->backward;
    w->backward_bytes = kp_mul_u64(kp_sizes_whole_elems(keep->sizes, o->in[0]),
                                   kp_dtype_bytes(keep->graph->tensors[o->in[0]].dtype));
}

static bool is_divided(const kp_shard_row *row)
{
    return row && (row->weight_axis != KP_AXIS_WHOLE || row->y_local == KP_LAYOUT_CHANNEL);
}

kp_op_work kp_op_work_of(const kp_keep *keep, uint32_t op, const kp_rates *rates)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    kp_op_work w = {0};
    if (!o->n_out || o->op == KP_OP_INPUT) return w;
    kp_dtype dtype = keep->graph->tensors[o->out[0]].dtype;
    double parts = is_divided(kp_sizes_row(keep->sizes, op)) ? keep->sizes->tp : 1;
    double flops =
        isnan(o->forward_flops) ? 0 : o->forward_flops * (double)keep->sizes->micro_batch / parts;
    double bytes = keep->skipped[op] ? 0 : moved(keep, o);
    bool product = kp_op_rows[o->op].kind == KP_KIND_WEIGHTY || o->op == KP_OP_RNN;
    bool down = false;
    for (uint32_t k = 0; k < o->n_in; k++) down |= keep->wants[keep->graph->tensors[o->in[k]].op];
    bool trained = kp_keep_trains(keep->graph, o);
    double back = product ? down + trained + (!o->n_weights && down) : keep->wants[op] ? 1 : 0;
    if (is_norm(o->op)) back *= (double)NORM_BACKWARD / NORM_FORWARD;
    w.forward_s = pass_s(o, flops, bytes, dtype, rates) + chain_s(keep, o, rates);
    if (back > 0)
        w.backward_s = back * pass_s(o, flops, bytes, dtype, rates) + 2 * chain_s(keep, o, rates);
    w.flops = flops * (1 + back);
    collectives(keep, op, &w);
    return w;
}
