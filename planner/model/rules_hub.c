/* SPDX-License-Identifier: MIT
 *
 * KerasHub's modelling layers: blocks made of Keras's layers. The inner layers are not in the file;
 * a rule makes them with the configurations that the block's code gives them, and they run through
 * their own rows. B samples, T positions, D width, V words. Source: keras_hub/src/layers/modeling at
 * 0.22 (keras-nlp before). */
#include "planner/model/rows.h"

/* An inner layer of this class on some tensors, its weights below `name`; one output. */
static kp_status run_part(kp_rule *rule, const char *class_name, const char *name,
                          const kp_layer_cfg *cfg, const uint32_t *in, uint32_t n_in, uint32_t *ret)
{
    kp_spec_layer inner = {.name = name, .class_name = class_name, .cfg = cfg, .trainable = true};
    kp_rule part;
    inner.row = kp_row_find(NULL, class_name);
    if (!inner.row) inner.row = kp_row_find(KP_MODULE_NEIGHBOUR, class_name);
    KP_TRY(kp_rule_inner(rule, &inner, name, in[0], &part));
    kp_shape *x = KP_NEW(rule->arena, kp_shape, n_in);
    if (!x) return kp_nomem(rule->err);
    for (uint32_t i = 0; i < n_in; i++) x[i] = kp_rule_shape(rule, in[i]);
    part.in = in;
    part.x = x;
    part.n_in = n_in;
    kp_status status = kp_rule_run(&part);
    if (status != KP_OK && status != KP_NOMEM) kp_err_at(rule->err, "inner layer '%.60s'", name);
    KP_TRY(status);
    rule->cursor = part.cursor;
    *ret = part.out[0];
    return KP_OK;
}

static int64_t width_of(const kp_rule *rule, uint32_t x)
{
    kp_shape shape = kp_rule_shape(rule, x);
    return shape.rank ? shape.dim[shape.rank - 1] : 1;
}

static kp_status run_dense(kp_rule *rule, const char *name, int64_t units, kp_activation activation,
                           uint32_t *x)
{
    kp_layer_cfg cfg = {.units = units, .use_bias = true, .activation = activation};
    uint32_t in = *x;
    return run_part(rule, "Dense", name, &cfg, &in, 1, x);
}

static kp_status run_norm(kp_rule *rule, const char *name, uint32_t *x)
{
    kp_layer_cfg cfg = {.center = true, .scale = true, .axis = {.single = true, .n = 1, .v = {-1}}};
    uint32_t in = *x;
    return run_part(rule, "LayerNormalization", name, &cfg, &in, 1, x);
}

static kp_status run_dropout(kp_rule *rule, const char *name, uint32_t *x)
{
    kp_layer_cfg cfg = {.rate = rule->cfg->rate};
    uint32_t in = *x;
    return run_part(rule, "Dropout", name, &cfg, &in, 1, x);
}

static kp_status run_add(kp_rule *rule, const char *part, uint32_t other, uint32_t *x)
{
    kp_new_op op = {.op = KP_OP_ADD, .part = part, .in = (uint32_t[]){*x, other}, .n_in = 2,
                    .out = kp_rule_shape(rule, *x)};
    return kp_rule_op(rule, &op, x);
}

/* ---- TransformerEncoder, TransformerDecoder ---- */

/* Names of a block's layers. */
typedef struct block {
    const char *layer, *norm, *dropout, *sum;
} block;

static const block encoder_self = {"self_attention_layer", "self_attention_layer_norm",
                                   "self_attention_dropout", "self_attention_sum"};
static const block decoder_self = {"self_attention", "self_attention_layer_norm",
                                   "self_attention_dropout", "self_attention_sum"};
static const block decoder_cross = {"cross_attention", "cross_attention_layer_norm",
                                    "cross_attention_dropout", "cross_attention_sum"};
static const block feedforward = {"feedforward", "feedforward_layer_norm", "feedforward_dropout",
                                  "feedforward_sum"};

/* value KP_NO: the queries themselves. */
static kp_status attend(kp_rule *rule, const block *b, uint32_t value, uint32_t *x)
{
    int64_t heads = rule->cfg->heads, width = width_of(rule, *x);
    kp_layer_cfg cfg = {.heads = heads, .use_bias = true, .rate = rule->cfg->rate};
    cfg.key_dim = width == KP_DIM_OPEN ? 1 : width / heads;
    if (cfg.key_dim < 1)
        return kp_fail(rule->err, KP_INPUT, "%lld heads for a width of %lld", (long long)heads,
                       (long long)width);
    uint32_t in[2] = {*x, value == KP_NO ? *x : value};
    return run_part(rule, "MultiHeadAttention", b->layer, &cfg, in, 2, x);
}

