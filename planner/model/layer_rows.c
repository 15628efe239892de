/* SPDX-License-Identifier: MIT
 *
 * The layer table. One row a Keras class, sorted by name; the configuration keys of classes that
 * share them are one schema. Source of the rules: keras/src/layers at 3.16; classes that are gone
 * there: tf.keras r2.15, keras 1.2.2. */
#include "planner/model/rows.h"
#include "planner/model/schema_keys.h"
#include <math.h>

/* clang-format off */
#define RNN_KEYS                                                                                   \
    MAY(BOOL, return_sequences, "return_sequences", 0), MAY(BOOL, return_state, "return_state", 0), \
    MAY(BOOL, stateful, "stateful", 0), MAY(BOOL, go_backwards, "go_backwards", 0), \
    MAY(BOOL, unroll, "unroll", 0)
#define CELL_KEYS                                                                                  \
    NEED(INT, units, "units"), BIAS, ACTIVATION(TANH), MAY(BOOL, reset_after, "reset_after", 0),   \
    MAY(ACTIVATION, recurrent_activation, "recurrent_activation", KP_ACT_SIGMOID)

SCHEMA(cfg_activation, NEED(ACTIVATION, activation, "activation"));
SCHEMA(cfg_adaptive, NEED(WINDOW, size, "output_size"), FORMAT);
SCHEMA(cfg_attention, MAY(BOOL, use_scale, "use_scale", 0), MAY(TEXT, text, "score_mode", 0),
       MAY(NUM, rate, "dropout", 0));
SCHEMA(cfg_additive, MAY(BOOL, use_scale, "use_scale", 1), MAY(NUM, rate, "dropout", 0));
SCHEMA(cfg_axis, AXIS(-1));
SCHEMA(cfg_batchnorm, AXIS(-1), MAY(BOOL, center, "center", 1), MAY(BOOL, scale, "scale", 1),
       MAY(BOOL, renorm, "renorm", 0));
SCHEMA(cfg_bidirectional, INSIDE(LAYER, "layer"), INSIDE_MAY(LAYER, "backward_layer"),
       MAY(MERGE, merge_mode, "merge_mode", KP_MERGE_CONCAT));
SCHEMA(cfg_cell, CELL_KEYS);
SCHEMA(cfg_conv, CONV_KEYS, NEED(INT, filters, "filters"));
SCHEMA(cfg_convlstm, RNN_KEYS, CONV_KEYS, NEED(INT, filters, "filters"));
SCHEMA(cfg_cropping, MAY(PADS, pad, "cropping", 0), FORMAT);
SCHEMA(cfg_dense, NEED(INT, units, "units"), ACTIVATION(LINEAR), BIAS, LORA);
SCHEMA(cfg_depthwise, CONV_KEYS);
SCHEMA(cfg_discretization, MAY(COUNT_OF, boundaries, "bin_boundaries", 0),
       MAY(INT, units, "num_bins", 0), MAY(TEXT, text, "output_mode", 0));
SCHEMA(cfg_dot, NEED(INTS, axis, "axes"));
SCHEMA(cfg_dropout, MAY(NUM, rate, "rate", 0));
SCHEMA(cfg_einsum, NEED(TEXT, text, "equation"), NEED(INTS, dims, "output_shape"),
       MAY(TEXT, bias_axes, "bias_axes", 0), ACTIVATION(LINEAR), LORA);
SCHEMA(cfg_encoding, NEED(INT, units, "num_tokens"), MAY(TEXT, text, "output_mode", 0));
SCHEMA(cfg_embedding, NEED(INT, rows, "input_dim"), NEED(INT, width, "output_dim"), LORA);
SCHEMA(cfg_fourier, NEED(INT, units, "output_dim"));
SCHEMA(cfg_global, MAY(BOOL, keepdims, "keepdims", 0), FORMAT);
SCHEMA(cfg_groupnorm, AXIS(-1), MAY(BOOL, center, "center", 1), MAY(BOOL, scale, "scale", 1),
       MAY(INT, groups, "groups", -1));
