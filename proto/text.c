/* SPDX-License-Identifier: MIT */
#include "proto/text.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>

/* ---- growing text ---- */

void kp_buf_init(kp_buf *buf, size_t limit)
{
    *buf = (kp_buf){.limit = limit ? limit : (size_t)1 << 30};
}

void kp_buf_release(kp_buf *buf)
{
    free(buf->data);
    *buf = (kp_buf){.limit = buf->limit};
}

void kp_buf_clear(kp_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = 0;
}

/* Room for `more` bytes and the 0 behind them. */
static bool reserve(kp_buf *buf, size_t more)
{
    if (buf->failed || more > buf->limit || buf->len > buf->limit - more) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->len + more + 1;
    if (need <= buf->cap) return true;
    size_t cap = buf->cap ? buf->cap : 256;
    while (cap < need) cap *= 2;
    char *data = realloc(buf->data, cap);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

void kp_buf_add(kp_buf *buf, const void *bytes, size_t len)
{
    if (!reserve(buf, len)) return;
    if (len) memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = 0;
}

void kp_buf_str(kp_buf *buf, const char *text)
{
    kp_buf_add(buf, text, strlen(text));
}

void kp_buf_char(kp_buf *buf, char c)
{
    kp_buf_add(buf, &c, 1);
}

void kp_buf_pad(kp_buf *buf, char c, size_t count)
{
    if (!reserve(buf, count)) return;
    memset(buf->data + buf->len, c, count);
    buf->len += count;
    buf->data[buf->len] = 0;
}

void kp_buf_fmt(kp_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) buf->failed = true;
    else if (reserve(buf, (size_t)len)) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

const char *kp_buf_text(const kp_buf *buf)
{
    return buf->data ? buf->data : "";
}

kp_status kp_buf_check(const kp_buf *buf, kp_err *err)
{
    if (!buf->failed) return KP_OK;
    return kp_fail(err, KP_NOMEM, "text of more than %s does not fit into memory",
                   kp_size_text(buf->len).s);
}

/* ---- text to numbers ---- */

kp_status kp_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret, kp_err *err)
{
    char *end;
    errno = 0;
    unsigned long long n = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (!isdigit((unsigned char)text[0]) || *end || errno || n < min || n > max)
        return kp_fail(err, KP_USAGE, "'%.60s' is not a whole number from %" PRIu64 " to %" PRIu64,
                       text, min, max);
    *ret = n;
    return KP_OK;
}

/* A plain decimal number at the start of text: no hex, no "inf". */
static bool number(const char *text, double *ret, const char **rest)
{
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    if (!isdigit((unsigned char)digits[0]) && digits[0] != '.') return false;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) return false;
    char *end;
    *ret = strtod(text, &end);
    *rest = end;
    return end != text && isfinite(*ret);
}

kp_status kp_parse_f64(const char *text, double min, double max, double *ret, kp_err *err)
{
    double n;
    const char *rest;
    if (!number(text, &n, &rest) || *rest || n < min || n > max)
        return kp_fail(err, KP_USAGE, "'%.60s' is not a number from %g to %g", text, min, max);
    *ret = n;
    return KP_OK;
}

typedef struct unit {
    const char *name;
    double factor;
} unit;

static const unit size_units[] = {
    {"", 1},         {"B", 1},        {"K", 1024.},     {"KiB", 1024.},     {"KB", 1e3},
    {"M", 1048576.}, {"MiB", 1048576.}, {"MB", 1e6},    {"G", 1073741824.}, {"GiB", 1073741824.},
    {"GB", 1e9},     {"T", 1099511627776.}, {"TiB", 1099511627776.}, {"TB", 1e12},
};

static const unit duration_units[] = {
    {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400},
};

static bool with_unit(const char *text, const unit *units, size_t n, double *ret)
{
    double value;
    const char *rest;
    if (!number(text, &value, &rest) || value < 0) return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rest, units[i].name)) continue;
        *ret = value * units[i].factor;
        return true;
    }
    return false;
}

kp_status kp_parse_size(const char *text, uint64_t *ret_bytes, kp_err *err)
{
    double bytes;
    if (!with_unit(text, size_units, KP_LEN(size_units), &bytes) || bytes > 0x1p60)
        return kp_fail(err, KP_USAGE,
                       "'%.60s' is not a size: a number with B, K, M, G, T (x 1024) or KB, MB, GB, "
                       "TB (x 1000)",
                       text);
    *ret_bytes = (uint64_t)llround(bytes);
    return KP_OK;
}

