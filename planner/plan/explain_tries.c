/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_tries.c — changes of options to try: what each rule would set. */
#include "planner/plan/explain_parts.h"
#include <inttypes.h>
#include <math.h>

enum { LENGTH_MIN = 64 };

/* ---- types and batch ---- */

static bool computes(const kp_graph *g, kp_dtype dtype)
{
    for (uint32_t i = 0; i < g->n_layers; i++)
        if (!g->layers[i].is_model && g->layers[i].compute_dtype != dtype) return false;
    return true;
}

void kp_try_dtype(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    const kp_gpu_kind *kind = e->look.device.kind;
    bool has16 = kind->fp16_flops_per_s > kind->fp32_flops_per_s ||
                 kind->bf16_flops_per_s > kind->fp32_flops_per_s;
    if (!computes(e->look.graph, KP_FLOAT32) || !has16) return;
    bool bf16 = !isnan(kind->bf16_flops_per_s);
    kp_change c = kp_change_of(r, "KP011", KP_KNOB_DTYPE, KP_DISTURB_FLAG);
    c.set.dtype_policy = bf16 ? "mixed_bfloat16" : "mixed_float16";
    c.text = bf16 ? "--dtype-policy mixed_bfloat16" : "--dtype-policy mixed_float16";
    c.message = "activations take 2 bytes instead of 4; weights, gradients and slots stay "
                "float32: nothing is saved there";
    c.code = kp_code_filled(e, KP_CODE_DTYPE,
                            (const char *const[]){c.set.dtype_policy, "", "", "",
                                                  bf16 ? "bfloat16" : "float16",
                                                  bf16 ? "bf16" : "fp16"});
    kp_try(r, &c);
}

/* What a script is told for so many samples of all ranks: JAX and TensorFlow divide fit()'s batch
 * over the GPUs themselves (keras.distribution, tf.distribute), torch's processes load their own.
 */
static uint64_t batch_said(const kp_explaining *e, uint64_t batch)
{
    return kp_look_one_process(&e->look) ? batch : batch / e->look.strategy.dp;
}

static void try_accumulation(kp_remedying *r)
{
    enum { PARTS = 4 };
    const kp_explaining *e = kp_trying(r);
    const kp_training *t = &e->look.training;
    uint64_t dp = e->look.strategy.dp;
    if (t->batch % (PARTS * dp) || e->look.strategy.pp > 1) return;
    kp_change c = kp_change_of(r, "KP004", KP_KNOB_BATCH, KP_DISTURB_BATCH);
    c.set.batch = t->batch / PARTS;
    c.set.grad_accum = PARTS * t->grad_accum;
    c.set.micro_batch = UINT32_MAX;
    if (e->request->options->micro_batch != UINT32_MAX) return;
    c.text = kp_arena_fmt(e->arena, "--batch %" PRIu64 " --grad-accum %" PRIu32, c.set.batch,
                          c.set.grad_accum);
    c.message = kp_arena_fmt(e->arena,
                             "the same effective batch of %" PRIu64 " in %d parts, for one "
                             "gradient accumulator a weight",
                             t->batch * t->grad_accum, PARTS);
    c.code = kp_code_filled(e, KP_CODE_ACCUM,
                            (const char *const[]){kp_number(e, batch_said(e, c.set.batch)),
                                                  kp_number(e, c.set.grad_accum),
                                                  kp_optimizer_class(t->optimizer),
                                                  kp_number(e, t->batch * t->grad_accum)});
    kp_try(r, &c);
}

static kp_verdict_fit try_batch_of(kp_remedying *r, uint64_t batch)
{
    const kp_explaining *e = kp_trying(r);
    kp_change c = kp_change_of(r, "KP004", KP_KNOB_BATCH, KP_DISTURB_BATCH * 2);
    c.set.batch = batch;
    c.text = kp_arena_fmt(e->arena, "--batch %" PRIu64, batch);
    c.message = batch == e->look.strategy.dp
                    ? "the smallest batch there is: what is left does not shrink with it"
                    : "a smaller batch: activations shrink with it, the learning changes";
    c.code = kp_code_of(e, KP_CODE_BATCH, batch_said(e, batch));
    return kp_try(r, &c);
}

