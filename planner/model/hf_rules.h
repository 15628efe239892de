/* SPDX-License-Identifier: MIT
 *
 * planner/model/hf_rules.h — what the rules of transformers share. T sequence, h hidden width.
 *
 * These rules declare a weight where it is used, inside `lower`: names come from the architecture,
 * "q_proj.weight" below the layer's path. Kernels are (out, in) as torch has them. */
#ifndef KP_PLANNER_MODEL_HF_RULES_H
#define KP_PLANNER_MODEL_HF_RULES_H

#include "planner/model/hf.h"

enum { KP_HF_WITH_BIAS = 1, KP_HF_KERNEL_IN_OUT = 2 };

kp_rule_fn kp_lower_hf_embedding, kp_lower_hf_positions, kp_lower_hf_norm, kp_lower_hf_linear,
    kp_lower_hf_patches, kp_lower_hf_attention, kp_lower_hf_mla, kp_lower_hf_mlp, kp_lower_hf_moe,
    kp_lower_hf_mixer, kp_lower_hf_compressed, kp_lower_hf_streams, kp_lower_hf_collapse,
    kp_lower_hf_merge;

/* Declares a weight; *ret is its index. */
kp_status kp_hf_weight(kp_rule *rule, const char *name, kp_weight_role role, kp_shape shape,
                       uint32_t *ret);

/* NAME.weight (out, in) over the last axis of x, and NAME.bias (out). NAME "": the layer's own. */
kp_status kp_hf_linear(kp_rule *rule, const char *name, uint32_t x, int64_t out, unsigned flags,
                       uint32_t *ret);

/* NAME.weight (the last axis of x), NAME.bias. */
kp_status kp_hf_normalise(kp_rule *rule, const char *name, uint32_t x, kp_hf_norm norm,
                          uint32_t *ret);

/* The same values, or a slice of them along one axis, under another shape. */
kp_status kp_hf_view(kp_rule *rule, const char *part, uint32_t x, kp_shape shape, uint32_t *ret);

kp_status kp_hf_binary(kp_rule *rule, kp_op op, const char *part, uint32_t a, uint32_t b,
                       kp_shape shape, uint32_t *ret);
kp_status kp_hf_dropout(kp_rule *rule, const char *part, double rate, uint32_t x, uint32_t *ret);

/* x without its last axis, then the given ones. */
kp_shape kp_hf_tail(kp_shape x, unsigned n, const int64_t *dim);

/* (B, T, heads x width) to (B, T, heads, width). */
kp_status kp_hf_heads(kp_rule *rule, uint32_t x, int64_t heads, int64_t width, uint32_t *ret);

/* Rotary positions turn pairs of values by fixed angles: linear, nothing is kept. */
kp_status kp_hf_rotate(kp_rule *rule, uint32_t x, uint32_t *ret);

/* Scores, softmax, weighted sum: (B, T, H, dk) and (B, S, K, dk) to (B, T, H x dv). Work is of
 * `seen` keys a query. */
kp_status kp_hf_attend(kp_rule *rule, const kp_hf_attn *attn, uint32_t q, uint32_t k, uint32_t v,
                       int64_t seen, uint32_t *ret);

/* A gated or plain MLP under `prefix` ("", "shared_expert.") on x (B, T, h). */
kp_status kp_hf_mlp_ops(kp_rule *rule, const kp_hf_mlp *mlp, const char *prefix, int64_t width,
                        uint32_t x, uint32_t *ret);

#endif
