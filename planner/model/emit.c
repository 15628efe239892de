/* SPDX-License-Identifier: MIT
 *
 * What rules call: ops, weights and shapes are appended to the growing graph, each checked. */
#include "planner/model/build.h"
#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* Work an output element of ops whose work is not a product. A normalisation takes mean, variance,
 * two subtractions and a scaling; a softmax maximum, difference, exponential, sum and quotient. */
static const uint8_t elem_flops[KP_OP_COUNT] = {
    [KP_OP_BIAS_ADD] = 1,  [KP_OP_RELU] = 1,      [KP_OP_ACT] = 1,     [KP_OP_SOFTMAX] = 5,
    [KP_OP_BATCHNORM] = 5, [KP_OP_LAYERNORM] = 5, [KP_OP_RMSNORM] = 4, [KP_OP_GROUPNORM] = 5,
    [KP_OP_SCALE] = 1,     [KP_OP_DROPOUT] = 1,   [KP_OP_MUL] = 1,     [KP_OP_MAXMIN] = 1,
    [KP_OP_MATH] = 1,      [KP_OP_ADD] = 1,       [KP_OP_RESCALE] = 2, [KP_OP_LOSS] = 1,
};

double kp_elems(kp_shape shape)
{
    return kp_shape_known(shape) ? (double)kp_shape_elems(shape, 1) : (double)NAN;
}

kp_shape kp_dims(unsigned rank, const int64_t *dim)
{
    kp_shape shape = {.rank = (uint8_t)rank};
    for (unsigned i = 0; i < rank; i++) shape.dim[i] = dim[i];
    return shape;
}

kp_shape kp_shape_with(kp_shape shape, unsigned axis, int64_t dim)
{
    shape.dim[axis] = dim;
    return shape;
}

int64_t kp_dim_mul(int64_t a, int64_t b)
{
    if (a == KP_DIM_OPEN || b == KP_DIM_OPEN) return KP_DIM_OPEN;
    uint64_t r = kp_mul_u64((uint64_t)a, (uint64_t)b);
    return r > INT64_MAX ? INT64_MAX : (int64_t)r;
}

kp_status kp_axis(const kp_rule *rule, int64_t axis, unsigned rank, unsigned *ret)
{
    int64_t at = axis < 0 ? axis + (int64_t)rank : axis;
    if (at < 0 || at >= (int64_t)rank)
        return kp_fail(rule->err, KP_INPUT, "axis %" PRId64 " is none of a tensor with %u axes",
                       axis, rank);
    *ret = (unsigned)at;
    return KP_OK;
}

kp_shape kp_rule_shape(const kp_rule *rule, uint32_t tensor)
{
    return rule->build->tensors[tensor].shape;
}

kp_dtype kp_rule_dtype(const kp_rule *rule, uint32_t tensor)
{
    return rule->build->tensors[tensor].dtype;
}

kp_shape kp_rule_weight_shape(const kp_rule *rule, uint32_t weight)
{
    return rule->build->weights[weight].shape;
}

kp_status kp_want_rank(const kp_rule *rule, uint32_t i, unsigned rank)
{
    if (rule->x[i].rank == rank) return KP_OK;
    return kp_fail(rule->err, KP_INPUT, "'%s' takes inputs with %u axes, got %s",
                   rule->row->class_name, rank, kp_shape_text(rule->x[i], 0).s);
}

static kp_status check_shape(const kp_rule *rule, kp_shape shape)
{
    for (unsigned i = 0; i < shape.rank; i++) {
        if (shape.dim[i] >= KP_DIM_OPEN && shape.dim[i] <= KP_DIM_MAX) continue;
        return kp_fail(rule->err, KP_INPUT, "axis %u of its output would be %" PRId64
                       ", past the limit of 2^40", i, shape.dim[i]);
    }
    if (kp_shape_known(shape) && !kp_size_ok(kp_mul_u64(kp_shape_elems(shape, 1), 8)))
        return kp_fail(rule->err, KP_INPUT, "its output %s is past an exbibyte",
                       kp_shape_text(shape, 1).s);
    return KP_OK;
}

