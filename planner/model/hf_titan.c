/* SPDX-License-Identifier: MIT
 *
 * planner/model/hf_titan.c — torchtitan's job settings in a Hugging Face config.
 *
 * The member "torchtitan" holds them under torchtitan's own names, section by section as its TOML
 * files do: training, parallelism (before 2025 also experimental), activation_checkpoint, compile,
 * model, float8. What is said nowhere is torchtitan's default; other keys do not matter to memory
 * and are skipped. torchtitan's run_train.sh sets PYTORCH_CUDA_ALLOC_CONF to
 * "expandable_segments:True"; the member may say another value. Sources:
 * torchtitan/config/job_config.py, config_manager.py, parallelisms/pipelining_utils.py. */
#include "planner/model/hf.h"
#include "planner/model/launch.h"

static bool section(const kp_hf_keys *keys, const char *name, kp_hf_keys *ret)
{
    *ret = *keys;
    ret->json = json_object_get(keys->json, name);
    return json_is_object(ret->json);
}

static bool lists(const kp_hf_keys *keys, const char *name, const char *entry)
{
    const json_t *list = json_object_get(keys->json, name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text && !strncmp(text, entry, strlen(entry))) return true;
    }
    const char *one = json_string_value(list);
    return one && !strncmp(one, entry, strlen(entry));
}

static kp_status read_degrees(const kp_hf_keys *titan, kp_launch *launch)
{
    static const char *const sections[] = {"experimental", "parallelism"};
    kp_hf_keys keys;
    for (size_t i = 0; i < KP_LEN(sections); i++) {
        int64_t tp, pp, cp;
        if (!section(titan, sections[i], &keys)) continue;
        KP_TRY(kp_hf_int(&keys, "tensor_parallel_degree", 1, launch->tp, &tp));
        KP_TRY(kp_hf_int(&keys, "pipeline_parallel_degree", 1, launch->pp, &pp));
        KP_TRY(kp_hf_int(&keys, "context_parallel_degree", 1, launch->cp, &cp));
        launch->tp = (uint32_t)tp;
        launch->pp = (uint32_t)pp;
        launch->cp = (uint32_t)cp;
    }
    return KP_OK;
}

/* Blocks of each stage: equally many, what is left over one each from the second stage on; more
 * than one stage a rank if the schedule interleaves (generate_split_points). */
static kp_status read_stages(const kp_hf_keys *config, const kp_hf_keys *titan, kp_arena *arena,
                             kp_launch *launch)
{
    static const char *const sections[] = {"experimental", "parallelism"};
    const char *schedule = NULL;
    int64_t n_blocks;
    kp_hf_keys keys;
    for (size_t i = 0; i < KP_LEN(sections); i++)
        if (section(titan, sections[i], &keys) && kp_hf_text(&keys, "pipeline_parallel_schedule"))
            schedule = kp_hf_text(&keys, "pipeline_parallel_schedule");
    launch->chunks = schedule && !strncmp(schedule, "Interleaved", 11) ? 2 : 1;
    KP_TRY(kp_hf_int(config, "num_hidden_layers|n_layer|n_layers", 1, 1, &n_blocks));
    uint64_t stages = (uint64_t)launch->pp * launch->chunks, left;
    if (launch->pp < 2) return KP_OK;
    if (n_blocks > KP_HF_LAYERS_MAX || stages > (uint64_t)n_blocks)
        return kp_fail(titan->err, KP_INPUT, "'pipeline_parallel_degree' is %u, but %lld blocks make "
                       "no %llu stages", launch->pp, (long long)n_blocks, (unsigned long long)stages);
    uint32_t *blocks = KP_NEW(arena, uint32_t, stages);
    if (!blocks) return kp_nomem(titan->err);
    left = (uint64_t)n_blocks % stages;
    for (uint64_t i = 0; i < stages; i++) {
        bool more = i && left;
        blocks[i] = (uint32_t)((uint64_t)n_blocks / stages) + more;
        left -= more;
    }
    launch->n_blocks = (uint32_t)n_blocks;
    launch->blocks = blocks;
    launch->n_stages = (uint32_t)stages;
    return KP_OK;
}

