/* SPDX-License-Identifier: MIT
 *
 * Layers of packages around Keras that are not a Keras layer with something more: KerasHub's
 * modelling layers and HGQ's quantiser. Sorted by class. They are found only where the file says
 * whose they are (neighbours.c). Sources: keras_hub/src/layers/modeling at 0.22; HGQ 0.2,
 * proxy/fixed_point_quantizer.py. */
#include "planner/model/rows.h"
#include "planner/model/schema.h"

/* clang-format off */
SCHEMA(cfg_quantizer, NEED(INTS, dims, "shape"));

const kp_layer_row kp_neighbour_rows[] = {
    {"FixedPointQuantizer", 0, 0, 1, 1, &cfg_quantizer, kp_shape_same, kp_weights_quantizer, kp_lower_quantizer},
};
/* clang-format on */
const size_t kp_neighbour_n_rows = KP_LEN(kp_neighbour_rows);
