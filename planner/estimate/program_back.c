/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_back.c — the backward passes of recorded calls, as torch's engine runs
 * them: the latest call first; its gradients are cut to the inputs' shapes and types once all are
 * there, then handed on; a second gradient of a tensor is added in place only if the first owns its
 * memory alone; leaves take theirs when all have come. Sources: torch/csrc/autograd/engine.cpp,
 * input_buffer.cpp (can_accumulate_inplace), functions/accumulate_grad.h. */
#include "planner/estimate/program_parts.h"

static bool alone(const kp_program_run *r, uint32_t tensor)
{
    uint32_t buffer = r->tensors[tensor].buffer;
    return !r->tensors[tensor].view && buffer != KP_NO && r->t->refs[buffer] == 1;
}

static uint64_t power_below(uint64_t n)
{
    uint64_t p = 1;
    while (2 * p <= n) p *= 2;
    return p;
}

/* Scratch of a sum over rows: when the columns alone cannot fill the card, blocks share a column
 * and leave what they have in global memory. Four columns a thread, 512 threads a block at most,
 * float32 sums. Source: ATen/native/cuda/Reduce.cuh (setReduceConfig, global_memory_size). */
static uint64_t sum_scratch(const kp_program_run *r, uint64_t rows, uint64_t columns)
{
    uint64_t vector = columns % 4 == 0 ? 4 : columns % 2 == 0 ? 2 : 1, threads = 512 / vector;
    uint64_t across = kp_max_u64(columns / vector, 1);
    uint64_t width = kp_min_u64(power_below(across), 32),
             height = kp_min_u64(power_below(kp_max_u64(rows, 1)), threads / width);
    width = kp_min_u64(power_below(across), threads / height);
    if (rows < height * 16 && rows < 256) return 0;
    uint64_t each = kp_ceil_div(rows, height), grid = kp_ceil_div(across, width);
    uint64_t target = kp_prog_multiprocessors(r) * (2048 / (width * height));
    if (each < 256 || grid > target) return 0;
    uint64_t blocks = kp_max_u64(kp_min_u64(kp_ceil_div(target, grid), kp_ceil_div(each, 16)),
                                 kp_ceil_div(each, 256));
    return blocks > 1 ? kp_mul_u64(4 * columns * blocks, width * vector) : 0;
}

/* A sum over rows is there beside its scratch for a moment. */
static uint32_t summed(kp_program_run *r, const kp_prog_tensor *from, const kp_prog_tensor *to)
{
    uint32_t sum = kp_prog_new(r, to->rows, to->columns, from->dtype);
    uint64_t bytes = to->rows == 1 && to->columns > 1 ? sum_scratch(r, from->rows, to->columns) : 0;
    uint32_t scratch = bytes ? kp_prog_new(r, 1, bytes / 4, KP_FLOAT32) : KP_NO;
    if (scratch != KP_NO) kp_prog_drop(r, scratch);
    return sum;
}

/* As large as what it is the gradient of, and of its type. */
static uint32_t fitted(kp_program_run *r, uint32_t grad, const kp_prog_tensor of)
{
    kp_prog_tensor g = r->tensors[grad];
    if (kp_mul_u64(g.rows, g.columns) > kp_mul_u64(of.rows, of.columns)) {
        uint32_t sum = summed(r, &g, &of);
        kp_prog_drop(r, grad);
        grad = sum;
    }
    if (g.dtype == of.dtype) return grad;
    uint32_t cast = kp_prog_new(r, of.rows, of.columns, of.dtype);
    kp_prog_drop(r, grad);
    return cast;
}

/* A leaf has its whole gradient. */
static void settle(kp_program_run *r, uint32_t tensor)
{
    kp_prog_tensor *of = &r->tensors[tensor];
    if (of->leaf == KP_LEAF_TRACK || of->grad == KP_NO) return;
    kp_prog_tensor *grad = &r->tensors[of->grad];
    of->grad = KP_NO;
    if (of->leaf == KP_LEAF_WEIGHT)
        kp_tape_weight_given(r->t, of->which, grad->buffer);
    else if (of->leaf == KP_LEAF_INPUT)
        kp_tape_input_given(r->t, r->op, of->which, grad->buffer);
    else
        kp_taping_drop(r->t, grad->buffer);
}

