/* SPDX-License-Identifier: MIT
 *
 * Some files carry weights as base64 among their layers. Nobody reads them, and the JSON parser
 * takes ten times as long over a character as this pass does. */
#include "planner/model/spec.h"

enum { BLOB_BYTES_MIN = 512 }; /* frugally-deep cuts weights into pieces of 1 KiB */

static bool is_base64(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned letter = (c | 32u) - 'a', digit = c - (unsigned)'0';
        if (letter > 25 && digit > 9 && c != '+' && c != '/' && c != '=') return false;
    }
    return true;
}

/* Offset of the quote that ends the text which begins at `from`; len if there is none. */
static size_t end_of_text(const char *bytes, size_t len, size_t from)
{
    for (size_t i = from; i < len;) {
        const char *quote = memchr(bytes + i, '"', len - i);
        if (!quote) return len;
        size_t at = (size_t)(quote - bytes), slashes = 0;
        while (at - slashes > from && bytes[at - slashes - 1] == '\\') slashes++;
        if (slashes % 2 == 0) return at;
        i = at + 1;
    }
    return len;
}

const char *kp_without_blobs(const char *bytes, size_t len, kp_arena *arena, size_t *ret_len)
{
    char *copy = kp_arena_alloc(arena, len, 1);
    size_t to = 0, from = 0;
    while (copy && from < len) {
        const char *quote = memchr(bytes + from, '"', len - from);
        size_t start = quote ? (size_t)(quote - bytes) + 1 : len; /* behind the quote */
        size_t end = quote ? end_of_text(bytes, len, start) : len;
        bool blob = end - start >= BLOB_BYTES_MIN && end < len && is_base64(bytes + start, end - start);
        size_t keep = (blob ? start : end) - from;
        memcpy(copy + to, bytes + from, keep);
        to += keep;
        if (end < len) copy[to++] = '"';
        from = end + 1;
    }
    *ret_len = to;
    return copy;
}
