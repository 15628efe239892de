/* SPDX-License-Identifier: MIT */
#include "planner/cli/table.h"
#include <assert.h>

#define GAP   2
#define LEAST 10 /* columns are not shortened below this */

void kp_table_init(kp_table *table, const kp_column *columns, uint32_t n, kp_arena *arena)
{
    assert(n && n <= KP_TABLE_COLUMNS_MAX);
    *table = (kp_table){.columns = columns, .n_columns = n, .arena = arena};
}

void kp_table_cell(kp_table *table, const char *text)
{
    const char *copy = kp_arena_str(table->arena, text ? text : "-");
    if (!copy || !KP_GROW(table->arena, table->cells, table->n_cells, table->cap))
        table->failed = true;
    else
        table->cells[table->n_cells++] = copy;
}

void kp_table_fmt(kp_table *table, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    kp_table_cell(table, text);
}

/* Characters of UTF-8 text: bytes that do not continue one. */
static size_t chars(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Bytes of the first n characters. */
static size_t bytes_of(const char *text, size_t n)
{
    size_t at = 0;
    while (text[at] && (n || ((unsigned char)text[at] & 0xc0) == 0x80))
        n -= ((unsigned char)text[at++] & 0xc0) != 0x80;
    return at;
}

static void measure(const kp_table *table, size_t *widths)
{
    for (uint32_t c = 0; c < table->n_columns; c++) widths[c] = chars(table->columns[c].title);
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t n = chars(table->cells[i]), *width = &widths[i % table->n_columns];
        if (n > *width) *width = n;
    }
}

/* Takes columns one by one off the widest that may shrink, until the table fits. */
static void shrink(const kp_table *table, unsigned width, size_t *widths)
{
    for (;;) {
        size_t total = GAP * (table->n_columns - 1u), *widest = NULL;
        for (uint32_t c = 0; c < table->n_columns; c++) {
            total += widths[c];
            if (table->columns[c].shrink && widths[c] > LEAST && (!widest || widths[c] > *widest))
                widest = &widths[c];
        }
        if (total <= width || !widest) return;
        size_t over = total - width, room = *widest - LEAST;
        *widest -= over < room / 4 + 1 ? over : room / 4 + 1;
    }
}

/* "convnext..block_2_pointwise_conv": names of layers differ at their ends. */
static void print_short(const char *text, size_t n, size_t width, kp_buf *out)
{
    size_t head = (width - 2) / 3, tail = width - 2 - head;
    kp_buf_add(out, text, bytes_of(text, head));
    kp_buf_str(out, "..");
    kp_buf_str(out, text + bytes_of(text, n - tail));
}

/* *pad: blanks owed before the next text, so that no line ends in blanks. */
static void print_cell(const char *text, const kp_column *column, size_t width, size_t *pad, kp_buf *out)
{
    size_t n = chars(text), blanks = n < width ? width - n : 0;
    if (!n) {
        *pad += width + GAP;
        return;
    }
    kp_buf_pad(out, ' ', *pad + (column->right ? blanks : 0));
    if (n > width) print_short(text, n, width, out);
    else kp_buf_str(out, text);
    *pad = (column->right ? 0 : blanks) + GAP;
}

kp_status kp_table_print(const kp_table *table, unsigned width, kp_buf *out, kp_err *err)
{
    size_t widths[KP_TABLE_COLUMNS_MAX] = {0};
    if (table->failed) return kp_nomem(err);
    assert(table->n_cells % table->n_columns == 0);
    measure(table, widths);
    if (width) shrink(table, width, widths);
    size_t pad = 0;
    for (uint32_t c = 0; c < table->n_columns; c++)
        print_cell(table->columns[c].title, &table->columns[c], widths[c], &pad, out);
    for (size_t i = 0; i < table->n_cells; i++) {
        uint32_t c = (uint32_t)(i % table->n_columns);
        if (!c) kp_buf_char(out, '\n');
        if (!c) pad = 0;
        print_cell(table->cells[i], &table->columns[c], widths[c], &pad, out);
    }
    kp_buf_char(out, '\n');
    return KP_OK;
}
