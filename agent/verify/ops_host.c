/* SPDX-License-Identifier: MIT */
#include "agent/verify/ops_host.h"
#include <assert.h>

typedef void run_fn(const kp_op_call *call);

static void zero(float *at, kp_shape shape)
{
    memset(at, 0, kp_shape_elems(shape, 1) * sizeof(float));
}

/* Rows, contracted and new elements of a matmul: y (M, N) = x (M, K) w (K, N). */
typedef struct gemm {
    uint64_t m, k, n;
} gemm;

static gemm gemm_of(const kp_op_call *call)
{
    return (gemm){(uint64_t)(call->x.dim[0] * call->x.dim[1]),
                  (uint64_t)(call->w.dim[0] * call->w.dim[1]),
                  (uint64_t)(call->w.dim[2] * call->w.dim[3])};
}

static void matmul_forward(const kp_op_call *call, gemm g)
{
    zero(call->y_at, call->y);
    for (uint64_t m = 0; m < g.m; m++) {
        float *y = call->y_at + m * g.n;
        for (uint64_t k = 0; k < g.k; k++) {
            const float x = call->x_at[m * g.k + k], *w = call->w_at + k * g.n;
            for (uint64_t n = 0; n < g.n; n++) y[n] += x * w[n];
        }
    }
}

static void matmul_backward(const kp_op_call *call, gemm g)
{
    zero(call->dw_at, call->w);
    for (uint64_t m = 0; m < g.m; m++) {
        const float *dy = call->dy_at + m * g.n;
        for (uint64_t k = 0; k < g.k; k++) {
            const float x = call->x_at[m * g.k + k], *w = call->w_at + k * g.n;
            float *dw = call->dw_at + k * g.n, sum = 0;
            for (uint64_t n = 0; n < g.n; n++) {
                sum += dy[n] * w[n];
                dw[n] += x * dy[n];
            }
            call->dx_at[m * g.k + k] = sum;
        }
    }
}

static void run_matmul(const kp_op_call *call)
{
    if (call->direction == KP_FORWARD)
        matmul_forward(call, gemm_of(call));
    else
        matmul_backward(call, gemm_of(call));
}

/* A row that is not in this part of the table gives zeros, and gets no gradient. */
static void run_gather(const kp_op_call *call)
{
    const int32_t *index = (const int32_t *)(const void *)call->x_at;
    const uint64_t n = kp_shape_elems(call->x, 1), width = (uint64_t)call->w.dim[1];
    const uint64_t rows = (uint64_t)call->w.dim[0];
    bool forward = call->direction == KP_FORWARD;
    if (forward)
        zero(call->y_at, call->y);
    else
        zero(call->dw_at, call->w);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t row = (uint64_t)index[i] - call->row_from; /* wraps below the first row */
        if (row >= rows) continue;
        for (uint64_t c = 0; c < width; c++) {
            if (forward)
                call->y_at[i * width + c] = call->w_at[row * width + c];
            else
                call->dw_at[row * width + c] += call->dy_at[i * width + c];
        }
    }
}

static void run_bias_add(const kp_op_call *call)
{
    const uint64_t outer = (uint64_t)(call->x.dim[0] * call->x.dim[1]);
    const uint64_t channels = (uint64_t)(call->x.dim[2] * call->x.dim[3]);
    const uint64_t inner = (uint64_t)call->x.dim[4];
    bool forward = call->direction == KP_FORWARD;
    if (!forward) zero(call->dw_at, call->w);
    for (uint64_t o = 0, at = 0; o < outer; o++)
        for (uint64_t c = 0; c < channels; c++)
            for (uint64_t i = 0; i < inner; i++, at++) {
                if (forward) {
                    call->y_at[at] = call->x_at[at] + call->w_at[c];
                } else {
                    call->dx_at[at] = call->dy_at[at];
                    call->dw_at[c] += call->dy_at[at];
                }
            }
}

static void run_relu(const kp_op_call *call)
{
    const uint64_t n = kp_shape_elems(call->x, 1);
    for (uint64_t i = 0; i < n; i++) {
        bool on = call->x_at[i] > 0;
        if (call->direction == KP_FORWARD)
            call->y_at[i] = on ? call->x_at[i] : 0;
        else
            call->dx_at[i] = on ? call->dy_at[i] : 0;
    }
}

static run_fn *const rows[KP_OP_COUNT] = {
    [KP_OP_MATMUL] = run_matmul,     [KP_OP_CONV] = kp_host_conv, [KP_OP_GATHER] = run_gather,
    [KP_OP_BIAS_ADD] = run_bias_add, [KP_OP_RELU] = run_relu,
};

bool kp_host_covers(kp_op op)
{
    return (unsigned)op < KP_OP_COUNT && rows[op] != NULL;
}

void kp_host_run(const kp_op_call *call)
{
    assert(kp_host_covers(call->problem->op));
    rows[call->problem->op](call);
}
