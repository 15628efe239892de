/* SPDX-License-Identifier: MIT
 *
 * planner/plan/message_bytes.c — which tensor of the model has the bytes that a message names, and
 * which layer has a number of parameters that a 32-bit counter prints as a negative one. */
#include "planner/plan/message_match.h"
#include <math.h>

/* torch's caching allocator asks the driver for more than was requested: 2 MiB for up to 1 MiB,
 * 20 MiB for up to 10 MiB, else a multiple of 2 MiB (kSmallBuffer, kLargeBuffer, kRoundLarge in
 * c10/cuda/CUDACachingAllocator.cpp), and its message names that. */
enum { MIB = 1 << 20 };

static uint64_t torch_segment(uint64_t bytes)
{
    if (bytes <= MIB) return 2 * MIB;
    if (bytes < 10 * MIB) return 20 * MIB;
    return kp_round_up(bytes, 2 * MIB);
}

static bool is(const kp_oom_ask *ask, uint64_t bytes)
{
    if (ask->from == KP_OOM_TORCH && !ask->host && bytes) {
        uint64_t segment = torch_segment(bytes);
        if (segment >= ask->low && segment <= ask->high) return true;
    }
    return bytes >= ask->low && bytes <= ask->high;
}

/* Only a request of torch for one of its smallest segments names no tensor. */
static bool smallest_segment(const kp_oom_ask *ask)
{
    bool torch = ask->from == KP_OOM_TORCH && !ask->host;
    return torch && (ask->bytes == 2 * MIB || ask->bytes == 20 * MIB);
}

/* ---- values and weights ---- */

static unsigned kind_score(kp_shaped_kind kind)
{
    return kind == KP_SHAPED_OUTPUT   ? 0
           : kind == KP_SHAPED_WEIGHT ? 1
           : kind == KP_SHAPED_INPUT  ? 2
                                      : 4;
}

/* An element of a value may be of another type than the layer's: what a loss or a norm casts up. */
static bool at_batch(kp_matching *m, const kp_shaped *of, uint64_t batch)
{
    const uint32_t own = kp_dtype_bytes(of->dtype), sizes[] = {own, 4, 2};
    uint64_t elems = kp_shape_elems(of->shape, batch ? batch : 1);
    kp_match match = {.of = *of, .by = {KP_FACTOR_SAME, batch, 1}, .shares = 1};
    match.named = kp_match_names(m->ask, &m->look->graph->layers[of->layer]);
    for (size_t i = 0; i < KP_LEN(sizes); i++) {
        if ((i && sizes[i] == own) || !is(m->ask, kp_mul_u64(elems, sizes[i]))) continue;
        match.element_bytes = sizes[i];
        match.bytes = kp_mul_u64(elems, sizes[i]);
        match.score = 40 + 2 * kind_score(of->kind) + (i ? 3 : 0) - (match.named ? 40 : 0);
        kp_match_keep(m, &match);
        return true;
    }
    return false;
}

static void consider_bytes(kp_matching *m, const kp_shaped *candidate)
{
    kp_shaped of = *candidate;
    uint64_t samples = m->look->training.samples;
    if (!kp_shape_known(of.shape) || !kp_dtype_bytes(of.dtype)) return;
    if (m->ask->host && !kp_match_on_host(m, &of)) return;
    bool weight = of.kind == KP_SHAPED_WEIGHT;
    if (at_batch(m, &of, weight ? 0 : m->batch)) return;
    if (m->ask->host && !weight && samples != UINT64_MAX) at_batch(m, &of, samples);
}

/* How far off a size may be and still be printed so. */
static uint64_t slack(const kp_oom_ask *ask)
{
    uint64_t printed = ask->high - ask->low, segment = ask->from == KP_OOM_TORCH ? 2 * MIB : 0;
    return kp_max_u64(kp_add_u64(printed, ask->host ? 0 : segment), 1);
}

/* The same at other batches: nearly any tensor would do at some batch, so only where a sample is
 * much more than what rounding leaves open, or the message names the layer. */
static void consider_batches(kp_matching *m, const kp_shaped *of)
{
    enum { SURE = 20, BATCH_MOST = 4096 };
    const kp_oom_ask *ask = m->ask;
    uint32_t size = kp_dtype_bytes(of->dtype);
    bool value = of->kind == KP_SHAPED_OUTPUT || of->kind == KP_SHAPED_INPUT;
    if (!value || !of->shape.per_sample || !kp_shape_known(of->shape)) return;
    uint64_t sample = kp_mul_u64(kp_shape_elems(of->shape, 1), size);
    kp_match match = {.of = *of, .element_bytes = size, .shares = 1};
    match.named = kp_match_names(ask, &m->look->graph->layers[of->layer]);
    if (!sample || (!match.named && sample / SURE < slack(ask))) return;
    uint64_t batch = (ask->bytes + sample / 2) / sample;
    if (!batch || batch == m->batch || !is(ask, kp_mul_u64(batch, sample))) return;
    bool plain = !(batch & (batch - 1)) || m->batch % batch == 0 || batch % m->batch == 0;
    if (batch > BATCH_MOST && !match.named) return;
    double far = fabs(log2((double)batch / (double)m->batch));
    match.by = (kp_factored){KP_FACTOR_SAME, batch, 1};
    match.bytes = kp_mul_u64(batch, sample);
    match.score =
        60 + (plain ? 0 : 8) + (unsigned)far + kind_score(of->kind) - (match.named ? 40 : 0);
    kp_match_keep(m, &match);
}

