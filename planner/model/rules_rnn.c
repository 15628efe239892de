/* SPDX-License-Identifier: MIT
 *
 * Recurrent layers: a cell over T steps. u units, f input features, g gates. A layer has one cell
 * (LSTM, GRU, SimpleRNN) or holds cells that feed each other (RNN). Sources: keras/src/layers/rnn/
 * rnn.py, lstm.py, gru.py, simple_rnn.py, stacked_rnn_cells.py. */
#include "planner/model/rows.h"

static const struct {
    const char *name; /* of the cell inside its layer */
    uint8_t gates, states;
    double elem_flops; /* a step and unit: gate functions and state updates */
} cells[] = {
    [KP_CELL_SIMPLE] = {"simple_rnn_cell", 1, 1, 2},
    [KP_CELL_GRU] = {"gru_cell", 3, 1, 10},
    [KP_CELL_LSTM] = {"lstm_cell", 4, 2, 12},
};

/* One cell of the rule's layer; `name` is the path of its weights below the layer, NULL: the layer's
 * own. */
typedef struct cell {
    const char *name;
    const kp_layer_cfg *cfg;
    kp_cell kind;
    bool cudnn;       /* both products have a bias, in one vector */
} cell;

static kp_status cell_at(kp_rule *rule, const kp_spec_layer *spec, const char *outer, cell *ret)
{
    if (!spec->row)
        return kp_fail(rule->err, KP_UNSUPPORTED, "its cell '%s' has an unknown class '%s'",
                       spec->name, spec->class_name);
    size_t n = strlen(spec->row->class_name);
    if (n < 4 || strcmp(spec->row->class_name + n - 4, "Cell"))
        return kp_fail(rule->err, KP_UNSUPPORTED, "'%s' is no recurrent cell", spec->class_name);
    ret->name = outer ? kp_arena_fmt(rule->arena, "%s/%s", outer, spec->name) : spec->name;
    ret->cfg = spec->cfg;
    ret->kind = (kp_cell)spec->row->variant;
    return ret->name ? KP_OK : kp_nomem(rule->err);
}

/* The layer's cells in order. */
static kp_status list_cells(kp_rule *rule, cell **ret, uint32_t *ret_n)
{
    const kp_layer_cfg *cfg = rule->cfg;
    const kp_spec_layer *list = cfg->inner;
    const char *outer = NULL;
    uint32_t n = cfg->n_inner;
    if (n == 1 && list->row && !strcmp(list->row->class_name, "StackedRNNCells")) {
        outer = list->name;
        n = list->cfg->n_inner;
        list = list->cfg->inner;
    } else if (n > 1) {
        outer = "stacked_rnn_cells";
    }
    *ret_n = n ? n : 1;
    *ret = KP_NEW(rule->arena, cell, *ret_n);
    if (!*ret) return kp_nomem(rule->err);
    for (uint32_t i = 0; i < n; i++) KP_TRY(cell_at(rule, &list[i], outer, &(*ret)[i]));
    if (n == 0) {
        kp_cell kind = (kp_cell)(rule->row->variant & ~KP_CELL_CUDNN);
        bool cudnn = rule->row->variant & KP_CELL_CUDNN;
        (*ret)[0] = (cell){cudnn ? NULL : cells[kind].name, cfg, kind, cudnn};
    }
    return KP_OK;
}

/* (B, T, u) or (B, u) */
static kp_shape out_shape(const kp_rule *rule, int64_t units, bool sequence)
{
    kp_shape y = rule->x[0];
    y.rank = sequence ? 3 : 2;
    y.dim[sequence ? 2 : 1] = units;
    return y;
}

/* The output, then with return_state the states of all cells. */
kp_status kp_shape_rnn(kp_rule *rule)
{
    cell *list;
    uint32_t n;
    KP_TRY(kp_want_rank(rule, 0, 3));
    KP_TRY(list_cells(rule, &list, &n));
    KP_TRY(kp_rule_y(rule, out_shape(rule, list[n - 1].cfg->units, rule->cfg->return_sequences)));
    for (uint32_t i = 0; i < n && rule->cfg->return_state; i++)
        for (unsigned j = 0; j < cells[list[i].kind].states; j++)
            KP_TRY(kp_rule_y(rule, out_shape(rule, list[i].cfg->units, false)));
    return KP_OK;
}

static const char *path_of(const kp_rule *rule, const cell *c, const char *name)
{
    return c->name ? kp_arena_fmt(rule->arena, "%s/%s", c->name, name) : name;
}

static kp_status cell_weight(kp_rule *rule, const cell *c, const char *name, kp_weight_role role,
                             kp_shape shape)
{
    const char *path = path_of(rule, c, name);
    return path ? kp_rule_weight(rule, path, role, shape, true) : kp_nomem(rule->err);
}