/* selective_ac_option: "op", or N: every N-th block. */
static kp_status read_checkpointing(const kp_hf_keys *titan, kp_launch *launch)
{
    kp_hf_keys keys;
    launch->recompute = KP_RECOMPUTE_SELECTIVE;
    launch->recompute_every = 2;
    if (!section(titan, "activation_checkpoint", &keys)) return KP_OK;
    const char *mode = kp_hf_text(&keys, "mode"), *option = kp_hf_text(&keys, "selective_ac_option");
    if (mode && !strcmp(mode, "none")) launch->recompute = KP_RECOMPUTE_NONE;
    else if (mode && !strcmp(mode, "full")) launch->recompute = KP_RECOMPUTE_FULL;
    else if (mode && strcmp(mode, "selective"))
        return kp_fail(keys.err, KP_INPUT, "'mode' is '%.40s', not none, selective or full", mode);
    launch->per_op = option && !strcmp(option, "op");
    if (!option || launch->per_op) return KP_OK;
    launch->recompute_every = 0;
    for (const char *c = option; *c >= '0' && *c <= '9' && c < option + 4; c++)
        launch->recompute_every = 10 * launch->recompute_every + (uint32_t)(*c - '0');
    if (launch->recompute_every) return KP_OK;
    return kp_fail(keys.err, KP_INPUT, "'selective_ac_option' is '%.40s', neither op nor a number "
                   "of blocks", option);
}

/* "compile": {"enable": true, "components": ["model", "loss"]}; before, training.compile. */
static kp_status read_compile(const kp_hf_keys *titan, kp_launch *launch)
{
    kp_hf_keys keys;
    bool on = false;
    if (section(titan, "training", &keys)) KP_TRY(kp_hf_bool(&keys, "compile", false, &on));
    launch->compiled = launch->compiled_loss = on;
    if (!section(titan, "compile", &keys)) return KP_OK;
    KP_TRY(kp_hf_bool(&keys, "enable", on, &on));
    bool named = json_is_array(json_object_get(keys.json, "components"));
    launch->compiled = on && (!named || lists(&keys, "components", "model"));
    launch->compiled_loss = on && (!named || lists(&keys, "components", "loss"));
    return KP_OK;
}

static kp_status read_float8(const kp_hf_keys *titan, kp_launch *launch)
{
    kp_hf_keys keys;
    bool on = section(titan, "model", &keys) && lists(&keys, "converters", "float8"), gather = false;
    if (section(titan, "float8", &keys) || section(titan, "quantize", &keys)) {
        KP_TRY(kp_hf_bool(&keys, "enable_float8_linear", on, &on));
        KP_TRY(kp_hf_bool(&keys, "enable_fsdp_float8_all_gather", false, &gather));
    }
    launch->float8_gather = on && gather;
    return KP_OK;
}

kp_status kp_hf_titan_read(const kp_hf_keys *keys, kp_arena *arena, kp_launch *launch)
{
    kp_hf_keys titan, training;
    int64_t batch;
    if (!section(keys, "torchtitan", &titan)) return KP_OK;
    launch->titan = launch->shards_all = launch->sequence = true;
    const char *allocator = kp_hf_text(&titan, "PYTORCH_CUDA_ALLOC_CONF|PYTORCH_ALLOC_CONF");
    launch->expandable = !allocator || strstr(allocator, "expandable_segments:True");
    launch->tp = launch->pp = launch->cp = 1;
    KP_TRY(read_degrees(&titan, launch));
    KP_TRY(read_stages(keys, &titan, arena, launch));
    KP_TRY(read_checkpointing(&titan, launch));
    KP_TRY(read_compile(&titan, launch));
    KP_TRY(read_float8(&titan, launch));
    if (!section(&titan, "training", &training)) return KP_OK;
    KP_TRY(kp_hf_int(&training, "local_batch_size|batch_size", 1, 0, &batch));
    launch->micro_batch = (uint32_t)batch;
    return KP_OK;
}