kp_status kp_rule_y(kp_rule *rule, kp_shape shape)
{
    KP_TRY(check_shape(rule, shape));
    if (!KP_GROW_FROM_ONE(rule->arena, rule->y, rule->n_y, rule->cap_y)) return kp_nomem(rule->err);
    rule->y[rule->n_y++] = shape;
    return KP_OK;
}

kp_status kp_rule_out(kp_rule *rule, uint32_t tensor)
{
    if (!KP_GROW_FROM_ONE(rule->arena, rule->out, rule->n_out, rule->cap_out))
        return kp_nomem(rule->err);
    rule->out[rule->n_out++] = tensor;
    return KP_OK;
}

/* Later calls: the weight must be there with the same shape. */
static kp_status check_again(kp_rule *rule, const char *name, kp_shape shape)
{
    kp_build *b = rule->build;
    assert(rule->cursor < b->n_weights);
    const kp_weight *w = &b->weights[rule->cursor++];
    if (kp_shape_equal(w->shape, shape)) return KP_OK;
    return kp_fail(rule->err, KP_INPUT,
                   "its weight '%s' is %s since its first call, a later call needs %s", name,
                   kp_shape_text(w->shape, 1).s, kp_shape_text(shape, 1).s);
}

static void hint_open(const kp_rule *rule)
{
    const kp_build *b = rule->build;
    char text[160] = "";
    for (uint32_t i = 0, at = 0; i < b->n_open && at < sizeof(text); i++)
        at += (uint32_t)snprintf(text + at, sizeof(text) - at, "%s%s:%u", i ? ", " : "",
                                 b->open[i].input, b->open[i].axis);
    kp_hint(rule->err, "give the open dimensions (%s) with --dim INPUT:AXIS=N", text);
}

kp_status kp_rule_weight_typed(kp_rule *rule, const char *name, kp_weight_role role,
                               kp_shape shape, bool trainable, kp_dtype dtype)
{
    kp_build *b = rule->build;
    if (!kp_shape_known(shape)) {
        kp_fail(rule->err, KP_USAGE, "its weight '%s' would be %s: a size of its input is open",
                name, kp_shape_text(shape, 1).s);
        hint_open(rule);
        return KP_USAGE;
    }
    if (!kp_size_ok(kp_mul_u64(kp_shape_elems(shape, 1), 8)))
        return kp_fail(rule->err, KP_INPUT, "its weight '%s' %s is past an exbibyte", name,
                       kp_shape_text(shape, 1).s);
    if (!rule->first) return check_again(rule, name, shape);
    const char *path = kp_arena_fmt(rule->arena, "%s%s%s", rule->scope, b->joint, name);
    if (!path || !KP_GROW(rule->arena, b->weights, b->n_weights, b->cap_weights))
        return kp_nomem(rule->err);
    b->weights[b->n_weights++] = (kp_weight){.path = path, .shape = shape, .dtype = dtype,
        .trainable = trainable && rule->trainable, .role = role, .layer = rule->layer};
    rule->cursor = b->n_weights;
    return KP_OK;
}

kp_status kp_rule_weight(kp_rule *rule, const char *name, kp_weight_role role, kp_shape shape,
                         bool trainable)
{
    return kp_rule_weight_typed(rule, name, role, shape, trainable, rule->variable);
}

kp_status kp_rule_weight_unnamed(kp_rule *rule, kp_weight_role role, kp_shape shape,
                                 bool trainable)
{
    char name[32] = "variable";
    uint32_t n = rule->build->n_unnamed;
    if (rule->first && n) snprintf(name, sizeof(name), "variable_%" PRIu32, n);
    if (rule->first) rule->build->n_unnamed++;
    return kp_rule_weight(rule, name, role, shape, trainable);
}