/* No smaller batch frees more than what the batch fills: whether a part of it can be enough. */
static bool may_fit(const kp_explaining *e, uint64_t part)
{
    const uint64_t *b = e->look.memory.peak.bytes;
    uint64_t grows =
        b[KP_CAT_ACTIVATIONS] + b[KP_CAT_TEMPORARY] + b[KP_CAT_INPUTS] + b[KP_CAT_FRAGMENTATION];
    return e->out->peak.bytes - grows + grows / part <= e->look.device.usable_bytes;
}

/* The half; where that does not fit, the largest that does; where none does, the smallest. */
static void try_smaller_batch(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    uint64_t batch = e->look.training.batch, least = e->look.strategy.dp;
    if (batch % (2 * least) || e->request->options->micro_batch != UINT32_MAX) return;
    for (uint64_t b = batch / 2; b > least && b % least == 0; b /= 2) {
        if (!may_fit(e, batch / b)) continue;
        kp_verdict_fit fit = try_batch_of(r, b);
        if (fit == KP_FIT_FITS || kp_look_fits(&e->look)) return;
        if (fit != KP_FIT_COUNT) kp_forget(r);
    }
    if (!e->look.divided || may_fit(e, batch / least)) try_batch_of(r, least);
}

/* Smaller micro-batches, the batch stays: of a pipeline, or where the script adds gradients up.
 * Keras's fit() has one batch, which is also its step: accumulation is what it offers. */
static void try_micro_batch(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    const kp_training *t = &e->look.training;
    const kp_strategy *s = &e->look.strategy;
    uint32_t micro = s->micro_batch;
    bool own_loop = t->framework == KP_FW_TORCH || t->framework == KP_FW_MEGATRON;
    if (!e->look.divided || micro % 2 || (!own_loop && s->pp < 2)) return;
    kp_change c = kp_change_of(r, "KP004", KP_KNOB_BATCH, KP_DISTURB_FLAG);
    c.set.micro_batch = micro / 2;
    c.text = kp_arena_fmt(e->arena, "--micro-batch %" PRIu32, c.set.micro_batch);
    c.message = "smaller micro-batches: what is kept for each shrinks, the batch stays";
    c.code = kp_code_filled(e, s->pp > 1 ? KP_CODE_MICRO : KP_CODE_ACCUM,
                            (const char *const[]){kp_number(e, c.set.micro_batch),
                                                  kp_number(e, 2 * (uint64_t)s->micro_batches),
                                                  kp_optimizer_class(t->optimizer),
                                                  kp_number(e, t->batch * t->grad_accum)});
    kp_try(r, &c);
}

void kp_try_batch(kp_remedying *r)
{
    if (kp_trying(r)->look.graph->fixed_batch) return;
    try_accumulation(r);
    try_smaller_batch(r);
    try_micro_batch(r);
}

/* ---- labels, data, length ---- */

void kp_try_labels(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    const kp_training *t = &e->look.training;
    if (t->loss != KP_LOSS_CATEGORICAL || !t->labels_onehot) return;
    bool said = e->request->options->labels != KP_LABELS_AUTO;
    kp_change c = kp_change_of(r, "KP010", KP_KNOB_LABELS, KP_DISTURB_FLAG);
    c.set.loss = "sparse_categorical_crossentropy";
    if (said) c.set.labels = KP_LABELS_SPARSE;
    c.text = said ? "--loss sparse_categorical_crossentropy --labels sparse"
                  : "--loss sparse_categorical_crossentropy";
    c.message = "labels as integers instead of one-hot vectors: the same loss";
    c.code = kp_code_filled(e, KP_CODE_LABELS, NULL);
    kp_try(r, &c);
}

