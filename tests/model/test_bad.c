/* SPDX-License-Identifier: MIT
 *
 * Bad files: each gets one status and one message that names the place. */
#include "models.h"
#include "proto/text.h"
#include <criterion/criterion.h>

#define IN "{'class_name':'InputLayer','module':'keras.layers','name':'x','inbound_nodes':[],"      \
           "'config':{'name':'x','batch_shape':[null,8],'dtype':'float32'}}"
#define FROM(name) "{'args':[{'class_name':'__keras_tensor__','config':{'keras_history':['" name    \
                   "',0,0]}}],'kwargs':{}}"
#define LAYER(class_name, name, config, calls)                                                     \
    "{'class_name':'" class_name "','module':'keras.layers','name':'" name "','config':{" config   \
    "'name':'" name "'},'inbound_nodes':[" calls "]}"
#define MODEL(layers)                                                                              \
    "{'class_name':'Functional','module':'keras','config':{'name':'m','layers':[" layers           \
    "],'input_layers':['x',0,0],'output_layers':['d',0,0]}}"
#define ONE(class_name, config) MODEL(IN "," LAYER(class_name, "d", config ",", FROM("x")))
#define SEQ(layers) "{'class_name':'Sequential','config':{'name':'s','layers':[" layers "]}}"

/* clang-format off */
static const struct {
    const char *text;
    kp_status status;
    const char *where, *msg; /* parts of what is said */
} files[] = {
    /* not a model at all */
    {"", KP_INPUT, "m.json", "empty"},
    {"{'class_name':'Functional','config':{'layers':[", KP_INPUT, "m.json", "ends too early"},
    {"[1,2,3]", KP_INPUT, "m.json", "not a model"},
    {"{}", KP_INPUT, "m.json", "'class_name' and 'config' are missing"},
    {"{'class_name':'Functional'}", KP_INPUT, "m.json", "'class_name' and 'config' are missing"},
    {"{'class_name':7,'config':{}}", KP_INPUT, "m.json", "are missing"},
    {"{'modelTopology':{}}", KP_INPUT, "m.json", "'class_name' and 'config' are missing"},
    {"{'modelTopology':7}", KP_INPUT, "m.json", "'modelTopology' holds no model"},
    {"{'modelTopology':{'node':[],'library':{},'versions':{}}}", KP_UNSUPPORTED, "m.json", "TensorFlow's operations, not layers"},
    {"{'format':'graph-model','modelTopology':{}}", KP_UNSUPPORTED, "m.json", "TensorFlow's operations, not layers"},
    {"{'modelTopology':{'model_config':'{'}}", KP_INPUT, "m.json", "ends too early"},
    {"{'modelTopology':{'modelTopology':{'modelTopology':{'modelTopology':{'modelTopology':{'modelTopology':{}}}}}}}", KP_INPUT, "m.json", "too many envelopes"},
    {"'abc'", KP_INPUT, "m.json", "starts with"},
    {"[{'weights':[]}]", KP_INPUT, "m.json", "not a model"},
    {"{'weights':[]}", KP_UNSUPPORTED, "m.json", "a list of weights"},
    {"{'model_type':'llama'}", KP_INPUT, "m.json", "'hidden_size' is missing"},
    {"{'class_name':'VAE','config':{}}", KP_UNSUPPORTED, "m.json", "'VAE' has no list of layers"},
    {"{'class_name':'Sequential','config':[],'keras_version':'1.2.2'}", KP_INPUT, "m.json", "has no layers"},
    {"{'class_name':'Functional','config':{'layers':7}}", KP_INPUT, "m.json", "'layers' is not a list"},
    {"{'class_name':'Functional','config':{'layers':[]}}", KP_INPUT, "m.json", "has no layers"},
    {SEQ(""), KP_INPUT, "m.json", "has no layers"},
    {SEQ("{'class_name':'Dense','config':{'name':'d','units':4}}"), KP_INPUT, "m.json", "does not say the shape of its input"},
    /* layers */
    {MODEL("7"), KP_INPUT, "m.json", "layer 0 is no object"},
    {MODEL("{'config':{}}"), KP_INPUT, "m.json", "layer 0 has no 'class_name'"},
    {MODEL("{'class_name':'Dense'}"), KP_INPUT, "m.json", "layer 0 ('Dense') has no 'config'"},
    {MODEL(IN "," IN), KP_INPUT, "m.json", "two layers are called 'x'"},
    {ONE("NoSuchLayer", "'a':1"), KP_UNSUPPORTED, "layer 'd'", "class 'NoSuchLayer' is not known"},
    {ONE("LSTMCell", "'units':4"), KP_UNSUPPORTED, "layer 'd'", "cannot be called by itself"},
    /* configuration */
    {ONE("Dense", "'use_bias':true"), KP_INPUT, "layer 'd'", "'units' is missing"},
    {ONE("Dense", "'units':null"), KP_INPUT, "layer 'd'", "'units' is missing"},
    {ONE("Dense", "'units':'10'"), KP_INPUT, "layer 'd'", "'units' is a text, not an integer"},
    {ONE("Dense", "'units':10.5"), KP_INPUT, "layer 'd'", "'units' is a fraction, not an integer"},
    {ONE("Dense", "'units':-3"), KP_INPUT, "layer 'd'", "'units' is -3, less than 1"},
    {ONE("Dense", "'units':0"), KP_INPUT, "layer 'd'", "'units' is 0, less than 1"},
    {ONE("Dense", "'units':1000000000000"), KP_INPUT, "layer 'd'", "'units' is 1000000000000, more than 2147483647"},
    {ONE("Dense", "'units':true"), KP_INPUT, "layer 'd'", "'units' is true or false, not an integer"},
    {ONE("Dense", "'units':[4]"), KP_INPUT, "layer 'd'", "'units' is a list, not an integer"},
    {ONE("Dense", "'units':4,'use_bias':'yes'"), KP_INPUT, "layer 'd'", "'use_bias' is a text, not true or false"},
    {ONE("Dense", "'units':4,'activation':7"), KP_INPUT, "layer 'd'", "'activation' is an integer"},
    {ONE("Dense", "'units':4,'dtype':'float7'"), KP_INPUT, "layer 'd'", "'dtype' is 'float7'"},
    {ONE("Dense", "'units':4,'dtype':{'class_name':'X'}"), KP_INPUT, "layer 'd'", "'dtype' is no name"},
    {ONE("Dense", "'units':4,'dtype':{'config':{'mode':'int3','source_name':'float32'}}"), KP_UNSUPPORTED, "layer 'd'", "quantized as 'int3'"},
    {ONE("Reshape", "'target_shape':[3,3]"), KP_INPUT, "layer 'd'", "(None, 8) cannot become (None, 3, 3)"},
    {ONE("Reshape", "'target_shape':[-1,-1]"), KP_INPUT, "layer 'd'", "'target_shape' has -1 on axis 1"},
    {ONE("Reshape", "'target_shape':[1,1,1,1,1,1,1,1,1]"), KP_INPUT, "layer 'd'", "'target_shape' has 9 entries"},
    {ONE("Reshape", "'target_shape':'8'"), KP_INPUT, "layer 'd'", "'target_shape' is a text"},
    {ONE("Permute", "'dims':[2]"), KP_INPUT, "layer 'd'", "no order of the axes 1 to 1"},
    {ONE("Conv2D", "'filters':4,'kernel_size':[3,3]"), KP_INPUT, "layer 'd'", "'Conv2D' takes inputs with 4 axes, got (None, 8)"},
    {ONE("Conv2D", "'filters':4,'kernel_size':[3,3,3]"), KP_INPUT, "layer 'd'", "'kernel_size' has 3 numbers, 'Conv2D' takes 2"},
    {ONE("Conv2D", "'filters':4,'kernel_size':[3,0]"), KP_INPUT, "layer 'd'", "'kernel_size' is 0, less than 1"},
    {ONE("Conv2D", "'filters':4,'kernel_size':3,'padding':'both'"), KP_INPUT, "layer 'd'", "'padding' is 'both'"},
    {ONE("Conv2D", "'filters':4,'kernel_size':3,'data_format':1"), KP_INPUT, "layer 'd'", "'data_format' is an integer"},
    {ONE("BatchNormalization", "'axis':5"), KP_INPUT, "layer 'd'", "axis 5 is none of a tensor with 2 axes"},
    {ONE("Bidirectional", "'layer':{'class_name':'Own','config':{'name':'o'}}"), KP_UNSUPPORTED, "inner layer 'forward_o'", "class 'Own' is not known"},
    {ONE("Bidirectional", "'layer':7"), KP_INPUT, "layer 'd'", "layer 0 is no object"},
    {ONE("Bidirectional", "'merge_mode':'max','layer':{'class_name':'LSTM','config':{'units':4}}"), KP_INPUT, "layer 'd'", "'merge_mode' is 'max'"},
    {ONE("EinsumDense", "'equation':'ab->b','output_shape':[4]"), KP_INPUT, "layer 'd'", "no product of two terms"},
    {ONE("EinsumDense", "'equation':'ab,bc->cd','output_shape':[4,null]"), KP_INPUT, "layer 'd'", "does not say the size of 'd'"},
    {ONE("MultiHeadAttention", "'num_heads':2,'key_dim':4"), KP_INPUT, "layer 'd'", "without a value"},
    {ONE("Embedding", "'input_dim':2147483647,'output_dim':2147483647"), KP_INPUT, "layer 'd'", "past an exbibyte"},
    {ONE("RepeatVector", "'n':2147483647"), KP_OK, "", ""},
    /* wiring */
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", FROM("y"))), KP_INPUT, "layer 'd'", "reads layer 'y', which is not there"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", FROM("d"))), KP_INPUT, "m.json", "layer 'd' waits for its own output"},
    {MODEL(IN "," LAYER("Dense", "c", "'units':4,", FROM("d")) "," LAYER("Dense", "d", "'units':4,", FROM("c"))), KP_INPUT, "m.json", "form a cycle"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "{'args':[{'class_name':'__keras_tensor__','config':{'keras_history':['x',3,0]}}]}")), KP_INPUT, "m.json", "reads call 3 of layer 'x', which is called 1 times"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "{'args':[{'class_name':'__keras_tensor__','config':{'keras_history':['x',0,5]}}]}")), KP_INPUT, "layer 'd'", "output 5 of layer 'x' is read, which has 1"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "{'args':[{'class_name':'__keras_tensor__','config':{'keras_history':['x',-1,0]}}]}")), KP_INPUT, "layer 'd'", "reads call -1"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "{'args':[{'class_name':'__keras_tensor__','config':{}}]}")), KP_INPUT, "layer 'd'", "without a 'keras_history'"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "7")), KP_INPUT, "layer 'd'", "neither lists nor objects"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "{'args':[],'kwargs':{}}")), KP_INPUT, "layer 'd'", "'Dense' takes 1 input, got 0"},
    {MODEL(IN "," LAYER("Own", "d", "", "{'args':[],'kwargs':{}}")), KP_INPUT, "layer 'd'", "it is called without an input"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", "")), KP_INPUT, "m.json", "output reads call 0 of layer 'd', which is called 0 times"},
    {MODEL(IN "," "{'class_name':'Dense','module':'keras.layers','name':'d','config':{'units':4},'inbound_nodes':{}}"), KP_INPUT, "layer 'd'", "'inbound_nodes' is no list"},
    {"{'class_name':'Functional','module':'keras','config':{'layers':[" IN "],'input_layers':['x',0,0]}}", KP_INPUT, "m.json", "'output_layers' names no layer"},
    {"{'class_name':'Functional','module':'keras','config':{'layers':[" IN "],'output_layers':['q',0,0]}}", KP_INPUT, "m.json", "reads layer 'q'"},
    {"{'class_name':'Functional','module':'keras','config':{'layers':[" LAYER("Dense", "d", "'units':4,", FROM("d")) "],'output_layers':['d',0,0]}}", KP_INPUT, "m.json", "has no input"},
    {MODEL(IN "," LAYER("Dense", "d", "'units':4,", FROM("x") "," FROM("d"))), KP_INPUT, "layer 'd'", "its weight 'kernel' is (8, 4) since its first call, a later call needs (4, 4)"},
    {MODEL(IN "," LAYER("Add", "d", "", FROM("x")) "," LAYER("InputLayer", "y", "'batch_shape':[3,8],", "")), KP_OK, "", ""},
    /* shapes */
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,-8],", "")), KP_INPUT, "layer 'x'", "'batch_shape' has -8 on axis 1"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,8.5],", "")), KP_INPUT, "layer 'x'", "on axis 1 that is no integer"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,'8'],", "")), KP_INPUT, "layer 'x'", "no integer"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[0,8],", "")), KP_INPUT, "layer 'x'", "'batch_shape' has 0 on axis 0"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[],", "")), KP_INPUT, "layer 'x'", "'batch_shape' has 0 axes"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[1,1,1,1,1,1,1,1,1],", "")), KP_INPUT, "layer 'x'", "'batch_shape' has 9 axes"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':8,", "")), KP_INPUT, "layer 'x'", "'batch_shape' is no shape"},
    {MODEL(LAYER("InputLayer", "x", "", "")), KP_INPUT, "layer 'x'", "'batch_shape' is missing"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,9999999999999],", "")), KP_INPUT, "layer 'x'", "not 1 to 2^40"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,1000000000000,1000000000000],", "") "," LAYER("Flatten", "d", "", FROM("x"))), KP_INPUT, "m.json", "past an exbibyte"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,3,3,1],", "") "," LAYER("MaxPooling2D", "d", "'pool_size':[4,4],", FROM("x"))), KP_INPUT, "layer 'd'", "window of 4 does not fit into axis 1 of its input (None, 3, 3, 1)"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,4,1],", "") "," LAYER("Cropping1D", "d", "'cropping':[2,2],", FROM("x"))), KP_INPUT, "layer 'd'", "nothing is left of axis 1"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,8,8,6],", "") "," LAYER("Conv2D", "d", "'filters':8,'kernel_size':3,'groups':4,", FROM("x"))), KP_INPUT, "layer 'd'", "'groups' is 4, which does not divide 6 channels"},
    /* hostile */
    {"{'class_name':'Sequential','class_name':'Model','config':[]}", KP_INPUT, "m.json", "stands twice"},
    {ONE("Dense", "'units':4,'units':5"), KP_INPUT, "m.json", "stands twice"},
    {ONE("Dense", "'units':2147483648"), KP_INPUT, "layer 'd'", "'units' is 2147483648, more than 2147483647"},
    {ONE("Dense", "'units':2147483647"), KP_OK, "", ""},
    {ONE("Dense", "'units':9223372036854775808"), KP_INPUT, "m.json", "is too large"},
    {ONE("Dense", "'units':1e999"), KP_INPUT, "m.json", "is too large"},
    {ONE("Dense", "'units':NaN"), KP_INPUT, "layer 'd'", "'units' is missing"},
    {ONE("Dense", "'units':-Infinity"), KP_INPUT, "layer 'd'", "'units' is missing"},
    {ONE("Dense", "'units':4,'name':'\xff\xfe',"), KP_INPUT, "m.json", "UTF-8"},
    {ONE("Dense", "'units':4,'activation':'\\ud800',"), KP_INPUT, "m.json", "invalid Unicode"},
    {ONE("Conv2D", "'filters':2147483647,'kernel_size':[2147483647,2147483647]"), KP_INPUT, "layer 'd'", "takes inputs with 4 axes"},
    {SEQ("{'class_name':'','config':{'p':0.5,'batch_input_shape':[null,8]}}"), KP_UNSUPPORTED, "m.json", "class '' is not known"},
    {"['{']", KP_INPUT, "m.json", "ends too early"},
    {"['[7]']", KP_INPUT, "m.json", "not a model"},
    {"{'modelTopology':{'model_config':'{\\'model_config\\':7}'}}", KP_INPUT, "m.json", "holds no model"},
    {SEQ("{'class_name':'Merge','config':{'name':'m','mode':'sum','layers':[{'class_name':'Dense','config':{'units':4}}]}}"), KP_UNSUPPORTED, "m.json", "branch 0 of its Merge is no model"},
    {SEQ("{'class_name':'Merge','config':{'name':'m','mode':'sum','layers':[7]}}"), KP_INPUT, "m.json", "layer 0 is no object"},
    {SEQ("{'class_name':'Convolution2D','config':{'nb_filter':4,'nb_row':3,'batch_input_shape':[null,8,8,3]}}"), KP_INPUT, "layer 'Conv2D_0'", "'kernel_size' is null"},
    {MODEL(LAYER("InputLayer", "x", "'batch_shape':[null,null],", "") "," LAYER("Dense", "d", "'units':8,", FROM("x"))), KP_USAGE, "layer 'd'", "a size of its input is open"},
};
/* clang-format on */

