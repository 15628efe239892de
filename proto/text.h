/* SPDX-License-Identifier: MIT
 *
 * proto/text.h — growing text, and numbers with units to and from text.
 *
 * kp_buf is a byte buffer with a limit stated at birth; a failed append sticks, so writers
 * append freely and check once. Sizes: "80G" = "80GiB" = 80 x 2^30, "80GB" = 80 x 10^9, a bare
 * number is bytes. Durations: "500ms", "10s", "5m", "2h", "14d". */
#ifndef KP_PROTO_TEXT_H
#define KP_PROTO_TEXT_H

#include "proto/status.h"

typedef struct kp_buf {
    char *data; /* always ends in a 0 that len does not count; NULL while empty */
    size_t len, cap, limit;
    bool failed; /* malloc failed or the limit was passed: what is in it is not whole */
} kp_buf;

/* limit 0 means 1 GiB. */
void kp_buf_init(kp_buf *buf, size_t limit);
void kp_buf_release(kp_buf *buf);
void kp_buf_clear(kp_buf *buf); /* empty again, memory kept */
void kp_buf_add(kp_buf *buf, const void *bytes, size_t len);
void kp_buf_str(kp_buf *buf, const char *text);
void kp_buf_char(kp_buf *buf, char c);
void kp_buf_pad(kp_buf *buf, char c, size_t count);
void kp_buf_fmt(kp_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *kp_buf_text(const kp_buf *buf); /* never NULL */
kp_status kp_buf_check(const kp_buf *buf, kp_err *err); /* KP_NOMEM if an append failed */

/* Text to numbers. All fail with KP_USAGE and name what was expected; the whole text must match,
 * numbers must be finite and in range. */
kp_status kp_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret, kp_err *err);
kp_status kp_parse_f64(const char *text, double min, double max, double *ret, kp_err *err);
kp_status kp_parse_size(const char *text, uint64_t *ret_bytes, kp_err *err);
kp_status kp_parse_duration(const char *text, double *ret_s, kp_err *err);

/* Numbers to text, into a small value that is returned by copy: kp_size_text(n).s. */
typedef struct kp_short {
    char s[32];
} kp_short;
kp_short kp_size_text(uint64_t bytes);   /* "512 B", "16.0 KiB", "79.1 GiB" */
kp_short kp_gib_text(uint64_t bytes);    /* "79.1" (GiB, one decimal, no unit) */
kp_short kp_seconds_text(double s);      /* "12.3 us", "0.412 s", "5 min 05 s", "2 h 05 min" */
kp_short kp_count_text(uint64_t n);      /* "4,194,304" */
kp_short kp_flops_text(double flops);    /* "4.10 GFLOP" */
kp_short kp_double_text(double v);       /* shortest text that reads back as v; JSON's form */
kp_short kp_time_text(int64_t unix_ms);  /* "2026-11-22T20:04:11Z", UTC */

/* Seconds of a "2026-11-22T20:04:11Z" text are not parsed anywhere: times travel as integers. */

/* Bytes (1 to 4) of the UTF-8 sequence at the start of text, which has len > 0 bytes; 0 if it is
 * none: cut off, overlong, a surrogate or above U+10FFFF. */
size_t kp_utf8_len(const char *text, size_t len);

/* True if text is valid UTF-8 without control bytes other than tab and newline. */
bool kp_text_ok(const char *text, size_t len);
/* True for 1 to max bytes of such text without tab and newline: an id, a name. */
bool kp_word_ok(const char *text, size_t max);

/* The name in `names` that is nearest to `name` (edit distance at most 2 and less than half of
 * it), for "did you mean"; NULL if none is near. */
const char *kp_nearest(const char *name, const char *const *names, size_t n);

#endif
