/* SPDX-License-Identifier: MIT */
#include "planner/estimate/training_parts.h"
#include <inttypes.h>
#include <math.h>

/* Keras's loss names (keras/src/losses) and what their target is. */
static const struct {
    const char *name;
    kp_loss loss;
} losses[] = {
    {"categorical_crossentropy", KP_LOSS_CATEGORICAL},
    {"sparse_categorical_crossentropy", KP_LOSS_SPARSE},
    {"binary_crossentropy", KP_LOSS_BINARY},
    {"mean_squared_error", KP_LOSS_MSE},
    {"mse", KP_LOSS_MSE},
    {"mean_absolute_error", KP_LOSS_MSE},
    {"mae", KP_LOSS_MSE},
    {"huber", KP_LOSS_MSE},
    {"log_cosh", KP_LOSS_MSE},
    {"binary_focal_crossentropy", KP_LOSS_BINARY},
    {"categorical_focal_crossentropy", KP_LOSS_CATEGORICAL},
    {"categorical_hinge", KP_LOSS_OTHER},
    {"hinge", KP_LOSS_OTHER},
    {"squared_hinge", KP_LOSS_OTHER},
    {"kl_divergence", KP_LOSS_CATEGORICAL},
    {"poisson", KP_LOSS_OTHER},
    {"cosine_similarity", KP_LOSS_OTHER},
    {"mean_absolute_percentage_error", KP_LOSS_MSE},
    {"mean_squared_logarithmic_error", KP_LOSS_MSE},
    {"dice", KP_LOSS_OTHER},
    {"tversky", KP_LOSS_OTHER},
    {"ctc", KP_LOSS_OTHER},
    {"circle", KP_LOSS_SPARSE},
    {"fused_cross_entropy", KP_LOSS_FUSED}, /* Liger, flash-attn, Apex */
    {"output_gradient", KP_LOSS_GRADIENT},
    {"output_sum", KP_LOSS_SUM},
};

static const kp_framework framework_of[KP_FORMAT_COUNT] = {
    [KP_FORMAT_KERAS_3] = KP_FW_KERAS_JAX,      [KP_FORMAT_KERAS_2] = KP_FW_KERAS_TF_GRAPH,
    [KP_FORMAT_KERAS_1] = KP_FW_KERAS_TF_GRAPH, [KP_FORMAT_TFJS] = KP_FW_KERAS_TF_GRAPH,
    [KP_FORMAT_HUGGINGFACE] = KP_FW_TORCH,      [KP_FORMAT_MEGATRON] = KP_FW_MEGATRON,
};

static const kp_target target_of[KP_FW_COUNT] = {
    [KP_FW_KERAS_JAX] = KP_TARGET_KERAS_JAX,
    [KP_FW_KERAS_TF] = KP_TARGET_KERAS_TF,
    [KP_FW_KERAS_TF_GRAPH] = KP_TARGET_KERAS_TF,
    [KP_FW_KERAS_TORCH] = KP_TARGET_KERAS_TORCH,
    [KP_FW_TORCH] = KP_TARGET_TORCH,
    [KP_FW_MEGATRON] = KP_TARGET_MEGATRON,
};

/* ---- assumptions ---- */

typedef struct resolver {
    const kp_graph *graph;
    const kp_options *options;
    kp_arena *arena;
    kp_training *out;
    size_t cap;
    kp_err *err;
} resolver;

static kp_status assume(resolver *r, const char *name, const char *value, const char *from)
{
    kp_training *t = r->out;
    if (!value || !KP_GROW(r->arena, t->assumptions, t->n_assumptions, r->cap))
        return kp_nomem(r->err);
    t->assumptions[t->n_assumptions++] = (kp_assumption){name, value, from};
    return KP_OK;
}

/* ---- one setting each ---- */

static kp_status resolve_framework(resolver *r)
{
    static const char *const why[KP_FORMAT_COUNT] = {
        [KP_FORMAT_KERAS_3] = "a Keras 3 file (--framework)",
        [KP_FORMAT_KERAS_2] = "a Keras 2 file (--framework)",
        [KP_FORMAT_KERAS_1] = "a Keras 1 file (--framework)",
        [KP_FORMAT_TFJS] = "a TensorFlow.js file (--framework)",
        [KP_FORMAT_HUGGINGFACE] = "a Hugging Face config (--framework)",
        [KP_FORMAT_MEGATRON] = "Megatron arguments (--framework)",
    };
    kp_framework given = r->options->framework;
    r->out->framework = given ? given : framework_of[r->graph->format];
    r->out->target = r->options->target ? r->options->target : target_of[r->out->framework];
    return assume(r, "framework", kp_framework_names[r->out->framework],
                  given ? "--framework" : why[r->graph->format]);
}