Test(bad, files)
{
    for (size_t i = 0; i < KP_LEN(files); i++) {
        kp_reading r = kp_read_text(files[i].text, NULL);
        cr_expect_eq(r.status, files[i].status, "row %zu: %s: %s: %s", i,
                     kp_status_name(r.status), r.err.where, r.err.msg);
        cr_expect(strstr(r.err.where, files[i].where) && strstr(r.err.msg, files[i].msg),
                  "row %zu: %s: %s", i, r.err.where, r.err.msg);
        kp_reading_free(&r);
    }
}

/* A file cut anywhere is an error, never a crash and never a model. */
Test(bad, truncated)
{
    size_t len;
    char *bytes = kp_slurp("tests/data/models/transformer.json", &len);
    for (size_t n = 0; n + 2 < len; n += 97) {
        kp_arena arena;
        kp_err err = {0};
        const kp_graph *graph = NULL;
        kp_arena_init(&arena, 0);
        kp_status status = kp_model_read(bytes, n, "m.json", NULL, &arena, &graph, &err);
        cr_expect_eq(status, KP_INPUT, "%zu bytes: %s", n, err.msg);
        kp_arena_release(&arena);
    }
    free(bytes);
}

/* Every level of nesting is a Sequential around the next. */
static char *deep_model(unsigned depth)
{
    kp_buf out;
    kp_buf_init(&out, 0);
    for (unsigned i = 0; i < depth; i++)
        kp_buf_fmt(&out, "{'class_name':'Sequential','config':{'name':'s%u','layers':[", i);
    kp_buf_str(&out, "{'class_name':'Dense','config':{'name':'d','units':4,'batch_input_shape':[null,8]}}");
    for (unsigned i = 0; i < depth; i++) kp_buf_str(&out, "]}}");
    char *text = kp_quoted(kp_buf_text(&out));
    kp_buf_release(&out);
    return text;
}

