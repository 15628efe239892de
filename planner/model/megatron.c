/* SPDX-License-Identifier: MIT
 *
 * Megatron-LM's arguments as a model: a JSON object of them, with dashes or underscores, values as
 * numbers or texts. GPT models of megatron/core: dense, with experts, with latent attention; BERT and
 * T5 are in megatron_encoders.c, what the arguments say of a run in megatron_launch.c.
 * Parameters are those of a whole model before it is cut. Source: megatron/training/arguments.py,
 * megatron/core/models/gpt/gpt_layer_specs.py. */
#include "planner/model/hf_blocks.h"
#include "planner/model/megatron.h"
#include <math.h>

static const kp_hf_names names = {
    .embed = "embedding.word_embeddings", .positions = "embedding.position_embeddings",
    .block = "decoder.layers", .final_norm = "decoder.final_layernorm", .head = "output_layer",
    .norm1 = "input_layernorm", .attn = "self_attention", .qkv = "linear_qkv", .o = "linear_proj",
    .q_norm = "q_layernorm", .k_norm = "k_layernorm", .norm2 = "pre_mlp_layernorm", .mlp = "mlp",
    .gate_up = "linear_fc1", .up = "linear_fc1", .down = "linear_fc2", .router = "router",
    .experts = "experts", .expert_up = "linear_fc1", .expert_down = "linear_fc2",
    .shared = "shared_experts", .shared_gate = "shared_experts.gate", .q = "linear_q_proj",
    .q_down = "linear_q_down_proj", .q_down_norm = "q_layernorm", .q_up = "linear_q_up_proj",
    .kv_down = "linear_kv_down_proj", .kv_down_norm = "kv_layernorm", .kv_up = "linear_kv_up_proj",
};
static const kp_hf_names encoder_names = {
    .embed = "embedding.word_embeddings", .positions = "embedding.position_embeddings",
    .types = "embedding.tokentype_embeddings", .block = "encoder.layers",
    .final_norm = "encoder.final_layernorm", .head = "output_layer", .norm1 = "input_layernorm",
    .attn = "self_attention", .qkv = "linear_qkv", .o = "linear_proj", .q_norm = "q_layernorm",
    .k_norm = "k_layernorm", .norm2 = "pre_mlp_layernorm", .mlp = "mlp", .gate_up = "linear_fc1",
    .up = "linear_fc1", .down = "linear_fc2",
};
static const kp_hf_family family = {.model_type = "gpt", .kind = KP_HF_DECODER, .names = &names,
                                    .block_class = "TransformerLayer", .act = "gelu"};

bool kp_megatron_is(const json_t *json)
{
    static const char *const own[] = {
        "seq_length|ffn_hidden_size|padded_vocab_size|make_vocab_size_divisible_by|swiglu",
        "tensor_model_parallel_size|pipeline_model_parallel_size|micro_batch_size|global_batch_size",
        "num_query_groups|position_embedding_type|untie_embeddings_and_output_weights|tokenizer_type",
        "moe_router_topk|group_query_attention|disable_bias_linear|normalization",
    };
    kp_err err;
    kp_hf_keys keys = {.json = json, .err = &err, .loose = true};
    if (json_object_get(json, "model_type") || json_object_get(json, "architectures")) return false;
    if (json_object_get(json, "num-layers") || json_object_get(json, "hidden-size") ||
        json_object_get(json, "encoder-num-layers") ||
        json_object_get(json, "--num-layers"))
        return true;
    for (size_t i = 0; i < KP_LEN(own); i++)
        if (kp_hf_find(&keys, own[i]) && kp_hf_find(&keys, "num_layers|hidden_size|encoder_num_layers")) return true;
    return false;
}

