/* SPDX-License-Identifier: MIT
 *
 * planner/plan/oom_phrases.h — a message while it is read. Internal to the room.
 *
 * Each reader is called behind its phrase and keeps what it finds there. */
#ifndef KP_PLANNER_PLAN_OOM_PHRASES_H
#define KP_PLANNER_PLAN_OOM_PHRASES_H

#include "planner/plan/oom_text.h"

typedef struct kp_oom_reading {
    kp_oom_text *out;
    const char *start, *end;
    kp_oom_from seen;  /* who complained without a size */
    bool device, host; /* such complaints were there */
} kp_oom_reading;

typedef void kp_oom_reader(kp_oom_reading *r, kp_oom_cursor behind);

/* Keeps an ask that is not there yet. */
void kp_oom_keep(kp_oom_reading *r, const kp_oom_ask *ask);

kp_oom_reader kp_oom_tf_tensor, kp_oom_tf_bfc, kp_oom_tf_copy, kp_oom_tf_host, kp_oom_driver,
    kp_oom_xla_program, kp_oom_xla_buffer, kp_oom_torch_bytes, kp_oom_theano_bytes,
    kp_oom_theano_shapes, kp_oom_numpy, kp_oom_summary_row;

#endif
