/* SPDX-License-Identifier: MIT
 *
 * A layer's object through all dialects. */
#include "planner/model/dialect.h"

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

/* Registered under a package's name ("Package>Class", before Keras 3 as the class name itself), or
 * from a module that is not Keras's. */
static bool is_foreign(const json_t *json)
{
    const char *registered = text_of(json, "registered_name");
    const char *module = text_of(json, "module");
    const char *class_name = text_of(json, "class_name");
    if ((registered && strchr(registered, '>')) || (class_name && strchr(class_name, '>')))
        return true;
    if (!module || !strcmp(module, "builtins")) return false;
    return strncmp(module, "keras", 5) && strncmp(module, "tf_keras", 8) &&
           strncmp(module, "tensorflow", 10);
}

kp_status kp_dialect_set(kp_reader *reader, kp_dialect *layer, const char *key, json_t *value)
{
    if (layer->config == json_object_get(layer->json, "config")) {
        json_t *copy = kp_reader_own(reader, json_copy(layer->config));
        if (!copy) {
            json_decref(value);
            return kp_nomem(reader->err);
        }
        layer->config = copy;
    }
    return json_object_set_new(layer->config, key, value) ? kp_nomem(reader->err) : KP_OK;
}

kp_status kp_dialect_read(kp_reader *reader, json_t *json, kp_dialect *ret)
{
    const char *class_name = text_of(json, "class_name");
    *ret = (kp_dialect){.json = json, .class_name = class_name, .rule = class_name,
                        .module = text_of(json, "module"),
                        .config = json_object_get(json, "config"), .foreign = is_foreign(json)};
    KP_TRY(kp_neighbour_layer(reader, ret));
    KP_TRY(kp_keras_1_layer(reader, ret));
    KP_TRY(kp_keras_2_layer(reader, ret));
    return KP_OK;
}
