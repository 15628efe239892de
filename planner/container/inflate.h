/* SPDX-License-Identifier: MIT
 *
 * planner/container/inflate.h — unpacking with hard limits.
 *
 * zlib's inflate, fed from a source piece by piece into memory of exactly the right size; what
 * would be larger than allowed stops where it passes the limit. Memory: the result, and 48 KiB. */
#ifndef KP_PLANNER_CONTAINER_INFLATE_H
#define KP_PLANNER_CONTAINER_INFLATE_H

#include "planner/container/source.h"

/* Unpacks a raw deflate stream that must fill the source and give exactly n bytes; a 0 stands
 * behind them. KP_INPUT: it does not; KP_NOMEM. */
kp_status kp_inflate_raw(const kp_source *source, uint64_t n, kp_arena *arena, const uint8_t **ret,
                         kp_err *err);

/* Unpacks a gzip file of one or more members to a memory source of at most KP_INFLATED_BYTES_MAX
 * and KP_RATIO_MAX. KP_INPUT: damaged, cut off, too large; KP_NOMEM. */
kp_status kp_gunzip(const kp_source *source, kp_arena *arena, kp_source *ret, kp_err *err);

/* CRC-32 as zip and gzip have it. */
uint32_t kp_crc32(const uint8_t *bytes, uint64_t n);

/* True if unpacking `packed` bytes to `whole` is more than KP_RATIO_MAX allows. */
bool kp_ratio_too_high(uint64_t packed, uint64_t whole);

#endif
