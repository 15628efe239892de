/* SPDX-License-Identifier: MIT */
#include "proto/json.h"
#include "proto/arena.h"
#include "proto/text.h"
#include <ctype.h>

/* What jansson 2.14 allocates on a 64-bit machine, with malloc's own share: an object has a hash
 * table of 8 buckets from the start, an array room for 8 items; a value is at most a string. */
enum { OBJECT_BYTES = 288, ARRAY_BYTES = 144, VALUE_BYTES = 112 };

/* Python's words for numbers that JSON does not have, and the null that stands in for them. NaN
 * grows by one byte; `original` undoes that for messages. */
static const struct word {
    const char *text, *null;
} words[] = {
    {"NaN", "null"},
    {"Infinity", "null    "},
    {"-Infinity", "null     "},
};

typedef struct scan {
    const char *text;
    size_t len;
    uint64_t objects, arrays, commas;
    size_t words, depth;
    bool in_string;
} scan;

/* The word that stands at text[i], NULL if there is none. */
static const struct word *word_at(const char *text, size_t len, size_t i)
{
    for (size_t w = 0; w < KP_LEN(words); w++) {
        size_t n = strlen(words[w].text);
        if (n > len - i || memcmp(text + i, words[w].text, n)) continue;
        if (n < len - i && isalnum((unsigned char)text[i + n])) continue;
        return &words[w];
    }
    return NULL;
}

/* Puts line and column of a byte offset in front of the error. */
static kp_status at_offset(const char *text, size_t offset, kp_err *err)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) column++;
    }
    kp_err_at(err, "line %zu, column %zu", line, column);
    return KP_INPUT;
}

static bool open_bracket(scan *s, char c)
{
    *(c == '{' ? &s->objects : &s->arrays) += 1;
    return ++s->depth <= KP_JSON_DEPTH_MAX;
}

/* Counts brackets, values and words outside strings; fails where nesting is too deep. */
static kp_status prescan(scan *s, kp_err *err)
{
    size_t end = s->len < KP_JSON_BYTES_MAX ? s->len : KP_JSON_BYTES_MAX;
    for (size_t i = 0; i < end; i++) {
        char c = s->text[i];
        if (s->in_string) {
            if (c == '"') s->in_string = false;
            else if (c == '\\') i++;
        } else if (c == '"') s->in_string = true;
        else if (c == '{' || c == '[') {
            if (open_bracket(s, c)) continue;
            kp_fail(err, KP_INPUT, "more than %d brackets inside one another", KP_JSON_DEPTH_MAX);
            return at_offset(s->text, i, err);
        } else if (c == '}' || c == ']') s->depth -= s->depth > 0;
        else if (c == ',' || c == ':') s->commas++;
        else if (c == 'N' || c == 'I' || c == '-') s->words += word_at(s->text, s->len, i) != NULL;
    }
    return KP_OK;
}

static uint64_t document_bytes(const scan *s)
{
    return s->objects * OBJECT_BYTES + s->arrays * ARRAY_BYTES + s->commas * VALUE_BYTES;
}

uint64_t kp_json_memory(const char *text, size_t len)
{
    scan s = {.text = text, .len = len};
    prescan(&s, NULL); /* nested too deep: whoever parses it will say so */
    return document_bytes(&s);
}

static kp_status check_size(const scan *s, kp_err *err)
{
    if (s->len > KP_JSON_BYTES_MAX)
        return kp_fail(err, KP_INPUT, "JSON text of %s is longer than the %s that are read",
                       kp_size_text(s->len).s, kp_size_text(KP_JSON_BYTES_MAX).s);
    if (document_bytes(s) <= KP_JSON_MEMORY_MAX) return KP_OK;
    return kp_fail(err, KP_INPUT,
                   "JSON text with %s objects, %s arrays and %s values needs too much memory",
                   kp_count_text(s->objects).s, kp_count_text(s->arrays).s,
                   kp_count_text(s->commas).s);
}

/* A copy with null for each word: *ret_len bytes, freed by the caller. */
static char *without_words(const scan *s, size_t *ret_len)
{
    char *copy = malloc(s->len + s->words + 1);
    if (!copy) return NULL;
    size_t to = 0;
    bool in_string = false;
    for (size_t i = 0; i < s->len; i++) {
        char c = s->text[i];
        const struct word *word = NULL;
        if (in_string && c == '\\' && i + 1 < s->len) {
            copy[to++] = c;
            c = s->text[++i];
        } else if (c == '"') in_string = !in_string;
        else if (!in_string && (c == 'N' || c == 'I' || c == '-'))
            word = word_at(s->text, s->len, i);
        if (!word) {
            copy[to++] = c;
            continue;
        }
        memcpy(copy + to, word->null, strlen(word->null));
        to += strlen(word->null);
        i += strlen(word->text) - 1;
    }
    *ret_len = to;
    return copy;
}

/* The offset in the original of an offset in the copy. */
static size_t original(const char *text, size_t len, const char *copy, size_t offset)
{
    size_t i = 0, j = 0;
    while (copy && i < len && j < offset) {
        const struct word *word = text[i] == copy[j] ? NULL : word_at(text, len, i);
        i += word ? strlen(word->text) : 1;
        j += word ? strlen(word->null) : 1;
    }
    size_t at = copy ? i : offset;
    return at < len ? at : len;
}

