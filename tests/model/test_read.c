/* SPDX-License-Identifier: MIT
 *
 * Binding of open dimensions, compile settings, formats, summaries. */
#include "models.h"
#include "proto/messages.h"
#include <criterion/criterion.h>
#include <math.h>

#define IN(name, shape)                                                                            \
    "{'class_name':'InputLayer','module':'keras.layers','name':'" name "','inbound_nodes':[],"     \
    "'config':{'name':'" name "','batch_shape':" shape ",'dtype':'float32'}}"
#define FROM(name) "{'class_name':'__keras_tensor__','config':{'keras_history':['" name "',0,0]}}"

static const char two_inputs[] =
    "{'class_name':'Functional','module':'keras','config':{'name':'m','layers':["
    IN("x", "[null,null,8]") "," IN("y", "[null,5,8]") ",{'class_name':'Concatenate','module':"
    "'keras.layers','name':'c','config':{'name':'c','axis':1},'inbound_nodes':[{'args':[[" FROM("x")
    "," FROM("y") "]],'kwargs':{}}]}],'input_layers':[['x',0,0],['y',0,0]],"
    "'output_layers':['c',0,0]}}";

static const kp_bind_dim x1_7[] = {{"x", 1, 7}}, all_9[] = {{NULL, 0, 9}}, y1_5[] = {{"y", 1, 5}},
                         y1_6[] = {{"y", 1, 6}}, q1_6[] = {{"q", 1, 6}}, x0_4[] = {{"x", 0, 4}},
                         x3_4[] = {{"x", 3, 4}}, x1_0[] = {{"x", 1, 0}},
                         both[] = {{NULL, 0, 9}, {"x", 1, 7}};

static const struct {
    kp_bind bind;
    kp_status status;
    const char *want; /* the output's shape, or a part of message and hint */
    uint32_t open;
} binds[] = {
    {{0}, KP_OK, "(None, None, 8)", 1},
    {{.dims = x1_7, .n_dims = 1}, KP_OK, "(None, 12, 8)", 0},
    {{.dims = all_9, .n_dims = 1}, KP_OK, "(None, 14, 8)", 0},
    {{.dims = both, .n_dims = 2}, KP_OK, "(None, 12, 8)", 0},
    {{.seq = 3}, KP_OK, "(None, 8, 8)", 0},
    {{.dims = x1_7, .n_dims = 1, .seq = 3}, KP_OK, "(None, 12, 8)", 0},
    {{.dims = y1_5, .n_dims = 1}, KP_OK, "(None, None, 8)", 1},
    {{.dims = y1_6, .n_dims = 1}, KP_USAGE, "axis 1 of input 'y' is 5 in the file, not 6", 0},
    {{.dims = q1_6, .n_dims = 1}, KP_USAGE, "open dimensions of this model: x:1", 0},
    {{.dims = x0_4, .n_dims = 1}, KP_USAGE, "set it with --batch", 0},
    {{.dims = x3_4, .n_dims = 1}, KP_USAGE, "input 'x' has no axis 3, it is (None, None, 8)", 0},
    {{.dims = x1_0, .n_dims = 1}, KP_USAGE, "a dimension of 0 is out of range", 0},
    {{.seq = -1}, KP_USAGE, "a sequence of -1 is out of range", 0},
    {{.dtype_policy = "float12"}, KP_USAGE, "'float12' is no dtype policy", 0},
};

Test(read, binding)
{
    for (size_t i = 0; i < KP_LEN(binds); i++) {
        kp_reading r = kp_read_text(two_inputs, &binds[i].bind);
        cr_expect_eq(r.status, binds[i].status, "row %zu: %s", i, r.err.msg);
        if (r.status == KP_OK) {
            cr_expect_str_eq(kp_shape_text(r.graph->tensors[r.graph->outputs[0]].shape, 0).s,
                             binds[i].want, "row %zu", i);
            cr_expect_eq(r.graph->n_open, binds[i].open, "row %zu", i);
        } else {
            cr_expect(strstr(r.err.msg, binds[i].want) || strstr(r.err.hint, binds[i].want),
                      "row %zu: %s; %s", i, r.err.msg, r.err.hint);
        }
        kp_reading_free(&r);
    }
}

/* ---- compile settings ---- */

#define SEQ(rest)                                                                                  \
    "{'class_name':'Sequential','module':'keras','config':{'name':'s','layers':["                  \
    IN("x", "[null,8]") ",{'class_name':'Dense','config':{'name':'d','units':4}}]}" rest "}"

