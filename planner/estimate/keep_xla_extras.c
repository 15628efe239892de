/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/keep_xla_extras.c — buffers of XLA:GPU beside the values themselves: zeros of a
 * pooling, GELU's factor, centred inputs of normalisations, scores of attention, every step of a
 * recurrent loop. Source: buffer assignments of XLA:GPU for Keras 3.15 train steps on an H100. */
#include "planner/estimate/keep.h"

/* Columns of at most so many rows are reduced in one kernel; taller ones are split in two
 * (xla/service/gpu/reduction_utils.cc: 128 rows a thread of a warp). In one kernel
 * BatchNormalization's variance reads x - mean from memory. */
#define ONE_PASS_ROWS   (128 * 32)
#define MULTIPROCESSORS 132 /* of an H100 */

static bool extra(kp_keep *keep, uint32_t op, kp_extra_when when, kp_category category,
                  const char *what, uint32_t tensor, uint64_t times, kp_dtype dtype)
{
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, tensor);
    kp_extra made = {op,
                     when,
                     category,
                     what,
                     &keep->sizes->tensors[tensor],
                     dtype,
                     kp_mul_u64(kp_mul_u64(elems, kp_dtype_bytes(dtype)), times)};
    return kp_keep_extra(keep, made);
}

/* ---- zeros ---- */

static bool same_zeros(const kp_keep *keep, uint32_t relu, uint32_t pool)
{
    const kp_graph *g = keep->graph;
    const kp_graph_op *r = &g->ops[relu];
    bool leaky = r->op == KP_OP_ACT && r->attr.activation == KP_ACT_LEAKY_RELU;
    if ((r->op != KP_OP_RELU && !leaky) || keep->skipped[relu] || !keep->wants[relu]) return false;
    uint32_t y = r->out[0], x = keep->root[g->ops[pool].in[0]];
    return g->tensors[y].dtype == g->tensors[x].dtype &&
           kp_shape_equal(keep->sizes->tensors[y], keep->sizes->tensors[x]);
}

/* The call below a ReLU, whose gradient reads the zeros last; the ReLU itself if there is none. */
static uint32_t home_of(const kp_keep *keep, uint32_t relu)
{
    const kp_graph *g = keep->graph;
    for (uint32_t below = relu; g->ops[below].n_in == 1;) {
        const kp_tensor *x = &g->tensors[keep->root[g->ops[below].in[0]]];
        if (x->n_uses != 1 || !kp_keep_inside(keep, x->op)) break;
        below = x->op;
        if (kp_op_rows[g->ops[below].op].kind == KP_KIND_WEIGHTY) return below;
    }
    return relu;
}

/* The gradient of a max pooling is scattered into zeros, those of a ReLU are a constant: one
 * buffer for all of one shape, written by the kernel of the first such ReLU and kept until its
 * gradient is there. Where several ReLUs share them the pooling has a copy. One whose input others
 * read adds to their gradients instead. */
bool kp_keep_xla_zeros(kp_keep *keep)
{
    const kp_graph *g = keep->graph;
    uint32_t first = keep->part->first_op, end = keep->part->end_op;
    keep->zeros = KP_NEW(keep->arena, uint32_t, g->n_ops);
    keep->scatters = KP_NEW(keep->arena, bool, g->n_ops);
    if (!keep->zeros || !keep->scatters) return false;
    memset(keep->zeros, 0xff, g->n_ops * sizeof(*keep->zeros));
    for (uint32_t i = first; i < end; i++) {
        if (g->ops[i].op != KP_OP_POOL_MAX || !keep->wants[i]) continue;
        if (g->tensors[keep->root[g->ops[i].in[0]]].n_uses > 1) continue;
        uint32_t relus = 0;
        for (uint32_t r = first; r < end; r++) {
            if (!same_zeros(keep, r, i) || relus++ > 0) continue;
            keep->zeros[home_of(keep, r)] = r;
            keep->values[keep->root[g->ops[r].out[0]]].written = true;
        }
        keep->scatters[i] = relus > 1;
    }
    return true;
}

bool kp_keep_xla_zeros_of(kp_keep *keep, uint32_t op)
{
    uint32_t y = keep->graph->ops[keep->zeros[op]].out[0];
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, y);
    kp_dtype dtype = keep->graph->tensors[y].dtype;
    kp_extra zeros = {keep->zeros[op],
                      KP_EXTRA_KEPT,
                      KP_CAT_ACTIVATIONS,
                      "zeros of a ReLU and a pooling",
                      &keep->sizes->tensors[y],
                      dtype,
                      kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    return kp_keep_extra(keep, zeros);
}

