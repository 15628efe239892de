/* SPDX-License-Identifier: MIT
 *
 * How calls become a graph: sharing, nesting, several inputs and outputs, old and new forms. */
#include "models.h"
#include <criterion/criterion.h>

#define INPUT(name, shape)                                                                         \
    "{'module':'keras.layers','class_name':'InputLayer','name':'" name "','inbound_nodes':[],"     \
    "'config':{'name':'" name "','batch_shape':" shape ",'dtype':'float32'}}"
#define T(name, call, out)                                                                         \
    "{'class_name':'__keras_tensor__','config':{'dtype':'float32','keras_history':['" name "',"    \
    #call "," #out "]}}"
#define CALL(args) "{'args':[" args "],'kwargs':{}}"
#define DENSE(name, units, calls)                                                                  \
    "{'module':'keras.layers','class_name':'Dense','name':'" name "','config':{'name':'" name      \
    "','units':" #units "},'inbound_nodes':[" calls "]}"
#define MODEL(layers, in, out)                                                                     \
    "{'module':'keras','class_name':'Functional','config':{'name':'m','layers':[" layers           \
    "],'input_layers':" in ",'output_layers':" out "}}"
#define OLD_INPUT(name, shape)                                                                     \
    "{'class_name':'InputLayer','name':'" name "','inbound_nodes':[],"                             \
    "'config':{'name':'" name "','batch_input_shape':" shape ",'dtype':'float32'}}"
#define OLD_DENSE(name, units, calls)                                                              \
    "{'class_name':'Dense','name':'" name "','config':{'name':'" name "','units':" #units          \
    "},'inbound_nodes':[" calls "]}"
#define OLD(layers, in, out)                                                                       \
    "{'class_name':'Model','keras_version':'2.2.4','config':{'name':'m','layers':[" layers         \
    "],'input_layers':" in ",'output_layers':" out "}}"

/* A layer called twice, on its input and on its own output, stands once and has one kernel. */
static const char shared[] = MODEL(INPUT("x", "[null,8]") "," DENSE("d", 8,
    CALL(T("x", 0, 0)) "," CALL(T("d", 0, 0)) "," CALL(T("d", 1, 0))),
    "['x',0,0]", "[['d',0,0],['d',2,0]]");
static const char shared_old[] = OLD(OLD_INPUT("x", "[null,8]") "," OLD_DENSE("d", 8,
    "[['x',0,0,{}]],[['d',0,0,{}]],[['d',1,0,{}]]"), "[['x',0,0]]", "[['d',0,0],['d',2,0]]");

/* A nested Functional called twice; in the old form its calls count from 1, in Keras 3 so too but
 * in output_layers alone. */
static const char nested[] =
    MODEL(INPUT("x", "[null,8]") "," INPUT("y", "[null,8]") ","
    "{'module':'keras','class_name':'Functional','name':'n','config':{'name':'n','layers':["
    INPUT("i", "[null,null]") "," DENSE("e", 4, CALL(T("i", 0, 0))) "],'input_layers':['i',0,0],"
    "'output_layers':['e',0,0]},'inbound_nodes':[" CALL(T("x", 0, 0)) "," CALL(T("y", 0, 0)) "]},"
    DENSE("d", 2, CALL(T("n", 1, 0))), "[['x',0,0],['y',0,0]]", "[['n',1,0],['d',0,0]]");
static const char nested_old[] =
    OLD(OLD_INPUT("x", "[null,8]") "," OLD_INPUT("y", "[null,8]") ","
    "{'class_name':'Model','name':'n','config':{'name':'n','layers':[" OLD_INPUT("i", "[null,8]")
    "," OLD_DENSE("e", 4, "[['i',0,0,{}]]") "],'input_layers':[['i',0,0]],"
    "'output_layers':[['e',0,0]]},'inbound_nodes':[[['x',0,0,{}]],[['y',0,0,{}]]]},"
    OLD_DENSE("d", 2, "[['n',2,0,{}]]"), "[['x',0,0],['y',0,0]]", "[['n',1,0],['d',0,0]]");

