/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/tape_state.c — what lives through the whole step: weights, optimizer slots,
 * accumulators, the batch, small things. */
#include "planner/estimate/taping.h"

static void weight_state(kp_taping *t, uint32_t weight)
{
    const kp_weight *w = &t->graph->weights[weight];
    uint64_t elems = kp_sizes_weight_elems(&t->sizes, weight);
    uint64_t bytes = kp_mul_u64(elems, kp_dtype_bytes(w->dtype));
    kp_taping_weight(t, weight, KP_CAT_WEIGHTS, KP_TEXT_PLAIN, w->dtype,
                     kp_ceil_div(bytes, kp_taping_weight_shards(t, 3, weight)), 1);
}

/* Slots are in the weight's type; Megatron keeps them, and a master copy, in float32. */
static void slot_state(kp_taping *t, uint32_t weight)
{
    kp_weight w = t->graph->weights[weight];
    w.shape = t->sizes.weights[weight];
    bool master = t->training->framework == KP_FW_MEGATRON && kp_dtype_bytes(w.dtype) < 4;
    kp_dtype dtype = master ? KP_FLOAT32 : w.dtype;
    uint32_t shards = kp_taping_weight_shards(t, 1, weight), size = kp_dtype_bytes(dtype);
    uint64_t elems = kp_shape_elems(w.shape, 1), left = kp_optimizer_slot_elems(t->training, &w);
    if (master)
        kp_taping_weight(t, weight, KP_CAT_OPTIMIZER, KP_TEXT_MASTER, dtype,
                         kp_ceil_div(kp_mul_u64(elems, size), shards), 1);
    for (uint32_t i = 0; left && i < 6; i++) {
        uint64_t part = i < 5 ? kp_min_u64(left, elems) : left;
        kp_taping_weight(t, weight, KP_CAT_OPTIMIZER, (kp_weight_text)(KP_TEXT_SLOT_1 + i), dtype,
                         kp_ceil_div(kp_mul_u64(part, size), shards), 1);
        left -= part;
    }
}

static void accumulator(kp_taping *t, uint32_t weight)
{
    kp_dtype dtype;
    bool whole = kp_tape_titan(t) && t->part->strategy.pp > 1; /* until the last micro-batch */
    uint32_t shards = whole ? 1 : kp_taping_weight_shards(t, 2, weight);
    uint64_t bytes = kp_ceil_div(kp_taping_grad_bytes(t, weight, &dtype), shards);
    t->weight_grad[weight] =
        kp_taping_weight(t, weight, KP_CAT_GRADIENTS, KP_TEXT_ACCUMULATED, dtype, bytes, 1);
}

/* ---- the batch ---- */

static bool reads(const kp_taping *t, uint32_t tensor)
{
    if (t->part->end_op - t->part->first_op == t->graph->n_ops) return true;
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        for (uint32_t k = 0; k < t->graph->ops[i].n_in && kp_part_has(t->part, i); k++)
            if (t->graph->ops[i].in[k] == tensor) return true;
    return false;
}

static void input_state(kp_taping *t, uint32_t tensor)
{
    const kp_tensor *x = &t->graph->tensors[tensor];
    uint64_t elems = kp_sizes_tensor_elems(&t->sizes, tensor);
    kp_taping_new b = {KP_CAT_INPUTS,
                       x->layer,
                       x->op,
                       "input",
                       &t->sizes.tensors[tensor],
                       x->dtype,
                       kp_mul_u64(elems, kp_dtype_bytes(x->dtype))};
    if (reads(t, tensor)) kp_taping_take(t, &b, 1);
}

/* Labels look like the output in float32; those of sparse losses are int32 without its last axis.
 */
