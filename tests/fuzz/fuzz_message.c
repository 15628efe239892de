/* SPDX-License-Identifier: MIT
 *
 * tests/fuzz/fuzz_message.c — any bytes as an out-of-memory message: what is read keeps its bounds,
 * and is answered over a small model of every kind of tensor. */
#include "planner/plan/explain_ask.h"
#include "planner/plan/oom_text.h"
#include "proto/json.h"
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

/* The model looked at once; each input is a question about it. */
typedef struct asked {
    kp_arena arena;
    kp_options options;
    kp_gpu_kinds gpus;
    kp_explain_request request;
    kp_explain out;
    kp_err err;
    kp_explaining e;
} asked;

static asked *prepare(bool given)
{
    static asked both[2];
    asked *a = &both[given];
    if (a->request.bytes) return a;
    kp_arena_init(&a->arena, (size_t)64 << 20);
    kp_schema_init(&kp_schema_options, &a->options);
    a->options.batch = given ? 8 : UINT64_MAX;
    a->request = (kp_explain_request){model, sizeof(model) - 1, "m.json", &a->options, &a->gpus};
    a->e =
        (kp_explaining){.request = &a->request, .arena = &a->arena, .err = &a->err, .out = &a->out};
    kp_status status = kp_gpu_table(&a->arena, &a->gpus, &a->err);
    if (status == KP_OK) status = kp_json_parse(model, sizeof(model) - 1, &a->e.json, &a->err);
    if (status == KP_OK)
        status = kp_look_at(&a->e, a->e.json, NULL, &a->options, false, &a->e.look, &a->err);
    assert(status == KP_OK);
    kp_explain_peak_of(&a->e);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = size ? (const char *)data : "";
    kp_oom_text text;
    kp_oom_read(bytes, size, &text);
    assert(text.n <= KP_OOM_ASKS_MAX);
    for (unsigned i = 0; i < text.n; i++) check_ask(&text.asks[i]);

    asked *a = prepare(size % 2);
    kp_arena_mark mark = kp_arena_tell(&a->arena);
    kp_status status = kp_explain_message_of(&a->e, bytes, size);
    assert(status == (text.n ? KP_OK : KP_USAGE) || status == KP_NOMEM);
    if (status == KP_OK) check_answer(a->out.message);
    kp_arena_rewind(&a->arena, mark);
    return 0;
}
