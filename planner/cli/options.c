/* SPDX-License-Identifier: MIT */
#include "planner/cli/cli.h"
#include "planner/estimate/training.h"
#include <assert.h>
#include <math.h>

#define AT(field)  offsetof(kp_values, field)
#define OPT(field) (offsetof(kp_values, options) + offsetof(kp_options, field))
#define NAMES(n)   .names = (n), .n_names = KP_LEN(n)
#define RANGE(lo, hi) .min = (lo), .max = (hi)

static const char *const dtype_policies[] = {
    "float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64",
};

#define OPTIMIZER_NAME(name, text, slots) " " text
#define OPTIMIZERS KP_OPTIMIZER_ROWS(OPTIMIZER_NAME)

/* clang-format off */
const kp_option kp_option_rows[] = {
    /* name            group              kind */
    { "seq",           KP_GROUP_MODEL,    KP_VALUE_U64,  "N", OPT(seq), RANGE(1, KP_DIM_MAX),
      .help = "sequence length: axis 1 of every input where it is open" },
    { "dim",           KP_GROUP_MODEL,    KP_VALUE_DIM,  "[INPUT:AXIS=]N", OPT(dims), RANGE(1, KP_DIM_MAX),
      .help = "size of an open dimension (batch = axis 0), or of all of them; may be repeated" },
    { "dtype-policy",  KP_GROUP_MODEL,    KP_VALUE_TEXT, NULL, OPT(dtype_policy), NAMES(dtype_policies),
      .fallback = "the file's", .help = "Keras dtype policy of every layer" },
    { "layers",        KP_GROUP_MODEL,    KP_VALUE_TEXT, "SPEC.json", OPT(layers_spec),
      .help = "what layers make that no rule knows: output shape, parameters, kept bytes" },

    { "batch",         KP_GROUP_TRAINING, KP_VALUE_U64,  "N", OPT(batch), RANGE(1, KP_DIM_MAX),
      .fallback = "32", .help = "global batch, as Keras's batch_size" },
    { "optimizer",     KP_GROUP_TRAINING, KP_VALUE_TEXT, "NAME", OPT(optimizer),
      .fallback = "the file's, else adam", .help = "one of" OPTIMIZERS },
    { "loss",          KP_GROUP_TRAINING, KP_VALUE_TEXT, "NAME", OPT(loss),
      .fallback = "the file's, else from the last layer", .help = "loss of every output, as Keras names it" },
    { "framework",     KP_GROUP_TRAINING, KP_VALUE_ENUM, NULL, OPT(framework), NAMES(kp_framework_names),
      .fallback = "by the file's dialect", .help = "what runs the training step" },
    { "rnn",           KP_GROUP_TRAINING, KP_VALUE_ENUM, NULL, OPT(rnn), NAMES(kp_rnn_mode_names),
      .fallback = "auto", .help = "how recurrent layers run" },
    { "grad-accum",    KP_GROUP_TRAINING, KP_VALUE_U32,  "N", OPT(grad_accum), RANGE(1, 1 << 20),
      .fallback = "1", .help = "micro-steps whose gradients are added before an update" },
    { "samples",       KP_GROUP_TRAINING, KP_VALUE_U64,  "N", OPT(samples), RANGE(1, KP_DIM_MAX),
      .help = "samples of the data set" },
    { "data",          KP_GROUP_TRAINING, KP_VALUE_ENUM, NULL, OPT(data), NAMES(kp_data_mode_names),
      .fallback = "stream", .help = "where the data set is while it is trained on" },
    { "labels",        KP_GROUP_TRAINING, KP_VALUE_ENUM, NULL, OPT(labels), NAMES(kp_labels_names),
      .fallback = "from the loss", .help = "form of the labels" },

    { "gpu",           KP_GROUP_DEVICE,   KP_VALUE_TEXT, "NAME", OPT(gpu),
      .fallback = "T4-16GB", .help = "kind of GPU, as H100-80G" },
    { "memory",        KP_GROUP_DEVICE,   KP_VALUE_SIZE, "SIZE", OPT(memory_bytes), RANGE(1, KP_SIZE_MAX),
      .fallback = "the GPU's", .help = "memory of the GPU" },
    { "preallocate",   KP_GROUP_DEVICE,   KP_VALUE_FLAG, NULL, OPT(preallocate),
      .help = "count only the 75 % that JAX takes at start (keras-jax; others take what they need)" },

    { "cluster",       KP_GROUP_CLUSTER,  KP_VALUE_TEXT, "SPEC|FILE", AT(cluster),
      .help = "nodes x GPUs x kind, as 4x8xH100-80G or 2x8xA100-80G+4x4xL40S, or a kplan.nodes/1 file" },
    { "nodes",         KP_GROUP_PART,     KP_VALUE_U32,  "N", AT(nodes), RANGE(1, 1 << 20),
      .fallback = "all", .help = "use so many nodes" },
    { "gpus-per-node", KP_GROUP_PART,     KP_VALUE_U32,  "N", AT(gpus_per_node), RANGE(1, 1 << 10),
      .fallback = "all", .help = "use so many GPUs of each node" },

    { "dp",            KP_GROUP_PLAN,     KP_VALUE_U32,  "N", OPT(dp), RANGE(1, 1 << 20),
      .fallback = "auto", .help = "degree of data parallelism" },
    { "tp",            KP_GROUP_PLAN,     KP_VALUE_U32,  "N", OPT(tp), RANGE(1, 1 << 20),
      .fallback = "auto", .help = "degree of tensor parallelism" },
    { "pp",            KP_GROUP_PLAN,     KP_VALUE_U32,  "N", OPT(pp), RANGE(1, 1 << 20),
      .fallback = "auto", .help = "pipeline stages" },
    { "micro-batch",   KP_GROUP_PLAN,     KP_VALUE_U32,  "N", OPT(micro_batch), RANGE(1, 1 << 30),
      .fallback = "auto", .help = "samples that a rank takes at once" },
    { "zero",          KP_GROUP_PLAN,     KP_VALUE_U32,  "0..3", OPT(zero), RANGE(0, 3),
      .fallback = "auto", .help = "ZeRO level: 1 divides optimizer slots, 2 gradients too, 3 weights too" },
    { "schedule",      KP_GROUP_PLAN,     KP_VALUE_ENUM, NULL, OPT(schedule), NAMES(kp_schedule_names),
      .fallback = "auto", .help = "order of micro-batches in the pipeline" },
    { "interleave",    KP_GROUP_PLAN,     KP_VALUE_U32,  "N", OPT(interleave), RANGE(1, 1 << 10),
      .fallback = "auto", .help = "pieces of the model a stage holds" },
    { "recompute",     KP_GROUP_PLAN,     KP_VALUE_ENUM, NULL, OPT(recompute), NAMES(kp_recompute_names),
      .fallback = "auto", .help = "what the backward pass computes again instead of keeping" },
    { "target",        KP_GROUP_PLAN,     KP_VALUE_ENUM, NULL, OPT(target), NAMES(kp_target_names),
      .fallback = "the framework's", .help = "only plans that this can run" },
    { "objective",     KP_GROUP_SEARCH,   KP_VALUE_ENUM, NULL, OPT(objective), NAMES(kp_objective_names),
      .fallback = "time", .help = "what is made small" },
    { "deadline",      KP_GROUP_SEARCH,   KP_VALUE_DURATION, "DURATION", OPT(deadline_s), .min = 1,
      .fallback = "10s", .help = "the search answers with its best so far after this" },
    { "timing",        KP_GROUP_TIMING,   KP_VALUE_FLAG, NULL, AT(timing),
      .help = "tell the seconds that the search took (the plan is then not repeatable byte for byte)" },

    { "no-verify",     KP_GROUP_SUBMIT,   KP_VALUE_FLAG, NULL, AT(no_verify),
      .help = "do not run the cut layers on the nodes" },
    { "wait",          KP_GROUP_SUBMIT,   KP_VALUE_DURATION, "DURATION", AT(wait_s),
      .fallback = "0s", .help = "try again so long while GPUs are not free" },
    { "owner",         KP_GROUP_SUBMIT,   KP_VALUE_TEXT, "NAME", AT(owner),
      .fallback = "the user's name", .help = "who the lease is for" },
    { "lease-time",    KP_GROUP_TERM,     KP_VALUE_DURATION, "DURATION", AT(lease_s), .min = 1000,
      .fallback = "the daemon's, 10m", .help = "how long the GPUs are reserved" },
    { "keepalive",     KP_GROUP_KEEP,     KP_VALUE_FLAG, NULL, AT(keepalive),
      .help = "renew at a third of --lease-time (then 10m if not said), until interrupted" },
    { "sample",        KP_GROUP_VERIFY,   KP_VALUE_FLAG, NULL, AT(sample),
      .help = "check a part of the plan's different cuts only" },

    { "server",        KP_GROUP_CLIENT,   KP_VALUE_TEXT, "ENDPOINT", AT(server),
      .fallback = "tcp://127.0.0.1:7400", .help = "the daemon: tcp://HOST:PORT or ipc://PATH" },
    { "timeout",       KP_GROUP_CLIENT,   KP_VALUE_DURATION, "DURATION", AT(timeout_s), .min = 1,
      .fallback = "30s", .help = "wait so long for an answer" },
    { "key",           KP_GROUP_CLIENT,   KP_VALUE_LATER, "FILE", .help = "the client's key" },
    { "request-id",    KP_GROUP_REQUEST,  KP_VALUE_TEXT, "ID", AT(request_id),
      .fallback = "a new one", .help = "repeating a request with its id never does it twice" },

    { "error",         KP_GROUP_EXPLAIN,  KP_VALUE_TEXT, "TEXT|FILE", AT(error),
      .help = "an out-of-memory message, or a log that holds one ('-': standard input): whose tensor it means, and what that proves" },
    { "versus",        KP_GROUP_EXPLAIN,  KP_VALUE_TEXT, "FILE", AT(versus),
      .help = "another model under the same options, and why the two differ" },
    { "largest",       KP_GROUP_EXPLAIN,  KP_VALUE_TEXT, "batch|seq|INPUT:AXIS", AT(largest),
      .help = "the largest value that fits: for sure, by the expected figure, at best" },
    { "svg",           KP_GROUP_EXPLAIN,  KP_VALUE_TEXT, "FILE", AT(svg),
      .help = "draw the memory over the step into this file" },

    { "json",          KP_GROUP_GENERAL,  KP_VALUE_FLAG, NULL, AT(json),
      .help = "exactly one JSON object on standard output" },
    { "help",          KP_GROUP_GENERAL,  KP_VALUE_FLAG, NULL, AT(help), .help = "this text" },
    { "version",       KP_GROUP_GENERAL,  KP_VALUE_FLAG, NULL, AT(version), .help = "the program's version" },
};
/* clang-format on */
const size_t kp_n_options = KP_LEN(kp_option_rows);
_Static_assert(KP_LEN(kp_option_rows) <= sizeof(((kp_cli *)0)->from), "a place for every option");