static kp_status resolve_batch(resolver *r)
{
    uint64_t fixed = r->graph->fixed_batch, given = r->options->batch;
    uint64_t said = r->out->launch.batch;
    r->out->batch = given != UINT64_MAX ? given : fixed ? fixed : said ? said : 32;
    if (!given) {
        kp_fail(r->err, KP_USAGE, "a batch of 0 samples trains nothing");
        kp_hint(r->err, "--batch takes 1 or more");
        return KP_USAGE;
    }
    if (r->out->batch > UINT32_MAX)
        return kp_fail(r->err, KP_USAGE,
                       "a batch of %" PRIu64 " samples is out of range (1 to %" PRIu32 ")",
                       r->out->batch, UINT32_MAX);
    if (fixed && given != UINT64_MAX && given != fixed) {
        kp_fail(r->err, KP_USAGE, "the file fixes the batch to %" PRIu64 ", --batch says %" PRIu64,
                fixed, given);
        kp_hint(r->err, "leave --batch out");
        return KP_USAGE;
    }
    if (given != UINT64_MAX) return KP_OK;
    return assume(r, "batch", kp_arena_fmt(r->arena, "%" PRIu64, r->out->batch),
                  fixed  ? "the file's input shape"
                  : said ? "the file's global batch (--batch)"
                         : "Keras's default (--batch)");
}

/* All inputs are bound and a size is still open: a layer whose shape the file leaves open. */
static kp_status resolve_tensors(resolver *r)
{
    const kp_graph *g = r->graph;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        if (kp_shape_known(g->tensors[i].shape)) continue;
        const kp_layer *layer = &g->layers[g->tensors[i].layer];
        return kp_fail(r->err, KP_UNSUPPORTED,
                       "layer '%.100s' (%.60s): its output is %s, and neither the file nor a rule "
                       "says the open size",
                       layer->path, layer->class_name, kp_shape_text(g->tensors[i].shape, 0).s);
    }
    return KP_OK;
}

static kp_status resolve_open(resolver *r)
{
    const kp_graph *g = r->graph;
    if (!g->n_open) return resolve_tensors(r);
    char text[160] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < g->n_open && at + 56 < sizeof(text); i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.40s:%" PRIu32, at ? ", " : "",
                               g->open[i].input, g->open[i].axis);
    kp_fail(r->err, KP_USAGE, "open dimension%s without a value: %s", g->n_open > 1 ? "s" : "",
            text);
    kp_hint(r->err, "say it with --dim %.60s:%" PRIu32 "=N, or --dim N for every open one%s",
            g->open[0].input, g->open[0].axis, g->open[0].axis == 1 ? ", or --seq N" : "");
    return KP_USAGE;
}

static bool find_optimizer(const char *name, kp_optimizer *ret)
{
    for (int i = 0; i < KP_OPT_COUNT; i++) {
        if (strcmp(kp_optimizer_names[i], name)) continue;
        *ret = (kp_optimizer)i;
        return true;
    }
    return false;
}

static kp_status unknown_name(resolver *r, const char *name, const char *what,
                              const char *const *names, size_t n, const char *known)
{
    kp_fail(r->err, KP_USAGE, "'%.60s' is no %s", name, what);
    const char *near = kp_nearest(name, names, n);
    if (near)
        kp_hint(r->err, "did you mean '%s'?", near);
    else
        kp_hint(r->err, "known are %s", known);
    return KP_USAGE;
}

