/* SPDX-License-Identifier: MIT
 *
 * tests/standin/compare.c — our declarations of CUDA, cuBLAS and NCCL against the toolkit's.
 *
 * Compiled and run by tests/verify/test_cuda_api.c where the toolkit is found, twice: with our own
 * types (sizes, values, the layout of the configuration), and with the toolkit's types in their
 * place (then every prototype must be the same type). Not part of any program. */
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#ifdef KP_CUDA_TOOLKIT_TYPES
typedef cudaError_t kp_cuda_error;
typedef cudaStream_t kp_cuda_stream;
typedef enum cudaMemcpyKind kp_cuda_copy_kind;
typedef cublasStatus_t kp_cublas_status;
typedef cublasHandle_t kp_cublas_handle;
typedef cublasOperation_t kp_cublas_operation;
typedef ncclResult_t kp_nccl_result;
typedef ncclComm_t kp_nccl_comm;
typedef ncclDataType_t kp_nccl_type;
typedef ncclRedOp_t kp_nccl_op;
typedef ncclUniqueId kp_nccl_id;
typedef ncclConfig_t kp_nccl_config;
#endif

#include "agent/verify/cuda_api.h"

#define SAME_VALUE(name, value) _Static_assert((int)(name) == (value), #name);
KP_CUDA_VALUES(SAME_VALUE)

#ifdef KP_CUDA_TOOLKIT_TYPES
#define SAME_TYPE(library, result, name, arguments)                                                \
    _Static_assert(__builtin_types_compatible_p(__typeof__(name), result arguments), #name);
KP_CUDA_FUNCTIONS(SAME_TYPE)
#else
#define SAME_SIZE(ours, theirs)                                                                    \
    _Static_assert(sizeof(ours) == sizeof(theirs) && _Alignof(ours) == _Alignof(theirs), #ours)
SAME_SIZE(kp_cuda_error, cudaError_t);
SAME_SIZE(kp_cuda_stream, cudaStream_t);
SAME_SIZE(kp_cuda_copy_kind, enum cudaMemcpyKind);
SAME_SIZE(kp_cublas_status, cublasStatus_t);
SAME_SIZE(kp_cublas_handle, cublasHandle_t);
SAME_SIZE(kp_cublas_operation, cublasOperation_t);
SAME_SIZE(kp_nccl_result, ncclResult_t);
SAME_SIZE(kp_nccl_comm, ncclComm_t);
SAME_SIZE(kp_nccl_type, ncclDataType_t);
SAME_SIZE(kp_nccl_op, ncclRedOp_t);
SAME_SIZE(kp_nccl_id, ncclUniqueId);

/* Ours is the beginning of theirs. */
#define SAME_PLACE(member)                                                                         \
    _Static_assert(offsetof(kp_nccl_config, member) == offsetof(ncclConfig_t, member) &&           \
                       sizeof(((kp_nccl_config *)0)->member) ==                                    \
                           sizeof(((ncclConfig_t *)0)->member),                                    \
                   #member)
SAME_PLACE(size);
SAME_PLACE(magic);
SAME_PLACE(version);
SAME_PLACE(blocking);
_Static_assert(sizeof(kp_nccl_config) <= sizeof(ncclConfig_t), "a prefix");
_Static_assert(KP_NCCL_CONFIG_VERSION == NCCL_VERSION(2, 14, 0), "version");
#endif

int main(void)
{
    const ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    return config.magic == KP_NCCL_CONFIG_MAGIC ? 0 : 1;
}
