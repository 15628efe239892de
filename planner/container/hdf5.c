/* SPDX-License-Identifier: MIT
 *
 * Superblock, attributes of the root, and the walk over all datasets. */
#include "planner/container/hdf5_parts.h"
#include "planner/container/limits.h"
#include "proto/text.h"
#include <inttypes.h>
#include <string.h>

/* ---- pieces ---- */

kp_status kp_hdf5_bad(kp_hdf5 *file, const char *what, uint64_t address, const char *why)
{
    kp_fail(file->err, KP_INPUT, "%s", why);
    kp_err_at(file->err, "%s at byte %" PRIu64, what, address);
    return KP_INPUT;
}

kp_status kp_hdf5_charge(kp_hdf5 *file, uint64_t n)
{
    uint64_t left = KP_HDF5_BYTES_MAX - file->looked_bytes;
    uint64_t cost = n > KP_HDF5_PIECE_MIN ? n : KP_HDF5_PIECE_MIN;
    if (cost > left)
        return kp_fail(file->err, KP_INPUT,
                       "the HDF5 file has more than %s of structures, or they form a cycle",
                       kp_size_text(KP_HDF5_BYTES_MAX).s);
    file->looked_bytes += cost;
    return KP_OK;
}

kp_status kp_hdf5_add(kp_hdf5 *file, kp_hdf5_bodies *to, kp_cursor body)
{
    KP_TRY(kp_hdf5_charge(file, sizeof(body)));
    if (!KP_GROW(file->arena, to->items, to->n, to->cap)) return kp_nomem(file->err);
    to->items[to->n++] = body;
    return KP_OK;
}

kp_status kp_hdf5_get(kp_hdf5 *file, const char *what, uint64_t address, uint64_t n, kp_cursor *ret)
{
    const uint8_t *bytes;
    if (address > UINT64_MAX - file->base || address == KP_HDF5_NOWHERE)
        return kp_hdf5_bad(file, what, address, "is no place in the file");
    KP_TRY(kp_hdf5_charge(file, n));
    kp_status status =
        kp_source_get(file->source, file->base + address, n, file->arena, &bytes, file->err);
    if (status == KP_INPUT) kp_err_at(file->err, "%s", what);
    if (!status) *ret = kp_cursor_over(bytes, n);
    return status;
}

kp_status kp_hdf5_block(kp_hdf5 *file, const char *what, const char *signature, uint64_t address,
                        uint64_t n, kp_cursor *ret)
{
    KP_TRY(kp_hdf5_get(file, what, address, n, ret));
    const uint8_t *bytes = kp_cursor_take(ret, 4);
    if (bytes && !memcmp(bytes, signature, 4)) return KP_OK;
    return kp_hdf5_bad(file, what, address, "does not begin with its signature");
}

/* An address of all ones is none, whatever its width. */
uint64_t kp_hdf5_address(const kp_hdf5 *file, kp_cursor *c)
{
    uint64_t v = kp_cursor_uint(c, file->o_size);
    return v == UINT64_MAX >> (64 - 8 * file->o_size) ? KP_HDF5_NOWHERE : v;
}

uint64_t kp_hdf5_length(const kp_hdf5 *file, kp_cursor *c)
{
    return kp_cursor_uint(c, file->l_size);
}

/* ---- superblock ---- */

enum { SUPER_FIXED = 11, SUPER_OLD_FIXED = 13 }; /* up to and with version 2's, version 0's sizes */

static bool good_size(unsigned n)
{
    return n == 2 || n == 4 || n == 8;
}

/* Whoever writes a file says how long it is: a download that broke off shows here. */
static kp_status set_places(kp_hdf5 *file, uint64_t base, uint64_t end, uint64_t root)
{
    if (end != KP_HDF5_NOWHERE && end > file->source->size)
        return kp_fail(file->err, KP_INPUT,
                       "the HDF5 file is cut off: it has %" PRIu64 " of %" PRIu64 " bytes",
                       file->source->size, end);
    file->root = root;
    file->base = base;
    return KP_OK;
}

/* Versions 0 and 1: sizes at byte 13, the root's entry of a symbol table behind four addresses. */
static kp_status read_old(kp_hdf5 *file, unsigned version)
{
    kp_cursor c;
    KP_TRY(kp_hdf5_get(file, "superblock", SUPER_OLD_FIXED, 2, &c));
    file->o_size = (unsigned)kp_cursor_uint(&c, 1);
    file->l_size = (unsigned)kp_cursor_uint(&c, 1);
    if (!good_size(file->o_size) || !good_size(file->l_size))
        return kp_hdf5_bad(file, "superblock", 0, "has an unknown size of addresses");
    uint64_t at = version == 0 ? 24 : 28;
    KP_TRY(kp_hdf5_get(file, "superblock", at, 6 * file->o_size, &c));
    uint64_t base = kp_hdf5_address(file, &c);
    kp_cursor_take(&c, file->o_size); /* free space */
    uint64_t end = kp_hdf5_address(file, &c);
    kp_cursor_take(&c, 2 * file->o_size); /* driver; the root's name */
    return set_places(file, base, end, kp_hdf5_address(file, &c));
}

static kp_status read_new(kp_hdf5 *file)
{
    kp_cursor c;
    KP_TRY(kp_hdf5_get(file, "superblock", 9, 2, &c));
    file->o_size = (unsigned)kp_cursor_uint(&c, 1);
    file->l_size = (unsigned)kp_cursor_uint(&c, 1);
    if (!good_size(file->o_size) || !good_size(file->l_size))
        return kp_hdf5_bad(file, "superblock", 0, "has an unknown size of addresses");
    KP_TRY(kp_hdf5_get(file, "superblock", 12, 4 * file->o_size, &c));
    uint64_t base = kp_hdf5_address(file, &c);
    kp_cursor_take(&c, file->o_size); /* extension */
    uint64_t end = kp_hdf5_address(file, &c);
    return set_places(file, base, end, kp_hdf5_address(file, &c));
}

