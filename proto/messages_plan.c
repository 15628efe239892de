/* SPDX-License-Identifier: MIT
 *
 * Field tables: the plan, lists of plans, and its verification. */
#include "proto/messages.h"
#include "proto/rows.h"

#define T kp_plan_model
static const kp_field plan_model_fields[] = {
    STR(name, NUL, "the model's name"),
    STR(sha256, REQ, "SHA-256 of the file, hexadecimal"),
};
#undef T
static const kp_schema plan_model =
    SCHEMA(kp_plan_model, plan_model_fields, "model", "the file that was planned");

#define T kp_plan_cluster
static const kp_field plan_cluster_fields[] = {
    U64(revision, REQ, "revision of the cluster that was planned on"),
    U32(nodes, REQ, "nodes used"),
    U32(gpus, REQ, "GPUs used"),
    BOOL(simulated, REQ, "whether a node is invented or recorded"),
};
#undef T
static const kp_schema plan_cluster =
    SCHEMA(kp_plan_cluster, plan_cluster_fields, "cluster", "the inventory that was planned on");

/* A strategy's fields stand alone in a plan and in place in an alternative: `in` is the way to
 * them. */
#define STRATEGY_ROWS(in)                                                                          \
    U32_AS("dp", in dp, REQ, "data-parallel degree"),                                              \
    U32_AS("tp", in tp, REQ, "tensor-parallel degree"),                                            \
    U32_AS("pp", in pp, REQ, "pipeline stages"),                                                   \
    U32_AS("zero", in zero, REQ, "ZeRO stage, 0 to 3"),                                            \
    U32_AS("micro_batch", in micro_batch, REQ, "samples of a micro-batch of one replica"),         \
    U32_AS("micro_batches", in micro_batches, REQ, "micro-batches a step and replica"),            \
    ENUM_AS("schedule", in schedule, kp_schedule_names, REQ, "order of the micro-batches"),        \
    U32_AS("interleave", in interleave, REQ, "stages that a rank has"),                            \
    ENUM_AS("recompute", in recompute, kp_recompute_names, REQ, "activations computed again")

#define T kp_strategy
static const kp_field strategy_fields[] = {STRATEGY_ROWS()};
#undef T
const kp_schema kp_schema_strategy =
    SCHEMA(kp_strategy, strategy_fields, "strategy", "degrees and settings");

#define T kp_plan_stage
static const kp_field plan_stage_fields[] = {
    STR(first_layer, REQ, "first layer of the stage"),
    STR(last_layer, REQ, "last layer of the stage"),
    U32(layers, REQ, "layers in it"),
    U32(tp, REQ, "tensor-parallel degree"),
    U32(dp, REQ, "data-parallel degree"),
    U32(zero, REQ, "ZeRO stage"),
    STRS(recompute, REQ, "layers whose activations are computed again"),
    F64(seconds, REQ, "seconds of one micro-batch, forward and backward"),
    U64(peak_bytes, REQ, "bytes of its worst rank"),
};
#undef T
static const kp_schema plan_stage =
    SCHEMA(kp_plan_stage, plan_stage_fields, "stage", "one pipeline stage");

#define T kp_plan_weight_axes
static const kp_field plan_weight_axes_fields[] = {
    STR(path, REQ, "Keras's path of the weight"),
    U32S(axes, REQ, "axes divided over the tensor-parallel group; empty: every rank has it all"),
};
#undef T
static const kp_schema plan_weight_axes =
    SCHEMA(kp_plan_weight_axes, plan_weight_axes_fields, "weight", "how a weight is divided");

#define T kp_plan_cut
static const kp_field plan_cut_fields[] = {
    STR(layer, REQ, "layer"),
    ENUM(cut, kp_cut_names, REQ, "how it is divided over the tensor-parallel group"),
    ENUM(collective_forward, kp_coll_names, REQ, "collective on its output"),
    ENUM(collective_backward, kp_coll_names, REQ, "collective on its input's gradient"),
    LIST(weights, &plan_weight_axes, REQ, "its weights"),
};
#undef T
static const kp_schema plan_cut = SCHEMA(kp_plan_cut, plan_cut_fields, "cut", "how a layer is cut");

#define T kp_plan_rank
static const kp_field plan_rank_fields[] = {
    U32(rank, REQ, "number of the rank"),
    STR(node, REQ, "node it runs on"),
    STR(gpu, REQ, "UUID of its GPU"),
    U32(gpu_index, REQ, "index of the GPU in the node"),
    U32(stage, REQ, "pipeline stage"),
    U32(dp_rank, REQ, "place in the data-parallel group"),
    U32(tp_rank, REQ, "place in the tensor-parallel group"),
    U64(peak_bytes, REQ, "bytes at the peak: the sum of memory"),
    U64(usable_bytes, REQ, "bytes that the GPU has for it"),
    STRUCT(memory, &kp_schema_categories, REQ, "the peak by category"),
};
#undef T
static const kp_schema plan_rank =
    SCHEMA(kp_plan_rank, plan_rank_fields, "rank", "one process on one GPU");

