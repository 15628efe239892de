/* SPDX-License-Identifier: MIT
 *
 * Dataspaces, datatypes, attributes, and the global heap that strings of variable length are in. */
#include "planner/container/hdf5_parts.h"
#include "planner/container/limits.h"
#include "proto/text.h"
#include <string.h>

bool kp_hdf5_space_read(const kp_hdf5 *file, kp_cursor c, kp_hdf5_space *ret)
{
    enum { KIND_NULL = 2 };
    unsigned version = (unsigned)kp_cursor_uint(&c, 1), rank = (unsigned)kp_cursor_uint(&c, 1);
    kp_cursor_take(&c, 1); /* flags: maximal sizes stand behind */
    unsigned kind = (unsigned)kp_cursor_uint(&c, 1);
    if (version == 1) kp_cursor_take(&c, 4);
    if ((version != 1 && version != 2) || rank > KP_RANK_MAX) return false;
    kp_hdf5_space space = {.simple = version == 1 || kind != KIND_NULL, .rank = rank};
    for (unsigned i = 0; i < rank; i++) space.dim[i] = kp_hdf5_length(file, &c);
    *ret = space;
    return !c.past;
}

bool kp_hdf5_type_read(kp_cursor c, kp_hdf5_type *ret)
{
    kp_hdf5_type type = {.class = (unsigned)kp_cursor_uint(&c, 1) & 15};
    type.bits = (uint32_t)kp_cursor_uint(&c, 3);
    type.size = (uint32_t)kp_cursor_uint(&c, 4);
    bool past = c.past;
    kp_cursor_take(&c, 5); /* bit offset, precision, place of the exponent */
    if (type.class == KP_HDF5_FLOAT) type.exponent = (unsigned)kp_cursor_uint(&c, 1);
    *ret = type;
    return !past && !(c.past && type.class == KP_HDF5_FLOAT);
}

/* bfloat16 and float8 are written as opaque bytes by those who have no type for them. */
const char *kp_hdf5_type_name(const kp_hdf5_type *type)
{
    /* clang-format off */
    static const struct {
        unsigned class, size, exponent; /* exponent 0: any; for INTEGER 1: signed */
        const char *name;
    } rows[] = {
        {KP_HDF5_FLOAT, 4, 0, "float32"},  {KP_HDF5_FLOAT, 8, 0, "float64"},
        {KP_HDF5_FLOAT, 2, 8, "bfloat16"}, {KP_HDF5_FLOAT, 2, 0, "float16"},
        {KP_HDF5_INTEGER, 1, 1, "int8"},   {KP_HDF5_INTEGER, 1, 0, "uint8"},
        {KP_HDF5_INTEGER, 2, 1, "int16"},  {KP_HDF5_INTEGER, 2, 0, "uint16"},
        {KP_HDF5_INTEGER, 4, 1, "int32"},  {KP_HDF5_INTEGER, 4, 0, "uint32"},
        {KP_HDF5_INTEGER, 8, 1, "int64"},  {KP_HDF5_INTEGER, 8, 0, "uint64"},
        {KP_HDF5_OPAQUE, 2, 0, "bfloat16"}, {KP_HDF5_ENUM, 1, 0, "bool"},
    };
    /* clang-format on */
    enum { SIGNED = 8 };
    unsigned exponent =
        type->class == KP_HDF5_INTEGER ? (type->bits & SIGNED) != 0 : type->exponent;
    for (size_t i = 0; i < KP_LEN(rows); i++)
        if (rows[i].class == type->class && rows[i].size == type->size &&
            (!rows[i].exponent || rows[i].exponent == exponent))
            return rows[i].name;
    return "unknown";
}

/* ---- the global heap ---- */

/* Object `index` of the collection at `address`: its size, and where its bytes are. */
static kp_status find_in_heap(kp_hdf5 *file, uint64_t address, uint64_t index, uint64_t *ret_at,
                              uint64_t *ret_n)
{
    static const char part[] = "global heap";
    kp_cursor c;
    uint64_t head = 8 + file->l_size, at = 8 + file->l_size;
    KP_TRY(kp_hdf5_block(file, part, "GCOL", address, head, &c));
    kp_cursor_take(&c, 4); /* version, unused */
    uint64_t size = kp_hdf5_length(file, &c);
    while (at <= size && size - at >= head) {
        KP_TRY(kp_hdf5_get(file, part, address + at, head, &c));
        uint64_t here = kp_cursor_uint(&c, 2);
        kp_cursor_take(&c, 6); /* references, unused */
        uint64_t n = kp_hdf5_length(file, &c);
        if (!here || n > size - at - head) break;
        if (here == index) {
            *ret_at = address + at + head;
            *ret_n = n;
            return KP_OK;
        }
        at += head + ((n + 7) & ~(uint64_t)7);
    }
    return kp_hdf5_bad(file, part, address, "has no object of that number");
}

