/* SPDX-License-Identifier: MIT */
#include "proto/messages.h"
#include "tests/lib/fill.h"
#include <criterion/criterion.h>

/* Every message, full and with all optional fields absent, through both forms and back. */
static void round_trip(const kp_schema *schema, unsigned seed, bool bare)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_buf packed, printed;
    kp_buf_init(&packed, 0);
    kp_buf_init(&printed, 0);
    kp_err err = {0};
    void *value = kp_arena_alloc(&arena, 1, schema->size);
    void *back = kp_arena_alloc(&arena, 1, schema->size);
    test_fill(schema, value, &arena, seed, bare);
    const char *name = schema->name;
    cr_expect_eq(kp_schema_pack(schema, value, &packed, &err), KP_OK, "%s: %s: %s", name, err.where,
                 err.msg);
    cr_expect_eq(kp_schema_unpack(schema, packed.data, packed.len, &arena, back, &err), KP_OK,
                 "%s: %s: %s", name, err.where, err.msg);
    cr_expect(kp_schema_equal(schema, value, back), "%s (%u) through MessagePack", name, seed);
    memset(back, 0, schema->size);
    cr_expect_eq(kp_schema_print(schema, value, &printed, &err), KP_OK, "%s: %s: %s", name,
                 err.where, err.msg);
    cr_expect_eq(kp_schema_read(schema, kp_buf_text(&printed), printed.len, &arena, back, &err),
                 KP_OK, "%s: %s: %s", name, err.where, err.msg);
    cr_expect(kp_schema_equal(schema, value, back), "%s (%u) through JSON: %s", name, seed,
              kp_buf_text(&printed));
    kp_buf_release(&packed);
    kp_buf_release(&printed);
    kp_arena_release(&arena);
}

Test(messages, round_trips)
{
    for (size_t i = 0; i < kp_n_schemas; i++)
        for (unsigned seed = 0; seed < 6; seed++) round_trip(kp_schemas[i], seed, seed == 5);
}

/* ---- the tables ---- */

static void check_fields(const kp_schema *schema, unsigned depth)
{
    cr_expect(schema->doc && schema->doc[0], "%s has no doc", schema->name);
    cr_expect(schema->n_fields && schema->n_fields <= KP_FIELDS_MAX, "%s", schema->name);
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *f = &schema->fields[i];
        cr_expect(f->doc && f->doc[0], "%s.%s has no doc", schema->name, f->name);
        cr_expect_lt(f->offset, schema->size, "%s.%s", schema->name, f->name);
        for (uint32_t j = 0; j < i; j++)
            cr_expect_str_neq(f->name, schema->fields[j].name, "%s.%s twice", schema->name,
                              f->name);
        for (uint32_t j = 0; j < f->n_names; j++)
            cr_expect(f->names[j] && f->names[j][0], "%s.%s: name %u", schema->name, f->name, j);
        if (f->sub && depth < 8) check_fields(f->sub, depth + 1);
    }
}

/* No byte of a struct is forgotten: fields cover it but for padding. */
static size_t covered(const kp_schema *schema)
{
    static const uint8_t sizes[KP_F_COUNT] = {
        [KP_F_BOOL] = 1,
        [KP_F_U32] = 4,
        [KP_F_U64] = 8,
        [KP_F_I64] = 8,
        [KP_F_F64] = 8,
        [KP_F_STR] = 8,
        [KP_F_ENUM] = 4,
        [KP_F_DIMS] = sizeof(kp_shape),
        [KP_F_BYTES] = sizeof(kp_bytes),
        [KP_F_PTR] = 8,
        [KP_F_LIST] = 12,
        [KP_F_STRS] = 12,
        [KP_F_U32S] = 12,
        [KP_F_DIMSES] = 12,
        [KP_F_MAP] = 12,
    };
    size_t bytes = 0;
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *f = &schema->fields[i];
        bytes += f->type == KP_F_STRUCT      ? f->sub->size
                 : f->type == KP_F_U32_ARRAY ? f->n_items * sizeof(uint32_t)
                                             : sizes[f->type];
    }
    return bytes;
}

static void check_cover(const kp_schema *schema, unsigned depth)
{
    size_t padding = schema->size - covered(schema);
    cr_expect(covered(schema) <= schema->size && padding < 4 + 4u * schema->n_fields,
              "%s: %zu of %u bytes have fields", schema->name, covered(schema), schema->size);
    for (uint32_t i = 0; i < schema->n_fields; i++)
        if (schema->fields[i].sub && depth < 8) check_cover(schema->fields[i].sub, depth + 1);
}

Test(messages, tables)
{
    for (size_t i = 0; i < kp_n_schemas; i++) {
        check_fields(kp_schemas[i], 0);
        check_cover(kp_schemas[i], 0);
        kp_buf docs;
        kp_buf_init(&docs, 0);
        kp_schema_docs(kp_schemas[i], &docs);
        for (uint32_t j = 0; j < kp_schemas[i]->n_fields; j++)
            cr_expect(strstr(kp_buf_text(&docs), kp_schemas[i]->fields[j].doc), "%s.%s",
                      kp_schemas[i]->name, kp_schemas[i]->fields[j].name);
        kp_buf_release(&docs);
    }
}

