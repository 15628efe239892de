/* SPDX-License-Identifier: MIT
 *
 * planner/container/zip.h — the directory of a zip archive, and one entry of it.
 *
 * A reader of our own, because a planner's is smaller than a library's and stricter: it takes
 * pieces of the file where they are (the weights of an archive are gigabytes), refuses whatever
 * leaves two ways to read an archive, and starts in no time, where libzip brings four compressors
 * and a crypto library with it. Two methods, stored and deflated, which is what Keras and every zip
 * program write; zip64 is read, since Keras always writes it. Refused: encryption, entries that
 * overlap or share a name, names that lead out of the folder, a directory that does not end where
 * the archive does, sizes that differ between directory and entry, unpacked sizes beyond
 * limits.h. Never reads an entry that was not asked for.
 * Source of the format: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5. */
#ifndef KP_PLANNER_CONTAINER_ZIP_H
#define KP_PLANNER_CONTAINER_ZIP_H

#include "planner/container/source.h"

typedef struct kp_zip_entry {
    const char *name;
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed, whole; /* bytes */
    uint64_t at;            /* of its local header */
    uint64_t end;           /* where the next entry or the directory begins */
} kp_zip_entry;

typedef struct kp_zip {
    const kp_source *source;
    kp_zip_entry *entries; /* sorted by name */
    uint32_t n_entries;
} kp_zip;

/* Reads and checks the directory. KP_INPUT with the reason; KP_NOMEM. */
kp_status kp_zip_open(const kp_source *source, kp_arena *arena, kp_zip *ret, kp_err *err);

/* The entry of a name; NULL if there is none. */
const kp_zip_entry *kp_zip_find(const kp_zip *zip, const char *name);

/* An entry's content, of at most `limit` bytes; its check sum is compared. KP_INPUT, KP_NOMEM. */
kp_status kp_zip_read(const kp_zip *zip, const kp_zip_entry *entry, uint64_t limit, kp_arena *arena,
                      kp_source *ret, kp_err *err);

/* An entry as it lies in the archive, for one that is stored. KP_INPUT if it is packed. */
kp_status kp_zip_stored(const kp_zip *zip, const kp_zip_entry *entry, kp_arena *arena,
                        kp_source *ret, kp_err *err);

#endif
