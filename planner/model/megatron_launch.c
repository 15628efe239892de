/* SPDX-License-Identifier: MIT
 *
 * Megatron-LM's arguments that say how a model is trained: degrees, schedule, kernels. Stages get
 * equal numbers of layers unless the arguments say otherwise. Source: launch.h. */
#include "planner/model/megatron.h"
#include <inttypes.h>

typedef struct launching {
    kp_reader *reader;
    const kp_hf_keys *keys;
    int64_t L;
    kp_launch *out;
} launching;

/* ---- numbers and switches ---- */

static kp_status read_numbers(launching *l)
{
    kp_launch *o = l->out;
    const struct {
        const char *names;
        uint32_t *to;
    } rows[] = {
        {"tensor_model_parallel_size|model_parallel_size", &o->tp},
        {"pipeline_model_parallel_size", &o->pp},
        {"context_parallel_size", &o->cp},
        {"expert_model_parallel_size", &o->ep},
        {"expert_tensor_parallel_size", &o->etp},
        {"num_virtual_stages_per_pipeline_rank", &o->chunks},
        {"microbatch_group_size_per_virtual_pipeline_stage", &o->group},
        {"num_distributed_optimizer_instances", &o->instances},
        {"micro_batch_size", &o->micro_batch},
        {"recompute_num_layers", &o->recompute_blocks},
    };
    int64_t v;
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        KP_TRY(kp_hf_int(l->keys, rows[i].names, 1, 0, &v));
        *rows[i].to = (uint32_t)v;
    }
    KP_TRY(kp_hf_int(l->keys, "global_batch_size", 1, 0, &v));
    o->batch = (uint64_t)v;
    return KP_OK;
}

static kp_status read_switches(launching *l)
{
    kp_launch *o = l->out;
    bool apart, fp16, sums_wide, half, mask;
    int64_t ends;
    const struct {
        const char *names;
        bool *to;
    } rows[] = {
        {"use_distributed_optimizer", &o->shards_optimizer},
        {"use_megatron_fsdp", &o->shards_all},
        {"sequence_parallel", &o->sequence},
        {"deterministic_mode", &o->deterministic},
        {"cross_entropy_loss_fusion", &o->fused_loss},
        {"no_gradient_accumulation_fusion", &apart},
        {"no_create_attention_mask_in_dataloader", &o->no_mask},
        {"moe_grouped_gemm", &o->grouped_experts},
        {"fp16", &fp16},
        {"accumulate_allreduce_grads_in_fp32", &sums_wide},
        {"grad_reduce_in_bf16", &half},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++)
        KP_TRY(kp_hf_bool(l->keys, rows[i].names, false, rows[i].to));
    KP_TRY(kp_hf_bool(l->keys, "create_attention_mask_in_dataloader", true, &mask));
    o->no_mask |= !mask;
    KP_TRY(kp_hf_int(l->keys, "vocab_tp", 1, 0, &ends)); /* Galvatron's argument */
    o->ends_apart = ends == 1;
    o->fused_grads = !apart;
    o->half_grads = half || (fp16 && !sums_wide); /* bf16 sums in float32 unless told otherwise */
    return KP_OK;
}

static bool is(const char *text, const char *word)
{
    return text && !strcmp(text, word);
}

static kp_status read_kernels(launching *l)
{
    kp_launch *o = l->out;
    const char *attention = kp_hf_text(l->keys, "attention_backend");
    bool flash;
    KP_TRY(kp_hf_bool(l->keys, "use_flash_attn", false, &flash));
    o->local = is(kp_hf_text(l->keys, "transformer_impl"), "local") ||
               is(kp_hf_text(l->keys, "spec"), "local");
    const char *dispatcher = kp_hf_text(l->keys, "moe_token_dispatcher_type");
    o->gathers_experts = !dispatcher || is(dispatcher, "allgather");
    o->flash = flash || is(attention, "flash");
    o->unfused = is(attention, "unfused") || is(attention, "local") || (o->local && !flash);
    return KP_OK;
}

static kp_status read_recompute(launching *l)
{
    kp_launch *o = l->out;
    const char *what = kp_hf_text(l->keys, "recompute_granularity");
    bool scores;
    KP_TRY(kp_hf_bool(l->keys, "recompute_activations", false, &scores));
    o->first_blocks = is(kp_hf_text(l->keys, "recompute_method"), "block");
    o->recompute = is(what, "full")                  ? KP_RECOMPUTE_FULL
                   : is(what, "selective") || scores ? KP_RECOMPUTE_SELECTIVE
                                                     : KP_RECOMPUTE_AUTO;
    if (!what || is(what, "full") || is(what, "selective")) return KP_OK;
    return kp_fail(l->keys->err, KP_INPUT,
                   "'recompute_granularity' is '%.40s', not full or selective", what);
}

