/* SPDX-License-Identifier: MIT
 *
 * Weights that the file's container lists, for classes without a rule. */
#include "models.h"
#include <criterion/criterion.h>

#define TENSOR(name)                                                                               \
    "{'class_name':'__keras_tensor__','config':{'shape':[null,8],'dtype':'float32',"               \
    "'keras_history':['" name "',0,0]}}"
#define OWN(name, from)                                                                            \
    "{'class_name':'MyBlock','module':'own','name':'" name "','config':{'name':'" name "'},"       \
    "'inbound_nodes':[{'args':[" TENSOR(from) "],'kwargs':{}}]}"
#define INPUT(name)                                                                                \
    "{'class_name':'InputLayer','module':'keras.layers','name':'" name "','inbound_nodes':[],"     \
    "'config':{'name':'" name "','batch_shape':[null,8],'dtype':'float32'}}"
#define DENSE(name, from)                                                                          \
    "{'class_name':'Dense','module':'keras.layers','name':'" name "','config':{'name':'" name "'," \
    "'units':8},'inbound_nodes':[{'args':[" TENSOR(from) "],'kwargs':{}}]}"
#define WEIGHT(path, shape, dtype) "{'path':'" path "','shape':" shape ",'dtype':'" dtype "'}"

/* Two blocks of one class, the second in a nested model; operations are not counted. */
#define MODEL(container)                                                                           \
    "{'class_name':'Functional','module':'keras','config':{'name':'m','layers':[" INPUT("x") ","   \
    OWN("first", "x") "," OWN("second", "first") ",{'class_name':'Functional','module':'keras',"   \
    "'name':'n','config':{'name':'n','layers':[" INPUT("y") "," OWN("third", "y") ","              \
    DENSE("e", "third") "],'input_layers':['y',0,0],'output_layers':['e',0,0]},"                   \
    "'inbound_nodes':[{'args':[" TENSOR("second") "],'kwargs':{}}]}," DENSE("d", "n") "],"         \
    "'input_layers':['x',0,0],'output_layers':['d',0,0]},'kplan_container':" container "}"

static const struct {
    const char *text;
    uint64_t params, trainable; /* of all layers; each Dense has 72 */
    const char *paths[3];
    const char *warning;
} rows[] = {
    {MODEL("{'kind':'keras','weights':["
           WEIGHT("layers/my_block_1/vars/0", "[8,3]", "float32") ","
           WEIGHT("layers/my_block/att/query/vars/1", "[5]", "float16") ","
           WEIGHT("layers/my_block/bn/vars/0", "[7]", "float32") ","
           WEIGHT("layers/my_block/bn/vars/1", "[7]", "float32") ","
           WEIGHT("layers/my_block/bn/vars/2", "[7]", "float32") ","
           WEIGHT("layers/my_block/bn/vars/3", "[7]", "float32") ","
           WEIGHT("layers/my_block/seed_generator/vars/0", "[2]", "uint32") ","
           WEIGHT("layers/functional/layers/my_block/vars/0", "[]", "float32") ","
           WEIGHT("layers/my_blocks/vars/0", "[100]", "float32") ","
           WEIGHT("layers/dense/vars/0", "[8,8]", "float32") "],'warnings':[]}"),
     144 + 24 + 5 + 28 + 1, 144 + 24 + 5 + 14 + 1,
     {"first/att/query.1", "second/vars.0", "third/vars.0"},
     "class 'MyBlock' is not known: its output and its 6 weights are counted"},
    {MODEL("{'kind':'hdf5','weights':["
           WEIGHT("model_weights/second/second/kernel:0", "[8,3]", "float32") ","
           WEIGHT("model_weights/first/first/moving_mean:0", "[5]", "float32") ","
           WEIGHT("model_weights/n/third/gamma:0", "[9]", "float32") ","
           WEIGHT("model_weights/n/e/kernel:0", "[8,8]", "float32") "]}"),
     144 + 24 + 5 + 9, 144 + 24 + 9,
     {"first/first/moving_mean", "second/second/kernel", "third/gamma"},
     "its output and its 1 weights are counted"},
    {MODEL("{'kind':'keras','weights':["
           WEIGHT("_layer_checkpoint_dependencies/my_block/vars/0", "[3]", "float32") "]}"),
     144 + 3, 144 + 3, {"first/vars.0"}, "its output is counted as the file gives it, its weights"},
    {MODEL("{'warnings':['it is so','because']}"), 144, 144, {NULL}, "it is so"},
    {MODEL("{'kind':'keras','weights':[7,{},{'path':'layers/my_block/vars/0'},"
           WEIGHT("layers/my_block/vars/1", "[0]", "float32") ","
           WEIGHT("layers/my_block/vars/2", "[-4]", "float32") ","
           WEIGHT("layers/my_block/vars/3", "[1,1,1,1,1,1,1,1,1]", "float32") ","
           WEIGHT("layers/my_block/vars/4", "[9]", "no type") "]}"),
     144, 144, {NULL}, "its weights and inner values are not"},
    {MODEL("7"), 144, 144, {NULL}, "its weights and inner values are not"},
};

static bool has_weight(const kp_graph *graph, const char *path)
{
    for (uint32_t i = 0; i < graph->n_weights; i++)
        if (!strcmp(graph->weights[i].path, path)) return true;
    return false;
}

static bool has_warning(const kp_graph *graph, const char *text)
{
    for (uint32_t i = 0; i < graph->n_warnings; i++)
        if (strstr(graph->warnings[i].message, text)) return true;
    return false;
}

/* Every weight is read by an op, so that its gradient is counted. */
static void expect_read(size_t row, const kp_graph *graph)
{
    for (uint32_t w = 0; w < graph->n_weights; w++) {
        bool read = false;
        for (uint32_t i = 0; i < graph->n_ops; i++)
            for (uint32_t k = 0; k < graph->ops[i].n_weights; k++) read |= graph->ops[i].weights[k] == w;
        cr_expect(read, "row %zu: %s", row, graph->weights[w].path);
    }
}

Test(stored, weights)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_reading r = kp_read_text(rows[i].text, NULL);
        cr_assert_eq(r.status, KP_OK, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        cr_expect_eq(r.graph->params, rows[i].params, "row %zu: %lu", i, (unsigned long)r.graph->params);
        cr_expect_eq(r.graph->trainable_params, rows[i].trainable, "row %zu: %lu", i,
                     (unsigned long)r.graph->trainable_params);
        for (size_t k = 0; k < KP_LEN(rows[i].paths) && rows[i].paths[k]; k++)
            cr_expect(has_weight(r.graph, rows[i].paths[k]), "row %zu: %s", i, rows[i].paths[k]);
        cr_expect(has_warning(r.graph, rows[i].warning), "row %zu", i);
        expect_read(i, r.graph);
        kp_reading_free(&r);
    }
}
