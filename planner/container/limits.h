/* SPDX-License-Identifier: MIT
 *
 * planner/container/limits.h — what a container may ask for; README's table of limits is this one.
 *
 * Chosen so that reading takes less than 64 MiB of memory beside the configuration itself and less
 * than a second, while the largest files that Keras writes pass: the largest configuration of
 * keras.applications has 1.6 MB and takes 23 MB as a document, an archive of Keras three entries beside its assets. */
#ifndef KP_PLANNER_CONTAINER_LIMITS_H
#define KP_PLANNER_CONTAINER_LIMITS_H

#include <stdint.h>

#define KP_MIB ((uint64_t)1 << 20)

/* clang-format off */
#define KP_CONFIG_BYTES_MAX   (64 * KP_MIB) /* configuration that stands in the file as it is */
#define KP_INFLATED_BYTES_MAX (8 * KP_MIB)  /* what is unpacked: a configuration, a gzip file */
#define KP_TREE_MAX           (48 * KP_MIB) /* any document's memory, strings left out */
#define KP_METADATA_BYTES_MAX KP_MIB        /* metadata.json; attributes but model_config */
#define KP_RATIO_MAX          200           /* of unpacked to packed bytes ... */
#define KP_RATIO_FREE_BYTES   KP_MIB        /* ... of what unpacks to more than this */
#define KP_ZIP_ENTRIES_MAX    100000
#define KP_ZIP_DIRECTORY_MAX  (16 * KP_MIB)
#define KP_NAME_BYTES_MAX     1024          /* of a zip entry, of a member of a group */
#define KP_HDF5_BYTES_MAX     (24 * KP_MIB) /* of structures that are looked at, texts left out */
#define KP_HDF5_PIECE_MIN     64            /* counted for each look: bounds their number */
#define KP_HDF5_DEPTH_MAX     32            /* groups within groups; levels of a tree */
#define KP_HDF5_MESSAGES_MAX  65536         /* of one object */
#define KP_WEIGHTS_MAX        100000        /* and members of a group */
/* clang-format on */

#endif
