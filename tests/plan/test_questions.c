/* SPDX-License-Identifier: MIT
 *
 * tests/plan/test_questions.c — the largest value that fits, two models side by side, what
 * arithmetic by hand misses, the drawing. */
#include "tests/lib/proc.h"
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>

static kp_status ask(kp_fixture *f, const kp_explain_questions *questions, kp_err *err)
{
    kp_explain_request request = {f->text, f->len, "model.json", &f->options, &f->gpus};
    return kp_explain_ask(&request, questions, &f->arena, &f->x, err);
}

/* ---- largest ---- */

#define UNET                                                                                       \
    "{'class_name':'Functional','keras_version':'3.12.0','config':{'name':'u','layers':["          \
    "{'class_name':'InputLayer','name':'in','config':{'name':'in','batch_shape':[null,null,8]},"   \
    "'inbound_nodes':[]},"                                                                         \
    "{'class_name':'MaxPooling1D','name':'p','config':{'name':'p','pool_size':[4]},"               \
    "'inbound_nodes':[[['in',0,0,{}]]]},"                                                          \
    "{'class_name':'UpSampling1D','name':'u4','config':{'name':'u4','size':4},"                    \
    "'inbound_nodes':[[['p',0,0,{}]]]},"                                                           \
    "{'class_name':'Concatenate','name':'c','config':{'name':'c','axis':-1},"                      \
    "'inbound_nodes':[[['in',0,0,{}],['u4',0,0,{}]]]},"                                            \
    "{'class_name':'Conv1D','name':'k','config':{'name':'k','filters':64,'kernel_size':[3],"       \
    "'padding':'same'},'inbound_nodes':[[['c',0,0,{}]]]}],"                                        \
    "'input_layers':[['in',0,0]],'output_layers':[['k',0,0]]}}"
#define OPEN_SEQ KP_SEQUENTIAL("null,64", KP_LAYER("Dense", "'units':256,'name':'d'"))

typedef struct largest_row {
    const char *file, *options, *what, *flag; /* flag: the option that sets it */
    uint64_t step;
} largest_row;

static const largest_row largest[] = {
    {"models/cnn.json", "--gpu A100-40G", "batch", "batch", 1},
    {"models/resnet50.json", "--gpu T4-16GB", "batch", "batch", 1},
    {"models/lstm.json", "--memory 8G --framework keras-tf-graph", "batch", "batch", 1},
    {"models/cnn.json", "--gpu A100-40G --dp 4", "batch", "batch", 4},
    {"models/transformer.json", "--gpu T4-16GB --framework torch --pp 2", "batch", "batch", 2},
    {OPEN_SEQ, "--memory 8G --batch 2", "seq", "seq", 1},
    {OPEN_SEQ, "--memory 8G --batch 2 --seq 16", "in:1", "seq", 1},
    {UNET, "--memory 4G --batch 1", "seq", "seq", 4},
};

/* The verdict of a run with the value. */
static kp_verdict_fit verdict_at(const largest_row *row, uint64_t value, uint64_t *ret_peak,
                                 uint64_t *ret_usable)
{
    kp_fixture f;
    char text[64];
    kp_fixture_init(&f, row->file);
    kp_fixture_set(&f, row->options);
    snprintf(text, sizeof(text), "--%s %llu", row->flag, (unsigned long long)value);
    kp_fixture_set(&f, text);
    kp_fixture_explain(&f);
    kp_verdict_fit fit = f.x.verdict;
    *ret_peak = f.x.peak.bytes;
    *ret_usable = f.x.device.usable_bytes;
    kp_fixture_done(&f);
    return fit;
}

