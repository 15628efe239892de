/* SPDX-License-Identifier: MIT
 *
 * Keras 1: other names for classes and arguments. Some files mix them with Keras 2's, so a key is
 * renamed wherever it stands, unless the newer one is there too. Source: keras 1.2.2; the renaming
 * decorators of keras 2.1.6, legacy/interfaces.py and legacy/layers.py. */
#include "planner/model/dialect.h"

/* Sorted. */
static const struct {
    const char *old, *now;
} classes[] = {
    {"AtrousConvolution1D", "Conv1D"},
    {"AtrousConvolution2D", "Conv2D"},
    {"AvgPool1D", "AveragePooling1D"},
    {"AvgPool2D", "AveragePooling2D"},
    {"AvgPool3D", "AveragePooling3D"},
    {"BatchNormalizationV1", "BatchNormalization"},
    {"BatchNormalizationV2", "BatchNormalization"},
    {"Convolution1D", "Conv1D"},
    {"Convolution2D", "Conv2D"},
    {"Convolution2DTranspose", "Conv2DTranspose"},
    {"Convolution3D", "Conv3D"},
    {"Deconvolution2D", "Conv2DTranspose"},
    {"Deconvolution3D", "Conv3DTranspose"},
    {"GlobalAvgPool1D", "GlobalAveragePooling1D"},
    {"GlobalAvgPool2D", "GlobalAveragePooling2D"},
    {"GlobalMaxPool1D", "GlobalMaxPooling1D"},
    {"GlobalMaxPool2D", "GlobalMaxPooling2D"},
    {"GroupedQueryAttention", "GroupQueryAttention"},
    {"MaxPool1D", "MaxPooling1D"},
    {"MaxPool2D", "MaxPooling2D"},
    {"MaxPool3D", "MaxPooling3D"},
    {"SeparableConvolution1D", "SeparableConv1D"},
    {"SeparableConvolution2D", "SeparableConv2D"},
    {"SyncBatchNormalization", "BatchNormalization"},
    {"TimeDistributedDense", "Dense"},
    {"UnifiedGRU", "GRU"},
    {"UnifiedLSTM", "LSTM"},
};

typedef enum how { SAME, ORDER, PAIR, TRIPLE, SIDES } how;

/* Sorted by old key. `only`: classes (of Keras 3) of which it is true, divided by blanks. */
static const struct {
    const char *old, *now, *only;
    how how;
} keys[] = {
    {"atrous_rate", "dilation_rate", NULL, SAME},
    {"bias", "use_bias", NULL, SAME},
    {"border_mode", "padding", NULL, SAME},
    {"concat_axis", "axis", "Merge", SAME},
    {"dim_ordering", "data_format", NULL, ORDER},
    {"dot_axes", "axes", "Merge", SAME},
    {"filter_length", "kernel_size", NULL, SAME},
    {"inner_activation", "recurrent_activation", NULL, SAME},
    {"input_dtype", "dtype", "InputLayer", SAME},
    {"kernel_dim1", "kernel_size", NULL, TRIPLE},
    {"length", "size", "UpSampling1D", SAME},
    {"nb_filter", "filters", NULL, SAME},
    {"nb_row", "kernel_size", NULL, PAIR},
    {"output_dim", "units", "Dense GRU Highway LSTM MaxoutDense SimpleRNN", SAME},
    {"p", "rate", "Dropout GaussianDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D", SAME},
    {"padding", "padding", "ZeroPadding2D", SIDES},
    {"pool_length", "pool_size", NULL, SAME},
    {"stride", "strides", NULL, SAME},
    {"subsample", "strides", NULL, SAME},
    {"subsample_length", "strides", NULL, SAME},
};

static int by_name(const void *key, const void *row)
{
    return strcmp(key, *(const char *const *)row);
}