/* Options that make another model than these rules know. */
static kp_status refuse_others(const kp_hf_keys *keys)
{
    static const struct {
        const char *names, *what;
    } others[] = {
        {"hybrid_layer_pattern|hybrid_override_pattern|is_hybrid_model", "layers with a state (Mamba)"},
        {"img_h|img_w|vision_backbone_type", "a vision model"},
        {"mtp_num_layers", "layers that predict further tokens"},
        {"heterogeneous_layers_config_path|heterogeneous_layers_config_encoded_json",
         "layers that differ"},
    };
    for (size_t i = 0; i < KP_LEN(others); i++) {
        const json_t *json = kp_hf_find(keys, others[i].names);
        if (!json || json_is_false(json) || (json_is_integer(json) && !json_integer_value(json)))
            continue;
        kp_fail(keys->err, KP_UNSUPPORTED, "'%.*s' makes %s of it, only GPT, BERT and T5 are known",
                (int)strcspn(others[i].names, "|"), others[i].names, others[i].what);
        kp_hint(keys->err, "a Hugging Face config.json of the model may be readable");
        return KP_UNSUPPORTED;
    }
    return KP_OK;
}

/* The tokenizers whose size Megatron reads from a file that is always the same. */
static int64_t tokenizer_size(const char *type)
{
    static const struct {
        const char *type;
        int64_t size;
    } known[] = {
        {"GPT2BPETokenizer", 50257}, {"BertWordPieceLowerCase", 30522},
        {"BertWordPieceCase", 28996}, {"Llama2Tokenizer", 32000},
    };
    for (size_t i = 0; type && i < KP_LEN(known); i++)
        if (!strcmp(type, known[i].type)) return known[i].size;
    return 0;
}

/* Rows of the table: the words rounded up to a multiple that tensor parallelism divides. */
static kp_status read_vocabulary(const kp_hf_keys *keys, kp_hf_arch *ret)
{
    int64_t multiple, tp, padded, extra;
    KP_TRY(kp_hf_int(keys, "padded_vocab_size", 1, 0, &padded));
    int64_t known = tokenizer_size(kp_hf_text(keys, "tokenizer_type"));
    KP_TRY(kp_hf_int(keys, "vocab_size", 1, known, &ret->V));
    KP_TRY(kp_hf_int(keys, "make_vocab_size_divisible_by", 1, 128, &multiple));
    KP_TRY(kp_hf_int(keys, "tensor_model_parallel_size", 1, 1, &tp));
    KP_TRY(kp_hf_int(keys, "vocab_extra_ids", 0, 0, &extra));
    ret->V = ret->V > 0 ? ret->V + extra : 0;
    ret->rows = padded;
    if (padded) return KP_OK;
    if (!ret->V) {
        kp_fail(keys->err, KP_INPUT, "'padded_vocab_size' is missing");
        kp_hint(keys->err, "say it, or 'vocab-size' and 'make-vocab-size-divisible-by'");
        return KP_INPUT;
    }
    multiple = kp_dim_mul(multiple, tp);
    ret->rows = (ret->V + multiple - 1) / multiple * multiple;
    return KP_OK;
}

static kp_status read_positions(const kp_hf_keys *keys, int64_t seq, kp_hf_arch *ret)
{
    const char *type = kp_hf_text(keys, "position_embedding_type");
    bool rotary;
    KP_TRY(kp_hf_bool(keys, "use_rotary_position_embeddings", false, &rotary));
    if (!type) type = rotary ? "rope" : "learned_absolute";
    ret->attn.rotary = !strcmp(type, "rope") || !strcmp(type, "yarn") || !strcmp(type, "mrope");
    if (strcmp(type, "learned_absolute") && strcmp(type, "none") && strcmp(type, "nope") &&
        !ret->attn.rotary)
        return kp_fail(keys->err, KP_UNSUPPORTED, "'position_embedding_type' '%.40s' is not known",
                       type);
    ret->learned_positions = !strcmp(type, "learned_absolute");
    if (!ret->learned_positions) return KP_OK;
    KP_TRY(kp_hf_int(keys, "max_position_embeddings", 1, seq > 0 ? seq : 0, &ret->P));
    ret->pos_rows = ret->P;
    return ret->P ? KP_OK : kp_fail(keys->err, KP_INPUT, "'max_position_embeddings' is missing");
}

