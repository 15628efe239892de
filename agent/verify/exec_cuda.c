/* SPDX-License-Identifier: MIT
 *
 * The CUDA executor: memory of one GPU, cuBLAS for matmul, NCCL between the ranks. One stream, on
 * which everything happens in order. Nothing waits inside a library: the stream is polled, and so
 * are NCCL's communicators (exec_nccl.c), until the deadline. Ops other than MATMUL have no row
 * yet. */
#include "agent/verify/exec_cuda.h"
#include "proto/clock.h"
#include <limits.h>
#include <time.h>

/* ---- what calls return ---- */

kp_status kp_cuda_check(const kp_cuda_exec *e, kp_cuda_error error, const char *what, kp_err *err)
{
    if (error == KP_cudaSuccess) return KP_OK;
    e->api.cudaGetLastError(); /* forget it: the next call is judged by itself */
    return kp_fail(err, error == KP_cudaErrorMemoryAllocation ? KP_NOMEM : KP_INCONCLUSIVE,
                   "%s: %s (CUDA error %d)", what, e->api.cudaGetErrorString(error), (int)error);
}

static kp_status check_blas(kp_cublas_status status, const char *what, kp_err *err)
{
    if (status == KP_CUBLAS_STATUS_SUCCESS) return KP_OK;
    return kp_fail(err, KP_INCONCLUSIVE, "%s failed (cuBLAS status %d)", what, (int)status);
}

void kp_cuda_pause(uint32_t turn)
{
    long us = turn < 10 ? 20 : turn < 100 ? 100 : 1000;
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* Notes how much of the GPU's memory is in use; ours alone where the driver does not say. */
static void note_peak(kp_cuda_exec *e)
{
    size_t unused = 0, total = 0;
    uint64_t used = e->used_bytes;
    if (e->api.cudaMemGetInfo(&unused, &total) == KP_cudaSuccess)
        used = kp_max_u64(used, kp_sub_u64(e->free_bytes, unused));
    e->peak_bytes = kp_max_u64(e->peak_bytes, used);
}

static kp_status cuda_sync(kp_exec *exec, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    for (uint32_t turn = 0;; turn++) {
        kp_cuda_error error = e->api.cudaStreamQuery(e->stream);
        if (error != KP_cudaErrorNotReady) return kp_cuda_check(e, error, "the GPU's stream", err);
        if (kp_now_s() >= e->deadline_s)
            return kp_fail(err, KP_INCONCLUSIVE, "the GPU did not finish in time");
        if (turn > 0) KP_TRY(kp_channel_check(e->channel, err));
        kp_cuda_pause(turn);
    }
}

/* ---- open, close ---- */

static void cuda_close(kp_exec *exec)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    kp_cuda_comms_close(e);
    if (e->blas) e->api.cublasDestroy_v2(e->blas);
    if (e->stream) e->api.cudaStreamDestroy(e->stream);
    kp_cuda_unload(&e->api);
    free(e);
}

/* A GPU's own UUID is surer than an index, which other programs may count otherwise; CUDA then
 * shows this GPU alone. Must happen before the runtime starts. */
static int choose_device(const kp_exec_env *env)
{
    bool own = env->gpu && (strncmp(env->gpu, "GPU-", 4) == 0 || strncmp(env->gpu, "MIG-", 4) == 0);
    if (!own) return (int)env->gpu_index;
    setenv("CUDA_VISIBLE_DEVICES", env->gpu, 1);
    return 0;
}

static kp_status find_device(kp_cuda_exec *e, int device, kp_err *err)
{
    int count = 0;
    kp_cuda_error error = e->api.cudaGetDeviceCount(&count);
    if (error == KP_cudaErrorInsufficientDriver || error == KP_cudaErrorNoDevice)
        count = 0;
    else
        KP_TRY(kp_cuda_check(e, error, "cannot count the GPUs", err));
    if (device < count)
        return kp_cuda_check(e, e->api.cudaSetDevice(device), "cannot use the GPU", err);
    kp_fail(err, KP_UNSUPPORTED, "CUDA sees no GPU %d (it sees %d): %s", device, count,
            e->api.cudaGetErrorString(error == KP_cudaSuccess ? KP_cudaErrorNoDevice : error));
    kp_hint(err, "is the NVIDIA driver loaded on the node?");
    return KP_UNSUPPORTED;
}