static kp_status resolve_optimizer(resolver *r)
{
    const kp_compile *c = &r->graph->compile;
    const char *given = r->options->optimizer;
    kp_training *t = r->out;
    t->optimizer = KP_OPT_ADAM;
    if (given && !find_optimizer(given, &t->optimizer))
        return unknown_name(r, given, "optimizer", kp_optimizer_names, KP_OPT_COUNT,
                            "sgd, sgd_momentum, adam, adamw, rmsprop, lion and others");
    if (given) return KP_OK;
    bool known = c->optimizer && find_optimizer(c->optimizer, &t->optimizer);
    if (known) {
        bool rms_momentum = c->momentum && t->optimizer == KP_OPT_RMSPROP;
        if (c->momentum && t->optimizer == KP_OPT_SGD) t->optimizer = KP_OPT_SGD_MOMENTUM;
        t->extra_slots = (uint32_t)c->amsgrad + (uint32_t)c->centered + (uint32_t)c->use_ema +
                         (uint32_t)rms_momentum;
    }
    return assume(r, "optimizer", kp_optimizer_names[t->optimizer],
                  known ? r->graph->format == KP_FORMAT_MEGATRON
                              ? "the file's arguments (--optimizer)"
                              : "the file's compile_config (--optimizer)"
                        : "the usual choice (--optimizer)");
}

static bool find_loss(const char *name, kp_loss *ret)
{
    for (size_t i = 0; i < KP_LEN(losses); i++) {
        if (strcmp(losses[i].name, name)) continue;
        *ret = losses[i].loss;
        return true;
    }
    return false;
}

static kp_status unknown_loss(resolver *r, const char *name)
{
    const char *names[KP_LEN(losses)];
    for (size_t i = 0; i < KP_LEN(losses); i++) names[i] = losses[i].name;
    return unknown_name(r, name, "loss", names, KP_LEN(names),
                        "categorical_crossentropy, sparse_categorical_crossentropy, "
                        "binary_crossentropy, mean_squared_error and Keras's others");
}

/* The loss that goes with the last step of the first output: through views back to its writer. */
static const char *natural_loss(const kp_graph *g)
{
    if (!g->n_outputs) return "mean_squared_error";
    const kp_graph_op *op = &g->ops[g->tensors[g->outputs[0]].op];
    while ((op->op == KP_OP_VIEW || op->op == KP_OP_CAST) && op->n_in)
        op = &g->ops[g->tensors[op->in[0]].op];
    bool sigmoid = op->op == KP_OP_ACT && op->attr.activation == KP_ACT_SIGMOID;
    return op->op == KP_OP_SOFTMAX ? "categorical_crossentropy"
           : sigmoid               ? "binary_crossentropy"
                                   : "mean_squared_error";
}

/* Integer labels are for losses over classes, one-hot ones for those that compare vectors. */
static kp_status check_labels(resolver *r)
{
    const kp_training *t = r->out;
    kp_labels labels = r->options->labels;
    bool vectors = t->loss == KP_LOSS_BINARY || t->loss == KP_LOSS_MSE ||
                   (t->loss == KP_LOSS_OTHER && r->options->loss);
    bool wrong = (labels == KP_LABELS_SPARSE && vectors) ||
                 (labels == KP_LABELS_ONEHOT && t->loss == KP_LOSS_SPARSE && r->options->loss);
    if (!wrong) return KP_OK;
    kp_fail(r->err, KP_USAGE, "the loss '%.60s' does not go with --labels %s", t->loss_name,
            kp_labels_names[labels]);
    kp_hint(r->err, labels == KP_LABELS_SPARSE
                        ? "integer labels go with --loss sparse_categorical_crossentropy"
                        : "one-hot labels go with --loss categorical_crossentropy");
    return KP_USAGE;
}

static kp_status resolve_loss(resolver *r)
{
    kp_training *t = r->out;
    const char *given = r->options->loss, *file = r->graph->compile.loss;
    bool integers = r->options->labels == KP_LABELS_SPARSE;
    t->loss_name = given      ? given
                   : file     ? file
                   : integers ? "sparse_categorical_crossentropy"
                              : natural_loss(r->graph);
    t->loss = KP_LOSS_OTHER;
    if (!find_loss(t->loss_name, &t->loss) && given) return unknown_loss(r, given);
    if (!given)
        KP_TRY(assume(r, "loss", t->loss_name,
                      !file ? integers ? "--labels sparse (--loss)" : "the last layer (--loss)"
                      : r->graph->format >= KP_FORMAT_HUGGINGFACE
                          ? "what such models learn with (--loss)"
                          : "the file's compile_config (--loss)"));
    t->labels_onehot = r->options->labels ? r->options->labels == KP_LABELS_ONEHOT
                                          : t->loss != KP_LOSS_SPARSE && t->loss != KP_LOSS_FUSED;
    return check_labels(r);
}

