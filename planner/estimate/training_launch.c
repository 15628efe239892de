/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/training_launch.c — what a file says of its own run, decided. */
#include "planner/estimate/training_parts.h"
#include <inttypes.h>

static uint32_t at_least_one(uint32_t value)
{
    return value ? value : 1;
}

static kp_status refuse(const kp_launch *l, kp_err *err)
{
    kp_fail(err, KP_UNSUPPORTED, "'%s': what it keeps in memory is not known here", l->unknown);
    kp_hint(err, "without it the rest of the run can be explained");
    return KP_UNSUPPORTED;
}

kp_status kp_training_launch(const kp_graph *graph, kp_training *training, kp_err *err)
{
    bool megatron = training->framework == KP_FW_MEGATRON;
    kp_launch l = {.fused_grads = true, .no_mask = true};
    if (megatron && graph->launch) l = *graph->launch;
    bool titan = graph->launch && graph->launch->titan && training->framework == KP_FW_TORCH;
    if (titan) {
        l = *graph->launch;
        l.fused_grads = l.no_mask = true;
    } else if (!megatron && graph->launch) { /* of Megatron's modules in another framework: places */
        l.unfused = graph->launch->unfused;
        l.n_blocks = graph->launch->n_blocks;
        l.blocks = graph->launch->blocks;
        l.n_stages = graph->launch->n_stages;
        l.ends_apart = graph->launch->ends_apart;
    }
    /* scaled_dot_product_attention came with torch 2.0. */
    uint32_t version = training->framework == KP_FW_TORCH ? graph->compile.torch_version : 0;
    if (version && version < 200) l.unfused = true;
    if (l.unknown) return refuse(&l, err);
    l.etp = l.etp ? l.etp : at_least_one(l.tp);
    uint32_t *const least[] = {
        &l.tp, &l.pp, &l.cp, &l.ep, &l.chunks, &l.instances, &l.recompute_blocks};
    for (size_t i = 0; i < KP_LEN(least); i++) *least[i] = at_least_one(*least[i]);
    training->launch = l;
    return KP_OK;
}
