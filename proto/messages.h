/* SPDX-License-Identifier: MIT
 *
 * proto/messages.h — every message, in one place.
 *
 * Plain structs; their field tables (types, units, docs) stand in proto/messages_*.c and
 * drive one codec (proto/schema.h) for MessagePack on the wire, --json, configs and docs.
 * Sections: options; summary; explain; plan; inventories; leases; verification; errors; the
 * wire's requests, replies and agent traffic. Absent values are as proto/schema.h says (NULL,
 * NaN, UINT64_MAX, ...). Times are texts as RFC 3339 has them. */
#ifndef KP_PROTO_MESSAGES_H
#define KP_PROTO_MESSAGES_H

#include "proto/schema.h"
#include "proto/shard.h"

/* ---- options: what the user asked for, as given; AUTO (0) where not ---- */

typedef enum kp_framework {
    KP_FW_AUTO, KP_FW_KERAS_JAX, KP_FW_KERAS_TF, KP_FW_KERAS_TF_GRAPH, KP_FW_KERAS_TORCH,
    KP_FW_TORCH, KP_FW_MEGATRON, KP_FW_COUNT
} kp_framework;
typedef enum kp_target {
    KP_TARGET_AUTO, KP_TARGET_ANY, KP_TARGET_KERAS_JAX, KP_TARGET_KERAS_TF, KP_TARGET_KERAS_TORCH,
    KP_TARGET_TORCH, KP_TARGET_DEEPSPEED, KP_TARGET_MEGATRON, KP_TARGET_COUNT
} kp_target;
typedef enum kp_rnn_mode { KP_RNN_AUTO, KP_RNN_LOOP, KP_RNN_CUDNN, KP_RNN_COUNT } kp_rnn_mode;
typedef enum kp_data_mode { KP_DATA_STREAM, KP_DATA_RAM, KP_DATA_COUNT } kp_data_mode;
typedef enum kp_labels { KP_LABELS_AUTO, KP_LABELS_ONEHOT, KP_LABELS_SPARSE, KP_LABELS_COUNT } kp_labels;
typedef enum kp_schedule {
    KP_SCHEDULE_AUTO, KP_SCHEDULE_1F1B, KP_SCHEDULE_INTERLEAVED, KP_SCHEDULE_GPIPE,
    KP_SCHEDULE_COUNT
} kp_schedule;
typedef enum kp_recompute {
    KP_RECOMPUTE_AUTO, KP_RECOMPUTE_NONE, KP_RECOMPUTE_SELECTIVE, KP_RECOMPUTE_FULL,
    KP_RECOMPUTE_COUNT
} kp_recompute;
typedef enum kp_objective {
    KP_OBJECTIVE_TIME, KP_OBJECTIVE_MEMORY, KP_OBJECTIVE_GPUS, KP_OBJECTIVE_COST,
    KP_OBJECTIVE_COUNT
} kp_objective;

extern const char *const kp_framework_names[KP_FW_COUNT];
extern const char *const kp_target_names[KP_TARGET_COUNT];
extern const char *const kp_rnn_mode_names[KP_RNN_COUNT];
extern const char *const kp_data_mode_names[KP_DATA_COUNT];
extern const char *const kp_labels_names[KP_LABELS_COUNT];
extern const char *const kp_schedule_names[KP_SCHEDULE_COUNT];
extern const char *const kp_recompute_names[KP_RECOMPUTE_COUNT];
extern const char *const kp_objective_names[KP_OBJECTIVE_COUNT];

typedef struct kp_opt_dim {
    const char *input; /* NULL: every open dimension */
    uint32_t axis;
    uint64_t size;
} kp_opt_dim;

typedef struct kp_options {
    /* training */
    uint64_t batch; /* global; absent: 32 */
    uint64_t seq;
    kp_opt_dim *dims;
    uint32_t n_dims;
    const char *optimizer, *loss, *dtype_policy;
    kp_framework framework;
    kp_rnn_mode rnn;
    uint32_t grad_accum;
    uint64_t samples;
    kp_data_mode data;
    kp_labels labels;
    const char *layers_spec; /* JSON text of --layers */
    /* one device */
    const char *gpu;
    uint64_t memory_bytes;
    bool preallocate;
    /* plan; absent degrees are searched */
    uint32_t dp, tp, pp, micro_batch, zero, interleave;
    kp_schedule schedule;
    kp_recompute recompute;
    kp_target target;
    kp_objective objective;
    double deadline_s;
} kp_options;

