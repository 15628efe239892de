/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_make.c — the tensors that a program's text makes. */
#include "planner/estimate/program_parts.h"
#include <assert.h>
#include <ctype.h>

uint64_t kp_prog_size(kp_program_run *r, kp_word w)
{
    if (isdigit((unsigned char)*w.at)) return strtoull(w.at, NULL, 10);
    assert(w.len == 1);
    return r->sizes[*w.at - 'a'];
}

static kp_dtype dtype(kp_program_run *r, kp_prog_frame *f, const char **at, kp_dtype otherwise)
{
    if (!kp_prog_take(at, ',')) return otherwise;
    kp_word w = kp_prog_word(at);
    if (kp_prog_is(w, "f32")) return KP_FLOAT32;
    if (kp_prog_is(w, "i64")) return KP_INT64;
    if (kp_prog_is(w, "bool")) return KP_BOOL;
    return r->tensors[kp_prog_variable(f, w)].dtype;
}

typedef enum maker {
    MAKE_NEW,
    MAKE_CAST,
    MAKE_HALF,
    MAKE_ROW,
    MAKE_COLUMN,
    MAKE_ONE,
    MAKE_MATRIX,
    MAKE_VIEW,
    MAKE_PART,
    MAKE_COLUMNS,
    MAKE_EXPAND,
    MAKE_PRODUCT,
    MAKE_WIDE,
    MAKE_JOIN,
    MAKE_TRACK,
    MAKE_SINK,
    MAKE_LEAF,
    MAKE_GRADIENT,
    MAKE_LIST,
    MAKE_COUNT
} maker;
static const char *const makers[MAKE_COUNT] = {
    [MAKE_CAST] = "cast",       [MAKE_HALF] = "half",         [MAKE_NEW] = "new",
    [MAKE_ROW] = "row",         [MAKE_COLUMN] = "column",     [MAKE_ONE] = "one",
    [MAKE_MATRIX] = "matrix",   [MAKE_VIEW] = "view",         [MAKE_PART] = "part",
    [MAKE_COLUMNS] = "columns", [MAKE_EXPAND] = "expand",     [MAKE_TRACK] = "track",
    [MAKE_SINK] = "sink",       [MAKE_GRADIENT] = "gradient", [MAKE_PRODUCT] = "product",
    [MAKE_WIDE] = "wide",       [MAKE_JOIN] = "join",         [MAKE_LIST] = "list",
    [MAKE_LEAF] = "leaf",
};

static uint32_t as_leaf(kp_program_run *r, uint32_t of, kp_leaf leaf)
{
    uint32_t made = kp_prog_view(r, of, r->tensors[of].rows, r->tensors[of].columns);
    r->tensors[made].wants = leaf != KP_LEAF_WEIGHT || r->tensors[of].wants;
    r->tensors[made].leaf = (uint8_t)leaf;
    return made;
}

static uint32_t joined(kp_program_run *r, kp_prog_frame *f, kp_word name)
{
    uint64_t rows = 0;
    const kp_prog_tensor *last = NULL;
    for (uint32_t i = 0; i < f->n_vars; i++) {
        if (f->vars[i].name.len != name.len || memcmp(f->vars[i].name.at, name.at, name.len))
            continue;
        last = &r->tensors[f->vars[i].tensor];
        rows = kp_add_u64(rows, last->rows);
    }
    assert(last);
    return kp_prog_new(r, rows, last->columns, last->dtype);
}

/* Itself if it is of that type already. */
static uint32_t cast(kp_program_run *r, uint32_t of, kp_dtype to)
{
    const kp_prog_tensor a = r->tensors[of];
    return a.dtype == to ? kp_prog_view(r, of, a.rows, a.columns)
                         : kp_prog_new(r, a.rows, a.columns, to);
}

