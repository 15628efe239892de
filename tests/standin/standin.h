/* SPDX-License-Identifier: MIT
 *
 * tests/standin/standin.h — what the stand-ins for NVIDIA's libraries share.
 *
 * libcudart, libcublas and libnccl implement the functions that agent/verify/cuda_api.h lists, on
 * host memory: device memory is malloc, a GPU's work is done at once, collectives run between
 * processes over shared memory, in a thread of their own. The very same binary that would load the
 * real libraries loads these. They are strict where the real ones are undefined: a host pointer
 * where a device pointer is due, a call on a communicator that is still busy, collectives that do
 * not match are errors. What they cannot show: real memory overheads, real times, a GPU's order of
 * summation.
 *
 * A library of this kind has state, so these have variables; no code of the programs includes this.
 *
 * Environment:
 *   KP_STANDIN_BYTES   a GPU's memory (1 GiB)
 *   KP_STANDIN_GPUS    how many there are (8)
 *   KP_STANDIN_HANG    "R:N": rank R of every communicator hangs in its Nth collective; N = 0:
 * while the communicator is made KP_STANDIN_REMOTE  "R:N": rank R's Nth collective ends with
 * ncclRemoteError */
#ifndef KP_TESTS_STANDIN_H
#define KP_TESTS_STANDIN_H

#include "agent/verify/cuda_api.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* What a kp_cuda_stream of the stand-ins points to: work of libnccl that is not done yet. */
typedef struct standin_stream {
    atomic_int pending;
} standin_stream;

static inline void standin_sleep(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* A stream's order: what comes behind a collective waits for it. */
static inline void standin_wait(kp_cuda_stream stream)
{
    standin_stream *s = (standin_stream *)(void *)stream;
    while (s && atomic_load(&s->pending) > 0) standin_sleep();
}

static inline uint64_t standin_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

#endif
