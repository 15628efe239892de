/* SPDX-License-Identifier: MIT */
#include "planner/estimate/program_parts.h"
#include <assert.h>

/* ---- tensors ---- */

static uint32_t add_tensor(kp_program_run *r, kp_prog_tensor tensor)
{
    if (!KP_GROW(r->t->arena, r->tensors, r->n_tensors, r->cap_tensors)) {
        r->t->status = kp_nomem(r->t->err);
        return 0;
    }
    tensor.grad = KP_NO;
    r->tensors[r->n_tensors] = tensor;
    return r->n_tensors++;
}

uint32_t kp_prog_new(kp_program_run *r, uint64_t rows, uint64_t columns, kp_dtype dtype)
{
    kp_shape *shape = KP_NEW(r->t->arena, kp_shape, 1);
    if (!shape) {
        r->t->status = kp_nomem(r->t->err);
        return 0;
    }
    *shape = (kp_shape){.rank = 2, .dim = {(int64_t)rows, (int64_t)columns}};
    uint64_t bytes = kp_mul_u64(kp_mul_u64(rows, columns), kp_dtype_bytes(dtype));
    kp_taping_new b = {r->category, r->t->graph->ops[r->op].layer, r->op, r->what, shape, dtype,
                       bytes};
    kp_prog_tensor tensor = {.rows = rows, .columns = columns, .dtype = dtype};
    tensor.buffer = kp_taping_take(r->t, &b, 1);
    return add_tensor(r, tensor);
}

uint32_t kp_prog_view(kp_program_run *r, uint32_t of, uint64_t rows, uint64_t columns)
{
    kp_prog_tensor tensor = r->tensors[of];
    tensor.rows = rows;
    tensor.columns = columns;
    tensor.view = true;
    tensor.wants = false;
    tensor.leaf = KP_LEAF_NONE;
    tensor.readers = 0;
    kp_prog_hold(r, of);
    return add_tensor(r, tensor);
}

void kp_prog_hold(kp_program_run *r, uint32_t tensor)
{
    kp_taping_hold(r->t, r->tensors[tensor].buffer, 1);
}

void kp_prog_drop(kp_program_run *r, uint32_t tensor)
{
    kp_taping_drop(r->t, r->tensors[tensor].buffer);
}

uint32_t kp_prog_multiprocessors(const kp_program_run *r)
{
    uint32_t known = r->t->training->multiprocessors;
    return known ? known : 132; /* of an H100 */
}

/* ---- the op's own tensors ---- */

static uint32_t outer(kp_program_run *r, const kp_shape *shape, kp_dtype dtype, bool wants,
                      kp_leaf leaf, uint32_t which)
{
    uint64_t all = kp_shape_elems(*shape, 1);
    uint64_t last = shape->rank ? (uint64_t)shape->dim[shape->rank - 1] : 1;
    kp_prog_tensor tensor = {.rows = last ? all / last : 0,
                             .columns = last,
                             .dtype = dtype,
                             .buffer = KP_NO,
                             .wants = wants,
                             .leaf = (uint8_t)leaf,
                             .which = which};
    return add_tensor(r, tensor);
}

static uint32_t bind_arguments(kp_program_run *r, uint32_t *args)
{
    kp_taping *t = r->t;
    const kp_graph_op *o = &t->graph->ops[r->op];
    uint32_t n = 0;
    for (uint32_t i = 0; i < o->n_in && n < PROGRAM_ARGS; i++) {
        bool wants = t->keep.wants[t->graph->tensors[o->in[i]].op];
        args[n++] = outer(r, &t->sizes.tensors[o->in[i]], t->graph->tensors[o->in[i]].dtype, wants,
                          KP_LEAF_INPUT, i);
    }
    for (uint32_t i = 0; i < o->n_weights && n < PROGRAM_ARGS; i++) {
        const kp_weight *w = &t->graph->weights[o->weights[i]];
        args[n++] = outer(r, &t->sizes.weights[o->weights[i]], w->dtype, w->trainable,
                          KP_LEAF_WEIGHT, o->weights[i]);
    }
    return n;
}

/* Letters of sizes: the layer's, and those that follow from the first input: n rows, h columns;
 * q, the rows of a chunk of a product fused with its loss, which holds about as many logits as the
 * input has elements (Liger's rule: the next power of two of rows / (v / h)). */