/* ---- shared parts ---- */

typedef struct kp_warning {
    const char *code, *layer, *message;
} kp_warning;

typedef struct kp_assumption {
    const char *name, *value, *from; /* "framework", "keras-jax", "a Keras 3 file (--framework)" */
} kp_assumption;

/* Bytes by category. The sum is the peak: kp_categories_sum. */
#define KP_CATEGORY_ROWS(X)                                                                        \
    X(WEIGHTS, weights, "weights, trainable or not, and their copies in another type")             \
    X(GRADIENTS, gradients, "weight gradients and accumulators")                                   \
    X(OPTIMIZER, optimizer, "optimizer slots and master copies")                                   \
    X(ACTIVATIONS, activations, "values kept for the backward pass")                               \
    X(INPUTS, inputs, "the batch and its labels")                                                  \
    X(TEMPORARY, temporary, "alive only for a moment: activations' gradients, intermediate values") \
    X(WORKSPACE, workspace, "scratch of cuBLAS, cuDNN and the like")                               \
    X(COMMUNICATION, communication, "buffers of collectives")                                      \
    X(FRAGMENTATION, fragmentation, "held by the allocator, used by nobody")                       \
    X(RUNTIME, runtime, "CUDA context and loaded kernels")

typedef enum kp_category {
#define KP_CATEGORY_ENUM(name, field, doc) KP_CAT_##name,
    KP_CATEGORY_ROWS(KP_CATEGORY_ENUM)
#undef KP_CATEGORY_ENUM
        KP_CAT_COUNT
} kp_category;
extern const char *const kp_category_names[KP_CAT_COUNT];

typedef struct kp_categories {
    uint64_t bytes[KP_CAT_COUNT]; /* JSON: an object with the categories' names as keys */
} kp_categories;

uint64_t kp_categories_sum(const kp_categories *categories);

/* ---- kplan.summary/1 ---- */

typedef struct kp_summary_weight {
    const char *path;
    kp_shape shape;
    const char *dtype;
    bool trainable;
} kp_summary_weight;

typedef struct kp_summary_layer {
    const char *name, *class_name; /* JSON: "class" */
    kp_shape *output_shapes;
    uint32_t n_output_shapes;
    uint64_t params, trainable, non_trainable;
    const char *compute_dtype, *variable_dtype;
    double forward_flops;
    kp_summary_weight *weights;
    uint32_t n_weights;
    struct kp_summary_layer *layers; /* only for nested models */
    uint32_t n_layers;
} kp_summary_layer;

typedef struct kp_params {
    uint64_t total, trainable, non_trainable;
} kp_params;

typedef struct kp_summary {
    const char *model, *format;
    kp_params params;
    kp_shape *inputs, *outputs;
    uint32_t n_inputs, n_outputs;
    double forward_flops; /* a sample; NaN (null) if a dimension is open */
    kp_summary_layer *layers;
    uint32_t n_layers;
    kp_warning *warnings;
    uint32_t n_warnings;
} kp_summary;

/* ---- kplan.explain/1 ---- */

typedef enum kp_verdict_fit { KP_FIT_FITS, KP_FIT_TIGHT, KP_FIT_NO, KP_FIT_COUNT } kp_verdict_fit;
extern const char *const kp_fit_names[KP_FIT_COUNT];

typedef struct kp_explain_device {
    const char *gpu; /* NULL: --memory only */
    uint64_t total_bytes, usable_bytes;
} kp_explain_device;

typedef struct kp_explain_peak {
    uint64_t bytes, low_bytes, high_bytes;
    uint64_t allocated_bytes, allocated_low_bytes, allocated_high_bytes;
    uint64_t reserved_bytes, reserved_low_bytes, reserved_high_bytes;
    const char *phase, *layer, *op;
} kp_explain_peak;

