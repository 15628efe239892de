/* SPDX-License-Identifier: MIT
 *
 * Encoder and decoder: T5 and its relatives, BART. A decoder's block also attends over the
 * encoder's output; both share one table of words. */
#include "planner/model/hf_blocks.h"

/* One half of the model: L blocks. */
typedef struct stack {
    const char *prefix, *block_class;  /* "encoder.block" */
    int64_t L, h, sparse_step;         /* every so many blocks have experts; 0: none */
    const kp_layer_cfg *first, *self, *cross, *mlp, *moe; /* first: of block 0; cross: or NULL */
    const char *attn_name, *cross_name, *mlp_name, *cross_mlp_name; /* with and without cross */
    const char *attn_norm, *cross_norm, *mlp_norm, *cross_mlp_norm;
    bool pre;
    kp_hf_norm norm;
} stack;

typedef struct writing {
    kp_hf_net net;
    kp_ref at, encoded;
} writing;

static kp_status norm(writing *w, const stack *s, const char *name)
{
    kp_ref x = w->at;
    return kp_hf_add(&w->net, name, s->norm.rms ? "RMSNorm" : "LayerNorm",
                     (kp_layer_cfg){.scale = s->norm.scale, .center = s->norm.bias}, &x, 1, &w->at);
}

/* x + f(norm(x)) or norm(x + f(x)), f a layer of one or two inputs. */
static kp_status half(writing *w, const stack *s, const char *norm_name, const char *name,
                      const char *row, const kp_layer_cfg *cfg, bool cross)
{
    kp_ref parts[2] = {w->at}, in[2];
    const char *sum = kp_arena_fmt(w->net.reader->arena, "residual_%s", name);
    if (!sum) return kp_nomem(w->net.reader->err);
    if (s->pre) KP_TRY(norm(w, s, norm_name));
    in[0] = w->at;
    in[1] = w->encoded;
    KP_TRY(kp_hf_layer(&w->net, name, kp_hf_row(row), cfg, in, cross ? 2 : 1, &parts[1]));
    KP_TRY(kp_hf_sum(&w->net, sum, parts, 2, &w->at));
    return s->pre ? KP_OK : norm(w, s, norm_name);
}

/* Switch Transformers: the second of every `step` blocks (modeling_switch_transformers.py). */
static bool is_sparse(const stack *s, int64_t i)
{
    return s->sparse_step && (s->sparse_step == 1 || i % s->sparse_step == 1);
}

static kp_status write_block(kp_hf_net *net, const stack *s, int64_t i, kp_ref encoded, kp_ref *at)
{
    kp_reader *reader = net->reader;
    writing w = {0};
    bool sparse = is_sparse(s, i);
    const char *name = kp_arena_fmt(reader->arena, "%s.%lld", s->prefix, (long long)i);
    if (!name) return kp_nomem(reader->err);
    KP_TRY(kp_hf_begin(reader, name, s->block_class, net->policy, 16, &w.net));
    KP_TRY(kp_hf_input(&w.net, NULL, (kp_shape){0}, KP_FLOAT32, &w.at));
    if (s->cross) KP_TRY(kp_hf_input(&w.net, NULL, (kp_shape){0}, KP_FLOAT32, &w.encoded));
    KP_TRY(half(&w, s, s->attn_norm, s->attn_name, "Attention", i ? s->self : s->first, false));
    if (s->cross) KP_TRY(half(&w, s, s->cross_norm, s->cross_name, "Attention", s->cross, true));
    KP_TRY(half(&w, s, s->cross ? s->cross_mlp_norm : s->mlp_norm,
                s->cross ? s->cross_mlp_name : s->mlp_name,
                sparse ? "MixtureOfExperts" : "MLP", sparse ? s->moe : s->mlp, false));
    KP_TRY(kp_hf_end(&w.net, &w.at, 1));
    return kp_hf_nest(net, &w.net, (kp_ref[]){*at, encoded}, s->cross ? 2 : 1, at);
}

static kp_status write_stack(kp_hf_net *net, const stack *s, kp_ref encoded, kp_ref *at)
{
    for (int64_t i = 0; i < s->L; i++) KP_TRY(write_block(net, s, i, encoded, at));
    return KP_OK;
}

/* A layer without weights of its own that uses a table again. */
static kp_status look_up_again(writing *w, const char *name, const char *table, int64_t rows,
                               int64_t width, kp_ref ids)
{
    kp_layer_cfg cfg = {.rows = rows, .width = width};
    if (table) cfg.text = kp_arena_fmt(w->net.reader->arena, "%s.weight", table);
    if (table && !cfg.text) return kp_nomem(w->net.reader->err);
    return kp_hf_add(&w->net, name, "Embedding", cfg, &ids, 1, &w->at);
}

