/* SPDX-License-Identifier: MIT
 *
 * planner/cli/table.h — aligned columns for a person. */
#ifndef KP_PLANNER_CLI_TABLE_H
#define KP_PLANNER_CLI_TABLE_H

#include "proto/arena.h"
#include "proto/text.h"

#define KP_TABLE_COLUMNS_MAX 12

typedef struct kp_column {
    const char *title;
    bool right;  /* numbers */
    bool shrink; /* shortened, with "..", when the table is wider than the terminal */
} kp_column;

typedef struct kp_table {
    const kp_column *columns;
    uint32_t n_columns;
    kp_arena *arena;
    const char **cells; /* row by row */
    size_t n_cells, cap;
    bool failed; /* memory was out */
} kp_table;

void kp_table_init(kp_table *table, const kp_column *columns, uint32_t n, kp_arena *arena);

/* The next cell; a row is full after n_columns of them. NULL is shown as "-". */
void kp_table_cell(kp_table *table, const char *text);
void kp_table_fmt(kp_table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Title line, then the rows, two spaces between columns. width 0: as wide as it gets. KP_NOMEM. */
kp_status kp_table_print(const kp_table *table, unsigned width, kp_buf *out, kp_err *err);

#endif
