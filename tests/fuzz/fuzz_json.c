/* SPDX-License-Identifier: MIT
 *
 * JSON text, as every message. The first byte chooses the message. What jansson reads the parser
 * reads too, unless a limit or one of Python's words for numbers is in it; what a message is read
 * from prints to text that reads back equal. The mutator starts from real messages. */
#include "proto/json.h"
#include "proto/messages.h"
#include "tests/lib/fill.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static void parser_agrees(const char *text, size_t size)
{
    json_t *ours = NULL, *theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    kp_err err = {0};
    kp_status status = kp_json_parse(text, size, &ours, &err);
    assert(status == KP_OK ? ours != NULL : status == KP_INPUT && !ours && err.msg[0]);
    if (theirs && !ours) assert(strstr(err.msg, "brackets inside") || strstr(err.msg, "memory"));
    if (theirs && ours) assert(json_equal(ours, theirs));
    if (!theirs && ours)
        assert(memchr(text, 'N', size) || memchr(text, 'I', size) || !memcmp(text, "\xef\xbb\xbf", 3));
    json_decref(ours);
    json_decref(theirs);
}

static void comes_back(const kp_schema *schema, const void *value, kp_arena *arena)
{
    kp_buf printed;
    kp_buf_init(&printed, 0);
    void *back = kp_arena_alloc(arena, 1, schema->size);
    assert(kp_schema_print(schema, value, &printed, NULL) == KP_OK);
    assert(kp_schema_read(schema, printed.data, printed.len, arena, back, NULL) == KP_OK);
    assert(kp_schema_equal(schema, value, back));
    kp_buf_release(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    const kp_schema *schema = kp_schemas[*data % kp_n_schemas];
    char *text = malloc(size); /* of exactly this size: a sanitizer sees one byte too many */
    if (!text) return 0;
    memcpy(text, data + 1, --size);
    parser_agrees(text, size);
    kp_err err = {0};
    kp_arena arena;
    kp_arena_init(&arena, (size_t)256 << 20);
    void *value = kp_arena_alloc(&arena, 1, schema->size);
    kp_status status = kp_schema_read(schema, text, size, &arena, value, &err);
    assert(status == KP_OK || (status == KP_INPUT && err.msg[0]));
    if (status == KP_OK) comes_back(schema, value, &arena);
    kp_arena_release(&arena);
    free(text);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (size > 1 && seed % 16) return LLVMFuzzerMutate(data, size, max_size);
    uint8_t which = (uint8_t)(seed / 16 % kp_n_schemas);
    kp_arena arena;
    kp_buf printed;
    kp_arena_init(&arena, 0);
    kp_buf_init(&printed, 0);
    void *value = kp_arena_alloc(&arena, 1, kp_schemas[which]->size);
    test_fill(kp_schemas[which], value, &arena, seed >> 16, seed >> 8 & 1);
    assert(kp_schema_print(kp_schemas[which], value, &printed, NULL) == KP_OK);
    if (printed.len < max_size) {
        data[0] = which;
        memcpy(data + 1, printed.data, printed.len);
        size = printed.len + 1;
    }
    kp_buf_release(&printed);
    kp_arena_release(&arena);
    return size ? size : LLVMFuzzerMutate(data, size, max_size);
}
