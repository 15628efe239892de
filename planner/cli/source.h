/* SPDX-License-Identifier: MIT
 *
 * planner/cli/source.h — model files and folders, read where a container's reader looks. */
#ifndef KP_PLANNER_CLI_SOURCE_H
#define KP_PLANNER_CLI_SOURCE_H

#include "planner/cli/cli.h"

/* The JSON text of a model file of any kind, of a folder (an unpacked .keras archive, a
 * TensorFlow.js or Hugging Face folder) or of standard input ('-'). Of a container only the pieces
 * that matter are read, so its size has no limit; anything else is read whole, as kp_file_read
 * does. The text ends in a 0 that *ret_len does not count where it was read whole, and lives as
 * long as cli. Statuses of kp_file_read and kp_container_text, with the file as place. */
kp_status kp_source_model(kp_cli *cli, const char *path, const char **ret, size_t *ret_len,
                          kp_err *err);

#endif