static void deliver(kp_program_run *r, uint32_t to, uint32_t grad)
{
    uint32_t old = r->tensors[to].grad;
    if (old == KP_NO) {
        r->tensors[to].grad = grad;
    } else if (alone(r, old)) {
        kp_prog_drop(r, grad);
    } else {
        r->tensors[to].grad =
            kp_prog_new(r, r->tensors[to].rows, r->tensors[to].columns, r->tensors[to].dtype);
        kp_prog_drop(r, old);
        kp_prog_drop(r, grad);
    }
}

/* The gradients of what the call returned, under the names d, d2, d3: zeros where none came. False:
 * none came at all. */
static bool bind_gradients(kp_program_run *r, kp_prog_frame *f, const kp_prog_node *node)
{
    static const char *const names[PROGRAM_OUT] = {"d", "d2", "d3", "d4"};
    bool any = false;
    for (uint32_t k = 0; k < node->n_out; k++) any |= r->tensors[node->out[k]].grad != KP_NO;
    for (uint32_t k = 0; any && k < node->n_out; k++) {
        uint32_t out = node->out[k], grad = r->tensors[out].grad;
        if (grad == KP_NO)
            grad = kp_prog_new(r, r->tensors[out].rows, r->tensors[out].columns,
                               r->tensors[out].dtype);
        r->tensors[out].grad = KP_NO;
        kp_prog_bind(f, (kp_word){names[k], strlen(names[k])}, grad, true);
    }
    return any;
}

static void release_saved(kp_program_run *r, kp_prog_node *node)
{
    if (r->retain) return;
    for (uint32_t i = 0; i < node->n_saved; i++) kp_prog_drop(r, node->saved[i].tensor);
    node->n_saved = 0;
}

static void run_node(kp_program_run *r, kp_prog_node node, uint32_t index)
{
    kp_prog_frame f = {.program = node.program, .first_node = r->n_nodes, .backward = true};
    const char *params = node.program->params, *outer = r->what;
    for (uint32_t i = 0; i < node.n_args; i++) {
        kp_word name = kp_prog_word(&params);
        if (name.len) kp_prog_bind(&f, name, node.args[i], false);
    }
    for (uint32_t i = 0; i < node.n_saved; i++)
        kp_prog_bind(&f, node.saved[i].name, node.saved[i].tensor, false);
    bool any = bind_gradients(r, &f, &node), recording = r->recording;
    r->what = node.program->name;
    r->recording = false;
    if (any) kp_prog_text(r, &f, node.program->backward);
    uint32_t grads[PROGRAM_ARGS], n = f.n_ret;
    memcpy(grads, f.ret, n * sizeof(*grads));
    for (uint32_t i = 0; i < n && i < node.n_args && !kp_taping_failed(r->t); i++)
        if (grads[i] != KP_NO) grads[i] = fitted(r, grads[i], r->tensors[node.args[i]]);
    kp_prog_leave(r, &f);
    release_saved(r, &r->nodes[index]);
    r->recording = recording;
    for (uint32_t i = 0; i < node.n_args && !kp_taping_failed(r->t); i++) {
        kp_prog_tensor *to = &r->tensors[node.args[i]];
        if (i < n && grads[i] != KP_NO) deliver(r, node.args[i], grads[i]);
        to = &r->tensors[node.args[i]];
        if (--to->readers == 0 && to->leaf) settle(r, node.args[i]);
    }
    r->what = outer;
}

void kp_prog_backward(kp_program_run *r, uint32_t first)
{
    for (uint32_t i = r->n_nodes; i-- > first && !kp_taping_failed(r->t);)
        run_node(r, r->nodes[i], i);
    if (!r->retain) r->n_nodes = first;
}
