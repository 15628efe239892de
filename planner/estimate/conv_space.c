/* SPDX-License-Identifier: MIT */
#include "planner/estimate/conv_space.h"

enum { WIDE = 128, TILE = 30, HALF_TILE = 16 };
#define TILE_BYTES ((uint64_t)32 * 17 * 8)

/* A convolution for transforms: samples, rows, columns, channels in and out. */
typedef struct picture {
    uint64_t n, h, w, c, k;
} picture;

static bool transforms(const kp_sizes *sizes, const kp_graph_op *op, picture *ret)
{
    const kp_op_attr *a = &op->attr;
    if (op->op != KP_OP_CONV || a->spatial != 2 || a->groups > 1 || !op->n_out) return false;
    for (int i = 0; i < 2; i++)
        if (a->kernel[i] != 3 || a->strides[i] > 1 || a->dilation[i] > 1) return false;
    if (kp_dtype_bytes(sizes->graph->tensors[op->in[0]].dtype) != 4) return false;
    const kp_shape *x = &sizes->tensors[op->in[0]], *y = &sizes->tensors[op->out[0]];
    if (x->rank != 4 || y->rank != 4) return false;
    int first = a->channels_first ? 2 : 1, channels = a->channels_first ? 1 : 3;
    *ret = (picture){(uint64_t)x->dim[0], (uint64_t)x->dim[first], (uint64_t)x->dim[first + 1],
                     (uint64_t)x->dim[channels], (uint64_t)y->dim[channels]};
    return true;
}

uint64_t kp_conv_space_bytes(const kp_sizes *sizes, const kp_graph_op *op)
{
    picture p;
    if (!transforms(sizes, op, &p) || p.c < WIDE || p.k < WIDE) return 0;
    uint64_t points = kp_mul_u64(p.n, kp_mul_u64(p.h, p.w));
    return kp_add_u64(kp_mul_u64(points, 9 * (p.c + p.k)), 144 * kp_mul_u64(p.c, p.k));
}

uint64_t kp_conv_space_high_bytes(const kp_sizes *sizes, const kp_graph_op *op)
{
    picture p;
    if (!transforms(sizes, op, &p) || p.h < HALF_TILE || p.w < HALF_TILE) return 0;
    uint64_t tiles = kp_mul_u64(p.n, kp_ceil_div(p.h, TILE) * kp_ceil_div(p.w, TILE));
    uint64_t planes = kp_add_u64(kp_mul_u64(tiles, p.c + p.k), kp_mul_u64(p.c, p.k));
    return kp_mul_u64(planes, TILE_BYTES);
}
