/* SPDX-License-Identifier: MIT */
#include "planner/container/join.h"
#include "planner/container/limits.h"
#include "proto/json.h"
#include "proto/text.h"
#include <inttypes.h>
#include <string.h>

/* A JSON string; what is no UTF-8 or a control byte becomes '?'. */
static void put_string(kp_buf *out, const char *text, uint64_t len)
{
    kp_buf_char(out, '"');
    while (len) {
        size_t n = kp_utf8_len(text, (size_t)len);
        bool plain = n && (unsigned char)*text >= ' ';
        if (*text == '"' || *text == '\\') kp_buf_char(out, '\\');
        if (plain)
            kp_buf_add(out, text, n);
        else
            kp_buf_char(out, '?');
        text += n ? n : 1;
        len -= n ? n : 1;
    }
    kp_buf_char(out, '"');
}

static void put_weights(kp_buf *out, const kp_hdf5_arrays *weights)
{
    kp_buf_str(out, ",\"weights\":[");
    for (uint32_t i = 0; i < weights->n; i++) {
        const kp_hdf5_array *w = &weights->items[i];
        kp_buf_str(out, i ? ",{\"path\":" : "{\"path\":");
        put_string(out, w->path, strlen(w->path));
        kp_buf_str(out, ",\"shape\":[");
        for (unsigned d = 0; d < w->rank; d++)
            kp_buf_fmt(out, "%s%" PRIu64, d ? "," : "",
                       w->dim[d] < INT64_MAX ? w->dim[d] : INT64_MAX);
        kp_buf_fmt(out, "],\"dtype\":\"%s\"}", w->dtype);
    }
    kp_buf_char(out, ']');
}

static void put_facts(kp_buf *out, const kp_parts *parts, const char *warning)
{
    const char *warnings[] = {parts->warning, warning};
    kp_buf_fmt(out, "\"kplan_container\":{\"kind\":\"%s\"", parts->kind);
    if (parts->weights) put_weights(out, parts->weights);
    kp_buf_str(out, ",\"warnings\":[");
    for (size_t i = 0, n = 0; i < KP_LEN(warnings); i++) {
        if (!warnings[i]) continue;
        if (n++) kp_buf_char(out, ',');
        put_string(out, warnings[i], strlen(warnings[i]));
    }
    kp_buf_str(out, "]}");
}

/* True if the text has the key in its outermost object. */
static bool has_key(kp_hdf5_text json, const char *key)
{
    size_t depth = 0, n = strlen(key);
    for (uint64_t i = 0; i < json.len; i++) {
        char c = json.text[i];
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth -= depth > 0;
        if (c != '"') continue;
        uint64_t from = ++i;
        while (i < json.len && json.text[i] != '"') i += json.text[i] == '\\' ? 2 : 1;
        if (depth == 1 && i < json.len && i - from == n && !memcmp(json.text + from, key, n))
            return true;
    }
    return false;
}

static bool is_json(kp_hdf5_text text)
{
    json_t *json = NULL;
    bool good = kp_json_parse(text.text, (size_t)text.len, &json, NULL) == KP_OK;
    json_decref(json);
    return good;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == 0;
}

/* Without what is blank at its end. */
static kp_hdf5_text trimmed(kp_hdf5_text text)
{
    while (text.len && is_space(text.text[text.len - 1])) text.len--;
    return text;
}

/* Writes what goes between the text and its last brace. */
static void put_rest(kp_buf *out, const kp_parts *parts, kp_hdf5_text body)
{
    const char *warning = NULL;
    bool training = parts->training.text && !has_key(parts->config, "training_config");
    if (training && !is_json(parts->training)) {
        training = false;
        warning =
            "the attribute 'training_config' is no JSON: optimizer and loss are not taken from it";
    }
    if (body.len && body.text[body.len - 1] != '{') kp_buf_char(out, ',');
    if (parts->version.text && !has_key(parts->config, "keras_version")) {
        kp_buf_str(out, "\"keras_version\":");
        put_string(out, parts->version.text, parts->version.len);
        kp_buf_char(out, ',');
    }
    if (training) {
        kp_buf_str(out, "\"training_config\":");
        kp_buf_add(out, parts->training.text, (size_t)parts->training.len);
        kp_buf_char(out, ',');
    }
    put_facts(out, parts, warning);
    kp_buf_char(out, '}');
}

kp_status kp_parts_join(const kp_parts *parts, kp_arena *arena, const char **ret, size_t *ret_len,
                        kp_err *err)
{
    kp_buf rest;
    kp_hdf5_text body = trimmed(parts->config);
    bool object = body.len && body.text[body.len - 1] == '}';
    kp_buf_init(&rest, (size_t)KP_CONFIG_BYTES_MAX);
    if (object) {
        body.len--;
        put_rest(&rest, parts, trimmed(body));
    } else {
        body = parts->config;
    }
    kp_status status = kp_buf_check(&rest, err);
    size_t len = (size_t)body.len + rest.len;
    if (!status && len > KP_CONFIG_BYTES_MAX)
        status = kp_fail(err, KP_INPUT, "the configuration has more than %s",
                         kp_size_text(KP_CONFIG_BYTES_MAX).s);
    char *text = status ? NULL : KP_NEW(arena, char, len + 1);
    if (!status && !text) status = kp_nomem(err);
    if (text) {
        memcpy(text, body.text, (size_t)body.len);
        memcpy(text + body.len, kp_buf_text(&rest), rest.len);
        *ret = text;
        *ret_len = len;
    }
    kp_buf_release(&rest);
    return status;
}
