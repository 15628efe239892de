/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_print.h — parts of an explanation as text. Internal to the room. */
#ifndef KP_PLANNER_PLAN_EXPLAIN_PRINT_H
#define KP_PLANNER_PLAN_EXPLAIN_PRINT_H

#include "planner/plan/explain.h"

/* Appends words up to column `width`, further lines indented; `column` is where it starts. Ends
 * the line. */
void kp_print_wrapped(kp_buf *out, const char *text, size_t column, size_t indent, size_t width);

/* Which layers hold most, what is alive at the peak, the reasons. */
void kp_print_layers(const kp_explain *x, kp_buf *out);
void kp_print_tensors(const kp_explain *x, kp_buf *out);
void kp_print_culprits(const kp_explain *x, unsigned width, kp_buf *out);

/* What helps, and how much of it together. */
void kp_print_remedies(const kp_explain *x, unsigned width, kp_buf *out);
void kp_print_together(const kp_explain *x, unsigned width, kp_buf *out);

/* What is exchanged with other ranks. */
void kp_print_collectives(const kp_explain *x, kp_buf *out);

/* "fits", "tight", "4.0 GiB too much": bytes against the device. */
kp_short kp_print_fit(const kp_explain *x, uint64_t bytes, kp_verdict_fit fit);

#endif
