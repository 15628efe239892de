/* SPDX-License-Identifier: MIT
 *
 * planner/container/source.h — bytes that are read where they are needed.
 *
 * A file of weights has gigabytes of which kilobytes matter, so containers are read in pieces. A
 * source is memory, or somebody's function that reads a file; part of a source is a source. All
 * reading goes through kp_source_get, the one place that checks bounds. */
#ifndef KP_PLANNER_CONTAINER_SOURCE_H
#define KP_PLANNER_CONTAINER_SOURCE_H

#include "proto/arena.h"

/* Reads exactly n bytes at `at`; KP_INPUT with the reason if that cannot be. */
typedef kp_status kp_source_read(void *of, uint64_t at, void *to, size_t n, kp_err *err);

typedef struct kp_source {
    const uint8_t *bytes; /* all of it, or NULL: `read` is asked */
    kp_source_read *read;
    void *of;      /* handed to read */
    uint64_t base; /* where it starts in what `bytes` or `read` mean */
    uint64_t size;
} kp_source;

kp_source kp_source_memory(const void *bytes, uint64_t size);

/* Bytes at .. at + n of the source. KP_INPUT if it is shorter. */
kp_status kp_source_part(const kp_source *source, uint64_t at, uint64_t n, kp_source *ret,
                         kp_err *err);

/* n bytes at `at`: of a memory source a pointer into it, else a copy in the arena. KP_INPUT if the
 * source is shorter or cannot be read; KP_NOMEM. */
kp_status kp_source_get(const kp_source *source, uint64_t at, uint64_t n, kp_arena *arena,
                        const uint8_t **ret, kp_err *err);

/* The same into memory of the caller. */
kp_status kp_source_copy(const kp_source *source, uint64_t at, uint64_t n, void *to, kp_err *err);

/* ---- numbers in a piece, little-endian ---- */

typedef struct kp_cursor {
    const uint8_t *at, *end;
    bool past; /* more was read than there is: all further numbers are 0 */
} kp_cursor;

kp_cursor kp_cursor_over(const uint8_t *bytes, uint64_t n);
/* n bytes, moved over; NULL if there are fewer. */
const uint8_t *kp_cursor_take(kp_cursor *cursor, uint64_t n);
/* A number of 0 to 8 bytes. */
uint64_t kp_cursor_uint(kp_cursor *cursor, unsigned n);

#endif
