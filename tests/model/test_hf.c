/* SPDX-License-Identifier: MIT
 *
 * Hugging Face configurations and Megatron's arguments. Totals come from three places: counts that
 * were published or follow from an independent formula (GPT-2, LLaMA, Mistral, Mixtral, Qwen2.5,
 * Qwen3, Gemma 1 and 2, GPT-J, Pythia, OPT, BLOOM, Falcon, StarCoder2, OLMo 1, BERT, ViT, T5, BART,
 * DeepSeek-V3); arithmetic beside the row (small models); and this reader's own figures, which agree
 * with the published size as far as it is rounded and guard against change (all others).
 */
#include "models.h"
#include <criterion/criterion.h>
#include <math.h>

#define LLAMA(h, I, L, H, K, V)                                                                    \
    "'hidden_size':" #h ",'intermediate_size':" #I ",'num_hidden_layers':" #L                      \
    ",'num_attention_heads':" #H ",'num_key_value_heads':" #K ",'vocab_size':" #V
#define BERT(h, I, L, H, V)                                                                        \
    "'hidden_size':" #h ",'intermediate_size':" #I ",'num_hidden_layers':" #L                      \
    ",'num_attention_heads':" #H ",'vocab_size':" #V                                               \
    ",'max_position_embeddings':512,'type_vocab_size':2"
#define GPT2(h, L, H) "{'model_type':'gpt2','n_embd':" #h ",'n_layer':" #L ",'n_head':" #H          \
    ",'n_positions':1024,'vocab_size':50257}"
#define T5(h, ff, kv, H, L) "{'model_type':'t5','d_model':" #h ",'d_ff':" #ff ",'d_kv':" #kv         \
    ",'num_heads':" #H ",'num_layers':" #L ",'vocab_size':32128,'relative_attention_num_buckets':32}"
#define VIT(h, I, L, H) "{'model_type':'vit','hidden_size':" #h ",'intermediate_size':" #I           \
    ",'num_hidden_layers':" #L ",'num_attention_heads':" #H ",'image_size':224,'patch_size':16,"   \
    "'num_labels':1000}"
#define DEEPSEEK                                                                                   \
    "'hidden_size':7168,'intermediate_size':18432,'num_hidden_layers':61,'num_attention_heads':128," \
    "'kv_lora_rank':512,'q_lora_rank':1536,'qk_nope_head_dim':128,'qk_rope_head_dim':64,"          \
    "'v_head_dim':128,'moe_intermediate_size':2048,'n_routed_experts':256,'n_shared_experts':1,"   \
    "'num_experts_per_tok':8,'first_k_dense_replace':3,'vocab_size':129280"