const char *const kp_group_titles[KP_GROUP_COUNT] = {
#define KP_GROUP_TITLE(name, title) title,
    KP_GROUP_ROWS(KP_GROUP_TITLE)
#undef KP_GROUP_TITLE
};

const kp_option *kp_option_find(const char *name)
{
    for (size_t i = 0; i < kp_n_options; i++)
        if (!strcmp(kp_option_rows[i].name, name)) return &kp_option_rows[i];
    return NULL;
}

int kp_cli_from(const kp_cli *cli, const char *option)
{
    const kp_option *row = kp_option_find(option);
    assert(row);
    return cli->from[row - kp_option_rows];
}

bool kp_command_takes(const kp_command *command, const kp_option *option)
{
    return (command->groups | 1u << KP_GROUP_GENERAL) >> option->group & 1;
}

/* ---- values ---- */

void kp_values_init(kp_values *values)
{
    memset(values, 0, sizeof(*values));
    for (size_t i = 0; i < kp_n_options; i++) {
        void *at = (char *)values + kp_option_rows[i].offset;
        switch (kp_option_rows[i].kind) {
        case KP_VALUE_U32: *(uint32_t *)at = UINT32_MAX; break;
        case KP_VALUE_U64:
        case KP_VALUE_SIZE: *(uint64_t *)at = UINT64_MAX; break;
        case KP_VALUE_DURATION: *(double *)at = NAN; break;
        default: break; /* zero is absent */
        }
    }
}

