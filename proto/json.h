/* SPDX-License-Identifier: MIT
 *
 * proto/json.h — JSON text to a jansson document, with limits and a good message.
 *
 * One pass over the text first: a byte-order mark is skipped, Python's NaN and Infinity tokens
 * outside strings become null, nesting deeper than KP_JSON_DEPTH_MAX is refused, so that jansson
 * never sees hostile depth. Duplicate keys are refused. Errors are KP_INPUT with line, column and
 * what stood there. Numbers beyond 64 bits are errors, not rounded. */
#ifndef KP_PROTO_JSON_H
#define KP_PROTO_JSON_H

#include "proto/status.h"
#include <jansson.h>

#define KP_JSON_DEPTH_MAX 512
#define KP_JSON_BYTES_MAX ((size_t)64 << 20)

/* The caller owns *ret (json_decref). */
kp_status kp_json_parse(const char *text, size_t len, json_t **ret, kp_err *err);

#endif
