/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_titan.c — torchtitan's runs: fully_shard, its checkpointing, its loss.
 *
 * fully_shard divides weights one by one in float32. A block's are gathered into one tensor on a
 * stream of their own, then copied into the weights that products read, in the compute type; the
 * next block's come beside them. What is in no block is whole from the forward pass to the end of
 * the backward pass; in pipelines all blocks are, so that micro-batches do not gather them again,
 * and gradients are summed whole, in float32, until the last. Else a weight's gradient is copied to
 * float32 and reduced; the shares that stay are made on the stream that reduces. Free memory of one
 * stream serves no other.
 * Checkpointing by op saves what attention and every other product of a block write, and makes the
 * rest again. Compiled, what no backward pass reads is not saved; without checkpointing, what can
 * be made again by elementwise ops is.
 * The loss casts logits to float32: its logarithms stay, beside two gradients of them for a moment;
 * where tensor parallel ranks divide the vocabulary, beside three tensors of that size.
 * Sources: torchtitan/parallelisms/parallelize_llama.py, train.py; torch/distributed/fsdp/
 * _fully_shard/_fsdp_collectives.py, _fsdp_param_group.py;
 * torch/distributed/tensor/parallel/loss.py; torch/_functorch/partitioners.py. */
#include "planner/estimate/taping.h"

/* Streams of the device beside the one that computes. */
enum { GATHERS = 1, REDUCES = 2 };

bool kp_tape_titan(const kp_taping *t)
{
    return t->training->framework == KP_FW_TORCH && t->training->launch.titan;
}

static uint32_t on_stream(kp_taping *t, uint32_t buffer, uint8_t stream)
{
    if (buffer != KP_NO) t->buffers[buffer].stream = stream;
    return buffer;
}

/* ---- checkpointing ---- */

static bool kept_product(const kp_taping *t, const kp_graph_op *o, uint32_t number)
{
    bool every = t->part->strategy.recompute == KP_RECOMPUTE_NONE;
    return o->op == KP_OP_MATMUL && (every || number % 2);
}

/* Values of a block that its backward passes read, or that make such values again. What is held
 * anyhow ends the search. */
static void find_useful(const kp_taping *t, uint32_t from, const bool *held, bool *useful)
{
    const kp_graph *g = t->graph;
    for (uint32_t i = t->segment[from]; i-- > from;) {
        const kp_graph_op *o = &g->ops[i];
        bool makes = false;
        for (uint32_t k = 0; k < o->n_out; k++) {
            uint32_t root = t->keep.root[o->out[k]];
            useful[root] |= t->own_needs[root] > 0;
            makes |= useful[root] && !held[root];
        }
        for (uint32_t k = 0; k < o->n_in && makes; k++) useful[t->keep.root[o->in[k]]] = true;
    }
}

/* Marks what a block saves in `saved`, where what crosses its borders stands already. */
static void save_block(const kp_taping *t, uint32_t from, const bool *useful, bool *saved)
{
    uint32_t products = 0;
    for (uint32_t i = from; i < t->segment[from]; i++) {
        const kp_graph_op *o = &t->graph->ops[i];
        bool product = o->op == KP_OP_MATMUL && kept_product(t, o, ++products);
        uint32_t root = o->n_out ? t->keep.root[o->out[0]] : 0;
        bool drops = t->training->launch.compiled && !useful[root];
        if ((product || o->op == KP_OP_ATTN_CONTEXT) && !drops) saved[root] = true;
    }
}

kp_status kp_tape_titan_save(kp_taping *t, bool *saved)
{
    kp_recompute how = t->part->strategy.recompute;
    bool *useful = KP_NEW(t->arena, bool, t->graph->n_tensors);
    if (!useful) return kp_nomem(t->err);
    bool by_op = how == KP_RECOMPUTE_SELECTIVE && t->training->launch.per_op;
    if (!by_op && how != KP_RECOMPUTE_NONE) return KP_OK;
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i = t->segment[i]) {
        if (!kp_tape_recomputed(t, i)) continue;
        find_useful(t, i, saved, useful);
        save_block(t, i, useful, saved);
    }
    return KP_OK;
}

/* ---- fully_shard ---- */

/* Bytes of a weight as it is gathered. */
static uint64_t gathered(const kp_taping *t, uint32_t w)
{
    const kp_weight *weight = &t->graph->weights[w];
    bool product = weight->role == KP_ROLE_KERNEL && kp_tape_in_block(t->graph, weight->layer);
    uint32_t size = kp_dtype_bytes(kp_taping_compute(t, w));
    if (product && t->training->launch.float8_gather) size = 1;
    return kp_mul_u64(kp_sizes_weight_elems(&t->sizes, w), size);
}

static uint32_t take(kp_taping *t, const char *what, uint64_t bytes)
{
    kp_taping_new b = {KP_CAT_COMMUNICATION, KP_NO, KP_NO, what, NULL, KP_UINT8, bytes};
    return kp_taping_take(t, &b, 1);
}

