/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_settings.c — conditions of rules over the whole setting. */
#include "planner/plan/explain_parts.h"
#include "planner/estimate/profile.h"
#include <inttypes.h>
#include <jansson.h>

#define SHARE_OF_PEAK 20 /* one part in so many of the peak is worth a line */

static uint64_t peak_of(const kp_explaining *e)
{
    return kp_categories_sum(&e->look.memory.peak);
}

static uint64_t category(const kp_explaining *e, kp_category c)
{
    return e->look.memory.peak.bytes[c];
}

static uint64_t states_of(const kp_explaining *e)
{
    return category(e, KP_CAT_WEIGHTS) + category(e, KP_CAT_GRADIENTS) +
           category(e, KP_CAT_OPTIMIZER);
}

static bool worth_a_line(const kp_explaining *e, uint64_t bytes)
{
    return bytes >= peak_of(e) / SHARE_OF_PEAK;
}

static kp_buf text_of(void)
{
    kp_buf text;
    kp_buf_init(&text, 2048);
    return text;
}

/* ---- batch ---- */

static bool computes_in_float32(const kp_graph *g)
{
    bool any = false;
    for (uint32_t i = 0; i < g->n_layers; i++)
        any |= !g->layers[i].is_model && g->layers[i].compute_dtype == KP_FLOAT32;
    return any;
}

/* What is left when the batch is: of the states where they alone do not fit, else of the rest. */
kp_status kp_setting_floor(kp_explaining *e)
{
    const kp_look *look = &e->look;
    uint64_t usable = look->device.usable_bytes, peak = peak_of(e), states = states_of(e);
    bool no = kp_memory_fit(&look->memory, usable) == KP_FIT_NO;
    if (!no || look->strategy.micro_batch > 1 || peak <= usable) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text, "the batch is 1 already and the step is %s too large: ",
               kp_size_text(peak - usable).s);
    if (states > usable)
        kp_buf_fmt(&text,
                   "weights, gradients and slots alone are %s, so only a narrower model, an "
                   "optimizer with fewer slots, or more GPUs that divide them can help",
                   kp_size_text(states).s);
    else
        kp_buf_fmt(&text,
                   "only a smaller input (tiles, windows), %s%sa narrower model or more GPUs that "
                   "divide the layers can help",
                   look->strategy.recompute == KP_RECOMPUTE_FULL ? "" : "recomputation, ",
                   computes_in_float32(look->graph) ? "16-bit values, " : "");
    return kp_add_culprit(e, "KP005", NULL, &text, peak - usable);
}

/* ---- labels and data ---- */

/* Labels as one-hot vectors of many classes: bytes on the device for one batch. */
kp_status kp_setting_labels(kp_explaining *e)
{
    const kp_graph *g = e->look.graph;
    const kp_training *t = &e->look.training;
    uint64_t bytes = 0;
    int64_t classes = 0;
    bool onehot = t->loss == KP_LOSS_CATEGORICAL && t->labels_onehot;
    for (uint32_t i = 0; i < g->n_outputs && onehot; i++) {
        kp_shape shape = g->tensors[g->outputs[i]].shape;
        if (shape.rank && shape.dim[shape.rank - 1] > classes) classes = shape.dim[shape.rank - 1];
        bytes = kp_add_u64(bytes,
                           kp_mul_u64(kp_shape_elems(shape, e->look.part.strategy.micro_batch), 4));
    }
    if (classes <= 1000) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "one-hot labels of %lld classes are %s a batch; integers with "
               "sparse_categorical_crossentropy are %s",
               (long long)classes, kp_size_text(bytes).s,
               kp_size_text(bytes / (uint64_t)classes).s);
    uint64_t labels = t->samples != UINT64_MAX
                          ? kp_mul_u64(bytes / e->look.part.strategy.micro_batch, t->samples)
                          : 0;
    if (labels)
        kp_buf_fmt(&text, "; all %" PRIu64 " samples are %s on the host against %s", t->samples,
                   kp_size_text(labels).s, kp_size_text(labels / (uint64_t)classes).s);
    return kp_add_culprit(e, "KP010", NULL, &text, bytes);
}