/* What torch's y.backward(g) is given for an output, or the one number of y.sum().backward(). */
static void given_state(kp_taping *t, uint32_t output)
{
    const kp_tensor *y = &t->graph->tensors[t->graph->outputs[output]];
    bool sum = t->training->loss == KP_LOSS_SUM;
    kp_dtype dtype = y->dtype;
    if (!sum && t->training->gradient_dtype)
        kp_dtype_from_name(t->training->gradient_dtype, &dtype);
    uint64_t elems = sum ? 1 : kp_sizes_tensor_elems(&t->sizes, t->graph->outputs[output]);
    kp_taping_new b = {KP_CAT_INPUTS,
                       y->layer,
                       KP_NO,
                       "gradient of the output, given",
                       sum ? NULL : &t->sizes.tensors[t->graph->outputs[output]],
                       dtype,
                       kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    t->given[output] = kp_taping_take(t, &b, 1);
}

/* A leaf that is no weight has its gradient beside it (torch: requires_grad), unless the op that
 * reads it writes the gradient over it. */
static void input_gradient(kp_taping *t, uint32_t tensor)
{
    const kp_tensor *x = &t->graph->tensors[tensor];
    const kp_graph_op *op = &t->graph->ops[x->op];
    if (!op->attr.requires_grad || op->attr.grad_in_place || !t->profile->programs) return;
    uint64_t bytes = kp_mul_u64(kp_sizes_tensor_elems(&t->sizes, tensor), kp_dtype_bytes(x->dtype));
    kp_taping_new b = {
        KP_CAT_GRADIENTS,          x->layer, x->op, "accumulated gradient of the input",
        &t->sizes.tensors[tensor], x->dtype, bytes};
    kp_taping_take(t, &b, 1);
}

static void label_state(kp_taping *t, uint32_t tensor)
{
    const kp_tensor *y = &t->graph->tensors[tensor];
    kp_shape *shape = KP_NEW(t->arena, kp_shape, 1);
    if (!shape) {
        t->status = kp_nomem(t->err);
        return;
    }
    *shape = t->sizes.tensors[tensor];
    bool sparse = !t->training->labels_onehot && shape->rank > 1;
    if (sparse) shape->rank--;
    kp_dtype dtype = sparse ? KP_INT32 : KP_FLOAT32;
    kp_taping_new b = {KP_CAT_INPUTS,
                       y->layer,
                       KP_NO,
                       "labels",
                       shape,
                       dtype,
                       kp_mul_u64(kp_shape_elems(*shape, 1), 4)};
    if (kp_keep_inside(&t->keep, y->op)) kp_taping_take(t, &b, 1);
}

/* Masks of attention: a byte a pair of positions, unless the loader leaves them out. T5 has one of
 * the encoder, one of the decoder and one between them, as integers of 8 bytes that the ranks of a
 * group share in one packed tensor (pretrain_t5.py, tensor_parallel/data.py). */
static uint64_t mask_bytes(const kp_taping *t, uint64_t tokens)
{
    const kp_graph *g = t->graph;
    uint64_t seq = (uint64_t)t->sizes.seq, second = 0;
    if (g->n_inputs > 1) {
        const kp_shape *d = &t->sizes.tensors[g->inputs[1]];
        second = d->rank > 1 ? (uint64_t)d->dim[1] : 0;
    }
    if (!second) return t->training->launch.no_mask ? 0 : kp_mul_u64(tokens, seq);
    uint64_t pairs = seq * seq + seq * second + second * second;
    return kp_mul_u64(kp_mul_u64(pairs, 16), t->part->strategy.micro_batch);
}

/* Megatron's batch has more: labels in 8 bytes, a mask of the loss, positions, masks of attention;
 * in Aceso's fork every stage makes one for each micro-batch. */
static void batch_state(kp_taping *t)
{
    const kp_launch *l = &t->training->launch;
    uint64_t tokens = kp_mul_u64((uint64_t)kp_max_u64((uint64_t)t->sizes.seq, 1) / l->cp,
                                 t->part->strategy.micro_batch);
    bool ends = t->part->stage == 0 || t->part->stage + 1 == t->part->strategy.pp;
    if (!kp_taping_is_megatron(t) || !t->sizes.seq || !(ends || t->listed)) return;
    kp_taping_new masks = {
        KP_CAT_INPUTS,         KP_NO, KP_NO, "positions and mask of the loss", NULL, KP_UINT8,
        kp_mul_u64(tokens, 16)};
    kp_taping_new mask = {KP_CAT_INPUTS,
                          KP_NO,
                          KP_NO,
                          "mask of attention",
                          NULL,
                          KP_BOOL,
                          kp_mul_u64(mask_bytes(t, tokens), t->listed ? t->part->in_flight : 1)};
    kp_taping_take(t, &masks, 1);
    kp_taping_take(t, &mask, 1);
}

/* What a stage receives, and the gradient that it sends back, of the last micro-batch: Megatron
 * holds them until the next. */
static void border_state(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint64_t bytes = 0;
    bool *seen = KP_NEW(t->arena, bool, g->n_tensors);
    if (!seen) t->status = kp_nomem(t->err);
    if (!seen || !kp_taping_is_megatron(t)) return;
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        for (uint32_t k = 0; k < g->ops[i].n_in && kp_part_has(t->part, i); k++) {
            uint32_t x = g->ops[i].in[k], writer = g->tensors[x].op;
            if (seen[x] || kp_part_has(t->part, writer) || g->ops[writer].op == KP_OP_INPUT)
                continue;
            seen[x] = true;
            bytes = kp_add_u64(bytes, kp_mul_u64(kp_sizes_tensor_elems(&t->sizes, x),
                                                 2 * kp_dtype_bytes(g->tensors[x].dtype)));
        }
    kp_taping_new b = {
        KP_CAT_COMMUNICATION, KP_NO, KP_NO, "received, and its gradient", NULL, KP_UINT8, bytes};
    kp_taping_take(t, &b, 1);
}

/* "--defer-embedding-wgrad-compute": gradients of the logits and what came into the head wait for
 * the products of the last micro-batch, with one more gradient of the head. */
static void deferred_state(kp_taping *t, uint32_t output)
{
    const kp_graph *g = t->graph;
    const kp_tensor *y = &g->tensors[output];
    const kp_graph_op *head = &g->ops[y->op];
    uint32_t waiting = t->training->launch.deferred;
    if (waiting > t->part->strategy.micro_batches) waiting = t->part->strategy.micro_batches;
    if (!waiting || !kp_keep_inside(&t->keep, y->op) || !head->n_in || !head->n_weights) return;
    uint64_t elems = kp_add_u64(kp_sizes_tensor_elems(&t->sizes, output),
                                kp_sizes_tensor_elems(&t->sizes, head->in[0]));
    uint64_t weight = kp_sizes_weight_elems(&t->sizes, head->weights[0]);
    uint32_t size = kp_dtype_bytes(y->dtype);
    kp_taping_new b = {KP_CAT_ACTIVATIONS,
                       y->layer,
                       KP_NO,
                       "what waits for the head's gradient",
                       NULL,
                       y->dtype,
                       kp_mul_u64(kp_mul_u64(elems, waiting), size)};
    kp_taping_new own = {KP_CAT_TEMPORARY,        y->layer, KP_NO,
                         "gradient of the head",  NULL,     y->dtype,
                         kp_mul_u64(weight, size)};
    kp_taping_take(t, &b, 1);
    kp_taping_take(t, &own, 1);
}

/* Where every rank of an expert group gets all tokens it holds, a layer, until its next forward
 * pass: probabilities of all of them, their map and what is gathered of it, some 12 bytes for each
 * token and expert (megatron/core/transformer/moe/token_dispatcher.py). */
static void dispatcher_state(kp_taping *t, uint32_t op)
{
    const kp_graph_op *o = &t->graph->ops[op];
    const kp_launch *l = &t->training->launch;
    if (strcmp(o->part, "router") || !kp_taping_is_megatron(t) || !l->gathers_experts) return;
    uint64_t elems = kp_mul_u64(kp_sizes_tensor_elems(&t->sizes, o->out[0]), l->ep);
    if (l->sequence) elems = kp_mul_u64(elems, l->etp);
    kp_taping_new b = {
        KP_CAT_TEMPORARY,     o->layer, op, "tokens of the expert group", NULL, KP_FLOAT32,
        kp_mul_u64(elems, 12)};
    kp_taping_take(t, &b, 1);
}

/* ---- small things ---- */

static void small(kp_taping *t, kp_category category, uint32_t layer, const char *what,
                  uint64_t bytes)
{
    kp_taping_new b = {category, layer, KP_NO, what, NULL, KP_UINT8, bytes};
    kp_taping_take(t, &b, 1);
}

/* Keras: a step counter and a learning rate, the sums of the loss trackers (8 bytes each; with
 * several outputs one more each), a seed of 8 bytes a dropout layer and a recurrent cell, and for
 * XLA the table of the results' addresses with the logs. */
static void small_state(kp_taping *t)
{
    const kp_graph *g = t->graph;
    uint32_t trackers = g->n_outputs > 1 ? g->n_outputs + 1 : 1, results = 0;
    small(t, KP_CAT_OPTIMIZER, KP_NO, "step and learning rate", t->profile->scalar_bytes);
    if (t->training->framework >= KP_FW_TORCH) return;
    small(t, KP_CAT_OPTIMIZER, KP_NO, "sums of the losses", 8 * (uint64_t)trackers);
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++) {
        const kp_graph_op *op = &g->ops[i];
        bool random = (op->op == KP_OP_DROPOUT && op->attr.rate > 0) || op->op == KP_OP_RNN;
        bool seed = random && !op->call && kp_part_has(t->part, i);
        uint32_t w = g->layers[op->layer].first_weight;
        for (uint32_t n = g->layers[op->layer].n_weights; n-- > 0; w++)
            seed &= g->weights[w].role != KP_ROLE_STATE;
        if (seed) small(t, KP_CAT_WEIGHTS, op->layer, "seed", 8);
    }
    if (!t->profile->xla) return;
    for (uint32_t i = 0; i < t->n_buffers; i++)
        results +=
            t->buffers[i].category == KP_CAT_WEIGHTS || t->buffers[i].category == KP_CAT_OPTIMIZER;
    results += 1 + (2 * trackers - 1) + trackers; /* the scalars stand for several variables */
    small(t, KP_CAT_TEMPORARY, KP_NO, "table of results",
          4 * (uint64_t)trackers + 8 * (uint64_t)results);
}

