/* SPDX-License-Identifier: MIT
 *
 * Field tables: where the memory of a training step goes (explain). */
#include "proto/messages.h"
#include "proto/rows.h"

/* ---- explain ---- */

#define T kp_explain_device
static const kp_field explain_device_fields[] = {
    STR(gpu, NUL, "kind of the GPU; null: only its memory was given"),
    U64(total_bytes, REQ, "bytes of the device"),
    U64(usable_bytes, REQ, "bytes less what the driver reserves"),
};
#undef T
static const kp_schema explain_device =
    SCHEMA(kp_explain_device, explain_device_fields, "device", "the device that it must fit on");

#define T kp_explain_peak
static const kp_field explain_peak_fields[] = {
    U64(bytes, REQ, "bytes at the peak: the sum of by_category"),
    U64(low_bytes, REQ, "lower bound of the peak"),
    U64(high_bytes, REQ, "upper bound of the peak"),
    U64(allocated_bytes, NUL, "bytes that the framework's allocator hands out at the peak"),
    U64(allocated_low_bytes, NUL, "its low bound"),
    U64(allocated_high_bytes, NUL, "its high bound"),
    U64(reserved_bytes, NUL, "the same with the allocator's segments"),
    U64(reserved_low_bytes, NUL, "its low bound"),
    U64(reserved_high_bytes, NUL, "its high bound"),
    STR(phase, NUL, "phase of the step: forward, backward, ..."),
    STR(layer, NUL, "layer that runs at the peak"),
    STR(op, NUL, "its operation"),
};
#undef T
static const kp_schema explain_peak =
    SCHEMA(kp_explain_peak, explain_peak_fields, "peak", "the moment with most memory");

#define T kp_explain_phase
static const kp_field explain_phase_fields[] = {
    STR(name, REQ, "name of the phase"),
    U64(peak_bytes, REQ, "most device bytes during it"),
    U64(allocated_bytes, NUL, "of them handed out by the framework's allocator"),
    U64(host_bytes, NUL, "host bytes during it, of all ranks on one node"),
    ENUM(verdict, kp_fit_names, OPT, "whether this phase alone fits on the device"),
    STR(note, NUL, "what is special about it"),
};
#undef T
static const kp_schema explain_phase =
    SCHEMA(kp_explain_phase, explain_phase_fields, "phase", "a part of the training step");

#define T kp_explain_stage
static const kp_field explain_stage_fields[] = {
    U32(stage, REQ, "its number, from 0"),
    U32(dp, REQ, "ranks that its samples are divided over"),
    U32(tp, REQ, "ranks that its tensors are divided over"),
    U32(in_flight, REQ, "micro-batches whose kept activations live at once"),
    STR(first_layer, NUL, "first layer that runs on it"),
    STR(last_layer, NUL, "last layer that runs on it"),
    U64(peak_bytes, REQ, "device bytes at its peak"),
    U64(allocated_bytes, REQ, "bytes that the framework's allocator hands out at the peak"),
    U64(allocated_low_bytes, REQ, "its low bound"),
    U64(allocated_high_bytes, REQ, "its high bound"),
    U64(reserved_bytes, REQ, "the same with the allocator's segments"),
    U64(reserved_low_bytes, REQ, "its low bound"),
    U64(reserved_high_bytes, REQ, "its high bound"),
    U64(steady_bytes, REQ,
        "allocated when the gradients are there and nothing else: weights, gradients, slots, "
        "workspaces"),
    U64(steady_low_bytes, REQ, "its low bound"),
    U64(steady_high_bytes, REQ, "its high bound"),
    U64(kept_bytes, REQ, "allocated beyond the states when the last forward pass ends"),
    U64(kept_low_bytes, REQ, "its low bound"),
    U64(kept_high_bytes, REQ, "its high bound"),
};
#undef T
static const kp_schema explain_stage =
    SCHEMA(kp_explain_stage, explain_stage_fields, "stage", "one stage of the pipeline");

#define T kp_explain_collective
static const kp_field explain_collective_fields[] = {
    STR(op, REQ, "all_reduce, all_gather, reduce_scatter, send or all_to_all"),
    U64(bytes, REQ, "bytes of one result on one device"),
    U64(count, REQ, "how many a step has"),
    STR(what, REQ, "gradients (of weights), activations (their gradients too) or weights"),
};
#undef T
static const kp_schema explain_collective =
    SCHEMA(kp_explain_collective, explain_collective_fields, "collective",
           "what the rank that needs most exchanges with others");

#define T kp_explain_layer
static const kp_field explain_layer_fields[] = {
    STR(name, REQ, "name in the file"),
    STR_AS("class", class_name, REQ, "Keras class"),
    U64(weights_bytes, REQ, "bytes of its weights"),
    U64(gradients_bytes, REQ, "bytes of their gradients"),
    U64(optimizer_bytes, REQ, "bytes of their optimizer slots"),
    U64(activations_bytes, REQ, "bytes it keeps for the backward pass"),
    F64(share, REQ, "share of the sum over all layers"),
};
#undef T
static const kp_schema explain_layer =
    SCHEMA(kp_explain_layer, explain_layer_fields, "layer", "what one layer holds");

