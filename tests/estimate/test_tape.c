/* SPDX-License-Identifier: MIT */
#include "planner/estimate/segments.h"
#include "planner/search/cuts.h"
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

static const char *const models[] = {"models/dense.json",   "models/cnn.json",
                                     "models/lstm.json",    "models/transformer.json",
                                     "apps/MobileNet.json", TWO_DENSE("false")};

static const kp_strategy strategies[] = {
    {.dp = 1,
     .tp = 1,
     .pp = 1,
     .zero = 0,
     .micro_batch = 32,
     .micro_batches = 1,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 1,
     .tp = 1,
     .pp = 1,
     .zero = 0,
     .micro_batch = 8,
     .micro_batches = 4,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 4,
     .tp = 1,
     .pp = 1,
     .zero = 1,
     .micro_batch = 8,
     .micro_batches = 1,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 4,
     .tp = 1,
     .pp = 1,
     .zero = 2,
     .micro_batch = 4,
     .micro_batches = 2,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 4,
     .tp = 1,
     .pp = 1,
     .zero = 3,
     .micro_batch = 8,
     .micro_batches = 1,
     .recompute = KP_RECOMPUTE_FULL},
    {.dp = 1,
     .tp = 4,
     .pp = 1,
     .zero = 0,
     .micro_batch = 32,
     .micro_batches = 1,
     .recompute = KP_RECOMPUTE_NONE},
    {.dp = 1,
     .tp = 2,
     .pp = 1,
     .zero = 0,
     .micro_batch = 32,
     .micro_batches = 1,
     .recompute = KP_RECOMPUTE_FULL},
};

/* Every buffer comes once, goes at most once and after it came; allocations of a step stand before
 * its frees; after the backward pass nothing that was kept is left. */
static void check_tape(const kp_tape *tape, const char *what)
{
    uint8_t *state = calloc(tape->n_buffers + 1, 1);
    cr_assert(state != NULL);
    uint32_t events = 0, wrong = 0, left = 0;
    for (uint32_t i = 0; i < tape->n_steps; i++) {
        const kp_tape_step *s = &tape->steps[i];
        bool freed = false;
        wrong += s->first_event != events;
        for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++, events++) {
            const kp_tape_event *event = &tape->events[e];
            wrong += state[event->buffer] != (event->alloc ? 0 : 1) || (event->alloc && freed);
            state[event->buffer]++;
            freed |= !event->alloc;
        }
        bool end = s->phase == KP_PHASE_OPTIMIZER &&
                   (i == 0 || tape->steps[i - 1].phase == KP_PHASE_BACKWARD);
        for (uint32_t b = 0; b < tape->n_buffers && end; b++)
            left += state[b] == 1 &&
                    (tape->buffers[b].category == KP_CAT_ACTIVATIONS ||
                     tape->buffers[b].category == KP_CAT_TEMPORARY) &&
                    tape->buffers[b].op != KP_NO;
    }
    cr_expect(events == tape->n_events && wrong == 0, "%s: %u events of %u, %u wrong", what, events,
              tape->n_events, wrong);
    cr_expect_eq(left, 0, "%s: %u values are left after the backward pass", what, left);
    free(state);
}

/* Every other run of three ops is recomputed. */
static const uint32_t *some_again(const kp_graph *graph, kp_arena *arena)
{
    uint32_t *segment = KP_NEW(arena, uint32_t, graph->n_ops);
    cr_assert(segment != NULL);
    for (uint32_t i = 0; i < graph->n_ops; i++) {
        uint32_t end = i / 3 * 3 + 3;
        if (i / 3 % 2) segment[i] = end < graph->n_ops ? end : graph->n_ops;
    }
    return segment;
}

static void run(const char *model, kp_framework framework)
{
    fixture f;
    fixture_init(&f);
    f.options.framework = framework;
    fixture_load(&f, model);
    for (size_t i = 0; i < KP_LEN(strategies); i++) {
        char what[96];
        kp_err err = {0};
        kp_tape tape;
        uint64_t divided;
        kp_part part = fixture_part(&f, strategies[i]);
        kp_arena_mark mark = kp_arena_tell(&f.arena);
        snprintf(what, sizeof(what), "%.30s, %s, strategy %zu", model,
                 kp_framework_names[framework], i);
        if (part.strategy.tp > 1)
            cr_assert_eq(
                kp_cuts_choose(f.graph, part.strategy.tp, 8, &f.arena, &part.cuts, &divided, &err),
                KP_OK);
        cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK,
                     "%s: %s", what, err.msg);
        check_tape(&tape, what);
        part.in_flight = 3;
        cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK,
                     "%s: %s", what, err.msg);
        check_tape(&tape, what);
        part.segment = some_again(f.graph, &f.arena);
        cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK,
                     "%s: %s", what, err.msg);
        check_tape(&tape, what);
        kp_arena_rewind(&f.arena, mark);
    }
    fixture_free(&f);
}

/* Listed runs: none is the same as no recomputation, the segments of full recomputation are the
 * same as it, some are between the two and keep what they do not make again. */
