/* SPDX-License-Identifier: MIT
 *
 * The architectures: one row a model_type. Names are of the state dict, order of norms and biases
 * as in transformers' modeling file of that type. Adding one is a row, and names if it has its
 * own. */
#include "planner/model/hf.h"

/* clang-format off */
#define LLAMA_TOP   .embed = "model.embed_tokens", .block = "model.layers", .final_norm = "model.norm", .head = "lm_head"
#define LLAMA_ATTN  .attn = "self_attn", .q = "q_proj", .k = "k_proj", .v = "v_proj", .o = "o_proj", .q_norm = "q_norm", .k_norm = "k_norm"
#define LLAMA_NORMS .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm"
#define LOW_RANK    .q_down = "q_a_proj", .q_down_norm = "q_a_layernorm", .q_up = "q_b_proj", .kv_down = "kv_a_proj_with_mqa", \
    .kv_down_norm = "kv_a_layernorm", .kv_up = "kv_b_proj"
#define LLAMA_MLP   .mlp = "mlp", .gate = "gate_proj", .up = "up_proj", .down = "down_proj"
#define EXPERTS(r, e, s) .router = r, .experts = e, .expert_up = "gate_up_proj", .expert_down = "down_proj", .shared = s

static const kp_hf_names llama = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, LLAMA_MLP, LOW_RANK,
    EXPERTS("gate", "experts", "shared_experts"), .correction = "gate.e_score_correction_bias"};
static const kp_hf_names qwen_moe = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, LLAMA_MLP,
    EXPERTS("gate", "experts", "shared_expert"), .shared_gate = "shared_expert_gate"};
static const kp_hf_names mixtral = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, LLAMA_MLP,
    EXPERTS("gate", "experts", "shared_experts"), .correction = "e_score_correction_bias"};
static const kp_hf_names minimax_3 = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, .mlp = "mlp", .gate_up = "gate_up_proj",
    .down = "down_proj", EXPERTS("gate", "experts", "shared_experts"), .correction = "e_score_correction_bias"};
static const kp_hf_names step_3 = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, LLAMA_MLP, .head_gate = "g_proj",
    EXPERTS("gate", "experts", "shared_experts"), .correction = "gate.e_score_correction_bias"};
static const kp_hf_names deepseek_4 = {LLAMA_TOP, LLAMA_NORMS, LLAMA_MLP, .attn = "self_attn", .q_down = "q_a_proj",
    .q_down_norm = "q_a_norm", .q_up = "q_b_proj", .kv_down = "kv_proj", .kv_down_norm = "kv_norm",
    EXPERTS("gate", "experts", "shared_experts"), .correction = "gate.e_score_correction_bias"};
static const kp_hf_names granite_moe = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, .mlp = "block_sparse_moe", .down = "down_proj",
    EXPERTS("router", "experts", "shared_experts")};
static const kp_hf_names phi_moe = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, LLAMA_MLP, EXPERTS("router", "experts", "shared_experts")};
static const kp_hf_names hunyuan = {LLAMA_TOP, LLAMA_NORMS, LLAMA_MLP, .attn = "self_attn", .q = "q_proj", .k = "k_proj", .v = "v_proj",
    .o = "o_proj", .q_norm = "query_layernorm", .k_norm = "key_layernorm"};
static const kp_hf_names internlm_2 = {.embed = "model.tok_embeddings", .block = "model.layers", .final_norm = "model.norm",
    .head = "output", .norm1 = "attention_norm", .norm2 = "ffn_norm", .attn = "attention", .qkv = "wqkv", .o = "wo",
    .mlp = "feed_forward", .gate = "w1", .up = "w3", .down = "w2"};
static const kp_hf_names nanochat = {LLAMA_TOP, LLAMA_NORMS, .attn = "self_attn", .q = "q_proj", .k = "k_proj", .v = "v_proj",
    .o = "o_proj", .mlp = "mlp", .up = "fc1", .down = "fc2"};
static const kp_hf_names gpt_oss = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, LLAMA_MLP,
    EXPERTS("router", "experts", "shared_experts")};
