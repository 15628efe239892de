/* SPDX-License-Identifier: MIT
 *
 * One model in the words of every dialect; names of other packages; what the user says of layers. */
#include "models.h"
#include "planner/model/spec.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- dialects ---- */

#define K1(layers) "{'class_name':'Sequential','keras_version':'1.2.2','config':[" layers "]}"
#define DENSE_1 "{'class_name':'Dense','config':{'name':'d','output_dim':4,'bias':true,'activation':'linear'}}"
#define BRANCH(n) "{'class_name':'Sequential','config':[{'class_name':'Dense','config':{'name':'d" n "','output_dim':3,'batch_input_shape':[null," n "]}}]}"
#define TWO_BRANCHES(mode) "{'class_name':'Merge','config':{'name':'m','mode':'" mode "','concat_axis':-1,'layers':[" BRANCH("5") "," BRANCH("7") "]}}"
#define MODEL_2(layers, out) "{'class_name':'Model','keras_version':'2.2.4','config':{'name':'m','layers':["  \
    "{'class_name':'InputLayer','name':'x','inbound_nodes':[],'config':{'name':'x','batch_input_shape':[null,8,6,4],'dtype':'float32'}}," \
    layers "],'input_layers':[['x',0,0]],'output_layers':[['" out "',0,0]]}}"
#define OP(name, function, kwargs) "{'class_name':'TFOpLambda','name':'" name "','config':{'name':'" name "','trainable':true,'dtype':'float32','function':'" function "'},'inbound_nodes':[['x',0,0,{" kwargs "}]]}"
#define NODE(op, attr, constants) "{'class_name':'TensorFlowOpLayer','name':'t_n','config':{'name':'n','node_def':{'name':'n','op':'" op "','input':['x'],'attr':{" attr "}},'constants':{" constants "}},'inbound_nodes':[[['x',0,0,{}]]]}"
#define SLICE(spec) "{'class_name':'SlicingOpLambda','name':'s','config':{'name':'s','function':'__operators__.getitem'},'inbound_nodes':[['x',0,0,{'slice_spec':" spec "}]]}"
#define SEQ_2 "{'class_name':'Sequential','config':{'name':'s','layers':[{'class_name':'Dense','config':{'name':'d','units':4,'batch_input_shape':[null,8]}}]}}"
#define LAYERS_2 "[{'class_name':'Dense','config':{'name':'d','units':4,'batch_input_shape':[null,8]}}]"