#define NAMES(table, count)                                                                        \
    {                                                                                              \
#table, table, count                                                                       \
    }
static const struct {
    const char *what;
    const char *const *names;
    size_t n;
} enums[] = {
    NAMES(kp_framework_names, KP_FW_COUNT),
    NAMES(kp_target_names, KP_TARGET_COUNT),
    NAMES(kp_rnn_mode_names, KP_RNN_COUNT),
    NAMES(kp_data_mode_names, KP_DATA_COUNT),
    NAMES(kp_labels_names, KP_LABELS_COUNT),
    NAMES(kp_schedule_names, KP_SCHEDULE_COUNT),
    NAMES(kp_recompute_names, KP_RECOMPUTE_COUNT),
    NAMES(kp_objective_names, KP_OBJECTIVE_COUNT),
    NAMES(kp_category_names, KP_CAT_COUNT),
    NAMES(kp_fit_names, KP_FIT_COUNT),
    NAMES(kp_gpu_state_names, KP_GPU_STATE_COUNT),
    NAMES(kp_node_state_names, KP_NODE_STATE_COUNT),
    NAMES(kp_lease_state_names, KP_LEASE_STATE_COUNT),
    NAMES(kp_verdict_names, KP_VERDICT_COUNT),
    NAMES(kp_direction_names, KP_DIRECTION_COUNT),
    NAMES(kp_grade_names, KP_GRADE_COUNT),
    NAMES(kp_check_state_names, KP_CHECK_STATE_COUNT),
    NAMES(kp_executor_names, KP_EXEC_COUNT),
    NAMES(kp_op_names, KP_OP_COUNT),
    NAMES(kp_cut_names, KP_CUT_COUNT),
    NAMES(kp_coll_names, KP_COLL_COUNT),
    NAMES(kp_layout_names, KP_LAYOUT_COUNT),
    NAMES(kp_dtype_names, KP_DTYPE_COUNT),
};

Test(messages, every_enum_value_has_its_own_name)
{
    for (size_t e = 0; e < KP_LEN(enums); e++)
        for (size_t i = 0; i < enums[e].n; i++) {
            cr_assert(enums[e].names[i] && enums[e].names[i][0], "%s[%zu]", enums[e].what, i);
            for (size_t j = 0; j < i; j++)
                cr_expect_str_neq(enums[e].names[i], enums[e].names[j], "%s", enums[e].what);
        }
}

