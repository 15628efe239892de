/* SPDX-License-Identifier: MIT
 *
 * planner/model/build.h — the graph while it grows. Internal to the room. */
#ifndef KP_PLANNER_MODEL_BUILD_H
#define KP_PLANNER_MODEL_BUILD_H

#include "planner/model/rules.h"

/* Calls multiply when nested models call each other: past these a file is nonsense. */
#define KP_OPS_MAX   (1u << 20)
#define KP_WALKS_MAX (1u << 16)

/* What the user says of unknown layers (custom.h). */
typedef struct kp_custom kp_custom;
typedef struct kp_customs {
    kp_custom *items;
    uint32_t n;
} kp_customs;

/* Weights that the file's container lists (stored.h). */
typedef struct kp_stored kp_stored;

struct kp_build {
    kp_arena *arena;
    kp_err *err;
    const kp_bind *bind;
    kp_customs customs;
    const char *joint; /* between the names of a path: "/" in Keras, "." in torch */
    kp_layer *layers;
    kp_weight *weights;
    kp_tensor *tensors;
    kp_graph_op *ops;
    kp_open_dim *open;
    kp_model_warning *warnings;
    uint32_t n_layers, n_weights, n_tensors, n_ops, n_open, n_warnings;
    size_t cap_layers, cap_weights, cap_tensors, cap_ops, cap_open, cap_warnings;
    uint32_t depth;
    uint32_t n_walks;   /* through nested models */
    uint32_t n_unnamed; /* weights that Keras names by a counter */
    uint64_t fixed_batch;
    bool low_confidence;
    json_t *container;       /* what the file's container says, or NULL */
    const kp_stored *stored; /* its weights, once a layer asks for them */
};

/* Adds a model's layers to the tree below `parent` (KP_NO: top level), nested ones included. */
kp_status kp_build_layers(kp_build *build, kp_spec_model *model, uint32_t parent,
                          bool outer_trainable, uint32_t *ret_first);

/* Runs all calls of a model on the given tensors (one an input, in the model's order); outputs go
 * to ret_out (model->n_outputs). */
kp_status kp_build_run(kp_build *build, kp_spec_model *model, const uint32_t *in,
                       uint32_t *ret_out);

/* Counts a call of a layer; the first keeps its output shapes. */
kp_status kp_build_called(kp_build *build, uint32_t layer, const uint32_t *out, uint32_t n);

/* The graph's inputs: one INPUT op for each input of the top model, bound as asked. */
kp_status kp_build_inputs(kp_build *build, kp_spec_model *model, uint32_t *ret_tensors);

/* A warning; layer KP_NO: of the whole model. */
kp_status kp_build_warn(kp_build *build, const char *code, uint32_t layer, const char *message);

/* The finished graph. */
kp_status kp_build_finish(kp_build *build, const kp_spec *spec, uint32_t first_layer,
                          const uint32_t *inputs, const uint32_t *outputs, const kp_graph **ret);

#endif
