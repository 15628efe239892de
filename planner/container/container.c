/* SPDX-License-Identifier: MIT */
#include "planner/container/container.h"
#include "planner/container/inflate.h"
#include "planner/container/join.h"
#include "planner/container/limits.h"
#include "planner/container/zip.h"
#include "proto/json.h"
#include "proto/text.h"
#include <string.h>

/* ---- what it is ---- */

/* clang-format off */
static const struct magic {
    kp_container_kind kind;
    uint8_t at, n;     /* where the bytes stand, how many */
    const char *bytes;
    const char *what, *hint; /* FOREIGN */
} magics[] = {
    {KP_CONTAINER_ZIP, 0, 4, "PK\3\4", NULL, NULL},
    {KP_CONTAINER_ZIP, 0, 4, "PK\5\6", NULL, NULL}, /* without entries */
    {KP_CONTAINER_HDF5, 0, 8, "\x89HDF\r\n\x1a\n", NULL, NULL},
    {KP_CONTAINER_GZIP, 0, 2, "\x1f\x8b", NULL, NULL},
    {KP_CONTAINER_FOREIGN, 0, 2, "\xff\xfe", "UTF-16 text", "save it as UTF-8"},
    {KP_CONTAINER_FOREIGN, 0, 2, "\xfe\xff", "UTF-16 text", "save it as UTF-8"},
    {KP_CONTAINER_FOREIGN, 0, 2, "\x80\2", "a Python pickle", "it is code, which is never run: write model.to_json()"},
    {KP_CONTAINER_FOREIGN, 0, 2, "\x80\3", "a Python pickle", "it is code, which is never run: write model.to_json()"},
    {KP_CONTAINER_FOREIGN, 0, 2, "\x80\4", "a Python pickle", "it is code, which is never run: write model.to_json()"},
    {KP_CONTAINER_FOREIGN, 0, 2, "\x80\5", "a Python pickle", "it is code, which is never run: write model.to_json()"},
    {KP_CONTAINER_FOREIGN, 4, 4, "TFL3", "a TensorFlow Lite model", "give the Keras model that it was made from"},
    {KP_CONTAINER_FOREIGN, 0, 4, "GGUF", "a GGUF file", "give the config.json that stood beside the weights"},
    {KP_CONTAINER_FOREIGN, 7, 3, "\0{\"", "a safetensors file", "it holds weights only: give the config.json beside it"},
    {KP_CONTAINER_FOREIGN, 0, 6, "\xfd" "7zXZ\0", "packed by xz", "unpack it first"},
    {KP_CONTAINER_FOREIGN, 0, 4, "\x28\xb5\x2f\xfd", "packed by zstd", "unpack it first"},
    {KP_CONTAINER_FOREIGN, 0, 3, "BZh", "packed by bzip2", "unpack it first"},
};
/* clang-format on */

static const struct magic *find_magic(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < KP_LEN(magics); i++) {
        const struct magic *m = &magics[i];
        if ((size_t)m->at + m->n <= n && !memcmp(head + m->at, m->bytes, m->n)) return m;
    }
    return NULL;
}

kp_container_kind kp_container_find(const uint8_t *head, size_t n)
{
    const struct magic *m = find_magic(head, n);
    return m ? m->kind : KP_CONTAINER_TEXT;
}

/* A text of brackets takes some fifty times its size as a document, a packed one still more. */
static kp_status check_tree(const char *text, size_t len, kp_err *err)
{
    uint64_t bytes = kp_json_memory(text, len);
    if (bytes <= KP_TREE_MAX) return KP_OK;
    return kp_fail(err, KP_INPUT, "the JSON text takes %s of memory, more than %s",
                   kp_size_text(bytes).s, kp_size_text(KP_TREE_MAX).s);
}

/* ---- parts ---- */

static bool is_hdf5(const kp_source *source)
{
    uint8_t head[8];
    return kp_source_copy(source, 0, sizeof(head), head, NULL) == KP_OK &&
           kp_container_find(head, sizeof(head)) == KP_CONTAINER_HDF5;
}

/* What is wrong with weights is a warning, for the model stands elsewhere. */
static kp_status warn_weights(const kp_err *why, kp_arena *arena, kp_parts *parts)
{
    parts->warning = kp_arena_fmt(arena, "the weights' names and shapes cannot be read: %s%s%s",
                                  why->where, *why->where ? ": " : "", why->msg);
    return parts->warning ? KP_OK : KP_NOMEM;
}

/* What model.weights.h5 says. KP_OK or KP_NOMEM. */
static kp_status read_weights(const kp_source *source, kp_arena *arena, kp_hdf5_arrays *arrays,
                              kp_parts *parts)
{
    static const char *const others[] = {"optimizer", "metrics", "_CHECKPOINTABLE", NULL};
    kp_err err = {0};
    kp_hdf5 file;
    kp_status status = is_hdf5(source) ? KP_OK : kp_fail(&err, KP_INPUT, "it is no HDF5 file");
    if (!status) status = kp_hdf5_open(source, arena, &file, &err);
    if (!status) status = kp_hdf5_list(&file, others, arrays);
    if (status == KP_NOMEM) return status;
    if (status) return warn_weights(&err, arena, parts);
    parts->weights = arrays;
    return KP_OK;
}

