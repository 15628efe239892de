/* SPDX-License-Identifier: MIT
 *
 * The plan in the file of Aceso's runtime: lists that have an entry a stage, or one an operation.
 */
#include "planner/model/hf.h"
#include "planner/model/oplan.h"

enum { STAGES_MAX = 1024, OPS_MAX = 13 * KP_HF_LAYERS_MAX + 3 };

static kp_status bad_list(const kp_hf_keys *keys, const char *name, size_t stage)
{
    return kp_fail(keys->err, KP_INPUT, "'%s': stage %zu has no list of its operations' values",
                   name, stage);
}

/* The list of one stage: as many numbers as it has operations. */
static const json_t *list_of(const kp_hf_keys *keys, const char *name, size_t stage, uint32_t n_ops)
{
    const json_t *list = json_array_get(kp_hf_find(keys, name), stage);
    if (!json_is_array(list) || json_array_size(list) != n_ops) return NULL;
    for (size_t i = 0; i < n_ops; i++) {
        json_int_t v = json_integer_value(json_array_get(list, i));
        if (!json_is_integer(json_array_get(list, i)) || v < 0 || v > 1 << 20) return NULL;
    }
    return list;
}

/* The one degree of all operations of a stage. */
static kp_status read_degree(const kp_hf_keys *keys, const char *name, size_t stage, uint32_t n_ops,
                             uint32_t *ret)
{
    const json_t *list = list_of(keys, name, stage, n_ops);
    *ret = 1;
    if (!kp_hf_find(keys, name)) return KP_OK;
    if (!list) return bad_list(keys, name, stage);
    *ret = (uint32_t)json_integer_value(json_array_get(list, 0));
    if (!*ret) return kp_fail(keys->err, KP_INPUT, "'%s': stage %zu is on no rank", name, stage);
    for (size_t i = 0; i < n_ops; i++) {
        if (json_integer_value(json_array_get(list, i)) == (json_int_t)*ret) continue;
        kp_fail(keys->err, KP_UNSUPPORTED, "'%s': operations of stage %zu differ", name, stage);
        kp_hint(keys->err, "stages whose operations are divided alike can be explained");
        return KP_UNSUPPORTED;
    }
    return KP_OK;
}

static kp_status read_again(kp_reader *reader, const kp_hf_keys *keys, size_t stage, uint32_t n_ops,
                            const uint8_t **ret)
{
    static const char name[] = "recompute_ops";
    const json_t *list = list_of(keys, name, stage, n_ops);
    uint8_t *again = KP_NEW(reader->arena, uint8_t, n_ops);
    if (!again) return kp_nomem(reader->err);
    *ret = NULL;
    if (!kp_hf_find(keys, name)) return KP_OK;
    if (!list) return bad_list(keys, name, stage);
    for (size_t i = 0; i < n_ops; i++) again[i] = json_integer_value(json_array_get(list, i)) != 0;
    *ret = again;
    return KP_OK;
}

static kp_status read_stage(kp_reader *reader, const kp_hf_keys *keys, size_t i,
                            const json_t *count, kp_oplan_stage *ret)
{
    json_int_t n = json_integer_value(count);
    if (n < 1 || n > OPS_MAX)
        return kp_fail(keys->err, KP_INPUT,
                       "'num_ops_in_each_stage': stage %zu has %lld operations, not 1 to %d", i,
                       (long long)n, OPS_MAX);
    ret->n_ops = (uint32_t)n;
    KP_TRY(read_degree(keys, "model_parallel_size_of_each_op", i, ret->n_ops, &ret->tp));
    KP_TRY(read_degree(keys, "data_parallel_size_of_each_op", i, ret->n_ops, &ret->dp));
    return read_again(reader, keys, i, ret->n_ops, &ret->again);
}

kp_status kp_megatron_oplan(kp_reader *reader, const kp_hf_keys *keys, const kp_oplan **ret)
{
    const json_t *counts = kp_hf_find(keys, "num_ops_in_each_stage");
    size_t n = json_array_size(counts);
    int64_t micro, batch;
    *ret = NULL;
    if (!counts) return KP_OK;
    if (!n || n > STAGES_MAX)
        return kp_fail(keys->err, KP_INPUT, "'num_ops_in_each_stage' lists %zu stages", n);
    kp_oplan *plan = KP_NEW(reader->arena, kp_oplan, 1);
    kp_oplan_stage *stages = KP_NEW(reader->arena, kp_oplan_stage, n);
    if (!plan || !stages) return kp_nomem(reader->err);
    KP_TRY(kp_hf_int(keys, "micro_batch_size", 1, 1, &micro));
    KP_TRY(kp_hf_int(keys, "global_batch_size", 1, 0, &batch));
    *plan = (kp_oplan){.stages = stages,
                       .n_stages = (uint32_t)n,
                       .micro_batch = (uint32_t)micro,
                       .batch = (uint64_t)batch};
    for (size_t i = 0; i < n; i++) {
        KP_TRY(read_stage(reader, keys, i, json_array_get(counts, i), &stages[i]));
        if (micro % stages[i].dp)
            return kp_fail(keys->err, KP_INPUT,
                           "'micro_batch_size' is %lld, which %u data parallel "
                           "ranks of stage %zu do not divide",
                           (long long)micro, stages[i].dp, i);
        plan->n_ops += stages[i].n_ops;
    }
    *ret = plan;
    return KP_OK;
}