static kp_status set_name(const kp_option *option, const char *text, void *at, kp_err *err)
{
    char all[256];
    int len = 0;
    for (uint32_t i = 0; i < option->n_names; i++) {
        if (!option->names[i]) continue;
        if (!strcmp(option->names[i], text)) {
            if (option->kind == KP_VALUE_ENUM) *(unsigned *)at = i;
            else *(const char **)at = option->names[i];
            return KP_OK;
        }
        len += snprintf(all + len, sizeof(all) - (size_t)len, "%s%s", len ? ", " : "",
                        option->names[i]);
        assert(len < (int)sizeof(all));
    }
    kp_fail(err, KP_USAGE, "'%.60s' is not one of %s", text, all);
    const char *near = kp_nearest(text, option->names, option->n_names);
    if (near) kp_hint(err, "did you mean '%s'?", near);
    return KP_USAGE;
}

static kp_status set_flag(const char *text, bool *ret, kp_err *err)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < KP_LEN(words); i++) {
        if (strcmp(text, words[i])) continue;
        *ret = i % 2;
        return KP_OK;
    }
    return kp_fail(err, KP_USAGE, "'%.60s' is neither 1 nor 0", text);
}

static kp_status set_duration(const kp_option *option, const char *text, double *ret, kp_err *err)
{
    double s;
    KP_TRY(kp_parse_duration(text, &s, err));
    if (s * 1000 < (double)option->min)
        return kp_fail(err, KP_USAGE, "'%.60s' is shorter than %s", text,
                       kp_seconds_text((double)option->min / 1000).s);
    *ret = s;
    return KP_OK;
}

