/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_phases.c — every phase of a training: device of a rank, host of a node.
 *
 * The step's own phases come from the replay. The first step is one without what only appears in
 * it; loading, evaluation, saving and resuming differ in what else is there. What a framework's
 * own policy decides (which checkpoint, which launcher) is a note beside the phase. */
#include "planner/plan/explain_parts.h"
#include "planner/estimate/outside.h"
#include "planner/estimate/profile.h"
#include <inttypes.h>
#include <jansson.h>

enum { NODE_GPUS = 8 }; /* GPUs of a node where no cluster says it */

/* ---- the host ---- */

static uint64_t ranks_of(const kp_strategy *s)
{
    return (uint64_t)s->dp * s->tp * s->pp;
}

bool kp_look_one_process(const kp_look *look)
{
    kp_framework fw = look->training.framework;
    return fw == KP_FW_KERAS_JAX || fw == KP_FW_KERAS_TF || fw == KP_FW_KERAS_TF_GRAPH;
}

static uint32_t processes_of(const kp_look *look)
{
    uint64_t ranks = ranks_of(&look->strategy);
    if (kp_look_one_process(look)) return 1;
    return (uint32_t)(ranks < NODE_GPUS ? ranks : NODE_GPUS);
}

static uint64_t whole_weights(const kp_graph *g)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_weights; i++)
        sum = kp_add_u64(sum, kp_mul_u64(kp_shape_elems(g->weights[i].shape, 1),
                                         kp_dtype_bytes(g->weights[i].dtype)));
    return sum;
}

static uint64_t label_bytes(const kp_tape *tape)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tape->n_buffers; i++)
        if (tape->buffers[i].category == KP_CAT_INPUTS && !strcmp(tape->buffers[i].what, "labels"))
            sum = kp_add_u64(sum, tape->buffers[i].bytes);
    return sum;
}

/* Megatron's ranks make their own part only; elsewhere each process reads the whole model. */
kp_host kp_host_of(const kp_look *look)
{
    const kp_memory *m = &look->memory;
    uint32_t n = processes_of(look), micro = look->strategy.micro_batch;
    bool parts = look->training.framework == KP_FW_MEGATRON;
    uint64_t batch = label_bytes(&look->tape), samples = 3ull * micro;
    if (look->training.data == KP_DATA_RAM) samples = look->training.samples;
    kp_host h = {.processes = n};
    h.runtime = kp_mul_u64(m->host_runtime_bytes, n);
    h.weights = kp_mul_u64(parts ? m->host_weights_bytes : whole_weights(look->graph), n);
    h.labels = kp_mul_u64(kp_mul_u64(batch / micro, samples), n);
    uint64_t data = kp_mul_u64(m->host_data_bytes, n);
    h.labels = kp_min_u64(h.labels, data);
    h.inputs = data - h.labels;
    h.slots = kp_mul_u64(m->peak.bytes[KP_CAT_OPTIMIZER], n);
    return h;
}

static uint64_t host_data(const kp_host *h)
{
    return kp_add_u64(h->inputs, h->labels);
}

uint64_t kp_host_peak(const kp_host *h)
{
    uint64_t beside = kp_max_u64(host_data(h), h->slots);
    return kp_add_u64(kp_add_u64(h->runtime, h->weights), beside);
}

static kp_status fill_host(kp_explaining *e)
{
    const kp_host *h = &e->look.host;
    bool resumes = h->slots > host_data(h);
    const kp_host_part all[] = {{"runtime", h->runtime},
                                {"weights", h->weights},
                                {"data", resumes ? 0 : h->inputs},
                                {"labels", resumes ? 0 : h->labels},
                                {"optimizer", resumes ? h->slots : 0}};
    kp_host_part *parts = KP_NEW(e->arena, kp_host_part, KP_LEN(all));
    if (!parts) return kp_nomem(e->err);
    memcpy(parts, all, sizeof(all));
    e->out->host = (kp_explain_host){kp_host_peak(h), parts, KP_LEN(all)};
    return KP_OK;
}

/* ---- notes ---- */

static bool divides_weights(const kp_strategy *s)
{
    return s->zero == 3 || s->tp > 1 || s->pp > 1;
}

