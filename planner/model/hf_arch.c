/* SPDX-License-Identifier: MIT
 *
 * A config's numbers to an architecture, each checked: what does not divide, is missing or absurd
 * is refused by its key. */
#include "planner/model/hf_blocks.h"

static kp_status read_heads(const kp_hf_keys *keys, uint32_t traits, int64_t h, kp_hf_attn *ret)
{
    bool multi = traits & KP_HF_MULTI_QUERY;
    int64_t wide = 0;
    KP_TRY(kp_hf_need(keys, "num_attention_heads|n_head|num_heads|n_heads", &ret->H));
    KP_TRY(kp_hf_bool(keys, "multi_query|multi_query_attention", multi, &multi));
    bool grouped = kp_hf_find(keys, "num_key_value_heads|n_head_kv|num_kv_heads") != NULL;
    KP_TRY(kp_hf_int(keys, "num_key_value_heads|n_head_kv|num_kv_heads|multi_query_group_num", 1,
                     1, &ret->K));
    if (!grouped && !multi) ret->K = ret->H;
    if (traits & KP_HF_WIDE_HEADS) wide = 256;
    KP_TRY(kp_hf_int(keys, "head_dim|kv_channels|attention_head_dim", 1, wide, &ret->dk));
    if (ret->H % ret->K)
        return kp_fail(keys->err, KP_INPUT, "'num_key_value_heads' is %lld, which does not divide "
                       "the %lld attention heads", (long long)ret->K, (long long)ret->H);
    if (!ret->dk && h % ret->H && !kp_hf_find(keys, "kv_lora_rank"))
        return kp_fail(keys->err, KP_INPUT, "'num_attention_heads' is %lld, which does not divide "
                       "a hidden size of %lld", (long long)ret->H, (long long)h);
    if (!ret->dk) ret->dk = h / ret->H;
    ret->dv = ret->dk;
    return KP_OK;
}

/* Which products have a bias. "use_bias" speaks for all, "attention_bias" for attention's. */
static kp_status read_biases(const kp_hf_keys *keys, uint32_t traits, kp_hf_arch *ret)
{
    kp_hf_attn *a = &ret->attn;
    kp_hf_mlp *m = &ret->mlp;
    bool qkv = traits & KP_HF_QKV_BIAS, o = traits & KP_HF_O_BIAS, mlp = traits & KP_HF_MLP_BIAS;
    bool all = false, attention = qkv;
    if (kp_hf_find(keys, "use_bias|bias")) {
        KP_TRY(kp_hf_bool(keys, "use_bias|bias", all, &all));
        qkv = attention = o = mlp = all;
    }
    if (kp_hf_find(keys, "add_bias_linear")) {
        KP_TRY(kp_hf_bool(keys, "add_bias_linear", false, &o));
        mlp = o;
    }
    KP_TRY(kp_hf_bool(keys, "attention_bias|use_qkv_bias|add_qkv_bias|qkv_bias", attention,
                      &attention));
    if (attention && !qkv) o = !(traits & KP_HF_QKV_ONLY);
    if (kp_hf_find(keys, "attention_bias") && !attention) qkv = o = false;
    KP_TRY(kp_hf_bool(keys, "mlp_bias", mlp, &mlp));
    a->q_bias = a->k_bias = a->v_bias = qkv || attention;
    a->o_bias = o;
    m->up_bias = m->down_bias = mlp;
    return KP_OK;
}

static kp_status read_attention(const kp_hf_keys *keys, uint32_t traits, kp_hf_arch *ret)
{
    kp_hf_attn *a = &ret->attn;
    bool norm;
    a->names = ret->names;
    a->in_out = traits & KP_HF_IN_OUT;
    a->rotary = traits & KP_HF_ROTARY;
    a->out_gate = traits & KP_HF_OUT_GATE;
    a->sinks = traits & KP_HF_SINKS;
    a->qk_norm_kind = (kp_hf_norm){.rms = ret->norm.rms, .scale = true};
    KP_TRY(kp_hf_bool(keys, "use_qk_norm|qk_layernorm",
                      traits & (KP_HF_QK_NORM | KP_HF_QK_NORM_ALL), &norm));
    if (norm && ret->names->q_norm) a->qk_norm = traits & KP_HF_QK_NORM_ALL ? KP_HF_QK_ALL : KP_HF_QK_HEAD;
    KP_TRY(kp_hf_num(keys, "attention_dropout|attention_probs_dropout_prob|attn_pdrop", 0,
                     &a->dropout));
    KP_TRY(kp_hf_num(keys, "hidden_dropout_prob|resid_pdrop|hidden_dropout|residual_dropout|"
                           "dropout", 0, &a->out_dropout));
    ret->mlp.dropout = a->out_dropout;
    KP_TRY(kp_hf_num(keys, "embd_pdrop|embedding_dropout", 0, &ret->embed_dropout));
    return read_heads(keys, traits, ret->h, a);
}