static const kp_hf_names nemotron_h = {.embed = "backbone.embeddings", .block = "backbone.layers", .final_norm = "backbone.norm_f",
    .head = "lm_head", .norm1 = "norm", .norm2 = "norm", LLAMA_ATTN, .mlp = "mixer", .up = "up_proj", .down = "down_proj",
    .router = "gate", .experts = "experts", .expert_up = "up_proj", .expert_down = "down_proj", .shared = "shared_experts",
    .correction = "gate.e_score_correction_bias"};
static const kp_hf_names gemma_4 = {LLAMA_TOP, LLAMA_ATTN, LLAMA_MLP, .norm1 = "input_layernorm",
    .norm_attn = "post_attention_layernorm", .norm2 = "pre_feedforward_layernorm", .norm_mlp = "post_feedforward_layernorm",
    EXPERTS("router.proj", "experts", "mlp")};
static const kp_hf_names llama_4 = {LLAMA_TOP, LLAMA_NORMS, .attn = "self_attn", .q = "q_proj", .k = "k_proj", .v = "v_proj",
    .o = "o_proj", /* its norms of queries and keys have no scale */
    .mlp = "feed_forward", .gate = "gate_proj", .up = "up_proj", .down = "down_proj",
    EXPERTS("router", "experts", "shared_expert")};
static const kp_hf_names baichuan = {LLAMA_TOP, LLAMA_NORMS, LLAMA_MLP, .attn = "self_attn", .qkv = "W_pack", .o = "o_proj"};
static const kp_hf_names phi_3 = {LLAMA_TOP, LLAMA_NORMS, .attn = "self_attn", .qkv = "qkv_proj", .o = "o_proj",
    .mlp = "mlp", .gate_up = "gate_up_proj", .down = "down_proj"};
static const kp_hf_names glm = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, .mlp = "mlp", .gate_up = "gate_up_proj", .down = "down_proj"};
static const kp_hf_names glm_4 = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, .mlp = "mlp", .gate_up = "gate_up_proj", .down = "down_proj",
    .norm_attn = "post_self_attn_layernorm", .norm_mlp = "post_mlp_layernorm"};
static const kp_hf_names gemma_2 = {LLAMA_TOP, LLAMA_ATTN, LLAMA_MLP, .norm1 = "input_layernorm",
    .norm_attn = "post_attention_layernorm", .norm2 = "pre_feedforward_layernorm", .norm_mlp = "post_feedforward_layernorm"};
static const kp_hf_names olmo_2 = {LLAMA_TOP, LLAMA_ATTN, LLAMA_MLP,
    .norm_attn = "post_attention_layernorm", .norm_mlp = "post_feedforward_layernorm"};
static const kp_hf_names olmo_2_moe = {LLAMA_TOP, LLAMA_ATTN, LLAMA_MLP, .norm_attn = "post_attention_layernorm",
    .norm_mlp = "post_feedforward_layernorm", EXPERTS("gate", "experts", "shared_experts")};
static const kp_hf_names starcoder_2 = {LLAMA_TOP, LLAMA_NORMS, LLAMA_ATTN, .mlp = "mlp", .up = "c_fc", .down = "c_proj"};
static const kp_hf_names phi = {LLAMA_NORMS, .embed = "model.embed_tokens", .block = "model.layers",
    .final_norm = "model.final_layernorm", .head = "lm_head", .attn = "self_attn", .q = "q_proj", .k = "k_proj", .v = "v_proj",
    .o = "dense", .mlp = "mlp", .up = "fc1", .down = "fc2"};
static const kp_hf_names gpt_2 = {.embed = "transformer.wte", .positions = "transformer.wpe", .block = "transformer.h",
    .final_norm = "transformer.ln_f", .head = "lm_head", .norm1 = "ln_1", .attn = "attn", .qkv = "c_attn", .o = "c_proj",
    .norm2 = "ln_2", .mlp = "mlp", .up = "c_fc", .down = "c_proj"};
static const kp_hf_names gpt_neo = {.embed = "transformer.wte", .positions = "transformer.wpe", .block = "transformer.h",
    .final_norm = "transformer.ln_f", .head = "lm_head", .norm1 = "ln_1", .attn = "attn.attention", .q = "q_proj", .k = "k_proj",
    .v = "v_proj", .o = "out_proj", .norm2 = "ln_2", .mlp = "mlp", .up = "c_fc", .down = "c_proj"};