/* Reads an input that is in memory; one that is fused is computed again from what it reads. */
static bool need_written(kp_keep *keep, uint32_t op, uint32_t x)
{
    return !keep->values[x].written ||
           keep->graph->ops[keep->graph->tensors[x].op].op == KP_OP_INPUT ||
           kp_keep_need(keep, op, x);
}

/* The kernel that reduces an activation writes it too: the op's backward pass reads it. */
static bool need_reduced(kp_keep *keep, uint32_t op, uint32_t x)
{
    const kp_graph_op *writer = &keep->graph->ops[keep->graph->tensors[x].op];
    bool act = writer->op == KP_OP_RELU || writer->op == KP_OP_ACT;
    return !act || !kp_keep_inside(keep, keep->graph->tensors[x].op) || kp_keep_need(keep, op, x);
}

/* Each axis's position and the value of every window; where cuDNN wants the channels elsewhere
 * they are made as soon as the values are there. */
bool kp_keep_xla_pool(kp_keep *keep, uint32_t op)
{
    const kp_graph *g = keep->graph;
    const kp_graph_op *o = &g->ops[op];
    uint32_t x = keep->root[o->in[0]];
    kp_shape y = keep->sizes->tensors[o->out[0]];
    bool early = o->attr.spatial > 2 && !o->attr.channels_first && y.dim[y.rank - 1] > 1;
    if (keep->scatters[op] && !extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS,
                                     "zeros of the pooling's gradient", x, 1, g->tensors[x].dtype))
        return false;
    return need_written(keep, op, x) &&
           extra(keep, op, early ? KP_EXTRA_START : KP_EXTRA_BACKWARD, KP_CAT_TEMPORARY,
                 "window positions", o->out[0], y.rank + 1u, KP_INT32);
}

/* Windows that do not overlap hand their gradient on inside fused kernels. What a fused op feeds to
 * the pooling is in memory for a moment. */
bool kp_keep_xla_windows(kp_keep *keep, uint32_t op)
{
    uint32_t x = keep->root[keep->graph->ops[op].in[0]];
    if (keep->values[x].written) return true;
    return extra(keep, op, KP_EXTRA_FORWARD, KP_CAT_TEMPORARY, "input of the pooling", x, 1,
                 keep->graph->tensors[x].dtype);
}

/* ---- curved ops ---- */

static bool norm_extras(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    uint32_t y = o->out[0], x = keep->root[o->in[0]];
    kp_shape shape = keep->sizes->tensors[y];
    bool axis = o->attr.axis >= 0 && (unsigned)o->attr.axis < shape.rank;
    uint64_t channels = axis ? (uint64_t)shape.dim[o->attr.axis] : 1;
    bool few = channels && kp_shape_elems(shape, 1) / channels <= ONE_PASS_ROWS;
    if (!(few ? need_reduced(keep, op, x) : need_written(keep, op, x))) return false;
    return !few || extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "input less its mean", y, 1,
                         KP_FLOAT32);
}

/* A global average over an activation that others read too, as in squeeze-and-excite: one kernel
 * reduces few positions, and writes the activation for the others while it has too few blocks (32
 * columns each) to be worth computing it twice. The bound lies between 12 and 13 blocks of 32
 * samples on 132 multiprocessors. */
bool kp_keep_xla_average(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    uint32_t x = keep->root[o->in[0]];
    uint64_t in = kp_sizes_tensor_elems(keep->sizes, x),
             out = kp_max_u64(kp_sizes_tensor_elems(keep->sizes, o->out[0]), 1);
    bool few = in / out <= ONE_PASS_ROWS && out / 32 <= 3 * MULTIPROCESSORS &&
               keep->graph->tensors[x].n_uses > 1;
    return !few || o->attr.channels_first || need_reduced(keep, op, x);
}

/* Adaptive pooling gathers the windows of one axis after the other; what the first gather of three
 * reduces is in memory, the others fuse. */
bool kp_keep_xla_stages(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    bool adaptive = !strncmp(keep->graph->layers[o->layer].class_name, "Adaptive", 8);
    if (!adaptive || o->attr.spatial < 3) return true;
    unsigned first = o->attr.channels_first ? 2 : 1;
    uint32_t x = keep->root[o->in[0]];
    kp_shape in = keep->sizes->tensors[x], out = keep->sizes->tensors[o->out[0]];
    uint64_t elems = kp_sizes_tensor_elems(keep->sizes, x);
    kp_dtype dtype = keep->graph->tensors[x].dtype;
    if (in.rank <= first || in.dim[first] < 1) return true;
    elems = kp_mul_u64(elems / (uint64_t)in.dim[first], (uint64_t)out.dim[first]);
    kp_extra made = {op,
                     KP_EXTRA_FORWARD,
                     KP_CAT_TEMPORARY,
                     "windows of the first axis",
                     NULL,
                     dtype,
                     kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    return kp_keep_extra(keep, made);
}

static bool table_extras(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!kp_keep_trains(keep->graph, o)) return true;
    const kp_shape *shape = &keep->sizes->weights[o->weights[0]];
    kp_extra made = {op,
                     KP_EXTRA_START,
                     KP_CAT_GRADIENTS,
                     "dense gradient of the table",
                     shape,
                     KP_FLOAT32,
                     kp_mul_u64(kp_shape_elems(*shape, 1), 4)};
    return kp_keep_extra(keep, made);
}