/* Objects name inputs and outputs; the nested model takes them by key, not by position. */
static const char by_name[] =
    MODEL(INPUT("x", "[null,8]") "," INPUT("y", "[null,3]") ","
    "{'module':'keras','class_name':'Functional','name':'n','config':{'name':'n','layers':["
    INPUT("p", "[null,3]") "," INPUT("q", "[null,8]") "," DENSE("e", 4, CALL(T("q", 0, 0))) ","
    DENSE("f", 5, CALL(T("p", 0, 0))) "],'input_layers':{'small':['p',0,0],'big':['q',0,0]},"
    "'output_layers':{'o':['e',0,0],'r':['f',0,0]}},'inbound_nodes':["
    CALL("{'big':" T("x", 0, 0) ",'small':" T("y", 0, 0) "}") "]}",
    "{'x':['x',0,0],'y':['y',0,0]}", "{'a':['n',1,0],'b':['n',1,1]}");

/* Layers stand in the file before what they read. */
static const char backwards[] =
    MODEL(DENSE("c", 2, CALL(T("b", 0, 0))) "," DENSE("b", 3, CALL(T("a", 0, 0))) ","
    DENSE("a", 4, CALL(T("x", 0, 0))) "," INPUT("x", "[null,8]"), "['x',0,0]", "['c',0,0]");

static const struct {
    const char *what, *text, *ops, *outputs;
    uint64_t params;
    uint32_t layers;
} graphs[] = {
    {"shared layer", shared, "matmul matmul matmul", "(None, 8) (None, 8)", 72, 2},
    {"shared layer, old form", shared_old, "matmul matmul matmul", "(None, 8) (None, 8)", 72, 2},
    {"nested twice", nested, "matmul matmul matmul", "(None, 4) (None, 2)", 46, 6},
    {"nested twice, old form", nested_old, "matmul matmul matmul", "(None, 4) (None, 2)", 46, 6},
    {"named inputs", by_name, "matmul matmul", "(None, 4) (None, 5)", 56, 7},
    {"backwards", backwards, "matmul matmul matmul", "(None, 2)", 59, 4},
};

static void matmuls(const kp_graph *g, char *ret, size_t size)
{
    size_t at = 0;
    ret[0] = 0;
    for (uint32_t i = 0; i < g->n_ops; i++)
        if (g->ops[i].op == KP_OP_MATMUL)
            at += (size_t)snprintf(ret + at, size - at, "%smatmul", at ? " " : "");
}

Test(graph, calls)
{
    for (size_t i = 0; i < KP_LEN(graphs); i++) {
        kp_reading r = kp_read_text(graphs[i].text, NULL);
        cr_assert_eq(r.status, KP_OK, "%s: %s: %s", graphs[i].what, r.err.where, r.err.msg);
        char ops[256], outputs[256] = "";
        matmuls(r.graph, ops, sizeof(ops));
        for (uint32_t j = 0; j < r.graph->n_outputs; j++) {
            size_t at = strlen(outputs);
            snprintf(outputs + at, sizeof(outputs) - at, "%s%s", j ? " " : "",
                     kp_shape_text(r.graph->tensors[r.graph->outputs[j]].shape, 0).s);
        }
        cr_expect_str_eq(ops, graphs[i].ops, "%s", graphs[i].what);
        cr_expect_str_eq(outputs, graphs[i].outputs, "%s", graphs[i].what);
        cr_expect_eq(r.graph->params, graphs[i].params, "%s: %lu", graphs[i].what,
                     (unsigned long)r.graph->params);
        cr_expect_eq(r.graph->n_layers, graphs[i].layers, "%s", graphs[i].what);
        kp_reading_free(&r);
    }
}

#define SLICE(start, stop, step)                                                                   \
    "{'class_name':'__slice__','config':{'start':" #start ",'stop':" #stop ",'step':" #step "}}"
#define ALL SLICE(null, null, null)

