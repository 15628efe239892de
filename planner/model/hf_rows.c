/* SPDX-License-Identifier: MIT
 *
 * The rows of transformers' modules. Their configurations are made by hf_decoder.c and its
 * neighbours, so the rows name no keys. */
#include "planner/model/hf_rules.h"

/* clang-format off */
static const kp_layer_row rows[] = {
    {"Attention",         0, 0,               1, 2, NULL, NULL, NULL, kp_lower_hf_attention},
    {"CompressedAttention", 0, 0,             1, 1, NULL, NULL, NULL, kp_lower_hf_compressed},
    {"Embedding",         0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_embedding},
    {"HyperConnection",   0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_collapse},
    {"HyperMerge",        0, 0,               3, 3, NULL, NULL, NULL, kp_lower_hf_merge},
    {"HyperStreams",      0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_streams},
    {"LatentAttention",   0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_mla},
    {"LayerNorm",         0, KP_OP_LAYERNORM, 1, 1, NULL, NULL, NULL, kp_lower_hf_norm},
    {"Linear",            0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_linear},
    {"MLP",               0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_mlp},
    {"MixtureOfExperts",  0, 0,               1, 2, NULL, NULL, NULL, kp_lower_hf_moe},
    {"PatchEmbedding",    0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_patches},
    {"PositionEmbedding", 0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_positions},
    {"RMSNorm",           0, KP_OP_RMSNORM,   1, 1, NULL, NULL, NULL, kp_lower_hf_norm},
    {"StateMixer",        0, 0,               1, 1, NULL, NULL, NULL, kp_lower_hf_mixer},
};
/* clang-format on */

static int by_class(const void *key, const void *row)
{
    return strcmp(key, ((const kp_layer_row *)row)->class_name);
}

const kp_layer_row *kp_hf_row(const char *class_name)
{
    return bsearch(class_name, rows, KP_LEN(rows), sizeof(rows[0]), by_class);
}