#define T kp_plan_step
static const kp_field plan_step_fields[] = {
    F64(seconds, REQ, "seconds of one training step"),
    F64(low_s, REQ, "lower bound in seconds"),
    F64(high_s, REQ, "upper bound in seconds"),
    F64(compute_s, REQ, "seconds of it that compute"),
    F64(bubble_s, REQ, "seconds that the pipeline waits"),
    F64(tensor_parallel_s, REQ, "seconds of tensor-parallel collectives"),
    F64(pipeline_s, REQ, "seconds of transfers between stages"),
    F64(data_parallel_s, REQ, "seconds of data-parallel collectives that are not hidden"),
    F64(optimizer_s, REQ, "seconds of the optimizer"),
    F64(tokens_per_s, OPT, "tokens a second, for models over sequences"),
    F64(samples_per_s, OPT, "samples a second, for the others"),
    F64(mfu, NUL, "share of the GPUs' peak FLOPs that the model's FLOPs use"),
};
#undef T
static const kp_schema plan_step =
    SCHEMA(kp_plan_step, plan_step_fields, "step", "time of one training step");

#define T kp_plan_bound
static const kp_field plan_bound_fields[] = {
    F64(lower_s, NUL, "no plan has a shorter step, in seconds"),
    F64(gap, NUL, "seconds / lower_s - 1"),
    STR(proof, NUL, "what the bound rests on"),
};
#undef T
static const kp_schema plan_bound =
    SCHEMA(kp_plan_bound, plan_bound_fields, "bound", "how good the plan is at least");

#define T kp_plan_search
static const kp_field plan_search_fields[] = {
    F64(seconds, OPT, "seconds that the search took; only with --timing"),
    U64(candidates, REQ, "strategies that were priced"),
    BOOL(complete, REQ, "whether the whole space was covered"),
};
#undef T
static const kp_schema plan_search =
    SCHEMA(kp_plan_search, plan_search_fields, "search", "how the plan was found");

#define T kp_plan_alternative
static const kp_field plan_alternative_fields[] = {
    STRATEGY_ROWS(strategy.),
    F64(seconds, REQ, "seconds of one training step"),
    U64(peak_bytes, REQ, "bytes of the worst rank"),
};
#undef T
static const kp_schema plan_alternative =
    SCHEMA(kp_plan_alternative, plan_alternative_fields, "alternative", "another plan");

#define T kp_plan_lease
static const kp_field plan_lease_fields[] = {
    STR(id, REQ, "id of the lease"),
    U64(fence, REQ, "number that rises with every grant"),
    STR(expires, REQ, "when it ends, RFC 3339 in UTC"),
    ENUM(state, kp_lease_state_names, REQ, "state"),
};
#undef T
static const kp_schema plan_lease =
    SCHEMA(kp_plan_lease, plan_lease_fields, "lease", "the reservation of the plan's GPUs");

#define T kp_plan_verification
static const kp_field plan_verification_fields[] = {
    ENUM(verdict, kp_verdict_names, REQ, "what the checks say"),
    F64(covered, REQ, "share of weight bytes whose op and cut were checked"),
    U32(checks, REQ, "checks that were run"),
    STRS(not_covered, REQ, "ops that have no executor"),
    STR(at, NUL, "when, RFC 3339 in UTC"),
};
#undef T
static const kp_schema plan_verification =
    SCHEMA(kp_plan_verification, plan_verification_fields, "verification", "proof by running");

#define T kp_check_spec
static const kp_field check_spec_fields[] = {
    STR(layer, REQ, "first layer that has it"),
    ENUM(op, kp_op_names, REQ, "operation"),
    ENUM(cut, kp_cut_names, REQ, "how it is divided over the ranks"),
    DIMS(x, REQ, "shape of the input of one micro-batch"),
    DIMS(w, REQ, "shape of the weight; of rank 0 if there is none"),
    DIMS(y, REQ, "shape of the output"),
    U32_ARRAY(kernel, REQ, "window sizes of a convolution, 0 means 1"),
    U32_ARRAY(strides, REQ, "strides, 0 means 1"),
    U32_ARRAY(dilation, REQ, "dilation, 0 means 1"),
    BOOL(same_padding, REQ, "padded so that stride 1 keeps the size"),
    BOOL(channels_first, REQ, "whether channels are axis 1, not the last"),
    BOOL(bias, REQ, "whether a bias is added"),
    U32(groups, REQ, "groups of a convolution"),
    U32S(ranks, REQ, "ranks of the plan in the group's order"),
    U64(weight_bytes, REQ, "bytes of weights of all layers that this entry stands for"),
};
#undef T
const kp_schema kp_schema_check_spec =
    SCHEMA(kp_check_spec, check_spec_fields, "check_spec", "one op to check");