bool kp_keep_xla_curved(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    kp_dtype dtype = keep->graph->tensors[o->out[0]].dtype;
    bool gelu = o->op == KP_OP_ACT && o->attr.activation == KP_ACT_GELU;
    if (o->op == KP_OP_BATCHNORM) return norm_extras(keep, op);
    if (o->op == KP_OP_GATHER) return table_extras(keep, op);
    if (gelu)
        return extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "factor of GELU", o->out[0],
                     dtype == KP_FLOAT32 ? 1 : 2, dtype);
    return o->op != KP_OP_RNN || kp_keep_xla_rnn(keep, op);
}

/* Keras's GroupQueryAttention repeats keys and values for the heads of a group: copies, which the
 * backward pass reads in place of theirs. */
static bool repeated(kp_keep *keep, uint32_t op)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    kp_shape x = keep->sizes->tensors[o->in[1]];
    bool groups = strstr(keep->graph->layers[o->layer].class_name, "QueryAttention") != NULL;
    uint64_t heads = groups && x.rank > 3 ? (uint64_t)x.dim[x.rank - 2] : 0;
    if (!heads || o->attr.heads <= heads) return true;
    return extra(keep, op, KP_EXTRA_KEPT, KP_CAT_ACTIVATIONS, "keys or values for every head",
                 o->in[1], o->attr.heads / heads, keep->graph->tensors[o->in[1]].dtype);
}

static bool given_out(const kp_graph *g, uint32_t tensor)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == tensor) return true;
    return false;
}

/* The gradient of the context stands in two orders, for the values' gradient and the scores'. Of
 * the scores what the softmax reads. Without a dropout Keras calls the backend's attention, which
 * computes them in float32; a dropout behind the softmax fuses with it: then the output stands for
 * the scores, unless the layer gives that to the caller. */
bool kp_keep_xla_scores(kp_keep *keep, uint32_t op, bool read)
{
    const kp_graph_op *o = &keep->graph->ops[op];
    if (!repeated(keep, op)) return false;
    if (o->op == KP_OP_ATTN_CONTEXT)
        return extra(keep, op, KP_EXTRA_GRADIENT, KP_CAT_TEMPORARY,
                     "gradient of the context, transposed", o->out[0], 1,
                     keep->graph->tensors[o->out[0]].dtype);
    if (o->op != KP_OP_ATTN_SCORES || (read && !given_out(keep->graph, o->out[0]))) return true;
    bool again = kp_keep_again(keep, op);
    return extra(keep, op, again ? KP_EXTRA_BACKWARD : KP_EXTRA_KEPT,
                 again ? KP_CAT_TEMPORARY : KP_CAT_ACTIVATIONS, "scores before the softmax",
                 o->out[0], 1, KP_FLOAT32);
}

/* Additive scores are a sum over the features of tanh(query + key), [batch, queries, keys,
 * features]: a buffer, which the scale's gradient reads again. */
bool kp_keep_xla_sums(kp_keep *keep, uint32_t op)
{
    const kp_graph *g = keep->graph;
    const kp_graph_op *o = &g->ops[op];
    bool additive = !strcmp(g->layers[o->layer].class_name, "AdditiveAttention");
    for (uint32_t k = 0; k < o->n_weights; k++) {
        const char *path = g->weights[o->weights[k]].path;
        additive |= strstr(path, "concat_score_weight") != NULL;
    }
    kp_shape x = keep->sizes->tensors[keep->root[o->in[0]]];
    if (!additive || !x.rank) return true;
    kp_dtype dtype = g->tensors[o->out[0]].dtype;
    uint64_t elems =
        kp_mul_u64(kp_sizes_tensor_elems(keep->sizes, o->out[0]), (uint64_t)x.dim[x.rank - 1]);
    kp_extra made = {op,
                     keep->wants[op] ? KP_EXTRA_KEPT : KP_EXTRA_FORWARD,
                     keep->wants[op] ? KP_CAT_ACTIVATIONS : KP_CAT_TEMPORARY,
                     "sums of queries and keys",
                     NULL,
                     dtype,
                     kp_mul_u64(elems, kp_dtype_bytes(dtype))};
    return kp_keep_extra(keep, made);
}
