/* SPDX-License-Identifier: MIT */
#include "planner/estimate/program.h"
#include "planner/model/torch.h"
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

#define MIB ((uint64_t)1 << 20)

static void check_table(const kp_program *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i) cr_expect_lt(strcmp(rows[i - 1].name, rows[i].name), 0, "%s", rows[i].name);
        cr_expect_eq(kp_program_find(rows[i].name), &rows[i], "%s stands twice", rows[i].name);
    }
}

Test(program, tables_are_sorted)
{
    check_table(kp_torch_programs, kp_torch_n_programs);
    check_table(kp_model_programs, kp_model_n_programs);
    check_table(kp_kernel_programs, kp_kernel_n_programs);
    check_table(kp_chunked_programs, kp_chunked_n_programs);
}

/* One layer on inputs of [8, 64, 32] that want gradients, after which nothing is left and nothing
 * was freed twice. */
static void make_layer(char *text, size_t size, const char *package, const char *class_name,
                       int inputs, const char *shape, const char *dtype, const char *config,
                       const char *outputs, const char *compile)
{
    size_t at = (size_t)snprintf(
        text, size, "{\"class_name\":\"Functional\",\"config\":{\"name\":\"m\",\"layers\":[");
    for (int i = 0; i < inputs; i++)
        at +=
            (size_t)snprintf(text + at, size - at,
                             "{\"class_name\":\"InputLayer\",\"name\":\"x%d\",\"inbound_nodes\":[],"
                             "\"config\":{\"name\":\"x%d\",\"batch_shape\":%s,\"dtype\":\"%s\","
                             "\"requires_grad\":%s}},",
                             i, i, shape, dtype, i ? "false" : "true");
    at += (size_t)snprintf(text + at, size - at,
                           "{\"class_name\":\"%s\",\"module\":\"%s\",\"registered_name\":\"%s>%s\","
                           "\"name\":\"op\",\"config\":{\"name\":\"op\",\"dtype\":\"%s\"%s},"
                           "\"inbound_nodes\":[{\"args\":[",
                           class_name, package, package, class_name, dtype, config);
    for (int i = 0; i < inputs; i++)
        at += (size_t)snprintf(text + at, size - at,
                               "%s{\"class_name\":\"__keras_tensor__\",\"config\":{"
                               "\"keras_history\":[\"x%d\",0,0]}}",
                               i ? "," : "", i);
    at += (size_t)snprintf(text + at, size - at, "],\"kwargs\":{}}]}],\"input_layers\":[");
    for (int i = 0; i < inputs; i++)
        at += (size_t)snprintf(text + at, size - at, "%s[\"x%d\",0,0]", i ? "," : "", i);
    snprintf(text + at, size - at, "],\"output_layers\":[%s]},\"compile_config\":%s}", outputs,
             compile);
}

static void check_balance(const kp_tape *tape, const char *what)
{
    int64_t *alive = calloc(tape->n_buffers, sizeof(*alive));
    cr_assert(alive);
    for (uint32_t i = 0; i < tape->n_events; i++) {
        int64_t *a = &alive[tape->events[i].buffer];
        *a += tape->events[i].alloc ? 1 : -1;
        cr_expect(*a == 0 || *a == 1, "%s: '%s' is freed twice", what,
                  tape->buffers[tape->events[i].buffer].what);
    }
    for (uint32_t i = 0; i < tape->n_buffers; i++) {
        const kp_tape_buffer *b = &tape->buffers[i];
        bool state = b->category == KP_CAT_WEIGHTS || b->category == KP_CAT_INPUTS ||
                     b->category == KP_CAT_OPTIMIZER || b->category == KP_CAT_GRADIENTS;
        cr_expect(state || !alive[i], "%s: '%s' stays", what, b->what);
    }
    free(alive);
}

#define SIZES ",\"intermediate_size\":48,\"vocab_size\":160,\"num_shards\":4,\"num_groups\":4"

/* Every row of the table runs, retained or not, accumulating or not. */
Test(program, layers_free_what_they_take)
{
    static const char *const losses[] = {
        "{\"optimizer\":\"SGD\",\"loss\":\"output_gradient\",\"torch\":{\"retain_graph\":true}}",
        "{\"optimizer\":\"SGD\",\"loss\":\"output_gradient\",\"torch\":{\"gradient_dtype\":"
        "\"bfloat16\"}}",
        "{\"optimizer\":\"Adam\",\"loss\":\"mean_squared_error\"}"};
    for (size_t i = 0; i < kp_torch_n_rows; i++)
        for (size_t k = 0; k < KP_LEN(losses) * 2; k++) {
            char text[8192];
            const kp_torch_row *row = &kp_torch_rows[i];
            fixture f;
            kp_tape tape;
            kp_err err = {0};
            make_layer(text, sizeof(text), row->package, row->row.class_name, 4, "[8,64,32]",
                       "float32", SIZES, "[\"op\",0,0]", losses[k / 2]);
            fixture_init(&f);
            f.options.framework = KP_FW_TORCH;
            f.options.grad_accum = 1 + k % 2;
            fixture_load(&f, text);
            kp_part part = kp_part_whole(f.graph, &f.training);
            cr_assert_eq(kp_tape_make(f.graph, &f.training, &part, &f.arena, &tape, &err), KP_OK,
                         "%s: %s", row->row.class_name, err.msg);
            check_balance(&tape, row->row.class_name);
            fixture_free(&f);
        }
}