typedef struct kp_explain_phase {
    const char *name;
    uint64_t peak_bytes, allocated_bytes, host_bytes; /* of a rank's device; of all ranks on one node's host */
    kp_verdict_fit verdict;          /* of this phase alone */
    const char *note;                /* what is special about it; NULL: nothing */
} kp_explain_phase;

/* One stage of a pipeline; a strategy without one has one stage. */
typedef struct kp_explain_stage {
    uint32_t stage, dp, tp, in_flight;
    const char *first_layer, *last_layer; /* NULL: it has no operation */
    uint64_t peak_bytes;
    uint64_t allocated_bytes, allocated_low_bytes, allocated_high_bytes;
    uint64_t reserved_bytes, reserved_low_bytes, reserved_high_bytes;
    uint64_t steady_bytes, steady_low_bytes, steady_high_bytes;
    uint64_t kept_bytes, kept_low_bytes, kept_high_bytes;
} kp_explain_stage;

/* What a rank sends and receives in a step; bytes of one result on one device. */
typedef struct kp_explain_collective {
    const char *op;
    uint64_t bytes, count;
    const char *what;
} kp_explain_collective;

typedef struct kp_explain_layer {
    const char *name, *class_name;
    uint64_t weights_bytes, gradients_bytes, optimizer_bytes, activations_bytes;
    double share; /* of the sum over layers */
} kp_explain_layer;

typedef struct kp_explain_tensor {
    const char *layer, *op, *what; /* what: "kernel", "output", "gradient", "slot 1 of kernel" */
    kp_shape shape;
    const char *dtype;
    uint64_t bytes;
} kp_explain_tensor;

typedef struct kp_explain_culprit {
    const char *rule, *layer, *message;
    uint64_t bytes; /* of `layer`; of the setting where there is none */
    double share;
    uint32_t alike;     /* layers of the same class that hold as much, `layer` among them */
    uint64_t all_bytes; /* of them together */
} kp_explain_culprit;

typedef struct kp_explain_remedy {
    const char *rule, *layer, *change, *message;
    const char *code; /* the line that does it in the framework's own words; NULL: none */
    uint64_t saves_bytes, peak_after_bytes;
    bool fits_after;
    kp_verdict_fit verdict_after;
    uint64_t host_saves_bytes, host_after_bytes; /* of a node's host */
    uint32_t gpus_after;                         /* GPUs that it takes */
    const char *confidence;
} kp_explain_remedy;

/* Remedies one on top of the other, in their order. */
typedef struct kp_explain_step {
    const char *rule, *change; /* on top of the steps before */
    uint64_t peak_bytes;
    kp_verdict_fit verdict;
} kp_explain_step;

typedef struct kp_host_part {
    const char *name;
    uint64_t bytes;
} kp_host_part;

typedef struct kp_explain_host {
    uint64_t peak_bytes;
    kp_host_part *parts;
    uint32_t n_parts;
} kp_explain_host;

/* The answers that are there only when asked for. */

typedef struct kp_explain_match {
    const char *layer, *what, *phase;
    kp_shape shape; /* as the model has it, batch bound */
    uint64_t bytes, batch; /* batch: which one makes it so; absent where it has none */
    const char *says;
} kp_explain_match;

typedef struct kp_explain_message {
    const char *from, *says;
    const char **asked; /* what the text asks for, in words */
    uint32_t n_asked;
    uint64_t total_bytes, allocated_bytes, reserved_bytes, free_bytes; /* of the card, as it says */
    kp_explain_match *matches;
    uint32_t n_matches;
} kp_explain_message;

typedef struct kp_explain_largest {
    const char *what; /* "batch", "seq", "input:1" */
    uint64_t value, low, high; /* 0: not even the smallest */
    uint64_t step;    /* only multiples of it were tried */
    const char *says;
} kp_explain_largest;

typedef struct kp_explain_versus {
    const char *model;
    kp_verdict_fit verdict;
    kp_explain_peak peak;
    kp_categories by_category;
    kp_explain_phase *phases;
    uint32_t n_phases;
    uint64_t parameters, n_layers;
    kp_explain_layer *layers; /* the few that hold most */
    uint32_t n_layers_shown;
    const char **reasons; /* of the difference */
    uint32_t n_reasons;
} kp_explain_versus;

