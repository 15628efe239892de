/* SPDX-License-Identifier: MIT
 *
 * planner/plan/chart_svg.c — the drawing: axes, stacked areas, the card, the peak, a legend. */
#include "planner/plan/chart_style.h"
#include <math.h>

#define WIDTH  1200.0
#define HEIGHT 708.0
#define LEFT   88.0
#define RIGHT  1176.0
#define TOP    96.0
#define BOTTOM 500.0 /* of the plot; phases, layers and the legend stand below */

/* From below: what is constant first, what comes and goes on top. */
static const struct {
    kp_category category;
    const char *color;
} stack[] = {
    {KP_CAT_RUNTIME, "#7d8896"},       {KP_CAT_FRAGMENTATION, "#aab4bf"},
    {KP_CAT_WEIGHTS, "#2f62a8"},       {KP_CAT_OPTIMIZER, "#6fa0dc"},
    {KP_CAT_INPUTS, "#4fb3bf"},        {KP_CAT_ACTIVATIONS, "#2f9e6e"},
    {KP_CAT_GRADIENTS, "#e08a2c"},     {KP_CAT_TEMPORARY, "#cc4f77"},
    {KP_CAT_COMMUNICATION, "#b8a03a"}, {KP_CAT_WORKSPACE, "#8a6bb0"},
};
_Static_assert(KP_LEN(stack) == KP_CAT_COUNT, "a colour for every category");

typedef struct drawing {
    const kp_look *look;
    const kp_explain *x;
    const kp_chart *chart;
    kp_buf *out;
    double top_bytes; /* at TOP */
    bool card_above;  /* the card's line lies above the plot */
} drawing;

static double at_x(double share)
{
    return LEFT + (RIGHT - LEFT) * share;
}

static double at_y(const drawing *d, double bytes)
{
    return BOTTOM - (BOTTOM - TOP) * fmin(bytes / d->top_bytes, 1);
}

/* ---- frame ---- */

static void heading(const drawing *d)
{
    static const char *const words[KP_FIT_COUNT] = {
        [KP_FIT_FITS] = "fits", [KP_FIT_TIGHT] = "tight", [KP_FIT_NO] = "does not fit"};
    enum { TITLE_LETTERS = 84 };
    char rest[160];
    const kp_explain *x = d->x;
    const kp_strategy *s = &d->look->strategy;
    snprintf(rest, sizeof(rest), ": %s, peak %s of %s%s%.40s", words[x->verdict],
             kp_size_text(x->peak.bytes).s, kp_size_text(x->device.usable_bytes).s,
             x->device.gpu ? " on " : "", x->device.gpu ? x->device.gpu : "");
    kp_buf_fmt(d->out, "<text class=\"title\" x=\"%g\" y=\"38\">", LEFT);
    kp_chart_name(d->out, x->model ? x->model : "model", TITLE_LETTERS - strlen(rest));
    kp_chart_text(d->out, rest);
    kp_buf_fmt(d->out,
               "</text>\n<text class=\"sub\" x=\"%g\" y=\"62\">Device memory over one "
               "training step: %s, %s, batch %llu",
               LEFT, kp_framework_names[d->look->training.framework],
               kp_optimizer_names[d->look->training.optimizer],
               (unsigned long long)d->look->training.batch);
    if (d->look->divided)
        kp_buf_fmt(d->out, "; dp %u, tp %u, pp %u, ZeRO %u: the rank that needs most", s->dp, s->tp,
                   s->pp, s->zero);
    kp_buf_str(d->out, "</text>\n");
}

/* 1, 2 or 5 of a power of ten in the unit of the largest value: at most seven lines. */
static double tick_step(double top, double unit)
{
    double raw = top / unit / 6, power = pow(10, floor(log10(raw)));
    double step = raw / power;
    return unit * power * (step <= 1 ? 1 : step <= 2 ? 2 : step <= 5 ? 5 : 10);
}

static void axis(const drawing *d)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned u = 0;
    double unit = 1;
    for (; d->top_bytes / unit >= 1500 && u + 1 < KP_LEN(names); u++) unit *= 1024;
    kp_buf_fmt(d->out, "<rect class=\"plot\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"/>\n",
               LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
    double step = tick_step(d->top_bytes, unit);
    for (double v = 0; v <= d->top_bytes * 1.0001; v += step) {
        double y = at_y(d, v);
        kp_buf_fmt(d->out,
                   "<line class=\"%s\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>"
                   "<text class=\"tick\" x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%g %s</text>\n",
                   v > 0 ? "grid" : "axis", LEFT, RIGHT, y, y, LEFT - 8, y + 4, v / unit, names[u]);
    }
}

/* ---- areas ---- */

static double sum_below(const kp_chart_column *c, size_t level)
{
    double sum = 0;
    for (size_t i = 0; i < level; i++) sum += (double)c->bytes.bytes[stack[i].category];
    return sum;
}