static bool among(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; n && at && (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
    return !list;
}

static json_t *list_of(const json_t *config, const char *const *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_object_get(config, names[i]);
        if (json_array_append_new(list, item ? json_incref(item) : json_null())) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *order_text(bool channels_first)
{
    return json_string(channels_first ? "channels_first" : "channels_last");
}

/* "th" has channels first; what "default" meant stood in the user's settings, mostly "tf". */
static json_t *order_of(kp_reader *reader, const json_t *value)
{
    const char *text = json_string_value(value);
    reader->channels_first = text && !strcmp(text, "th");
    return order_text(reader->channels_first);
}

/* Before 1.1 these were saved without their order; a model has one order. */
static kp_status guess_order(kp_reader *reader, kp_dialect *layer)
{
    static const char silent[] = "Cropping2D Cropping3D UpSampling2D UpSampling3D ZeroPadding2D "
                                 "ZeroPadding3D";
    if (!reader->channels_first || !among(silent, layer->rule)) return KP_OK;
    if (json_object_get(layer->config, "data_format")) return KP_OK;
    return kp_dialect_set(reader, layer, "data_format", order_text(true));
}

/* Zeros above, below, left, right: four numbers in one list. */
static json_t *sides_of(const json_t *value)
{
    return json_pack("[[O,O],[O,O]]", json_array_get(value, 0), json_array_get(value, 1),
                     json_array_get(value, 2), json_array_get(value, 3));
}

static kp_status rename_key(kp_reader *reader, kp_dialect *layer, size_t row, json_t *value)
{
    static const char *const parts[] = {"nb_row", "nb_col"};
    static const char *const depths[] = {"kernel_dim1", "kernel_dim2", "kernel_dim3"};
    const char *now = keys[row].now;
    json_t *made = NULL;
    switch (keys[row].how) {
    case SAME: made = json_incref(value); break;
    case ORDER: made = order_of(reader, value); break;
    case PAIR: made = list_of(layer->config, parts, KP_LEN(parts)); break;
    case TRIPLE: made = list_of(layer->config, depths, KP_LEN(depths)); break;
    case SIDES:
        if (json_array_size(value) != 4) return KP_OK;
        made = sides_of(value);
        break;
    }
    return kp_dialect_set(reader, layer, now, made);
}

static kp_status rename_keys(kp_reader *reader, kp_dialect *layer)
{
    json_t *config = layer->config;
    for (void *it = json_object_iter(config); it; it = json_object_iter_next(config, it)) {
        const char *key = json_object_iter_key(it);
        const void *found = bsearch(key, keys, KP_LEN(keys), sizeof(keys[0]), by_name);
        if (!found) continue;
        size_t row = (size_t)((const char *)found - (const char *)keys) / sizeof(keys[0]);
        bool moved = strcmp(keys[row].now, key) != 0;
        if (!among(keys[row].only, layer->rule)) continue;
        if (moved && json_object_get(config, keys[row].now)) continue;
        reader->old = reader->old || moved;
        KP_TRY(rename_key(reader, layer, row, json_object_iter_value(it)));
    }
    return KP_OK;
}

/* ---- Merge: one class for all ways to join ---- */

static kp_status merge_class(kp_reader *reader, kp_dialect *layer)
{
    static const struct {
        const char *mode, *now;
    } modes[] = {
        {"ave", "Average"}, {"concat", "Concatenate"}, {"cos", "Dot"}, {"dot", "Dot"},
        {"max", "Maximum"}, {"mul", "Multiply"},       {"sum", "Add"},
    };
    const char *mode = json_string_value(json_object_get(layer->config, "mode"));
    reader->old = true;
    for (size_t i = 0; mode && i < KP_LEN(modes); i++)
        if (!strcmp(mode, modes[i].mode)) {
            layer->class_name = layer->rule = modes[i].now;
            if (strcmp(modes[i].now, "Dot") || json_object_get(layer->config, "axes")) return KP_OK;
            return kp_dialect_set(reader, layer, "axes", json_integer(-1));
        }
    layer->class_name = layer->rule = "Lambda"; /* a function's code stands for the mode */
    return KP_OK;
}

/* Before 2.3 the type of a first Embedding was that of the indices it takes. */
static kp_status table_dtype(kp_reader *reader, kp_dialect *layer)
{
    const char *dtype = json_string_value(json_object_get(layer->config, "dtype"));
    if (strcmp(layer->rule, "Embedding") || !dtype || !strstr(dtype, "int")) return KP_OK;
    return kp_dialect_set(reader, layer, "dtype", json_string("float32"));
}

kp_status kp_keras_1_layer(kp_reader *reader, kp_dialect *layer)
{
    if (layer->foreign || !json_is_object(layer->config)) return KP_OK;
    const char *const *found = bsearch(layer->rule, classes, KP_LEN(classes), sizeof(classes[0]), by_name);
    if (found) layer->class_name = layer->rule = found[1];
    KP_TRY(rename_keys(reader, layer));
    KP_TRY(guess_order(reader, layer));
    KP_TRY(table_dtype(reader, layer));
    return strcmp(layer->rule, "Merge") ? KP_OK : merge_class(reader, layer);
}