/* Each level calls the level below twice: work doubles with every level. */
static char *doubling_model(unsigned depth)
{
    kp_buf out;
    kp_buf_init(&out, 0);
    for (unsigned i = 0; i < depth; i++)
        kp_buf_str(&out, "{'class_name':'Functional','module':'keras','name':'n','config':{'name':'n','layers':[" IN ",");
    kp_buf_str(&out, LAYER("Dense", "n", "'units':8,", FROM("x") "," FROM("n")));
    for (unsigned i = 0; i < depth; i++)
        kp_buf_str(&out, "],'input_layers':['x',0,0],'output_layers':['n',1,0]},'inbound_nodes':["
                         FROM("x") "," FROM("n") "]}");
    char *text = kp_quoted(kp_buf_text(&out));
    kp_buf_release(&out);
    return text;
}

static const struct {
    char *(*make)(unsigned);
    unsigned depth;
    kp_status status;
    const char *msg;
} nests[] = {
    {deep_model, 20, KP_OK, ""},
    {deep_model, 60, KP_INPUT, "nested deeper than 32"},
    {doubling_model, 5, KP_OK, ""},
    {doubling_model, 30, KP_INPUT, "called more than 65536 times"},
};

Test(bad, nesting)
{
    for (size_t i = 0; i < KP_LEN(nests); i++) {
        char *text = nests[i].make(nests[i].depth);
        kp_reading r = kp_read_text(text, NULL);
        free(text);
        cr_expect_eq(r.status, nests[i].status, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        cr_expect(strstr(r.err.msg, nests[i].msg), "row %zu: %s", i, r.err.msg);
        kp_reading_free(&r);
    }
}

/* Allocation n fails: the answer is NOMEM for every n until there are no more. */
static void fail_each(const char *text)
{
    kp_status status = KP_NOMEM;
    uint64_t n = 1;
    for (; status == KP_NOMEM && n < 20000; n++) {
        kp_arena arena;
        kp_err err = {0};
        const kp_graph *graph = NULL;
        kp_arena_init(&arena, 0);
        arena.fail_call = n;
        status = kp_model_read(text, strlen(text), "m.json", NULL, &arena, &graph, &err);
        cr_assert(status == KP_NOMEM || status == KP_OK, "allocation %lu: %s: %s",
                  (unsigned long)n, kp_status_name(status), err.msg);
        kp_arena_release(&arena);
    }
    cr_expect_eq(status, KP_OK, "%lu allocations", (unsigned long)n);
}

Test(bad, every_allocation_fails_once)
{
    static const char wrapped[] =
        SEQ("{'class_name':'InputLayer','config':{'name':'x','batch_shape':[null,5,8]}},"
            "{'class_name':'Bidirectional','config':{'name':'b','layer':{'class_name':'LSTM','config':"
            "{'name':'l','units':4,'return_sequences':true}}}},"
            "{'class_name':'TimeDistributed','config':{'name':'t','layer':{'class_name':'Sequential',"
            "'config':{'name':'q','layers':[{'class_name':'Dense','config':{'name':'d','units':4}}]}}}}");
    static const char branches[] =
        SEQ("{'class_name':'Merge','config':{'name':'m','mode':'concat','layers':[{'class_name':"
            "'Sequential','config':[{'class_name':'Convolution1D','config':{'nb_filter':2,"
            "'filter_length':3,'input_dim':4,'input_length':9}}]}]}}");
    static const char block[] =
        MODEL("{'class_name':'InputLayer','name':'x','config':{'name':'x','batch_shape':[null,5,8]}},"
              "{'class_name':'keras_hub>TransformerDecoder','name':'d','config':{'intermediate_dim':4,"
              "'num_heads':2,'dropout':0.1},'inbound_nodes':[" FROM("x") "]}");
    char *text = kp_slurp("tests/data/models/transformer.json", NULL);
    fail_each(text);
    free(text);
    text = kp_quoted(branches);
    fail_each(text);
    free(text);
    text = kp_quoted(block);
    fail_each(text);
    free(text);
    text = kp_quoted(wrapped);
    fail_each(text);
    free(text);
}