/* "--multi-latent-attention": queries and keys out of low ranks, with norms only if asked. */
static kp_status read_latent(const kp_hf_keys *keys, bool norms, kp_hf_attn *a)
{
    bool on;
    int64_t nope;
    KP_TRY(kp_hf_bool(keys, "multi_latent_attention", false, &on));
    if (!on) return KP_OK;
    KP_TRY(kp_hf_int(keys, "q_lora_rank", 1, 0, &a->q_rank));
    KP_TRY(kp_hf_int(keys, "kv_lora_rank", 1, 32, &a->kv_rank));
    KP_TRY(kp_hf_int(keys, "qk_head_dim", 1, 128, &nope));
    KP_TRY(kp_hf_int(keys, "qk_pos_emb_head_dim", 1, 64, &a->rope));
    KP_TRY(kp_hf_int(keys, "v_head_dim", 1, 128, &a->dv));
    a->dk = nope + a->rope;
    a->K = a->H;
    a->low_norms = norms;
    a->q_bias = a->k_bias = a->v_bias = false;
    a->qk_norm = KP_HF_QK_NONE;
    return KP_OK;
}

static kp_status read_heads(const kp_hf_keys *keys, int64_t h, kp_hf_attn *a)
{
    bool grouped = kp_hf_find(keys, "num_query_groups") != NULL;
    KP_TRY(kp_hf_need(keys, "num_attention_heads", &a->H));
    KP_TRY(kp_hf_bool(keys, "group_query_attention", grouped, &grouped));
    KP_TRY(kp_hf_int(keys, "num_query_groups", 1, 1, &a->K));
    if (!grouped) a->K = a->H;
    KP_TRY(kp_hf_int(keys, "kv_channels", 1, 0, &a->dk));
    if (!a->dk && h % a->H)
        return kp_fail(keys->err, KP_INPUT, "'num_attention_heads' is %lld, which does not divide a "
                       "hidden size of %lld", (long long)a->H, (long long)h);
    if (a->H % a->K)
        return kp_fail(keys->err, KP_INPUT, "'num_query_groups' is %lld, which does not divide the "
                       "%lld attention heads", (long long)a->K, (long long)a->H);
    if (!a->dk) a->dk = h / a->H;
    a->dv = a->dk;
    return KP_OK;
}

static kp_status read_attention(const kp_hf_keys *keys, bool bias, kp_hf_arch *ret)
{
    kp_hf_attn *a = &ret->attn;
    bool norms;
    a->names = &names;
    a->o_bias = bias;
    KP_TRY(kp_hf_bool(keys, "add_qkv_bias", bias, &a->q_bias));
    if (bias) a->q_bias = true;
    a->k_bias = a->v_bias = a->q_bias;
    KP_TRY(kp_hf_bool(keys, "qk_layernorm", false, &norms));
    if (norms) a->qk_norm = KP_HF_QK_HEAD;
    a->qk_norm_kind = ret->norm;
    KP_TRY(kp_hf_num(keys, "attention_dropout", .1, &a->dropout));
    KP_TRY(kp_hf_num(keys, "hidden_dropout", .1, &a->out_dropout));
    ret->embed_dropout = ret->mlp.dropout = a->out_dropout;
    KP_TRY(read_heads(keys, ret->h, a));
    return read_latent(keys, norms, a);
}

