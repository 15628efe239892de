/* SPDX-License-Identifier: MIT
 *
 * Fractal heaps: a table of blocks whose rows double in size, in which an object is found by its
 * place; objects that are too large for blocks lie anywhere, listed in a B-tree; tiny ones are
 * their own identifier. */
#include "planner/container/hdf5_parts.h"
#include "planner/container/limits.h"
#include <string.h>

static const char part[] = "fractal heap";

typedef struct heap {
    kp_hdf5 *file;
    uint64_t address;
    unsigned id_bytes, offset_bytes, length_bytes;
    uint64_t width, start,
        max_direct;           /* blocks in a row; bytes of the smallest and largest block */
    uint64_t root, root_rows; /* rows 0: the root is one block */
    uint64_t huge_tree;
    kp_hdf5_bodies huge; /* records of that tree, once they are read */
    bool huge_read;
} heap;

static kp_status bad(heap *h, const char *why)
{
    return kp_hdf5_bad(h->file, part, h->address, why);
}

static unsigned log2_of(uint64_t v)
{
    unsigned n = 0;
    while (v >>= 1) n++;
    return n;
}

static bool is_power(uint64_t v)
{
    return v && !(v & (v - 1));
}

static kp_status read_head(heap *h)
{
    kp_hdf5 *file = h->file;
    kp_cursor c;
    KP_TRY(kp_hdf5_block(file, part, "FRHP", h->address, 22 + 12 * file->l_size + 3 * file->o_size,
                         &c));
    kp_cursor_take(&c, 1);
    h->id_bytes = (unsigned)kp_cursor_uint(&c, 2);
    uint64_t filters = kp_cursor_uint(&c, 2);
    kp_cursor_take(&c, 1); /* flags */
    uint64_t max_managed = kp_cursor_uint(&c, 4);
    kp_hdf5_length(file, &c); /* next huge object */
    h->huge_tree = kp_hdf5_address(file, &c);
    kp_cursor_take(&c, file->l_size + file->o_size + 8 * file->l_size); /* free space, statistics */
    h->width = kp_cursor_uint(&c, 2);
    h->start = kp_hdf5_length(file, &c);
    h->max_direct = kp_hdf5_length(file, &c);
    unsigned max_bits = (unsigned)kp_cursor_uint(&c, 2);
    kp_cursor_take(&c, 2); /* rows the root had at first */
    h->root = kp_hdf5_address(file, &c);
    h->root_rows = kp_cursor_uint(&c, 2);
    if (filters) return bad(h, "is packed, which is not read");
    if (!is_power(h->width) || !is_power(h->start) || !is_power(h->max_direct) || max_bits > 64 ||
        h->start > h->max_direct || h->max_direct > UINT32_MAX || h->root_rows > 64)
        return bad(h, "has sizes that make no sense");
    uint64_t longest = h->max_direct < max_managed ? h->max_direct : max_managed;
    h->offset_bytes = (max_bits + 7) / 8;
    h->length_bytes = log2_of(longest | 1) / 8 + 1;
    return KP_OK;
}

/* ---- objects in blocks ---- */

static uint64_t row_bytes(const heap *h, unsigned row)
{
    return row ? h->start << (row - 1) : h->start;
}

/* A place within a table of blocks: which of them, and where in it. */
typedef struct spot {
    unsigned row;
    uint64_t block, within;
} spot;

static bool find_spot(const heap *h, uint64_t offset, uint64_t rows, spot *ret)
{
    uint64_t first = h->width * h->start, row_start = 0;
    ret->row = offset < first ? 0 : log2_of(offset) - log2_of(first) + 1;
    if (ret->row >= rows || log2_of(h->start) + ret->row > 62) return false;
    if (ret->row) row_start = first << (ret->row - 1);
    uint64_t bytes = row_bytes(h, ret->row), column = (offset - row_start) / bytes;
    ret->block = ret->row * h->width + column;
    ret->within = (offset - row_start) % bytes;
    return column < h->width;
}

/* Down from table to table until a row's blocks hold objects. */
static kp_status find_managed(heap *h, uint64_t offset, uint64_t n, uint64_t *ret)
{
    unsigned direct_rows = log2_of(h->max_direct) - log2_of(h->start) + 2;
    uint64_t table = h->root, rows = h->root_rows, block_bytes = h->start;
    spot at = {.within = offset};
    for (unsigned depth = 0; rows; depth++) {
        kp_cursor c;
        uint64_t head = 5 + h->file->o_size + h->offset_bytes;
        if (depth > KP_HDF5_DEPTH_MAX || !find_spot(h, at.within, rows, &at))
            return bad(h, "does not hold an object at that place");
        KP_TRY(kp_hdf5_block(h->file, part, "FHIB", table, head, &c));
        KP_TRY(kp_hdf5_get(h->file, part, table + head + at.block * h->file->o_size,
                           h->file->o_size, &c));
        table = kp_hdf5_address(h->file, &c);
        block_bytes = row_bytes(h, at.row);
        if (at.row < direct_rows) break;
        unsigned first = log2_of(h->width * h->start);
        if (log2_of(block_bytes) < first) return bad(h, "has sizes that make no sense");
        rows = log2_of(block_bytes) - first + 1;
    }
    if (table == KP_HDF5_NOWHERE || at.within > block_bytes || n > block_bytes - at.within)
        return bad(h, "does not hold an object at that place");
    *ret = table + at.within;
    return KP_OK;
}

