/* SPDX-License-Identifier: MIT */
#include "models.h"
#include "proto/text.h"
#include <criterion/criterion.h>

char *kp_slurp(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s is not there", path);
    fseek(file, 0, SEEK_END);
    size_t len = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(len + 1);
    cr_assert_not_null(bytes);
    cr_assert_eq(fread(bytes, 1, len, file), len);
    fclose(file);
    bytes[len] = 0;
    if (ret_len) *ret_len = len;
    return bytes;
}

static kp_reading read_bytes(const char *bytes, size_t len, const kp_bind *bind)
{
    kp_reading r = {.status = KP_OK};
    kp_arena_init(&r.arena, 0);
    r.status = kp_model_read(bytes, len, "m.json", bind, &r.arena, &r.graph, &r.err);
    if (r.status == KP_OK) kp_graph_check(r.graph);
    else r.graph = NULL;
    return r;
}

char *kp_quoted(const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, strlen(text) + 1);
    for (char *c = copy; *c; c++)
        if (*c == '\'') *c = '"';
    return copy;
}

kp_reading kp_read_text(const char *text, const kp_bind *bind)
{
    char *copy = kp_quoted(text);
    kp_reading r = read_bytes(copy, strlen(copy), bind);
    free(copy);
    return r;
}

kp_reading kp_read_data(const char *path, const kp_bind *bind)
{
    char full[256];
    size_t len;
    snprintf(full, sizeof(full), "tests/data/%s", path);
    char *bytes = kp_slurp(full, &len);
    kp_reading r = read_bytes(bytes, len, bind);
    free(bytes);
    return r;
}

void kp_reading_free(kp_reading *reading)
{
    kp_arena_release(&reading->arena);
}

/* ---- models of one layer ---- */

static void put_tensor(kp_buf *out, char name)
{
    kp_buf_fmt(out, "{'class_name':'__keras_tensor__','config':{'dtype':'float32',"
                    "'keras_history':['%c',0,0]}}", name);
}

static void put_inputs(kp_buf *out, const char *inputs)
{
    char name = 'a';
    while (*inputs) {
        size_t n = strcspn(inputs, ";");
        kp_buf_fmt(out, "{'class_name':'InputLayer','module':'keras.layers','name':'%c',"
                        "'inbound_nodes':[],'config':{'name':'%c','batch_shape':%.*s,"
                        "'dtype':'float32'}},", name, name, (int)n, inputs);
        name++;
        inputs += n + (inputs[n] != 0);
    }
}

/* Letters become tensors; after a '|' only those behind a ':'. */
static void put_call(kp_buf *out, const char *call)
{
    bool kwargs = false, any = false;
    kp_buf_str(out, "{'args':[");
    for (const char *c = call; *c; c++) {
        bool value = kwargs && c[-1] == ':' && (!c[1] || c[1] == ',');
        bool letter = *c >= 'a' && *c <= 'c' && (!kwargs || value);
        if (*c == '|') {
            kp_buf_str(out, "],'kwargs':{");
            kwargs = true;
        } else if (letter) {
            if (any && !kwargs && c[-1] != '[' && c[-1] != ',') kp_buf_char(out, ',');
            put_tensor(out, *c);
            any = true;
        } else {
            kp_buf_char(out, *c);
        }
    }
    kp_buf_str(out, kwargs ? "}}" : "],'kwargs':{}}");
}

char *kp_one_layer(const char *module, const char *class_name, const char *config,
                   const char *inputs, const char *call)
{
    kp_buf out;
    kp_buf_init(&out, 0);
    kp_buf_str(&out, "{'module':'keras','class_name':'Functional','config':{'name':'m','layers':[");
    put_inputs(&out, inputs);
    kp_buf_fmt(&out, "{'module':'%s','class_name':'%s','name':'l','config':{%s%s'name':'l'},"
                     "'inbound_nodes':[", module, class_name, config, *config ? "," : "");
    put_call(&out, call);
    kp_buf_str(&out, "]}],'input_layers':[");
    for (char name = 'a'; name < 'd'; name++)
        if (strchr(call, name)) kp_buf_fmt(&out, "%s['%c',0,0]", name > 'a' ? "," : "", name);
    kp_buf_str(&out, "],'output_layers':[['l',0,0]]}}");
    cr_assert(!out.failed);
    char *text = kp_quoted(kp_buf_text(&out));
    kp_buf_release(&out);
    return text;
}

void kp_op_list(const kp_graph *graph, char *ret, size_t size)
{
    size_t at = 0;
    ret[0] = 0;
    for (uint32_t i = graph->n_inputs; i < graph->n_ops && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%s", at ? " " : "",
                               kp_op_names[graph->ops[i].op]);
}

const kp_layer *kp_layer_named(const kp_graph *graph, const char *path)
{
    for (uint32_t i = 0; i < graph->n_layers; i++)
        if (!strcmp(graph->layers[i].path, path)) return &graph->layers[i];
    cr_assert_fail("no layer '%s'", path);
    return NULL;
}
