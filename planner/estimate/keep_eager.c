/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_eager.c — what op-by-op runtimes keep, by the profile's tables.
 *
 * Every op writes its output, unless it is a view, runs in place or sits inside a fused attention
 * kernel; each op's backward pass reads what the table says. Storage that several ops keep counts
 * once. Sources: profile.c. */
#include "planner/estimate/keep.h"

/* Dropout, masks and views of scores that a fused attention never writes. */
static bool inside_fused(const kp_keep *keep, const kp_graph_op *op)
{
    if (!keep->flash || !op->n_in || op->op == KP_OP_ATTN_CONTEXT) return false;
    const kp_tensor *x = &keep->graph->tensors[op->in[0]];
    return keep->graph->ops[x->op].op == KP_OP_ATTN_SCORES && op->op == KP_OP_DROPOUT;
}

/* TensorFlow's layout optimiser runs float32 convolutions channels first and transposes what
 * leaves them for an op that it does not convert (generic_layout_optimizer.cc). */
static bool transposed(const kp_keep *keep, const kp_graph_op *op)
{
    if (!keep->profile->channels_first || !op->n_in || op->attr.channels_first) return false;
    const kp_tensor *x = &keep->graph->tensors[op->in[0]];
    const kp_shape *s = &keep->sizes->tensors[op->in[0]];
    bool maps = s->rank > 3 && s->dim[s->rank - 1] > 1 && s->dim[1] * s->dim[2] > 1;
    return maps && x->dtype == KP_FLOAT32 && keep->graph->ops[x->op].op != KP_OP_INPUT;
}

/* TensorFlow 1 has no op for GELU: going back, both factors of x * cdf(x) get their gradient
 * before the one of cdf is passed on. */
static kp_keep_rule version_1(kp_keep_rule rule, const kp_graph_op *op)
{
    if (op->op == KP_OP_ACT && op->attr.activation == KP_ACT_GELU) rule.moment = 2;
    if (op->op == KP_OP_ATTN_SCORES) rule.copies = 0;
    if (op->op == KP_OP_DROPOUT) {
        rule.mask = 0;
        rule.copies = 1;
    }
    return rule;
}

static kp_keep_rule rule_of(const kp_keep *keep, const kp_graph_op *op)
{
    if (op->op == KP_OP_ACT) {
        kp_keep_rule rule = keep->profile->acts[op->attr.activation];
        if (keep->profile->version_1) rule = version_1(rule, op);
        bool none =
            rule.in == KP_KEEP_NO_INPUT && !rule.out && op->attr.activation != KP_ACT_LINEAR;
        return none ? keep->profile->acts[KP_ACT_OTHER] : rule;
    }
    kp_keep_rule rule = keep->profile->rules[op->op];
    if (op->op == KP_OP_DROPOUT && !(op->attr.rate > 0))
        return (kp_keep_rule){.store = KP_STORE_ALIAS};
    if (keep->profile->version_1) rule = version_1(rule, op);
    if (op->op == KP_OP_RELU && keep->profile->acts_over) rule.store = KP_STORE_IN_PLACE;
    if (op->op == KP_OP_VIEW && keep->graph->tensors[op->out[0]].shape.rank == 2 &&
        transposed(keep, op))
        rule.store = KP_STORE_NEW;
    if (op->op == KP_OP_RESCALE && keep->graph->format == KP_FORMAT_MEGATRON)
        rule.store = KP_STORE_ALIAS; /* its rotary positions are written over queries and keys */
    if (op->op == KP_OP_CAST) {
        const kp_tensor *x = &keep->graph->tensors[op->in[0]],
                        *y = &keep->graph->tensors[op->out[0]];
        rule.store = x->dtype == y->dtype ? KP_STORE_ALIAS : KP_STORE_NEW;
    }
    if (inside_fused(keep, op)) return (kp_keep_rule){.store = KP_STORE_NONE};
    if (!keep->flash) return rule;
    if (op->op == KP_OP_ATTN_SCORES)
        return (kp_keep_rule){.in = KP_KEEP_ALL, .row = 4, .store = KP_STORE_NONE};
    if (op->op == KP_OP_ATTN_CONTEXT) {
        rule.out = true;
        rule.copies = keep->context_twice;
    }
    return rule;
}

static bool reads(kp_keep *keep, uint32_t op, uint32_t tensor)
{
    uint32_t root = keep->root[tensor];
    const kp_graph_op *writer = &keep->graph->ops[keep->graph->tensors[root].op];
    bool fused = writer->op != KP_OP_INPUT && rule_of(keep, writer).store == KP_STORE_NONE;
    return fused || kp_keep_need(keep, op, root);
}

