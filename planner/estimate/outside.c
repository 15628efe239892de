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

static void add_runtime(const kp_tape *tape, const kp_profile *p, kp_outside *o)
{
    o->bytes.bytes[KP_CAT_RUNTIME] = p->runtime_bytes;
    o->low.bytes[KP_CAT_RUNTIME] = p->runtime_low_bytes;
    o->high.bytes[KP_CAT_RUNTIME] = p->runtime_high_bytes;
    for (uint32_t i = 0; i < tape->n_buffers && p->prefetch; i++) /* the next batch */
        if (tape->buffers[i].category == KP_CAT_INPUTS)
            o->bytes.bytes[KP_CAT_INPUTS] += tape->buffers[i].bytes;
    o->low.bytes[KP_CAT_INPUTS] = o->high.bytes[KP_CAT_INPUTS] = o->bytes.bytes[KP_CAT_INPUTS];
}

kp_outside kp_outside_of(const kp_tape *tape, const kp_training *training, const kp_device *device)
{
    const kp_profile *profile = kp_profile_of(training->framework);
    kp_outside o = {0};
    add_nccl(tape, device, &o);
    add_space(tape, training, profile, device, &o);
    add_runtime(tape, profile, &o);
    return o;
}