/* "N" or "INPUT:AXIS=N"; the input's name may hold ':' and '=' itself, so both are looked for
 * from the end. */
static kp_status add_dim(const kp_option *option, const char *text, kp_options *options,
                         kp_arena *arena, kp_err *err)
{
    kp_opt_dim dim = {0};
    const char *equals = strrchr(text, '=');
    KP_TRY(kp_parse_u64(equals ? equals + 1 : text, option->min, option->max, &dim.size, err));
    if (equals) {
        char *input = kp_arena_strn(arena, text, (size_t)(equals - text));
        if (!input) return kp_nomem(err);
        char *colon = strrchr(input, ':');
        uint64_t axis;
        if (!colon || colon == input)
            return kp_fail(err, KP_USAGE, "'%.60s' is not INPUT:AXIS=N or N", text);
        KP_TRY(kp_parse_u64(colon + 1, 0, KP_RANK_MAX - 1, &axis, err));
        *colon = 0;
        dim.input = input;
        dim.axis = (uint32_t)axis;
    }
    for (uint32_t i = 0; i < options->n_dims; i++) {
        const kp_opt_dim *old = &options->dims[i];
        bool same = old->input && dim.input ? !strcmp(old->input, dim.input) : old->input == dim.input;
        if (same && old->axis == dim.axis)
            return kp_fail(err, KP_USAGE, "the same dimension is given twice: '%.60s'", text);
    }
    kp_opt_dim *dims = KP_NEW(arena, kp_opt_dim, options->n_dims + 1u);
    if (!dims) return kp_nomem(err);
    if (options->n_dims) memcpy(dims, options->dims, options->n_dims * sizeof(*dims));
    dims[options->n_dims++] = dim;
    options->dims = dims;
    return KP_OK;
}

kp_status kp_option_set(const kp_option *option, const char *text, kp_values *values,
                        kp_arena *arena, kp_err *err)
{
    void *at = (char *)values + option->offset;
    uint64_t n;
    if (!*text) return kp_fail(err, KP_USAGE, "the value is empty");
    switch (option->kind) {
    case KP_VALUE_FLAG: return set_flag(text, at, err);
    case KP_VALUE_U32:
        KP_TRY(kp_parse_u64(text, option->min, option->max, &n, err));
        *(uint32_t *)at = (uint32_t)n;
        return KP_OK;
    case KP_VALUE_U64: return kp_parse_u64(text, option->min, option->max, at, err);
    case KP_VALUE_SIZE:
        KP_TRY(kp_parse_size(text, &n, err));
        if (n < option->min) return kp_fail(err, KP_USAGE, "'%.60s' is no memory at all", text);
        *(uint64_t *)at = n;
        return KP_OK;
    case KP_VALUE_DURATION: return set_duration(option, text, at, err);
    case KP_VALUE_TEXT:
        if (option->n_names) return set_name(option, text, at, err);
        *(const char **)at = text;
        return KP_OK;
    case KP_VALUE_ENUM: return set_name(option, text, at, err);
    case KP_VALUE_DIM: return add_dim(option, text, &values->options, arena, err);
    case KP_VALUE_LATER:
    case KP_VALUE_COUNT: break;
    }
    return kp_fail(err, KP_USAGE, "not in this version");
}
