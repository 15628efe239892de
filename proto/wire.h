/* SPDX-License-Identifier: MIT
 *
 * proto/wire.h — one message as bytes: the 8-byte prefix and the envelope.
 *
 * Prefix: 'K' 'P' major type(2, big endian) flags(2, 0) 0. Behind it one MessagePack map of
 * kp_envelope, whose payload is the MessagePack of the type's message. Pure. */
#ifndef KP_PROTO_WIRE_H
#define KP_PROTO_WIRE_H

#include "proto/link.h"

#define KP_WIRE_PREFIX_BYTES 8

/* Appends prefix and envelope with `payload` packed inside (NULL: an empty payload). `envelope`
 * may be NULL. KP_INTERNAL for a type without a schema, KP_INPUT when the message passes the limit
 * of `out`. */
kp_status kp_wire_pack(kp_wire_type type, const kp_envelope *envelope, const void *payload,
                       kp_buf *out, kp_err *err);

/* Bytes to a frame (its peer is left alone), in `arena`. KP_UNSUPPORTED: another major version;
 * KP_INPUT: everything else that is not a message of ours. ret->envelope is whole as soon as it
 * was readable, even when the payload then fails, so that a refusal can name the request. */
kp_status kp_wire_unpack(const void *bytes, size_t len, kp_arena *arena, kp_frame *ret,
                         kp_err *err);

/* The name of a type ("HELLO"); "?" for an unknown number. */
const char *kp_wire_name(kp_wire_type type);

/* A failure and its refusal (may be NULL) as the message that ERROR carries; it points into err. */
kp_error_msg kp_wire_error(const kp_err *err, kp_refusal *refusal);

/* The other way: writes err from an ERROR's body, returns its status (never KP_OK). */
kp_status kp_wire_failure(const kp_error_msg *msg, kp_err *err);

#endif
