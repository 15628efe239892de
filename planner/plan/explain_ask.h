/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_ask.h — the further questions of an explanation. Internal to the room.
 *
 * Each fills its part of e->out once the explanation itself is there. */
#ifndef KP_PLANNER_PLAN_EXPLAIN_ASK_H
#define KP_PLANNER_PLAN_EXPLAIN_ASK_H

#include "planner/plan/explain_parts.h"

/* peak, by_category, device, verdict and stages of e->look. */
void kp_explain_peak_of(kp_explaining *e);

/* message: whose tensor a pasted message or log means. KP_USAGE if it holds none. */
kp_status kp_explain_message_of(kp_explaining *e, const char *bytes, size_t len);

/* versus: another model file under the same options, and why it differs. */
kp_status kp_explain_versus_of(kp_explaining *e, const char *bytes, size_t len, const char *name);

/* What two models are called beside each other: their names, if those tell them apart. */
typedef struct kp_versus_names {
    const char *model, *other;
} kp_versus_names;

kp_versus_names kp_versus_names_of(const char *model, const char *other);

/* largest: by running the estimate at one value after the other. The answer comes before the
 * explanation: an open dimension that is asked for gets its value from it (*ret_options, else as
 * given; *ret_set is that value, 0 if none was set). KP_USAGE: no such dimension, or the file fixes
 * it. */
kp_status kp_explain_largest_of(kp_explaining *e, const char *what, kp_options *ret_options,
                                uint64_t *ret_set);

/* hand_arithmetic and not_the_cause. */
kp_status kp_explain_notes(kp_explaining *e);

/* Text forms of those. */
void kp_explain_print_asked(const kp_explain *explain, unsigned width, kp_buf *out);
void kp_explain_print_notes(const kp_explain *explain, unsigned width, kp_buf *out);

#endif
