/* SPDX-License-Identifier: MIT
 *
 * Version 2 B-trees: all records of one, whatever they mean. */
#include "planner/container/hdf5_parts.h"
#include "planner/container/limits.h"

static const char part[] = "version 2 B-tree";

enum { NODE_HEAD = 6, CHECKSUM_BYTES = 4 };

typedef struct tree {
    kp_hdf5 *file;
    kp_hdf5_bodies *to;
    uint64_t node_bytes, record_bytes;
    unsigned count_bytes;                        /* of a child's number of records */
    unsigned total_bytes[KP_HDF5_DEPTH_MAX + 1]; /* of a subtree's, for a child of that level */
} tree;

/* Bytes that a number up to `v` takes. */
static unsigned bytes_for(uint64_t v)
{
    unsigned n = 1;
    while (v >>= 8) n++;
    return n;
}

/* How many records fit a node decides how wide the counts of records are. */
static kp_status measure(tree *t, uint64_t address, unsigned depth)
{
    uint64_t room = t->node_bytes - NODE_HEAD - CHECKSUM_BYTES;
    uint64_t most = room / t->record_bytes, total = most;
    t->count_bytes = bytes_for(most);
    t->total_bytes[0] = 0;
    for (unsigned level = 1; level <= depth; level++) {
        uint64_t pointer = t->file->o_size + t->count_bytes + t->total_bytes[level - 1];
        if (room < pointer)
            return kp_hdf5_bad(t->file, part, address, "has nodes that are too small");
        most = (room - pointer) / (t->record_bytes + pointer);
        if (total > UINT64_MAX / (most + 2))
            return kp_hdf5_bad(t->file, part, address, "is too deep");
        total = (most + 1) * total + most;
        t->total_bytes[level] = bytes_for(total);
    }
    return KP_OK;
}

static kp_status take_records(tree *t, kp_cursor *c, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *record = kp_cursor_take(c, t->record_bytes);
        if (!record) return kp_fail(t->file->err, KP_INPUT, "a B-tree of the HDF5 file is damaged");
        if (t->to->n >= KP_WEIGHTS_MAX)
            return kp_fail(t->file->err, KP_INPUT, "an HDF5 object has more than %d members",
                           KP_WEIGHTS_MAX);
        KP_TRY(kp_hdf5_add(t->file, t->to, kp_cursor_over(record, t->record_bytes)));
    }
    return KP_OK;
}

static kp_status read_node(tree *t, uint64_t address, uint64_t n, unsigned level)
{
    kp_cursor c;
    KP_TRY(kp_hdf5_block(t->file, part, level ? "BTIN" : "BTLF", address, t->node_bytes, &c));
    kp_cursor_take(&c, NODE_HEAD - 4); /* version, type */
    KP_TRY(take_records(t, &c, n));
    for (uint64_t i = 0; level && i <= n; i++) {
        uint64_t child = kp_hdf5_address(t->file, &c);
        uint64_t records = kp_cursor_uint(&c, t->count_bytes);
        kp_cursor_take(&c, t->total_bytes[level - 1]);
        if (c.past) return kp_hdf5_bad(t->file, part, address, "has more children than fit");
        KP_TRY(read_node(t, child, records, level - 1));
    }
    return KP_OK;
}

kp_status kp_hdf5_records(kp_hdf5 *file, uint64_t address, kp_hdf5_bodies *ret, unsigned *ret_type)
{
    kp_cursor c;
    tree t = {.file = file, .to = ret};
    KP_TRY(kp_hdf5_block(file, part, "BTHD", address, 16 + file->o_size + 2, &c));
    kp_cursor_take(&c, 1);
    *ret_type = (unsigned)kp_cursor_uint(&c, 1);
    t.node_bytes = kp_cursor_uint(&c, 4);
    t.record_bytes = kp_cursor_uint(&c, 2);
    unsigned depth = (unsigned)kp_cursor_uint(&c, 2);
    kp_cursor_take(&c, 2); /* when to split and merge */
    uint64_t root = kp_hdf5_address(file, &c), n = kp_cursor_uint(&c, 2);
    if (root == KP_HDF5_NOWHERE) return KP_OK;
    if (depth > KP_HDF5_DEPTH_MAX) return kp_hdf5_bad(file, part, address, "is too deep");
    if (!t.record_bytes || t.node_bytes < NODE_HEAD + CHECKSUM_BYTES + t.record_bytes)
        return kp_hdf5_bad(file, part, address, "has nodes that are too small");
    KP_TRY(measure(&t, address, depth));
    return read_node(&t, root, n, depth);
}
