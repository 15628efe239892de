/* SPDX-License-Identifier: MIT
 *
 * planner/model/hf_blocks.h — the blocks of a model, alike or not. */
#ifndef KP_PLANNER_MODEL_HF_BLOCKS_H
#define KP_PLANNER_MODEL_HF_BLOCKS_H

#include "planner/model/hf.h"

/* Fills arch->blocks. KP_INPUT names the key. */
kp_status kp_hf_blocks_make(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch);

/* arch->L blocks of one kind, as arch's attn and mlp say; *ret may be changed before use. */
kp_status kp_hf_blocks_alike(kp_reader *reader, const kp_hf_arch *arch, kp_hf_block **ret);

/* Changes blocks of models whose layers differ in kind; others stay. */
kp_status kp_hf_hybrid(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                       kp_hf_block *blocks);

typedef kp_status kp_hf_change_fn(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                                  kp_hf_block *blocks);
kp_hf_change_fn kp_hf_shared_indexers, kp_hf_block_indexers, kp_hf_compressed_layers;

/* A list with one entry a layer, or NULL if it is absent. KP_INPUT: it is none. */
kp_status kp_hf_layer_list(const kp_hf_keys *keys, const char *name, int64_t L, const json_t **ret);

/* True if the entry of layer i is this text. */
bool kp_hf_entry_is(const json_t *list, int64_t i, const char *text);

/* Experts, router and shared experts of `mlp`, whose I is an expert's. */
kp_status kp_hf_experts_read(const kp_hf_keys *keys, uint32_t traits, kp_hf_mlp *mlp);

/* A row's configuration that holds a copy. */
kp_status kp_hf_attn_cfg(kp_reader *reader, const kp_hf_attn *attn, const kp_layer_cfg **ret);
kp_status kp_hf_mlp_cfg(kp_reader *reader, const kp_hf_mlp *mlp, const kp_layer_cfg **ret);
const kp_layer_row *kp_hf_attn_row(const kp_hf_attn *attn);

#endif