/* Bytes that gradients wait in until enough are there for one collective: XLA packs up to 30 MiB
 * (xla_gpu_all_reduce_combine_threshold_bytes) while the next gradient is computed, torch's two
 * buckets hold 25 MiB each and stand beside all gradients. */
static void bucket_state(kp_taping *t)
{
    uint64_t grads = 0, largest = 0, limit = (uint64_t)(t->profile->xla ? 30 : 50) << 20;
    bool in_place = kp_taping_is_megatron(t) || kp_tape_has_units(t) || kp_tape_titan(t);
    if (t->part->strategy.dp < 2 || in_place) return;
    for (uint32_t w = 0; w < t->graph->n_weights; w++) {
        kp_dtype dtype;
        if (!t->here[w] || !t->graph->weights[w].trainable) continue;
        uint64_t bytes = kp_taping_grad_bytes(t, w, &dtype);
        grads = kp_add_u64(grads, bytes);
        largest = kp_max_u64(largest, bytes);
    }
    if (t->profile->xla) grads -= largest;
    small(t, KP_CAT_COMMUNICATION, KP_NO, "gradient buckets", kp_min_u64(grads, limit));
}

void kp_tape_state(kp_taping *t)
{
    const kp_graph *g = t->graph;
    kp_taping_step(t, KP_PHASE_LOAD, KP_NO);
    for (uint32_t w = 0; w < g->n_weights; w++)
        if (t->here[w]) weight_state(t, w);
    for (uint32_t w = 0; w < g->n_weights; w++)
        if (t->here[w] && g->weights[w].trainable) slot_state(t, w);
    for (uint32_t w = 0; w < g->n_weights && kp_taping_accumulates(t); w++)
        if (t->here[w] && g->weights[w].trainable) accumulator(t, w);
    small_state(t);
    for (uint32_t i = 0; i < g->n_inputs; i++) input_state(t, g->inputs[i]);
    for (uint32_t i = 0; i < g->n_inputs && kp_taping_accumulates(t); i++)
        input_gradient(t, g->inputs[i]);
    if (t->training->loss == KP_LOSS_GRADIENT || t->training->loss == KP_LOSS_SUM) {
        t->given = KP_NEW(t->arena, uint32_t, g->n_outputs);
        if (!t->given) t->status = kp_nomem(t->err);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        if (t->given)
            given_state(t, i);
        else
            label_state(t, g->outputs[i]);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) deferred_state(t, g->outputs[i]);
    for (uint32_t i = t->part->first_op; i < t->part->end_op; i++)
        if (kp_part_has(t->part, i)) dispatcher_state(t, i);
    batch_state(t);
    border_state(t);
    bucket_state(t);
}
