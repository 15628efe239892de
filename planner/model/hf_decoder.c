/* SPDX-License-Identifier: MIT
 *
 * An architecture to a specification: token ids, an embedding with positions, L blocks, a last
 * norm, a head. The sequence is open until the user binds it. */
#include "planner/model/hf_blocks.h"

/* A block being written. */
typedef struct writing {
    const kp_hf_arch *arch;
    kp_hf_net net;
    kp_ref at; /* the residual stream */
} writing;

static kp_status norm(writing *w, const char *name, kp_ref from, kp_ref *ret)
{
    kp_hf_norm n = w->arch->norm;
    return kp_hf_add(&w->net, name, n.rms ? "RMSNorm" : "LayerNorm",
                     (kp_layer_cfg){.scale = n.scale, .center = n.bias}, &from, 1, ret);
}

static kp_status attention(writing *w, const kp_hf_block *b, kp_ref from, kp_ref *ret)
{
    return kp_hf_layer(&w->net, b->attn_name, b->attn_row, b->attn, &from, 1, ret);
}

static kp_status mlp(writing *w, const kp_hf_block *b, kp_ref from, kp_ref *ret)
{
    kp_ref in[2] = {from, w->at};
    return kp_hf_layer(&w->net, b->mlp_name, b->mlp_row, b->mlp, in, b->mlp->mlp->beside ? 2 : 1, ret);
}

/* x + attn(norm1(x)) + mlp(norm2(x)), or with one norm for both. */
static kp_status write_parallel(writing *w, const kp_hf_block *b)
{
    const kp_hf_names *n = w->arch->names;
    bool together = w->arch->order == KP_HF_TOGETHER;
    kp_ref parts[3] = {w->at}, normed;
    KP_TRY(norm(w, n->norm1, w->at, &normed));
    KP_TRY(attention(w, b, normed, &parts[1]));
    if (!together) KP_TRY(norm(w, n->norm2, w->at, &normed));
    KP_TRY(mlp(w, b, normed, &parts[2]));
    return kp_hf_sum(&w->net, "residual", parts, 3, &w->at);
}

/* One half of a block: x + f(x) with norms before and behind as the order says. */
static kp_status write_half(writing *w, const kp_hf_block *b, bool is_mlp)
{
    const kp_hf_names *n = w->arch->names;
    kp_hf_order order = w->arch->order;
    kp_ref parts[2] = {w->at}, x = w->at;
    bool before = order == KP_HF_PRE || order == KP_HF_SANDWICH;
    bool behind = order == KP_HF_BEHIND || order == KP_HF_SANDWICH;
    if (before) KP_TRY(norm(w, is_mlp ? n->norm2 : n->norm1, x, &x));
    KP_TRY(is_mlp ? mlp(w, b, x, &x) : attention(w, b, x, &x));
    if (behind) KP_TRY(norm(w, is_mlp ? n->norm_mlp : n->norm_attn, x, &x));
    parts[1] = x;
    KP_TRY(kp_hf_sum(&w->net, is_mlp ? "residual_mlp" : "residual_attn", parts, 2, &w->at));
    if (order != KP_HF_POST) return KP_OK;
    return norm(w, is_mlp ? n->norm_mlp : n->norm_attn, w->at, &w->at);
}

/* One half of a block whose residual stream is n streams: collapsed for it, mixed behind it. */
static kp_status write_streams(writing *w, const kp_hf_block *b, bool is_mlp)
{
    const kp_hf_names *n = w->arch->names;
    int64_t streams = w->arch->streams;
    kp_ref parts[3] = {w->at}, x;
    kp_layer_cfg weights = {.units = (2 + streams) * streams, .text = ""};
    KP_TRY(kp_hf_add(&w->net, is_mlp ? "ffn_hc" : "attn_hc", "HyperConnection", weights, &w->at, 1,
                     &x));
    parts[2] = (kp_ref){.layer = x.layer, .tensor = 1};
    KP_TRY(norm(w, is_mlp ? n->norm2 : n->norm1, x, &x));
    KP_TRY(is_mlp ? mlp(w, b, x, &parts[1]) : attention(w, b, x, &parts[1]));
    return kp_hf_add(&w->net, is_mlp ? "merge_mlp" : "merge_attn", "HyperMerge", (kp_layer_cfg){0},
                     parts, 3, &w->at);
}

kp_status kp_hf_block_write(kp_hf_net *net, const kp_hf_arch *arch, int64_t i, kp_ref *at)
{
    const kp_hf_block *b = &arch->blocks[i];
    writing w = {.arch = arch};
    const char *name = kp_arena_fmt(net->reader->arena, "%s.%lld", arch->names->block, (long long)i);
    if (!name) return kp_nomem(net->reader->err);
    KP_TRY(kp_hf_begin(net->reader, name, arch->block_class, arch->policy, 16, &w.net));
    KP_TRY(kp_hf_input(&w.net, NULL, (kp_shape){0}, KP_FLOAT32, &w.at));
    if (arch->order == KP_HF_PARALLEL || arch->order == KP_HF_TOGETHER) {
        KP_TRY(write_parallel(&w, b));
    } else {
        bool streams = arch->order == KP_HF_STREAMS;
        kp_status (*half)(writing *, const kp_hf_block *, bool) = streams ? write_streams : write_half;
        if (b->attn) KP_TRY(half(&w, b, false));
        if (b->mlp) KP_TRY(half(&w, b, true));
    }
    KP_TRY(kp_hf_end(&w.net, &w.at, 1));
    return kp_hf_nest(net, &w.net, at, 1, at);
}

