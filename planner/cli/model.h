/* SPDX-License-Identifier: MIT
 *
 * planner/cli/model.h — from a file's name to a graph. */
#ifndef KP_PLANNER_CLI_MODEL_H
#define KP_PLANNER_CLI_MODEL_H

#include "planner/cli/cli.h"
#include "planner/model/graph.h"

typedef struct kp_model_file {
    const char *path, *name; /* kp_file_name of path */
    const char *bytes;
    size_t len;
    const kp_graph *graph; /* kp_model_open only */
} kp_model_file;

/* Reads the model's JSON text out of whatever file or folder it is in. Statuses as kp_source_model.
 * All lives as long as cli. */
kp_status kp_model_load(kp_cli *cli, const char *path, kp_model_file *ret, kp_err *err);

/* Reads and understands it, with the options' dimensions bound. Also those of kp_model_read, with
 * the file as place. */
kp_status kp_model_open(kp_cli *cli, const char *path, kp_model_file *ret, kp_err *err);

#endif
