/* SPDX-License-Identifier: MIT
 *
 * planner/model/rows.h — the rule functions that rows of the layer table point to, by noun. */
#ifndef KP_PLANNER_MODEL_ROWS_H
#define KP_PLANNER_MODEL_ROWS_H

#include "planner/model/rules.h"

/* rules_basic.c: what keeps its shape, activations, inputs */
kp_rule_fn kp_shape_same, kp_lower_same, kp_lower_view, kp_lower_activation, kp_lower_relu,
    kp_weights_prelu, kp_lower_scale, kp_weights_layer_scale, kp_lower_dropout;

/* rules_dense.c: products with a matrix, and tables */
kp_rule_fn kp_shape_dense, kp_weights_dense, kp_lower_dense, kp_shape_embedding,
    kp_weights_embedding, kp_lower_embedding, kp_shape_reversible, kp_weights_reversible,
    kp_lower_reversible;

/* rules_conv.c: convolutions */
kp_rule_fn kp_shape_conv, kp_weights_conv, kp_lower_conv, kp_shape_depthwise, kp_weights_depthwise,
    kp_lower_depthwise, kp_weights_separable, kp_lower_separable, kp_shape_transposed,
    kp_weights_transposed, kp_lower_transposed;

/* rules_pool.c: windows, padding, resizing */
kp_rule_fn kp_shape_pool, kp_lower_pool, kp_shape_global, kp_lower_global, kp_shape_adaptive,
    kp_shape_pads, kp_lower_pads, kp_shape_upsample;

/* rules_norm.c: normalisations */
kp_rule_fn kp_weights_batchnorm, kp_lower_batchnorm, kp_weights_layernorm, kp_lower_layernorm,
    kp_weights_groupnorm, kp_lower_groupnorm, kp_weights_rmsnorm, kp_lower_rmsnorm,
    kp_weights_normalization, kp_lower_rescale;

/* rules_merge.c: several inputs to one */
kp_rule_fn kp_shape_merge, kp_lower_merge, kp_shape_concat, kp_lower_concat, kp_shape_dot,
    kp_lower_dot, kp_shape_math_binary;

/* rules_reshape.c: the same values in another order */
kp_rule_fn kp_shape_flatten, kp_shape_reshape, kp_shape_permute, kp_lower_permute,
    kp_shape_repeat;

/* rules_rnn.c, rules_wrap.c: cells over steps, layers around layers */
kp_rule_fn kp_shape_rnn, kp_weights_rnn, kp_lower_rnn, kp_lower_bidirectional,
    kp_lower_time_distributed, kp_lower_spectral;

/* rules_convlstm.c, rules_einsum.c */
kp_rule_fn kp_shape_convlstm, kp_weights_convlstm, kp_lower_convlstm, kp_shape_einsum,
    kp_weights_einsum, kp_lower_einsum;

/* rules_attention.c, rules_dot_attention.c: with and without projections */
kp_rule_fn kp_shape_mha, kp_weights_mha, kp_lower_mha, kp_shape_attention, kp_weights_attention,
    kp_lower_attention;

/* rules_math.c, rules_move.c, rules_getitem.c: operations of keras.ops */
kp_rule_fn kp_shape_getitem, kp_shape_one_hot, kp_lower_one_hot, kp_shape_blocks, kp_lower_blocks, kp_lower_compare, kp_lower_cast, kp_shape_reduce, kp_lower_reduce,
    kp_shape_matmul, kp_lower_matmul, kp_shape_einsum_op, kp_lower_einsum_op, kp_shape_expand, kp_shape_squeeze, kp_shape_newshape, kp_shape_transpose,
    kp_shape_stack, kp_shape_split, kp_lower_split, kp_shape_tile, kp_shape_pad_width;

/* rules_old.c: layers before Keras 3 */
kp_rule_fn kp_weights_local, kp_lower_local, kp_weights_highway, kp_lower_highway,
    kp_weights_maxout, kp_lower_maxout, kp_weights_slopes, kp_lower_slopes, kp_weights_fourier,
    kp_lower_fourier, kp_shape_random_size, kp_lower_random_size;

/* rules_folded.c: QKeras */
kp_rule_fn kp_lower_folded_conv, kp_lower_folded_dense, kp_lower_folded_depthwise;

/* rules_hub.c: KerasHub */
kp_rule_fn kp_lower_hub_encoder, kp_lower_hub_decoder, kp_lower_fnet, kp_weights_positions,
    kp_lower_positions, kp_lower_token_and_position, kp_weights_masked_head, kp_lower_masked_head;

/* rules_neighbour.c: HGQ */
kp_rule_fn kp_weights_quantizer, kp_lower_quantizer;

/* rules_torch.c: layers of torch's libraries */
kp_rule_fn kp_shape_torch, kp_weights_torch, kp_lower_torch;

/* rules_preprocess.c: data preparation */
kp_rule_fn kp_shape_resize, kp_shape_encoding, kp_shape_discretization, kp_lower_encoding,
    kp_shape_mel, kp_shape_stft, kp_weights_stft, kp_lower_stft;

#endif
