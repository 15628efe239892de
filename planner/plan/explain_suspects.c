/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_suspects.c — conditions of rules over one layer. */
#include "planner/plan/explain_parts.h"
#include <ctype.h>

kp_suspect kp_suspect_of(const kp_explaining *e, uint32_t layer)
{
    const kp_graph *g = e->look.graph;
    uint32_t op = kp_look_main_op(&e->look, layer);
    return (kp_suspect){e,
                        &e->look,
                        &g->layers[layer],
                        &e->look.memory.layers[layer],
                        op == KP_NO ? NULL : &g->ops[op],
                        layer};
}

/* ---- what the file does not show ---- */

bool kp_holds_unknown(const kp_suspect *s)
{
    return s->op && s->op->op == KP_OP_OPAQUE && !s->op->attr.program;
}

/* Does `name` hold `word`, whatever the case? */
static bool has_word(const char *name, const char *word)
{
    for (; *name; name++) {
        size_t i = 0;
        while (word[i] && tolower((unsigned char)name[i]) == word[i]) i++;
        if (!word[i]) return true;
    }
    return false;
}

/* Custom layers that are known to compare every pair of positions: attention-augmented
 * convolutions (Bello et al. 2019), non-local blocks (Wang et al. 2018). */
bool kp_holds_hidden_scores(const kp_suspect *s)
{
    static const char *const words[] = {"attention", "nonlocal", "non_local", "attn"};
    bool known = false;
    for (size_t i = 0; i < KP_LEN(words); i++) known |= has_word(s->layer->class_name, words[i]);
    return known && kp_holds_unknown(s);
}

/* ---- weights ---- */

static bool is(const kp_suspect *s, kp_op op)
{
    return s->op && s->op->op == op;
}

static bool is_conv(const kp_suspect *s)
{
    return is(s, KP_OP_CONV) || is(s, KP_OP_CONV_DEPTHWISE);
}

bool kp_holds_huge_count(const kp_suspect *s)
{
    return kp_look_layer_params(s->look, s->id) > INT32_MAX;
}

/* The op that wrote the input, behind dropout and the like. */
static const kp_graph_op *feeder(const kp_suspect *s)
{
    const kp_graph *g = s->look->graph;
    const kp_graph_op *op = s->op;
    do {
        if (!op->n_in) return op;
        op = &g->ops[g->tensors[op->in[0]].op];
    } while (op->op == KP_OP_DROPOUT || op->op == KP_OP_CAST);
    return op;
}

bool kp_holds_flatten_dense(const kp_suspect *s)
{
    if (!is(s, KP_OP_MATMUL) || !s->op->n_weights || !kp_by_states(s)) return false;
    const kp_graph_op *before = feeder(s);
    bool flatten = before->op == KP_OP_VIEW && before->n_in == 1;
    if (!flatten) return false;
    const kp_tensor *x = &s->look->graph->tensors[before->in[0]],
                    *y = &s->look->graph->tensors[before->out[0]];
    return x->shape.rank > y->shape.rank && y->shape.rank == 2;
}

/* Features far wider than the units that read them, or a kernel as large as the map: a Dense layer
 * in other clothes. */
bool kp_holds_flatten_rnn(const kp_suspect *s)
{
    enum { WIDE = 16, KERNEL = 49 };
    if (!kp_by_states(s)) return false;
    if (is_conv(s)) {
        uint64_t area = 1;
        for (unsigned i = 0; i < s->op->attr.spatial; i++) area *= s->op->attr.kernel[i];
        return area >= KERNEL;
    }
    if (!is(s, KP_OP_RNN) || !s->op->n_in) return false;
    kp_shape x = s->look->graph->tensors[s->op->in[0]].shape;
    return x.rank && x.dim[x.rank - 1] > (int64_t)WIDE * s->op->attr.units;
}

bool kp_holds_wide(const kp_suspect *s)
{
    return kp_by_states(s);
}

/* ---- what is kept ---- */

bool kp_holds_rnn_length(const kp_suspect *s)
{
    return is(s, KP_OP_RNN) && !kp_by_states(s);
}

/* Only where a good part of what is kept is scores: fused kernels never write them. */
bool kp_holds_scores(const kp_suspect *s)
{
    const kp_graph *g = s->look->graph;
    const kp_tape *tape = &s->look->tape;
    uint64_t scores = 0;
    for (uint32_t i = 0; i < tape->n_buffers && !kp_by_states(s); i++) {
        const kp_tape_buffer *b = &tape->buffers[i];
        if (b->layer == s->id && b->category == KP_CAT_ACTIVATIONS && b->op != KP_NO &&
            g->ops[b->op].op == KP_OP_ATTN_SCORES)
            scores = kp_add_u64(scores, b->bytes);
    }
    return scores && scores >= s->bytes->activations / 4;
}

/* The head of a language model: an output with thousands of classes at every position. */
bool kp_holds_logits(const kp_suspect *s)
{
    const kp_graph *g = s->look->graph;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const kp_tensor *y = &g->tensors[g->outputs[i]];
        if (y->layer == s->id && y->shape.rank > 2 && y->shape.dim[y->shape.rank - 1] > 1000 &&
            !kp_by_states(s))
            return true;
    }
    return false;
}

uint64_t kp_multiplier(const kp_suspect *s)
{
    const kp_graph *g = s->look->graph;
    uint64_t n = s->layer->n_calls > 1 ? s->layer->n_calls : 1;
    for (uint32_t up = s->layer->parent; up != KP_NO; up = g->layers[up].parent)
        if (g->layers[up].n_calls > 1) n = kp_mul_u64(n, g->layers[up].n_calls);
    bool steps = !strcmp(s->layer->class_name, "TimeDistributed") && s->layer->n_outputs &&
                 s->layer->outputs[0].rank > 2 && s->layer->outputs[0].dim[1] > 1;
    return steps ? kp_mul_u64(n, (uint64_t)s->layer->outputs[0].dim[1]) : n;
}

bool kp_holds_multiplied(const kp_suspect *s)
{
    return !kp_by_states(s) && kp_multiplier(s) > 1;
}

/* A convolution on a map that no stride or pooling has made smaller yet. */
bool kp_holds_early_conv(const kp_suspect *s)
{
    if (!is_conv(s) || kp_by_states(s)) return false;
    for (const kp_graph_op *op = s->op; op->n_in;
         op = &s->look->graph->ops[s->look->graph->tensors[op->in[0]].op])
        for (unsigned i = 0; i < op->attr.spatial; i++)
            if (op->attr.strides[i] > 1) return false;
    return true;
}

bool kp_holds_one_left(const kp_suspect *s)
{
    return s->look->part.strategy.micro_batch == 1;
}

bool kp_holds_any(const kp_suspect *s)
{
    return s != NULL;
}
