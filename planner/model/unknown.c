/* SPDX-License-Identifier: MIT
 *
 * What the file itself says of shapes: the answer for classes without a rule and for Lambda, whose
 * code is never looked at, and a check on the rules for all others. */
#include "planner/model/custom.h"
#include "planner/model/stored.h"
#include <inttypes.h>

static int by_output(const void *a, const void *b)
{
    const kp_said *x = a, *y = b;
    if (x->call != y->call) return x->call < y->call ? -1 : 1;
    if (x->tensor != y->tensor) return x->tensor < y->tensor ? -1 : 1;
    return x->seen < y->seen ? -1 : x->seen > y->seen;
}

void kp_spec_sort_said(kp_spec_layer *layer)
{
    uint32_t n = 0;
    if (layer->n_said > 1) qsort(layer->said, layer->n_said, sizeof(kp_said), by_output);
    for (uint32_t i = 0; i < layer->n_said; i++) {
        const kp_said *last = n ? &layer->said[n - 1] : NULL;
        if (last && last->call == layer->said[i].call && last->tensor == layer->said[i].tensor)
            continue;
        layer->said[n++] = layer->said[i];
    }
    layer->n_said = n;
}

/* The first that is not before (call, tensor). */
static uint32_t lower_bound(const kp_spec_layer *layer, uint32_t call, uint32_t tensor)
{
    uint32_t from = 0, to = layer->n_said;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        const kp_said *at = &layer->said[mid];
        if (at->call < call || (at->call == call && at->tensor < tensor)) from = mid + 1;
        else to = mid;
    }
    return from;
}

const kp_said *kp_spec_said(const kp_spec_layer *layer, uint32_t call, uint32_t tensor)
{
    uint32_t at = lower_bound(layer, call, tensor);
    const kp_said *said = at < layer->n_said ? &layer->said[at] : NULL;
    return said && said->call == call && said->tensor == tensor ? said : NULL;
}

/* The file's shape as the tensors of this reading have it: batch and, where it is open, what the
 * first input has at the same place (token ids become rows of an embedding: one axis more). */
static kp_shape adopt(const kp_rule *rule, kp_shape said)
{
    if (!rule->x[0].rank || !said.rank) return said;
    kp_shape x = rule->x[0];
    said.dim[0] = x.dim[0];
    said.per_sample = x.per_sample & 1;
    for (unsigned i = 1; i < said.rank && i < x.rank; i++)
        if (said.dim[i] == KP_DIM_OPEN) said.dim[i] = x.dim[i];
    return said;
}

/* What the layer keeps for the backward pass, if the user says it: bytes that something makes of the
 * input and its output needs. Else *ret is the first input. */
static kp_status emit_kept(kp_rule *rule, const kp_custom *custom, uint32_t *ret)
{
    *ret = rule->in[0];
    if (!custom || !custom->has_kept || !custom->kept_bytes) return KP_OK;
    kp_shape x = rule->x[0], kept = {.rank = 2, .per_sample = x.per_sample & 1, .dim = {x.dim[0]}};
    kept.dim[1] = custom->kept_bytes;
    kp_new_op op = {.op = KP_OP_REDUCE, .part = "kept", .in = rule->in, .n_in = rule->n_in,
                    .out = kept, .has_dtype = true, .dtype = KP_INT8};
    return kp_rule_op(rule, &op, ret);
}

/* One output. An op of which nothing is kept is a linear one. */
static kp_status emit_output(kp_rule *rule, const kp_custom *custom, kp_shape shape, kp_dtype dtype)
{
    bool nothing = custom && custom->has_kept && !custom->kept_bytes;
    uint32_t *in = KP_NEW(rule->arena, uint32_t, rule->n_in), out;
    if (!in) return kp_nomem(rule->err);
    memcpy(in, rule->in, rule->n_in * sizeof(*in));
    KP_TRY(emit_kept(rule, rule->n_out ? NULL : custom, &in[0]));
    kp_new_op op = {.op = nothing ? KP_OP_RESCALE : KP_OP_OPAQUE, .in = in, .n_in = rule->n_in,
                    .out = shape, .has_dtype = true, .dtype = dtype};
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}

/* Outputs 0 .. n - 1 of this call if the file has all of them, else 0. */
static uint32_t count_said(const kp_spec_layer *spec, uint32_t call)
{
    uint32_t first = lower_bound(spec, call, 0), n = 0;
    while (first + n < spec->n_said && spec->said[first + n].call == call &&
           spec->said[first + n].tensor == n)
        n++;
    bool gap = first + n < spec->n_said && spec->said[first + n].call == call;
    return gap ? 0 : n;
}

