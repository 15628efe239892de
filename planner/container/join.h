/* SPDX-License-Identifier: MIT
 *
 * planner/container/join.h — one JSON text from what a container holds.
 *
 * The configuration's own text, byte for byte, with what else the container says put in before its
 * last brace, so that lines and columns in messages stay those of the file:
 *   "keras_version", "training_config": of metadata.json, of attributes; if the text has none
 * itself "kplan_container": { kind, weights: [{path, shape, dtype}], warnings: [text] } A text that
 * ends in no brace is left as it is: its reader will say what is wrong with it. */
#ifndef KP_PLANNER_CONTAINER_JOIN_H
#define KP_PLANNER_CONTAINER_JOIN_H

#include "planner/container/hdf5.h"

typedef struct kp_parts {
    const char *kind;              /* "keras", "keras-folder", "hdf5" */
    kp_hdf5_text config;           /* never absent */
    kp_hdf5_text version;          /* of Keras */
    kp_hdf5_text training;         /* JSON; a warning if it is none */
    const kp_hdf5_arrays *weights; /* NULL: not known */
    const char *warning;           /* why weights are not known; or NULL */
} kp_parts;

/* KP_INPUT: the text would be longer than KP_CONFIG_BYTES_MAX; KP_NOMEM. */
kp_status kp_parts_join(const kp_parts *parts, kp_arena *arena, const char **ret, size_t *ret_len,
                        kp_err *err);

#endif
