/* SPDX-License-Identifier: MIT
 *
 * planner/plan/chart_style.h — text and style of a drawing. Internal to the room. */
#ifndef KP_PLANNER_PLAN_CHART_STYLE_H
#define KP_PLANNER_PLAN_CHART_STYLE_H

#include "planner/plan/chart.h"

/* Appends the style sheet: colours for a light ground, and for a dark one where the reader has it.
 */
void kp_chart_style(kp_buf *out);

/* Appends text that came from a file: no markup, no controls, valid UTF-8. */
void kp_chart_text(kp_buf *out, const char *text);

/* The same, at most `room` bytes: the end of a long name, which is what tells it from others. */
void kp_chart_name(kp_buf *out, const char *name, size_t room);

#endif