static bool has_rnn(const kp_graph *g)
{
    for (uint32_t i = 0; i < g->n_ops; i++)
        if (g->ops[i].op == KP_OP_RNN) return true;
    return false;
}

/* Keras on JAX calls cuDNN through jax.experimental.rnn, TensorFlow outside XLA and torch call it
 * directly; XLA-compiled TensorFlow unrolls nothing and runs the loop. */
static kp_status resolve_rnn(resolver *r)
{
    kp_training *t = r->out;
    t->rnn = r->options->rnn;
    if (t->rnn) return KP_OK;
    t->rnn = t->framework == KP_FW_KERAS_TF ? KP_RNN_LOOP : KP_RNN_CUDNN;
    if (!has_rnn(r->graph)) return KP_OK;
    return assume(r, "rnn", kp_rnn_mode_names[t->rnn], "what the framework runs on a GPU (--rnn)");
}

/* zero_grad() sets gradients to None from torch 2.0 on, before it filled them with zeros. */
static kp_status resolve_torch(resolver *r)
{
    kp_training *t = r->out;
    uint32_t version = r->graph->compile.torch_version;
    if (t->framework != KP_FW_TORCH || !version) return KP_OK;
    t->torch_version = version;
    t->cudnn_benchmark = r->graph->compile.cudnn_benchmark;
    t->zeroed_grads = version < 200;
    return assume(r, "torch", kp_arena_fmt(r->arena, "%u.%u", version / 100, version % 100),
                  "the file's compile_config");
}

bool kp_training_composed(const kp_training *t)
{
    bool own = t->optimizer == KP_OPT_ADAMW || t->optimizer == KP_OPT_LAMB;
    return own && t->tensorflow_version && t->tensorflow_version < 200;
}

static kp_status resolve_tensorflow(resolver *r)
{
    kp_training *t = r->out;
    uint32_t version = r->graph->compile.tensorflow_version;
    if (t->framework != KP_FW_KERAS_TF_GRAPH || !version) return KP_OK;
    t->tensorflow_version = version;
    KP_TRY(assume(r, "tensorflow", kp_arena_fmt(r->arena, "%u.%u", version / 100, version % 100),
                  "the file"));
    if (!kp_training_composed(t)) return KP_OK;
    return assume(r, "update", "composed of ops, all gradients clipped together",
                  "TensorFlow 1 has no kernel for this optimizer; as google-research/bert does it");
}

static kp_status resolve_rest(resolver *r)
{
    kp_training *t = r->out;
    const kp_options *o = r->options;
    uint32_t file = r->graph->compile.grad_accum;
    t->grad_accum = o->grad_accum != UINT32_MAX ? o->grad_accum : file > 1 ? file : 1;
    if (!t->grad_accum)
        return kp_fail(r->err, KP_USAGE, "0 gradient accumulation steps never update a weight");
    if (o->grad_accum == UINT32_MAX && file > 1)
        KP_TRY(assume(r, "grad_accum", kp_arena_fmt(r->arena, "%" PRIu32, file),
                      "the file's compile_config (--grad-accum)"));
    t->retain_graph = r->graph->compile.retain_graph;
    t->gradient_dtype = r->graph->compile.gradient_dtype;
    t->samples = o->samples;
    t->data = o->data;
    if (t->data != KP_DATA_RAM || t->samples != UINT64_MAX) return KP_OK;
    kp_fail(r->err, KP_USAGE, "--data ram: how many samples lie in memory is not known");
    kp_hint(r->err, "say it with --samples N");
    return KP_USAGE;
}

kp_status kp_training_resolve(const kp_graph *graph, const kp_options *options, kp_arena *arena,
                              kp_training *ret, kp_err *err)
{
    kp_training training = {0};
    resolver r = {graph, options, arena, &training, 0, err};
    KP_TRY(resolve_open(&r));
    KP_TRY(resolve_framework(&r));
    KP_TRY(kp_training_launch(graph, &training, err));
    KP_TRY(resolve_batch(&r));
    KP_TRY(resolve_optimizer(&r));
    KP_TRY(resolve_loss(&r));
    KP_TRY(resolve_rnn(&r));
    KP_TRY(resolve_torch(&r));
    KP_TRY(resolve_tensorflow(&r));
    KP_TRY(resolve_rest(&r));
    *ret = training;
    return KP_OK;
}