/* What the arithmetic that people do by hand says, and what it misses. */
typedef struct kp_explain_hand {
    uint64_t parameters_x4_bytes;        /* weights in float32 */
    uint64_t outputs_plus_weights_bytes; /* each layer's output once, and the weights */
    const char *says;
} kp_explain_hand;

typedef struct kp_explain_not_cause {
    const char *what, *layer, *message;
    uint64_t bytes;
    double share; /* of the peak */
} kp_explain_not_cause;

typedef struct kp_explain {
    const char *model;
    kp_assumption *assumptions;
    uint32_t n_assumptions;
    kp_verdict_fit verdict;
    kp_explain_device device;
    kp_explain_peak peak;
    kp_categories by_category;
    kp_explain_phase *phases;
    uint32_t n_phases;
    kp_explain_stage *stages;
    uint32_t n_stages;
    kp_explain_collective *collectives; /* what moves most first; none if nothing is divided */
    uint32_t n_collectives;
    kp_explain_layer *layers; /* largest first */
    uint32_t n_layers;
    kp_explain_tensor *peak_tensors;
    uint32_t n_peak_tensors;
    kp_explain_culprit *culprits;
    uint32_t n_culprits;
    kp_explain_remedy *remedies;
    uint32_t n_remedies;
    kp_explain_step *together; /* until it fits */
    uint32_t n_together;
    const char **not_covered; /* what no planner can know, or nobody told */
    uint32_t n_not_covered;
    kp_explain_hand hand_arithmetic;
    kp_explain_not_cause *not_the_cause;
    uint32_t n_not_the_cause;
    kp_explain_largest *largest; /* NULL: not asked for, as the next two */
    kp_explain_message *message;
    kp_explain_versus *versus;
    kp_explain_host host;
    const char *confidence; /* "high", "medium", "low" */
    kp_warning *warnings;
    uint32_t n_warnings;
} kp_explain;

/* ---- inventories: kplan.nodes/1, kplan.gpus/1 ---- */

typedef enum kp_gpu_state {
    KP_GPU_FREE, KP_GPU_LEASED, KP_GPU_BUSY, KP_GPU_UNHEALTHY, KP_GPU_STATE_COUNT
} kp_gpu_state;
typedef enum kp_node_state {
    KP_NODE_READY, KP_NODE_SUSPECT, KP_NODE_GONE, KP_NODE_DRAINING, KP_NODE_STATE_COUNT
} kp_node_state;
extern const char *const kp_gpu_state_names[KP_GPU_STATE_COUNT];
extern const char *const kp_node_state_names[KP_NODE_STATE_COUNT];

typedef struct kp_gpu {
    const char *node; /* in kplan.gpus/1 only */
    const char *uuid;
    uint32_t index;
    const char *name; /* key of configs/gpus.json if known, else as NVML gives it */
    uint64_t total_bytes, driver_reserved_bytes, free_bytes;
    kp_gpu_state state;
    /* where the machine has them; absent otherwise */
    const char *pci_bus_id, *compute_capability, *serial;
    uint32_t minor, sm_count, numa_node, nvlinks;
    uint64_t processes; /* compute processes running */
} kp_gpu;

typedef struct kp_host_info {
    const char *hostname, *kernel, *driver, *cuda, *nccl;
    uint64_t memory_total_bytes, memory_free_bytes, shm_bytes;
    uint32_t cpus;
} kp_host_info;

typedef struct kp_node {
    const char *name;
    kp_node_state state;
    const char *boot_epoch; /* changes with every start of the agent or the machine */
    bool simulated;         /* invented or recorded: not this machine */
    kp_host_info host;
    kp_gpu *gpus;
    uint32_t n_gpus;
} kp_node;

typedef struct kp_nodes {
    uint64_t revision; /* of the cluster; raised by every change */
    kp_node *nodes;
    uint32_t n_nodes;
} kp_nodes;

typedef struct kp_gpus {
    uint64_t revision;
    kp_gpu *gpus;
    uint32_t n_gpus;
} kp_gpus;

/* ---- kplan.plan/1 ---- */

