/* SPDX-License-Identifier: MIT
 *
 * planner/model/hf.h — transformers that a file describes by sizes and not by layers.
 *
 * A Hugging Face config.json and Megatron-LM's arguments say how wide and how deep a known
 * architecture is. kp_hf_arch is that in one form: a family (hf_families.c) gives names, order of
 * norms and what has a bias; the file gives the numbers, each checked. hf_decoder.c, hf_seq2seq.c
 * and hf_vision.c make from it the same specification that the Keras readers make: an embedding,
 * one nested model a block with its norms, attention and MLP, a head. Rules of their rows are in
 * hf_rules*.c; weights have the names and shapes of the framework's state dict.
 * Source: transformers/models/<family>/modeling_<family>.py at 5.x, megatron/core at 0.14. */
#ifndef KP_PLANNER_MODEL_HF_H
#define KP_PLANNER_MODEL_HF_H

#include "planner/model/rules.h"

#define KP_HF_LAYERS_MAX 1000 /* blocks of a file; the deepest in use have some 200 */

/* ---- what a block is made of ---- */

typedef enum kp_hf_qk_norm {
    KP_HF_QK_NONE,
    KP_HF_QK_HEAD, /* over each head's width, one scale for all heads */
    KP_HF_QK_ALL,  /* over all heads together */
    KP_HF_QK_EACH, /* over each head's width, every head has its own scale */
} kp_hf_qk_norm;

typedef struct kp_hf_norm {
    bool rms, scale, bias;
} kp_hf_norm;

/* Names of projections; NULL: there is none. qkv: one product instead of three. */
typedef struct kp_hf_names {
    const char *embed, *positions, *types, *embed_norm, *block, *final_norm, *head;
    const char *norm1, *attn, *norm2, *mlp, *norm_attn, *norm_mlp; /* the last two: behind them */
    const char *q, *k, *v, *qkv, *o, *q_norm, *k_norm;
    const char *q_down, *q_down_norm, *q_up, *kv_down, *kv_down_norm, *kv_up; /* MLA */
    const char *kv; /* one product for keys and values */
    const char *head_gate; /* a gate a head on what it read */
    const char *gate, *up, *gate_up, *down; /* gate_up: one product instead of two */
    const char *router, *correction, *experts, *expert_up, *expert_down, *shared, *shared_gate;
} kp_hf_names;

typedef struct kp_hf_attn {
    const kp_hf_names *names;
    int64_t H, K, dk, dv;           /* heads, key and value heads, their widths */
    int64_t q_rank, kv_rank, rope;  /* MLA (DeepSeek-V2, arXiv 2405.04434): kv_rank > 0 */
    int64_t index_heads, index_dim; /* an indexer picks what is attended to */
    int64_t ratio, picked;          /* DeepSeek-V4: tokens behind one compressed key; how many */
    int64_t out_groups, out_rank;   /* a low-rank output: out_groups > 0 */
    int64_t window, buckets;        /* 0: none; T5's relative positions */
    double dropout, out_dropout;
    kp_hf_qk_norm qk_norm;
    kp_hf_norm qk_norm_kind;
    bool in_out;                    /* kernels are (in, out): GPT-2's Conv1D */
    bool q_bias, k_bias, v_bias, o_bias, rotary, sinks, out_gate, shares_kv, low_norms;
} kp_hf_attn;

enum { KP_HF_OVERLAP_RATIO = 4 }; /* so few tokens behind a key: windows overlap, an indexer picks */

typedef struct kp_hf_mlp {
    const kp_hf_names *names;
    int64_t I;
    kp_activation act;
    double dropout;
    bool in_out, up_bias, down_bias, gated;
    bool open; /* its products stand in the block itself: no module around them */
    /* mixture of experts: E > 0; then I is an expert's and shared_I the shared experts' together */
    int64_t E, top_k, shared_I, latent;
    bool sigmoid, correction, router_bias, expert_bias, shared_gate;
    bool weighs_inside; /* probabilities multiply what goes into the second product, not its result */
    bool beside; /* Gemma 4: experts beside the MLP of shared_I, each with norms; the router scales */
} kp_hf_mlp;

/* A mixer with a state instead of attention: Mamba-2 or Gated DeltaNet. */
typedef struct kp_hf_mixer {
    int64_t H, K, dk, dv, kernel; /* value heads, key heads (groups), widths, convolution */
    bool delta, split, conv_bias, proj_bias;
} kp_hf_mixer;

