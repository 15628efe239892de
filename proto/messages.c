/* SPDX-License-Identifier: MIT
 *
 * The names of all enums, and the list of all messages. The field tables: messages_ask.c (options,
 * errors), messages_model.c (summary), messages_explain.c (explain), messages_plan.c (plan and its
 * parts), messages_cluster.c (inventories, leases, cards), messages_wire.c. */
#include "proto/messages_wire.h"

/* clang-format off */
const char *const kp_framework_names[KP_FW_COUNT] = {
    [KP_FW_AUTO] = "auto", [KP_FW_KERAS_JAX] = "keras-jax", [KP_FW_KERAS_TF] = "keras-tf",
    [KP_FW_KERAS_TF_GRAPH] = "keras-tf-graph", [KP_FW_KERAS_TORCH] = "keras-torch",
    [KP_FW_TORCH] = "torch", [KP_FW_MEGATRON] = "megatron",
};
const char *const kp_target_names[KP_TARGET_COUNT] = {
    [KP_TARGET_AUTO] = "auto", [KP_TARGET_ANY] = "any", [KP_TARGET_KERAS_JAX] = "keras-jax",
    [KP_TARGET_KERAS_TF] = "keras-tf", [KP_TARGET_KERAS_TORCH] = "keras-torch",
    [KP_TARGET_TORCH] = "torch", [KP_TARGET_DEEPSPEED] = "deepspeed",
    [KP_TARGET_MEGATRON] = "megatron",
};
const char *const kp_rnn_mode_names[KP_RNN_COUNT] = {
    [KP_RNN_AUTO] = "auto", [KP_RNN_LOOP] = "loop", [KP_RNN_CUDNN] = "cudnn",
};
const char *const kp_data_mode_names[KP_DATA_COUNT] = {
    [KP_DATA_STREAM] = "stream", [KP_DATA_RAM] = "ram",
};
const char *const kp_labels_names[KP_LABELS_COUNT] = {
    [KP_LABELS_AUTO] = "auto", [KP_LABELS_ONEHOT] = "onehot", [KP_LABELS_SPARSE] = "sparse",
};
const char *const kp_schedule_names[KP_SCHEDULE_COUNT] = {
    [KP_SCHEDULE_AUTO] = "auto", [KP_SCHEDULE_1F1B] = "1f1b",
    [KP_SCHEDULE_INTERLEAVED] = "interleaved", [KP_SCHEDULE_GPIPE] = "gpipe",
};
const char *const kp_recompute_names[KP_RECOMPUTE_COUNT] = {
    [KP_RECOMPUTE_AUTO] = "auto", [KP_RECOMPUTE_NONE] = "none",
    [KP_RECOMPUTE_SELECTIVE] = "selective", [KP_RECOMPUTE_FULL] = "full",
};
const char *const kp_objective_names[KP_OBJECTIVE_COUNT] = {
    [KP_OBJECTIVE_TIME] = "time", [KP_OBJECTIVE_MEMORY] = "memory", [KP_OBJECTIVE_GPUS] = "gpus",
    [KP_OBJECTIVE_COST] = "cost",
};
const char *const kp_category_names[KP_CAT_COUNT] = {
#define KP_CATEGORY_NAME(name, field, doc) [KP_CAT_##name] = #field,
    KP_CATEGORY_ROWS(KP_CATEGORY_NAME)
#undef KP_CATEGORY_NAME
};
const char *const kp_fit_names[KP_FIT_COUNT] = {
    [KP_FIT_FITS] = "fits", [KP_FIT_TIGHT] = "tight", [KP_FIT_NO] = "no",
};
const char *const kp_gpu_state_names[KP_GPU_STATE_COUNT] = {
    [KP_GPU_FREE] = "free", [KP_GPU_LEASED] = "leased", [KP_GPU_BUSY] = "busy",
    [KP_GPU_UNHEALTHY] = "unhealthy",
};
const char *const kp_node_state_names[KP_NODE_STATE_COUNT] = {
    [KP_NODE_READY] = "ready", [KP_NODE_SUSPECT] = "suspect", [KP_NODE_GONE] = "gone",
    [KP_NODE_DRAINING] = "draining",
};
const char *const kp_lease_state_names[KP_LEASE_STATE_COUNT] = {
    [KP_LEASE_HELD] = "held", [KP_LEASE_CONFIRMED] = "confirmed", [KP_LEASE_RELEASED] = "released",
    [KP_LEASE_EXPIRED] = "expired",
};
const char *const kp_verdict_names[KP_VERDICT_COUNT] = {
    [KP_VERDICT_NONE] = "none", [KP_VERDICT_VERIFIED] = "verified", [KP_VERDICT_FAILED] = "failed",
    [KP_VERDICT_INCONCLUSIVE] = "inconclusive",
};
const char *const kp_direction_names[KP_DIRECTION_COUNT] = {
    [KP_FORWARD] = "forward", [KP_BACKWARD] = "backward",
};
const char *const kp_grade_names[KP_GRADE_COUNT] = {
    [KP_GRADE_EXACT] = "exact", [KP_GRADE_CLOSE] = "close",
};
const char *const kp_check_state_names[KP_CHECK_STATE_COUNT] = {
    [KP_CHECK_OK] = "ok", [KP_CHECK_FAILED] = "failed", [KP_CHECK_INCONCLUSIVE] = "inconclusive",
    [KP_CHECK_NOT_COVERED] = "not_covered",
};
const char *const kp_executor_names[KP_EXEC_COUNT] = {
    [KP_EXEC_HOST] = "host", [KP_EXEC_CUDA] = "cuda",
};
/* clang-format on */

uint64_t kp_categories_sum(const kp_categories *categories)
{
    uint64_t sum = 0;
    for (int i = 0; i < KP_CAT_COUNT; i++) sum = kp_add_u64(sum, categories->bytes[i]);
    return sum;
}

const kp_schema *kp_wire_schema(kp_wire_type type)
{
    switch (type) {
    case KP_WIRE_NONE: return NULL;
#define KP_WIRE_CASE(name, number, payload)                                                        \
    case KP_WIRE_##name: return &KP_SCHEMA_OF_##payload;
        KP_WIRE_ROWS(KP_WIRE_CASE)
#undef KP_WIRE_CASE
    }
    return NULL;
}

const kp_schema *const kp_schemas[] = {
    &kp_schema_options,          &kp_schema_summary,         &kp_schema_explain,
    &kp_schema_plan,             &kp_schema_nodes,           &kp_schema_gpus,
    &kp_schema_plans,            &kp_schema_leases,          &kp_schema_verdict,
    &kp_schema_error,            &kp_schema_node,            &kp_schema_lease,
    &kp_schema_envelope,         &kp_schema_gpu_kinds,       &kp_schema_wire_progress,
    &kp_schema_wire_plan_request, &kp_schema_wire_get,       &kp_schema_wire_lease_request,
    &kp_schema_wire_verify_request, &kp_schema_wire_hello,   &kp_schema_wire_welcome,
    &kp_schema_wire_heartbeat,   &kp_schema_wire_resync,     &kp_schema_wire_fence,
    &kp_schema_wire_run,         &kp_schema_wire_run_ready,  &kp_schema_wire_run_result,
    &kp_schema_wire_run_abort,
};
const size_t kp_n_schemas = KP_LEN(kp_schemas);