static const struct {
    const char *key, *shape; /* NULL: the shape that the consumer holds, (None, 3) */
} items[] = {
    {"[" ALL ",0]", "(None, 8)"},
    {"[" ALL "," SLICE(1, 4, null) "]", "(None, 3, 8)"},
    {"[" ALL "," SLICE(-2, null, null) "," SLICE(null, null, 3) "]", "(None, 2, 3)"},
    {"[" ALL "," SLICE(5, 2, -1) ",-1]", "(None, 3)"},
    {"[" ALL "," SLICE(null, null, -2) "]", "(None, 3, 8)"},
    {"[" ALL "," SLICE(4, 2, null) "]", "(None, 0, 8)"},
    {"[" ALL "," SLICE(-100, 100, null) "]", "(None, 6, 8)"},
    {"[{'class_name':'__ellipsis__','config':{}},1]", "(None, 6)"},
    {"[" ALL ",null,2]", "(None, 1, 8)"},
    {"0", "(6, 8)"},
    {"[" SLICE(0, 2, null) "]", NULL},
    {"'mask'", NULL},
};

Test(graph, items)
{
    for (size_t i = 0; i < KP_LEN(items); i++) {
        char text[2000];
        snprintf(text, sizeof(text), MODEL(INPUT("x", "[null,6,8]") ",{'module':'keras.src.ops."
                 "numpy','class_name':'GetItem','name':'g','config':{'name':'g'},'inbound_nodes':["
                 CALL(T("x", 0, 0) ",%s") "]},{'module':'keras.layers','class_name':'Identity',"
                 "'name':'d','config':{'name':'d'},'inbound_nodes':[{'args':[{'class_name':"
                 "'__keras_tensor__','config':{%s'keras_history':['g',0,0]}}],'kwargs':{}}]}",
                 "['x',0,0]", "['d',0,0]"), items[i].key, items[i].shape ? "" : "'shape':[null,3],");
        kp_reading r = kp_read_text(text, NULL);
        cr_assert_eq(r.status, KP_OK, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        cr_expect_str_eq(kp_shape_text(r.graph->tensors[r.graph->outputs[0]].shape, 0).s,
                         items[i].shape ? items[i].shape : "(None, 3)", "row %zu", i);
        cr_expect_eq(r.graph->low_confidence, !items[i].shape, "row %zu", i);
        kp_reading_free(&r);
    }
}

Test(graph, layers_calls_and_uses)
{
    kp_reading r = kp_read_text(nested, NULL);
    cr_assert_eq(r.status, KP_OK, "%s: %s", r.err.where, r.err.msg);
    const kp_graph *g = r.graph;
    const kp_layer *n = kp_layer_named(g, "n"), *e = kp_layer_named(g, "n/e");
    cr_expect(n->is_model && n->n_calls == 2 && e->n_calls == 2);
    cr_expect_str_eq(kp_shape_text(kp_layer_named(g, "n/i")->outputs[0], 0).s, "(None, 8)",
                     "the outer shape wins over the inner input's");
    cr_expect_str_eq(g->weights[e->first_weight].path, "e/kernel", "no scope of a Functional");
    cr_expect_eq(n->forward_flops, e->forward_flops);
    uint32_t second = 0;
    for (uint32_t i = 0; i < g->n_ops; i++) second += g->ops[i].call == 1;
    cr_expect_eq(second, 2, "matmul and bias of the second call");
    cr_expect_eq(g->tensors[0].n_uses, 1);
    kp_reading_free(&r);
}

Test(graph, trainable_and_types)
{
    static const char text[] =
        "{'class_name':'Sequential','config':{'name':'s','layers':[" INPUT("x", "[null,8]") ","
        "{'class_name':'Sequential','config':{'name':'frozen','trainable':false,'layers':["
        "{'class_name':'Dense','config':{'name':'d','units':4,'dtype':'mixed_bfloat16'}}]}},"
        "{'class_name':'Dense','config':{'name':'h','units':2,'dtype':{'class_name':'DTypePolicy',"
        "'config':{'name':'float32'}}}}]}}";
    kp_reading r = kp_read_text(text, NULL);
    cr_assert_eq(r.status, KP_OK, "%s: %s", r.err.where, r.err.msg);
    char ops[128];
    kp_op_list(r.graph, ops, sizeof(ops));
    cr_expect_str_eq(ops, "cast matmul bias_add cast matmul bias_add");
    cr_expect_eq(r.graph->trainable_params, 10);
    cr_expect_eq(r.graph->params, 46);
    cr_expect_eq(r.graph->format, KP_FORMAT_KERAS_2, "no module: not Keras 3");
    const kp_layer *d = kp_layer_named(r.graph, "frozen/d");
    cr_expect(d->compute_dtype == KP_BFLOAT16 && d->variable_dtype == KP_FLOAT32 && !d->trainable);
    cr_expect_str_eq(r.graph->weights[d->first_weight].path, "frozen/d/kernel");
    kp_reading_free(&r);
    r = kp_read_text(text, &(kp_bind){.dtype_policy = "float16"});
    cr_assert_eq(r.status, KP_OK);
    for (uint32_t i = 0; i < r.graph->n_weights; i++)
        cr_expect_eq(r.graph->weights[i].dtype, KP_FLOAT16, "the option replaces all policies");
    kp_reading_free(&r);
}

/* A model inside a wrapper is a layer of the tree; a layer that nothing calls is named. */
Test(graph, inside_wrappers_and_uncalled)
{
    static const char text[] =
        MODEL(INPUT("x", "[null,5,8]") ",{'module':'keras.layers','class_name':'TimeDistributed',"
        "'name':'t','config':{'name':'t','layer':{'class_name':'Sequential','config':{'name':'s',"
        "'layers':[{'class_name':'Dense','config':{'name':'e','units':4}}]}}},'inbound_nodes':["
        CALL(T("x", 0, 0)) "]}," DENSE("u", 3, "") "," DENSE("d", 2, CALL(T("t", 0, 0))),
        "['x',0,0]", "['d',0,0]");
    kp_reading r = kp_read_text(text, NULL);
    cr_assert_eq(r.status, KP_OK, "%s: %s", r.err.where, r.err.msg);
    const kp_layer *s = kp_layer_named(r.graph, "t/s"), *e = kp_layer_named(r.graph, "t/s/e");
    cr_expect(s->is_model && s->n_calls == 1 && s->n_outputs == 1);
    kp_shape y = e->outputs[0];
    cr_expect(y.rank == 2 && y.dim[0] == 5 && y.dim[1] == 4 && y.per_sample == 1,
              "every step is a sample");
    cr_expect_str_eq(r.graph->weights[e->first_weight].path, "s/e/kernel");
    cr_expect_eq(e->forward_flops, 5 * (2 * 8 * 4 + 4));
    cr_expect_eq(r.graph->params, 8 * 4 + 4 + 4 * 2 + 2);
    cr_assert_eq(r.graph->n_warnings, 1);
    cr_expect_str_eq(r.graph->warnings[0].code, "uncalled-layer");
    cr_expect_str_eq(r.graph->warnings[0].layer, "u");
    kp_reading_free(&r);
}

/* A class without a rule: the consumer in a Keras 3 file holds its output's shape. */
Test(graph, unknown_layers)
{
    static const char text[] =
        MODEL(INPUT("x", "[null,null,8]") ",{'module':'mine','class_name':'Own','name':'o',"
        "'config':{'name':'o'},'inbound_nodes':[" CALL(T("x", 0, 0)) "]}," DENSE("d", 2,
        "{'args':[{'class_name':'__keras_tensor__','config':{'shape':[null,null,5],'dtype':"
        "'float16','keras_history':['o',0,0]}}],'kwargs':{}}"), "['x',0,0]", "['d',0,0]");
    kp_reading r = kp_read_text(text, &(kp_bind){.seq = 7});
    cr_assert_eq(r.status, KP_OK, "%s: %s", r.err.where, r.err.msg);
    cr_expect_eq(r.graph->ops[1].op, KP_OP_OPAQUE);
    cr_expect_str_eq(kp_shape_text(r.graph->tensors[1].shape, 0).s, "(None, 7, 5)",
                     "an open size is the input's");
    cr_expect_eq(r.graph->tensors[1].dtype, KP_FLOAT16);
    cr_expect(r.graph->low_confidence && r.graph->n_warnings == 1);
    cr_expect_str_eq(r.graph->warnings[0].code, "unknown-layer");
    cr_expect_str_eq(r.graph->warnings[0].layer, "o");
    kp_reading_free(&r);
}
