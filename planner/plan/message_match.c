/* SPDX-License-Identifier: MIT
 *
 * planner/plan/message_match.c — candidates, and which of them a printed shape means. */
#include "planner/plan/message_match.h"

/* ---- candidates ---- */

typedef void consider(kp_matching *m, const kp_shaped *of);

static void outputs(const kp_look *look, const kp_graph_op *op, consider *take, kp_matching *m)
{
    const kp_graph *g = look->graph;
    bool input = op->op == KP_OP_INPUT, scores = op->op == KP_OP_ATTN_SCORES;
    if (kp_op_rows[op->op].kind == KP_KIND_VIEW) return;
    for (uint32_t k = 0; k < op->n_out; k++) {
        const kp_tensor *y = &g->tensors[op->out[k]];
        kp_shaped of = {.kind = input ? KP_SHAPED_INPUT : KP_SHAPED_OUTPUT,
                        .layer = op->layer,
                        .op = (uint32_t)(op - g->ops),
                        .what = input    ? "input"
                                : scores ? "attention scores"
                                         : "output",
                        .shape = y->shape,
                        .dtype = y->dtype};
        take(m, &of);
    }
}

/* The input of a convolution with zeros around it, and, if dilated, cut into the batch as
 * TensorFlow's SpaceToBatchND does. */
static void padded(const kp_look *look, const kp_graph_op *op, consider *take, kp_matching *m)
{
    const kp_graph *g = look->graph;
    bool conv = op->op == KP_OP_CONV || op->op == KP_OP_CONV_DEPTHWISE;
    if (!conv || !op->n_in) return;
    const kp_op_attr *a = &op->attr;
    kp_shaped of = {.kind = KP_SHAPED_PADDED,
                    .layer = op->layer,
                    .op = (uint32_t)(op - g->ops),
                    .what = "padded input",
                    .shape = g->tensors[op->in[0]].shape,
                    .dtype = g->tensors[op->in[0]].dtype};
    unsigned first = a->channels_first ? 2 : 1;
    kp_shape spread = of.shape;
    bool grown = false, dilated = false;
    for (unsigned i = 0; i < a->spatial && first + i < of.shape.rank; i++) {
        int64_t *n = &of.shape.dim[first + i], step = a->strides[i] ? a->strides[i] : 1;
        int64_t d = a->dilation[i] ? a->dilation[i] : 1, wide = ((int64_t)a->kernel[i] - 1) * d + 1;
        int64_t more = a->same_padding ? ((*n + step - 1) / step - 1) * step + wide - *n : 0;
        if (more > 0) *n += more;
        grown |= more > 0;
        dilated |= d > 1;
        spread.dim[first + i] = (*n + d - 1) / d;
        spread.dim[0] = (int64_t)kp_min_u64(kp_mul_u64((uint64_t)spread.dim[0], (uint64_t)d),
                                            (uint64_t)KP_DIM_MAX);
    }
    if (grown) take(m, &of);
    if (!dilated || !(spread.per_sample & 1)) return;
    of.kind = KP_SHAPED_SPREAD;
    of.what = "input, spread for the dilation";
    of.shape = spread;
    take(m, &of);
}

static const uint8_t gates_of[] = {
    [KP_CELL_SIMPLE] = 1, [KP_CELL_GRU] = 3, [KP_CELL_LSTM] = 4, [KP_CELL_CONV_LSTM] = 0};

static void cell(const kp_look *look, const kp_graph_op *op, consider *take, kp_matching *m)
{
    const kp_op_attr *a = &op->attr;
    if (op->op != KP_OP_RNN || !gates_of[a->cell]) return;
    int64_t steps = a->steps, units = a->units, gates = gates_of[a->cell] * units;
    kp_shaped of = {.kind = KP_SHAPED_CELL,
                    .layer = op->layer,
                    .op = (uint32_t)(op - look->graph->ops),
                    .dtype = look->graph->tensors[op->out[0]].dtype};
    const struct {
        const char *what;
        kp_shape shape;
    } parts[] = {
        {"states of all steps", {3, 1, {1, steps, units}}},
        {"gates of all steps", {3, 1, {1, steps, gates}}},
        {"state of a step", {2, 1, {1, units}}},
        {"gates of a step", {2, 1, {1, gates}}},
    };
    for (size_t i = 0; i < KP_LEN(parts); i++) {
        of.what = parts[i].what;
        of.shape = parts[i].shape;
        if (steps && units) take(m, &of);
    }
}

void kp_shaped_each(const kp_look *look, consider *take, kp_matching *m)
{
    const kp_graph *g = look->graph;
    for (uint32_t i = 0; i < g->n_ops; i++) {
        outputs(look, &g->ops[i], take, m);
        padded(look, &g->ops[i], take, m);
        cell(look, &g->ops[i], take, m);
    }
    for (uint32_t w = 0; w < g->n_weights; w++) {
        const char *slash = strrchr(g->weights[w].path, '/');
        if (!slash) slash = strrchr(g->weights[w].path, '.');
        kp_shaped of = {.kind = KP_SHAPED_WEIGHT,
                        .layer = g->weights[w].layer,
                        .op = KP_NO,
                        .what = slash ? slash + 1 : g->weights[w].path,
                        .shape = g->weights[w].shape,
                        .dtype = g->weights[w].dtype};
        take(m, &of);
    }
}

/* ---- the name in the message ---- */

