/* SPDX-License-Identifier: MIT
 *
 * planner/container/container.h — a model file of any kind to one JSON text.
 *
 * What a file is stands in its first bytes, never in its name: text, a zip archive (what
 * model.save() of Keras 3 writes), HDF5 (of Keras 1 and 2), gzip around any of them. Out comes the
 * model's configuration as model.to_json() writes it, with what else the container says in the
 * member "kplan_container" (join.h). Code and weights are never read, of weights only their names,
 * shapes and types. Pure: files are read by the caller's source. Limits: limits.h. */
#ifndef KP_PLANNER_CONTAINER_CONTAINER_H
#define KP_PLANNER_CONTAINER_CONTAINER_H

#include "planner/container/source.h"

typedef enum kp_container_kind {
    KP_CONTAINER_TEXT, /* or anything else: its reader will say what is wrong with it */
    KP_CONTAINER_ZIP,
    KP_CONTAINER_HDF5,
    KP_CONTAINER_GZIP,
    KP_CONTAINER_FOREIGN, /* known, but no model file that is read */
} kp_container_kind;

#define KP_CONTAINER_HEAD_BYTES 16 /* that tell kinds apart */

/* The kind by its first bytes, at most KP_CONTAINER_HEAD_BYTES of them. */
kp_container_kind kp_container_find(const uint8_t *head, size_t n);

/* The JSON text of a source, in the source's own memory if it is text in memory, else in the
 * arena. KP_INPUT: damaged, hostile, too large, weights without a model; KP_UNSUPPORTED: known, but
 * no model file that is read; KP_NOMEM. */
kp_status kp_container_text(const kp_source *source, kp_arena *arena, const char **ret,
                            size_t *ret_len, kp_err *err);

/* The same of an archive that was unpacked to a folder: its files' content. `metadata` and
 * `weights` may be NULL. */
kp_status kp_container_folder(const kp_source *config, const kp_source *metadata,
                              const kp_source *weights, kp_arena *arena, const char **ret,
                              size_t *ret_len, kp_err *err);

#endif
