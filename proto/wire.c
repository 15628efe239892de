/* SPDX-License-Identifier: MIT */
#include "proto/wire.h"

const char *kp_wire_name(kp_wire_type type)
{
    switch (type) {
    case KP_WIRE_NONE:
        break;
#define KP_WIRE_NAME(name, number, payload)                                                        \
    case KP_WIRE_##name:                                                                           \
        return #name;
        KP_WIRE_ROWS(KP_WIRE_NAME)
#undef KP_WIRE_NAME
    }
    return "?";
}

kp_status kp_wire_pack(kp_wire_type type, const kp_envelope *envelope, const void *payload,
                       kp_buf *out, kp_err *err)
{
    const kp_schema *schema = kp_wire_schema(type);
    if (!schema) return kp_fail(err, KP_INTERNAL, "no message has the type %d", (int)type);
    kp_envelope whole;
    kp_schema_init(&kp_schema_envelope, &whole);
    if (envelope) whole = *envelope;
    kp_buf body;
    kp_buf_init(&body, out->limit);
    kp_status status = KP_OK;
    if (payload) status = kp_schema_pack(schema, payload, &body, err);
    if (status == KP_OK) {
        whole.payload = (kp_bytes){(const uint8_t *)body.data, (uint32_t)body.len};
        const char prefix[KP_WIRE_PREFIX_BYTES] = {
            'K', 'P', KP_WIRE_MAJOR, (char)((unsigned)type >> 8), (char)((unsigned)type & 0xff)};
        kp_buf_add(out, prefix, sizeof(prefix));
        status = kp_schema_pack(&kp_schema_envelope, &whole, out, err);
    }
    bool too_big = body.failed || out->failed;
    kp_buf_release(&body);
    if (!too_big) return status;
    return kp_fail(err, KP_INPUT, "the message %s does not fit into %s", kp_wire_name(type),
                   kp_size_text(out->limit).s);
}

/* The type in a prefix. */
static kp_status read_prefix(const uint8_t *bytes, size_t len, kp_wire_type *ret, kp_err *err)
{
    if (len < KP_WIRE_PREFIX_BYTES || bytes[0] != 'K' || bytes[1] != 'P')
        return kp_fail(err, KP_INPUT, "a frame of %zu bytes does not start with kplan's prefix",
                       len);
    if (bytes[2] != KP_WIRE_MAJOR) {
        kp_fail(err, KP_UNSUPPORTED, "the peer speaks version %u of the protocol, this program %u",
                bytes[2], KP_WIRE_MAJOR);
        kp_hint(err, "install the same release of kplan on both sides");
        return KP_UNSUPPORTED;
    }
    unsigned type = (unsigned)bytes[3] << 8 | bytes[4];
    if (!kp_wire_schema((kp_wire_type)type))
        return kp_fail(err, KP_INPUT, "no message has the type %u", type);
    *ret = (kp_wire_type)type;
    return KP_OK;
}

kp_status kp_wire_unpack(const void *bytes, size_t len, kp_arena *arena, kp_frame *ret, kp_err *err)
{
    KP_TRY(read_prefix(bytes, len, &ret->type, err));
    const uint8_t *body = (const uint8_t *)bytes + KP_WIRE_PREFIX_BYTES;
    kp_status status = kp_schema_unpack(&kp_schema_envelope, body, len - KP_WIRE_PREFIX_BYTES,
                                        arena, &ret->envelope, err);
    if (status != KP_OK) {
        kp_err_at(err, "envelope of %s", kp_wire_name(ret->type));
        return status;
    }
    const kp_schema *schema = kp_wire_schema(ret->type);
    void *payload = kp_arena_alloc(arena, 1, schema->size);
    if (!payload) return kp_nomem(err);
    const kp_bytes packed = ret->envelope.payload;
    status = kp_schema_unpack(schema, packed.data, packed.len, arena, payload, err);
    if (status != KP_OK) {
        kp_err_at(err, "%s", kp_wire_name(ret->type));
        return status;
    }
    ret->payload = payload;
    return KP_OK;
}

kp_error_msg kp_wire_error(const kp_err *err, kp_refusal *refusal)
{
    const char *msg = *err->msg ? err->msg : kp_status_text(err->code);
    return (kp_error_msg){{.code = kp_status_name(err->code),
                           .message = msg,
                           .where = *err->where ? err->where : NULL,
                           .hint = *err->hint ? err->hint : NULL,
                           .details = refusal}};
}

kp_status kp_wire_failure(const kp_error_msg *msg, kp_err *err)
{
    const kp_error_body *body = &msg->error;
    kp_status status = kp_status_from_name(body->code ? body->code : "");
    if (status == KP_OK) status = KP_INTERNAL; /* an ERROR that says OK is none we know */
    kp_fail(err, status, "%s", body->message ? body->message : kp_status_text(status));
    if (body->hint) kp_hint(err, "%s", body->hint);
    if (body->where) kp_err_at(err, "%s", body->where);
    return status;
}
