/* SPDX-License-Identifier: MIT
 *
 * Megatron-LM's BERT and T5: the blocks of its GPT, with kinds of tokens and two heads, or with a
 * decoder whose blocks also attend over the encoder's output. Source: megatron/core/models/bert,
 * megatron/core/models/T5. */
#include "planner/model/hf_blocks.h"
#include "planner/model/megatron.h"

typedef struct writing {
    const kp_hf_arch *arch;
    kp_hf_net net;
    kp_ref at, encoded;
} writing;

static kp_status norm(writing *w, const char *name)
{
    kp_hf_norm n = w->arch->norm;
    kp_ref x = w->at;
    return kp_hf_add(&w->net, name, n.rms ? "RMSNorm" : "LayerNorm",
                     (kp_layer_cfg){.scale = n.scale, .center = n.bias}, &x, 1, &w->at);
}

static kp_status linear(writing *w, const char *name, kp_layer_cfg cfg, kp_ref from, kp_ref *ret)
{
    return kp_hf_add(&w->net, name, "Linear", cfg, &from, 1, ret);
}

static kp_status dropout(writing *w, const char *name)
{
    kp_layer_cfg *cfg = kp_hf_cfg(w->net.reader);
    kp_ref x = w->at;
    if (!cfg) return kp_nomem(w->net.reader->err);
    cfg->rate = w->arch->embed_dropout;
    if (!(cfg->rate > 0)) return KP_OK;
    return kp_hf_layer(&w->net, name, kp_row_find(NULL, "Dropout"), cfg, &x, 1, &w->at);
}

/* Words, positions and kinds of tokens; a second embedding reads the tables of the first. */
static kp_status embed(writing *w, const char *suffix, kp_ref ids)
{
    const kp_hf_arch *a = w->arch;
    kp_arena *arena = w->net.reader->arena;
    bool again = *suffix;
    kp_ref parts[3];
    uint32_t n = 1;
    const char *words = kp_arena_fmt(arena, "%s%s", a->names->embed, suffix);
    const char *rows = kp_arena_fmt(arena, "%s%s", a->names->positions, suffix);
    const char *all = kp_arena_fmt(arena, "embeddings%s", suffix);
    const char *drop = kp_arena_fmt(arena, "dropout%s", suffix);
    kp_layer_cfg table = {.rows = a->rows, .width = a->h};
    kp_layer_cfg positions = {.rows = a->pos_rows, .width = a->h, .count = a->P};
    if (again) table.text = kp_arena_fmt(arena, "%s.weight", a->names->embed);
    if (again) positions.text = kp_arena_fmt(arena, "%s.weight", a->names->positions);
    if (!words || !rows || !all || !drop || (again && (!table.text || !positions.text)))
        return kp_nomem(w->net.reader->err);
    KP_TRY(kp_hf_add(&w->net, words, "Embedding", table, &ids, 1, &parts[0]));
    if (a->learned_positions)
        KP_TRY(kp_hf_add(&w->net, rows, "PositionEmbedding", positions, &ids, 1, &parts[n++]));
    if (a->types)
        KP_TRY(kp_hf_add(&w->net, a->names->types, "Embedding",
                         (kp_layer_cfg){.rows = a->types, .width = a->h}, &ids, 1, &parts[n++]));
    w->at = parts[0];
    if (n > 1) KP_TRY(kp_hf_sum(&w->net, all, parts, n, &w->at));
    return dropout(w, drop);
}

/* The head over the vocabulary, with a bias of its own. */
static kp_status head(writing *w, kp_ref *ret)
{
    kp_layer_cfg cfg = {.units = w->arch->rows, .use_bias = true};
    if (w->arch->tied)
        cfg.text = kp_arena_fmt(w->net.reader->arena, "%s.weight", w->arch->names->embed);
    if (w->arch->tied && !cfg.text) return kp_nomem(w->net.reader->err);
    return linear(w, w->arch->names->head, cfg, w->at, ret);
}

static kp_status begin(kp_reader *reader, const kp_hf_arch *arch, int64_t blocks, int64_t seq,
                       writing *w, kp_ref *ret_ids)
{
    kp_shape shape = {.rank = 2, .per_sample = 1, .dim = {1, seq}};
    *w = (writing){.arch = arch};
    KP_TRY(kp_hf_begin(reader, reader->name, arch->block_class, arch->policy, (uint32_t)blocks + 24,
                       &w->net));
    return kp_hf_input(&w->net, "input_ids", shape, KP_INT64, ret_ids);
}

/* ---- BERT ---- */

/* What every position's word may be; and, unless it is left out, whether two sentences follow each
 * other, read at the first position. */
static kp_status bert_heads(writing *w, bool binary, kp_ref outputs[2])
{
    int64_t h = w->arch->h;
    kp_ref x = w->at, pooled;
    kp_layer_cfg wide = {.units = h, .use_bias = true, .activation = KP_ACT_GELU};
    kp_layer_cfg first = {.units = h, .use_bias = true, .renorm = true, .activation = KP_ACT_TANH};
    KP_TRY(linear(w, "lm_head.dense", wide, x, &w->at));
    KP_TRY(norm(w, "lm_head.layer_norm"));
    KP_TRY(head(w, &outputs[0]));
    if (!binary) return KP_OK;
    KP_TRY(linear(w, "pooler", first, x, &pooled));
    return linear(w, "binary_head", (kp_layer_cfg){.units = 2, .use_bias = true}, pooled, &outputs[1]);
}