/* Where the token that ends before `end` starts. */
static size_t token_start(const char *text, size_t end)
{
    size_t i = end ? end - 1 : 0;
    if (!end) return 0;
    if (text[i] == '"') {
        while (i > 0 && (text[i - 1] != '"' || (i > 1 && text[i - 2] == '\\'))) i--;
        return i ? i - 1 : end - 1;
    }
    while (i > 0 && (isalnum((unsigned char)text[i]) || strchr("+-._", text[i])) &&
           (isalnum((unsigned char)text[i - 1]) || (text[i - 1] && strchr("+-._", text[i - 1]))))
        i--;
    return i;
}

/* A short printable piece of the text: "'foo'", "byte 0x89", "the end". */
static kp_short piece(const char *text, size_t len)
{
    kp_short s;
    size_t n = len < 20 ? len : 20;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n' || text[i] == '\r') n = i;
    while (n && !kp_text_ok(text, n)) n--;
    if (n) snprintf(s.s, sizeof(s.s), "'%.*s%s'", (int)n, text, n == 20 && len > 20 ? "..." : "");
    else if (len) snprintf(s.s, sizeof(s.s), "byte 0x%02x", (unsigned)(unsigned char)text[0]);
    else snprintf(s.s, sizeof(s.s), "the end");
    return s;
}

/* jansson's words and ours; what is not here is passed on as jansson says it. */
static const struct {
    const char *jansson, *ours;
} causes[] = {
    {"'}' expected", "',' or '}' expected"},
    {"']' expected", "',' or ']' expected"},
    {"string or '}' expected", "a key in double quotes expected"},
    {"unexpected token", "a value expected"},
    {"invalid token", "a value expected"},
    {"end of file expected", "nothing more expected"},
};

static kp_status syntax_error(const scan *s, size_t end, json_error_t *e, kp_err *err)
{
    enum json_error_code code = json_error_code(e);
    size_t start = code == json_error_invalid_utf8 ? end : token_start(s->text, end), rest = end;
    char *near = strstr(e->text, " near ");
    if (near) *near = 0;
    while (rest < s->len && isspace((unsigned char)s->text[rest])) rest++;
    bool truncated = rest == s->len && (s->depth || s->in_string);
    if (truncated || code == json_error_premature_end_of_input) {
        kp_fail(err, KP_INPUT, "JSON text ends too early: %zu brackets still open", s->depth);
        return at_offset(s->text, s->len, err);
    }
    kp_short there = piece(s->text + start, end > start ? end - start : end < s->len);
    if (code == json_error_invalid_utf8) kp_fail(err, KP_INPUT, "invalid UTF-8: %s", there.s);
    else if (code == json_error_duplicate_key)
        kp_fail(err, KP_INPUT, "key %s stands twice", there.s);
    else if (code == json_error_numeric_overflow)
        kp_fail(err, KP_INPUT, "number %s is too large", there.s);
    else {
        const char *cause = e->text;
        for (size_t i = 0; i < KP_LEN(causes); i++)
            if (!strcmp(e->text, causes[i].jansson)) cause = causes[i].ours;
        kp_fail(err, KP_INPUT, "%s, %s found", cause, there.s);
    }
    return at_offset(s->text, start, err);
}

/* The first byte tells most files that are no JSON at all. */
static kp_status check_start(const char *text, size_t len, kp_err *err)
{
    size_t i = 0;
    while (i < len && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'))) i++;
    if (i < len && (text[i] == '{' || text[i] == '[')) return KP_OK;
    if (i == len) return kp_fail(err, KP_INPUT, "JSON text is empty");
    kp_fail(err, KP_INPUT, "JSON text starts with %s, not with '{' or '['",
            piece(text + i, len - i).s);
    return at_offset(text, i, err);
}

static kp_status parse(const char *text, size_t len, size_t flags, json_t **ret, kp_err *err)
{
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        len -= 3;
    }
    scan s = {.text = text, .len = len};
    KP_TRY(check_start(text, len, err));
    KP_TRY(prescan(&s, err));
    KP_TRY(check_size(&s, err));
    size_t copy_len = len;
    char *copy = s.words ? without_words(&s, &copy_len) : NULL;
    if (s.words && !copy) return kp_nomem(err);
    json_error_t e;
    json_t *json = json_loadb(copy ? copy : text, copy_len, JSON_REJECT_DUPLICATES | flags, &e);
    kp_status status = KP_OK;
    if (json) *ret = json;
    else if (json_error_code(&e) == json_error_out_of_memory) status = kp_nomem(err);
    else status = syntax_error(&s, original(text, len, copy, (size_t)e.position), &e, err);
    free(copy);
    return status;
}

kp_status kp_json_parse(const char *text, size_t len, json_t **ret, kp_err *err)
{
    return parse(text, len, 0, ret, err);
}

kp_status kp_json_parse_foreign(const char *text, size_t len, json_t **ret, kp_err *err)
{
    return parse(text, len, JSON_ALLOW_NUL, ret, err);
}