/* A string of variable length: its length, and number and place of an object of the global heap. */
static kp_status read_string(kp_hdf5 *file, kp_cursor data, uint64_t limit, kp_hdf5_text *ret)
{
    const uint8_t *bytes;
    uint64_t len = kp_cursor_uint(&data, 4), heap = kp_hdf5_address(file, &data), at = 0, n = 0;
    uint64_t index = kp_cursor_uint(&data, 4);
    if (data.past) return kp_fail(file->err, KP_INPUT, "an attribute is cut off");
    if (!len) {
        *ret = (kp_hdf5_text){.text = ""};
        return KP_OK;
    }
    KP_TRY(find_in_heap(file, heap, index, &at, &n));
    if (len > n) return kp_hdf5_bad(file, "global heap", heap, "is shorter than a string in it");
    if (len > limit)
        return kp_fail(file->err, KP_INPUT, "has %s, more than %s", kp_size_text(len).s,
                       kp_size_text(limit).s);
    KP_TRY(kp_source_get(file->source, file->base + at, len, file->arena, &bytes, file->err));
    *ret = (kp_hdf5_text){.text = (const char *)bytes, .len = len};
    return KP_OK;
}

/* ---- attributes ---- */

/* Name, type, space and data of an attribute message. */
typedef struct attribute {
    const char *name;
    uint64_t n_name;
    kp_cursor type, space, data;
    bool shared;
} attribute;

static bool split(kp_cursor c, attribute *ret)
{
    unsigned version = (unsigned)kp_cursor_uint(&c, 1), flags = (unsigned)kp_cursor_uint(&c, 1);
    uint64_t n_name = kp_cursor_uint(&c, 2), n_type = kp_cursor_uint(&c, 2),
             n_space = kp_cursor_uint(&c, 2);
    uint64_t round = version == 1 ? 7 : 0;
    if (version < 1 || version > 3) return false;
    if (version == 3) kp_cursor_take(&c, 1); /* encoding of the name */
    const uint8_t *name = kp_cursor_take(&c, (n_name + round) & ~round);
    const uint8_t *type = kp_cursor_take(&c, (n_type + round) & ~round);
    const uint8_t *space = kp_cursor_take(&c, (n_space + round) & ~round);
    if (c.past) return false;
    *ret = (attribute){
        .name = (const char *)name,
        .n_name = strnlen((const char *)name, n_name),
        .type = kp_cursor_over(type, n_type),
        .space = kp_cursor_over(space, n_space),
        .data = c,
        .shared = version > 1 && flags & 3,
    };
    return true;
}

static kp_status read_text(kp_hdf5 *file, const attribute *a, uint64_t limit, kp_hdf5_text *ret)
{
    kp_hdf5_type type;
    kp_hdf5_space space;
    if (a->shared || !kp_hdf5_type_read(a->type, &type) ||
        !kp_hdf5_space_read(file, a->space, &space))
        return kp_fail(file->err, KP_INPUT, "its type or shape is not as HDF5 has them");
    bool one = space.simple && (space.rank == 0 || (space.rank == 1 && space.dim[0] == 1));
    if (one && type.class == KP_HDF5_VLEN && (type.bits & 15) == 1)
        return read_string(file, a->data, limit, ret);
    if (!one || type.class != KP_HDF5_STRING)
        return kp_fail(file->err, KP_INPUT, "is not one string");
    kp_cursor data = a->data;
    const char *text = (const char *)kp_cursor_take(&data, type.size);
    if (!text) return kp_fail(file->err, KP_INPUT, "is cut off");
    if (type.size > limit)
        return kp_fail(file->err, KP_INPUT, "has %s, more than %s", kp_size_text(type.size).s,
                       kp_size_text(limit).s);
    *ret = (kp_hdf5_text){.text = text, .len = strnlen(text, type.size)};
    return KP_OK;
}

kp_status kp_hdf5_attribute_read(kp_hdf5 *file, kp_cursor body, const char *name, uint64_t limit,
                                 kp_hdf5_text *ret, bool *ret_found)
{
    attribute a;
    if (!split(body, &a))
        return kp_fail(file->err, KP_INPUT, "an attribute of the HDF5 file is damaged");
    *ret_found = a.n_name == strlen(name) && !memcmp(a.name, name, a.n_name);
    if (!*ret_found) return KP_OK;
    kp_status status = read_text(file, &a, limit, ret);
    if (status == KP_INPUT) kp_err_at(file->err, "attribute '%s'", name);
    return status;
}