/* torch's autocast, a mixed policy, runs an op that computes in float32 whatever comes in
 * (autocast_mode.cpp); FSDP casts the weights instead. */
static bool autocasts(const kp_keep *keep, const kp_graph_op *op)
{
    bool half = kp_dtype_bytes(keep->graph->tensors[op->out[0]].dtype) < 4;
    return half && keep->training->framework == KP_FW_TORCH && keep->part->strategy.zero < 3 &&
           kp_dtype_bytes(keep->graph->layers[op->layer].variable_dtype) == 4;
}

/* Normalisations that compute in float32 keep their input in that type instead of the half one;
 * under autocast all but BatchNorm. */
static bool in_float32(const kp_keep *keep, const kp_graph_op *op)
{
    bool rows = op->op == KP_OP_LAYERNORM || op->op == KP_OP_RMSNORM || op->op == KP_OP_GROUPNORM;
    bool half = kp_dtype_bytes(keep->graph->tensors[op->out[0]].dtype) < 4;
    if (rows && autocasts(keep, op)) return true;
    return (rows || op->op == KP_OP_BATCHNORM) && half && keep->profile->norms_f32;
}

static bool keep_inputs(kp_keep *keep, uint32_t op, kp_keep_rule rule)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    bool trained = kp_keep_trains(keep->graph, o);
    uint32_t n = 0;
    if (rule.in == KP_KEEP_ALL) n = o->n_in;
    if (rule.in == KP_KEEP_FIRST) n = o->n_in > 0;
    if (rule.in == KP_KEEP_FOR_WEIGHT) n = trained ? o->n_in > 0 : o->n_weights ? 0 : o->n_in;
    if (n && in_float32(keep, o)) return true; /* the copy is kept: keep_extras */
    for (uint32_t k = 0; k < n; k++)
        if (!reads(keep, op, o->in[k])) return false;
    return true;
}

static bool add_bytes(kp_keep *keep, uint32_t op, kp_extra_when when, kp_category category,
                      const char *what, kp_dtype dtype, uint64_t bytes)
{
    uint32_t y = keep->graph->ops[op].out[0];
    kp_extra made = {op, when, category, what, &keep->sizes->tensors[y], dtype, bytes};
    return kp_keep_extra(keep, made);
}

/* TensorFlow's 3-D poolings transpose all operands of their gradient (cudnn_pooling_gpu.cc), and
 * the layout optimiser leaves them channels last. */
static bool pool_scratch(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    bool pool = o->op == KP_OP_POOL_MAX || o->op == KP_OP_POOL_AVG;
    if (!keep->profile->channels_first || !pool || o->attr.spatial < 3) return true;
    if (o->attr.channels_first) return true;
    uint64_t x = keep->values[keep->root[o->in[0]]].bytes, y = keep->values[o->out[0]].bytes;
    kp_dtype dtype = keep->graph->tensors[o->out[0]].dtype;
    return add_bytes(keep, op, KP_EXTRA_BACKWARD, KP_CAT_TEMPORARY, "transposed operands", dtype,
                     kp_mul_u64(kp_add_u64(x, y), 2)) &&
           add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "input, channels last", dtype,
                     transposed(keep, o) ? x : 0);
}

/* An embedding whose ranks have own samples, gathered behind its last operation. */
static bool apart(const kp_keep *keep, uint32_t op)
{
    const kp_shard_row *row = kp_sizes_row(keep->sizes, op);
    uint32_t layer = keep->graph->ops[op].layer;
    if (!keep->training->launch.ends_apart || row) return false;
    while (keep->graph->layers[layer].parent != KP_NO) layer = keep->graph->layers[layer].parent;
    return !keep->graph->layers[layer].is_model;
}

