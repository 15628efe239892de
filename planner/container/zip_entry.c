/* SPDX-License-Identifier: MIT
 *
 * The content of one entry of a zip archive. */
#include "planner/container/inflate.h"
#include "planner/container/limits.h"
#include "planner/container/zip.h"
#include "proto/text.h"
#include <string.h>

enum {
    SIG_LOCAL = 0x04034b50,
    LOCAL_BYTES = 30,
    METHOD_STORED = 0,
    METHOD_DEFLATED = 8,
    FLAG_DESCRIPTOR = 1 << 3, /* check sum and sizes stand behind the data, the header has zeros */
};

static kp_status differs(const kp_zip_entry *entry, const char *what, kp_err *err)
{
    return kp_fail(err, KP_INPUT,
                   "damaged zip archive: entry '%.60s' and the directory differ in %s", entry->name,
                   what);
}

static bool same_size(uint64_t local, uint64_t said)
{
    return local == said || local == UINT32_MAX; /* zip64: it stands in the extra field */
}

/* Compares the entry's own header with the directory and finds its data. */
static kp_status find_data(const kp_zip *zip, const kp_zip_entry *entry, kp_arena *arena,
                           kp_source *ret, kp_err *err)
{
    const uint8_t *bytes;
    KP_TRY(kp_source_get(zip->source, entry->at, LOCAL_BYTES, arena, &bytes, err));
    kp_cursor c = kp_cursor_over(bytes, LOCAL_BYTES);
    if (kp_cursor_uint(&c, 4) != SIG_LOCAL)
        return kp_fail(err, KP_INPUT,
                       "damaged zip archive: entry '%.60s' is not where the directory says",
                       entry->name);
    kp_cursor_take(&c, 2); /* version */
    uint64_t flags = kp_cursor_uint(&c, 2), method = kp_cursor_uint(&c, 2);
    kp_cursor_take(&c, 4); /* time */
    uint64_t crc = kp_cursor_uint(&c, 4);
    uint64_t packed = kp_cursor_uint(&c, 4), whole = kp_cursor_uint(&c, 4);
    uint64_t n_name = kp_cursor_uint(&c, 2), n_extra = kp_cursor_uint(&c, 2);
    if (flags != entry->flags || method != entry->method) return differs(entry, "method", err);
    if (!(flags & FLAG_DESCRIPTOR) &&
        (!same_size(packed, entry->packed) || !same_size(whole, entry->whole) || crc != entry->crc))
        return differs(entry, "size or check sum", err);
    if (n_name != strlen(entry->name)) return differs(entry, "name", err);
    KP_TRY(kp_source_get(zip->source, entry->at + LOCAL_BYTES, n_name, arena, &bytes, err));
    if (memcmp(bytes, entry->name, n_name)) return differs(entry, "name", err);
    uint64_t at = entry->at + LOCAL_BYTES + n_name + n_extra;
    if (at > entry->end || entry->packed > entry->end - at) return differs(entry, "place", err);
    return kp_source_part(zip->source, at, entry->packed, ret, err);
}

kp_status kp_zip_stored(const kp_zip *zip, const kp_zip_entry *entry, kp_arena *arena,
                        kp_source *ret, kp_err *err)
{
    if (entry->method != METHOD_STORED)
        return kp_fail(err, KP_INPUT, "entry '%.60s' is packed", entry->name);
    if (entry->packed != entry->whole) return differs(entry, "size", err);
    return find_data(zip, entry, arena, ret, err);
}

static kp_status unpack(const kp_zip *zip, const kp_zip_entry *entry, kp_arena *arena,
                        const uint8_t **ret, kp_err *err)
{
    kp_source data;
    if (entry->method == METHOD_STORED) {
        KP_TRY(kp_zip_stored(zip, entry, arena, &data, err));
        return kp_source_get(&data, 0, data.size, arena, ret, err);
    }
    if (entry->method != METHOD_DEFLATED)
        return kp_fail(err, KP_INPUT,
                       "is packed by method %u, which is not read (only 0 and 8 are)",
                       entry->method);
    if (entry->whole > KP_INFLATED_BYTES_MAX)
        return kp_fail(err, KP_INPUT, "unpacks to %s, more than %s", kp_size_text(entry->whole).s,
                       kp_size_text(KP_INFLATED_BYTES_MAX).s);
    KP_TRY(find_data(zip, entry, arena, &data, err));
    return kp_inflate_raw(&data, entry->whole, arena, ret, err);
}

kp_status kp_zip_read(const kp_zip *zip, const kp_zip_entry *entry, uint64_t limit, kp_arena *arena,
                      kp_source *ret, kp_err *err)
{
    const uint8_t *bytes;
    kp_status status = KP_OK;
    if (entry->whole > limit)
        status = kp_fail(err, KP_INPUT, "has %s, more than %s", kp_size_text(entry->whole).s,
                         kp_size_text(limit).s);
    if (!status) status = unpack(zip, entry, arena, &bytes, err);
    if (!status && kp_crc32(bytes, entry->whole) != entry->crc)
        status = kp_fail(err, KP_INPUT, "is damaged: its check sum differs");
    if (status == KP_INPUT) kp_err_at(err, "%.60s", entry->name);
    if (!status) *ret = kp_source_memory(bytes, entry->whole);
    return status;
}