static kp_status cuda_open(const kp_exec_env *env, kp_exec **ret, kp_err *err)
{
    kp_cuda_exec *e = calloc(1, sizeof(*e));
    if (!e) return kp_nomem(err);
    e->base.ops = &kp_exec_cuda;
    e->channel = env->channel;
    e->deadline_s = env->deadline_s;
    int device = choose_device(env);
    kp_status status;
    KP_TRY_OUT(kp_cuda_load(env->cuda_dir, &e->api, err));
    KP_TRY_OUT(find_device(e, device, err));
    KP_TRY_OUT(kp_cuda_check(e,
                             e->api.cudaStreamCreateWithFlags(&e->stream, KP_cudaStreamNonBlocking),
                             "cannot make a stream", err));
    KP_TRY_OUT(check_blas(e->api.cublasCreate_v2(&e->blas), "cublasCreate", err));
    KP_TRY_OUT(check_blas(e->api.cublasSetStream_v2(e->blas, e->stream), "cublasSetStream", err));
    *ret = &e->base;
    return KP_OK;
out:
    cuda_close(&e->base);
    return status;
}

static bool cuda_covers(kp_op op)
{
    return op == KP_OP_MATMUL;
}

/* ---- memory ---- */

static size_t bytes_of(uint64_t elems)
{
    return (size_t)kp_mul_u64(elems, sizeof(float));
}

static kp_status cuda_alloc(kp_exec *exec, uint64_t elems, kp_mem *ret, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    char what[80];
    void *at = NULL;
    size_t bytes = bytes_of(elems);
    snprintf(what, sizeof(what), "the GPU has no room for %s", kp_size_text(bytes).s);
    KP_TRY(kp_cuda_check(e, e->api.cudaMalloc(&at, bytes ? bytes : sizeof(float)), what, err));
    *ret = (kp_mem){at, elems};
    e->used_bytes += bytes;
    note_peak(e);
    return kp_cuda_check(e, e->api.cudaMemsetAsync(at, 0xff, bytes, e->stream),
                         "cannot fill memory", err);
}

static void cuda_free(kp_exec *exec, kp_mem mem)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    if (!mem.at) return;
    note_peak(e);
    e->api.cudaFree(mem.at);
    e->used_bytes -= bytes_of(mem.elems);
}

static kp_status cuda_put(kp_exec *exec, kp_mem to, const void *from, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    kp_cuda_error error = e->api.cudaMemcpyAsync(to.at, from, bytes_of(to.elems),
                                                 KP_cudaMemcpyHostToDevice, e->stream);
    KP_TRY(kp_cuda_check(e, error, "cannot copy to the GPU", err));
    return cuda_sync(exec, err); /* `from` is the caller's again */
}

static kp_status cuda_get(kp_exec *exec, void *to, kp_mem from, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    kp_cuda_error error = e->api.cudaMemcpyAsync(to, from.at, bytes_of(from.elems),
                                                 KP_cudaMemcpyDeviceToHost, e->stream);
    KP_TRY(kp_cuda_check(e, error, "cannot copy from the GPU", err));
    return cuda_sync(exec, err);
}

/* One run is copied as such: CUDA limits pitches to 2 GiB. */
static kp_status cuda_copy(kp_exec *exec, const kp_exec_copy *c, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    float *to = c->to.at + c->to_offset;
    const float *from = c->from.at + c->from_offset;
    const kp_cuda_copy_kind kind = KP_cudaMemcpyDeviceToDevice;
    kp_cuda_error error = KP_cudaSuccess;
    if (c->rows == 1)
        error = e->api.cudaMemcpyAsync(to, from, bytes_of(c->width), kind, e->stream);
    else if (c->width > 0 && c->rows > 0)
        error = e->api.cudaMemcpy2DAsync(to, bytes_of(c->to_pitch), from, bytes_of(c->from_pitch),
                                         bytes_of(c->width), c->rows, kind, e->stream);
    return kp_cuda_check(e, error, "cannot copy on the GPU", err);
}

