/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_parts.h — an explanation while it is made. Internal to the room.
 *
 * One `kp_look` is one run of the estimate: a model under options, the part of one rank, its
 * memory. The explanation is made of the first; each remedy is a second one. */
#ifndef KP_PLANNER_PLAN_EXPLAIN_PARTS_H
#define KP_PLANNER_PLAN_EXPLAIN_PARTS_H

#include "planner/plan/explain.h"

typedef struct kp_look {
    const kp_graph *graph;
    kp_training training;
    kp_device device;
    kp_part part; /* of the rank that needs most */
    kp_tape tape;
    kp_memory memory;
    kp_explain_stage *stages; /* strategy.pp */
    kp_strategy strategy;
    bool divided; /* plan options are given, or the file has a plan */
    bool listed;  /* the file's plan is looked at */
    bool brief;   /* without tape and what is alive at the peak */
} kp_look;

typedef struct kp_explaining {
    const kp_explain_request *request;
    struct json_t *json; /* the model file, parsed */
    kp_arena *arena;
    kp_err *err;
    kp_look look;
    kp_explain *out;
    uint64_t layers_bytes; /* sum over layers of states and kept outputs */
    size_t cap_assumptions, cap_warnings;
} kp_explaining;

/* Runs the estimate: on `graph` if not NULL, else on `json` read under the options. */
kp_status kp_look_at(const kp_explaining *e, struct json_t *json, const kp_graph *graph,
                     const kp_options *options, bool brief, kp_look *ret, kp_err *err);

/* The strategy that plan options ask for, and what was decided for them. */
kp_status kp_look_strategy(const kp_graph *graph, const kp_training *training,
                           const kp_options *options, kp_strategy *ret, bool *ret_divided,
                           kp_err *err);

/* The part of the worst rank of look->strategy: sets part, tape and memory. */
kp_status kp_look_worst(kp_look *look, kp_arena *arena, kp_err *err);

/* One rank's part: its stage's figures, and the part itself if it is the worst so far. */
kp_status kp_look_part(kp_look *look, const kp_part *part, kp_arena *arena, kp_err *err);

/* A plan in the file (oplan.h): its strategy where that is one for all stages, and its stages. */
struct kp_oplan;
kp_status kp_look_listed_strategy(const struct kp_oplan *plan, const kp_training *training,
                                  kp_strategy *ret, kp_err *err);
kp_status kp_look_listed(kp_look *look, kp_arena *arena, kp_err *err);

/* Own states and kept outputs of a layer. */
uint64_t kp_look_layer_bytes(const kp_look *look, uint32_t layer);

kp_status kp_explain_layers(kp_explaining *e); /* layers, phases, peak_tensors, host */
kp_status kp_explain_culprits(kp_explaining *e);
kp_status kp_explain_remedies(kp_explaining *e);

/* The op of a layer with its largest weight, and the one that keeps most; KP_NO if none. */
uint32_t kp_look_main_op(const kp_look *look, uint32_t layer);

/* A layer under suspicion. */
typedef struct kp_suspect {
    const kp_explaining *e;
    const kp_look *look;
    const kp_layer *layer;
    const kp_layer_bytes *bytes;
    const kp_graph_op *op; /* its main op; NULL: none */
    uint32_t id;
} kp_suspect;

/* Bytes of weights, gradients and slots; true if they are more than what is kept. */
uint64_t kp_states(const kp_layer_bytes *bytes);
bool kp_by_states(const kp_suspect *s);

/* What the layer holds most of, and why; of a recurrent layer, its steps. */
void kp_say_both(const kp_suspect *s, kp_buf *out, const char *why);
void kp_say_rnn(const kp_suspect *s, kp_buf *out);

/* A changed copy of the model, or NULL where it does not apply; *ret_change and *ret_message in
 * the arena. The caller owns the copy (json_decref). */
typedef enum kp_edit {
    KP_EDIT_POOL_FLATTEN, /* GlobalAveragePooling for the Flatten before the layer */
    KP_EDIT_HALVE_UNITS,
    KP_EDIT_STRIDE,  /* strides 2 in a convolution */
    KP_EDIT_SHORTEN, /* a quarter of the input's steps */
    KP_EDIT_COUNT
} kp_edit;
struct json_t *kp_explain_edit(const kp_explaining *e, kp_edit edit, uint32_t layer,
                               const char **ret_change, const char **ret_message);

#endif
