/* SPDX-License-Identifier: MIT
 *
 * planner/cli/file.h — whole input files, with a limit. */
#ifndef KP_PLANNER_CLI_FILE_H
#define KP_PLANNER_CLI_FILE_H

#include "planner/cli/cli.h"

#define KP_FILE_BYTES_MAX ((size_t)64 << 20)

/* "model.json", or "standard input" for '-': what messages call the file. */
const char *kp_file_place(const char *path);

/* The same without folders: what the model's reader calls it, and a model without a name. */
const char *kp_file_name(const char *path);

/* Reads a file, pipe or standard input ('-') to its end. KP_INPUT (missing, a directory, not
 * readable, empty, more than KP_FILE_BYTES_MAX) with the file as place. The bytes end in a 0 that
 * *ret_len does not count and live as long as cli. */
kp_status kp_file_read(kp_cli *cli, const char *path, const char **ret, size_t *ret_len,
                       kp_err *err);

/* True if something that can be read stands there: a file or a pipe, or a folder (reading that
 * fails). */
bool kp_file_exists(const char *path);

/* Writes a whole file: it has the old content or all of the new one, never a part. What is no
 * regular file (a pipe, /dev/null) is written to. KP_IO with the file as place. */
kp_status kp_file_replace(const char *path, const char *bytes, size_t len, kp_err *err);

/* Says which file a failure is about, as the user named it: always when the reader put its
 * kp_file_name there, and when the status is one of bad input. Returns `status`. */
kp_status kp_file_at(kp_status status, const char *path, kp_err *err);

#endif
