/* SPDX-License-Identifier: MIT
 *
 * Layers of packages around Keras that are not a Keras layer with something more: KerasHub's
 * modelling layers, HGQ's quantiser, QKeras's products with a folded BatchNormalization. Sorted by class. They are found only where the file says
 * whose they are (neighbours.c). Sources: keras_hub/src/layers/modeling at 0.22; HGQ 0.2,
 * proxy/fixed_point_quantizer.py. */
#include "planner/model/rows.h"
#include "planner/model/schema_keys.h"

/* clang-format off */
#define BLOCK_KEYS                                                                                 \
    NEED(INT, units, "intermediate_dim"), MAY(NUM, rate, "dropout", 0),                            \
    MAY(ACTIVATION, activation, "activation", KP_ACT_RELU)

#define NORM_KEYS MAY(BOOL, center, "center", 1), MAY(BOOL, scale, "scale", 1)

SCHEMA(cfg_fnet, BLOCK_KEYS);
SCHEMA(cfg_folded_conv, CONV_KEYS, NORM_KEYS, NEED(INT, filters, "filters"));
SCHEMA(cfg_folded_dense, NEED(INT, units, "units"), ACTIVATION(LINEAR), BIAS, NORM_KEYS);
SCHEMA(cfg_folded_depthwise, CONV_KEYS, NORM_KEYS);
SCHEMA(cfg_masked_head, NEED(INT, rows, "vocabulary_size"), MAY(GIVEN, tied, "token_embedding", 0),
       MAY(ACTIVATION, recurrent_activation, "intermediate_activation", KP_ACT_RELU),
       MAY(ACTIVATION, activation, "activation", KP_ACT_LINEAR));
SCHEMA(cfg_positions, NEED(INT, rows, "sequence_length"));
SCHEMA(cfg_quantizer, NEED(INTS, dims, "shape"));
SCHEMA(cfg_token_and_position, NEED(INT, rows, "vocabulary_size"),
       NEED(INT, count, "sequence_length"), NEED(INT, width, "embedding_dim"),
       MAY(BOOL, tied, "tie_weights", 1));
SCHEMA(cfg_transformer, BLOCK_KEYS, NEED(INT, heads, "num_heads"),
       MAY(BOOL, norm_first, "normalize_first", 0));

const kp_layer_row kp_neighbour_rows[] = {
    {"AlibiBias", 0, OP(RESCALE), 1, 1, NULL, kp_shape_same, NULL, kp_lower_same},
    {"FNetEncoder", 0, 0, 1, 1, &cfg_fnet, NULL, NULL, kp_lower_fnet},
    {"FixedPointQuantizer", 0, 0, 1, 1, &cfg_quantizer, kp_shape_same, kp_weights_quantizer, kp_lower_quantizer},
    {"MaskedLMHead", 0, 0, 2, 2, &cfg_masked_head, NULL, kp_weights_masked_head, kp_lower_masked_head},
    {"PositionEmbedding", 0, 0, 1, 1, &cfg_positions, kp_shape_same, kp_weights_positions, kp_lower_positions},
    {"QConv2DBatchnorm", 2, 0, 1, 1, &cfg_folded_conv, kp_shape_conv, kp_weights_conv, kp_lower_folded_conv},
    {"QDenseBatchnorm", 0, 0, 1, 1, &cfg_folded_dense, kp_shape_dense, kp_weights_dense, kp_lower_folded_dense},
    {"QDepthwiseConv2DBatchnorm", 2, 0, 1, 1, &cfg_folded_depthwise, kp_shape_depthwise, kp_weights_depthwise, kp_lower_folded_depthwise},
    {"RotaryEmbedding", 0, OP(RESCALE), 1, 2, NULL, kp_shape_same, NULL, kp_lower_same},
    {"SinePositionEncoding", 0, 0, 1, 1, NULL, kp_shape_same, NULL, kp_lower_positions},
    {"TokenAndPositionEmbedding", 0, 0, 1, 1, &cfg_token_and_position, NULL, NULL, kp_lower_token_and_position},
    {"TransformerDecoder", 0, 0, 1, ANY, &cfg_transformer, NULL, NULL, kp_lower_hub_decoder},
    {"TransformerEncoder", 0, 0, 1, ANY, &cfg_transformer, NULL, NULL, kp_lower_hub_encoder},
};
/* clang-format on */
const size_t kp_neighbour_n_rows = KP_LEN(kp_neighbour_rows);
