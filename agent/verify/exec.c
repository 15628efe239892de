/* SPDX-License-Identifier: MIT */
#include "agent/verify/exec.h"

const kp_exec_ops *kp_exec_find(kp_executor executor)
{
    static const kp_exec_ops *const table[KP_EXEC_COUNT] = {
        [KP_EXEC_HOST] = &kp_exec_host,
        [KP_EXEC_CUDA] = &kp_exec_cuda,
    };
    return (unsigned)executor < KP_EXEC_COUNT ? table[executor] : NULL;
}
