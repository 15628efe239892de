/* SPDX-License-Identifier: MIT */
#include "planner/plan/explain_parts.h"
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>

static uint64_t layer_bytes(const kp_explain_layer *l)
{
    return l->weights_bytes + l->gradients_bytes + l->optimizer_bytes + l->activations_bytes;
}

static const kp_explain_culprit *culprit(const kp_explain *x, const char *layer)
{
    for (uint32_t i = 0; i < x->n_culprits; i++)
        if (x->culprits[i].layer && !strcmp(x->culprits[i].layer, layer)) return &x->culprits[i];
    return NULL;
}

/* What the facts support, with bytes and the arithmetic. */
Test(explain, culprits)
{
    static const struct {
        const char *file, *layer, *rule;
        uint64_t least; /* bytes */
        const char *says;
    } rows[] = {
        {"models/dense.json", "dense", "KP002", 4u * 4 * (1024u * 4096 + 4096),
         "kernel 1024x4096 = 16.0 MiB, x4 with gradients and Adam's two slots = 64.1 MiB"},
        {"models/dense.json", "dense_1", "KP002", 4u * 4 * (4096u * 1024 + 1024),
         "kernel 4096x1024 = 16.0 MiB"},
        {"models/cnn.json", "dense", "KP001", 4u * 4 * (14992384u * 10 + 10),
         "kernel 14992384x10 = 571.9 MiB"},
        {"models/cnn.json", "conv2d", "KP003", 2ul * 32 * 254 * 254 * 64 * 4,
         "(32, 254, 254, 64) float32 = 504.0 MiB x 2"},
        {"models/cnn.json", "conv2d_1", "KP003", 2ul * 32 * 252 * 252 * 128 * 4,
         "no stride or pooling before it"},
        {"models/cnn.json", "conv2d_2", "KP003", 3ul * 32 * 250 * 250 * 256 * 4,
         "grows with the batch"},
        {"models/cnn.json", "conv2d_4", "KP004", 2ul * 32 * 121 * 121 * 1024 * 4,
         "(32, 121, 121, 1024) float32 = 1.8 GiB x 2"},
        {"models/lstm.json", "lstm", "KP007", 5ul * 512 * 32 * 256 * 4, "512 steps of 256 units"},
        {"models/lstm.json", "lstm", "KP007", 0, "return_sequences keeps the output of every step"},
        {"models/transformer.json", "head", "KP009", 0,
         "every position has a value for every word"},
        {"models/transformer.json", "block0_attention", "KP008", 0,
         "they grow with the length squared"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_fixture_init(&f, rows[i].file);
        kp_fixture_explain(&f);
        const kp_explain_culprit *c = culprit(&f.x, rows[i].layer);
        cr_expect(c != NULL, "row %zu: %s is no culprit", i, rows[i].layer);
        if (c) {
            cr_expect_str_eq(c->rule, rows[i].rule, "row %zu: %s", i, c->rule);
            cr_expect(c->bytes >= rows[i].least &&
                          (double)c->bytes < 1.4 * (double)rows[i].least + 1e12 * !rows[i].least,
                      "row %zu: %llu bytes", i, (unsigned long long)c->bytes);
            cr_expect(strstr(c->message, rows[i].says) != NULL, "row %zu: %s", i, c->message);
        }
        kp_fixture_done(&f);
    }
}

static void check_order(const kp_explain *x, const char *what)
{
    uint64_t all = 0;
    double shares = 0;
    for (uint32_t i = 0; i < x->n_layers; i++) all += layer_bytes(&x->layers[i]);
    for (uint32_t i = 0; i < x->n_layers; i++) {
        shares += x->layers[i].share;
        cr_expect(!i || layer_bytes(&x->layers[i - 1]) >= layer_bytes(&x->layers[i]),
                  "%s: layer %u", what, i);
        cr_expect(fabs(x->layers[i].share - (double)layer_bytes(&x->layers[i]) / (double)all) <
                      1e-9,
                  "%s: share", what);
    }
    cr_expect(fabs(shares - 1) < 1e-6, "%s: shares %g", what, shares);
    for (uint32_t i = 1; i < x->n_culprits; i++)
        cr_expect(x->culprits[i - 1].bytes >= x->culprits[i].bytes, "%s: culprit %u", what, i);
    for (uint32_t i = 1; i < x->n_peak_tensors; i++)
        cr_expect(x->peak_tensors[i - 1].bytes >= x->peak_tensors[i].bytes, "%s: tensor %u", what,
                  i);
}

static void check_numbers(const kp_explain *x, const char *what)
{
    uint64_t most = 0, host = 0;
    cr_expect_eq(kp_categories_sum(&x->by_category), x->peak.bytes, "%s: categories", what);
    for (uint32_t i = 0; i < x->n_phases; i++) most = kp_max_u64(most, x->phases[i].peak_bytes);
    cr_expect_eq(most, x->peak.bytes, "%s: phases", what);
    for (uint32_t i = 0; i < x->host.n_parts; i++) host += x->host.parts[i].bytes;
    cr_expect_eq(host, x->host.peak_bytes, "%s: host", what);
    for (uint32_t i = host = 0; i < x->n_phases; i++)
        host = kp_max_u64(host, x->phases[i].host_bytes);
    cr_expect_eq(host, x->host.peak_bytes, "%s: the host's phases", what);
    cr_expect(x->peak.low_bytes <= x->peak.bytes && x->peak.bytes <= x->peak.high_bytes,
              "%s: bounds", what);
    cr_expect(x->peak.allocated_low_bytes <= x->peak.allocated_bytes &&
                  x->peak.allocated_bytes <= x->peak.allocated_high_bytes,
              "%s: bounds of what is allocated", what);
    cr_expect(x->peak.reserved_low_bytes <= x->peak.reserved_bytes &&
                  x->peak.reserved_bytes <= x->peak.reserved_high_bytes,
              "%s: bounds of what is reserved", what);
    cr_expect_str_eq(x->assumptions[0].name, "framework", "%s: always the first", what);
    cr_expect(x->n_culprits > 0 && x->n_remedies > 0, "%s: %u culprits, %u remedies", what,
              x->n_culprits, x->n_remedies);
    for (uint32_t i = 0; i < x->n_remedies; i++) {
        const kp_explain_remedy *r = &x->remedies[i];
        cr_expect_eq(r->peak_after_bytes + r->saves_bytes, x->peak.bytes, "%s: %s", what,
                     r->change);
        cr_expect((r->saves_bytes || r->host_saves_bytes) && r->message && r->confidence, "%s: %s",
                  what, r->change);
    }
}

Test(explain, sums_and_order)
{
    static const char *const files[] = {"models/dense.json",    "models/cnn.json",
                                        "models/lstm.json",     "models/transformer.json",
                                        "models/resnet50.json", "apps/EfficientNetB0.json"};
    for (size_t i = 0; i < KP_LEN(files); i++)
        for (int fw = KP_FW_KERAS_JAX; fw <= KP_FW_TORCH; fw++) {
            kp_fixture f;
            char what[64];
            kp_fixture_init(&f, files[i]);
            f.options.framework = (kp_framework)fw;
            kp_fixture_explain(&f);
            snprintf(what, sizeof(what), "%s, %s", files[i], kp_framework_names[fw]);
            check_order(&f.x, what);
            check_numbers(&f.x, what);
            kp_fixture_done(&f);
        }
}

Test(explain, plan_options)
{
    static const struct {
        const char *file;
        uint32_t dp, tp, pp, zero;
        kp_status want;
        const char *says; /* an assumption's value, or the message */
    } rows[] = {
        {"models/transformer.json", UINT32_MAX, 4, UINT32_MAX, UINT32_MAX, KP_OK,
         "dp=1 tp=4 pp=1 zero=0, 1 x 32 samples, stage 1 of 1"},
        {"models/resnet50.json", 4, UINT32_MAX, UINT32_MAX, 1, KP_OK,
         "dp=4 tp=1 pp=1 zero=1, 1 x 8 samples, stage 1 of 1"},
        {"models/resnet50.json", 2, UINT32_MAX, 4, UINT32_MAX, KP_OK,
         "dp=2 tp=1 pp=4 zero=0, 4 x 4 samples, stage "},
        {"models/dense.json", 5, UINT32_MAX, UINT32_MAX, UINT32_MAX, KP_USAGE,
         "a batch of 32 does not divide into --dp 5"},
        {"models/dense.json", UINT32_MAX, 7, UINT32_MAX, UINT32_MAX, KP_USAGE, ""},
        {"models/dense.json", UINT32_MAX, UINT32_MAX, 20, UINT32_MAX, KP_USAGE,
         "--pp 20: the model divides into fewer stages"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_err err = {0};
        bool found = false;
        kp_fixture_init(&f, rows[i].file);
        f.options.dp = rows[i].dp;
        f.options.tp = rows[i].tp;
        f.options.pp = rows[i].pp;
        f.options.zero = rows[i].zero;
        cr_expect_eq(kp_fixture_make(&f, &err), rows[i].want, "row %zu: %s", i, err.msg);
        for (uint32_t a = 0; a < f.x.n_assumptions; a++)
            found |= !strncmp(f.x.assumptions[a].value, rows[i].says, strlen(rows[i].says));
        cr_expect(found || !strncmp(err.msg, rows[i].says, strlen(rows[i].says)), "row %zu: %s", i,
                  err.msg);
        if (rows[i].want == KP_OK) check_order(&f.x, rows[i].file);
        if (rows[i].want == KP_OK)
            cr_expect_eq(kp_categories_sum(&f.x.by_category), f.x.peak.bytes);
        kp_fixture_done(&f);
    }
}

/* The verdict is that of the stage that fits least surely, which need not be the one that needs
 * most: how far a stage may go above its peak hangs on its ops. */
Test(explain, verdict_of_all_stages)
{
    uint32_t differ = 0;
    for (uint64_t mib = 5000; mib <= 6500; mib += 100) {
        kp_fixture f;
        kp_err err = {0};
        kp_look look;
        kp_memory other;
        kp_fixture_init(&f, "models/cnn.json");
        f.options.batch = 64;
        f.options.micro_batch = 4;
        f.options.pp = 2;
        f.options.framework = KP_FW_KERAS_TF_GRAPH;
        f.options.gpu = "H100-80G";
        f.options.memory_bytes = mib << 20;
        kp_explain_request request = {f.text, f.len, "model.json", &f.options, &f.gpus};
        kp_explaining e = {.request = &request, .arena = &f.arena, .err = &err};
        json_t *json = json_loads(f.text, 0, NULL);
        cr_assert_eq(kp_look_at(&e, json, NULL, &f.options, true, &look, &err), KP_OK, "%s",
                     err.msg);
        kp_part part = look.part;
        bool first = part.stage == 0;
        part.stage = first ? 1 : 0;
        part.in_flight = first ? 1 : 2;
        part.first_op = first ? look.part.end_op : 0;
        part.end_op = first ? look.graph->n_ops : look.part.first_op;
        cr_assert_eq(
            kp_memory_of(look.graph, &look.training, &part, &look.device, &f.arena, &other, &err),
            KP_OK);
        uint64_t usable = look.device.usable_bytes;
        cr_expect(kp_memory_fit(&look.memory, usable) >= kp_memory_fit(&other, usable),
                  "%llu MiB: stage %u is worse", (unsigned long long)mib, part.stage);
        differ += kp_memory_fit(&look.memory, usable) != kp_memory_fit(&other, usable);
        json_decref(json);
        kp_fixture_done(&f);
    }
    cr_expect(differ > 0);
}

/* What is not estimated is refused, not left out. */
Test(explain, plan_options_that_no_number_stands_for)
{
    static const struct {
        kp_schedule schedule;
        uint32_t interleave, pp, zero;
        kp_target target;
        const char *says;
    } rows[] = {
        {KP_SCHEDULE_INTERLEAVED, UINT32_MAX, 2, UINT32_MAX, KP_TARGET_AUTO, "interleaved"},
        {KP_SCHEDULE_AUTO, 2, 2, UINT32_MAX, KP_TARGET_AUTO, "interleaved"},
        {KP_SCHEDULE_AUTO, UINT32_MAX, 2, UINT32_MAX, KP_TARGET_KERAS_JAX, "no pipeline"},
        {KP_SCHEDULE_AUTO, UINT32_MAX, 1, 1, KP_TARGET_KERAS_TF, "no ZeRO level 1"},
        {KP_SCHEDULE_GPIPE, 1, 2, 1, KP_TARGET_AUTO, NULL},
        {KP_SCHEDULE_1F1B, 1, 2, 1, KP_TARGET_MEGATRON, NULL},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_err err = {0};
        kp_fixture_init(&f, "models/cnn.json");
        f.options.schedule = rows[i].schedule;
        f.options.interleave = rows[i].interleave;
        f.options.pp = rows[i].pp;
        f.options.zero = rows[i].zero;
        f.options.target = rows[i].target;
        kp_status want = rows[i].says ? KP_UNSUPPORTED : KP_OK;
        cr_expect_eq(kp_fixture_make(&f, &err), want, "row %zu: %s", i, err.msg);
        cr_expect(!rows[i].says || strstr(err.msg, rows[i].says), "row %zu: %s", i, err.msg);
        kp_fixture_done(&f);
    }
}

/* The same question gives the same bytes. */
Test(explain, same_twice)
{
    kp_fixture a, b;
    kp_buf x, y;
    kp_err err = {0};
    kp_fixture_init(&a, "models/transformer.json");
    kp_fixture_init(&b, "models/transformer.json");
    kp_fixture_explain(&a);
    kp_fixture_explain(&b);
    kp_buf_init(&x, 0);
    kp_buf_init(&y, 0);
    cr_assert_eq(kp_schema_print(&kp_schema_explain, &a.x, &x, &err), KP_OK);
    cr_assert_eq(kp_schema_print(&kp_schema_explain, &b.x, &y, &err), KP_OK);
    cr_expect(x.len == y.len && !memcmp(x.data, y.data, x.len));
    kp_buf_release(&x);
    kp_buf_release(&y);
    kp_fixture_done(&a);
    kp_fixture_done(&b);
}

Test(explain, printed_for_a_person)
{
    static const char *const lines[] = {
        "conv_net: DOES NOT FIT: peak ",
        " on T4-16GB (",
        "Assumed\n  framework    keras-jax",
        "in the backward phase at 'conv2d_4'",
        "activations ",
        "past the card",
        "Layer ",
        "KP001     2.2 GiB  dense: kernel 14992384x10",
        "saves ",
        "KP011  --dtype-policy mixed_float16: saves ",
        "keras.config.set_dtype_policy(\"mixed_float16\")",
        "optimizer=keras.optimizers.Adam(gradient_accumulation_steps=4)",
        "after KP011",
        "Not covered",
    };
    kp_fixture f;
    kp_buf out;
    kp_fixture_init(&f, "models/cnn.json");
    kp_fixture_explain(&f);
    kp_buf_init(&out, 0);
    kp_explain_print(&f.x, 100, &out);
    for (size_t i = 0; i < KP_LEN(lines); i++)
        cr_expect(strstr(kp_buf_text(&out), lines[i]) != NULL, "'%s' is not in\n%s", lines[i],
                  kp_buf_text(&out));
    kp_buf_release(&out);
    kp_fixture_done(&f);
}

/* Every allocation may fail: a status, nothing lost. */
Test(explain, allocation_fails)
{
    kp_fixture f;
    kp_status status = KP_NOMEM;
    kp_fixture_init(&f, "models/dense.json");
    for (uint64_t n = 1; status == KP_NOMEM; n += 1 + n / 16) {
        kp_err err = {0};
        kp_arena_mark mark = kp_arena_tell(&f.arena);
        f.arena.fail_call = f.arena.calls + n;
        status = kp_fixture_make(&f, &err);
        cr_expect(status == KP_OK || (status == KP_NOMEM && err.code == KP_NOMEM),
                  "allocation %llu: %d %s", (unsigned long long)n, status, err.msg);
        kp_arena_rewind(&f.arena, mark);
    }
    cr_expect_eq(status, KP_OK);
    kp_fixture_done(&f);
}

/* Every stage of a pipeline with its own figures; the peak is the worst one's. */
Test(explain, stages)
{
    static const struct {
        const char *file;
        uint32_t pp;
    } rows[] = {{"models/dense.json", 1}, {"models/dense.json", 2}, {"models/dense.json", 3}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_fixture f;
        kp_fixture_init(&f, rows[i].file);
        f.options.pp = rows[i].pp;
        f.options.batch = 4;
        f.options.framework = KP_FW_TORCH;
        kp_fixture_explain(&f);
        uint64_t most = 0;
        cr_expect_eq(f.x.n_stages, rows[i].pp, "row %zu: %u stages", i, f.x.n_stages);
        for (uint32_t s = 0; s < f.x.n_stages; s++) {
            const kp_explain_stage *t = &f.x.stages[s];
            most = t->peak_bytes > most ? t->peak_bytes : most;
            cr_expect(t->stage == s && t->dp == 1 && t->tp == 1 && t->first_layer, "row %zu", i);
            cr_expect_eq(t->in_flight, rows[i].pp - s, "row %zu: %u in flight", i, t->in_flight);
            cr_expect(t->steady_bytes + t->kept_bytes <= t->allocated_bytes, "row %zu", i);
            cr_expect(t->steady_low_bytes <= t->steady_bytes && t->kept_bytes > 0, "row %zu", i);
        }
        cr_expect_eq(most, f.x.peak.bytes, "row %zu: the worst stage is not the peak", i);
        kp_fixture_done(&f);
    }
}