SCHEMA(cfg_highway, BIAS, ACTIVATION(LINEAR));
SCHEMA(cfg_layernorm, AXIS(-1), MAY(BOOL, center, "center", 1), MAY(BOOL, scale, "scale", 1),
       MAY(BOOL, rms_scaling, "rms_scaling", 0));
SCHEMA(cfg_layer_scale, NEED(INT, units, "projection_dim"));
SCHEMA(cfg_local, CONV_KEYS, NEED(INT, filters, "filters"), MAY(INT, count, "implementation", 1));
SCHEMA(cfg_maxout, NEED(INT, units, "units"), MAY(INT, count, "nb_feature", 4), BIAS);
SCHEMA(cfg_mel, NEED(INT, units, "num_mel_bins"), NEED(INT, count, "sequence_stride"));
SCHEMA(cfg_mha, NEED(INT, heads, "num_heads"), NEED(INT, key_dim, "key_dim"), BIAS,
       MAY(INT, value_dim, "value_dim", 0), MAY(NUM, rate, "dropout", 0),
       MAY(BOOL, use_gate, "use_gate", 0), MAY(INTS, dims, "output_shape", NAN),
       MAY(INTS, axis, "attention_axes", NAN));
SCHEMA(cfg_gqa, NEED(INT, heads, "num_query_heads"), NEED(INT, kv_heads, "num_key_value_heads"),
       NEED(INT, key_dim, "head_dim"), BIAS, MAY(NUM, rate, "dropout", 0),
       MAY(BOOL, use_gate, "use_gate", 0));
SCHEMA(cfg_normalization, AXIS(NAN), MAY(GIVEN, mean_given, "mean", 0));
SCHEMA(cfg_padding, MAY(PADS, pad, "padding", 0), FORMAT);
SCHEMA(cfg_permute, NEED(INTS, dims, "dims"));
SCHEMA(cfg_pool, MAY(WINDOW, size, "pool_size", 2), STRIDES(0), PADDING, FORMAT);
SCHEMA(cfg_prelu, MAY(INTS, axis, "shared_axes", NAN));
SCHEMA(cfg_random_size, FORMAT);
SCHEMA(cfg_relu, MAY(NUM, rate, "negative_slope", 0), MAY(GIVEN, mean_given, "max_value", 0));
SCHEMA(cfg_repeat, NEED(INT, count, "n"));
SCHEMA(cfg_reshape, NEED(INTS, dims, "target_shape"));
SCHEMA(cfg_resize, NEED(INT, height, "height"), NEED(INT, width, "width"), FORMAT);
SCHEMA(cfg_reversible, NEED(INT, rows, "input_dim"), NEED(INT, width, "output_dim"), LORA,
       MAY(BOOL, tied, "tie_weights", 1));
SCHEMA(cfg_rnn, RNN_KEYS, CELL_KEYS);
SCHEMA(cfg_rnn_cells, RNN_KEYS, INSIDE(LAYERS, "cell"));
SCHEMA(cfg_stacked, INSIDE(LAYERS, "cells"));
SCHEMA(cfg_stft, NEED(INT, rows, "frame_length"), MAY(INT, count, "frame_step", 0),
       MAY(INT, width, "fft_length", 0), MAY(BOOL, keepdims, "expand_dims", 0),
       MAY(TEXT, text, "mode", 0), PADDING, FORMAT);
SCHEMA(cfg_wrapper, INSIDE(LAYER, "layer"));
SCHEMA(cfg_upsample, MAY(WINDOW, size, "size", 2), FORMAT);

