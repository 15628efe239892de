/* SPDX-License-Identifier: MIT
 *
 * planner/container/hdf5.h — what an HDF5 file says of a model: attributes, names, shapes, types.
 *
 * A reader of metadata of our own and not the library, for three reasons: a planner is given files
 * by strangers, and the library was not made for hostile ones; loading it takes longer than
 * planning; and it reads files, opens plugins and locks, which has no place in a core without I/O.
 * It never looks at a dataset's data. Every look at the file is counted against
 * KP_HDF5_BYTES_MAX, each as at least KP_HDF5_PIECE_MIN bytes, so no loop, cycle or fan-out in a
 * file lasts; nothing is allocated by a size that the file only claims.
 * Read are superblocks 0 to 3, object headers 1 and 2, groups as symbol tables, as links in the
 * header and in fractal heaps, attributes likewise, strings of fixed and variable length. Left
 * out: soft and external links, shared messages, filters on heaps, files split in parts.
 * Source of the format: The HDF Group, "HDF5 File Format Specification", version 3.0. */
#ifndef KP_PLANNER_CONTAINER_HDF5_H
#define KP_PLANNER_CONTAINER_HDF5_H

#include "planner/container/source.h"
#include "proto/shape.h"

typedef struct kp_hdf5_bodies {
    kp_cursor *items;
    uint32_t n;
    size_t cap;
} kp_hdf5_bodies;

typedef struct kp_hdf5 {
    const kp_source *source;
    kp_arena *arena;
    kp_err *err;
    uint64_t looked_bytes;   /* so far, and what was kept of it */
    uint64_t huge_bytes;     /* of objects too large for a heap's blocks */
    uint64_t base, root;     /* addresses: what all others count from; the root group's header */
    unsigned o_size, l_size; /* bytes of an address, of a length */
    kp_hdf5_bodies attrs;    /* the root's, once one is asked for */
    bool attrs_read;
} kp_hdf5;

/* Text of an attribute; no 0 behind it. */
typedef struct kp_hdf5_text {
    const char *text; /* NULL: there is no such attribute */
    uint64_t len;
} kp_hdf5_text;

/* One dataset: path from the root without a first '/', '\' made '/'; dims as in the file. */
typedef struct kp_hdf5_array {
    const char *path, *dtype; /* "float32"; "unknown" */
    unsigned rank;
    uint64_t dim[KP_RANK_MAX];
} kp_hdf5_array;

typedef struct kp_hdf5_arrays {
    kp_hdf5_array *items;
    uint32_t n;
    size_t cap;
} kp_hdf5_arrays;

/* Checks the superblock. The source, arena and err are kept. KP_INPUT, KP_NOMEM. */
kp_status kp_hdf5_open(const kp_source *source, kp_arena *arena, kp_hdf5 *ret, kp_err *err);

/* The root group's attribute `name` if it is one string; text NULL if there is none.
 * KP_INPUT: damaged, no string, longer than `limit`; KP_NOMEM. */
kp_status kp_hdf5_attribute(kp_hdf5 *file, const char *name, uint64_t limit, kp_hdf5_text *ret);

/* All datasets but those below a top group that `skip` (NULL-terminated) starts the name of, in
 * the order of names. KP_INPUT: damaged, more than KP_WEIGHTS_MAX; KP_NOMEM. */
kp_status kp_hdf5_list(kp_hdf5 *file, const char *const *skip, kp_hdf5_arrays *ret);

#endif