uint32_t kp_rule_find_weight(const kp_rule *rule, const char *name)
{
    const kp_build *b = rule->build;
    size_t skip = strlen(rule->scope) + 1;
    for (uint32_t i = rule->first_weight; i < rule->first_weight + rule->n_weights; i++)
        if (!strcmp(b->weights[i].path + skip, name)) return i;
    return KP_NO;
}

/* ---- ops ---- */

static const char *full_part(const kp_rule *rule, const char *part)
{
    if (!part) part = "";
    if (!*rule->part) return part;
    if (!*part) return rule->part;
    return kp_arena_fmt(rule->arena, "%s/%s", rule->part, part);
}

/* Integers stay integers in ops that only move or combine values. */
static kp_dtype out_dtype(const kp_rule *rule, const kp_new_op *op)
{
    if (op->has_dtype) return op->dtype;
    kp_op_kind kind = kp_op_rows[op->op].kind;
    bool moves = kind == KP_KIND_VIEW || kind == KP_KIND_LINEAR || kind == KP_KIND_CURVED ||
                 kind == KP_KIND_POOL;
    if (!moves || op->n_in == 0) return rule->compute;
    kp_dtype in = kp_rule_dtype(rule, op->in[0]);
    return kp_dtype_is_float(in) ? rule->compute : in;
}

static kp_status add_outputs(kp_rule *rule, const kp_new_op *op, kp_graph_op *ret)
{
    kp_build *b = rule->build;
    uint32_t n = op->n_outs ? op->n_outs : 1;
    const kp_shape *shapes = op->n_outs ? op->outs : &op->out;
    uint32_t *out = KP_NEW(rule->arena, uint32_t, n);
    if (!out) return kp_nomem(rule->err);
    kp_dtype dtype = out_dtype(rule, op);
    for (uint32_t i = 0; i < n; i++) {
        KP_TRY(check_shape(rule, shapes[i]));
        if (!KP_GROW(rule->arena, b->tensors, b->n_tensors, b->cap_tensors))
            return kp_nomem(rule->err);
        out[i] = b->n_tensors++;
        b->tensors[out[i]] = (kp_tensor){.shape = shapes[i], .dtype = dtype, .op = b->n_ops,
                                         .layer = rule->layer};
    }
    ret->out = out;
    ret->n_out = n;
    return KP_OK;
}

static const uint32_t *copy_ids(kp_arena *arena, const uint32_t *ids, uint32_t n)
{
    uint32_t *copy = KP_NEW(arena, uint32_t, n);
    if (copy && n) memcpy(copy, ids, n * sizeof(*copy));
    return copy;
}

kp_status kp_rule_op(kp_rule *rule, const kp_new_op *op, uint32_t *ret)
{
    kp_build *b = rule->build;
    if (b->n_ops >= KP_OPS_MAX)
        return kp_fail(rule->err, KP_INPUT, "the model has more than %u operations", KP_OPS_MAX);
    kp_graph_op made = {.op = op->op, .layer = rule->layer, .n_in = op->n_in,
                        .n_weights = op->n_weights, .attr = op->attr};
    made.call = b->layers[rule->layer].n_calls;
    made.part = full_part(rule, op->part);
    made.in = copy_ids(rule->arena, op->in, op->n_in);
    made.weights = copy_ids(rule->arena, op->weights, op->n_weights);
    if (!made.part || !made.in || !made.weights) return kp_nomem(rule->err);
    KP_TRY(add_outputs(rule, op, &made));
    made.forward_flops = op->flops;
    if (op->flops == 0 && elem_flops[op->op])
        made.forward_flops = elem_flops[op->op] * kp_elems(b->tensors[made.out[0]].shape);
    if (!KP_GROW(rule->arena, b->ops, b->n_ops, b->cap_ops)) return kp_nomem(rule->err);
    b->ops[b->n_ops++] = made;
    *ret = made.out[0];
    return KP_OK;
}

