/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_culprits.c — which layers make it big, and why, in words with arithmetic.
 *
 * Layers in the order of what they hold over the step; the first rule whose condition holds names
 * a layer's reason. Rules about the whole setting stand among them by their bytes. */
#include "planner/plan/explain_parts.h"

enum { CULPRITS_MAX = 8, CULPRITS_SURE = 3 };
#define SHARE_SHOWN 0.03 /* of the layers' sum; the first few are shown down to SHARE_LEAST */
#define SHARE_LEAST 0.01

/* ---- conditions ---- */

static bool is_dense(const kp_suspect *s)
{
    return s->op && s->op->op == KP_OP_MATMUL && s->op->n_weights;
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

static bool flatten_dense(const kp_suspect *s)
{
    if (!is_dense(s) || !kp_by_states(s)) return false;
    const kp_graph_op *before = feeder(s);
    bool flatten = before->op == KP_OP_VIEW && before->n_in == 1;
    if (!flatten) return false;
    const kp_tensor *x = &s->look->graph->tensors[before->in[0]],
                    *y = &s->look->graph->tensors[before->out[0]];
    return x->shape.rank > y->shape.rank && y->shape.rank == 2;
}

static bool wide_dense(const kp_suspect *s)
{
    return is_dense(s) && kp_by_states(s);
}

/* A convolution on a map that no stride or pooling has made smaller yet. */
static bool early_conv(const kp_suspect *s)
{
    bool conv = s->op && (s->op->op == KP_OP_CONV || s->op->op == KP_OP_CONV_DEPTHWISE);
    if (!conv || kp_by_states(s)) return false;
    for (const kp_graph_op *op = s->op; op->n_in;
         op = &s->look->graph->ops[s->look->graph->tensors[op->in[0]].op])
        for (unsigned i = 0; i < op->attr.spatial; i++)
            if (op->attr.strides[i] > 1) return false;
    return true;
}

static bool rnn_length(const kp_suspect *s)
{
    return s->op && s->op->op == KP_OP_RNN && !kp_by_states(s);
}

static bool attention(const kp_suspect *s)
{
    const kp_graph *g = s->look->graph;
    for (uint32_t i = 0; i < g->n_ops && !kp_by_states(s); i++)
        if (g->ops[i].layer == s->id && g->ops[i].op == KP_OP_ATTN_SCORES) return true;
    return false;
}

/* The head of a language model: an output with thousands of classes at every position. */
static bool logits(const kp_suspect *s)
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

static bool unknown(const kp_suspect *s)
{
    return s->op && s->op->op == KP_OP_OPAQUE;
}

static bool slots(const kp_suspect *s)
{
    return kp_by_states(s) && s->bytes->optimizer * 10 >= kp_states(s->bytes) * 3;
}

static bool table(const kp_suspect *s)
{
    return kp_by_states(s);
}

static bool one_left(const kp_suspect *s)
{
    return s->look->part.strategy.micro_batch == 1;
}

static bool any(const kp_suspect *s)
{
    return s != NULL;
}

typedef struct culprit_rule {
    const char *id;
    bool (*holds)(const kp_suspect *s);
    void (*say)(const kp_suspect *s, kp_buf *out);
    const char *why; /* where say is NULL: after states or kept values */
} culprit_rule;

static const culprit_rule rules[] = {
    {"KP031", unknown, NULL, "nothing is known of its inside: only its output is counted"},
    {"KP001", flatten_dense, NULL, "Flatten hands it every position of the map"},
    {"KP007", rnn_length, kp_say_rnn, NULL},
    {"KP008", attention, NULL,
     "scores of every pair of positions are written; they grow with the length squared"},
    {"KP009", logits, NULL,
     "every position has a value for every word; grows with batch and length"},
    {"KP003", early_conv, NULL, "no stride or pooling before it; grows with the batch"},
    {"KP002", wide_dense, NULL, ""},
    {"KP012", slots, NULL, ""},
    {"KP002", table, NULL, ""},
    {"KP005", one_left, NULL, "the batch is 1 already"},
    {"KP004", any, NULL, "grows with the batch"},
};

/* ---- the list ---- */

static kp_status add(kp_explaining *e, const char *rule, const char *layer, kp_buf *text,
                     uint64_t bytes)
{
    kp_explain_culprit *c = &e->out->culprits[e->out->n_culprits];
    kp_status status = kp_buf_check(text, e->err);
    const char *message = status == KP_OK ? kp_arena_str(e->arena, kp_buf_text(text)) : NULL;
    kp_buf_release(text);
    if (status != KP_OK) return status;
    if (!message) return kp_nomem(e->err);
    double share = e->layers_bytes ? (double)bytes / (double)e->layers_bytes : 0;
    *c = (kp_explain_culprit){rule, layer, message, bytes, share};
    e->out->n_culprits++;
    return KP_OK;
}

static kp_status add_layer(kp_explaining *e, uint32_t id)
{
    const kp_graph *g = e->look.graph;
    uint32_t op = kp_look_main_op(&e->look, id);
    kp_suspect s = {
        e, &e->look, &g->layers[id], &e->look.memory.layers[id], op == KP_NO ? NULL : &g->ops[op],
        id};
    const culprit_rule *rule = rules;
    while (!rule->holds(&s)) rule++;
    kp_buf text;
    kp_buf_init(&text, 4096);
    if (rule->say)
        rule->say(&s, &text);
    else
        kp_say_both(&s, &text, rule->why);
    return add(e, rule->id, s.layer->path, &text, kp_look_layer_bytes(&e->look, id));
}

static uint32_t layer_of(const kp_graph *g, const char *path)
{
    for (uint32_t i = 0; i < g->n_layers; i++)
        if (g->layers[i].path == path) return i;
    return KP_NO;
}

/* Labels as one-hot vectors of many classes: bytes on the device for one batch. */
static kp_status add_labels(kp_explaining *e)
{
    const kp_graph *g = e->look.graph;
    uint64_t bytes = 0;
    int64_t classes = 0;
    bool onehot = e->look.training.loss == KP_LOSS_CATEGORICAL && e->look.training.labels_onehot;
    for (uint32_t i = 0; i < g->n_outputs && onehot; i++) {
        kp_shape shape = g->tensors[g->outputs[i]].shape;
        if (shape.rank && shape.dim[shape.rank - 1] > classes) classes = shape.dim[shape.rank - 1];
        bytes = kp_add_u64(bytes,
                           kp_mul_u64(kp_shape_elems(shape, e->look.part.strategy.micro_batch), 4));
    }
    if (classes <= 1000) return KP_OK;
    kp_buf text;
    kp_buf_init(&text, 512);
    kp_buf_fmt(&text,
               "one-hot labels of %lld classes are %s a batch; integers with "
               "sparse_categorical_crossentropy are %s",
               (long long)classes, kp_size_text(bytes).s,
               kp_size_text(bytes / (uint64_t)classes).s);
    return add(e, "KP010", NULL, &text, bytes);
}

/* More GPUs by data parallelism alone: the states are on each of them. */
static kp_status add_replicas(kp_explaining *e)
{
    const kp_strategy *s = &e->look.strategy;
    const uint64_t *b = e->look.memory.peak.bytes;
    uint64_t all = b[KP_CAT_WEIGHTS] + b[KP_CAT_OPTIMIZER] + b[KP_CAT_GRADIENTS];
    kp_buf text;
    if (s->dp < 2 && s->zero) {
        kp_buf_init(&text, 512);
        kp_buf_fmt(&text, "--zero %u divides nothing without data parallelism (--dp)", s->zero);
        return add(e, "KP049", NULL, &text, 0);
    }
    if (s->dp < 2 || s->zero) return KP_OK;
    kp_buf_init(&text, 512);
    kp_buf_fmt(&text,
               "data parallelism divides the batch, not the states: %s of weights, gradients and "
               "slots are on each of %u ranks",
               kp_size_text(all).s, s->dp);
    return add(e, "KP013", NULL, &text, all);
}

/* Stable by bytes: earlier ones stay first. */
static void sort(kp_explain *out)
{
    for (uint32_t i = 1; i < out->n_culprits; i++) {
        kp_explain_culprit c = out->culprits[i];
        uint32_t at = i;
        for (; at && out->culprits[at - 1].bytes < c.bytes; at--)
            out->culprits[at] = out->culprits[at - 1];
        out->culprits[at] = c;
    }
}

kp_status kp_explain_culprits(kp_explaining *e)
{
    e->out->culprits = KP_NEW(e->arena, kp_explain_culprit, CULPRITS_MAX + 3);
    if (!e->out->culprits) return kp_nomem(e->err);
    for (uint32_t i = 0; i < e->out->n_layers && i < CULPRITS_MAX; i++) {
        const kp_explain_layer *l = &e->out->layers[i];
        double least = i == 0 ? 0 : i < CULPRITS_SURE ? SHARE_LEAST : SHARE_SHOWN;
        if (l->share <= 0 || l->share < least) break;
        KP_TRY(add_layer(e, layer_of(e->look.graph, l->name)));
    }
    KP_TRY(add_labels(e));
    KP_TRY(add_replicas(e));
    sort(e->out);
    return KP_OK;
}