#define SAME(class_name, cfg, op)  {class_name, 0, OP(op), 1, 1, cfg, kp_shape_same, NULL, kp_lower_same}
#define VIEW(class_name)           {class_name, 0, 0, 1, 1, NULL, kp_shape_same, NULL, kp_lower_view}
#define FUNCTION(class_name, cfg, act) {class_name, 0, ACT(act), 1, 1, cfg, kp_shape_same, NULL, kp_lower_activation}
#define DROP(class_name)           {class_name, 0, 0, 1, 1, &cfg_dropout, kp_shape_same, NULL, kp_lower_dropout}
#define POOL(class_name, n, op)    {class_name, n, OP(op), 1, 1, &cfg_pool, kp_shape_pool, NULL, kp_lower_pool}
#define GLOBAL(class_name, n, op)  {class_name, n, OP(op), 1, 1, &cfg_global, kp_shape_global, NULL, kp_lower_global}
#define CONV(class_name, n)        {class_name, n, 0, 1, 1, &cfg_conv, kp_shape_conv, kp_weights_conv, kp_lower_conv}
#define DEPTHWISE(class_name, n)   {class_name, n, 0, 1, 1, &cfg_depthwise, kp_shape_depthwise, kp_weights_depthwise, kp_lower_depthwise}
#define SEPARABLE(class_name, n)   {class_name, n, 0, 1, 1, &cfg_conv, kp_shape_conv, kp_weights_separable, kp_lower_separable}
#define TRANSPOSED(class_name, n)  {class_name, n, 0, 1, 1, &cfg_conv, kp_shape_transposed, kp_weights_transposed, kp_lower_transposed}
#define MERGE(class_name, op)      {class_name, 0, OP(op), 1, ANY, NULL, kp_shape_merge, NULL, kp_lower_merge}
#define PADS(class_name, n)        {class_name, n, 0, 1, 1, &cfg_padding, kp_shape_pads, NULL, kp_lower_pads}
#define CROP(class_name, n)        {class_name, n, 1, 1, 1, &cfg_cropping, kp_shape_pads, NULL, kp_lower_pads}
#define ADAPTIVE(class_name, n, op) {class_name, n, OP(op), 1, 1, &cfg_adaptive, kp_shape_adaptive, NULL, kp_lower_global}
#define CONVLSTM(class_name, n)    {class_name, n, 0, 1, ANY, &cfg_convlstm, kp_shape_convlstm, kp_weights_convlstm, kp_lower_convlstm}
#define LOCAL(class_name, n)       {class_name, n, 0, 1, 1, &cfg_local, kp_shape_conv, kp_weights_local, kp_lower_local}
#define RESIZE(class_name, op)     {class_name, 2, OP(op), 1, 1, &cfg_resize, kp_shape_resize, NULL, kp_lower_same}
#define AUGMENT(class_name)        SAME(class_name, NULL, MATH)
#define UPSAMPLE(class_name, n)    {class_name, n, OP(UPSAMPLE), 1, 1, &cfg_upsample, kp_shape_upsample, NULL, kp_lower_same}