static kp_status write_head(writing *w, const char *table, bool tied, int64_t V)
{
    kp_layer_cfg cfg = {.units = V};
    kp_ref x = w->at;
    if (tied) cfg.text = kp_arena_fmt(w->net.reader->arena, "%s.weight", table);
    if (tied && !cfg.text) return kp_nomem(w->net.reader->err);
    return kp_hf_add(&w->net, "lm_head", "Linear", cfg, &x, 1, &w->at);
}

static kp_status count_layers(const kp_hf_keys *keys, const char *names, int64_t *ret)
{
    KP_TRY(kp_hf_need(keys, names, ret));
    if (*ret <= KP_HF_LAYERS_MAX) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'%.*s' is %lld, more than %d", (int)strcspn(names, "|"),
                   names, (long long)*ret, KP_HF_LAYERS_MAX);
}

static kp_status begin(kp_reader *reader, const kp_hf_keys *keys, const char *class_name,
                       uint32_t cap, writing *w, kp_ref *ret_ids, kp_ref *ret_decoder_ids)
{
    kp_shape shape = {.rank = 2, .per_sample = 1, .dim = {1, KP_DIM_OPEN}};
    kp_policy policy;
    *w = (writing){0};
    kp_hf_policy_read(reader, keys, &policy);
    KP_TRY(kp_hf_begin(reader, reader->name, class_name, policy, cap, &w->net));
    KP_TRY(kp_hf_input(&w->net, "input_ids", shape, KP_INT64, ret_ids));
    if (!ret_decoder_ids) return KP_OK;
    return kp_hf_input(&w->net, "decoder_input_ids", shape, KP_INT64, ret_decoder_ids);
}

/* ---- T5 ---- */

static const kp_hf_names t5_names = {.q = "q", .k = "k", .v = "v", .o = "o", .up = "wi", .down = "wo",
    .router = "router.classifier", .experts = "experts", .expert_up = "wi", .expert_down = "wo"};
static const kp_hf_names t5_gated = {.q = "q", .k = "k", .v = "v", .o = "o", .gate = "wi_0",
    .up = "wi_1", .down = "wo"};

typedef struct t5 {
    int64_t h, V, L, decoder_L;
    kp_hf_attn attn;
    kp_hf_mlp mlp;
    bool tied, decoder;
    stack stack;
} t5;

static kp_status read_t5_sizes(const kp_hf_keys *keys, bool tied, t5 *ret)
{
    KP_TRY(kp_hf_need(keys, "d_model", &ret->h));
    KP_TRY(kp_hf_need(keys, "vocab_size", &ret->V));
    KP_TRY(count_layers(keys, "num_layers", &ret->L));
    ret->decoder_L = ret->L;
    if (kp_hf_find(keys, "num_decoder_layers"))
        KP_TRY(count_layers(keys, "num_decoder_layers", &ret->decoder_L));
    KP_TRY(kp_hf_need(keys, "num_heads", &ret->attn.H));
    KP_TRY(kp_hf_need(keys, "d_kv", &ret->attn.dk));
    KP_TRY(kp_hf_need(keys, "d_ff", &ret->mlp.I));
    KP_TRY(kp_hf_int(keys, "relative_attention_num_buckets", 1, 32, &ret->attn.buckets));
    KP_TRY(kp_hf_num(keys, "dropout_rate", 0, &ret->mlp.dropout));
    KP_TRY(kp_hf_bool(keys, "tie_word_embeddings", tied, &ret->tied));
    KP_TRY(kp_hf_bool(keys, "is_encoder_decoder", true, &ret->decoder));
    ret->attn.dropout = ret->attn.out_dropout = ret->mlp.dropout;
    ret->attn.K = ret->attn.H;
    ret->attn.dv = ret->attn.dk;
    return KP_OK;
}

/* "gated-gelu": two products, the first through the function. */
static void read_t5_mlp(const kp_hf_keys *keys, const char *act, t5 *ret)
{
    const char *text = kp_hf_text(keys, "feed_forward_proj");
    if (!text) text = act;
    ret->mlp.gated = !strncmp(text, "gated-", 6);
    ret->mlp.act = kp_hf_activation(ret->mlp.gated ? text + 6 : text);
    ret->mlp.names = ret->attn.names = ret->mlp.gated ? &t5_gated : &t5_names;
}

