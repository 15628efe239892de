/* SPDX-License-Identifier: MIT
 *
 * Object headers, versions 1 and 2: a first chunk of messages and chunks that continue it. */
#include "planner/container/hdf5_parts.h"
#include "planner/container/limits.h"
#include <inttypes.h>
#include <string.h>

static const char part[] = "object header";

enum {
    MSG_SPACE = 0x01,
    MSG_LINK_INFO = 0x02,
    MSG_TYPE = 0x03,
    MSG_LINK = 0x06,
    MSG_ATTR = 0x0c,
    MSG_CONTINUE = 0x10,
    MSG_TABLE = 0x11,
    MSG_ATTR_INFO = 0x15,
    FLAG_SHARED = 2, /* of a message: it stands elsewhere */
    FLAG_TIMES = 0x20,
    FLAG_COUNTS = 0x10,
    FLAG_ORDER = 0x04, /* of a header */
    CHECKSUM_BYTES = 4,
};

/* A chunk that is still to be read. */
typedef struct chunk {
    uint64_t at, n;
} chunk;

typedef struct reading {
    kp_hdf5 *file;
    kp_hdf5_object *object;
    uint64_t address;
    unsigned version;
    bool ordered; /* messages have two bytes of creation order */
    chunk *chunks;
    uint32_t n_chunks;
    size_t cap_chunks;
    uint32_t n_messages;
} reading;

static kp_status bad(reading *r, const char *why)
{
    return kp_hdf5_bad(r->file, part, r->address, why);
}

static kp_status add_chunk(reading *r, kp_cursor body)
{
    KP_TRY(kp_hdf5_charge(r->file, sizeof(chunk)));
    if (!KP_GROW(r->file->arena, r->chunks, r->n_chunks, r->cap_chunks))
        return kp_nomem(r->file->err);
    chunk *c = &r->chunks[r->n_chunks++];
    c->at = kp_hdf5_address(r->file, &body);
    c->n = kp_hdf5_length(r->file, &body);
    return body.past ? bad(r, "a message is cut off") : KP_OK;
}

/* Fractal heap and tree of names behind a version, flags and, if flag 1 is set, a count. */
static kp_status take_info(reading *r, kp_cursor c, unsigned count_bytes, uint64_t *heap,
                           uint64_t *tree)
{
    kp_cursor_take(&c, 1);
    if (kp_cursor_uint(&c, 1) & 1) kp_cursor_take(&c, count_bytes);
    *heap = kp_hdf5_address(r->file, &c);
    *tree = kp_hdf5_address(r->file, &c);
    return c.past ? bad(r, "a message is cut off") : KP_OK;
}

static kp_status take_message(reading *r, unsigned type, unsigned flags, kp_cursor body)
{
    kp_hdf5_object *object = r->object;
    bool shared = flags & FLAG_SHARED;
    if (++r->n_messages > KP_HDF5_MESSAGES_MAX) return bad(r, "has too many messages");
    switch (type) {
    case MSG_SPACE:
        object->has_space = !shared;
        object->space = body;
        return KP_OK;
    case MSG_TYPE:
        object->has_type = true;
        object->type_shared = shared;
        object->type = body;
        return KP_OK;
    case MSG_LINK_INFO:
        return take_info(r, body, 8, &object->links_heap, &object->links_tree);
    case MSG_ATTR_INFO:
        return take_info(r, body, 2, &object->attrs_heap, &object->attrs_tree);
    case MSG_LINK:
        return shared ? KP_OK : kp_hdf5_add(r->file, &object->links, body);
    case MSG_ATTR:
        return shared ? KP_OK : kp_hdf5_add(r->file, &object->attrs, body);
    case MSG_CONTINUE:
        return add_chunk(r, body);
    case MSG_TABLE:
        object->table_tree = kp_hdf5_address(r->file, &body);
        object->table_heap = kp_hdf5_address(r->file, &body);
        return body.past ? bad(r, "a message is cut off") : KP_OK;
    default:
        return KP_OK;
    }
}

