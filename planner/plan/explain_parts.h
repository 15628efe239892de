/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_parts.h — an explanation while it is made. Internal to the room.
 *
 * One `kp_look` is one run of the estimate: a model under options, the part of one rank, its
 * memory. The explanation is made of the first; each remedy is a second one. */
#ifndef KP_PLANNER_PLAN_EXPLAIN_PARTS_H
#define KP_PLANNER_PLAN_EXPLAIN_PARTS_H

#include "planner/plan/explain.h"
#include "planner/plan/rules.h"

/* Host memory of one node: all of the job's processes there. */
typedef struct kp_host {
    uint32_t processes;
    uint64_t runtime, weights, inputs,
        labels;     /* while it trains; weights: while it loads or saves */
    uint64_t slots; /* beside the weights while it resumes */
} kp_host;

typedef struct kp_look {
    const kp_graph *graph;
    kp_training training;
    kp_device device;
    kp_part part; /* of the rank that needs most */
    kp_tape tape;
    kp_memory memory;
    kp_explain_stage *stages; /* strategy.pp */
    kp_strategy strategy;
    kp_host host;
    kp_verdict_fit fit; /* kp_look_fit's: holds when the graph is gone */
    bool divided;       /* plan options are given, or the file has a plan */
    bool listed;        /* the file's plan is looked at */
    bool brief;         /* without tape and what is alive at the peak */
} kp_look;

typedef struct kp_explaining {
    const kp_explain_request *request;
    struct json_t *json; /* the model file, parsed */
    kp_arena *arena;
    kp_err *err;
    kp_look look;
    kp_explain *out;
    uint64_t layers_bytes; /* sum over layers of states and kept outputs */
    size_t cap_assumptions, cap_warnings, cap_culprits;
} kp_explaining;

/* Runs the estimate: on `graph` if not NULL, else on `json` read under the options. */
kp_status kp_look_at(const kp_explaining *e, struct json_t *json, const kp_graph *graph,
                     const kp_options *options, bool brief, kp_look *ret, kp_err *err);

/* The strategy that plan options ask for, and what was decided for them. */
kp_status kp_look_strategy(const kp_graph *graph, const kp_training *training,
                           const kp_options *options, kp_strategy *ret, bool *ret_divided,
                           kp_err *err);

/* The part of the worst rank of look->strategy: sets part, tape, memory and stages. `first`: an
 * earlier look whose choices may hold again; NULL: none. */
kp_status kp_look_worst(kp_look *look, const kp_look *first, kp_arena *arena, kp_err *err);

/* The verdict of a look: never "fits" where a layer's inside is not known. */
kp_verdict_fit kp_look_fit(const kp_look *look);
/* Whether its peak surely fits by all that is known. */
bool kp_look_fits(const kp_look *look);

/* One rank's part: its stage's figures, and the part itself if it is the worst so far. */
kp_status kp_look_part(kp_look *look, const kp_part *part, kp_arena *arena, kp_err *err);

/* A plan in the file (oplan.h): its strategy where that is one for all stages, and its stages. */
struct kp_oplan;
kp_status kp_look_listed_strategy(const struct kp_oplan *plan, const kp_training *training,
                                  kp_strategy *ret, kp_err *err);
kp_status kp_look_listed(kp_look *look, kp_arena *arena, kp_err *err);

/* Own states and kept outputs of a layer. */
uint64_t kp_look_layer_bytes(const kp_look *look, uint32_t layer);
/* Its parameters, whole, those that are not trained too. */
uint64_t kp_look_layer_params(const kp_look *look, uint32_t layer);

/* The op of a layer with its largest weight, and the one that keeps most; KP_NO if none. */
uint32_t kp_look_main_op(const kp_look *look, uint32_t layer);

/* JAX and TensorFlow drive a node's GPUs from one process; torch has a process a GPU. */
bool kp_look_one_process(const kp_look *look);

/* What the job needs on a node's host, from a look with its tape or a brief one (then labels count
 * as inputs). */
kp_host kp_host_of(const kp_look *look);
/* The most at any time: data go with training and saving, slots with resuming. */
uint64_t kp_host_peak(const kp_host *host);

kp_status kp_explain_layers(kp_explaining *e); /* layers, peak_tensors */
kp_status kp_explain_phases(kp_explaining *e); /* phases, host, stages */
kp_status kp_explain_collectives(kp_explaining *e);
kp_status kp_explain_culprits(kp_explaining *e);
kp_status kp_explain_remedies(kp_explaining *e);
kp_status kp_explain_limits(kp_explaining *e); /* not_covered */

/* Whether two layers hold the same bytes of each kind and are of one class. */
bool kp_layers_alike(const kp_explain_layer *a, const kp_explain_layer *b);

/* A layer's id by its path (the same pointer); KP_NO. */
uint32_t kp_explain_layer_of(const kp_graph *graph, const char *path);

/* ---- culprits ---- */