static kp_status read_t5_experts(kp_reader *reader, const kp_hf_keys *keys, const t5 *m, stack *s)
{
    kp_hf_mlp moe = m->mlp;
    if (!kp_hf_find(keys, "num_experts")) return KP_OK;
    if (moe.gated) return kp_fail(keys->err, KP_UNSUPPORTED, "gated experts of a T5 are not known");
    KP_TRY(kp_hf_need(keys, "num_experts", &moe.E));
    KP_TRY(kp_hf_int(keys, "encoder_sparse_step", 0, 2, &s->sparse_step));
    moe.top_k = 1;
    return kp_hf_mlp_cfg(reader, &moe, &s->moe);
}

static kp_status make_t5_stack(kp_reader *reader, const kp_hf_keys *keys, const char *block_class,
                               const t5 *m, stack *ret)
{
    kp_hf_attn plain = m->attn;
    *ret = (stack){.prefix = "encoder.block", .block_class = block_class, .L = m->L, .h = m->h,
        .pre = true, .norm = {true, true, false},
        .attn_name = "layer.0.SelfAttention", .attn_norm = "layer.0.layer_norm",
        .cross_name = "layer.1.EncDecAttention", .cross_norm = "layer.1.layer_norm",
        .mlp_name = "layer.1.DenseReluDense", .mlp_norm = "layer.1.layer_norm",
        .cross_mlp_name = "layer.2.DenseReluDense", .cross_mlp_norm = "layer.2.layer_norm"};
    plain.buckets = 0;
    KP_TRY(kp_hf_attn_cfg(reader, &m->attn, &ret->first));
    KP_TRY(kp_hf_attn_cfg(reader, &plain, &ret->self));
    KP_TRY(kp_hf_mlp_cfg(reader, &m->mlp, &ret->mlp));
    return read_t5_experts(reader, keys, m, ret);
}

static kp_status write_t5(writing *w, const t5 *m, stack s, kp_ref ids, kp_ref decoder_ids)
{
    KP_TRY(look_up_again(w, "shared", NULL, m->V, m->h, ids));
    KP_TRY(write_stack(&w->net, &s, w->at, &w->at));
    KP_TRY(norm(w, &s, "encoder.final_layer_norm"));
    if (!m->decoder) return KP_OK;
    w->encoded = w->at;
    s.prefix = "decoder.block";
    s.L = m->decoder_L;
    s.cross = s.self;
    KP_TRY(look_up_again(w, "decoder.embed_tokens", "shared", m->V, m->h, decoder_ids));
    KP_TRY(write_stack(&w->net, &s, w->encoded, &w->at));
    KP_TRY(norm(w, &s, "decoder.final_layer_norm"));
    return write_head(w, "shared", m->tied, m->V);
}

kp_status kp_hf_t5(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_family *family,
                   kp_spec *ret)
{
    t5 m = {0};
    stack s;
    writing w;
    kp_ref ids, decoder_ids = {0};
    KP_TRY(read_t5_sizes(keys, family->traits & KP_HF_TIED, &m));
    read_t5_mlp(keys, family->act, &m);
    KP_TRY(make_t5_stack(reader, keys, family->block_class, &m, &s));
    KP_TRY(begin(reader, keys, family->block_class, (uint32_t)(m.L + m.decoder_L) + 12, &w, &ids,
                 m.decoder ? &decoder_ids : NULL));
    KP_TRY(write_t5(&w, &m, s, ids, decoder_ids));
    ret->model = w.net.model;
    return kp_hf_end(&w.net, &w.at, 1);
}

/* ---- BART ---- */

static const kp_hf_names bart_names = {.q = "q_proj", .k = "k_proj", .v = "v_proj", .o = "out_proj",
    .up = "fc1", .down = "fc2"};

