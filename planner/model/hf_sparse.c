/* SPDX-License-Identifier: MIT
 *
 * Models whose layers differ in which keys they look at: an indexer of their own, an earlier
 * layer's choice, compressed keys. */
#include "planner/model/hf_blocks.h"

/* ---- GLM-5: layers that look where an earlier one's indexer did have none ---- */

kp_status kp_hf_shared_indexers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                                 kp_hf_block *blocks)
{
    kp_hf_attn bare = arch->attn;
    const kp_layer_cfg *cfg;
    const json_t *types;
    KP_TRY(kp_hf_layer_list(keys, "indexer_types", arch->L, &types));
    bare.index_heads = 0;
    KP_TRY(kp_hf_attn_cfg(reader, &bare, &cfg));
    for (int64_t i = 0; types && i < arch->L; i++)
        if (kp_hf_entry_is(types, i, "shared")) blocks[i].attn = cfg;
    return KP_OK;
}

/* ---- MiniMax-M3: some layers pick blocks of keys ---- */

kp_status kp_hf_block_indexers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                                kp_hf_block *blocks)
{
    kp_hf_attn picking = arch->attn;
    kp_hf_keys inner = {.json = kp_hf_find(keys, "sparse_attention_config"), .err = keys->err};
    const kp_layer_cfg *cfg;
    const json_t *flags;
    if (!inner.json) return KP_OK;
    KP_TRY(kp_hf_layer_list(&inner, "sparse_attention_freq", arch->L, &flags));
    KP_TRY(kp_hf_need(&inner, "sparse_num_index_heads", &picking.index_heads));
    KP_TRY(kp_hf_need(&inner, "sparse_index_dim", &picking.index_dim));
    KP_TRY(kp_hf_attn_cfg(reader, &picking, &cfg));
    for (int64_t i = 0; flags && i < arch->L; i++)
        if (json_integer_value(json_array_get(flags, (size_t)i))) blocks[i].attn = cfg;
    return KP_OK;
}

/* ---- DeepSeek-V4: a ratio of compression a layer; routing by hash in the first layers ---- */

/* Tokens behind one key: listed, or by the names that transformers gives to 0, 4 and 128. */
static kp_status ratio_of(const kp_hf_keys *keys, const json_t *ratios, const json_t *types,
                          int64_t i, int64_t *ret)
{
    static const struct {
        const char *type;
        int64_t ratio;
    } rows[] = {{"sliding_attention", 0},
                {"compressed_sparse_attention", KP_HF_OVERLAP_RATIO},
                {"heavily_compressed_attention", 128}};
    const json_t *entry = json_array_get(ratios, (size_t)i);
    *ret = json_integer_value(entry);
    if (json_is_integer(entry) && *ret >= 0 && *ret <= 1 << 20) return KP_OK;
    for (size_t k = 0; k < KP_LEN(rows); k++) {
        *ret = rows[k].ratio;
        if (kp_hf_entry_is(types, i, rows[k].type)) return KP_OK;
    }
    return kp_fail(keys->err, KP_INPUT, "'%s' of layer %lld says no ratio of compression",
                   ratios ? "compress_ratios" : "layer_types", (long long)i);
}

kp_status kp_hf_compressed_layers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                                   kp_hf_block *blocks)
{
    const json_t *ratios, *types, *kinds;
    const kp_layer_cfg *hashed;
    int64_t n_hashed;
    KP_TRY(kp_hf_layer_list(keys, "compress_ratios", arch->L, &ratios));
    KP_TRY(kp_hf_layer_list(keys, "layer_types", arch->L, &types));
    KP_TRY(kp_hf_layer_list(keys, "mlp_layer_types", arch->L, &kinds));
    KP_TRY(kp_hf_int(keys, "num_hash_layers", 0, 3, &n_hashed));
    kp_hf_mlp plain = *blocks[0].mlp->mlp; /* a hash of the token picks: nothing to correct */
    plain.correction = false;
    KP_TRY(kp_hf_mlp_cfg(reader, &plain, &hashed));
    for (int64_t i = 0; i < arch->L; i++) {
        kp_hf_attn a = arch->attn;
        KP_TRY(ratio_of(keys, ratios, types, i, &a.ratio));
        KP_TRY(kp_hf_attn_cfg(reader, &a, &blocks[i].attn));
        if (kinds ? kp_hf_entry_is(kinds, i, "hash_moe") : i < n_hashed) blocks[i].mlp = hashed;
    }
    return KP_OK;
}