static void find_sizes(kp_program_run *r, const uint32_t *args)
{
    const kp_graph_op *o = &r->t->graph->ops[r->op];
    uint64_t *s = r->sizes;
    memcpy(s, o->attr.sizes, sizeof(r->sizes));
    uint64_t n = s['n' - 'a'] = r->tensors[args[0]].rows, v = s['v' - 'a'];
    uint64_t h = s['h' - 'a'] = r->tensors[args[0]].columns, chunk = 1;
    uint64_t want = h && v ? kp_ceil_div(n, kp_ceil_div(v, h)) : n;
    while (chunk < want) chunk *= 2;
    s['q' - 'a'] = kp_min_u64(chunk, kp_max_u64(n, 1));
    s['s' - 'a'] = kp_prog_multiprocessors(r);
    s['p' - 'a'] = kp_ceil_div(n, s['q' - 'a']);
}

kp_program_run *kp_program_forward(kp_taping *t, uint32_t op, bool training, uint32_t *ret_out)
{
    const kp_graph_op *o = &t->graph->ops[op];
    const kp_program *p = kp_program_find(o->attr.program);
    kp_program_run *r = KP_NEW(t->arena, kp_program_run, 1);
    if (!r) {
        t->status = kp_nomem(t->err);
        return NULL;
    }
    *r = (kp_program_run){.t = t, .op = op, .recording = training && t->keep.wants[op]};
    r->category = training ? KP_CAT_ACTIVATIONS : KP_CAT_TEMPORARY;
    r->retain = t->training->retain_graph;
    r->first_buffer = t->n_buffers;
    r->what = o->attr.program;
    uint32_t args[PROGRAM_ARGS], out[PROGRAM_ARGS] = {0}, n = bind_arguments(r, args);
    if (kp_taping_failed(t)) return NULL;
    assert(p && n);
    find_sizes(r, args);
    uint32_t n_out = kp_prog_call(r, p, args, n, out);
    if (kp_taping_failed(t)) return NULL;
    assert(n_out == o->n_out);
    for (uint32_t k = 0; k < n_out; k++) {
        ret_out[k] = r->tensors[out[k]].buffer;
        r->out[k] = out[k];
    }
    for (uint32_t b = r->first_buffer; b < t->n_buffers && training; b++) /* gone already */
        if (!t->refs[b]) t->buffers[b].category = KP_CAT_TEMPORARY;
    return r;
}

void kp_program_backward(kp_program_run *r, const uint32_t *grads)
{
    const kp_graph_op *o = &r->t->graph->ops[r->op];
    r->category = KP_CAT_TEMPORARY;
    for (uint32_t k = 0; k < o->n_out && !kp_taping_failed(r->t); k++) {
        kp_prog_tensor tensor = r->tensors[r->out[k]];
        tensor.buffer = grads[k];
        tensor.view = tensor.wants = false;
        uint32_t grad = add_tensor(r, tensor);
        if (grads[k] != KP_NO) r->tensors[r->out[k]].grad = grad;
    }
    kp_prog_backward(r, 0);
}

void kp_program_end(kp_program_run *r)
{
    for (uint32_t i = 0; i < r->n_nodes; i++)
        for (uint32_t k = 0; k < r->nodes[i].n_saved; k++)
            kp_prog_drop(r, r->nodes[i].saved[k].tensor);
    r->n_nodes = 0;
}

/* ---- the tables ---- */

static int by_name(const void *key, const void *row)
{
    return strcmp(key, ((const kp_program *)row)->name);
}

const kp_program *kp_program_find(const char *name)
{
    const struct {
        const kp_program *rows;
        size_t n;
    } tables[] = {{kp_torch_programs, kp_torch_n_programs},
                  {kp_model_programs, kp_model_n_programs},
                  {kp_kernel_programs, kp_kernel_n_programs},
                  {kp_chunked_programs, kp_chunked_n_programs}};
    for (size_t i = 0; i < KP_LEN(tables); i++) {
        const kp_program *p =
            bsearch(name, tables[i].rows, tables[i].n, sizeof(*tables[i].rows), by_name);
        if (p) return p;
    }
    return NULL;
}