/* Keras makes sharded variables in place from 3.13 on (keras#21755). */
static bool loads_whole(const kp_explaining *e)
{
    const char *version = json_string_value(json_object_get(e->json, "keras_version"));
    unsigned major = 0, minor = 0;
    if (e->look.training.framework != KP_FW_KERAS_JAX || !version) return false;
    return sscanf(version, "%u.%u", &major, &minor) == 2 && major == 3 && minor < 13;
}

static void note_load(const kp_explaining *e, kp_buf *out)
{
    const kp_strategy *s = &e->look.strategy;
    uint32_t n = e->look.host.processes;
    if (divides_weights(s) && loads_whole(e))
        kp_buf_fmt(out,
                   "KP019: Keras before 3.13 makes all weights on the first GPU before it "
                   "divides them: %s there",
                   kp_size_text(whole_weights(e->look.graph)).s);
    if (n < 2) return;
    if (e->look.training.framework != KP_FW_MEGATRON)
        kp_buf_fmt(out, "%sKP022: each of %u processes reads the whole model: %s on the host; ",
                   out->len ? "; " : "", n, kp_size_text(e->look.host.weights).s);
    kp_buf_fmt(out, "KP026: pin each rank to its GPU, or %u contexts of %s gather on the first",
               n - 1, kp_size_text(kp_profile_for(&e->look.training)->runtime_bytes).s);
}

static bool slots_later(const kp_explaining *e)
{
    return e->look.training.framework >= KP_FW_KERAS_TORCH;
}

static void note_first(const kp_explaining *e, kp_buf *out)
{
    uint64_t slots = e->look.memory.peak.bytes[KP_CAT_OPTIMIZER];
    if (slots && slots_later(e))
        kp_buf_fmt(out, "%s of optimizer slots appear at its end", kp_size_text(slots).s);
}

static void note_eval(const kp_explaining *e, kp_buf *out)
{
    const kp_graph *g = e->look.graph;
    uint64_t samples = e->look.training.samples, bytes = 0;
    if (samples == UINT64_MAX) return;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const kp_tensor *y = &g->tensors[g->outputs[i]];
        bytes =
            kp_add_u64(bytes, kp_mul_u64(kp_shape_elems(y->shape, 1), kp_dtype_bytes(y->dtype)));
    }
    kp_buf_fmt(out, "KP039: in batches of %" PRIu32 " too; ", e->look.strategy.micro_batch);
    kp_buf_fmt(out, "KP021: predict() of all %" PRIu64 " samples keeps %s of outputs", samples,
               kp_size_text(kp_mul_u64(bytes, samples)).s);
}

static void note_save(const kp_explaining *e, kp_buf *out)
{
    if (divides_weights(&e->look.strategy))
        kp_buf_fmt(out,
                   "KP020: a checkpoint in one piece gathers %s on the first rank, a sharded "
                   "one nothing",
                   kp_size_text(whole_weights(e->look.graph)).s);
}

static void note_resume(const kp_explaining *e, kp_buf *out)
{
    if (e->look.host.processes > 1)
        kp_buf_fmt(out, "%u processes a node read weights and slots each", e->look.host.processes);
}

/* ---- the rows ---- */

/* Slots, gradients and weights of this rank, from its layers. */
static uint64_t slots_of(const kp_look *look)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < look->graph->n_layers; i++)
        sum = kp_add_u64(sum, look->memory.layers[i].optimizer);
    return sum;
}

static uint64_t first_step(const kp_explaining *e)
{
    const uint64_t *p = e->look.memory.phase_bytes;
    uint64_t most = kp_max_u64(p[KP_PHASE_FORWARD], p[KP_PHASE_BACKWARD]);
    uint64_t slots = slots_later(e) ? slots_of(&e->look) : 0;
    return kp_max_u64(most > slots ? most - slots : 0, p[KP_PHASE_OPTIMIZER]);
}

/* What the bounds lie from the expected bytes: constants of their own ranges (no kernels are tried
 * out of the step), the rest in proportion. */
