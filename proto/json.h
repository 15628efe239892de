/* SPDX-License-Identifier: MIT
 *
 * proto/json.h — JSON text to a jansson document, with limits and a good message.
 *
 * One pass over the text first: a byte-order mark is skipped, Python's NaN, Infinity and
 * -Infinity outside strings become null, nesting deeper than KP_JSON_DEPTH_MAX and text whose
 * document would pass KP_JSON_MEMORY_MAX are refused, so that jansson never sees hostile depth.
 * Duplicate keys are refused; the order of keys is kept. Errors are KP_INPUT with line and column
 * (in characters, from 1) as the place, and what stood there. Numbers beyond 64 bits are errors,
 * not rounded. The document is an object or an array. */
#ifndef KP_PROTO_JSON_H
#define KP_PROTO_JSON_H

#include "proto/status.h"
#include <jansson.h>

#define KP_JSON_DEPTH_MAX  512
#define KP_JSON_BYTES_MAX  ((size_t)64 << 20)
#define KP_JSON_MEMORY_MAX ((uint64_t)1 << 30) /* of the document, estimated before it is made */

/* The caller owns *ret (json_decref). KP_INPUT, or KP_NOMEM. */
kp_status kp_json_parse(const char *text, size_t len, json_t **ret, kp_err *err);

/* The same for files of other programs: texts may have \u0000 in them, where C takes them to end.
 * Keras files of Python 2 hold the bytes of functions so. */
kp_status kp_json_parse_foreign(const char *text, size_t len, json_t **ret, kp_err *err);

/* What a text's document would take, estimated as for KP_JSON_MEMORY_MAX: brackets and commas count,
 * the bytes of strings do not. Of a text that is nested too deep, the part before. */
uint64_t kp_json_memory(const char *text, size_t len);

#endif
