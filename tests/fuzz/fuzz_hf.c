/* SPDX-License-Identifier: MIT
 *
 * Hugging Face configurations and Megatron's arguments. The bytes choose a family and change a
 * small configuration that fits it: each pair is a key and what it becomes, so that most inputs
 * are nearly right. What is read holds together (kp_graph_check) and has a summary; what is refused
 * has a message. */
#include "planner/model/hf.h"
#include "proto/messages.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keys of all readers, each with a value that goes with the others. */
static const struct {
    const char *key, *value;
} keys[] = {
    {"hidden_size", "64"}, {"num_hidden_layers", "3"}, {"num_attention_heads", "4"}, {"vocab_size", "100"},
    {"intermediate_size", "32"}, {"num_key_value_heads", "2"}, {"head_dim", "8"}, {"max_position_embeddings", "64"},
    {"type_vocab_size", "2"}, {"tie_word_embeddings", "true"}, {"attention_bias", "true"}, {"mlp_bias", "true"},
    {"use_qk_norm", "true"}, {"num_experts", "4"}, {"num_experts_per_tok", "2"}, {"moe_intermediate_size", "16"},
    {"n_shared_experts", "1"}, {"shared_expert_intermediate_size", "24"}, {"first_k_dense_replace", "1"},
    {"moe_layer_freq", "2"}, {"mlp_only_layers", "[1]"}, {"decoder_sparse_step", "2"}, {"kv_lora_rank", "16"},
    {"q_lora_rank", "24"}, {"qk_nope_head_dim", "8"}, {"qk_rope_head_dim", "4"}, {"v_head_dim", "8"},
    {"index_n_heads", "2"}, {"index_head_dim", "8"}, {"d_model", "64"}, {"d_ff", "32"}, {"d_kv", "16"},
    {"num_heads", "4"}, {"num_layers", "2"}, {"num_decoder_layers", "3"}, {"feed_forward_proj", "\"gated-gelu\""},
    {"encoder_layers", "2"}, {"decoder_layers", "1"}, {"encoder_attention_heads", "4"}, {"decoder_attention_heads", "2"},
    {"encoder_ffn_dim", "32"}, {"decoder_ffn_dim", "16"}, {"image_size", "32"}, {"patch_size", "8"}, {"num_labels", "5"},
    {"full_attention_interval", "2"}, {"layer_types", "[\"full_attention\",\"x\",\"full_attention\"]"},
    {"linear_num_value_heads", "4"}, {"linear_num_key_heads", "2"}, {"linear_key_head_dim", "8"},
    {"linear_value_head_dim", "8"}, {"hybrid_override_pattern", "\"M*-\""}, {"mamba_num_heads", "4"},
    {"mamba_head_dim", "8"}, {"n_groups", "2"}, {"ssm_state_size", "16"}, {"hybrid_layer_pattern", "[0,1,0]"},
    {"block_configs", "[{\"attention\":{\"n_heads_in_group\":2},\"ffn\":{\"ffn_mult\":1.5}},{\"attention\":{\"no_op\":true},\"ffn\":{\"no_op\":true}},{}]"},
    {"word_embed_proj_dim", "32"}, {"do_layer_norm_before", "false"}, {"final_logit_softcapping", "30.0"},
    {"attention_dropout", "0.1"}, {"hidden_dropout", "0.1"}, {"torch_dtype", "\"bfloat16\""}, {"multi_query", "true"},
    {"global_head_dim", "16"}, {"attention_k_eq_v", "true"}, {"enable_moe_block", "true"}, {"moe_latent_size", "8"},
    /* Megatron */
    {"num-layers", "\"2\""}, {"hidden-size", "64"}, {"num-attention-heads", "4"}, {"seq-length", "32"},
    {"padded-vocab-size", "128"}, {"vocab-size", "\"100\""}, {"ffn-hidden-size", "96"}, {"swiglu", "\"true\""},
    {"num-query-groups", "2"}, {"multi-latent-attention", "true"}, {"num-experts", "4"}, {"moe-router-topk", "1"},
    {"moe-layer-freq", "\"([0]*1+[1]*1)\""}, {"position-embedding-type", "\"rope\""}, {"normalization", "\"RMSNorm\""},
    {"untie-embeddings-and-output-weights", "true"}, {"qk-layernorm", "true"}, {"bf16", "true"},
};
static const char *const odd[] = {
    "0", "1", "-1", "7", "65536", "2147483647", "1000000000000", "9223372036854775807", "0.5", "1e300",
    "\"\"", "\"12\"", "null", "true", "false", "[]", "[0,1,0]", "{}", "\"[1]*2000\"", "2000",
};

/* ret += "\"key\":value,"; false if there is no more room. */
static bool put(char *text, size_t size, size_t *at, const char *key, const char *value)
{
    int n = snprintf(text + *at, size - *at, "\"%s\":%s,", key, value);
    if (n < 0 || (size_t)n >= size - *at) return false;
    *at += (size_t)n;
    return true;
}

/* Each key once: with its own value, left out, or with an odd one, as the last pair about it says. */
static size_t write_text(const uint8_t *data, size_t size, char *text, size_t room)
{
    uint8_t change[KP_LEN(keys)] = {0}; /* 0: as it is; 1: left out; else odd[change - 2] */
    bool megatron = size > 0 && data[0] == 255;
    size_t at = 1;
    text[0] = '{';
    if (size && !megatron) {
        char type[64];
        snprintf(type, sizeof(type), "\"%s\"", kp_hf_families[data[0] % kp_hf_n_families].model_type);
        put(text, room, &at, "model_type", type);
    }
    for (size_t i = 1; i + 1 < size; i += 2)
        change[data[i] % KP_LEN(keys)] = (uint8_t)(data[i + 1] % (KP_LEN(odd) + 2));
    for (size_t i = 0; i < KP_LEN(keys); i++)
        if (change[i] != 1)
            put(text, room, &at, keys[i].key, change[i] ? odd[change[i] - 2] : keys[i].value);
    text[at - 1] = '}';
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[8192];
    size_t len = write_text(data, size, text, sizeof(text));
    const kp_bind bind = {.seq = size % 3 ? 0 : 16};
    const kp_graph *graph = NULL;
    kp_summary summary;
    kp_err err = {0};
    kp_arena arena;
    kp_arena_init(&arena, (size_t)128 << 20);
    kp_status status = kp_model_read(text, len, "fuzz.json", &bind, &arena, &graph, &err);
    if (status == KP_OK) {
        kp_graph_check(graph);
        status = kp_graph_summary(graph, &arena, &summary, NULL);
        assert(status == KP_OK || status == KP_NOMEM);
    } else {
        assert(err.msg[0] && (status == KP_INPUT || status == KP_UNSUPPORTED ||
                              status == KP_USAGE || status == KP_NOMEM));
    }
    kp_arena_release(&arena);
    return 0;
}