kp_status kp_megatron_bert(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                           int64_t seq, kp_spec *ret)
{
    writing w;
    kp_ref ids, outputs[2];
    bool single;
    KP_TRY(kp_hf_bool(keys, "bert_no_binary_head", false, &single));
    KP_TRY(begin(reader, arch, arch->L, seq, &w, &ids));
    KP_TRY(embed(&w, "", ids));
    for (int64_t i = 0; i < arch->L; i++) KP_TRY(kp_hf_block_write(&w.net, arch, i, &w.at));
    KP_TRY(norm(&w, arch->names->final_norm));
    KP_TRY(bert_heads(&w, !single, outputs));
    ret->model = w.net.model;
    return kp_hf_end(&w.net, outputs, single ? 1 : 2);
}

/* ---- T5 ---- */

/* One half of a decoder's block: x + f(norm(x)), over the encoder's output if `cross`. */
static kp_status half(writing *w, const char *norm_name, const char *name, const kp_layer_row *row,
                      const kp_layer_cfg *cfg, bool cross)
{
    kp_ref parts[2] = {w->at}, in[2];
    const char *residual = kp_arena_fmt(w->net.reader->arena, "residual_%s", name);
    if (!residual) return kp_nomem(w->net.reader->err);
    KP_TRY(norm(w, norm_name));
    in[0] = w->at;
    in[1] = w->encoded;
    KP_TRY(kp_hf_layer(&w->net, name, row, cfg, in, cross ? 2 : 1, &parts[1]));
    return kp_hf_sum(&w->net, residual, parts, 2, &w->at);
}

static kp_status decoder_block(writing *w, const kp_layer_cfg *cross, int64_t i)
{
    const kp_hf_arch *a = w->arch;
    const kp_hf_block *b = &a->blocks[0];
    kp_reader *reader = w->net.reader;
    writing inner = {.arch = a};
    const char *name = kp_arena_fmt(reader->arena, "decoder.layers.%lld", (long long)i);
    if (!name) return kp_nomem(reader->err);
    KP_TRY(kp_hf_begin(reader, name, a->block_class, a->policy, 16, &inner.net));
    KP_TRY(kp_hf_input(&inner.net, NULL, (kp_shape){0}, KP_FLOAT32, &inner.at));
    KP_TRY(kp_hf_input(&inner.net, NULL, (kp_shape){0}, KP_FLOAT32, &inner.encoded));
    KP_TRY(half(&inner, "input_layernorm", b->attn_name, b->attn_row, b->attn, false));
    KP_TRY(half(&inner, "pre_cross_attn_layernorm", "cross_attention", b->attn_row, cross, true));
    KP_TRY(half(&inner, "pre_mlp_layernorm", b->mlp_name, b->mlp_row, b->mlp, false));
    KP_TRY(kp_hf_end(&inner.net, &inner.at, 1));
    return kp_hf_nest(&w->net, &inner.net, (kp_ref[]){w->at, w->encoded}, 2, &w->at);
}

static kp_status write_t5(writing *w, const kp_layer_cfg *cross, int64_t decoder_blocks, kp_ref ids,
                          kp_ref decoder_ids)
{
    const kp_hf_arch *a = w->arch;
    KP_TRY(embed(w, "", ids));
    for (int64_t i = 0; i < a->L; i++) KP_TRY(kp_hf_block_write(&w->net, a, i, &w->at));
    KP_TRY(norm(w, "encoder.final_layernorm"));
    w->encoded = w->at;
    KP_TRY(embed(w, ".decoder", decoder_ids));
    for (int64_t i = 0; i < decoder_blocks; i++) KP_TRY(decoder_block(w, cross, i));
    KP_TRY(norm(w, "decoder.final_layernorm"));
    return head(w, &w->at);
}

kp_status kp_megatron_t5(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                         int64_t seq, kp_spec *ret)
{
    static const kp_hf_names cross_names = {.q = "linear_q", .kv = "linear_kv", .o = "linear_proj"};
    kp_hf_attn attn = arch->attn;
    const kp_layer_cfg *cross;
    writing w;
    kp_ref ids, decoder_ids;
    int64_t decoder_blocks, decoder_seq;
    KP_TRY(kp_megatron_decoder_blocks(keys, arch->L, &decoder_blocks));
    KP_TRY(kp_hf_int(keys, "decoder_seq_length", 1, seq, &decoder_seq));
    attn.names = &cross_names;
    KP_TRY(kp_hf_attn_cfg(reader, &attn, &cross));
    KP_TRY(begin(reader, arch, arch->L + decoder_blocks, seq, &w, &ids));
    kp_shape shape = {.rank = 2, .per_sample = 1, .dim = {1, decoder_seq}};
    KP_TRY(kp_hf_input(&w.net, "decoder_input_ids", shape, KP_INT64, &decoder_ids));
    KP_TRY(write_t5(&w, cross, decoder_blocks, ids, decoder_ids));
    ret->model = w.net.model;
    return kp_hf_end(&w.net, &w.at, 1);
}

kp_status kp_megatron_decoder_blocks(const kp_hf_keys *keys, int64_t otherwise, int64_t *ret)
{
    KP_TRY(kp_hf_int(keys, "decoder_num_layers", 1, otherwise, ret));
    if (*ret <= KP_HF_LAYERS_MAX) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'decoder_num_layers' is %lld, more than %d",
                   (long long)*ret, KP_HF_LAYERS_MAX);
}