/* clang-format off */
static const struct {
    const char *what, *text;
    uint64_t total;
} totals[] = {
    {"gpt2", GPT2(768, 12, 12), 124439808},
    {"gpt2-medium", GPT2(1024, 24, 16), 354823168},
    {"gpt2-large", GPT2(1280, 36, 20), 774030080},
    {"gpt2-xl", GPT2(1600, 48, 25), 1557611200},
    {"llama 7B", "{'model_type':'llama'," LLAMA(4096, 11008, 32, 32, 32, 32000) "}", 6738415616},
    {"llama by class", "{'architectures':['LlamaForCausalLM']," LLAMA(4096, 11008, 32, 32, 32, 32000) "}", 6738415616},
    {"llama 30B", "{'model_type':'llama'," LLAMA(6656, 17920, 60, 52, 52, 32000) "}", 32528943616},
    {"llama 65B", "{'model_type':'llama'," LLAMA(8192, 22016, 80, 64, 64, 32000) "}", 65285660672},
    {"llama-2 70B", "{'model_type':'llama'," LLAMA(8192, 28672, 80, 64, 8, 32000) "}", 68976648192},
    {"codellama 34B", "{'model_type':'llama'," LLAMA(8192, 22016, 48, 64, 8, 32000) "}", 33743970304},
    {"llama-3.1 8B", "{'model_type':'llama'," LLAMA(4096, 14336, 32, 32, 8, 128256) "}", 8030261248},
    {"llama-3.2 1B, tied", "{'model_type':'llama','head_dim':64,'tie_word_embeddings':true," LLAMA(2048, 8192, 16, 32, 8, 128256) "}", 1235814400},
    {"mpt-125m at 2048 positions", "{'model_type':'mpt','d_model':768,'n_heads':12,'n_layers':12,'vocab_size':50368,'max_seq_len':2048,'no_bias':false}", 125311488},
    {"mpt-30b at 8192 positions", "{'model_type':'mpt','d_model':7168,'n_heads':56,'n_layers':48,'vocab_size':50368,'max_seq_len':8192,'no_bias':false}", 30019254272},
    {"mpt-7b with ALiBi", "{'model_type':'mpt','d_model':4096,'n_heads':32,'n_layers':32,'vocab_size':50432,'max_seq_len':2048,'attn_config':{'alibi':true}}", 6649286656},
    {"mistral 7B v0.3", "{'model_type':'mistral'," LLAMA(4096, 14336, 32, 32, 8, 32768) "}", 7248023552},
    {"mixtral 8x7B", "{'model_type':'mixtral','num_local_experts':8,'num_experts_per_tok':2," LLAMA(4096, 14336, 32, 32, 8, 32000) "}", 46702792704},
    {"qwen2.5 0.5B", "{'model_type':'qwen2','tie_word_embeddings':true," LLAMA(896, 4864, 24, 14, 2, 151936) "}", 494032768},
    {"qwen1.5 MoE A2.7B", "{'model_type':'qwen2_moe','num_experts':60,'num_experts_per_tok':4,'moe_intermediate_size':1408,'shared_expert_intermediate_size':5632," LLAMA(2048, 5632, 24, 16, 16, 151936) "}", 14315784192},
    {"qwen3 8B", "{'model_type':'qwen3','head_dim':128," LLAMA(4096, 12288, 36, 32, 8, 151936) "}", 8190735360},
    {"qwen3 30B-A3B", "{'model_type':'qwen3_moe','head_dim':128,'num_experts':128,'num_experts_per_tok':8,'moe_intermediate_size':768," LLAMA(2048, 6144, 48, 32, 4, 151936) "}", 30532122624},
    {"gemma 2B", "{'model_type':'gemma','head_dim':256," LLAMA(2048, 16384, 18, 8, 1, 256000) "}", 2506172416},
    {"gemma2 2B", "{'model_type':'gemma2','head_dim':256,'final_logit_softcapping':30.0," LLAMA(2304, 9216, 26, 8, 4, 256000) "}", 2614341888},
    {"gemma3 1B", "{'model_type':'gemma3_text','head_dim':256," LLAMA(1152, 6912, 26, 4, 1, 262144) "}", 999885952},
    {"phi-2", "{'model_type':'phi'," LLAMA(2560, 10240, 32, 32, 32, 51200) "}", 2779683840},
    {"phi-3 mini", "{'model_type':'phi3'," LLAMA(3072, 8192, 32, 32, 32, 32064) "}", 3821079552},
    {"stablelm 3B", "{'model_type':'stablelm'," LLAMA(2560, 6912, 32, 32, 32, 50304) "}", 2795443200},
    {"stablelm-2 1.6B", "{'model_type':'stablelm','use_qkv_bias':true," LLAMA(2048, 5632, 24, 32, 32, 100352) "}", 1644515328},
    {"olmo-2 7B", "{'model_type':'olmo2'," LLAMA(4096, 11008, 32, 32, 32, 100352) "}", 7298617344},
    {"olmo 1B", "{'model_type':'olmo','tie_word_embeddings':true," LLAMA(2048, 8192, 16, 16, 16, 50304) "}", 1176764416},
    {"aya-23 8B", "{'model_type':'cohere'," LLAMA(4096, 14336, 32, 32, 8, 256000) "}", 8028033024},
    {"starcoder2 15B", "{'model_type':'starcoder2','use_bias':true,'tie_word_embeddings':false," LLAMA(6144, 24576, 40, 48, 4, 49152) "}", 15957889024},
    {"gpt-j 6B", "{'model_type':'gptj','n_embd':4096,'n_layer':28,'n_head':16,'vocab_size':50400,'n_positions':2048}", 6050882784},
    {"pythia 1B", "{'model_type':'gpt_neox'," LLAMA(2048, 8192, 16, 8, 8, 50304) "}", 1011781632},
    {"pythia 12B", "{'model_type':'gpt_neox'," LLAMA(5120, 20480, 36, 40, 40, 50688) "}", 11846072320},
    {"opt 1.3B", "{'model_type':'opt','hidden_size':2048,'ffn_dim':8192,'num_hidden_layers':24,'num_attention_heads':32,'vocab_size':50272,'max_position_embeddings':2048,'word_embed_proj_dim':2048}", 1315758080},
    {"opt 350M: norms behind, narrow words", "{'model_type':'opt','hidden_size':1024,'ffn_dim':4096,'num_hidden_layers':24,'num_attention_heads':16,'vocab_size':50272,'max_position_embeddings':2048,'word_embed_proj_dim':512,'do_layer_norm_before':false}", 331196416},
    {"bloom 560M", "{'model_type':'bloom','hidden_size':1024,'n_layer':24,'n_head':16,'vocab_size':250880}", 559214592},
    {"falcon 7B", "{'model_type':'falcon','hidden_size':4544,'num_hidden_layers':32,'num_attention_heads':71,'vocab_size':65024,'bias':false,'parallel_attn':true,'multi_query':true,'num_kv_heads':71,'alibi':false}", 6921720704},
    {"falcon 40B", "{'model_type':'falcon','hidden_size':8192,'num_hidden_layers':60,'num_attention_heads':128,'num_kv_heads':8,'vocab_size':65024,'new_decoder_architecture':true}", 41303293952},
    {"gpt_bigcode 1B", "{'model_type':'gpt_bigcode','n_embd':2048,'n_layer':24,'n_head':16,'n_inner':8192,'n_positions':2048,'vocab_size':49280}", 1124886528},
    {"chatglm3 6B", "{'model_type':'chatglm','hidden_size':4096,'num_layers':28,'num_attention_heads':32,'kv_channels':128,'multi_query_attention':true,'multi_query_group_num':2,'ffn_hidden_size':13696,'padded_vocab_size':65024,'add_qkv_bias':true,'add_bias_linear':false}", 6243584000},
    {"baichuan2 7B", "{'model_type':'baichuan'," LLAMA(4096, 11008, 32, 32, 32, 125696) "}", 7505973248},
    {"deepseek-v2 lite", "{'model_type':'deepseek_v2','hidden_size':2048,'intermediate_size':10944,'num_hidden_layers':27,'num_attention_heads':16,'kv_lora_rank':512,'qk_nope_head_dim':128,'qk_rope_head_dim':64,'v_head_dim':128,'moe_intermediate_size':1408,'n_routed_experts':64,'n_shared_experts':2,'num_experts_per_tok':6,'first_k_dense_replace':1,'vocab_size':102400}", 15706484224},
    {"deepseek-v3", "{'model_type':'deepseek_v3'," DEEPSEEK "}", 671026419200},
    {"gpt-oss 20B", "{'model_type':'gpt_oss','attention_bias':true,'head_dim':64,'num_local_experts':32,'num_experts_per_tok':4," LLAMA(2880, 2880, 24, 64, 8, 201088) "}", 20914757184},
    {"minimax-m2", "{'model_type':'minimax_m2','head_dim':128,'use_qk_norm':true,'num_local_experts':256,'num_experts_per_tok':8," LLAMA(3072, 1536, 62, 48, 8, 200064) "}", 228689764864},
    {"llama-4 scout, text", "{'text_config':{'model_type':'llama4_text','head_dim':128,'num_local_experts':16,'num_experts_per_tok':1,'interleave_moe_layer_step':1,'use_qk_norm':true,'intermediate_size_mlp':16384," LLAMA(5120, 8192, 48, 40, 8, 202048) "}}", 107769861120},
    {"qwen3-vl 4B, text", "{'model_type':'qwen3_vl','text_config':{'model_type':'qwen3_vl_text','head_dim':128," LLAMA(2560, 9728, 36, 32, 8, 151936) "},'tie_word_embeddings':true,'vision_config':{}}", 4022468096},
    {"qwen3-next 80B-A3B", "{'model_type':'qwen3_next','head_dim':256,'num_experts':512,'num_experts_per_tok':10,'moe_intermediate_size':512,'shared_expert_intermediate_size':512,'full_attention_interval':4,'linear_num_value_heads':32,'linear_num_key_heads':16,'linear_key_head_dim':128,'linear_value_head_dim':128,'linear_conv_kernel_dim':4," LLAMA(2048, 5120, 48, 16, 2, 151936) "}", 79674391296},
    {"nemotron-3 nano", "{'model_type':'nemotron_h','head_dim':128,'mlp_hidden_act':'relu2','hybrid_override_pattern':'MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME','mamba_num_heads':64,'mamba_head_dim':64,'n_groups':8,'ssm_state_size':128,'conv_kernel':4,'n_routed_experts':128,'num_experts_per_tok':6,'moe_intermediate_size':1856,'moe_shared_expert_intermediate_size':3712,'n_shared_experts':1," LLAMA(2688, 1856, 52, 32, 2, 131072) "}", 31577940288},
    {"mimo-v2 of two layers: a window with other heads, experts in the second", "{'model_type':'mimo_v2_flash','head_dim':6,'v_head_dim':4,'swa_num_key_value_heads':4,'hybrid_layer_pattern':[0,1],'add_swa_attention_sink_bias':true,'moe_layer_freq':[0,1],'n_routed_experts':3,'num_experts_per_tok':1,'moe_intermediate_size':5," LLAMA(8, 16, 2, 4, 2, 10) "}",
     160 + 8 + 32 + (192 + 96 + 64 + 128 + 384) + (192 + 192 + 128 + 128 + 4 + 24 + 3 + 360)},
    {"gemma-4 of two layers: full attention without values, experts beside", "{'model_type':'gemma4_text','head_dim':4,'global_head_dim':8,'num_global_key_value_heads':1,'attention_k_eq_v':true,'layer_types':['sliding_attention','full_attention'],'enable_moe_block':true,'num_experts':3,'top_k_experts':2,'moe_intermediate_size':5," LLAMA(8, 16, 2, 4, 2, 10) "}",
     80 + 8 + 2 * (32 + 24 + 384 + 24 + 8 + 3 + 360) + (128 + 64 + 64 + 128 + 8) + (256 + 64 + 256 + 16)},
    {"deci: a layer without attention, one with half the heads", "{'model_type':'nemotron-nas','hidden_size':256,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':10,'intermediate_size':null,'block_configs':[{'attention':{'no_op':true},'ffn':{'ffn_mult':1.5}},{'attention':{'n_heads_in_group':2},'ffn':{'no_op':true}}]}",
     5120 + 256 + (256 + 3 * 256 * 256) + (256 + 2 * 65536 + 2 * 32768)},
    {"deepseek-v4 of three layers: streams, a window alone, overlapping keys with an indexer, wide ones",
     "{'model_type':'deepseek_v4','hidden_size':8,'num_hidden_layers':3,'num_attention_heads':2,'num_key_value_heads':1,'head_dim':6,'vocab_size':10,'q_lora_rank':5,'o_groups':2,'o_lora_rank':3,'qk_rope_head_dim':2,'index_n_heads':2,'index_head_dim':3,'hc_mult':2,'moe_intermediate_size':4,'n_routed_experts':3,'n_shared_experts':1,'num_experts_per_tok':1,'num_hash_layers':1,'compress_ratios':[0,4,128]}",
     160 + 8 + (32 + 2 + 1) + 3 * (2 * (128 + 8 + 3) + 16 + 24 + 288 + 96 + (40 + 5 + 60 + 48 + 6 + 2 + 36 + 48)) + 2 * 3 +
         (96 + 96 + 48 + 6 + 48 + 48 + 24 + 3 + 30 + 16) + (48 + 48 + 768 + 6)},
    {"minimax-m3 of two layers: dense, then experts with an indexer",
     "{'model_type':'minimax_m3','head_dim':4,'use_qk_norm':true,'dense_intermediate_size':12,'num_local_experts':3,'num_experts_per_tok':1,'n_shared_experts':1,'moe_layer_freq':[0,1],'sparse_attention_config':{'sparse_attention_freq':[0,1],'sparse_num_index_heads':2,'sparse_index_dim':3}," LLAMA(8, 6, 2, 2, 1, 10) "}",
     160 + 8 + 2 * (16 + 64 + 32 + 32 + 64 + 8) + 288 + (48 + 24 + 6) + (24 + 3 + 432 + 144)},
    {"glm-5 of two layers: the second looks where the first did",
     "{'model_type':'glm_moe_dsa','q_lora_rank':5,'kv_lora_rank':3,'qk_nope_head_dim':2,'qk_rope_head_dim':2,'v_head_dim':4,'index_n_heads':2,'index_head_dim':3,'indexer_types':['full','shared'],'mlp_layer_types':['dense','dense'],'n_routed_experts':3,'num_experts_per_tok':1,'moe_intermediate_size':4," LLAMA(8, 6, 2, 2, 2, 10) "}",
     160 + 8 + 2 * (16 + 40 + 5 + 40 + 40 + 3 + 36 + 64 + 144) + (30 + 24 + 6 + 16)},
    {"step-3.7, a gate a head", "{'model_type':'step3p7','head_dim':4,'n_routed_experts':3,'num_experts_per_tok':1,'moe_intermediate_size':4,'mlp_layer_types':['dense']," LLAMA(8, 6, 1, 2, 1, 10) "}",
     160 + 8 + 16 + 64 + 32 + 32 + 64 + 8 + 16 + 144},
    {"llava: a llama with defaults", "{'model_type':'llava','text_config':{'model_type':'llama','vocab_size':32064},'tie_word_embeddings':false,'vision_config':{}}", 6738939904},
    {"arcee, no gate", "{'model_type':'arcee'," LLAMA(2560, 18432, 32, 32, 32, 32000) "}", 4022766080},
    {"exaone 4, norms behind", "{'model_type':'exaone4'," LLAMA(4096, 16384, 32, 32, 32, 102400) "}", 9429069824},
    {"flex-olmo", "{'model_type':'flex_olmo','num_experts':7,'num_experts_per_tok':5," LLAMA(4096, 11008, 32, 32, 32, 100352) "}", 33270665216},
    {"granite moe", "{'model_type':'granitemoe','num_local_experts':8,'num_experts_per_tok':2," LLAMA(4096, 11008, 32, 32, 32, 32000) "}", 37039116288},
    {"internlm 7B", "{'model_type':'internlm','bias':true," LLAMA(4096, 11008, 32, 32, 32, 103168) "}", 7321948160},
    {"nanochat, norms without weights", "{'model_type':'nanochat'," LLAMA(768, 8192, 12, 6, 6, 50304) "}", 256573440},
    {"persimmon", "{'model_type':'persimmon','qk_layernorm':true," LLAMA(4096, 16384, 36, 64, 64, 262144) "}", 9397175296},
    {"phi-3.5 moe", "{'model_type':'phimoe','num_local_experts':16,'num_experts_per_tok':2," LLAMA(4096, 6400, 32, 32, 8, 32064) "}", 41872793600},
    {"seed-oss", "{'model_type':'seed_oss','head_dim':128,'attention_bias':true," LLAMA(4096, 27648, 64, 80, 8, 155136) "}", 28921040896},
    {"bert base", "{'model_type':'bert'," BERT(768, 3072, 12, 12, 30522) "}", 109482240},
    {"bert large without model_type", "{" BERT(1024, 4096, 24, 16, 30522) "}", 335141888},
    {"distilbert", "{'model_type':'distilbert','dim':768,'hidden_dim':3072,'n_layers':6,'n_heads':12,'vocab_size':30522,'max_position_embeddings':512}", 66362880},
    {"vit-b/16", VIT(768, 3072, 12, 12), 86567656},
    {"vit-l/16", VIT(1024, 4096, 24, 16), 304326632},
    {"t5 small", T5(512, 2048, 64, 8, 6), 60506624},
    {"t5 base", T5(768, 3072, 64, 12, 12), 222903552},
    {"t5 3b", T5(1024, 16384, 128, 32, 24), 2851598336},
    {"t5 v1.1 xxl", "{'model_type':'t5','d_model':4096,'d_ff':10240,'d_kv':64,'num_heads':64,'num_layers':24,'vocab_size':32128,'feed_forward_proj':'gated-gelu','tie_word_embeddings':false}", 11135332352},
    {"bart large", "{'model_type':'bart','d_model':1024,'encoder_layers':12,'decoder_layers':12,'encoder_attention_heads':16,'decoder_attention_heads':16,'encoder_ffn_dim':4096,'decoder_ffn_dim':4096,'vocab_size':50265,'max_position_embeddings':1024}", 406291456},
    {"switch: words, attention, MLPs, norms, positions, then the decoder's", "{'model_type':'switch_transformers','d_model':8,'d_ff':16,'d_kv':4,'num_heads':2,'num_layers':2,'vocab_size':10,'num_experts':4,'encoder_sparse_step':2}",
     80 + (512 + 256 + 1024 + 32 + 40 + 64) + (1024 + 256 + 1024 + 32 + 56 + 64)},
    /* Megatron */
    {"megatron llama 7B", "{'num-layers':'32','hidden-size':4096,'ffn-hidden-size':'11008','num-attention-heads':32,'seq-length':4096,'padded-vocab-size':32000,'swiglu':'true','untie-embeddings-and-output-weights':true,'normalization':'RMSNorm','position-embedding-type':'rope','disable-bias-linear':true}", 6738415616},
    {"megatron llama-2 70B, swiglu's own width is not used", "{'num_layers':80,'hidden_size':8192,'ffn_hidden_size':28672,'num_attention_heads':64,'group_query_attention':true,'num_query_groups':8,'seq_length':4096,'vocab_size':32000,'swiglu':true,'untie_embeddings_and_output_weights':true,'normalization':'RMSNorm','position_embedding_type':'rope','disable_bias_linear':true}", 68976648192},
    {"megatron gpt-2 345M: table of 50304 rows", "{'num-layers':24,'hidden-size':1024,'num-attention-heads':16,'seq-length':1024,'max-position-embeddings':1024,'tokenizer-type':'GPT2BPETokenizer'}", 354823168 + 47 * 1024},
    {"the same on 8 ranks: multiples of 1024", "{'--num-layers':24,'--hidden-size':1024,'--num-attention-heads':16,'--max-position-embeddings':1024,'--vocab-size':50257,'--tensor-model-parallel-size':8}", 354823168 + 943 * 1024},
    {"megatron mixtral 8x7B", "{'num-layers':32,'hidden-size':4096,'ffn-hidden-size':14336,'num-attention-heads':32,'group-query-attention':true,'num-query-groups':8,'seq-length':4096,'vocab-size':32000,'swiglu':true,'untie-embeddings-and-output-weights':true,'normalization':'RMSNorm','position-embedding-type':'rope','disable-bias-linear':true,'num-experts':8,'moe-router-topk':2}", 46702792704},
    {"megatron deepseek-v3, norms of the low ranks, no correction", "{'num-layers':61,'hidden-size':7168,'ffn-hidden-size':18432,'num-attention-heads':128,'multi-latent-attention':true,'q-lora-rank':1536,'kv-lora-rank':512,'qk-head-dim':128,'qk-pos-emb-head-dim':64,'v-head-dim':128,'qk-layernorm':true,'seq-length':4096,'vocab-size':129280,'make-vocab-size-divisible-by':1,'swiglu':true,'untie-embeddings-and-output-weights':true,'normalization':'RMSNorm','position-embedding-type':'rope','disable-bias-linear':true,'num-experts':256,'moe-router-topk':8,'moe-ffn-hidden-size':2048,'moe-shared-expert-intermediate-size':2048,'moe-layer-freq':'([0]*3+[1]*58)'}", 671026419200 - 58 * 256},
};
/* clang-format on */