/* Each end of the interval is what it says, and its neighbour is not: by runs of their own. */
Test(questions, largest)
{
    for (size_t i = 0; i < KP_LEN(largest); i++) {
        const largest_row *row = &largest[i];
        kp_fixture f;
        kp_err err = {0};
        uint64_t peak, usable;
        kp_fixture_init(&f, row->file);
        kp_fixture_set(&f, row->options);
        kp_explain_questions q = {.largest = row->what};
        cr_assert_eq(ask(&f, &q, &err), KP_OK, "row %zu: %s: %s", i, err.where, err.msg);
        const kp_explain_largest *a = f.x.largest;
        cr_assert(a && a->low && a->low <= a->value && a->value <= a->high, "row %zu", i);
        cr_expect_eq(a->step, row->step, "row %zu: step %llu", i, (unsigned long long)a->step);
        cr_expect_eq(verdict_at(row, a->low, &peak, &usable), KP_FIT_FITS, "row %zu: low", i);
        cr_expect(verdict_at(row, a->low + a->step, &peak, &usable) != KP_FIT_FITS, "row %zu: low+",
                  i);
        cr_expect(verdict_at(row, a->high, &peak, &usable) != KP_FIT_NO, "row %zu: high", i);
        cr_expect_eq(verdict_at(row, a->high + a->step, &peak, &usable), KP_FIT_NO,
                     "row %zu: high+", i);
        verdict_at(row, a->value, &peak, &usable);
        cr_expect(peak <= usable, "row %zu: value", i);
        verdict_at(row, a->value + a->step, &peak, &usable);
        cr_expect(peak > usable, "row %zu: value+", i);
        kp_fixture_done(&f);
    }
}

