/* SPDX-License-Identifier: MIT
 *
 * Zip archives and gzip files, in memory and through a source that copies every piece. Both ways
 * give the same; what is refused has a message; nothing takes more than 64 MiB. Every entry of an
 * archive that opens is unpacked too. */
#include "planner/container/container.h"
#include "planner/container/limits.h"
#include "planner/container/zip.h"
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
    assert(status == KP_OK ? text != NULL : status != KP_NOMEM && err.msg[0]);
    assert(status == KP_OK || status == KP_INPUT || status == KP_UNSUPPORTED);
    kp_arena_release(&arena);
    return status;
}

static void unpack_all(const kp_source *source)
{
    kp_arena arena;
    kp_err err = {0};
    kp_zip zip;
    kp_arena_init(&arena, 0);
    if (kp_zip_open(source, &arena, &zip, &err) == KP_OK)
        for (uint32_t i = 0; i < zip.n_entries && i < 16; i++) {
            kp_arena_mark mark = kp_arena_tell(&arena);
            kp_source content;
            kp_status status =
                kp_zip_read(&zip, &zip.entries[i], KP_CONFIG_BYTES_MAX, &arena, &content, &err);
            assert(status == KP_OK ? content.size == zip.entries[i].whole
                                   : status == KP_INPUT && err.msg[0]);
            kp_arena_rewind(&arena, mark);
        }
    kp_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy =
        malloc(size + !size); /* of exactly this size: a sanitizer sees one byte too many */
    size_t len = 0, len_pieces = 0;
    if (!copy) return 0;
    memcpy(copy, data, size);
    kp_source memory = kp_source_memory(copy, size);
    kp_source pieces = {.read = read_piece, .of = &copy, .size = size};
    kp_status status = read_source(&memory, &len);
    assert(status == read_source(&pieces, &len_pieces) && len == len_pieces);
    unpack_all(&pieces);
    free(copy);
    return 0;
}
