/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/conv_space.h — scratch of a convolution that torch asks its allocator for.
 *
 * cuDNN chooses the algorithm by a heuristic that is not published. Scratch follows from the
 * algorithms: implicit products need none, transforms write input, output and kernel transformed.
 * Winograd's F(4x4, 3x3) has 36 values for 16 of the picture and for 9 of the kernel (Lavin and
 * Gray 2016); cuDNN's tiled Fourier transform has 32 x 17 complex values for the 30 x 30 of a tile
 * of a 3x3 convolution and for each kernel. Pure. */
#ifndef KP_PLANNER_ESTIMATE_CONV_SPACE_H
#define KP_PLANNER_ESTIMATE_CONV_SPACE_H

#include "planner/estimate/size.h"

/* Expected (assumed): Winograd's for convolutions of at least 128 channels in float32; 0: none.
 * Only two-dimensional 3x3 of stride 1 without groups and dilation transform. */
uint64_t kp_conv_space_bytes(const kp_sizes *sizes, const kp_graph_op *op);

/* At most: the tiled Fourier transform's, where the picture is at least half a tile. */
uint64_t kp_conv_space_high_bytes(const kp_sizes *sizes, const kp_graph_op *op);

#endif