/* DeepSeek's low-rank queries and keys. */
static kp_status read_latent(const kp_hf_keys *keys, kp_hf_attn *a)
{
    int64_t nope;
    if (!a->names->kv_down) return KP_OK;
    KP_TRY(kp_hf_int(keys, "kv_lora_rank", 1, 0, &a->kv_rank));
    if (!a->kv_rank) return KP_OK;
    KP_TRY(kp_hf_int(keys, "q_lora_rank", 1, 0, &a->q_rank));
    KP_TRY(kp_hf_need(keys, "qk_nope_head_dim", &nope));
    KP_TRY(kp_hf_need(keys, "qk_rope_head_dim", &a->rope));
    KP_TRY(kp_hf_need(keys, "v_head_dim", &a->dv));
    KP_TRY(kp_hf_int(keys, "index_n_heads", 1, 0, &a->index_heads));
    if (a->index_heads) KP_TRY(kp_hf_need(keys, "index_head_dim", &a->index_dim));
    a->dk = nope + a->rope;
    a->K = a->H;
    a->low_norms = true;
    return KP_OK;
}

kp_status kp_hf_experts_read(const kp_hf_keys *keys, uint32_t traits, kp_hf_mlp *m)
{
    int64_t shared, n;
    KP_TRY(kp_hf_need(keys, "num_local_experts|num_experts|n_routed_experts", &m->E));
    KP_TRY(kp_hf_need(keys, "num_experts_per_tok|num_experts_per_token|experts_per_token|"
                            "top_k_experts", &m->top_k));
    if (m->top_k > m->E)
        return kp_fail(keys->err, KP_INPUT, "'num_experts_per_tok' is %lld of %lld experts",
                       (long long)m->top_k, (long long)m->E);
    KP_TRY(kp_hf_int(keys, "n_shared_experts|num_shared_experts", 0, 0, &n));
    KP_TRY(kp_hf_int(keys, "shared_expert_intermediate_size|moe_shared_expert_intermediate_size|"
                           "shared_intermediate_size", 0, 0, &shared));
    if (traits & KP_HF_ONE_SHARED) n = 1;
    m->shared_I = shared ? shared : kp_dim_mul(n, m->I);
    KP_TRY(kp_hf_int(keys, "moe_latent_size", 1, 0, &m->latent));
    m->beside = traits & KP_HF_BESIDE;
    if (m->beside) KP_TRY(kp_hf_need(keys, "intermediate_size", &m->shared_I));
    m->shared_gate = m->shared_I && m->names->shared_gate;
    m->correction = traits & KP_HF_CORRECTION;
    m->sigmoid = m->correction;
    m->expert_bias = m->router_bias = traits & KP_HF_EXPERT_BIAS;
    return KP_OK;
}

static kp_status read_mlp(const kp_hf_keys *keys, uint32_t traits, const char *act, kp_hf_arch *ret)
{
    kp_hf_mlp *m = &ret->mlp;
    m->names = ret->names;
    m->in_out = traits & KP_HF_IN_OUT;
    m->gated = traits & KP_HF_GATED;
    m->open = !ret->names->mlp;
    static const char *const keys_of_I = "intermediate_size|n_inner|ffn_dim|ffn_hidden_size|hidden_dim";
    bool elsewhere = kp_hf_find(keys, "block_configs") ||
                     (traits & KP_HF_MOE && kp_hf_find(keys, "moe_intermediate_size"));
    if (m->gated && !elsewhere) KP_TRY(kp_hf_need(keys, keys_of_I, &m->I));
    else KP_TRY(kp_hf_int(keys, keys_of_I, 1, kp_dim_mul(4, ret->h), &m->I));
    ret->expert_I = m->I;
    KP_TRY(kp_hf_int(keys, "intermediate_size_mlp|dense_intermediate_size", 1, m->I,
                     &m->I)); /* of dense layers: Llama 4, MiniMax-M3 */
    if (traits & KP_HF_HALF_FFN) m->I /= 2;
    const char *name = kp_hf_text(keys, "hidden_act|activation_function|hidden_activation|"
                                        "activation|mlp_hidden_act");
    m->act = kp_hf_activation(name ? name : act);
    return KP_OK;
}