static const kp_hf_names gpt_j = {.embed = "transformer.wte", .block = "transformer.h", .final_norm = "transformer.ln_f",
    .head = "lm_head", .norm1 = "ln_1", .attn = "attn", .q = "q_proj", .k = "k_proj", .v = "v_proj", .o = "out_proj",
    .mlp = "mlp", .up = "fc_in", .down = "fc_out"};
static const kp_hf_names codegen = {.embed = "transformer.wte", .block = "transformer.h", .final_norm = "transformer.ln_f",
    .head = "lm_head", .norm1 = "ln_1", .attn = "attn", .qkv = "qkv_proj", .o = "out_proj", .mlp = "mlp", .up = "fc_in",
    .down = "fc_out"};
static const kp_hf_names qwen = {.embed = "transformer.wte", .block = "transformer.h", .final_norm = "transformer.ln_f",
    .head = "lm_head", .norm1 = "ln_1", .attn = "attn", .qkv = "c_attn", .o = "c_proj", .norm2 = "ln_2",
    .mlp = "mlp", .gate = "w2", .up = "w1", .down = "c_proj"};
#define FUSED       .qkv = "query_key_value", .o = "dense", .mlp = "mlp", .down = "dense_4h_to_h"
static const kp_hf_names gpt_neox = {LLAMA_NORMS, FUSED, .up = "dense_h_to_4h", .attn = "attention", .embed = "gpt_neox.embed_in",
    .block = "gpt_neox.layers", .final_norm = "gpt_neox.final_layer_norm", .head = "embed_out"};
static const kp_hf_names persimmon = {LLAMA_NORMS, FUSED, .up = "dense_h_to_4h", .attn = "self_attn",
    .embed = "model.embed_tokens", .block = "model.layers", .final_norm = "model.final_layernorm", .head = "lm_head",
    .q_norm = "q_layernorm", .k_norm = "k_layernorm"};
static const kp_hf_names bloom = {LLAMA_NORMS, FUSED, .up = "dense_h_to_4h", .attn = "self_attention",
    .embed = "transformer.word_embeddings", .embed_norm = "transformer.word_embeddings_layernorm", .block = "transformer.h",
    .final_norm = "transformer.ln_f", .head = "lm_head"};
static const kp_hf_names chatglm = {LLAMA_NORMS, FUSED, .gate_up = "dense_h_to_4h", .attn = "self_attention",
    .embed = "transformer.embedding.word_embeddings", .block = "transformer.encoder.layers",
    .final_norm = "transformer.encoder.final_layernorm", .head = "transformer.output_layer"};
static const kp_hf_names falcon = {FUSED, .norm1 = "input_layernorm", .up = "dense_h_to_4h", .attn = "self_attention",
    .embed = "transformer.word_embeddings", .block = "transformer.h", .final_norm = "transformer.ln_f", .head = "lm_head"};
#define OUT_PROJ    .attn = "self_attn", .q = "q_proj", .k = "k_proj", .v = "v_proj", .o = "out_proj"
static const kp_hf_names opt = {OUT_PROJ, .embed = "model.decoder.embed_tokens", .positions = "model.decoder.embed_positions",
    .block = "model.decoder.layers", .final_norm = "model.decoder.final_layer_norm", .head = "lm_head",
    .norm1 = "self_attn_layer_norm", .norm2 = "final_layer_norm", .norm_attn = "self_attn_layer_norm",
    .norm_mlp = "final_layer_norm", .up = "fc1", .down = "fc2"};
#define BERT_BLOCK  .attn = "attention", .q = "self.query", .k = "self.key", .v = "self.value", .o = "output.dense",       \
    .up = "intermediate.dense", .down = "output.dense"
static const kp_hf_names bert = {BERT_BLOCK, .embed = "embeddings.word_embeddings", .positions = "embeddings.position_embeddings",
    .types = "embeddings.token_type_embeddings", .embed_norm = "embeddings.LayerNorm", .block = "encoder.layer",
    .norm_attn = "attention.output.LayerNorm", .norm_mlp = "output.LayerNorm", .head = "pooler.dense"};
