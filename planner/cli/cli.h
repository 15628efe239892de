/* SPDX-License-Identifier: MIT
 *
 * planner/cli/cli.h — the command line: two tables and what reads them.
 *
 * One table of commands (commands.c) and one of options (options.c) feed parsing, help, the
 * environment (KPLAN_ + name) and the README's reference. An option belongs to one group; a
 * command takes groups. A parsed run is a kp_cli: values by offset from the table, arguments in
 * order. Commands append their result to `out`; the run prints it, or the error, once at the end. */
#ifndef KP_PLANNER_CLI_CLI_H
#define KP_PLANNER_CLI_CLI_H

#include "proto/messages.h"

#define KP_CLI_ARGS_MAX 2

/*    enum      title of the section in help */
#define KP_GROUP_ROWS(X)                                                                           \
    X(MODEL, "model")                                                                              \
    X(TRAINING, "training")                                                                        \
    X(DEVICE, "one device")                                                                        \
    X(CLUSTER, "cluster")                                                                          \
    X(PART, "part of the cluster")                                                                 \
    X(PLAN, "plan")                                                                                \
    X(SEARCH, "search")                                                                            \
    X(TIMING, "output of the search")                                                              \
    X(SUBMIT, "reservation")                                                                       \
    X(TERM, "lease")                                                                               \
    X(KEEP, "keeping a lease")                                                                     \
    X(VERIFY, "verification")                                                                      \
    X(CLIENT, "client")                                                                            \
    X(REQUEST, "request")                                                                          \
    X(EXPLAIN, "explain")                                                                          \
    X(GENERAL, "general")

typedef enum kp_group {
#define KP_GROUP_ENUM(name, title) KP_GROUP_##name,
    KP_GROUP_ROWS(KP_GROUP_ENUM)
#undef KP_GROUP_ENUM
        KP_GROUP_COUNT
} kp_group;
extern const char *const kp_group_titles[KP_GROUP_COUNT];

/* What an option's value is, so how it is read and what it fills. */
typedef enum kp_value_kind {
    KP_VALUE_FLAG,     /* bool; takes no value */
    KP_VALUE_U32,      /* uint32_t from min to max; absent UINT32_MAX */
    KP_VALUE_U64,      /* uint64_t from min to max; absent UINT64_MAX */
    KP_VALUE_SIZE,     /* uint64_t bytes; absent UINT64_MAX */
    KP_VALUE_DURATION, /* double seconds, at least min milliseconds; absent NaN */
    KP_VALUE_TEXT,     /* const char *, never empty; one of `names` if there are some; absent NULL */
    KP_VALUE_ENUM,     /* enum whose names are in `names`; absent 0 */
    KP_VALUE_DIM,      /* appended to kp_options.dims; may be repeated */
    KP_VALUE_LATER,    /* known, but not in this version */
    KP_VALUE_COUNT
} kp_value_kind;

typedef struct kp_option {
    const char *name; /* without the dashes */
    kp_group group;
    kp_value_kind kind;
    const char *value; /* how help shows it: "N", "SIZE"; NULL: none, or the names */
    size_t offset;     /* in kp_values */
    uint64_t min, max;
    const char *const *names;
    uint32_t n_names;
    const char *fallback; /* what holds without it, as help shows it; NULL: nothing to say */
    const char *help;
} kp_option;

/* Everything options can set. */
typedef struct kp_values {
    kp_options options;
    const char *cluster;
    uint32_t nodes, gpus_per_node;
    bool timing;
    bool no_verify;
    double wait_s, lease_s;
    const char *owner;
    bool keepalive, sample;
    const char *error, *versus, *largest, *svg;
    const char *server, *request_id;
    double timeout_s;
    bool json, help, version;
} kp_values;

typedef struct kp_cli kp_cli;
typedef kp_status kp_command_run(kp_cli *cli, kp_err *err);

typedef struct kp_command {
    const char *name, *args; /* args as help shows them */
    uint32_t min_args, max_args;
    uint32_t groups; /* bits of kp_group */
    kp_command_run *run; /* NULL: not in this version */
    const char *help;
} kp_command;

extern const kp_command kp_commands[];
extern const size_t kp_n_commands;
extern const kp_option kp_option_rows[];
extern const size_t kp_n_options;

enum { KP_FROM_NOWHERE, KP_FROM_ENV, KP_FROM_LINE }; /* where an option's value came from */

struct kp_cli {
    const kp_command *command;
    kp_values values;
    uint8_t from[64]; /* one an option row */
    const char *args[KP_CLI_ARGS_MAX];
    uint32_t n_args;
    kp_arena arena;
    kp_buf files[5];     /* input files, kept until the end */
    uint32_t n_files;
    kp_buf out;          /* the result: text, or one JSON object */
    bool whole;          /* out is a result even if the status is not OK (explain: does not fit) */
    const kp_warning *warnings; /* told on stderr */
    uint32_t n_warnings;
    kp_refusal *refusal; /* details of an INFEASIBLE */
};

/* The environment, so that tests can have their own. */
typedef const char *kp_env(const char *name);

/* Reads a command line (argv[0] is the program) and the environment into *cli, whose arena is
 * ready and whose rest is zeroed. KP_USAGE names the argument and, where one is near, what may
 * have been meant. With --help or --version arguments are not counted. */
kp_status kp_cli_parse(int argc, const char *const *argv, kp_env *env, kp_cli *cli, kp_err *err);

/* Rows by name; NULL if there is none. */
const kp_command *kp_command_find(const char *name);
const kp_option *kp_option_find(const char *name);

/* Where the option's value came from: KP_FROM_*. The option must exist (asserted). */
int kp_cli_from(const kp_cli *cli, const char *option);

/* True if the command takes the option. */
bool kp_command_takes(const kp_command *command, const kp_option *option);

/* Sets one option from text. KP_USAGE with the reason; the place is the caller's. */
kp_status kp_option_set(const kp_option *option, const char *text, kp_values *values,
                        kp_arena *arena, kp_err *err);

/* Every value absent. */
void kp_values_init(kp_values *values);

/* A whole run: parses, runs, prints. Returns the process's exit code. */
int kp_cli_main(int argc, const char *const *argv);

#endif