/* clang-format off */
static const struct {
    const char *text, *optimizer, *loss;
    double rate; /* NaN: absent */
    bool amsgrad, centered, momentum, ema;
    uint32_t accum;
} compiled[] = {
    {SEQ(""), NULL, NULL, NAN, 0, 0, 0, 0, 0},
    {SEQ(",'compile_config':{}"), NULL, NULL, NAN, 0, 0, 0, 0, 0},
    {SEQ(",'compile_config':7"), NULL, NULL, NAN, 0, 0, 0, 0, 0},
    {SEQ(",'compile_config':{'optimizer':{'module':'keras.optimizers','class_name':'AdamW','config':{'learning_rate':0.001,'amsgrad':true,'use_ema':true,'gradient_accumulation_steps':4}},'loss':'sparse_categorical_crossentropy'}"), "adamw", "sparse_categorical_crossentropy", 0.001, 1, 0, 0, 1, 4},
    {SEQ(",'compile_config':{'optimizer':'sgd','loss':'mse'}"), "sgd", "mse", NAN, 0, 0, 0, 0, 0},
    {SEQ(",'compile_config':{'optimizer':{'class_name':'SGD','config':{'learning_rate':{'class_name':'ExponentialDecay'},'momentum':0.9}},'loss':{'class_name':'MeanSquaredError','config':{}}}"), "sgd_momentum", "mean_squared_error", NAN, 0, 0, 1, 0, 0},
    {SEQ(",'compile_config':{'optimizer':{'class_name':'SGD','config':{'momentum':0.0}},'loss':{'a':'mae','b':'mse'}}"), "sgd", "mae", NAN, 0, 0, 0, 0, 0},
    {SEQ(",'training_config':{'optimizer_config':{'class_name':'RMSprop','config':{'lr':0.01,'centered':true,'momentum':0.5}},'loss':['binary_crossentropy']}"), "rmsprop", "binary_crossentropy", 0.01, 0, 1, 1, 0, 0},
    {SEQ(",'compile_config':{'optimizer':{'class_name':'LossScaleOptimizer','config':{'inner_optimizer':{'class_name':'Adam','config':{'learning_rate':0.5}}}}}"), "adam", NULL, 0.5, 0, 0, 0, 0, 0},
    {SEQ(",'compile_config':{'optimizer':{'class_name':'MyOwn>Rocket','config':{}},'loss':{'class_name':'function','config':'hinge'}}"), NULL, "hinge", NAN, 0, 0, 0, 0, 0},
    {SEQ(",'compile_config':{'loss':{'class_name':'KLDivergence'}}"), NULL, "kl_divergence", NAN, 0, 0, 0, 0, 0},
};
/* clang-format on */

static bool same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