static const kp_hf_names vit = {.attn = "attention", .q = "attention.query", .k = "attention.key", .v = "attention.value",
    .o = "output.dense", .up = "intermediate.dense", .down = "output.dense", .block = "vit.encoder.layer",
    .norm1 = "layernorm_before", .norm2 = "layernorm_after", .final_norm = "vit.layernorm", .head = "classifier",
    .embed = "vit.embeddings"};
static const kp_hf_names distilbert = {.embed = "embeddings.word_embeddings", .positions = "embeddings.position_embeddings",
    .embed_norm = "embeddings.LayerNorm", .block = "transformer.layer", .attn = "attention", .q = "q_lin", .k = "k_lin",
    .v = "v_lin", .o = "out_lin", .norm_attn = "sa_layer_norm", .up = "ffn.lin1", .down = "ffn.lin2", .norm_mlp = "output_layer_norm"};

static const kp_hf_names mpt = {.embed = "transformer.wte", .positions = "transformer.wpe", .block = "transformer.blocks",
    .final_norm = "transformer.norm_f", .head = "lm_head", .norm1 = "norm_1", .attn = "attn", .qkv = "Wqkv", .o = "out_proj",
    .norm2 = "norm_2", .mlp = "ffn", .up = "up_proj", .down = "down_proj"};

#define T(name) KP_HF_##name
enum {
    GPT = T(ALL_BIAS) | T(LEARNED), BERT = GPT | T(EMBED_NORM), QWEN_2 = T(LLAMA) | T(QKV_BIAS),
    GEMMA = T(LLAMA) | T(TIED) | T(WIDE_HEADS), QWEN_3 = T(LLAMA) | T(QK_NORM),
};

