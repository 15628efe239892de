/* SPDX-License-Identifier: MIT
 *
 * EinsumDense: a product that an equation describes, "ab,bc->ac" or with an ellipsis. The first
 * term names the input's axes, the second the kernel's, the third the output's; a letter of the
 * output that the input lacks takes its size from output_shape. Keras itself reports some of these
 * shapes wrong; here the equation decides. Source: keras/src/layers/core/einsum_dense.py. */
#include "planner/model/rows.h"
#include <ctype.h>

/* An equation with its sizes. */
typedef struct einsum {
    char in[16], kernel[16], out[16];  /* letters, the ellipsis left out */
    bool ellipsis, ellipsis_first;     /* of the input and the output alike */
    unsigned n_more;                   /* axes that the ellipsis stands for */
    int64_t size[26];                  /* of each letter, 0 if not known */
    unsigned axis[26];                 /* of the input, for its letters */
} einsum;

/* One term: letters to `ret`, and whether and where an ellipsis stood. */
static bool read_term(const char *text, size_t n, char ret[16], bool *ret_dots, bool *ret_first)
{
    size_t at = 0;
    *ret_dots = false;
    *ret_first = false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') continue;
        if (n - i >= 3 && !strncmp(text + i, "...", 3) && !*ret_dots) {
            *ret_dots = true;
            *ret_first = at == 0;
            i += 2;
            continue;
        }
        if (!islower((unsigned char)text[i]) || at + 1 >= 16) return false;
        ret[at++] = text[i];
    }
    ret[at] = 0;
    return true;
}

static kp_status read_equation(const kp_rule *rule, einsum *e)
{
    const char *text = rule->cfg->text, *comma = strchr(text, ','), *arrow = strstr(text, "->");
    bool dots_kernel, dots_out, first = false, first_out;
    bool ok = comma && arrow && comma < arrow &&
              read_term(text, (size_t)(comma - text), e->in, &e->ellipsis, &first) &&
              read_term(comma + 1, (size_t)(arrow - comma - 1), e->kernel, &dots_kernel,
                        &first_out) &&
              read_term(arrow + 2, strlen(arrow + 2), e->out, &dots_out, &first_out);
    e->ellipsis_first = first;
    if (ok && !dots_kernel && dots_out == e->ellipsis) return KP_OK;
    return kp_fail(rule->err, KP_INPUT, "'equation' is '%.60s', which is no product of two terms",
                   text);
}

static int64_t *size_of(einsum *e, char letter)
{
    return &e->size[letter - 'a'];
}

/* Letters of the input take its sizes. */
static kp_status bind_input(const kp_rule *rule, einsum *e)
{
    kp_shape x = rule->x[0];
    size_t n = strlen(e->in);
    if (x.rank < n || (!e->ellipsis && x.rank != n))
        return kp_fail(rule->err, KP_INPUT, "'equation' '%.60s' does not match its input %s",
                       rule->cfg->text, kp_shape_text(x, 0).s);
    e->n_more = x.rank - (unsigned)n;
    for (unsigned i = 0; i < n; i++) {
        unsigned axis = e->ellipsis && e->ellipsis_first ? i + e->n_more : i;
        *size_of(e, e->in[i]) = x.dim[axis];
        e->axis[e->in[i] - 'a'] = axis;
    }
    return KP_OK;
}

/* The last letters of the output take the sizes of output_shape, null keeps what is known. */
static kp_status bind_output(const kp_rule *rule, einsum *e)
{
    const kp_ints *said = &rule->cfg->dims;
    size_t n = strlen(e->out);
    for (uint32_t i = 0; i < said->n && i < n; i++) {
        int64_t v = said->v[said->n - 1 - i];
        if (v != KP_DIM_OPEN) *size_of(e, e->out[n - 1 - i]) = v;
    }
    for (const char *c = e->out; *c; c++)
        if (!*size_of(e, *c))
            return kp_fail(rule->err, KP_INPUT, "'output_shape' does not say the size of '%c'", *c);
    for (const char *c = e->kernel; *c; c++)
        if (!*size_of(e, *c))
            return kp_fail(rule->err, KP_INPUT, "'equation' '%.60s': nothing says the size of '%c'",
                           rule->cfg->text, *c);
    if (n + e->n_more <= KP_RANK_MAX && strlen(e->kernel) <= KP_RANK_MAX) return KP_OK;
    return kp_fail(rule->err, KP_INPUT, "'equation' has more than %d axes", KP_RANK_MAX);
}

