/* SPDX-License-Identifier: MIT
 *
 * agent/verify/exec_cuda.h — what the two files of the CUDA executor share. */
#ifndef KP_AGENT_VERIFY_EXEC_CUDA_H
#define KP_AGENT_VERIFY_EXEC_CUDA_H

#include "agent/verify/cuda_api.h"
#include "agent/verify/exec.h"

/* A communicator of one group; groups of a run come again and again. */
typedef struct kp_cuda_comm kp_cuda_comm;
struct kp_cuda_comm {
    kp_cuda_comm *next;
    kp_nccl_comm comm;
    uint32_t n, ranks[];
};

typedef struct kp_cuda_exec {
    kp_exec base;
    kp_cuda api;
    kp_channel *channel;
    double deadline_s;
    kp_cuda_stream stream;
    kp_cublas_handle blas;
    kp_cuda_comm *comms;
    bool broken; /* a communicator was aborted: this rank does no more collectives */
    uint64_t used_bytes, peak_bytes;
    uint64_t free_bytes; /* of the GPU at the last reset */
} kp_cuda_exec;

/* KP_NOMEM for memory that is not there, else KP_INCONCLUSIVE: "what: CUDA's text". */
kp_status kp_cuda_check(const kp_cuda_exec *exec, kp_cuda_error error, const char *what,
                        kp_err *err);

/* Sleeps between two polls, longer with every turn. */
void kp_cuda_pause(uint32_t turn);

/* The collective of exec.h over NCCL, finished when it returns. A communicator that fails or does
 * not finish in time is aborted, and the run is broken with it. */
kp_status kp_cuda_collective(kp_cuda_exec *exec, const kp_exec_coll *coll, kp_err *err);

/* Ends all communicators: finalised while there is time, else aborted. */
void kp_cuda_comms_close(kp_cuda_exec *exec);

#endif