static kp_status read_optimizer(launching *l)
{
    static const struct {
        const char *name, *ours;
    } known[] = {{"adam", "adam"}, {"sgd", "sgd_momentum"}, {"muon", "muon"}};
    const char *name = kp_hf_text(l->keys, "optimizer");
    for (size_t i = 0; name && i < KP_LEN(known); i++)
        if (!strcmp(known[i].name, name)) l->out->optimizer = known[i].ours;
    if (is(name, "dist_muon") || (is(name, "muon") && l->out->shards_optimizer))
        l->out->unknown = "optimizer muon, layer by layer";
    return KP_OK;
}

/* "--defer-embedding-wgrad-compute": so many micro-batches' at most wait for the end, 0: all. */
static kp_status read_deferred(launching *l)
{
    bool on;
    int64_t limit;
    KP_TRY(kp_hf_bool(l->keys, "defer_embedding_wgrad_compute", false, &on));
    KP_TRY(kp_hf_int(l->keys, "wgrad_deferral_limit", 0, 0, &limit));
    if (on) l->out->deferred = limit ? (uint32_t)limit : UINT32_MAX;
    return KP_OK;
}

/* ---- stages ---- */

static kp_status no_division(launching *l, int64_t layers, uint64_t stages)
{
    kp_fail(l->keys->err, KP_INPUT, "%lld layers do not divide into %" PRIu64 " pipeline stages",
            (long long)layers, stages);
    kp_hint(l->keys->err, "'pipeline_model_parallel_size' times the virtual stages of a rank must "
                          "divide 'num_layers'");
    return KP_INPUT;
}

/* Virtual stages of a rank, from the layers that each is said to have. */
static kp_status read_chunks(launching *l)
{
    kp_launch *o = l->out;
    int64_t each;
    KP_TRY(kp_hf_int(l->keys, "num_layers_per_virtual_pipeline_stage", 1, 0, &each));
    if (!each || o->pp < 2) {
        if (o->pp < 2) o->chunks = 0;
        return KP_OK;
    }
    if (l->L % (each * o->pp)) return no_division(l, l->L, (uint64_t)each * o->pp);
    o->chunks = (uint32_t)(l->L / each / o->pp);
    return KP_OK;
}

/* Layers of the first and of the last stage, if they differ from the others; an embedding or a loss
 * may count as a layer of theirs. */
static kp_status read_ends(launching *l, uint32_t *blocks, uint32_t n)
{
    int64_t first, last;
    bool embedding, loss;
    KP_TRY(kp_hf_int(l->keys, "decoder_first_pipeline_num_layers", 1, 0, &first));
    KP_TRY(kp_hf_int(l->keys, "decoder_last_pipeline_num_layers", 1, 0, &last));
    KP_TRY(kp_hf_bool(l->keys, "account_for_embedding_in_pipeline_split", false, &embedding));
    KP_TRY(kp_hf_bool(l->keys, "account_for_loss_in_pipeline_split", false, &loss));
    uint32_t chunks = l->out->chunks ? l->out->chunks : 1, pp = n / chunks;
    int64_t others = (int64_t)pp - (first > 0) - (last > 0),
            rest = l->L - first - last + embedding + loss;
    if (first % chunks || last % chunks || rest < 0 || (others ? rest % (others * chunks) : rest))
        return no_division(l, rest, (uint64_t)(others ? others : 1) * chunks);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = i % pp;
        int64_t own = rank == 0 && first       ? first
                      : rank == pp - 1 && last ? last
                      : others                 ? rest / others
                                               : 0;
        blocks[i] = (uint32_t)(own / chunks);
    }
    if (embedding && blocks[0]) blocks[0]--;
    if (loss && blocks[n - 1]) blocks[n - 1]--;
    return KP_OK;
}

/* "--pipeline-model-parallel-layout" as "Et*3|(tt|)*6L": one letter a layer, '|' between virtual
 * stages, "*n" repeats a letter or what parentheses hold. */
enum { LAYOUT_DEPTH = 8 };

