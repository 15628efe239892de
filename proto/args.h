/* SPDX-License-Identifier: MIT
 *
 * proto/args.h — the command line of a daemon: one table of options.
 *
 * kpland and kplan-agent take options only. The table feeds parsing, the environment (KPLAN_ and
 * the name in capitals, dashes as underscores) and --help. --help (-h) and --version are always
 * there. An option given twice, an unknown one, a missing value: KP_USAGE with the nearest name. */
#ifndef KP_PROTO_ARGS_H
#define KP_PROTO_ARGS_H

#include "proto/text.h"

typedef enum kp_arg_kind {
    KP_ARG_FLAG, /* bool; in the environment 1, true, 0 or false */
    KP_ARG_TEXT, /* const char *, never empty; NULL when absent; points into argv or environment */
    KP_ARG_S,    /* double seconds, from a duration such as 500ms; left alone when absent */
    KP_ARG_KIND_COUNT
} kp_arg_kind;

typedef struct kp_arg {
    const char *name; /* without the dashes */
    kp_arg_kind kind;
    const char *value; /* how help shows it: "NAME"; NULL for a flag */
    size_t offset;     /* in the program's struct of values */
    const char *help;  /* one line, with the default */
} kp_arg;

typedef struct kp_args {
    const char *program, *what; /* "kpland", one line on what it does */
    const kp_arg *rows;
    size_t n_rows;
} kp_args;

/* What is to be done with the line. */
typedef enum kp_args_do { KP_ARGS_RUN, KP_ARGS_HELP, KP_ARGS_VERSION } kp_args_do;

/* Fills `values` from line and environment; the line wins. `env` is getenv, or a test's. */
kp_status kp_args_parse(const kp_args *args, int argc, char *const *argv,
                        char *(*env)(const char *name), void *values, kp_args_do *ret, kp_err *err);

/* The text of --help, and of --version ("kpland 0.1.0"). */
void kp_args_help(const kp_args *args, kp_buf *out);
void kp_args_version(const kp_args *args, kp_buf *out);

/* Prints a failure on stderr as the contract says ("kpland: where: message", "hint: ...") and
 * returns the exit code. */
int kp_args_failed(const kp_args *args, const kp_err *err);

#endif