void kp_tape_titan_gather(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint64_t block = 0, most = 0, all = 0, outside = 0;
    if (!kp_taping_fsdp(t)) return;
    for (uint32_t w = 0, last = KP_NO; w < g->n_weights; w++) {
        uint64_t bytes = t->here[w] ? gathered(t, w) : 0;
        uint32_t layer = g->weights[w].layer;
        bool inside = kp_tape_in_block(g, layer);
        if (!inside) outside = kp_add_u64(outside, bytes);
        block = !inside ? 0 : kp_add_u64(kp_tape_same_block(g, layer, last) ? block : 0, bytes);
        last = layer;
        most = kp_max_u64(most, block);
        all = kp_add_u64(all, bytes);
    }
    uint64_t two = kp_mul_u64(most, 2);
    bool stays = t->part->strategy.pp > 1;
    uint32_t flat = take(t, "gathered in one tensor", kp_max_u64(outside, two));
    on_stream(t, flat, GATHERS);
    t->whole = take(t, "whole weights", stays ? all : kp_add_u64(outside, two));
    kp_taping_drop(t, flat);
}

void kp_tape_titan_gradient(kp_taping *t, uint32_t w)
{
    uint64_t elems = kp_sizes_weight_elems(&t->sizes, w), wide = kp_mul_u64(elems, 4);
    kp_dtype dtype = kp_taping_compute(t, w);
    uint64_t bytes = kp_mul_u64(elems, kp_dtype_bytes(dtype));
    bool last = --t->left[w] == 0, added = t->weight_grad[w] != KP_NO;
    uint32_t fresh = kp_taping_weight(t, w, KP_CAT_GRADIENTS, KP_TEXT_GRADIENT, dtype, bytes, 1);
    if (added) { /* to a share, or in pipelines to the whole */
        kp_taping_drop(t, fresh);
        return;
    }
    if (!last) { /* a tied weight's first */
        kp_taping_drop(t, fresh);
        return;
    }
    uint32_t reduced =
        kp_taping_weight(t, w, KP_CAT_COMMUNICATION, KP_TEXT_GRADIENT, KP_FLOAT32, wide, 1);
    kp_taping_drop(t, fresh);
    t->weight_grad[w] = kp_taping_weight(t, w, KP_CAT_GRADIENTS, KP_TEXT_GRADIENT, KP_FLOAT32,
                                         kp_ceil_div(wide, kp_taping_weight_shards(t, 2, w)), 1);
    on_stream(t, t->weight_grad[w], REDUCES);
    kp_taping_drop(t, reduced);
}

/* ---- the loss ---- */

static uint32_t take_logits(kp_taping *t, uint32_t root, const char *what, kp_dtype dtype)
{
    uint64_t bytes = kp_mul_u64(kp_sizes_tensor_elems(&t->sizes, root), kp_dtype_bytes(dtype));
    kp_taping_new b = {KP_CAT_TEMPORARY,
                       t->graph->tensors[root].layer,
                       KP_NO,
                       what,
                       &t->sizes.tensors[root],
                       dtype,
                       bytes};
    return kp_taping_take(t, &b, 1);
}

/* The loss in float32 and its gradients up to that of the float32 logits. Tensor parallel ranks
 * have parts of the vocabulary each and compute step by step: what is less the largest, its
 * exponentials, their logarithms; then the labels' gradient, exponentials, sum and product. */
static uint32_t wide_loss(kp_taping *t, uint32_t root, uint32_t cast)
{
    bool parts = t->part->strategy.tp > 1;
    uint32_t less = parts ? take_logits(t, root, "logits less the largest", KP_FLOAT32) : KP_NO;
    if (parts) kp_taping_drop(t, take_logits(t, root, "exponentials", KP_FLOAT32));
    uint32_t logs = take_logits(t, root, "log softmax", KP_FLOAT32);
    kp_taping_drop(t, less);
    kp_tape_drop_value(t, root, t->graph->tensors[root].op);
    kp_taping_drop(t, cast);
    uint32_t of_logs = take_logits(t, root, "gradient of log softmax", KP_FLOAT32);
    uint32_t powers = parts ? take_logits(t, root, "exponentials", KP_FLOAT32) : KP_NO;
    uint32_t sum = parts ? take_logits(t, root, "sum of both", KP_FLOAT32) : KP_NO;
    kp_taping_drop(t, powers);
    uint32_t wide = take_logits(t, root, "gradient of the output", KP_FLOAT32);
    kp_taping_drop(t, sum);
    kp_taping_drop(t, of_logs);
    kp_taping_drop(t, logs);
    return wide;
}

/* F.cross_entropy(logits.float(), labels), whose logits the caller has dropped; ret: the gradient
 * of the logits. */
static uint32_t eager_loss(kp_taping *t, uint32_t root)
{
    kp_dtype dtype = t->graph->tensors[root].dtype;
    bool half = kp_dtype_bytes(dtype) < 4;
    uint32_t cast = half ? take_logits(t, root, "logits in float32", KP_FLOAT32) : KP_NO;
    uint32_t wide = wide_loss(t, root, cast);
    if (!half) return wide;
    uint32_t grad = take_logits(t, root, "gradient of the output", dtype);
    kp_taping_drop(t, wide);
    return grad;
}

void kp_tape_titan_loss(kp_taping *t)
{
    const kp_graph *g = t->graph;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t root = t->keep.root[g->outputs[i]];
        if (!kp_keep_inside(&t->keep, g->tensors[root].op)) continue;
        kp_taping_step(t, KP_PHASE_BACKWARD, g->tensors[root].op);
        uint32_t grad = t->training->launch.compiled_loss
                            ? take_logits(t, root, "gradient of the output", g->tensors[root].dtype)
                            : eager_loss(t, root);
        kp_tape_flow_to(t, root, grad);
        if (t->training->launch.compiled_loss) kp_tape_drop_value(t, root, g->tensors[root].op);
    }
}