Test(questions, largest_refused)
{
    static const struct {
        const char *file, *options, *what;
        const char *says;
    } rows[] = {
        {"models/lstm.json", "--memory 8G", "seq", "the file fixes that dimension to 512"},
        {"models/lstm.json", "--memory 8G", "nothing:1", "no such dimension"},
        {"models/lstm.json", "--memory 8G", "width", "none of batch, seq and INPUT:AXIS"},
        {"models/lstm.json", "--memory 8G", "input_layer:0", "none of batch, seq and INPUT:AXIS"},
        {"models/lstm.json", "--memory 8G", ":1", "none of batch, seq and INPUT:AXIS"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_err err = {0};
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_set(&f, rows[i].options);
        kp_explain_questions q = {.largest = rows[i].what};
        cr_expect_eq(ask(&f, &q, &err), KP_USAGE, "row %zu", i);
        cr_expect(strstr(err.msg, rows[i].says) != NULL, "row %zu: %s", i, err.msg);
        kp_fixture_done(&f);
    }
}

/* Not even one: zeros, and a word about it; the explanation stands. */
Test(questions, largest_of_nothing)
{
    kp_fixture f;
    kp_err err = {0};
    kp_fixture_init(&f, "models/cnn.json");
    kp_fixture_set(&f, "--memory 100M");
    kp_explain_questions q = {.largest = "batch"};
    cr_assert_eq(ask(&f, &q, &err), KP_OK, "%s", err.msg);
    cr_expect(!f.x.largest->low && !f.x.largest->value && !f.x.largest->high);
    cr_expect(strstr(f.x.largest->says, "not even batch 1 fits") != NULL, "%s", f.x.largest->says);
    kp_fixture_done(&f);
}

/* ---- versus ---- */

/* The other's totals are those of its own explanation. */
Test(questions, versus)
{
    kp_fixture f, other;
    kp_err err = {0};
    kp_fixture_init(&f, "models/resnet50.json");
    kp_fixture_init(&other, "models/cnn.json");
    kp_fixture_set(&f, "--batch 16 --gpu H100-80G");
    kp_fixture_set(&other, "--batch 16 --gpu H100-80G");
    kp_fixture_explain(&other);
    kp_explain_questions q = {
        .versus = other.text, .versus_len = other.len, .versus_name = "b.json"};
    cr_assert_eq(ask(&f, &q, &err), KP_OK, "%s", err.msg);
    const kp_explain_versus *v = f.x.versus;
    cr_assert(v != NULL);
    cr_expect_str_eq(v->model, other.x.model);
    cr_expect_eq(v->verdict, other.x.verdict);
    cr_expect_eq(v->peak.bytes, other.x.peak.bytes);
    cr_expect_eq(v->peak.high_bytes, other.x.peak.high_bytes);
    cr_expect(!memcmp(&v->by_category, &other.x.by_category, sizeof(v->by_category)));
    cr_expect_eq(v->parameters, 156194442);
    bool depth = false;
    for (uint32_t i = 0; i < v->n_reasons; i++)
        depth |= strstr(v->reasons[i], "depth is not what counts") != NULL;
    cr_expect(depth, "the deeper one needs less");
    kp_fixture_done(&f);
    kp_fixture_done(&other);
}

/* Two models of one name are told apart, and where nothing differs nothing is said to. */
Test(questions, versus_of_one_name)
{
    kp_fixture f;
    kp_err err = {0};
    kp_fixture_init(&f, "models/cnn.json");
    kp_explain_questions q = {.versus = f.text, .versus_len = f.len, .versus_name = "b.json"};
    cr_assert_eq(ask(&f, &q, &err), KP_OK, "%s", err.msg);
    const kp_explain_versus *v = f.x.versus;
    for (uint32_t i = 0; i < v->n_reasons; i++) {
        cr_expect(!strstr(v->reasons[i], "largest difference"), "%s", v->reasons[i]);
        cr_expect(strstr(v->reasons[i], "this one") && strstr(v->reasons[i], "the other"), "%s",
                  v->reasons[i]);
    }
    kp_fixture_done(&f);
}

/* ---- notes ---- */

Test(questions, by_hand)
{
    kp_fixture f;
    kp_fixture_init(&f, "models/dense.json");
    kp_fixture_set(&f, "--batch 32");
    kp_fixture_explain(&f);
    uint64_t params = 4096u * 1024 + 4096 + 4096u * 1024 + 1024 + 1024 * 10 + 10;
    cr_expect_eq(f.x.hand_arithmetic.parameters_x4_bytes, 4 * params);
    cr_expect_eq(f.x.hand_arithmetic.outputs_plus_weights_bytes,
                 4 * params + 4 * 32 * (1024 + 4096 + 1024 + 10));
    kp_fixture_done(&f);
}

Test(questions, not_the_cause)
{
    static const struct {
        const char *file, *what;
    } rows[] = {
        {"models/cnn.json", "parameters"},
        {"models/transformer.json", "embedding"},
        {KP_SEQUENTIAL("8",
                       KP_LAYER("Dense", "'units':900000") "," KP_LAYER("Dense", "'units':1000")),
         "batch"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        bool found = false;
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_set(&f, "--batch 32 --memory 80G");
        kp_fixture_explain(&f);
        for (uint32_t k = 0; k < f.x.n_not_the_cause; k++) {
            const kp_explain_not_cause *n = &f.x.not_the_cause[k];
            found |= !strcmp(n->what, rows[i].what);
            cr_expect(n->share < .1, "row %zu: %s", i, n->message);
            cr_expect((double)n->bytes / (double)f.x.peak.bytes - n->share < 1e-9, "row %zu", i);
        }
        cr_expect(found, "row %zu: %s is not named", i, rows[i].what);
        kp_fixture_done(&f);
    }
}

/* ---- the drawing ---- */

/* Well-formed enough: every element that opens closes, no raw markup of a name gets in. */
static void check_svg(const char *what, const char *svg)
{
    int depth = 0;
    for (const char *at = svg; (at = strchr(at, '<')) != NULL; at++) {
        const char *end = strchr(at, '>');
        cr_assert(end, "%s: an element does not end", what);
        depth += at[1] == '/' ? -1 : end[-1] == '/' ? 0 : 1;
        cr_assert(depth >= 0, "%s", what);
    }
    cr_expect_eq(depth, 0, "%s: %d open", what, depth);
    cr_expect(!strstr(svg, "nan") && !strstr(svg, "inf,") && !strstr(svg, "<script"), "%s", what);
}

Test(questions, drawing)
{
    static const struct {
        const char *file, *options, *has;
    } rows[] = {
        {"models/resnet50.json", "--batch 32 --gpu H100-80G", "times the peak"},
        {"models/cnn.json", "--batch 32 --gpu T4-16GB", "class=\"card\""},
        {"models/lstm.json", "--batch 1 --memory 1M", "lstm"},
        {"models/transformer.json", "--batch 8 --framework torch --pp 2 --gpu T4-16GB", "pp 2"},
        {KP_SEQUENTIAL("1", KP_LAYER("Dense", "'units':1,'name':'<b>&\\\"x'")), "--batch 1",
         "&#60;b&#62;&#38;&#34;x"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_err err = {0};
        kp_buf svg;
        kp_buf_init(&svg, 0);
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_set(&f, rows[i].options);
        kp_explain_questions q = {.svg = &svg};
        cr_assert_eq(ask(&f, &q, &err), KP_OK, "row %zu: %s", i, err.msg);
        check_svg(rows[i].file, kp_buf_text(&svg));
        cr_expect(strstr(kp_buf_text(&svg), rows[i].has) != NULL, "row %zu: no '%s'", i,
                  rows[i].has);
        cr_expect(strstr(kp_buf_text(&svg), kp_size_text(f.x.peak.bytes).s) != NULL, "row %zu", i);
        kp_buf_release(&svg);
        kp_fixture_done(&f);
    }
}