/* The sizes of one side, whose keys begin with "encoder_" or "decoder_". */
static kp_status read_bart_side(kp_reader *reader, const kp_hf_keys *keys, bool decoder,
                                const kp_hf_attn *like, stack *ret)
{
    kp_hf_attn a = *like;
    kp_hf_mlp m = {.names = &bart_names, .up_bias = true, .down_bias = true, .open = true,
                   .dropout = like->out_dropout};
    const char *act = kp_hf_text(keys, "activation_function");
    *ret = (stack){.prefix = decoder ? "model.decoder.layers" : "model.encoder.layers",
        .block_class = decoder ? "BartDecoderLayer" : "BartEncoderLayer",
        .norm = {false, true, true}, .attn_name = "self_attn", .attn_norm = "self_attn_layer_norm",
        .cross_name = "encoder_attn", .cross_norm = "encoder_attn_layer_norm",
        .mlp_name = "mlp", .mlp_norm = "final_layer_norm", .cross_mlp_name = "mlp",
        .cross_mlp_norm = "final_layer_norm"};
    KP_TRY(kp_hf_bool(keys, "normalize_before", false, &ret->pre));
    KP_TRY(kp_hf_need(keys, "d_model", &ret->h));
    KP_TRY(count_layers(keys, decoder ? "decoder_layers" : "encoder_layers", &ret->L));
    KP_TRY(kp_hf_need(keys, decoder ? "decoder_attention_heads" : "encoder_attention_heads", &a.H));
    KP_TRY(kp_hf_need(keys, decoder ? "decoder_ffn_dim" : "encoder_ffn_dim", &m.I));
    if (ret->h % a.H)
        return kp_fail(keys->err, KP_INPUT, "'%s_attention_heads' is %lld, which does not divide a "
                       "'d_model' of %lld", decoder ? "decoder" : "encoder", (long long)a.H,
                       (long long)ret->h);
    a.K = a.H;
    a.dk = a.dv = ret->h / a.H;
    m.act = kp_hf_activation(act ? act : "gelu");
    KP_TRY(kp_hf_attn_cfg(reader, &a, &ret->self));
    KP_TRY(kp_hf_mlp_cfg(reader, &m, &ret->mlp));
    ret->first = ret->self;
    if (decoder) ret->cross = ret->self;
    return KP_OK;
}

typedef struct bart {
    int64_t V, P, h;
    stack encoder, decoder;
    bool tied, final_norm;
} bart;

static kp_status read_bart(kp_reader *reader, const kp_hf_keys *keys, bart *ret)
{
    kp_hf_attn like = {.names = &bart_names, .q_bias = true, .k_bias = true, .v_bias = true,
                       .o_bias = true};
    KP_TRY(kp_hf_need(keys, "vocab_size", &ret->V));
    KP_TRY(kp_hf_need(keys, "max_position_embeddings", &ret->P));
    KP_TRY(kp_hf_num(keys, "attention_dropout", 0, &like.dropout));
    KP_TRY(kp_hf_num(keys, "dropout", 0, &like.out_dropout));
    KP_TRY(kp_hf_bool(keys, "tie_word_embeddings", true, &ret->tied));
    KP_TRY(kp_hf_bool(keys, "add_final_layer_norm", false, &ret->final_norm));
    KP_TRY(read_bart_side(reader, keys, false, &like, &ret->encoder));
    ret->h = ret->encoder.h;
    return read_bart_side(reader, keys, true, &like, &ret->decoder);
}

/* Words and positions of one side: two rows of positions for padding come in front. */
static kp_status write_bart_side(writing *w, const bart *m, const stack *s, const char *side,
                                 bool again, kp_ref ids)
{
    kp_arena *arena = w->net.reader->arena;
    const char *embed = kp_arena_fmt(arena, "model.%s.embed_tokens", side);
    const char *positions = kp_arena_fmt(arena, "model.%s.embed_positions", side);
    const char *first = kp_arena_fmt(arena, "model.%s.layernorm_embedding", side);
    const char *last = kp_arena_fmt(arena, "model.%s.layer_norm", side);
    const char *sum = kp_arena_fmt(arena, "model.%s.embeddings", side);
    kp_ref parts[2];
    if (!embed || !positions || !first || !last || !sum) return kp_nomem(w->net.reader->err);
    KP_TRY(look_up_again(w, again ? embed : "model.shared", again ? "model.shared" : NULL, m->V,
                         m->h, ids));
    parts[0] = w->at;
    KP_TRY(kp_hf_add(&w->net, positions, "PositionEmbedding",
                     (kp_layer_cfg){.rows = m->P + 2, .width = m->h, .count = m->P}, &ids, 1,
                     &parts[1]));
    KP_TRY(kp_hf_sum(&w->net, sum, parts, 2, &w->at));
    KP_TRY(norm(w, s, first));
    KP_TRY(write_stack(&w->net, s, w->encoded, &w->at));
    return m->final_norm ? norm(w, s, last) : KP_OK;
}

kp_status kp_hf_bart(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_family *family,
                     kp_spec *ret)
{
    bart m = {0};
    writing w;
    kp_ref ids, decoder_ids;
    KP_TRY(read_bart(reader, keys, &m));
    KP_TRY(begin(reader, keys, family->block_class, (uint32_t)(m.encoder.L + m.decoder.L) + 16, &w,
                 &ids, &decoder_ids));
    KP_TRY(write_bart_side(&w, &m, &m.encoder, "encoder", false, ids));
    w.encoded = w.at;
    KP_TRY(write_bart_side(&w, &m, &m.decoder, "decoder", true, decoder_ids));
    KP_TRY(write_head(&w, "model.shared", m.tied, m.V));
    ret->model = w.net.model;
    return kp_hf_end(&w.net, &w.at, 1);
}
