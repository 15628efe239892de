/* SPDX-License-Identifier: MIT
 *
 * HDF5 files, in memory and through a source that copies every piece. Both ways give the same; what
 * is refused has a message; nothing takes more than 64 MiB. The signature is always there, so that
 * nothing is wasted on files that are none, and the length that the file says is made true. */
#include "planner/container/container.h"
#include "planner/container/hdf5.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static kp_status read_piece(void *of, uint64_t at, void *to, size_t n, kp_err *err)
{
    (void)err;
    memcpy(to, *(const uint8_t *const *)of + at, n);
    return KP_OK;
}

static kp_status read_source(const kp_source *source, size_t *ret_len)
{
    kp_arena arena;
    kp_err err = {0};
    const char *text = NULL;
    kp_arena_init(&arena, (size_t)64 << 20);
    kp_status status = kp_container_text(source, &arena, &text, ret_len, &err);
    assert(status == KP_OK ? text != NULL : status == KP_INPUT && err.msg[0]);
    kp_arena_release(&arena);
    return status;
}

/* The datasets, also of files without a model. */
static void list(const kp_source *source)
{
    kp_arena arena;
    kp_err err = {0};
    kp_hdf5 file;
    kp_hdf5_arrays arrays;
    kp_arena_init(&arena, (size_t)64 << 20);
    kp_status status = kp_hdf5_open(source, &arena, &file, &err);
    if (!status) status = kp_hdf5_list(&file, NULL, &arrays);
    assert(status == KP_OK || (status == KP_INPUT && err.msg[0]));
    kp_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char signature[] = "\x89HDF\r\n\x1a\n";
    uint8_t *copy = malloc(size + 8); /* of exactly this size: a sanitizer sees one byte too many */
    size_t len = 0, len_pieces = 0;
    if (!copy) return 0;
    memcpy(copy, signature, 8);
    if (size > 8) memcpy(copy + 8, data + 8, size - 8);
    size = size > 8 ? size : 8;
    if (size > 48) memset(copy + (copy[8] < 2 ? 40 : 28), 255, 8); /* the end: not said */
    kp_source memory = kp_source_memory(copy, size);
    kp_source pieces = {.read = read_piece, .of = &copy, .size = size};
    kp_status status = read_source(&memory, &len);
    assert(status == read_source(&pieces, &len_pieces) && len == len_pieces);
    list(&pieces);
    free(copy);
    return 0;
}