/* ---- the ends ---- */

static kp_status positions(writing *w, const char *name, int64_t rows, int64_t longest, kp_ref ids,
                           kp_ref *ret)
{
    return kp_hf_add(&w->net, name, "PositionEmbedding",
                     (kp_layer_cfg){.rows = rows, .width = w->arch->h, .count = longest}, &ids, 1, ret);
}

/* Token ids to the residual stream: table, projection to its width, positions, kinds of tokens. */
static kp_status write_embedding(writing *w, kp_ref ids)
{
    const kp_hf_arch *a = w->arch;
    kp_ref parts[3];
    uint32_t n = 1;
    KP_TRY(kp_hf_add(&w->net, a->names->embed, "Embedding",
                     (kp_layer_cfg){.rows = a->rows, .width = a->embed_width}, &ids, 1, &parts[0]));
    if (a->embed_width != a->h)
        KP_TRY(kp_hf_add(&w->net, "model.decoder.project_in", "Linear",
                         (kp_layer_cfg){.units = a->h}, parts, 1, &parts[0]));
    if (a->learned_positions)
        KP_TRY(positions(w, a->names->positions, a->pos_rows, a->P, ids, &parts[n++]));
    if (a->types)
        KP_TRY(kp_hf_add(&w->net, a->names->types, "Embedding",
                         (kp_layer_cfg){.rows = a->types, .width = a->h}, &ids, 1, &parts[n++]));
    w->at = parts[0];
    if (n > 1) KP_TRY(kp_hf_sum(&w->net, "embeddings", parts, n, &w->at));
    if (a->family->traits & KP_HF_EMBED_NORM) KP_TRY(norm(w, a->names->embed_norm, w->at, &w->at));
    if (!(a->embed_dropout > 0)) return KP_OK;
    kp_layer_cfg *cfg = kp_hf_cfg(w->net.reader);
    if (!cfg) return kp_nomem(w->net.reader->err);
    cfg->rate = a->embed_dropout;
    kp_ref x = w->at;
    return kp_hf_layer(&w->net, "dropout", kp_row_find(NULL, "Dropout"), cfg, &x, 1, &w->at);
}

static kp_status write_head(writing *w)
{
    const kp_hf_arch *a = w->arch;
    kp_layer_cfg cfg = {.units = a->rows, .use_bias = a->head_bias, .rate = a->softcap};
    kp_ref x = w->at;
    if (a->family->kind == KP_HF_ENCODER) {
        cfg = (kp_layer_cfg){.units = a->h, .use_bias = true, .renorm = true,
                             .activation = KP_ACT_TANH};
        return a->pooler ? kp_hf_add(&w->net, a->names->head, "Linear", cfg, &x, 1, &w->at) : KP_OK;
    }
    if (a->embed_width != a->h) {
        KP_TRY(kp_hf_add(&w->net, "model.decoder.project_out", "Linear",
                         (kp_layer_cfg){.units = a->embed_width}, &x, 1, &w->at));
        x = w->at;
    }
    if (a->tied) cfg.text = kp_arena_fmt(w->net.reader->arena, "%s.weight", a->names->embed);
    if (a->tied && !cfg.text) return kp_nomem(w->net.reader->err);
    return kp_hf_add(&w->net, a->names->head, "Linear", cfg, &x, 1, &w->at);
}

kp_status kp_hf_decoder(kp_reader *reader, const kp_hf_arch *arch, int64_t seq, kp_spec *ret)
{
    kp_shape shape = {.rank = 2, .per_sample = 1, .dim = {1, seq}};
    writing w = {.arch = arch};
    kp_ref ids;
    KP_TRY(kp_hf_begin(reader, reader->name, arch->block_class, arch->policy,
                       (uint32_t)arch->L + 16, &w.net));
    KP_TRY(kp_hf_input(&w.net, "input_ids", shape, KP_INT64, &ids));
    KP_TRY(write_embedding(&w, ids));
    if (arch->streams)
        KP_TRY(kp_hf_add(&w.net, "model.streams", "HyperStreams",
                         (kp_layer_cfg){.count = arch->streams}, &w.at, 1, &w.at));
    for (int64_t i = 0; i < arch->L; i++) KP_TRY(kp_hf_block_write(&w.net, arch, i, &w.at));
    if (arch->streams)
        KP_TRY(kp_hf_add(&w.net, "model.hc_head", "HyperConnection",
                         (kp_layer_cfg){.units = arch->streams, .text = "hc_"}, &w.at, 1, &w.at));
    if (arch->final_norm) KP_TRY(norm(&w, arch->names->final_norm, w.at, &w.at));
    KP_TRY(write_head(&w));
    ret->model = w.net.model;
    return kp_hf_end(&w.net, &w.at, 1);
}