/* swiglu keeps the size of a plain MLP: 2/3 of it, in multiples of 64. */
static kp_status read_mlp(const kp_hf_keys *keys, bool bias, kp_hf_arch *ret)
{
    kp_hf_mlp *m = &ret->mlp;
    bool squared, quick;
    m->names = &names;
    m->up_bias = m->down_bias = bias;
    KP_TRY(kp_hf_bool(keys, "swiglu", false, &m->gated));
    KP_TRY(kp_hf_bool(keys, "squared_relu", false, &squared));
    KP_TRY(kp_hf_bool(keys, "quick_geglu", false, &quick));
    m->act = m->gated ? KP_ACT_SILU : squared ? KP_ACT_OTHER : KP_ACT_GELU;
    m->gated |= quick;
    int64_t plain = kp_dim_mul(4, ret->h);
    return kp_hf_int(keys, "ffn_hidden_size", 1, m->gated ? plain * 2 / 3 / 64 * 64 : plain, &m->I);
}

static kp_status read_experts(const kp_hf_keys *keys, bool bias, kp_hf_arch *ret, kp_hf_mlp *m)
{
    *m = ret->mlp;
    KP_TRY(kp_hf_int(keys, "num_experts", 1, 0, &m->E));
    if (!m->E) return KP_OK;
    KP_TRY(kp_hf_int(keys, "moe_router_topk", 1, 2, &m->top_k));
    KP_TRY(kp_hf_int(keys, "moe_ffn_hidden_size", 1, m->I, &m->I));
    KP_TRY(kp_hf_int(keys, "moe_shared_expert_intermediate_size", 1, 0, &m->shared_I));
    KP_TRY(kp_hf_int(keys, "moe_latent_size", 1, 0, &m->latent));
    KP_TRY(kp_hf_bool(keys, "moe_shared_expert_gate", false, &m->shared_gate));
    const char *score = kp_hf_text(keys, "moe_router_score_function");
    m->sigmoid = score && !strcmp(score, "sigmoid");
    m->expert_bias = bias;
    m->weighs_inside = true;
    if (m->top_k <= m->E) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'moe_router_topk' is %lld of %lld experts",
                   (long long)m->top_k, (long long)m->E);
}

static kp_status make_blocks(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_mlp *moe,
                             kp_hf_arch *arch)
{
    kp_hf_block *blocks;
    const kp_layer_cfg *cfg;
    uint8_t *sparse;
    KP_TRY(kp_hf_blocks_alike(reader, arch, &blocks));
    arch->blocks = blocks;
    if (!moe->E) return KP_OK;
    KP_TRY(kp_hf_mlp_cfg(reader, moe, &cfg));
    KP_TRY(kp_megatron_sparse(reader, keys, arch->L, &sparse));
    for (int64_t i = 0; i < arch->L; i++) {
        if (!sparse[i]) continue;
        blocks[i].mlp = cfg;
        blocks[i].mlp_row = kp_hf_row("MixtureOfExperts");
    }
    return KP_OK;
}

/* ---- all of it ---- */

typedef enum kind { GPT, BERT, T5 } kind;

/* The scripts that train them read the same arguments; what only one of them reads tells. */
static kp_status read_kind(const kp_hf_keys *keys, kind *ret)
{
    static const char *const kinds[] = {[GPT] = "gpt", [BERT] = "bert", [T5] = "t5"};
    const char *name = kp_hf_text(keys, "model_name"), *words = kp_hf_text(keys, "tokenizer_type");
    *ret = GPT;
    if (kp_hf_find(keys, "encoder_num_layers|decoder_num_layers")) *ret = T5;
    else if (kp_hf_find(keys, "bert_no_binary_head") || (words && !strncmp(words, "Bert", 4)))
        *ret = BERT;
    if (!name) return KP_OK;
    for (size_t i = 0; i < KP_LEN(kinds); i++) {
        *ret = (kind)i;
        if (!strcmp(kinds[i], name)) return KP_OK;
    }
    kp_fail(keys->err, KP_UNSUPPORTED, "'model_name' '%.40s' is no model of Megatron's", name);
    kp_hint(keys->err, "known are gpt, bert and t5");
    return KP_UNSUPPORTED;
}