typedef enum kp_hf_order {
    KP_HF_PRE,        /* x + attn(norm(x)), then the same with the MLP */
    KP_HF_POST,       /* norm(x + attn(x)), ... */
    KP_HF_BEHIND,     /* x + norm(attn(x)), ... */
    KP_HF_SANDWICH,   /* x + norm(attn(norm(x))), ... */
    KP_HF_PARALLEL,   /* x + attn(norm1(x)) + mlp(norm2(x)) */
    KP_HF_TOGETHER,   /* x + attn(norm(x)) + mlp(norm(x)) */
    KP_HF_STREAMS,    /* n streams: mix(x) + spread(attn(norm(collapse(x)))), ... */
} kp_hf_order;

/* One block: what stands in the place of attention and of the MLP. NULL: nothing. */
typedef struct kp_hf_block {
    const kp_layer_cfg *attn, *mlp;     /* of rows attn_row and mlp_row */
    const kp_layer_row *attn_row, *mlp_row;
    const char *attn_name, *mlp_name;
} kp_hf_block;

typedef struct kp_hf_family kp_hf_family;

typedef struct kp_hf_arch {
    const kp_hf_family *family;
    const kp_hf_names *names;
    const char *block_class; /* "LlamaDecoderLayer" */
    kp_policy policy;
    int64_t h, L, V, P, types, embed_width, pos_rows;
    int64_t rows;            /* of the embedding's table: V, padded */
    int64_t streams;         /* KP_HF_STREAMS */
    kp_hf_order order;
    kp_hf_norm norm;
    kp_hf_attn attn;
    kp_hf_mlp mlp;           /* of layers without experts */
    int64_t expert_I;        /* an expert's width if no key of its own says it */
    const kp_hf_block *blocks; /* L; made by kp_hf_blocks */
    double embed_dropout, softcap;
    bool tied, head_bias, final_norm, pooler, mlm_head, learned_positions;
} kp_hf_arch;

/* ---- reading numbers: hf_keys.c ---- */

typedef struct kp_hf_keys {
    const json_t *json;
    kp_err *err;
    bool loose; /* dashes for underscores, numbers and switches as texts */
} kp_hf_keys;

/* The value of the first of `names` ("a|b|c") that is there and not null; NULL. */
json_t *kp_hf_find(const kp_hf_keys *keys, const char *names);
/* An integer of [min, 2^31); `fallback` if it is absent. */
kp_status kp_hf_int(const kp_hf_keys *keys, const char *names, int64_t min, int64_t fallback,
                    int64_t *ret);
/* The same, KP_INPUT if it is absent. */
kp_status kp_hf_need(const kp_hf_keys *keys, const char *names, int64_t *ret);
kp_status kp_hf_bool(const kp_hf_keys *keys, const char *names, bool fallback, bool *ret);
kp_status kp_hf_num(const kp_hf_keys *keys, const char *names, double fallback, double *ret);
/* NULL if it is absent or no text. */
const char *kp_hf_text(const kp_hf_keys *keys, const char *names);
kp_activation kp_hf_activation(const char *name);

/* ---- families: hf_families.c ---- */

typedef enum kp_hf_kind {
    KP_HF_DECODER, KP_HF_ENCODER, KP_HF_T5, KP_HF_BART, KP_HF_VISION,
} kp_hf_kind;

enum { /* traits */
    KP_HF_RMS = 1 << 0, KP_HF_GATED = 1 << 1, KP_HF_QKV_BIAS = 1 << 2, KP_HF_O_BIAS = 1 << 3,
    KP_HF_MLP_BIAS = 1 << 4, KP_HF_NORM_BIAS = 1 << 5, KP_HF_TIED = 1 << 6, KP_HF_LEARNED = 1 << 7,
    KP_HF_ROTARY = 1 << 8, KP_HF_IN_OUT = 1 << 9, KP_HF_EMBED_NORM = 1 << 10,
    KP_HF_HEAD_BIAS = 1 << 11, KP_HF_NO_SCALE = 1 << 12, KP_HF_QK_NORM = 1 << 13,
    KP_HF_QK_NORM_ALL = 1 << 14, KP_HF_MULTI_QUERY = 1 << 15, KP_HF_HALF_FFN = 1 << 16,
    KP_HF_MOE = 1 << 20, KP_HF_CORRECTION = 1 << 21, KP_HF_QKV_ONLY = 1 << 22, /* attention_bias: not o */
    KP_HF_WIDE_HEADS = 1 << 23, /* 256 wide if the file does not say */
    KP_HF_BESIDE = 1 << 26, /* experts beside the MLP, if the file says so */
    KP_HF_MAY_MOE = 1 << 24, /* if the file says so */
    KP_HF_ONE_SHARED = 1 << 25, /* one shared expert, as wide as the others */
    KP_HF_OUT_GATE = 1 << 17, KP_HF_SINKS = 1 << 18, KP_HF_EXPERT_BIAS = 1 << 19,
    KP_HF_ALL_BIAS = KP_HF_QKV_BIAS | KP_HF_O_BIAS | KP_HF_MLP_BIAS | KP_HF_NORM_BIAS,
    KP_HF_LLAMA = KP_HF_RMS | KP_HF_GATED | KP_HF_ROTARY,
};