/* No two layers of one level have one name. */
static bool names_differ(const kp_graph *g)
{
    for (uint32_t i = 0; i < g->n_layers; i++)
        for (uint32_t k = g->layers[i].next; k != KP_NO; k = g->layers[k].next)
            if (!strcmp(g->layers[i].name, g->layers[k].name)) return false;
    return true;
}

Test(hf, totals)
{
    for (size_t i = 0; i < KP_LEN(totals); i++) {
        kp_reading r = kp_read_text(totals[i].text, NULL);
        cr_expect(r.status == KP_OK, "row %zu (%s): %s%s", i, totals[i].what, r.err.where, r.err.msg);
        if (r.graph) cr_expect(names_differ(r.graph), "row %zu (%s)", i, totals[i].what);
        if (r.graph)
            cr_expect(r.graph->params == totals[i].total, "row %zu (%s): %llu instead of %llu", i,
                      totals[i].what, (unsigned long long)r.graph->params,
                      (unsigned long long)totals[i].total);
        kp_reading_free(&r);
    }
}

#define SMALL "'hidden_size':64,'intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100"

/* clang-format off */
static const struct {
    const char *text;
    kp_status status;
    const char *msg, *hint; /* parts of what is said */
} bad[] = {
    {"{'model_type':'llama'}", KP_INPUT, "'hidden_size' is missing", ""},
    {"{'model_type':'lama'," SMALL "}", KP_UNSUPPORTED, "model_type 'lama' is not known", "'llama'"},
    {"{'model_type':'zzzzzzzzzz'," SMALL "}", KP_UNSUPPORTED, "model_type 'zzzzzzzzzz'", "known are llama"},
    {"{'architectures':['NoSuchForCausalLM']," SMALL "}", KP_UNSUPPORTED, "architecture 'NoSuchForCausalLM'", ""},
    {"{" SMALL "}", KP_UNSUPPORTED, "does not say what model it is", "model_type"},
    {"{'model_type':7," SMALL "}", KP_UNSUPPORTED, "does not say what model it is", ""},
    {"{'model_type':'llama','hidden_size':64,'intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':0,'vocab_size':100}", KP_INPUT, "'num_attention_heads' is 0, less than 1", ""},
    {"{'model_type':'llama','hidden_size':64,'intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':5,'vocab_size':100}", KP_INPUT, "which does not divide a hidden size of 64", ""},
    {"{'model_type':'llama','num_key_value_heads':3," SMALL "}", KP_INPUT, "'num_key_value_heads' is 3, which does not divide the 4 attention heads", ""},
    {"{'model_type':'llama','hidden_size':'64','intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'hidden_size' is no integer", ""},
    {"{'model_type':'llama','hidden_size':64.5,'intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'hidden_size' is no integer", ""},
    {"{'model_type':'llama','hidden_size':-64,'intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'hidden_size' is -64, less than 1", ""},
    {"{'model_type':'llama','hidden_size':[64],'intermediate_size':128,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'hidden_size' is no integer", ""},
    {"{'model_type':'llama','hidden_size':64,'intermediate_size':128,'num_hidden_layers':1000000000000,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'num_hidden_layers' is 1000000000000, more than", ""},
    {"{'model_type':'llama','hidden_size':64,'intermediate_size':128,'num_hidden_layers':10000,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'num_hidden_layers' is 10000, more than 1000", ""},
    {"{'model_type':'llama','hidden_size':2147483647,'intermediate_size':2147483647,'num_hidden_layers':1000,'num_attention_heads':1,'vocab_size':2147483647}", KP_INPUT, "exbibyte", ""},
    {"{'model_type':'llama','hidden_size':64,'num_hidden_layers':2,'num_attention_heads':4,'vocab_size':100}", KP_INPUT, "'intermediate_size' is missing", ""},
    {"{'model_type':'mixtral'," SMALL "}", KP_INPUT, "'num_local_experts' is missing", ""},
    {"{'model_type':'mixtral','num_local_experts':2,'num_experts_per_tok':3," SMALL "}", KP_INPUT, "'num_experts_per_tok' is 3 of 2 experts", ""},
    {"{'model_type':'llama','tie_word_embeddings':'yes'," SMALL "}", KP_INPUT, "'tie_word_embeddings' is no switch", ""},
    {"{'model_type':'gpt2','n_embd':64,'n_layer':2,'n_head':4,'vocab_size':100}", KP_INPUT, "'max_position_embeddings' is missing", ""},
    {"{'model_type':'deepseek_v4'," SMALL "}", KP_INPUT, "'hc_mult' is missing", ""},
    {"{'model_type':'kimi_linear'," SMALL "}", KP_UNSUPPORTED, "latent experts", ""},
    {"{'model_type':'minimax_m3','num_local_experts':2,'num_experts_per_tok':1,'mlp_layer_types':['dense']," SMALL "}", KP_INPUT, "'mlp_layer_types' has 1 entries for 2 layers", ""},
    {"{'model_type':'nemotron_h','hybrid_override_pattern':'M'," SMALL "}", KP_INPUT, "one entry for each of 2 layers", ""},
    {"{'model_type':'nemotron_h','hybrid_override_pattern':'-X'," SMALL "}", KP_INPUT, "layer 1 is of no known kind", ""},
    {"{'model_type':'nemotron_h','hybrid_override_pattern':'-E'," SMALL "}", KP_INPUT, "'n_routed_experts' is missing", ""},
    {"{'model_type':'nemotron-nas','block_configs':[]," SMALL "}", KP_INPUT, "'block_configs' is no list of 2 layers", ""},
    {"{'model_type':'nemotron-nas','block_configs':[{},{}]," SMALL "}", KP_INPUT, "'n_heads_in_group' is missing", ""},
    {"{'model_type':'mimo_v2_flash','n_routed_experts':2,'num_experts_per_tok':1," SMALL "}", KP_INPUT, "'hybrid_layer_pattern' is missing", ""},
    {"{'model_type':'deepseek_v3','n_routed_experts':2,'num_experts_per_tok':1,'moe_layer_freq':[1]," SMALL "}", KP_INPUT, "'moe_layer_freq' has 1 entries for 2 layers", ""},
    {"{'model_type':'t5','d_model':64}", KP_INPUT, "is missing", ""},
    {"{'model_type':'bart','d_model':64,'vocab_size':10}", KP_INPUT, "is missing", ""},
    {"{'model_type':'vit','patch_size':500," SMALL "}", KP_INPUT, "'patch_size' is 500, more than an 'image_size' of 224", ""},
    {"{'num-layers':2,'hidden-size':64}", KP_INPUT, "'padded_vocab_size' is missing", "vocab-size"},
    {"{'num-layers':'two','hidden-size':64}", KP_INPUT, "'num_layers' is no integer", ""},
    {"{'num-layers':2,'hidden-size':64,'num-attention-heads':4,'vocab-size':100}", KP_INPUT, "'max_position_embeddings' is missing", ""},
    {"{'num-layers':2,'hidden-size':64,'num-attention-heads':4,'vocab-size':100,'seq-length':8,'num-experts':4,'moe-layer-freq':'([0]*3+[1]*9)'}", KP_INPUT, "is no list of 2 layers", ""},
    {"{'num-layers':2,'hidden-size':64,'num-attention-heads':4,'vocab-size':100,'seq-length':8,'num-experts':4,'moe-layer-freq':'[0]*9999999'}", KP_INPUT, "is no list of 2 layers", ""},
    {"{'num-layers':2,'hidden-size':64,'hybrid-layer-pattern':'M-'}", KP_UNSUPPORTED, "only GPT, BERT and T5 are known", "config.json"},
};
/* clang-format on */

