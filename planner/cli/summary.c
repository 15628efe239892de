/* SPDX-License-Identifier: MIT */
#include "planner/cli/commands.h"
#include "planner/cli/model.h"
#include "planner/cli/output.h"
#include "planner/cli/table.h"
#include <math.h>

/* One unit for a column of FLOPs: that of its largest number. */
typedef struct flops_unit {
    const char *title;
    double flops;
} flops_unit;

static double largest(const kp_summary_layer *layers, uint32_t n)
{
    double most = 0;
    for (uint32_t i = 0; i < n; i++) most = fmax(most, layers[i].forward_flops); /* NaN never wins */
    return most;
}

static flops_unit unit_for(double flops)
{
    static const flops_unit units[] = {
        {"forward KFLOP", 1e3}, {"forward MFLOP", 1e6}, {"forward GFLOP", 1e9}, {"forward TFLOP", 1e12}};
    size_t u = 0;
    while (u + 1 < KP_LEN(units) && flops >= units[u + 1].flops) u++;
    return units[u];
}

static void shapes_cell(kp_table *table, const kp_summary_layer *layer)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    for (uint32_t i = 0; i < layer->n_output_shapes; i++)
        kp_buf_fmt(&text, "%s%s", i ? ", " : "", kp_shape_text(layer->output_shapes[i], 0).s);
    table->failed |= text.failed;
    kp_table_cell(table, text.len ? kp_buf_text(&text) : NULL);
    kp_buf_release(&text);
}

static void flops_cell(kp_table *table, double flops, flops_unit unit)
{
    if (isnan(flops) || flops == 0) kp_table_cell(table, flops == 0 ? "-" : "?");
    else kp_table_fmt(table, flops < unit.flops / 1000 ? "<%.3f" : "%.3f", fmax(flops / unit.flops, .001));
}

static void layer_rows(kp_table *table, const kp_summary_layer *layers, uint32_t n, flops_unit unit,
                       int depth)
{
    for (uint32_t i = 0; i < n; i++) {
        const kp_summary_layer *layer = &layers[i];
        kp_table_fmt(table, "%*s%s", 2 * depth, "", layer->name);
        kp_table_cell(table, layer->class_name);
        shapes_cell(table, layer);
        kp_table_cell(table, kp_count_text(layer->params).s);
        flops_cell(table, layer->forward_flops, unit);
        layer_rows(table, layer->layers, layer->n_layers, unit, depth + 1);
    }
}

typedef struct weight_bytes {
    uint64_t all, trainable;
} weight_bytes;

static void add_bytes(const kp_summary_layer *layers, uint32_t n, weight_bytes *sum)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t w = 0; w < layers[i].n_weights; w++) {
            const kp_summary_weight *weight = &layers[i].weights[w];
            kp_dtype dtype;
            if (!kp_shape_known(weight->shape) || !kp_dtype_from_name(weight->dtype, &dtype)) continue;
            uint64_t bytes = kp_mul_u64(kp_shape_elems(weight->shape, 1), kp_dtype_bytes(dtype));
            sum->all = kp_add_u64(sum->all, bytes);
            if (weight->trainable) sum->trainable = kp_add_u64(sum->trainable, bytes);
        }
        add_bytes(layers[i].layers, layers[i].n_layers, sum);
    }
}

static void totals(const kp_summary *summary, kp_buf *out)
{
    weight_bytes bytes = {0};
    add_bytes(summary->layers, summary->n_layers, &bytes);
    const struct {
        const char *what;
        uint64_t params, bytes;
    } rows[] = {
        {"total", summary->params.total, bytes.all},
        {"trainable", summary->params.trainable, bytes.trainable},
        {"non-trainable", summary->params.non_trainable, kp_sub_u64(bytes.all, bytes.trainable)},
    };
    kp_buf_char(out, '\n');
    for (size_t i = 0; i < KP_LEN(rows); i++)
        kp_buf_fmt(out, "%-14s%18s params  %10s\n", rows[i].what, kp_count_text(rows[i].params).s,
                   kp_size_text(rows[i].bytes).s);
    if (isnan(summary->forward_flops))
        kp_buf_str(out, "forward pass: a dimension is open, give it with --seq or --dim\n");
    else
        kp_buf_fmt(out, "forward pass: %s a sample\n", kp_flops_text(summary->forward_flops).s);
}

kp_status kp_cmd_summary(kp_cli *cli, kp_err *err)
{
    kp_model_file file;
    kp_summary summary = {0};
    KP_TRY(kp_model_open(cli, cli->args[0], &file, err));
    KP_TRY(kp_graph_summary(file.graph, &cli->arena, &summary, err));
    cli->warnings = summary.warnings;
    cli->n_warnings = summary.n_warnings;
    if (cli->values.json) return kp_cli_json(cli, &kp_schema_summary, &summary, err);
    flops_unit unit = unit_for(largest(summary.layers, summary.n_layers));
    const kp_column columns[] = {
        {.title = "layer", .shrink = true}, {.title = "class", .shrink = true},
        {.title = "output shape"},          {.title = "params", .right = true},
        {.title = unit.title, .right = true},
    };
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    layer_rows(&table, summary.layers, summary.n_layers, unit, 0);
    kp_buf_fmt(&cli->out, "model '%s' (%s)\n\n", summary.model, summary.format);
    KP_TRY(kp_table_print(&table, kp_cli_width(), &cli->out, err));
    totals(&summary, &cli->out);
    return KP_OK;
}
