/* SPDX-License-Identifier: MIT
 *
 * tests/fuzz/fuzz_message.c — any bytes as an out-of-memory message: what is read keeps its bounds,
 * and is answered over a small model of every kind of tensor. */
#include "planner/plan/explain_parts.h"
#include "planner/plan/oom_text.h"
#include <assert.h>

static const char model[] =
    "{\"class_name\":\"Sequential\",\"keras_version\":\"3.12.0\",\"config\":{\"name\":\"n\","
    "\"layers\":["
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"i\",\"batch_shape\":[null,16,8]}},"
    "{\"class_name\":\"Conv1D\",\"config\":{\"name\":\"c\",\"filters\":8,\"kernel_size\":[3],"
    "\"padding\":\"causal\",\"dilation_rate\":[4]}},"
    "{\"class_name\":\"LSTM\",\"config\":{\"name\":\"l\",\"units\":4,\"return_sequences\":true}},"
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\",\"units\":32,\"activation\":\"softmax\"}}"
    "]}}";

static void check_ask(const kp_oom_ask *a)
{
    assert(a->kind < KP_OOM_KIND_COUNT && a->from < KP_OOM_FROM_COUNT && a->rank <= KP_RANK_MAX);
    for (unsigned i = 0; i < a->rank; i++) assert(a->dim[i] >= 1 && a->dim[i] <= KP_DIM_MAX);
    assert(a->low <= a->bytes && a->bytes <= a->high && a->bytes <= KP_SIZE_MAX);
    assert(memchr(a->node, 0, sizeof(a->node)) && a->count <= 0);
}

static void check_answer(const kp_explain_message *m)
{
    assert(m && m->says && m->n_asked);
    for (uint32_t i = 0; i < m->n_matches; i++)
        assert(m->matches[i].what && m->matches[i].says && m->matches[i].bytes <= UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = size ? (const char *)data : "";
    kp_oom_text text;
    kp_oom_read(bytes, size, &text);
    assert(text.n <= KP_OOM_ASKS_MAX);
    for (unsigned i = 0; i < text.n; i++) check_ask(&text.asks[i]);

    kp_arena arena;
    kp_options options;
    kp_gpu_kinds gpus;
    kp_explain explain;
    kp_err err = {0};
    kp_arena_init(&arena, (size_t)64 << 20);
    kp_schema_init(&kp_schema_options, &options);
    options.batch = size % 2 ? 8 : UINT64_MAX;
    kp_status status = kp_gpu_table(&arena, &gpus, &err);
    kp_explain_request request = {model, sizeof(model) - 1, "m.json", &options, &gpus};
    kp_explain_questions questions = {.error = bytes, .error_len = size};
    if (status == KP_OK && text.n)
        status = kp_explain_ask(&request, &questions, &arena, &explain, &err);
    assert(status == KP_OK || status == KP_NOMEM);
    if (status == KP_OK && text.n) check_answer(explain.message);
    kp_arena_release(&arena);
    return 0;
}