/* ---- all parameters ---- */

static bool near_all(const kp_oom_ask *ask, uint64_t bytes)
{
    /* Flat buffers are padded to a multiple of something small: a thousandth at most. */
    bool padded = ask->bytes >= bytes && ask->bytes - bytes <= bytes / 1000;
    return is(ask, bytes) || (ask->low == ask->high && padded);
}

static bool consider_all(kp_matching *m, uint64_t params, uint32_t element_bytes, uint32_t shares)
{
    uint64_t bytes = kp_ceil_div(kp_mul_u64(params, element_bytes), shares);
    if (bytes < MIB || !near_all(m->ask, bytes)) return false;
    kp_match match = {.of = {.kind = KP_SHAPED_ALL,
                             .layer = KP_NO,
                             .op = KP_NO,
                             .what = shares > 1 ? "share of all parameters" : "all parameters",
                             .shape = {.rank = 1, .dim = {(int64_t)kp_ceil_div(params, shares)}},
                             .dtype = element_bytes == 2 ? KP_BFLOAT16 : KP_FLOAT32},
                      .element_bytes = element_bytes,
                      .shares = shares,
                      .bytes = bytes,
                      .score = 38 + (shares > 1 ? 8 : 0)};
    kp_match_keep(m, &match);
    return true;
}

static void consider_flat(kp_matching *m)
{
    static const uint32_t sizes[] = {4, 2, 8, 12, 16};
    const kp_graph *g = m->look->graph;
    bool one = false;
    for (size_t i = 0; i < KP_LEN(sizes); i++) {
        one |= consider_all(m, g->params, sizes[i], 1);
        if (g->trainable_params != g->params)
            one |= consider_all(m, g->trainable_params, sizes[i], 1);
    }
    for (uint32_t n = 2; n <= 1024 && !one; n *= 2)
        for (size_t i = 0; i < 2 && !one; i++) one = consider_all(m, g->params, sizes[i], n);
}

/* ---- XLA's temporary memory ---- */

/* A compiled program asks once for all its temporary buffers: what is alive at the peak without
 * arguments (weights, slots, the batch). Where the size is none of a tensor's, it is that of
 * another batch or another model. */
static void consider_program(kp_matching *m)
{
    const kp_memory *now = &m->look->memory;
    uint64_t args = kp_match_arguments(now);
    uint64_t low = kp_sub_u64(now->allocated.low, args),
             high = kp_sub_u64(now->allocated.high, args);
    bool inside = m->ask->high >= low - low / 10 && m->ask->low <= high + high / 10;
    kp_match match = {.of = {.kind = KP_SHAPED_PROGRAM,
                             .layer = now->layer,
                             .op = now->op,
                             .what = "temporary memory of the whole step",
                             .shape = {.rank = 1, .dim = {(int64_t)m->ask->bytes}},
                             .dtype = KP_UINT8},
                      .by = {KP_FACTOR_SAME, m->batch, 1},
                      .shares = 1,
                      .bytes = m->ask->bytes,
                      .score = inside ? 37 : 60};
    kp_match_keep(m, &match);
}

uint64_t kp_match_arguments(const kp_memory *memory)
{
    const uint64_t *b = memory->peak.bytes;
    return b[KP_CAT_WEIGHTS] + b[KP_CAT_OPTIMIZER] + b[KP_CAT_INPUTS];
}

void kp_match_bytes(kp_matching *m)
{
    if (smallest_segment(m->ask)) return;
    consider_flat(m);
    kp_shaped_each(m->look, consider_bytes, m);
    if (m->ask->kind == KP_OOM_PROGRAM) consider_program(m);
    if (!m->n) kp_shaped_each(m->look, consider_batches, m);
    while (m->n > 1 && m->best[m->n - 1].score > m->best[0].score + 9) {
        m->n--;
        m->found--;
    }
}

/* ---- negative counts ---- */

static bool wraps(int64_t printed, uint64_t count)
{
    return count > INT32_MAX && (uint32_t)count == (uint32_t)(uint64_t)printed;
}

static void keep_count(kp_matching *m, uint32_t layer, uint64_t count, unsigned score)
{
    const kp_graph *g = m->look->graph;
    bool one = layer != KP_NO && g->layers[layer].n_weights;
    kp_match match = {.of = {.kind = KP_SHAPED_ALL,
                             .layer = layer,
                             .op = KP_NO,
                             .what = "number of parameters",
                             .shape = one ? g->weights[g->layers[layer].first_weight].shape
                                          : (kp_shape){.rank = 1, .dim = {(int64_t)count}}},
                      .shares = 1,
                      .bytes = kp_mul_u64(count, 4),
                      .score = score};
    kp_match_keep(m, &match);
}

/* The layer that has so many, or is alone to blame for a total that has. */
void kp_match_count(kp_matching *m)
{
    const kp_graph *g = m->look->graph;
    uint64_t most = 0;
    uint32_t which = KP_NO;
    for (uint32_t i = 0; i < g->n_layers; i++) {
        uint64_t n = kp_look_layer_params(m->look, i);
        if (wraps(m->ask->count, n)) keep_count(m, i, n, 10);
        if (n > most) which = i;
        most = kp_max_u64(most, n);
    }
    bool total = wraps(m->ask->count, g->params) || wraps(m->ask->count, g->trainable_params);
    if (total && !m->n) keep_count(m, which, most, 20);
}
