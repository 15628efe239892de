/* SPDX-License-Identifier: MIT
 *
 * proto/num.h — sizes that saturate, and time as a line.
 *
 * Sizes from a file can overflow; products and sums stop at UINT64_MAX, so that rules stay plain
 * expressions and one check at the end (kp_size_ok) says "too big". Pure. */
#ifndef KP_PROTO_NUM_H
#define KP_PROTO_NUM_H

#include <stdbool.h>
#include <stdint.h>

/* Sizes above this (2^60) are taken for nonsense: no machine has an exbibyte of memory. */
#define KP_SIZE_MAX ((uint64_t)1 << 60)

static inline uint64_t kp_mul_u64(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static inline uint64_t kp_add_u64(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

/* a - b, or 0. */
static inline uint64_t kp_sub_u64(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* a / b rounded up; b > 0. */
static inline uint64_t kp_ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t kp_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t kp_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* a rounded up to a multiple of unit (> 0), saturating. */
static inline uint64_t kp_round_up(uint64_t a, uint64_t unit)
{
    return kp_mul_u64(kp_ceil_div(a, unit), unit);
}

static inline bool kp_size_ok(uint64_t a)
{
    return a <= KP_SIZE_MAX;
}

/* Time as a line over bytes: fixed_s + bytes * s_per_byte. */
typedef struct kp_line {
    double fixed_s, s_per_byte;
} kp_line;

static inline double kp_line_at(kp_line line, double bytes)
{
    return line.fixed_s + bytes * line.s_per_byte;
}

#endif