typedef struct kp_plan_model {
    const char *name, *sha256;
} kp_plan_model;

typedef struct kp_plan_cluster {
    uint64_t revision;
    uint32_t nodes, gpus;
    bool simulated;
} kp_plan_cluster;

typedef struct kp_strategy {
    uint32_t dp, tp, pp, zero, micro_batch, micro_batches;
    kp_schedule schedule;
    uint32_t interleave;
    kp_recompute recompute;
} kp_strategy;

typedef struct kp_plan_stage {
    const char *first_layer, *last_layer;
    uint32_t layers, tp, dp, zero;
    const char **recompute; /* layers recomputed one by one */
    uint32_t n_recompute;
    double seconds;
    uint64_t peak_bytes;
} kp_plan_stage;

typedef struct kp_plan_weight_axes {
    const char *path;
    uint32_t *axes; /* axes divided over the tensor-parallel group; empty: replicated */
    uint32_t n_axes;
} kp_plan_weight_axes;

typedef struct kp_plan_cut {
    const char *layer;
    kp_cut cut;
    kp_coll collective_forward, collective_backward;
    kp_plan_weight_axes *weights;
    uint32_t n_weights;
} kp_plan_cut;

typedef struct kp_plan_rank {
    uint32_t rank;
    const char *node, *gpu; /* UUID */
    uint32_t gpu_index, stage, dp_rank, tp_rank;
    uint64_t peak_bytes, usable_bytes;
    kp_categories memory;
} kp_plan_rank;

typedef struct kp_plan_step {
    double seconds, low_s, high_s;
    double compute_s, bubble_s, tensor_parallel_s, pipeline_s, data_parallel_s, optimizer_s;
    double tokens_per_s, samples_per_s; /* one of the two is NaN */
    double mfu;
} kp_plan_step;

typedef struct kp_plan_bound {
    double lower_s, gap; /* gap = seconds / lower_s - 1 */
    const char *proof;
} kp_plan_bound;

typedef struct kp_plan_search {
    double seconds; /* only with --timing */
    uint64_t candidates;
    bool complete;
} kp_plan_search;

typedef struct kp_plan_alternative {
    kp_strategy strategy; /* its fields stand in place */
    double seconds;
    uint64_t peak_bytes;
} kp_plan_alternative;

typedef enum kp_lease_state {
    KP_LEASE_HELD, KP_LEASE_CONFIRMED, KP_LEASE_RELEASED, KP_LEASE_EXPIRED, KP_LEASE_STATE_COUNT
} kp_lease_state;
extern const char *const kp_lease_state_names[KP_LEASE_STATE_COUNT];

typedef struct kp_plan_lease {
    const char *id;
    uint64_t fence;
    const char *expires;
    kp_lease_state state;
} kp_plan_lease;

typedef enum kp_verdict_kind {
    KP_VERDICT_NONE, KP_VERDICT_VERIFIED, KP_VERDICT_FAILED, KP_VERDICT_INCONCLUSIVE,
    KP_VERDICT_COUNT
} kp_verdict_kind;
extern const char *const kp_verdict_names[KP_VERDICT_COUNT];

typedef struct kp_plan_verification {
    kp_verdict_kind verdict;
    double covered; /* share of weight bytes whose op and cut were checked */
    uint32_t checks;
    const char **not_covered; /* ops without an executor row */
    uint32_t n_not_covered;
    const char *at;
} kp_plan_verification;

/* What the verifier needs to run a plan's cut layers: one entry for each different op, shapes, cut
 * and group of the plan. Made by the search with the plan; JSON field "checks_todo". */
typedef struct kp_check_spec {
    const char *layer;  /* the first layer that has it */
    kp_op op;
    kp_cut cut;         /* BATCH over the dp group, others over the tp group */
    kp_shape x, w, y;   /* full shapes of one micro-batch (batch bound), as the op sees them; w of
                           rank 0 if the op has no weight */
    uint32_t kernel[3], strides[3], dilation[3]; /* 0 means 1 */
    bool same_padding, channels_first, bias;
    uint32_t groups;
    uint32_t *ranks;    /* of the plan, in group order */
    uint32_t n_ranks;
    uint64_t weight_bytes; /* of all layers of the plan that this entry stands for */
} kp_check_spec;