typedef struct layout {
    const char *at;
    uint32_t *blocks, cap, n; /* n: the stage that is being filled */
    uint32_t budget;          /* steps left: patterns that repeat patterns end */
    uint32_t depth;           /* of parentheses */
} layout;

static bool read_layout(layout *p, bool inner);

static bool read_item(layout *p)
{
    const char *from = p->at;
    bool group = *p->at == '(', ok;
    uint32_t times = 1;
    for (uint32_t i = 0; i < times; i++) {
        if (!p->budget--) return false;
        p->at = from + 1;
        ok = true;
        if (group) {
            ok = p->depth++ < LAYOUT_DEPTH && read_layout(p, true) && *p->at++ == ')';
            p->depth--;
        } else if (*from == '|') {
            ok = ++p->n < p->cap;
        } else if (*from == 't') {
            p->blocks[p->n]++;
        } else {
            ok = *from == 'E' || *from == 'L';
        }
        if (!ok) return false;
        if (*p->at == '*') {
            char *end;
            unsigned long n = strtoul(p->at + 1, &end, 10);
            if (end == p->at + 1 || !n || n > KP_HF_LAYERS_MAX) return false;
            times = (uint32_t)n;
            p->at = end;
        }
    }
    return true;
}

static bool read_layout(layout *p, bool inner)
{
    while (*p->at && *p->at != ')')
        if (!read_item(p)) return false;
    return inner || !*p->at;
}

static kp_status read_blocks(launching *l)
{
    kp_launch *o = l->out;
    const char *text = kp_hf_text(l->keys, "pipeline_model_parallel_layout");
    uint64_t cap = text ? KP_HF_LAYERS_MAX : (uint64_t)o->pp * (o->chunks ? o->chunks : 1);
    if (o->pp < 2) return KP_OK;
    if (cap > KP_HF_LAYERS_MAX) return no_division(l, l->L, cap);
    uint32_t *blocks = KP_NEW(l->reader->arena, uint32_t, cap), sum = 0;
    if (!blocks) return kp_nomem(l->reader->err);
    o->n_stages = (uint32_t)cap;
    o->blocks = blocks;
    if (!text) return read_ends(l, blocks, o->n_stages);
    layout p = {.at = text, .blocks = blocks, .cap = (uint32_t)cap, .budget = 100000};
    bool ok = read_layout(&p, false) && (p.n + 1) % o->pp == 0;
    o->n_stages = p.n + 1;
    o->chunks = o->n_stages / o->pp;
    for (uint32_t i = 0; i < o->n_stages; i++) sum += blocks[i];
    if (ok && sum == (uint32_t)l->L) return KP_OK;
    return kp_fail(
        l->keys->err, KP_INPUT,
        "'pipeline_model_parallel_layout' '%.60s' is no layout of %lld layers on %u stages", text,
        (long long)l->L, o->pp);
}

/* Arguments that keep or copy what no rule here counts. */
static void find_unknown(launching *l)
{
    static const char *const names[] = {"fp8_format", "fp4_format", "perform_rl_step",
                                        "fine_grained_activation_offloading", "cpu_offloading",
                                        "optimizer_cpu_offload", "cuda_graph_impl"};
    if (l->out->shards_all && kp_hf_find(l->keys, "num_experts"))
        l->out->unknown = "use_megatron_fsdp";
    for (size_t i = 0; i < KP_LEN(names) && !l->out->unknown; i++) {
        const json_t *json = kp_hf_find(l->keys, names[i]);
        if (json && !json_is_false(json)) l->out->unknown = names[i];
    }
}

kp_status kp_megatron_launch(kp_reader *reader, const kp_hf_keys *keys, int64_t n_layers,
                             const kp_launch **ret)
{
    kp_launch *out = KP_NEW(reader->arena, kp_launch, 1);
    if (!out) return kp_nomem(reader->err);
    launching l = {.reader = reader, .keys = keys, .L = n_layers, .out = out};
    KP_TRY(read_numbers(&l));
    KP_TRY(read_switches(&l));
    KP_TRY(read_kernels(&l));
    KP_TRY(read_recompute(&l));
    KP_TRY(read_optimizer(&l));
    KP_TRY(read_deferred(&l));
    KP_TRY(read_chunks(&l));
    KP_TRY(read_blocks(&l));
    find_unknown(&l);
    out->n_blocks = (uint32_t)n_layers;
    *ret = out;
    return KP_OK;
}