static bool is_lambda(const kp_spec_layer *spec)
{
    return !strcmp(spec->class_name, "Lambda");
}

/* Lambda may say its shape, without the batch. */
static bool lambda_shape(const kp_rule *rule, const kp_spec_layer *spec, kp_shape *ret)
{
    json_t *list = kp_json_list(json_object_get(json_object_get(spec->json, "config"),
                                                "output_shape"));
    size_t n = json_array_size(list);
    if (!n || n >= KP_RANK_MAX) return false;
    kp_shape y = {.rank = (uint8_t)(n + 1), .per_sample = 1, .dim = {1}};
    for (unsigned i = 0; i < n; i++) {
        json_t *item = json_array_get(list, i);
        int64_t v = json_is_null(item) ? KP_DIM_OPEN : json_integer_value(item);
        if (!json_is_null(item) && (!json_is_integer(item) || v < 1)) return false;
        y.dim[i + 1] = v;
    }
    *ret = adopt(rule, y);
    return true;
}

/* ---- refusals ---- */

/* Layers that hand over to code which no file holds. */
static bool is_portal(const char *class_name)
{
    static const char *const names[] = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"};
    for (size_t i = 0; i < KP_LEN(names); i++)
        if (!strcmp(class_name, names[i])) return true;
    return false;
}

/* Classes of which every layer is something else: the layer's name tells it. */
static bool is_general(const char *class_name)
{
    static const char *const names[] = {"Lambda", "SlicingOpLambda", "TFOpLambda",
                                        "TensorFlowOpLayer"};
    for (size_t i = 0; i < KP_LEN(names); i++)
        if (!strcmp(class_name, names[i])) return true;
    return is_portal(class_name);
}

static kp_status refuse(const kp_rule *rule, const kp_spec_layer *spec)
{
    bool lambda = is_lambda(spec);
    if (lambda)
        kp_fail(rule->err, KP_UNSUPPORTED, "a Lambda without 'output_shape' could make anything");
    else if (is_portal(spec->class_name))
        kp_fail(rule->err, KP_UNSUPPORTED, "'%s' runs code of another framework, which is in no file",
                spec->class_name);
    else
        kp_fail(rule->err, KP_UNSUPPORTED, "class '%.60s' is not known, and nothing in the file says "
                "what it makes", spec->class_name);
    kp_hint(rule->err, "say it in a file for --layers: {\"%.60s\": {\"output_shape\": \"same\", "
            "\"params\": 0}}, where a shape may stand as [null, 64]",
            is_general(spec->class_name) ? spec->name : spec->class_name);
    return KP_UNSUPPORTED;
}

/* ---- outputs: the user's word, the file's, the configuration's ---- */

static kp_dtype dtype_of(const kp_rule *rule, const kp_spec_layer *spec, uint32_t call, uint32_t i)
{
    const kp_said *said = kp_spec_said(spec, call, i);
    return said ? said->dtype : rule->compute;
}

static kp_status run_custom(kp_rule *rule, const kp_spec_layer *spec, const kp_custom *custom,
                            uint32_t call)
{
    if (custom->same) return emit_output(rule, custom, rule->x[0], dtype_of(rule, spec, call, 0));
    for (uint32_t i = 0; i < custom->n_shapes; i++)
        KP_TRY(emit_output(rule, custom, adopt(rule, custom->shapes[i]),
                           dtype_of(rule, spec, call, i)));
    return KP_OK;
}

static kp_status run_said(kp_rule *rule, const kp_spec_layer *spec, const kp_custom *custom,
                          uint32_t call, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const kp_said *said = kp_spec_said(spec, call, i);
        KP_TRY(emit_output(rule, custom, adopt(rule, said->shape), said->dtype));
    }
    return KP_OK;
}

/* Keras 3 leaves the shape of a last Lambda out when it is the input's. */
static bool is_keras_3(const kp_spec_layer *spec)
{
    return json_object_get(spec->json, "module") != NULL;
}

static kp_status run_lambda(kp_rule *rule, const kp_spec_layer *spec, const kp_custom *custom)
{
    kp_shape shape;
    if (lambda_shape(rule, spec, &shape)) return emit_output(rule, custom, shape, rule->compute);
    if (!is_keras_3(spec)) return refuse(rule, spec);
    KP_TRY(kp_rule_warn(rule, "assumed-shape", "the Lambda does not say its output shape: taken to "
                        "be its input's, %s", kp_shape_text(rule->x[0], 0).s));
    return emit_output(rule, custom, rule->x[0], rule->compute);
}