typedef struct kp_plan {
    const char *id, *created;
    kp_plan_model model;
    kp_plan_cluster cluster;
    kp_target target;
    uint64_t batch; /* global, in samples */
    kp_assumption *assumptions;
    uint32_t n_assumptions;
    kp_strategy strategy;
    kp_plan_stage *stages;
    uint32_t n_stages;
    kp_plan_cut *cuts;
    uint32_t n_cuts;
    kp_plan_rank *ranks;
    uint32_t n_ranks;
    kp_plan_step step;
    kp_plan_bound bound;
    kp_plan_search search;
    kp_plan_alternative *alternatives;
    uint32_t n_alternatives;
    kp_check_spec *checks_todo;
    uint32_t n_checks_todo;
    uint64_t weight_bytes; /* of the whole model: what "covered" is a share of */
    kp_plan_lease *lease;  /* only once stored */
    kp_plan_verification verification;
} kp_plan;

/* ---- a refusal: details of INFEASIBLE ---- */

typedef struct kp_refusal_binding {
    uint32_t stage;
    const char *layer; /* that holds most there */
    uint64_t peak_bytes, usable_bytes;
    kp_categories bytes; /* by category */
} kp_refusal_binding;

typedef struct kp_refusal_change {
    const char *change; /* an option or a model change: "--recompute full" */
    uint64_t peak_bytes;
    bool fits;
} kp_refusal_change;

typedef struct kp_refusal {
    kp_refusal_binding binding;
    kp_refusal_change *changes; /* smallest first that fit, then those that do not */
    uint32_t n_changes;
} kp_refusal;

typedef struct kp_error_body {
    const char *code, *message, *where, *hint;
    kp_refusal *details;
} kp_error_body;

typedef struct kp_error_msg {
    kp_error_body error;
} kp_error_msg;

/* ---- kplan.plans/1, kplan.leases/1 ---- */

typedef struct kp_plan_row {
    const char *id, *created, *model;
    kp_strategy strategy;
    const char *state; /* "stored", "held", "released", ... */
    uint64_t peak_bytes;
    double seconds;
} kp_plan_row;

typedef struct kp_plans {
    kp_plan_row *plans;
    uint32_t n_plans;
} kp_plans;

typedef struct kp_lease {
    const char *id, *plan;
    uint64_t fence;
    const char *owner;
    const char **gpus; /* UUIDs */
    uint32_t n_gpus;
    const char *granted, *expires;
    kp_lease_state state;
} kp_lease;

typedef struct kp_leases {
    kp_lease *leases;
    uint32_t n_leases;
} kp_leases;

/* ---- kplan.verdict/1 ---- */

typedef enum kp_direction { KP_FORWARD, KP_BACKWARD, KP_DIRECTION_COUNT } kp_direction;
typedef enum kp_grade { KP_GRADE_EXACT, KP_GRADE_CLOSE, KP_GRADE_COUNT } kp_grade;
typedef enum kp_check_state {
    KP_CHECK_OK, KP_CHECK_FAILED, KP_CHECK_INCONCLUSIVE, KP_CHECK_NOT_COVERED, KP_CHECK_STATE_COUNT
} kp_check_state;
typedef enum kp_executor { KP_EXEC_HOST, KP_EXEC_CUDA, KP_EXEC_COUNT } kp_executor;
extern const char *const kp_direction_names[KP_DIRECTION_COUNT];
extern const char *const kp_grade_names[KP_GRADE_COUNT];
extern const char *const kp_check_state_names[KP_CHECK_STATE_COUNT];
extern const char *const kp_executor_names[KP_EXEC_COUNT];

typedef struct kp_check {
    const char *layer;
    kp_op op;
    kp_cut cut;
    kp_direction direction;
    kp_grade grade;
    uint32_t ranks;
    kp_check_state state;
    double error, bound, seconds;
    uint64_t peak_bytes_measured, peak_bytes_predicted;
    const char *message;
} kp_check;