/* A layer under suspicion. */
typedef struct kp_suspect {
    const kp_explaining *e;
    const kp_look *look;
    const kp_layer *layer;
    const kp_layer_bytes *bytes;
    const kp_graph_op *op; /* its main op; NULL: none */
    uint32_t id;
} kp_suspect;

kp_suspect kp_suspect_of(const kp_explaining *e, uint32_t layer);

/* Conditions over a layer, by rule. */
bool kp_holds_unknown(const kp_suspect *s);       /* KP031 */
bool kp_holds_hidden_scores(const kp_suspect *s); /* KP043 */
bool kp_holds_huge_count(const kp_suspect *s);    /* KP042 */
bool kp_holds_flatten_dense(const kp_suspect *s); /* KP001 */
bool kp_holds_flatten_rnn(const kp_suspect *s);   /* KP033 */
bool kp_holds_rnn_length(const kp_suspect *s);    /* KP007 */
bool kp_holds_scores(const kp_suspect *s);        /* KP008 */
bool kp_holds_logits(const kp_suspect *s);        /* KP009 */
bool kp_holds_multiplied(const kp_suspect *s);    /* KP038 */
bool kp_holds_early_conv(const kp_suspect *s);    /* KP003 */
bool kp_holds_wide(const kp_suspect *s);          /* KP002 */
bool kp_holds_one_left(const kp_suspect *s);      /* KP005 */
bool kp_holds_any(const kp_suspect *s);           /* KP004 */

/* Bytes of weights, gradients and slots; true if they are more than what is kept. */
uint64_t kp_states(const kp_layer_bytes *bytes);
bool kp_by_states(const kp_suspect *s);

/* What the layer holds most of, and why; of a recurrent layer, its steps; of one that runs many
 * times a sample, how many. */
void kp_say_both(const kp_suspect *s, kp_buf *out, const char *why);
void kp_say_rnn(const kp_suspect *s, kp_buf *out);
void kp_say_huge(const kp_suspect *s, kp_buf *out);
void kp_say_multiplied(const kp_suspect *s, kp_buf *out);
void kp_say_early_conv(const kp_suspect *s, kp_buf *out);

/* How often a layer runs for one sample: steps of a TimeDistributed, calls of it or of a model
 * around it; 1 for most. */
uint64_t kp_multiplier(const kp_suspect *s);

/* The optimizer as Keras's class and as people say it. */
const char *kp_optimizer_class(kp_optimizer optimizer);

/* Adds a culprit; the text's memory is taken over and freed. */
kp_status kp_add_culprit(kp_explaining *e, const char *rule, const char *layer, kp_buf *text,
                         uint64_t bytes);

/* Conditions over the whole setting: each adds its culprit where it holds. */
kp_status kp_setting_floor(kp_explaining *e);       /* KP005 */
kp_status kp_setting_labels(kp_explaining *e);      /* KP010 */
kp_status kp_setting_slots(kp_explaining *e);       /* KP012 */
kp_status kp_setting_replicas(kp_explaining *e);    /* KP013 */
kp_status kp_setting_imbalance(kp_explaining *e);   /* KP018 */
kp_status kp_setting_arrays(kp_explaining *e);      /* KP024 */
kp_status kp_setting_update(kp_explaining *e);      /* KP034 */
kp_status kp_setting_buffers(kp_explaining *e);     /* KP035 */
kp_status kp_setting_cache(kp_explaining *e);       /* KP036 */
kp_status kp_setting_scratch(kp_explaining *e);     /* KP045 */
kp_status kp_setting_first_stage(kp_explaining *e); /* KP048 */
kp_status kp_setting_zero_alone(kp_explaining *e);  /* KP049 */

/* ---- remedies ---- */

/* Whose words the code of a change is in. */
typedef enum kp_dialect {
    KP_DIALECT_KERAS,
    KP_DIALECT_TF_KERAS, /* tf.keras, Keras 1 and 2 */
    KP_DIALECT_TORCH,
    KP_DIALECT_HF,
    KP_DIALECT_MEGATRON,
    KP_DIALECT_COUNT
} kp_dialect;

/* Lines of code by what is changed. */
typedef enum kp_code {
    KP_CODE_NONE,
    KP_CODE_DTYPE, /* $1: the policy */
    KP_CODE_ACCUM, /* $1: batch, $2: steps, $3: the optimizer's class, $4: effective batch */
    KP_CODE_BATCH, /* $1: batch */
    KP_CODE_MICRO, /* $1: micro-batch, $2: micro-batches; of a pipeline */
    KP_CODE_LABELS,
    KP_CODE_RECOMPUTE,
    KP_CODE_SELECTIVE,
    KP_CODE_SGD,
    KP_CODE_ADAFACTOR,
    KP_CODE_DATA,     /* $1: GPUs */
    KP_CODE_SHARD,    /* $1: GPUs */
    KP_CODE_TENSOR,   /* $1: GPUs */
    KP_CODE_PIPELINE, /* $1: stages */
    KP_CODE_STREAM,
    KP_CODE_LENGTH, /* $1: steps */
    KP_CODE_COUNT
} kp_code;