kp_status kp_parse_duration(const char *text, double *ret_s, kp_err *err)
{
    double s;
    if (!with_unit(text, duration_units, KP_LEN(duration_units), &s) || s > 1e10)
        return kp_fail(err, KP_USAGE, "'%.60s' is not a duration: a number with ms, s, m, h or d",
                       text);
    *ret_s = s;
    return KP_OK;
}

/* ---- numbers to text ---- */

kp_short kp_size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    kp_short text;
    double n = (double)bytes;
    size_t u = 0;
    while (n >= 1023.95 && u + 1 < KP_LEN(units)) {
        n /= 1024;
        u++;
    }
    snprintf(text.s, sizeof(text.s), u ? "%.1f %s" : "%.0f %s", n, units[u]);
    return text;
}

kp_short kp_gib_text(uint64_t bytes)
{
    kp_short text;
    snprintf(text.s, sizeof(text.s), "%.1f", (double)bytes / 1073741824.);
    return text;
}

kp_short kp_seconds_text(double s)
{
    kp_short text;
    double mins = floor(s / 60 + .5), secs = floor(s + .5);
    if (isnan(s)) snprintf(text.s, sizeof(text.s), "unknown");
    else if (s < 1e-3) snprintf(text.s, sizeof(text.s), "%.3g us", s * 1e6);
    else if (s < .1) snprintf(text.s, sizeof(text.s), "%.3g ms", s * 1e3);
    else if (s < 120) snprintf(text.s, sizeof(text.s), "%.3f s", s);
    else if (secs < 3600)
        snprintf(text.s, sizeof(text.s), "%.0f min %02.0f s", floor(secs / 60), fmod(secs, 60));
    else snprintf(text.s, sizeof(text.s), "%.0f h %02.0f min", floor(mins / 60), fmod(mins, 60));
    return text;
}

kp_short kp_count_text(uint64_t n)
{
    kp_short text;
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) text.s[at++] = ',';
        text.s[at++] = digits[i];
    }
    text.s[at] = 0;
    return text;
}

kp_short kp_flops_text(double flops)
{
    static const char *const units[] = {"FLOP", "KFLOP", "MFLOP", "GFLOP",
                                        "TFLOP", "PFLOP", "EFLOP"};
    kp_short text;
    size_t u = 0;
    while (flops >= 999.5 && u + 1 < KP_LEN(units)) {
        flops /= 1000;
        u++;
    }
    if (isnan(flops)) snprintf(text.s, sizeof(text.s), "unknown");
    else snprintf(text.s, sizeof(text.s), "%.3g %s", flops, units[u]);
    return text;
}

kp_short kp_double_text(double v)
{
    kp_short text;
    if (v == floor(v) && fabs(v) < 1e15) {
        snprintf(text.s, sizeof(text.s), "%.0f", v == 0 ? 0. : v);
        return text;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text.s, sizeof(text.s), "%.*g", digits, v);
        if (strtod(text.s, NULL) == v) break;
    }
    return text;
}

/* Days since 1970 to a civil date (Howard Hinnant's algorithm, public domain description). */
kp_short kp_time_text(int64_t unix_ms)
{
    kp_short text;
    int64_t secs = unix_ms / 1000, days = secs / 86400, rest = secs % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int day = (int)(doy - (153 * mp + 2) / 5 + 1), month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int year = (int)(yoe + era * 400 + (month <= 2));
    snprintf(text.s, sizeof(text.s), "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day,
             (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    return text;
}

/* ---- checks ---- */

size_t kp_utf8_len(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (n < 2 || n > len) return n == 1;
    uint32_t code = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2) return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < least[n] || code > 0x10ffff || surrogate ? 0 : n;
}

bool kp_text_ok(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t n = kp_utf8_len(text + i, len - i);
        bool control = n == 1 && (s[i] < 0x20 || s[i] == 0x7f) && s[i] != '\t' && s[i] != '\n';
        if (!n || control) return false;
        i += n;
    }
    return true;
}

bool kp_word_ok(const char *text, size_t max)
{
    size_t len = strlen(text);
    return len >= 1 && len <= max && kp_text_ok(text, len) && !strpbrk(text, "\n\t");
}