static kp_status read_metadata(const kp_source *source, kp_arena *arena, kp_parts *parts,
                               kp_err *err)
{
    const uint8_t *bytes;
    json_t *json = NULL;
    KP_TRY(kp_source_get(source, 0, source->size, arena, &bytes, err));
    kp_status status = kp_json_parse((const char *)bytes, (size_t)source->size, &json, err);
    const char *version = json_string_value(json_object_get(json, "keras_version"));
    if (version) {
        parts->version = (kp_hdf5_text){kp_arena_str(arena, version), strlen(version)};
        if (!parts->version.text) status = kp_nomem(err);
    }
    json_decref(json);
    if (status == KP_INPUT) kp_err_at(err, "metadata.json");
    return status;
}

static kp_status join_parts(const kp_source *config, const kp_source *metadata,
                            const kp_source *weights, kp_parts *parts, kp_arena *arena,
                            const char **ret, size_t *ret_len, kp_err *err)
{
    kp_hdf5_arrays arrays;
    const uint8_t *bytes;
    KP_TRY(kp_source_get(config, 0, config->size, arena, &bytes, err));
    parts->config = (kp_hdf5_text){(const char *)bytes, config->size};
    if (metadata) KP_TRY(read_metadata(metadata, arena, parts, err));
    if (weights && read_weights(weights, arena, &arrays, parts)) return kp_nomem(err);
    return kp_parts_join(parts, arena, ret, ret_len, err);
}

static kp_status check_size(const kp_source *source, const char *name, uint64_t max, kp_err *err)
{
    if (!source || source->size <= max) return KP_OK;
    kp_fail(err, KP_INPUT, "has %s, more than %s", kp_size_text(source->size).s,
            kp_size_text(max).s);
    kp_err_at(err, "%s", name);
    return KP_INPUT;
}

kp_status kp_container_folder(const kp_source *config, const kp_source *metadata,
                              const kp_source *weights, kp_arena *arena, const char **ret,
                              size_t *ret_len, kp_err *err)
{
    kp_parts parts = {.kind = "keras-folder"};
    KP_TRY(check_size(config, "config.json", KP_CONFIG_BYTES_MAX, err));
    KP_TRY(check_size(metadata, "metadata.json", KP_METADATA_BYTES_MAX, err));
    KP_TRY(join_parts(config, metadata, weights, &parts, arena, ret, ret_len, err));
    return check_tree(*ret, *ret_len, err);
}

/* ---- zip ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Why an archive is no model: what its names look like. */
static kp_status no_config(const kp_zip *zip, kp_err *err)
{
    static const struct {
        const char *end;
        kp_status status;
        const char *message, *hint;
    } rows[] = {
        {"data.pkl", KP_UNSUPPORTED, "a PyTorch checkpoint, which is code and weights and no model",
         "give the model as Keras's model.json, or its Hugging Face config.json"},
        {".npy", KP_INPUT, "a NumPy archive: it holds arrays and no model",
         "write model.to_json() to a file"},
        {"/config.json", KP_INPUT, "the zip archive has its 'config.json' in a folder",
         "unpack it and give the folder, or zip the files without the folder"},
        {".keras", KP_INPUT, "the zip archive has another archive in it",
         "unpack the outer one first"},
        {".zip", KP_INPUT, "the zip archive has another archive in it",
         "unpack the outer one first"},
        {".h5", KP_INPUT, "the zip archive has no 'config.json'",
         "if there is a model in the .h5 file, unpack it"},
    };
    for (size_t row = 0; row < KP_LEN(rows); row++)
        for (uint32_t i = 0; i < zip->n_entries; i++) {
            if (!ends_with(zip->entries[i].name, rows[row].end)) continue;
            kp_fail(err, rows[row].status, "%s", rows[row].message);
            kp_hint(err, "%s", rows[row].hint);
            return rows[row].status;
        }
    return kp_fail(err, KP_INPUT, "the zip archive has no 'config.json': it is no Keras model");
}