kp_dialect kp_dialect_of(const kp_look *look);

/* The line with its holes filled from args ($1 is args[0]); NULL if the dialect has none, or
 * memory is out. */
const char *kp_code_text(kp_arena *arena, kp_code code, kp_dialect dialect,
                         const char *const *args);

/* The same in the words of what is explained; with one number. */
const char *kp_code_filled(const kp_explaining *e, kp_code code, const char *const *args);
const char *kp_code_of(const kp_explaining *e, kp_code code, uint64_t n);
/* A number as text; "" if memory is out. */
const char *kp_number(const kp_explaining *e, uint64_t n);

/* What a change sets: two of the same knob exclude each other. */
enum {
    KP_KNOB_DTYPE = 1,
    KP_KNOB_BATCH = 2, /* batch, grad_accum, micro_batch */
    KP_KNOB_LABELS = 4,
    KP_KNOB_RECOMPUTE = 8,
    KP_KNOB_OPTIMIZER = 16,
    KP_KNOB_RANKS = 32, /* dp, tp, pp, zero */
    KP_KNOB_DATA = 64,
    KP_KNOB_LENGTH = 128, /* seq; the input's size */
    KP_KNOB_EDIT = 256    /* a layer of the file */
};

typedef enum kp_edit {
    KP_EDIT_POOL_FLATTEN, /* GlobalAveragePooling for the Flatten before the layer */
    KP_EDIT_HALVE_UNITS,
    KP_EDIT_STRIDE,    /* strides 2 in a convolution */
    KP_EDIT_LAST_STEP, /* return_sequences=False */
    KP_EDIT_SHORTEN,   /* a quarter of the input's steps */
    KP_EDIT_RESIZE,    /* half of each side of the input */
    KP_EDIT_FUSE,      /* a fused attention in a Hugging Face configuration; any layer */
    KP_EDIT_COUNT
} kp_edit;

typedef struct kp_change {
    unsigned knobs;
    kp_options set; /* fields of the knobs */
    kp_edit edit;   /* with KP_KNOB_EDIT, and KP_KNOB_LENGTH where seq is absent */
    uint32_t layer;
    double weight; /* how much it disturbs, in flags */
    const char *rule, *text, *message, *code, *confidence;
} kp_change;

/* Disturbances, in units of a flag. */
#define KP_DISTURB_FLAG   1.0
#define KP_DISTURB_BATCH  1.5
#define KP_DISTURB_LAYOUT 2.0
#define KP_DISTURB_TRAIN  3.0
#define KP_DISTURB_MODEL  5.0

typedef struct kp_remedying kp_remedying;

/* Runs the change, and keeps it if it saves. The verdict after it; KP_FIT_COUNT if it does not run
 * or does not save. */
kp_verdict_fit kp_try(kp_remedying *r, const kp_change *change);
const kp_explaining *kp_trying(const kp_remedying *r);
/* Drops the change that was kept last: a better one of its kind follows. */
void kp_forget(kp_remedying *r);
/* A change with the request's options and confidence high; text and message may be NULL (memory
 * was out): then kp_try fails. */
kp_change kp_change_of(const kp_remedying *r, const char *rule, unsigned knobs, double weight);

void kp_try_dtype(kp_remedying *r);     /* KP011 */
void kp_try_batch(kp_remedying *r);     /* KP004 */
void kp_try_labels(kp_remedying *r);    /* KP010 */
void kp_try_recompute(kp_remedying *r); /* KP006 */
void kp_try_optimizer(kp_remedying *r); /* KP012 */
void kp_try_replicas(kp_remedying *r);  /* KP013 */
void kp_try_shards(kp_remedying *r);    /* KP015 */
void kp_try_layers(kp_remedying *r);    /* KP016: tensor parallel, pipeline */
void kp_try_stream(kp_remedying *r);    /* KP023 */
void kp_try_length(kp_remedying *r);    /* KP029 */
void kp_try_pool(kp_remedying *r);      /* KP001 */
void kp_try_narrow(kp_remedying *r);    /* KP002 */
void kp_try_stride(kp_remedying *r);    /* KP003 */
void kp_try_steps(kp_remedying *r);     /* KP007 */
void kp_try_fused(kp_remedying *r);     /* KP008 */
void kp_try_resize(kp_remedying *r);    /* KP005 */

/* What an edit replaced in the document: an item of a list, or a member of an object. */
typedef struct kp_edited {
    struct json_t *list, *object, *old;
    size_t at;
    const char *key;
} kp_edited;

/* Makes the edit in e->json, on a copy of the layer's object in the original's place. false: it
 * does not apply. *ret_code may be NULL. */
bool kp_explain_edit(const kp_explaining *e, kp_edit edit, uint32_t layer, kp_edited *ret,
                     const char **ret_change, const char **ret_message, const char **ret_code);
void kp_explain_unedit(kp_edited *edited);

#endif
