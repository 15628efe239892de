/* SPDX-License-Identifier: MIT
 *
 * Models whose layers differ in kind: attention in some and a mixer with a state in others, full
 * attention beside a sliding window with other heads, sizes listed layer by layer. */
#include "planner/model/hf_blocks.h"

static kp_status mixer_cfg(kp_reader *reader, const kp_hf_mixer *mixer, const kp_layer_cfg **ret)
{
    kp_layer_cfg *cfg = kp_hf_cfg(reader);
    kp_hf_mixer *copy = KP_NEW(reader->arena, kp_hf_mixer, 1);
    if (!cfg || !copy) return kp_nomem(reader->err);
    *copy = *mixer;
    cfg->mixer = copy;
    *ret = cfg;
    return KP_OK;
}

kp_status kp_hf_layer_list(const kp_hf_keys *keys, const char *name, int64_t L, const json_t **ret)
{
    *ret = kp_hf_find(keys, name);
    if (!*ret) return KP_OK;
    if (json_is_array(*ret) && json_array_size(*ret) >= (size_t)L) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'%s' is no list of %lld layers", name, (long long)L);
}

bool kp_hf_entry_is(const json_t *list, int64_t i, const char *text)
{
    const char *entry = json_string_value(json_array_get(list, (size_t)i));
    return entry && !strcmp(entry, text);
}

/* ---- Qwen3-Next, Qwen3.5: every n-th layer attends, the others are Gated DeltaNet ---- */

static kp_status delta_layers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                              kp_hf_block *blocks)
{
    kp_hf_mixer m = {.delta = true, .split = strcmp(arch->family->model_type, "qwen3_next") != 0};
    const kp_layer_cfg *cfg;
    const json_t *types;
    int64_t every;
    KP_TRY(kp_hf_layer_list(keys, "layer_types", arch->L, &types));
    KP_TRY(kp_hf_int(keys, "full_attention_interval", 1, 4, &every));
    KP_TRY(kp_hf_need(keys, "linear_num_value_heads", &m.H));
    KP_TRY(kp_hf_need(keys, "linear_num_key_heads", &m.K));
    KP_TRY(kp_hf_need(keys, "linear_key_head_dim", &m.dk));
    KP_TRY(kp_hf_need(keys, "linear_value_head_dim", &m.dv));
    KP_TRY(kp_hf_int(keys, "linear_conv_kernel_dim", 1, 4, &m.kernel));
    KP_TRY(mixer_cfg(reader, &m, &cfg));
    for (int64_t i = 0; i < arch->L; i++) {
        bool full = types ? kp_hf_entry_is(types, i, "full_attention") : (i + 1) % every == 0;
        if (full) continue;
        blocks[i].attn = cfg;
        blocks[i].attn_row = kp_hf_row("StateMixer");
        blocks[i].attn_name = "linear_attn";
    }
    return KP_OK;
}

/* ---- NemotronH: one letter a layer, M a Mamba mixer, * attention, - an MLP, E experts ---- */

static kp_status read_mamba(kp_reader *reader, const kp_hf_keys *keys, const kp_layer_cfg **ret)
{
    kp_hf_mixer m = {0};
    KP_TRY(kp_hf_need(keys, "mamba_num_heads", &m.H));
    KP_TRY(kp_hf_need(keys, "mamba_head_dim", &m.dv));
    KP_TRY(kp_hf_need(keys, "n_groups", &m.K));
    KP_TRY(kp_hf_need(keys, "ssm_state_size", &m.dk));
    KP_TRY(kp_hf_int(keys, "conv_kernel", 1, 4, &m.kernel));
    KP_TRY(kp_hf_bool(keys, "use_conv_bias", true, &m.conv_bias));
    KP_TRY(kp_hf_bool(keys, "mamba_proj_bias", false, &m.proj_bias));
    return mixer_cfg(reader, &m, ret);
}

/* The letter of layer i: of "MEM*E...", or of words ["mamba", "moe", ...]; 0: another word. */
static char letter_of(const kp_hf_keys *keys, int64_t i)
{
    static const struct {
        const char *word;
        char letter;
    } words[] = {{"mamba", 'M'},          {"linear_attention", 'M'}, {"attention", '*'},
                 {"full_attention", '*'}, {"mlp", '-'},              {"moe", 'E'}};
    const char *pattern = kp_hf_text(keys, "hybrid_override_pattern");
    if (pattern) return pattern[i];
    const json_t *list = kp_hf_find(keys, "layers_block_type");
    for (size_t k = 0; k < KP_LEN(words); k++)
        if (kp_hf_entry_is(list, i, words[k].word)) return words[k].letter;
    return 0;
}

static kp_status check_letters(const kp_hf_keys *keys, int64_t L)
{
    const char *pattern = kp_hf_text(keys, "hybrid_override_pattern");
    const json_t *list = kp_hf_find(keys, "layers_block_type");
    if (pattern ? strlen(pattern) == (size_t)L : json_array_size(list) == (size_t)L) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'%s' does not have one entry for each of %lld layers",
                   list && !pattern ? "layers_block_type" : "hybrid_override_pattern", (long long)L);
}

