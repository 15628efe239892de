/* SPDX-License-Identifier: MIT
 *
 * planner/model/torch.h — what a row of torch_rows.c says beside its class. Internal to the room. */
#ifndef KP_PLANNER_MODEL_TORCH_H
#define KP_PLANNER_MODEL_TORCH_H

#include "planner/model/rules.h"

typedef struct kp_torch_row {
    kp_layer_row row;
    const char *package; /* begins the module or the registered name */
    const char *weights; /* "name:sizes": a letter a size; '!' before the colon: frozen */
    const char *outs;    /* one letter an output: x y as that input, p the wider type of x and the
                            weights, s a number, r one a row, g half the columns, t a head's width; behind
                            them '=': x's gradient is written over x, '*': products run, in the
                            forward pass alone, '**': in both */
    uint32_t keeps;      /* bit i: the backward pass reads input i */
    const char *program; /* planner/estimate/program.h */
    int64_t until;       /* what versions of the package below this did, 100 x major + minor */
    const char *before;
} kp_torch_row;

extern const kp_torch_row kp_torch_rows[]; /* sorted by class */
extern const size_t kp_torch_n_rows;

#endif
