/* SPDX-License-Identifier: MIT
 *
 * planner/container/hdf5_parts.h — objects, messages and heaps of an HDF5 file. Internal to the
 * reader. Functions fail with KP_INPUT, with the part and its address as place, and KP_NOMEM. */
#ifndef KP_PLANNER_CONTAINER_HDF5_PARTS_H
#define KP_PLANNER_CONTAINER_HDF5_PARTS_H

#include "planner/container/hdf5.h"

#define KP_HDF5_NOWHERE UINT64_MAX /* an address that is not set */

/* n bytes of a part at an address. `what` is for messages: "object header". */
kp_status kp_hdf5_get(kp_hdf5 *file, const char *what, uint64_t address, uint64_t n,
                      kp_cursor *ret);
/* The same with a signature of four bytes in front, which is checked and moved over. */
kp_status kp_hdf5_block(kp_hdf5 *file, const char *what, const char *signature, uint64_t address,
                        uint64_t n, kp_cursor *ret);
/* Counts n bytes that are kept against the limit. */
kp_status kp_hdf5_charge(kp_hdf5 *file, uint64_t n);
/* Appends a message's body, a record. */
kp_status kp_hdf5_add(kp_hdf5 *file, kp_hdf5_bodies *to, kp_cursor body);
/* A failure with a part as place. */
kp_status kp_hdf5_bad(kp_hdf5 *file, const char *what, uint64_t address, const char *why);
uint64_t kp_hdf5_address(const kp_hdf5 *file, kp_cursor *c);
uint64_t kp_hdf5_length(const kp_hdf5 *file, kp_cursor *c);

/* What an object's header says of it; bodies of messages are read when they are needed. */
typedef struct kp_hdf5_object {
    kp_cursor space, type; /* both: it is a dataset */
    bool has_space, has_type, type_shared;
    uint64_t table_tree, table_heap; /* group as symbol table */
    uint64_t links_heap, links_tree; /* group as links in a fractal heap */
    uint64_t attrs_heap, attrs_tree;
    kp_hdf5_bodies links, attrs;
} kp_hdf5_object;

kp_status kp_hdf5_object_read(kp_hdf5 *file, uint64_t address, kp_hdf5_object *ret);

typedef struct kp_hdf5_space {
    bool simple; /* false: no elements at all */
    unsigned rank;
    uint64_t dim[KP_RANK_MAX];
} kp_hdf5_space;

typedef enum kp_hdf5_class {
    KP_HDF5_INTEGER,
    KP_HDF5_FLOAT,
    KP_HDF5_STRING = 3,
    KP_HDF5_OPAQUE = 5,
    KP_HDF5_ENUM = 8,
    KP_HDF5_VLEN = 9
} kp_hdf5_class;

typedef struct kp_hdf5_type {
    unsigned class; /* kp_hdf5_class, or another number of the format */
    uint32_t bits, size;
    unsigned exponent; /* FLOAT: bits of the exponent */
} kp_hdf5_type;

/* False: not as the format says. More than KP_RANK_MAX axes count as damage. */
bool kp_hdf5_space_read(const kp_hdf5 *file, kp_cursor c, kp_hdf5_space *ret);
bool kp_hdf5_type_read(kp_cursor c, kp_hdf5_type *ret);
const char *kp_hdf5_type_name(const kp_hdf5_type *type);

/* Text of an attribute message if it is the attribute `name` (*ret_found). */
kp_status kp_hdf5_attribute_read(kp_hdf5 *file, kp_cursor body, const char *name, uint64_t limit,
                                 kp_hdf5_text *ret, bool *ret_found);

/* Bodies of all messages in a fractal heap that a tree of names lists. */
kp_status kp_hdf5_dense(kp_hdf5 *file, uint64_t heap, uint64_t tree, kp_hdf5_bodies *ret);

/* Records of a version 2 B-tree, each of *ret_size bytes; *ret_type is the tree's. */
kp_status kp_hdf5_records(kp_hdf5 *file, uint64_t tree, kp_hdf5_bodies *ret, unsigned *ret_type);

/* One link of a group: name, and the address of an object's header. */
typedef struct kp_hdf5_link {
    const char *name;
    uint64_t object;
} kp_hdf5_link;

typedef struct kp_hdf5_links {
    kp_hdf5_link *items;
    uint32_t n;
    size_t cap;
} kp_hdf5_links;

/* A group's links to objects of the file. */
kp_status kp_hdf5_links_read(kp_hdf5 *file, const kp_hdf5_object *group, kp_hdf5_links *ret);

#endif