/* Attention, dropout, sum with what came in; the norm stands in front or behind. */
static kp_status attention_block(kp_rule *rule, const block *b, uint32_t value, uint32_t *x)
{
    uint32_t residual = *x;
    if (rule->cfg->norm_first) KP_TRY(run_norm(rule, b->norm, x));
    KP_TRY(attend(rule, b, value, x));
    KP_TRY(run_dropout(rule, b->dropout, x));
    KP_TRY(run_add(rule, b->sum, residual, x));
    return rule->cfg->norm_first ? KP_OK : run_norm(rule, b->norm, x);
}

static kp_status feedforward_block(kp_rule *rule, uint32_t *x)
{
    const block *b = &feedforward;
    uint32_t residual = *x;
    int64_t width = width_of(rule, *x);
    if (rule->cfg->norm_first) KP_TRY(run_norm(rule, b->norm, x));
    KP_TRY(run_dense(rule, "feedforward_intermediate_dense", rule->cfg->units,
                     rule->cfg->activation, x));
    KP_TRY(run_dense(rule, "feedforward_output_dense", width, KP_ACT_LINEAR, x));
    KP_TRY(run_dropout(rule, b->dropout, x));
    KP_TRY(run_add(rule, b->sum, residual, x));
    return rule->cfg->norm_first ? KP_OK : run_norm(rule, b->norm, x);
}

kp_status kp_lower_hub_encoder(kp_rule *rule)
{
    uint32_t x = rule->in[0];
    KP_TRY(kp_want_rank(rule, 0, 3));
    KP_TRY(attention_block(rule, &encoder_self, KP_NO, &x));
    KP_TRY(feedforward_block(rule, &x));
    return kp_rule_out(rule, x);
}

/* With the encoder's sequence as second input there is attention to it. */
kp_status kp_lower_hub_decoder(kp_rule *rule)
{
    uint32_t x = rule->in[0], other = kp_rule_input(rule, "encoder_sequence", 1);
    KP_TRY(kp_want_rank(rule, 0, 3));
    if (kp_rule_input(rule, "self_attention_cache", 6) != KP_NO)
        return kp_fail(rule->err, KP_UNSUPPORTED, "a cache makes it a step of generation, not of "
                       "training");
    KP_TRY(attention_block(rule, &decoder_self, KP_NO, &x));
    if (other != KP_NO) KP_TRY(attention_block(rule, &decoder_cross, rule->in[other], &x));
    KP_TRY(feedforward_block(rule, &x));
    return kp_rule_out(rule, x);
}

/* ---- FNetEncoder: a Fourier transform over positions and width in place of attention ---- */

static kp_status fourier(kp_rule *rule, uint32_t x, uint32_t *ret)
{
    kp_shape shape = kp_rule_shape(rule, x);
    double points = (double)shape.dim[1] * (double)shape.dim[2], rounds = 0;
    for (double n = points; n > 1; n /= 2) rounds++;
    kp_new_op op = {.op = KP_OP_RESCALE, .part = "fourier", .in = &x, .n_in = 1, .out = shape,
                    .flops = 5 * rounds * kp_elems(shape)};
    return kp_rule_op(rule, &op, ret);
}

kp_status kp_lower_fnet(kp_rule *rule)
{
    uint32_t x = rule->in[0], mixed;
    KP_TRY(kp_want_rank(rule, 0, 3));
    int64_t width = width_of(rule, x);
    KP_TRY(fourier(rule, x, &mixed));
    KP_TRY(run_add(rule, "mixing_sum", x, &mixed));
    KP_TRY(run_norm(rule, "mixing_layer_norm", &mixed));
    x = mixed;
    KP_TRY(run_dense(rule, "intermediate_dense", rule->cfg->units, rule->cfg->activation, &x));
    KP_TRY(run_dense(rule, "output_dense", width, KP_ACT_LINEAR, &x));
    KP_TRY(run_dropout(rule, "output_dropout", &x));
    KP_TRY(run_add(rule, "output_sum", mixed, &x));
    KP_TRY(run_norm(rule, "output_layer_norm", &x));
    return kp_rule_out(rule, x);
}

/* ---- positions ---- */