/* ---- objects elsewhere ---- */

/* By their number: records of address, length, number. */
static kp_status find_huge(heap *h, uint64_t number, uint64_t *ret_at, uint64_t *ret_n)
{
    enum { TYPE_HUGE = 1 };
    unsigned type = TYPE_HUGE;
    if (!h->huge_read) KP_TRY(kp_hdf5_records(h->file, h->huge_tree, &h->huge, &type));
    h->huge_read = true;
    if (type != TYPE_HUGE) return bad(h, "lists its large objects in an unknown way");
    for (uint32_t i = 0; i < h->huge.n; i++) {
        kp_cursor c = h->huge.items[i];
        *ret_at = kp_hdf5_address(h->file, &c);
        *ret_n = kp_hdf5_length(h->file, &c);
        if (kp_hdf5_length(h->file, &c) == number && !c.past) return KP_OK;
    }
    return bad(h, "has no large object of that number");
}

static kp_status read_huge(heap *h, kp_cursor id, kp_cursor *ret)
{
    uint64_t at = 0, n = 0;
    const uint8_t *bytes;
    unsigned direct = h->file->o_size + h->file->l_size;
    if (direct <= h->id_bytes - 1) {
        at = kp_hdf5_address(h->file, &id);
        n = kp_hdf5_length(h->file, &id);
    } else {
        unsigned width = h->id_bytes - 1 < h->file->l_size ? h->id_bytes - 1 : h->file->l_size;
        KP_TRY(find_huge(h, kp_cursor_uint(&id, width), &at, &n));
    }
    /* The large object that is met is a model's configuration, whose text has a limit of its own.
     */
    if (id.past || at > UINT64_MAX - h->file->base || n > KP_CONFIG_BYTES_MAX - h->file->huge_bytes)
        return bad(h, "has large objects of more bytes than are read");
    h->file->huge_bytes += n;
    kp_status status =
        kp_source_get(h->file->source, h->file->base + at, n, h->file->arena, &bytes, h->file->err);
    if (!status) *ret = kp_cursor_over(bytes, n);
    return status;
}

static kp_status read_object(heap *h, kp_cursor id, kp_cursor *ret)
{
    enum { KIND_MANAGED, KIND_HUGE, KIND_TINY };
    uint64_t at = 0;
    unsigned first = (unsigned)kp_cursor_uint(&id, 1);
    switch (first >> 4 & 3) {
    case KIND_MANAGED: {
        uint64_t offset = kp_cursor_uint(&id, h->offset_bytes),
                 n = kp_cursor_uint(&id, h->length_bytes);
        if (id.past) return bad(h, "has identifiers that are too short");
        KP_TRY(find_managed(h, offset, n, &at));
        return kp_hdf5_get(h->file, part, at, n, ret);
    }
    case KIND_HUGE:
        return read_huge(h, id, ret);
    case KIND_TINY: {
        uint64_t n = (first & 15) + 1;
        const uint8_t *bytes = kp_cursor_take(&id, n);
        if (!bytes) return bad(h, "has identifiers that are too short");
        *ret = kp_cursor_over(bytes, n);
        return KP_OK;
    }
    default:
        return bad(h, "has an object of an unknown kind");
    }
}

/* ---- messages in a heap ---- */

kp_status kp_hdf5_dense(kp_hdf5 *file, uint64_t address, uint64_t tree, kp_hdf5_bodies *ret)
{
    enum { TYPE_LINK_NAME = 5, TYPE_ATTR_NAME = 8, HASH_BYTES = 4 };
    heap h = {.file = file, .address = address};
    kp_hdf5_bodies records = {0};
    unsigned type = 0;
    KP_TRY(read_head(&h));
    if (h.id_bytes < 2) return bad(&h, "has identifiers that are too short");
    KP_TRY(kp_hdf5_records(file, tree, &records, &type));
    if (records.n && type != TYPE_LINK_NAME && type != TYPE_ATTR_NAME)
        return bad(&h, "is listed by a tree of another kind");
    for (uint32_t i = 0; i < records.n; i++) {
        kp_cursor record = records.items[i], body;
        if (type == TYPE_LINK_NAME) kp_cursor_take(&record, HASH_BYTES);
        const uint8_t *id = kp_cursor_take(&record, h.id_bytes);
        if (!id) return bad(&h, "is listed by records that are too short");
        KP_TRY(read_object(&h, kp_cursor_over(id, h.id_bytes), &body));
        KP_TRY(kp_hdf5_add(file, ret, body));
    }
    return KP_OK;
}
