/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/allocator.h — what a framework's allocator makes of a step's requests.
 *
 * Frameworks ask the driver for segments and cut them into blocks; what they hold (reserved) is
 * more than what they hand out (allocated): sizes are rounded, rests of segments stay free, and
 * free blocks of the wrong size are no help. Replays request by request, by the published rules of
 * each allocator. One interface, one file an allocator. Pure. */
#ifndef KP_PLANNER_ESTIMATE_ALLOCATOR_H
#define KP_PLANNER_ESTIMATE_ALLOCATOR_H

#include "proto/arena.h"
#include "proto/num.h"

/* One request: `bytes` for a buffer, or 0: the buffer is given back. Buffers may come again. */
typedef struct kp_request {
    uint32_t buffer; /* KP_ALLOCATOR_EMPTY: free segments go back to the driver */
    bool spare;      /* the program does without it if there is no room */
    uint8_t stream;  /* < KP_ALLOCATOR_STREAMS: free blocks serve their own stream alone */
    uint64_t bytes;
} kp_request;

#define KP_ALLOCATOR_STREAMS 3

#define KP_ALLOCATOR_EMPTY UINT32_MAX

typedef struct kp_requests {
    const kp_request *list;
    uint32_t n, n_buffers;   /* buffers are < n_buffers */
    uint64_t capacity_bytes; /* that all segments may have together; UINT64_MAX: no limit */
    bool expandable;         /* segments that grow and shrink by pages */
} kp_requests;

typedef struct kp_replayed {
    uint64_t allocated_bytes; /* the most handed out at once, in whole blocks */
    uint64_t reserved_bytes;  /* the most in segments at once */
    uint64_t apart_bytes;     /* of those, the most in segments of other streams than 0 */
    uint64_t failed_bytes;    /* the largest request that found no room, spare ones left out; 0:
                                 none */
} kp_replayed;

/* torch's caching allocator (c10/cuda/CUDACachingAllocator.cpp). Sizes are multiples of 512 B.
 * Requests of at most 1 MiB are cut from segments of 2 MiB, below 10 MiB from segments of 20 MiB,
 * larger ones get a segment of their own, rounded to 2 MiB; the smallest free block that is large
 * enough serves (of equal ones the lowest), its rest is cut off if it is at least 512 B (small) or
 * more than 1 MiB (large), free neighbours join. Where the capacity ends, segments that are wholly
 * free go back and the request is tried once more. Expandable segments grow by pages of 2 or 20 MiB
 * at the first place where enough free pages are or can be, and give whole free pages back.
 * Blocks stay with the stream that they were first cut for. `bytes` and sums must stay below 2^62.
 * KP_NOMEM; scratch lives in `arena`. */
kp_status kp_allocator_torch(const kp_requests *requests, kp_arena *arena, kp_replayed *ret,
                             kp_err *err);

/* TensorFlow's BFC allocator (tensorflow/core/common_runtime/bfc_allocator.cc): one region, chunks
 * of multiples of 256 B. The smallest free chunk of the lowest of 21 bins (256 B << i) that has one
 * large enough serves, of equal ones the lowest; it is cut if it has twice the request or 128 MiB
 * more; free neighbours join. Here `reserved_bytes` is the most in chunks in use at once (its
 * bytes_in_use, which the region has to hold), `allocated_bytes` the most asked for. The limits and
 * failures are those of kp_allocator_torch. */
kp_status kp_allocator_bfc(const kp_requests *requests, kp_arena *arena, kp_replayed *ret,
                           kp_err *err);

#endif
