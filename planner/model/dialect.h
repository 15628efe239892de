/* SPDX-License-Identifier: MIT
 *
 * planner/model/dialect.h — layers of other dialects in the words of Keras 3.
 *
 * Each dialect is one file of tables: which classes and keys it calls differently. A layer goes
 * through all of them, whatever version the file claims, because files mix dialects; behind them
 * only Keras 3's names are known. Configurations are never changed in place: a layer that needs
 * another one gets a copy. */
#ifndef KP_PLANNER_MODEL_DIALECT_H
#define KP_PLANNER_MODEL_DIALECT_H

#include "planner/model/rules.h"

typedef struct kp_dialect {
    json_t *json;           /* the layer's object in the file */
    const char *class_name; /* for people */
    const char *rule;       /* the class whose row it is; mostly class_name */
    const char *module;     /* as in the file, or the one that the rule is found in; or NULL */
    json_t *config;
    bool foreign;           /* registered by somebody else: names mean nothing */
} kp_dialect;

/* A layer's object as the dialects below see it first, then through all of them. KP_NOMEM, KP_INPUT,
 * KP_UNSUPPORTED. */
kp_status kp_dialect_read(kp_reader *reader, json_t *json, kp_dialect *ret);

/* Keras 1: Convolution2D, nb_filter, border_mode, Merge, ... */
kp_status kp_keras_1_layer(kp_reader *reader, kp_dialect *layer);

/* tf.keras: operations of TensorFlow in the graph (TFOpLambda, TensorFlowOpLayer, ...). */
kp_status kp_keras_2_layer(kp_reader *reader, kp_dialect *layer);

/* Packages that subclass Keras's layers: QKeras, HGQ, Binary networks, KerasHub. */
kp_status kp_neighbour_layer(kp_reader *reader, kp_dialect *layer);

/* The layer's configuration with `key` set to `value` (whose reference is taken): the first change
 * makes the copy. KP_NOMEM, also for a value of NULL. */
kp_status kp_dialect_set(kp_reader *reader, kp_dialect *layer, const char *key, json_t *value);

#endif
