/* SPDX-License-Identifier: MIT */
#include "tests/search/models.h"
#include <criterion/criterion.h>

const char model_dense[] =
    SEQ("1024", DENSE("a", 4096, "relu") "," DENSE("b", 1024, "linear") "," DENSE("c", 10, "softmax"));
const char model_small_dense[] =
    SEQ("16", DENSE("a", 8, "relu") "," DENSE("b", 8, "relu") "," DENSE("c", 4, "linear"));
const char model_conv[] =
    SEQ("32,32,3", CONV("c1", 64, "linear") "," L("BatchNormalization", "\"name\":\"bn\"") ","
        L("Activation", "\"name\":\"act\",\"activation\":\"relu\"") "," CONV("c2", 512, "relu") ","
        L("MaxPooling2D", "\"name\":\"pool\",\"pool_size\":[2,2]") "," CONV("c3", 512, "relu") ","
        L("GlobalAveragePooling2D", "\"name\":\"gap\"") "," DENSE("head", 1000, "softmax"));
const char model_transformer[] =
    FUN("32", N("Embedding", "emb", ",\"input_dim\":8192,\"output_dim\":1024", FROM("in")) ","
        BLOCK("b0", "emb", 16) "," BLOCK("b1", "b0_out", 16) ","
        N("Dense", "head", ",\"units\":8192,\"activation\":\"softmax\"", FROM("b1_out")), "head");
const char model_residual[] =
    FUN("16,16,256", N("Conv2D", "p", ",\"filters\":256,\"kernel_size\":[1,1]", FROM("in")) ","
        N("Conv2D", "q", ",\"filters\":256,\"kernel_size\":[3,3],\"padding\":\"same\",\"activation\":\"relu\"", FROM("p")) ","
        N("Conv2D", "r", ",\"filters\":256,\"kernel_size\":[3,3],\"padding\":\"same\"", FROM("q")) ","
        N("Add", "sum", "", FROM2("p", "r")) ","
        N("Activation", "act", ",\"activation\":\"relu\"", FROM("sum")) ","
        N("Flatten", "flat", "", FROM("act")) ","
        N("Dense", "head", ",\"units\":10", FROM("flat")), "head");
const char model_lstm[] =
    SEQ("20,16", L("LSTM", "\"name\":\"l1\",\"units\":32,\"return_sequences\":true") ","
        L("LSTM", "\"name\":\"l2\",\"units\":32") "," DENSE("head", 10, "softmax"));
const char model_shared[] =
    FUN("64", "{\"class_name\":\"Dense\",\"name\":\"twice\",\"config\":{\"name\":\"twice\",\"units\":64},"
        "\"inbound_nodes\":[[[\"in\",0,0,{}]],[[\"mid\",0,0,{}]]]},"
        N("Dense", "mid", ",\"units\":64", FROM("twice")) ","
        N("Dense", "head", ",\"units\":4", "[[[\"twice\",1,0,{}]]]"), "head");

const model_row models[] = {
    {"dense", model_dense}, {"small dense", model_small_dense}, {"conv", model_conv},
    {"transformer", model_transformer}, {"residual", model_residual}, {"lstm", model_lstm},
    {"shared", model_shared},
};
const size_t n_models = KP_LEN(models);

const kp_graph *model_read(const char *text, kp_arena *arena)
{
    const kp_graph *graph = NULL;
    kp_err err = {0};
    kp_bind bind = {0};
    cr_assert_eq(kp_model_read(text, strlen(text), "test", &bind, arena, &graph, &err), KP_OK,
                 "%s: %s", err.where, err.msg);
    return graph;
}

uint32_t model_op(const kp_graph *graph, const char *layer, kp_op op, const char *part)
{
    for (uint32_t o = 0; o < graph->n_ops; o++)
        if (graph->ops[o].op == op && !strcmp(graph->layers[graph->ops[o].layer].path, layer) &&
            (!part || !strcmp(graph->ops[o].part, part)))
            return o;
    cr_assert_fail("no such op in layer %s", layer);
    return 0;
}