#define T kp_explain_tensor
static const kp_field explain_tensor_fields[] = {
    STR(layer, NUL, "layer that writes it"),
    STR(op, NUL, "operation that writes it"),
    STR(what, REQ, "kernel, output, gradient, slot 1 of kernel, ..."),
    DIMS(shape, REQ, "shape"),
    STR(dtype, REQ, "element type"),
    U64(bytes, REQ, "bytes"),
};
#undef T
static const kp_schema explain_tensor =
    SCHEMA(kp_explain_tensor, explain_tensor_fields, "tensor", "a tensor alive at the peak");

#define T kp_explain_culprit
static const kp_field explain_culprit_fields[] = {
    STR(rule, REQ, "rule that found it"),
    STR(layer, NUL, "layer to blame"),
    STR(message, REQ, "what is large, and why"),
    U64(bytes, REQ, "bytes it explains"),
    F64(share, REQ, "share of the sum over all layers"),
    U32(alike, OPT, "layers of the same class that hold as much, this one among them"),
    U64(all_bytes, OPT, "bytes of them together"),
};
#undef T
static const kp_schema explain_culprit =
    SCHEMA(kp_explain_culprit, explain_culprit_fields, "culprit", "what makes the model big");

#define T kp_explain_remedy
static const kp_field explain_remedy_fields[] = {
    STR(rule, REQ, "rule that proposes it"),
    STR(layer, NUL, "layer that changes"),
    STR(change, REQ, "the change, as an option where there is one"),
    STR(message, REQ, "what it does and costs"),
    STR(code, NUL, "the line that does it in the framework's own words"),
    U64(saves_bytes, REQ, "bytes that the peak falls by, from a second run"),
    U64(peak_after_bytes, REQ, "bytes at the peak after the change"),
    BOOL(fits_after, REQ, "whether the device is large enough then"),
    ENUM(verdict_after, kp_fit_names, OPT, "whether it fits then, or only just"),
    U64(host_saves_bytes, OPT, "bytes that the need of a node's host falls by"),
    U64(host_after_bytes, OPT, "host bytes of a node after the change"),
    U32(gpus_after, OPT, "GPUs that it takes"),
    STR(confidence, REQ, "high, medium or low"),
};
#undef T
static const kp_schema explain_remedy =
    SCHEMA(kp_explain_remedy, explain_remedy_fields, "remedy", "what would make it smaller");

#define T kp_explain_step
static const kp_field explain_step_fields[] = {
    STR(rule, REQ, "rule that proposes it"),
    STR(change, REQ, "the change, on top of those before"),
    U64(peak_bytes, REQ, "bytes at the peak after all of them"),
    ENUM(verdict, kp_fit_names, REQ, "whether it fits then"),
};
#undef T
static const kp_schema explain_step =
    SCHEMA(kp_explain_step, explain_step_fields, "step", "remedies one on top of the other");

#define T kp_host_part
static const kp_field host_part_fields[] = {
    STR(name, REQ, "what holds host memory"),
    U64(bytes, REQ, "its bytes"),
};
#undef T
static const kp_schema host_part =
    SCHEMA(kp_host_part, host_part_fields, "part", "a part of the host's memory");

#define T kp_explain_host
static const kp_field explain_host_fields[] = {
    U64(peak_bytes, REQ, "most host bytes of the process"),
    MAP(parts, &host_part, REQ, "bytes by part"),
};
#undef T
static const kp_schema explain_host =
    SCHEMA(kp_explain_host, explain_host_fields, "host", "memory of the host");

/* ---- explain: further questions ---- */

#define T kp_explain_match
static const kp_field explain_match_fields[] = {
    STR(layer, NUL, "layer whose tensor it is"),
    STR(what, REQ, "output, kernel, all parameters, ..."),
    STR(phase, NUL, "phase in which it was asked for"),
    DIMS(shape, REQ, "shape as the model has it, with that batch"),
    U64(bytes, REQ, "bytes"),
    U64(batch, NUL, "samples at once that make it so"),
    STR(says, REQ, "what it proves"),
};
#undef T
static const kp_schema explain_match =
    SCHEMA(kp_explain_match, explain_match_fields, "match", "a tensor that the message means");

#define T kp_explain_message
static const kp_field explain_message_fields[] = {
    STR(from, REQ, "who wrote the message: TensorFlow, XLA, torch, ..."),
    STRS(asked, REQ, "what it asks for, in words"),
    U64(total_bytes, NUL, "bytes of the card, as the message says"),
    U64(allocated_bytes, NUL, "bytes that were allocated, as it says"),
    U64(reserved_bytes, NUL, "bytes that were reserved, as it says"),
    U64(free_bytes, NUL, "bytes that were free, as it says"),
    STR(says, REQ, "what the message means as a whole"),
    LIST(matches, &explain_match, REQ, "tensors of the model that it means, the surest first"),
};
#undef T
static const kp_schema explain_message =
    SCHEMA(kp_explain_message, explain_message_fields, "message", "an out-of-memory message read");