Test(tape, listed_recomputation)
{
    for (int fw = KP_FW_TORCH; fw <= KP_FW_MEGATRON; fw++) {
        fixture f;
        kp_err err = {0};
        const uint32_t *full;
        fixture_init(&f);
        f.options.framework = (kp_framework)fw;
        fixture_load(&f, "models/transformer.json");
        kp_strategy none = strategies[0], all = strategies[0];
        all.recompute = KP_RECOMPUTE_FULL;
        kp_part part = fixture_part(&f, none), whole = fixture_part(&f, all);
        kp_memory kept = fixture_memory(&f, &part), again = fixture_memory(&f, &whole);
        part.segment = KP_NEW(&f.arena, uint32_t, f.graph->n_ops);
        kp_memory listed = fixture_memory(&f, &part);
        cr_expect_eq(listed.allocated.bytes, kept.allocated.bytes, "%s", kp_framework_names[fw]);
        cr_expect_eq(listed.kept.bytes, kept.kept.bytes, "%s", kp_framework_names[fw]);
        cr_assert_eq(kp_segments_make(f.graph, &f.arena, &full, &err), KP_OK);
        part.segment = full;
        listed = fixture_memory(&f, &part);
        cr_expect_eq(listed.allocated.bytes, again.allocated.bytes, "%s", kp_framework_names[fw]);
        cr_expect_eq(listed.kept.bytes, again.kept.bytes, "%s", kp_framework_names[fw]);
        uint32_t *half = KP_NEW(&f.arena, uint32_t, f.graph->n_ops);
        cr_assert(half != NULL);
        for (uint32_t i = f.graph->n_ops / 2; i < f.graph->n_ops; i++) half[i] = full[i];
        part.segment = half;
        listed = fixture_memory(&f, &part);
        cr_expect(listed.kept.bytes < kept.kept.bytes && listed.kept.bytes > again.kept.bytes,
                  "%s: %llu", kp_framework_names[fw], (unsigned long long)listed.kept.bytes);
        fixture_free(&f);
    }
}

Test(tape, buffers_come_and_go)
{
    for (size_t m = 0; m < KP_LEN(models); m++)
        for (int fw = KP_FW_KERAS_JAX; fw < KP_FW_COUNT; fw++) run(models[m], (kp_framework)fw);
}

/* Below the lowest trained weight nothing is kept and no gradient computed. */
Test(tape, frozen_layers)
{
    fixture f;
    kp_err err = {0};
    kp_tape tape;
    fixture_init(&f);
    fixture_load(&f, TWO_DENSE("false"));
    kp_part part = kp_part_whole(f.graph, &f.training);
    cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK);
    for (uint32_t i = 0; i < tape.n_buffers; i++) {
        const kp_tape_buffer *b = &tape.buffers[i];
        bool first = b->layer != KP_NO && !strcmp(f.graph->layers[b->layer].path, "a");
        if (!first) continue;
        cr_expect_neq(b->category, KP_CAT_OPTIMIZER, "a frozen layer has slots");
        cr_expect_neq(b->category, KP_CAT_GRADIENTS, "a frozen layer has gradients");
    }
    fixture_free(&f);
}

/* Sizes past an exbibyte are an error that names the layer, not a wrapped number. */
/* Gradients of kernels that are ever in memory: over one row XLA's is part of the update. */
Test(tape, gradient_over_one_row)
{
    static const struct {
        kp_framework framework;
        uint64_t batch;
        bool want;
    } rows[] = {{KP_FW_KERAS_JAX, 1, false},
                {KP_FW_KERAS_JAX, 2, true},
                {KP_FW_KERAS_TF, 1, false},
                {KP_FW_KERAS_TF_GRAPH, 1, true}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_tape tape;
        kp_err err = {0};
        bool found = false;
        fixture_init(&f);
        f.options.framework = rows[i].framework;
        f.options.batch = rows[i].batch;
        fixture_load(&f, TWO_DENSE("true"));
        kp_part part = kp_part_whole(f.graph, &f.training);
        cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK, "%s",
                     err.msg);
        for (uint32_t b = 0; b < tape.n_buffers; b++)
            found |= !strcmp(tape.buffers[b].what, "gradient of kernel");
        cr_expect_eq(found, rows[i].want, "row %zu", i);
        fixture_free(&f);
    }
}

/* A divided program may hold a bucket of gradients besides, and be scheduled in the other way. */
Test(tape, divided_programs_spread)
{
    static const struct {
        kp_framework framework;
        uint32_t dp;
        uint64_t least, most;
    } rows[] = {{KP_FW_KERAS_JAX, 1, 0, 0},
                {KP_FW_KERAS_JAX, 2, (256 * 512 + 512 + 512 * 128 + 128) * 4 + 4, 2 << 20},
                {KP_FW_TORCH, 2, 0, 0}};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        fixture f;
        kp_tape tape;
        kp_err err = {0};
        fixture_init(&f);
        f.options.framework = rows[i].framework;
        fixture_load(&f, TWO_DENSE("true"));
        kp_part part = kp_part_whole(f.graph, &f.training);
        part.strategy.dp = rows[i].dp;
        cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK, "%s",
                     err.msg);
        cr_expect(tape.spread_bytes >= rows[i].least && tape.spread_bytes <= rows[i].most,
                  "row %zu: %llu", i, (unsigned long long)tape.spread_bytes);
        fixture_free(&f);
    }
}

Test(tape, too_big)
{
    static const char huge[] =
        "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"h\",\"layers\":["
        "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_input_shape\":[null,"
        "1048576,1048576]}},"
        "{\"class_name\":\"Dense\",\"config\":{\"name\":\"wide\",\"units\":65536}}]}}";
    fixture f;
    kp_err err = {0};
    kp_tape tape;
    fixture_init(&f);
    f.options.batch = 4000000;
    fixture_load(&f, huge);
    kp_part part = kp_part_whole(f.graph, &f.training);
    cr_expect_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_INPUT);
    cr_expect(strstr(err.where, "layer '") != NULL && strstr(err.msg, "past an exbibyte"), "%s: %s",
              err.where, err.msg);
    fixture_free(&f);
}