/* kernel (f, g u), recurrent_kernel (u, g u), bias (g u); a GRU with reset_after has a bias for
 * each of the two products: (2, 3 u). */
static kp_status cell_weights(kp_rule *rule, const cell *c, int64_t f)
{
    int64_t u = c->cfg->units, gu = u * cells[c->kind].gates;
    KP_TRY(cell_weight(rule, c, "kernel", KP_ROLE_KERNEL, kp_dims(2, (int64_t[]){f, gu})));
    KP_TRY(cell_weight(rule, c, "recurrent_kernel", KP_ROLE_RECURRENT,
                       kp_dims(2, (int64_t[]){u, gu})));
    if (!c->cfg->use_bias) return KP_OK;
    int64_t both = 2 * gu;
    if (c->cudnn) return cell_weight(rule, c, "bias", KP_ROLE_BIAS, kp_dims(1, &both));
    bool two = c->kind == KP_CELL_GRU && c->cfg->reset_after;
    return cell_weight(rule, c, "bias", KP_ROLE_BIAS,
                       two ? kp_dims(2, (int64_t[]){2, gu}) : kp_dims(1, &gu));
}

kp_status kp_weights_rnn(kp_rule *rule)
{
    cell *list;
    uint32_t n;
    KP_TRY(list_cells(rule, &list, &n));
    int64_t f = rule->x[0].dim[2];
    for (uint32_t i = 0; i < n; f = list[i++].cfg->units) KP_TRY(cell_weights(rule, &list[i], f));
    return KP_OK;
}

static double cell_flops(kp_shape x, const cell *c)
{
    double u = (double)c->cfg->units, f = (double)x.dim[2];
    kp_shape steps = {.rank = 2, .dim = {x.dim[0], x.dim[1]}};
    double products = 2 * cells[c->kind].gates * u * (f + u);
    return kp_elems(steps) * (products + cells[c->kind].elem_flops * u);
}

static kp_status weights_of(const kp_rule *rule, const cell *c, kp_new_op *op)
{
    static const char *const names[] = {"kernel", "recurrent_kernel", "bias"};
    for (size_t i = 0; i < KP_LEN(names); i++) {
        const char *path = path_of(rule, c, names[i]);
        if (!path) return kp_nomem(rule->err);
        uint32_t w = kp_rule_find_weight(rule, path);
        if (w != KP_NO) op->weights[op->n_weights++] = w;
    }
    return KP_OK;
}

/* One cell over all steps; states follow the output if they are asked for. */
static kp_status emit_cell(kp_rule *rule, const cell *c, const uint32_t *in, uint32_t n_in,
                           bool sequence, const char *part, uint32_t *ret)
{
    kp_shape x = kp_rule_shape(rule, in[0]), outs[3];
    outs[0] = out_shape(rule, c->cfg->units, sequence);
    outs[1] = outs[2] = out_shape(rule, c->cfg->units, false);
    kp_new_op op = {.op = KP_OP_RNN, .part = part, .in = in, .n_in = n_in, .outs = outs,
                    .n_outs = rule->cfg->return_state ? 1u + cells[c->kind].states : 1u,
                    .flops = cell_flops(x, c)};
    op.attr = (kp_op_attr){.cell = c->kind, .return_sequences = sequence,
                           .units = (uint32_t)c->cfg->units, .activation = c->cfg->activation,
                           .unrolled = rule->cfg->unroll, .reset_after = c->cfg->reset_after};
    if (x.dim[1] > 0 && x.dim[1] <= UINT32_MAX) op.attr.steps = (uint32_t)x.dim[1];
    KP_TRY(weights_of(rule, c, &op));
    return kp_rule_op(rule, &op, ret);
}

kp_status kp_lower_rnn(kp_rule *rule)
{
    cell *list;
    uint32_t n;
    KP_TRY(list_cells(rule, &list, &n));
    uint32_t *first = KP_NEW(rule->arena, uint32_t, n); /* each cell's output, its states behind */
    if (!first) return kp_nomem(rule->err);
    for (uint32_t i = 0; i < n; i++) {
        bool sequence = i + 1 < n || rule->cfg->return_sequences;
        const char *part = n > 1 ? list[i].name : "";
        KP_TRY(emit_cell(rule, &list[i], i ? &first[i - 1] : rule->in, i ? 1 : rule->n_in, sequence,
                         part, &first[i]));
    }
    KP_TRY(kp_rule_out(rule, first[n - 1]));
    for (uint32_t i = 0; i < n && rule->cfg->return_state; i++)
        for (unsigned j = 0; j < cells[list[i].kind].states; j++)
            KP_TRY(kp_rule_out(rule, first[i] + 1 + j));
    return KP_OK;
}