/* clang-format off */
static const struct {
    const char *text;
    kp_format format;
    uint64_t params;
    const char *shape;
} models[] = {
    /* Keras 1 */
    {K1("{'class_name':'Dense','config':{'name':'d','output_dim':4,'input_dim':8,'bias':false}}"), KP_FORMAT_KERAS_1, 32, "(None, 4)"},
    {K1("{'class_name':'Convolution2D','config':{'name':'c','nb_filter':5,'nb_row':3,'nb_col':2,'subsample':[2,1],'border_mode':'valid','dim_ordering':'th','batch_input_shape':[null,3,9,8]}},"
        "{'class_name':'ZeroPadding2D','config':{'name':'z','padding':[1,1]}},{'class_name':'Flatten','config':{'name':'f'}}," DENSE_1), KP_FORMAT_KERAS_1, 95 + 5 * 6 * 9 * 4 + 4, "(None, 4)"},
    {K1("{'class_name':'ZeroPadding2D','config':{'name':'z','padding':[1,2,3,4],'dim_ordering':'tf','batch_input_shape':[null,9,8,3]}}"), KP_FORMAT_KERAS_1, 0, "(None, 12, 15, 3)"},
    {K1("{'class_name':'Convolution1D','config':{'name':'c','nb_filter':5,'filter_length':3,'subsample_length':2,'border_mode':'same','input_dim':6,'input_length':9}},"
        "{'class_name':'MaxPooling1D','config':{'name':'p','pool_length':2,'stride':3,'border_mode':'valid'}},{'class_name':'Dropout','config':{'name':'o','p':0.5}}"), KP_FORMAT_KERAS_1, 95, "(None, 2, 5)"},
    {K1("{'class_name':'Convolution1D','config':{'name':'c','nb_filter':5,'filter_length':3,'border_mode':'full','input_dim':6,'input_length':9}}"), KP_FORMAT_KERAS_1, 95, "(None, 11, 5)"},
    {K1("{'class_name':'Convolution3D','config':{'name':'c','nb_filter':5,'kernel_dim1':3,'kernel_dim2':2,'kernel_dim3':1,'dim_ordering':'tf','batch_input_shape':[null,5,5,5,2]}}"), KP_FORMAT_KERAS_1, 65, "(None, 3, 4, 5, 5)"},
    {K1("{'class_name':'Embedding','config':{'name':'e','input_dim':50,'output_dim':8,'input_length':7,'input_dtype':'int32'}},"
        "{'class_name':'GRU','config':{'name':'g','output_dim':4,'inner_activation':'hard_sigmoid'}}"), KP_FORMAT_KERAS_1, 400 + 3 * (32 + 16 + 4), "(None, 4)"},
    {K1("{'class_name':'BatchNormalization','config':{'name':'b','mode':0,'axis':1,'batch_input_shape':[null,8]}}"), KP_FORMAT_KERAS_1, 32, "(None, 8)"},
    {K1("{'class_name':'TimeDistributedDense','config':{'name':'t','output_dim':4,'batch_input_shape':[null,9,8]}}"), KP_FORMAT_KERAS_1, 36, "(None, 9, 4)"},
    {K1("{'class_name':'Highway','config':{'name':'h','bias':true,'input_dim':8}}"), KP_FORMAT_KERAS_1, 144, "(None, 8)"},
    {K1("{'class_name':'MaxoutDense','config':{'name':'h','output_dim':4,'nb_feature':3,'input_dim':8}}"), KP_FORMAT_KERAS_1, 108, "(None, 4)"},
    {K1("{'class_name':'SReLU','config':{'name':'s','batch_input_shape':[null,5,8],'shared_axes':[1]}}"), KP_FORMAT_KERAS_1, 32, "(None, 5, 8)"},
    {K1("{'class_name':'ParametricSoftplus','config':{'name':'s','batch_input_shape':[null,5,8]}}"), KP_FORMAT_KERAS_1, 80, "(None, 5, 8)"},
    {K1(TWO_BRANCHES("concat") "," DENSE_1), KP_FORMAT_KERAS_1, 18 + 24 + 28, "(None, 4)"},
    {K1(TWO_BRANCHES("sum") "," DENSE_1), KP_FORMAT_KERAS_1, 18 + 24 + 16, "(None, 4)"},
    {K1(TWO_BRANCHES("dot")), KP_FORMAT_KERAS_1, 42, "(None, 1)"},
    /* envelopes */
    {"{'modelTopology':{'keras_version':'2.1.6','model_config':" SEQ_2 "},'weightsManifest':[]}", KP_FORMAT_TFJS, 36, "(None, 4)"},
    {"{'format':'layers-model','modelTopology':{'class_name':'Sequential','keras_version':'tfjs-layers 1.0','config':" LAYERS_2 "}}", KP_FORMAT_TFJS, 36, "(None, 4)"},
    {"{'architecture':" SEQ_2 ",'hash':'x'}", KP_FORMAT_KERAS_2, 36, "(None, 4)"},
    {"{'model_config':" SEQ_2 ",'keras_version':'2.3.1'}", KP_FORMAT_KERAS_2, 36, "(None, 4)"},
    {"{'name':'s','layers':" LAYERS_2 "}", KP_FORMAT_KERAS_2, 36, "(None, 4)"},
    {LAYERS_2, KP_FORMAT_KERAS_2, 36, "(None, 4)"},
    /* tf.keras: functions */
    {MODEL_2(OP("t", "__operators__.add", "'y':['x',0,0],'name':null"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 8, 6, 4)"},
    {MODEL_2(OP("t", "math.reduce_mean", "'axis':[1,2],'keepdims':true"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 1, 1, 4)"},
    {MODEL_2(OP("t", "reshape", "'shape':[-1,48,4]"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 48, 4)"},
    {MODEL_2(OP("t", "transpose", "'perm':[0,3,1,2]"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 4, 8, 6)"},
    {MODEL_2(OP("t", "linalg.matmul", "'b':['x',0,0],'transpose_b':true"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 8, 6, 6)"},
    {MODEL_2(OP("t", "split", "'num_or_size_splits':[1,5,2],'axis':1"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 1, 6, 4)"},
    {MODEL_2(OP("t", "image.resize", "'size':[20,30]"), "t"), KP_FORMAT_KERAS_2, 0, "(None, 20, 30, 4)"},
    {MODEL_2("{'class_name':'TFOpLambda','name':'t','config':{'function':'math.subtract'},'inbound_nodes':[['_CONSTANT_VALUE',-1,1.0,{'y':['x',0,0]}]]}", "t"), KP_FORMAT_KERAS_2, 0, "(None, 8, 6, 4)"},
    {MODEL_2(SLICE("[{'start':null,'stop':null,'step':null},{'start':1,'stop':7,'step':2},-1]"), "s"), KP_FORMAT_KERAS_2, 0, "(None, 3, 4)"},
    {MODEL_2(SLICE("[{'class_name':'__ellipsis__'},0]"), "s"), KP_FORMAT_KERAS_2, 0, "(None, 8, 6)"},
    {MODEL_2(NODE("DepthToSpace", "'block_size':{'i':'2'},'data_format':{'s':'TkhXQw=='}", ""), "t_n"), KP_FORMAT_KERAS_2, 0, "(None, 16, 12, 1)"},
    {MODEL_2(NODE("Mean", "'keep_dims':{'b':false}", "'1':[1,2]"), "t_n"), KP_FORMAT_KERAS_2, 0, "(None, 4)"},
    {MODEL_2(NODE("Squeeze", "'squeeze_dims':{'list':{'i':[]}}", ""), "t_n"), KP_FORMAT_KERAS_2, 0, "(None, 8, 6, 4)"},
    {MODEL_2("{'class_name':'TensorFlowOpLayer','name':'t_n','config':{'name':'n','node_def':'{\\'op\\':\\'Mul\\'}','constants':{'1':128.0}},'inbound_nodes':[[['x',0,0,{}]]]}", "t_n"), KP_FORMAT_KERAS_2, 0, "(None, 8, 6, 4)"},
    /* tf.keras: layers that are gone */
    {MODEL_2("{'class_name':'LocallyConnected2D','name':'l','config':{'filters':5,'kernel_size':[3,2],'strides':[2,1],'padding':'valid'},'inbound_nodes':[[['x',0,0,{}]]]}", "l"), KP_FORMAT_KERAS_2, 15 * (24 * 5 + 5), "(None, 3, 5, 5)"},
    {"{'class_name':'Sequential','config':[{'class_name':'CuDNNLSTM','config':{'name':'c','units':5,'batch_input_shape':[null,9,6]}}]}", KP_FORMAT_KERAS_2, 4 * (30 + 25 + 10), "(None, 5)"},
    {"{'class_name':'Sequential','config':[{'class_name':'CuDNNGRU','config':{'name':'c','units':5,'return_sequences':true,'batch_input_shape':[null,9,6]}}]}", KP_FORMAT_KERAS_2, 3 * (30 + 25 + 10), "(None, 9, 5)"},
};
/* clang-format on */

Test(dialect, models)
{
    for (size_t i = 0; i < KP_LEN(models); i++) {
        kp_reading r = kp_read_text(models[i].text, NULL);
        cr_expect_eq(r.status, KP_OK, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        if (r.graph) {
            kp_shape y = r.graph->tensors[r.graph->outputs[0]].shape;
            cr_expect_eq(r.graph->format, models[i].format, "row %zu: %s", i,
                         kp_format_names[r.graph->format]);
            cr_expect_eq(r.graph->params, models[i].params, "row %zu: %lu", i, (unsigned long)r.graph->params);
            cr_expect_str_eq(kp_shape_text(y, 0).s, models[i].shape, "row %zu", i);
        }
        kp_reading_free(&r);
    }
}

Test(dialect, tables_hold_floats)
{
    kp_reading r = kp_read_text(K1("{'class_name':'Embedding','config':{'name':'e','input_dim':5,"
                                   "'output_dim':2,'input_length':3,'dtype':'int32'}}"), NULL);
    cr_assert_eq(r.status, KP_OK, "%s", r.err.msg);
    cr_expect_eq(r.graph->weights[0].dtype, KP_FLOAT32);
    cr_expect_eq(r.graph->tensors[r.graph->inputs[0]].dtype, KP_INT32);
    kp_reading_free(&r);
}

Test(dialect, text_in_text)
{
    /* what json.dump(model.to_json(), file) writes */
    static const char text[] = " \"{\\\"class_name\\\":\\\"Sequential\\\",\\\"config\\\":[{\\\"class_name\\\":"
                               "\\\"Dense\\\",\\\"config\\\":{\\\"units\\\":4,\\\"input_dim\\\":8}}]}\"\n";
    kp_arena arena;
    kp_err err = {0};
    const kp_graph *graph = NULL;
    kp_arena_init(&arena, 1 << 24);
    kp_status status = kp_model_read(text, strlen(text), "m.json", NULL, &arena, &graph, &err);
    cr_assert_eq(status, KP_OK, "%s: %s", err.where, err.msg);
    cr_expect_eq(graph->params, 36);
    kp_arena_release(&arena);
}

/* Base64 is left out; what only looks like it, or is short, or is broken is not. */
Test(dialect, weights_beside_the_layers)
{
    enum { SIZE = 300 << 10, BLOB = 2000 };
    static const char head[] = "{\"class_name\":\"Sequential\",\"config\":[{\"class_name\":\"Dense\","
                               "\"config\":{\"units\":4,\"input_dim\":8,\"name\":\"a\\\"b\"}}],\"w\":[\"";
    static const struct {
        const char *tail;
        kp_status status;
        const char *msg;
    } rows[] = {
        {"\"]}", KP_OK, ""},
        {"=\",\"\\n\"]}", KP_OK, ""},
        {"\"],\"x\":}", KP_INPUT, "a value expected"},
        {"", KP_INPUT, "ends too early"},
    };
    char *text = malloc(SIZE + sizeof(head) + 64);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        size_t at = sizeof(head) - 1, n;
        memcpy(text, head, at);
        for (size_t j = 0; j < SIZE; j++, at++) text[at] = j % BLOB == BLOB - 1 ? '/' : 'A';
        memcpy(text + at, rows[i].tail, strlen(rows[i].tail) + 1);
        kp_arena arena;
        kp_err err = {0};
        const kp_graph *graph = NULL;
        kp_arena_init(&arena, 0);
        const char *copy = kp_without_blobs(text, strlen(text), &arena, &n);
        cr_expect(copy && (n < 300) == (rows[i].tail[0] != 0), "row %zu: %zu bytes", i, n);
        kp_status status = kp_model_read(text, strlen(text), "m.json", NULL, &arena, &graph, &err);
        cr_expect_eq(status, rows[i].status, "row %zu: %s", i, err.msg);
        cr_expect(strstr(err.msg, rows[i].msg), "row %zu: %s", i, err.msg);
        cr_expect(!graph || !strcmp(graph->layers[0].name, "a\"b"), "row %zu", i);
        kp_arena_release(&arena);
    }
    free(text);
}

/* ---- packages around Keras ---- */

#define HUB(class_name, config) "'registered_name':'keras_hub>" class_name "','class_name':'" class_name "','module':'keras_hub.src.layers','config':{'name':'l'," config "}"
#define ON(shape, layer, args) "{'class_name':'Functional','module':'keras','config':{'name':'m','layers':["   \
    "{'class_name':'InputLayer','module':'keras.layers','name':'x','inbound_nodes':[],'config':{'name':'x','batch_shape':" shape ",'dtype':'float32'}}," \
    "{'name':'l'," layer ",'inbound_nodes':[{" args "}]}],'input_layers':[['x',0,0]],'output_layers':[['l',0,0]]}}"
#define X "{'class_name':'__keras_tensor__','config':{'keras_history':['x',0,0]}}"
#define ENCODER "'intermediate_dim':64,'num_heads':4"

/* Totals are those of keras-hub 0.22.2, QKeras 0.9.0. */
/* clang-format off */
static const struct {
    const char *text;
    uint64_t params; /* UINT64_MAX: refused as unknown */
    const char *shape, *weight;
} packages[] = {
    {ON("[null,16,32]", HUB("TransformerEncoder", ENCODER), "'args':[" X "]"), 8544, "(None, 16, 32)", "l/self_attention_layer/query/kernel"},
    {ON("[null,16,32]", "'registered_name':'keras_nlp>TransformerEncoder','class_name':'TransformerEncoder','module':'keras_nlp.layers','config':{'name':'l'," ENCODER ",'normalize_first':true}", "'args':[" X "]"), 8544, "(None, 16, 32)", "l/feedforward_layer_norm/gamma"},
    {ON("[null,16,32]", "'class_name':'keras_nlp>TransformerEncoder','config':{'name':'l'," ENCODER "}", "'args':[" X "]"), 8544, "(None, 16, 32)", "l/feedforward_output_dense/bias"},
    {ON("[null,16,32]", "'class_name':'TransformerEncoder','config':{'name':'l'," ENCODER "}", "'args':[" X "]"), UINT64_MAX, "", ""},
    {ON("[null,16,32]", "'registered_name':'Mine>TransformerEncoder','class_name':'TransformerEncoder','config':{'name':'l'," ENCODER "}", "'args':[" X "]"), UINT64_MAX, "", ""},
    {ON("[null,16,32]", HUB("TransformerDecoder", ENCODER), "'args':[" X "]"), 8544, "(None, 16, 32)", "l/self_attention/query/kernel"},
    {ON("[null,16,32]", HUB("TransformerDecoder", ENCODER), "'args':[" X "," X "]"), 12832, "(None, 16, 32)", "l/cross_attention/attention_output/bias"},
    {ON("[null,16,32]", HUB("TransformerDecoder", ENCODER), "'args':[" X "],'kwargs':{'encoder_sequence':" X "}"), 12832, "(None, 16, 32)", "l/cross_attention_layer_norm/beta"},
    {ON("[null,16]", HUB("TokenAndPositionEmbedding", "'vocabulary_size':100,'sequence_length':20,'embedding_dim':32"), "'args':[" X "]"), 3840, "(None, 16, 32)", "l/position_embedding/embeddings"},
    {ON("[null,16]", HUB("TokenAndPositionEmbedding", "'vocabulary_size':100,'sequence_length':20,'embedding_dim':32,'tie_weights':false"), "'args':[" X "]"), 7040, "(None, 16, 32)", "l/token_embedding/reverse_embeddings"},
    {ON("[null,16,32]", HUB("PositionEmbedding", "'sequence_length':20"), "'args':[" X "]"), 640, "(None, 16, 32)", "l/embeddings"},
    {ON("[null,16,32]", HUB("SinePositionEncoding", "'max_wavelength':10000"), "'args':[" X "]"), 0, "(None, 16, 32)", NULL},
    {ON("[null,16,32]", HUB("RotaryEmbedding", "'max_wavelength':10000"), "'args':[" X "]"), 0, "(None, 16, 32)", NULL},
    {ON("[null,16,32]", HUB("FNetEncoder", "'intermediate_dim':64"), "'args':[" X "]"), 4320, "(None, 16, 32)", "l/mixing_layer_norm/gamma"},
    {ON("[null,16,32]", HUB("CachedMultiHeadAttention", "'num_heads':4,'key_dim':8"), "'args':[" X "," X "]"), 4224, "(None, 16, 32)", "l/query/kernel"},
    {ON("[null,16]", HUB("ReversibleEmbedding", "'input_dim':100,'output_dim':32,'tie_weights':false"), "'args':[" X "]"), 6400, "(None, 16, 32)", "l/reverse_embeddings"},
    {ON("[null,16]", "'class_name':'QDense','module':'qkeras.qlayers','registered_name':'qkeras>QDense','config':{'name':'l','units':5,'kernel_quantizer':null,'activation':'quantized_relu(4)'}", "'args':[" X "]"), 85, "(None, 5)", "l/kernel"},
    {ON("[null,7,16]", "'class_name':'RMSNormalization','module':'keras_hub.src.layers.modeling.rms_normalization','registered_name':'keras_hub>RMSNormalization','config':{'name':'l','input_dim':16}", "'args':[" X "]"), 16, "(None, 7, 16)", "l/scale"},
    {ON("[null,8,8,3]", "'class_name':'QConv2DBatchnorm','module':'qkeras.qconv2d_batchnorm','registered_name':'qkeras>QConv2DBatchnorm','config':{'name':'l','filters':4,'kernel_size':[3,3],'kernel_quantizer':null,'folding_mode':'ema_stats_folding','activation':'quantized_relu(4)'}", "'args':[" X "]"), 129, "(None, 6, 6, 4)", "l/kernel"},
    {ON("[null,16]", "'class_name':'QDenseBatchnorm','module':'qkeras.qdense_batchnorm','registered_name':'qkeras>QDenseBatchnorm','config':{'name':'l','units':5,'kernel_quantizer':null,'folding_mode':'ema_stats_folding'}", "'args':[" X "]"), 106, "(None, 5)", "l/kernel"},
    {ON("[null,8,8,3]", "'class_name':'QDepthwiseConv2DBatchnorm','module':'qkeras.qdepthwiseconv2d_batchnorm','registered_name':'qkeras>QDepthwiseConv2DBatchnorm','config':{'name':'l','kernel_size':[3,3],'depthwise_quantizer':null,'folding_mode':'ema_stats_folding','scale':false}", "'args':[" X "]"), 40, "(None, 6, 6, 3)", "l/kernel"},
    {ON("[null,16]", "'class_name':'QDense','config':{'name':'l','units':5,'kernel_quantizer':null}", "'args':[" X "]"), 85, "(None, 5)", "l/bias"},
    {ON("[null,16]", "'class_name':'QDense','config':{'name':'l','units':5}", "'args':[" X "]"), UINT64_MAX, "", ""},
    {ON("[null,16]", "'class_name':'QDense','registered_name':'Mine>QDense','config':{'name':'l','units':5,'kernel_quantizer':null}", "'args':[" X "]"), UINT64_MAX, "", ""},
    {ON("[null,16]", "'class_name':'BinaryDense','config':{'name':'l','units':5,'H':1,'kernel_lr_multiplier':1}", "'args':[" X "]"), 85, "(None, 5)", "l/bias"},
    {ON("[null,16]", "'class_name':'FixedPointQuantizer','config':{'name':'l','shape':[1,16],'RND':'TRN','SAT':'WRAP'}", "'args':[" X "]"), 48, "(None, 16)", "l/bits"},
};
/* clang-format on */

static bool has_weight(const kp_graph *graph, const char *path)
{
    for (uint32_t i = 0; i < graph->n_weights; i++)
        if (!strcmp(graph->weights[i].path, path)) return true;
    return false;
}

Test(dialect, packages)
{
    for (size_t i = 0; i < KP_LEN(packages); i++) {
        bool known = packages[i].params != UINT64_MAX;
        kp_reading r = kp_read_text(packages[i].text, NULL);
        cr_expect_eq(r.status, known ? KP_OK : KP_UNSUPPORTED, "row %zu: %s: %s", i, r.err.where,
                     r.err.msg);
        if (r.graph && known) {
            kp_shape y = r.graph->tensors[r.graph->outputs[0]].shape;
            cr_expect_eq(r.graph->params, packages[i].params, "row %zu: %lu", i,
                         (unsigned long)r.graph->params);
            cr_expect_str_eq(kp_shape_text(y, 0).s, packages[i].shape, "row %zu", i);
            cr_expect(!packages[i].weight || has_weight(r.graph, packages[i].weight), "row %zu", i);
            cr_expect_eq(r.graph->n_warnings, 0, "row %zu", i);
        }
        kp_reading_free(&r);
    }
}

/* ---- what the user says (--layers) ---- */

#define OWN(class_name) "'class_name':'" class_name "','config':{'name':'l'}"
#define ASK ON("[null,9,6]", OWN("Own"), "'args':[" X "]")
#define INSIDE ON("[null,9,6]", "'class_name':'TimeDistributed','module':'keras.layers','config':{'name':'l','layer':{'class_name':'Own','config':{'name':'o'}}}", "'args':[" X "]")

/* clang-format off */
static const struct {
    const char *text, *layers;
    kp_status status;
    uint64_t params;
    const char *want; /* the shape, or a part of place, message and hint */
    uint32_t warnings;
    bool low;
} told[] = {
    {ASK, NULL, KP_UNSUPPORTED, 0, "{'Own': {'output_shape': 'same', 'params': 0}}", 0, false},
    {ASK, "{'Own':{'output_shape':'same'}}", KP_OK, 0, "(None, 9, 6)", 1, true},
    {ASK, "{'Own':{'output_shape':[null,4],'params':77,'kept_bytes':100}}", KP_OK, 77, "(None, 4)", 1, false},
    {ASK, "{'Own':{'output_shape':[null,null,4],'params':77,'kept_bytes':0}}", KP_OK, 77, "(None, 9, 4)", 1, false},
    {ASK, "{'Own':{'output_shape':[[null,4],[null,5]],'params':77}}", KP_OK, 77, "(None, 4)", 1, false},
    {ASK, "{'Own':{'output_shape':'same','params':1},'l':{'output_shape':[null,3],'params':2}}", KP_OK, 2, "(None, 3)", 2, false},
    {ASK, "{'Own':{'params':5}}", KP_UNSUPPORTED, 0, "nothing in the file says what it makes", 0, false},
    {INSIDE, "{'Own':{'output_shape':[null,4],'params':77}}", KP_OK, 77, "(None, 9, 4)", 1, false},
    {INSIDE, NULL, KP_UNSUPPORTED, 0, "inner layer 'o'", 0, false},
    {ON("[null,9,6]", OWN("TFSMLayer"), "'args':[" X "]"), NULL, KP_UNSUPPORTED, 0, "runs code of another framework", 0, false},
    {ON("[null,9,6]", "'class_name':'Dense','module':'keras.layers','config':{'name':'l','units':2}", "'args':[" X "]"), "{'Own':{'params':5}}", KP_OK, 14, "(None, 9, 2)", 1, false},
    {ASK, "[]", KP_INPUT, 0, "holds no object", 0, false},
    {ASK, "{'Own'", KP_INPUT, 0, "--layers", 0, false},
    {ASK, "{'Own':7}", KP_INPUT, 0, "'Own'", 0, false},
    {ASK, "{'Own':{'shape':[4]}}", KP_INPUT, 0, "'shape' is none of its keys", 0, false},
    {ASK, "{'Own':{'output_shape':'other'}}", KP_INPUT, 0, "'output_shape' is no shape", 0, false},
    {ASK, "{'Own':{'output_shape':[null,-4]}}", KP_INPUT, 0, "has -4 on axis 1", 0, false},
    {ASK, "{'Own':{'output_shape':'same','params':-1}}", KP_INPUT, 0, "'params' is no integer", 0, false},
    {ASK, "{'Own':{'output_shape':'same','kept_bytes':1.5}}", KP_INPUT, 0, "'kept_bytes' is no integer", 0, false},
    {ASK, "{'Own':{'output_shape':[null,1099511627776,1099511627776]}}", KP_INPUT, 0, "past an exbibyte", 0, false},
};
/* clang-format on */

static bool says(const kp_err *err, const char *want)
{
    char *text = kp_quoted(want);
    bool found = strstr(err->where, want) || strstr(err->msg, want) || strstr(err->hint, text);
    free(text);
    return found;
}

Test(dialect, told)
{
    for (size_t i = 0; i < KP_LEN(told); i++) {
        char *layers = told[i].layers ? kp_quoted(told[i].layers) : NULL;
        kp_bind bind = {.layers_spec = layers};
        kp_reading r = kp_read_text(told[i].text, &bind);
        cr_expect_eq(r.status, told[i].status, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        if (r.status != KP_OK) {
            cr_expect(says(&r.err, told[i].want), "row %zu: %s: %s; %s", i, r.err.where, r.err.msg,
                      r.err.hint);
        } else {
            kp_shape y = r.graph->tensors[r.graph->outputs[0]].shape;
            cr_expect_str_eq(kp_shape_text(y, 0).s, told[i].want, "row %zu", i);
            cr_expect_eq(r.graph->params, told[i].params, "row %zu", i);
            cr_expect_eq(r.graph->n_warnings, told[i].warnings, "row %zu", i);
            cr_expect_eq(r.graph->low_confidence, told[i].low, "row %zu", i);
        }
        kp_reading_free(&r);
        free(layers);
    }
}
