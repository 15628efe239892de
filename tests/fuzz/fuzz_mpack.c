/* SPDX-License-Identifier: MIT
 *
 * MessagePack from the wire, as every message. The first byte chooses the message. What passes the
 * scan is also well-formed for msgpack-c; what is read takes little memory and packs to something
 * equal; nothing else may happen than a status. The mutator starts from real messages. */
#include "proto/json.h"
#include "proto/messages.h"
#include "tests/lib/fill.h"
#include <assert.h>
#include <msgpack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static void scan_agrees(const uint8_t *data, size_t size)
{
    msgpack_unpacked whole;
    size_t at = 0;
    msgpack_unpacked_init(&whole);
    assert(msgpack_unpack_next(&whole, (const char *)data, size, &at) == MSGPACK_UNPACK_SUCCESS);
    assert(at == size);
    msgpack_unpacked_destroy(&whole);
}

/* Packed again it is the same value; printed it is JSON. */
static void comes_back(const kp_schema *schema, const void *value, kp_arena *arena)
{
    kp_buf packed, printed;
    kp_buf_init(&packed, 0);
    kp_buf_init(&printed, 0);
    void *back = kp_arena_alloc(arena, 1, schema->size);
    assert(kp_schema_pack(schema, value, &packed, NULL) == KP_OK);
    assert(kp_schema_unpack(schema, packed.data, packed.len, arena, back, NULL) == KP_OK);
    assert(kp_schema_equal(schema, value, back));
    assert(kp_schema_print(schema, value, &printed, NULL) == KP_OK);
    json_t *json = NULL;
    kp_err err = {0};
    kp_status status = kp_json_parse(kp_buf_text(&printed), printed.len, &json, &err);
    assert(status == KP_OK || strstr(err.msg, "too large") || strstr(err.msg, "twice"));
    json_decref(json);
    kp_buf_release(&packed);
    kp_buf_release(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    const kp_schema *schema = kp_schemas[*data % kp_n_schemas];
    data++;
    size--;
    kp_err err = {0};
    kp_status checked = kp_mpack_check(data, size, &err);
    assert(checked == KP_OK || (checked == KP_INPUT && err.msg[0]));
    if (checked == KP_OK) scan_agrees(data, size);
    kp_arena arena;
    kp_arena_init(&arena, (size_t)256 << 20);
    void *value = kp_arena_alloc(&arena, 1, schema->size);
    kp_status status = kp_schema_unpack(schema, data, size, &arena, value, &err);
    assert(arena.used_bytes <= 2 * schema->size + 128 * size);
    assert(status == KP_OK ? checked == KP_OK : status == KP_INPUT && err.msg[0]);
    if (status == KP_OK) comes_back(schema, value, &arena);
    kp_arena_release(&arena);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (size > 1 && seed % 16) return LLVMFuzzerMutate(data, size, max_size);
    uint8_t which = (uint8_t)(seed / 16 % kp_n_schemas);
    kp_arena arena;
    kp_buf packed;
    kp_arena_init(&arena, 0);
    kp_buf_init(&packed, 0);
    void *value = kp_arena_alloc(&arena, 1, kp_schemas[which]->size);
    test_fill(kp_schemas[which], value, &arena, seed >> 16, seed >> 8 & 1);
    assert(kp_schema_pack(kp_schemas[which], value, &packed, NULL) == KP_OK);
    if (packed.len < max_size) {
        data[0] = which;
        memcpy(data + 1, packed.data, packed.len);
        size = packed.len + 1;
    }
    kp_buf_release(&packed);
    kp_arena_release(&arena);
    return size ? size : LLVMFuzzerMutate(data, size, max_size);
}