/* One edge of an area as steps, from left to right or back; equal heights are one line. */
static void edge(const drawing *d, size_t level, bool back)
{
    const kp_chart *chart = d->chart;
    double last = -1;
    for (uint32_t i = 0; i < chart->n_columns; i++) {
        const kp_chart_column *c = &chart->columns[back ? chart->n_columns - 1 - i : i];
        double y = at_y(d, sum_below(c, level)), x0 = back ? c->x1 : c->x0;
        if (fabs(y - last) < .05) continue;
        if (i || back)
            kp_buf_fmt(d->out, "H%.1fV%.1f", at_x(x0), y);
        else
            kp_buf_fmt(d->out, "M%.1f %.1f", at_x(x0), y);
        last = y;
    }
    const kp_chart_column *end = &chart->columns[back ? 0 : chart->n_columns - 1];
    kp_buf_fmt(d->out, "H%.1f", at_x(back ? end->x0 : end->x1));
}

static bool empty(const drawing *d, kp_category category)
{
    for (uint32_t i = 0; i < d->chart->n_columns; i++)
        if (d->chart->columns[i].bytes.bytes[category]) return false;
    return true;
}

static void areas(const drawing *d)
{
    for (size_t i = 0; i < KP_LEN(stack); i++) {
        kp_category c = stack[i].category;
        if (empty(d, c)) continue;
        kp_buf_fmt(d->out, "<path fill=\"%s\" d=\"", stack[i].color);
        edge(d, i + 1, false);
        edge(d, i, true);
        kp_buf_fmt(d->out, "Z\"><title>%s: %s at the peak</title></path>\n", kp_category_names[c],
                   kp_size_text(d->x->by_category.bytes[c]).s);
    }
}

/* ---- what is below: phases and layers ---- */

static void phases(const drawing *d)
{
    double y = BOTTOM + 8;
    for (uint32_t i = 0; i < d->chart->n_spans; i++) {
        const kp_chart_span *s = &d->chart->spans[i];
        double x0 = at_x(s->x0), x1 = at_x(s->x1);
        const char *name = kp_phase_names[s->phase];
        kp_buf_fmt(d->out,
                   "<rect class=\"band%s\" x=\"%.1f\" y=\"%g\" width=\"%.1f\" height=\"24\"/>\n",
                   i % 2 ? " odd" : "", x0, y, x1 - x0);
        if (i)
            kp_buf_fmt(d->out,
                       "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\"/>\n", x0,
                       x0, TOP, y);
        if (x1 - x0 > 6.6 * (double)strlen(name))
            kp_buf_fmt(
                d->out,
                "<text class=\"phase\" x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%s</text>\n",
                (x0 + x1) / 2, y + 17, name);
    }
}

/* The column at a share of the width. */
static const kp_chart_column *column_at(const kp_chart *chart, double x)
{
    uint32_t i = 0;
    while (i + 1 < chart->n_columns && chart->columns[i].x1 <= x) i++;
    return &chart->columns[i];
}

static void layers(const drawing *d)
{
    enum { NAMES = 8, LETTERS = 19 };
    uint32_t last = KP_NO;
    for (unsigned i = 0; i < NAMES; i++) {
        double x = (i + .5) / NAMES;
        const kp_chart_column *c = column_at(d->chart, x);
        if (c->layer == KP_NO || c->layer == last) continue;
        last = c->layer;
        kp_buf_fmt(d->out,
                   "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\"/>"
                   "<text class=\"name\" x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">",
                   at_x(x), at_x(x), BOTTOM + 32, BOTTOM + 38, at_x(x), BOTTOM + 51);
        kp_chart_name(d->out, d->look->graph->layers[c->layer].path, LETTERS);
        kp_buf_str(d->out, "</text>\n");
    }
}

/* ---- the card, the peak ---- */

/* A line of text over the areas, on a plate so that it can be read. */
static void label(const drawing *d, const char *class, double x, double y, bool left,
                  const char *text, double letter)
{
    double width = letter * (double)strlen(text) + 10;
    kp_buf_fmt(d->out,
               "<rect class=\"plate\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"19\" rx=\"3\"/>"
               "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
               left ? x - width : x, y - 14, width, class, left ? x - 5 : x + 5, y,
               left ? "end" : "start");
    kp_chart_text(d->out, text);
    kp_buf_str(d->out, "</text>\n");
}

static void card(const drawing *d)
{
    char text[160];
    const kp_explain *x = d->x;
    double y = at_y(d, (double)x->device.usable_bytes);
    const char *gpu = x->device.gpu ? x->device.gpu : "the card";
    if (d->card_above) {
        snprintf(text, sizeof(text),
                 "%.60s: %s usable, %.3g times the peak: far above this drawing", gpu,
                 kp_size_text(x->device.usable_bytes).s,
                 (double)x->device.usable_bytes / fmax((double)x->peak.bytes, 1));
        label(d, "cardtext", RIGHT + 5, TOP - 9, true, text, 8.3);
        return;
    }
    snprintf(text, sizeof(text), "%.60s: %s usable", gpu, kp_size_text(x->device.usable_bytes).s);
    kp_buf_fmt(d->out, "<line class=\"card\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT,
               RIGHT, y, y);
    bool right_peak = d->chart->columns[d->chart->peak].x0 > .5; /* away from the peak's text */
    label(d, "cardtext", right_peak ? LEFT + 4 : RIGHT - 4, y - 8, !right_peak, text, 8.3);
}

