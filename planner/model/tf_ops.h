/* SPDX-License-Identifier: MIT
 *
 * planner/model/tf_ops.h — TensorFlow's functions and graph nodes as operations of keras.ops. */
#ifndef KP_PLANNER_MODEL_TF_OPS_H
#define KP_PLANNER_MODEL_TF_OPS_H

#include "planner/model/dialect.h"

enum { KP_TF_ARGS = 3 };

typedef enum kp_tf_how {
    KP_TF_PLAIN,
    KP_TF_BORDERS,      /* sizes of parts to borders between them */
    KP_TF_HEIGHT_WIDTH, /* a list of two */
} kp_tf_how;

/* An argument: its name here and in keras.ops. Of a node: a constant's input number, or an
 * attribute. */
typedef struct kp_tf_arg {
    const char *old, *now;
    kp_tf_how how;
} kp_tf_arg;

typedef struct kp_tf_op {
    const char *name, *rule;
    bool layer; /* the rule is a layer's, not an operation's */
    kp_tf_arg args[KP_TF_ARGS];
} kp_tf_op;

/* By the last part of a function's name ("add" of tf.math.add), by a node's op ("AddV2"). NULL: none. */
const kp_tf_op *kp_tf_function(const char *name);
const kp_tf_op *kp_tf_node(const char *op);

#endif
