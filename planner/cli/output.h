/* SPDX-License-Identifier: MIT
 *
 * planner/cli/output.h — what leaves the process: results on stdout, messages on stderr.
 *
 * Names in model files are not trusted: control bytes and broken UTF-8 in text are written as
 * "\x1b", so that a file cannot steer the terminal; JSON gets its own escapes. */
#ifndef KP_PLANNER_CLI_OUTPUT_H
#define KP_PLANNER_CLI_OUTPUT_H

#include "planner/cli/cli.h"

/* Appends text with control bytes (but newline, if `lines`) and invalid UTF-8 made visible. */
void kp_escape_text(const char *text, size_t len, bool lines, kp_buf *out);

/* The same for a JSON text, where such bytes can only stand in strings: \u007f, \u0080... */
void kp_escape_json(const char *text, size_t len, kp_buf *out);

/* Writes all of it to a descriptor, with short writes and EINTR handled. KP_IO with the reason;
 * errno is EPIPE when the reader went away. */
kp_status kp_write_all(int fd, const char *bytes, size_t len, kp_err *err);

/* Columns of the terminal on stdout: COLUMNS, else the terminal's own; 0 when stdout is none, so
 * that nothing is shortened in a pipe or file. */
unsigned kp_cli_width(void);

/* A value as the run's result: one JSON object and a newline, appended to cli->out. */
kp_status kp_cli_json(kp_cli *cli, const kp_schema *schema, const void *value, kp_err *err);

/* "kplan: where: message", warnings, "hint: ..." as one text; status KP_OK: warnings only. */
void kp_cli_messages(const kp_cli *cli, kp_status status, const kp_err *err, kp_buf *out);

/* The kplan.error/1 object of a failure and a newline. */
kp_status kp_cli_error_json(const kp_cli *cli, const kp_err *failure, kp_buf *out, kp_err *err);

#endif
