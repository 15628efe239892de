/* SPDX-License-Identifier: MIT
 *
 * agent/verify/cuda_api.h — what is used of the CUDA runtime, cuBLAS and NCCL, and how it is found.
 *
 * kplan is built without NVIDIA's headers and starts without its libraries. The few types, values
 * and functions that it uses stand here as lists, under names of our own: `KP_` + NVIDIA's name for
 * values, `kp_cuda_`, `kp_cublas_`, `kp_nccl_` for types. kp_cuda_load finds the libraries with
 * dlopen and fills one table of functions, whose members have NVIDIA's own names. A test compiles
 * this header together with the toolkit's, where there is one, and asserts that sizes, values and
 * prototypes are the same (tests/standin/compare.c). Public interface facts: CUDA Runtime API,
 * cuBLAS and NCCL user guides; versions 12 and 13 of CUDA, NCCL 2.14 and later. */
#ifndef KP_AGENT_VERIFY_CUDA_API_H
#define KP_AGENT_VERIFY_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

/* ---- types; a test puts NVIDIA's own in their place ---- */

#ifndef KP_CUDA_TOOLKIT_TYPES
typedef int kp_cuda_error;
typedef struct kp_cuda_stream_opaque *kp_cuda_stream;
typedef int kp_cuda_copy_kind;
typedef int kp_cublas_status;
typedef struct kp_cublas_opaque *kp_cublas_handle;
typedef int kp_cublas_operation;
typedef int kp_nccl_result;
typedef struct kp_nccl_comm_opaque *kp_nccl_comm;
typedef int kp_nccl_type;
typedef int kp_nccl_op;

#define KP_NCCL_ID_BYTES 128
typedef struct kp_nccl_id {
    char internal[KP_NCCL_ID_BYTES];
} kp_nccl_id;

/* The beginning of ncclConfig_t as of 2.14. NCCL copies `size` bytes of it and takes its own
 * defaults for what `version` did not have yet, so this one fits all later versions too. */
typedef struct kp_nccl_config {
    size_t size;
    unsigned int magic, version;
    int blocking;
} kp_nccl_config;
#endif

/*    name                       value */
#define KP_CUDA_VALUES(X)                                                                          \
    X(cudaSuccess, 0)                                                                              \
    X(cudaErrorMemoryAllocation, 2)                                                                \
    X(cudaErrorInsufficientDriver, 35)                                                             \
    X(cudaErrorNoDevice, 100)                                                                      \
    X(cudaErrorNotReady, 600)                                                                      \
    X(cudaMemcpyHostToDevice, 1)                                                                   \
    X(cudaMemcpyDeviceToHost, 2)                                                                   \
    X(cudaMemcpyDeviceToDevice, 3)                                                                 \
    X(cudaStreamNonBlocking, 1)                                                                    \
    X(CUBLAS_STATUS_SUCCESS, 0)                                                                    \
    X(CUBLAS_OP_N, 0)                                                                              \
    X(CUBLAS_OP_T, 1)                                                                              \
    X(ncclSuccess, 0)                                                                              \
    X(ncclInternalError, 3)                                                                        \
    X(ncclInvalidArgument, 4)                                                                      \
    X(ncclInvalidUsage, 5)                                                                         \
    X(ncclRemoteError, 6)                                                                          \
    X(ncclInProgress, 7)                                                                           \
    X(ncclSum, 0)                                                                                  \
    X(ncclFloat32, 7)

enum {
#define KP_CUDA_VALUE(name, value) KP_##name = value,
    KP_CUDA_VALUES(KP_CUDA_VALUE)
#undef KP_CUDA_VALUE
};

#define KP_NCCL_CONFIG_MAGIC   0xcafebeefu
#define KP_NCCL_CONFIG_VERSION 21400u /* NCCL_VERSION(2, 14, 0) */

/* ---- functions ----
 *    library, result, name, arguments */