static kp_verdict_fit verdict_of(const kp_look *look, uint64_t bytes, bool step)
{
    const kp_memory *m = &look->memory;
    kp_outside o = kp_outside_of(&look->tape, &look->training, &look->device);
    double peak = (double)kp_categories_sum(&m->peak), usable = (double)look->device.usable_bytes;
    double high = (double)m->high_bytes - peak, low = peak - (double)m->low_bytes;
    if (!step) {
        double up = (double)kp_categories_sum(&o.high) - (double)kp_categories_sum(&o.bytes),
               down = (double)kp_categories_sum(&o.bytes) - (double)kp_categories_sum(&o.low),
               part = (double)bytes / peak;
        double scratch =
            (double)o.high.bytes[KP_CAT_WORKSPACE] - (double)o.bytes.bytes[KP_CAT_WORKSPACE];
        high = up - scratch + (high > up ? high - up : 0) * part;
        low = down + (low > down ? low - down : 0) * part;
    }
    if ((double)bytes + high <= usable) return KP_FIT_FITS;
    return (double)bytes - low > usable ? KP_FIT_NO : KP_FIT_TIGHT;
}

typedef struct phase_row {
    const char *name;
    kp_phase phase; /* whose bytes it has; KP_PHASE_COUNT: of the first step */
    void (*note)(const kp_explaining *e, kp_buf *out);
    bool weights, data, slots; /* on the host */
} phase_row;

static const phase_row phase_rows[] = {
    {"load", KP_PHASE_LOAD, note_load, true, false, false},
    {"first step", KP_PHASE_COUNT, note_first, false, true, false},
    {"forward", KP_PHASE_FORWARD, NULL, false, true, false},
    {"backward", KP_PHASE_BACKWARD, NULL, false, true, false},
    {"optimizer", KP_PHASE_OPTIMIZER, NULL, false, true, false},
    {"eval", KP_PHASE_EVAL, note_eval, false, true, false},
    {"save", KP_PHASE_SAVE, note_save, true, true, false},
    {"resume", KP_PHASE_LOAD, note_resume, true, false, true},
};

static uint64_t host_of(const kp_explaining *e, const phase_row *row)
{
    const kp_host *h = &e->look.host;
    uint64_t sum = h->runtime;
    if (row->weights) sum = kp_add_u64(sum, h->weights);
    if (row->data) sum = kp_add_u64(sum, host_data(h));
    if (row->slots) sum = kp_add_u64(sum, h->slots);
    return sum;
}

/* Neither a batch nor scratch is there while weights are loaded or saved; slots come back with a
 * checkpoint, or with the first step. */
static uint64_t bytes_of(const kp_explaining *e, const phase_row *row)
{
    const kp_memory *m = &e->look.memory;
    if (row->phase == KP_PHASE_COUNT) return first_step(e);
    if (row->phase == m->phase) return e->out->peak.bytes; /* with all that is counted in it */
    uint64_t bytes = m->phase_bytes[row->phase], less = 0;
    kp_outside o = kp_outside_of(&e->look.tape, &e->look.training, &e->look.device);
    if (row->weights) less = m->peak.bytes[KP_CAT_INPUTS] + o.bytes.bytes[KP_CAT_WORKSPACE];
    if (row->phase == KP_PHASE_LOAD && !row->slots && slots_later(e))
        less = kp_add_u64(less, slots_of(&e->look));
    return bytes > less ? bytes - less : 0;
}

static kp_status fill_phase(kp_explaining *e, const phase_row *row, kp_explain_phase *ret)
{
    const kp_memory *m = &e->look.memory;
    kp_buf note;
    kp_buf_init(&note, 1024);
    if (row->note) row->note(e, &note);
    bool bad = note.failed;
    const char *text = note.len ? kp_arena_str(e->arena, kp_buf_text(&note)) : NULL;
    bad |= note.len && !text;
    kp_buf_release(&note);
    if (bad) return kp_nomem(e->err);
    uint64_t bytes = bytes_of(e, row);
    uint64_t outside = m->phase_bytes[KP_PHASE_LOAD] - m->phase_allocated_bytes[KP_PHASE_LOAD];
    uint64_t allocated = bytes > outside ? bytes - outside : 0;
    *ret = (kp_explain_phase){
        row->name, bytes, allocated, host_of(e, row), verdict_of(&e->look, bytes, !row->weights),
        text};
    return KP_OK;
}

kp_status kp_explain_phases(kp_explaining *e)
{
    kp_explain_phase *phases = KP_NEW(e->arena, kp_explain_phase, KP_LEN(phase_rows));
    if (!phases) return kp_nomem(e->err);
    for (size_t i = 0; i < KP_LEN(phase_rows); i++)
        KP_TRY(fill_phase(e, &phase_rows[i], &phases[i]));
    e->out->phases = phases;
    e->out->n_phases = KP_LEN(phase_rows);
    return fill_host(e);
}