const kp_hf_family kp_hf_families[] = {
    /* model_type        kind     names         block                   order     traits                                          activation */
    {"arcee",            T(DECODER), &llama,    "ArceeDecoderLayer",    T(PRE),   T(RMS) | T(ROTARY),                             "relu2"},
    {"baichuan",         T(DECODER), &baichuan, "BaichuanLayer",        T(PRE),   T(LLAMA),                                       "silu"},
    {"bart",             T(BART), NULL,         "BartLayer",            T(POST),  BERT | T(TIED),                                 "gelu"},
    {"bert",             T(ENCODER), &bert,     "BertLayer",            T(POST),  BERT | T(TIED),                                 "gelu"},
    {"bloom",            T(DECODER), &bloom,    "BloomBlock",           T(PRE),   T(ALL_BIAS) | T(EMBED_NORM) | T(TIED),          "gelu"},
    {"chatglm",          T(DECODER), &chatglm,  "GLMBlock",             T(PRE),   T(LLAMA) | T(QKV_BIAS),                         "silu"},
    {"codegen",          T(DECODER), &codegen,  "CodeGenBlock",         T(TOGETHER), T(MLP_BIAS) | T(NORM_BIAS) | T(ROTARY) | T(HEAD_BIAS), "gelu"},
    {"cohere",           T(DECODER), &llama,    "CohereDecoderLayer",   T(TOGETHER), T(GATED) | T(ROTARY) | T(TIED),              "silu"},
    {"cohere2",          T(DECODER), &llama,    "Cohere2DecoderLayer",  T(TOGETHER), T(GATED) | T(ROTARY) | T(TIED),              "silu"},
    {"deepseek",         T(DECODER), &llama,    "DeepseekDecoderLayer", T(PRE),   T(LLAMA) | T(MOE),                              "silu"},
    {"deepseek_ref",     T(DECODER), &deepseek_4, "DeepseekV4DecoderLayer", T(STREAMS), T(LLAMA) | T(MOE) | T(CORRECTION) | T(SINKS), "silu"},
    {"deepseek_v2",      T(DECODER), &llama,    "DeepseekV2DecoderLayer", T(PRE), T(LLAMA) | T(MOE),                              "silu"},
    {"deepseek_v3",      T(DECODER), &llama,    "DeepseekV3DecoderLayer", T(PRE), T(LLAMA) | T(MOE) | T(CORRECTION),              "silu"},
    {"deepseek_v32",     T(DECODER), &llama,    "DeepseekV32DecoderLayer", T(PRE), T(LLAMA) | T(MOE) | T(CORRECTION),             "silu"},
    {"deepseek_v4",      T(DECODER), &deepseek_4, "DeepseekV4DecoderLayer", T(STREAMS), T(LLAMA) | T(MOE) | T(CORRECTION) | T(SINKS), "silu"},
    {"distilbert",       T(ENCODER), &distilbert, "TransformerBlock",   T(POST),  BERT | T(TIED),                                 "gelu"},
    {"dots1",            T(DECODER), &llama,    "Dots1DecoderLayer",    T(PRE),   QWEN_3 | T(MOE) | T(CORRECTION),                "silu"},
    {"ernie4_5",         T(DECODER), &llama,    "Ernie4_5DecoderLayer", T(PRE),   T(LLAMA) | T(TIED),                             "silu"},
    {"exaone4",          T(DECODER), &olmo_2,   "Exaone4DecoderLayer",  T(BEHIND), QWEN_3,                                        "silu"},
    {"falcon",           T(DECODER), &falcon,   "FalconDecoderLayer",   T(TOGETHER), T(NORM_BIAS) | T(ROTARY) | T(TIED) | T(MULTI_QUERY), "gelu"},
    {"flex_olmo",        T(DECODER), &olmo_2_moe, "FlexOlmoDecoderLayer", T(BEHIND), T(LLAMA) | T(MOE) | T(QK_NORM_ALL),          "silu"},
    {"gemma",            T(DECODER), &llama,    "GemmaDecoderLayer",    T(PRE),   GEMMA,                                          "gelu"},
    {"gemma2",           T(DECODER), &gemma_2,  "Gemma2DecoderLayer",   T(SANDWICH), GEMMA,                                       "gelu"},
    {"gemma3",           T(DECODER), &gemma_2,  "Gemma3DecoderLayer",   T(SANDWICH), GEMMA | T(QK_NORM),                          "gelu"},
    {"gemma3_text",      T(DECODER), &gemma_2,  "Gemma3DecoderLayer",   T(SANDWICH), GEMMA | T(QK_NORM),                          "gelu"},
    {"gemma4_text",      T(DECODER), &gemma_4,  "Gemma4TextDecoderLayer", T(SANDWICH), GEMMA | T(QK_NORM) | T(BESIDE),            "gelu"},
    {"glm",              T(DECODER), &glm,      "GlmDecoderLayer",      T(PRE),   T(LLAMA) | T(QKV_ONLY),                         "silu"},
    {"glm4",             T(DECODER), &glm_4,    "Glm4DecoderLayer",     T(SANDWICH), T(LLAMA) | T(QKV_ONLY),                      "silu"},
    {"glm4_moe",         T(DECODER), &llama,    "Glm4MoeDecoderLayer",  T(PRE),   T(LLAMA) | T(MOE) | T(CORRECTION) | T(QKV_ONLY), "silu"},
    {"glm4_moe_lite",    T(DECODER), &llama,    "Glm4MoeLiteDecoderLayer", T(PRE), T(LLAMA) | T(MOE) | T(CORRECTION),             "silu"},
    {"glm_moe_dsa",      T(DECODER), &llama,    "GlmMoeDsaDecoderLayer", T(PRE),  T(LLAMA) | T(MOE) | T(CORRECTION),              "silu"},
    {"gpt2",             T(DECODER), &gpt_2,    "GPT2Block",            T(PRE),   GPT | T(IN_OUT) | T(TIED),                      "gelu"},
    {"gpt_bigcode",      T(DECODER), &gpt_2,    "GPTBigCodeBlock",      T(PRE),   GPT | T(MULTI_QUERY) | T(TIED),                 "gelu"},
    {"gpt_neo",          T(DECODER), &gpt_neo,  "GPTNeoBlock",          T(PRE),   T(O_BIAS) | T(MLP_BIAS) | T(NORM_BIAS) | T(LEARNED) | T(TIED), "gelu"},
    {"gpt_neox",         T(DECODER), &gpt_neox, "GPTNeoXLayer",         T(PARALLEL), T(ALL_BIAS) | T(ROTARY),                     "gelu"},
    {"gpt_oss",          T(DECODER), &gpt_oss,  "GptOssDecoderLayer",   T(PRE),   T(LLAMA) | T(MOE) | T(QKV_BIAS) | T(O_BIAS) | T(SINKS) | T(EXPERT_BIAS), "silu"},
    {"gptj",             T(DECODER), &gpt_j,    "GPTJBlock",            T(TOGETHER), T(MLP_BIAS) | T(NORM_BIAS) | T(ROTARY) | T(HEAD_BIAS), "gelu"},
    {"granite",          T(DECODER), &llama,    "GraniteDecoderLayer",  T(PRE),   T(LLAMA),                                       "silu"},
    {"granitemoe",       T(DECODER), &granite_moe, "GraniteMoeDecoderLayer", T(PRE), T(LLAMA) | T(MOE),                            "silu"},
    {"helium",           T(DECODER), &llama,    "HeliumDecoderLayer",   T(PRE),   T(LLAMA),                                       "silu"},
    {"hunyuan_v1_dense", T(DECODER), &hunyuan,  "HunYuanDenseV1DecoderLayer", T(PRE), QWEN_3,                                     "silu"},
    {"internlm",         T(DECODER), &llama,    "InternLMDecoderLayer", T(PRE),   T(LLAMA) | T(QKV_BIAS) | T(O_BIAS),             "silu"},
    {"internlm2",        T(DECODER), &internlm_2, "InternLM2DecoderLayer", T(PRE), T(LLAMA),                                      "silu"},
    {"internlm3",        T(DECODER), &llama,    "InternLM3DecoderLayer", T(PRE),  T(LLAMA),                                       "silu"},
    {"kimi_k2",          T(DECODER), &llama,    "DeepseekV3DecoderLayer", T(PRE), T(LLAMA) | T(MOE) | T(CORRECTION),              "silu"},
    {"llama",            T(DECODER), &llama,    "LlamaDecoderLayer",    T(PRE),   T(LLAMA),                                       "silu"},
    {"llama4_text",      T(DECODER), &llama_4,  "Llama4TextDecoderLayer", T(PRE), T(LLAMA) | T(MOE) | T(ONE_SHARED),              "silu"},
    {"mimo",             T(DECODER), &llama,    "MiMoDecoderLayer",     T(PRE),   T(LLAMA) | T(QKV_ONLY),                         "silu"},
    {"mimo_v2_flash",    T(DECODER), &llama,    "MiMoV2DecoderLayer",   T(PRE),   T(LLAMA) | T(MOE) | T(CORRECTION),              "silu"},
    {"minicpm",          T(DECODER), &llama,    "MiniCPMDecoderLayer",  T(PRE),   T(LLAMA) | T(TIED),                             "silu"},
    {"minicpm3",         T(DECODER), &llama,    "MiniCPM3DecoderLayer", T(PRE),   T(LLAMA) | T(TIED),                             "silu"},
    {"minimax_m2",       T(DECODER), &mixtral,  "MiniMaxM2DecoderLayer", T(PRE),  T(LLAMA) | T(MOE) | T(CORRECTION) | T(QK_NORM_ALL), "silu"},
    {"minimax_m3",       T(DECODER), &minimax_3, "MiniMaxM3DecoderLayer", T(PRE), QWEN_3 | T(MOE) | T(CORRECTION),               "silu"},
    {"minimax_m3_vl_text", T(DECODER), &minimax_3, "MiniMaxM3DecoderLayer", T(PRE), QWEN_3 | T(MOE) | T(CORRECTION),             "silu"},
    {"ministral",        T(DECODER), &llama,    "MinistralDecoderLayer", T(PRE),  T(LLAMA),                                       "silu"},
    {"ministral3",       T(DECODER), &llama,    "Ministral3DecoderLayer", T(PRE), T(LLAMA),                                       "silu"},
    {"mistral",          T(DECODER), &llama,    "MistralDecoderLayer",  T(PRE),   T(LLAMA),                                       "silu"},
    {"mixtral",          T(DECODER), &mixtral,  "MixtralDecoderLayer",  T(PRE),   T(LLAMA) | T(MOE),                              "silu"},
    {"mpt",              T(DECODER), &mpt,      "MptBlock",             T(PRE),   T(TIED),                                        "gelu"},
    {"mt5",              T(T5),   NULL,         "MT5Block",             T(PRE),   T(RMS),                                         "gelu"},
    {"nanochat",         T(DECODER), &nanochat, "NanoChatDecoderLayer", T(PRE),   T(RMS) | T(ROTARY) | T(NO_SCALE),               "relu2"},
    {"nemotron",         T(DECODER), &llama,    "NemotronDecoderLayer", T(PRE),   T(NORM_BIAS) | T(ROTARY),                       "relu2"},
    {"nemotron-nas",     T(DECODER), &llama,    "DeciLMDecoderLayer",   T(PRE),   T(LLAMA),                                       "silu"},
    {"nemotron_h",       T(DECODER), &nemotron_h, "NemotronHBlock",     T(PRE),   T(RMS) | T(MAY_MOE) | T(CORRECTION),            "relu2"},
    {"olmo",             T(DECODER), &llama,    "OlmoDecoderLayer",     T(PRE),   T(GATED) | T(ROTARY) | T(NO_SCALE),             "silu"},
    {"olmo2",            T(DECODER), &olmo_2,   "Olmo2DecoderLayer",    T(BEHIND), T(LLAMA) | T(QK_NORM_ALL),                     "silu"},
    {"olmo3",            T(DECODER), &olmo_2,   "Olmo3DecoderLayer",    T(BEHIND), T(LLAMA) | T(QK_NORM_ALL),                     "silu"},
    {"olmoe",            T(DECODER), &llama,    "OlmoeDecoderLayer",    T(PRE),   T(LLAMA) | T(MOE) | T(QK_NORM_ALL),             "silu"},
    {"opt",              T(DECODER), &opt,      "OPTDecoderLayer",      T(PRE),   GPT | T(TIED),                                  "relu"},
    {"orion",            T(DECODER), &llama,    "OrionDecoderLayer",    T(PRE),   T(GATED) | T(ROTARY) | T(NORM_BIAS),            "silu"},
    {"persimmon",        T(DECODER), &persimmon, "PersimmonDecoderLayer", T(PRE), T(ALL_BIAS) | T(ROTARY) | T(QK_NORM),           "relu2"},
    {"phi",              T(DECODER), &phi,      "PhiDecoderLayer",      T(TOGETHER), T(ALL_BIAS) | T(ROTARY) | T(HEAD_BIAS),      "gelu"},
    {"phi-msft",         T(DECODER), &phi,      "PhiDecoderLayer",      T(TOGETHER), T(ALL_BIAS) | T(ROTARY) | T(HEAD_BIAS),      "gelu"},
    {"phi3",             T(DECODER), &phi_3,    "Phi3DecoderLayer",     T(PRE),   T(LLAMA),                                       "silu"},
    {"phi3_v",           T(DECODER), &phi_3,    "Phi3DecoderLayer",     T(PRE),   T(LLAMA),                                       "silu"},
    {"phimoe",           T(DECODER), &phi_moe,  "PhimoeDecoderLayer",   T(PRE),   T(GATED) | T(ROTARY) | T(NORM_BIAS) | T(MOE),   "silu"},
    {"qwen",             T(DECODER), &qwen,     "QWenBlock",            T(PRE),   T(LLAMA) | T(QKV_BIAS) | T(HALF_FFN),           "silu"},
    {"qwen2",            T(DECODER), &llama,    "Qwen2DecoderLayer",    T(PRE),   QWEN_2,                                         "silu"},
    {"qwen2_5_vl",       T(DECODER), &llama,    "Qwen2_5_VLDecoderLayer", T(PRE), QWEN_2,                                         "silu"},
    {"qwen2_5_vl_text",  T(DECODER), &llama,    "Qwen2_5_VLDecoderLayer", T(PRE), QWEN_2,                                         "silu"},
    {"qwen2_moe",        T(DECODER), &qwen_moe, "Qwen2MoeDecoderLayer", T(PRE),   QWEN_2 | T(MOE),                                "silu"},
    {"qwen2_vl",         T(DECODER), &llama,    "Qwen2VLDecoderLayer",  T(PRE),   QWEN_2,                                         "silu"},
    {"qwen2_vl_text",    T(DECODER), &llama,    "Qwen2VLDecoderLayer",  T(PRE),   QWEN_2,                                         "silu"},
    {"qwen3",            T(DECODER), &llama,    "Qwen3DecoderLayer",    T(PRE),   QWEN_3,                                         "silu"},
    {"qwen3_5_moe_text", T(DECODER), &qwen_moe, "Qwen3_5MoeDecoderLayer", T(PRE), QWEN_3 | T(MOE) | T(OUT_GATE),                  "silu"},
    {"qwen3_5_text",     T(DECODER), &llama,    "Qwen3_5DecoderLayer",  T(PRE),   QWEN_3 | T(OUT_GATE),                           "silu"},
    {"qwen3_moe",        T(DECODER), &qwen_moe, "Qwen3MoeDecoderLayer", T(PRE),   QWEN_3 | T(MOE),                                "silu"},
    {"qwen3_next",       T(DECODER), &qwen_moe, "Qwen3NextDecoderLayer", T(PRE),  QWEN_3 | T(MOE) | T(OUT_GATE),                  "silu"},
    {"qwen3_vl_moe_text", T(DECODER), &qwen_moe, "Qwen3VLMoeTextDecoderLayer", T(PRE), QWEN_3 | T(MOE),                           "silu"},
    {"qwen3_vl_text",    T(DECODER), &llama,    "Qwen3VLTextDecoderLayer", T(PRE), QWEN_3,                                        "silu"},
    {"roberta",          T(ENCODER), &bert,     "RobertaLayer",         T(POST),  BERT | T(TIED),                                 "gelu"},
    {"seed_oss",         T(DECODER), &llama,    "SeedOssDecoderLayer",  T(PRE),   T(LLAMA) | T(QKV_BIAS) | T(QKV_ONLY),           "silu"},
    {"smollm3",          T(DECODER), &llama,    "SmolLM3DecoderLayer",  T(PRE),   T(LLAMA) | T(TIED),                             "silu"},
    {"solar_open",       T(DECODER), &llama,    "SolarOpenDecoderLayer", T(PRE),  T(LLAMA) | T(MOE) | T(CORRECTION),              "silu"},
    {"stablelm",         T(DECODER), &llama,    "StableLmDecoderLayer", T(PRE),   T(GATED) | T(ROTARY) | T(NORM_BIAS) | T(QKV_ONLY), "silu"},
    {"starcoder2",       T(DECODER), &starcoder_2, "Starcoder2DecoderLayer", T(PRE), T(ALL_BIAS) | T(ROTARY) | T(TIED),            "gelu"},
    {"step3p5",          T(DECODER), &step_3,   "Step3p5DecoderLayer",  T(PRE),   QWEN_3 | T(MOE) | T(CORRECTION),                "silu"},
    {"step3p7",          T(DECODER), &step_3,   "Step3p7DecoderLayer",  T(PRE),   QWEN_3 | T(MOE) | T(CORRECTION),                "silu"},
    {"step3p7_text",     T(DECODER), &step_3,   "Step3p7DecoderLayer",  T(PRE),   QWEN_3 | T(MOE) | T(CORRECTION),                "silu"},
    {"switch_transformers", T(T5), NULL,        "SwitchTransformersBlock", T(PRE), T(RMS) | T(TIED),                              "relu"},
    {"t5",               T(T5),   NULL,         "T5Block",              T(PRE),   T(RMS) | T(TIED),                               "relu"},
    {"umt5",             T(T5),   NULL,         "UMT5Block",            T(PRE),   T(RMS),                                         "gelu"},
    {"vit",              T(VISION), &vit,       "ViTLayer",             T(PRE),   T(ALL_BIAS),                                    "gelu"},
    {"xlm-roberta",      T(ENCODER), &bert,     "XLMRobertaLayer",      T(POST),  BERT | T(TIED),                                 "gelu"},
};
/* clang-format on */
const size_t kp_hf_n_families = KP_LEN(kp_hf_families);

static int by_type(const void *key, const void *row)
{
    return strcmp(key, ((const kp_hf_family *)row)->model_type);
}

const kp_hf_family *kp_hf_family_find(const char *model_type)
{
    return bsearch(model_type, kp_hf_families, KP_LEN(kp_hf_families), sizeof(kp_hf_family),
                   by_type);
}
