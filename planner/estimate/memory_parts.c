/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/memory_parts.c — whose the bytes of a step are, and what its host holds. */
#include "planner/estimate/memory_parts.h"
#include "planner/estimate/taping.h"

/* ---- whose it is ---- */

static void count_buffer(kp_layer_bytes *l, const kp_tape_buffer *b, kp_phase phase)
{
    if (b->category == KP_CAT_OPTIMIZER) l->optimizer += b->bytes;
    if (b->category == KP_CAT_WEIGHTS && phase == KP_PHASE_LOAD) l->weights += b->bytes;
    if (b->category == KP_CAT_ACTIVATIONS && phase == KP_PHASE_FORWARD) l->activations += b->bytes;
}

/* Own states and kept outputs of every layer over the whole step, wherever the peak is. Gradients
 * count once a weight, even where XLA holds them one at a time. */
kp_status kp_memory_layers(const kp_tape *tape, const kp_training *training, kp_arena *arena,
                           kp_memory *ret, kp_err *err)
{
    const kp_graph *g = tape->graph;
    kp_layer_bytes *layers = KP_NEW(arena, kp_layer_bytes, g->n_layers);
    if (!layers) return kp_nomem(err);
    for (uint32_t i = 0; i < tape->n_steps; i++) {
        const kp_tape_step *s = &tape->steps[i];
        for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) {
            const kp_tape_buffer *b = &tape->buffers[tape->events[e].buffer];
            if (tape->events[e].alloc && b->layer != KP_NO)
                count_buffer(&layers[b->layer], b, s->phase);
        }
    }
    kp_taping t = {
        .graph = g, .training = training, .part = &tape->part, .profile = kp_profile_for(training)};
    KP_TRY(kp_sizes_make(g, training, &tape->part, arena, &t.sizes, err));
    for (uint32_t w = 0; w < g->n_weights; w++) {
        kp_layer_bytes *l = &layers[g->weights[w].layer];
        kp_dtype dtype;
        if (!g->weights[w].trainable || !l->weights) continue;
        l->gradients += kp_ceil_div(kp_taping_grad_bytes(&t, w, &dtype), kp_taping_shards(&t, 2));
    }
    ret->layers = layers;
    return KP_OK;
}

/* ---- the host ---- */

/* The process on its host: the runtime with its libraries, the weights while they are loaded or
 * saved, and the data: all of them, or three batches on their way. */
void kp_memory_host(const kp_tape *tape, const kp_training *training, kp_memory *m)
{
    uint64_t weights = 0, batch = 0;
    for (uint32_t i = 0; i < tape->n_buffers; i++) {
        const kp_tape_buffer *b = &tape->buffers[i];
        bool copy = !strncmp(b->what, "copy of ", 8);
        if (b->category == KP_CAT_WEIGHTS && !copy) weights += b->bytes;
        if (b->category == KP_CAT_INPUTS) batch += b->bytes;
    }
    bool ram = training->data == KP_DATA_RAM && training->samples != UINT64_MAX;
    uint64_t samples = ram ? training->samples : 3 * (uint64_t)tape->part.strategy.micro_batch;
    m->host_runtime_bytes = (uint64_t)2 << 30;
    m->host_weights_bytes = weights;
    m->host_data_bytes = kp_mul_u64(batch / tape->part.strategy.micro_batch, samples);
    m->host_bytes = kp_add_u64(m->host_runtime_bytes, kp_add_u64(weights, m->host_data_bytes));
}