static bool part_ends(char c)
{
    return !c || c == '/' || c == '(' || c == ')' || c == ' ' || c == ':';
}

bool kp_match_names(const kp_oom_ask *ask, const kp_layer *layer)
{
    size_t len = strlen(layer->name);
    if (!len) return false;
    for (const char *at = ask->node; (at = strstr(at, layer->name)); at++)
        if ((at == ask->node || part_ends(at[-1])) && part_ends(at[len])) return true;
    return false;
}

/* ---- the host ---- */

static bool is_output(const kp_graph *g, const kp_shaped *of)
{
    for (uint32_t i = 0; i < g->n_outputs && of->kind == KP_SHAPED_OUTPUT; i++)
        if (g->tensors[g->outputs[i]].op == of->op) return true;
    return false;
}

bool kp_match_on_host(const kp_matching *m, kp_shaped *of)
{
    bool output = is_output(m->look->graph, of);
    if (output) of->what = m->look->training.labels_onehot ? "one-hot labels" : "outputs";
    return output || of->kind == KP_SHAPED_INPUT || of->kind == KP_SHAPED_WEIGHT;
}

/* ---- keeping the best ---- */

static bool better(const kp_match *a, const kp_match *b)
{
    return a->score != b->score ? a->score < b->score : a->order < b->order;
}

/* The same tensor of the same layer: an activation behind a convolution in one layer. */
static bool repeats(const kp_match *a, const kp_match *b)
{
    bool values = a->of.kind <= KP_SHAPED_INPUT && b->of.kind <= KP_SHAPED_INPUT;
    return a->of.layer == b->of.layer && (values || !strcmp(a->of.what, b->of.what)) &&
           a->by.batch == b->by.batch && a->element_bytes == b->element_bytes;
}

void kp_match_keep(kp_matching *m, const kp_match *match)
{
    kp_match one = *match;
    one.order = m->order++;
    for (unsigned i = 0; i < m->n; i++) {
        if (!repeats(&m->best[i], &one)) continue;
        if (better(&one, &m->best[i])) m->best[i].score = one.score;
        return;
    }
    m->found++;
    if (m->n == KP_MATCHES_MAX && !better(&one, &m->best[m->n - 1])) return;
    if (m->n < KP_MATCHES_MAX) m->n++;
    unsigned at = m->n - 1;
    for (; at && better(&one, &m->best[at - 1]); at--) m->best[at] = m->best[at - 1];
    m->best[at] = one;
}

/* ---- by shape ---- */

/* How far a batch is from the one of this explanation. */
static unsigned batch_score(const kp_matching *m, uint64_t batch)
{
    uint64_t now = m->batch;
    if (batch == now) return 0;
    if (batch == m->look->training.batch) return 1;
    if (!m->given) return batch & (batch - 1) ? 6 : 4;
    return batch && (now % batch == 0 || batch % now == 0) ? 4 : 6;
}

static unsigned score(const kp_matching *m, const kp_shaped *of, const kp_factored *by)
{
    static const uint8_t how[KP_FACTOR_COUNT] = {
        [KP_FACTOR_SAME] = 0,  [KP_FACTOR_CHANNELS] = 0,     [KP_FACTOR_FOLDED] = 2,
        [KP_FACTOR_ORDER] = 3, [KP_FACTOR_FOLDED_ORDER] = 3, [KP_FACTOR_SQUEEZED] = 5};
    static const uint8_t kind[] = {
        [KP_SHAPED_OUTPUT] = 0, [KP_SHAPED_INPUT] = 1,  [KP_SHAPED_PADDED] = 2,
        [KP_SHAPED_SPREAD] = 3, [KP_SHAPED_CELL] = 3,   [KP_SHAPED_WEIGHT] = 1,
        [KP_SHAPED_ALL] = 1,    [KP_SHAPED_PROGRAM] = 1};
    /* What folds is only sure where more than the class of the sizes agrees. */
    unsigned least = of->kind == KP_SHAPED_WEIGHT ? 1 : 2 * batch_score(m, by->batch);
    return 40 + 2u * how[by->how] + 2u * kind[of->kind] + least;
}

static uint64_t asked_bytes(const kp_oom_ask *ask, kp_dtype dtype)
{
    uint64_t elems = 1;
    for (unsigned i = 0; i < ask->rank; i++) elems = kp_mul_u64(elems, (uint64_t)ask->dim[i]);
    return kp_mul_u64(elems, kp_dtype_bytes(ask->has_dtype ? ask->dtype : dtype));
}

static void consider_shape(kp_matching *m, const kp_shaped *of)
{
    kp_match match = {.of = *of, .shares = 1};
    if (!kp_shape_known(of->shape)) return;
    if (!kp_factor_shape(&of->shape, m->ask->rank, m->ask->dim, &match.by)) return;
    if (m->ask->host && !kp_match_on_host(m, &match.of)) return;
    match.named = kp_match_names(m->ask, &m->look->graph->layers[of->layer]);
    match.score = score(m, of, &match.by) - (match.named ? 40 : 0);
    match.bytes = asked_bytes(m->ask, of->dtype);
    kp_match_keep(m, &match);
}

void kp_match_shape(kp_matching *m)
{
    kp_shaped_each(m->look, consider_shape, m);
    /* What is far less well founded than the best only confuses. */
    while (m->n > 1 && m->best[m->n - 1].score > m->best[0].score + 7) {
        m->n--;
        m->found--;
    }
}
