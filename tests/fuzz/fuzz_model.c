/* SPDX-License-Identifier: MIT
 *
 * Model files. What is read holds together (kp_graph_check) and has a summary; what is refused has
 * a message. The mutator works on the document: numbers, names and classes change, members go, come
 * twice or swap places, so that most texts are JSON and many nearly models. */
#include "planner/model/rules.h"
#include "proto/messages.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#define INPUT(name, shape)                                                                         \
    "{\"class_name\":\"InputLayer\",\"module\":\"keras.layers\",\"name\":\"" name "\","            \
    "\"config\":{\"name\":\"" name "\",\"batch_shape\":" shape ",\"dtype\":\"float32\"}}"
#define TENSOR(name)                                                                               \
    "{\"class_name\":\"__keras_tensor__\",\"config\":{\"shape\":[null,4],\"dtype\":\"float32\","   \
    "\"keras_history\":[\"" name "\",0,0]}}"
#define LAYER(class_name, name, config, args)                                                      \
    "{\"class_name\":\"" class_name "\",\"module\":\"keras.layers\",\"name\":\"" name "\","        \
    "\"config\":{\"name\":\"" name "\"" config "},\"inbound_nodes\":[{\"args\":[" args "],"        \
    "\"kwargs\":{}}]}"

static const char *const seeds[] = {
    "{\"class_name\":\"Functional\",\"module\":\"keras\",\"config\":{\"name\":\"m\",\"layers\":["
    INPUT("x", "[null,16,16,3]") "," LAYER("Conv2D", "c", ",\"filters\":4,\"kernel_size\":[3,3],"
    "\"strides\":[1,1],\"padding\":\"same\",\"activation\":\"relu\"", TENSOR("x")) ","
    LAYER("BatchNormalization", "b", ",\"axis\":-1", TENSOR("c")) ","
    LAYER("Add", "a", "", "[" TENSOR("c") "," TENSOR("b") "]") ","
    LAYER("GlobalAveragePooling2D", "g", "", TENSOR("a")) ","
    LAYER("Dense", "d", ",\"units\":10,\"activation\":\"softmax\"", TENSOR("g")) "],"
    "\"input_layers\":[\"x\",0,0],\"output_layers\":[\"d\",0,0]},\"compile_config\":{\"optimizer\":"
    "{\"class_name\":\"SGD\",\"config\":{\"momentum\":0.9}},\"loss\":\"mse\"}}",
    "{\"class_name\":\"Functional\",\"module\":\"keras\",\"config\":{\"name\":\"t\",\"layers\":["
    INPUT("x", "[null,null,8]") "," INPUT("y", "[null,6,8]") ","
    LAYER("MultiHeadAttention", "m", ",\"num_heads\":2,\"key_dim\":4,\"dropout\":0.1",
    TENSOR("x") "," TENSOR("y")) "," LAYER("LayerNormalization", "n", ",\"axis\":[-1]", TENSOR("m"))
    "," LAYER("Bidirectional", "w", ",\"layer\":{\"class_name\":\"LSTM\",\"config\":{\"name\":\"l\","
    "\"units\":4,\"return_sequences\":true}}", TENSOR("n")) ","
    LAYER("TimeDistributed", "e", ",\"layer\":{\"class_name\":\"Dense\",\"config\":{\"name\":\"q\","
    "\"units\":3}}", TENSOR("w")) "],\"input_layers\":{\"a\":[\"x\",0,0],\"b\":[\"y\",0,0]},"
    "\"output_layers\":[[\"e\",0,0],[\"m\",0,0]]}}",
    "{\"class_name\":\"Sequential\",\"keras_version\":\"2.2.4\",\"config\":[{\"class_name\":"
    "\"Embedding\",\"config\":{\"name\":\"e\",\"input_dim\":50,\"output_dim\":8,\"input_length\":9}},"
    "{\"class_name\":\"Model\",\"config\":{\"name\":\"n\",\"layers\":[" INPUT("i", "[null,9,8]")
    ",{\"class_name\":\"GRU\",\"name\":\"g\",\"config\":{\"name\":\"g\",\"units\":4},"
    "\"inbound_nodes\":[[[\"i\",0,0,{}]]]}],\"input_layers\":[[\"i\",0,0]],"
    "\"output_layers\":[[\"g\",0,0]]}},{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\","
    "\"units\":2}}]}",
    "{\"class_name\":\"Sequential\",\"keras_version\":\"1.2.2\",\"config\":[{\"class_name\":\"Merge\","
    "\"config\":{\"name\":\"m\",\"mode\":\"concat\",\"concat_axis\":-1,\"layers\":[{\"class_name\":"
    "\"Sequential\",\"config\":[{\"class_name\":\"Convolution2D\",\"config\":{\"nb_filter\":4,"
    "\"nb_row\":3,\"nb_col\":2,\"subsample\":[2,1],\"border_mode\":\"full\",\"dim_ordering\":\"th\","
    "\"batch_input_shape\":[null,3,9,8]}},{\"class_name\":\"Flatten\",\"config\":{}}]},"
    "{\"class_name\":\"Sequential\",\"config\":[{\"class_name\":\"Highway\",\"config\":{\"input_dim\":5}}"
    "]}]}},{\"class_name\":\"MaxoutDense\",\"config\":{\"output_dim\":4,\"nb_feature\":3}}]}",
    "{\"modelTopology\":{\"model_config\":{\"class_name\":\"Model\",\"config\":{\"name\":\"f\","
    "\"layers\":[" INPUT("x", "[null,8,6,4]") ",{\"class_name\":\"TFOpLambda\",\"name\":\"t\",\"config\":"
    "{\"name\":\"t\",\"function\":\"split\"},\"inbound_nodes\":[[\"x\",0,0,{\"num_or_size_splits\":[2,6],"
    "\"axis\":1}]]},{\"class_name\":\"SlicingOpLambda\",\"name\":\"s\",\"config\":{\"function\":"
    "\"__operators__.getitem\"},\"inbound_nodes\":[[\"t\",0,1,{\"slice_spec\":[{\"start\":null,\"stop\":null,"
    "\"step\":null},{\"start\":1,\"stop\":5,\"step\":2},0]}]]},{\"class_name\":\"TensorFlowOpLayer\","
    "\"name\":\"n\",\"config\":{\"name\":\"q\",\"node_def\":{\"op\":\"Mean\",\"attr\":{\"keep_dims\":"
    "{\"b\":true}}},\"constants\":{\"1\":[1]}},\"inbound_nodes\":[[[\"s\",0,0,{}]]]},{\"class_name\":"
    "\"LocallyConnected1D\",\"name\":\"l\",\"config\":{\"filters\":2,\"kernel_size\":1},\"inbound_nodes\":"
    "[[[\"n\",0,0,{}]]]}],\"input_layers\":[[\"x\",0,0]],\"output_layers\":[[\"l\",0,0]]}}}}",
    "{\"class_name\":\"Functional\",\"module\":\"keras\",\"config\":{\"name\":\"h\",\"layers\":["
    INPUT("x", "[null,6]") ",{\"class_name\":\"keras_hub>TokenAndPositionEmbedding\",\"name\":\"p\","
    "\"config\":{\"vocabulary_size\":9,\"sequence_length\":6,\"embedding_dim\":8},\"inbound_nodes\":"
    "[{\"args\":[" TENSOR("x") "]}]},{\"class_name\":\"keras_hub>TransformerDecoder\",\"name\":\"d\","
    "\"config\":{\"intermediate_dim\":4,\"num_heads\":2,\"dropout\":0.1},\"inbound_nodes\":[{\"args\":["
    TENSOR("p") "," TENSOR("p") "]}]},{\"class_name\":\"Own\",\"name\":\"o\",\"config\":{},"
    "\"inbound_nodes\":[{\"args\":[" TENSOR("d") "]}]},{\"class_name\":\"keras_hub>MaskedLMHead\",\"name\":"
    "\"k\",\"config\":{\"vocabulary_size\":9},\"inbound_nodes\":[{\"args\":[" TENSOR("o") "],\"kwargs\":"
    "{\"mask_positions\":" TENSOR("x") "}}]}],\"input_layers\":[\"x\",0,0],\"output_layers\":[\"k\",0,0]}}",
};