typedef struct kp_verdict {
    const char *plan;
    kp_verdict_kind verdict;
    double covered;
    const char *shapes; /* "full" or "reduced" */
    kp_executor executor;
    kp_check *checks;
    uint32_t n_checks;
} kp_verdict;

/* ---- the wire ----
 * A body is: an 8-byte prefix 'K' 'P' major type(2, big endian) flags(2) 0, then one MessagePack
 * map of kp_envelope. The payload inside is the message of that type. */

#define KP_WIRE_MAJOR 1

/*    enum              number  payload */
#define KP_WIRE_ROWS(X)                                                                            \
    X(ERROR, 1, kp_error_msg)           /* reply to anything that failed */                        \
    X(PROGRESS, 2, kp_wire_progress)    /* before a reply */                                       \
    X(PLAN_REQUEST, 10, kp_wire_plan_request) X(PLAN, 11, kp_plan)                                 \
    X(GET, 12, kp_wire_get) X(NODES, 13, kp_nodes) X(GPUS, 14, kp_gpus)                            \
    X(PLANS, 15, kp_plans) X(LEASES, 16, kp_leases)                                                \
    X(LEASE_REQUEST, 17, kp_wire_lease_request) X(LEASE, 18, kp_lease)                             \
    X(VERIFY_REQUEST, 19, kp_wire_verify_request) X(VERDICT, 20, kp_verdict)                       \
    X(HELLO, 40, kp_wire_hello) X(WELCOME, 41, kp_wire_welcome)                                    \
    X(HEARTBEAT, 42, kp_wire_heartbeat) X(INVENTORY, 43, kp_node) X(RESYNC, 44, kp_wire_resync)    \
    X(FENCE, 45, kp_wire_fence)                                                                    \
    X(RUN, 50, kp_wire_run) X(RUN_READY, 51, kp_wire_run_ready)                                    \
    X(RUN_RESULT, 52, kp_wire_run_result) X(RUN_ABORT, 53, kp_wire_run_abort)

typedef enum kp_wire_type {
    KP_WIRE_NONE,
#define KP_WIRE_ENUM(name, number, payload) KP_WIRE_##name = number,
    KP_WIRE_ROWS(KP_WIRE_ENUM)
#undef KP_WIRE_ENUM
} kp_wire_type;

typedef struct kp_envelope {
    const char *id;        /* the request's id, its idempotency key too; replies repeat it */
    double budget_s;       /* time left to answer; NaN: no limit */
    const char *epoch;     /* sender's boot epoch */
    uint64_t session;      /* given by WELCOME; absent before */
    uint64_t seq;          /* within the session, from 1; absent for clients */
    kp_bytes payload;
} kp_envelope;

typedef struct kp_wire_progress {
    const char *text;      /* "searching", "verifying" */
    uint64_t done, total;  /* of the unit the text names; total absent if unknown */
} kp_wire_progress;

typedef struct kp_wire_plan_request {
    const char *model_name;
    kp_bytes model;        /* the file's bytes */
    kp_options options;
    uint32_t nodes, gpus_per_node; /* absent: all */
    bool reserve;          /* false: a dry run, nothing stored */
    bool verify;
    double lease_s;        /* the lease's length */
    const char *owner;
} kp_wire_plan_request;

typedef struct kp_wire_get {
    const char *what;      /* "nodes", "gpus", "plans", "leases", "plan" */
    const char *id;        /* of the plan */
} kp_wire_get;

typedef struct kp_wire_lease_request {
    const char *action;    /* "renew", "release", "confirm" */
    const char *lease;
    double lease_s;
} kp_wire_lease_request;

typedef struct kp_wire_verify_request {
    const char *plan;      /* an id, or NULL with: */
    kp_plan *body;         /* a plan given as a file */
    bool sample;
} kp_wire_verify_request;

typedef struct kp_wire_hello {
    const char *node, *version;
    kp_node inventory;
} kp_wire_hello;

typedef struct kp_fence {
    const char *gpu;       /* UUID */
    uint64_t fence;        /* highest seen */
} kp_fence;

typedef struct kp_wire_welcome {
    uint64_t session;
    double heartbeat_s;
    kp_fence *fences;      /* of the node's GPUs */
    uint32_t n_fences;
} kp_wire_welcome;