static uint32_t shaped(kp_program_run *r, kp_prog_frame *f, maker m, uint32_t of, const char **at)
{
    const kp_prog_tensor a = r->tensors[of];
    uint64_t k = 1;
    if (m == MAKE_PART || m == MAKE_COLUMNS) {
        bool more = kp_prog_take(at, ',');
        assert(more);
        (void)more;
        k = kp_max_u64(kp_prog_size(r, kp_prog_word(at)), 1);
    }
    switch (m) {
    case MAKE_NEW:
        return kp_prog_new(r, a.rows, a.columns, dtype(r, f, at, a.dtype));
    case MAKE_CAST:
        return cast(r, of, dtype(r, f, at, a.dtype));
    case MAKE_HALF:
        return kp_prog_new(r, a.rows, kp_ceil_div(a.columns, 2), a.dtype);
    case MAKE_ROW:
        return kp_prog_new(r, a.rows, 1, dtype(r, f, at, a.dtype));
    case MAKE_COLUMN:
        return kp_prog_new(r, 1, a.columns, dtype(r, f, at, a.dtype));
    case MAKE_PART:
        return kp_prog_view(r, of, kp_ceil_div(a.rows, k), a.columns);
    case MAKE_COLUMNS:
        return kp_prog_view(r, of, a.rows, kp_ceil_div(a.columns, k));
    case MAKE_TRACK:
        return as_leaf(r, of, KP_LEAF_TRACK);
    case MAKE_SINK:
        return as_leaf(r, of, KP_LEAF_SINK);
    case MAKE_LEAF:
        return as_leaf(r, of, (kp_leaf)a.leaf);
    default:
        return kp_prog_view(r, of, a.rows, a.columns);
    }
}

/* Of two tensors: the first spread to the second's shape; a product with a matrix (out, in); as
 * large as the larger and of the wider type; side by side. */
static uint32_t paired(kp_program_run *r, maker m, uint32_t first, uint32_t second)
{
    const kp_prog_tensor a = r->tensors[first], b = r->tensors[second];
    if (m == MAKE_EXPAND) return kp_prog_view(r, first, b.rows, b.columns);
    if (m == MAKE_PRODUCT) return kp_prog_new(r, a.rows, b.rows, a.dtype);
    if (m == MAKE_JOIN) return kp_prog_new(r, a.rows, kp_add_u64(a.columns, b.columns), a.dtype);
    kp_dtype type = kp_dtype_bytes(b.dtype) > kp_dtype_bytes(a.dtype) ? b.dtype : a.dtype;
    return kp_prog_new(r, kp_max_u64(a.rows, b.rows), kp_max_u64(a.columns, b.columns), type);
}

static uint32_t make(kp_program_run *r, kp_prog_frame *f, maker m, const char **at)
{
    if (m == MAKE_ONE) {
        const char *from = *at;
        kp_word w = kp_prog_word(&from);
        *at = from;
        return kp_prog_new(
            r, 1, 1, kp_prog_is(w, "f32") ? KP_FLOAT32 : r->tensors[kp_prog_variable(f, w)].dtype);
    }
    if (m == MAKE_MATRIX) {
        uint64_t rows = kp_prog_size(r, kp_prog_word(at));
        bool more = kp_prog_take(at, ',');
        uint64_t columns = kp_prog_size(r, kp_prog_word(at));
        assert(more);
        (void)more;
        return kp_prog_new(r, rows, columns, dtype(r, f, at, KP_FLOAT32));
    }
    kp_word name = kp_prog_word(at);
    if (m == MAKE_LIST) return joined(r, f, name);
    uint32_t of = kp_prog_variable(f, name);
    if (m == MAKE_GRADIENT) {
        uint32_t grad = r->tensors[of].grad;
        assert(grad != KP_NO);
        r->tensors[of].grad = KP_NO;
        return grad;
    }
    if (m < MAKE_EXPAND || m > MAKE_JOIN) return shaped(r, f, m, of, at);
    kp_prog_take(at, ',');
    return paired(r, m, of, kp_prog_variable(f, kp_prog_word(at)));
}

bool kp_prog_make(kp_program_run *r, kp_prog_frame *f, kp_word name, const char **at, uint32_t *ret)
{
    for (int m = 0; m < MAKE_COUNT; m++) {
        if (!kp_prog_is(name, makers[m])) continue;
        *ret = make(r, f, (maker)m, at);
        bool closed = kp_prog_take(at, ')');
        assert(closed);
        (void)closed;
        return true;
    }
    return false;
}