static kp_status lettered_layer(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                                const kp_layer_cfg *mamba, int64_t i, kp_hf_block *b)
{
    char letter = letter_of(keys, i);
    b->attn_name = b->mlp_name = "mixer";
    if (letter == 'M')
        *b = (kp_hf_block){.attn = mamba, .attn_row = kp_hf_row("StateMixer"),
                           .attn_name = "mixer"};
    else if (letter == '*') b->mlp = NULL;
    else if (letter == '-') {
        b->attn = NULL;
        b->mlp_row = kp_hf_row("MLP");
        return kp_hf_mlp_cfg(reader, &arch->mlp, &b->mlp);
    } else if (letter != 'E') {
        return kp_fail(keys->err, KP_INPUT, "layer %lld is of no known kind: mamba (M), attention (*), "
                       "mlp (-) or moe (E)", (long long)i);
    } else if (b->mlp_row == kp_hf_row("MLP")) {
        return kp_fail(keys->err, KP_INPUT, "'n_routed_experts' is missing, layer %lld has experts",
                       (long long)i);
    } else b->attn = NULL;
    return KP_OK;
}

static kp_status lettered_layers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                                 kp_hf_block *blocks)
{
    const kp_layer_cfg *mamba = NULL;
    bool some = false;
    KP_TRY(check_letters(keys, arch->L));
    for (int64_t i = 0; i < arch->L; i++) some = some || letter_of(keys, i) == 'M';
    if (some) KP_TRY(read_mamba(reader, keys, &mamba));
    for (int64_t i = 0; i < arch->L; i++)
        KP_TRY(lettered_layer(reader, keys, arch, mamba, i, &blocks[i]));
    return KP_OK;
}

/* ---- DeciLM (Llama-Nemotron): each layer has its own heads and width ---- */

/* What replaced a layer may be nothing, or one product. */
static kp_status replaced(const kp_hf_keys *keys, const json_t *json, int64_t i, bool *ret_none)
{
    *ret_none = json_is_true(json_object_get(json, "no_op"));
    if (!json_is_true(json_object_get(json, "replace_with_linear"))) return KP_OK;
    return kp_fail(keys->err, KP_UNSUPPORTED, "'block_configs' layer %lld is one product instead of "
                   "a layer", (long long)i);
}

/* 2/3 of ffn_mult hidden widths for each of two products, in multiples of 256. */
static int64_t deci_width(double mult, int64_t h)
{
    int64_t width = (int64_t)(2 * mult * (double)h / 3);
    return (width + 255) / 256 * 256;
}

static kp_status deci_layer(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                            int64_t i, kp_hf_block *b)
{
    const json_t *json = json_array_get(kp_hf_find(keys, "block_configs"), (size_t)i);
    const json_t *attention = json_object_get(json, "attention"), *ffn = json_object_get(json, "ffn");
    kp_hf_keys inner = {.json = attention, .err = keys->err}, wide = {.json = ffn, .err = keys->err};
    kp_hf_attn a = arch->attn;
    kp_hf_mlp m = arch->mlp;
    int64_t group;
    double mult;
    bool no_attention, no_ffn;
    KP_TRY(replaced(keys, attention, i, &no_attention));
    KP_TRY(replaced(keys, ffn, i, &no_ffn));
    if (no_attention) b->attn = NULL;
    else {
        KP_TRY(kp_hf_need(&inner, "n_heads_in_group", &group));
        if (a.H % group)
            return kp_fail(keys->err, KP_INPUT, "'n_heads_in_group' of layer %lld is %lld, which does "
                           "not divide %lld heads", (long long)i, (long long)group, (long long)a.H);
        a.K = a.H / group;
        KP_TRY(kp_hf_attn_cfg(reader, &a, &b->attn));
    }
    if (no_ffn) b->mlp = NULL;
    else {
        KP_TRY(kp_hf_num(&wide, "ffn_mult", 0, &mult));
        if (!(mult > 0 && mult < 1000))
            return kp_fail(keys->err, KP_INPUT, "'ffn_mult' of layer %lld is out of range", (long long)i);
        m.I = deci_width(mult, arch->h);
        KP_TRY(kp_hf_mlp_cfg(reader, &m, &b->mlp));
    }
    return KP_OK;
}

static kp_status deci_layers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                             kp_hf_block *blocks)
{
    const json_t *list;
    KP_TRY(kp_hf_layer_list(keys, "block_configs", arch->L, &list));
    if (!list) return kp_fail(keys->err, KP_INPUT, "'block_configs' is missing");
    for (int64_t i = 0; i < arch->L; i++)
        KP_TRY(deci_layer(reader, keys, arch, i, &blocks[i]));
    return KP_OK;
}

/* ---- MiMo-V2: a sliding window with heads of its own and learned sinks ---- */