/* ---- what was assumed ---- */

static kp_status warn_unknown(kp_rule *rule, const kp_spec_layer *spec, const kp_custom *custom)
{
    if (!rule->first) return KP_OK;
    if (custom) {
        bool known = custom->has_params || rule->n_weights;
        rule->build->low_confidence = rule->build->low_confidence || !known;
        return kp_rule_warn(rule, "layers-entry", "counted as --layers says: %s, %s",
                            custom->has_params ? "its parameters"
                            : known ? "its weights as the file has them" : "no parameters",
                            custom->has_kept ? "what it keeps for the backward pass"
                                             : "its input kept for the backward pass");
    }
    rule->build->low_confidence = true;
    if (is_lambda(spec))
        return kp_rule_warn(rule, "lambda", "the code of a Lambda is not looked at: its output is "
                            "counted, what it computes inside is not");
    if (rule->n_weights)
        return kp_rule_warn(rule, "unknown-layer", "class '%s' is not known: its output and its %" PRIu32
                            " weights are counted as the file gives them, its inner values are not; "
                            "--layers can say them", spec->class_name, rule->n_weights);
    return kp_rule_warn(rule, "unknown-layer", "class '%s' is not known: its output is counted as "
                        "the file gives it, its weights and inner values are not; --layers can say "
                        "them", spec->class_name);
}

/* The user's word on weights, else the container's. */
static kp_status declare_weights(kp_rule *rule, const kp_custom *custom)
{
    rule->first_weight = rule->cursor;
    if (!custom || !custom->has_params) return kp_stored_declare(rule);
    if (custom->params)
        KP_TRY(kp_rule_weight(rule, "weights", KP_ROLE_KERNEL, kp_dims(1, &custom->params), true));
    rule->n_weights = rule->cursor - rule->first_weight;
    return KP_OK;
}

static kp_status run_unknown(kp_rule *rule, const kp_spec_layer *spec, uint32_t call)
{
    const kp_custom *custom = kp_customs_find(rule->build, spec);
    uint32_t n = count_said(spec, call);
    if (!rule->n_in) return kp_fail(rule->err, KP_INPUT, "it is called without an input");
    KP_TRY(declare_weights(rule, custom));
    if (custom && (custom->same || custom->n_shapes))
        KP_TRY(run_custom(rule, spec, custom, call));
    else if (n)
        KP_TRY(run_said(rule, spec, custom, call, n));
    else if (is_lambda(spec))
        KP_TRY(run_lambda(rule, spec, custom));
    else
        return refuse(rule, spec);
    if (rule->n_weights) KP_TRY(kp_stored_attach(rule, rule->out[0]));
    return warn_unknown(rule, spec, custom);
}

kp_status kp_rule_run_or_adopt(kp_rule *rule, const kp_spec_layer *spec, uint32_t call)
{
    if (!spec->row) return run_unknown(rule, spec, call);
    kp_status status = kp_rule_run(rule);
    bool can = kp_row_is_math(spec->row) && !rule->n_y && count_said(spec, call);
    return status == KP_UNSUPPORTED && can ? run_unknown(rule, spec, call) : status;
}

/* True if no axis has two different known sizes. Axis 0 is the batch. */
static bool agree(kp_shape a, kp_shape b)
{
    if (a.rank != b.rank) return false;
    for (unsigned i = 1; i < a.rank; i++)
        if (a.dim[i] != b.dim[i] && a.dim[i] != KP_DIM_OPEN && b.dim[i] != KP_DIM_OPEN)
            return false;
    return true;
}

kp_status kp_rule_compare(kp_rule *rule, const kp_spec_layer *spec, uint32_t call)
{
    for (uint32_t i = 0; i < rule->n_out && rule->first; i++) {
        const kp_said *said = kp_spec_said(spec, call, i);
        kp_shape ours = kp_rule_shape(rule, rule->out[i]);
        if (!said || agree(ours, said->shape)) continue;
        KP_TRY(kp_rule_warn(rule, "shape-differs", "its output is %s by its configuration, but the "
                            "file says %s", kp_shape_text(ours, 0).s,
                            kp_shape_text(said->shape, 0).s));
    }
    return KP_OK;
}