static void peak(const drawing *d)
{
    char first[120], second[160];
    const kp_explain_peak *p = &d->x->peak;
    const kp_chart_column *c = &d->chart->columns[d->chart->peak];
    double x = at_x((c->x0 + c->x1) / 2), y = at_y(d, (double)p->bytes),
           low = at_y(d, (double)p->low_bytes), high = at_y(d, (double)p->high_bytes);
    bool left = x > (LEFT + RIGHT) / 2;
    snprintf(first, sizeof(first), "peak %s (%s to %s)", kp_size_text(p->bytes).s,
             kp_size_text(p->low_bytes).s, kp_size_text(p->high_bytes).s);
    const kp_explain_tensor *t = d->x->n_peak_tensors ? d->x->peak_tensors : NULL;
    const char *name = p->layer ? p->layer : t && t->layer ? t->layer : "";
    size_t len = strlen(name);
    if (len > 44) name += len - 44;
    snprintf(second, sizeof(second), "%s%s%s", p->phase ? p->phase : "",
             p->layer ? ", at "
             : *name  ? "; largest tensor: of "
                      : "",
             name);
    kp_buf_fmt(d->out,
               "<path class=\"mark\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh10M%.1f %.1fh10\"/>"
               "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n",
               x, low, high, x - 5, low, x - 5, high, x, y);
    double text_x = left ? x - 12 : x + 12, text_y = fmax(high - 20, TOP + 34);
    label(d, "peak", text_x, text_y - 10, left, first, 7.9);
    label(d, "small", text_x, text_y + 8, left, second, 6.9);
}

/* ---- legend ---- */

static void legend(const drawing *d)
{
    enum { COLUMNS = 5 };
    unsigned n = 0;
    for (size_t i = KP_LEN(stack); i-- > 0;) {
        kp_category c = stack[i].category;
        if (empty(d, c)) continue;
        double x = LEFT + (RIGHT - LEFT) / COLUMNS * (n % COLUMNS),
               y = BOTTOM + 94 + 46 * (n / COLUMNS);
        uint64_t bytes = d->x->by_category.bytes[c];
        kp_buf_fmt(d->out,
                   "<rect x=\"%.1f\" y=\"%.1f\" width=\"15\" height=\"15\" rx=\"3\" fill=\"%s\"/>"
                   "<text class=\"small\" x=\"%.1f\" y=\"%.1f\">%s</text>"
                   "<text class=\"num\" x=\"%.1f\" y=\"%.1f\">%s at the peak, %.1f %%</text>\n",
                   x, y - 12, stack[i].color, x + 22, y, kp_category_names[c], x + 22, y + 17,
                   kp_size_text(bytes).s, 100 * (double)bytes / fmax((double)d->x->peak.bytes, 1));
        n++;
    }
    kp_buf_fmt(d->out,
               "<text class=\"num\" x=\"%g\" y=\"%g\" text-anchor=\"end\">from left to right: %u "
               "steps, an "
               "operation or a part of one each; narrow ones are drawn by their fullest</text>\n",
               RIGHT, HEIGHT - 16, d->chart->n_steps);
}

static void draw(drawing *d)
{
    double most = fmax((double)d->x->peak.high_bytes, (double)d->x->peak.bytes),
           card_bytes = (double)d->x->device.usable_bytes;
    d->card_above = card_bytes > 4 * most;
    d->top_bytes = fmax(1.2 * most, d->card_above ? 0 : 1.1 * card_bytes);
    kp_buf_fmt(d->out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" "
               "height=\"%g\" role=\"img\">\n<title>Memory over one training step of ",
               WIDTH, HEIGHT, WIDTH, HEIGHT);
    kp_chart_text(d->out, d->x->model ? d->x->model : "the model");
    kp_buf_str(d->out, "</title>\n");
    kp_chart_style(d->out);
    kp_buf_fmt(d->out, "<rect class=\"bg\" width=\"%g\" height=\"%g\"/>\n", WIDTH, HEIGHT);
    heading(d);
    axis(d);
    areas(d);
    phases(d);
    layers(d);
    card(d);
    peak(d);
    legend(d);
    kp_buf_str(d->out, "</svg>\n");
}

kp_status kp_chart_svg(const kp_look *look, const kp_explain *explain, kp_arena *arena, kp_buf *out,
                       kp_err *err)
{
    kp_chart chart;
    KP_TRY(kp_chart_make(look, arena, &chart, err));
    drawing d = {.look = look, .x = explain, .chart = &chart, .out = out};
    if (chart.n_columns) draw(&d);
    return kp_buf_check(out, err);
}