#define T kp_explain_largest
static const kp_field explain_largest_fields[] = {
    STR(what, REQ, "batch, seq or INPUT:AXIS"),
    U64(value, REQ, "largest whose expected peak the device holds; 0: none"),
    U64(low, REQ, "largest that fits for sure; 0: none"),
    U64(high, REQ, "largest that may fit; 0: none"),
    U64(step, REQ, "only such multiples can be"),
    STR(says, REQ, "what decides"),
};
#undef T
static const kp_schema explain_largest =
    SCHEMA(kp_explain_largest, explain_largest_fields, "largest", "the largest value that fits");

#define T kp_explain_versus
static const kp_field explain_versus_fields[] = {
    STR(model, NUL, "the other model's name"),
    ENUM(verdict, kp_fit_names, REQ, "whether its step fits on the device"),
    STRUCT(peak, &explain_peak, REQ, "its moment with most memory"),
    STRUCT(by_category, &kp_schema_categories, REQ, "its peak by category"),
    LIST(phases, &explain_phase, REQ, "parts of its step in their order"),
    U64(parameters, REQ, "its parameters"),
    U64_AS("layers", n_layers, REQ, "its layers, those without memory too"),
    {.name = "largest_layers", .type = KP_F_LIST, .flags = REQ,
     .offset = KP_ROW_SIZED(layers, sizeof(void *)),
     .count_offset = KP_ROW_OFFSET(n_layers_shown, uint32_t), .sub = &explain_layer,
     .doc = "its layers that hold most"},
    STRS(reasons, REQ, "why the two differ"),
};
#undef T
static const kp_schema explain_versus =
    SCHEMA(kp_explain_versus, explain_versus_fields, "versus", "another model, same options");

#define T kp_explain_hand
static const kp_field explain_hand_fields[] = {
    U64(parameters_x4_bytes, REQ, "parameters in float32"),
    U64(outputs_plus_weights_bytes, REQ, "each layer's output once, and the weights"),
    STR(says, REQ, "what these miss"),
};
#undef T
static const kp_schema explain_hand =
    SCHEMA(kp_explain_hand, explain_hand_fields, "hand", "what arithmetic by hand says");

#define T kp_explain_not_cause
static const kp_field explain_not_cause_fields[] = {
    STR(what, REQ, "what is often blamed"),
    STR(layer, NUL, "its layer"),
    STR(message, REQ, "how little it is"),
    U64(bytes, REQ, "bytes of it"),
    F64(share, REQ, "share of the peak"),
};
#undef T
static const kp_schema explain_not_cause =
    SCHEMA(kp_explain_not_cause, explain_not_cause_fields, "not_cause", "what is not the cause");

#define T kp_explain
static const kp_field explain_fields[] = {
    STR(model, NUL, "the model's name"),
    LIST(assumptions, &kp_schema_assumption, REQ, "what was assumed, the framework first"),
    ENUM(verdict, kp_fit_names, REQ, "whether the step fits on the device"),
    STRUCT(device, &explain_device, REQ, "the device"),
    STRUCT(peak, &explain_peak, REQ, "the moment with most memory"),
    STRUCT(by_category, &kp_schema_categories, REQ, "the peak by category"),
    LIST(phases, &explain_phase, REQ, "parts of the step in their order"),
    LIST(stages, &explain_stage, REQ, "stages of the pipeline, one without it"),
    LIST(collectives, &explain_collective, OPT,
         "what that rank exchanges in a step, what moves most first"),
    LIST(layers, &explain_layer, REQ, "what each layer holds, the largest first"),
    LIST(peak_tensors, &explain_tensor, REQ, "tensors alive at the peak, the largest first"),
    LIST(culprits, &explain_culprit, REQ, "what makes the model big, the largest first"),
    LIST(remedies, &explain_remedy, REQ, "what would make it smaller"),
    LIST(together, &explain_step, OPT, "remedies one on top of the other, until it fits"),
    STRS(not_covered, OPT, "what no planner can know, or nobody told"),
    STRUCT(hand_arithmetic, &explain_hand, REQ, "what the usual arithmetic by hand says"),
    LIST(not_the_cause, &explain_not_cause, REQ, "what is often blamed, and is not the cause"),
    PTR(largest, &explain_largest, OPT, "with --largest"),
    PTR(message, &explain_message, OPT, "with --error"),
    PTR(versus, &explain_versus, OPT, "with --versus"),
    STRUCT(host, &explain_host, REQ, "memory of the host"),
    STR(confidence, REQ, "high, medium or low"),
    LIST(warnings, &kp_schema_warning, REQ, "what to know"),
};
#undef T
const kp_schema kp_schema_explain =
    SCHEMA(kp_explain, explain_fields, "kplan.explain/1", "memory of one training step");