static bool keep_extras(kp_keep *keep, uint32_t op, kp_keep_rule rule)
{
    uint32_t y = keep->graph->ops[op].out[0];
    kp_dtype dtype = keep->graph->tensors[y].dtype;
    kp_shape shape = keep->sizes->tensors[y];
    uint64_t elems = kp_shape_elems(shape, 1), bytes = kp_mul_u64(elems, kp_dtype_bytes(dtype));
    uint64_t last = shape.rank ? kp_max_u64((uint64_t)shape.dim[shape.rank - 1], 1) : 1;
    if (in_float32(keep, &keep->graph->ops[op])) {
        dtype = KP_FLOAT32;
        bytes = kp_mul_u64(elems, 4);
        if (!add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "input in float32", dtype,
                       bytes))
            return false;
    }
    if (!pool_scratch(keep, op)) return false;
    if (apart(keep, op)) elems = kp_ceil_div(elems, keep->part->strategy.tp);
    bool again = kp_keep_again(keep, op), indices = rule.mask == 8;
    kp_extra_when when = again ? KP_EXTRA_BACKWARD : KP_EXTRA_KEPT;
    kp_category category = again ? KP_CAT_TEMPORARY : KP_CAT_ACTIVATIONS;
    return add_bytes(keep, op, when, category, indices ? "indices" : "mask",
                     indices ? KP_INT64 : KP_BOOL, kp_mul_u64(elems, rule.mask)) &&
           add_bytes(keep, op, when, category, "intermediate values", dtype,
                     kp_mul_u64(bytes, rule.copies)) &&
           add_bytes(keep, op, when, category, "statistics of rows", KP_FLOAT32,
                     kp_mul_u64(elems / last, rule.row)) &&
           add_bytes(keep, op, KP_EXTRA_BACKWARD, KP_CAT_TEMPORARY, "intermediate gradients", dtype,
                     kp_mul_u64(bytes, rule.moment));
}

/* Context parallelism: keys and values are copied together, to go around the ring of ranks
 * (transformer_engine, context_parallel.py). */
static bool keep_ring(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (o->op != KP_OP_ATTN_SCORES || !keep->flash || keep->training->launch.cp < 2 || o->n_in < 2)
        return true;
    uint64_t bytes = kp_mul_u64(kp_sizes_tensor_elems(keep->sizes, o->in[1]),
                                2 * kp_dtype_bytes(keep->graph->tensors[o->in[1]].dtype));
    return add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "keys and values for the ring",
                     keep->graph->tensors[o->in[1]].dtype, bytes);
}

/* Sequence parallelism of DTensors: a product whose columns are divided keeps its input gathered,
 * once for all products that read it (torch/distributed/tensor/parallel/style.py). */
static bool keep_whole_input(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    const kp_shard_row *row = kp_sizes_row(keep->sizes, op);
    bool columns = o->op == KP_OP_MATMUL && row &&
                   (row->y == KP_LAYOUT_CHANNEL || row->y_local == KP_LAYOUT_CHANNEL);
    if (!keep->training->launch.titan || keep->sizes->tp < 2 || !columns) return true;
    uint32_t root = keep->root[o->in[0]];
    for (uint32_t i = keep->graph->tensors[root].op + 1; i < op; i++) {
        const kp_graph_op *earlier = &keep->graph->ops[i];
        bool reads_it = earlier->n_in && keep->root[earlier->in[0]] == root;
        if (earlier->op == KP_OP_MATMUL && reads_it) return true;
    }
    uint64_t bytes = kp_mul_u64(keep->values[root].bytes, keep->sizes->tp);
    return add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "input of all ranks",
                     keep->values[root].dtype, bytes);
}

/* A dropout reads the op's output, and what it makes goes on. */
static bool drops_next(const kp_keep *keep, uint32_t op)
{
    const kp_graph_op *next = &keep->graph->ops[op + 1];
    return op + 1 < keep->graph->n_ops && next->op == KP_OP_DROPOUT && next->attr.rate > 0 &&
           next->in[0] == keep->graph->ops[op].out[0];
}

/* Scores that attention writes: under autocast the softmax is float32 and kept so, beside the half
 * copy that the next product reads (with dropout: that of the dropout), and the scores' gradient is
 * made in float32 from one that is. Before torch 1.11 a softmax keeps what it reads too
 * (derivatives.yaml: _softmax_backward_data took `self`). */
static bool keep_softmax(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    uint32_t version = keep->training->torch_version;
    if (o->op != KP_OP_ATTN_SCORES || keep->flash || !keep->profile->caching) return true;
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, o->out[0]);
    kp_dtype dtype = keep->graph->tensors[o->out[0]].dtype,
             wide = autocasts(keep, o) ? KP_FLOAT32 : dtype;
    bool casts = wide != dtype;
    uint64_t more = casts ? 4 - (drops_next(keep, op) ? kp_dtype_bytes(dtype) : 0) : 0;
    uint64_t read = version && version < 111 ? kp_dtype_bytes(wide) : 0;
    return add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "softmax in float32", wide,
                     kp_mul_u64(elems, more)) &&
           add_bytes(keep, op, KP_EXTRA_BACKWARD, KP_CAT_TEMPORARY, "gradients in float32", wide,
                     kp_mul_u64(elems, casts ? 8 : 0)) &&
           add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "what the softmax reads", wide,
                     kp_mul_u64(elems, read));
}