#define KP_CUDA_FUNCTIONS(X)                                                                       \
    X(CUDART, kp_cuda_error, cudaGetDeviceCount, (int *count))                                     \
    X(CUDART, kp_cuda_error, cudaSetDevice, (int device))                                          \
    X(CUDART, kp_cuda_error, cudaGetLastError, (void))                                             \
    X(CUDART, const char *, cudaGetErrorString, (kp_cuda_error error))                             \
    X(CUDART, kp_cuda_error, cudaMemGetInfo, (size_t * free_bytes, size_t * total_bytes))          \
    X(CUDART, kp_cuda_error, cudaMalloc, (void **at, size_t bytes))                                \
    X(CUDART, kp_cuda_error, cudaFree, (void *at))                                                 \
    X(CUDART, kp_cuda_error, cudaMemsetAsync,                                                      \
      (void *at, int value, size_t bytes, kp_cuda_stream stream))                                  \
    X(CUDART, kp_cuda_error, cudaMemcpyAsync,                                                      \
      (void *to, const void *from, size_t bytes, kp_cuda_copy_kind kind, kp_cuda_stream stream))   \
    X(CUDART, kp_cuda_error, cudaMemcpy2DAsync,                                                    \
      (void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,               \
       size_t height, kp_cuda_copy_kind kind, kp_cuda_stream stream))                              \
    X(CUDART, kp_cuda_error, cudaStreamCreateWithFlags,                                            \
      (kp_cuda_stream * stream, unsigned int flags))                                               \
    X(CUDART, kp_cuda_error, cudaStreamDestroy, (kp_cuda_stream stream))                           \
    X(CUDART, kp_cuda_error, cudaStreamQuery, (kp_cuda_stream stream))                             \
    X(CUBLAS, kp_cublas_status, cublasCreate_v2, (kp_cublas_handle * handle))                      \
    X(CUBLAS, kp_cublas_status, cublasDestroy_v2, (kp_cublas_handle handle))                       \
    X(CUBLAS, kp_cublas_status, cublasSetStream_v2,                                                \
      (kp_cublas_handle handle, kp_cuda_stream stream))                                            \
    X(CUBLAS, kp_cublas_status, cublasSgemm_v2,                                                    \
      (kp_cublas_handle handle, kp_cublas_operation op_a, kp_cublas_operation op_b, int m, int n,  \
       int k, const float *alpha, const float *a, int lda, const float *b, int ldb,                \
       const float *beta, float *c, int ldc))                                                      \
    X(NCCL, kp_nccl_result, ncclGetUniqueId, (kp_nccl_id * id))                                    \
    X(NCCL, kp_nccl_result, ncclCommInitRankConfig,                                                \
      (kp_nccl_comm * comm, int ranks, kp_nccl_id id, int rank, kp_nccl_config *config))           \
    X(NCCL, kp_nccl_result, ncclCommGetAsyncError, (kp_nccl_comm comm, kp_nccl_result * error))    \
    X(NCCL, kp_nccl_result, ncclCommFinalize, (kp_nccl_comm comm))                                 \
    X(NCCL, kp_nccl_result, ncclCommDestroy, (kp_nccl_comm comm))                                  \
    X(NCCL, kp_nccl_result, ncclCommAbort, (kp_nccl_comm comm))                                    \
    X(NCCL, const char *, ncclGetErrorString, (kp_nccl_result result))                             \
    X(NCCL, kp_nccl_result, ncclGroupStart, (void))                                                \
    X(NCCL, kp_nccl_result, ncclGroupEnd, (void))                                                  \
    X(NCCL, kp_nccl_result, ncclAllReduce,                                                         \
      (const void *from, void *to, size_t count, kp_nccl_type type, kp_nccl_op op,                 \
       kp_nccl_comm comm, kp_cuda_stream stream))                                                  \
    X(NCCL, kp_nccl_result, ncclAllGather,                                                         \
      (const void *from, void *to, size_t count, kp_nccl_type type, kp_nccl_comm comm,             \
       kp_cuda_stream stream))                                                                     \
    X(NCCL, kp_nccl_result, ncclReduceScatter,                                                     \
      (const void *from, void *to, size_t count, kp_nccl_type type, kp_nccl_op op,                 \
       kp_nccl_comm comm, kp_cuda_stream stream))                                                  \
    X(NCCL, kp_nccl_result, ncclBroadcast,                                                         \
      (const void *from, void *to, size_t count, kp_nccl_type type, int root, kp_nccl_comm comm,   \
       kp_cuda_stream stream))                                                                     \
    X(NCCL, kp_nccl_result, ncclReduce,                                                            \
      (const void *from, void *to, size_t count, kp_nccl_type type, kp_nccl_op op, int root,       \
       kp_nccl_comm comm, kp_cuda_stream stream))

typedef enum kp_cuda_library {
    KP_CUDA_CUDART,
    KP_CUDA_CUBLAS,
    KP_CUDA_NCCL,
    KP_CUDA_LIBRARY_COUNT
} kp_cuda_library;

/* The table: every function of the list, and the libraries it came from. */
typedef struct kp_cuda {
    void *libraries[KP_CUDA_LIBRARY_COUNT];
#define KP_CUDA_MEMBER(library, result, name, arguments) result(*name) arguments;
    KP_CUDA_FUNCTIONS(KP_CUDA_MEMBER)
#undef KP_CUDA_MEMBER
} kp_cuda;

#ifndef KP_CUDA_TOOLKIT_TYPES
#include "proto/status.h"

/* Loads the libraries, CUDA 13 before 12, from `dir` or (NULL) where the loader finds them, and
 * fills the table. KP_UNSUPPORTED: "CUDA runtime not found: ..." with what the loader said of the
 * first name, or the function that a library lacks. */
kp_status kp_cuda_load(const char *dir, kp_cuda *ret, kp_err *err);

/* Closes the libraries; a zeroed table is fine. */
void kp_cuda_unload(kp_cuda *cuda);
#endif

#endif