Test(read, compile_settings)
{
    for (size_t i = 0; i < KP_LEN(compiled); i++) {
        kp_reading r = kp_read_text(compiled[i].text, NULL);
        cr_assert_eq(r.status, KP_OK, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        kp_compile c = r.graph->compile;
        cr_expect(same_text(c.optimizer, compiled[i].optimizer), "row %zu: %s", i, c.optimizer);
        cr_expect(same_text(c.loss, compiled[i].loss), "row %zu: %s", i, c.loss);
        cr_expect(isnan(compiled[i].rate) ? isnan(c.learning_rate)
                                          : c.learning_rate == compiled[i].rate, "row %zu", i);
        cr_expect(c.amsgrad == compiled[i].amsgrad && c.centered == compiled[i].centered &&
                      c.momentum == compiled[i].momentum && c.use_ema == compiled[i].ema, "row %zu", i);
        cr_expect_eq(c.grad_accum, compiled[i].accum, "row %zu", i);
        kp_reading_free(&r);
    }
}

/* ---- Sequentials of all times ---- */

#define OLD_DENSE "{'class_name':'Dense','config':{'name':'d','units':4"
static const struct {
    const char *text, *input;
    kp_format format;
    uint32_t layers;
} sequentials[] = {
    {SEQ(""), "(None, 8)", KP_FORMAT_KERAS_3, 2},
    {"{'class_name':'Sequential','keras_version':'2.2.0','config':[" OLD_DENSE ",'batch_input_shape':[null,8]}}]}", "(None, 8)", KP_FORMAT_KERAS_2, 1},
    {"{'class_name':'Sequential','keras_version':'2.3.1','config':{'name':'s','layers':[" OLD_DENSE ",'batch_input_shape':[null,3,8]}}]}}", "(None, 3, 8)", KP_FORMAT_KERAS_2, 1},
    {"{'class_name':'Sequential','config':[" OLD_DENSE ",'input_shape':[8]}}]}", "(None, 8)", KP_FORMAT_KERAS_2, 1},
    {"{'class_name':'Sequential','config':[" OLD_DENSE ",'input_dim':8}}]}", "(None, 8)", KP_FORMAT_KERAS_2, 1},
    {"{'class_name':'Sequential','config':{'layers':[" OLD_DENSE "}}],'build_input_shape':[null,8]}}", "(None, 8)", KP_FORMAT_KERAS_2, 1},
    {"{'class_name':'Sequential','module':'keras','config':{'layers':[" OLD_DENSE "}}]},'build_config':{'input_shape':[null,8]}}", "(None, 8)", KP_FORMAT_KERAS_3, 1},
    {"{'class_name':'Sequential','config':[{'class_name':'Sequential','config':[" OLD_DENSE ",'batch_input_shape':[null,8]}}]}]}", "(None, 8)", KP_FORMAT_KERAS_2, 2},
    {"{'class_name':'Sequential','config':[{'class_name':'Embedding','config':{'input_dim':50,'output_dim':4,'input_length':9}}]}", "(None, 9)", KP_FORMAT_KERAS_2, 1},
    {"{'class_name':'Sequential','keras_version':'2.8.0','config':{'name':'s','layers':[{'class_name':'InputLayer','config':{'name':'i','batch_input_shape':[null,8]}}," OLD_DENSE ",'batch_input_shape':[null,8]}}]}}", "(None, 8)", KP_FORMAT_KERAS_2, 2},
    {"{'source':'recorded','layers':[],'model_json':" SEQ("") "}", "(None, 8)", KP_FORMAT_KERAS_3, 2},
};

Test(read, sequentials)
{
    for (size_t i = 0; i < KP_LEN(sequentials); i++) {
        kp_reading r = kp_read_text(sequentials[i].text, NULL);
        cr_assert_eq(r.status, KP_OK, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        cr_expect_str_eq(kp_shape_text(r.graph->tensors[r.graph->inputs[0]].shape, 0).s,
                         sequentials[i].input, "row %zu", i);
        cr_expect_eq(r.graph->format, sequentials[i].format, "row %zu", i);
        cr_expect_eq(r.graph->n_layers, sequentials[i].layers, "row %zu", i);
        kp_reading_free(&r);
    }
}

/* ---- summary ---- */

Test(read, summary)
{
    static const char text[] =
        "{'class_name':'Sequential','module':'keras','config':{'name':'s','layers':["
        IN("x", "[4,null,8]") ",{'class_name':'Sequential','config':{'name':'n','layers':["
        "{'class_name':'BatchNormalization','config':{'name':'b','axis':-1}}]}},"
        "{'class_name':'LSTM','config':{'name':'l','units':4,'return_state':true}}]}}";
    static const char want[] =
        "{'schema':'kplan.summary/1','model':'s','format':'keras-3','params':{'total':240,"
        "'trainable':224,'non_trainable':16},'inputs':[[4,null,8]],'outputs':[[4,4]],"
        "'forward_flops':null,'layers':[{'name':'x','class':'InputLayer',"
        "'output_shapes':[[4,null,8]],'params':0,'trainable':0,'non_trainable':0,"
        "'compute_dtype':'float32','variable_dtype':'float32','forward_flops':0,'weights':[]},"
        "{'name':'n','class':'Sequential','output_shapes':[[4,null,8]],'params':32,"
        "'trainable':16,'non_trainable':16,'compute_dtype':'float32','variable_dtype':'float32',"
        "'forward_flops':null,'weights':[],'layers':[{'name':'b','class':'BatchNormalization',"
        "'output_shapes':[[4,null,8]],'params':32,'trainable':16,'non_trainable':16,"
        "'compute_dtype':'float32','variable_dtype':'float32','forward_flops':null,'weights':["
        "{'path':'n/b/gamma','shape':[8],'dtype':'float32','trainable':true},"
        "{'path':'n/b/beta','shape':[8],'dtype':'float32','trainable':true},"
        "{'path':'n/b/moving_mean','shape':[8],'dtype':'float32','trainable':false},"
        "{'path':'n/b/moving_variance','shape':[8],'dtype':'float32','trainable':false}]}]},"
        "{'name':'l','class':'LSTM','output_shapes':[[4,4],[4,4],[4,4]],'params':208,"
        "'trainable':208,'non_trainable':0,'compute_dtype':'float32','variable_dtype':'float32',"
        "'forward_flops':null,'weights':["
        "{'path':'s/l/lstm_cell/kernel','shape':[8,16],'dtype':'float32','trainable':true},"
        "{'path':'s/l/lstm_cell/recurrent_kernel','shape':[4,16],'dtype':'float32','trainable':true},"
        "{'path':'s/l/lstm_cell/bias','shape':[16],'dtype':'float32','trainable':true}]}],"
        "'warnings':[]}";
    kp_reading r = kp_read_text(text, NULL);
    cr_assert_eq(r.status, KP_OK, "%s: %s", r.err.where, r.err.msg);
    cr_expect_eq(r.graph->fixed_batch, 4);
    kp_summary summary;
    kp_buf out;
    kp_buf_init(&out, 0);
    cr_assert_eq(kp_graph_summary(r.graph, &r.arena, &summary, &r.err), KP_OK);
    cr_assert_eq(kp_schema_print(&kp_schema_summary, &summary, &out, &r.err), KP_OK);
    char *quoted = kp_quoted(want);
    cr_expect_str_eq(kp_buf_text(&out), quoted);
    free(quoted);
    kp_buf_release(&out);
    kp_reading_free(&r);
}