/* Peaks from the layers' code, counted by hand: n rows, h and f columns, W a matrix of f x h. The
 * gradient of the output is given, earlier gradients stand beside what they belong to. */
#define GIVEN                                                                                      \
    "{\"optimizer\":\"SGD\",\"loss\":\"output_gradient\",\"torch\":{\"retain_graph\":true}}"
#define SUM "{\"optimizer\":\"SGD\",\"loss\":\"output_sum\"}"
#define MLP ",\"intermediate_size\":2048"

static const struct {
    const char *what, *package, *class_name, *shape, *dtype, *config, *compile;
    int inputs;
    bool stays;
    uint64_t want; /* without the workspaces of products */
} rows[] = {
    /* x, its gradient, y, the given one: 4 nh; silu's input and output, up, their product: 4 nf;
     * the product's gradient and those of its two factors: 3 nf; 3 W and 3 dW */
    {"7 nf + 4 nh + 6 W", "transformers", "LlamaMLP", "[8,1024,512]", "bfloat16", MLP, GIVEN, 1,
     true, 7 * 32 * MIB + 4 * 8 * MIB + 6 * 2 * MIB},
    /* gate and up hold their own gradients; two dx and their sum beside one dW that waits */
    {"3 nf + 7 nh + 7 W", "liger_kernel", "LigerSwiGLUMLP", "[8,4096,512]", "bfloat16",
     ",\"intermediate_size\":1024", GIVEN, 1, true, 3 * 64 * MIB + 7 * 32 * MIB + 7 * MIB},
    /* logits, their gradient, log softmax, the gradients of both steps */
    {"5 copies", "torch", "CrossEntropyLoss", "[1024,1024]", "float32", "", GIVEN, 2, true,
     5 * 4 * MIB + 4 * MIB},
    {"none but its own", "liger_kernel", "LigerCrossEntropyLoss", "[1024,1024]", "float32", "",
     GIVEN, 2, true, 4 * MIB + 4 * MIB},
    {"x, dx, y, dy, another dx", "torch", "LayerNorm", "[1024,1024]", "float32", "", GIVEN, 1, true,
     5 * 4 * MIB},
    /* halves of x: x 2, silu 1, y 1, the gradients of silu, of its input and of the other half */
    {"7 halves", "torch", "SwiGLU", "[64,32,2048]", "bfloat16", "", SUM, 1, false, 7 * 4 * MIB},
    {"in place: 4 halves", "liger_kernel", "LigerMegatronSwiGLUInPlace", "[64,32,2048]", "bfloat16",
     "", SUM, 1, false, 4 * 4 * MIB},
    {"4 shards", "liger_kernel", "LigerTiledSwiGLUMLP", "[2,1024,2048]", "bfloat16",
     ",\"intermediate_size\":4096,\"num_shards\":4", GIVEN, 1, true, 170 * MIB},
};

Test(program, peaks)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char text[8192];
        fixture f;
        make_layer(text, sizeof(text), rows[i].package, rows[i].class_name, rows[i].inputs,
                   rows[i].shape, rows[i].dtype, rows[i].config, "[\"op\",0,0]", rows[i].compile);
        fixture_init(&f);
        f.options.framework = KP_FW_TORCH;
        f.options.grad_accum = rows[i].stays ? 2 : 1;
        f.options.gpu = "A100-80G";
        fixture_load(&f, text);
        kp_part part = kp_part_whole(f.graph, &f.training);
        kp_memory m = fixture_memory(&f, &part);
        bool products = f.graph->ops[f.graph->n_ops - 1].attr.products;
        uint64_t got = m.allocated.bytes - (products ? 2 * 8519680 : 0);
        uint64_t more = got > rows[i].want ? got - rows[i].want : rows[i].want - got;
        cr_expect_lt(more, 64 * 1024, "row %zu: %s: %llu, not %llu", i, rows[i].what,
                     (unsigned long long)got, (unsigned long long)rows[i].want);
        fixture_free(&f);
    }
}
