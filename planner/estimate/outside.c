/* SPDX-License-Identifier: MIT */
#include "planner/estimate/outside.h"

#define MIB ((uint64_t)1 << 20)

static bool has_kind(const kp_tape *tape, bool convolutions)
{
    for (uint32_t i = tape->part.first_op; i < tape->part.end_op; i++) {
        kp_op op = tape->graph->ops[i].op;
        bool conv = op == KP_OP_CONV || op == KP_OP_CONV_DEPTHWISE || op == KP_OP_CONV_TRANSPOSE;
        if (!kp_part_has(&tape->part, i)) continue;
        if (convolutions ? conv : kp_op_rows[op].kind == KP_KIND_WEIGHTY || op == KP_OP_RNN)
            return true;
    }
    return false;
}

/* Threads that call cuBLAS: each has a workspace of its own. Where only programs have products, as
 * many as passes in which they run (the backward pass has a thread of its own in torch). */
static uint32_t program_threads(const kp_tape *tape, const kp_profile *p)
{
    uint32_t threads = 0;
    for (uint32_t i = tape->part.first_op; i < tape->part.end_op && p->programs; i++)
        if (tape->graph->ops[i].attr.products > threads)
            threads = tape->graph->ops[i].attr.products;
    return threads;
}

/* NCCL per communicator: 12 MiB a channel and peer of the ring; 24 channels over NVLink, 4 over
 * PCIe (init.cc, p2p.cc). Connections are made at first use, so the low bound has one channel. */
static void add_nccl(const kp_tape *tape, const kp_device *device, kp_outside *o)
{
    const kp_strategy *s = &tape->part.strategy;
    uint64_t groups = (uint64_t)(s->dp > 1) + (s->tp > 1) + (s->pp > 1);
    uint64_t channels = device->kind->link_bytes_per_s >= 1e11 ? 24 : 4;
    o->bytes.bytes[KP_CAT_COMMUNICATION] = groups * channels * 12 * MIB;
    o->low.bytes[KP_CAT_COMMUNICATION] = groups * 12 * MIB;
    o->high.bytes[KP_CAT_COMMUNICATION] = 2 * groups * channels * 12 * MIB;
}

static void add_space(const kp_tape *tape, const kp_training *training, const kp_profile *p,
                      const kp_device *device, kp_outside *o)
{
    bool products = has_kind(tape, false), convolutions = has_kind(tape, true);
    uint32_t threads = products ? p->space_count : program_threads(tape, p);
    kp_bounded space = {0};
    if (!p->products_space && (products || threads)) space = kp_profile_space(p, training, device);
    if (!products && threads && threads < p->space_count) {
        uint64_t each = space.bytes / p->space_count;
        space.bytes = space.low = space.high = threads * each;
    }
    o->inside = p->space_outside ? 0 : space.bytes;
    o->inside_low = p->space_outside ? 0 : space.low;
    o->inside_high = p->space_outside ? 0 : space.high;
    o->bytes.bytes[KP_CAT_WORKSPACE] = space.bytes + (convolutions ? p->conv_bytes : 0);
    o->low.bytes[KP_CAT_WORKSPACE] = space.low;
    o->high.bytes[KP_CAT_WORKSPACE] = space.high + (convolutions ? p->conv_high_bytes : 0);
}

/* Contexts of torch builds that load all their kernels at once (CUDA before 11.7): device memory
 * less what the allocator held, in published runs of image classifiers. Kernels reserve memory for
 * each multiprocessor: the two cards of 8.6 differ by 4 MiB of them. */
static const struct {
    const char *capability;
    uint64_t bytes, per_sm_bytes;
} contexts[] = {
    {"3.7", 480 * MIB, 0},  /* K80 */
    {"7.0", 1355 * MIB, 0}, /* V100; 1343 MiB in the documentation of transformers */
    {"7.5", 1070 * MIB, 0}, /* RTX 2070 SUPER */
    {"8.0", 1823 * MIB, 0}, /* A100: 1.78 GiB with PyTorch 1.10 (ml-engineering) */
    {"8.6", 1110 * MIB, 4 * MIB + MIB / 10}, /* RTX 3070, RTX 3090 */
};

/* A context, and the share of the rest that the allocator leaves alone. */
static uint64_t runtime(const kp_profile *p, const kp_device *device, uint64_t context)
{
    double rest = (double)kp_sub_u64(device->usable_bytes, context);
    return context + (uint64_t)(rest * p->runtime_share);
}

static void add_runtime(const kp_tape *tape, const kp_profile *p, const kp_training *training,
                        const kp_device *device, kp_outside *o)
{
    uint32_t version = training->torch_version;
    const char *capability = device->kind->compute_capability;
    o->bytes.bytes[KP_CAT_RUNTIME] = runtime(p, device, p->runtime_bytes);
    o->low.bytes[KP_CAT_RUNTIME] = runtime(p, device, p->runtime_low_bytes);
    o->high.bytes[KP_CAT_RUNTIME] = runtime(p, device, p->runtime_high_bytes);
    for (size_t i = 0; i < KP_LEN(contexts) && version && version < 113 && capability; i++) {
        if (strcmp(capability, contexts[i].capability)) continue;
        uint64_t bytes = contexts[i].bytes + contexts[i].per_sm_bytes * device->kind->sm_count;
        o->bytes.bytes[KP_CAT_RUNTIME] = bytes;
        o->low.bytes[KP_CAT_RUNTIME] = bytes - bytes / 20;
        o->high.bytes[KP_CAT_RUNTIME] = bytes + bytes / 20;
    }
    for (uint32_t i = 0; i < tape->n_buffers && p->prefetch; i++) /* the next batch */
        if (tape->buffers[i].category == KP_CAT_INPUTS)
            o->bytes.bytes[KP_CAT_INPUTS] += tape->buffers[i].bytes;
    o->low.bytes[KP_CAT_INPUTS] = o->high.bytes[KP_CAT_INPUTS] = o->bytes.bytes[KP_CAT_INPUTS];
}

kp_outside kp_outside_of(const kp_tape *tape, const kp_training *training, const kp_device *device)
{
    const kp_profile *profile = kp_profile_for(training);
    kp_outside o = {.spare = tape->scratch_bytes};
    add_nccl(tape, device, &o);
    add_space(tape, training, profile, device, &o);
    add_runtime(tape, profile, training, device, &o);
    o.high.bytes[KP_CAT_WORKSPACE] += o.spare;
    return o;
}
