/* SPDX-License-Identifier: MIT
 *
 * planner/model/launch.h — how a file says that its model is trained, beside the sizes.
 *
 * Megatron-LM's arguments hold both: the degrees of every kind of parallelism, the schedule, what is
 * recomputed, which kernels run. Numbers are 0 and switches false where the file says nothing; the
 * estimate fills the rest in (training.h). A Hugging Face config may carry torchtitan's job settings
 * (hf_titan.c). Sources: megatron/training/arguments.py,
 * megatron/core/transformer/transformer_config.py. Pure data. */
#ifndef KP_PLANNER_MODEL_LAUNCH_H
#define KP_PLANNER_MODEL_LAUNCH_H

#include "proto/messages.h"

typedef struct kp_launch {
    uint32_t tp, pp, cp;        /* tensor, pipeline and context parallel ranks */
    uint32_t ep, etp;           /* ranks that experts are spread over; that divide one expert */
    uint32_t chunks;            /* virtual stages a rank has in an interleaved pipeline */
    uint32_t group;             /* micro-batches that run through one virtual stage in a row */
    uint32_t instances;         /* full copies of the divided optimizer state */
    uint32_t micro_batch;
    uint64_t batch;
    uint32_t n_blocks;          /* of the model */
    const uint32_t *blocks;     /* of each virtual stage, in the order of the layers; NULL: alike */
    uint32_t n_stages;          /* entries of blocks: pp x chunks */
    kp_recompute recompute;
    uint32_t recompute_blocks;  /* that are recomputed together */
    bool first_blocks;          /* only so many first blocks of a stage are, one by one */
    uint32_t deferred;          /* micro-batches whose head gradients wait; UINT32_MAX: all */
    const char *optimizer;      /* as --optimizer's */
    const char *unknown;        /* an argument whose memory no rule here knows; NULL: none */
    bool shards_optimizer;      /* the distributed optimizer: ZeRO 1 */
    bool shards_all;            /* Megatron's FSDP: ZeRO 3 */
    bool sequence;              /* sequence parallel: what tensor parallelism leaves whole */
    bool deterministic;
    bool local;                 /* Megatron's own kernels instead of Transformer Engine's */
    bool unfused;               /* attention writes its scores */
    bool flash;                 /* attention is flash's, whatever the card */
    bool fused_loss;            /* cross entropy in one kernel */
    bool fused_grads;           /* weight gradients are added by the product that makes them */
    bool half_grads;            /* gradients are summed in the weights' type */
    bool gathers_experts;       /* every rank of an expert group gets the tokens of all */
    bool grouped_experts;       /* products of all experts in one call */
    bool no_mask;               /* the loader makes no attention mask */
    bool titan;                 /* torchtitan: fully_shard, its checkpointing and its loss */
    bool per_op;                /* recomputes all but attention and every other product */
    uint32_t recompute_every;   /* only every so many-th block is recomputed; 0: all are */
    bool compiled;              /* torch.compile a block */
    bool compiled_loss;         /* and the loss: float32 logits stay inside its kernels */
    bool expandable;            /* torch's allocator has segments that grow */
    bool float8_gather;         /* blocks' products are gathered as float8 */
    bool ends_apart;            /* embeddings and head take own samples of a tensor parallel group */
} kp_launch;

#endif
