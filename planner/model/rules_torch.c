/* SPDX-License-Identifier: MIT
 *
 * Rules of rows in torch_rows.c. Every layer becomes one op with a program. */
#include "planner/model/build.h"
#include "planner/model/rows.h"
#include "planner/model/torch.h"
#include <ctype.h>

static int by_class(const void *key, const void *row)
{
    return strcmp(key, ((const kp_torch_row *)row)->row.class_name);
}

static const kp_torch_row *find(const char *class_name)
{
    return bsearch(class_name, kp_torch_rows, kp_torch_n_rows, sizeof(*kp_torch_rows), by_class);
}

const kp_layer_row *kp_torch_row_find(const char *class_name)
{
    const kp_torch_row *row = find(class_name);
    return row ? &row->row : NULL;
}

bool kp_torch_row_is_of(const char *class_name, const char *package)
{
    const kp_torch_row *row = class_name && package ? find(class_name) : NULL;
    size_t n = row ? strlen(row->package) : 0;
    return row && !strncmp(package, row->package, n) && (!package[n] || strchr(".>", package[n]));
}

bool kp_row_is_torch(const kp_layer_row *row)
{
    return row->lower == kp_lower_torch;
}

static const kp_torch_row *row_of(const kp_rule *rule)
{
    return (const kp_torch_row *)rule->row; /* its first member */
}

/* ---- sizes ---- */

/* By letter. Of the first input: h its last axis, c its channels (axis 1); of the configuration: f
 * the inner width, d a head's and e half of it, v the vocabulary, k shards, g groups, u chunks, w the teacher's width. */
static int64_t letter(const kp_rule *rule, char c)
{
    const kp_shape *x = &rule->x[0];
    const kp_layer_cfg *cfg = rule->cfg;
    switch (c) {
    case 'h': return x->rank ? x->dim[x->rank - 1] : 1;
    case 'c': return x->rank > 1 ? x->dim[1] : 1;
    case 'd': return cfg->key_dim;
    case 'e': return cfg->key_dim / 2;
    case 'f': return cfg->units;
    case 'v': return cfg->rows;
    case 'k': return cfg->count;
    case 'g': return cfg->groups;
    case 'u': return cfg->heads;
    case 'w': return cfg->width;
    default: return 0;
    }
}

/* ---- the three rules ---- */

kp_status kp_shape_torch(kp_rule *rule)
{
    for (const char *o = row_of(rule)->outs; *o && !strchr("=*", *o); o++) {
        kp_shape y = rule->x[0];
        if (*o == 'y' && rule->n_in < 2)
            return kp_fail(rule->err, KP_INPUT, "it takes 2 inputs, not %u", rule->n_in);
        if (*o == 'y') y = rule->x[1];
        if (*o == 's') y = (kp_shape){.rank = 1, .dim = {1}};
        if (*o == 't' && y.rank) y.dim[y.rank - 1] = rule->cfg->key_dim;
        if (*o == 'r' && y.rank > 1) y.rank--;
        if (*o == 'g' && y.rank) y.dim[y.rank - 1] /= 2;
        KP_TRY(kp_rule_y(rule, y));
    }
    return KP_OK;
}

kp_status kp_weights_torch(kp_rule *rule)
{
    char name[64];
    for (const char *at = row_of(rule)->weights; *at;) {
        size_t n = strcspn(at, "!:");
        bool frozen = at[n] == '!';
        kp_shape shape = {0};
        snprintf(name, sizeof(name), "%.*s", (int)n, at);
        for (at += n + (frozen ? 2 : 1); isalpha((unsigned char)*at); at++) {
            int64_t size = letter(rule, *at);
            if (size < 1)
                return kp_fail(rule->err, KP_INPUT, "the size of '%s' is not given (%s)", name,
                               *at == 'f'   ? "intermediate_size"
                               : *at == 'v' ? "vocab_size"
                                            : "see the configuration");
            shape.dim[shape.rank++] = size;
        }
        while (*at == ' ') at++;
        kp_weight_role role = shape.rank > 1 ? KP_ROLE_KERNEL : KP_ROLE_SCALE;
        KP_TRY(kp_rule_weight(rule, name, role, shape, !frozen));
    }
    return KP_OK;
}

static kp_dtype out_dtype(const kp_rule *rule, char out)
{
    kp_dtype x = kp_rule_dtype(rule, rule->in[0]);
    if (out == 'y') return kp_rule_dtype(rule, rule->in[1]);
    if (out == 'p' && kp_dtype_bytes(rule->variable) > kp_dtype_bytes(x)) return rule->variable;
    return out == 's' || out == 'r' || !kp_dtype_is_float(x) ? KP_FLOAT32 : x;
}

/* 100 x major + minor of "0.2.1"; without one a current version. */
static int64_t version(const kp_rule *rule)
{
    const char *at = rule->cfg->text;
    char *end = NULL;
    if (!at) return INT64_MAX;
    long major = strtol(at, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return major < 0 || minor < 0 || major > 99 || minor > 99 ? INT64_MAX : 100 * major + minor;
}

kp_status kp_lower_torch(kp_rule *rule)
{
    const kp_torch_row *row = row_of(rule);
    uint64_t *sizes = KP_NEW(rule->arena, uint64_t, 26);
    if (!sizes) return kp_nomem(rule->err);
    for (char c = 'a'; c <= 'z'; c++) sizes[c - 'a'] = (uint64_t)letter(rule, c);
    kp_new_op op = {.op = KP_OP_OPAQUE, .in = rule->in, .n_in = rule->n_in, .has_dtype = true,
                    .outs = rule->y, .n_outs = rule->n_y, .out = rule->y[0],
                    .n_weights = rule->n_weights,
                    .attr = {.program = version(rule) < row->until ? row->before : row->program,
                             .sizes = sizes, .keeps = row->keeps}};
    for (const char *o = row->outs; *o; o++) op.attr.products += *o == '*';
    op.dtype = out_dtype(rule, row->outs[0]);
    if (rule->n_weights > KP_LEN(op.weights)) return kp_fail(rule->err, KP_INTERNAL, "weights");
    for (uint32_t i = 0; i < rule->n_weights; i++) op.weights[i] = rule->first_weight + i;
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    kp_graph_op *writer = &rule->build->ops[rule->build->tensors[rule->in[0]].op];
    if (strchr(row->outs, '=')) writer->attr.grad_in_place = true;
    for (uint32_t i = 0; i < rule->n_y; i++) KP_TRY(kp_rule_out(rule, y + i));
    return KP_OK;
}