/* TensorFlow makes one tensor of a numpy array that fit() is given, which may land on the GPU. */
kp_status kp_setting_arrays(kp_explaining *e)
{
    const kp_training *t = &e->look.training;
    bool tf = t->framework == KP_FW_KERAS_TF || t->framework == KP_FW_KERAS_TF_GRAPH;
    uint64_t bytes = e->look.host.inputs;
    if (!tf || t->data != KP_DATA_RAM) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "fit() on arrays makes one tensor of %s, which TensorFlow may put on the GPU: not "
               "counted in the peak; a tf.data.Dataset of batches stays on the host",
               kp_size_text(bytes).s);
    return kp_add_culprit(e, "KP024", NULL, &text, bytes);
}

/* ---- states ---- */

kp_status kp_setting_slots(kp_explaining *e)
{
    uint64_t slots = category(e, KP_CAT_OPTIMIZER), weights = category(e, KP_CAT_WEIGHTS);
    if (slots * 10 < peak_of(e) * 3) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "%s keeps %s beside %s of weights (%.3g times as much), %.0f %% of the peak, "
               "whatever the batch",
               kp_optimizer_class(e->look.training.optimizer), kp_size_text(slots).s,
               kp_size_text(weights).s, (double)slots / (double)kp_max_u64(weights, 1),
               100 * (double)slots / (double)peak_of(e));
    return kp_add_culprit(e, "KP012", NULL, &text, slots);
}

/* More GPUs by data parallelism alone: the states are on each of them. */
kp_status kp_setting_replicas(kp_explaining *e)
{
    const kp_strategy *s = &e->look.strategy;
    uint64_t all = states_of(e);
    if (s->dp < 2 || s->zero) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "data parallelism divides the batch (%" PRIu64 " in all, %" PRIu64
               " a GPU), not the states: %s of weights, gradients and slots are on each of %u "
               "ranks; GPUs do not add up to one large card",
               e->look.training.batch, e->look.training.batch / s->dp, kp_size_text(all).s, s->dp);
    return kp_add_culprit(e, "KP013", NULL, &text, all);
}

kp_status kp_setting_zero_alone(kp_explaining *e)
{
    const kp_strategy *s = &e->look.strategy;
    if (s->dp > 1 || !s->zero) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "--zero %u divides nothing without data parallelism (--dp): tp %u x pp %u leaves "
               "one data-parallel rank",
               s->zero, s->tp, s->pp);
    return kp_add_culprit(e, "KP049", NULL, &text, 0);
}

/* What the update holds beside states: Keras's copies of the largest variable, torch's foreach. */
static const char *why_update(const kp_training *t)
{
    if (kp_training_composed(t))
        return ": composed of ops, it makes decayed moments of all weights at the step's start; "
               "tf.train.AdamOptimizer, one kernel a weight, holds nothing";
    if (!kp_profile_for(t)->update_all) return ": copies of the largest variable";
    /* Keras's optimizers have no such switch. */
    return t->framework == KP_FW_TORCH ? ": one more copy of all weights at once; foreach=False "
                                         "updates one weight at a time"
                                       : ": one more copy of all weights at once";
}

kp_status kp_setting_update(kp_explaining *e)
{
    if (e->look.memory.phase != KP_PHASE_OPTIMIZER) return KP_OK;
    uint64_t bytes = category(e, KP_CAT_TEMPORARY);
    kp_buf text = text_of();
    kp_buf_fmt(&text, "the peak is in the optimizer's update, which holds %s beside the states%s",
               kp_size_text(bytes).s, why_update(&e->look.training));
    return kp_add_culprit(e, "KP034", NULL, &text, bytes);
}

/* ---- pipelines ---- */

static uint32_t largest_stage(const kp_look *look)
{
    uint32_t most = 0;
    for (uint32_t i = 1; i < look->strategy.pp; i++)
        if (look->stages[i].peak_bytes > look->stages[most].peak_bytes) most = i;
    return most;
}

