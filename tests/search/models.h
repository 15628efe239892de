/* SPDX-License-Identifier: MIT
 *
 * tests/search/models.h — small models as Keras JSON, and reading them. */
#ifndef KP_TESTS_SEARCH_MODELS_H
#define KP_TESTS_SEARCH_MODELS_H

#include "planner/model/graph.h"

#define L(class_name, config) "{\"class_name\":\"" class_name "\",\"config\":{" config "}}"
#define SEQ(shape, layers)                                                                         \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":["                         \
    L("InputLayer", "\"name\":\"in\",\"batch_input_shape\":[null," shape "]") "," layers "]}}"
#define DENSE(name, units, act)                                                                    \
    L("Dense", "\"name\":\"" name "\",\"units\":" #units ",\"activation\":\"" act "\"")
#define CONV(name, filters, act)                                                                   \
    L("Conv2D", "\"name\":\"" name "\",\"filters\":" #filters                                       \
                ",\"kernel_size\":[3,3],\"padding\":\"same\",\"activation\":\"" act "\"")

/* Nodes of a functional model. */
#define N(class_name, name, config, inbound)                                                       \
    "{\"class_name\":\"" class_name "\",\"name\":\"" name "\",\"config\":{\"name\":\"" name "\"" config  \
    "},\"inbound_nodes\":" inbound "}"
#define FROM(a) "[[[\"" a "\",0,0,{}]]]"
#define FROM2(a, b) "[[[\"" a "\",0,0,{}],[\"" b "\",0,0,{}]]]"
#define FUN(shape, layers, output)                                                                 \
    "{\"class_name\":\"Functional\",\"config\":{\"name\":\"f\",\"layers\":["                         \
    N("InputLayer", "in", ",\"batch_input_shape\":[null," shape "]", "[]") "," layers               \
    "],\"input_layers\":[[\"in\",0,0]],\"output_layers\":[[\"" output "\",0,0]]}}"
/* A transformer block over (T, 1024) named by `n`, reading `x`, ending in "n_out". */
#define BLOCK(n, x, heads)                                                                         \
    N("LayerNormalization", n "_ln1", "", FROM(x)) ","                                              \
    N("MultiHeadAttention", n "_mha", ",\"num_heads\":" #heads ",\"key_dim\":64",                    \
      "[[[\"" n "_ln1\",0,0,{\"value\":[\"" n "_ln1\",0,0]}]]]") ","                                 \
    N("Add", n "_add1", "", FROM2(x, n "_mha")) ","                                                 \
    N("LayerNormalization", n "_ln2", "", FROM(n "_add1")) ","                                      \
    N("Dense", n "_up", ",\"units\":4096,\"activation\":\"gelu\"", FROM(n "_ln2")) ","               \
    N("Dense", n "_down", ",\"units\":1024,\"activation\":\"linear\"", FROM(n "_up")) ","             \
    N("Add", n "_out", "", FROM2(n "_add1", n "_down"))

extern const char model_dense[];       /* 1024 - 4096 relu - 1024 - 10 */
extern const char model_small_dense[]; /* 16 - 8 relu - 8 relu - 4 */
extern const char model_conv[];        /* convolutions, batch norm, pool, global pool, dense */
extern const char model_transformer[]; /* embedding, two blocks with 16 heads, dense */
extern const char model_residual[];    /* conv blocks with a skip */
extern const char model_lstm[];
extern const char model_shared[];      /* one Dense called twice around another */

typedef struct model_row {
    const char *name, *text;
} model_row;
extern const model_row models[];
extern const size_t n_models;

/* Asserts that it reads. */
const kp_graph *model_read(const char *text, kp_arena *arena);

/* First op of the layer of that path whose kind is `op`; asserts that it is there. */
uint32_t model_op(const kp_graph *graph, const char *layer, kp_op op, const char *part);

#endif