static kp_status read_policy(const kp_reader *reader, const kp_hf_keys *keys, kp_policy *ret)
{
    bool bf16, fp16;
    KP_TRY(kp_hf_bool(keys, "bf16", false, &bf16));
    KP_TRY(kp_hf_bool(keys, "fp16", false, &fp16));
    const char *name = bf16 ? "bfloat16" : fp16 ? "float16" : "float32";
    kp_policy_from_name(reader->policy ? reader->policy : name, ret);
    return KP_OK;
}

static kp_status read_sizes(const kp_hf_keys *keys, kp_hf_arch *ret)
{
    const char *norm = kp_hf_text(keys, "normalization");
    bool untied;
    KP_TRY(kp_hf_need(keys, "hidden_size", &ret->h));
    KP_TRY(kp_hf_need(keys, "num_layers|encoder_num_layers", &ret->L));
    if (ret->L > KP_HF_LAYERS_MAX)
        return kp_fail(keys->err, KP_INPUT, "'num_layers' is %lld, more than %d", (long long)ret->L,
                       KP_HF_LAYERS_MAX);
    ret->embed_width = ret->h;
    ret->norm = (kp_hf_norm){norm && !strcmp(norm, "RMSNorm"), true, true};
    ret->norm.bias = !ret->norm.rms;
    KP_TRY(kp_hf_bool(keys, "untie_embeddings_and_output_weights", false, &untied));
    ret->tied = !untied;
    return read_vocabulary(keys, ret);
}

kp_status kp_megatron_read(kp_reader *reader, json_t *json, kp_spec *ret)
{
    kp_hf_keys keys = {.json = json, .err = reader->err, .loose = true};
    kp_hf_arch arch = {.family = &family, .names = &names, .block_class = family.block_class,
                       .final_norm = true};
    kp_hf_mlp moe;
    int64_t seq;
    bool no_bias, half_loss;
    kind which;
    KP_TRY(refuse_others(&keys));
    KP_TRY(read_kind(&keys, &which));
    if (which != GPT) arch.names = &encoder_names;
    if (which == BERT) arch.types = 2;
    KP_TRY(read_policy(reader, &keys, &arch.policy));
    KP_TRY(read_sizes(&keys, &arch));
    KP_TRY(kp_hf_int(&keys, "seq_length|encoder_seq_length", 1, KP_DIM_OPEN, &seq));
    KP_TRY(read_positions(&keys, seq, &arch));
    KP_TRY(kp_hf_bool(&keys, "disable_bias_linear", false, &no_bias));
    KP_TRY(read_attention(&keys, !no_bias, &arch));
    KP_TRY(read_mlp(&keys, !no_bias, &arch));
    KP_TRY(read_experts(&keys, !no_bias, &arch, &moe));
    KP_TRY(make_blocks(reader, &keys, &moe, &arch));
    KP_TRY(kp_hf_bool(&keys, "fp16_lm_cross_entropy", false, &half_loss));
    KP_TRY(kp_megatron_oplan(reader, &keys, &ret->oplan));
    if (ret->oplan) arch.tied = false; /* its first and last operation have a table each */
    int64_t blocks = arch.L, more = 0;
    if (which == T5) KP_TRY(kp_megatron_decoder_blocks(&keys, arch.L, &more));
    KP_TRY(kp_megatron_launch(reader, &keys, blocks + more, &ret->launch));
    ret->format = KP_FORMAT_MEGATRON;
    ret->compile = (kp_compile){.learning_rate = (double)NAN,
                                .loss = "sparse_categorical_crossentropy",
                                .optimizer = ret->launch->optimizer,
                                .half_loss = half_loss};
    return which == BERT ? kp_megatron_bert(reader, &keys, &arch, seq, ret)
           : which == T5 ? kp_megatron_t5(reader, &keys, &arch, seq, ret)
                         : kp_hf_decoder(reader, &arch, seq, ret);
}