kp_status kp_setting_imbalance(kp_explaining *e)
{
    const kp_look *look = &e->look;
    uint32_t pp = look->strategy.pp, most = largest_stage(look);
    uint64_t sum = 0;
    if (pp < 2) return KP_OK;
    for (uint32_t i = 0; i < pp; i++) sum = kp_add_u64(sum, look->stages[i].peak_bytes);
    uint64_t mean = sum / pp, peak = look->stages[most].peak_bytes;
    if (peak * 10 <= mean * 11) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "stage %u of %u ('%s' to '%s') needs %s, the mean is %s: the borders are the best "
               "that whole layers allow",
               most + 1, pp, look->stages[most].first_layer, look->stages[most].last_layer,
               kp_size_text(peak).s, kp_size_text(mean).s);
    return kp_add_culprit(e, "KP018", NULL, &text, peak - mean);
}

kp_status kp_setting_first_stage(kp_explaining *e)
{
    const kp_look *look = &e->look;
    uint32_t pp = look->strategy.pp;
    const kp_explain_stage *first = look->stages, *last = first + pp - 1;
    if (pp < 2 || first->in_flight < 2 || !worth_a_line(e, first->kept_bytes)) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "the first stage keeps %u micro-batches in flight at once, %s in all; the last "
               "stage %u, %s",
               first->in_flight, kp_size_text(first->kept_bytes).s, last->in_flight,
               kp_size_text(last->kept_bytes).s);
    return kp_add_culprit(e, "KP048", NULL, &text, first->kept_bytes);
}

/* ---- buffers and scratch ---- */

kp_status kp_setting_buffers(kp_explaining *e)
{
    uint64_t bytes = category(e, KP_CAT_COMMUNICATION);
    if (!worth_a_line(e, bytes)) return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "%s of buffers for collectives, whatever the model and the batch: a small model "
               "grows when it is divided",
               kp_size_text(bytes).s);
    return kp_add_culprit(e, "KP035", NULL, &text, bytes);
}

static bool convolves(const kp_graph *g)
{
    for (uint32_t i = 0; i < g->n_ops; i++)
        if (g->ops[i].op == KP_OP_CONV || g->ops[i].op == KP_OP_CONV_TRANSPOSE) return true;
    return false;
}

/* The switch that stops trying: how each framework names it. */
static const char *const autotune_off[KP_FW_COUNT] = {
    [KP_FW_KERAS_JAX] = "XLA_FLAGS=--xla_gpu_autotune_level=0",
    [KP_FW_KERAS_TF] = "XLA_FLAGS=--xla_gpu_autotune_level=0",
    [KP_FW_KERAS_TF_GRAPH] = "TF_CUDNN_USE_AUTOTUNE=0",
    [KP_FW_KERAS_TORCH] = "torch.backends.cudnn.benchmark = False",
    [KP_FW_TORCH] = "torch.backends.cudnn.benchmark = False"};

kp_status kp_setting_scratch(kp_explaining *e)
{
    kp_framework fw = e->look.training.framework;
    const kp_profile *p = kp_profile_for(&e->look.training);
    uint64_t most = p->conv_high_bytes;
    if (kp_look_fits(&e->look) || !convolves(e->look.graph) || !autotune_off[fw] ||
        most <= p->conv_bytes || !worth_a_line(e, most))
        return KP_OK;
    kp_buf text = text_of();
    kp_buf_fmt(&text,
               "while cuDNN tries its kernels in the first step it may take %s of scratch, %s is "
               "counted; %s stops the trials",
               kp_size_text(most).s, kp_size_text(p->conv_bytes).s, autotune_off[fw]);
    return kp_add_culprit(e, "KP045", NULL, &text, p->conv_bytes);
}

/* Keys and values that a Hugging Face model returns beside its logits unless told not to. */
kp_status kp_setting_cache(kp_explaining *e)
{
    json_t *json = e->json, *use = json_object_get(json, "use_cache");
    if (e->look.graph->format != KP_FORMAT_HUGGINGFACE ||
        e->look.training.framework != KP_FW_TORCH || !json_is_true(use) ||
        e->look.strategy.recompute != KP_RECOMPUTE_NONE)
        return KP_OK;
    kp_buf text = text_of();
    kp_buf_str(&text,
               "the config has use_cache true: training then holds the keys and values of "
               "every layer once more, which is not counted; model.config.use_cache = False");
    return kp_add_culprit(e, "KP036", NULL, &text, 0);
}