struct kp_hf_family {
    const char *model_type;
    kp_hf_kind kind;
    const kp_hf_names *names;
    const char *block_class;
    kp_hf_order order;
    uint32_t traits;
    const char *act; /* if the file does not say */
};

/* Sorted by model_type. */
extern const kp_hf_family kp_hf_families[];
extern const size_t kp_hf_n_families;
const kp_hf_family *kp_hf_family_find(const char *model_type);

/* ---- making a specification: hf_net.c ---- */

/* A model being written, layer by layer, each called once in this order. */
typedef struct kp_hf_net {
    kp_reader *reader;
    kp_spec_model *model;
    kp_policy policy;
    uint32_t cap;
} kp_hf_net;

/* `cap`: most layers it will have. */
kp_status kp_hf_begin(kp_reader *reader, const char *name, const char *class_name,
                      kp_policy policy, uint32_t cap, kp_hf_net *ret);
/* An input of the graph, or of a nested model (name NULL, shape ignored). */
kp_status kp_hf_input(kp_hf_net *net, const char *name, kp_shape shape, kp_dtype dtype,
                      kp_ref *ret);
kp_status kp_hf_layer(kp_hf_net *net, const char *name, const kp_layer_row *row,
                      const kp_layer_cfg *cfg, const kp_ref *refs, uint32_t n, kp_ref *ret);
/* The nested model has ended. */
kp_status kp_hf_nest(kp_hf_net *net, const kp_hf_net *inner, const kp_ref *refs, uint32_t n,
                     kp_ref *ret);
kp_status kp_hf_end(kp_hf_net *net, const kp_ref *outputs, uint32_t n);
/* A configuration to fill. */
kp_layer_cfg *kp_hf_cfg(kp_reader *reader);
/* A layer of a row in one call, its configuration given by value. */
kp_status kp_hf_add(kp_hf_net *net, const char *name, const char *row, kp_layer_cfg cfg,
                    const kp_ref *refs, uint32_t n, kp_ref *ret);

/* A layer that adds what it is given. */
kp_status kp_hf_sum(kp_hf_net *net, const char *name, const kp_ref *refs, uint32_t n, kp_ref *ret);

/* The rows of these architectures, sorted by class name (hf_rows.c). */
const kp_layer_row *kp_hf_row(const char *class_name);

/* ---- readers ---- */

/* From a config to the architecture. KP_INPUT, KP_UNSUPPORTED. */
kp_status kp_hf_arch_read(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_family *family,
                          kp_hf_arch *ret);
/* The types that the file or the user says. */
void kp_hf_policy_read(const kp_reader *reader, const kp_hf_keys *keys, kp_policy *ret);
/* A decoder or an encoder of tokens; seq: its length, KP_DIM_OPEN: left to the user. */
kp_status kp_hf_decoder(kp_reader *reader, const kp_hf_arch *arch, int64_t seq, kp_spec *ret);
/* Block i of `arch`, called on *at. */
kp_status kp_hf_block_write(kp_hf_net *net, const kp_hf_arch *arch, int64_t i, kp_ref *at);
kp_status kp_hf_t5(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_family *family,
                   kp_spec *ret);
kp_status kp_hf_bart(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_family *family,
                     kp_spec *ret);
kp_status kp_hf_vision(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                       kp_spec *ret);

/* torchtitan's settings in the member "torchtitan"; nothing without one. KP_INPUT. */
kp_status kp_hf_titan_read(const kp_hf_keys *keys, kp_arena *arena, struct kp_launch *launch);

/* True if a JSON object without Keras's keys is a config, or a set of Megatron's arguments. */
bool kp_hf_is(const json_t *json);
bool kp_megatron_is(const json_t *json);
/* Reads one. KP_INPUT names key and cause, KP_UNSUPPORTED the model_type and near ones. */
kp_status kp_hf_read(kp_reader *reader, json_t *json, kp_spec *ret);
kp_status kp_megatron_read(kp_reader *reader, json_t *json, kp_spec *ret);
/* The plan in Megatron arguments (oplan.h), NULL if there is none. KP_INPUT, KP_UNSUPPORTED. */
kp_status kp_megatron_oplan(kp_reader *reader, const kp_hf_keys *keys,
                            const struct kp_oplan **ret);

#endif