kp_status kp_rule_unary(kp_rule *rule, kp_op op, const char *part, uint32_t x, kp_shape shape,
                        uint32_t *ret)
{
    return kp_rule_op(rule, &(kp_new_op){.op = op, .part = part, .in = &x, .n_in = 1, .out = shape},
                      ret);
}

kp_status kp_rule_bias(kp_rule *rule, uint32_t x, const char *name, const char *part,
                       uint32_t *ret)
{
    uint32_t w = kp_rule_find_weight(rule, name);
    *ret = x;
    if (w == KP_NO) return KP_OK;
    kp_new_op op = {.op = KP_OP_BIAS_ADD, .part = part, .in = &x, .n_in = 1, .weights = {w},
                    .n_weights = 1, .out = kp_rule_shape(rule, x)};
    op.attr.channels_first = rule->cfg->channels_first;
    return kp_rule_op(rule, &op, ret);
}

kp_status kp_rule_act(kp_rule *rule, kp_activation activation, uint32_t x, uint32_t *ret)
{
    kp_new_op op = {.op = KP_OP_ACT, .part = "act", .in = &x, .n_in = 1,
                    .out = kp_rule_shape(rule, x), .attr = {.activation = activation}};
    *ret = x;
    if (activation == KP_ACT_LINEAR) return KP_OK;
    if (activation == KP_ACT_RELU) op.op = KP_OP_RELU;
    if (activation == KP_ACT_SOFTMAX) op.op = KP_OP_SOFTMAX;
    op.attr.axis = op.out.rank ? op.out.rank - 1 : 0;
    return kp_rule_op(rule, &op, ret);
}

uint32_t kp_rule_arg(const kp_rule *rule, const char *keyword, uint32_t position)
{
    for (uint32_t i = 0; rule->args && i < rule->call->n_refs; i++) {
        const kp_ref *ref = &rule->call->refs[i];
        if (ref->keyword ? !strcmp(ref->keyword, keyword) : ref->arg == position)
            return rule->args[i];
    }
    return KP_NO;
}

bool kp_keyword_is_side(const char *keyword)
{
    if (!keyword) return false;
    size_t n = strlen(keyword);
    if (n >= 4 && !strcmp(keyword + n - 4, "mask")) return true;
    return !strcmp(keyword, "initial_state") || !strcmp(keyword, "constants");
}

bool kp_rule_flag(const kp_rule *rule, const char *keyword)
{
    return rule->call && json_is_true(json_object_get(rule->call->kwargs, keyword));
}

uint32_t kp_rule_input(const kp_rule *rule, const char *keyword, uint32_t position)
{
    uint32_t at = 0;
    if (!rule->call) return position < rule->n_in ? position : KP_NO; /* an inner layer */
    for (uint32_t i = 0; i < rule->call->n_refs; i++) {
        const kp_ref *ref = &rule->call->refs[i];
        if (kp_keyword_is_side(ref->keyword)) continue;
        if (ref->keyword ? !strcmp(ref->keyword, keyword) : ref->arg == position) return at;
        at++;
    }
    return KP_NO;
}

kp_status kp_build_warn(kp_build *build, const char *code, uint32_t layer, const char *message)
{
    if (!message || !KP_GROW(build->arena, build->warnings, build->n_warnings,
                             build->cap_warnings))
        return kp_nomem(build->err);
    const char *path = layer == KP_NO ? NULL : build->layers[layer].path;
    build->warnings[build->n_warnings++] =
        (kp_model_warning){.code = code, .layer = path, .message = message};
    return KP_OK;
}

kp_status kp_rule_warn(kp_rule *rule, const char *code, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return kp_build_warn(rule->build, code, rule->layer, kp_arena_str(rule->arena, text));
}
