/* SPDX-License-Identifier: MIT
 *
 * Stand-in for cuBLAS: column-major products in plain loops. */
#include "tests/standin/standin.h"

enum { NOT_INITIALIZED = 1, INVALID_VALUE = 7 };

#define DECLARE(library, result, name, arguments) result name arguments;
KP_CUDA_FUNCTIONS(DECLARE)

typedef struct handle {
    kp_cuda_stream stream;
} handle;

kp_cublas_status cublasCreate_v2(kp_cublas_handle *ret)
{
    handle *h = calloc(1, sizeof(*h));
    *ret = (kp_cublas_handle)(void *)h;
    return h ? KP_CUBLAS_STATUS_SUCCESS : NOT_INITIALIZED;
}

kp_cublas_status cublasDestroy_v2(kp_cublas_handle h)
{
    free(h);
    return KP_CUBLAS_STATUS_SUCCESS;
}

kp_cublas_status cublasSetStream_v2(kp_cublas_handle h, kp_cuda_stream stream)
{
    if (!h) return NOT_INITIALIZED;
    ((handle *)(void *)h)->stream = stream;
    return KP_CUBLAS_STATUS_SUCCESS;
}

static int too_short(int ld, int rows)
{
    return ld < 1 || ld < rows;
}

kp_cublas_status cublasSgemm_v2(kp_cublas_handle h, kp_cublas_operation op_a,
                                kp_cublas_operation op_b, int m, int n, int k, const float *alpha,
                                const float *a, int lda, const float *b, int ldb, const float *beta,
                                float *c, int ldc)
{
    const int a_t = op_a == KP_CUBLAS_OP_T, b_t = op_b == KP_CUBLAS_OP_T;
    if (!h) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || too_short(lda, a_t ? k : m) || too_short(ldb, b_t ? n : k) ||
        too_short(ldc, m))
        return INVALID_VALUE;
    standin_wait(((handle *)(void *)h)->stream);
    const size_t a_row = a_t ? (size_t)lda : 1, a_col = a_t ? 1 : (size_t)lda;
    const size_t b_row = b_t ? (size_t)ldb : 1, b_col = b_t ? 1 : (size_t)ldb;
    for (size_t j = 0; j < (size_t)n; j++)
        for (size_t i = 0; i < (size_t)m; i++) {
            float sum = 0, *to = &c[i + j * (size_t)ldc];
            for (size_t l = 0; l < (size_t)k; l++)
                sum += a[i * a_row + l * a_col] * b[l * b_row + j * b_col];
            *to = *alpha * sum + (*beta != 0 ? *beta * *to : 0);
        }
    return KP_CUBLAS_STATUS_SUCCESS;
}