/* torch_dtype "bfloat16": weights and arithmetic of that type, unless the user says otherwise. */
void kp_hf_policy_read(const kp_reader *reader, const kp_hf_keys *keys, kp_policy *ret)
{
    const char *dtype = kp_hf_text(keys, "torch_dtype|dtype");
    *ret = (kp_policy){.compute = KP_FLOAT32, .variable = KP_FLOAT32};
    if (reader->policy) kp_policy_from_name(reader->policy, ret);
    else if (dtype && (!strcmp(dtype, "bfloat16") || !strcmp(dtype, "float16")))
        kp_policy_from_name(dtype, ret);
}

/* A list of layers counts them, if the file does not. */
static kp_status read_depth(const kp_hf_keys *keys, int64_t *ret)
{
    static const char *const names = "num_hidden_layers|n_layer|num_layers|n_layers";
    const char *pattern = kp_hf_text(keys, "hybrid_override_pattern");
    const json_t *list = kp_hf_find(keys, "layers_block_type");
    if (kp_hf_find(keys, names)) KP_TRY(kp_hf_need(keys, names, ret));
    else if (pattern && *pattern) *ret = (int64_t)strlen(pattern);
    else if (json_array_size(list)) *ret = (int64_t)json_array_size(list);
    else return kp_hf_need(keys, names, ret);
    if (*ret <= KP_HF_LAYERS_MAX) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'num_hidden_layers' is %lld, more than %d", (long long)*ret,
                   KP_HF_LAYERS_MAX);
}

static kp_status read_sizes(const kp_hf_keys *keys, uint32_t traits, kp_hf_arch *ret)
{
    KP_TRY(kp_hf_need(keys, "hidden_size|n_embd|d_model|dim", &ret->h));
    KP_TRY(read_depth(keys, &ret->L));
    ret->embed_width = ret->h;
    if (ret->family->kind == KP_HF_VISION) return KP_OK;
    bool padded = !kp_hf_find(keys, "vocab_size") && kp_hf_find(keys, "padded_vocab_size");
    KP_TRY(kp_hf_need(keys, padded ? "padded_vocab_size" : "vocab_size", &ret->V));
    ret->rows = ret->V;
    if (traits & KP_HF_LEARNED)
        KP_TRY(kp_hf_need(keys, "max_position_embeddings|n_positions|n_ctx", &ret->P));
    ret->pos_rows = ret->P;
    ret->learned_positions = ret->P > 0;
    /* BertConfig and its kin have 2 where the file does not say (transformers). */
    KP_TRY(kp_hf_int(keys, "type_vocab_size", 0, 2, &ret->types));
    if (!ret->names->types) ret->types = 0;
    KP_TRY(kp_hf_num(keys, "final_logit_softcapping", 0, &ret->softcap));
    return kp_hf_bool(keys, "tie_word_embeddings", traits & KP_HF_TIED, &ret->tied);
}

/* Falcon's later architecture: a norm of its own before attention and MLP. */
static kp_status two_norms(kp_reader *reader, kp_hf_arch *ret)
{
    kp_hf_names *names = KP_NEW(reader->arena, kp_hf_names, 1);
    if (!names) return kp_nomem(reader->err);
    *names = *ret->names;
    names->norm1 = "ln_attn";
    names->norm2 = "ln_mlp";
    ret->names = names;
    ret->order = KP_HF_PARALLEL;
    return KP_OK;
}

/* DeepSeek-V4: streams, one key head, a low-rank output in groups. */
static kp_status read_streams(const kp_hf_keys *keys, kp_hf_arch *ret)
{
    kp_hf_attn *a = &ret->attn;
    KP_TRY(kp_hf_need(keys, "hc_mult", &ret->streams));
    KP_TRY(kp_hf_need(keys, "q_lora_rank", &a->q_rank));
    KP_TRY(kp_hf_need(keys, "o_groups", &a->out_groups));
    KP_TRY(kp_hf_need(keys, "o_lora_rank", &a->out_rank));
    KP_TRY(kp_hf_need(keys, "index_n_heads", &a->index_heads));
    KP_TRY(kp_hf_need(keys, "index_head_dim", &a->index_dim));
    KP_TRY(kp_hf_int(keys, "index_topk", 1, 512, &a->picked));
    KP_TRY(kp_hf_int(keys, "sliding_window", 1, 0, &a->window));
    if (ret->streams > 64)
        return kp_fail(keys->err, KP_INPUT, "'hc_mult' is %lld, more than 64",
                       (long long)ret->streams);
    if (a->H * a->dv % a->out_groups)
        return kp_fail(keys->err, KP_INPUT, "'o_groups' is %lld, which does not divide %lld heads of "
                       "%lld", (long long)a->out_groups, (long long)a->H, (long long)a->dv);
    return KP_OK;
}