Test(messages, every_wire_type_has_a_schema)
{
    unsigned found = 0, rows = 0;
#define COUNT(name, number, payload)                                                               \
    rows++;                                                                                        \
    cr_expect_eq(kp_wire_schema(KP_WIRE_##name)->size, sizeof(payload), #name);
    KP_WIRE_ROWS(COUNT)
    for (int type = -1; type < 70000; type++) found += kp_wire_schema((kp_wire_type)type) != NULL;
    cr_expect_eq(found, rows);
}

/* What scripts read: the names of the contract, in JSON, from a full value. */
static const struct {
    const kp_schema *schema;
    const char *keys[64];
} contract[] = {
    {&kp_schema_summary,
     {"model",         "format",        "params",         "total",   "trainable", "non_trainable",
      "inputs",        "outputs",       "forward_flops",  "layers",  "name",      "class",
      "output_shapes", "compute_dtype", "variable_dtype", "weights", "path",      "shape",
      "dtype",         "warnings",      "code",           "layer",   "message"}},
    {&kp_schema_explain,
     {"model",
      "assumptions",
      "value",
      "from",
      "verdict",
      "device",
      "gpu",
      "total_bytes",
      "usable_bytes",
      "peak",
      "low_bytes",
      "high_bytes",
      "allocated_bytes",
      "allocated_low_bytes",
      "allocated_high_bytes",
      "reserved_bytes",
      "reserved_low_bytes",
      "reserved_high_bytes",
      "phase",
      "layer",
      "op",
      "by_category",
      "weights",
      "gradients",
      "optimizer",
      "activations",
      "inputs",
      "temporary",
      "workspace",
      "communication",
      "fragmentation",
      "runtime",
      "phases",
      "host_bytes",
      "class",
      "activations_bytes",
      "share",
      "peak_tensors",
      "what",
      "culprits",
      "rule",
      "remedies",
      "change",
      "saves_bytes",
      "peak_after_bytes",
      "fits_after",
      "confidence",
      "host",
      "parts",
      "largest",
      "value",
      "low",
      "high",
      "message",
      "matches",
      "says",
      "versus",
      "stages",
      "first_layer",
      "last_layer",
      "steady_bytes",
      "warnings"}},
    {&kp_schema_plan,
     {"id",
      "created",
      "sha256",
      "cluster",
      "revision",
      "simulated",
      "target",
      "strategy",
      "dp",
      "micro_batches",
      "schedule",
      "interleave",
      "recompute",
      "stages",
      "first_layer",
      "last_layer",
      "cuts",
      "cut",
      "collective_forward",
      "collective_backward",
      "axes",
      "ranks",
      "gpu_index",
      "dp_rank",
      "tp_rank",
      "memory",
      "step",
      "low_s",
      "bubble_s",
      "tensor_parallel_s",
      "pipeline_s",
      "data_parallel_s",
      "optimizer_s",
      "mfu",
      "bound",
      "lower_s",
      "gap",
      "proof",
      "search",
      "candidates",
      "complete",
      "alternatives",
      "lease",
      "fence",
      "expires",
      "verification",
      "covered",
      "not_covered"}},
    {&kp_schema_nodes,
     {"revision", "nodes", "name", "state", "boot_epoch", "simulated", "host", "gpus", "uuid",
      "index", "total_bytes", "driver_reserved_bytes", "free_bytes"}},
    {&kp_schema_gpus, {"revision", "gpus", "node", "uuid"}},
    {&kp_schema_plans,
     {"plans", "id", "created", "model", "strategy", "state", "peak_bytes", "seconds"}},
    {&kp_schema_leases,
     {"leases", "id", "plan", "fence", "owner", "gpus", "granted", "expires", "state"}},
    {&kp_schema_verdict,
     {"plan", "verdict", "covered", "shapes", "executor", "checks", "layer", "op", "cut",
      "direction", "grade", "ranks", "state", "error", "bound", "seconds", "peak_bytes_measured",
      "peak_bytes_predicted", "message"}},
    {&kp_schema_error,
     {"error", "code", "message", "where", "hint", "details", "binding", "stage", "layer", "bytes",
      "changes", "change", "peak_bytes", "fits"}},
};

Test(messages, names_of_the_contract)
{
    for (size_t i = 0; i < KP_LEN(contract); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf out;
        kp_buf_init(&out, 0);
        void *value = kp_arena_alloc(&arena, 1, contract[i].schema->size);
        test_fill(contract[i].schema, value, &arena, 0, false);
        cr_assert_eq(kp_schema_print(contract[i].schema, value, &out, NULL), KP_OK);
        char front[64];
        snprintf(front, sizeof(front), "{\"schema\":\"%s\",", contract[i].schema->name);
        cr_expect_eq(strncmp(out.data, front, strlen(front)), 0, "%s", contract[i].schema->name);
        for (size_t k = 0; k < KP_LEN(contract[i].keys) && contract[i].keys[k]; k++) {
            char key[48];
            snprintf(key, sizeof(key), "\"%s\":", contract[i].keys[k]);
            cr_expect(strstr(out.data, key), "%s has no %s", contract[i].schema->name, key);
        }
        kp_buf_release(&out);
        kp_arena_release(&arena);
    }
}

Test(messages, categories_sum)
{
    kp_categories c = {{0}};
    for (int i = 0; i < KP_CAT_COUNT; i++) c.bytes[i] = 1ull << i;
    cr_expect_eq(kp_categories_sum(&c), (1u << KP_CAT_COUNT) - 1);
    c.bytes[3] = UINT64_MAX;
    cr_expect_eq(kp_categories_sum(&c), UINT64_MAX, "saturates");
}

/* ---- memory runs out ---- */

/* The allocation with number n fails, for n from 1 until none is left: each time a status. */
static void fail_each(const kp_schema *schema, const kp_buf *packed, const kp_buf *printed,
                      bool text)
{
    for (uint64_t n = 1;; n++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        char *value = calloc(1, schema->size), *zero = calloc(1, schema->size);
        kp_err err = {0};
        arena.fail_call = n;
        kp_status status =
            text ? kp_schema_read(schema, printed->data, printed->len, &arena, value, &err)
                 : kp_schema_unpack(schema, packed->data, packed->len, &arena, value, &err);
        bool done = status == KP_OK;
        cr_expect(done || status == KP_NOMEM, "%s: allocation %u: %s", schema->name, (unsigned)n,
                  err.msg);
        if (!done) cr_expect_eq(memcmp(value, zero, schema->size), 0, "%s: written", schema->name);
        if (done) cr_expect_gt(n, 1);
        free(value);
        free(zero);
        kp_arena_release(&arena);
        if (done || status != KP_NOMEM) return;
    }
}

Test(messages, each_allocation_may_fail)
{
    for (size_t i = 0; i < kp_n_schemas; i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_buf packed, printed;
        kp_buf_init(&packed, 0);
        kp_buf_init(&printed, 0);
        void *value = kp_arena_alloc(&arena, 1, kp_schemas[i]->size);
        test_fill(kp_schemas[i], value, &arena, 3, false);
        cr_assert_eq(kp_schema_pack(kp_schemas[i], value, &packed, NULL), KP_OK);
        cr_assert_eq(kp_schema_print(kp_schemas[i], value, &printed, NULL), KP_OK);
        fail_each(kp_schemas[i], &packed, &printed, false);
        fail_each(kp_schemas[i], &packed, &printed, true);
        kp_buf_release(&packed);
        kp_buf_release(&printed);
        kp_arena_release(&arena);
    }
}