void kp_try_stream(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    if (e->look.training.data != KP_DATA_RAM) return;
    kp_change c = kp_change_of(r, "KP023", KP_KNOB_DATA, KP_DISTURB_BATCH);
    c.set.data = KP_DATA_STREAM;
    c.text = "--data stream";
    c.message = "batches are read when they are needed: a few of them on the host instead of the "
                "whole set; shuffle over a bounded buffer";
    c.code = kp_code_filled(e, KP_CODE_STREAM, NULL);
    kp_try(r, &c);
}

/* Half the length, where it is an option; where the file fixes it, an edit does so. */
void kp_try_length(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    uint64_t seq = e->request->options->seq;
    if (seq == UINT64_MAX || seq < 2 * LENGTH_MIN || kp_look_fits(&e->look)) return;
    kp_change c = kp_change_of(r, "KP029", KP_KNOB_LENGTH, KP_DISTURB_TRAIN);
    c.set.seq = seq / 2;
    c.text = kp_arena_fmt(e->arena, "--seq %" PRIu64, c.set.seq);
    c.message = "a cap on the longest sequence: what is kept shrinks with it, scores with its "
                "square";
    c.code = kp_code_of(e, KP_CODE_LENGTH, c.set.seq);
    kp_try(r, &c);
}

/* ---- recomputation, optimizer ---- */

static void try_recompute(kp_remedying *r, kp_recompute what, kp_code which, double weight,
                          const char *message)
{
    const kp_explaining *e = kp_trying(r);
    kp_change c = kp_change_of(r, "KP006", KP_KNOB_RECOMPUTE, weight);
    c.set.recompute = what;
    c.text = what == KP_RECOMPUTE_FULL ? "--recompute full" : "--recompute selective";
    c.message = message;
    c.confidence = "medium";
    c.code = kp_code_filled(e, which, NULL);
    kp_try(r, &c);
}

void kp_try_recompute(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    const kp_look *look = &e->look;
    if (look->strategy.recompute == KP_RECOMPUTE_FULL) return;
    bool scores = false;
    for (uint32_t i = 0; i < e->out->n_culprits; i++)
        scores |= !strcmp(e->out->culprits[i].rule, "KP008");
    if (scores && look->strategy.recompute == KP_RECOMPUTE_NONE &&
        look->training.framework == KP_FW_MEGATRON)
        try_recompute(r, KP_RECOMPUTE_SELECTIVE, KP_CODE_SELECTIVE, KP_DISTURB_FLAG,
                      "attention's inside is computed again: little more work");
    try_recompute(r, KP_RECOMPUTE_FULL, KP_CODE_RECOMPUTE, KP_DISTURB_BATCH,
                  "only what crosses between blocks is kept, the rest computed again: about a "
                  "third more work");
}

void kp_try_optimizer(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    const kp_training *t = &e->look.training;
    kp_weight one = {.shape = {.rank = 1, .dim = {16}}};
    uint64_t slots = e->look.memory.peak.bytes[KP_CAT_OPTIMIZER];
    if (kp_optimizer_slot_elems(t, &one) < 32 || slots * 50 < e->out->peak.bytes) return;
    bool torch = t->framework == KP_FW_TORCH;
    kp_change c = kp_change_of(r, "KP012", KP_KNOB_OPTIMIZER, KP_DISTURB_TRAIN);
    c.set.optimizer = torch ? "adafactor" : "sgd_momentum";
    c.text = torch ? "--optimizer adafactor" : "--optimizer sgd_momentum";
    c.message = torch ? "rows and columns of statistics instead of two slots a weight; tune the "
                        "learning rate anew"
                      : "one slot a weight instead of two or more; tune the learning rate anew";
    c.code = kp_code_filled(e, torch ? KP_CODE_ADAFACTOR : KP_CODE_SGD, NULL);
    kp_try(r, &c);
}
