/* SPDX-License-Identifier: MIT */
#include "planner/model/custom.h"
#include "proto/json.h"

/* ---- reading ---- */

/* One entry while it is read. */
typedef struct entry {
    kp_reader *reader;
    kp_custom *custom;
} entry;

static kp_status add_shape(const entry *e, json_t *json, kp_shape *ret)
{
    uint64_t batch;
    return kp_keras_shape(json, "output_shape", ret, &batch, e->reader->err);
}

static kp_status read_shape(const entry *e, json_t *json)
{
    const char *text = json_string_value(json);
    bool many = json_is_array(json_array_get(json, 0));
    size_t n = many ? json_array_size(json) : 1;
    e->custom->same = text && !strcmp(text, "same");
    if (e->custom->same) return KP_OK;
    kp_shape *shapes = KP_NEW(e->reader->arena, kp_shape, n);
    if (!shapes) return kp_nomem(e->reader->err);
    for (size_t i = 0; i < n; i++)
        KP_TRY(add_shape(e, many ? json_array_get(json, i) : json, &shapes[i]));
    e->custom->shapes = shapes;
    e->custom->n_shapes = (uint32_t)n;
    return KP_OK;
}

static kp_status read_count(const entry *e, const char *key, json_t *json, bool *ret_has,
                            int64_t *ret)
{
    if (!json_is_integer(json) || json_integer_value(json) < 0 || json_integer_value(json) > KP_DIM_MAX)
        return kp_fail(e->reader->err, KP_INPUT, "'%s' is no integer from 0 to 2^40", key);
    *ret_has = true;
    *ret = json_integer_value(json);
    return KP_OK;
}

static kp_status read_key(const entry *e, const char *key, json_t *json)
{
    if (!strcmp(key, "output_shape")) return read_shape(e, json);
    if (!strcmp(key, "params"))
        return read_count(e, key, json, &e->custom->has_params, &e->custom->params);
    if (!strcmp(key, "kept_bytes"))
        return read_count(e, key, json, &e->custom->has_kept, &e->custom->kept_bytes);
    kp_fail(e->reader->err, KP_INPUT, "'%.60s' is none of its keys", key);
    kp_hint(e->reader->err, "an entry has output_shape, params and kept_bytes");
    return KP_INPUT;
}

static kp_status read_entry(const entry *e, const char *name, json_t *json)
{
    if (!json_is_object(json))
        return kp_fail(e->reader->err, KP_INPUT, "it is no object with an output_shape");
    e->custom->name = kp_arena_str(e->reader->arena, name);
    if (!e->custom->name) return kp_nomem(e->reader->err);
    for (void *it = json_object_iter(json); it; it = json_object_iter_next(json, it))
        KP_TRY(read_key(e, json_object_iter_key(it), json_object_iter_value(it)));
    return KP_OK;
}

static kp_status read_all(kp_reader *reader, json_t *json, kp_customs *ret)
{
    if (!json_is_object(json))
        return kp_fail(reader->err, KP_INPUT, "it holds no object of layers or classes");
    ret->items = KP_NEW(reader->arena, kp_custom, json_object_size(json));
    if (!ret->items) return kp_nomem(reader->err);
    for (void *it = json_object_iter(json); it; it = json_object_iter_next(json, it)) {
        const char *name = json_object_iter_key(it);
        entry e = {reader, &ret->items[ret->n++]};
        kp_status status = read_entry(&e, name, json_object_iter_value(it));
        if (status == KP_INPUT) kp_err_at(reader->err, "'%.60s'", name);
        KP_TRY(status);
    }
    return KP_OK;
}

kp_status kp_customs_read(kp_reader *reader, const char *text, kp_customs *ret)
{
    json_t *json = NULL;
    if (!text) return KP_OK;
    kp_status status = kp_json_parse(text, strlen(text), &json, reader->err);
    if (status == KP_OK) status = read_all(reader, json, ret);
    json_decref(json);
    if (status == KP_INPUT) kp_err_at(reader->err, "--layers");
    return status;
}

/* ---- finding ---- */

static kp_custom *find(const kp_customs *customs, const char *name)
{
    for (uint32_t i = 0; i < customs->n; i++)
        if (!strcmp(customs->items[i].name, name)) return &customs->items[i];
    return NULL;
}

const kp_custom *kp_customs_find(const kp_build *build, const kp_spec_layer *spec)
{
    kp_custom *custom = find(&build->customs, spec->name);
    if (!custom) custom = find(&build->customs, spec->class_name);
    if (custom) custom->used = true;
    return custom;
}

kp_status kp_customs_check(kp_build *build)
{
    for (uint32_t i = 0; i < build->customs.n; i++) {
        const kp_custom *custom = &build->customs.items[i];
        if (custom->used) continue;
        const char *text = kp_arena_fmt(build->arena, "'%s' in --layers was not needed: no layer of that "
                                        "name or class is unknown", custom->name);
        if (!text) return kp_nomem(build->err);
        KP_TRY(kp_build_warn(build, "unused-layers-entry", KP_NO, text));
    }
    return KP_OK;
}
