/* SPDX-License-Identifier: MIT
 *
 * tests/estimate/fixture.h — a model file with everything the estimate takes. */
#ifndef KP_TESTS_ESTIMATE_FIXTURE_H
#define KP_TESTS_ESTIMATE_FIXTURE_H

#include "planner/estimate/cost.h"

typedef struct fixture {
    kp_arena arena;
    kp_options options; /* change them between fixture_init and fixture_load */
    const kp_graph *graph;
    kp_training training;
    kp_gpu_kinds gpus;
    kp_device device;
} fixture;

/* The option structure with everything absent, and the table of cards. */
void fixture_init(fixture *f);

/* Reads a model (as fixture_load names it) under the options. */
kp_status fixture_read(const char *model, const kp_options *options, kp_arena *arena,
                       const kp_graph **ret, kp_err *err);

/* Reads a model file below tests/data, or JSON text that starts with '{', under the options. All
 * failures are assertions. */
void fixture_load(fixture *f, const char *model);

/* The part of one rank that has the whole model under a strategy. */
kp_part fixture_part(const fixture *f, kp_strategy strategy);

/* Its memory; `live` as kp_memory_replay gives it. */
kp_memory fixture_memory(fixture *f, const kp_part *part);

void fixture_free(fixture *f);

/* A model of two dense layers; the first may be frozen. */
#define TWO_DENSE(trainable)                                                                       \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"two\",\"layers\":["                     \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[null,256]}" \
    "},"                                                                                           \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"a\",\"units\":512,\"activation\":\"relu\","  \
    "\"trainable\":" trainable "}},"                                                               \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"b\",\"units\":128,\"activation\":"           \
    "\"linear\"}}]}}"

#endif
