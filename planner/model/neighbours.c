/* SPDX-License-Identifier: MIT
 *
 * Packages around Keras whose layers are Keras's with something more. QKeras's layers quantise
 * what they compute with: shapes and weights are those of the plain layer. Binary networks
 * (BinaryNet's Keras classes) subclass Dense and Conv2D. KerasHub (formerly keras-nlp) and HGQ have
 * rows of their own (neighbour_rows.c). A class somebody else gave the same name is not taken for
 * theirs: the package must be theirs, or the configuration must have their keys. */
#include "planner/model/dialect.h"

typedef struct relative {
    const char *class_name, *rule; /* rule NULL: a row of neighbour_rows.c */
    const char *package;           /* beginning of package or module; NULL: none */
    const char *key;               /* the configuration has it; NULL: nothing asked */
} relative;

/* Sorted by class. */
static const relative relatives[] = {
    {"BinaryConv2D", "Conv2D", NULL, "kernel_lr_multiplier"},
    {"BinaryDense", "Dense", NULL, "kernel_lr_multiplier"},
    {"CachedMultiHeadAttention", "MultiHeadAttention", "keras_hub", "num_heads"},
    {"FixedPointQuantizer", NULL, "HGQ", "RND"},
    {"QActivation", "Activation", "qkeras", "activation"},
    {"QAveragePooling2D", "AveragePooling2D", "qkeras", "average_quantizer"},
    {"QBatchNormalization", "BatchNormalization", "qkeras", "gamma_quantizer"},
    {"QBidirectional", "Bidirectional", "qkeras", "layer"},
    {"QConv1D", "Conv1D", "qkeras", "kernel_quantizer"},
    {"QConv2D", "Conv2D", "qkeras", "kernel_quantizer"},
    {"QConv2DBatchnorm", NULL, "qkeras", "folding_mode"},
    {"QConv2DTranspose", "Conv2DTranspose", "qkeras", "kernel_quantizer"},
    {"QDense", "Dense", "qkeras", "kernel_quantizer"},
    {"QDenseBatchnorm", NULL, "qkeras", "folding_mode"},
    {"QDepthwiseConv2D", "DepthwiseConv2D", "qkeras", "depthwise_quantizer"},
    {"QDepthwiseConv2DBatchnorm", NULL, "qkeras", "folding_mode"},
    {"QGRU", "GRU", "qkeras", "kernel_quantizer"},
    {"QGRUCell", "GRUCell", "qkeras", "kernel_quantizer"},
    {"QGlobalAveragePooling2D", "GlobalAveragePooling2D", "qkeras", "average_quantizer"},
    {"QLSTM", "LSTM", "qkeras", "kernel_quantizer"},
    {"QLSTMCell", "LSTMCell", "qkeras", "kernel_quantizer"},
    {"QSeparableConv1D", "SeparableConv1D", "qkeras", "depthwise_quantizer"},
    {"QSeparableConv2D", "SeparableConv2D", "qkeras", "depthwise_quantizer"},
    {"QSimpleRNN", "SimpleRNN", "qkeras", "kernel_quantizer"},
    {"QSimpleRNNCell", "SimpleRNNCell", "qkeras", "kernel_quantizer"},
    {"RMSNormalization", "RMSNormalization", "keras_hub", "input_dim"},
    {"ReversibleEmbedding", "ReversibleEmbedding", "keras_hub", "tie_weights"},
    {"TernaryConv2D", "Conv2D", NULL, "kernel_lr_multiplier"},
    {"TernaryDense", "Dense", NULL, "kernel_lr_multiplier"},
};

static int by_class(const void *key, const void *row)
{
    return strcmp(key, ((const relative *)row)->class_name);
}

/* "Package>Class" to Class; the package goes to *ret_package if there is one. */
static const char *bare_class(const char *registered, const char **ret_package)
{
    const char *at = registered ? strrchr(registered, '>') : NULL;
    if (at) *ret_package = registered;
    return at ? at + 1 : registered;
}

static bool begins(const char *text, const char *with)
{
    return text && with && !strncmp(text, with, strlen(with));
}

/* KerasHub's older name. */
static const char *newer_name(const char *package)
{
    return begins(package, "keras_nlp") ? "keras_hub" : package;
}

/* The row applies: its package, or no package named at all and the key is there. */
static bool applies(const relative *row, const kp_dialect *layer, const char *package)
{
    if (row->key && !json_object_get(layer->config, row->key)) return false;
    return !layer->foreign || begins(package, row->package);
}

kp_status kp_neighbour_layer(kp_reader *reader, kp_dialect *layer)
{
    (void)reader;
    const char *package = NULL;
    const char *class_name = bare_class(layer->class_name, &package);
    bare_class(json_string_value(json_object_get(layer->json, "registered_name")), &package);
    if (!package && layer->foreign) package = layer->module;
    package = newer_name(package);
    if (kp_torch_row_is_of(class_name, package)) {
        layer->class_name = layer->rule = class_name;
        layer->module = KP_MODULE_TORCH;
        layer->foreign = false;
        return KP_OK;
    }
    if (begins(package, "keras_hub") && kp_row_find(KP_MODULE_NEIGHBOUR, class_name)) {
        layer->class_name = layer->rule = class_name;
        layer->module = KP_MODULE_NEIGHBOUR;
        layer->foreign = false;
        return KP_OK;
    }
    const relative *row = bsearch(class_name, relatives, KP_LEN(relatives), sizeof(*row), by_class);
    if (!row || !applies(row, layer, package)) return KP_OK;
    layer->class_name = class_name;
    layer->rule = row->rule ? row->rule : class_name;
    layer->module = row->rule ? NULL : KP_MODULE_NEIGHBOUR;
    layer->foreign = false;
    return KP_OK;
}