typedef struct kp_wire_heartbeat {
    const char *inventory_hash; /* drift is found within a beat */
} kp_wire_heartbeat;

typedef struct kp_wire_resync {
    const char *reason;    /* the agent answers with INVENTORY, or HELLO if its session is unknown */
    bool hello;
} kp_wire_resync;

typedef struct kp_wire_fence {
    const char *lease;
    uint64_t fence;        /* agents refuse lower ones for these GPUs from now on */
    const char **gpus;
    uint32_t n_gpus;
} kp_wire_fence;

/* One rank of a verification run, as its agent starts it. */
typedef struct kp_run_rank {
    uint32_t rank;         /* of the plan */
    uint32_t gpu_index;
    const char *gpu;
} kp_run_rank;

typedef struct kp_wire_run {
    const char *run;       /* id of this verification run */
    kp_executor executor;
    uint64_t fence;        /* of the lease; absent for a plan without one */
    double deadline_s;
    uint64_t seed;
    uint64_t shape_limit;  /* elements: shapes are reduced until a tensor has at most so many */
    const char *meet;      /* where rank 0 of the run listens; NULL for the agent that has it */
    const char *token;     /* ranks show it to each other */
    uint32_t n_ranks;      /* of the whole run */
    kp_run_rank *ranks;    /* to start here */
    uint32_t n_here;
    kp_check_spec *checks;
    uint32_t n_checks;
} kp_wire_run;

typedef struct kp_wire_run_ready {
    const char *run, *meet; /* endpoint of the run's first rank */
} kp_wire_run_ready;

typedef struct kp_wire_run_result {
    const char *run;
    kp_check *checks;      /* from the agent that has the run's first rank: all of them */
    uint32_t n_checks;
    const char *failure;   /* a rank was lost or could not start: why; else absent */
    bool reduced;
} kp_wire_run_result;

typedef struct kp_wire_run_abort {
    const char *run, *reason;
} kp_wire_run_abort;

/* ---- configs/gpus.json ---- */

typedef struct kp_gpu_kind {
    const char *key;        /* "H100-SXM5-80GB" */
    const char **aliases;   /* "H100-80G" */
    uint32_t n_aliases;
    const char *nvml_name;
    uint64_t total_bytes, driver_reserved_bytes; /* absent if not known */
    double memory_bytes_per_s;
    double fp64_flops_per_s, fp32_flops_per_s, tf32_flops_per_s, fp16_flops_per_s,
        bf16_flops_per_s; /* dense; NaN where it has none */
    double link_bytes_per_s;  /* NVLink or PCIe to a peer in the node, one direction */
    double link_fixed_s;      /* of a collective in the node */
    double net_bytes_per_s;   /* a GPU's share of the network in the usual machine; NaN: unknown */
    double net_fixed_s;       /* of one hop between nodes */
    const char *compute_capability;
    uint32_t sm_count;
    const char *source;
} kp_gpu_kind;

typedef struct kp_gpu_kinds {
    kp_gpu_kind *gpus;
    uint32_t n_gpus;
} kp_gpu_kinds;

/* ---- the schemas ---- */

/* Messages. Those that a command prints have a name with a version, "kplan.plan/1". */
extern const kp_schema kp_schema_options, kp_schema_summary, kp_schema_explain, kp_schema_plan,
    kp_schema_nodes, kp_schema_gpus, kp_schema_plans, kp_schema_leases, kp_schema_verdict,
    kp_schema_error, kp_schema_node, kp_schema_lease, kp_schema_envelope, kp_schema_gpu_kinds;

/* Their parts that several messages share, or that are kept on their own. */
extern const kp_schema kp_schema_warning, kp_schema_assumption, kp_schema_categories,
    kp_schema_strategy, kp_schema_gpu, kp_schema_refusal, kp_schema_check, kp_schema_check_spec;

/* The schema of a wire type's payload; NULL for an unknown number. */
const kp_schema *kp_wire_schema(kp_wire_type type);

/* All messages, for docs and for tests that walk every message. */
extern const kp_schema *const kp_schemas[];
extern const size_t kp_n_schemas;

#endif