/* ---- ops ---- */

/* One product of row-major matrices, c (m, n) = a b, each stored as it is or transposed. cuBLAS
 * counts columns first, so it is asked for c^T = b^T a^T. A side of 0 gives nothing, or zeros. */
typedef struct product {
    int m, n, k;
    const float *a, *b;
    bool a_transposed, b_transposed; /* a is stored (k, m); b is stored (n, k) */
    float *c;
} product;

static int at_least_1(int n)
{
    return n > 1 ? n : 1;
}

static kp_status multiply(kp_cuda_exec *e, product p, kp_err *err)
{
    const float one = 1, zero = 0;
    if (p.m == 0 || p.n == 0) return KP_OK;
    if (p.k == 0)
        return kp_cuda_check(
            e, e->api.cudaMemsetAsync(p.c, 0, (size_t)p.m * (size_t)p.n * sizeof(float), e->stream),
            "cannot fill memory", err);
    return check_blas(
        e->api.cublasSgemm_v2(e->blas, p.b_transposed ? KP_CUBLAS_OP_T : KP_CUBLAS_OP_N,
                              p.a_transposed ? KP_CUBLAS_OP_T : KP_CUBLAS_OP_N, p.n, p.m, p.k, &one,
                              p.b, at_least_1(p.b_transposed ? p.k : p.n), p.a,
                              at_least_1(p.a_transposed ? p.m : p.k), &zero, p.c, at_least_1(p.n)),
        "cublasSgemm", err);
}

static kp_status cuda_run(kp_exec *exec, const kp_op_call *call, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    uint64_t m = (uint64_t)(call->x.dim[0] * call->x.dim[1]);
    uint64_t k = (uint64_t)(call->w.dim[0] * call->w.dim[1]);
    uint64_t n = (uint64_t)(call->w.dim[2] * call->w.dim[3]);
    if (m > INT_MAX || k > INT_MAX || n > INT_MAX)
        return kp_fail(err, KP_UNSUPPORTED, "cuBLAS takes no matrix with a side over %d", INT_MAX);
    if (call->direction == KP_FORWARD)
        return multiply(e,
                        (product){.m = (int)m,
                                  .n = (int)n,
                                  .k = (int)k,
                                  .a = call->x_at,
                                  .b = call->w_at,
                                  .c = call->y_at},
                        err);
    KP_TRY(multiply(e,
                    (product){.m = (int)m,
                              .n = (int)k,
                              .k = (int)n,
                              .a = call->dy_at,
                              .b = call->w_at,
                              .b_transposed = true,
                              .c = call->dx_at},
                    err));
    return multiply(e,
                    (product){.m = (int)k,
                              .n = (int)n,
                              .k = (int)m,
                              .a = call->x_at,
                              .a_transposed = true,
                              .b = call->dy_at,
                              .c = call->dw_at},
                    err);
}

/* ---- the rest ---- */

static kp_status cuda_collective(kp_exec *exec, const kp_exec_coll *coll, kp_err *err)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    kp_status status = kp_cuda_collective(e, coll, err);
    note_peak(e);
    return status;
}

static uint64_t cuda_peak(const kp_exec *exec)
{
    return ((const kp_cuda_exec *)exec)->peak_bytes;
}

static void cuda_reset(kp_exec *exec)
{
    kp_cuda_exec *e = (kp_cuda_exec *)exec;
    size_t unused = 0, total = 0;
    e->free_bytes = e->api.cudaMemGetInfo(&unused, &total) == KP_cudaSuccess ? unused : 0;
    e->peak_bytes = e->used_bytes;
}

const kp_exec_ops kp_exec_cuda = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .covers = cuda_covers,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .put = cuda_put,
    .get = cuda_get,
    .copy = cuda_copy,
    .run_op = cuda_run,
    .collective = cuda_collective,
    .sync = cuda_sync,
    .peak_bytes = cuda_peak,
    .reset_peak = cuda_reset,
};
