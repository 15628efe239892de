/* SPDX-License-Identifier: MIT
 *
 * keras.ops.einsum of two tensors, "bij,bkj->bik" or with an ellipsis: a product without weights.
 * Source: keras/src/ops/numpy.py. */
#include "planner/model/rows.h"
#include <ctype.h>

/* The sizes that the operands give to the letters and to the ellipsis. */
typedef struct sizes {
    int64_t size[26];    /* 0: not known */
    bool per_sample[26]; /* it counts samples */
    kp_shape more;       /* what the ellipsis stands for */
} sizes;

typedef struct term {
    const char *text;
    size_t n;
} term;

static kp_status bad(const kp_rule *rule, const char *why)
{
    return kp_fail(rule->err, KP_INPUT, "'subscripts' is '%.60s', %s", rule->cfg->text, why);
}

static bool dots_at(term t, size_t i)
{
    return t.n - i >= 3 && !strncmp(t.text + i, "...", 3);
}

/* Two operands and what comes out; true if it is that. */
static bool split(const char *text, term ret[3])
{
    const char *comma = strchr(text, ','), *arrow = strstr(text, "->");
    if (!comma || !arrow || comma > arrow || memchr(comma + 1, ',', (size_t)(arrow - comma - 1)))
        return false;
    ret[0] = (term){text, (size_t)(comma - text)};
    ret[1] = (term){comma + 1, (size_t)(arrow - comma - 1)};
    ret[2] = (term){arrow + 2, strlen(arrow + 2)};
    return true;
}

/* Letters of a term; SIZE_MAX: something else stands in it. */
static size_t letters_of(term t)
{
    size_t n = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (t.text[i] == ' ') continue;
        if (dots_at(t, i))
            i += 2;
        else if (islower((unsigned char)t.text[i]))
            n++;
        else
            return SIZE_MAX;
    }
    return n;
}

static void put(kp_shape *y, int64_t size, bool per_sample)
{
    if (per_sample) y->per_sample |= (uint8_t)(1u << y->rank);
    y->dim[y->rank++] = size;
}

static kp_status bind(const kp_rule *rule, uint32_t operand, term t, sizes *s)
{
    kp_shape x = rule->x[operand], more = {0};
    size_t letters = letters_of(t);
    unsigned axis = 0;
    if (letters > x.rank) return bad(rule, "which does not match its operands");
    for (size_t i = 0; i < t.n; i++) {
        if (t.text[i] == ' ') continue;
        if (dots_at(t, i)) {
            for (size_t k = letters; k < x.rank; k++, axis++)
                put(&more, x.dim[axis], x.per_sample >> axis & 1);
            i += 2;
            continue;
        }
        unsigned letter = (unsigned)(t.text[i] - 'a');
        int64_t *size = &s->size[letter];
        if (axis >= x.rank) return bad(rule, "which does not match its operands");
        if (!*size || *size == KP_DIM_OPEN || *size == 1) *size = x.dim[axis];
        s->per_sample[letter] |= x.per_sample >> axis & 1;
        axis++;
    }
    if (axis != x.rank) return bad(rule, "which does not match its operands");
    if (more.rank > s->more.rank) s->more = more;
    return KP_OK;
}

static kp_status solve(const kp_rule *rule, term ret[3], sizes *s)
{
    *s = (sizes){.more = {0}};
    if (!split(rule->cfg->text, ret)) return bad(rule, "which is no product of two terms");
    for (int i = 0; i < 3; i++)
        if (letters_of(ret[i]) == SIZE_MAX) return bad(rule, "which has more than letters");
    KP_TRY(bind(rule, 0, ret[0], s));
    return bind(rule, 1, ret[1], s);
}

kp_status kp_shape_einsum_op(kp_rule *rule)
{
    term terms[3];
    sizes s;
    kp_shape y = {0};
    KP_TRY(solve(rule, terms, &s));
    if (letters_of(terms[2]) + s.more.rank > KP_RANK_MAX) return bad(rule, "which has many axes");
    for (size_t i = 0; i < terms[2].n; i++) {
        char c = terms[2].text[i];
        if (c == ' ') continue;
        if (dots_at(terms[2], i)) {
            for (unsigned k = 0; k < s.more.rank; k++)
                put(&y, s.more.dim[k], s.more.per_sample >> k & 1);
            i += 2;
            continue;
        }
        if (!s.size[c - 'a']) return bad(rule, "whose result has a letter that no operand has");
        put(&y, s.size[c - 'a'], s.per_sample[c - 'a']);
    }
    return kp_rule_y(rule, y);
}

/* Multiplications: one for each letter of either operand. */
kp_status kp_lower_einsum_op(kp_rule *rule)
{
    term terms[3];
    sizes s;
    KP_TRY(solve(rule, terms, &s));
    kp_new_op op = {.op = KP_OP_MATMUL, .in = rule->in, .n_in = 2, .out = rule->y[0],
                    .flops = 2 * kp_elems(rule->y[0])};
    for (int i = 0; i < 26; i++)
        if (s.size[i] && !memchr(terms[2].text, 'a' + i, terms[2].n)) op.flops *= (double)s.size[i];
    uint32_t out;
    KP_TRY(kp_rule_op(rule, &op, &out));
    return kp_rule_out(rule, out);
}