kp_status kp_hdf5_open(const kp_source *source, kp_arena *arena, kp_hdf5 *ret, kp_err *err)
{
    kp_cursor c;
    *ret = (kp_hdf5){.source = source, .arena = arena, .err = err, .o_size = 8, .l_size = 8};
    KP_TRY(kp_hdf5_get(ret, "superblock", 0, SUPER_FIXED, &c));
    kp_cursor_take(&c, 8); /* whoever recognised the file has seen the signature */
    unsigned version = (unsigned)kp_cursor_uint(&c, 1);
    if (version > 3)
        return kp_fail(err, KP_INPUT,
                       "the HDF5 file has a superblock of version %u; 0 to 3 are read", version);
    return version < 2 ? read_old(ret, version) : read_new(ret);
}

/* ---- attributes ---- */

static kp_status read_attributes(kp_hdf5 *file)
{
    kp_hdf5_object root;
    if (file->attrs_read) return KP_OK;
    KP_TRY(kp_hdf5_object_read(file, file->root, &root));
    if (root.attrs_heap != KP_HDF5_NOWHERE)
        KP_TRY(kp_hdf5_dense(file, root.attrs_heap, root.attrs_tree, &root.attrs));
    file->attrs = root.attrs;
    file->attrs_read = true;
    return KP_OK;
}

kp_status kp_hdf5_attribute(kp_hdf5 *file, const char *name, uint64_t limit, kp_hdf5_text *ret)
{
    bool found = false;
    *ret = (kp_hdf5_text){0};
    KP_TRY(read_attributes(file));
    for (uint32_t i = 0; i < file->attrs.n && !found; i++)
        KP_TRY(kp_hdf5_attribute_read(file, file->attrs.items[i], name, limit, ret, &found));
    return KP_OK;
}

/* ---- datasets ---- */

typedef struct walk {
    kp_hdf5 *file;
    const char *const *skip;
    kp_hdf5_arrays *to;
} walk;

static kp_status add_array(walk *w, const kp_hdf5_object *object, const char *path)
{
    kp_hdf5 *file = w->file;
    kp_hdf5_arrays *to = w->to;
    kp_hdf5_space space;
    kp_hdf5_type type = {0};
    bool good = kp_hdf5_space_read(file, object->space, &space) &&
                (object->type_shared || kp_hdf5_type_read(object->type, &type));
    if (!good) {
        kp_fail(file->err, KP_INPUT, "its shape or type is not as HDF5 has them");
        kp_err_at(file->err, "dataset '%.60s'", path);
        return KP_INPUT;
    }
    if (to->n >= KP_WEIGHTS_MAX)
        return kp_fail(file->err, KP_INPUT, "the HDF5 file has more than %d datasets",
                       KP_WEIGHTS_MAX);
    if (!KP_GROW(file->arena, to->items, to->n, to->cap)) return kp_nomem(file->err);
    kp_hdf5_array *array = &to->items[to->n++];
    *array = (kp_hdf5_array){.path = path, .rank = space.rank};
    array->dtype = object->type_shared ? "unknown" : kp_hdf5_type_name(&type);
    memcpy(array->dim, space.dim, sizeof(array->dim));
    return KP_OK;
}

static bool skipped(const walk *w, const char *name)
{
    for (const char *const *skip = w->skip; skip && *skip; skip++)
        if (!strncmp(name, *skip, strlen(*skip))) return true;
    return false;
}

/* Keras on Windows once wrote names of groups with '\' for '/'. */
static kp_status join(walk *w, const char *path, const char *name, const char **ret)
{
    KP_TRY(kp_hdf5_charge(w->file, strlen(path) + strlen(name)));
    char *joined = kp_arena_fmt(w->file->arena, "%s%s%s", path, *path ? "/" : "", name);
    if (!joined) return kp_nomem(w->file->err);
    for (char *c = joined; *c; c++)
        if (*c == '\\') *c = '/';
    *ret = joined;
    return KP_OK;
}

static kp_status visit(walk *w, uint64_t address, const char *path, unsigned depth)
{
    kp_hdf5_object object;
    kp_hdf5_links links = {0};
    if (depth > KP_HDF5_DEPTH_MAX)
        return kp_fail(w->file->err, KP_INPUT, "groups are nested deeper than %d, or form a cycle",
                       KP_HDF5_DEPTH_MAX);
    KP_TRY(kp_hdf5_object_read(w->file, address, &object));
    if (object.has_space && object.has_type) return add_array(w, &object, path);
    KP_TRY(kp_hdf5_links_read(w->file, &object, &links));
    for (uint32_t i = 0; i < links.n; i++) {
        if (!depth && skipped(w, links.items[i].name)) continue;
        const char *inner = NULL;
        KP_TRY(join(w, path, links.items[i].name, &inner));
        KP_TRY(visit(w, links.items[i].object, inner, depth + 1));
    }
    return KP_OK;
}

kp_status kp_hdf5_list(kp_hdf5 *file, const char *const *skip, kp_hdf5_arrays *ret)
{
    walk w = {.file = file, .skip = skip, .to = ret};
    *ret = (kp_hdf5_arrays){0};
    return visit(&w, file->root, "", 0);
}