/* Experts that several ranks divide: the rows gathered from those ranks are held beside their copy
 * in the order of the experts. Published peaks of Megatron's functional tests have both. */
static bool keep_gathered(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    uint32_t y = o->out[0];
    if (keep->training->launch.etp < 2 || strcmp(o->part, "dispatch")) return true;
    return add_bytes(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "gathered rows",
                     keep->graph->tensors[y].dtype, keep->values[y].bytes);
}

/* A program says itself what it allocates; which inputs its backward pass reads is in the row. */
static bool keep_program(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    keep->back[op] = KP_BACK_WEIGHTY;
    for (uint32_t k = 0; k < o->n_out; k++) keep->values[o->out[k]].written = true;
    for (uint32_t k = 0; k < o->n_in && keep->wants[op]; k++)
        if (o->attr.keeps >> k & 1 && !reads(keep, op, o->in[k])) return false;
    return true;
}

static bool keep_op(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!o->n_out || o->op == KP_OP_INPUT) return true;
    if (keep->programs && o->attr.program) return keep_program(keep, op);
    kp_keep_rule rule = rule_of(keep, o);
    bool adds = o->op == KP_OP_ADD || o->op == KP_OP_BIAS_ADD || o->op == KP_OP_CONCAT;
    keep->back[op] = adds || rule.store != KP_STORE_NEW ? KP_BACK_PASS : KP_BACK_WEIGHTY;
    if (rule.store == KP_STORE_NONE) {
        keep->skipped[op] = false;
    } else if (!keep->skipped[op]) {
        for (uint32_t k = 0; k < o->n_out; k++) keep->values[o->out[k]].written = true;
    }
    if (!keep->wants[op]) return true;
    if (!keep_inputs(keep, op, rule)) return false;
    for (uint32_t k = 0; k < o->n_out && rule.out; k++)
        if (!reads(keep, op, o->out[k])) return false;
    if (o->op == KP_OP_RNN && !kp_keep_rnn(keep, op)) return false;
    if (!keep_ring(keep, op) || !keep_gathered(keep, op) || !keep_whole_input(keep, op))
        return false;
    if (!keep_softmax(keep, op)) return false;
    return keep_extras(keep, op, rule);
}

/* Takes over the storage of the first input: a view always, an op in place if it is the only
 * reader, the input's own op does not keep its output, and this one does not keep its input. */
static bool takes_over(const kp_keep *keep, const kp_graph_op *op)
{
    if (!op->n_in || op->n_out != 1) return false;
    kp_keep_rule rule = rule_of(keep, op);
    const kp_tensor *x = &keep->graph->tensors[op->in[0]], *y = &keep->graph->tensors[op->out[0]];
    if (!kp_keep_inside(keep, x->op)) return false;
    if (rule.store == KP_STORE_ALIAS) return true;
    if (rule.store != KP_STORE_IN_PLACE || x->n_uses != 1 || x->dtype != y->dtype) return false;
    const kp_tensor *root = &keep->graph->tensors[keep->root[op->in[0]]];
    const kp_graph_op *writer = &keep->graph->ops[x->op], *first = &keep->graph->ops[root->op];
    if (first->op == KP_OP_INPUT || rule_of(keep, writer).out || rule_of(keep, first).out)
        return false;
    return root->n_uses == 1 && rule.in == KP_KEEP_NO_INPUT;
}

bool kp_keep_eager(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    kp_equals equals;
    if (!kp_equals_init(&equals, keep)) return false;
    for (uint32_t i = keep->part->first_op; i < keep->part->end_op; i++) {
        bool over = kp_keep_inside(keep, i) && takes_over(keep, &g->ops[i]);
        uint32_t same = over                    ? keep->root[g->ops[i].in[0]]
                        : keep->profile->merges ? kp_equals_find(&equals, keep, i)
                                                : KP_NO;
        if (same == KP_NO) continue;
        keep->root[g->ops[i].out[0]] = same;
        keep->skipped[i] = true;
    }
    for (uint32_t i = 0; i < g->n_ops; i++) {
        keep->first_need[i] = keep->n_needs;
        keep->first_extra[i] = keep->n_extras;
        if (kp_keep_inside(keep, i) && !keep_op(keep, i)) return false;
    }
    keep->first_need[g->n_ops] = keep->n_needs;
    keep->first_extra[g->n_ops] = keep->n_extras;
    return true;
}