/* Version 1: type, size, flags, three unused bytes. Version 2: shorter, a gap may stand behind. */
static kp_status take_messages(reading *r, kp_cursor c)
{
    unsigned head = r->version == 1 ? 8 : r->ordered ? 6 : 4;
    while ((size_t)(c.end - c.at) >= head) {
        unsigned type = (unsigned)kp_cursor_uint(&c, r->version == 1 ? 2 : 1);
        uint64_t n = kp_cursor_uint(&c, 2);
        unsigned flags = (unsigned)kp_cursor_uint(&c, 1);
        kp_cursor_take(&c, r->version == 1 ? 3 : head - 4);
        const uint8_t *body = kp_cursor_take(&c, n);
        if (!body) return bad(r, "a message is longer than its chunk");
        KP_TRY(take_message(r, type, flags, kp_cursor_over(body, n)));
    }
    return KP_OK;
}

static kp_status read_chunk(reading *r, chunk from)
{
    kp_cursor c;
    if (r->version == 1) {
        KP_TRY(kp_hdf5_get(r->file, part, from.at, from.n, &c));
        return take_messages(r, c);
    }
    KP_TRY(kp_hdf5_block(r->file, "object header's continuation", "OCHK", from.at, from.n, &c));
    if (c.end - c.at < CHECKSUM_BYTES) return bad(r, "a continuation is too short");
    c.end -= CHECKSUM_BYTES;
    return take_messages(r, c);
}

static kp_status first_v1(reading *r, chunk *ret)
{
    kp_cursor c;
    KP_TRY(kp_hdf5_get(r->file, part, r->address, 16, &c));
    kp_cursor_take(&c, 8); /* version, unused, number of messages, references */
    *ret = (chunk){.at = r->address + 16, .n = kp_cursor_uint(&c, 4)};
    return KP_OK;
}

static kp_status first_v2(reading *r, chunk *ret)
{
    kp_cursor c;
    KP_TRY(kp_hdf5_block(r->file, part, "OHDR", r->address, 6, &c));
    if (kp_cursor_uint(&c, 1) != 2) return bad(r, "has an unknown version");
    unsigned flags = (unsigned)kp_cursor_uint(&c, 1);
    uint64_t at = r->address + 6 + (flags & FLAG_TIMES ? 16 : 0) + (flags & FLAG_COUNTS ? 4 : 0);
    unsigned size = 1u << (flags & 3);
    r->ordered = flags & FLAG_ORDER;
    KP_TRY(kp_hdf5_get(r->file, part, at, size, &c));
    *ret = (chunk){.at = at + size, .n = kp_cursor_uint(&c, size)};
    return KP_OK;
}

kp_status kp_hdf5_object_read(kp_hdf5 *file, uint64_t address, kp_hdf5_object *ret)
{
    kp_cursor c;
    chunk first = {0};
    *ret = (kp_hdf5_object){
        .table_tree = KP_HDF5_NOWHERE,
        .table_heap = KP_HDF5_NOWHERE,
        .links_heap = KP_HDF5_NOWHERE,
        .links_tree = KP_HDF5_NOWHERE,
        .attrs_heap = KP_HDF5_NOWHERE,
        .attrs_tree = KP_HDF5_NOWHERE,
    };
    reading r = {.file = file, .object = ret, .address = address};
    KP_TRY(kp_hdf5_get(file, part, address, 1, &c));
    r.version = *c.at == 'O' ? 2 : *c.at;
    if (r.version != 1 && r.version != 2) return bad(&r, "has an unknown version");
    KP_TRY(r.version == 1 ? first_v1(&r, &first) : first_v2(&r, &first));
    KP_TRY(kp_hdf5_get(file, part, first.at, first.n, &c));
    KP_TRY(take_messages(&r, c));
    for (uint32_t i = 0; i < r.n_chunks; i++) KP_TRY(read_chunk(&r, r.chunks[i]));
    return KP_OK;
}
