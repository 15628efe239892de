/* SPDX-License-Identifier: MIT
 *
 * tests/plan/fixture.h — a model with options, and the explanation of it. */
#ifndef KP_TESTS_PLAN_FIXTURE_H
#define KP_TESTS_PLAN_FIXTURE_H

#include "planner/plan/explain_parts.h"

typedef struct kp_fixture {
    kp_arena arena;
    kp_options options;
    kp_gpu_kinds gpus;
    char *text; /* the model file */
    size_t len;
    kp_explain x;
} kp_fixture;

/* A file below tests/data, or, where it begins with '{', the document itself, with single quotes
 * for double ones; every option absent. */
void kp_fixture_init(kp_fixture *f, const char *file);
kp_status kp_fixture_make(kp_fixture *f, kp_err *err);
void kp_fixture_explain(kp_fixture *f); /* must succeed */
void kp_fixture_done(kp_fixture *f);

/* A Sequential of layers behind an input, as a document. */
#define KP_LAYER(class_name, config) "{'class_name':'" class_name "','config':{" config "}}"
#define KP_SEQUENTIAL(shape, layers)                                                               \
    "{'class_name':'Sequential','keras_version':'3.12.0','config':{'name':'net','layers':["        \
    "{'class_name':'InputLayer','config':{'name':'in','batch_shape':[null," shape "]}}," layers    \
    "]}}"

/* Sets options from a text as "--batch 8 --grad-accum 4". */
void kp_fixture_set(kp_fixture *f, const char *options);

/* The first culprit or remedy of a rule, of `layer` if that is not NULL; NULL if there is none. */
const kp_explain_culprit *kp_fixture_culprit(const kp_fixture *f, const char *rule,
                                             const char *layer);
const kp_explain_remedy *kp_fixture_remedy(const kp_fixture *f, const char *rule);

#endif
