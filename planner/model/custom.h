/* SPDX-License-Identifier: MIT
 *
 * planner/model/custom.h — what the user says of layers that no rule knows (--layers).
 *
 * One JSON object: a layer's name or its class, and what it makes. A name beats a class.
 *   {"AttentionLayer": {"output_shape": [null, 64], "params": 296, "kept_bytes": 8192},
 *    "scale_input": {"output_shape": "same"}}
 * output_shape   as Keras writes shapes, the batch in front; null elsewhere: the input's size at the
 *                same place; "same": the input's shape; a list of lists: several outputs
 * params         weights that are trained (elements); absent: not counted, and said so
 * kept_bytes     what the layer keeps for the backward pass, a sample; absent: its input */
#ifndef KP_PLANNER_MODEL_CUSTOM_H
#define KP_PLANNER_MODEL_CUSTOM_H

#include "planner/model/build.h"

struct kp_custom {
    const char *name;      /* of a layer or a class */
    bool same;             /* the output is like the first input */
    const kp_shape *shapes;
    uint32_t n_shapes;     /* 0 and not same: the file must say it */
    bool has_params, has_kept;
    int64_t params, kept_bytes;
    bool used;
};

/* All entries. Lives in the reader's arena. KP_INPUT names entry and key; text NULL: none. */
kp_status kp_customs_read(kp_reader *reader, const char *text, kp_customs *ret);

/* The entry of a layer, or NULL. */
const kp_custom *kp_customs_find(const kp_build *build, const kp_spec_layer *spec);

/* Warns for each entry that no layer needed. */
kp_status kp_customs_check(kp_build *build);

#endif