/* embeddings (length, D), of which the first T rows are repeated for every sample. */
kp_status kp_weights_positions(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    if (x.rank < 3)
        return kp_fail(rule->err, KP_INPUT, "it takes inputs with 3 or more axes, got %s",
                       kp_shape_text(x, 0).s);
    int64_t rows = rule->cfg->rows, T = x.dim[x.rank - 2];
    if (T != KP_DIM_OPEN && T > rows)
        return kp_fail(rule->err, KP_INPUT, "its input has %lld positions, 'sequence_length' is %lld",
                       (long long)T, (long long)rows);
    return kp_rule_weight(rule, "embeddings", KP_ROLE_TABLE,
                          kp_dims(2, (int64_t[]){rows, x.dim[x.rank - 1]}), true);
}

/* Nothing of the input is needed but its shape. */
kp_status kp_lower_positions(kp_rule *rule)
{
    kp_new_op op = {.op = KP_OP_UPSAMPLE, .in = rule->in, .n_in = 1, .out = rule->y[0],
                    .weights = {rule->first_weight}, .n_weights = rule->n_weights};
    uint32_t y;
    KP_TRY(kp_rule_op(rule, &op, &y));
    return kp_rule_out(rule, y);
}

/* token_embedding, and position_embedding on what it makes. */
kp_status kp_lower_token_and_position(kp_rule *rule)
{
    kp_layer_cfg tokens = {.rows = rule->cfg->rows, .width = rule->cfg->width,
                           .tied = rule->cfg->tied};
    kp_layer_cfg positions = {.rows = rule->cfg->count};
    uint32_t x, p;
    KP_TRY(run_part(rule, "ReversibleEmbedding", "token_embedding", &tokens, rule->in, 1, &x));
    KP_TRY(run_part(rule, "PositionEmbedding", "position_embedding", &positions, &x, 1, &p));
    KP_TRY(run_add(rule, "sum", p, &x));
    return kp_rule_out(rule, x);
}

/* ---- MaskedLMHead: words at M masked positions, (B, T, D) and (B, M) to (B, M, V) ---- */

static kp_status pick(kp_rule *rule, uint32_t positions, uint32_t *ret)
{
    kp_shape y = rule->x[positions];
    if (rule->x[0].rank != 3 || y.rank != 2)
        return kp_fail(rule->err, KP_INPUT, "it takes (B, T, D) and positions (B, M), got %s and %s",
                       kp_shape_text(rule->x[0], 0).s, kp_shape_text(y, 0).s);
    y.dim[y.rank++] = rule->x[0].dim[2];
    kp_new_op op = {.op = KP_OP_GATHER, .part = "masked", .in = rule->in, .n_in = rule->n_in,
                    .out = y};
    return kp_rule_op(rule, &op, ret);
}

/* With a token_embedding its table maps back to words, and no kernel of its own does. */
kp_status kp_weights_masked_head(kp_rule *rule)
{
    kp_shape x = rule->x[0];
    int64_t V = rule->cfg->rows, D = x.rank ? x.dim[x.rank - 1] : 1;
    if (!rule->cfg->tied)
        KP_TRY(kp_rule_weight(rule, "output_kernel", KP_ROLE_KERNEL,
                              kp_dims(2, (int64_t[]){D, V}), true));
    return kp_rule_weight(rule, "output_bias", KP_ROLE_BIAS, kp_dims(1, &V), true);
}

static kp_status to_words(kp_rule *rule, uint32_t *x)
{
    kp_shape y = kp_rule_shape(rule, *x);
    uint32_t kernel = kp_rule_find_weight(rule, "output_kernel"), in = *x;
    kp_new_op op = {.op = KP_OP_MATMUL, .part = "words", .in = &in, .n_in = 1,
                    .out = kp_shape_with(y, 2, rule->cfg->rows), .weights = {kernel},
                    .n_weights = kernel != KP_NO};
    op.flops = 2 * kp_elems(op.out) * (double)y.dim[2];
    KP_TRY(kp_rule_op(rule, &op, x));
    return kp_rule_bias(rule, *x, "output_bias", "output_bias", x);
}

kp_status kp_lower_masked_head(kp_rule *rule)
{
    uint32_t x, positions = kp_rule_input(rule, "mask_positions", 1);
    if (positions == KP_NO)
        return kp_fail(rule->err, KP_INPUT, "it is called without 'mask_positions'");
    KP_TRY(pick(rule, positions, &x));
    KP_TRY(run_dense(rule, "intermediate_dense", width_of(rule, x), rule->cfg->recurrent_activation,
                     &x));
    KP_TRY(run_norm(rule, "intermediate_layer_norm", &x));
    KP_TRY(to_words(rule, &x));
    KP_TRY(kp_rule_act(rule, rule->cfg->activation, x, &x));
    return kp_rule_out(rule, x);
}
