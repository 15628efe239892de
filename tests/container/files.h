/* SPDX-License-Identifier: MIT
 *
 * tests/container/files.h — containers for tests: files, archives made to order, readings. */
#ifndef KP_TESTS_CONTAINER_FILES_H
#define KP_TESTS_CONTAINER_FILES_H

#include "planner/container/container.h"
#include "proto/text.h"

/* A container's reading, in an arena of 64 MiB. */
typedef struct test_reading {
    kp_arena arena;
    kp_status status;
    kp_err err;
    size_t used_bytes; /* of the arena, by the reading */
    const char *text;  /* a copy with a 0 behind; "" if it failed */
} test_reading;

test_reading test_read(const void *bytes, size_t n);
/* The same through a source that is no memory, so that every piece is copied. */
test_reading test_read_pieces(const void *bytes, size_t n);
void test_reading_free(test_reading *reading);

/* A file below tests/data; asserts that it is there. */
kp_buf test_file(const char *path);
/* The content of a gzip file below tests/data, in `arena`. */
kp_source test_unpacked(const char *path, kp_arena *arena);

/* One entry of an archive. */
typedef struct test_entry {
    const char *name;
    const void *bytes;
    size_t n; /* 0: bytes is a text */
    bool deflated;
} test_entry;

/* What is written over a finished archive: `width` bytes little-endian at `offset` of a record. */
typedef enum test_record { TEST_NOTHING, TEST_LOCAL, TEST_CENTRAL, TEST_END } test_record;
typedef struct test_patch {
    test_record record;
    unsigned entry, offset, width;
    uint64_t value;
} test_patch;

/* An archive of the entries (up to the first without a name), with patches (up to the first of
 * nothing; NULL: none). */
kp_buf test_zip(const test_entry *entries, size_t n, const test_patch *patches, size_t n_patches);
/* A gzip file of one member. */
kp_buf test_gzip(const void *bytes, size_t n);

#endif
