/* SPDX-License-Identifier: MIT
 *
 * agent/verify/exec.h — what runs a part of a layer: host memory, or a GPU.
 *
 * One vtable, two executors: `host` (plain loops, the reference; collectives over the run's
 * channel) and `cuda` (CUDA, cuBLAS and NCCL through a table of functions loaded at run time,
 * cuda_api.h). Memory holds elements of 4 bytes: floats, or the int32 indices of a gather. Fresh
 * memory is filled with NaN, so what nobody wrote is never right by accident. An executor belongs
 * to one rank and one thread; calls may run behind until `sync` or `get`. */
#ifndef KP_AGENT_VERIFY_EXEC_H
#define KP_AGENT_VERIFY_EXEC_H

#include "agent/verify/channel.h"
#include "agent/verify/ops_host.h"

typedef struct kp_exec kp_exec;
typedef struct kp_exec_ops kp_exec_ops;

/* Memory of an executor; `at` may be an address of the GPU. */
typedef struct kp_mem {
    float *at;
    uint64_t elems;
} kp_mem;

typedef struct kp_exec_env {
    kp_channel *channel;
    uint32_t gpu_index;
    const char *gpu;      /* UUID or NULL; a real one ("GPU-...") is chosen by it */
    const char *cuda_dir; /* folder of the CUDA libraries; NULL: where the loader finds them */
    double deadline_s;    /* on the clock of kp_now_s: nothing waits longer */
} kp_exec_env;

/* `rows` runs of `width` elements from one memory to another, pitches apart. */
typedef struct kp_exec_copy {
    kp_mem to, from;
    uint64_t to_offset, to_pitch, from_offset, from_pitch, width, rows;
} kp_exec_copy;

/* A collective over a group of at least two. counts[i]: elements of member i's block.
 *   ALL_REDUCE      `in` is `out`: summed in place, counts not used
 *   ALL_GATHER      `in` is the own block, `out` all blocks one behind the other
 *   REDUCE_SCATTER  `in` is all blocks, `out` the sum of the own one
 * `failed` as in kp_channel_meet: a member that cannot take part says so before the traffic. */
typedef struct kp_exec_coll {
    kp_coll coll;
    kp_group group;
    uint64_t key; /* for kp_channel_meet; the executor may use key to key + 1 */
    kp_mem in, out;
    const uint64_t *counts;
    const kp_err *failed;
} kp_exec_coll;

struct kp_exec_ops {
    const char *name;
    /* KP_UNSUPPORTED: the machine lacks what it needs ("CUDA runtime not found: ..."). */
    kp_status (*open)(const kp_exec_env *env, kp_exec **ret, kp_err *err);
    void (*close)(kp_exec *exec);
    bool (*covers)(kp_op op);
    kp_status (*alloc)(kp_exec *exec, uint64_t elems, kp_mem *ret, kp_err *err);
    void (*free)(kp_exec *exec, kp_mem mem); /* zeroed memory is fine */
    kp_status (*put)(kp_exec *exec, kp_mem to, const void *from, kp_err *err);
    kp_status (*get)(kp_exec *exec, void *to, kp_mem from, kp_err *err);
    kp_status (*copy)(kp_exec *exec, const kp_exec_copy *copy, kp_err *err);
    kp_status (*run_op)(kp_exec *exec, const kp_op_call *call, kp_err *err);
    kp_status (*collective)(kp_exec *exec, const kp_exec_coll *coll, kp_err *err);
    kp_status (*sync)(kp_exec *exec, kp_err *err);
    /* Most bytes in use since the last reset: as the machine says where it does (a GPU's memory
     * outside our own allocations counts), else as allocated. */
    uint64_t (*peak_bytes)(const kp_exec *exec);
    void (*reset_peak)(kp_exec *exec);
};

struct kp_exec {
    const kp_exec_ops *ops;
};

extern const kp_exec_ops kp_exec_host, kp_exec_cuda;

/* The executor of a message's enum. */
const kp_exec_ops *kp_exec_find(kp_executor executor);

#endif
