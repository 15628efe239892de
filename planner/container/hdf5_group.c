/* SPDX-License-Identifier: MIT
 *
 * The links of a group: as a symbol table (a B-tree of nodes with names in a local heap), as
 * messages in the object's header, or as messages in a fractal heap. */
#include "planner/container/hdf5_parts.h"
#include "planner/container/limits.h"
#include <string.h>

typedef struct table {
    kp_hdf5 *file;
    kp_cursor names; /* data of the local heap */
    kp_hdf5_links *to;
} table;

static kp_status add_link(kp_hdf5 *file, kp_hdf5_links *to, const uint8_t *name, size_t len,
                          uint64_t object)
{
    if (to->n >= KP_WEIGHTS_MAX)
        return kp_fail(file->err, KP_INPUT, "an HDF5 group has more than %d members",
                       KP_WEIGHTS_MAX);
    if (len > KP_NAME_BYTES_MAX)
        return kp_fail(file->err, KP_INPUT, "an HDF5 group has a name of more than %d bytes",
                       KP_NAME_BYTES_MAX);
    KP_TRY(kp_hdf5_charge(file, len));
    if (!KP_GROW(file->arena, to->items, to->n, to->cap)) return kp_nomem(file->err);
    const char *copy = kp_arena_strn(file->arena, (const char *)name, len);
    if (!copy) return kp_nomem(file->err);
    to->items[to->n++] = (kp_hdf5_link){copy, object};
    return KP_OK;
}

/* ---- symbol tables ---- */

static kp_status read_names(kp_hdf5 *file, uint64_t address, kp_cursor *ret)
{
    kp_cursor c;
    KP_TRY(kp_hdf5_block(file, "local heap", "HEAP", address, 8 + 2 * file->l_size + file->o_size,
                         &c));
    kp_cursor_take(&c, 4); /* version, unused */
    uint64_t n = kp_hdf5_length(file, &c);
    kp_hdf5_length(file, &c); /* free list */
    return kp_hdf5_get(file, "local heap", kp_hdf5_address(file, &c), n, ret);
}

/* A node of a symbol table: entries of name, object, kind of cache, cache. */
static kp_status read_symbols(table *t, uint64_t address)
{
    static const char part[] = "symbol table";
    enum { CACHE_LINK = 2 }; /* a symbolic link */
    kp_cursor c;
    KP_TRY(kp_hdf5_block(t->file, part, "SNOD", address, 8, &c));
    kp_cursor_take(&c, 2);
    uint64_t n = kp_cursor_uint(&c, 2), each = 2 * t->file->o_size + 24;
    KP_TRY(kp_hdf5_get(t->file, part, address + 8, n * each, &c));
    for (uint64_t i = 0; i < n; i++) {
        uint64_t name = kp_hdf5_address(t->file, &c), object = kp_hdf5_address(t->file, &c);
        uint64_t cache = kp_cursor_uint(&c, 4);
        kp_cursor_take(&c, 20);
        if (cache == CACHE_LINK) continue;
        kp_cursor names = t->names;
        const uint8_t *text = kp_cursor_take(&names, name) ? names.at : NULL;
        const uint8_t *end = text ? memchr(text, 0, (size_t)(names.end - text)) : NULL;
        if (!end) return kp_hdf5_bad(t->file, part, address, "a name is not in the local heap");
        KP_TRY(add_link(t->file, t->to, text, (size_t)(end - text), object));
    }
    return KP_OK;
}

/* A node of the tree: keys and children in turn. The children of level 0 are symbol tables. */
static kp_status read_tree(table *t, uint64_t address, unsigned depth)
{
    static const char part[] = "group's tree";
    const kp_hdf5 *file = t->file;
    kp_cursor c;
    KP_TRY(kp_hdf5_block(t->file, part, "TREE", address, 8 + 2 * file->o_size, &c));
    unsigned type = (unsigned)kp_cursor_uint(&c, 1), level = (unsigned)kp_cursor_uint(&c, 1);
    uint64_t n = kp_cursor_uint(&c, 2);
    if (type) return kp_hdf5_bad(t->file, part, address, "is no tree of a group");
    if (depth > KP_HDF5_DEPTH_MAX)
        return kp_hdf5_bad(t->file, part, address, "is too deep, or a cycle");
    KP_TRY(kp_hdf5_get(t->file, part, address + 8 + 2 * file->o_size,
                       n * (file->l_size + file->o_size), &c));
    for (uint64_t i = 0; i < n; i++) {
        kp_hdf5_length(file, &c);
        uint64_t child = kp_hdf5_address(file, &c);
        KP_TRY(level ? read_tree(t, child, depth + 1) : read_symbols(t, child));
    }
    return KP_OK;
}

/* ---- link messages ---- */

static kp_status read_link(kp_hdf5 *file, kp_cursor c, kp_hdf5_links *to)
{
    enum { FLAG_KIND = 8, FLAG_ORDER = 4, FLAG_CHARSET = 16 };
    kp_cursor_take(&c, 1);
    unsigned flags = (unsigned)kp_cursor_uint(&c, 1);
    uint64_t kind = flags & FLAG_KIND ? kp_cursor_uint(&c, 1) : 0;
    if (flags & FLAG_ORDER) kp_cursor_take(&c, 8);
    if (flags & FLAG_CHARSET) kp_cursor_take(&c, 1);
    uint64_t len = kp_cursor_uint(&c, 1u << (flags & 3));
    const uint8_t *name = kp_cursor_take(&c, len);
    if (!c.past && kind) return KP_OK; /* soft, external */
    uint64_t object = kp_hdf5_address(file, &c);
    if (c.past) return kp_fail(file->err, KP_INPUT, "a link of the HDF5 file is cut off");
    return add_link(file, to, name, (size_t)len, object);
}

kp_status kp_hdf5_links_read(kp_hdf5 *file, const kp_hdf5_object *group, kp_hdf5_links *ret)
{
    table t = {.file = file, .to = ret};
    kp_hdf5_bodies dense = {0};
    if (group->table_tree != KP_HDF5_NOWHERE) {
        KP_TRY(read_names(file, group->table_heap, &t.names));
        KP_TRY(read_tree(&t, group->table_tree, 0));
    }
    for (uint32_t i = 0; i < group->links.n; i++)
        KP_TRY(read_link(file, group->links.items[i], ret));
    if (group->links_heap == KP_HDF5_NOWHERE) return KP_OK;
    KP_TRY(kp_hdf5_dense(file, group->links_heap, group->links_tree, &dense));
    for (uint32_t i = 0; i < dense.n; i++) KP_TRY(read_link(file, dense.items[i], ret));
    return KP_OK;
}