/* MPT: positions are a table unless ALiBi stands for them (transformers' port knows no table);
 * no product and no norm has a bias unless the file says so. */
static kp_status read_mpt(const kp_hf_keys *keys, kp_hf_arch *ret)
{
    kp_hf_attn *a = &ret->attn;
    kp_hf_keys inner = *keys;
    bool alibi = false, table, none;
    int64_t ratio;
    inner.json = json_object_get(keys->json, "attn_config");
    if (json_is_object(inner.json)) {
        KP_TRY(kp_hf_bool(&inner, "alibi", false, &alibi));
        KP_TRY(kp_hf_int(&inner, "kv_n_heads", 1, a->K, &a->K));
    }
    if (a->H % a->K)
        return kp_fail(keys->err, KP_INPUT, "'kv_n_heads' is %lld, which does not divide the %lld "
                       "attention heads", (long long)a->K, (long long)a->H);
    KP_TRY(kp_hf_bool(keys, "learned_pos_emb", true, &table));
    if (table && !alibi) KP_TRY(kp_hf_need(keys, "max_seq_len", &ret->P));
    ret->pos_rows = ret->P;
    ret->learned_positions = ret->P > 0;
    KP_TRY(kp_hf_int(keys, "expansion_ratio", 1, 4, &ratio));
    ret->mlp.I = ret->expert_I = kp_dim_mul(ratio, ret->h);
    KP_TRY(kp_hf_bool(keys, "no_bias", true, &none));
    a->q_bias = a->k_bias = a->v_bias = a->o_bias = !none;
    ret->mlp.up_bias = ret->mlp.down_bias = ret->norm.bias = !none;
    return KP_OK;
}

/* What single families say in keys of their own. */
static kp_status read_quirks(kp_reader *reader, const kp_hf_keys *keys, kp_hf_arch *ret)
{
    const char *type = ret->family->model_type;
    bool on;
    if (ret->order == KP_HF_STREAMS) return read_streams(keys, ret);
    if (!strcmp(type, "mpt")) return read_mpt(keys, ret);
    if (!strcmp(type, "opt")) {
        ret->pos_rows = ret->P + 2; /* two rows for padding in front */
        KP_TRY(kp_hf_int(keys, "word_embed_proj_dim", 1, ret->h, &ret->embed_width));
        KP_TRY(kp_hf_bool(keys, "do_layer_norm_before", true, &on));
        if (!on) ret->order = KP_HF_POST;
        ret->final_norm = on;
    }
    if (!strcmp(type, "internlm")) ret->mlp.up_bias = ret->mlp.down_bias = false;
    if (!strcmp(type, "persimmon")) ret->attn.qk_norm_kind.bias = true;
    if (!strcmp(type, "gpt_neox")) {
        KP_TRY(kp_hf_bool(keys, "use_parallel_residual", true, &on));
        if (!on) ret->order = KP_HF_PRE;
    }
    if (!strcmp(type, "stablelm")) {
        KP_TRY(kp_hf_bool(keys, "use_parallel_residual", false, &on));
        if (on) ret->order = KP_HF_TOGETHER;
    }
    if (!strcmp(type, "falcon")) {
        KP_TRY(kp_hf_bool(keys, "new_decoder_architecture", false, &on));
        if (on) return two_norms(reader, ret);
        KP_TRY(kp_hf_bool(keys, "multi_query", true, &on)); /* num_kv_heads is of the later one */
        ret->attn.K = on ? 1 : ret->attn.H;
    }
    return KP_OK;
}

kp_status kp_hf_arch_read(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_family *family,
                          kp_hf_arch *ret)
{
    uint32_t t = family->traits;
    *ret = (kp_hf_arch){.family = family, .names = family->names, .order = family->order,
        .block_class = family->block_class, .final_norm = family->names->final_norm != NULL,
        .norm = {t & KP_HF_RMS, !(t & KP_HF_NO_SCALE), t & KP_HF_NORM_BIAS},
        .head_bias = t & KP_HF_HEAD_BIAS};
    kp_hf_policy_read(reader, keys, &ret->policy);
    KP_TRY(read_sizes(keys, t, ret));
    KP_TRY(read_attention(keys, t, ret));
    KP_TRY(read_mlp(keys, t, family->act, ret));
    KP_TRY(read_biases(keys, t, ret));
    KP_TRY(read_latent(keys, &ret->attn));
    ret->pooler = family->kind == KP_HF_ENCODER && ret->names->head;
    return read_quirks(reader, keys, ret);
}
