/* SPDX-License-Identifier: MIT
 *
 * Field tables: what the user asked for, and how it failed. */
#include "proto/messages.h"
#include "proto/rows.h"

#define T kp_opt_dim
static const kp_field opt_dim_fields[] = {
    STR(input, OPT, "name of the input; missing: every open dimension"),
    U32(axis, REQ, "axis of the input, 0 is the batch"),
    U64(size, REQ, "size that the dimension gets"),
};
#undef T
static const kp_schema opt_dim =
    SCHEMA(kp_opt_dim, opt_dim_fields, "dim", "a value for an open dimension");

#define T kp_options
static const kp_field options_fields[] = {
    U64(batch, OPT, "global batch in samples; missing: 32"),
    U64(seq, OPT, "sequence length"),
    LIST(dims, &opt_dim, OPT, "values for open dimensions"),
    STR(optimizer, OPT, "optimizer; missing: the file's, else adam"),
    STR(loss, OPT, "loss; missing: the file's, else from the last layer"),
    STR(dtype_policy, OPT, "Keras's dtype policy; missing: the file's"),
    ENUM(framework, kp_framework_names, OPT, "who runs the training step"),
    ENUM(rnn, kp_rnn_mode_names, OPT, "how recurrent layers run"),
    U32(grad_accum, OPT, "steps whose gradients are added up; missing: 1"),
    U64(samples, OPT, "samples in the data set"),
    ENUM(data, kp_data_mode_names, OPT, "where the data set is kept"),
    ENUM(labels, kp_labels_names, OPT, "how labels are coded"),
    STR(layers_spec, OPT, "JSON text that describes custom layers"),
    STR(gpu, OPT, "kind of the GPU, a name of configs/gpus.json"),
    U64(memory_bytes, OPT, "bytes of one device, instead of a kind"),
    BOOL(preallocate, OPT, "JAX takes 75 % of the memory at its start"),
    U32(dp, OPT, "data-parallel degree; missing: searched"),
    U32(tp, OPT, "tensor-parallel degree; missing: searched"),
    U32(pp, OPT, "pipeline stages; missing: searched"),
    U32(micro_batch, OPT, "samples of a micro-batch; missing: searched"),
    U32(zero, OPT, "ZeRO stage, 0 to 3; missing: searched"),
    U32(interleave, OPT, "stages a rank has in an interleaved pipeline; missing: searched"),
    ENUM(schedule, kp_schedule_names, OPT, "order of the micro-batches in the pipeline"),
    ENUM(recompute, kp_recompute_names, OPT, "which activations are computed again"),
    ENUM(target, kp_target_names, OPT, "framework that the plan is for"),
    ENUM(objective, kp_objective_names, OPT, "what the best plan has least of"),
    F64(deadline_s, OPT, "seconds that the search may take"),
};
#undef T
const kp_schema kp_schema_options =
    SCHEMA(kp_options, options_fields, "options", "what the user asked for");

#define T kp_refusal_binding
static const kp_field binding_fields[] = {
    U32(stage, REQ, "pipeline stage that does not fit"),
    STR(layer, NUL, "layer that holds most there"),
    U64(peak_bytes, REQ, "bytes that its worst rank needs"),
    U64(usable_bytes, REQ, "bytes that the rank has"),
    STRUCT(bytes, &kp_schema_categories, REQ, "the peak by category"),
};
#undef T
static const kp_schema binding =
    SCHEMA(kp_refusal_binding, binding_fields, "binding", "what does not fit");

#define T kp_refusal_change
static const kp_field change_fields[] = {
    STR(change, REQ, "an option or a change of the model, \"--recompute full\""),
    U64(peak_bytes, REQ, "bytes of the worst rank after the change"),
    BOOL(fits, REQ, "whether a plan is found with it"),
};
#undef T
static const kp_schema change =
    SCHEMA(kp_refusal_change, change_fields, "change", "what would change the answer");

#define T kp_refusal
static const kp_field refusal_fields[] = {
    STRUCT(binding, &binding, REQ, "the limit that no plan keeps"),
    LIST(changes, &change, REQ, "changes that were tried; those that fit first"),
};
#undef T
const kp_schema kp_schema_refusal =
    SCHEMA(kp_refusal, refusal_fields, "refusal", "why there is no plan");

#define T kp_error_body
static const kp_field error_body_fields[] = {
    STR(code, REQ, "status, as in the table of exit codes"),
    STR(message, REQ, "what failed"),
    STR(where, OPT, "place, the outermost first"),
    STR(hint, OPT, "next step"),
    PTR(details, &kp_schema_refusal, OPT, "why there is no plan; only with INFEASIBLE"),
};
#undef T
static const kp_schema error_body =
    SCHEMA(kp_error_body, error_body_fields, "error", "one failure");

#define T kp_error_msg
static const kp_field error_fields[] = {
    STRUCT(error, &error_body, REQ, "the failure"),
};
#undef T
const kp_schema kp_schema_error =
    SCHEMA(kp_error_msg, error_fields, "kplan.error/1", "a failed command");