static void holds_together(const kp_graph *graph, kp_arena *arena)
{
    kp_summary summary;
    kp_graph_check(graph);
    kp_status status = kp_graph_summary(graph, arena, &summary, NULL);
    assert(status == KP_OK || status == KP_NOMEM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_arena arena;
    kp_arena_init(&arena, (size_t)256 << 20);
    static const kp_bind_dim dim = {NULL, 0, 7};
    const kp_bind bind = {.dims = &dim, .n_dims = size % 2,
                          .layers_spec = size % 3 ? "{\"Own\":{\"output_shape\":\"same\",\"params\":3,"
                                                    "\"kept_bytes\":5}}" : NULL};
    const kp_graph *graph = NULL;
    kp_err err = {0};
    char *text = malloc(size + !size); /* of exactly this size: a sanitizer sees one byte too many */
    if (!text) return 0;
    memcpy(text, data, size);
    kp_status status = kp_model_read(text, size, "fuzz.json", &bind, &arena, &graph, &err);
    if (status == KP_OK) holds_together(graph, &arena);
    else assert(err.msg[0] && (status == KP_INPUT || status == KP_UNSUPPORTED ||
                               status == KP_USAGE || status == KP_NOMEM));
    kp_arena_release(&arena);
    free(text);
    return 0;
}

/* ---- the mutator ---- */

static unsigned next(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Some value of the document, by a random walk down. */
static json_t *pick(json_t *json, unsigned *state)
{
    for (int depth = 0; depth < 24; depth++) {
        size_t n = json_is_object(json) ? json_object_size(json) : json_array_size(json);
        if (!n || next(state) % 8 == 0) break;
        size_t at = next(state) % n;
        if (json_is_array(json)) {
            json = json_array_get(json, at);
            continue;
        }
        void *it = json_object_iter(json);
        while (at--) it = json_object_iter_next(json, it);
        json = json_object_iter_value(it);
    }
    return json;
}

static const char *some_class(unsigned *state)
{
    switch (next(state) % 3) {
    case 0: return kp_math_rows[next(state) % kp_math_n_rows].class_name;
    case 1: return kp_neighbour_rows[next(state) % kp_neighbour_n_rows].class_name;
    default: return kp_layer_rows[next(state) % kp_layer_n_rows].class_name;
    }
}

static json_t *some_value(json_t *root, unsigned *state)
{
    static const json_int_t numbers[] = {0, 1, 2, 3, -1, -2, 7, 255, 65536, INT32_MAX,
                                         (json_int_t)1 << 40, INT64_MAX, INT64_MIN};
    static const char *const texts[] = {"", "same", "causal", "channels_first", "linear", "gelu",
                                        "mixed_bfloat16", "x", "ab,bc->ac", "...x,xy->...y"};
    switch (next(state) % 8) {
    case 0: return json_null();
    case 1: return json_boolean(next(state) % 2);
    case 2: return json_real(0.5);
    case 3: return json_string(texts[next(state) % KP_LEN(texts)]);
    case 4: return json_string(some_class(state));
    case 5: return json_deep_copy(pick(root, state));
    default: return json_integer(numbers[next(state) % KP_LEN(numbers)]);
    }
}

/* Keys that rows read, so that other classes find what they need. */
static const char *some_key(unsigned *state)
{
    const kp_cfg_schema *cfg = NULL;
    while (!cfg) cfg = kp_layer_rows[next(state) % kp_layer_n_rows].cfg;
    return cfg->fields[next(state) % cfg->n].key;
}

static void change(json_t *root, unsigned *state)
{
    json_t *at = pick(root, state), *value = some_value(root, state);
    if (json_is_array(at)) {
        size_t n = json_array_size(at), i = n ? next(state) % n : 0;
        switch (next(state) % 3) {
        case 0: json_array_insert(at, i, value); break;
        case 1: json_array_remove(at, i); break;
        default: json_array_set(at, i, value);
        }
    } else if (json_is_object(at)) {
        size_t n = json_object_size(at), i = n ? next(state) % n : 0;
        void *it = json_object_iter(at);
        while (it && i--) it = json_object_iter_next(at, it);
        if (!it || next(state) % 4 == 0) json_object_set(at, some_key(state), value);
        else if (next(state) % 4) json_object_iter_set(at, it, value);
        else json_object_del(at, json_object_iter_key(it));
    }
    json_decref(value);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (seed % 32 == 0 && size) return LLVMFuzzerMutate(data, size, max_size);
    json_t *root = json_loadb((const char *)data, size, 0, NULL);
    unsigned state = seed;
    if (!root || seed % 16 == 1) {
        json_decref(root);
        root = json_loads(seeds[next(&state) % KP_LEN(seeds)], 0, NULL);
    }
    for (unsigned i = 0; i <= next(&state) % 3; i++) change(root, &state);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    size_t n = text ? strlen(text) : 0;
    if (n && n <= max_size) {
        memcpy(data, text, n);
        size = n;
    }
    free(text);
    return size ? size : LLVMFuzzerMutate(data, size, max_size);
}
