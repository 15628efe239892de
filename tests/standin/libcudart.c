/* SPDX-License-Identifier: MIT
 *
 * Stand-in for the CUDA runtime. */
#include "tests/standin/standin.h"
#include <pthread.h>
#include <string.h>

enum { INVALID_VALUE = 1, INVALID_DEVICE = 101 };

/* Device memory, so that any other pointer is found out. */
typedef struct block {
    struct block *next;
    char *at;
    size_t bytes;
} block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static size_t used_bytes;

#define DECLARE(library, result, name, arguments) result name arguments;
KP_CUDA_FUNCTIONS(DECLARE)

kp_cuda_error cudaGetDeviceCount(int *count)
{
    *count = (int)standin_number("KP_STANDIN_GPUS", 8);
    return *count > 0 ? KP_cudaSuccess : KP_cudaErrorNoDevice;
}

kp_cuda_error cudaSetDevice(int device)
{
    int count = 0;
    cudaGetDeviceCount(&count);
    return device >= 0 && device < count ? KP_cudaSuccess : INVALID_DEVICE;
}

kp_cuda_error cudaGetLastError(void)
{
    return KP_cudaSuccess;
}

const char *cudaGetErrorString(kp_cuda_error error)
{
    switch (error) {
    case KP_cudaSuccess:
        return "no error";
    case KP_cudaErrorMemoryAllocation:
        return "out of memory";
    case KP_cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    default:
        return "invalid argument";
    }
}

static size_t capacity(void)
{
    return (size_t)standin_number("KP_STANDIN_BYTES", (uint64_t)1 << 30);
}

kp_cuda_error cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    pthread_mutex_lock(&lock);
    *total_bytes = capacity();
    *free_bytes = capacity() - used_bytes;
    pthread_mutex_unlock(&lock);
    return KP_cudaSuccess;
}

kp_cuda_error cudaMalloc(void **at, size_t bytes)
{
    kp_cuda_error error = KP_cudaErrorMemoryAllocation;
    pthread_mutex_lock(&lock);
    block *b = bytes <= capacity() - used_bytes ? malloc(sizeof(*b)) : NULL;
    char *memory = b ? malloc(bytes ? bytes : 1) : NULL;
    if (memory) {
        *b = (block){blocks, memory, bytes};
        blocks = b;
        used_bytes += bytes;
        *at = memory;
        error = KP_cudaSuccess;
    } else {
        free(b);
    }
    pthread_mutex_unlock(&lock);
    return error;
}

kp_cuda_error cudaFree(void *at)
{
    kp_cuda_error error = at ? INVALID_VALUE : KP_cudaSuccess;
    pthread_mutex_lock(&lock);
    for (block **b = &blocks; at && *b; b = &(*b)->next) {
        block *found = *b;
        if (found->at != (char *)at) continue;
        *b = found->next;
        used_bytes -= found->bytes;
        free(found->at);
        free(found);
        error = KP_cudaSuccess;
        break;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int on_device(const void *at, size_t bytes)
{
    int found = bytes == 0;
    pthread_mutex_lock(&lock);
    for (const block *b = blocks; b && !found; b = b->next)
        found = (const char *)at >= b->at && (const char *)at + bytes <= b->at + b->bytes;
    pthread_mutex_unlock(&lock);
    return found;
}

kp_cuda_error cudaMemsetAsync(void *at, int value, size_t bytes, kp_cuda_stream stream)
{
    if (!on_device(at, bytes)) return INVALID_VALUE;
    standin_wait(stream);
    if (bytes > 0) memset(at, value, bytes);
    return KP_cudaSuccess;
}

kp_cuda_error cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                size_t width, size_t height, kp_cuda_copy_kind kind,
                                kp_cuda_stream stream)
{
    size_t to_bytes = height ? (height - 1) * to_pitch + width : 0;
    size_t from_bytes = height ? (height - 1) * from_pitch + width : 0;
    if (width > to_pitch || width > from_pitch) return INVALID_VALUE;
    if (kind != KP_cudaMemcpyDeviceToHost && !on_device(to, to_bytes)) return INVALID_VALUE;
    if (kind != KP_cudaMemcpyHostToDevice && !on_device(from, from_bytes)) return INVALID_VALUE;
    standin_wait(stream);
    for (size_t row = 0; row < height && width > 0; row++)
        memcpy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
    return KP_cudaSuccess;
}

kp_cuda_error cudaMemcpyAsync(void *to, const void *from, size_t bytes, kp_cuda_copy_kind kind,
                              kp_cuda_stream stream)
{
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

kp_cuda_error cudaStreamCreateWithFlags(kp_cuda_stream *stream, unsigned int flags)
{
    standin_stream *s = flags == KP_cudaStreamNonBlocking ? calloc(1, sizeof(*s)) : NULL;
    *stream = (kp_cuda_stream)(void *)s;
    return s ? KP_cudaSuccess : INVALID_VALUE;
}

kp_cuda_error cudaStreamDestroy(kp_cuda_stream stream)
{
    standin_wait(stream);
    free(stream);
    return KP_cudaSuccess;
}

kp_cuda_error cudaStreamQuery(kp_cuda_stream stream)
{
    const standin_stream *s = (const standin_stream *)(const void *)stream;
    return atomic_load(&s->pending) > 0 ? KP_cudaErrorNotReady : KP_cudaSuccess;
}