#define T kp_plan
static const kp_field plan_fields[] = {
    STR(id, REQ, "id of the plan, pl_..."),
    STR(created, OPT, "when it was stored, RFC 3339 in UTC; only once stored"),
    STRUCT(model, &plan_model, REQ, "the file"),
    STRUCT(cluster, &plan_cluster, REQ, "the inventory"),
    ENUM(target, kp_target_names, REQ, "framework that it is for"),
    U64(batch, REQ, "global batch in samples"),
    LIST(assumptions, &kp_schema_assumption, REQ, "what was assumed"),
    STRUCT(strategy, &kp_schema_strategy, REQ, "degrees and settings"),
    LIST(stages, &plan_stage, REQ, "pipeline stages in their order"),
    LIST(cuts, &plan_cut, REQ, "how each layer is cut"),
    LIST(ranks, &plan_rank, REQ, "one entry a rank"),
    STRUCT(step, &plan_step, REQ, "time of one training step"),
    STRUCT(bound, &plan_bound, REQ, "how good the plan is at least"),
    STRUCT(search, &plan_search, REQ, "how it was found"),
    LIST(alternatives, &plan_alternative, REQ, "other plans, the best first"),
    LIST(checks_todo, &kp_schema_check_spec, OPT, "what verification runs, an entry an op and cut"),
    U64(weight_bytes, OPT, "bytes of all weights: what covered is a share of"),
    PTR(lease, &plan_lease, OPT, "the reservation; only once stored"),
    STRUCT(verification, &plan_verification, REQ, "what verification said"),
};
#undef T
const kp_schema kp_schema_plan =
    SCHEMA(kp_plan, plan_fields, "kplan.plan/1", "a model placed on a cluster");

#define T kp_plan_row
static const kp_field plan_row_fields[] = {
    STR(id, REQ, "id of the plan"),
    STR(created, NUL, "when it was stored, RFC 3339 in UTC"),
    STR(model, NUL, "the model's name"),
    STRUCT(strategy, &kp_schema_strategy, REQ, "degrees and settings"),
    STR(state, REQ, "stored, held, released, ..."),
    U64(peak_bytes, REQ, "bytes of the worst rank"),
    F64(seconds, REQ, "seconds of one training step"),
};
#undef T
static const kp_schema plan_row = SCHEMA(kp_plan_row, plan_row_fields, "plan", "one plan");

#define T kp_plans
static const kp_field plans_fields[] = {
    LIST(plans, &plan_row, REQ, "plans, the newest first"),
};
#undef T
const kp_schema kp_schema_plans = SCHEMA(kp_plans, plans_fields, "kplan.plans/1", "stored plans");

#define T kp_check
static const kp_field check_fields[] = {
    STR(layer, REQ, "first layer that has the op"),
    ENUM(op, kp_op_names, REQ, "operation"),
    ENUM(cut, kp_cut_names, REQ, "how it is divided"),
    ENUM(direction, kp_direction_names, REQ, "pass that was run"),
    ENUM(grade, kp_grade_names, REQ, "how results are compared"),
    U32(ranks, REQ, "ranks that took part"),
    ENUM(state, kp_check_state_names, REQ, "result"),
    F64(error, NUL, "largest difference to the uncut layer"),
    F64(bound, NUL, "largest difference that is allowed"),
    F64(seconds, NUL, "seconds that it took"),
    U64(peak_bytes_measured, NUL, "bytes that the worst rank had"),
    U64(peak_bytes_predicted, NUL, "bytes that were predicted for it"),
    STR(message, NUL, "what went wrong"),
};
#undef T
const kp_schema kp_schema_check = SCHEMA(kp_check, check_fields, "check", "one check");

#define T kp_verdict
static const kp_field verdict_fields[] = {
    STR(plan, REQ, "id of the plan"),
    ENUM(verdict, kp_verdict_names, REQ, "what the checks say"),
    F64(covered, REQ, "share of weight bytes whose op and cut were checked"),
    STR(shapes, REQ, "full, or reduced so that the checks are quick"),
    ENUM(executor, kp_executor_names, REQ, "where the ops ran"),
    LIST(checks, &kp_schema_check, REQ, "checks in the plan's order"),
};
#undef T
const kp_schema kp_schema_verdict =
    SCHEMA(kp_verdict, verdict_fields, "kplan.verdict/1", "what verification found");