static kp_status read_zip(const kp_source *source, kp_arena *arena, const char **ret,
                          size_t *ret_len, kp_err *err)
{
    kp_zip zip;
    kp_source config, metadata, weights;
    kp_parts parts = {.kind = "keras"};
    kp_err why = {0};
    KP_TRY(kp_zip_open(source, arena, &zip, err));
    const kp_zip_entry *entry = kp_zip_find(&zip, "config.json");
    if (!entry) return no_config(&zip, err);
    KP_TRY(kp_zip_read(&zip, entry, KP_CONFIG_BYTES_MAX, arena, &config, err));
    const kp_zip_entry *meta = kp_zip_find(&zip, "metadata.json");
    if (meta) KP_TRY(kp_zip_read(&zip, meta, KP_METADATA_BYTES_MAX, arena, &metadata, err));
    entry = kp_zip_find(&zip, "model.weights.h5");
    kp_status status = entry ? kp_zip_stored(&zip, entry, arena, &weights, &why) : KP_OK;
    if (status == KP_NOMEM) return kp_nomem(err);
    if (status && warn_weights(&why, arena, &parts)) return kp_nomem(err);
    return join_parts(&config, meta ? &metadata : NULL, entry && !status ? &weights : NULL, &parts,
                      arena, ret, ret_len, err);
}

/* ---- HDF5 ---- */

static kp_status no_model(kp_hdf5 *file, kp_err *err)
{
    static const char *const none[] = {NULL};
    kp_hdf5_arrays arrays;
    KP_TRY(kp_hdf5_list(file, none, &arrays));
    if (!arrays.n)
        return kp_fail(err, KP_INPUT,
                       "the HDF5 file has no attribute 'model_config': it is no Keras model");
    kp_fail(err, KP_INPUT, "the HDF5 file holds weights only (%u arrays), no model", arrays.n);
    kp_hint(err, "write the model with model.save('model.keras'), or its description with "
                 "model.to_json()");
    return KP_INPUT;
}

static kp_status read_hdf5(const kp_source *source, kp_arena *arena, const char **ret,
                           size_t *ret_len, kp_err *err)
{
    static const char *const others[] = {"optimizer_weights", NULL};
    kp_hdf5 file;
    kp_hdf5_arrays arrays;
    kp_parts parts = {.kind = "hdf5"};
    KP_TRY(kp_hdf5_open(source, arena, &file, err));
    KP_TRY(kp_hdf5_attribute(&file, "model_config", KP_CONFIG_BYTES_MAX, &parts.config));
    if (!parts.config.text) return no_model(&file, err);
    KP_TRY(kp_hdf5_attribute(&file, "keras_version", KP_METADATA_BYTES_MAX, &parts.version));
    KP_TRY(kp_hdf5_attribute(&file, "training_config", KP_METADATA_BYTES_MAX, &parts.training));
    kp_err why = {0};
    file.err = &why;
    kp_status status = kp_hdf5_list(&file, others, &arrays);
    if (status == KP_NOMEM) return kp_nomem(err);
    if (!status) parts.weights = &arrays;
    if (status && warn_weights(&why, arena, &parts)) return kp_nomem(err);
    return kp_parts_join(&parts, arena, ret, ret_len, err);
}

/* ---- all ---- */

static kp_status foreign(const struct magic *m, kp_err *err)
{
    kp_fail(err, KP_UNSUPPORTED, "the file is %s", m->what);
    kp_hint(err, "%s", m->hint);
    return KP_UNSUPPORTED;
}

static kp_status read_text(const kp_source *source, kp_arena *arena, const char **ret,
                           size_t *ret_len, kp_err *err)
{
    const uint8_t *bytes;
    if (source->size > KP_CONFIG_BYTES_MAX)
        return kp_fail(err, KP_INPUT, "the file has more than %s",
                       kp_size_text(KP_CONFIG_BYTES_MAX).s);
    KP_TRY(kp_source_get(source, 0, source->size, arena, &bytes, err));
    *ret = (const char *)bytes;
    *ret_len = (size_t)source->size;
    return KP_OK;
}

static kp_status read_any(const kp_source *source, bool inside, kp_arena *arena, const char **ret,
                          size_t *ret_len, kp_err *err)
{
    uint8_t head[KP_CONTAINER_HEAD_BYTES];
    size_t n = source->size < sizeof(head) ? (size_t)source->size : sizeof(head);
    KP_TRY(kp_source_copy(source, 0, n, head, err));
    const struct magic *m = find_magic(head, n);
    kp_source content;
    switch (m ? m->kind : KP_CONTAINER_TEXT) {
    case KP_CONTAINER_ZIP:
        return read_zip(source, arena, ret, ret_len, err);
    case KP_CONTAINER_HDF5:
        return read_hdf5(source, arena, ret, ret_len, err);
    case KP_CONTAINER_FOREIGN:
        return foreign(m, err);
    case KP_CONTAINER_GZIP:
        if (inside) return kp_fail(err, KP_INPUT, "the file is packed by gzip twice");
        KP_TRY(kp_gunzip(source, arena, &content, err));
        return read_any(&content, true, arena, ret, ret_len, err);
    default:
        return read_text(source, arena, ret, ret_len, err);
    }
}

kp_status kp_container_text(const kp_source *source, kp_arena *arena, const char **ret,
                            size_t *ret_len, kp_err *err)
{
    KP_TRY(read_any(source, false, arena, ret, ret_len, err));
    return check_tree(*ret, *ret_len, err);
}