Test(hf, bad_configs_are_refused_by_their_key)
{
    for (size_t i = 0; i < KP_LEN(bad); i++) {
        kp_reading r = kp_read_text(bad[i].text, NULL);
        cr_expect_eq(r.status, bad[i].status, "row %zu: status %d: %s", i, r.status, r.err.msg);
        cr_expect(strstr(r.err.msg, bad[i].msg), "row %zu: '%s' lacks '%s'", i, r.err.msg, bad[i].msg);
        cr_expect(strstr(r.err.hint, bad[i].hint), "row %zu: hint '%s'", i, r.err.hint);
        kp_reading_free(&r);
    }
}

static uint32_t weight_named(const kp_graph *graph, const char *path)
{
    for (uint32_t i = 0; i < graph->n_weights; i++)
        if (!strcmp(graph->weights[i].path, path)) return i;
    return KP_NO;
}

/* clang-format off */
static const struct {
    const char *text, *path;
    int64_t rows, columns; /* 0: of one axis */
} weights[] = {
    {"{'model_type':'llama'," SMALL "}", "model.embed_tokens.weight", 100, 64},
    {"{'model_type':'llama'," SMALL "}", "model.layers.1.self_attn.q_proj.weight", 64, 64},
    {"{'model_type':'llama'," SMALL "}", "model.layers.0.mlp.gate_proj.weight", 128, 64},
    {"{'model_type':'llama'," SMALL "}", "model.layers.0.mlp.down_proj.weight", 64, 128},
    {"{'model_type':'llama'," SMALL "}", "model.layers.0.post_attention_layernorm.weight", 64, 0},
    {"{'model_type':'llama'," SMALL "}", "lm_head.weight", 100, 64},
    {GPT2(64, 2, 4), "transformer.h.0.attn.c_attn.weight", 64, 192},
    {GPT2(64, 2, 4), "transformer.h.1.mlp.c_proj.bias", 64, 0},
    {"{" BERT(64, 128, 2, 4, 100) "}", "encoder.layer.0.attention.self.query.bias", 64, 0},
    {"{" BERT(64, 128, 2, 4, 100) "}", "encoder.layer.0.attention.output.LayerNorm.weight", 64, 0},
    {"{" BERT(64, 128, 2, 4, 100) "}", "encoder.layer.1.intermediate.dense.weight", 128, 64},
    {"{" BERT(64, 128, 2, 4, 100) "}", "encoder.layer.1.output.dense.weight", 64, 128},
    {T5(64, 128, 16, 4, 2), "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 32, 4},
    {T5(64, 128, 16, 4, 2), "decoder.block.1.layer.1.EncDecAttention.k.weight", 64, 64},
    {"{'num-layers':2,'hidden-size':64,'num-attention-heads':4,'vocab-size':100,'seq-length':8}", "decoder.layers.0.self_attention.linear_qkv.weight", 192, 64},
    {"{'num-layers':2,'hidden-size':64,'num-attention-heads':4,'vocab-size':100,'seq-length':8}", "embedding.word_embeddings.weight", 128, 64},
};
/* clang-format on */

Test(hf, weights_are_called_as_the_framework_calls_them)
{
    for (size_t i = 0; i < KP_LEN(weights); i++) {
        kp_reading r = kp_read_text(weights[i].text, NULL);
        cr_assert_eq(r.status, KP_OK, "row %zu: %s", i, r.err.msg);
        uint32_t w = weight_named(r.graph, weights[i].path);
        cr_expect_neq(w, KP_NO, "row %zu: no weight '%s'", i, weights[i].path);
        if (w != KP_NO) {
            kp_shape s = r.graph->weights[w].shape;
            cr_expect_eq(s.rank, weights[i].columns ? 2 : 1, "row %zu", i);
            cr_expect_eq(s.dim[0], weights[i].rows, "row %zu", i);
            cr_expect(!weights[i].columns || s.dim[1] == weights[i].columns, "row %zu", i);
        }
        kp_reading_free(&r);
    }
}

/* Of LLaMA 7B at 4096 tokens: 2 FLOP a parameter of a product and token, and attention's pairs. */
Test(hf, work_of_a_llama)
{
    kp_bind bind = {.seq = 4096};
    kp_reading r = kp_read_text("{'model_type':'llama'," LLAMA(4096, 11008, 32, 32, 32, 32000) "}", &bind);
    cr_assert_eq(r.status, KP_OK);
    double flops = 0, T = 4096, products = 6738415616. - 32000. * 4096 - 65 * 4096.;
    for (uint32_t i = 0; i < r.graph->n_ops; i++) flops += r.graph->ops[i].forward_flops;
    double want = T * 2 * products + 32 * 32 * T * T * (2. * 128 + 2 * 128 + 5);
    cr_expect(fabs(flops / want - 1) < 0.002, "%.6g instead of %.6g", flops, want);
    cr_expect_eq(r.graph->n_open, 0);
    cr_expect_str_eq(r.graph->compile.loss, "sparse_categorical_crossentropy");
    kp_reading_free(&r);
}

Test(hf, a_sequence_is_open_until_it_is_bound)
{
    kp_reading r = kp_read_text(GPT2(64, 2, 4), NULL);
    cr_assert_eq(r.status, KP_OK);
    cr_assert_eq(r.graph->n_open, 1);
    cr_expect_str_eq(r.graph->open[0].input, "input_ids");
    cr_expect_eq(r.graph->open[0].axis, 1);
    kp_reading_free(&r);
    r = kp_read_text(GPT2(64, 2, 4), &(kp_bind){.seq = 2048});
    cr_expect_eq(r.status, KP_USAGE);
    cr_expect(strstr(r.err.msg, "longer than the model's 1024 learned positions"), "%s", r.err.msg);
    kp_reading_free(&r);
}

/* A tied head reads the embedding's table: one weight, two ops, the second a product with it. */
Test(hf, a_tied_head_uses_the_table_again)
{
    kp_reading r = kp_read_text(GPT2(64, 2, 4), &(kp_bind){.seq = 16});
    cr_assert_eq(r.status, KP_OK);
    const kp_graph *g = r.graph;
    const kp_graph_op *last = &g->ops[g->tensors[g->outputs[0]].op];
    cr_expect_eq(last->op, KP_OP_MATMUL);
    cr_expect(last->attr.transposed_w);
    cr_expect_str_eq(g->weights[last->weights[0]].path, "transformer.wte.weight");
    cr_expect_eq(kp_layer_named(g, "lm_head")->n_weights, 0);
    cr_expect(kp_layer_named(g, "transformer.h.0")->is_model);
    kp_reading_free(&r);
}

/* Experts: weights of all E, work of top_k a token. */
Test(hf, experts_work_on_the_tokens_that_come_to_them)
{
    kp_reading r = kp_read_text("{'model_type':'mixtral','num_local_experts':8,'num_experts_per_tok':2," SMALL "}",
                                &(kp_bind){.seq = 16});
    cr_assert_eq(r.status, KP_OK);
    double flops = 0;
    for (uint32_t i = 0; i < r.graph->n_ops; i++) {
        const kp_graph_op *op = &r.graph->ops[i];
        if (op->op == KP_OP_MATMUL && r.graph->weights[op->weights[0]].shape.rank == 3)
            flops += op->forward_flops;
    }
    cr_expect_float_eq(flops, 2. /* layers */ * 16 * 2 /* top_k */ * 2 * 3 * 64 * 128, 1);
    kp_reading_free(&r);
}

Test(hf, types_of_the_file)
{
    static const struct {
        const char *text, *policy;
        kp_dtype variable, compute;
    } rows[] = {
        {"{'model_type':'llama'," SMALL "}", NULL, KP_FLOAT32, KP_FLOAT32},
        {"{'model_type':'llama','torch_dtype':'bfloat16'," SMALL "}", NULL, KP_BFLOAT16, KP_BFLOAT16},
        {"{'model_type':'llama','torch_dtype':'bfloat16'," SMALL "}", "mixed_float16", KP_FLOAT32, KP_FLOAT16},
        {"{'num-layers':2,'hidden-size':64,'num-attention-heads':4,'vocab-size':100,'seq-length':8,'bf16':true}", NULL, KP_BFLOAT16, KP_BFLOAT16},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_reading r = kp_read_text(rows[i].text, &(kp_bind){.dtype_policy = rows[i].policy});
        cr_assert_eq(r.status, KP_OK, "row %zu: %s", i, r.err.msg);
        cr_expect_eq(r.graph->weights[0].dtype, rows[i].variable, "row %zu", i);
        cr_expect_eq(r.graph->tensors[r.graph->outputs[0]].dtype, rows[i].compute, "row %zu", i);
        kp_reading_free(&r);
    }
}

/* Whichever allocation fails, reading says so and nothing else. */
Test(hf, memory_may_run_out_anywhere)
{
    static const char *const texts[] = {
        GPT2(64, 1, 4), T5(64, 128, 16, 4, 1), VIT(64, 128, 1, 4),
        "{'model_type':'mixtral','num_local_experts':8,'num_experts_per_tok':2," SMALL "}",
        "{'model_type':'bart','d_model':64,'encoder_layers':1,'decoder_layers':1,'encoder_attention_heads':4,'decoder_attention_heads':4,'encoder_ffn_dim':64,'decoder_ffn_dim':64,'vocab_size':50,'max_position_embeddings':16}",
        "{'num-layers':1,'hidden-size':64,'num-attention-heads':4,'vocab-size':100,'seq-length':8}",
    };
    for (size_t i = 0; i < KP_LEN(texts); i++) {
        char *text = kp_quoted(texts[i]);
        kp_status status = KP_NOMEM;
        for (uint64_t n = 1; status != KP_OK && n < 100000; n += 1 + n / 32) {
            kp_arena arena;
            kp_err err;
            const kp_graph *graph;
            kp_arena_init(&arena, 0);
            arena.fail_call = n;
            status = kp_model_read(text, strlen(text), "m.json", NULL, &arena, &graph, &err);
            cr_expect(status == KP_OK || status == KP_NOMEM, "row %zu, allocation %llu: %s", i,
                      (unsigned long long)n, err.msg);
            kp_arena_release(&arena);
        }
        cr_expect_eq(status, KP_OK, "row %zu", i);
        free(text);
    }
}
