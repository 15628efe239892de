/* SPDX-License-Identifier: MIT */
#include "proto/shape.h"
#include <assert.h>
#include <inttypes.h>

const char *const kp_dtype_names[KP_DTYPE_COUNT] = {
#define KP_DTYPE_NAME(name, text, bytes) [KP_##name] = text,
    KP_DTYPE_ROWS(KP_DTYPE_NAME)
#undef KP_DTYPE_NAME
};

static const uint8_t dtype_bytes[KP_DTYPE_COUNT] = {
#define KP_DTYPE_BYTES(name, text, bytes) [KP_##name] = bytes,
    KP_DTYPE_ROWS(KP_DTYPE_BYTES)
#undef KP_DTYPE_BYTES
};

uint32_t kp_dtype_bytes(kp_dtype dtype)
{
    return dtype_bytes[dtype];
}

bool kp_dtype_is_float(kp_dtype dtype)
{
    return dtype <= KP_FLOAT8;
}

bool kp_dtype_from_name(const char *name, kp_dtype *ret)
{
    for (int i = 0; i < KP_DTYPE_COUNT; i++) {
        if (strcmp(kp_dtype_names[i], name)) continue;
        *ret = (kp_dtype)i;
        return true;
    }
    return false;
}

bool kp_shape_known(kp_shape shape)
{
    for (unsigned i = 0; i < shape.rank; i++)
        if (shape.dim[i] == KP_DIM_OPEN) return false;
    return true;
}

uint64_t kp_shape_elems(kp_shape shape, uint64_t batch)
{
    uint64_t elems = 1;
    for (unsigned i = 0; i < shape.rank; i++) {
        assert(shape.dim[i] >= 0);
        elems = kp_mul_u64(elems, (uint64_t)shape.dim[i]);
        if (shape.per_sample >> i & 1) elems = kp_mul_u64(elems, batch);
    }
    return elems;
}

int64_t kp_shape_product(kp_shape shape, unsigned from, unsigned to)
{
    uint64_t elems = 1;
    for (unsigned i = from; i < to && i < shape.rank; i++) {
        if (shape.dim[i] == KP_DIM_OPEN) return KP_DIM_OPEN;
        elems = kp_mul_u64(elems, (uint64_t)shape.dim[i]);
    }
    return elems > INT64_MAX ? INT64_MAX : (int64_t)elems;
}

bool kp_shape_equal(kp_shape a, kp_shape b)
{
    if (a.rank != b.rank || a.per_sample != b.per_sample) return false;
    return !memcmp(a.dim, b.dim, a.rank * sizeof(a.dim[0]));
}

kp_shape_str kp_shape_text(kp_shape shape, uint64_t batch)
{
    kp_shape_str text;
    size_t at = (size_t)snprintf(text.s, sizeof(text.s), "(");
    for (unsigned i = 0; i < shape.rank && at < sizeof(text.s); i++) {
        bool per_sample = shape.per_sample >> i & 1;
        bool open = shape.dim[i] == KP_DIM_OPEN || (per_sample && !batch);
        uint64_t n = kp_mul_u64((uint64_t)shape.dim[i], per_sample ? batch : 1);
        const char *sep = i ? ", " : "";
        at += (size_t)(open ? snprintf(text.s + at, sizeof(text.s) - at, "%sNone", sep)
                            : snprintf(text.s + at, sizeof(text.s) - at, "%s%" PRIu64, sep, n));
    }
    const char *end = shape.rank == 1 ? ",)" : ")";
    if (at < sizeof(text.s)) snprintf(text.s + at, sizeof(text.s) - at, "%s", end);
    return text;
}
