/* SPDX-License-Identifier: MIT
 *
 * planner/plan/oom_text.c — phrases of out-of-memory messages, looked for in one pass. */
#include "planner/plan/oom_phrases.h"

const char *const kp_oom_from_names[KP_OOM_FROM_COUNT] = {
    [KP_OOM_UNKNOWN] = "unknown", [KP_OOM_TENSORFLOW] = "TensorFlow", [KP_OOM_XLA] = "XLA",
    [KP_OOM_TORCH] = "torch",     [KP_OOM_THEANO] = "Theano",         [KP_OOM_NUMPY] = "NumPy",
    [KP_OOM_KERAS] = "Keras",     [KP_OOM_SYSTEM] = "the system",     [KP_OOM_CUDA] = "CUDA",
};

/* ---- complaints without a size ---- */

static void tf_full(kp_oom_reading *r, kp_oom_cursor c)
{
    (void)c;
    r->device = true;
    if (!r->seen || r->seen == KP_OOM_CUDA) r->seen = KP_OOM_TENSORFLOW;
}

static void cuda_full(kp_oom_reading *r, kp_oom_cursor c)
{
    (void)c;
    r->device = true;
    if (!r->seen) r->seen = KP_OOM_CUDA;
}

static void torch_full(kp_oom_reading *r, kp_oom_cursor c)
{
    (void)c;
    r->device = true;
    r->seen = KP_OOM_TORCH;
}

static void xla_full(kp_oom_reading *r, kp_oom_cursor c)
{
    (void)c;
    r->device = true;
    r->seen = KP_OOM_XLA;
}

static void host_full(kp_oom_reading *r, kp_oom_cursor c)
{
    (void)c;
    r->host = true;
}

/* ---- the table ---- */

typedef struct phrase {
    const char *words; /* lower case */
    kp_oom_reader *read;
} phrase;

static const phrase phrases[] = {
    {"oom when allocating tensor", kp_oom_tf_tensor},
    {"ran out of memory trying to allocate ", kp_oom_tf_bfc},
    {"dst tensor is not initialized", kp_oom_tf_copy},
    {"unable to allocate output tensor", kp_oom_tf_copy},
    {"allocation of ", kp_oom_tf_host},
    {"failed to allocate request for ", kp_oom_xla_program},
    {"failed to allocate ", kp_oom_driver},
    {"while trying to allocate ", kp_oom_xla_program},
    {"out of memory allocating ", kp_oom_xla_program},
    {"shape: ", kp_oom_xla_buffer},
    {"tried to allocate ", kp_oom_torch_bytes},
    {"error allocating ", kp_oom_theano_bytes},
    {"inputs shapes: [", kp_oom_theano_shapes},
    {"unable to allocate ", kp_oom_numpy},
    {"params: -", kp_oom_summary_row}, /* the number stands before the cursor: see below */
    {"(none,", kp_oom_summary_row},
    {"resourceexhausted", tf_full},
    {"resource exhausted", tf_full},
    {"cuda_error_out_of_memory", cuda_full},
    {"resource_exhausted", xla_full},
    {"cuda out of memory", torch_full},
    {"hip out of memory", torch_full},
    {"cuda error: out of memory", torch_full},
    {"cuda runtime error (2)", torch_full},
    {"cublas_status_alloc_failed", torch_full},
    {"mps backend out of memory", torch_full},
    {"cudamalloc failed", torch_full},
    {"memoryerror", host_full},
    {"std::bad_alloc", host_full},
    {"can't allocate memory", host_full},
    {"cannot allocate memory", host_full},
    {"killed process", host_full},
    {"oom-kill", host_full},
    {"oomkilled", host_full},
    {"sigkill", host_full},
    {"exit code 137", host_full},
    {"exit code -9", host_full},
    {"signal 9", host_full},
};

static void run(kp_oom_reading *r)
{
    bool starts[256] = {false};
    for (size_t i = 0; i < KP_LEN(phrases); i++) {
        unsigned char first = (unsigned char)phrases[i].words[0];
        starts[first] = true;
        if (first >= 'a' && first <= 'z') starts[first - 'a' + 'A'] = true;
    }
    for (const char *at = r->start; at < r->end; at++) {
        if (!starts[(unsigned char)*at]) continue;
        for (size_t i = 0; i < KP_LEN(phrases); i++) {
            kp_oom_cursor c = {at, r->end};
            if (!kp_oom_word(&c, phrases[i].words)) continue;
            if (phrases[i].words[strlen(phrases[i].words) - 1] == '-') c.at--;
            phrases[i].read(r, c);
            break;
        }
    }
}

/* A line that is only "Killed", as a shell writes it. */
static bool killed(const kp_oom_reading *r)
{
    kp_oom_cursor c = {r->start, r->end};
    while (kp_oom_seek(&c, "killed", (size_t)(c.end - c.at))) {
        const char *word = c.at - 6;
        bool begins = word == r->start || word[-1] == '\n' || word[-1] == ' ';
        if (begins && (c.at == c.end || *c.at == '\n' || *c.at == '\r' || *c.at == ' '))
            return true;
    }
    return false;
}

/* Nothing but a shape or a size, as people shorten a message. Only short texts. */
static void bare(kp_oom_reading *r)
{
    kp_oom_ask ask = {.kind = KP_OOM_TENSOR};
    kp_oom_cursor c = {r->start, r->end};
    if (r->end - r->start > 400) return;
    for (; c.at < c.end; c.at++) {
        kp_oom_cursor type = c;
        if (!ask.has_dtype) ask.has_dtype = kp_oom_dtype(&type, &ask.dtype);
        kp_oom_cursor shape = c;
        if (ask.rank || !kp_oom_shape(&shape, &ask.rank, ask.dim)) continue;
        if (ask.rank < 2) ask.rank = 0;
    }
    if (ask.rank) {
        kp_oom_keep(r, &ask);
        return;
    }
    ask = (kp_oom_ask){.kind = KP_OOM_BYTES};
    for (c.at = r->start; c.at < c.end; c.at++) {
        kp_oom_cursor size = c;
        bool inside = c.at > r->start && c.at[-1] > ' ' && c.at[-1] != '=' && c.at[-1] != '(';
        if (inside || !kp_oom_size(&size, &ask.bytes, &ask.low, &ask.high)) continue;
        if (ask.bytes < 1 << 20) continue;
        kp_oom_keep(r, &ask);
        return;
    }
}

void kp_oom_read(const char *text, size_t len, kp_oom_text *ret)
{
    *ret = (kp_oom_text){0};
    kp_oom_reading r = {.out = ret, .start = text, .end = text + len};
    run(&r);
    if (ret->n) return;
    kp_oom_ask ask = {.kind = KP_OOM_DEVICE, .from = r.seen};
    if (r.device)
        kp_oom_keep(&r, &ask);
    else if (r.host || killed(&r)) {
        ask = (kp_oom_ask){.kind = KP_OOM_HOST, .from = KP_OOM_SYSTEM, .host = true};
        kp_oom_keep(&r, &ask);
    } else {
        bare(&r);
    }
}
