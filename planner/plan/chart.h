/* SPDX-License-Identifier: MIT
 *
 * planner/plan/chart.h — memory over one training step as a drawing.
 *
 * The tape is replayed into columns (at most so many as can be told apart, each the fullest moment
 * of its steps), stacked by category; chart_svg.c draws them. What lies outside the tape (context,
 * workspaces) stands below as a constant, so that the highest column is the peak of the
 * explanation. Plain SVG: no scripts, no fonts or images from elsewhere. Pure. */
#ifndef KP_PLANNER_PLAN_CHART_H
#define KP_PLANNER_PLAN_CHART_H

#include "planner/plan/explain_parts.h"

enum { KP_CHART_COLUMNS_MAX = 640, KP_CHART_SPANS_MAX = 24 };

typedef struct kp_chart_column {
    kp_categories bytes;
    double x0, x1;  /* from 0 to 1 */
    uint32_t layer; /* of its fullest step; KP_NO: none */
} kp_chart_column;

typedef struct kp_chart_span { /* steps of one phase behind each other */
    kp_phase phase;
    uint32_t first, end; /* steps */
    double x0, x1;
} kp_chart_span;

typedef struct kp_chart {
    kp_chart_column *columns;
    uint32_t n_columns, peak; /* peak: the column */
    kp_chart_span spans[KP_CHART_SPANS_MAX];
    uint32_t n_spans, n_steps;
} kp_chart;

/* Replays the tape of a look that is not brief. KP_NOMEM. */
kp_status kp_chart_make(const kp_look *look, kp_arena *arena, kp_chart *ret, kp_err *err);

/* Makes it and appends the drawing. `explain` is of the same look. KP_NOMEM. */
kp_status kp_chart_svg(const kp_look *look, const kp_explain *explain, kp_arena *arena, kp_buf *out,
                       kp_err *err);

#endif
