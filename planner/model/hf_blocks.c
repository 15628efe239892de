/* SPDX-License-Identifier: MIT
 *
 * Which blocks of a model are alike and which are not: dense layers before experts, every n-th
 * layer with experts, layers whose sizes the file lists one by one. */
#include "planner/model/hf_blocks.h"

kp_status kp_hf_attn_cfg(kp_reader *reader, const kp_hf_attn *attn, const kp_layer_cfg **ret)
{
    kp_layer_cfg *cfg = kp_hf_cfg(reader);
    kp_hf_attn *copy = KP_NEW(reader->arena, kp_hf_attn, 1);
    if (!cfg || !copy) return kp_nomem(reader->err);
    *copy = *attn;
    cfg->attn = copy;
    *ret = cfg;
    return KP_OK;
}

kp_status kp_hf_mlp_cfg(kp_reader *reader, const kp_hf_mlp *mlp, const kp_layer_cfg **ret)
{
    kp_layer_cfg *cfg = kp_hf_cfg(reader);
    kp_hf_mlp *copy = KP_NEW(reader->arena, kp_hf_mlp, 1);
    if (!cfg || !copy) return kp_nomem(reader->err);
    *copy = *mlp;
    cfg->mlp = copy;
    *ret = cfg;
    return KP_OK;
}

const kp_layer_row *kp_hf_attn_row(const kp_hf_attn *attn)
{
    return kp_hf_row(attn->out_groups ? "CompressedAttention"
                     : attn->kv_rank  ? "LatentAttention"
                                      : "Attention");
}

/* One kind of block, L times. */
kp_status kp_hf_blocks_alike(kp_reader *reader, const kp_hf_arch *arch, kp_hf_block **ret)
{
    const kp_hf_names *n = arch->names;
    kp_hf_block *blocks = KP_NEW(reader->arena, kp_hf_block, (size_t)arch->L);
    if (!blocks) return kp_nomem(reader->err);
    *ret = blocks;
    kp_hf_block block = {.attn_row = kp_hf_attn_row(&arch->attn), .mlp_row = kp_hf_row("MLP"),
                         .attn_name = n->attn, .mlp_name = n->mlp ? n->mlp : "mlp"};
    KP_TRY(kp_hf_attn_cfg(reader, &arch->attn, &block.attn));
    KP_TRY(kp_hf_mlp_cfg(reader, &arch->mlp, &block.mlp));
    for (int64_t i = 0; i < arch->L; i++) blocks[i] = block;
    return KP_OK;
}

/* ---- experts ---- */

static bool listed(const json_t *list, int64_t i)
{
    for (size_t k = 0; k < json_array_size(list); k++)
        if (json_integer_value(json_array_get(list, k)) == i) return true;
    return false;
}

/* The layers that have experts. */
typedef struct sparse {
    int64_t first, step;
    const json_t *dense, *flags; /* numbers of dense ones; 0 or 1, "dense" or a kind a layer */
    bool last_of_step;
} sparse;

static kp_status read_sparse(const kp_hf_keys *keys, int64_t L, sparse *ret)
{
    *ret = (sparse){.step = 1};
    json_t *freq = kp_hf_find(keys, "moe_layer_freq"), *types = kp_hf_find(keys, "mlp_layer_types");
    if (json_is_array(types)) freq = types;
    KP_TRY(kp_hf_int(keys, "first_k_dense_replace", 0, 0, &ret->first));
    ret->dense = kp_hf_find(keys, "mlp_only_layers");
    if (json_is_array(freq)) {
        if (json_array_size(freq) != (size_t)L)
            return kp_fail(keys->err, KP_INPUT, "'%s' has %zu entries for %lld layers",
                           freq == types ? "mlp_layer_types" : "moe_layer_freq",
                           json_array_size(freq), (long long)L);
        ret->flags = freq;
        return KP_OK;
    }
    ret->last_of_step = kp_hf_find(keys, "decoder_sparse_step|interleave_moe_layer_step");
    return kp_hf_int(keys, "moe_layer_freq|decoder_sparse_step|interleave_moe_layer_step", 1, 1,
                     &ret->step);
}

static bool is_sparse(const sparse *s, int64_t i)
{
    const json_t *flag = json_array_get(s->flags, (size_t)i);
    if (json_is_string(flag)) return strcmp(json_string_value(flag), "dense") != 0;
    if (s->flags) return json_integer_value(flag) != 0;
    if (i < s->first || listed(s->dense, i)) return false;
    return s->last_of_step ? (i + 1) % s->step == 0 : i % s->step == 0;
}

/* Experts in the layers that have them. */
static kp_status add_experts(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                             kp_hf_block *blocks)
{
    kp_hf_mlp moe = arch->mlp;
    const kp_layer_cfg *cfg;
    sparse s;
    moe.I = arch->expert_I;
    KP_TRY(kp_hf_int(keys, "moe_intermediate_size", 1, moe.I, &moe.I));
    KP_TRY(kp_hf_experts_read(keys, arch->family->traits, &moe));
    KP_TRY(kp_hf_mlp_cfg(reader, &moe, &cfg));
    KP_TRY(read_sparse(keys, arch->L, &s));
    for (int64_t i = 0; i < arch->L; i++) {
        if (!is_sparse(&s, i)) continue;
        blocks[i].mlp = cfg;
        blocks[i].mlp_row = kp_hf_row("MixtureOfExperts");
    }
    return KP_OK;
}

kp_status kp_hf_blocks_make(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch)
{
    kp_hf_block *blocks;
    bool experts = arch->family->traits & KP_HF_MOE;
    KP_TRY(kp_hf_blocks_alike(reader, arch, &blocks));
    arch->blocks = blocks;
    if (arch->family->traits & KP_HF_MAY_MOE)
        experts = kp_hf_find(keys, "num_experts|n_routed_experts") != NULL;
    if (arch->family->traits & KP_HF_BESIDE)
        KP_TRY(kp_hf_bool(keys, "enable_moe_block", false, &experts));
    if (experts) KP_TRY(add_experts(reader, keys, arch, blocks));
    return kp_hf_hybrid(reader, keys, arch, blocks);
}
