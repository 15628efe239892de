/* SPDX-License-Identifier: MIT
 *
 * proto/shape.h — shapes with a symbolic batch, and element types.
 *
 * A dimension is a number, or open (KP_DIM_OPEN: not known, printed as null), and may be per
 * sample: then its real size is dim x batch. Keras's (None, 224, 224, 3) is dims {1, 224, 224, 3}
 * with dimension 0 per sample; (None, 512) merged over 512 steps is {512, ...} per sample. So the
 * batch stays a symbol until someone asks for elements. Pure values. */
#ifndef KP_PROTO_SHAPE_H
#define KP_PROTO_SHAPE_H

#include "proto/num.h"
#include "proto/status.h"

#define KP_RANK_MAX 8
#define KP_DIM_OPEN ((int64_t)-1)
#define KP_DIM_MAX  ((int64_t)1 << 40) /* larger numbers in a file are refused */

typedef struct kp_shape {
    uint8_t rank;             /* 0: a scalar */
    uint8_t per_sample;       /* bit i: dimension i is multiplied by the batch */
    int64_t dim[KP_RANK_MAX]; /* > 0, 0 (empty) or KP_DIM_OPEN */
} kp_shape;

/*    enum       name         bytes */
#define KP_DTYPE_ROWS(X)                                                                           \
    X(FLOAT32, "float32", 4)                                                                       \
    X(FLOAT64, "float64", 8)                                                                       \
    X(FLOAT16, "float16", 2)                                                                       \
    X(BFLOAT16, "bfloat16", 2)                                                                     \
    X(FLOAT8, "float8_e4m3fn", 1)                                                                  \
    X(INT8, "int8", 1)                                                                             \
    X(UINT8, "uint8", 1)                                                                           \
    X(INT16, "int16", 2)                                                                           \
    X(UINT16, "uint16", 2)                                                                         \
    X(INT32, "int32", 4)                                                                           \
    X(UINT32, "uint32", 4)                                                                         \
    X(INT64, "int64", 8)                                                                           \
    X(UINT64, "uint64", 8)                                                                         \
    X(BOOL, "bool", 1)                                                                             \
    X(STRING, "string", 0)

typedef enum kp_dtype {
#define KP_DTYPE_ENUM(name, text, bytes) KP_##name,
    KP_DTYPE_ROWS(KP_DTYPE_ENUM)
#undef KP_DTYPE_ENUM
        KP_DTYPE_COUNT
} kp_dtype;

extern const char *const kp_dtype_names[KP_DTYPE_COUNT]; /* Keras's names */

uint32_t kp_dtype_bytes(kp_dtype dtype);
bool kp_dtype_is_float(kp_dtype dtype);
bool kp_dtype_from_name(const char *name, kp_dtype *ret);

/* True if no dimension is open. */
bool kp_shape_known(kp_shape shape);

/* Elements with the batch bound: the product of all dimensions, saturating. Open dimensions must
 * be bound before (asserted). */
uint64_t kp_shape_elems(kp_shape shape, uint64_t batch);

/* Elements of dimensions [from, to), batch not applied; KP_DIM_OPEN if one is open. */
int64_t kp_shape_product(kp_shape shape, unsigned from, unsigned to);

bool kp_shape_equal(kp_shape a, kp_shape b);

/* "(None, 224, 224, 3)", as Keras prints it; batch != 0 binds the per-sample dimensions. */
typedef struct kp_shape_str {
    char s[160];
} kp_shape_str;
kp_shape_str kp_shape_text(kp_shape shape, uint64_t batch);

#endif
