/* SPDX-License-Identifier: MIT
 *
 * planner/plan/oom_words.c — sizes, shapes and types as messages print them. */
#include "planner/plan/oom_text.h"
#include <math.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || c == '_';
}

static void blanks(kp_oom_cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t')) c->at++;
}

bool kp_oom_word(kp_oom_cursor *c, const char *word)
{
    const char *at = c->at;
    for (; *word; word++, at++)
        if (at == c->end || lower(*at) != *word) return false;
    c->at = at;
    return true;
}

bool kp_oom_seek(kp_oom_cursor *c, const char *word, size_t room)
{
    kp_oom_cursor here = *c;
    for (; here.at < here.end && room--; here.at++) {
        kp_oom_cursor found = here;
        if (lower(*here.at) != *word || !kp_oom_word(&found, word)) continue;
        c->at = found.at;
        return true;
    }
    return false;
}

/* ---- sizes ---- */

/* Longer names first: a prefix must not win. */
static const struct {
    const char *name;
    int shift;
} units[] = {
    {"bytes", 0}, {"byte", 0}, {"kib", 10}, {"mib", 20}, {"gib", 30}, {"tib", 40},
    {"kb", 10},   {"mb", 20},  {"gb", 30},  {"tb", 40},  {"ki", 10},  {"mi", 20},
    {"gi", 30},   {"k", 10},   {"m", 20},   {"g", 30},   {"t", 40},   {"b", 0},
};

static bool unit(kp_oom_cursor *c, int *ret_shift)
{
    for (size_t i = 0; i < KP_LEN(units); i++) {
        kp_oom_cursor try = *c;
        if (!kp_oom_word(&try, units[i].name)) continue;
        if (try.at < try.end && letter(*try.at)) continue; /* a longer word */
        *ret_shift = units[i].shift;
        c->at = try.at;
        return true;
    }
    return false;
}

static uint64_t clamp(double bytes)
{
    return bytes >= (double)KP_SIZE_MAX ? KP_SIZE_MAX : bytes > 0 ? (uint64_t)bytes : 0;
}

bool kp_oom_size(kp_oom_cursor *c, uint64_t *ret_bytes, uint64_t *ret_low, uint64_t *ret_high)
{
    kp_oom_cursor here = *c;
    uint64_t whole = 0;
    double part = 0, step = 1;
    bool fraction = false;
    blanks(&here);
    if (here.at == here.end || !digit(*here.at)) return false;
    for (; here.at < here.end && (digit(*here.at) || *here.at == ','); here.at++) {
        bool grouped = *here.at == ',';
        if (grouped && (here.at + 1 == here.end || !digit(here.at[1]))) break;
        if (!grouped) whole = kp_add_u64(kp_mul_u64(whole, 10), (uint64_t)(*here.at - '0'));
    }
    if (here.at + 1 < here.end && *here.at == '.' && digit(here.at[1])) {
        fraction = true;
        for (here.at++; here.at < here.end && digit(*here.at); here.at++) {
            step /= 10;
            part += step * (*here.at - '0');
        }
    }
    kp_oom_cursor behind = here;
    int shift = 0;
    blanks(&behind);
    bool has_unit = unit(&behind, &shift);
    if (fraction && !has_unit) return false;
    if (has_unit) here = behind;
    double scale = (double)((uint64_t)1 << shift), value = (double)whole + part;
    bool exact = !fraction && !shift;
    /* Without digits behind the point it may have been rounded or cut off. */
    double around = fraction ? step / 2 : 1;
    *ret_bytes = exact ? kp_min_u64(whole, KP_SIZE_MAX) : clamp(value * scale);
    *ret_low = exact ? *ret_bytes : clamp(floor((value - around) * scale));
    *ret_high = exact ? *ret_bytes : clamp(ceil((value + around) * scale));
    c->at = here.at;
    return *ret_bytes > 0;
}

/* ---- shapes ---- */

bool kp_oom_shape(kp_oom_cursor *c, unsigned *ret_rank, int64_t *ret_dim)
{
    kp_oom_cursor here = *c;
    unsigned rank = 0;
    int64_t dim[KP_RANK_MAX];
    blanks(&here);
    if (here.at == here.end || (*here.at != '[' && *here.at != '(')) return false;
    char close = *here.at++ == '[' ? ']' : ')';
    for (;;) {
        blanks(&here);
        if (here.at == here.end) return false;
        if (*here.at == close && rank) break;
        uint64_t n = 0;
        if (!digit(*here.at) || rank == KP_RANK_MAX) return false;
        for (; here.at < here.end && digit(*here.at); here.at++)
            n = kp_add_u64(kp_mul_u64(n, 10), (uint64_t)(*here.at - '0'));
        if (!n || n > (uint64_t)KP_DIM_MAX) return false;
        dim[rank++] = (int64_t)n;
        blanks(&here);
        if (here.at < here.end && *here.at == ',')
            here.at++;
        else if (here.at == here.end || *here.at != close)
            return false;
    }
    c->at = here.at + 1;
    *ret_rank = rank;
    memcpy(ret_dim, dim, rank * sizeof(*dim));
    return true;
}

/* ---- types ---- */

static const struct {
    const char *name;
    kp_dtype dtype;
} types[] = {
    {"float32", KP_FLOAT32},   {"float64", KP_FLOAT64}, {"float16", KP_FLOAT16},
    {"bfloat16", KP_BFLOAT16}, {"float", KP_FLOAT32},   {"double", KP_FLOAT64},
    {"half", KP_FLOAT16},      {"bf16", KP_BFLOAT16},   {"f32", KP_FLOAT32},
    {"f64", KP_FLOAT64},       {"f16", KP_FLOAT16},     {"int32", KP_INT32},
    {"int64", KP_INT64},       {"uint8", KP_UINT8},     {"int8", KP_INT8},
    {"bool", KP_BOOL},         {"pred", KP_BOOL},       {"s32", KP_INT32},
    {"s64", KP_INT64},         {"u8", KP_UINT8},        {"s8", KP_INT8},
    {"u32", KP_UINT32},        {"f8e4m3fn", KP_FLOAT8},
};

bool kp_oom_dtype(kp_oom_cursor *c, kp_dtype *ret)
{
    kp_oom_cursor here = *c;
    blanks(&here);
    for (size_t i = 0; i < KP_LEN(types); i++) {
        kp_oom_cursor try = here;
        if (!kp_oom_word(&try, types[i].name)) continue;
        if (try.at < try.end && (letter(*try.at) || digit(*try.at))) continue;
        *ret = types[i].dtype;
        c->at = try.at;
        return true;
    }
    return false;
}