static kp_status solve(const kp_rule *rule, einsum *e)
{
    *e = (einsum){.ellipsis = false};
    KP_TRY(read_equation(rule, e));
    KP_TRY(bind_input(rule, e));
    return bind_output(rule, e);
}

/* A letter that is an axis of the input keeps that axis's place in the batch. */
static void put_letter(const kp_rule *rule, einsum *e, char letter, kp_shape *y)
{
    bool of_input = strchr(e->in, letter) != NULL;
    unsigned from = e->axis[letter - 'a'];
    if (of_input && rule->x[0].per_sample >> from & 1) y->per_sample |= (uint8_t)(1u << y->rank);
    y->dim[y->rank++] = *size_of(e, letter);
}

static void put_more(const kp_rule *rule, const einsum *e, kp_shape *y)
{
    unsigned first = e->ellipsis_first ? 0 : (unsigned)strlen(e->in);
    for (unsigned i = first; i < first + e->n_more; i++) {
        if (rule->x[0].per_sample >> i & 1) y->per_sample |= (uint8_t)(1u << y->rank);
        y->dim[y->rank++] = rule->x[0].dim[i];
    }
}

kp_status kp_shape_einsum(kp_rule *rule)
{
    einsum e;
    kp_shape y = {0};
    KP_TRY(solve(rule, &e));
    if (e.ellipsis_first) put_more(rule, &e, &y);
    for (const char *c = e.out; *c; c++) put_letter(rule, &e, *c, &y);
    if (!e.ellipsis_first) put_more(rule, &e, &y);
    return kp_rule_y(rule, y);
}

static kp_shape letters_shape(einsum *e, const char *letters)
{
    kp_shape shape = {0};
    for (; *letters; letters++) shape.dim[shape.rank++] = *size_of(e, *letters);
    return shape;
}

kp_status kp_weights_einsum(kp_rule *rule)
{
    einsum e;
    KP_TRY(solve(rule, &e));
    kp_shape kernel = letters_shape(&e, e.kernel);
    int64_t r = rule->cfg->lora_rank;
    KP_TRY(kp_rule_weight(rule, "kernel", KP_ROLE_KERNEL, kernel, !r));
    const char *axes = rule->cfg->bias_axes;
    for (const char *c = axes; c && *c; c++)
        if (!islower((unsigned char)*c) || !strchr(e.out, *c))
            return kp_fail(rule->err, KP_INPUT, "'bias_axes' names '%c', which is no output axis",
                           *c);
    if (axes && strlen(axes) <= KP_RANK_MAX)
        KP_TRY(kp_rule_weight(rule, "bias", KP_ROLE_BIAS, letters_shape(&e, axes), true));
    if (!r || !kernel.rank) return KP_OK;
    int64_t last = kernel.dim[kernel.rank - 1];
    KP_TRY(kp_rule_weight(rule, "lora_kernel_a", KP_ROLE_KERNEL,
                          kp_shape_with(kernel, kernel.rank - 1u, r), true));
    return kp_rule_weight(rule, "lora_kernel_b", KP_ROLE_KERNEL, kp_dims(2, (int64_t[]){r, last}),
                          true);
}

/* Letters that are summed away: in the kernel, not in the output. */
kp_status kp_lower_einsum(kp_rule *rule)
{
    einsum e;
    KP_TRY(solve(rule, &e));
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 1, .n_weights = 1,
                    .weights = {kp_rule_find_weight(rule, "kernel")}, .out = rule->y[0],
                    .flops = 2 * kp_elems(rule->y[0])};
    for (const char *c = e.kernel; *c; c++)
        if (!strchr(e.out, *c)) op.flops *= (double)*size_of(&e, *c);
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    KP_TRY(kp_rule_bias(rule, y, "bias", "bias", &y));
    KP_TRY(kp_rule_act(rule, rule->cfg->activation, y, &y));
    return kp_rule_out(rule, y);
}
