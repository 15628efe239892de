/* SPDX-License-Identifier: MIT
 *
 * Which of Megatron's layers have experts: "--moe-layer-freq" is a number, or a Python list as
 * ([0]*3+[1]*58). Source: megatron/training/arguments.py, moe_freq_type. */
#include "planner/model/megatron.h"

static bool read_count(const char **at, long *ret)
{
    char *end;
    *ret = strtol(*at, &end, 10);
    bool some = end != *at;
    *at = end;
    return some && *ret >= 0 && *ret <= KP_HF_LAYERS_MAX;
}

/* One term "[0,1]*3" appended; false if it is none or too long. */
static bool read_term(const char **at, uint8_t *flags, int64_t L, int64_t *n)
{
    uint8_t items[64];
    long v, times = 1, k = 0;
    if (*(*at)++ != '[') return false;
    while (k < (long)sizeof(items) && read_count(at, &v)) {
        items[k++] = v != 0;
        while (**at == ',' || **at == ' ') (*at)++;
    }
    if (*(*at)++ != ']') return false;
    if (**at == '*' && (++*at, !read_count(at, &times))) return false;
    for (long i = 0; i < times; i++)
        for (long j = 0; j < k; j++) {
            if (*n >= L) return false;
            flags[(*n)++] = items[j];
        }
    return true;
}

static bool read_pattern(const char *text, uint8_t *flags, int64_t L)
{
    int64_t n = 0;
    bool open = *text == '(';
    const char *at = text + open;
    while (read_term(&at, flags, L, &n)) {
        if (*at != '+') return n == L && (!open || *at == ')');
        at++;
    }
    return false;
}

kp_status kp_megatron_sparse(kp_reader *reader, const kp_hf_keys *keys, int64_t L, uint8_t **ret)
{
    const json_t *json = kp_hf_find(keys, "moe_layer_freq");
    const char *text = json_string_value(json);
    int64_t step;
    *ret = KP_NEW(reader->arena, uint8_t, (size_t)L);
    if (!*ret) return kp_nomem(reader->err);
    if (text && (*text == '(' || *text == '[')) {
        if (read_pattern(text, *ret, L)) return KP_OK;
        return kp_fail(keys->err, KP_INPUT, "'moe_layer_freq' '%.60s' is no list of %lld layers",
                       text, (long long)L);
    }
    if (json_is_array(json)) {
        if (json_array_size(json) != (size_t)L)
            return kp_fail(keys->err, KP_INPUT, "'moe_layer_freq' has %zu entries for %lld layers",
                           json_array_size(json), (long long)L);
        for (int64_t i = 0; i < L; i++)
            (*ret)[i] = json_integer_value(json_array_get(json, (size_t)i)) != 0;
        return KP_OK;
    }
    KP_TRY(kp_hf_int(keys, "moe_layer_freq", 1, 1, &step));
    for (int64_t i = 0; i < L; i++) (*ret)[i] = i % step == 0;
    return KP_OK;
}