const kp_layer_row kp_layer_rows[] = {
    FUNCTION("Activation", &cfg_activation, OTHER),
    VIEW("ActivityRegularization"),
    ADAPTIVE("AdaptiveAveragePooling1D", 1, REDUCE),
    ADAPTIVE("AdaptiveAveragePooling2D", 2, REDUCE),
    ADAPTIVE("AdaptiveAveragePooling3D", 3, REDUCE),
    ADAPTIVE("AdaptiveMaxPooling1D", 1, POOL_MAX),
    ADAPTIVE("AdaptiveMaxPooling2D", 2, POOL_MAX),
    ADAPTIVE("AdaptiveMaxPooling3D", 3, POOL_MAX),
    MERGE("Add", ADD),
    {"AdditiveAttention", 0, 1, 2, 3, &cfg_additive, kp_shape_attention, kp_weights_attention, kp_lower_attention},
    DROP("AlphaDropout"),
    {"Attention", 0, 0, 2, 3, &cfg_attention, kp_shape_attention, kp_weights_attention, kp_lower_attention},
    AUGMENT("AugMix"),
    AUGMENT("AutoContrast"),
    MERGE("Average", ADD),
    POOL("AveragePooling1D", 1, POOL_AVG),
    POOL("AveragePooling2D", 2, POOL_AVG),
    POOL("AveragePooling3D", 3, POOL_AVG),
    {"BatchNormalization", 0, 0, 1, 1, &cfg_batchnorm, kp_shape_same, kp_weights_batchnorm, kp_lower_batchnorm},
    {"Bidirectional", 0, 0, 1, 1, &cfg_bidirectional, NULL, NULL, kp_lower_bidirectional},
    {"CategoryEncoding", 0, 0, 1, 2, &cfg_encoding, kp_shape_encoding, NULL, kp_lower_encoding},
    RESIZE("CenterCrop", PAD),
    {"Concatenate", 0, 0, 1, ANY, &cfg_axis, kp_shape_concat, NULL, kp_lower_concat},
    AUGMENT("ContrastLimitedAdaptiveHistogramEqualization"),
    CONV("Conv1D", 1),
    TRANSPOSED("Conv1DTranspose", 1),
    CONV("Conv2D", 2),
    TRANSPOSED("Conv2DTranspose", 2),
    CONV("Conv3D", 3),
    TRANSPOSED("Conv3DTranspose", 3),
    CONVLSTM("ConvLSTM1D", 1),
    CONVLSTM("ConvLSTM2D", 2),
    CONVLSTM("ConvLSTM3D", 3),
    CROP("Cropping1D", 1),
    CROP("Cropping2D", 2),
    CROP("Cropping3D", 3),
    {"CuDNNGRU", 0, KP_CELL_GRU | KP_CELL_CUDNN, 1, ANY, &cfg_rnn, kp_shape_rnn, kp_weights_rnn, kp_lower_rnn},
    {"CuDNNLSTM", 0, KP_CELL_LSTM | KP_CELL_CUDNN, 1, ANY, &cfg_rnn, kp_shape_rnn, kp_weights_rnn, kp_lower_rnn},
    MERGE("CustomScaleLayer", ADD),
    AUGMENT("CutMix"),
    {"Dense", 0, 0, 1, 1, &cfg_dense, kp_shape_dense, kp_weights_dense, kp_lower_dense},
    DEPTHWISE("DepthwiseConv1D", 1),
    DEPTHWISE("DepthwiseConv2D", 2),
    {"Discretization", 0, 1, 1, 1, &cfg_discretization, kp_shape_discretization, NULL, kp_lower_encoding},
    {"Dot", 0, 0, 2, 2, &cfg_dot, kp_shape_dot, NULL, kp_lower_dot},
    DROP("Dropout"),
    FUNCTION("ELU", NULL, ELU),
    {"EinsumDense", 0, 0, 1, 1, &cfg_einsum, kp_shape_einsum, kp_weights_einsum, kp_lower_einsum},
    {"Embedding", 0, 0, 1, 1, &cfg_embedding, kp_shape_embedding, kp_weights_embedding, kp_lower_embedding},
    AUGMENT("Equalization"),
    {"Flatten", 0, 0, 1, 1, NULL, kp_shape_flatten, NULL, kp_lower_view},
    {"GRU", 0, KP_CELL_GRU, 1, ANY, &cfg_rnn, kp_shape_rnn, kp_weights_rnn, kp_lower_rnn},
    {"GRUCell", 0, KP_CELL_GRU, 0, 0, &cfg_cell, NULL, NULL, NULL},
    DROP("GaussianDropout"),
    SAME("GaussianNoise", NULL, RESCALE),
    GLOBAL("GlobalAveragePooling1D", 1, REDUCE),
    GLOBAL("GlobalAveragePooling2D", 2, REDUCE),
    GLOBAL("GlobalAveragePooling3D", 3, REDUCE),
    GLOBAL("GlobalMaxPooling1D", 1, POOL_MAX),
    GLOBAL("GlobalMaxPooling2D", 2, POOL_MAX),
    GLOBAL("GlobalMaxPooling3D", 3, POOL_MAX),
    {"GroupNormalization", 0, 0, 1, 1, &cfg_groupnorm, kp_shape_same, kp_weights_groupnorm, kp_lower_groupnorm},
    {"GroupQueryAttention", 0, 1, 1, ANY, &cfg_gqa, kp_shape_mha, kp_weights_mha, kp_lower_mha},
    {"Highway", 0, 0, 1, 1, &cfg_highway, kp_shape_same, kp_weights_highway, kp_lower_highway},
    VIEW("Identity"),
    {"InputLayer", 0, 0, 0, 0, NULL, NULL, NULL, NULL},
    {"LSTM", 0, KP_CELL_LSTM, 1, ANY, &cfg_rnn, kp_shape_rnn, kp_weights_rnn, kp_lower_rnn},
    {"LSTMCell", 0, KP_CELL_LSTM, 0, 0, &cfg_cell, NULL, NULL, NULL},
    {"LayerNormalization", 0, 0, 1, 1, &cfg_layernorm, kp_shape_same, kp_weights_layernorm, kp_lower_layernorm},
    {"LayerScale", 0, 0, 1, 1, &cfg_layer_scale, kp_shape_same, kp_weights_layer_scale, kp_lower_scale},
    FUNCTION("LeakyReLU", NULL, LEAKY_RELU),
    LOCAL("LocallyConnected1D", 1),
    LOCAL("LocallyConnected2D", 2),
    SAME("Masking", NULL, MATH),
    POOL("MaxPooling1D", 1, POOL_MAX),
    POOL("MaxPooling2D", 2, POOL_MAX),
    POOL("MaxPooling3D", 3, POOL_MAX),
    MERGE("Maximum", MAXMIN),
    {"MaxoutDense", 0, 0, 1, 1, &cfg_maxout, kp_shape_dense, kp_weights_maxout, kp_lower_maxout},
    {"MelSpectrogram", 0, OP(MATH), 1, 1, &cfg_mel, kp_shape_mel, NULL, kp_lower_same},
    MERGE("Minimum", MAXMIN),
    AUGMENT("MixUp"),
    {"MultiHeadAttention", 0, 0, 1, ANY, &cfg_mha, kp_shape_mha, kp_weights_mha, kp_lower_mha},
    MERGE("Multiply", MUL),
    {"Normalization", 0, 0, 1, 1, &cfg_normalization, kp_shape_same, kp_weights_normalization, kp_lower_rescale},
    {"PReLU", 0, 0, 1, 1, &cfg_prelu, kp_shape_same, kp_weights_prelu, kp_lower_scale},
    {"ParametricSoftplus", 0, 2, 1, 1, &cfg_prelu, kp_shape_same, kp_weights_slopes, kp_lower_slopes},
    {"Permute", 0, 0, 1, 1, &cfg_permute, kp_shape_permute, NULL, kp_lower_permute},
    {"RMSNormalization", 0, 0, 1, 1, &cfg_axis, kp_shape_same, kp_weights_rmsnorm, kp_lower_rmsnorm},
    {"RNN", 0, 0, 1, ANY, &cfg_rnn_cells, kp_shape_rnn, kp_weights_rnn, kp_lower_rnn},
    AUGMENT("RandAugment"),
    AUGMENT("RandomBrightness"),
    AUGMENT("RandomColorDegeneration"),
    AUGMENT("RandomColorJitter"),
    AUGMENT("RandomContrast"),
    RESIZE("RandomCrop", PAD),
    AUGMENT("RandomElasticTransform"),
    AUGMENT("RandomErasing"),
    AUGMENT("RandomFlip"),
    {"RandomFourierFeatures", 0, 0, 1, 1, &cfg_fourier, kp_shape_dense, kp_weights_fourier, kp_lower_fourier},
    AUGMENT("RandomGaussianBlur"),
    AUGMENT("RandomGrayscale"),
    {"RandomHeight", 2, 0, 1, 1, &cfg_random_size, kp_shape_random_size, NULL, kp_lower_random_size},
    AUGMENT("RandomHue"),
    AUGMENT("RandomInvert"),
    AUGMENT("RandomPerspective"),
    AUGMENT("RandomPosterization"),
    AUGMENT("RandomRotation"),
    AUGMENT("RandomSaturation"),
    AUGMENT("RandomSharpness"),
    AUGMENT("RandomShear"),
    AUGMENT("RandomTranslation"),
    {"RandomWidth", 2, 1, 1, 1, &cfg_random_size, kp_shape_random_size, NULL, kp_lower_random_size},
    AUGMENT("RandomZoom"),
    {"ReLU", 0, 0, 1, 1, &cfg_relu, kp_shape_same, NULL, kp_lower_relu},
    {"RepeatVector", 0, OP(UPSAMPLE), 1, 1, &cfg_repeat, kp_shape_repeat, NULL, kp_lower_same},
    SAME("Rescaling", NULL, RESCALE),
    {"Reshape", 0, 0, 1, 1, &cfg_reshape, kp_shape_reshape, NULL, kp_lower_view},
    RESIZE("Resizing", UPSAMPLE),
    {"ReversibleEmbedding", 0, 0, 1, 1, &cfg_reversible, kp_shape_reversible, kp_weights_reversible, kp_lower_reversible},
    {"SReLU", 0, 4, 1, 1, &cfg_prelu, kp_shape_same, kp_weights_slopes, kp_lower_slopes},
    {"STFTSpectrogram", 0, 0, 1, 1, &cfg_stft, kp_shape_stft, kp_weights_stft, kp_lower_stft},
    SEPARABLE("SeparableConv1D", 1),
    SEPARABLE("SeparableConv2D", 2),
    {"SimpleRNN", 0, KP_CELL_SIMPLE, 1, ANY, &cfg_rnn, kp_shape_rnn, kp_weights_rnn, kp_lower_rnn},
    {"SimpleRNNCell", 0, KP_CELL_SIMPLE, 0, 0, &cfg_cell, NULL, NULL, NULL},
    FUNCTION("Softmax", &cfg_axis, SOFTMAX),
    AUGMENT("Solarization"),
    DROP("SpatialDropout1D"),
    DROP("SpatialDropout2D"),
    DROP("SpatialDropout3D"),
    {"SpectralNormalization", 0, 0, 1, 1, &cfg_wrapper, NULL, NULL, kp_lower_spectral},
    {"StackedRNNCells", 0, 0, 0, 0, &cfg_stacked, NULL, NULL, NULL},
    MERGE("Subtract", ADD),
    {"TernaryDense", 0, 0, 1, 1, &cfg_dense, kp_shape_dense, kp_weights_dense, kp_lower_dense},
    FUNCTION("ThresholdedReLU", NULL, RELU),
    {"TimeDistributed", 0, 0, 1, 1, &cfg_wrapper, NULL, NULL, kp_lower_time_distributed},
    SAME("UnitNormalization", NULL, MATH),
    UPSAMPLE("UpSampling1D", 1),
    UPSAMPLE("UpSampling2D", 2),
    UPSAMPLE("UpSampling3D", 3),
    PADS("ZeroPadding1D", 1),
    PADS("ZeroPadding2D", 2),
    PADS("ZeroPadding3D", 3),
};
const size_t kp_layer_n_rows = KP_LEN(kp_layer_rows);

/* clang-format on */

static int by_class(const void *key, const void *row)
{
    return strcmp(key, ((const kp_layer_row *)row)->class_name);
}

static const kp_layer_row *find_in(const kp_layer_row *rows, size_t n, const char *class_name)
{
    return bsearch(class_name, rows, n, sizeof(*rows), by_class);
}

const kp_layer_row *kp_row_find(const char *module, const char *class_name)
{
    if (module && !strcmp(module, KP_MODULE_NEIGHBOUR))
        return find_in(kp_neighbour_rows, kp_neighbour_n_rows, class_name);
    if (module && !strcmp(module, KP_MODULE_TORCH)) return kp_torch_row_find(class_name);
    if (module && (!strncmp(module, "keras.src.ops.", 14) || !strncmp(module, KP_MODULE_OPS, 9)))
        return find_in(kp_math_rows, kp_math_n_rows, class_name);
    return find_in(kp_layer_rows, kp_layer_n_rows, class_name);
}

bool kp_row_is_math(const kp_layer_row *row)
{
    return row && row >= kp_math_rows && row < kp_math_rows + kp_math_n_rows;
}