static kp_status windowed_layers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                                 kp_hf_block *blocks)
{
    kp_hf_attn full = arch->attn, near = arch->attn;
    const kp_layer_cfg *cfg[2];
    const json_t *pattern;
    KP_TRY(kp_hf_layer_list(keys, "hybrid_layer_pattern", arch->L, &pattern));
    if (!pattern) return kp_fail(keys->err, KP_INPUT, "'hybrid_layer_pattern' is missing");
    KP_TRY(kp_hf_int(keys, "v_head_dim", 1, full.dk, &full.dv));
    KP_TRY(kp_hf_int(keys, "swa_num_attention_heads", 1, full.H, &near.H));
    KP_TRY(kp_hf_int(keys, "swa_num_key_value_heads", 1, full.K, &near.K));
    KP_TRY(kp_hf_int(keys, "swa_head_dim", 1, full.dk, &near.dk));
    KP_TRY(kp_hf_int(keys, "swa_v_head_dim", 1, full.dv, &near.dv));
    KP_TRY(kp_hf_int(keys, "sliding_window", 1, 0, &near.window));
    KP_TRY(kp_hf_bool(keys, "add_full_attention_sink_bias", false, &full.sinks));
    KP_TRY(kp_hf_bool(keys, "add_swa_attention_sink_bias", false, &near.sinks));
    if (near.H % near.K)
        return kp_fail(keys->err, KP_INPUT, "'swa_num_key_value_heads' is %lld, which does not divide "
                       "%lld heads", (long long)near.K, (long long)near.H);
    KP_TRY(kp_hf_attn_cfg(reader, &full, &cfg[0]));
    KP_TRY(kp_hf_attn_cfg(reader, &near, &cfg[1]));
    for (int64_t i = 0; i < arch->L; i++)
        blocks[i].attn = cfg[json_integer_value(json_array_get(pattern, (size_t)i)) != 0];
    return KP_OK;
}

/* ---- Gemma 4: full attention with wider heads, fewer of keys, values that are the keys ---- */

static kp_status global_layers(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                               kp_hf_block *blocks)
{
    kp_hf_attn full = arch->attn, near = arch->attn;
    const kp_layer_cfg *cfg[2];
    const json_t *types;
    int64_t narrow, shared;
    KP_TRY(kp_hf_layer_list(keys, "layer_types", arch->L, &types));
    KP_TRY(kp_hf_int(keys, "hidden_size_per_layer_input", 0, 0, &narrow));
    KP_TRY(kp_hf_int(keys, "num_kv_shared_layers", 0, 0, &shared));
    if (!types) return kp_fail(keys->err, KP_INPUT, "'layer_types' is missing");
    if (narrow || shared)
        return kp_fail(keys->err, KP_UNSUPPORTED, "'%s' is not known: embeddings of each layer and "
                       "shared keys have no rule", narrow ? "hidden_size_per_layer_input"
                                                          : "num_kv_shared_layers");
    KP_TRY(kp_hf_int(keys, "global_head_dim", 1, full.dk, &full.dk));
    KP_TRY(kp_hf_bool(keys, "attention_k_eq_v", false, &full.shares_kv));
    if (full.shares_kv) KP_TRY(kp_hf_int(keys, "num_global_key_value_heads", 1, full.K, &full.K));
    KP_TRY(kp_hf_int(keys, "sliding_window", 1, 0, &near.window));
    full.dv = full.dk;
    if (full.H % full.K)
        return kp_fail(keys->err, KP_INPUT, "'num_global_key_value_heads' is %lld, which does not "
                       "divide %lld heads", (long long)full.K, (long long)full.H);
    KP_TRY(kp_hf_attn_cfg(reader, &full, &cfg[0]));
    KP_TRY(kp_hf_attn_cfg(reader, &near, &cfg[1]));
    for (int64_t i = 0; i < arch->L; i++) blocks[i].attn = cfg[!kp_hf_entry_is(types, i, "full_attention")];
    return KP_OK;
}

/* ---- which of them ---- */

kp_status kp_hf_hybrid(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *arch,
                       kp_hf_block *blocks)
{
    static const struct {
        const char *model_type;
        kp_hf_change_fn *change;
    } rows[] = {
        {"deepseek_ref", kp_hf_compressed_layers},
        {"deepseek_v4", kp_hf_compressed_layers},
        {"gemma4_text", global_layers},
        {"glm_moe_dsa", kp_hf_shared_indexers},
        {"mimo_v2_flash", windowed_layers},
        {"minimax_m3", kp_hf_block_indexers},
        {"minimax_m3_vl_text", kp_hf_block_indexers},
        {"nemotron-nas", deci_layers},    {"nemotron_h", lettered_layers},
        {"qwen3_5_moe_text", delta_layers}, {"qwen3_5_text", delta_layers},
        {"qwen3_next", delta_layers},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++)
        if (!strcmp(arch->family->model_type, rows[i].model_type))
            return rows[i].change(reader, keys, arch, blocks);
    return KP_OK;
}
